//! `backup`, `restore` and `salvage` as their operator meets them, with a server and without.

use super::process::{Home, PATIENCE, Talk, text, until};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;
use std::sync::mpsc;

fn deliver(home: &Home, words: &str) {
    let mut talk = Talk::to(home.smtp);
    talk.line();
    for (say, answer) in [
        ("HELO client.example.net", "250"),
        ("MAIL FROM:<>", "250"),
        ("RCPT TO:<alice@example.org>", "250"),
        ("DATA", "354"),
        (&format!("Subject: {words}\r\n\r\n{words}\r\n."), "250"),
    ] {
        talk.say(say);
        let line = talk.line();
        assert!(line.starts_with(answer), "{say}: {line}");
    }
}

/// UIDVALIDITY, UIDNEXT, what UID SEARCH and UIDL say, and every message.
fn seen(home: &Home) -> (String, String, String, String, Vec<String>) {
    let mut imap = Talk::to(home.imap);
    imap.line();
    let mut ask = |command: &str| {
        imap.say(&format!("a {command}"));
        let mut all = String::new();
        loop {
            let line = imap.line();
            assert!(!line.is_empty(), "{command}: the server closed");
            all.push_str(&line);
            if line.starts_with("a ") {
                assert!(line.starts_with("a OK"), "{command}: {line}");
                return all;
            }
        }
    };
    ask("LOGIN alice@example.org wonderland-7");
    let status = ask("STATUS INBOX (UIDVALIDITY MESSAGES)");
    let next = ask("STATUS INBOX (UIDNEXT)");
    ask("SELECT INBOX");
    let found = ask("UID SEARCH ALL");
    let mail = ask("UID FETCH 1:* (FLAGS BODY.PEEK[])");
    let mut pop3 = Talk::to(home.pop3);
    pop3.line();
    let mut uidl = Vec::new();
    for say in ["USER alice@example.org", "PASS wonderland-7", "UIDL"] {
        pop3.say(say);
        let line = pop3.line();
        assert!(line.starts_with("+OK"), "{say}: {line}");
    }
    loop {
        let line = pop3.line();
        if line.starts_with('.') {
            break;
        }
        uidl.push(line);
    }
    (status, next, found, mail, uidl)
}

fn uid_next(status: &str) -> u32 {
    let (_, rest) = status.split_once("UIDNEXT ").expect("a UIDNEXT");
    rest.split(')').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

#[test]
fn a_backup_made_while_serving_comes_back_with_every_message_uid_flag_and_account() {
    let home = Home::new("");
    let stick = home.path().join("stick");
    let folder = stick.to_string_lossy().into_owned();
    let server = home.serve();
    let added = home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    assert_eq!(added.status.code(), Some(0), "{}", both(&added));
    for n in 0..5 {
        deliver(&home, &format!("mail {n}"));
    }
    let first = home.verb(&["backup", &folder], "");
    assert_eq!(first.status.code(), Some(0), "{}", both(&first));
    assert!(both(&first).contains("complete"), "{}", both(&first));
    deliver(&home, "one more");
    let before = seen(&home);
    let second = home.verb(&["backup", &folder], "");
    assert_eq!(second.status.code(), Some(0), "{}", both(&second));
    let checked = home.verb(&["backup", "--check", &folder], "");
    assert_eq!(checked.status.code(), Some(0), "{}", both(&checked));
    assert!(both(&checked).contains("is good"), "{}", both(&checked));
    assert!(!home.path().join("data.checking").exists());

    // A running server's data are not restored over, nor data that are there.
    let refused = home.verb(&["restore", &folder], "");
    assert_eq!(refused.status.code(), Some(75), "{}", both(&refused));
    let authority = fs::read(home.data().join("tls/ca.pem")).ok();
    drop(server);
    until("the server has ended", || std::net::TcpStream::connect(("127.0.0.1", home.imap)).is_err());
    let refused = home.verb(&["restore", &folder], "");
    assert_eq!(refused.status.code(), Some(1), "{}", both(&refused));
    assert!(both(&refused).contains("not empty"), "{}", both(&refused));

    fs::remove_dir_all(home.data()).expect("the data are removed");
    let restored = home.verb(&["restore", &folder], "");
    assert_eq!(restored.status.code(), Some(0), "{}", both(&restored));
    assert!(both(&restored).contains("1 accounts, 6 messages"), "{}", both(&restored));
    assert!(!home.data().join("restoring").exists());
    assert_eq!(fs::read(home.data().join("tls/ca.pem")).ok(), authority);
    let server = home.serve();
    let after = seen(&home);
    assert_eq!((&before.0, &before.2, &before.3, &before.4), (&after.0, &after.2, &after.3, &after.4));
    assert!(uid_next(&after.1) >= uid_next(&before.1) + 1_000_000, "{} {}", before.1, after.1);
    deliver(&home, "after it");
    drop(server);
}

#[test]
fn a_new_store_does_not_back_over_the_mail_of_the_one_before() {
    let home = Home::new("");
    let stick = home.path().join("stick");
    let folder = stick.to_string_lossy().into_owned();
    let add = |name: &str| home.verb(&["user", "add", name, "--password-stdin"], "wonderland-7\n");
    add("alice@example.org");
    assert_eq!(home.verb(&["backup", &folder], "").status.code(), Some(0));
    let manifest = fs::read_to_string(stick.join("MANIFEST-1")).expect("a manifest");
    assert!(manifest.lines().any(|line| line.starts_with("store ")), "{manifest}");
    assert!(manifest.lines().any(|line| line.starts_with("made 1")), "{manifest}");
    // A new card, say: nothing was brought back.
    let old = home.path().join("old");
    fs::rename(home.data(), &old).expect("the data are put aside");
    add("bob@example.org");
    let refused = home.verb(&["backup", &folder], "");
    assert_eq!(refused.status.code(), Some(1), "{}", both(&refused));
    assert!(both(&refused).contains("another store") && both(&refused).contains("remedy: "), "{}", both(&refused));
    assert_eq!(fs::read_to_string(stick.join("MANIFEST-1")).ok(), Some(manifest));
    let beside = home.path().join("stick-2").to_string_lossy().into_owned();
    assert_eq!(home.verb(&["backup", &beside], "").status.code(), Some(0));
    // What was backed up comes back, and goes on with its folder.
    fs::remove_dir_all(home.data()).expect("the data are removed");
    assert_eq!(home.verb(&["restore", &folder], "").status.code(), Some(0));
    let again = home.verb(&["backup", &folder], "");
    assert_eq!(again.status.code(), Some(0), "{}", both(&again));
}

#[test]
fn a_restore_that_is_cut_short_is_served_by_nobody_and_can_be_run_again() {
    let home = Home::new("");
    let stick = home.path().join("stick");
    let folder = stick.to_string_lossy().into_owned();
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    let made = home.verb(&["backup", &folder], "");
    assert_eq!(made.status.code(), Some(0), "{}", both(&made));
    let whole = home.path().join("whole");
    fs::rename(home.data(), &whole).expect("the data are put aside");
    let beside = home.path().join("stick-2").to_string_lossy().into_owned();
    let mark = home.data().join("restoring");
    let is_refused = |why: &str| {
        for verb in [&["domain", "add", "example.net"][..], &["salvage"], &["verify"], &["backup", &beside]] {
            let refused = home.verb(verb, "");
            assert_eq!(refused.status.code(), Some(1), "{why}: {verb:?}: {}", both(&refused));
            assert!(both(&refused).contains("`pigeon restore` again"), "{why}: {verb:?}: {}", both(&refused));
        }
    };
    let is_restored = |why: &str| {
        let restored = home.verb(&["restore", &folder], "");
        assert_eq!(restored.status.code(), Some(0), "{why}: {}", both(&restored));
        let listed = home.verb(&["user", "list"], "");
        assert!(both(&listed).contains("alice@example.org"), "{why}: {}", both(&listed));
        assert!(!mark.exists(), "{why}");
    };
    // A part of the files, and what another backup had.
    fs::create_dir_all(home.data().join("log")).expect("a folder");
    fs::write(&mark, "A restore").expect("a file");
    fs::write(home.data().join("lock"), "").expect("a file");
    fs::write(home.data().join("index.redb"), "a part").expect("a file");
    fs::write(home.data().join("log/0000000099.body"), "another's").expect("a file");
    is_refused("a part");
    is_restored("a part");
    assert!(!home.data().join("log/0000000099.body").exists());
    // All of it, but that nobody said so.
    fs::write(&mark, "A restore").expect("a file");
    is_refused("all of it");
    is_restored("all of it");
    // It had hardly begun.
    fs::rename(home.data(), home.path().join("aside")).expect("the data are put aside");
    fs::create_dir_all(home.data().join("snapshots")).expect("a folder");
    fs::write(home.data().join("lock"), "").expect("a file");
    fs::write(home.data().join("restoring.tmp"), "A").expect("a file");
    is_restored("hardly begun");
}

#[test]
fn of_a_damaged_backup_comes_back_what_is_whole_on_demand() {
    let home = Home::new("");
    let stick = home.path().join("stick");
    let folder = stick.to_string_lossy().into_owned();
    let server = home.serve();
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    for n in 0..5 {
        deliver(&home, &format!("{n}zqxjkvw"));
    }
    assert_eq!(home.verb(&["backup", &folder], "").status.code(), Some(0));
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    fs::rename(home.data(), home.path().join("aside")).expect("the data are put aside");
    // One of the last files: what was copied before it is taken back, and another try finds nothing in its way.
    let key = stick.join("tls/ca.pem");
    let whole = fs::read(&key).expect("the certificate is read");
    fs::write(&key, [b"x", &whole[1..]].concat()).expect("the certificate is damaged");
    let refused = home.verb(&["restore", &folder], "");
    assert_eq!(refused.status.code(), Some(1), "{}", both(&refused));
    assert!(both(&refused).contains("`pigeon restore --damaged`"), "{}", both(&refused));
    fs::write(&key, &whole).expect("the certificate is mended");
    let restored = home.verb(&["restore", &folder], "");
    assert_eq!(restored.status.code(), Some(0), "{}", both(&restored));
    fs::remove_dir_all(home.data()).expect("the data are removed");
    let segment = files(&stick.join("log")).into_iter().next().expect("a segment");
    let path = stick.join("log").join(&segment);
    let mut octets = fs::read(&path).expect("the segment is read");
    let needle = b"3zqxjkvw";
    let at = octets.windows(needle.len()).position(|window| window == needle).expect("the body is there");
    octets[at] ^= 1;
    fs::write(&path, &octets).expect("the segment is written");
    let refused = home.verb(&["restore", &folder], "");
    assert_eq!(refused.status.code(), Some(1), "{}", both(&refused));
    assert!(both(&refused).contains("`pigeon restore --damaged`"), "{}", both(&refused));
    let restored = home.verb(&["restore", "--damaged", &folder], "");
    assert_eq!(restored.status.code(), Some(1), "{}", both(&restored));
    assert!(both(&restored).contains(&format!("damaged: log/{segment} of the backup")), "{}", both(&restored));
    assert!(both(&restored).contains("restored, 1 accounts, 5 messages"), "{}", both(&restored));
    let verified = home.verb(&["verify"], "");
    assert!(both(&verified).contains("alice@example.org \"INBOX\" UID 4"), "{}", both(&verified));
    assert!(!both(&verified).contains("UID 3") && !both(&verified).contains("UID 5"), "{}", both(&verified));
    let inside = home.verb(&["restore", &folder, "--to", &stick.join("data").to_string_lossy()], "");
    assert_eq!(inside.status.code(), Some(2), "{}", both(&inside));
}

/// What lies in a folder of the server's user leads root nowhere: all of a restore is done as that user.
#[test]
fn root_restores_as_whose_the_folder_is() {
    const OTHER: u32 = 12_345;
    if !rustix::process::geteuid().is_root() {
        println!("left out: only root can");
        return;
    }
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    let home = Home::new("");
    let folder = home.path().join("stick").to_string_lossy().into_owned();
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    assert_eq!(home.verb(&["backup", &folder], "").status.code(), Some(0));
    fs::remove_dir_all(home.data()).expect("the data are removed");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("others may look");
    fs::set_permissions(home.path().join("stick"), fs::Permissions::from_mode(0o700)).expect("the stick is root's");
    let victim = home.path().join("victim");
    let own = |path: &Path| fs::metadata(path).expect("it is there").uid();
    for (name, marked) in [("lock", false), ("restoring.tmp", false), ("log", true), ("restoring", false)] {
        drop(fs::remove_dir_all(home.data()));
        drop((fs::remove_dir_all(&victim), fs::remove_file(&victim)));
        fs::create_dir(home.data()).expect("a folder");
        match name {
            "log" => {
                fs::create_dir(&victim).expect("a folder");
                fs::write(victim.join("shadow"), "secret").expect("a file");
                fs::set_permissions(&victim, fs::Permissions::from_mode(0o755)).expect("others may look");
            }
            _ => fs::write(&victim, "secret").expect("a file"),
        }
        symlink(&victim, home.data().join(name)).expect("a link");
        if marked {
            fs::write(home.data().join("restoring"), "").expect("a mark");
        }
        chown(home.data(), Some(OTHER), Some(OTHER)).expect("it is another's");
        let tried = home.verb(&["restore", &folder], "");
        assert_eq!(tried.status.code(), Some(1), "{name}: {}", both(&tried));
        let file = if name == "log" { victim.join("shadow") } else { victim.clone() };
        assert_eq!(
            (own(&file), fs::read_to_string(&file).ok().as_deref()),
            (0, Some("secret")),
            "{name}: {}",
            both(&tried)
        );
    }
    drop(fs::remove_dir_all(home.data()));
    fs::create_dir(home.data()).expect("a folder");
    chown(home.data(), Some(OTHER), Some(OTHER)).expect("it is another's");
    let restored = home.verb(&["restore", &folder], "");
    assert_eq!(restored.status.code(), Some(0), "{}", both(&restored));
    for name in ["log", "snapshots", "index.redb", "lock", "store.id"] {
        assert_eq!(own(&home.data().join(name)), OTHER, "{name}");
    }
}

#[test]
fn a_look_at_a_backup_leaves_another_one_alone() {
    let home = Home::new("");
    let folder = home.path().join("stick").to_string_lossy().into_owned();
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    assert_eq!(home.verb(&["backup", &folder], "").status.code(), Some(0));
    let place = home.data().with_file_name("data.checking");
    fs::create_dir(&place).expect("a folder");
    fs::write(place.join("of-the-other"), "").expect("a file");
    let other = fs::File::open(&place).expect("it can be opened");
    rustix::fs::flock(&other, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("nobody has it");
    let busy = home.verb(&["backup", "--check", &folder], "");
    assert_eq!(busy.status.code(), Some(75), "{}", both(&busy));
    assert!(place.join("of-the-other").exists());
    // What one that was killed has left goes.
    drop(other);
    let good = home.verb(&["backup", "--check", &folder], "");
    assert_eq!(good.status.code(), Some(0), "{}", both(&good));
    assert!(!place.exists());
}

#[test]
fn a_refused_restore_leaves_no_store_behind() {
    let home = Home::new("");
    let stick = home.path().join("stick");
    let folder = stick.to_string_lossy().into_owned();
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    assert_eq!(home.verb(&["backup", &folder], "").status.code(), Some(0));
    let saved =
        fs::read_dir(stick.join("log")).expect("a folder").next().expect("a segment").expect("a segment").path();
    let mut octets = fs::read(&saved).expect("it can be read");
    let at = octets.len() / 2;
    octets[at] ^= 1;
    fs::write(&saved, octets).expect("it can be written");
    fs::remove_dir_all(home.data()).expect("the data are removed");
    let refused = home.verb(&["restore", &folder], "");
    assert_eq!(refused.status.code(), Some(1), "{}", both(&refused));
    for verb in [&["verify"][..], &["user", "list"]] {
        let nothing = home.verb(verb, "");
        assert_eq!(nothing.status.code(), Some(1), "{}", both(&nothing));
    }
    let done = home.verb(&["restore", &folder, "--damaged"], "");
    assert_eq!(done.status.code(), Some(1), "{}", both(&done));
    assert!(both(&done).contains(": restored, "), "{}", both(&done));
}

#[test]
fn a_store_at_rest_is_backed_up_too_and_a_broken_backup_is_said() {
    let home = Home::new("");
    let stick = home.path().join("stick");
    let folder = stick.to_string_lossy().into_owned();
    let nothing = home.verb(&["backup", &folder], "");
    assert_eq!(nothing.status.code(), Some(1), "{}", both(&nothing));
    let empty = home.verb(&["restore", &folder], "");
    assert_eq!(empty.status.code(), Some(1), "{}", both(&empty));
    let server = home.serve();
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    deliver(&home, "mail");
    let before = seen(&home);
    // Killed: the index lags behind, and the log's tail is as the kill left it.
    drop(server);
    until("the server has ended", || std::net::TcpStream::connect(("127.0.0.1", home.imap)).is_err());
    let made = home.verb(&["backup", &folder], "");
    assert_eq!(made.status.code(), Some(0), "{}", both(&made));
    let inside = home.verb(&["backup", &home.data().join("x").to_string_lossy()], "");
    assert_eq!(inside.status.code(), Some(2), "{}", both(&inside));

    let other = home.path().join("other");
    let restored = home.verb(&["restore", &folder, "--to", &other.to_string_lossy()], "");
    assert_eq!(restored.status.code(), Some(0), "{}", both(&restored));
    fs::remove_dir_all(home.data()).expect("the data are removed");
    fs::rename(&other, home.data()).expect("the restored data take their place");
    let server = home.serve();
    let after = seen(&home);
    assert_eq!((&before.0, &before.3), (&after.0, &after.3));
    drop(server);

    let segment = files(&stick.join("log")).into_iter().next().expect("a segment");
    let path = stick.join("log").join(segment);
    let mut octets = fs::read(&path).expect("the segment is read");
    if let Some(octet) = octets.get_mut(4_200) {
        *octet ^= 1;
    }
    fs::write(&path, octets).expect("the segment is written");
    let checked = home.verb(&["backup", "--check", &folder], "");
    assert_eq!(checked.status.code(), Some(1), "{}", both(&checked));
    assert!(both(&checked).contains("damaged"), "{}", both(&checked));
}

#[test]
fn salvage_makes_the_index_anew_and_says_so() {
    let home = Home::new("");
    let server = home.serve();
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    deliver(&home, "mail");
    let before = seen(&home);
    let refused = home.verb(&["salvage"], "");
    assert_eq!(refused.status.code(), Some(75), "{}", both(&refused));
    drop(server);
    until("the server has ended", || std::net::TcpStream::connect(("127.0.0.1", home.imap)).is_err());
    fs::write(home.data().join("index.redb"), b"rubbish").expect("the index is spoilt");
    let salvaged = home.verb(&["salvage"], "");
    assert_eq!(salvaged.status.code(), Some(0), "{}", both(&salvaged));
    assert!(both(&salvaged).contains("1 accounts, 1 messages"), "{}", both(&salvaged));
    assert!(both(&salvaged).contains("made from the log alone"), "{}", both(&salvaged));
    assert!(home.data().join("index.redb.broken-1").exists());
    let server = home.serve();
    let after = seen(&home);
    assert_eq!((&before.0, &before.2, &before.3, &before.4), (&after.0, &after.2, &after.3, &after.4));
    assert!(uid_next(&after.1) >= uid_next(&before.1) + 1_000_000);
    drop(server);
}

#[test]
fn what_is_no_folder_and_a_store_without_its_log_are_said() {
    let home = Home::new("");
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    let file = home.path().join("file").to_string_lossy().into_owned();
    fs::write(&file, "").expect("a file");
    let new = home.path().join("new").to_string_lossy().into_owned();
    for verb in [&["backup", &file][..], &["restore", &file, "--to", &new], &["restore", &new, "--to", &file]] {
        let refused = home.verb(verb, "");
        assert_eq!(refused.status.code(), Some(1), "{verb:?}: {}", both(&refused));
        assert!(
            both(&refused).contains("folder") && both(&refused).contains("remedy: "),
            "{verb:?}: {}",
            both(&refused)
        );
    }
    let index = fs::read(home.data().join("index.redb")).expect("the index is read");
    fs::remove_dir_all(home.data().join("log")).expect("the log is lost");
    let refused = home.verb(&["salvage"], "");
    assert_eq!(refused.status.code(), Some(1), "{}", both(&refused));
    assert!(both(&refused).contains("`pigeon restore`"), "{}", both(&refused));
    assert_eq!(fs::read(home.data().join("index.redb")).ok(), Some(index));
}

#[test]
fn verify_reads_everything_with_a_server_and_without_and_names_a_flipped_bit() {
    let home = Home::new("");
    let server = home.serve();
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    for n in 0..5 {
        deliver(&home, &format!("{n}zqxjkvw"));
    }
    let whole = home.verb(&["verify"], "");
    assert_eq!(whole.status.code(), Some(0), "{}", both(&whole));
    assert!(both(&whole).contains("nothing is damaged"), "{}", both(&whole));
    // One bit of one body, under the running server.
    let segment = files(&home.data().join("log")).into_iter().next().expect("a segment");
    let path = home.data().join("log").join(segment);
    let mut octets = fs::read(&path).expect("the segment is read");
    // The body stands before the event in which the subject is told again.
    let needle = b"3zqxjkvw";
    let at = octets.windows(needle.len()).position(|window| window == needle).expect("the body is there");
    if let Some(octet) = octets.get_mut(at) {
        *octet ^= 1;
    }
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(&path).expect("the segment is opened");
    file.write_all_at(&octets[at..=at], at as u64).expect("the bit is flipped");
    for again in ["with a server", "without"] {
        let broken = home.verb(&["verify"], "");
        assert_eq!(broken.status.code(), Some(1), "{again}: {}", both(&broken));
        assert!(both(&broken).contains("alice@example.org \"INBOX\" UID 4"), "{again}: {}", both(&broken));
        let json = home.verb(&["verify", "--json"], "");
        assert_eq!(json.status.code(), Some(1), "{again}");
        assert!(text(&json.stdout).contains("\"faults_total\": "), "{again}: {}", both(&json));
        if again == "with a server" {
            server.signal(rustix::process::Signal::TERM);
            until("the server has ended", || std::net::TcpStream::connect(("127.0.0.1", home.imap)).is_err());
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    }
}

#[test]
fn verify_without_a_server_tells_what_opening_the_store_had_to_mend() {
    let home = Home::new("");
    let server = home.serve();
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    deliver(&home, "mail");
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    let verified = |code, words: &str| {
        let verified = home.verb(&["verify"], "");
        assert_eq!(verified.status.code(), Some(code), "{}", both(&verified));
        assert!(both(&verified).contains(words), "{words}: {}", both(&verified));
    };
    verified(0, "nothing is damaged");
    type Spoils = (&'static str, fn(&Path));
    let spoil: [Spoils; 2] = [
        ("removed", |index| fs::remove_file(index).expect("the index is removed")),
        ("its first page lost", |index| {
            use std::os::unix::fs::FileExt;
            let file = fs::OpenOptions::new().write(true).open(index).expect("the index is opened");
            file.write_all_at(&[0; 4096], 0).expect("the page is lost");
        }),
    ];
    for (what, spoil) in spoil {
        spoil(&home.data().join("index.redb"));
        verified(1, "damaged: index.redb was missing or unreadable");
        verified(0, "nothing is damaged");
        assert!(home.data().join("index.redb").exists(), "{what}");
    }
}

#[test]
fn a_backup_on_the_disk_of_the_data_is_warned_of_and_refused_on_demand() {
    let home = Home::new("");
    home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    let deep = home.path().join("not/mounted/yet");
    let refused = home.verb(&["backup", "--other-disk", &deep.to_string_lossy()], "");
    assert_eq!(refused.status.code(), Some(1), "{}", both(&refused));
    assert!(both(&refused).contains("on the disk that the data is on, and nothing is written"), "{}", both(&refused));
    assert!(!home.path().join("not").exists());
    let warned = home.verb(&["backup", &deep.to_string_lossy()], "");
    assert_eq!(warned.status.code(), Some(0), "{}", both(&warned));
    assert!(
        text(&warned.stderr).contains("warning: ") && text(&warned.stdout).contains("complete"),
        "{}",
        both(&warned)
    );
    // Memory is another one.
    let other = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let made = home.verb(&["backup", "--other-disk", &other.path().to_string_lossy()], "");
    assert_eq!(made.status.code(), Some(0), "{}", both(&made));
    assert_eq!(text(&made.stderr), "");
}

/// What a verb printed, on either.
fn both(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// The answer to a request on the control socket.
fn answer(socket: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    socket.read_line(&mut line).expect("an answer");
    line
}

/// Whoever makes a backup holds the store's files, for hours where the stick is slow; a second one waits for them.
#[test]
fn those_who_hold_the_files_or_wait_to_leave_the_server_free_to_answer_others() {
    let home = Home::new("");
    let server = home.serve();
    let hold = || {
        let mut socket = UnixStream::connect(home.data().join("control.sock")).expect("a server");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket.write_all(b"{\"verb\":\"hold\"}\n").expect("asked");
        BufReader::new(socket)
    };
    let mut first = hold();
    assert!(answer(&mut first).contains("\"held\""));
    let (told, answers) = mpsc::channel();
    let others: Vec<_> = (0..4)
        .map(|_| {
            let (mut socket, told) = (hold(), told.clone());
            std::thread::spawn(move || told.send(answer(&mut socket)))
        })
        .collect();
    let next = || answers.recv_timeout(PATIENCE).expect("an answer");
    for _ in 0..3 {
        assert!(next().contains("\"try_later\""));
        assert_eq!(home.verb(&["status"], "").status.code(), Some(0));
    }
    drop(first);
    assert!(next().contains("\"held\""), "the one that waited");
    for other in others {
        other.join().expect("a thread").expect("told");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
}
