//! The commit segments one after another, as their headers tell, and the batches in them. What is damaged is passed over
//! and told: a bad batch with a whole later one behind it was acknowledged, because the later one was written only after it
//! had been synced; a bad batch with nothing behind it is the torn end of the log.

use super::batch::{Batch, events_in_ruins};
use super::disk::{Disk, DiskFile, is_unreadable};
use super::recover::RecoverError;
use super::segment::{Header, Kind, PAGE_BYTES, Position, end_before_zeros, file_name, marks_its_end, seed};
use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

/// Tries of a read that fails before what it asked for is given up as lost.
const READ_TRIES: usize = 3;
/// Damages told one by one; beyond them they are only counted.
const TOLD_MAX: usize = 64;

/// What was found damaged, in words for the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The first of them.
    pub(crate) told: Vec<String>,
    /// How many there are.
    pub(crate) count: u64,
    /// Something lies behind the last batch that is none: it may have been one.
    pub(crate) uncertain_end: bool,
}

impl Damage {
    /// Notes one.
    pub(crate) fn note(&mut self, what: String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }

    /// Whether nothing was found.
    pub(crate) fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Takes another's over.
    pub(crate) fn add(&mut self, other: Self) {
        let untold = other.count - other.told.len() as u64;
        other.told.into_iter().for_each(|what| self.note(what));
        self.count += untold;
        self.uncertain_end |= other.uncertain_end;
    }
}

/// A commit segment of the chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) number: u64,
    /// Nothing when neither its header nor its first batch can be read.
    salt: Option<u32>,
    /// Where the one before ends; nothing when the header is lost.
    pub(crate) predecessor: Option<Position>,
    /// The sequence of its first batch, when the header is lost.
    first_sequence: Option<u64>,
}

/// The chain, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub(crate) links: Vec<Link>,
    /// Where what is new begins: as asked for, or behind the same batch where it was moved to.
    pub(crate) from: Position,
    pub(crate) damage: Damage,
}

/// The commit segments that follow `from` (its own among them), of those that are there (`numbers`, ascending). Segments that
/// nobody names as predecessor were begun and never acknowledged.
pub(crate) fn chain(disk: &dyn Disk, numbers: &[u64], from: Position) -> io::Result<Chain> {
    let mut chain = Chain { from, ..Chain::default() };
    let below = |number: u64| {
        let end = numbers.partition_point(|n| *n < number);
        numbers.get(..end).and_then(<[u64]>::last).copied().filter(|n| *n >= from.segment)
    };
    let mut number = below(u64::MAX);
    if number.is_none() && from.segment != 0 {
        chain.damage.note(format!("{} is missing", file_name(Kind::Commit, from.segment)));
    }
    while let Some(at) = number {
        let link = read_link(disk, at, &mut chain.damage)?;
        chain.links.push(link);
        if at == from.segment {
            break;
        }
        if let Some(moved) = moved_to(disk, &link, from)? {
            chain.from = moved;
            break;
        }
        let before = link.predecessor.map(|before| before.segment);
        number = match before {
            // The very first, or the first that the index has not seen.
            Some(0) if from.segment == 0 => None,
            Some(before) if numbers.binary_search(&before).is_ok() && before >= from.segment => Some(before),
            Some(_) if link.predecessor == Some(from) => None,
            Some(before) => {
                chain.damage.note(format!("{} is missing", file_name(Kind::Commit, before.max(from.segment))));
                below(before.min(at))
            }
            None => below(at),
        };
    }
    chain.links.reverse();
    Ok(chain)
}

/// Where the batch that ends at `last` ends in this segment, when it was moved to its beginning: by a start that made the
/// index anew and was cut before that index had its name, so that the one before it is still there.
fn moved_to(disk: &dyn Disk, link: &Link, last: Position) -> io::Result<Option<Position>> {
    let (number, sequence) = (link.number, last.sequence);
    let repeats = link.predecessor.is_some_and(|before| before.sequence.checked_add(1) == Some(sequence));
    if !repeats || sequence == 0 {
        return Ok(None);
    }
    let file = disk.open(&file_name(Kind::Commit, number))?;
    let len = file.len()?;
    let first = tried(|| Batch::read(&*file, (number, link.salt), PAGE_BYTES, len))?.flatten();
    let first = first.filter(|first| first.sequence == sequence);
    Ok(first.map(|first| Position { segment: number, end: PAGE_BYTES + first.padded_bytes, sequence, crc: first.crc }))
}

fn read_link(disk: &dyn Disk, number: u64, damage: &mut Damage) -> io::Result<Link> {
    let name = file_name(Kind::Commit, number);
    let file = disk.open(&name)?;
    let header = tried(|| Header::read(&*file))?.flatten();
    // Numbers ascend: what names a later one, or itself, as the one before was not written by us.
    let is_ours =
        |header: &Header| header.kind == Kind::Commit && header.number == number && header.predecessor.segment < number;
    if let Some(header) = header.filter(is_ours) {
        let (salt, predecessor) = (Some(header.salt), Some(header.predecessor));
        return Ok(Link { number, salt, predecessor, first_sequence: None });
    }
    // The first batch says what the header would have, but for where the segment before ends.
    damage.note(format!("{name} has no valid header"));
    let first = tried(|| Batch::read(&*file, (number, None), PAGE_BYTES, file.len()?))?.flatten();
    let (salt, first_sequence) = (first.as_ref().map(|first| first.salt), first.map(|first| first.sequence));
    Ok(Link { number, salt, predecessor: None, first_sequence })
}

/// Reads; nothing when it cannot be read however often it is tried.
pub(crate) fn tried<O>(mut read: impl FnMut() -> io::Result<O>) -> io::Result<Option<O>> {
    for _ in 1..READ_TRIES {
        if let Ok(outcome) = read() {
            return Ok(Some(outcome));
        }
    }
    match read() {
        Ok(outcome) => Ok(Some(outcome)),
        Err(error) if is_unreadable(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads every whole batch after the chain's `from`, each with the position after it and whether anything before it
/// was found damaged; up to `end`, where that is known. A batch of which bodies alone can be damaged counts as whole, once what
/// follows shows that it was acknowledged: whoever reads those bodies finds out.
pub(crate) fn walk(
    disk: &dyn Disk,
    chain: &Chain,
    end: Option<Position>,
    each: &mut dyn FnMut(Batch, Position, bool) -> Result<(), RecoverError>,
) -> Result<Damage, RecoverError> {
    let (mut damage, from) = (chain.damage.clone(), chain.from);
    let mut last = from;
    for (n, link) in chain.links.iter().enumerate() {
        let number = link.number;
        let file = disk.open(&file_name(Kind::Commit, number))?;
        let next = chain.links.get(n + 1);
        let told = match next {
            Some(next) => next.predecessor.filter(|before| before.segment == number),
            None => end,
        };
        let told_end = told.map(|told| told.end);
        let len = file.len()?;
        let limit = told_end.unwrap_or(len).min(len);
        let stop_at = next.and_then(|next| next.first_sequence).unwrap_or(u64::MAX);
        let mut offset = if number == from.segment { from.end } else { PAGE_BYTES };
        let Some(salt) = link.salt else {
            continue;
        };
        while let Some((batch, at)) = next_batch(&file, (number, salt), (offset, limit), last.sequence)? {
            if batch.sequence >= stop_at {
                break;
            }
            let (segment, crc) = ((number, salt), batch.crc_before);
            if at != offset && !despite_bodies(&*file, segment, (offset, at), (&mut last, crc), &damage, each)? {
                damage.note(format!("segment {number} has a bad batch at {offset} and a whole one at {at}"));
                ruins(&file, (number, salt), (offset, at), (&mut last, batch.sequence), each)?;
            }
            if batch.sequence != last.sequence + 1 {
                let (first, to) = (last.sequence + 1, batch.sequence - 1);
                damage.note(format!("batches {first} to {to}, before the one at {at} in segment {number}, are lost"));
            } else if batch.crc_before != last.crc {
                damage.note(format!("the batch at {at} in segment {number} does not follow the one before it"));
            }
            offset = at + batch.padded_bytes;
            last = Position { segment: number, end: offset, sequence: batch.sequence, crc: batch.crc };
            each(batch, last, !damage.is_none())?;
        }
        if let Some(told) = told.filter(|told| offset < told.end)
            && despite_bodies(&*file, (number, salt), (offset, told.end), (&mut last, told.crc), &damage, each)?
        {
            continue;
        }
        // A segment gets its name when its first batch is durable: that one is never the torn end of the log.
        let first_end = (next.is_none() && offset == PAGE_BYTES).then_some(len.max(PAGE_BYTES + 1));
        let proved_end = match told_end.or(first_end) {
            None if next.is_none() => proved_end(&*file, salt, offset, last.sequence)?,
            end => end,
        };
        if let Some(told) = proved_end.filter(|told| offset < *told) {
            damage.note(format!("segment {number} has no whole batch between {offset} and {told}"));
            ruins(&file, (number, salt), (offset, limit), (&mut last, u64::MAX), each)?;
        }
    }
    Ok(damage)
}

/// Where what lies behind the last whole batch of the log ends, when it is no torn end: the beginning of a second batch there was
/// written only after the first had been synced.
fn proved_end(file: &dyn DiskFile, salt: u32, from: u64, sequence: u64) -> io::Result<Option<u64>> {
    let end = end_before_zeros(file, from)?;
    for offset in (from..end).step_by(PAGE_BYTES as usize) {
        if tried(|| Batch::told(file, salt, offset))?.flatten().is_some_and(|told| told > sequence + 1) {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

/// Hands on the batches of a stretch in which bodies alone are hit, up to the one with this checksum; whether it was one.
fn despite_bodies(
    file: &dyn DiskFile,
    segment: (u64, u32),
    (from, to): (u64, u64),
    (last, crc): (&mut Position, u32),
    damage: &Damage,
    each: &mut dyn FnMut(Batch, Position, bool) -> Result<(), RecoverError>,
) -> Result<bool, RecoverError> {
    let before = (last.sequence, last.crc);
    let batches = tried(|| Batch::despite_bodies(file, segment, (from, to), (before, crc)))?.flatten();
    let (is_one, mut end) = (batches.is_some(), from);
    for batch in batches.into_iter().flatten() {
        end += batch.padded_bytes;
        *last = Position { segment: segment.0, end, sequence: batch.sequence, crc: batch.crc };
        each(batch, *last, !damage.is_none())?;
    }
    Ok(is_one)
}

/// Has what is left of damaged batches in a stretch of a segment; sequences stay below `before`.
fn ruins(
    file: &Arc<dyn DiskFile>,
    (number, salt): (u64, u32),
    (from, to): (u64, u64),
    (last, before): (&mut Position, u64),
    each: &mut dyn FnMut(Batch, Position, bool) -> Result<(), RecoverError>,
) -> Result<(), RecoverError> {
    let mut stretch = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    // Page by page, since some of them may not be readable at all.
    for (n, page) in (0..).zip(stretch.chunks_mut(PAGE_BYTES as usize)) {
        if file.read_at(from + n * PAGE_BYTES, page).is_err() {
            page.fill(0);
        }
    }
    for (begins, mut batch) in events_in_ruins(&stretch, seed(number, salt), salt, last.sequence) {
        if batch.sequence >= before {
            // More beginnings than batches can have been: the rest belongs to the last of them.
            batch.sequence = before - 1;
        }
        let begins = from + begins as u64;
        // Where it ended is not known; it lies where it begins.
        *last = Position { segment: number, end: begins, sequence: batch.sequence, crc: 0 };
        each(batch, *last, true)?;
    }
    Ok(())
}

/// The first whole batch in the range with a sequence above `sequence`, and where it begins.
fn next_batch(
    file: &Arc<dyn DiskFile>,
    (number, salt): (u64, u32),
    (from, limit): (u64, u64),
    sequence: u64,
) -> Result<Option<(Batch, u64)>, RecoverError> {
    let mut offset = from;
    while offset < limit {
        let read = tried(|| Batch::read(&**file, (number, Some(salt)), offset, limit))?;
        match read.flatten() {
            Some(batch) if batch.sequence > sequence => return Ok(Some((batch, offset))),
            // Of before; only where a header is lost.
            Some(batch) => offset += batch.padded_bytes,
            None => offset += PAGE_BYTES,
        }
    }
    Ok(None)
}

/// What is to be seen behind the last batch of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Zeros, or nothing in a segment of a version before, which says nothing by it: it is the last.
    Zeros,
    /// What may have been another batch.
    Rest,
    /// Something was there and is lost: not an octet follows, or the file ends in the middle of something.
    Lost,
}

/// Looks behind the last batch, and gives all but a page of the zeros written ahead back: what a kill or a cut leaves of them,
/// start after start, would fill a disk up. What is not zeros stays, because it tells that there was something.
pub(crate) fn give_back_zeros(disk: &dyn Disk, last: Position) -> io::Result<Behind> {
    let file = disk.open(&file_name(Kind::Commit, last.segment))?;
    let (end, len) = (end_before_zeros(&*file, last.end)?, file.len()?);
    let keep = end.saturating_add(PAGE_BYTES);
    if keep < len
        && let Err(error) = file.truncate(keep)
    {
        log::warn!("giving zeros back: {error}");
    }
    Ok(match len.cmp(&last.end) {
        // It ends before what the index knows of it.
        Ordering::Less => Behind::Lost,
        Ordering::Equal if marks_its_end(&*file)? => Behind::Lost,
        Ordering::Equal => Behind::Zeros,
        Ordering::Greater if end == last.end => Behind::Zeros,
        Ordering::Greater if end == len => Behind::Lost,
        Ordering::Greater => Behind::Rest,
    })
}
