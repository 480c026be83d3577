//! A chunk: at most 64 KiB of a body with its lengths, its codec and its checksum. Each is compressed by itself, so that
//! any range of a body is read by decoding one or two.
//!
//!     0  raw length     u32      octets of the body in it, 1 to 65,536
//!     4  stored length  u32      octets that follow the header
//!     8  codec          u8       how they are stored
//!     9  CRC-32C        u32      over the nine bytes before and the stored octets
//!    13  stored octets

use super::codec::{self, Codec};
use super::sabotage::{self, Sabotage};

/// Octets of a body in one chunk at the most.
pub(crate) const RAW_BYTES_MAX: usize = 64 * 1024;
/// Octets before the stored ones.
pub(crate) const HEADER_BYTES: usize = 13;

/// The bytes are not the chunk that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

/// What a chunk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Octets of the body in it.
    pub(crate) raw_bytes: usize,
    /// Octets after the header.
    pub(crate) stored_bytes: usize,
    codec: u8,
    crc: u32,
}

/// Appends a chunk of `raw` (1 to [`RAW_BYTES_MAX`] octets); `first` says that it begins with a message's header.
pub(crate) fn encode(raw: &[u8], first: bool, to: &mut Vec<u8>) {
    let (codec, stored) = codec::pack(raw, first);
    let stored = stored.as_deref().unwrap_or(raw);
    let mut head = [0; 9];
    let raw_bytes = u32::try_from(raw.len()).unwrap_or(u32::MAX).to_le_bytes();
    let stored_bytes = u32::try_from(stored.len()).unwrap_or(u32::MAX).to_le_bytes();
    for (to, from) in head.iter_mut().zip(raw_bytes.into_iter().chain(stored_bytes).chain([codec.number()])) {
        *to = from;
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head), stored);
    to.reserve_exact(HEADER_BYTES + stored.len());
    to.extend_from_slice(&head);
    to.extend_from_slice(&crc.to_le_bytes());
    to.extend_from_slice(stored);
}

impl Header {
    /// Reads a header.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Damaged> {
        let [r0, r1, r2, r3, s0, s1, s2, s3, codec, c0, c1, c2, c3] = *bytes;
        let raw_bytes = u32::from_le_bytes([r0, r1, r2, r3]) as usize;
        let stored_bytes = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        if raw_bytes == 0 || raw_bytes > RAW_BYTES_MAX || stored_bytes > RAW_BYTES_MAX {
            return Err(Damaged);
        }
        Ok(Self { raw_bytes, stored_bytes, codec, crc: u32::from_le_bytes([c0, c1, c2, c3]) })
    }

    /// Whether these are the stored octets that were written.
    pub(crate) fn check(&self, stored: &[u8]) -> Result<(), Damaged> {
        let raw_bytes = u32::try_from(self.raw_bytes).map_err(|_| Damaged)?.to_le_bytes();
        let stored_bytes = u32::try_from(self.stored_bytes).map_err(|_| Damaged)?.to_le_bytes();
        let crc = crc32c::crc32c(&raw_bytes);
        let crc = crc32c::crc32c_append(crc, &stored_bytes);
        let crc = crc32c::crc32c_append(crc, &[self.codec]);
        let is_right = crc32c::crc32c_append(crc, stored) == self.crc || sabotage::is(Sabotage::BlindToChunks);
        if stored.len() == self.stored_bytes && is_right { Ok(()) } else { Err(Damaged) }
    }

    /// The octets of the body, from the stored ones.
    pub(crate) fn decode(&self, stored: &[u8]) -> Result<Vec<u8>, Damaged> {
        self.check(stored)?;
        let codec = Codec::from_number(self.codec).ok_or(Damaged)?;
        let raw = codec::unpack(codec, stored, self.raw_bytes).ok_or(Damaged)?;
        if raw.len() == self.raw_bytes { Ok(raw) } else { Err(Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sim::Dice;

    fn round(raw: &[u8]) -> Vec<u8> {
        let mut chunk = Vec::new();
        encode(raw, true, &mut chunk);
        let header = Header::parse(chunk[..HEADER_BYTES].try_into().unwrap()).unwrap();
        assert_eq!(header.decode(&chunk[HEADER_BYTES..]).unwrap(), raw);
        chunk
    }

    #[test]
    fn what_compresses_gets_smaller_and_reads_back() {
        let text = b"From: alice\r\nSubject: hello\r\n\r\n".repeat(100);
        assert!(round(&text).len() < text.len() / 4);
    }

    #[test]
    fn noise_costs_only_the_header() {
        let noise = Dice(1).octets(RAW_BYTES_MAX);
        assert_eq!(round(&noise).len(), noise.len() + HEADER_BYTES);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let chunk = round(b"Subject: every bit of it counts, of it counts, of it counts\r\n");
        for bit in 0..chunk.len() * 8 {
            let mut broken = chunk.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let header = Header::parse(broken[..HEADER_BYTES].try_into().unwrap());
            assert!(header.and_then(|h| h.decode(&broken[HEADER_BYTES..])).is_err(), "bit {bit}");
        }
    }
}
