//! Bodies on their way out: any range, one decoded chunk in memory at a time.

use super::chunk::{self, Header};
use super::disk::{Disk, DiskFile};
use super::lease::{Looking, Pins};
use super::rows::Extent;
use super::segment::{Kind, file_name};
use super::{BlobId, Refusal, Shared};
use crate::base::Grant;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Segments kept open for reading.
const OPEN_FILES_MAX: usize = 16;
/// Places kept in mind that could not be read.
const UNREADABLE_MAX: usize = 64;

/// Segments open for reading, most lately used last.
#[derive(Debug)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    open: Mutex<Vec<(u64, Arc<dyn DiskFile>)>>,
}

impl Files {
    /// None is open yet.
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, open: Mutex::new(Vec::new()) }
    }

    /// A segment's file, whichever kind it is of.
    pub(crate) fn get(&self, number: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|(n, _)| *n == number) {
            let found = open.remove(at);
            let file = found.1.clone();
            open.push(found);
            return Ok(file);
        }
        let file = match self.disk.open(&file_name(Kind::Commit, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.disk.open(&file_name(Kind::Body, number))?,
            other => other?,
        };
        if open.len() >= OPEN_FILES_MAX {
            open.remove(0);
        }
        open.push((number, file.clone()));
        Ok(file)
    }

    /// Closes a segment that is about to be deleted, so that its octets become free.
    pub(crate) fn forget(&self, number: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(n, _)| *n != number);
    }
}

/// Places in bodies where reading failed, latest last: a protocol in which nothing can be said in the middle of a message breaks
/// off there the first time, and would each time again.
#[derive(Debug, Default)]
pub(crate) struct Unreadable(Mutex<VecDeque<(BlobId, u64)>>);

impl Unreadable {
    fn note(&self, blob: BlobId, offset: u64) {
        self.forget(blob, offset);
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= UNREADABLE_MAX {
            places.pop_front();
        }
        places.push_back((blob, offset));
    }

    fn forget(&self, blob: BlobId, offset: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|place| *place != (blob, offset));
    }

    fn within(&self, blob: BlobId, octets: &Range<u64>) -> Vec<u64> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offsets = places.iter().filter(|(of, offset)| *of == blob && octets.contains(offset));
        offsets.map(|(_, offset)| *offset).collect()
    }
}

/// Reads a stored body, any range, holding at most one decoded chunk.
#[derive(Debug)]
pub struct BodyReader {
    shared: Arc<Shared>,
    blob: BlobId,
    #[expect(dead_code, reason = "held, so that no segment goes away")]
    pins: Pins,
    size: u64,
    extents: Vec<Extent>,
    /// The decoded chunk and where in the body it begins.
    chunk: Vec<u8>,
    chunk_at: u64,
    /// Where the chunk after it lies: extent, place in the extent, place in the body.
    next: (usize, u64, u64),
    grant: Grant,
}

/// A chunk that was found: its place in the body, its octets, and where the next one lies in the extent.
struct Found {
    at: u64,
    raw: Vec<u8>,
    next: u64,
}

enum ReadError {
    Disk(io::Error),
    Damaged,
}

impl BodyReader {
    /// Reads from where `looking` was told that the body lies.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        looking: Looking,
        blob: BlobId,
        (size, extents): (u64, Vec<Extent>),
    ) -> Self {
        Self {
            shared: shared.clone(),
            blob,
            pins: looking.pin(&extents),
            size,
            extents,
            chunk: Vec::new(),
            chunk_at: 0,
            next: (0, 0, 0),
            grant: Grant::none(&shared.budget),
        }
    }

    /// Octets in all.
    pub fn len(&self) -> u64 {
        self.size
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Finds out, before their number is promised to anybody, whether `octets` can be read, as far as it costs nothing: reads
    /// where they begin, and wherever in them reading has failed before.
    pub async fn try_out(&mut self, octets: Range<u64>) -> Result<(), Refusal> {
        for offset in self.shared.unreadable.within(self.blob, &octets) {
            self.at(offset).await?;
            self.shared.unreadable.forget(self.blob, offset);
        }
        self.at(octets.start).await?;
        Ok(())
    }

    /// The octets from `offset` to the end of the chunk that holds it (at most 64 KiB); empty at the end.
    pub async fn at(&mut self, offset: u64) -> Result<&[u8], Refusal> {
        if offset >= self.size {
            return Ok(&[]);
        }
        if self.held(offset).is_none() {
            self.fetch(offset).await?;
        }
        self.held(offset).ok_or(Refusal::Damaged)
    }

    fn held(&self, offset: u64) -> Option<&[u8]> {
        let skip = usize::try_from(offset.checked_sub(self.chunk_at)?).ok()?;
        self.chunk.get(skip..).filter(|rest| !rest.is_empty())
    }

    async fn fetch(&mut self, offset: u64) -> Result<(), Refusal> {
        self.chunk = Vec::new();
        let memory = chunk::RAW_BYTES_MAX.min(usize::try_from(self.size).unwrap_or(usize::MAX));
        if !self.grant.resize(memory) {
            return Err(Refusal::NoMemory);
        }
        let (number, start, place) = self.locate(offset).ok_or(Refusal::Damaged)?;
        let extent = *self.extents.get(number).ok_or(Refusal::Damaged)?;
        let shared = self.shared.clone();
        let read = move || read_chunk(&shared.files, &extent, start, place, offset);
        let read = self.shared.workers.run(read).await;
        if let Some(Err(_)) = &read {
            self.shared.unreadable.note(self.blob, offset);
        }
        let found = match read {
            Some(Ok(found)) => found,
            Some(Err(ReadError::Disk(error))) if error.kind() == io::ErrorKind::NotFound => {
                log::error!("segment {}, where blob {} lies, is missing", extent.segment, self.blob.0);
                return Err(Refusal::Damaged);
            }
            Some(Err(ReadError::Disk(error))) => {
                log::error!("reading blob {} in segment {}: {error}", self.blob.0, extent.segment);
                return Err(Refusal::Unavailable);
            }
            Some(Err(ReadError::Damaged)) => {
                log::error!("a chunk of blob {} in segment {} is damaged", self.blob.0, extent.segment);
                return Err(Refusal::Damaged);
            }
            None => return Err(Refusal::Unavailable),
        };
        let end = found.at + found.raw.len() as u64;
        self.next = if found.next < extent.stored_bytes { (number, found.next, end) } else { (number + 1, 0, end) };
        self.chunk_at = found.at;
        self.chunk = found.raw;
        Ok(())
    }

    /// The extent that holds `offset`, and the place in the body and in the extent from which to walk.
    fn locate(&self, offset: u64) -> Option<(usize, u64, u64)> {
        let mut start = 0;
        for (number, extent) in self.extents.iter().enumerate() {
            if offset < start + extent.raw_bytes {
                let (next, place, at) = self.next;
                let near = next == number && at <= offset && at >= start;
                return Some(if near { (number, at, place) } else { (number, start, 0) });
            }
            start += extent.raw_bytes;
        }
        None
    }
}

/// Walks the chunks of an extent from one that begins at `start` in the body until `offset` is in it.
fn read_chunk(files: &Files, extent: &Extent, start: u64, place: u64, offset: u64) -> Result<Found, ReadError> {
    let file = files.get(extent.segment).map_err(ReadError::Disk)?;
    let (mut at, mut place) = (start, place);
    while place < extent.stored_bytes {
        let mut head = [0; chunk::HEADER_BYTES];
        file.read_at(extent.offset + place, &mut head).map_err(ReadError::Disk)?;
        let header = Header::parse(&head).map_err(|_| ReadError::Damaged)?;
        let next = place + (chunk::HEADER_BYTES + header.stored_bytes) as u64;
        if next > extent.stored_bytes {
            return Err(ReadError::Damaged);
        }
        if offset < at + header.raw_bytes as u64 {
            let mut stored = vec![0; header.stored_bytes];
            file.read_at(extent.offset + place + chunk::HEADER_BYTES as u64, &mut stored).map_err(ReadError::Disk)?;
            let raw = header.decode(&stored).map_err(|_| ReadError::Damaged)?;
            return Ok(Found { at, raw, next });
        }
        at += header.raw_bytes as u64;
        place = next;
    }
    Err(ReadError::Damaged)
}
