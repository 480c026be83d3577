//! A segment of the log: a file with a header page, then batches (commit segment) or chunks (body segment).
//!
//!     0  magic "PigeonLg"          8
//!     8  format version            u16
//!    10  kind: 1 commit, 2 body, 3 snapshot   u8
//!    11  zero                      u8
//!    12  salt                      u32     by chance; 0 in the first stores
//!    16  number                    u64     given once, never again
//!    24  predecessor               u64     the commit segment before; 0 for the first, and in body segments
//!    32  predecessor's end         u64     nothing in it beyond this offset was ever acknowledged
//!    40  its last sequence         u64
//!    48  its last batch's CRC      u32
//!    52  CRC-32C of the 52 before  u32
//!    56  zeros up to 4,096
//!
//! A batch's checksum begins with number and salt, so that no mail can hold what passes for a batch.
//!
//! In a body segment zeros may stand between two chunks, up to the next page: what was made durable shares its last page
//! with nothing that comes later.

use super::disk::DiskFile;
use std::io;

/// Batches start on pages of this size, and no page that holds acknowledged octets is written again.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// The version of segments and batches.
pub(crate) const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"PigeonLg";
const HEADER_BYTES: usize = 56;
/// What the header's octet at this place says since zeros lie behind the log's last batch always; versions before wrote 0.
const MARKS_ITS_END: u8 = 1;
const MARKS_ITS_END_AT: u64 = 11;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Events and small bodies.
    Commit,
    /// Large bodies.
    Body,
    /// Every row of the index, see [`super::snapshot`].
    Snapshot,
}

/// A place in the log: everything up to it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The commit segment; 0 before the first.
    pub(crate) segment: u64,
    /// Where the next batch would start in it.
    pub(crate) end: u64,
    /// The last batch's sequence.
    pub(crate) sequence: u64,
    /// The last batch's CRC.
    pub(crate) crc: u32,
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// What it holds.
    pub(crate) kind: Kind,
    /// Its number.
    pub(crate) number: u64,
    /// Chance, see [`seed`].
    pub(crate) salt: u32,
    /// Where the log before it ends.
    pub(crate) predecessor: Position,
}

impl Header {
    /// The header's page.
    pub(crate) fn page(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(4096);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        page.push(match self.kind {
            Kind::Commit => 1,
            Kind::Body => 2,
            Kind::Snapshot => 3,
        });
        page.push(MARKS_ITS_END);
        page.extend_from_slice(&self.salt.to_le_bytes());
        page.extend_from_slice(&self.number.to_le_bytes());
        page.extend_from_slice(&self.predecessor.segment.to_le_bytes());
        page.extend_from_slice(&self.predecessor.end.to_le_bytes());
        page.extend_from_slice(&self.predecessor.sequence.to_le_bytes());
        page.extend_from_slice(&self.predecessor.crc.to_le_bytes());
        page.extend_from_slice(&crc32c::crc32c(&page).to_le_bytes());
        page.resize(4096, 0);
        page
    }

    /// Reads a segment's header; nothing when it is not one.
    pub(crate) fn read(file: &dyn DiskFile) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER_BYTES];
        match file.read_at(0, &mut bytes) {
            Ok(()) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut from = super::bytes::Decoder(bytes);
        let magic = from.take(8)?;
        let version = u16::from_le_bytes(from.take(2)?.try_into().ok()?);
        let kind = *from.take(1)?.first()?;
        from.take(1)?;
        let salt = from.fixed_u32()?;
        let number = from.fixed_u64()?;
        let predecessor = Position {
            segment: from.fixed_u64()?,
            end: from.fixed_u64()?,
            sequence: from.fixed_u64()?,
            crc: from.fixed_u32()?,
        };
        let crc = from.fixed_u32()?;
        let kind = match kind {
            1 => Kind::Commit,
            2 => Kind::Body,
            3 => Kind::Snapshot,
            _ => return None,
        };
        let whole = magic == MAGIC && version == FORMAT_VERSION && crc == crc32c::crc32c(bytes.get(..52)?);
        whole.then_some(Self { kind, number, salt, predecessor })
    }
}

/// What the checksums of the batches in segment `number` begin with.
pub(crate) fn seed(number: u64, salt: u32) -> u64 {
    number ^ (u64::from(salt) << 32)
}

/// The name of a segment's file.
pub(crate) fn file_name(kind: Kind, number: u64) -> String {
    match kind {
        Kind::Commit => format!("log/{number:010}.commit"),
        Kind::Body => format!("log/{number:010}.body"),
        Kind::Snapshot => format!("snapshots/{number:010}.snapshot"),
    }
}

/// What is numbered so high is none of ours: there are enough numbers below for ever.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// Whether zeros lie behind the last batch of this segment until another one follows.
pub(crate) fn marks_its_end(file: &dyn DiskFile) -> io::Result<bool> {
    let mut octet = [0];
    file.read_at(MARKS_ITS_END_AT, &mut octet)?;
    Ok(octet == [MARKS_ITS_END])
}

/// Where the zeros begin that a file ends with, to a page, counted from `from`; `from` where nothing else lies behind it.
pub(crate) fn end_before_zeros(file: &dyn DiskFile, from: u64) -> io::Result<u64> {
    let mut end = file.len()?;
    let mut page = [0; PAGE_BYTES as usize];
    while end > from {
        let bytes = (end - from).min(PAGE_BYTES);
        let Some(page) = page.get_mut(..usize::try_from(bytes).unwrap_or(0)) else {
            break;
        };
        file.read_at(end - bytes, page)?;
        if page.iter().any(|octet| *octet != 0) {
            break;
        }
        end -= bytes;
    }
    Ok(end.max(from))
}

/// The kind and the number in a file's name (without folder); nothing when it is no segment's, or not as we write it.
pub(crate) fn parse_name(name: &str) -> Option<(Kind, u64)> {
    let (number, kind) = name.split_once('.')?;
    let kind = match kind {
        "commit" => Kind::Commit,
        "body" => Kind::Body,
        "snapshot" => Kind::Snapshot,
        _ => return None,
    };
    let is_ours = number.len() >= 10 && (number.len() == 10 || !number.starts_with('0'));
    let number = number.parse().ok().filter(|_| is_ours && number.bytes().all(|octet| octet.is_ascii_digit()));
    Some((kind, number.filter(|number| *number < NUMBER_MAX)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_a_flipped_bit_is_found() {
        let predecessor = Position { segment: 6, end: 8192, sequence: 44, crc: 0xdead_beef };
        let header = Header { kind: Kind::Commit, number: 7, salt: 0x1234_5678, predecessor };
        let page = header.page();
        let bytes: [u8; HEADER_BYTES] = page[..HEADER_BYTES].try_into().unwrap();
        assert_eq!(Header::parse(&bytes), Some(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut broken = bytes;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&broken), None, "bit {bit}");
        }
    }

    #[test]
    fn names_read_back() {
        assert_eq!(parse_name("0000000012.body"), Some((Kind::Body, 12)));
        assert_eq!(parse_name("0000000012.commit"), Some((Kind::Commit, 12)));
        assert_eq!(parse_name("0000000012.commit.tmp"), None);
    }
}
