//! Reads everything that the store needs and says what of it is not what was written: every row of the index and its
//! counters, every chunk of every body, every batch that a start might read, every snapshot. What is dead is not looked at:
//! deleted bodies, bodies that were never finished, the torn end of the log. Changes nothing.

mod bodies;
mod places;
mod rows;

use super::chain::{chain, walk};
use super::disk::is_unreadable;
use super::index::IndexError;
use super::segment::{Kind, Position, file_name, parse_name};
use super::snapshot::{self, SnapshotError};
use super::{AccountId, BlobId, MailboxId, Refusal, Shared, Store, Uid, query, refusal_of};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Faults told one by one; beyond them they are only counted.
const FAULTS_MAX: usize = 1_000;
/// Places told of one damaged body at the most.
const PLACES_MAX: usize = 8;

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rows of the index, in rows.
    Index,
    /// Bodies, in octets as stored.
    Bodies,
    /// Batches of the log, in octets of its files.
    Log,
    /// Snapshots, in octets.
    Snapshots,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being read.
    pub part: Part,
    /// So much of it has been.
    pub done: u64,
    /// So much there is, about.
    pub total: u64,
}

/// A message that a fault costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose it is.
    pub account: AccountId,
    /// The account's address.
    pub address: String,
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The mailbox's name.
    pub name: String,
    /// The message there.
    pub uid: Uid,
}

/// Something that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A row of the index fails its checksum or cannot be understood.
    Row {
        /// Its table, as far as its key still tells.
        table: String,
        /// The mailbox that its key names.
        mailbox: Option<MailboxId>,
        /// The message's number that its key names.
        number: Option<u64>,
    },
    /// The index cannot be read at all, or not to its end.
    Index {
        /// What it says.
        why: String,
    },
    /// A sum kept in the index is not what its rows amount to.
    Counter {
        /// Which.
        what: String,
        /// What the row says.
        told: u64,
        /// What there is.
        found: u64,
    },
    /// A part of a body cannot be read as it was written.
    Body {
        /// The body.
        blob: BlobId,
        /// The segment it lies in.
        segment: u64,
        /// Where the damaged chunk begins.
        offset: u64,
        /// The messages that have it, the first of them.
        places: Vec<Place>,
    },
    /// Something in the log that a start would stumble over.
    Log {
        /// What.
        what: String,
    },
    /// A snapshot is not what was written.
    Snapshot {
        /// Its number.
        number: u64,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} UID {}", self.address, self.name, self.uid.0)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { table, mailbox, number } => {
                write!(f, "a row of {table} is damaged")?;
                mailbox.iter().try_for_each(|mailbox| write!(f, ", mailbox {}", mailbox.0))?;
                number.iter().try_for_each(|number| write!(f, ", number {number}"))
            }
            Self::Index { why } => write!(f, "the index cannot be read: {why}"),
            Self::Counter { what, told, found } => write!(f, "{what}: {told} are told, {found} are there"),
            Self::Body { blob, segment, offset, places } => {
                write!(f, "body {} is damaged at {offset} in segment {segment}", blob.0)?;
                places.iter().try_for_each(|place| write!(f, "; {place}"))
            }
            Self::Log { what } => write!(f, "the log is damaged: {what}"),
            Self::Snapshot { number, why } => write!(f, "snapshot {number}: {why}"),
        }
    }
}

/// What was read, and what was wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows of the index.
    pub rows: u64,
    /// Chunks of bodies,
    pub chunks: u64,
    /// and their octets as stored.
    pub chunk_bytes: u64,
    /// Batches of the log.
    pub batches: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// The first faults.
    pub faults: Vec<Fault>,
    /// All faults there are.
    pub faults_total: u64,
}

impl Verified {
    /// Notes a fault.
    fn note(&mut self, fault: Fault) {
        self.faults_total += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

impl Store {
    /// Reads everything, on the housekeeping thread at idle priority; everybody else is served meanwhile, but no segment is
    /// deleted and no snapshot written, but while it gives way to a backup that is to begin.
    pub async fn verify(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Verified, Refusal> {
        let shared = &self.shared;
        let house = shared.enter_house().await;
        let mut report = rows::verify(shared, progress).await?;
        let house = bodies::verify(shared, shared.give_way(house).await, &mut report, progress).await?;
        log(shared, &mut report, progress).await?;
        let _house = shared.give_way(house).await;
        snapshots(shared, &mut report, progress).await?;
        places::name(shared, &mut report).await?;
        Ok(report)
    }
}

/// An index that fails is a fault, not the end.
fn note_index(report: &mut Verified, error: &IndexError) {
    report.note(Fault::Index { why: error.to_string() });
}

/// Every batch from the oldest snapshot that is kept on, as a start without an index would read them. A store that was
/// restored has one, and nothing of the log before it.
async fn log(
    shared: &Arc<Shared>,
    report: &mut Verified,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Refusal> {
    let of = shared.clone();
    let (tell, told) = smol::channel::bounded(1);
    let read = move || -> Result<(u64, u64, super::chain::Damage), super::recover::RecoverError> {
        let to = of.index.read(query::state)?.position;
        let oldest = of.older_snapshot().or_else(|| of.newest_snapshot());
        let from = oldest.map_or_else(Position::default, |oldest| oldest.position);
        let (mut numbers, mut batches, mut bytes, mut total) = (Vec::new(), 0, 0, 0);
        for name in of.disk.list("log")? {
            if let Some((Kind::Commit, number)) = parse_name(&name)
                && number <= to.segment
            {
                numbers.push(number);
                if number >= from.segment {
                    total += of.disk.open(&file_name(Kind::Commit, number)).and_then(|file| file.len()).unwrap_or(0);
                }
            }
        }
        numbers.sort_unstable();
        let chain = chain(&*of.disk, &numbers, from)?;
        let damage = walk(&*of.disk, &chain, Some(to), &mut |batch, _, _| {
            batches += 1;
            bytes += batch.padded_bytes;
            // Whoever listens takes the next one.
            let _ = tell.try_send((bytes, total));
            Ok(())
        })?;
        Ok((batches, bytes, damage))
    };
    let keeper = shared.keeper()?;
    let listen = async {
        while let Ok((done, total)) = told.recv().await {
            progress(Progress { part: Part::Log, done: done.min(total), total });
        }
        smol::future::pending().await
    };
    match smol::future::or(keeper.run(read), listen).await.ok_or(Refusal::Unavailable)? {
        Ok((batches, bytes, damage)) => {
            report.batches = batches;
            progress(Progress { part: Part::Log, done: bytes, total: bytes });
            let untold = damage.count - damage.told.len() as u64;
            damage.told.into_iter().for_each(|what| report.note(Fault::Log { what }));
            report.faults_total += untold;
        }
        Err(error) => report.note(Fault::Log { what: error.to_string() }),
    }
    Ok(())
}

async fn snapshots(
    shared: &Arc<Shared>,
    report: &mut Verified,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Refusal> {
    let keeper = shared.keeper()?;
    let of = shared.clone();
    let numbers = keeper.run(move || snapshot::numbers(&*of.disk)).await.ok_or(Refusal::Unavailable)?;
    for number in numbers.map_err(|error: io::Error| refusal_of(&error))? {
        let of = shared.clone();
        let read = move || snapshot::read(&*of.disk, number, &mut |_, _| Ok(()));
        match keeper.run(read).await.ok_or(Refusal::Unavailable)? {
            Ok(snapshot) => {
                report.snapshots += 1;
                progress(Progress { part: Part::Snapshots, done: snapshot.bytes, total: snapshot.bytes });
            }
            Err(SnapshotError::Disk(error)) if !is_unreadable(&error) => return Err(refusal_of(&error)),
            Err(error) => report.note(Fault::Snapshot { number, why: error.to_string() }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
