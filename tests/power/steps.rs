//! What the store was doing when the power went, told from the file, the kind of operation and the phase.

use pigeon::store::sim::{Kind, Operation};
use std::collections::BTreeMap;
use std::fmt;

/// What is going on around the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Work,
    Start,
    Stop,
    House,
    /// Housekeeping while sessions work.
    Meanwhile,
    /// The disk has little room left.
    Full,
    Backup,
    /// Files of a backup are put where a store has them.
    Restore,
    /// The index is made anew.
    Salvage,
}

/// The step's name.
pub(crate) fn step(phase: Phase, operation: &Operation<'_>) -> String {
    let (kind, name) = (operation.kind, operation.name);
    let is = |folder: &str, end: &str| name.starts_with(folder) && name.ends_with(end);
    let what = match kind {
        _ if is("MANIFEST", "") => "manifest",
        Kind::SyncFolder if name == "log" => "log folder sync",
        Kind::SyncFolder if name == "snapshots" => "snapshot folder sync",
        Kind::SyncFolder => "root folder sync",
        Kind::Remove if is("log/", "") => "segment removal",
        Kind::Remove if is("snapshots/", "") => "snapshot removal",
        Kind::Remove if name == "ballast" => "ballast removal",
        Kind::Remove if name == "restoring" => "mark removal",
        Kind::Remove => "other removal",
        Kind::Rename if name == "restoring" => "mark rename",
        _ if is("restoring", "") => "mark made",
        _ if is("backups.made", "") => "written down",
        _ if is("ballast", "") => "ballast",
        Kind::Rename if is("log/", ".commit") => "segment rename",
        Kind::Rename if is("log/", ".body") => "body segment rename",
        Kind::Rename if is("snapshots/", "") => "snapshot rename",
        Kind::Rename if is("index.redb", "") => "index rename",
        _ if matches!(phase, Phase::Backup | Phase::Restore) && is("log/", ".tmp") => "segment copy",
        _ if is("log/", ".commit.tmp") => "segment begin",
        _ if is("log/", ".body.tmp") => "body segment begin",
        Kind::Zeros if is("log/", ".commit") => "window zeros",
        Kind::Write if is("log/", ".commit") => "batch write",
        Kind::Sync if is("log/", ".commit") => "batch sync",
        Kind::Truncate if is("log/", "") => "segment left",
        Kind::Write | Kind::Zeros if is("log/", ".body") => "body append",
        Kind::Sync if is("log/", ".body") => "body sync",
        Kind::Sync if is("snapshots/", "") => "snapshot sync",
        _ if is("snapshots/", "") => "snapshot write",
        _ if is("index.redb.tmp", "") => "index made",
        Kind::Write | Kind::Zeros if name == "index.redb" => "redb page write",
        Kind::Truncate if name == "index.redb" => "redb length",
        Kind::Sync if name == "index.redb" => "redb sync",
        Kind::Create | Kind::Rename | Kind::Write | Kind::Zeros | Kind::Truncate | Kind::Sync => "other",
    };
    match phase {
        Phase::Work => what.to_owned(),
        Phase::Start => format!("start: {what}"),
        Phase::Stop => format!("stop: {what}"),
        Phase::House => format!("house: {what}"),
        Phase::Meanwhile => format!("meanwhile: {what}"),
        Phase::Full => format!("full: {what}"),
        Phase::Backup => format!("backup: {what}"),
        Phase::Restore => format!("restore: {what}"),
        Phase::Salvage => format!("salvage: {what}"),
    }
}

/// Cuts counted by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(pub(crate) BTreeMap<String, u64>);

impl Table {
    pub(crate) fn count(&mut self, step: &str) {
        *self.0.entry(step.to_owned()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(step, count)| *self.0.entry(step.clone()).or_default() += count);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34}{:>9}", "cut at", "cuts")?;
        self.0.iter().try_for_each(|(step, count)| writeln!(f, "{step:<34}{count:>9}"))?;
        writeln!(f, "{:<34}{:>9}", "in all", self.total())
    }
}
