//! A `pigeon` process under test: its folder, its ports, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a configuration, for a server on ports of its own.
pub(super) struct Home {
    folder: tempfile::TempDir,
    pub(super) smtp: u16,
    pub(super) imap: u16,
    pub(super) pop3: u16,
}

/// A running server; killed when dropped.
pub(super) struct Server(Child);

impl Home {
    /// SMTP, IMAP and POP3 on loopback; `more` is appended to the configuration.
    pub(super) fn new(more: &str) -> Self {
        let [smtp, imap, pop3] = free_ports();
        let home = Self { folder: tempfile::tempdir().expect("a temporary folder"), smtp, imap, pop3 };
        home.configure(more);
        home
    }

    /// Writes the configuration anew.
    pub(super) fn configure(&self, more: &str) {
        let Self { smtp, imap, pop3, .. } = self;
        let text = format!(
            "hostname = \"mx.example.org\"\ndata = \"data\"\n[listen]\nsmtp = \"127.0.0.1:{smtp}\"\n\
             submission = \"off\"\nsubmissions = \"off\"\nimap = \"127.0.0.1:{imap}\"\nimaps = \"off\"\n\
             pop3 = \"127.0.0.1:{pop3}\"\npop3s = \"off\"\n{more}\n"
        );
        std::fs::write(self.file(), text).expect("the configuration is written");
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn file(&self) -> PathBuf {
        self.path().join("pigeon.toml")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Runs a verb to its end, with `input` on its standard input.
    pub(super) fn verb(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = pigeon();
        command.arg("--config").arg(self.file()).args(arguments);
        run(command, input)
    }

    /// Starts the server, and waits until it greets.
    pub(super) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// As [`Self::serve`], with environment variables.
    pub(super) fn serve_with(&self, environment: &[(&str, &str)]) -> Server {
        let log = std::fs::File::create(self.path().join("log.txt")).expect("a log file");
        let mut command = pigeon();
        command.arg("serve").arg("--config").arg(self.file());
        command.envs(environment.iter().copied());
        let child = command.stderr(log).stdin(Stdio::null()).spawn().expect("the server starts");
        let server = Server(child);
        until("the server listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.pop3)).is_ok());
        Talk::to(self.pop3).line();
        server
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log.txt")).unwrap_or_default()
    }
}

impl Server {
    /// One that was started elsewhere.
    pub(super) fn of(child: Child) -> Self {
        Self(child)
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).expect("the signal is sent");
    }

    /// Waits for its end; its exit code, `None` when a signal ended it.
    pub(super) fn wait(mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("the server can be waited for") {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "the server did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A connection whose lines are read.
pub(super) struct Talk(BufReader<TcpStream>);

impl Talk {
    pub(super) fn to(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        Self(BufReader::new(stream))
    }

    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line
    }

    /// Whether anything comes before the end, or a reset.
    pub(super) fn is_answered(&mut self) -> bool {
        self.0.fill_buf().is_ok_and(|octets| !octets.is_empty())
    }

    /// Whether anything comes within this time.
    pub(super) fn has_line_within(&mut self, limit: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(limit)).expect("a time limit");
        let has_line = self.0.fill_buf().is_ok();
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).expect("a time limit");
        has_line
    }

    pub(super) fn say(&mut self, line: &str) {
        write!(self.0.get_mut(), "{line}\r\n").expect("a line is sent");
    }

    /// Whatever comes until the other side closes.
    pub(super) fn rest(mut self) -> String {
        let mut rest = String::new();
        // A reset ends it as well.
        drop(self.0.read_to_string(&mut rest));
        rest
    }
}

/// The program.
pub(super) fn pigeon() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pigeon"))
}

/// Runs a command to its end.
pub(super) fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A verb that needs no input may have ended already.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().expect("the program ends")
}

pub(super) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ports that were free a moment ago.
pub(super) fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    held.map(|listener| listener.local_addr().expect("its address").port())
}
