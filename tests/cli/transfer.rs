//! `import` and `export` as an operator uses them: what goes out and comes in again is the same, what is cut goes on, and
//! what cannot be taken is named.

use super::process::{Home, pigeon, text, until};
use pigeon::base::{Budget, Clock, Workers};
use pigeon::store::{Flags, Options, Store, Uid, UidSet};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";

/// A message as it is kept: flags, INTERNALDATE and its zone, octets.
type Kept = (Vec<String>, i64, i16, Vec<u8>);
/// The messages of mailboxes, in the order of UIDs.
type Mailboxes = BTreeMap<String, Vec<Kept>>;

fn home() -> Home {
    let home = Home::new("");
    for account in [ALICE, BOB] {
        let added = home.verb(&["user", "add", account, "--password-stdin"], "wonderland-7\n");
        assert_eq!(added.status.code(), Some(0), "{}", text(&added.stderr));
    }
    home
}

fn open(home: &Home) -> Store {
    let workers = Workers::new("test", 2, 1 << 20).expect("threads");
    Store::open(&home.data(), Options::default(), Clock::system(), workers, Budget::new(16 << 20)).expect("a store")
}

/// Everything that an account has; no server may run.
fn mailboxes(home: &Home, account: &str) -> Mailboxes {
    let store = open(home);
    let found = smol::block_on(async {
        let id = store.account(account).await.expect("a store").expect("an account").id;
        let mut found = Mailboxes::new();
        for mailbox in store.mailboxes(id).await.expect("mailboxes") {
            let (mut uids, _) = store.uids(mailbox.id).await.expect("UIDs");
            let mut kept = Vec::new();
            while !uids.is_empty() {
                let step = store.messages(mailbox.id, &uids, 100).await.expect("messages");
                for (entry, message) in step {
                    uids.remove_range(pigeon::store::UidRange { first: entry.uid, last: entry.uid });
                    let mut flags: Vec<String> = (0..mailbox.keywords.len())
                        .filter(|n| entry.flags.has(Flags::keyword(*n)))
                        .map(|n| mailbox.keywords.get(n).cloned().unwrap_or_default())
                        .collect();
                    for (flag, name) in [
                        (Flags::SEEN, "\\Seen"),
                        (Flags::ANSWERED, "\\Answered"),
                        (Flags::FLAGGED, "\\Flagged"),
                        (Flags::DELETED, "\\Deleted"),
                        (Flags::DRAFT, "\\Draft"),
                    ] {
                        if entry.flags.has(flag) {
                            flags.push(name.to_owned());
                        }
                    }
                    flags.sort();
                    let mut octets = Vec::new();
                    let mut reader = store.read(message.blob).await.expect("a body");
                    while (octets.len() as u64) < message.size {
                        octets.extend_from_slice(reader.at(octets.len() as u64).await.expect("octets"));
                    }
                    kept.push((flags, message.internal_date.unix_s, message.internal_date.zone_minutes, octets));
                }
            }
            found.insert(mailbox.name, kept);
        }
        found
    });
    store.close();
    found
}

fn ok(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn stop(server: Option<super::process::Server>) {
    if let Some(server) = server {
        server.signal(Signal::TERM);
        assert_eq!(server.wait(), Some(0));
    }
}

fn import(home: &Home, source: &Path, account: &str) -> Output {
    home.verb(&["import", &source.display().to_string(), "--account", account], "")
}

fn export(home: &Home, account: &str, target: &Path, format: &str) -> Output {
    home.verb(&["export", account, &target.display().to_string(), "--format", format], "")
}

/// A file of a Maildir, with a time.
fn put(folder: &Path, sub: &str, name: &str, octets: &[u8], unix_s: u64) {
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(folder.join(sub)).expect("a folder");
    }
    let path = folder.join(sub).join(name);
    fs::write(&path, octets).expect("a file");
    let file = fs::File::options().write(true).open(path).expect("the file");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s)).expect("a time");
}

/// Mail of every kind: odd octets verbatim, flags, keywords, folders with names that need care.
fn all_kinds(folder: &Path) {
    let mut odd: Vec<PathBuf> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/odd"))
        .expect("the odd ones")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .collect();
    odd.sort();
    for (n, path) in odd.iter().enumerate() {
        let octets = fs::read(path).expect("a message");
        // Both sizes the same: the octets are as they are.
        let zone = [",Z=120", "", ",Z=-570"].iter().cycle().nth(n).copied().unwrap_or_default();
        let flags = ["", "S", "FS", "DFRST", "PRS", "ab", "Sbc"].iter().cycle().nth(n).copied().unwrap_or_default();
        let name = format!("{n:04}.odd,S={0},W={0}{zone}:2,{flags}", octets.len());
        put(folder, if flags.is_empty() { "new" } else { "cur" }, &name, &octets, 1_000_000_000 + 86_399 * n as u64);
    }
    fs::write(folder.join("dovecot-keywords"), "0 work\n1 $Junk\n2 a/b{c\n").expect("keywords");
    for (n, name) in
        [".Sent", ".Archive.2020", ".Entw&APw-rfe", ".a&AC4-b", ".100%", ".INBOX.below", ".Empty"].iter().enumerate()
    {
        let below = folder.join(name);
        let mail = format!("Subject: {name}\n\nFrom here on\n>From there\n\nFrom bob Fri Jul  8 12:08:34 2011\n\n");
        put(&below, "cur", &format!("{n}.x:2,S"), mail.as_bytes(), 5_000 + n as u64);
        put(&below, "new", "9.y", b"Subject: two\r\n\r\n\r\n", 6_000);
        if *name == ".Empty" {
            fs::remove_dir_all(below.join("cur")).expect("removed");
            fs::remove_dir_all(below.join("new")).expect("removed");
            fs::create_dir(below.join("cur")).expect("a folder");
        }
    }
}

#[test]
fn what_is_exported_and_imported_again_is_the_same_in_every_format() {
    let home = home();
    let source = home.path().join("source");
    all_kinds(&source);
    ok(&import(&home, &source, ALICE));
    let wanted = mailboxes(&home, ALICE);
    assert!(wanted["INBOX"].len() > 80, "{} odd ones", wanted["INBOX"].len());
    assert!(wanted["Empty"].is_empty() && wanted["INBOX/below"].len() == 2);
    assert_eq!(
        wanted["Entwürfe"][0].3,
        b"Subject: .Entw&APw-rfe\r\n\r\nFrom here on\r\n>From there\r\n\r\nFrom bob Fri Jul  8 12:08:34 2011\r\n\r\n"
    );
    let keyword = |name: &str| wanted["INBOX"].iter().filter(|kept| kept.0.iter().any(|flag| flag == name)).count();
    assert!(keyword("$Junk") > 9 && keyword("$Forwarded") > 9 && keyword("\\Draft") > 9);
    assert_eq!(keyword("a/b{c"), 0, "no keyword of IMAP's");

    // The server runs for some of it.
    for (n, format) in ["maildir", "mbox", "eml"].into_iter().enumerate() {
        let server = (n != 1).then(|| home.serve());
        let target = home.path().join(format);
        ok(&export(&home, ALICE, &target, format));
        assert!(!target.join(".pigeon-export.json").exists());
        ok(&import(&home, &target, BOB));
        stop(server);
        let found = mailboxes(&home, BOB);
        for (name, kept) in &wanted {
            let other = found.get(name).unwrap_or_else(|| panic!("{format}: no {name}"));
            assert_eq!(kept.len(), other.len(), "{format}: {name}");
            for (n, (one, other)) in kept.iter().zip(other).enumerate() {
                assert_eq!(text(&one.3), text(&other.3), "{format}: {name} {n}");
                assert_eq!((&one.0, one.1, one.2), (&other.0, other.1, other.2), "{format}: {name} {n}");
                assert!(one == other, "{format}: {name} {n}: octets");
            }
        }
        assert_eq!(wanted.len(), found.len(), "{format}");
        ok(&home.verb(&["user", "remove", BOB], ""));
        ok(&home.verb(&["user", "add", BOB, "--password-stdin"], "builder-22\n"));
    }
}

#[test]
fn an_import_that_is_killed_again_and_again_brings_everything_in_once() {
    const ROUNDS: usize = 24;
    const MESSAGES: usize = 16_000;
    let home = home();
    let source = home.path().join("source");
    // Many alike, so that only their number can be right or wrong; some larger than what rides in a batch.
    let mut wanted: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for n in 0..MESSAGES {
        let folder = if n < MESSAGES / 2 { source.clone() } else { source.join(format!(".F{}", n % 3)) };
        let bytes = if n % 500 == 0 { 200_000 } else { 300 };
        let mail = format!("Subject: {}\r\n\r\n{}\r\n", n / 3, "x".repeat(bytes));
        *wanted.entry(mail.clone().into_bytes()).or_default() += 1;
        put(&folder, "cur", &format!("{n:06}.x:2,S"), mail.as_bytes(), 1_000_000);
    }
    // Deliveries come in between, as they do.
    let other = home.path().join("other.eml");
    fs::write(&other, "Subject: other\n\nother\n").expect("a file");

    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let (mut cut, mut others) = (0, 0);
    for round in 0..ROUNDS {
        // With a server, which is killed with the import or lives on, and without.
        let server = (round % 3 != 0).then(|| home.serve());
        let mut command = pigeon();
        command.arg("--config").arg(home.file()).arg("import").arg(&source).args(["--account", ALICE]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().expect("the import starts");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_millis(60 + random % 140));
        if let (Some(server), 1) = (&server, round % 3) {
            server.signal(Signal::KILL);
        }
        kill(&running);
        cut += usize::from(!running.wait().expect("its end").success());
        if server.is_some() && round % 3 == 2 {
            let other = other.display().to_string();
            ok(&home.verb(&["import", &other, "--account", ALICE, "--from-start"], ""));
            others += 1;
        }
        drop(server);
    }
    // On a fast machine the last ones may come to their end.
    assert!(cut >= 20, "only {cut} of {ROUNDS} imports were cut: more messages are needed");
    ok(&import(&home, &source, ALICE));
    let mut found: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for kept in mailboxes(&home, ALICE).into_values().flatten() {
        *found.entry(kept.3).or_default() += 1;
    }
    assert_eq!(found.remove(&b"Subject: other\r\n\r\nother\r\n"[..]).unwrap_or(0), others);
    let wrong: Vec<_> = wanted
        .iter()
        .map(|(mail, count)| (text(mail.get(..14).unwrap_or(mail)), *count, found.get(mail).copied().unwrap_or(0)))
        .filter(|(_, wanted, found)| wanted != found)
        .take(20)
        .collect();
    assert!(wrong.is_empty() && found.len() == wanted.len(), "wanted and found: {wrong:?}");
    assert!(marks(&home, &source).is_empty());
    println!(
        "{cut} imports of {MESSAGES} messages cut by kill -9, {others} messages delivered in between: each there once"
    );
}

fn kill(child: &Child) {
    kill_process(Pid::from_child(child), Signal::KILL).expect("the signal is sent");
}

/// What the store still knows of an import into alice's account.
fn marks(home: &Home, source: &Path) -> Vec<u8> {
    let sum = ring::digest::digest(&ring::digest::SHA256, format!(" {}", source.display()).as_bytes());
    let name = format!("import {}", pigeon::base::hex(sum.as_ref().iter().take(8)));
    let store = open(home);
    let mark = smol::block_on(async {
        let alice = store.account(ALICE).await.expect("a store").expect("an account").id;
        store.mark(alice, &name).await.expect("a store")
    });
    store.close();
    mark
}

/// Clients go on with their mail while an import waits to be called again.
#[test]
fn mail_that_clients_moved_and_deleted_before_an_import_goes_on_does_not_come_again() {
    const MESSAGES: usize = 12_000;
    let home = home();
    let source = home.path().join("source");
    for n in 0..MESSAGES {
        put(&source, "cur", &format!("{n:06}.x:2,S"), format!("Subject: {n}\r\n\r\nx\r\n").as_bytes(), 1_000_000);
    }
    // As soon as some are in, but not all.
    for wait_ms in (1..).map(|n| n * 80) {
        let server = home.serve();
        let mut command = pigeon();
        command.arg("--config").arg(home.file()).arg("import").arg(&source).args(["--account", ALICE]);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = quiet.spawn().expect("the import starts");
        std::thread::sleep(Duration::from_millis(wait_ms));
        server.signal(Signal::KILL);
        assert!(!running.wait().expect("its end").success(), "more messages are needed");
        drop(server);
        if mailboxes(&home, ALICE)["INBOX"].len() >= 400 {
            break;
        }
    }
    assert!(!marks(&home, &source).is_empty());

    let store = open(&home);
    let gone = smol::block_on(async {
        let alice = store.account(ALICE).await.expect("a store").expect("an account").id;
        let inbox = store.mailbox_by_name(alice, "INBOX").await.expect("a store").expect("a mailbox");
        let archive = store.mailbox_by_name(alice, "Archive").await.expect("a store").expect("a mailbox");
        let first = inbox.uid_next.0.saturating_sub(400).max(1);
        let newest = UidSet::range(Uid(first), Uid(inbox.uid_next.0 - 1));
        let oldest_of_them = UidSet::range(Uid(first), Uid(first + 49));
        let gone = store.expunge(inbox.id, oldest_of_them, false).await.expect("expunged").uids.len();
        let (moved, _) = store.move_messages(inbox.id, newest, archive.id).await.expect("moved");
        assert_eq!((gone, moved.to.len()), (50, 350), "{inbox:?}");
        gone
    });
    store.close();
    drop(store);

    ok(&import(&home, &source, ALICE));
    let found: Vec<Kept> = mailboxes(&home, ALICE).into_values().flatten().collect();
    let apart: BTreeSet<&[u8]> = found.iter().map(|kept| kept.3.as_slice()).collect();
    assert_eq!((found.len() as u64, apart.len() as u64), (MESSAGES as u64 - gone, MESSAGES as u64 - gone));
    assert!(marks(&home, &source).is_empty());
}

#[test]
fn an_import_that_came_to_its_end_is_made_again_on_demand_alone() {
    let home = home();
    let source = home.path().join("source");
    for n in 0..3 {
        put(&source, "cur", &format!("{n}.x:2,S"), b"Subject: once\n\n", 1_000);
    }
    assert!(ok(&import(&home, &source, ALICE)).contains("3 messages imported"));
    for _ in 0..2 {
        let again = ok(&import(&home, &source, ALICE));
        assert!(again.contains("came to the end") && again.contains("3 messages are in; --from-start"), "{again}");
    }
    assert_eq!(mailboxes(&home, ALICE)["INBOX"].len(), 3);
    assert!(ok(&import(&home, &source, BOB)).contains("3 messages imported"), "another account");
    let path = source.display().to_string();
    let more = ok(&home.verb(&["import", &path, "--account", ALICE, "--from-start"], ""));
    assert!(more.contains("3 messages imported"), "{more}");
    assert!(ok(&import(&home, &source, ALICE)).contains("came to the end"));
    assert_eq!(mailboxes(&home, ALICE)["INBOX"].len(), 6);
    // Something has come to it.
    put(&source, "cur", "4.x:2,S", b"Subject: more and longer\n\n", 1_000);
    std::thread::sleep(Duration::from_millis(1_100));
    put(&source, "cur", "5.x:2,S", b"Subject: more\n\n", 1_000);
    let changed = import(&home, &source, ALICE);
    assert_eq!(changed.status.code(), Some(1), "{}", text(&changed.stdout));
    assert!(text(&changed.stderr).contains("it has changed since"), "{}", text(&changed.stderr));
    assert!(ok(&home.verb(&["import", &path, "--account", ALICE, "--from-start"], "")).contains("5 messages imported"));
    // Nothing was there: it is not done. What could not be taken is not forgotten.
    let stick = home.path().join("stick");
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(stick.join(sub)).expect("a folder");
    }
    assert!(ok(&import(&home, &stick, BOB)).contains("0 messages imported"));
    put(&stick, "cur", "1.x:2,S", b"Subject: good\n\n", 1_000);
    put(&stick, "cur", "2.x:2,S", b"Subject: bad\n\n\0", 1_000);
    let missed = import(&home, &stick, BOB);
    assert_eq!(missed.status.code(), Some(1), "{}", text(&missed.stdout));
    assert!(text(&missed.stdout).contains("1 messages imported"), "{}", text(&missed.stdout));
    let again = ok(&import(&home, &stick, BOB));
    assert!(again.contains("1 messages are in, 1 could not be taken"), "{again}");
}

#[test]
fn an_export_to_a_wrong_name_leaves_nothing_in_the_way_of_the_right_one() {
    let home = home();
    let target = home.path().join("target");
    for is_there in [false, true] {
        if is_there {
            fs::create_dir(&target).expect("a folder");
        }
        assert_eq!(export(&home, "nobody@example.org", &target, "mbox").status.code(), Some(1));
        let no_mailbox =
            home.verb(&["export", ALICE, &target.display().to_string(), "--format", "mbox", "--mailbox", "Sant"], "");
        assert_eq!(no_mailbox.status.code(), Some(1), "{}", text(&no_mailbox.stderr));
        assert_eq!(target.exists(), is_there);
    }
    ok(&export(&home, ALICE, &target, "mbox"));
}

#[test]
fn an_export_passes_over_what_lies_in_a_missing_segment_and_names_it() {
    let home = home();
    let large = "octets that do not pack well 0123456789abcdef\n";
    let source = home.path().join("source");
    for n in 0..9_u64 {
        let noise: String =
            (0..2_000).map(|line| format!("{:x} {large}", (line + 1) * 0x9e37_79b9_7f4a * (n + 1))).collect();
        let mail = format!("Subject: {n}\n\n{}", if n == 4 { noise } else { "short\n".to_owned() });
        put(&source, "cur", &format!("{n:06}.x:2,S"), mail.as_bytes(), 1_000_000 + n);
    }
    ok(&import(&home, &source, ALICE));
    let lost: Vec<PathBuf> = fs::read_dir(home.data().join("log"))
        .expect("a log")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "body"))
        .collect();
    assert_eq!(lost.len(), 1);
    fs::remove_file(&lost[0]).expect("it is lost");
    let target = home.path().join("target");
    let exported = export(&home, ALICE, &target, "eml");
    assert_eq!(exported.status.code(), Some(1), "{}", text(&exported.stderr));
    assert!(text(&exported.stderr).contains("INBOX UID 5: it is damaged"), "{}", text(&exported.stderr));
    let rest = ok(&import(&home, &target, BOB));
    assert_eq!(mailboxes(&home, BOB)["INBOX"].len(), 8, "{rest}");
}

#[test]
fn an_export_that_is_killed_goes_on_and_is_whole() {
    for format in ["maildir", "mbox", "eml"] {
        let home = home();
        let source = home.path().join("source");
        for n in 0..2_000 {
            let folder = if n < 1_500 { source.clone() } else { source.join(".More") };
            let mail = format!("Subject: {n}\n\n{}\n", "From x\n".repeat(n % 50));
            put(&folder, "cur", &format!("{n:06}.x:2,S"), mail.as_bytes(), 1_000_000 + n as u64);
        }
        ok(&import(&home, &source, ALICE));
        let target = home.path().join("target");
        let server = home.serve();
        let mut cut = 0;
        for wait_ms in [20, 60, 100, 140] {
            let mut command = pigeon();
            command.arg("--config").arg(home.file()).args(["export", ALICE]).arg(&target).args(["--format", format]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut running = command.spawn().expect("the export starts");
            until("the export has begun", || target.join(".pigeon-export.json").exists());
            std::thread::sleep(Duration::from_millis(wait_ms));
            kill(&running);
            if running.wait().expect("its end").success() {
                break;
            }
            cut += 1;
        }
        assert!(cut > 0, "{format}: never cut");
        if target.join(".pigeon-export.json").exists() {
            ok(&export(&home, ALICE, &target, format));
        }
        ok(&import(&home, &target, BOB));
        stop(Some(server));
        assert!(mailboxes(&home, ALICE) == mailboxes(&home, BOB), "{format}: not the same");
    }
}

#[test]
fn an_mbox_of_any_kind_is_split_and_its_flags_and_dates_are_found() {
    let home = home();
    let path = home.path().join("old.mbox");
    let mbox = "From alice@example.org Fri Jul  8 12:08:34 2011 +0200\nStatus: RO\nX-Status: F\nSubject: one\n\n>From there\nFrom here\n\n\
        From bob Fri Jul  8 12:08:35 2011\nSubject: two\nX-Mozilla-Status: 0002\n\ntwo\n\n";
    for (crlf, name) in [(false, "Old/LF"), (true, "Old/CRLF")] {
        let mbox = if crlf { mbox.replace('\n', "\r\n") } else { mbox.to_owned() };
        fs::write(&path, mbox).expect("an mbox");
        ok(&home.verb(&["import", &path.display().to_string(), "--account", ALICE, "--mailbox", name], ""));
        let found = mailboxes(&home, ALICE).remove(name).expect("the mailbox");
        let one = (
            vec!["\\Flagged".to_owned(), "\\Seen".to_owned()],
            1_310_119_714,
            120,
            b"Subject: one\r\n\r\nFrom there\r\nFrom here\r\n".to_vec(),
        );
        let two = (
            vec!["\\Answered".to_owned()],
            1_310_126_915,
            0,
            b"Subject: two\r\nX-Mozilla-Status: 0002\r\n\r\ntwo\r\n".to_vec(),
        );
        assert_eq!(found, [one, two], "{name}");
    }
}

#[test]
fn messages_that_cannot_be_taken_are_named_and_counted_and_the_rest_comes_in() {
    let mut more = String::from("[limits]\n");
    writeln!(more, "message = \"1 MiB\"").expect("text");
    let home = home();
    home.configure(&more);
    let source = home.path().join("source");
    for (name, octets) in [
        ("1.eml", &b"Subject: one\n\none\n"[..]),
        ("2.eml", b""),
        ("3.eml", b"Subject: NUL\n\n\0\n"),
        ("4.eml", &[b'x'; 2 << 20]),
        ("6.eml", b"Date: Fri, 08 Jul 2011 12:08:34 +0200\n\nsix"),
    ] {
        fs::create_dir_all(&source).expect("a folder");
        fs::write(source.join(name), octets).expect("a file");
    }
    std::os::unix::fs::symlink(source.join("nowhere"), source.join("5.eml")).expect("a link");
    fs::create_dir(source.join("100*")).expect("a folder");
    fs::write(source.join("100*/1.eml"), "a: b\n").expect("a file");

    for account in [ALICE, BOB] {
        let server = (account == BOB).then(|| home.serve());
        let output = import(&home, &source, account);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains("3 messages imported"), "{}", text(&output.stdout));
        let told = text(&output.stderr);
        for (file, why) in
            [("2.eml", "empty"), ("3.eml", "NUL"), ("4.eml", "larger than 1 MiB"), ("5.eml", "No such file")]
        {
            assert!(told.lines().any(|line| line.contains(file) && line.contains(why)), "{file}: {told}");
        }
        assert!(told.contains("4 messages could not be imported"), "{told}");
        stop(server);
    }
    let found = mailboxes(&home, ALICE);
    assert_eq!((found["INBOX"].len(), found["100_"].len()), (2, 1));
    assert_eq!((found["INBOX"][1].1, found["INBOX"][1].2), (1_310_119_714, 120), "the Date field's");
    assert!(marks(&home, &source).is_empty());
}

#[test]
fn wrong_orders_are_told_and_leave_nothing() {
    let home = home();
    let eml = home.path().join("1.eml");
    fs::write(&eml, "a: b\n\nc\n").expect("a file");
    fs::write(home.path().join("notes.txt"), "text").expect("a file");
    let (eml, notes_txt) = (eml.display().to_string(), home.path().join("notes.txt").display().to_string());
    let here = home.path().display().to_string();
    for (arguments, code, words) in [
        (vec!["import", &eml, "--account", "nobody@example.org"], 1, "there is no account"),
        (vec!["import", &notes_txt, "--account", ALICE], 1, "it is no mbox"),
        (vec!["import", "/nonexistent", "--account", ALICE], 1, "cannot read"),
        (vec!["import", &eml, "--account", ALICE, "--mailbox", "a//b"], 2, "empty"),
        (vec!["import", &eml], 2, "--account"),
        (vec!["export", ALICE, &here, "--format", "mbox"], 1, "not empty"),
        (vec!["export", ALICE, &here, "--format", "pst"], 2, "maildir"),
    ] {
        let output = home.verb(&arguments, "");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    }
    let target = home.path().join("none");
    let output = home.verb(&["export", "nobody@example.org", &target.display().to_string(), "--format", "eml"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(mailboxes(&home, ALICE).values().all(Vec::is_empty));
}

#[test]
fn what_only_its_caller_may_read_can_be_imported_into_anothers_server() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root can have a server's data belong to another.
    }
    let home = home();
    let nobody = 65_534;
    let give = |path: &Path| std::os::unix::fs::chown(path, Some(nobody), Some(nobody)).expect("given");
    for folder in [home.data(), home.data().join("log"), home.data().join("snapshots")] {
        give(&folder);
        for entry in fs::read_dir(&folder).expect("a folder") {
            give(&entry.expect("a file").path());
        }
    }
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).expect("permissions");
    let source = home.path().join("secret");
    put(&source, "cur", "1.x:2,S", b"a: b\n\nc\n", 7);
    fs::set_permissions(&source, fs::Permissions::from_mode(0o700)).expect("permissions");
    ok(&import(&home, &source, ALICE));
    let target = home.path().join("target");
    ok(&export(&home, ALICE, &target, "maildir"));
    assert_eq!(fs::read_dir(target.join("cur")).expect("the target").count(), 1);
    for folder in [home.data(), home.data().join("log")] {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("a file").path();
            let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&path).expect("a file"));
            assert_eq!(owner, nobody, "{}", path.display());
        }
    }
}

#[test]
fn many_messages_come_in_fast_and_memory_stays_where_it_was() {
    const MESSAGES: usize = 5_000;
    /// A tenth of what is promised for an optimised program.
    const PER_S_MIN: f64 = 50.0;
    let home = home();
    let path = home.path().join("many.mbox");
    let mut mbox = String::new();
    for n in 0..MESSAGES {
        let line = format!("Line {n} of a message that is like others, more or less.\n");
        write!(mbox, "From a Fri Jul  8 12:08:34 2011\nSubject: {n}\nFrom: a@example.org\n\n{}\n", line.repeat(40))
            .expect("text");
    }
    write!(mbox, "From a Fri Jul  8 12:08:34 2011\nSubject: large\n\n{}\n", "large\n".repeat(5 << 20)).expect("text");
    fs::write(&path, mbox).expect("an mbox");
    let server = home.serve();
    let started = Instant::now();
    ok(&import(&home, &path, ALICE));
    let per_s = MESSAGES as f64 / started.elapsed().as_secs_f64();
    let status = home.verb(&["status", "--json"], "");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["holds"]["messages"], MESSAGES as u64 + 1);
    let peak_kib = peak_kib(status["server"]["pid"].as_u64().expect("a process"));
    println!("{per_s:.0} messages per second; the server's peak: {peak_kib} KiB (a build without optimisation)");
    assert!(per_s >= PER_S_MIN, "{per_s} messages per second");
    assert!(peak_kib < 48 << 10, "{peak_kib} KiB");
    until("nothing of it is held", || {
        let status = home.verb(&["status", "--json"], "");
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
        status["server"]["memory"]["budget_spent_bytes"].as_u64().is_some_and(|spent| spent < 64 << 10)
    });
    stop(Some(server));
}

fn peak_kib(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
