//! The writer's end of the log: puts batches into commit segments, whole and durable, or not at all.
//!
//! | step                                     | a cut here leaves                       | who cleans up                     |
//! |------------------------------------------|-----------------------------------------|-----------------------------------|
//! | batch and zeros behind it are written    | a torn or an unsynced last batch        | the next start ignores or moves it |
//! | the segment is synced                    | the batch, acknowledged or not          | nobody needs to                   |
//! | a new segment: temporary file, synced    | `*.tmp`                                 | the next start removes it         |
//! | ... renamed, folder synced               | a segment whose header ends the one before | nobody needs to                |
//!
//! After a failed write or sync nothing is known about the pages it touched: the log goes on in a new segment, whose header
//! says that the one before ends where the last acknowledged batch did.

use super::apply::Place;
use super::ballast::{SPARE_BYTES, is_full_io};
use super::batch::Builder;
use super::disk::{Disk, DiskFile, create_new};
use super::sabotage::{self, Sabotage};
use super::segment::{Header, Kind, NUMBER_MAX, PAGE_BYTES, Position, end_before_zeros, file_name};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Zeros are written so far ahead of the batches, so that a commit overwrites and the file system has nothing to note.
const WINDOW_BYTES: u64 = 256 * 1024;
/// With less of it left it is written on, for the next batch.
const WINDOW_LEAST_BYTES: u64 = 16 * 1024;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
static EMPTY_PAGE: [u8; PAGE_BYTES as usize] = [0; PAGE_BYTES as usize];

/// Segments become no longer than this part of what is live: one that grows, and what is dead in it, weighs little beside that.
const LIVE_PART: u64 = 64;
/// But this long in any store, unless they are to be shorter still: beginning one costs two syncs.
const SEGMENT_BYTES_MIN: u64 = 512 * 1024;

/// Whatever ruined events and strange files are called, the next number after them is no higher, and leaves enough for ever.
pub(crate) const NEXT_MAX: u64 = NUMBER_MAX - (1 << 48);

/// What a new segment gets: its number, given once, for commit and body segments together, and its length.
#[derive(Debug)]
pub(crate) struct NewSegments {
    next: AtomicU64,
    bytes: AtomicU64,
    bytes_max: u64,
}

impl NewSegments {
    /// Starts above every number in use. Segments are `bytes_max` long where there is much mail.
    pub(crate) fn after(highest: u64, bytes_max: u64) -> Self {
        let bytes = AtomicU64::new(SEGMENT_BYTES_MIN.min(bytes_max));
        Self { next: AtomicU64::new(highest.saturating_add(1)), bytes, bytes_max }
    }

    /// Leaves out every number up to this one.
    pub(crate) fn leave(&self, number: u64) {
        self.next.fetch_max(number.saturating_add(1).min(NEXT_MAX), Ordering::Relaxed);
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Segments have the length that suits so many live octets from now on.
    pub(crate) fn suit(&self, live_bytes: u64) {
        let bytes = (live_bytes / LIVE_PART).max(SEGMENT_BYTES_MIN).min(self.bytes_max);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// A segment that is so long grows no more.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The log, for the one thread that writes it.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    segments: Arc<NewSegments>,
    /// Nothing at the start and after a failure.
    current: Option<Current>,
    last: Position,
    /// The number and the salt of the segment that the next batch will begin.
    planned: Option<(u64, u32)>,
}

#[derive(Debug)]
struct Current {
    number: u64,
    salt: u32,
    file: Arc<dyn DiskFile>,
    end: u64,
    /// Up to here it is written ahead; nothing where the disk has no room for that.
    zeros_to: Option<u64>,
}

impl Current {
    /// One that has just been begun.
    fn new(file: Arc<dyn DiskFile>, salt: u32, last: Position) -> Self {
        let zeros_to = file.len().ok().filter(|len| *len > last.end + PAGE_BYTES);
        Self { number: last.segment, salt, file, end: last.end, zeros_to }
    }
}

impl Log {
    /// Goes on after `last`, in a new segment.
    pub(crate) fn new(disk: Arc<dyn Disk>, segments: Arc<NewSegments>, last: Position) -> Self {
        Self { disk, segments, current: None, last, planned: None }
    }

    /// Goes on in a segment that has just been begun and ends at `last`.
    pub(crate) fn go_on(&mut self, file: Arc<dyn DiskFile>, salt: u32, last: Position) {
        self.current = Some(Current::new(file, salt, last));
        self.last = last;
    }

    /// The last batch that is durable.
    pub(crate) fn last(&self) -> Position {
        self.last
    }

    /// Where the next batch will begin.
    pub(crate) fn place(&mut self) -> Place {
        // Once a new segment is planned, the one before gets nothing more: how long segments become may have changed since.
        let current = self.current.as_ref().filter(|_| self.planned.is_none());
        if let Some(current) = current.filter(|current| current.end < self.segments.bytes()) {
            return Place { segment: current.number, offset: current.end };
        }
        let (segment, _) = *self.planned.get_or_insert_with(|| (self.segments.next(), self.disk.chance()));
        Place { segment, offset: PAGE_BYTES }
    }

    /// The salt of the segment that the next batch will lie in, once its place is known.
    pub(crate) fn salt(&self) -> u32 {
        self.planned.map(|(_, salt)| salt).or_else(|| self.current.as_ref().map(|current| current.salt)).unwrap_or(0)
    }

    /// The batch as it will be written at `place` after `last`, and where the log will stand then.
    pub(crate) fn seal(batch: Builder, (place, salt): (Place, u32), last: Position) -> (Vec<u8>, Position) {
        let sequence = last.sequence + 1;
        let (bytes, crc) = batch.finish((place.segment, salt), sequence, last.crc);
        let end = place.offset + bytes.len() as u64;
        (bytes, Position { segment: place.segment, end, sequence, crc })
    }

    /// Writes a sealed batch and returns when it is durable.
    pub(crate) fn append(&mut self, bytes: &[u8], position: Position) -> io::Result<()> {
        let current = self.current.as_ref().map(|current| current.number);
        let done = match self.planned.take() {
            Some((number, salt)) if number == position.segment => self.begin_segment(bytes, salt, position),
            None if current == Some(position.segment) => self.overwrite(bytes, position),
            planned => Err(io::Error::other(format!(
                "a batch has its place in segment {}, the log is in {current:?} and goes on in {planned:?}",
                position.segment
            ))),
        };
        match done {
            Ok(()) => {
                self.last = position;
                Ok(())
            }
            Err(error) => {
                self.take_back();
                Err(error)
            }
        }
    }

    /// What was refused goes for good, so that no start before the next batch finds it, not even after a power cut. Where
    /// the disk fails at that, too, nobody can know.
    pub(crate) fn take_back(&mut self) {
        let Some(current) = self.current.take() else { return };
        // Without its first page it is no batch.
        let done = match current.file.write_at(current.end, &EMPTY_PAGE) {
            // The rest of it may stay.
            Ok(()) => end_with_zeros(&*current.file, current.end).or(Ok(())),
            Err(_) => {
                let done = current.file.truncate(current.end);
                drop(end_with_zeros(&*current.file, current.end));
                done
            }
        };
        if let Err(error) = done.and_then(|()| current.file.sync()) {
            log::warn!("taking a refused batch back: {error}");
        }
    }

    fn begin_segment(&mut self, bytes: &[u8], salt: u32, position: Position) -> io::Result<()> {
        let header = Header { kind: Kind::Commit, number: position.segment, salt, predecessor: self.last };
        let file = begin(&*self.disk, &header, bytes)?;
        // Not before something follows: until then the zeros behind its end say that nothing does.
        close_off(&*self.disk, self.last);
        self.current = Some(Current::new(file, salt, position));
        Ok(())
    }

    fn overwrite(&mut self, bytes: &[u8], position: Position) -> io::Result<()> {
        let current = self.current.as_mut().ok_or_else(|| io::Error::other("no segment"))?;
        let too_late = sabotage::is(Sabotage::AnswerBeforeSync);
        if too_late {
            current.file.sync()?;
        }
        if current.zeros_to.is_none_or(|zeros_to| position.end >= zeros_to) {
            // Durable before the batch: where it is torn, zeros behind it still say that nothing followed.
            end_with_zeros(&*current.file, position.end)?;
            current.file.sync()?;
        }
        current.file.write_at(current.end, bytes)?;
        // The rest of a window is enough for most batches: what is ahead becomes durable with this one. Behind its full length a
        // segment needs no more than its last batch.
        let to = (position.end + WINDOW_BYTES)
            .min((self.segments.bytes() + WINDOW_LEAST_BYTES).next_multiple_of(PAGE_BYTES))
            .max(position.end + PAGE_BYTES);
        let is_short = |zeros_to: &u64| position.end + WINDOW_LEAST_BYTES > *zeros_to && to > *zeros_to;
        if let Some(zeros_to) = current.zeros_to.filter(is_short) {
            let from = zeros_to.max(position.end);
            current.zeros_to = match write_zeros(&*current.file, from, to) {
                // The batch has found its room.
                Err(error) if is_full_io(&error) => None,
                written => written.map(|()| Some(to))?,
            };
        }
        if !too_late {
            current.file.sync()?;
        }
        current.end = position.end;
        Ok(())
    }

    /// A number that no segment begun so far reaches.
    pub(crate) fn bound(&self) -> u64 {
        self.segments.next()
    }

    /// What comes next goes into a new segment. Gives the zeros behind the last batch back, but for a page, which shows at a start
    /// that nothing followed.
    pub(crate) fn leave(&mut self) {
        self.planned = None;
        if let Some(current) = self.current.take()
            && let Err(error) = end_with_zeros(&*current.file, current.end)
        {
            log::warn!("leaving a log segment: {error}");
        }
    }
}

/// Takes the zeros behind the last batch of a commit segment away, once another one follows: the next start knows by that.
pub(crate) fn close_off(disk: &dyn Disk, last: Position) {
    if last.segment == 0 {
        return;
    }
    let close = |file: Arc<dyn DiskFile>| {
        let end = end_before_zeros(&*file, last.end)?;
        if file.len()? > end { file.truncate(end) } else { Ok(()) }
    };
    match disk.open(&file_name(Kind::Commit, last.segment)).and_then(close) {
        // It is damage, which was told.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => log::warn!("leaving a log segment: {error}"),
        Ok(()) => {}
    }
}

/// Has one in which zeros lie behind its last batch, or nothing, end with a page of them: new ones take no room on the disk.
pub(crate) fn end_with_zeros(file: &dyn DiskFile, end: u64) -> io::Result<()> {
    file.truncate(end + PAGE_BYTES)
}

/// Makes a commit segment that holds one batch, durable when this returns. Where the disk has no room for all the zeros, one page
/// of them stands behind it.
pub(crate) fn begin(disk: &dyn Disk, header: &Header, batch: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let end = PAGE_BYTES + batch.len() as u64;
    let (name, page) = (file_name(Kind::Commit, header.number), header.page());
    let alone: Vec<(u64, &[u8])> = vec![(0, &page), (PAGE_BYTES, batch)];
    let zeros = (0..WINDOW_BYTES / ZEROS.len() as u64).map(|n| (end + n * ZEROS.len() as u64, &ZEROS[..]));
    let parts: Vec<(u64, &[u8])> = alone.iter().copied().chain(zeros).collect();
    // Nor one with little: the index wants some of it.
    if disk.free_bytes().map_or(true, |free_bytes| free_bytes >= WINDOW_BYTES + SPARE_BYTES) {
        match create_new(disk, &name, &parts) {
            Err(error) if is_full_io(&error) => {}
            made => return made,
        }
    }
    create_new(disk, &name, &[alone, vec![(end, &EMPTY_PAGE)]].concat())
}

fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    (from..to).step_by(ZEROS.len()).try_for_each(|at| {
        let bytes = usize::try_from(to - at).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_at(at, ZEROS.get(..bytes).unwrap_or(&ZEROS))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on may stop")]

    use super::*;
    use crate::store::sim::SimDisk;

    #[test]
    fn a_planned_segment_is_begun_whatever_length_segments_have_by_then() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let segments = Arc::new(NewSegments::after(0, 16 << 20));
        let mut log = Log::new(disk.clone(), segments.clone(), Position::default());
        let write = |log: &mut Log, bytes: usize| {
            let place = log.place();
            let (batch, position) = (vec![7; bytes], log.last());
            let position = Position { segment: place.segment, end: place.offset + bytes as u64, ..position };
            log.append(&batch, position).unwrap();
            place
        };
        let first = write(&mut log, SEGMENT_BYTES_MIN as usize);
        // A batch that comes to nothing has had its place, and then there is more mail.
        let planned = log.place();
        assert_ne!(planned.segment, first.segment);
        segments.suit(1 << 30);
        let second = write(&mut log, 4096);
        assert_eq!((second.segment, second.offset), (planned.segment, PAGE_BYTES));
        assert_eq!(disk.open(&file_name(Kind::Commit, first.segment)).unwrap().len().unwrap() / PAGE_BYTES, 129);
        let third = write(&mut log, 4096);
        assert_eq!((third.segment, third.offset), (second.segment, PAGE_BYTES + 4096));
    }

    /// What is written ahead saves flushes; a disk with little room left needs it for the index.
    #[test]
    fn a_segment_is_begun_with_zeros_behind_its_batch_where_there_is_room_to_spare() {
        let alone = PAGE_BYTES + 100;
        let (much, little) = (alone + WINDOW_BYTES + SPARE_BYTES, WINDOW_BYTES + SPARE_BYTES - 1);
        for (room, bytes) in
            [(None, alone + WINDOW_BYTES), (Some(much), alone + WINDOW_BYTES), (Some(little), alone + PAGE_BYTES)]
        {
            let disk = SimDisk::new();
            disk.leave_room(room);
            let predecessor = Position { segment: 1, ..Position::default() };
            let header = Header { kind: Kind::Commit, number: 2, salt: 7, predecessor };
            begin(&disk, &header, &[1; 100]).unwrap();
            let octets = disk.contents(&file_name(Kind::Commit, 2)).unwrap();
            assert_eq!(octets.len() as u64, bytes, "{room:?}");
            assert_eq!(&octets[alone as usize - 100..alone as usize], [1; 100]);
            assert!(octets[alone as usize..].iter().all(|octet| *octet == 0));
        }
    }
}
