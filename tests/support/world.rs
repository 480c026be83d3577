//! The world of the dialogue scripts (tests/scripts/README.md): a real store in a folder of its own, accounts, and sessions
//! over pipes under a simulated clock.
#![allow(dead_code, reason = "each test crate uses what it needs")]

use pigeon::accounts::Accounts;
use pigeon::base::{Budget, Clock, Secret, Simulated, Stop, Workers};
use pigeon::net::{PipeEnd, Wire, WireOptions, pipe};
use pigeon::store::{Disk, Options, RealDisk, Store};
use pigeon::tls::Tls;
use pigeon::{imap, pop3, smtp};
use smol::Executor;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Saturday, 2026-03-14 09:26:53 UTC.
pub(crate) const START_S: i64 = 1_773_480_413;
/// What a socket's buffers would hold.
const PIPE_BYTES: usize = 64 * 1024;

/// Octets of a message at the most, in this world.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 4 << 20;

/// A service of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Smtp,
    Submission,
    Submissions,
    Imap,
    Imaps,
    Pop3,
    Pop3s,
}

impl Protocol {
    /// As the configuration names it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "smtp" => Self::Smtp,
            "submission" => Self::Submission,
            "submissions" => Self::Submissions,
            "imap" => Self::Imap,
            "imaps" => Self::Imaps,
            "pop3" => Self::Pop3,
            "pop3s" => Self::Pop3s,
            _ => return None,
        })
    }

    /// Whether TLS is up before the greeting.
    pub(crate) fn tls_first(self) -> bool {
        matches!(self, Self::Submissions | Self::Imaps | Self::Pop3s)
    }
}

/// A server without sockets. Cheap to clone.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    executor: Arc<Executor<'static>>,
    hand: Arc<Simulated>,
    options: WireOptions,
    store: Store,
    accounts: Accounts,
    tls: Tls,
    _data: Option<TempDir>,
}

impl World {
    /// The world of the scripts: example.org with alice and bob.
    pub(crate) async fn new() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(data.path()).expect("a disk");
        Self::on(Arc::new(disk), Some(data)).await
    }

    /// As [`World::new`], on another disk; `data` is kept as long as the world.
    pub(crate) async fn on(disk: Arc<dyn Disk>, data: Option<TempDir>) -> Self {
        let (clock, hand) = Clock::simulated(START_S);
        let budget = Budget::new(16 << 20);
        let workers = Workers::new("reader", 2, 1 << 20).expect("threads");
        let store_options = Options {
            segment_bytes: 1 << 20,
            index_cache_bytes: 1 << 20,
            gather: Duration::from_millis(3),
            ..Options::default()
        };
        let store = Store::open_on(disk, store_options, clock.clone(), workers, budget.clone()).expect("a store");
        let accounts = Accounts::new(store.clone(), clock.clone()).expect("accounts");
        for (address, password) in [("alice@example.org", "wonderland-7"), ("bob@example.org", "builder-22")] {
            accounts.account_add(address, &Secret::new(password.into())).await.expect("an account");
        }
        accounts.alias_add("team@example.org", &["alice@example.org", "bob@example.org"]).await.expect("an alias");
        let options = WireOptions { budget, clock, stop: Arc::new(Stop::new()) };
        let tls = Tls::in_memory().expect("a certificate");
        let executor = Arc::new(Executor::new());
        Self(Arc::new(Inner { executor, hand, options, store, accounts, tls, _data: data }))
    }

    /// A server on a store that is open, under this clock.
    pub(crate) fn of(store: Store, (clock, hand): (Clock, Arc<Simulated>), budget: Budget, tls: Tls) -> Self {
        let accounts = Accounts::new(store.clone(), clock.clone()).expect("accounts");
        let options = WireOptions { budget, clock, stop: Arc::new(Stop::new()) };
        let executor = Arc::new(Executor::new());
        Self(Arc::new(Inner { executor, hand, options, store, accounts, tls, _data: None }))
    }

    /// What runs the sessions.
    pub(crate) fn executor(&self) -> Arc<Executor<'static>> {
        self.0.executor.clone()
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    /// The accounts.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    /// The memory that connections share.
    pub(crate) fn budget(&self) -> &Budget {
        &self.0.options.budget
    }

    /// The server stops.
    pub(crate) fn stop(&self) {
        self.0.options.stop.give();
    }

    /// Time passes.
    pub(crate) fn pass(&self, by: Duration) {
        self.0.hand.advance(by);
    }

    /// The wall clock is set, as when the time comes over the network.
    pub(crate) fn set_unix_s(&self, unix_s: i64) {
        self.0.hand.set_unix_s(unix_s);
    }

    /// Connects from `peer`; the answer is the client's end.
    pub(crate) fn connect(&self, protocol: Protocol, peer: IpAddr) -> PipeEnd {
        let (ours, theirs) = pipe(PIPE_BYTES);
        let wire = Wire::over_pipe(ours, SocketAddr::new(peer, 40_000), self.0.options.clone());
        let world = self.clone();
        self.0.executor.spawn(async move { world.serve(protocol, wire).await }).detach();
        theirs
    }

    async fn serve(&self, protocol: Protocol, mut wire: Wire) {
        if protocol.tls_first() && wire.start_tls(self.0.tls.config()).await.is_err() {
            return;
        }
        match protocol {
            Protocol::Smtp => smtp::serve(wire, self.0.smtp(smtp::Role::Receive)).await,
            Protocol::Submission | Protocol::Submissions => {
                smtp::serve(wire, self.0.smtp(smtp::Role::Submission)).await
            }
            Protocol::Imap | Protocol::Imaps => imap::serve(wire, self.0.imap()).await,
            Protocol::Pop3 | Protocol::Pop3s => pop3::serve(wire, self.0.pop3()).await,
        }
    }
}

impl Inner {
    fn smtp(&self, role: smtp::Role) -> smtp::Context {
        smtp::Context {
            role,
            hostname: "mx.example.org".into(),
            message_bytes_max: MESSAGE_BYTES_MAX,
            store: self.store.clone(),
            accounts: self.accounts.clone(),
            tls: self.tls.clone(),
        }
    }

    fn pop3(&self) -> pop3::Context {
        let (store, accounts, tls) = (self.store.clone(), self.accounts.clone(), self.tls.clone());
        pop3::Context { hostname: "mx.example.org".into(), store, accounts, tls }
    }

    fn imap(&self) -> imap::Context {
        let (store, accounts, tls) = (self.store.clone(), self.accounts.clone(), self.tls.clone());
        let hostname = "mx.example.org".into();
        imap::Context { hostname, message_bytes_max: MESSAGE_BYTES_MAX, store, accounts, tls }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.store.close();
    }
}
