//! A batch: what one commit writes, applied whole or not at all. It starts on a fresh page.
//!
//!     0  magic "PgB1"      u32
//!     4  format version    u16
//!     6  zero              u16
//!     8  sequence          u64     one more than the batch before
//!    16  payload length    u32
//!    20  CRC before        u32     of the batch before, across segments
//!    24  CRC-32C           u32     over the segment's seed, the header with this field zero, and the payload
//!    28  salt              u32     the segment's once more: its header page may be lost
//!    32  payload: records, each a tag; 2 = chunk (see `chunk`), 3 = event (CRC-32C over seed and bytes, length, bytes),
//!        1 = event (length, bytes), in the first stores
//!
//! Events have checksums of their own, so that damage elsewhere in a batch takes no more than it hits.

use super::bytes::{Decoder, Encoder};
use super::chunk;
use super::disk::DiskFile;
use super::sabotage::{self, Sabotage};
use super::segment::{FORMAT_VERSION, PAGE_BYTES, seed};
use std::io;

const MAGIC: u32 = u32::from_le_bytes(*b"PgB1");
const HEADER_BYTES: usize = 32;
/// A payload is never longer; a header that says so is not one.
const PAYLOAD_BYTES_MAX: u32 = 256 * 1024 * 1024;

const TAG_EVENT_BARE: u8 = 1;
const TAG_CHUNK: u8 = 2;
const TAG_EVENT: u8 = 3;

/// A batch in the making: the header's place is kept free.
#[derive(Debug)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    events: usize,
    event_bytes: u64,
}

/// A batch as read from a segment.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Its number.
    pub(crate) sequence: u64,
    /// The CRC of the batch before it.
    pub(crate) crc_before: u32,
    /// Its CRC.
    pub(crate) crc: u32,
    /// The salt of its segment.
    pub(crate) salt: u32,
    /// Octets on disk, whole pages.
    pub(crate) padded_bytes: u64,
    bytes: Vec<u8>,
}

impl Builder {
    /// An empty batch.
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; HEADER_BYTES], events: 0, event_bytes: 0 }
    }

    /// Whether no event is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Events in it.
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// Octets of the events in it.
    pub(crate) fn event_bytes(&self) -> u64 {
        self.event_bytes
    }

    /// Octets so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an event.
    pub(crate) fn event(&mut self, event: &[u8]) {
        let mut to = Encoder(std::mem::take(&mut self.bytes));
        to.0.push(TAG_EVENT);
        // Its checksum comes when the batch's place is known.
        to.0.extend_from_slice(&[0; 4]);
        to.bytes(event);
        self.bytes = to.0;
        self.events += 1;
        self.event_bytes += event.len() as u64;
    }

    /// Adds an encoded chunk; says where it lies in the batch.
    pub(crate) fn chunk(&mut self, chunk: &[u8]) -> u64 {
        self.bytes.push(TAG_CHUNK);
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(chunk);
        offset
    }

    /// Takes back what was added after the batch was `len` long; only chunks may have been.
    pub(crate) fn cut_chunks(&mut self, len: usize) {
        self.bytes.truncate(len.max(HEADER_BYTES));
    }

    /// Fills in the header and pads to whole pages.
    pub(crate) fn finish(self, (segment, salt): (u64, u32), sequence: u64, crc_before: u32) -> (Vec<u8>, u32) {
        seal(self.bytes, (segment, salt), sequence, crc_before)
    }
}

fn seal(mut bytes: Vec<u8>, (segment, salt): (u64, u32), sequence: u64, crc_before: u32) -> (Vec<u8>, u32) {
    sum_events(&mut bytes, seed(segment, salt));
    let payload = u32::try_from(bytes.len().saturating_sub(HEADER_BYTES)).unwrap_or(u32::MAX);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC.to_le_bytes());
    header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    header.extend_from_slice(&[0; 2]);
    header.extend_from_slice(&sequence.to_le_bytes());
    header.extend_from_slice(&payload.to_le_bytes());
    header.extend_from_slice(&crc_before.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&salt.to_le_bytes());
    bytes.splice(..HEADER_BYTES, header);
    let crc = checksum(seed(segment, salt), &bytes);
    bytes.splice(24..28, crc.to_le_bytes());
    let padded = bytes.len().next_multiple_of(PAGE_BYTES as usize);
    bytes.resize(padded, 0);
    (bytes, crc)
}

/// Fills in the events' checksums.
fn sum_events(bytes: &mut [u8], seed: u64) {
    let mut sums = Vec::new();
    let length = bytes.len();
    let mut from = Decoder(bytes.get(HEADER_BYTES..).unwrap_or_default());
    while let Some(record) = record(&mut from) {
        if let Record::Event { bytes: event, summed: true } = record {
            // The checksum stands before the length.
            let end = length - from.0.len();
            let mut head = Encoder::default();
            head.varint(event.len() as u64);
            sums.push((end - event.len() - head.0.len() - 4, event_sum(seed, event)));
        }
    }
    for (at, sum) in sums {
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
    }
}

fn event_sum(seed: u64, event: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&seed.to_le_bytes()), event)
}

/// A record of a batch.
enum Record<'a> {
    Event { bytes: &'a [u8], summed: bool },
    Chunk,
}

/// Takes a record; nothing when there is none, or it is out of shape.
fn record<'a>(from: &mut Decoder<'a>) -> Option<Record<'a>> {
    match *from.take(1)?.first()? {
        TAG_EVENT_BARE => Some(Record::Event { bytes: from.bytes()?, summed: false }),
        TAG_EVENT => {
            from.take(4)?;
            Some(Record::Event { bytes: from.bytes()?, summed: true })
        }
        TAG_CHUNK => {
            let header = from.take(chunk::HEADER_BYTES)?.try_into().ok()?;
            from.take(chunk::Header::parse(header).ok()?.stored_bytes)?;
            Some(Record::Chunk)
        }
        _ => None,
    }
}

/// Events that are whole in a stretch of a segment which holds no whole batch, in order, as a batch for each beginning of
/// one that can still be seen; the first is taken to begin where the stretch does.
pub(crate) fn events_in_ruins(stretch: &[u8], seed: u64, salt: u32, sequence: u64) -> Vec<(usize, Batch)> {
    let mut ruins: Vec<(usize, Batch)> = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(rest) = stretch.get(at..).filter(|rest| !rest.is_empty()) {
        let header = rest.first_chunk().and_then(parse).filter(|_| at.is_multiple_of(PAGE_BYTES as usize));
        if header.is_some_and(|(_, _, _, _, own_salt)| own_salt == salt) {
            start = at;
            at += HEADER_BYTES;
            continue;
        }
        let mut from = Decoder(rest);
        let event = match rest.first() {
            Some(&TAG_EVENT) => {
                let sum = rest.get(1..5).and_then(|sum| sum.try_into().ok()).map(u32::from_le_bytes);
                match record(&mut from) {
                    Some(Record::Event { bytes, .. }) if sum == Some(event_sum(seed, bytes)) => Some(bytes),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some(event) = event else {
            at += 1;
            continue;
        };
        at += rest.len() - from.0.len();
        if ruins.last().is_none_or(|(begins, _)| *begins != start) {
            let sequence = sequence + 1 + ruins.len() as u64;
            let bytes = vec![0; HEADER_BYTES];
            ruins.push((start, Batch { sequence, crc_before: 0, crc: 0, salt, padded_bytes: 0, bytes }));
        }
        if let Some((_, batch)) = ruins.last_mut() {
            let mut to = Encoder(std::mem::take(&mut batch.bytes));
            to.0.push(TAG_EVENT_BARE);
            to.bytes(event);
            batch.bytes = to.0;
        }
    }
    ruins
}

/// Over a header with a zero CRC field and its payload.
fn checksum(seed: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&seed.to_le_bytes()), bytes)
}

impl Batch {
    /// Reads the batch at `offset`, which must end by `limit`; nothing when there is no whole one. Without a salt the batch's
    /// own is believed, which only the first one of a segment is.
    pub(crate) fn read(
        file: &dyn DiskFile,
        (segment, salt): (u64, Option<u32>),
        offset: u64,
        limit: u64,
    ) -> io::Result<Option<Self>> {
        let Some(room) = limit.checked_sub(offset).filter(|&room| room >= HEADER_BYTES as u64) else {
            return Ok(None);
        };
        let mut header = [0; HEADER_BYTES];
        file.read_at(offset, &mut header)?;
        let Some((length, sequence, crc_before, crc, own_salt)) = parse(&header) else {
            return Ok(None);
        };
        if u64::from(length) > room - HEADER_BYTES as u64 || salt.is_some_and(|salt| salt != own_salt) {
            return Ok(None);
        }
        let mut bytes = vec![0; HEADER_BYTES + length as usize];
        file.read_at(offset, &mut bytes)?;
        bytes.splice(24..28, [0; 4]);
        if checksum(seed(segment, own_salt), &bytes) != crc && !sabotage::is(Sabotage::BlindToBatches) {
            return Ok(None);
        }
        let padded_bytes = (bytes.len() as u64).next_multiple_of(PAGE_BYTES);
        Ok(Some(Self { sequence, crc_before, crc, salt: own_salt, padded_bytes, bytes }))
    }

    /// Everything in it.
    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Its events, in order; nothing when its records are out of shape.
    pub(crate) fn events(&self) -> Option<Vec<&[u8]>> {
        let mut events = Vec::new();
        let mut from = Decoder(self.bytes.get(HEADER_BYTES..)?);
        while !from.is_empty() {
            if let Record::Event { bytes, .. } = record(&mut from)? {
                events.push(bytes);
            }
        }
        Some(events)
    }

    /// The same batch for another segment.
    pub(crate) fn moved_to(self, segment: (u64, u32)) -> (Vec<u8>, u32) {
        seal(self.bytes, segment, self.sequence, self.crc_before)
    }
}

fn parse(header: &[u8; HEADER_BYTES]) -> Option<(u32, u64, u32, u32, u32)> {
    let mut from = Decoder(header);
    let magic = from.fixed_u32()?;
    let version = u16::from_le_bytes(from.take(2)?.try_into().ok()?);
    from.take(2)?;
    let sequence = from.fixed_u64()?;
    let length = from.fixed_u32()?;
    let crc_before = from.fixed_u32()?;
    let crc = from.fixed_u32()?;
    let salt = from.fixed_u32()?;
    (magic == MAGIC && version == FORMAT_VERSION && length <= PAYLOAD_BYTES_MAX)
        .then_some((length, sequence, crc_before, crc, salt))
}
