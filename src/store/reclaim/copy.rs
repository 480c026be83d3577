//! One step of emptying segments: finds the next parts of bodies that lie in them and copies them, chunk by chunk as they are
//! stored, into the body segment that grows. A damaged chunk stays where it is. Nothing is believed to lie in the new place
//! before it is durable there and an event says so.

use crate::store::chain::tried;
use crate::store::chunk::{HEADER_BYTES, Header};
use crate::store::disk::DiskFile;
use crate::store::index::{IndexError, Rx};
use crate::store::keys::{T, key_blob, uid_of_key};
use crate::store::rows::{Extent, Move, decode_blob_part};
use crate::store::{BlobId, Shared};
use std::collections::BTreeSet;
use std::io;

/// One step copies about so many octets at the most,
const COPY_BYTES_MAX: u64 = 1024 * 1024;
/// of so many parts,
const MOVES_MAX: usize = 1_000;
/// and looks at so many rows.
const ROWS_MAX: usize = 4_000;
/// Octets are written in pieces of about so many.
const PIECE_BYTES: usize = 64 * 1024;

/// How far a look at every body has come: the row that is next, and how many extents in it have been looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    blob: u64,
    part: u32,
    extents: usize,
}

/// Calls `each` for the parts of bodies in at most [`ROWS_MAX`] rows from `from` on until it answers false; says where to go
/// on, unless that was all. Damaged rows are passed over when that is asked for.
pub(crate) fn extents_from(
    rx: &mut Rx,
    from: Cursor,
    past_damaged: bool,
    each: &mut dyn FnMut(BlobId, Extent) -> bool,
) -> Result<Option<Cursor>, IndexError> {
    let mut next = None;
    let mut rows = 0;
    let first = T::Blobs.tree_key(&key_blob(from.blob, from.part));
    rx.walk(&first, &mut |_, row| {
        rows += 1;
        let (table, key, value) = match row {
            Some(row) => row,
            None if past_damaged => return Ok(true),
            // It may name any segment: nothing is deleted then.
            None => return Err(IndexError::Damaged(T::Blobs)),
        };
        if table != T::Blobs {
            return Ok(true);
        }
        let blob = key.first_chunk().map(|blob| u64::from_be_bytes(*blob));
        let (Some(blob), Some(part)) = (blob, uid_of_key(key)) else {
            return Err(IndexError::Damaged(T::Blobs));
        };
        let mut here = Cursor { blob, part: part.0, extents: 0 };
        let (_, extents) = decode_blob_part(part.0, value)?;
        if (from.blob, from.part) == (here.blob, here.part) {
            here.extents = from.extents;
        } else if rows > ROWS_MAX {
            next = Some(here);
            return Ok(false);
        }
        for extent in extents.into_iter().skip(here.extents) {
            if !each(BlobId(blob), extent) {
                next = Some(here);
                return Ok(false);
            }
            here.extents += 1;
        }
        Ok(true)
    })?;
    Ok(next)
}

/// What a step found, and where the next one goes on.
pub(crate) type Found = (Vec<(BlobId, Extent)>, Option<Cursor>);

/// The next parts of bodies that lie in `segments`, as many as one step copies.
pub(crate) fn find(rx: &mut Rx, segments: &BTreeSet<u64>, from: Cursor) -> Result<Found, IndexError> {
    let mut found = Vec::new();
    let mut bytes = 0u64;
    let next = extents_from(rx, from, false, &mut |blob, extent| {
        if !segments.contains(&extent.segment) {
            return true;
        }
        if found.len() >= MOVES_MAX || bytes >= COPY_BYTES_MAX {
            return false;
        }
        bytes = bytes.saturating_add(extent.stored_bytes);
        found.push((blob, extent));
        true
    })?;
    Ok((found, next))
}

/// Takes those out of `segments` that the next rows name.
pub(crate) fn spare_named(
    rx: &mut Rx,
    segments: &mut BTreeSet<u64>,
    from: Cursor,
) -> Result<Option<Cursor>, IndexError> {
    extents_from(rx, from, false, &mut |_, extent| {
        segments.remove(&extent.segment);
        true
    })
}

/// What a step copied.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// Durable in their new places.
    pub(crate) moves: Vec<Move>,
    /// Octets of them.
    pub(crate) bytes: u64,
    /// Parts that cannot be read whole, and stay.
    pub(crate) damaged: Vec<(BlobId, Extent)>,
}

/// Copies these parts; what it says is durable when it returns. Blocks.
pub(crate) fn copy(shared: &Shared, parts: &[(BlobId, Extent)]) -> io::Result<Copied> {
    let mut copied = Copied::default();
    let room = parts.iter().fold(0u64, |sum, (_, extent)| sum.saturating_add(extent.stored_bytes));
    if room == 0 {
        return Ok(copied);
    }
    let region = shared.bodies.reserve(room)?;
    let mut to = Output { write: &|at, octets| region.write(at, octets), at: region.offset, piece: Vec::new() };
    for (blob, from) in parts {
        let start = to.end();
        match copy_extent(shared, from, &mut to)? {
            true => {
                let place = Extent { segment: region.segment(), offset: start, ..*from };
                copied.moves.push(Move { blob: *blob, from: *from, to: place });
                copied.bytes = copied.bytes.saturating_add(from.stored_bytes);
            }
            false => {
                to.back_to(start);
                copied.damaged.push((*blob, *from));
            }
        }
    }
    to.flush()?;
    shared.bodies.sync_region(&region)?;
    Ok(copied)
}

/// Copies the chunks of one extent; false when one of them is not what was written.
fn copy_extent(shared: &Shared, extent: &Extent, to: &mut Output<'_>) -> io::Result<bool> {
    let file = match shared.files.get(extent.segment) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let mut chunks = Chunks::of(&*file, extent);
    loop {
        match chunks.next() {
            Ok(Some(chunk)) => to.put(chunk)?,
            Ok(None) => return Ok(true),
            Err(ChunkError::Damaged) => return Ok(false),
            Err(ChunkError::Disk(error)) => return Err(error),
        }
    }
}

/// Why a chunk could not be had.
#[derive(Debug)]
pub(crate) enum ChunkError {
    /// It is not what was written, not there, or cannot be read however often it is tried.
    Damaged,
    /// The disk failed.
    Disk(io::Error),
}

/// The chunks of an extent, one after another, each as it is stored, its checksum found right.
pub(crate) struct Chunks<'a> {
    file: &'a dyn DiskFile,
    extent: &'a Extent,
    stored: u64,
    raw: u64,
    chunk: Vec<u8>,
}

impl<'a> Chunks<'a> {
    /// From the first on.
    pub(crate) fn of(file: &'a dyn DiskFile, extent: &'a Extent) -> Self {
        Self { file, extent, stored: 0, raw: 0, chunk: Vec::new() }
    }

    /// The next; nothing after the last, when all together are as long as the extent says.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, ChunkError> {
        if self.stored >= self.extent.stored_bytes {
            return if self.raw == self.extent.raw_bytes { Ok(None) } else { Err(ChunkError::Damaged) };
        }
        let mut head = [0; HEADER_BYTES];
        let at = self.extent.offset.saturating_add(self.stored);
        self.read(at, &mut head)?;
        let header = Header::parse(&head).map_err(|_| ChunkError::Damaged)?;
        self.stored += (HEADER_BYTES + header.stored_bytes) as u64;
        self.raw += header.raw_bytes as u64;
        if self.stored > self.extent.stored_bytes {
            return Err(ChunkError::Damaged);
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        chunk.extend_from_slice(&head);
        chunk.resize(HEADER_BYTES + header.stored_bytes, 0);
        let (_, stored) = chunk.split_at_mut(HEADER_BYTES);
        self.read(at.saturating_add(HEADER_BYTES as u64), stored)?;
        header.check(stored).map_err(|_| ChunkError::Damaged)?;
        self.chunk = chunk;
        Ok(Some(&self.chunk))
    }

    fn read(&self, at: u64, to: &mut [u8]) -> Result<(), ChunkError> {
        tried(|| self.file.read_at(at, to)).map_err(ChunkError::Disk)?.ok_or(ChunkError::Damaged)
    }
}

/// Writes octets in larger pieces.
struct Output<'a> {
    write: &'a dyn Fn(u64, &[u8]) -> io::Result<()>,
    /// Where `piece` goes.
    at: u64,
    piece: Vec<u8>,
}

impl Output<'_> {
    fn end(&self) -> u64 {
        self.at + self.piece.len() as u64
    }

    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(octets);
        if self.piece.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            (self.write)(self.at, &self.piece)?;
            self.at = self.end();
            self.piece.clear();
        }
        Ok(())
    }

    /// What was put behind this place is not wanted; nobody was told of it yet, so that it may be written over.
    fn back_to(&mut self, place: u64) {
        match place.checked_sub(self.at).and_then(|kept| usize::try_from(kept).ok()) {
            Some(kept) => self.piece.truncate(kept),
            None => {
                self.piece.clear();
                self.at = place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn output_that_goes_back_leaves_only_what_is_wanted() {
        let file = RefCell::new(vec![0u8; 400_000]);
        let write = |at: u64, octets: &[u8]| {
            let at = usize::try_from(at).unwrap();
            file.borrow_mut()[at..at + octets.len()].copy_from_slice(octets);
            Ok(())
        };
        let mut to = Output { write: &write, at: 0, piece: Vec::new() };
        to.put(&[1; 10]).unwrap();
        let start = to.end();
        to.put(&[2; 20]).unwrap();
        to.back_to(start);
        to.put(&[3; 5]).unwrap();
        let start = to.end();
        to.put(&[4; 100_000]).unwrap();
        to.put(&[4; 10]).unwrap();
        to.back_to(start);
        to.put(&[5; 7]).unwrap();
        to.flush().unwrap();
        let expected = [vec![1u8; 10], vec![3; 5], vec![5; 7]].concat();
        assert_eq!(file.borrow()[..22], expected);
    }
}
