//! The one thread that changes the store. It takes whoever waits, decides them one after another in one transaction of the
//! index, writes their events as one batch, syncs, commits the index without a sync of its own, tells the news, answers.
//!
//! | step                          | a cut here leaves                       | what the next start finds            |
//! |-------------------------------|-----------------------------------------|--------------------------------------|
//! | decided, in the transaction   | nothing                                 | nothing: nobody was answered         |
//! | batch written                 | perhaps a whole batch, unsynced         | it counts if it is whole             |
//! | batch synced                  | the batch                               | it is applied again                  |
//! | index committed, not durable  | the batch                               | the same                             |
//! | answered                      | the batch                               | the same                             |
//! | checkpoint                    | an index before or after, never between | replay goes on from either           |

use super::Shared;
use super::apply::{News, Place};
use super::ballast::{self, Room};
use super::batch::Builder;
use super::body::in_flight;
use super::decide::Step;
use super::event::Event;
use super::index::{IndexError, Read, Tx};
use super::keys::{T, key_u32, uid_of_key};
use super::lease::Pins;
use super::log::Log;
use super::pulse::Pulse;
use super::queue::{Answer, Batch, Left, Request, Senders, Work};
use super::rebuild;
use super::recover;
use super::sabotage::{self, Sabotage};
use super::segment::Position;
use super::{MailboxId, Options, Refusal, refusal_of};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// A checkpoint comes after so many octets of batches since the last, or after as many commits as the options say: together
/// they bound what a start replays.
const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// While requests never end, a step of removing what deleted mailboxes held comes after so many batches.
const PURGE_BATCHES: u32 = 16;
/// The thread's stack. redb recurses only as deep as its trees are high.
const STACK_BYTES: usize = 512 * 1024;

/// An index that is damaged ever again is not made anew for ever.
const REBUILDS_MAX: u64 = 8;

/// How the trouble with an index that does not open begins.
const NO_INDEX: &str = "no index: ";

/// The writer's own things.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    log: Log,
    gather: Duration,
    checkpoint_commits: u64,
    senders: Senders,
    commits: u64,
    bytes: u64,
    /// Batches since the last step of removing what deleted mailboxes held.
    unpurged: u32,
}

/// What became of a batch before it was answered.
#[derive(Default)]
struct Decided {
    answers: Vec<Answer>,
    news: News,
    pins: Vec<Pins>,
    broken: Option<IndexError>,
}

/// A batch's octets once they are durable, or why they are not; nothing when it was not written.
type Written = Option<io::Result<u64>>;

/// Why a batch was not committed.
enum Failure {
    Log(io::Error),
    Index(IndexError),
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(shared: Arc<Shared>, log: Log, options: &Options) -> io::Result<std::thread::JoinHandle<()>> {
        let Options { gather, checkpoint_commits, .. } = *options;
        let senders = Senders::new(gather);
        let writer = Self { shared, log, gather, checkpoint_commits, senders, commits: 0, bytes: 0, unpurged: 0 };
        std::thread::Builder::new().name("store".into()).stack_size(STACK_BYTES).spawn(move || writer.run())
    }

    fn run(mut self) {
        Pulse::of_this_thread();
        loop {
            let shared = self.shared.clone();
            let chores = self.is_checkpoint_due() || shared.doomed.load(Ordering::Acquire);
            let on_the_way = |come: usize| in_flight(&shared.in_flight) || come < self.senders.expected(Instant::now());
            let work = shared.queue.take(self.gather, &on_the_way, chores);
            shared.meter.pulse.beat();
            while sabotage::is(Sabotage::WriterStuck) {
                std::thread::sleep(Duration::from_millis(10));
            }
            // Without this thread everybody would wait for ever.
            match catch_unwind(AssertUnwindSafe(|| self.work(work))) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    log::error!("the store's writer panicked; opening the index again");
                    drop(catch_unwind(AssertUnwindSafe(|| self.reopen())));
                    shared.queue.reopened(false);
                }
            }
        }
        self.close();
    }

    /// Does one piece of work; false ends the writer.
    fn work(&mut self, work: Work) -> bool {
        match work {
            Work::Batch(batch) => self.batch(batch),
            Work::Chores => self.chores(),
            Work::Reopen { anew } => {
                match anew {
                    true => self.rebuild(),
                    false => self.reopen(),
                }
                self.shared.queue.reopened(anew);
            }
            Work::Leave(wait) => {
                let left = self.leave();
                for wait in wait {
                    // Whoever asked may have gone away.
                    let _ = wait.try_send(left);
                }
            }
            Work::Checkpoint(waiting) => {
                let done = self.checkpoint();
                for tell in waiting {
                    // Whoever asked may have gone away.
                    drop(tell.try_send(done.clone()));
                }
            }
            Work::Close => return false,
        }
        if self.is_checkpoint_overdue() {
            drop(self.checkpoint());
        }
        if self.unpurged >= PURGE_BATCHES && self.shared.doomed.load(Ordering::Acquire) {
            self.purge();
        }
        true
    }

    /// Seals what was written so far.
    fn leave(&mut self) -> Left {
        self.log.leave();
        // What is begun from now on is not in it, so it must be counted before.
        let bound = self.log.bound();
        self.shared.bodies.leave();
        (self.log.last(), bound)
    }

    /// Decides, writes, commits and answers a batch.
    fn batch(&mut self, batch: Batch) {
        let riders = self.riders();
        let deliveries = batch.requests.iter().filter(|request| request.gathers).count();
        let (mut decided, mut written) = (Decided::default(), Written::None);
        let commit = || self.commit(batch.requests, &riders, &mut decided, &mut written);
        let done = catch_unwind(AssertUnwindSafe(commit)).unwrap_or_else(|_| {
            log::error!("the store's writer panicked");
            if written.is_none() {
                self.log.take_back();
            }
            Err(panicked())
        });
        let answer = match (done, written) {
            // It is in the log and synced: the answer is yes, whatever the index says.
            (done, Some(Ok(bytes))) => {
                self.went_well(bytes);
                if let Err(error) = done {
                    log::error!("committing the index: {error}; opening it again");
                    self.make_room(&error);
                    self.reopen();
                }
                self.shared.watched.publish(&decided.news);
                Ok(())
            }
            (_, Some(Err(error))) => Err(self.failed(Failure::Log(error))),
            (Ok(()), None) => Ok(()),
            (Err(error), None) => Err(self.failed(Failure::Index(decided.broken.take().unwrap_or(error)))),
        };
        if answer.is_err() {
            self.keep_riders(riders);
        }
        for tell in decided.answers {
            tell(answer.clone());
        }
        if deliveries > 0 {
            self.senders.answered(deliveries, batch.waited_in_vain, Instant::now());
        }
        self.unpurged = self.unpurged.saturating_add(1);
    }

    fn commit(
        &mut self,
        requests: Vec<Request>,
        riders: &[(MailboxId, super::Uid)],
        decided: &mut Decided,
        written: &mut Written,
    ) -> Result<(), IndexError> {
        let shared = self.shared.clone();
        let place = self.log.place();
        let (salt, last) = (self.log.salt(), self.log.last());
        let now_unix_s = shared.clock.unix_s();
        let room = shared.room();
        let decide = |tx: &mut Tx<'_>| {
            if tx.state()?.position != last {
                return Err(IndexError::Behind);
            }
            let mut batch = Builder::new();
            decide_all(tx, &mut batch, (place, now_unix_s, room), requests, riders, decided)?;
            if batch.is_empty() {
                return Ok(None);
            }
            let event_bytes = batch.event_bytes();
            let (bytes, position) = Log::seal(batch, (place, salt), last);
            let state = tx.state()?;
            state.position = position;
            state.event_bytes = state.event_bytes.saturating_add(event_bytes);
            shared.doomed.store(state.doomed > 0, Ordering::Release);
            Ok(Some((bytes, position)))
        };
        let write = |sealed: Option<(Vec<u8>, Position)>| {
            let Some((bytes, position)) = sealed else {
                return Ok(None);
            };
            let done = self.log.append(&bytes, position);
            let goes_on = done.is_ok().then_some(());
            *written = Some(done.map(|()| bytes.len() as u64));
            Ok(goes_on)
        };
        if sabotage::is(Sabotage::IndexFirst) {
            let Some(sealed) = self.shared.index.write_then(true, decide, |sealed| Ok(Some(sealed)))? else {
                return Ok(());
            };
            let mut write = write;
            return write(sealed).map(drop);
        }
        self.shared.index.write_then(false, decide, write).map(drop)
    }

    fn went_well(&mut self, bytes: u64) {
        self.commits += 1;
        self.bytes += bytes;
        let batches = self.shared.batches.fetch_add(1, Ordering::SeqCst) + 1;
        self.shared.keeper.committed(batches);
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failed(&mut self, failure: Failure) -> Refusal {
        match failure {
            Failure::Log(error) => {
                log::error!("writing the log: {error}; going on in a new segment");
                self.note_trouble(format!("the last write to the log failed: {error}"));
                if ballast::is_full_io(&error) {
                    self.shared.spend_ballast();
                }
                refusal_of(&error)
            }
            Failure::Index(error) => {
                log::error!("deciding a batch: {error}");
                self.note_trouble(format!("the last change found the index failing: {error}"));
                self.make_room(&error);
                match error {
                    IndexError::Damaged(_) => self.rebuild(),
                    IndexError::Redb(_) | IndexError::Closed | IndexError::Behind => self.reopen(),
                }
                Refusal::Unavailable
            }
        }
    }

    /// Tells operators why something was refused, until something goes well again.
    fn note_trouble(&self, why: String) {
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Gives the ballast up if that is what the index lacks.
    fn make_room(&self, error: &IndexError) {
        if ballast::is_full(error) {
            self.shared.spend_ballast();
        }
    }

    /// Opens the index again and applies what it has not seen.
    fn reopen(&mut self) {
        let shared = &self.shared;
        let last = self.log.last();
        let again = || shared.index.reopen(|index| recover::catch_up(&*shared.disk, index, last));
        let mut again = catch_unwind(AssertUnwindSafe(again)).unwrap_or_else(|_| Err(panicked().into()));
        if again.as_ref().is_err_and(ballast::is_full_start) && shared.spend_ballast() {
            again = shared.index.reopen(|index| recover::catch_up(&*shared.disk, index, last));
        }
        let again = match again {
            Err(error) if error.is_broken_index() => {
                log::error!("opening the index again: {error}");
                return self.rebuild();
            }
            again => again,
        };
        self.tell(again);
    }

    /// Makes the index anew from the newest snapshot and the log, because a row in it is damaged or it does not open.
    fn rebuild(&mut self) {
        let shared = &self.shared;
        if shared.rebuilds.fetch_add(1, Ordering::Relaxed) >= REBUILDS_MAX {
            log::error!("the index is damaged again and again; it is not made anew any more");
            return;
        }
        let again = rebuild::in_service(&shared.disk, &shared.index, self.log.last());
        self.tell(again);
    }

    fn tell(&self, again: Result<(), recover::RecoverError>) {
        let mut trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match again {
            Ok(()) => drop(trouble.take_if(|trouble| trouble.starts_with(NO_INDEX))),
            Err(error) => {
                log::error!("opening the index again: {error}");
                *trouble = Some(format!("{NO_INDEX}{error}"));
            }
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        self.commits >= self.checkpoint_commits || self.bytes >= CHECKPOINT_BYTES
    }

    /// While requests never end, a checkpoint does not wait for a pause any longer.
    fn is_checkpoint_overdue(&self) -> bool {
        self.commits >= self.checkpoint_commits + self.checkpoint_commits / 10
            || self.bytes >= CHECKPOINT_BYTES + CHECKPOINT_BYTES / 10
    }

    fn checkpoint(&mut self) -> Result<(), Refusal> {
        self.commits = 0;
        self.bytes = 0;
        self.shared.index.write(true, |_| Ok(())).map_err(|error| {
            log::error!("making the index durable: {error}; opening it again");
            self.make_room(&error);
            self.reopen();
            Refusal::Unavailable
        })
    }

    /// What nobody waits for: a checkpoint, or a step of removing what deleted mailboxes held.
    fn chores(&mut self) {
        if self.is_checkpoint_due() {
            drop(self.checkpoint());
        } else {
            self.purge();
        }
    }

    fn purge(&mut self) {
        let purge = |step: &mut Step<'_, '_>| {
            let mut doomed = None;
            step.tx.scan(T::Doomed, &key_u32(0), &key_u32(u32::MAX), true, &mut |key, _| {
                doomed = uid_of_key(key).map(|id| MailboxId(id.0));
                Ok(false)
            })?;
            match doomed {
                Some(mailbox) => step.happen(&Event::Purged { mailbox }).map(|()| true),
                None => Ok(false),
            }
        };
        for _ in 0..2 {
            let had_ballast = !self.shared.is_ballast_spent();
            let (request, answered) = super::decide::request(0, false, purge);
            self.batch(Batch { requests: vec![request], waited_in_vain: false });
            self.unpurged = 0;
            if matches!(answered.try_recv(), Ok(Ok(true))) {
                return;
            }
            // What is purged makes room, so it is tried with what was kept for that.
            if !(had_ballast && self.shared.is_ballast_spent()) {
                break;
            }
        }
        // Nothing was there, or it failed: then the next change tries again, or whoever keeps the house.
        self.shared.doomed.store(false, Ordering::Release);
    }

    fn riders(&self) -> Vec<(MailboxId, super::Uid)> {
        let mut riders = self.shared.riders.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *riders).into_iter().collect()
    }

    fn keep_riders(&self, riders: Vec<(MailboxId, super::Uid)>) {
        let mut waiting = self.shared.riders.lock().unwrap_or_else(PoisonError::into_inner);
        for (mailbox, uid) in riders {
            let at = waiting.entry(mailbox).or_insert(uid);
            *at = uid.max(*at);
        }
    }

    fn close(&mut self) {
        if !self.shared.riders.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.batch(Batch::default());
        }
        if self.commits > 0 {
            drop(self.checkpoint());
        }
        self.log.leave();
        self.shared.bodies.close();
        self.shared.index.close();
        drop(self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// A panic inside redb counts as a broken index.
fn panicked() -> IndexError {
    IndexError::Redb(Box::new(redb::Error::Corrupted("redb panicked".into())))
}

/// Decides riders, then requests, one after another.
fn decide_all(
    tx: &mut Tx<'_>,
    batch: &mut Builder,
    (place, now_unix_s, room): (Place, i64, Room),
    requests: Vec<Request>,
    riders: &[(MailboxId, super::Uid)],
    decided: &mut Decided,
) -> Result<(), IndexError> {
    let (news, pins) = (&mut decided.news, &mut decided.pins);
    let mut step = Step { tx, batch, place, news, pins, now_unix_s, room, broken: None };
    for (mailbox, uid) in riders {
        // A failure is kept in the step.
        drop(step.happen(&Event::RecentShown { mailbox: *mailbox, uid: *uid }));
    }
    for request in requests {
        decided.answers.push((request.decide)(&mut step));
    }
    match step.broken.take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
