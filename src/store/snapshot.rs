//! A snapshot: every row of the index in key order, sealed, with its place in the log. Restore, salvage and a lost index
//! all begin with the newest good one and apply the events after it; events older than the second newest serve nobody.
//!
//! A file `snapshots/NNNNNNNNNN.snapshot`: a segment header's page (kind 3; the predecessor is the place in the log), then
//! blocks, each
//!
//!     0  length    u32      of the payload; 0 in the last block
//!     4  CRC-32C   u32      over the length and the payload
//!     8  payload            rows: key and value as they stand in the index, each with its length before it
//!
//! and after the last one the count of rows (u64), octets of events ever applied (u64), the CRC-32C of all CRCs before (u32), and
//! the CRC-32C of these 20 octets (u32). A row's value ends with a checksum of its own.

use super::bytes::{Decoder, Encoder};
use super::disk::{Disk, DiskFile, is_unreadable};
use super::index::{Index, IndexError, Rx};
use super::segment::{Header, Kind, PAGE_BYTES, Position, file_name, parse_name};
use std::io;
use std::sync::Arc;

/// Octets of a block's payload, about.
const BLOCK_BYTES: usize = 64 * 1024;
/// A block that says it is longer is not one: rows are far smaller than this.
const BLOCK_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Octets written between two syncs, so that no commit waits long behind them.
const UNSYNCED_BYTES_MAX: u64 = 1024 * 1024;
/// Rows loaded in one transaction,
const LOAD_ROWS: usize = 4_096;
/// and octets of them, about: some are large.
const LOAD_BYTES: usize = 1024 * 1024;

/// A snapshot there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number.
    pub number: u64,
    /// Octets of its file.
    pub bytes: u64,
    /// Octets of all events that it holds the outcome of.
    pub(crate) event_bytes: u64,
    /// Where it stands in the log.
    pub(crate) position: Position,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub(crate) enum SnapshotError {
    /// The disk failed.
    Disk(io::Error),
    /// The index failed, or it is to be opened again.
    Index(IndexError),
    /// The file is not what was written.
    Damaged(&'static str),
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<IndexError> for SnapshotError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(error) => write!(f, "the disk failed: {error}"),
            Self::Index(error) => write!(f, "the index failed: {error}"),
            Self::Damaged(what) => write!(f, "the snapshot is damaged: {what}"),
        }
    }
}

/// Numbers of the snapshots there are, ascending.
pub(crate) fn numbers(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for name in disk.list("snapshots")? {
        if let Some((Kind::Snapshot, number)) = parse_name(&name) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The snapshots whose head and tail are right, ascending.
pub(crate) fn list(disk: &dyn Disk) -> io::Result<Vec<Snapshot>> {
    let mut list = Vec::new();
    for number in numbers(disk)? {
        let file = disk.open(&file_name(Kind::Snapshot, number))?;
        match ends(&*file, number) {
            Ok((snapshot, _)) => list.push(snapshot),
            Err(SnapshotError::Disk(error)) if !is_unreadable(&error) => return Err(error),
            Err(error) => log::error!("snapshot {number}: {error}"),
        }
    }
    Ok(list)
}

/// What its header and its trailer say; the sum over all its blocks besides.
fn ends(file: &dyn DiskFile, number: u64) -> Result<(Snapshot, Trailer), SnapshotError> {
    let header = Header::read(file)?.filter(|header| header.kind == Kind::Snapshot && header.number == number);
    let header = header.ok_or(SnapshotError::Damaged("its header"))?;
    let bytes = file.len()?;
    let at = bytes.checked_sub(TRAILER_BYTES as u64).ok_or(SnapshotError::Damaged("it is cut off"))?;
    let mut trailer = [0; TRAILER_BYTES];
    file.read_at(at, &mut trailer)?;
    let trailer = Trailer::parse(&trailer).ok_or(SnapshotError::Damaged("its end"))?;
    let snapshot = Snapshot { number, bytes, event_bytes: trailer.event_bytes, position: header.predecessor };
    Ok((snapshot, trailer))
}

const TRAILER_BYTES: usize = 24;

/// The end of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trailer {
    rows: u64,
    event_bytes: u64,
    sum: u32,
}

impl Trailer {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = self.rows.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.event_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.sum.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8; TRAILER_BYTES]) -> Option<Self> {
        let mut from = Decoder(bytes);
        let trailer = Self { rows: from.fixed_u64()?, event_bytes: from.fixed_u64()?, sum: from.fixed_u32()? };
        (from.fixed_u32()? == crc32c::crc32c(bytes.get(..20)?)).then_some(trailer)
    }
}

/// Writes a snapshot of the index as it stands now, under a name that nobody looks for; durable when this returns. Reads
/// everything in one transaction, which is given up when the index must be opened again meanwhile. `pause` is called after each
/// block.
pub(crate) fn draft(disk: &dyn Disk, index: &Index, pause: &mut dyn FnMut()) -> Result<Snapshot, SnapshotError> {
    let number = numbers(disk)?.last().map_or(1, |number| number + 1);
    let drafted = index.read(|rx| write_rows(disk, rx, (number, &draft_name(number)), pause));
    if drafted.is_err() {
        discard(disk, number);
    }
    drafted
}

/// Gives a draft its name, durably.
pub(crate) fn publish(disk: &dyn Disk, number: u64) -> Result<(), SnapshotError> {
    let name = file_name(Kind::Snapshot, number);
    let published = disk.rename(&draft_name(number), &name).and_then(|()| disk.sync_folder("snapshots"));
    if published.is_err() {
        discard(disk, number);
    }
    Ok(published?)
}

/// Removes a snapshot that could not be written to its end.
pub(crate) fn discard(disk: &dyn Disk, number: u64) {
    // Either may not be there.
    drop((disk.remove(&draft_name(number)), disk.remove(&file_name(Kind::Snapshot, number))));
}

fn draft_name(number: u64) -> String {
    format!("{}.tmp", file_name(Kind::Snapshot, number))
}

fn write_rows(
    disk: &dyn Disk,
    rx: &mut Rx,
    (number, temporary): (u64, &str),
    pause: &mut dyn FnMut(),
) -> Result<Snapshot, SnapshotError> {
    let state = super::query::state(rx)?;
    let header = Header { kind: Kind::Snapshot, number, salt: 0, predecessor: state.position };
    let mut out = Out { file: disk.create(temporary)?, end: 0, unsynced: 0, sum: 0, block: Encoder::default() };
    out.put(&header.page())?;
    let mut rows = 0u64;
    let mut failed = None;
    rx.rows(&mut |key, value| {
        rows += 1;
        out.block.bytes(key);
        out.block.bytes(value);
        if out.block.0.len() >= BLOCK_BYTES {
            failed = out.end_block().err();
            pause();
        }
        Ok(failed.is_none())
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if !out.block.0.is_empty() {
        out.end_block()?;
    }
    // The empty block.
    out.end_block()?;
    let trailer = Trailer { rows, event_bytes: state.event_bytes, sum: out.sum };
    out.put(&trailer.bytes())?;
    out.file.sync()?;
    Ok(Snapshot { number, bytes: out.end, event_bytes: state.event_bytes, position: state.position })
}

/// A snapshot being written.
struct Out {
    file: Arc<dyn DiskFile>,
    end: u64,
    unsynced: u64,
    sum: u32,
    block: Encoder,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.end, bytes)?;
        self.end += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.file.sync()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        let payload = std::mem::take(&mut self.block.0);
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&length), &payload).to_le_bytes();
        self.sum = crc32c::crc32c_append(self.sum, &crc);
        let mut block = Vec::with_capacity(8 + payload.len());
        block.extend_from_slice(&length);
        block.extend_from_slice(&crc);
        block.extend_from_slice(&payload);
        self.put(&block)
    }
}

/// Takes a row's key and value.
type EachRow<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), SnapshotError> + 'a;

/// Calls `each` with every row of a snapshot, once its block has proved right; an error at the first that has not.
pub(crate) fn read(disk: &dyn Disk, number: u64, each: &mut EachRow<'_>) -> Result<Snapshot, SnapshotError> {
    let file = disk.open(&file_name(Kind::Snapshot, number))?;
    let (snapshot, trailer) = ends(&*file, number)?;
    let end = snapshot.bytes - TRAILER_BYTES as u64;
    let (mut at, mut sum, mut rows) = (PAGE_BYTES, 0, 0u64);
    loop {
        let mut head = [0; 8];
        if at + head.len() as u64 > end {
            return Err(SnapshotError::Damaged("it ends too early"));
        }
        file.read_at(at, &mut head)?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        at += head.len() as u64;
        if length > BLOCK_BYTES_MAX || at + u64::from(length) > end {
            return Err(SnapshotError::Damaged("a block's length"));
        }
        let mut payload = vec![0; length as usize];
        file.read_at(at, &mut payload)?;
        at += u64::from(length);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), &payload);
        if crc != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(SnapshotError::Damaged("a block"));
        }
        sum = crc32c::crc32c_append(sum, &crc.to_le_bytes());
        if length == 0 {
            break;
        }
        let mut from = Decoder(&payload);
        while !from.is_empty() {
            let key = from.bytes().ok_or(SnapshotError::Damaged("a row"))?;
            let value = from.bytes().ok_or(SnapshotError::Damaged("a row"))?;
            rows += 1;
            each(key, value)?;
        }
    }
    if at != end || rows != trailer.rows || sum != trailer.sum {
        return Err(SnapshotError::Damaged("its sum"));
    }
    Ok(snapshot)
}

/// Puts every row into an empty index, which is durable when this returns and says that it is still to be raised.
pub(crate) fn load(disk: &dyn Disk, number: u64, index: &Index) -> Result<Snapshot, SnapshotError> {
    let mut rows = Rows::default();
    let snapshot = read(disk, number, &mut |key, value| {
        if rows.add(key, value) {
            rows.put(index)?;
        }
        Ok(())
    })?;
    rows.put(index)?;
    index.write(true, |tx| {
        // Taken back once it is sure that nothing is missing.
        tx.state()?.raise_from = 1;
        Ok(())
    })?;
    Ok(snapshot)
}

/// Rows on their way into an index.
#[derive(Default)]
struct Rows {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Rows {
    /// Adds one; says whether they are enough for a transaction.
    fn add(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.bytes += key.len() + value.len();
        self.rows.push((key.to_vec(), value.to_vec()));
        self.rows.len() >= LOAD_ROWS || self.bytes >= LOAD_BYTES
    }

    fn put(&mut self, index: &Index) -> Result<(), IndexError> {
        self.bytes = 0;
        index.write(false, |tx| self.rows.drain(..).try_for_each(|(key, value)| tx.put_row(&key, &value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_takes_bounded_memory_whether_rows_are_small_or_large() {
        // Octets of a value, rows that are held at once, and why.
        let table = [
            (100, LOAD_ROWS, "small rows are counted"),
            (32 * 1024, 32, "as large as a summary may be"),
            (4 * 1024 * 1024, 1, "larger than any"),
        ];
        for (bytes, expected, why) in table {
            let (mut rows, value) = (Rows::default(), vec![0; bytes]);
            let before = (1..).find(|_| rows.add(b"key", &value));
            assert_eq!(before, Some(expected), "{why}");
        }
    }
}
