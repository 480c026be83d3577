//! Whole sessions over pipes, on a real store: what a client sees, written from the RFCs.

#![expect(clippy::string_slice, reason = "tests cut texts of their own")]

mod changes;
mod fetching;
mod limits;
mod mailboxes;
mod searching;
mod together;

use super::{Context, serve};
use crate::accounts::Accounts;
use crate::base::{Budget, Clock, Secret, Simulated, Stop, Workers};
use crate::net::{PipeEnd, Wire, WireOptions, pipe};
use crate::store::{Options, Store};
use crate::tls::Tls;
use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 50_000);
const PASSWORD: &str = "wonderland-7";

/// A server with one account, alice@example.org.
struct World {
    executor: Rc<LocalExecutor<'static>>,
    context: Context,
    wires: WireOptions,
    hand: Arc<Simulated>,
    panics: Rc<Cell<u32>>,
    folder: tempfile::TempDir,
}

impl World {
    /// Runs `test` in a new world.
    fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<Self>) -> F) {
        let folder = tempfile::tempdir().unwrap();
        let budget = Budget::new(11 << 20);
        let workers = Workers::new("test", 2, 256 * 1024).unwrap();
        let options = Options {
            segment_bytes: 16 << 20,
            index_cache_bytes: 1 << 20,
            gather: Duration::from_millis(1),
            ..Options::default()
        };
        let store = Store::open(folder.path(), options, Clock::system(), workers, budget.clone()).unwrap();
        let accounts = Accounts::new(store.clone(), Clock::system()).unwrap();
        let (clock, hand) = Clock::simulated(1_700_000_000);
        let (executor, panics) = (Rc::new(LocalExecutor::new()), Rc::new(Cell::new(0)));
        let context = Context {
            hostname: "mx.example.org".into(),
            message_bytes_max: 1 << 20,
            store: store.clone(),
            accounts: accounts.clone(),
            tls: Tls::in_memory().unwrap(),
        };
        let wires = WireOptions { budget, clock, stop: Arc::new(Stop::new()) };
        let world = Rc::new(Self { executor: executor.clone(), context, wires, hand, panics: panics.clone(), folder });
        smol::block_on(executor.run(async {
            accounts.account_add("alice@example.org", &Secret::new(PASSWORD.into())).await.unwrap();
            test(world).await;
        }));
        store.close();
        assert_eq!(panics.get(), 0, "sessions that panicked");
    }

    /// A connection from `peer`, greeting unread.
    fn connect(&self, peer: impl Into<SocketAddr>) -> Client {
        let (ours, theirs) = pipe(256 * 1024);
        let wire = Wire::over_pipe(ours, peer.into(), self.wires.clone());
        let (session, alarm) = (serve(wire, self.context.clone()), Alarm(self.panics.clone()));
        let watched = async move {
            session.await;
            drop(alarm);
        };
        self.executor.spawn(watched).detach();
        Client { end: theirs, unread: Vec::new(), tags: 0 }
    }

    /// A connection that has logged in.
    async fn alice(&self) -> Client {
        let mut client = self.connect(LOOPBACK);
        assert!(client.line().await.starts_with("* OK [CAPABILITY IMAP4rev1 "));
        client.ok(&format!("LOGIN alice@example.org {PASSWORD}")).await;
        client
    }

    /// A connection that has selected INBOX.
    async fn inbox(&self) -> Client {
        let mut client = self.alice().await;
        client.ok("SELECT INBOX").await;
        client
    }
}

/// Counts sessions that panic: the executor swallows it.
struct Alarm(Rc<Cell<u32>>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set(self.0.get() + 1);
        }
    }
}

/// The other end of a session.
struct Client {
    end: PipeEnd,
    unread: Vec<u8>,
    tags: u32,
}

impl Client {
    async fn send(&mut self, octets: &[u8]) {
        self.end.write_all(octets).await.unwrap();
    }

    async fn read(&mut self) -> bool {
        let mut octets = [0; 4096];
        let wait = async { Some(self.end.read(&mut octets).await.unwrap()) };
        let late = async {
            smol::Timer::after(Duration::from_secs(20)).await;
            None
        };
        let count = smol::future::or(wait, late).await.expect("the server says nothing");
        self.unread.extend_from_slice(&octets[..count]);
        count > 0
    }

    /// The next line, without its end.
    async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            assert!(self.read().await, "closed after {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    /// Everything until the server closes.
    async fn rest(&mut self) -> String {
        while self.read().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    /// Whether nothing has come.
    async fn is_silent(&mut self) -> bool {
        for _ in 0..50 {
            smol::Timer::after(Duration::from_millis(2)).await;
            let mut octets = [0; 4096];
            let read = smol::future::poll_once(self.end.read(&mut octets)).await;
            if read.is_some() {
                return false;
            }
        }
        self.unread.is_empty()
    }

    /// Sends a command, and reads up to its tagged reply: all octets before it, and the reply without its tag.
    async fn command(&mut self, command: &str) -> (Vec<u8>, String) {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {command}\r\n").as_bytes()).await;
        self.tagged(&tag).await
    }

    async fn tagged(&mut self, tag: &str) -> (Vec<u8>, String) {
        let start = format!("{tag} ").into_bytes();
        loop {
            let at = if self.unread.starts_with(&start) {
                Some(0)
            } else {
                let inner = [b"\r\n".as_slice(), &start].concat();
                self.unread.windows(inner.len()).position(|w| w == inner).map(|at| at + 2)
            };
            if let Some(at) = at
                && let Some(end) = self.unread[at..].windows(2).position(|w| w == b"\r\n")
            {
                let untagged = self.unread.drain(..at).collect();
                let reply: Vec<u8> = self.unread.drain(..end + 2).collect();
                return (untagged, String::from_utf8(reply[start.len()..end].to_vec()).unwrap());
            }
            assert!(self.read().await, "closed after {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    /// The untagged lines of a command that succeeds.
    async fn ok(&mut self, command: &str) -> Vec<String> {
        let (untagged, reply) = self.command(command).await;
        assert!(reply.starts_with("OK"), "{command}: {reply}");
        lines(&untagged)
    }

    /// The reply of a command that does not.
    async fn refused(&mut self, command: &str) -> String {
        let (_, reply) = self.command(command).await;
        assert!(!reply.starts_with("OK"), "{command}: {reply}");
        reply
    }

    /// Appends a message without waiting, and gives the reply.
    async fn append(&mut self, mailbox: &str, message: &[u8]) -> String {
        self.append_with(mailbox, "", message).await
    }

    async fn append_with(&mut self, mailbox: &str, arguments: &str, message: &[u8]) -> String {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} APPEND {mailbox} {arguments}{{{}+}}\r\n", message.len()).as_bytes()).await;
        self.send(message).await;
        self.send(b"\r\n").await;
        self.tagged(&tag).await.1
    }
}

fn lines(octets: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(octets).split_terminator("\r\n").map(str::to_owned).collect()
}

const SHORT: &[u8] = b"Subject: short\r\n\r\nbody\r\n";
