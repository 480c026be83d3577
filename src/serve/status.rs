//! What a server serves, holds and spends, as `pigeon status` shows it.

use super::wear::WearStatus;
use serde::{Deserialize, Serialize};

/// One look at a data directory, and at its server if one runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// The version of the program that answers.
    pub version: String,
    /// What is kept.
    pub holds: Holds,
    /// What the disk has taken.
    pub wear: WearStatus,
    /// What the store's last start found damaged: the first of it,
    #[serde(default)]
    pub damage: Vec<String>,
    /// and how many in all.
    #[serde(default)]
    pub damage_total: u64,
    /// The running server.
    pub server: Option<Running>,
}

/// A running server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// What listens where.
    pub services: Vec<Served>,
    /// Connections.
    pub connections: Connections,
    /// Memory.
    pub memory: Memory,
    /// The store's work since it started.
    pub store: StoreWork,
    /// When the certificate ends, seconds since 1970.
    pub certificate_ends_s: i64,
}

impl Status {
    /// Of a store that nobody serves.
    pub(super) fn new(holds: Holds, wear: WearStatus, (damage, damage_total): (Vec<String>, u64)) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, holds, wear, damage, damage_total, server: None }
    }
}

/// A service and an address of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Served {
    /// `smtp`, `imaps`, ...
    pub service: String,
    /// Where it listens.
    pub address: String,
    /// Whether systemd bound it, and not the server.
    #[serde(default)]
    pub passed: bool,
}

/// Connections of a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Connections {
    /// Now.
    pub open: u32,
    /// At the most.
    pub open_max: u32,
    /// Let in since the start.
    pub accepted: u64,
    /// Refused since the start, because a ceiling was reached.
    pub refused: u64,
}

/// Memory of a server, bytes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Memory {
    /// Resident.
    pub resident_bytes: u64,
    /// The part of it that no file backs.
    pub anonymous_bytes: u64,
    /// Taken from the budget for peers' buffers.
    pub budget_spent_bytes: u64,
    /// The whole budget for peers' buffers.
    pub budget_bytes: u64,
}

/// What a store has done since it was opened.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoreWork {
    /// Bytes written to the disk, index included.
    pub written_bytes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Batches of changes committed.
    pub batches: u64,
    /// Why nothing can be written now.
    pub read_only: Option<String>,
}

/// What a server keeps.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Holds {
    /// Domains served.
    pub domains: u64,
    /// Accounts.
    pub accounts: u64,
    /// Mailboxes of all accounts.
    pub mailboxes: u64,
    /// Messages in all mailboxes.
    pub messages: u64,
    /// Their octets.
    pub bytes: u64,
    /// Bytes on the disk: bodies that are needed, as stored.
    pub live_bytes: u64,
    /// Bytes on the disk: bodies that nobody needs any more.
    pub dead_bytes: u64,
    /// Bytes on the disk: the index.
    pub index_bytes: u64,
}
