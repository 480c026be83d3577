//! What all parts of a running server share.

use super::ceilings::Ceilings;
use super::status::{Connections, Memory, Running, Served, StoreWork};
use super::world::World;
use super::{process, tls_source};
use crate::base::Stop;
use crate::config::Config;
use crate::net::WireOptions;
use crate::store::Refusal;
use crate::tls::Tls;
use smol::Executor;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) executor: Arc<Executor<'static>>,
    pub(super) world: World,
    pub(super) tls: Tls,
    pub(super) wire: WireOptions,
    pub(super) stop: Arc<Stop>,
    pub(super) ceilings: Arc<Ceilings>,
    /// What is in force; replaced by a reload.
    config: RwLock<Arc<Config>>,
    listening: Mutex<Vec<Served>>,
    is_renewing: AtomicBool,
    started: Duration,
}

impl Server {
    pub(super) fn new(executor: Arc<Executor<'static>>, world: World, tls: Tls, config: Config) -> Arc<Self> {
        let stop = Arc::new(Stop::new());
        let wire = WireOptions { budget: world.budget.clone(), clock: world.clock.clone(), stop: stop.clone() };
        let ceilings = Ceilings::new(config.limits.connections, config.limits.connections_per_ip);
        let started = world.clock.monotonic();
        let config = RwLock::new(Arc::new(config));
        let (listening, is_renewing) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { executor, world, tls, wire, stop, ceilings, config, listening, is_renewing, started })
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on `config` is in force, for new connections.
    pub(super) fn set_config(&self, config: Config) {
        self.ceilings.set(config.limits.connections, config.limits.connections_per_ip);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// What listens where, for the status.
    pub(super) fn set_listening(&self, listening: Vec<Served>) {
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = listening;
    }

    /// What is served, in a line, for `systemctl status`.
    pub(super) fn in_a_line(&self) -> String {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<&str> = listening.iter().map(|one| one.service.as_str()).collect();
        names.dedup();
        let hostname = &self.config().hostname;
        if names.is_empty() {
            format!("{hostname}: every service is off")
        } else {
            format!("{hostname} serves {}", names.join(", "))
        }
    }

    /// Renews a certificate of our own that is near its end. Looked at with every connection, because a timer would wake
    /// an idle board; whoever connects meanwhile gets the old one, which is valid for weeks yet.
    pub(super) fn renew_certificate_if_due(self: &Arc<Self>) {
        let now_s = self.world.clock.unix_s();
        if !self.tls.is_due(now_s) || self.is_renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let server = self.clone();
        let renew = async move {
            let source = tls_source(&server.config());
            let tls = server.tls.clone();
            match server.world.workers.run(move || tls.reload(source, now_s)).await {
                Some(Ok(())) => log::info!("certificate renewed"),
                Some(Err(error)) => log::error!("certificate not renewed: {error}"),
                None => log::error!("certificate not renewed"),
            }
            server.is_renewing.store(false, Ordering::Release);
        };
        self.executor.spawn(renew).detach();
    }

    /// Writes down what the disk has taken, once an hour; looked at with every connection, as above.
    pub(super) fn save_wear_if_due(&self) {
        let world = self.world.clone();
        if world.wear.is_due(world.clock.monotonic()) {
            drop(self.world.workers.start(move || world.save_wear()));
        }
    }

    /// How it is now.
    pub(super) async fn running(&self) -> Result<Running, Refusal> {
        let stats = self.world.store.stats().await?;
        let counts = self.ceilings.counts();
        let usage = process::usage();
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Running {
            pid: std::process::id(),
            uptime_s: self.world.clock.monotonic().saturating_sub(self.started).as_secs(),
            services: listening,
            connections: Connections {
                open: counts.open,
                open_max: counts.open_max,
                accepted: counts.accepted,
                refused: counts.refused,
            },
            memory: Memory {
                resident_bytes: usage.resident_bytes,
                anonymous_bytes: usage.anonymous_bytes,
                budget_spent_bytes: self.world.budget.spent() as u64,
                budget_bytes: self.world.budget.total() as u64,
            },
            store: StoreWork {
                written_bytes: stats.written_bytes,
                syncs: stats.syncs,
                batches: stats.batches,
                read_only: stats.read_only,
            },
            certificate_ends_s: self.tls.not_after_s(),
        })
    }
}
