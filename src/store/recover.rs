//! What a start does: finds the end of the log, applies to the index what it has not seen, and makes the end certain
//! before anyone sees it.
//!
//! Only the last batch can be unsynced, because each is synced before the next is written. It may stand in the kernel's
//! pages after a kill -9 and still be torn away by the next power cut, and after a failed sync even a new sync proves
//! nothing. So it is written again as the first batch of a new segment, whose header says that the one before ends before it.

use super::apply::{News, Place, apply};
use super::batch::Batch;
use super::chain::{Behind, Damage, chain, give_back_zeros, walk};
use super::disk::{Disk, is_unreadable};
use super::event::Event;
use super::index::{Index, IndexError, Tx};
use super::log::{Log, NEXT_MAX, NewSegments, begin, close_off};
use super::marks;
use super::sabotage::{self, Sabotage};
use super::segment::{Header, Kind, PAGE_BYTES, Position, file_name, parse_name};
use super::snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Batches applied in one transaction of the index at the most, and octets of them.
const GROUP_BATCHES_MAX: usize = 64;
const GROUP_BYTES_MAX: u64 = 1024 * 1024;
/// How the files' names begin in which events are kept that cannot be applied,
const ASIDE: &str = "event.broken-";
/// of which there are never more.
const ASIDE_MAX: usize = 1_000;

/// Why the store cannot go on.
#[derive(Debug)]
pub(crate) enum RecoverError {
    /// The disk failed.
    Disk(io::Error),
    /// The index failed.
    Index(IndexError),
    /// The log is not what was written.
    Log(String),
    /// An event cannot be applied: the index is not to be used, and to be made again without that one.
    Event(EventName, String),
}

/// Which event: the sequence of its batch, and its place in that.
pub(crate) type EventName = (u64, usize);

impl RecoverError {
    /// Whether the index is at fault, and another one made from the log would not be.
    pub(crate) fn is_broken_index(&self) -> bool {
        match self {
            Self::Index(IndexError::Damaged(_)) | Self::Event(..) => true,
            Self::Index(IndexError::Redb(error)) => match &**error {
                redb::Error::Corrupted(_) => true,
                // Not redb's file at all.
                redb::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData || is_unreadable(error),
                _ => false,
            },
            Self::Index(IndexError::Closed | IndexError::Behind) | Self::Disk(_) | Self::Log(_) => false,
        }
    }
}

impl From<io::Error> for RecoverError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<IndexError> for RecoverError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl std::fmt::Display for RecoverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "the disk failed: {error}"),
            Self::Index(error) => write!(f, "the index failed: {error}"),
            Self::Log(what) => write!(f, "the log is damaged: {what}"),
            Self::Event((sequence, number), what) => {
                write!(f, "event {number} of batch {sequence} cannot be applied: {what}")
            }
        }
    }
}

/// What lies in `log/` and `snapshots/`.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The highest number in use; 0 for none.
    pub(crate) highest: u64,
    /// Commit segments, ascending.
    pub(crate) commits: Vec<u64>,
    /// Body segments.
    pub(crate) bodies: BTreeSet<u64>,
    /// How many segments there are.
    pub(crate) segments: u64,
    /// Snapshots, ascending.
    pub(crate) snapshots: Vec<u64>,
}

impl Found {
    /// Whether there was never a store here.
    pub(crate) fn is_new(&self) -> bool {
        self.segments == 0 && self.snapshots.is_empty()
    }

    /// A body segment that none of the `known` is, with a number missing between it and the last commit segment: there may have
    /// been another one, which named it.
    fn without_successor(&self, known: &BTreeMap<u64, (u64, u64)>) -> Option<u64> {
        let last = self.commits.last().copied().unwrap_or(0);
        let unknown = self.bodies.iter().find(|number| **number > last && !known.contains_key(number))?;
        (last + 1..*unknown).any(|number| !self.bodies.contains(&number)).then_some(*unknown)
    }
}

/// Removes what a cut left half made. For a start only: later, somebody is making it.
pub(crate) fn clean(disk: &dyn Disk) -> io::Result<()> {
    for folder in ["log", "snapshots"] {
        for name in disk.list(folder)?.iter().filter(|name| name.ends_with(".tmp")) {
            disk.remove(&format!("{folder}/{name}"))?;
        }
    }
    Ok(())
}

/// Looks through the folders.
pub(crate) fn look(disk: &dyn Disk) -> io::Result<Found> {
    let mut found = Found { snapshots: snapshot::numbers(disk)?, ..Found::default() };
    for name in disk.list("log")? {
        if let Some((kind, number)) = parse_name(&name).filter(|(kind, number)| is_known(disk, *kind, *number)) {
            found.highest = found.highest.max(number);
            found.segments += 1;
            match kind {
                Kind::Commit => found.commits.push(number),
                _ => drop(found.bodies.insert(number)),
            }
        }
    }
    found.commits.sort_unstable();
    Ok(found)
}

/// Whether a file of this name counts: what has a number that no store comes to must at least have our header.
fn is_known(disk: &dyn Disk, kind: Kind, number: u64) -> bool {
    let header = || Header::read(&*disk.open(&file_name(kind, number)).ok()?).ok().flatten();
    number < NEXT_MAX || header().is_some_and(|header| (header.kind, header.number) == (kind, number))
}

/// How a start reads the log.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Events that could not be applied, and are set aside.
    pub(crate) skip: BTreeSet<EventName>,
    /// The index was made from a snapshot or from nothing: what lies behind the last batch must prove that it was the last.
    pub(crate) proves_end: bool,
    /// Something is lost already, or must be taken for lost.
    pub(crate) raises: bool,
}

/// Brings the index up to the end of the log; both are durable and agree when this returns.
pub(crate) fn start(
    disk: &Arc<dyn Disk>,
    index: &Index,
    segments: &Arc<NewSegments>,
    found: &Found,
    reading: &Reading,
) -> Result<(Log, Damage), RecoverError> {
    let state = index.read(super::query::state)?;
    let seen = state.position;
    segments.leave(seen.segment);
    let chain = chain(&**disk, &found.commits, seen)?;
    let from = chain.from;
    let mut replay = Replay::new(&**disk, index, &reading.skip);
    let mut last = from;
    let mut held: Option<(Batch, Position, bool)> = None;
    let mut damage = walk(&**disk, &chain, None, &mut |batch, after, damaged| {
        if let Some((batch, after, damaged)) = held.replace((batch, after, damaged)) {
            last = after;
            replay.add(batch, after, damaged)?;
        }
        Ok(())
    })?;
    let end = held.as_ref().map_or(last, |(_, after, _)| *after);
    if end.segment != 0 {
        damage.uncertain_end = match give_back_zeros(&**disk, end).unwrap_or(Behind::Rest) {
            Behind::Zeros => false,
            // No damage: a kill or a cut in the middle of a batch looks like that too.
            Behind::Rest => reading.proves_end,
            Behind::Lost => true,
        };
    }
    let mut log = Log::new(disk.clone(), segments.clone(), last);
    if let Some((batch, after, damaged)) = held.take_if(|_| sabotage::is(Sabotage::TrustTheLastBatch)) {
        log = Log::new(disk.clone(), segments.clone(), after);
        replay.add(batch, after, damaged)?;
    }
    replay.flush()?;
    // What is said to lie in a segment that the disk has lost must not be looked for in another one of that number.
    let counted = index.read(super::rows::segments)?;
    let named = held.iter().flat_map(|(batch, ..)| batch.events().unwrap_or_default()).filter_map(Event::decode);
    let named: Vec<u64> = named.map(|event| event.highest_segment()).collect();
    counted.keys().chain(&named).for_each(|number| segments.leave(*number));
    segments.suit(counted.values().map(|(live_bytes, _)| live_bytes).sum());
    if let Some((batch, _, damaged)) = held {
        let (number, salt, sequence) = (segments.next(), disk.chance(), batch.sequence);
        let (bytes, crc) = batch.moved_to((number, salt));
        let file = begin(&**disk, &Header { kind: Kind::Commit, number, salt, predecessor: last }, &bytes)?;
        let after = Position { segment: number, end: PAGE_BYTES + bytes.len() as u64, sequence, crc };
        let batch = Batch::read(&*file, (number, Some(salt)), PAGE_BYTES, after.end).map_err(RecoverError::from);
        let batch = batch
            .and_then(|batch| batch.ok_or_else(|| RecoverError::Log(format!("segment {number} does not read back"))));
        if let Err(error) = batch.and_then(|batch| replay.add(batch, after, damaged)).and_then(|()| replay.flush()) {
            // The batch is still where it was, and is what the next start must find.
            drop(disk.remove(&file_name(Kind::Commit, number)));
            drop(disk.sync_folder("log"));
            return Err(error);
        }
        log.go_on(file, salt, after);
        close_off(&**disk, end);
        if let Some(before) = chain.links.last().and_then(|link| link.predecessor) {
            // A cut may have brought back the zeros that were taken away behind it. Only now the name of what follows is durable for certain.
            close_off(&**disk, before);
        }
    }
    replay.flush()?;
    damage.add(std::mem::take(&mut replay.damage));
    if reading.proves_end
        && let Some(number) = found.without_successor(&index.read(super::rows::segments)?)
    {
        // No damage: what a kill or a cut leaves may look like that, too.
        log::warn!("nothing names what lies in {}: the end of the log may be lost", file_name(Kind::Body, number));
        damage.uncertain_end = true;
    }
    if from != seen {
        // The segment it was moved to may have its name from a process that was killed before it made that durable.
        disk.sync_folder("log")?;
    }
    if (damage.uncertain_end || !damage.is_none())
        && let Err(error) = marks::forget(&**disk)
    {
        log::error!("that something is lost could not be written down for backups: {error}");
    }
    index.write(true, |tx| {
        let state = tx.state()?;
        state.patchy = false;
        if state.position == seen {
            state.position = from;
        }
        if reading.raises || damage.uncertain_end || !damage.is_none() {
            state.raise_from = state.raise_from.max(1);
        } else if reading.proves_end {
            // Nothing is missing, so nothing needs to be raised.
            state.raise_from = 0;
        }
        Ok(())
    })?;
    Ok((log, damage))
}

/// Applies what lies between the index's position and `to`, after the index was opened again or made anew.
pub(crate) fn catch_up(disk: &dyn Disk, index: &Index, to: Position) -> Result<(), RecoverError> {
    let from = index.read(super::query::state)?.position;
    if from == to {
        return Ok(());
    }
    let found = look(disk)?;
    let end = found.commits.partition_point(|number| *number <= to.segment);
    let chain = chain(disk, found.commits.get(..end).unwrap_or_default(), from)?;
    let skip = BTreeSet::new();
    let mut replay = Replay::new(disk, index, &skip);
    let mut reached = chain.from;
    let damage = walk(disk, &chain, Some(to), &mut |batch, after, damaged| {
        reached = after;
        replay.add(batch, after, damaged)
    })?;
    if let Some(what) = damage.told.into_iter().next() {
        return Err(RecoverError::Log(what));
    }
    replay.flush()?;
    if reached != to {
        return Err(RecoverError::Log(format!("it ends at {reached:?}, not at {to:?}")));
    }
    Ok(())
}

/// Gathers batches and applies them.
struct Replay<'a> {
    disk: &'a dyn Disk,
    index: &'a Index,
    skip: &'a BTreeSet<EventName>,
    waiting: Vec<(Batch, Position)>,
    waiting_bytes: u64,
    /// Something before what waits was found damaged.
    damaged: bool,
    damage: Damage,
}

impl<'a> Replay<'a> {
    fn new(disk: &'a dyn Disk, index: &'a Index, skip: &'a BTreeSet<EventName>) -> Self {
        let (waiting, damage) = (Vec::new(), Damage::default());
        Self { disk, index, skip, waiting, waiting_bytes: 0, damaged: false, damage }
    }

    fn add(&mut self, batch: Batch, after: Position, damaged: bool) -> Result<(), RecoverError> {
        self.damaged |= damaged;
        self.waiting_bytes += batch.padded_bytes;
        self.waiting.push((batch, after));
        if self.waiting.len() >= GROUP_BATCHES_MAX || self.waiting_bytes >= GROUP_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecoverError> {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let Some(&(_, last)) = waiting.last() else {
            return Ok(());
        };
        let mut batches = Vec::with_capacity(waiting.len());
        for (batch, after) in &waiting {
            batches.push((self.events(batch)?, batch.sequence, *after, batch.padded_bytes));
        }
        let mut culprit = None;
        let applied = self.index.write(false, |tx| {
            if self.damaged {
                let state = tx.state()?;
                state.raise_from = state.raise_from.max(1);
                state.patchy = true;
            }
            for (events, sequence, after, padded_bytes) in &batches {
                let place = Place { segment: after.segment, offset: after.end - padded_bytes };
                for (number, event, bytes) in events {
                    let state = tx.state()?;
                    state.event_bytes = state.event_bytes.saturating_add(*bytes);
                    if let Some(event) = event {
                        apply_or_tell(tx, event, place)
                            .inspect_err(|error| culprit = Some(((*sequence, *number), error.to_string())))?;
                    }
                }
            }
            let state = tx.state()?;
            state.position = last;
            Ok(())
        });
        match (applied, culprit) {
            (Err(IndexError::Damaged(_)), Some((name, what))) => Err(RecoverError::Event(name, what)),
            (applied, _) => Ok(applied?),
        }
    }

    /// The events of a batch with their numbers and lengths; nothing in the place of one that is set aside.
    fn events(&mut self, batch: &Batch) -> Result<Vec<(usize, Option<Event>, u64)>, RecoverError> {
        let sequence = batch.sequence;
        let Some(all) = batch.events() else {
            self.set_aside((&format!("batch {sequence} is out of shape"), &format!("{sequence}")), batch.payload())?;
            return Ok(Vec::new());
        };
        let mut events = Vec::with_capacity(all.len());
        for (number, bytes) in all.into_iter().enumerate() {
            let event = Event::decode(bytes).filter(|_| !self.skip.contains(&(sequence, number)));
            if event.is_none() {
                let what = format!("event {number} of batch {sequence} cannot be applied");
                self.set_aside((&what, &format!("{sequence}-{number}")), bytes)?;
            }
            events.push((number, event, bytes.len() as u64));
        }
        Ok(events)
    }

    /// Keeps what cannot be applied where nobody looks for it but the operator: once, however often it is tried.
    fn set_aside(&mut self, (what, name): (&str, &str), bytes: &[u8]) -> Result<(), RecoverError> {
        self.damaged = true;
        let aside = format!("{ASIDE}{name}-{:08x}", crc32c::crc32c(bytes));
        let names = self.disk.list("")?;
        if !names.contains(&aside) {
            if names.iter().filter(|name| name.starts_with(ASIDE)).count() >= ASIDE_MAX {
                self.damage.note(format!("{what}; {ASIDE_MAX} others are kept already"));
                return Ok(());
            }
            super::disk::create_whole(self.disk, &aside, &[(0, bytes)])?;
        }
        self.damage.note(format!("{what}; it is kept as {aside}"));
        Ok(())
    }
}

/// Applies an event; a panic in that is an error like others.
fn apply_or_tell(tx: &mut Tx<'_>, event: &Event, place: Place) -> Result<(), IndexError> {
    catch_unwind(AssertUnwindSafe(|| apply(tx, event, place, &mut News::default())))
        .unwrap_or(Err(IndexError::Damaged(super::keys::T::State)))
}
