//! `pigeon up` as somebody meets it who has read nothing: one command, and the commands that it prints.

use super::process::{pigeon, run, text, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `pigeon up` in a folder; killed when dropped.
struct Up(Child);

impl Up {
    /// Starts it, and waits until it has printed its settings.
    fn start(folder: &Path) -> (Self, String) {
        let out = File::create(folder.join("out.txt")).expect("a file for its words");
        let err = File::create(folder.join("err.txt")).expect("a file for its log");
        let mut command = pigeon();
        command.arg("up").current_dir(folder).stdin(Stdio::null()).stdout(out).stderr(err);
        let up = Self(command.spawn().expect("it starts"));
        let words = || fs::read_to_string(folder.join("out.txt")).unwrap_or_default();
        until("it prints its settings", || words().contains("MAILINDEX=1"));
        (up, words())
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("the signal is sent");
        assert_eq!(self.0.wait().expect("it ends").code(), Some(0));
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The lines of the printed command that starts with `first`, as a shell would get them.
fn command_of(words: &str, first: &str) -> String {
    let mut lines = words.lines().map(str::trim).skip_while(|line| !line.starts_with(first));
    let mut command = lines.next().expect("the command is printed").to_owned();
    while command.ends_with('|') {
        command += lines.next().expect("it goes on");
    }
    command
}

fn shell(command: &str) -> String {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(command);
    let output = run(sh, "");
    assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_printed_commands_send_a_first_mail_and_read_it_and_a_second_up_keeps_everything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (up, words) = Up::start(folder.path());
    assert!(words.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "plain text in a file: {words}");
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    if has_curl {
        shell(&command_of(&words, "printf"));
        let mail = shell(&command_of(&words, "curl -sS --cacert"));
        assert!(mail.contains("Subject: First mail") && mail.contains("It works."), "{mail}");
    }
    let ca = fs::read(folder.path().join("pigeon-data/tls/ca.pem")).expect("the CA");
    let configuration = fs::read(folder.path().join("pigeon-data/pigeon.toml")).expect("the configuration");

    // Verbs find what `up` made here; another `up` finds that it runs.
    let mut list = pigeon();
    list.args(["user", "list"]).current_dir(folder.path());
    assert!(text(&run(list, "").stdout).starts_with("me@localhost"));
    let mut again = pigeon();
    again.arg("up").current_dir(folder.path());
    let again = run(again, "");
    assert_eq!(again.status.code(), Some(75));
    assert!(text(&again.stderr).contains("runs in"));
    up.stop();

    let (up, words) = Up::start(folder.path());
    assert!(
        words.contains("as shown when it was made") && words.contains("pigeon user password me@localhost"),
        "{words}"
    );
    assert_eq!(fs::read(folder.path().join("pigeon-data/tls/ca.pem")).expect("the CA"), ca);
    assert_eq!(fs::read(folder.path().join("pigeon-data/pigeon.toml")).expect("the configuration"), configuration);
    let mut status = pigeon();
    status.args(["status", "--json"]).current_dir(folder.path());
    let status: serde_json::Value = serde_json::from_slice(&run(status, "").stdout).expect("JSON");
    assert_eq!(status["holds"]["accounts"], 1);
    assert_eq!(status["holds"]["messages"], i32::from(has_curl));
    up.stop();
}
