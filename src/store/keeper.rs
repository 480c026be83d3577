//! Housework: what makes the store smaller or quicker to start, and what nobody waits for. One bounded piece at a time, on a
//! thread of its own, at idle priority.

use super::idle::be_idle;
use super::reclaim::{self, Reclaimed, Survey};
use super::snapshot::{self, SnapshotError};
use super::{Refusal, SNAPSHOTS_KEPT, Shared, Snapshot, Store, query, refusal_of, segment};
use crate::base::Workers;
use event_listener::Event;
use smol::lock::MutexGuardArc;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// It is time for housework after so many batches,
const DUE_BATCHES: u64 = 256;
/// or so long after the first of fewer. While nothing is written nothing becomes due, and no timer runs.
const DUE_AFTER: Duration = Duration::from_secs(600);
/// While the disk is full, it is time soon after a batch,
const FULL_PAUSE: Duration = Duration::from_secs(2);
/// and without one so often.
const FULL_LOOK: Duration = Duration::from_secs(60);
/// Less than a segment divided by this is not worth a snapshot.
const SNAPSHOT_PART: u64 = 4;
/// The log since the last snapshot may be dead to so much of what is live, in percent. Two snapshots are kept, so that twice
/// as much waits for them.
const LOG_DEAD_PERCENT_MAX: u64 = 4;
/// A snapshot waits so long after each block while others wait for the disk. It holds a transaction of the index, so not longer.
const BLOCK_PAUSE: Duration = Duration::from_millis(5);
/// Whoever gave way looks so often whether it may go on.
const WAY_PAUSE: Duration = Duration::from_millis(20);

/// The thread's stack, as the writer's.
const STACK_BYTES: usize = 512 * 1024;

/// Does a part of writing a snapshot on `thread`; logs why it could not be done, and makes a refusal of that.
async fn part<O: Send + 'static>(
    thread: &Workers,
    work: impl FnOnce() -> Result<O, SnapshotError> + Send + 'static,
) -> Result<O, Refusal> {
    let done = thread.run(work).await.unwrap_or_else(|| Err(io::Error::other("the thread panicked").into()));
    done.map_err(|error| {
        log::error!("writing a snapshot: {error}");
        match error {
            SnapshotError::Disk(error) => refusal_of(&error),
            SnapshotError::Index(error) => query::refusal_of_index(&error),
            SnapshotError::Damaged(_) => Refusal::Damaged,
        }
    })
}

/// What a call of [`Store::keep_house`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing was due.
    Nothing,
    /// A snapshot was written, and those before the newest two were removed.
    Snapshot(Snapshot),
    /// Segments were emptied or deleted.
    Reclaimed(Reclaimed),
}

/// The thread, which starts with the first piece, and what wakes whoever waits for work.
#[derive(Debug)]
pub(crate) struct Keeper {
    thread: Mutex<Option<Workers>>,
    /// Batches at the last look.
    looked: AtomicU64,
    /// So many batches wake who waits.
    wake_at: AtomicU64,
    wake: Event,
    /// Somebody was refused because the disk has no room.
    full: Event,
    /// So many wait for the house, which whoever keeps it then leaves,
    waiting: AtomicUsize,
    /// and each was told when it came.
    came: Event,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            thread: Mutex::default(),
            looked: AtomicU64::new(0),
            wake_at: AtomicU64::new(u64::MAX),
            wake: Event::new(),
            full: Event::new(),
            waiting: AtomicUsize::new(0),
            came: Event::new(),
        }
    }
}

/// Somebody waits for the house.
struct Waits<'a>(&'a Keeper);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Keeper {
    /// There is no room for what is new.
    pub(crate) fn is_full(&self) {
        self.full.notify(usize::MAX);
    }

    /// So many batches have been committed.
    pub(crate) fn committed(&self, batches: u64) {
        if batches >= self.wake_at.load(Ordering::Acquire) {
            self.wake_at.store(u64::MAX, Ordering::Release);
            self.wake.notify(usize::MAX);
        }
    }
}

impl Shared {
    /// Waits for the house; whoever keeps it leaves it soon.
    pub(crate) async fn enter_house(&self) -> MutexGuardArc<()> {
        self.keeper.waiting.fetch_add(1, Ordering::SeqCst);
        let _waits = Waits(&self.keeper);
        self.keeper.came.notify(usize::MAX);
        self.house.lock_arc().await
    }

    /// Whether somebody waits for the house.
    pub(crate) fn is_house_wanted(&self) -> bool {
        self.keeper.waiting.load(Ordering::SeqCst) > 0
    }

    /// Waits for so long, or until somebody wants the house.
    pub(crate) async fn rest_in_house(&self, rest: Duration) {
        let came = self.keeper.came.listen();
        if !self.is_house_wanted() {
            let timer = async {
                smol::Timer::after(rest).await;
            };
            smol::future::or(timer, came).await;
        }
    }

    /// Lets those who wait for the house have it first.
    pub(crate) async fn give_way(&self, house: MutexGuardArc<()>) -> MutexGuardArc<()> {
        if !self.is_house_wanted() {
            return house;
        }
        drop(house);
        while self.is_house_wanted() {
            smol::Timer::after(WAY_PAUSE).await;
        }
        self.house.lock_arc().await
    }

    /// Writes a snapshot on `thread`, calling `pause` after each block, and removes those before the newest two.
    pub(crate) async fn take_snapshot(
        self: &Arc<Self>,
        thread: &Workers,
        mut pause: impl FnMut() + Send + 'static,
    ) -> Result<Snapshot, Refusal> {
        let of = self.clone();
        let drafted = part(thread, move || snapshot::draft(&*of.disk, &of.index, &mut pause)).await?;
        // The index is durable before anybody finds the snapshot: else the next start might write the last batch that it holds
        // again, elsewhere in the log, and its place would be a place no more.
        let settled = self.queue.checkpoint().recv().await;
        let of = self.clone();
        part(thread, move || {
            if !matches!(settled, Ok(Ok(()))) {
                snapshot::discard(&*of.disk, drafted.number);
                return Err(io::Error::other("the index cannot be made durable").into());
            }
            snapshot::publish(&*of.disk, drafted.number)?;
            of.forget_old_snapshots(drafted);
            Ok(drafted)
        })
        .await
    }

    /// Keeps this snapshot and the one before; removes older ones, which no replay begins at any more. Blocks.
    fn forget_old_snapshots(&self, newest: Snapshot) {
        let oldest = {
            let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
            snapshots.push(newest);
            let old = snapshots.len().saturating_sub(SNAPSHOTS_KEPT);
            snapshots.drain(..old);
            snapshots.first().map_or(0, |snapshot| snapshot.number)
        };
        let known = snapshot::numbers(&*self.disk).unwrap_or_default();
        for number in known.into_iter().filter(|number| *number < oldest) {
            let name = segment::file_name(segment::Kind::Snapshot, number);
            if let Err(error) = self.disk.remove(&name) {
                log::warn!("removing {name}: {error}");
            }
        }
    }

    /// Whether everything has its turn and nothing its time, as a test wants it: there are no threads but the writer's.
    pub(crate) fn goes_in_step(&self) -> bool {
        !self.workers.are_some()
    }

    /// Lets others to the disk for a moment. Blocks.
    fn pause(&self) {
        if self.is_busy() && !self.goes_in_step() {
            std::thread::sleep(BLOCK_PAUSE);
        }
    }

    /// The thread for housework.
    pub(crate) fn keeper(&self) -> Result<Workers, Refusal> {
        if self.goes_in_step() {
            return Ok(self.workers.clone());
        }
        let mut thread = self.keeper.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = &*thread {
            return Ok(thread.clone());
        }
        let new = Workers::new("keeper", 1, STACK_BYTES).map_err(|error| {
            log::error!("starting a thread: {error}");
            Refusal::Unavailable
        })?;
        drop(new.start(be_idle));
        Ok(thread.insert(new).clone())
    }
}

/// Whether the events since the last snapshot outweigh it, and are worth one at all.
pub(crate) fn do_events_outweigh(event_bytes: u64, last: Option<Snapshot>, segment_bytes: u64) -> bool {
    let since = event_bytes.saturating_sub(last.map_or(0, |last| last.event_bytes));
    since > worth(last, segment_bytes)
}

/// What a snapshot must be good for: as many octets as the last one took, and no less than part of a segment.
fn worth(last: Option<Snapshot>, segment_bytes: u64) -> u64 {
    last.map_or(0, |last| last.bytes).max(segment_bytes / SNAPSHOT_PART)
}

/// A snapshot is due when the events since the last one outweigh it, because a lost index would have to apply them all; or
/// when the space that they and what is dead among them take does so and is much beside what is live, because only a
/// snapshot gives it free.
fn is_snapshot_due(survey: &Survey, last: Option<Snapshot>, segment_bytes: u64) -> bool {
    let worth = worth(last, segment_bytes);
    let much = survey.live_bytes.saturating_mul(LOG_DEAD_PERCENT_MAX) / 100;
    let much = if survey.is_full { 0 } else { much };
    // Of two snapshots the older one holds the log behind it: on a full disk a second one follows at once.
    let held = survey.is_full && survey.held_dead_bytes > worth;
    do_events_outweigh(survey.event_bytes, last, segment_bytes) || survey.log_dead_bytes > worth.max(much) || held
}

impl Store {
    /// Returns when it is time for [`Store::keep_house`] again.
    pub async fn housework_due(&self) {
        let looked = self.shared.keeper.looked.load(Ordering::Acquire);
        if !self.shared.has_room() {
            // What is deleted makes room at once; somebody else may make some too.
            smol::future::or(self.batches_reached(looked + 1), self.shared.clock.sleep(FULL_LOOK)).await;
            self.shared.clock.sleep(FULL_PAUSE).await;
            return;
        }
        let full = self.shared.keeper.full.listen();
        let due = async {
            self.batches_reached(looked + 1).await;
            smol::future::or(self.batches_reached(looked + DUE_BATCHES), self.shared.clock.sleep(DUE_AFTER)).await;
        };
        smol::future::or(due, full).await;
    }

    async fn batches_reached(&self, batches: u64) {
        let keeper = &self.shared.keeper;
        loop {
            let listener = keeper.wake.listen();
            keeper.wake_at.store(batches, Ordering::SeqCst);
            if self.shared.batches.load(Ordering::SeqCst) >= batches {
                return;
            }
            listener.await;
        }
    }

    /// Does whatever is due now, one bounded piece, or less of it when a backup is to begin. Does nothing while another call
    /// is under way or a backup holds the store's files.
    pub async fn keep_house(&self) -> Result<Kept, Refusal> {
        let shared: &Arc<Shared> = &self.shared;
        // Before anything that may put it off, or it would be due again at once.
        shared.keeper.looked.store(shared.batches.load(Ordering::Acquire), Ordering::Release);
        let Some(_house) = shared.house.try_lock() else {
            self.put_off();
            return Ok(Kept::Nothing);
        };
        let of = shared.clone();
        if shared.is_ballast_spent()
            && let Some(Err(error)) = shared.keeper()?.run(move || of.lay_ballast()).await
        {
            log::warn!("ballast: {error}");
        }
        if shared.is_roll_due() && shared.fits_roll().await? {
            match shared.roll().await {
                // What is dead can go all the same.
                Err(Refusal::DiskFull) => {}
                told => told?,
            }
        }
        let survey = reclaim::survey(shared).await?;
        if survey.is_doomed && !shared.doomed.swap(true, Ordering::AcqRel) {
            // It could not be removed when its time was; the writer looks for it after the next piece of work.
            let _ = shared.queue.checkpoint().recv().await;
        }
        let last = shared.newest_snapshot();
        // One that finds no room is written in vain, and next time again.
        let fits = last.map_or_else(|| shared.index.bytes(), |last| last.bytes) <= survey.housework_bytes;
        if fits && is_snapshot_due(&survey, last, shared.segments.bytes()) {
            let of = shared.clone();
            match shared.take_snapshot(&shared.keeper()?, move || of.pause()).await {
                // What is dead can go all the same.
                Err(Refusal::DiskFull) => {}
                written => return written.map(Kept::Snapshot),
            }
        }
        let reclaimed = reclaim::pass(shared, survey).await?;
        if shared.is_house_wanted() {
            self.put_off();
        }
        Ok(reclaimed.map_or(Kept::Nothing, Kept::Reclaimed))
    }

    /// What is left undone is due again after a while, whether or not anything is written until then.
    fn put_off(&self) {
        let batches = self.shared.batches.load(Ordering::Acquire);
        self.shared.keeper.looked.store(batches.saturating_sub(1), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Budget, Clock};
    use crate::store::Options;
    use crate::store::segment::Position;
    use crate::store::sim::SimDisk;
    use smol::future::{FutureExt, yield_now};

    #[test]
    fn a_snapshot_is_due_when_events_or_their_space_outweigh_it() {
        let last = Snapshot { number: 1, bytes: 50, event_bytes: 1_000, position: Position::default() };
        // Live octets, dead ones in the log, octets of events; whether it is due, and why.
        let table = [
            ((10_000, 0, 1_100), false, "as many events as a quarter segment"),
            ((10_000, 0, 1_101), true, "more"),
            ((100, 100, 1_000), false, "as much dead as a quarter segment"),
            ((100, 101, 1_000), true, "more"),
            ((10_000, 400, 1_000), false, "little beside what is live"),
            ((10_000, 401, 1_000), true, "more"),
        ];
        for ((live_bytes, log_dead_bytes, event_bytes), expected, why) in table {
            let survey = survey_of(live_bytes, log_dead_bytes, event_bytes);
            assert_eq!(is_snapshot_due(&survey, Some(last), 400), expected, "{why}");
        }
        let survey = survey_of(0, 0, 1_151);
        let larger = Snapshot { bytes: 151, ..last };
        assert!(!is_snapshot_due(&survey, Some(larger), 400), "the last one is larger than that");
        assert!(is_snapshot_due(&survey, None, 400), "there is none");
        let full = Survey { held_dead_bytes: 101, is_full: true, ..survey_of(10_000, 101, 1_000) };
        assert!(is_snapshot_due(&full, Some(last), 400), "every dead octet counts");
        let full = Survey { held_dead_bytes: 101, is_full: true, ..survey_of(10_000, 0, 1_000) };
        assert!(is_snapshot_due(&full, Some(last), 400), "what the older one holds");
        let full = Survey { is_full: true, ..survey_of(10_000, 100, 1_000) };
        assert!(!is_snapshot_due(&full, Some(last), 400), "nothing to gain");
    }

    fn survey_of(live_bytes: u64, log_dead_bytes: u64, event_bytes: u64) -> Survey {
        let (chosen, held_dead_bytes, is_full, housework_bytes) = (Vec::new(), 0, false, u64::MAX);
        let is_doomed = false;
        Survey { chosen, live_bytes, log_dead_bytes, held_dead_bytes, event_bytes, is_full, housework_bytes, is_doomed }
    }

    #[test]
    fn housework_is_due_after_many_batches_or_some_time_after_one_and_never_in_quiet() {
        let (clock, hand) = Clock::simulated(1_700_000_000);
        let workers = Workers::new("test", 1, 512 * 1024).unwrap();
        let disk = Arc::new(SimDisk::counting());
        smol::block_on(async {
            let store = Store::open_on(disk, Options::default(), clock, workers, Budget::new(1 << 20)).unwrap();
            let is_due = async |after: Duration| {
                let later = async {
                    yield_now().await;
                    hand.advance(after);
                    yield_now().await;
                    yield_now().await;
                };
                let due = async {
                    store.housework_due().await;
                    true
                };
                due.or(async {
                    later.await;
                    false
                })
                .await
            };
            assert!(!is_due(DUE_AFTER * 100).await, "nothing was written");
            store.domain_add("a.example.org").await.unwrap();
            assert!(!is_due(DUE_AFTER / 2).await);
            assert!(is_due(DUE_AFTER).await);
            store.keep_house().await.unwrap();
            assert!(!is_due(DUE_AFTER * 100).await, "nothing was written since");
            for n in 0..DUE_BATCHES {
                assert!(!is_due(Duration::ZERO).await, "{n}");
                store.domain_add(&format!("{n}.example.org")).await.unwrap();
            }
            assert!(is_due(Duration::ZERO).await);
            // A backup puts it off; it is not due again at once, which would be for ever.
            let held = store.hold().await.unwrap();
            assert_eq!(store.keep_house().await, Ok(Kept::Nothing));
            assert!(!is_due(Duration::ZERO).await);
            drop(held);
            store.domain_add("z.example.org").await.unwrap();
            assert!(is_due(DUE_AFTER).await);
        });
    }
}
