//! Bodies on their way in. A small one stays in memory and rides in its batch; a larger one goes to a body segment chunk by
//! chunk while the sender talks, and is durable before the event that names it is written. What an abort or a cut leaves is
//! dead octets.

use super::chunk;
use super::disk::{Disk, DiskFile, create_new};
use super::lease::{Leases, Pins};
use super::log::NewSegments;
use super::rows::{Extent, add_extent};
use super::sabotage::{self, Sabotage};
use super::segment::{Header, Kind, PAGE_BYTES, Position, file_name};
use super::{Refusal, Shared, refusal_of};
use crate::base::Grant;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A body starts with so much memory,
const BUFFER_BYTES_FIRST: usize = 2 * 1024;
/// gets so much for the asking,
const BUFFER_BYTES_SMALL: usize = 8 * 1024;
/// and so much while the memory budget is roomy.
const BUFFER_BYTES_MAX: usize = chunk::RAW_BYTES_MAX;
/// A body segment is flushed whenever so much of it has not been.
const UNSYNCED_BYTES_MAX: u64 = 1024 * 1024;

/// The body segment that grows, for everybody who streams.
#[derive(Debug)]
pub(crate) struct Bodies {
    disk: Arc<dyn Disk>,
    segments: Arc<NewSegments>,
    leases: Arc<Leases>,
    /// For streams.
    current: Mutex<Option<Arc<BodySegment>>>,
    /// For what reclaim copies: it has outlived others, and mixed with what comes it would be copied again with it.
    copies: Mutex<Option<Arc<BodySegment>>>,
    /// Segments that give no more places, while a place that they gave may still be written to.
    leaving: Mutex<Vec<Arc<BodySegment>>>,
    closed: AtomicBool,
    pub(crate) begun: AtomicU64,
}

/// A body segment being written, by several streams at once.
#[derive(Debug)]
pub(crate) struct BodySegment {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// Where the next chunk goes.
    end: AtomicU64,
    /// Shared from when a chunk gets its place until it is written.
    writing: RwLock<()>,
    /// Writes that have returned.
    writes: AtomicU64,
    unsynced_bytes: AtomicU64,
    /// Nothing is written into it any more.
    sealed: AtomicBool,
    /// A sync failed: nothing written and not yet synced in it is to be believed.
    failed: AtomicBool,
    /// Writes that are durable; locked while a sync runs, so that those who wait share it.
    synced: Mutex<u64>,
}

/// A chunk that was written: where, and which write it was.
#[derive(Debug)]
struct Written {
    segment: Arc<BodySegment>,
    extent: Extent,
    write: u64,
    pins: Pins,
}

/// Room in the segment that grows, for one writer alone.
#[derive(Debug)]
pub(crate) struct Region {
    segment: Arc<BodySegment>,
    /// Where it begins.
    pub(crate) offset: u64,
    #[expect(dead_code, reason = "held, so that the segment does not go away")]
    pins: Pins,
}

impl Region {
    /// The segment's number.
    pub(crate) fn segment(&self) -> u64 {
        self.segment.number
    }

    /// Writes into it; `offset` counts from the segment's beginning. Blocks.
    pub(crate) fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.segment.file.write_at(offset, octets)
    }
}

impl Bodies {
    /// Nothing is open until the first large body comes.
    pub(crate) fn new(disk: Arc<dyn Disk>, segments: Arc<NewSegments>, leases: Arc<Leases>) -> Self {
        Self {
            disk,
            segments,
            leases,
            current: Mutex::new(None),
            copies: Mutex::new(None),
            leaving: Mutex::default(),
            closed: AtomicBool::new(false),
            begun: AtomicU64::new(0),
        }
    }

    /// Writes a chunk of `raw` somewhere; flushes when much has gathered. Blocks.
    fn append(&self, raw: &[u8], first: bool) -> io::Result<Written> {
        let mut chunk = Vec::new();
        chunk::encode(raw, first, &mut chunk);
        let bytes = chunk.len() as u64;
        let (mut segment, mut pins) = self.growing_in(&self.current)?;
        let written = loop {
            let writing = segment.clone();
            let _writing = writing.writing.read().unwrap_or_else(PoisonError::into_inner);
            if segment.sealed.load(Ordering::Acquire) {
                (segment, pins) = self.growing_in(&self.current)?;
                continue;
            }
            let offset = segment.end.fetch_add(bytes, Ordering::AcqRel);
            let written = segment.file.write_at(offset, &chunk);
            break written.map(|()| (offset, segment.writes.fetch_add(1, Ordering::AcqRel) + 1));
        };
        let (offset, write) = written.inspect_err(|_| self.give_up(&segment))?;
        if segment.unsynced_bytes.fetch_add(bytes, Ordering::AcqRel) + bytes >= UNSYNCED_BYTES_MAX {
            self.sync(&segment, write)?;
        }
        let extent = Extent { segment: segment.number, offset, stored_bytes: bytes, raw_bytes: raw.len() as u64 };
        Ok(Written { segment, extent, write, pins })
    }

    /// Room for `bytes` octets in a row, on pages of its own, for one writer. Blocks.
    pub(crate) fn reserve(&self, bytes: u64) -> io::Result<Region> {
        let (segment, pins) = self.growing_in(&self.copies)?;
        let offset = {
            // A sync may move the end; not between this look and this step.
            let _writing = segment.writing.read().unwrap_or_else(PoisonError::into_inner);
            let room = |end: u64| {
                let from = end.next_multiple_of(PAGE_BYTES);
                (from, from.saturating_add(bytes).next_multiple_of(PAGE_BYTES))
            };
            let step = |end: u64| Some(room(end).1);
            let before = segment.end.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
            room(before.unwrap_or_else(|end| end)).0
        };
        Ok(Region { segment, offset, pins })
    }

    /// Returns when all that was written into the region is durable. Blocks.
    pub(crate) fn sync_region(&self, region: &Region) -> io::Result<()> {
        let write = region.segment.writes.fetch_add(1, Ordering::AcqRel) + 1;
        self.sync(&region.segment, write)
    }

    /// The segment that grows, pinned before it can have ceased to; a new one when there is none or it is full.
    fn growing_in(&self, place: &Mutex<Option<Arc<BodySegment>>>) -> io::Result<(Arc<BodySegment>, Pins)> {
        let mut current = place.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |segment: &Arc<BodySegment>| segment.end.load(Ordering::Acquire) >= self.segments.bytes();
        if self.closed.load(Ordering::Acquire) {
            return Err(io::Error::other("the store is closed"));
        }
        let before = current.take();
        let segment = match before {
            Some(segment) if !full(&segment) => segment,
            before => {
                before.into_iter().for_each(|segment| self.let_go(segment));
                let number = self.segments.next();
                let header =
                    Header { kind: Kind::Body, number, salt: self.disk.chance(), predecessor: Position::default() };
                let file = create_new(&*self.disk, &file_name(Kind::Body, number), &[(0, &header.page())])?;
                self.begun.fetch_add(1, Ordering::Relaxed);
                Arc::new(BodySegment {
                    number,
                    file,
                    end: AtomicU64::new(PAGE_BYTES),
                    writing: RwLock::new(()),
                    writes: AtomicU64::new(0),
                    unsynced_bytes: AtomicU64::new(0),
                    sealed: AtomicBool::new(false),
                    failed: AtomicBool::new(false),
                    synced: Mutex::new(0),
                })
            }
        };
        *current = Some(segment.clone());
        let mut pins = self.leases.pins();
        pins.add(segment.number);
        Ok((segment, pins))
    }

    /// Whether the segment grows. When it does not, whatever has got a chunk in it is pinned until its message is committed.
    pub(crate) fn is_growing(&self, number: u64) -> bool {
        [&self.current, &self.copies].into_iter().any(|place| {
            let place = place.lock().unwrap_or_else(PoisonError::into_inner);
            place.as_ref().is_some_and(|segment| segment.number == number)
        })
    }

    /// Returns when write number `write` of the segment is durable. Blocks.
    fn sync(&self, segment: &Arc<BodySegment>, write: u64) -> io::Result<()> {
        let mut synced = segment.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= write {
            return Ok(());
        }
        if segment.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync of this segment failed"));
        }
        let writes = {
            // Every write that has its place has returned now, and those to come begin on a fresh page: a card may ruin the
            // page it is writing when power goes, and with it what this sync makes durable.
            let _alone = segment.writing.write().unwrap_or_else(PoisonError::into_inner);
            let end = segment.end.load(Ordering::Acquire);
            segment.end.store(end.next_multiple_of(PAGE_BYTES), Ordering::Release);
            segment.writes.load(Ordering::Acquire)
        };
        segment.unsynced_bytes.store(0, Ordering::Release);
        let synced_now = if sabotage::is(Sabotage::BodyWithoutSync) { Ok(()) } else { segment.file.sync() };
        if let Err(error) = synced_now {
            segment.failed.store(true, Ordering::Release);
            self.give_up(segment);
            return Err(error);
        }
        *synced = writes;
        Ok(())
    }

    /// No more segments are begun: their numbers belong to whoever opens the store next.
    pub(crate) fn close(&self) {
        for place in [&self.current, &self.copies] {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            self.closed.store(true, Ordering::Release);
            *place = None;
        }
    }

    /// What comes next goes into new segments; nothing is written into those before any more when this returns, provided that
    /// nothing is being copied.
    pub(crate) fn leave(&self) {
        for place in [&self.current, &self.copies] {
            let left = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            left.into_iter().for_each(|segment| self.let_go(segment));
        }
        let leaving = std::mem::take(&mut *self.leaving.lock().unwrap_or_else(PoisonError::into_inner));
        for segment in leaving {
            let _alone = segment.writing.write().unwrap_or_else(PoisonError::into_inner);
            segment.sealed.store(true, Ordering::Release);
        }
    }

    /// What comes next goes into a new segment.
    fn give_up(&self, segment: &Arc<BodySegment>) {
        for place in [&self.current, &self.copies] {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            let left = place.take_if(|growing| growing.number == segment.number);
            left.into_iter().for_each(|segment| self.let_go(segment));
        }
    }

    /// Gives no more places in a segment that grew; whoever has one may still be writing there.
    fn let_go(&self, segment: Arc<BodySegment>) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.push(segment);
        leaving.retain(|segment| {
            let alone = segment.writing.try_write();
            if alone.is_ok() {
                segment.sealed.store(true, Ordering::Release);
            }
            alone.is_err()
        });
    }
}

/// Counts bodies that are on their way; the writer waits a moment for them.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Shared>);

impl InFlight {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(shared.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.queue.look_again();
    }
}

/// How many bodies are on their way.
pub(crate) fn in_flight(count: &AtomicUsize) -> bool {
    count.load(Ordering::Acquire) > 0
}

/// A body while it arrives. Small ones stay in memory, larger ones go to the disk chunk by chunk.
/// Dropping it aborts; what was written is dead.
#[derive(Debug)]
pub struct BodyWriter {
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    grant: Grant,
    size: u64,
    extents: Vec<Extent>,
    /// Of the segments of `extents`.
    pins: Option<Box<Pins>>,
    /// The last write into each segment that is not known to be durable; at most a few.
    unsynced: Vec<(Arc<BodySegment>, u64)>,
    refused: bool,
    in_flight: Option<InFlight>,
}

/// A body that has come whole and belongs to no message yet. Dropping it aborts.
#[derive(Debug)]
pub struct Body {
    pub(crate) size: u64,
    pub(crate) content: Content,
    /// Held until its message is stored.
    #[expect(dead_code, reason = "dropping it gives the memory back")]
    grant: Grant,
    pub(crate) in_flight: Option<InFlight>,
    /// Held until its message is committed or refused.
    pub(crate) pins: Option<Box<Pins>>,
}

/// Where a body is.
#[derive(Debug)]
pub(crate) enum Content {
    /// Encoded chunk, or nothing for an empty body.
    Memory(Vec<u8>),
    /// In body segments, durable.
    Disk(Vec<Extent>),
}

impl BodyWriter {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            buffer: Vec::new(),
            grant: Grant::none(&shared.budget),
            size: 0,
            extents: Vec::new(),
            pins: None,
            unsynced: Vec::new(),
            refused: false,
            in_flight: Some(InFlight::new(shared)),
            shared: shared.clone(),
        }
    }

    /// Takes octets; waits while the disk is behind. After a refusal every later call is refused.
    pub async fn write(&mut self, mut octets: &[u8]) -> Result<(), Refusal> {
        if self.refused {
            return Err(Refusal::Unavailable);
        }
        while !octets.is_empty() {
            if self.buffer.len() == self.buffer.capacity() && !self.grow()? {
                self.spill().await?;
            }
            let room = self.buffer.capacity() - self.buffer.len();
            let (now, later) = octets.split_at(room.min(octets.len()));
            self.buffer.extend_from_slice(now);
            self.size += now.len() as u64;
            octets = later;
        }
        Ok(())
    }

    /// More room in the buffer; false when it is to be written out first.
    fn grow(&mut self) -> Result<bool, Refusal> {
        let capacity = self.buffer.capacity();
        let wanted = (capacity * 2).max(BUFFER_BYTES_FIRST);
        let may = wanted <= BUFFER_BYTES_SMALL || (wanted <= BUFFER_BYTES_MAX && self.shared.budget.is_roomy());
        if !may {
            return Ok(false);
        }
        if !self.grant.resize(wanted) {
            self.refused = capacity == 0;
            return if capacity == 0 { Err(Refusal::NoMemory) } else { Ok(false) };
        }
        self.buffer.reserve_exact(wanted - self.buffer.len());
        Ok(true)
    }

    /// Writes the buffer out as one chunk.
    async fn spill(&mut self) -> Result<(), Refusal> {
        let raw = std::mem::take(&mut self.buffer);
        let shared = self.shared.clone();
        let first = self.extents.is_empty();
        let done = self.shared.workers.run(move || {
            if !shared.has_room() {
                return (raw, Err(io::ErrorKind::StorageFull.into()));
            }
            let written = shared.bodies.append(&raw, first);
            (raw, written)
        });
        match done.await {
            Some((mut raw, Ok(written))) => {
                raw.clear();
                self.buffer = raw;
                add_extent(&mut self.extents, written.extent);
                match &mut self.pins {
                    Some(pins) => pins.join(&written.pins),
                    None => self.pins = Some(Box::new(written.pins)),
                }
                self.unsynced.retain(|(segment, _)| segment.number != written.segment.number);
                self.unsynced.push((written.segment, written.write));
                Ok(())
            }
            Some((_, Err(error))) => Err(self.refuse(&error)),
            None => Err(self.refuse(&io::Error::other("the worker is gone"))),
        }
    }

    fn refuse(&mut self, error: &io::Error) -> Refusal {
        self.refused = true;
        let refusal = refusal_of(error);
        match refusal {
            Refusal::DiskFull => {
                log::error!("the disk is full: a message is refused, and so is the next until there is room")
            }
            _ => log::error!("writing a body: {error}"),
        }
        refusal
    }

    /// Octets taken so far.
    pub fn len(&self) -> u64 {
        self.size
    }

    /// Whether none came yet.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// The body is whole; what went to the disk is durable when this returns.
    pub async fn finish(mut self) -> Result<Body, Refusal> {
        if self.refused {
            return Err(Refusal::Unavailable);
        }
        if !self.shared.has_room() {
            return Err(Refusal::DiskFull);
        }
        // Small bodies wait in memory for their batch, unless memory is scarce.
        let stays =
            self.extents.is_empty() && (self.buffer.len() <= BUFFER_BYTES_FIRST || self.shared.budget.is_roomy());
        if !stays && !self.buffer.is_empty() {
            self.spill().await?;
        }
        let content = if stays { self.in_memory().await? } else { self.on_disk().await? };
        Ok(Body { size: self.size, content, grant: self.grant, in_flight: self.in_flight, pins: self.pins })
    }

    async fn in_memory(&mut self) -> Result<Content, Refusal> {
        let raw = std::mem::take(&mut self.buffer);
        let encode = move || {
            let mut chunk = Vec::new();
            if !raw.is_empty() {
                chunk::encode(&raw, true, &mut chunk);
            }
            chunk
        };
        // A few KiB are compressed sooner than handed over.
        let chunk =
            if self.size <= BUFFER_BYTES_SMALL as u64 { Some(encode()) } else { self.shared.workers.run(encode).await };
        let chunk = chunk.ok_or(Refusal::Unavailable)?;
        // Smaller than before, so it fits.
        let _ = self.grant.resize(chunk.capacity().min(self.grant.bytes()));
        Ok(Content::Memory(chunk))
    }

    async fn on_disk(&mut self) -> Result<Content, Refusal> {
        self.buffer = Vec::new();
        let _ = self.grant.resize(0);
        let unsynced = std::mem::take(&mut self.unsynced);
        let shared = self.shared.clone();
        let sync = move || unsynced.iter().try_for_each(|(segment, write)| shared.bodies.sync(segment, *write));
        match self.shared.workers.run(sync).await {
            Some(Ok(())) => Ok(Content::Disk(std::mem::take(&mut self.extents))),
            Some(Err(error)) => Err(self.refuse(&error)),
            None => Err(self.refuse(&io::Error::other("the worker is gone"))),
        }
    }
}

impl Body {
    /// Octets in it.
    pub fn len(&self) -> u64 {
        self.size
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Octets that it will take in its batch.
    pub(crate) fn batch_bytes(&self) -> usize {
        match &self.content {
            Content::Memory(chunk) => chunk.len(),
            Content::Disk(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sim::SimDisk;

    fn bodies() -> Bodies {
        Bodies::new(Arc::new(SimDisk::new()), Arc::new(NewSegments::after(0, 1 << 20)), Arc::default())
    }

    #[test]
    fn what_is_durable_shares_no_page_with_what_comes_later() {
        let bodies = bodies();
        let first = bodies.append(b"first", true).unwrap();
        let second = bodies.append(b"second", true).unwrap();
        assert_eq!(second.extent.offset, first.extent.offset + first.extent.stored_bytes);
        bodies.sync(&second.segment, second.write).unwrap();
        let third = bodies.append(b"third", true).unwrap();
        let last_page = (second.extent.offset + second.extent.stored_bytes - 1) / PAGE_BYTES;
        assert!(third.extent.offset / PAGE_BYTES > last_page, "{third:?}");
    }

    #[test]
    fn after_the_close_no_segment_takes_a_number_that_the_next_opener_gives_out() {
        let bodies = bodies();
        bodies.close();
        assert!(bodies.append(b"late", true).is_err());
    }
}
