//! The program as its operator meets it: the server's life and end, the verbs beside it and without it.

use super::process::{Home, Talk, free_ports, pigeon, run, text, until};
use rustix::process::Signal;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const STOP_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn sigterm_ends_everything_within_five_seconds_whatever_clients_do() {
    let home = Home::new("");
    let server = home.serve();
    let mut polite = [Talk::to(home.smtp), Talk::to(home.imap), Talk::to(home.pop3)];
    for talk in &mut polite {
        talk.line();
    }
    let mut in_data = Talk::to(home.smtp);
    in_data.line();
    in_data.say("EHLO half");
    let silent: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, home.imap)).expect("a connection")).collect();

    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    assert!(start.elapsed() < STOP_LIMIT, "{:?}", start.elapsed());
    for (talk, words) in polite.into_iter().zip(["421 ", "* BYE ", "-ERR "]) {
        let last = talk.rest();
        assert!(last.starts_with(words), "{words}: {last}");
    }
    drop(silent);
    assert!(!home.data().join("control.sock").exists());
}

#[test]
fn a_session_that_panics_ends_alone() {
    let home = Home::new("");
    let server = home.serve_with(&[("PIGEON_PANIC", "imap")]);
    let (mut beside, mut doomed) = (Talk::to(home.smtp), Talk::to(home.imap));
    assert!(doomed.line().starts_with("* OK"));
    doomed.say("a1 NOOP");
    // It panics when it is woken; a command that came before it first slept is still answered.
    if doomed.is_answered() {
        assert!(doomed.line().starts_with("a1 OK"));
        doomed.say("a2 NOOP");
    }
    assert_eq!(doomed.rest(), "", "closed without a word");

    let mut next = Talk::to(home.imap);
    next.line();
    next.say("a1 NOOP");
    assert!(next.line().starts_with("a1 OK"));
    assert!(beside.line().starts_with("220 "));
    assert!(home.log().contains("a session ended by a bug service=imap"), "{}", home.log());
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn connections_beyond_a_ceiling_are_refused_in_the_protocols_words() {
    let home = Home::new("[limits]\nconnections_per_ip = 2");
    let _server = home.serve();
    // The one that found the server listening may still be counted.
    let mut held = Vec::new();
    until("two connections are let in", || {
        let mut talk = Talk::to(home.imap);
        let is_let_in = talk.line().starts_with("* OK");
        if is_let_in {
            held.push(talk);
        }
        held.len() == 2
    });
    for (port, words) in [(home.smtp, "421 4."), (home.imap, "* BYE "), (home.pop3, "-ERR [SYS/TEMP] ")] {
        let told = Talk::to(port).rest();
        assert!(told.starts_with(words) && told.ends_with("\r\n"), "{told}");
    }
    drop(held);
    until("there is room again", || Talk::to(home.pop3).line().starts_with("+OK"));
}

#[test]
fn the_verbs_do_the_same_with_a_server_and_without() {
    let home = Home::new("");
    manage(&home, "one.example");
    let server = home.serve();
    manage(&home, "two.example");
    let status = home.verb(&["status", "--json"], "");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["holds"]["accounts"], 2);
    assert_eq!(status["server"]["services"].as_array().map(Vec::len), Some(3));
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));

    let status = home.verb(&["status", "--json"], "");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["holds"]["domains"], 2);
    assert!(status["server"].is_null());
    assert!(text(&home.verb(&["status"], "").stdout).contains("not running"));
}

#[test]
fn what_the_card_has_taken_is_counted_over_restarts() {
    let home = Home::new("[store]\nendurance = \"10 TB\"");
    let wear = || -> serde_json::Value {
        let status = home.verb(&["status", "--json"], "");
        serde_json::from_slice::<serde_json::Value>(&status.stdout).expect("JSON")["wear"].clone()
    };
    let added = home.verb(&["user", "add", "alice@example.org", "--password-stdin"], "wonderland-7\n");
    assert_eq!(added.status.code(), Some(0));
    let first = wear();
    let bytes = |wear: &serde_json::Value, key: &str| wear[key].as_u64().expect("a number");
    assert!(bytes(&first, "written_bytes") > 0 && first["per_message_bytes"].is_null());
    assert_eq!(bytes(&first, "endurance_bytes"), 10_000_000_000_000);

    let server = home.serve();
    for n in 0..20 {
        let mut talk = Talk::to(home.smtp);
        talk.line();
        for line in ["HELO x", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.org>", "DATA"] {
            talk.say(line);
            talk.line();
        }
        talk.say(&format!("Subject: {n}\r\n\r\nx\r\n."));
        assert!(talk.line().starts_with("250"));
    }
    let running = wear();
    assert_eq!(bytes(&running, "messages"), 20);
    assert!(bytes(&running, "written_bytes") > bytes(&first, "written_bytes") + 20 * 4096, "{running}");
    assert_eq!(bytes(&running, "per_message_bytes"), bytes(&running, "written_bytes") / 20);
    assert!(bytes(&running, "written_today_bytes") <= bytes(&running, "written_bytes"));
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    let later = wear();
    assert!(bytes(&later, "written_bytes") >= bytes(&running, "written_bytes"), "{later} after {running}");
    assert_eq!(bytes(&later, "messages"), 20);

    let shown = text(&home.verb(&["status"], "").stdout);
    assert!(shown.contains("per message") && shown.contains("TiB used"), "{shown}");
    // A broken file counts from nothing and stops nobody.
    fs::write(home.data().join("wear.json"), "{").expect("written");
    assert!(bytes(&wear(), "written_bytes") < bytes(&later, "written_bytes"));
}

/// Every verb once, for a domain that is new.
fn manage(home: &Home, domain: &str) {
    let (alice, bob, team) = (format!("alice@{domain}"), format!("bob@{domain}"), format!("team@{domain}"));
    let catch_all = format!("@{domain}");
    let ok = |arguments: &[&str], input: &str| {
        let output = home.verb(arguments, input);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let refused = |arguments: &[&str], words: &str| {
        let output = home.verb(arguments, "wonderland-7\n");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(words), "{arguments:?}: {}", text(&output.stderr));
    };
    ok(&["domain", "add", domain], "");
    refused(&["domain", "add", domain], "exists already");
    ok(&["user", "add", &alice, "--password-stdin"], "wonderland-7\n");
    ok(&["user", "add", &bob, "--password-stdin"], "builder-22\r\n");
    refused(&["user", "add", &alice, "--password-stdin"], "exists already");
    ok(&["user", "password", &bob, "--password-stdin"], "builder-23 and more");
    ok(&["alias", "add", &team, &alice, &bob], "");
    ok(&["alias", "add", &catch_all, &alice], "");
    refused(&["alias", "add", &format!("x@{domain}"), &format!("nobody-{domain}@elsewhere.example")], "no account");
    refused(&["domain", "remove", domain], "remove them first");

    assert!(ok(&["domain", "list"], "").lines().any(|line| line == domain));
    let users: serde_json::Value = serde_json::from_str(&ok(&["user", "list", "--json"], "")).expect("JSON");
    let users = users.get("users").and_then(serde_json::Value::as_array).expect("a list");
    assert!(users.iter().any(|user| user.get("address").is_some_and(|address| *address == alice.as_str())));
    let aliases = ok(&["alias", "list"], "");
    assert!(
        aliases.lines().any(|line| line.starts_with(&team) && line.ends_with(&format!("{alice} {bob}"))),
        "{aliases}"
    );
    assert!(aliases.lines().any(|line| line.starts_with(&catch_all)), "{aliases}");

    for alias in [&team, &catch_all] {
        ok(&["alias", "remove", alias], "");
    }
    ok(&["user", "remove", &bob], "");
    refused(&["user", "remove", &bob], "there is no account");
}

#[test]
fn passwords_come_as_one_line_weak_ones_are_warned_of_and_empty_ones_refused() {
    let home = Home::new("");
    let add = |address: &str, input: &str| home.verb(&["user", "add", address, "--password-stdin"], input);
    let weak = add("weak@example.org", "abc\n");
    assert_eq!(weak.status.code(), Some(0));
    assert!(text(&weak.stderr).contains("warning: the password is weak"), "{}", text(&weak.stderr));
    assert!(text(&add("good@example.org", "four friendly pigeons\n").stderr).is_empty());
    assert_eq!(add("none@example.org", "\n").status.code(), Some(1));
    let asked = home.verb(&["user", "add", "asked@example.org"], "");
    assert_eq!(asked.status.code(), Some(2), "there is no terminal to ask at");
    assert!(text(&asked.stderr).contains("--password-stdin"));
}

#[test]
fn wrong_usage_is_2_and_a_missing_store_or_configuration_is_1() {
    let usage = |arguments: &[&str]| {
        let mut command = pigeon();
        command.args(arguments);
        run(command, "").status.code()
    };
    assert_eq!(usage(&[]), Some(2));
    assert_eq!(usage(&["fly"]), Some(2));
    assert_eq!(usage(&["user", "add"]), Some(2));
    assert_eq!(usage(&["--version"]), Some(0));
    assert_eq!(usage(&["user", "add", "--help"]), Some(0));
    assert_eq!(usage(&["status", "--config", "/nowhere/pigeon.toml"]), Some(1));
    let home = Home::new("");
    let list = home.verb(&["user", "list"], "");
    assert_eq!(list.status.code(), Some(1));
    assert!(text(&list.stderr).contains("there is no store"), "{}", text(&list.stderr));
    assert!(!home.data().exists(), "a reading verb makes nothing");
}

#[test]
fn a_store_that_another_process_has_open_is_75() {
    let home = Home::new("");
    assert_eq!(home.verb(&["domain", "add", "example.org"], "").status.code(), Some(0));
    let lock = File::open(home.data().join("lock")).expect("the lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("it is free");
    for arguments in [["domain", "list"], ["user", "list"]] {
        let output = home.verb(&arguments, "");
        assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("in use by another pigeon"));
    }
}

#[test]
fn a_socket_left_by_a_killed_server_is_recognised_and_replaced() {
    let home = Home::new("");
    let server = home.serve();
    server.signal(Signal::KILL);
    assert_eq!(server.wait(), None);
    assert!(home.data().join("control.sock").exists());
    assert_eq!(home.verb(&["domain", "add", "one.example"], "").status.code(), Some(0), "without a server");
    let _server = home.serve();
    assert_eq!(home.verb(&["domain", "add", "two.example"], "").status.code(), Some(0), "through the new one");
    assert_eq!(text(&home.verb(&["domain", "list"], "").stdout), "one.example\ntwo.example\n");
}

#[test]
fn sighup_takes_over_what_can_change_and_names_what_cannot() {
    let mut home = Home::new("");
    let server = home.serve();
    let mut before = Talk::to(home.imap);
    before.line();
    let [new_pop3] = free_ports();
    let old_pop3 = std::mem::replace(&mut home.pop3, new_pop3);
    home.configure("[limits]\nmemory = \"32 MiB\"\nconnections_per_ip = 1\n[store]\ngather = \"1 ms\"\n");
    server.signal(Signal::HUP);
    until("it is loaded", || home.log().contains("info configuration loaded"));

    until("the new address is served", || TcpStream::connect((Ipv4Addr::LOCALHOST, new_pop3)).is_ok());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, old_pop3)).is_err(), "the old address is closed");
    let log = home.log();
    assert!(log.contains("at the next start key=limits.memory") && log.contains("key=store.gather"), "{log}");
    assert!(!log.contains("key=data"), "{log}");
    before.say("a NOOP");
    assert!(before.line().starts_with("a OK"), "sessions go on");
    assert!(Talk::to(home.imap).rest().starts_with("* BYE"), "the new ceiling holds");

    fs::write(home.file(), "hostname = \"mx.example.org\"\n[limit]\n").expect("a broken file is written");
    server.signal(Signal::HUP);
    let words = "the configuration stays as it was: unknown section [limit] line=2";
    until("the broken file is told", || home.log().contains(words));
    before.say("b NOOP");
    assert!(before.line().starts_with("b OK"));
}

#[test]
fn check_tells_a_taken_port_and_knows_its_own_server() {
    let home = Home::new("[store]\nreserve = \"0 B\"\n");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, home.imap)).expect("it is free");
    let check = home.verb(&["check"], "");
    assert_eq!(check.status.code(), Some(1));
    let told = text(&check.stdout);
    assert!(told.contains("pigeon.toml:7:8: error: another program listens on 127.0.0.1:"), "{told}");
    let json = home.verb(&["check", "--json"], "");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let problems = json["problems"].as_array().expect("a list");
    let taken_port =
        |problem: &&serde_json::Value| problem["message"].as_str().is_some_and(|m| m.contains("another program"));
    assert_eq!(problems.iter().find(taken_port).expect("it is told")["line"], 7, "{json}");
    home.configure("[store]\nreserve = \"0 B\"\ngahter = \"3 ms\"\n");
    let told = text(&home.verb(&["check"], "").stdout);
    assert!(told.contains("unknown key `store.gahter`") && told.contains("another program"), "all at once: {told}");
    home.configure("[store]\nreserve = \"0 B\"\n");
    drop(taken);

    let _server = home.serve();
    let told = text(&home.verb(&["check"], "").stdout);
    assert!(!told.contains("another program"), "{told}");
}

#[test]
fn a_server_that_cannot_listen_says_so_at_once() {
    let home = Home::new("");
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, home.imap)).expect("it is free");
    let mut command = pigeon();
    command.arg("serve").arg("--config").arg(home.file());
    let output = run(command, "");
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains(&format!("cannot listen on 127.0.0.1:{} for imap", home.imap)), "{told}");
    assert!(told.contains("remedy: another program listens there"), "{told}");
}

#[test]
fn every_problem_of_a_configuration_is_told_at_once() {
    let home = Home::new("[limits]\nmemroy = \"24 MiB\"\nmessage = 3\n");
    let mut command = pigeon();
    command.arg("serve").arg("--config").arg(home.file());
    let output = run(command, "");
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    for words in [
        "pigeon.toml:12:1: error: unknown key `limits.memroy`",
        "did you mean `memory`?",
        "pigeon.toml:13:11: error: `message`",
    ] {
        assert!(told.contains(words), "{words} in {told}");
    }
}
