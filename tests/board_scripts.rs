//! The board's scripts (board/root/lib/pigeon: backup, restore, serve, trial, helper), run by this machine's shell with the
//! folders of a board in a temporary one: what is backed up where, what is restored, which update is applied and whether it
//! stays, and who may write the card.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may stop")]

use assert_cmd::cargo::cargo_bin;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A board with a stick in it.
struct Board(tempfile::TempDir);

impl Board {
    fn new() -> Self {
        let board = Self(tempfile::tempdir().unwrap());
        for folder in ["boot/slot-a", "boot/slot-b", "data/pigeon", "run/board", "media/stick", "bin", "etc/pigeon"] {
            fs::create_dir_all(board.path(folder)).unwrap();
        }
        board.write("hostname", "pigeon");
        board.write("boot/pigeon-report.txt", "");
        board.write("run/board/settings", "");
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("board/root/lib/pigeon");
        for name in ["functions", "backup", "restore", "serve", "trial", "helper"] {
            board.write(name, &board.placed(&fs::read_to_string(top.join(name)).unwrap()));
        }
        let pigeon = cargo_bin("pigeon");
        let pigeon = pigeon.display();
        let stubs = [
            ("findfs", "[ ! -e ROOT/stick-is-out ] && echo /dev/stick".to_owned()),
            ("hostname", "cat ROOT/hostname".to_owned()),
            ("usleep", "exec /bin/sleep 0.01".to_owned()),
            // To be the server's user; a test may forbid it.
            ("su", "[ ! -e ROOT/su-refuses ] && exec /bin/sh -c \"$5\"".to_owned()),
            ("reboot", "echo rebooted >> ROOT/kmsg".to_owned()),
            ("date", "if [ -e ROOT/seconds ]; then cat ROOT/seconds; else exec /bin/date \"$@\"; fi".to_owned()),
            (
                "pigeon",
                format!(
                    "if [ \"$3\" = backup ] && [ -e ROOT/is-busy ]; then echo 'another process has it open' >&2; exit 75; fi\ncase \"$1 $2\" in 'update --apply') exec {pigeon} \"$@\" --slot a --system ROOT/etc ;; update*) exec {pigeon} \
                     \"$@\" --system ROOT/etc ;; esac\nexec {pigeon} \"$@\""
                ),
            ),
        ];
        let nothing = ["mount", "umount", "modprobe", "sleep", "sync"].map(|name| (name, ":".to_owned()));
        for (name, text) in stubs.into_iter().chain(nothing) {
            board.program(name, &text);
        }
        board.begin();
        board
    }

    /// A script with this board's folders in it.
    fn placed(&self, script: &str) -> String {
        let root = self.0.path().display().to_string();
        let script = script.replace("/run/", "RUN/").replace("PATH=/bin", "PATH=ROOT/bin:$PATH");
        let places = [
            ("/lib/pigeon/functions", "ROOT/functions"),
            ("/dev/kmsg", "ROOT/kmsg"),
            ("/media/", "ROOT/media/"),
            ("/data/", "ROOT/data/"),
            ("/boot/", "ROOT/boot/"),
            (" /boot", " ROOT/boot"),
            ("RUN/", "ROOT/run/"),
            ("> ROOT/kmsg", ">> ROOT/kmsg"),
        ];
        places.iter().fold(script, |script, (from, to)| script.replace(from, to)).replace("ROOT", &root)
    }

    /// What a script calls by this name.
    fn program(&self, name: &str, text: &str) {
        let name = format!("bin/{name}");
        let root = self.0.path().display().to_string();
        self.write(&name, &format!("#!/bin/sh\n{}\n", text.replace("ROOT", &root)));
        fs::set_permissions(self.path(&name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn report(&self) -> String {
        self.read("boot/pigeon-report.txt")
    }

    /// What the scripts said since this was asked last.
    fn said(&self) -> String {
        let said = self.read("kmsg");
        self.write("kmsg", "");
        said
    }

    /// An empty card.
    fn begin(&self) {
        drop(fs::remove_dir_all(self.path("data")));
        fs::create_dir_all(self.path("data/pigeon")).unwrap();
    }

    /// The server's own configuration, as the first boot writes it, and an account.
    fn account(&self, address: &str) {
        self.write("data/pigeon/pigeon.toml", "hostname = \"mx.example.org\"\ndata = \".\"\n");
        let mut adding = Command::new(cargo_bin("pigeon"));
        adding.arg("--config").arg(self.path("data/pigeon/pigeon.toml"));
        adding.args(["user", "add", address, "--password-stdin"]).stdin(Stdio::piped());
        let mut adding = adding.spawn().unwrap();
        adding.stdin.take().unwrap().write_all(b"wonderland-7\n").unwrap();
        assert!(adding.wait().unwrap().success());
    }

    fn users(&self) -> String {
        let mut listing = Command::new(cargo_bin("pigeon"));
        listing.arg("--config").arg(self.path("data/pigeon/pigeon.toml")).args(["user", "list"]);
        String::from_utf8(listing.output().unwrap().stdout).unwrap()
    }

    fn run(&self, script: &str) {
        self.run_with(script, &[]);
    }

    /// The exit code.
    fn run_with(&self, script: &str, words: &[&str]) -> i32 {
        let output = Command::new("sh").arg(self.path(script)).args(words).output().unwrap();
        assert!(output.stderr.is_empty(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        output.status.code().unwrap()
    }

    /// A system that takes updates, and where the release of the tests' data goes on the stick.
    fn takes_updates(&self) -> PathBuf {
        self.account("alice@example.org");
        self.write("boot/slots.env", &format!("{:\n<512}", "good=a\ntry=\ntries=0\n"));
        for slot in ["a", "b"] {
            fs::write(self.path(&format!("boot/slot-{slot}/system")), [b'o'; 8_192]).unwrap();
        }
        self.write("etc/pigeon-board", "rpi-arm64\n");
        self.write("etc/pigeon-version", "0.1.0\n");
        self.write("etc/pigeon/release.pub", include_str!("data/release/example.pub"));
        self.path("media/stick/pigeon 0.2.0.pigeon-update")
    }

    /// What the first start of a card does before its settings are read: they are not there yet.
    fn restore(&self) {
        fs::remove_file(self.path("run/board/settings")).unwrap();
        self.run("restore");
        self.write("run/board/settings", "");
    }

    /// The manifest of a backup on the stick, if there is one.
    fn manifest(&self, folder: &str) -> Option<String> {
        let entries = fs::read_dir(self.path("media/stick/pigeon").join(folder)).ok()?;
        let mut names = entries.map(|entry| entry.unwrap().path());
        names
            .find(|path| path.display().to_string().contains("MANIFEST-"))
            .map(|path| fs::read_to_string(path).unwrap())
    }
}

#[test]
fn a_new_card_gets_a_folder_of_its_own_beside_the_mail_of_the_old_one() {
    let board = Board::new();
    board.account("alice@example.org");
    board.run("backup");
    assert!(board.said().contains("backed up to the stick in "));
    let old = board.manifest("pigeon").unwrap();
    assert!(board.report().is_empty(), "{}", board.report());
    board.begin();
    board.account("bob@example.org");
    for _ in 0..2 {
        board.run("backup");
        assert!(board.said().contains("backed up to the stick in "));
        assert_eq!(board.manifest("pigeon").as_ref(), Some(&old));
        assert_eq!(board.report().matches("backups go into pigeon/pigeon-2").count(), 1, "{}", board.report());
    }
    assert!(board.manifest("pigeon-2").is_some() && board.manifest("pigeon-3").is_none());
    // With another name it goes on where its backups are.
    board.write("hostname", "post");
    board.run("backup");
    assert!(board.manifest("post").is_none(), "{}", board.said());
}

#[test]
fn the_backup_of_this_boards_name_is_restored_else_the_newest_and_goes_on() {
    let board = Board::new();
    for (name, address) in [("kitchen", "alice@example.org"), ("cellar", "bob@example.org")] {
        board.begin();
        board.write("hostname", name);
        board.account(address);
        board.run("backup");
        // Manifests tell whole seconds.
        std::thread::sleep(std::time::Duration::from_millis(1_100));
    }
    // What the stick's file system tells of times is no matter.
    let touched = fs::File::open(board.path("media/stick/pigeon/kitchen/MANIFEST-1")).unwrap();
    touched.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(9_000)).unwrap();
    // Each manifest lies there twice, and one is enough.
    fs::remove_file(board.path("media/stick/pigeon/cellar/MANIFEST-1")).unwrap();
    let cellar = board.manifest("cellar").unwrap();
    let rows = [
        ("name = \"attic\"", "attic", "bob@example.org", ""),
        ("name = \"cellar\"", "cellar", "bob@example.org", ""),
        ("name = \"kitchen\"", "kitchen", "alice@example.org", "pigeon/cellar on it is newer"),
    ];
    for (line, name, address, told) in rows {
        board.begin();
        drop(fs::remove_file(board.path("run/found")));
        board.write("boot/pigeon.toml", &format!("[board]\n{line}\nrestore = true\n"));
        board.write("hostname", name);
        board.restore();
        assert!(board.users().contains(address), "{line}: {}", board.said());
        let found = board.read("run/found");
        assert!(if told.is_empty() { found.is_empty() } else { found.contains(told) }, "{line}: {found}");
        board.said();
        board.run("backup");
        let said = board.said();
        assert!(said.contains("backed up to the stick in "), "{line}: {said}");
        assert!(board.manifest("attic").is_none() && board.report().is_empty(), "{line}: {}", board.report());
    }
    assert_ne!(board.manifest("cellar").unwrap(), cellar);
}

#[test]
fn of_several_folders_of_a_boards_name_the_newest_backup_is_restored_and_the_others_are_told() {
    let board = Board::new();
    // The second card begins anew, and has its backups beside those of the first one. A board of another name is newer.
    for (name, address) in
        [("pigeon", "alice@example.org"), ("pigeon", "bob@example.org"), ("pigeonry", "carol@example.org")]
    {
        board.begin();
        board.write("hostname", name);
        board.account(address);
        board.run("backup");
        std::thread::sleep(std::time::Duration::from_millis(1_100));
    }
    assert!(board.manifest("pigeon-2").is_some() && board.manifest("pigeonry").is_some());
    board.write("boot/pigeon.toml", "[board]\nrestore = true\n");
    board.begin();
    board.restore();
    assert!(board.users().contains("bob@example.org"), "{}", board.said());
    assert_eq!(board.read("data/restored"), "pigeon-2\n");
    let found = board.read("run/found");
    assert!(found.contains("there is older mail in pigeon/pigeon. "), "{found}");
    assert!(found.contains("pigeon/pigeonry on it is newer"), "{found}");
    // Of two that are as new, the one that was begun later.
    let manifest = board.path("media/stick/pigeon/pigeon/MANIFEST-1");
    let made = |text: &str| text.lines().find(|line| line.starts_with("made ")).unwrap().to_owned();
    let (first, second) = (board.manifest("pigeon").unwrap(), board.manifest("pigeon-2").unwrap());
    fs::write(manifest, first.replace(&made(&first), &made(&second))).unwrap();
    board.begin();
    board.restore();
    assert_eq!(board.read("data/restored"), "pigeon-2\n");
}

#[test]
fn the_cards_lock_is_waited_for_as_long_as_its_holder_lives_and_only_a_dead_ones_is_taken_over() {
    let board = Board::new();
    let root = board.0.path().display().to_string();
    let shell = |script: &str| {
        let script = format!(". {root}/functions\n{}", script.replace("ROOT", &root));
        Command::new("sh").arg("-c").arg(script).stdin(Stdio::piped()).spawn().unwrap()
    };
    let lock = || fs::read_link(board.path("run/boot-is-written")).ok().map(|pid| pid.display().to_string());
    let until = |holds: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !holds() {
            assert!(begun.elapsed().as_secs() < 20);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    // Held by a subshell, which has the script's $$; what is nested in it neither waits nor gives the lock back.
    let mut holder = shell(
        "(boot_writable; boot_writable; boot_readonly; report nested; : > ROOT/held; read -r line; boot_readonly)",
    );
    until(&|| board.path("held").exists());
    assert!(lock().is_some_and(|pid| pid != holder.id().to_string()) && board.report() == "nested\n");
    let mut waiting = [shell("report first"), shell("report second")];
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(board.report(), "nested\n");
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    waiting.iter_mut().for_each(|shell| assert!(shell.wait().unwrap().success()));
    assert_eq!((board.report().lines().count(), lock()), (3, None));
    // Killed while it held the lock: eight come at once, and each writes alone.
    let mut killed = shell("boot_writable; : > ROOT/killed; read -r line");
    until(&|| board.path("killed").exists());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(lock(), Some(killed.id().to_string()));
    let alone =
        "boot_writable; mkdir ROOT/alone || echo two >> ROOT/crowd; /bin/sleep 0.02; rmdir ROOT/alone; boot_readonly";
    let mut shells: Vec<_> = (0..8).map(|_| shell(alone)).collect();
    shells.iter_mut().for_each(|shell| assert!(shell.wait().unwrap().success()));
    assert_eq!((board.read("crowd").as_str(), lock()), ("", None));
    let left = fs::read_dir(board.path("run")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("boot-is-written")));
}

#[test]
fn the_cards_report_is_written_when_an_address_comes_or_goes_and_not_without_end() {
    let board = Board::new();
    let root = board.0.path().display().to_string();
    board.write("boot/pigeon-report.txt", "Server: pigeon.local\nAddresses: none yet\n");
    board.write("bin/mount", &format!("#!/bin/sh\necho \"$@\" >> {root}/mounts\n"));
    // An interface that every machine has; one without an end is not told.
    board.write(
        "bin/ip",
        &format!("#!/bin/sh\nfor one in $(cat {root}/ip); do echo \"1: lo    inet6 $one/64 scope global dynamic\"; done\necho '2: nobody    inet 192.0.2.99/24'\n"),
    );
    board.write("bin/seconds_up", &format!("#!/bin/sh\ncat {root}/uptime\n"));
    for name in ["bin/ip", "bin/seconds_up"] {
        fs::set_permissions(board.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    board.write("uptime", "100");
    let tell = |name: &str, addresses: &str| {
        board.write("run/board/name", name);
        board.write("ip", addresses);
        let script = format!(". {root}/functions\nunset -f seconds_up\ntell_addresses\nwait");
        assert!(Command::new("sh").arg("-c").arg(script).status().unwrap().success());
        let mounts = board.read("mounts").lines().filter(|line| line.contains("remount,rw")).count();
        (mounts, board.report().lines().last().unwrap_or_default().to_owned())
    };
    assert_eq!(tell("pigeon", "192.0.2.10"), (1, "Addresses: 192.0.2.10".to_owned()));
    assert_eq!(tell("pigeon", "192.0.2.10").0, 1);
    assert_eq!(tell("pigeon", "192.0.2.10 2001:db8::10"), (2, "Addresses: 192.0.2.10, 2001:db8::10".to_owned()));
    assert_eq!(tell("pigeon", "192.0.2.10"), (3, "Addresses: 192.0.2.10".to_owned()));
    // A neighbour takes each name. What waits for its hour is begun only once; here it is not waited for.
    board.write("run/told/later", "");
    for number in 2..30 {
        assert_eq!(tell(&format!("pigeon-{number}"), "192.0.2.10").0, (number + 2).min(10));
    }
    assert!(board.report().contains("Server: pigeon-8.local"), "{}", board.report());
    for (uptime, mounts) in [(3_699, 10), (3_700, 11), (3_800, 11), (7_300, 12), (40_000, 13)] {
        board.write("uptime", &uptime.to_string());
        assert_eq!(tell(&format!("pigeon-{uptime}"), "192.0.2.10").0, mounts, "{uptime}");
    }
    // An hour later by itself.
    fs::remove_file(board.path("run/told/later")).unwrap();
    board.write("run/told/times", "40000 10");
    board.write("bin/sleep", &format!("#!/bin/sh\necho 43600 > {root}/uptime\n"));
    assert_eq!(tell("pigeon", "192.0.2.10").0, 13);
    let begun = std::time::Instant::now();
    while !board.report().contains("Server: pigeon.local") || board.path("run/told/lock").is_symlink() {
        assert!(begun.elapsed().as_secs() < 20, "{}", board.report());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_restore_that_is_wanted_and_not_done_keeps_the_stick_as_it_is() {
    let board = Board::new();
    board.account("alice@example.org");
    board.run("backup");
    let old = board.manifest("pigeon").unwrap();
    board.write("boot/pigeon.toml", "[board]\nrestore = true\n");
    // The stick comes too late; or somebody forgets the line until there is other mail.
    board.begin();
    board.write("stick-is-out", "");
    board.restore();
    assert!(board.read("run/found").contains("no stick"), "{}", board.said());
    fs::remove_file(board.path("stick-is-out")).unwrap();
    board.account("bob@example.org");
    for _ in 0..2 {
        board.run("backup");
        assert_eq!(board.manifest("pigeon").as_ref(), Some(&old));
        assert!(board.manifest("pigeon-2").is_none());
        assert_eq!(board.report().matches("no backup is made").count(), 1, "{}", board.report());
    }
    // One that is broken is not done either.
    board.begin();
    let name = board.path("media/stick/pigeon/pigeon/MANIFEST-1");
    let copy = board.path("media/stick/pigeon/pigeon/MANIFEST-1.copy");
    let whole = fs::read(&name).unwrap();
    for name in [&name, &copy] {
        fs::write(name, whole.strip_suffix(b"\n").unwrap()).unwrap();
    }
    board.restore();
    assert!(board.read("run/found").contains("damaged"), "{}", board.read("run/found"));
    assert!(!board.path("data/restored").exists());
    // Taken out, the line stops nothing.
    fs::write(&name, whole).unwrap();
    board.begin();
    board.account("bob@example.org");
    board.write("boot/pigeon.toml", "[board]\n");
    board.run("backup");
    assert!(board.manifest("pigeon-2").is_some());
}

#[test]
fn where_a_restore_may_be_wanted_nothing_is_kept_until_that_is_clear() {
    let board = Board::new();
    board.account("alice@example.org");
    board.run("backup");
    let old = board.manifest("pigeon").unwrap();
    for text in ["[board]\nrestore = yes\n", "\u{0}"] {
        board.begin();
        board.said();
        board.write("boot/pigeon.toml", text);
        board.restore();
        assert!(board.path("run/board/held").exists() && board.read("run/found").is_empty(), "{text}");
        // No server, no backup.
        board.write("run/board/data", "");
        board.run("serve");
        board.run("backup");
        let said = board.said();
        assert!(
            said.contains("there is no configuration") && said.contains("no backup is made: there is no mail yet"),
            "{said}"
        );
        assert_eq!((board.manifest("pigeon").as_ref(), board.report().as_str()), (Some(&old), ""));
        fs::remove_file(board.path("run/board/held")).unwrap();
    }
    // Corrected: the card is empty still.
    board.write("boot/pigeon.toml", "[board]\nrestore = \"true\"\n");
    board.restore();
    assert!(board.users().contains("alice@example.org") && !board.path("run/board/held").exists());
    // Who has mail is not held up.
    board.write("boot/pigeon.toml", "[board]\nrestore = yes\n");
    board.restore();
    assert!(!board.path("run/board/held").exists());
}

#[test]
fn a_stick_that_cannot_be_read_is_told_as_that() {
    let board = Board::new();
    board.program("mount", "case $* in *stick*) exit 1 ;; esac");
    board.run("backup");
    assert!(board.report().contains("no file system that can be read here"), "{}", board.report());
    board.write("boot/pigeon.toml", "[board]\nrestore = true\n");
    board.restore();
    let found = board.read("run/found");
    assert!(found.contains("restore: the stick MAIL-BACKUP has no file system that can be read here"), "{found}");
    assert!(found.contains("nothing was restored") && found.lines().count() == 1, "{found}");
}

#[test]
fn a_clock_that_nobody_set_is_in_the_report_once() {
    for (is_right, lines) in [(false, 1), (true, 0)] {
        let board = Board::new();
        board.write("boot/pigeon-report.txt", "All is well.\r\n");
        // Three minutes are over once the clock's program has ended.
        let until = |file: &str| format!("timeout 20 sh -c 'until [ -e ROOT/{file} ]; do /bin/sleep 0.01; done'");
        board.program("sleep", &format!("[ $1 = 30 ] || {}", until("ended")));
        let right = if is_right { format!("echo right; {}", until("run/clock/right")) } else { ":".to_owned() };
        board.program("pigeon", &format!("[ \"$1 $2\" = 'board clock' ] && {{ {right}; }}\n: > ROOT/ended"));
        for _ in 0..2 {
            board.run_with("helper", &["clock"]);
        }
        let told = || board.report().matches("no time server was believed").count();
        let begun = std::time::Instant::now();
        while told() < lines && begun.elapsed().as_secs() < 20 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(told(), lines, "{}", board.report());
        assert_eq!(board.report().starts_with("All is well, but for"), lines == 1, "{}", board.report());
    }
}

#[test]
fn what_is_whole_of_a_damaged_backup_is_restored_and_the_rest_is_told() {
    let board = Board::new();
    board.account("alice@example.org");
    // Too large for a commit segment and not to be compressed, so that it has a file of its own.
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'A' + (state >> 24) as u8 % 58)
    };
    let line = |_| (0..60).map(|_| letter()).chain("\r\n".chars()).collect::<String>();
    let large: String = (0..5_000).map(line).collect();
    fs::create_dir(board.path("mail")).unwrap();
    board.write("mail/1.eml", "Subject: small\r\n\r\nhello\r\n");
    board.write("mail/2.eml", &format!("Subject: large\r\n\r\n{large}"));
    let mut importing = Command::new(cargo_bin("pigeon"));
    importing.arg("--config").arg(board.path("data/pigeon/pigeon.toml"));
    importing.args(["import", "--account", "alice@example.org"]).arg(board.path("mail"));
    assert!(importing.output().unwrap().status.success());
    board.run("backup");
    let log = board.path("media/stick/pigeon/pigeon/log");
    let bodies = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let body = bodies.filter(|path| path.extension().is_some_and(|end| end == "body")).max().unwrap();
    let mut octets = fs::read(&body).unwrap();
    let middle = octets.len() / 2;
    octets[middle..middle + 2].iter_mut().for_each(|octet| *octet ^= 1);
    fs::write(&body, &octets).unwrap();
    let old = board.manifest("pigeon").unwrap();

    board.write("boot/pigeon.toml", "[board]\nrestore = true\n");
    board.begin();
    board.said();
    board.restore();
    let (said, found) = (board.said(), board.read("run/found"));
    assert!(said.contains("MB from pigeon/pigeon of the stick: do not switch the board off"), "{said}");
    assert!(said.contains("restored from the stick: ") && said.contains("1 accounts, 2 messages"), "{said}");
    let name = body.file_name().unwrap().to_str().unwrap();
    assert!(found.contains("pigeon/pigeon of the stick is damaged") && found.contains(name), "{found}");
    assert!(found.contains("It stays on the stick as it is") && found.lines().count() == 1, "{found}");
    assert!(board.users().contains("alice@example.org"));
    // Backups go on beside it, under whatever name.
    for _ in 0..2 {
        board.run("backup");
        assert!(board.said().contains("backed up to the stick in "), "{}", board.report());
    }
    assert_eq!((board.manifest("pigeon"), fs::read(&body).unwrap()), (Some(old), octets));
    assert!(board.manifest("pigeon-2").is_some() && board.manifest("pigeon-3").is_none());
    assert!(board.report().is_empty(), "{}", board.report());
}

#[test]
fn mail_without_its_index_is_no_empty_card_and_what_was_restored_stays_so() {
    let board = Board::new();
    board.account("alice@example.org");
    board.run("backup");
    board.write("boot/pigeon.toml", "[board]\nrestore = true\n");
    board.begin();
    board.restore();
    assert_eq!(board.read("data/restored"), "pigeon\n");
    board.said();
    // A cut in the middle of what the store does with a damaged index.
    fs::remove_file(board.path("data/pigeon/index.redb")).unwrap();
    board.write("stick-is-out", "");
    board.restore();
    assert_eq!((board.read("run/found").as_str(), board.said().as_str()), ("", ""));
    assert_eq!(board.read("data/restored"), "pigeon\n");
    // A restore that a cut met is done again, and is none until it is.
    board.write("data/pigeon/restoring", "");
    board.restore();
    assert!(board.read("run/found").contains("nothing was restored") && !board.path("data/restored").exists());
    fs::remove_file(board.path("stick-is-out")).unwrap();
    board.restore();
    assert!(board.users().contains("alice@example.org") && board.path("data/restored").exists(), "{}", board.said());
}

#[test]
fn a_server_that_does_not_start_is_in_the_report_from_the_third_fall_on_with_its_last_words() {
    let board = Board::new();
    board.write("boot/pigeon-report.txt", "All is well.\r\n");
    board.write("data/pigeon/pigeon.toml", "");
    board.write("run/board/data", "");
    let log = "i=0; while [ $i -lt 100 ]; do echo \"<6>pigeon: line $i\"; i=$((i + 1)); done";
    board.program(
        "pigeon",
        &format!(
            "{log}\necho '<3>pigeon: cannot listen on 192.0.2.1:25: not here' >&2\n\
             echo '    remedy: take another' >&2; exit 1"
        ),
    );
    for fall in 1..=5 {
        board.run("serve");
        let said = board.said();
        assert!(said.contains("<6>pigeon: line 99\n") && said.contains("<3>pigeon: cannot listen"), "{said}");
        assert!(said.contains(&format!("again in {} s", fall * fall)), "{said}");
        let kept = board.read("run/serve.said") + &board.read("run/serve.before");
        assert!(kept.lines().count() <= 40, "{kept}");
        let report = board.report();
        let verdict = if fall < 3 { "All is well.\r\n" } else { "All is well, but for what stands at the end.\r\n" };
        assert!(report.starts_with(verdict) && report.lines().count() == 1 + usize::from(fall >= 3), "{report}");
        let told = "the server does not start: line 99 cannot listen on 192.0.2.1:25: not here remedy: take another";
        assert_eq!(report.contains(told), fall >= 3, "{report}");
    }
}

#[test]
fn a_failed_backup_is_in_the_report_once() {
    let board = Board::new();
    for _ in 0..2 {
        board.run("backup");
        assert!(board.said().contains("the backup to the stick failed"));
        assert_eq!(board.report().lines().count(), 1, "{}", board.report());
    }
}

const RELEASE: &[u8] = include_bytes!("data/release/example.release");

/// A download with another octet at its end.
fn damaged() -> Vec<u8> {
    let (last, all) = RELEASE.split_last().unwrap();
    [all, &[last ^ 1]].concat()
}

#[test]
fn an_update_that_did_not_stay_is_tried_three_times_each_on_another_day_or_plugging_in() {
    let board = Board::new();
    fs::write(board.takes_updates(), RELEASE).unwrap();
    let is_tried = |days: u64, words: &[&str]| {
        board.write("seconds", &(1_800_000_000 + days * 86_400).to_string());
        // It fell back.
        board.write("boot/slots.env", &format!("{:\n<512}", "good=a\ntry=\ntries=0\n"));
        board.run_with("backup", words);
        board.said().contains("rebooted")
    };
    assert!(is_tried(0, &[]));
    // It met no network, as it tells itself; the stick was there at the start.
    board.write("data/update-failed", "there was no network\n");
    assert!(!is_tried(0, &[]));
    let told = "it was started, and did not stay: there was no network. It is tried again tomorrow";
    assert!(board.report().contains(told), "{}", board.report());
    assert!(is_tried(1, &[]) && !is_tried(1, &[]));
    assert!(is_tried(1, &["plugged"]));
    assert!(!is_tried(1, &["plugged"]) && !is_tried(9, &[]));
    assert!(board.report().contains("is not tried again: it was started, and did not stay"), "{}", board.report());
}

#[test]
fn a_damaged_newest_update_does_not_hide_a_good_one_beside_it() {
    let board = Board::new();
    fs::write(board.takes_updates(), RELEASE).unwrap();
    // As new, and looked at first.
    fs::write(board.path("media/stick/zz.pigeon-update"), damaged()).unwrap();
    board.run("backup");
    assert!(board.said().contains("rebooted"));
    assert!(board.report().contains("zz.pigeon-update: "), "{}", board.report());
    assert!(board.read("boot/slots.env").starts_with("good=a\ntry=b\n"));
}

#[test]
fn a_store_that_is_in_use_for_now_is_no_failed_backup() {
    let board = Board::new();
    board.account("alice@example.org");
    board.write("is-busy", "");
    assert_eq!(board.run_with("backup", &[]), 75);
    assert!(board.said().contains("no backup for now: another process") && board.report().is_empty());
    fs::remove_file(board.path("is-busy")).unwrap();
    assert_eq!(board.run_with("backup", &[]), 0);
}

#[test]
fn an_update_is_applied_once_and_a_better_copy_of_a_bad_one_is_tried() {
    let board = Board::new();
    let file = board.takes_updates();
    let is_tried = || {
        board.run("backup");
        let said = board.said();
        assert!(said.contains("backed up to the stick in "), "{said}");
        said.contains("rebooted")
    };
    // A damaged download: told, and not written anew at each plugging in.
    fs::write(&file, damaged()).unwrap();
    board.write("media/stick/other.pigeon-update", "something else");
    assert!(!is_tried());
    assert!(board.report().contains("is damaged or incomplete"), "{}", board.report());
    assert!(board.report().contains("other.pigeon-update: this is no release file"), "{}", board.report());
    assert!(!is_tried());
    assert!(board.report().contains("It is tried again tomorrow, or when the stick"), "{}", board.report());
    let lines = board.report().lines().count();
    assert!(!is_tried());
    assert_eq!(board.report().lines().count(), lines, "{}", board.report());
    // The running system is on trial: later.
    fs::write(&file, RELEASE).unwrap();
    board.write("boot/slots.env", &format!("{:\n<512}", "good=b\ntry=a\ntries=1\n"));
    assert!(!is_tried());
    // Fetched again, under the same name.
    board.write("boot/slots.env", &format!("{:\n<512}", "good=a\ntry=\ntries=0\n"));
    assert!(is_tried());
    assert!(board.read("boot/slots.env").starts_with("good=a\ntry=b\n"));
    // It fell back; then it stays.
    assert!(!is_tried());
    assert!(board.report().contains("it was started, and did not stay"), "{}", board.report());
    board.write("boot/pigeon-report.txt", "");
    board.write("data/updates", "");
    board.write("etc/pigeon-version", "0.2.0\n");
    assert!(!is_tried());
    assert!(!board.report().contains("0.2.0"), "{}", board.report());
}

#[test]
fn the_servers_files_are_read_as_the_server_alone() {
    let board = Board::new();
    board.account("alice@example.org");
    assert_eq!(board.run_with("backup", &[]), 0);
    board.write("hostname", "other");
    assert_eq!(board.run_with("backup", &[]), 0);
    assert!(board.manifest("pigeon").is_some() && board.manifest("other").is_none());
    // Who may not be the server's user does not learn which store it is.
    board.write("su-refuses", "");
    assert_eq!(board.run_with("backup", &[]), 0);
    assert!(board.manifest("other").is_some());
}

/// A system whose words from U-Boot are these; each `sleep` is followed by these commands, which know its number as $n. Answers how
/// many seconds it was given until it went (a reboot), and what was said; no seconds when it stayed.
fn on_trial(words: &str, after_each_sleep: &str) -> (Option<u32>, String) {
    let board = Board::new();
    for name in ["functions", "trial"] {
        let script = board.read(name);
        board.write(name, &script.replace("/proc/", &format!("{}/", board.path("proc").display())));
    }
    fs::create_dir_all(board.path("proc/77")).unwrap();
    board.write("proc/cmdline", words);
    board.write("proc/77/io", "rchar: 1\nwchar: 1\n");
    board.write("run/board/serve.pid", "77\n");
    board.program("ip", ":");
    let count = "echo $1 >> ROOT/slept\nn=$(wc -l < ROOT/slept)\n";
    let reads = "reads() { echo rchar: $n > ROOT/proc/77/io; }\nready() { : > ROOT/run/board/ready; }\n";
    board.program("sleep", &format!("{count}{reads}healthy() {{ : > ROOT/run/board/healthy; }}\n{after_each_sleep}"));
    board.program("reboot", "[ -n \"$1\" ] || cp ROOT/slept ROOT/went");
    board.run("trial");
    let went = board.path("went").exists();
    let seconds = went.then(|| board.read("went").lines().map(|line| line.parse::<u32>().unwrap()).sum());
    (seconds, board.said() + &board.read("data/update-failed"))
}

#[test]
fn a_system_on_trial_has_five_minutes_and_longer_while_its_server_reads_what_is_kept() {
    const TRIED: &str = "console=ttyS0 pigeon.slot=b pigeon.trial=b";
    // The system that is not on trial stays.
    assert_eq!(on_trial("pigeon.slot=a pigeon.trial=", ""), (None, String::new()));
    assert_eq!(on_trial("pigeon.slot=a pigeon.trial=b", ""), (None, String::new()));
    assert_eq!(on_trial(TRIED, "[ $n -lt 2 ] || healthy"), (None, String::new()));
    let back = "has not come up: back to the one before";
    let gone = |after_each_sleep: &str| {
        let (seconds, said) = on_trial(TRIED, after_each_sleep);
        assert!(said.contains(back), "{said}");
        (seconds.unwrap(), said)
    };
    // A server that is silent, one that falls again and again, and none at all.
    assert_eq!(gone(":").0, 300);
    assert_eq!(gone("mkdir ROOT/proc/$n; echo rchar: $n > ROOT/proc/$n/io; echo $n > ROOT/run/board/serve.pid").0, 300);
    assert_eq!(gone("rm -f ROOT/run/board/serve.pid").0, 300);
    // It serves, and no network reaches it.
    let (seconds, said) = gone("ready");
    assert!(seconds == 300 && said.contains("there was no network"), "{seconds} {said}");
    // An index is made anew; then it serves, and is good some seconds later.
    let (seconds, said) = on_trial(TRIED, "reads; [ $n -lt 20 ] || ready; [ $n -lt 21 ] || healthy");
    assert!(seconds.is_none() && said.matches("is waited for").count() == 1, "{seconds:?} {said}");
    // Or it is not, or hangs in the middle of it, or never comes to its end.
    assert_eq!(gone("reads; [ $n -lt 20 ] || ready").0, 240 + 20 * 60);
    assert_eq!(gone("[ $n -ge 10 ] || reads").0, 240 + 9 * 60);
    assert_eq!(gone("reads").0, 3_600);
}
