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
/// In ruins checksums are taken over so many times their octets at the most.
const RUINS_SUMS_MAX: usize = 32;

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
    let page = PAGE_BYTES as usize;
    let is_beginning = |at: &usize| {
        let header = stretch.get(*at..).and_then(<[u8]>::first_chunk).and_then(parse);
        header.is_some_and(|(_, _, _, _, own_salt)| own_salt == salt)
    };
    let mut ruins: Vec<(usize, Batch)> = Vec::new();
    let mut beginnings = (0..stretch.len()).step_by(page).filter(is_beginning).peekable();
    let mut start = 0;
    while start < stretch.len() {
        let end = beginnings.next_if_eq(&start).map(|_| HEADER_BYTES).unwrap_or(0);
        let next = beginnings.peek().copied().unwrap_or(stretch.len());
        let events = events_between(stretch.get(start + end..next).unwrap_or_default(), seed);
        if !events.is_empty() {
            let mut to = Encoder(vec![0; HEADER_BYTES]);
            for event in events {
                to.0.push(TAG_EVENT_BARE);
                to.bytes(event);
            }
            let sequence = sequence + 1 + ruins.len() as u64;
            ruins.push((start, Batch { sequence, crc_before: 0, crc: 0, salt, padded_bytes: 0, bytes: to.0 }));
        }
        start = next;
    }
    ruins
}

/// Events that are whole in what was one batch, perhaps with damaged ones behind it. What others sent stands in its chunks:
/// whole ones are passed over, and in damaged ones not every octet that looks like an event's beginning is followed.
fn events_between(piece: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut events = Vec::new();
    let mut summed_in_vain = 0;
    let mut rest = piece;
    while !rest.is_empty() && summed_in_vain <= piece.len().saturating_mul(RUINS_SUMS_MAX) {
        let mut from = Decoder(rest);
        let length = match (record(&mut from), rest) {
            (Some(Record::Event { bytes, summed: true }), [_, sum @ ..]) => {
                if sum.first_chunk().copied().map(u32::from_le_bytes) == Some(event_sum(seed, bytes)) {
                    events.push(bytes);
                    rest = from.0;
                    continue;
                }
                bytes.len()
            }
            (Some(Record::Chunk), [_, chunk @ ..]) => {
                let length = rest.len() - from.0.len() - 1;
                if is_whole_chunk(chunk.get(..length).unwrap_or_default()) {
                    rest = from.0;
                    continue;
                }
                length
            }
            _ => 0,
        };
        summed_in_vain += length;
        rest = rest.get(1..).unwrap_or_default();
    }
    events
}

fn is_whole_chunk(chunk: &[u8]) -> bool {
    let Some((head, stored)) = chunk.split_first_chunk() else {
        return false;
    };
    chunk::Header::parse(head).is_ok_and(|header| header.check(stored).is_ok())
}

/// Whether a batch, with the rest of its last page, consists of nothing but whole events and of chunks of which at least one
/// is damaged, and that is the damage: a length may be what is damaged, so each event that octets tell of must be one of them.
fn are_events_whole(seed: u64, batch: &[u8], padded: &[u8]) -> bool {
    let mut from = Decoder(batch.get(HEADER_BYTES..).unwrap_or_default());
    let (mut events, mut has_damage) = (Vec::new(), false);
    while !from.is_empty() {
        let rest = from.0;
        let sum = rest.get(1..).and_then(<[u8]>::first_chunk).copied().map(u32::from_le_bytes);
        match record(&mut from) {
            Some(Record::Chunk) => {
                let chunk = rest.get(1..rest.len() - from.0.len()).unwrap_or_default();
                has_damage |= !is_whole_chunk(chunk);
            }
            Some(Record::Event { bytes, summed: true }) if sum == Some(event_sum(seed, bytes)) => events.push(bytes),
            _ => return false,
        }
    }
    let is_padded = padded.get(batch.len()..).is_some_and(|rest| rest.iter().all(|octet| *octet == 0));
    has_damage && is_padded && events == events_between(padded.get(HEADER_BYTES..).unwrap_or_default(), seed)
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
        let batch = Self::read_unchecked(file, salt, (offset, limit))?;
        Ok(batch.filter(|batch| batch.is_whole(segment) || sabotage::is(Sabotage::BlindToBatches)))
    }

    /// The sequence that the beginning of a batch at `offset` tells, whole or not.
    pub(crate) fn told(file: &dyn DiskFile, salt: u32, offset: u64) -> io::Result<Option<u64>> {
        let mut header = [0; HEADER_BYTES];
        file.read_at(offset, &mut header)?;
        let told = parse(&header).filter(|(_, _, _, _, own_salt)| *own_salt == salt);
        Ok(told.map(|(_, sequence, ..)| sequence))
    }

    /// Whether its checksum is that of what was written into this segment.
    fn is_whole(&self, segment: u64) -> bool {
        checksum(seed(segment, self.salt), &self.bytes) == self.crc
    }

    fn read_unchecked(file: &dyn DiskFile, salt: Option<u32>, (offset, limit): (u64, u64)) -> io::Result<Option<Self>> {
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
        let padded_bytes = (bytes.len() as u64).next_multiple_of(PAGE_BYTES);
        Ok(Some(Self { sequence, crc_before, crc, salt: own_salt, padded_bytes, bytes }))
    }

    /// The batches that fill a stretch of a segment from its first octet to its last, when nothing but bodies in them is
    /// damaged: each event is whole, each follows the one before, and the last is the one with the checksum `crc`, which
    /// what stands behind the stretch tells. So all of them were acknowledged. Nothing otherwise.
    pub(crate) fn despite_bodies(
        file: &dyn DiskFile,
        (segment, salt): (u64, u32),
        (from, to): (u64, u64),
        (last, crc): ((u64, u32), u32),
    ) -> io::Result<Option<Vec<Self>>> {
        let (mut batches, mut offset, mut last) = (Vec::new(), from, last);
        while offset < to {
            let Some(batch) = Self::read_unchecked(file, Some(salt), (offset, to))? else {
                return Ok(None);
            };
            let mut padded = vec![0; usize::try_from(batch.padded_bytes.min(to - offset)).unwrap_or(0)];
            file.read_at(offset, &mut padded)?;
            let is_good = batch.is_whole(segment) || are_events_whole(seed(segment, salt), &batch.bytes, &padded);
            if !is_good || batch.sequence != last.0 + 1 || batch.crc_before != last.1 {
                return Ok(None);
            }
            last = (batch.sequence, batch.crc);
            offset += batch.padded_bytes;
            batches.push(batch);
        }
        Ok((offset == to && last.1 == crc).then_some(batches))
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: (u64, u32) = (7, 0x5a17);

    fn seed_here() -> u64 {
        seed(PLACE.0, PLACE.1)
    }

    /// A batch with this chunk before its events, broken.
    fn broken(chunk: &[u8], events: &[&[u8]], sequence: u64) -> Vec<u8> {
        let mut batch = Builder::new();
        batch.chunk(chunk);
        events.iter().for_each(|event| batch.event(event));
        let (mut bytes, _) = batch.finish(PLACE, sequence, 0);
        bytes[25] ^= 1;
        bytes
    }

    fn found(stretch: &[u8]) -> Vec<(usize, u64, Vec<Vec<u8>>)> {
        let ruins = events_in_ruins(stretch, seed_here(), PLACE.1, 10);
        let owned = |events: Vec<&[u8]>| events.into_iter().map(<[u8]>::to_vec).collect();
        ruins.iter().map(|(at, batch)| (*at, batch.sequence, owned(batch.events().unwrap()))).collect()
    }

    #[test]
    fn events_of_broken_batches_are_found_where_they_began() {
        let mut chunk = Vec::new();
        chunk::encode(b"some mail", true, &mut chunk);
        let first = broken(&chunk, &[b"one", b"two"], 11);
        let second = broken(&chunk, &[b"three"], 12);
        let at = first.len();
        let both = [first, second].concat();
        let (one, two, three) = (b"one".to_vec(), b"two".to_vec(), b"three".to_vec());
        assert_eq!(found(&both), [(0, 11, vec![one.clone(), two.clone()]), (at, 12, vec![three.clone()])]);
        // A header that is lost: what follows belongs to what comes before.
        let mut headless = both.clone();
        headless[at..at + 4].fill(0);
        assert_eq!(found(&headless), [(0, 11, vec![one, two.clone(), three.clone()])]);
        // A damaged event, and a damaged chunk.
        let mut damaged = both.clone();
        let place = both.windows(3).position(|octets| octets == b"one").unwrap();
        damaged[place] ^= 1;
        damaged[at + HEADER_BYTES + 14] ^= 1;
        assert_eq!(found(&damaged), [(0, 11, vec![two]), (at, 12, vec![three])]);
        assert_eq!(found(&[0; 10_000]), []);
    }

    #[test]
    fn octets_that_look_like_events_everywhere_cost_no_more_than_so_many_looks() {
        // A damaged chunk of mail made for this: every eighth octet begins an event of a mebibyte.
        let mut octets: Vec<u8> = Vec::new();
        while octets.len() < 4 << 20 {
            octets.extend_from_slice(&[TAG_EVENT, 1, 2, 3, 4, 0x80, 0x80, 0x40]);
        }
        let hostile = broken(&octets, &[b"behind it"], 11);
        let mut chunk = Vec::new();
        chunk::encode(b"some mail", true, &mut chunk);
        let after = broken(&chunk, &[b"another"], 12);
        let at = hostile.len();
        // Each followed to its end would be half a tebibyte.
        let found = found(&[hostile, after].concat());
        assert_eq!(found.last(), Some(&(at, 10 + found.len() as u64, vec![b"another".to_vec()])));
    }

    #[test]
    fn what_looks_like_an_event_in_whole_mail_is_not_looked_at() {
        // An event with the right checksum inside a whole chunk, which nobody but a test can make.
        let mut inside = vec![TAG_EVENT];
        inside.extend_from_slice(&event_sum(seed_here(), b"false").to_le_bytes());
        let mut to = Encoder(inside);
        to.bytes(b"false");
        let mut chunk = Vec::new();
        chunk::encode(&to.0, false, &mut chunk);
        assert_eq!(found(&broken(&chunk, &[b"true"], 11)), [(0, 11, vec![b"true".to_vec()])]);
    }
}
