//! Sockets handed over by systemd (sd_listen_fds(3)), handed over here the way it does: open descriptors from 3 up, named in
//! the environment.

use super::process::{Home, Server, Talk, free_ports, pigeon, text, until};
use rustix::process::Signal;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

/// Starts the server with `imap` as 3, `pop3` as 4 and something else as 5; the log is what the home shows.
fn serve(home: &Home, imap: &TcpListener, pop3: &TcpListener) -> Server {
    let again = |socket: &TcpListener| OwnedFd::from(socket.try_clone().expect("another descriptor"));
    let script = "exec 3<&0 4<&1 5</dev/null </dev/null >/dev/null; LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(pigeon().get_program()).arg("serve").arg("--config").arg(home.file());
    command.env("LISTEN_FDS", "3").env("LISTEN_FDNAMES", "imap:pop3:carrier");
    let log = File::create(home.path().join("log.txt")).expect("a log file");
    let child = command.stdin(again(imap)).stdout(again(pop3)).stderr(Stdio::from(log)).spawn();
    Server::of(child.expect("the server starts"))
}

fn listening() -> (TcpListener, u16) {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = socket.local_addr().expect("its address").port();
    (socket, port)
}

#[test]
fn what_is_handed_over_is_served_in_place_of_the_configured_address_and_over_reload_and_restart() {
    let home = Home::new("[store]\nreserve = \"0 B\"");
    let ((imap, imap_port), (pop3, pop3_port)) = (listening(), listening());
    // Nobody serves yet, and nobody is turned away.
    let mut early = Talk::to(imap_port);
    let server = serve(&home, &imap, &pop3);
    assert!(early.line().starts_with("* OK"));
    assert!(Talk::to(pop3_port).line().starts_with("+OK"));
    assert!(Talk::to(home.smtp).line().starts_with("220 "), "what was not handed over is bound as configured");
    for port in [home.imap, home.pop3] {
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "its place was taken");
    }
    let unknown = "its FileDescriptorName= is no key of [listen] name=carrier";
    assert!(home.log().contains(unknown), "{}", home.log());

    let status = home.verb(&["status", "--json"], "");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let served = status["server"]["services"].as_array().expect("a list").clone();
    let imap_served = served.iter().find(|one| one["service"] == "imap").expect("IMAP is served");
    assert_eq!(imap_served["address"], format!("127.0.0.1:{imap_port}"));
    assert_eq!(imap_served["passed"], true);
    let told = text(&home.verb(&["check"], "").stdout);
    assert!(!told.contains("another program") && told.contains(&format!("listens on 127.0.0.1:{imap_port}")), "{told}");

    // Another configured address changes nothing; "off" does, and so does its end.
    let reload = |config: &str| {
        std::fs::write(home.file(), config).expect("the configuration is written");
        server.signal(Signal::HUP);
    };
    let config = std::fs::read_to_string(home.file()).expect("the configuration");
    let [other] = free_ports();
    let configured = format!("imap = \"127.0.0.1:{}\"", home.imap);
    reload(&config.replace(&configured, &format!("imap = \"127.0.0.1:{other}\"")));
    until("it is loaded", || home.log().contains("configuration loaded"));
    assert!(Talk::to(imap_port).line().starts_with("* OK"));
    early.say("a NOOP");
    assert!(early.line().starts_with("a OK"), "sessions go on");
    reload(&config.replace(&configured, "imap = \"off\""));
    until("IMAP is off", || home.log().contains("no longer listening service=imap"));
    assert!(home.log().contains("systemctl disable --now pigeon-imap.socket"), "{}", home.log());
    let mut waiting = Talk::to(imap_port);
    assert!(Talk::to(pop3_port).line().starts_with("+OK"));
    assert!(!waiting.has_line_within(std::time::Duration::from_millis(200)), "nothing is served there");
    reload(&config);
    assert!(waiting.line().starts_with("* OK"));

    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    let mut between = Talk::to(pop3_port);
    let _server = serve(&home, &imap, &pop3);
    assert!(between.line().starts_with("+OK"), "who came between two servers waits for the second");
}

#[test]
fn a_socket_that_cannot_be_listened_on_is_told_and_the_service_bound_as_configured() {
    let home = Home::new("");
    let (pop3, pop3_port) = listening();
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, pop3_port)).expect("a connection");
    let imap = TcpListener::from(OwnedFd::from(connected));
    let _server = serve(&home, &imap, &pop3);
    until("IMAP is served", || TcpStream::connect((Ipv4Addr::LOCALHOST, home.imap)).is_ok());
    assert!(home.log().contains("name=imap error=it is no listening TCP socket"), "{}", home.log());
}
