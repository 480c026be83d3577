//! systemd's watchdog is answered while executor and writer live, and no longer (sd_notify(3), sd_watchdog_enabled(3)).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test that cannot go on may stop"
)]
#![cfg(debug_assertions)]

mod store_support;

use pigeon::config::{Config, Service};
use pigeon::serve::{Setup, run};
use pigeon::store::sabotage::{Sabotage, choose};
use pigeon::store::sim::SimDisk;
use pigeon::store::{Found, Look, Options};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use store_support::hooked::{Hook, Hooked};

const PATIENCE: Duration = Duration::from_secs(20);
/// The time that systemd gives; an answer comes in half of it.
const LIMIT: Duration = Duration::from_millis(600);
/// Names the folder of the server that this program is when it was started by the test below.
const FOLDER: &str = "PIGEON_TEST_FOLDER";
const SOCKET: &str = "notify";

/// Not a test of its own: the server that the test below starts, with a writer that hangs when a word comes on its standard
/// input, and goes on with the next.
#[test]
fn serves_when_asked() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut config = Config::new("mx.example.org");
    config.data = folder.join("data");
    config.store.reserve_bytes = 0;
    for service in Service::ALL {
        config.listen.set(service, Vec::new());
    }
    let port = std::fs::read_to_string(folder.join("port")).expect("a port").parse::<u16>().expect("a number");
    config.listen.set(Service::Imap, vec![(Ipv4Addr::LOCALHOST, port).into()]);
    std::thread::spawn(|| {
        for (line, sabotage) in
            std::io::stdin().lines().zip([Sabotage::WriterStuck, Sabotage::None].into_iter().cycle())
        {
            drop(line);
            choose(sabotage);
        }
    });
    run(Setup { config, file: None }, |_| Ok(()), |_| ()).expect("it serves");
}

struct Server(Child);

/// A folder, the socket that systemd would listen on, and the port of IMAP.
fn prepare() -> (tempfile::TempDir, UnixDatagram, u16) {
    let folder = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(folder.path().join(SOCKET)).unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    std::fs::write(folder.path().join("port"), port.to_string()).unwrap();
    (folder, socket, port)
}

impl Server {
    fn start(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "serves_when_asked", "--nocapture"]).env(FOLDER, folder);
        command.env("NOTIFY_SOCKET", folder.join(SOCKET)).env("WATCHDOG_USEC", LIMIT.as_micros().to_string());
        command.envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("it starts"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    fn tell(&mut self) {
        self.0.stdin.as_mut().expect("a pipe").write_all(b"\n").expect("it listens");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The words that come within this time.
fn told(socket: &UnixDatagram, within: Duration) -> Vec<String> {
    let end = Instant::now() + within;
    let mut words = Vec::new();
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left)).unwrap();
        let mut octets = [0; 512];
        if let Ok(count) = socket.recv(&mut octets) {
            words.extend(String::from_utf8_lossy(octets.get(..count).unwrap_or_default()).lines().map(str::to_owned));
        }
    }
    words
}

fn pings(words: &[String]) -> usize {
    words.iter().filter(|word| *word == "WATCHDOG=1").count()
}

/// Words that come until this one.
fn until(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let (start, mut words) = (Instant::now(), Vec::new());
    while !words.iter().any(|word| word == wanted) {
        assert!(start.elapsed() < PATIENCE, "{wanted} was not told: {words:?}");
        words.extend(told(socket, Duration::from_millis(50)));
    }
    words
}

#[test]
fn the_watchdog_is_answered_until_the_writer_hangs() {
    let (folder, socket, port) = prepare();
    let mut server = Server::start(folder.path(), &[]);
    let words = until(&socket, "READY=1");
    assert_eq!(pings(&words), 0, "the start has a limit of its own");
    assert!(words.iter().any(|word| word == "STATUS=mx.example.org serves imap"), "{words:?}");
    assert!(pings(&told(&socket, LIMIT * 4)) >= 4, "in a server that has nothing to do");

    server.signal(Signal::HUP);
    let words = until(&socket, "READY=1");
    assert!(words.iter().any(|word| word == "RELOADING=1"), "{words:?}");
    assert!(words.iter().any(|word| word.starts_with("MONOTONIC_USEC=")), "{words:?}");

    // The writer hangs as soon as there is work: a verb waits for it, and mail programs go on being greeted.
    server.tell();
    let asking = work_to_do(folder.path());
    told(&socket, LIMIT * 3);
    assert_eq!(pings(&told(&socket, LIMIT * 3)), 0);
    let mut greeting = String::new();
    BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("* OK"), "the executor lives: {greeting}");
    server.tell();
    until(&socket, "WATCHDOG=1");
    asking.join().unwrap();

    server.signal(Signal::TERM);
    until(&socket, "STOPPING=1");
}

/// A domain to add, from a thread of its own: it is answered late, or never.
fn work_to_do(folder: &Path) -> std::thread::JoinHandle<()> {
    let mut client = pigeon::serve::connect(&folder.join("data")).unwrap().expect("the server listens");
    std::thread::spawn(move || {
        let domain = pigeon::serve::Request::DomainAdd { domain: "example.org".to_owned() };
        drop(pigeon::serve::ask(&mut client, &domain));
    })
}

fn wait_until(what: &str, is_so: &mut dyn FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_board_ends_a_server_that_hangs_and_no_other() {
    const SILENCE: Duration = Duration::from_secs(1);
    let (folder, _, _) = prepare();
    let place = |name: &str| folder.path().join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pigeon"));
    command.args(["board", "supervise", "--silence", "1", "--folder"]).arg(folder.path()).arg("--");
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "serves_when_asked", "--nocapture"]);
    command.env(FOLDER, folder.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut supervisor = Server(command.spawn().unwrap());
    wait_until("it is ready", &mut || place("ready").exists());
    let number = std::fs::read_to_string(place("serve.pid")).unwrap();
    let is_there = || Path::new("/proc").join(number.trim()).exists();
    std::thread::sleep(SILENCE * 3);
    assert!(place("ready").exists() && is_there(), "a server with nothing to do lives");
    supervisor.tell();
    let asking = work_to_do(folder.path());
    let mut code = None;
    wait_until("it is ended", &mut || {
        code = supervisor.0.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(1));
    assert!(!is_there() && !place("ready").exists() && !place("serve.pid").exists());
    asking.join().unwrap();
}

#[test]
fn the_watchdog_is_not_answered_once_a_session_keeps_the_executor() {
    let (folder, socket, port) = prepare();
    let _server = Server::start(folder.path(), &[("PIGEON_HANG", "imap")]);
    until(&socket, "READY=1");
    until(&socket, "WATCHDOG=1");
    // It hangs when it is woken from rest: a command may come in the turn that greets, and be answered.
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let mut lines = BufReader::new(&client).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("* OK"));
    let start = Instant::now();
    let mut answered = true;
    while answered && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
        (&client).write_all(b"a NOOP\r\n").unwrap();
        answered = lines.next().unwrap().is_ok();
    }
    assert!(!answered, "the session goes on");
    told(&socket, LIMIT);
    assert_eq!(pings(&told(&socket, LIMIT * 3)), 0);
}

/// A disk whose syncs wait.
#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opened.notify_all();
    }
}

impl Hook for Gate {
    fn syncs(&self, _name: &str) {
        drop(self.opened.wait_while(self.is_shut.lock().unwrap(), |is_shut| *is_shut).unwrap());
    }
}

#[test]
fn a_card_that_takes_its_time_is_waited_for() {
    let gate = Arc::new(Gate::default());
    let disk = Hooked { disk: SimDisk::new(), hook: gate.clone() };
    let store = store_support::open_on(&disk, &store_support::workers(), Options::default()).unwrap();
    let mut last = Look::default();
    assert_eq!(store.look_at_writer(&mut last), Found::Alive);
    gate.set(true);
    let asking = std::thread::spawn({
        let store = store.clone();
        move || smol::block_on(store.domain_add("example.org"))
    });
    let start = Instant::now();
    while store.look_at_writer(&mut last) != Found::Waiting {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(store.look_at_writer(&mut last), Found::Waiting, "however long it takes");
    }
    gate.set(false);
    asking.join().unwrap().unwrap();
    assert_eq!(store.look_at_writer(&mut last), Found::Alive);
}
