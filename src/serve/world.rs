//! The store and the accounts, opened as configured: what a server serves, and what a verb works on without a server.

use super::wear::Wear;
use crate::accounts::Accounts;
use crate::base::{Budget, Clock, Workers};
use crate::config::Config;
use crate::store::{Disk, Lock, OpenError, Options, Store};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

/// Threads for work that blocks: one may wait for a slow disk while the other reads what is cached.
const WORKERS: usize = 2;
/// redb's deepest calls need a tenth of it in a release build; unoptimised code is larger.
const WORKER_STACK_BYTES: usize = if cfg!(debug_assertions) { 1024 * 1024 } else { 256 * 1024 };

/// Handles on everything that is kept; cheap to clone.
#[derive(Clone, Debug)]
pub struct World {
    /// Time.
    pub clock: Clock,
    /// Threads for work that blocks.
    pub workers: Workers,
    /// The memory that buffers draw on.
    pub budget: Budget,
    /// Mail.
    pub store: Store,
    /// Who may log in.
    pub accounts: Accounts,
    /// What the disk has taken over its life.
    pub(super) wear: Arc<Wear>,
    /// What it can take, bytes; 0 when nobody said.
    pub(super) endurance_bytes: u64,
}

/// Why nothing can be served.
#[derive(Debug)]
pub enum StartError {
    /// Another process has the data directory open.
    Busy(String),
    /// Anything else: what is wrong, and what to do.
    Failed {
        /// What is wrong.
        message: String,
        /// What to do about it.
        remedy: String,
    },
}

impl StartError {
    /// An error with its remedy.
    pub fn failed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(message) => f.write_str(message),
            Self::Failed { message, remedy } => write!(f, "{message}\n    remedy: {remedy}"),
        }
    }
}

impl World {
    /// Opens the data directory, creating it and an empty store when there is none. Blocks.
    pub fn open(config: &Config) -> Result<Self, StartError> {
        Self::open_as(config, false, None)
    }

    /// As [`World::open`], with an index made anew and every mailbox raised. Blocks.
    pub fn salvage(config: &Config) -> Result<Self, StartError> {
        Self::open_as(config, true, None)
    }

    /// As [`World::salvage`], of what is no store for anybody else yet. Blocks.
    pub fn restore(config: &Config, restored: (Arc<dyn Disk>, Lock)) -> Result<Self, StartError> {
        Self::open_as(config, true, Some(restored))
    }

    fn open_as(config: &Config, salvage: bool, restored: Option<(Arc<dyn Disk>, Lock)>) -> Result<Self, StartError> {
        create_folder(&config.data)?;
        let clock = Clock::system();
        let budget = Budget::new(usize::try_from(config.budget_bytes()).unwrap_or(usize::MAX));
        let thread = |error: io::Error| {
            StartError::failed(format!("cannot start a thread: {error}"), "raise the limit on processes (ulimit -u)")
        };
        let workers = Workers::new("disk", WORKERS, WORKER_STACK_BYTES).map_err(thread)?;
        let options = Options {
            segment_bytes: config.store.segment_bytes,
            index_cache_bytes: usize::try_from(config.store.index_cache_bytes).unwrap_or(usize::MAX),
            gather: config.store.gather,
            salvage,
            ..Options::default()
        };
        let (of_clock, of_workers, of_budget) = (clock.clone(), workers.clone(), budget.clone());
        let store = match restored {
            Some(restored) => Store::open_restored(restored, options, of_clock, of_workers, of_budget),
            None => Store::open(&config.data, options, of_clock, of_workers, of_budget),
        };
        let store = store.map_err(|error| not_opened(&config.data, error))?;
        store.keep_free(config.store.reserve_bytes);
        let accounts = Accounts::new(store.clone(), clock.clone()).map_err(thread)?;
        let wear = Arc::new(Wear::open(&config.data, clock.monotonic()));
        if let Ok(stats) = smol::future::block_on(store.stats()) {
            wear.begin(stats.messages_ever);
        }
        let endurance_bytes = config.store.endurance_bytes;
        Ok(Self { clock, workers, budget, store, accounts, wear, endurance_bytes })
    }

    /// Writes down what is pending and gives the data directory back. Blocks.
    pub fn close(&self) {
        self.store.close();
        self.save_wear();
    }

    /// Writes down what the disk has taken. Blocks.
    pub(super) fn save_wear(&self) {
        if let Err(error) = self.wear.save(&self.store, self.clock.unix_s(), self.clock.monotonic()) {
            log::warn!("cannot write down how much was written: {error}");
        }
    }
}

/// A folder of ours beside the data.
pub fn beside(data: &Path, suffix: &str) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    data.with_file_name(name)
}

/// Creates the data directory, for its owner alone.
pub fn create_folder(data: &Path) -> Result<(), StartError> {
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|error| {
        let message = format!("cannot create the data directory {}: {error}", data.display());
        StartError::failed(message, "create it for the user that Pigeon runs as, or set `data` to another place")
    })
}

fn not_opened(data: &Path, error: OpenError) -> StartError {
    match error {
        OpenError::Locked => StartError::Busy(format!(
            "{} is in use by another pigeon; wait until it is ready or stop it, and try again",
            data.display()
        )),
        OpenError::HalfRestored => StartError::failed(
            format!("a restore into {} is under way or was cut short", data.display()),
            "run `pigeon restore` again, or remove what is in the folder for a new store",
        ),
        OpenError::Failed(why) => StartError::failed(
            format!("cannot open the store in {}: {why}", data.display()),
            "`pigeon check` tells more about this machine",
        ),
    }
}
