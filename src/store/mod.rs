//! The mail log and its index. The only room that knows redb; keeps bytes, keys and events and knows no MIME.
//!
//! A change is decided by the one [`writer`], written to the log as events, synced, and applied to the index by
//! [`apply`]; a start applies again what the index has not seen ([`recover`]). The index's tables are drawn in [`keys`].

mod apply;
pub mod backup;
mod ballast;
mod bare;
mod batch;
mod body;
mod bytes;
mod chain;
mod chunk;
mod codec;
mod decide;
mod disk;
mod event;
mod handle;
mod identity;
mod idle;
mod index;
mod keeper;
mod keys;
mod lease;
mod log;
mod marks;
mod names;
mod pulse;
mod query;
mod queue;
mod reader;
mod rebuild;
mod reclaim;
mod recover;
mod roll;
mod rows;
mod runs;
#[doc(hidden)]
pub mod sabotage;
mod segment;
pub mod sim;
mod snapshot;
mod spans;
mod stats;
mod steps;
mod told;
mod types;
pub mod verify;
mod watch;
mod writer;

pub use ballast::ballast_needs_bytes;
pub use bare::Bare;
pub use body::{Body, BodyWriter};
pub use disk::{Disk, DiskFile, Lock, RealDisk};
pub use keeper::Kept;
pub use names::{NameQuery, NameStep, NamedMailbox};
pub use pulse::{Found, Look};
pub use reader::BodyReader;
pub use rebuild::Source;
pub use reclaim::Reclaimed;
pub use snapshot::Snapshot;
pub use stats::Stats;
pub use steps::MessageStep;
pub use types::*;
pub use watch::{AccountWatch, Watch};

use crate::base::{Budget, Clock, Workers};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A message goes to so many mailboxes at once at the most.
pub const TARGETS_MAX: usize = 1_000;
/// COPY and MULTIAPPEND take so many messages at the most.
pub const COPY_MESSAGES_MAX: u64 = 20_000;
/// Bulk changes go in steps of so many messages.
pub const STEP_MESSAGES_MAX: usize = 1_000;

/// What operators are told when a start did not find the log's end for certain.
const END_UNCERTAIN: &str = "the log may have lost its end: mail that came last may be missing";
/// Snapshots that are kept.
const SNAPSHOTS_KEPT: usize = 2;

/// How the store is to work.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a log segment; they are shorter where there is little mail.
    pub segment_bytes: u64,
    /// redb's cache, bytes.
    pub index_cache_bytes: usize,
    /// How long a batch gathers while other deliveries arrive.
    pub gather: Duration,
    /// Make the index anew, and raise every mailbox, whether or not it looks whole.
    pub salvage: bool,
    /// A checkpoint comes after so many commits at the latest: what a start has to replay.
    pub checkpoint_commits: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            index_cache_bytes: 2 << 20,
            gather: Duration::from_millis(3),
            salvage: false,
            checkpoint_commits: 1_000,
        }
    }
}

/// A handle on the store: cheap to clone. The store closes when the last one is dropped, or by [`Store::close`].
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
    open: Arc<Open>,
}

/// What handles, readers, bodies and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    disk: Arc<dyn Disk>,
    meter: Arc<disk::Meter>,
    index: index::Index,
    bodies: body::Bodies,
    files: reader::Files,
    unreadable: reader::Unreadable,
    leases: Arc<lease::Leases>,
    watched: watch::Watched,
    queue: queue::Queue,
    workers: Workers,
    keeper: keeper::Keeper,
    budget: Budget,
    clock: Clock,
    ballast: ballast::Ballast,
    segments: Arc<log::NewSegments>,
    /// Bodies on their way.
    in_flight: AtomicUsize,
    /// Whether deleted mailboxes still have rows.
    doomed: AtomicBool,
    /// What was shown as \Recent and rides with the next commit; at most one per mailbox.
    riders: Mutex<BTreeMap<MailboxId, Uid>>,
    batches: AtomicU64,
    /// Segments with a damaged chunk, which are kept.
    damaged: Mutex<BTreeSet<u64>>,
    /// Octets that reclaim may copy in a second, that it has copied, and that it has freed.
    copy_bytes_per_s: AtomicU64,
    copied_bytes: AtomicU64,
    reclaimed_bytes: AtomicU64,
    /// Why nothing can be written at the moment.
    trouble: Mutex<Option<String>>,
    /// What the start found damaged, and what it made the index from when it did.
    damage: chain::Damage,
    source: Option<Source>,
    /// The commit segment in which the last telling began that came to its end; 0 for none.
    roll_segment: AtomicU64,
    /// The snapshots there are, ascending.
    snapshots: Mutex<Vec<Snapshot>>,
    /// Held by whoever writes snapshots, removes segments, or needs that nobody else does.
    house: Arc<smol::lock::Mutex<()>>,
    /// How often the index was made anew since the start.
    rebuilds: AtomicU64,
    lock: Mutex<Option<Lock>>,
}

/// Ends the writer when the last handle is gone.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Open {
    fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            ::log::error!("the store's writer panicked");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Commit segments below this number are needed by no replay, whatever is lost, once the index has durably seen them:
    /// they lie before the older of the two newest snapshots, and all is told again after them. 0 while there are not two.
    pub(crate) fn event_floor(&self) -> u64 {
        let floor = self.older_snapshot().map_or(0, |older| older.position.segment);
        floor.min(self.roll_segment.load(Ordering::Acquire))
    }

    /// The older of the two newest snapshots.
    pub(crate) fn older_snapshot(&self) -> Option<Snapshot> {
        let snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        snapshots.len().checked_sub(SNAPSHOTS_KEPT).and_then(|at| snapshots.get(at)).copied()
    }

    /// The newest snapshot.
    pub(crate) fn newest_snapshot(&self) -> Option<Snapshot> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).last().copied()
    }

    /// Whether somebody waits for the store, or is about to.
    fn is_busy(&self) -> bool {
        self.queue.is_busy() || body::in_flight(&self.in_flight)
    }
}

/// Opens the index, or makes it anew, and brings it up to the end of the log. A panic inside redb counts as a broken index.
fn open_index(
    disk: &Arc<dyn Disk>,
    segments: &Arc<log::NewSegments>,
    found: &recover::Found,
    (options, anew): (&Options, bool),
) -> Result<rebuild::Opened, recover::RecoverError> {
    let open = || {
        if anew {
            return rebuild::at_start(disk, options.index_cache_bytes, segments, found, options.salvage);
        }
        let index = index::Index::open(disk.clone(), options.index_cache_bytes)?;
        let (log, damage) = recover::start(disk, &index, segments, found, &recover::Reading::default())?;
        Ok(rebuild::Opened { index, log, damage, source: None })
    };
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| {
        let error = redb::Error::Corrupted("redb panicked".into());
        Err(recover::RecoverError::Index(index::IndexError::Redb(Box::new(error))))
    })
}

/// The refusal for a failed disk.
pub(crate) fn refusal_of(error: &io::Error) -> Refusal {
    if ballast::is_full_io(error) { Refusal::DiskFull } else { Refusal::Unavailable }
}

/// Why the store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Locked,
    /// A restore into it is under way or was cut short.
    HalfRestored,
    /// Anything else, in words for the operator.
    Failed(String),
}

/// One mailbox that a delivery goes to. One that has gone meanwhile is passed over as long as another remains.
#[derive(Clone, Debug)]
pub struct Target {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The flags it starts with there.
    pub flags: FlagNames,
}

/// A new message: its body, and what is stored beside it.
#[derive(Debug)]
pub struct NewMessage {
    /// The body, already written or still small enough to ride in the batch.
    pub body: Body,
    /// Envelope and structure; opaque to the store.
    pub summary: Vec<u8>,
    /// INTERNALDATE.
    pub internal_date: Date,
}

/// Where a new message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The message's UID there.
    pub uid: Uid,
    /// Its modification sequence.
    pub modseq: ModSeq,
}

/// What COPY or a step of MOVE did: the n-th UID of `from` became the n-th of `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The destination's UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// UIDs in the source, ascending.
    pub from: UidSet,
    /// UIDs in the destination, ascending.
    pub to: UidSet,
    /// The destination has no room for all of their keywords; the copies go without some.
    pub keywords_left_out: bool,
}

/// What a step of STORE did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagsChanged {
    /// Messages whose flags are now as asked (changed or already so), at most [`STEP_MESSAGES_MAX`].
    pub done: Vec<Entry>,
    /// Messages left alone because they changed after UNCHANGEDSINCE.
    pub modified: UidSet,
    /// What is still to do: call again with it until it is empty.
    pub rest: UidSet,
}

/// What a step of EXPUNGE or MOVE took out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expunged {
    /// UIDs that are gone now.
    pub uids: UidSet,
    /// The mailbox's modification sequence afterwards.
    pub modseq: ModSeq,
    /// What is still to do: call again with it until it is empty.
    pub rest: UidSet,
}

impl Store {
    /// Opens the store in `data`, creating the folder and an empty store when there is none: takes the lock, opens the
    /// index, replays the log, makes its end certain. Blocks.
    pub fn open(
        data: &Path,
        options: Options,
        clock: Clock,
        workers: Workers,
        budget: Budget,
    ) -> Result<Self, OpenError> {
        let disk = RealDisk::new(data).map_err(|error| OpenError::Failed(format!("{}: {error}", data.display())))?;
        Self::open_on(Arc::new(disk), options, clock, workers, budget)
    }

    /// As [`Store::open`], on any disk.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: Options,
        clock: Clock,
        workers: Workers,
        budget: Budget,
    ) -> Result<Self, OpenError> {
        let failed = |what: &str, error: &io::Error| OpenError::Failed(format!("{what}: {error}"));
        let lock = disk.lock().map_err(|error| failed("lock", &error))?.ok_or(OpenError::Locked)?;
        if backup::is_half_restored(&*disk).map_err(|error| failed("restoring", &error))? {
            return Err(OpenError::HalfRestored);
        }
        Self::open_locked((disk, lock), options, clock, workers, budget)
    }

    /// Opens what a restore has copied, and is no store for anybody else yet: the index is made anew, and every mailbox
    /// raised. Blocks.
    pub fn open_restored(
        (disk, lock): (Arc<dyn Disk>, Lock),
        options: Options,
        clock: Clock,
        workers: Workers,
        budget: Budget,
    ) -> Result<Self, OpenError> {
        Self::open_locked((disk, lock), Options { salvage: true, ..options }, clock, workers, budget)
    }

    fn open_locked(
        (disk, lock): (Arc<dyn Disk>, Lock),
        options: Options,
        clock: Clock,
        workers: Workers,
        budget: Budget,
    ) -> Result<Self, OpenError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| OpenError::Failed(format!("{what}: {error}"));
        let meter = Arc::new(disk::Meter::default());
        let disk: Arc<dyn Disk> = Arc::new(disk::Metered { disk, meter: meter.clone() });
        recover::clean(&*disk).map_err(|error| failed("log", &error))?;
        let found = recover::look(&*disk).map_err(|error| failed("log", &error))?;
        let is_new = found.is_new();
        let segments = Arc::new(log::NewSegments::after(found.highest, options.segment_bytes));
        let is_there = index::is_there(&*disk).map_err(|error| failed("index.redb", &error))?;
        let is_lost = !is_there && !is_new;
        if is_lost {
            ::log::error!("index.redb is missing or empty; it is made anew from the newest snapshot and the log");
        }
        let anew = is_lost || options.salvage;
        let (mut aside, mut found) = (index::aside(&*disk), Some(found));
        let mut open = |anew| {
            loop {
                // A try before this one may have left a segment.
                let opened = found.take().map_or_else(|| recover::look(&*disk), Ok).map_err(Into::into);
                let opened = opened.and_then(|found| open_index(&disk, &segments, &found, (&options, anew)));
                let Err(error) = &opened else { return opened };
                let Some(given_up) = ballast::spend_at_start(&*disk, error, &mut aside) else { return opened };
                ::log::error!("{error}; {given_up} is given up");
            }
        };
        let opened = match open(anew) {
            // What cannot be read now may be in a moment.
            Err(error) if error.is_broken_index() && !anew => {
                ::log::error!("{error}; trying again");
                open(false)
            }
            opened => opened,
        };
        let opened = match opened {
            Err(error) if error.is_broken_index() => {
                ::log::error!("{error}; the index is made anew from the newest snapshot and the log");
                open(true)
            }
            opened => opened,
        };
        let opened = opened.map_err(|error| OpenError::Failed(error.to_string()))?;
        let rebuild::Opened { index, log, damage, source } = opened;
        for what in damage.told.iter().map(String::as_str).chain(damage.uncertain_end.then_some(END_UNCERTAIN)) {
            ::log::error!("damaged: {what}");
        }
        identity::ensure(&*disk, is_new && !is_there);
        let state = index.read(query::state).map_err(|error| failed("index.redb", &error))?;
        let snapshots = snapshot::list(&*disk).map_err(|error| failed("snapshots", &error))?;
        let leases = Arc::new(lease::Leases::default());
        let shared = Arc::new(Shared {
            bodies: body::Bodies::new(disk.clone(), segments.clone(), leases.clone()),
            files: reader::Files::new(disk.clone()),
            unreadable: reader::Unreadable::default(),
            leases,
            watched: watch::Watched::default(),
            queue: queue::Queue::new(),
            ballast: ballast::Ballast::default(),
            in_flight: AtomicUsize::new(0),
            doomed: AtomicBool::new(state.doomed > 0),
            damage,
            source,
            roll_segment: AtomicU64::new(state.roll_segment),
            snapshots: Mutex::new(snapshots),
            house: Arc::default(),
            rebuilds: AtomicU64::new(0),
            riders: Mutex::default(),
            batches: AtomicU64::new(0),
            damaged: Mutex::default(),
            copy_bytes_per_s: AtomicU64::new(reclaim::COPY_BYTES_PER_S),
            copied_bytes: AtomicU64::new(0),
            reclaimed_bytes: AtomicU64::new(0),
            keeper: keeper::Keeper::default(),
            segments,
            trouble: Mutex::new(None),
            lock: Mutex::new(Some(lock)),
            disk,
            meter,
            index,
            workers,
            budget,
            clock,
        });
        let writer = writer::Writer::start(shared.clone(), log, &options);
        let writer = writer.map_err(|error| failed("the writer's thread", &error))?;
        let open = Arc::new(Open { shared: shared.clone(), writer: Mutex::new(Some(writer)) });
        let store = Self { shared: shared.clone(), open };
        if state.raise_from > 0 {
            ::log::warn!("UIDs and modification sequences are raised, because some may have been given out and lost");
            smol::block_on(store.raise()).map_err(|refusal| OpenError::Failed(format!("raising UIDs: {refusal:?}")))?;
        }
        if source == Some(Source::Log) {
            if let Err(refusal) = smol::block_on(store.give_inboxes()) {
                // Nobody can log in to an account that lacks one, but everybody else can.
                ::log::error!("making inboxes: {refusal:?}");
            }
            // From now on it begins here, and not with what the log lacks.
            if !shared.damage.is_none()
                && let Err(refusal) = smol::block_on(store.snapshot())
            {
                ::log::warn!("no snapshot of what came back could be written: {refusal:?}");
            }
        }
        Ok(store)
    }

    /// Checkpoints, ends the writer and gives the lock back; every later call is refused. Blocks.
    pub fn close(&self) {
        self.open.close();
    }

    /// New messages are refused from now on, with [`Refusal::DiskFull`], once less than `bytes` of the disk are free;
    /// what is there can still be flagged, moved and deleted.
    pub fn keep_free(&self, bytes: u64) {
        self.shared.ballast.keep_free_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Lays down, or lays down again, what is kept for when the disk is full; says whether there is room for new messages.
    pub async fn lay_ballast(&self) -> bool {
        let shared = self.shared.clone();
        let laid = self.shared.workers.run(move || shared.lay_ballast()).await;
        laid.is_some_and(|laid| laid.inspect_err(|error| ::log::warn!("ballast: {error}")).unwrap_or(false))
    }

    /// What the start found damaged, in words for the operator: the first of it, and how many in all.
    pub fn damage(&self) -> (&[String], u64) {
        (&self.shared.damage.told, self.shared.damage.count)
    }

    /// All that the start found damaged or lost, and the end of the log, if that may be.
    pub fn lost(&self) -> (Vec<String>, u64) {
        let (mut told, count) = (self.shared.damage.told.clone(), self.shared.damage.count);
        let is_uncertain = self.is_end_uncertain();
        told.extend(is_uncertain.then(|| END_UNCERTAIN.to_owned()));
        (told, count + u64::from(is_uncertain))
    }

    /// Whether the start, making the index anew, found behind the last batch what may have been another one: the torn end of
    /// a batch that nobody was told of, or a ruined one. Nobody can know; UIDs and modification sequences were raised.
    pub fn is_end_uncertain(&self) -> bool {
        self.shared.damage.uncertain_end
    }

    /// What the start made the index from; nothing when it was there and whole.
    pub fn source(&self) -> Option<Source> {
        self.shared.source
    }

    /// Writes a snapshot of the index, durable when this returns, and removes those before the newest two.
    pub async fn snapshot(&self) -> Result<Snapshot, Refusal> {
        self.shared.take_snapshot(&self.shared.workers, || ()).await
    }

    /// Reclaim copies no more than so many octets in a second.
    pub fn reclaim_no_faster_than(&self, bytes_per_s: u64) {
        self.shared.copy_bytes_per_s.store(bytes_per_s, Ordering::Relaxed);
    }

    /// A sum over the index's contents, equal for equal contents wherever bodies lie: a test seam.
    pub async fn digest(&self) -> Result<u64, Refusal> {
        self.shared.query(|rx| Ok(index::digest(rx)?)).await
    }

    /// The sizes in octets of those `uids` that exist, ascending, at most `max`; go on after the last one.
    pub async fn sizes(&self, mailbox: MailboxId, uids: &UidSet, max: usize) -> Result<Vec<(Uid, u64)>, Refusal> {
        let (mut found, max) = (Vec::new(), max.min(query::ROWS_MAX));
        for piece in uids.pieces(handle::RANGES_STEP) {
            let left = max.saturating_sub(found.len());
            found.extend(self.shared.query(move |rx| Ok(query::sizes(rx, mailbox, &piece, left)?)).await?);
            if found.len() >= max {
                break;
            }
        }
        Ok(found)
    }

    /// Looks whether the writer is alive, compared with the look before.
    pub fn look_at_writer(&self, last: &mut Look) -> Found {
        let writer = self.open.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.as_ref().is_some_and(std::thread::JoinHandle::is_finished) {
            return Found::Stuck;
        }
        self.shared.meter.pulse.look(!self.shared.queue.is_at_rest(), last)
    }

    /// Figures about the store.
    pub async fn stats(&self) -> Result<Stats, Refusal> {
        stats::stats(&self.shared).await
    }
}
