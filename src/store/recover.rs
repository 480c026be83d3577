//! What a start does: finds the end of the log, applies to the index what it has not seen, and makes the end certain
//! before anyone sees it.
//!
//! Only the last batch can be unsynced, because each is synced before the next is written. It may stand in the kernel's
//! pages after a kill -9 and still be torn away by the next power cut, and after a failed sync even a new sync proves
//! nothing. So it is written again as the first batch of a new segment, whose header says that the one before ends before it.

use super::apply::{News, Place, apply};
use super::batch::Batch;
use super::disk::Disk;
use super::event::Event;
use super::index::{Index, IndexError};
use super::log::{Log, Numbers, begin};
use super::segment::{Header, Kind, PAGE_BYTES, Position, file_name, parse_name};
use std::io;
use std::sync::Arc;

/// Batches applied in one transaction of the index at the most, and octets of them.
const GROUP_BATCHES_MAX: usize = 64;
const GROUP_BYTES_MAX: u64 = 1024 * 1024;

/// Why the store cannot go on.
#[derive(Debug)]
pub(crate) enum RecoverError {
    /// The disk failed.
    Disk(io::Error),
    /// The index failed.
    Index(IndexError),
    /// The log is not what was written.
    Log(String),
}

impl RecoverError {
    /// Whether the index is at fault, and another one made from the log would not be.
    pub(crate) fn is_broken_index(&self) -> bool {
        match self {
            Self::Index(IndexError::Damaged(_)) => true,
            Self::Index(IndexError::Redb(error)) => match &**error {
                redb::Error::Corrupted(_) => true,
                // Not redb's file at all.
                redb::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
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
        }
    }
}

/// What lies in `log/`.
#[derive(Debug)]
pub(crate) struct Found {
    /// The highest number in use; 0 for none.
    pub(crate) highest: u64,
    /// The newest commit segment.
    newest: Option<u64>,
    /// How many segments there are.
    pub(crate) segments: u64,
}

/// Looks through `log/` and removes what a cut left half made.
pub(crate) fn look(disk: &dyn Disk) -> io::Result<Found> {
    let mut found = Found { highest: 0, newest: None, segments: 0 };
    for name in disk.list("log")? {
        if name.ends_with(".tmp") {
            disk.remove(&format!("log/{name}"))?;
        } else if let Some((kind, number)) = parse_name(&name) {
            found.highest = found.highest.max(number);
            found.segments += 1;
            if kind == Kind::Commit {
                found.newest = found.newest.max(Some(number));
            }
        }
    }
    Ok(found)
}

/// Whether the log goes back to its first batch, so that an index can be made from it alone.
pub(crate) fn is_whole(disk: &dyn Disk, found: &Found) -> bool {
    found.newest.is_some_and(|newest| chain(disk, newest, 0).is_ok())
}

/// Brings the index up to the end of the log; both are durable and agree when this returns.
pub(crate) fn start(
    disk: &Arc<dyn Disk>,
    index: &Index,
    numbers: &Arc<Numbers>,
    found: &Found,
    segment_bytes: u64,
) -> Result<Log, RecoverError> {
    let from = position(index)?;
    let Some(newest) = found.newest else {
        if from.segment != 0 {
            return Err(RecoverError::Log(format!("segment {} is missing", from.segment)));
        }
        return Ok(Log::new(disk.clone(), numbers.clone(), segment_bytes, from));
    };
    let chain = chain(&**disk, newest, from.segment)?;
    let mut replay = Replay { index, waiting: Vec::new(), waiting_bytes: 0 };
    let mut last = from;
    let mut held: Option<(Batch, Position)> = None;
    walk(&**disk, &chain, from, None, &mut |batch, after| {
        if let Some((batch, after)) = held.replace((batch, after)) {
            last = after;
            replay.add(batch, after)?;
        }
        Ok(())
    })?;
    let mut log = Log::new(disk.clone(), numbers.clone(), segment_bytes, last);
    let Some((batch, _)) = held else {
        return Ok(log);
    };
    let number = numbers.next();
    let sequence = batch.sequence;
    let (bytes, crc) = batch.moved_to(number);
    let file = begin(&**disk, &Header { kind: Kind::Commit, number, predecessor: last }, &bytes)?;
    let end = PAGE_BYTES + bytes.len() as u64;
    let after = Position { segment: number, end, sequence, crc };
    let batch = Batch::read(&*file, number, PAGE_BYTES, end)?;
    let batch = batch.ok_or_else(|| RecoverError::Log(format!("segment {number} does not read back")))?;
    replay.add(batch, after)?;
    replay.flush()?;
    index.write(true, |_| Ok(()))?;
    log.go_on(file, after);
    Ok(log)
}

/// Applies what lies between the index's position and `to`, after the index was opened again.
pub(crate) fn catch_up(disk: &dyn Disk, index: &Index, to: Position) -> Result<(), RecoverError> {
    let from = position(index)?;
    if from == to {
        return Ok(());
    }
    let chain = chain(disk, to.segment, from.segment)?;
    let mut replay = Replay { index, waiting: Vec::new(), waiting_bytes: 0 };
    let mut reached = from;
    walk(disk, &chain, from, Some(to.end), &mut |batch, after| {
        reached = after;
        replay.add(batch, after)
    })?;
    replay.flush()?;
    if reached != to {
        return Err(RecoverError::Log(format!("it ends at {reached:?}, not at {to:?}")));
    }
    Ok(())
}

fn position(index: &Index) -> Result<Position, IndexError> {
    index.read(|rx| Ok(super::query::state(rx)?.position))
}

/// The commit segments from `oldest` (0: from the first ever) to `newest`, as their headers tell, ascending. Segments that
/// nobody names as predecessor were begun and never acknowledged.
fn chain(disk: &dyn Disk, newest: u64, oldest: u64) -> Result<Vec<Header>, RecoverError> {
    let mut chain = Vec::new();
    let mut number = newest;
    loop {
        let name = file_name(Kind::Commit, number);
        let file = match disk.open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RecoverError::Log(format!("{name} is missing")));
            }
            Err(error) => return Err(error.into()),
        };
        let header = Header::read(&*file)?.filter(|header| header.kind == Kind::Commit && header.number == number);
        let header = header.ok_or_else(|| RecoverError::Log(format!("{name} has no valid header")))?;
        chain.push(header);
        let before = header.predecessor.segment;
        if number == oldest || (before == 0 && oldest == 0) {
            chain.reverse();
            return Ok(chain);
        }
        if before < oldest || before >= number {
            return Err(RecoverError::Log(format!("segment {oldest} is not among the predecessors of {newest}")));
        }
        number = before;
    }
}

/// Reads whole batches after `from` through a chain of segments, each with the position after it.
fn walk(
    disk: &dyn Disk,
    chain: &[Header],
    from: Position,
    end: Option<u64>,
    each: &mut dyn FnMut(Batch, Position) -> Result<(), RecoverError>,
) -> Result<(), RecoverError> {
    let mut last = from;
    for (n, header) in chain.iter().enumerate() {
        let number = header.number;
        let file = disk.open(&file_name(Kind::Commit, number))?;
        let mut offset = PAGE_BYTES;
        if number == from.segment {
            offset = from.end;
        } else if header.predecessor != last {
            let told = header.predecessor;
            return Err(RecoverError::Log(format!("segment {number} follows {told:?}, but the log reached {last:?}")));
        }
        let successor = chain.get(n + 1);
        let limit = match (successor, end) {
            (Some(next), _) => next.predecessor.end,
            (None, Some(end)) => end,
            (None, None) => file.len()?,
        };
        loop {
            let batch = Batch::read(&*file, number, offset, limit)?;
            let follows = |batch: &Batch| batch.sequence == last.sequence + 1 && batch.crc_before == last.crc;
            let Some(batch) = batch.filter(follows) else {
                break;
            };
            offset += batch.padded_bytes;
            last = Position { segment: number, end: offset, sequence: batch.sequence, crc: batch.crc };
            each(batch, last)?;
        }
        let must_end = successor.is_some() || end.is_some();
        if must_end && offset < limit {
            return Err(RecoverError::Log(format!("segment {number} has a bad batch at {offset}")));
        }
        if !must_end && let Some(later) = later_batch(&*file, number, offset, limit, last.sequence)? {
            // It was written only after everything before it had been synced: this is damage, not a torn end.
            let what = format!("segment {number} has a bad batch at {offset} and a whole one at {later}");
            return Err(RecoverError::Log(what));
        }
    }
    Ok(())
}

/// Where a whole batch with a sequence above the next one begins, if there is one.
fn later_batch(
    file: &dyn super::disk::DiskFile,
    segment: u64,
    from: u64,
    limit: u64,
    sequence: u64,
) -> io::Result<Option<u64>> {
    let mut offset = from;
    while offset < limit {
        if let Some(batch) = Batch::read(file, segment, offset, limit)?
            && batch.sequence > sequence + 1
        {
            return Ok(Some(offset));
        }
        offset += PAGE_BYTES;
    }
    Ok(None)
}

/// Gathers batches and applies them.
struct Replay<'a> {
    index: &'a Index,
    waiting: Vec<(Batch, Position)>,
    waiting_bytes: u64,
}

impl Replay<'_> {
    fn add(&mut self, batch: Batch, after: Position) -> Result<(), RecoverError> {
        self.waiting_bytes += batch.padded_bytes;
        self.waiting.push((batch, after));
        if self.waiting.len() >= GROUP_BATCHES_MAX || self.waiting_bytes >= GROUP_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), RecoverError> {
        self.waiting_bytes = 0;
        let mut batches = Vec::new();
        for (batch, after) in std::mem::take(&mut self.waiting) {
            let what = || RecoverError::Log(format!("batch {} holds an event of an unknown kind", batch.sequence));
            let events = batch.events().ok_or_else(what)?;
            let events = events.into_iter().map(Event::decode).collect::<Option<Vec<_>>>().ok_or_else(what)?;
            let place = Place { segment: after.segment, offset: after.end - batch.padded_bytes };
            batches.push((events, place, after));
        }
        if let Some((_, _, last)) = batches.last() {
            let last = *last;
            self.index.write(false, |tx| {
                for (events, place, _) in &batches {
                    for event in events {
                        apply(tx, event, *place, &mut News::default())?;
                    }
                }
                tx.state()?.position = last;
                Ok(())
            })?;
        }
        Ok(())
    }
}
