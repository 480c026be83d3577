//! How a chunk's octets are stored: as they are, or compressed. The codec byte keeps the door open for more.

/// How a chunk is stored; the number is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As it is.
    Plain,
    /// One LZ4 block.
    Lz4,
}

impl Codec {
    /// The number on disk.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Lz4 => 1,
        }
    }

    /// The codec with this number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Plain,
            1 => Self::Lz4,
            _ => return None,
        })
    }
}

/// The smallest form found; no bytes when that is the plain one.
pub(crate) fn pack(raw: &[u8], first: bool) -> (Codec, Option<Vec<u8>>) {
    let _ = first;
    let packed = lz4_flex::block::compress(raw);
    if packed.len() < raw.len() { (Codec::Lz4, Some(packed)) } else { (Codec::Plain, None) }
}

/// The raw octets again, `raw_bytes` of them.
pub(crate) fn unpack(codec: Codec, stored: &[u8], raw_bytes: usize) -> Option<Vec<u8>> {
    match codec {
        Codec::Plain => Some(stored.to_vec()),
        Codec::Lz4 => lz4_flex::block::decompress(stored, raw_bytes).ok(),
    }
}
