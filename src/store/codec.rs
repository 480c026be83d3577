//! How a chunk's octets are stored: as they are, compressed, compressed against what mail headers look like everywhere, or
//! with base64 kept decoded. The codec byte keeps the door open for more; what a number means never changes.

use super::spans;

/// What mail begins with: a chunk with a header in it is compressed as if this stood before it. Part of the format: never
/// edit it, a better one gets a number of its own. (CRLF inside; see .gitattributes.)
static DICTIONARY: &[u8] = include_bytes!("dictionary.txt");

/// How a chunk is stored; the number is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As it is.
    Plain,
    /// One LZ4 block.
    Lz4,
    /// One LZ4 block with [`DICTIONARY`] before it.
    Lz4Header,
    /// Base64 decoded, see [`spans`].
    Base64,
    /// The same as one LZ4 block, after its length (u32).
    Base64Lz4,
}

impl Codec {
    /// The number on disk.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Lz4 => 1,
            Self::Lz4Header => 2,
            Self::Base64 => 3,
            Self::Base64Lz4 => 4,
        }
    }

    /// The codec with this number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Plain,
            1 => Self::Lz4,
            2 => Self::Lz4Header,
            3 => Self::Base64,
            4 => Self::Base64Lz4,
            _ => return None,
        })
    }
}

/// The smallest form found; no bytes when that is the plain one. `first` says that the chunk begins with a header.
pub(crate) fn pack(raw: &[u8], first: bool) -> (Codec, Option<Vec<u8>>) {
    if let Some(decoded) = spans::decode(raw) {
        let mut packed = u32::try_from(decoded.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        packed.extend_from_slice(&lz4_flex::block::compress(&decoded));
        return match packed.len() < decoded.len() {
            true => (Codec::Base64Lz4, Some(packed)),
            false => (Codec::Base64, Some(decoded)),
        };
    }
    let (codec, packed) = match first {
        true => (Codec::Lz4Header, lz4_flex::block::compress_with_dict(raw, DICTIONARY)),
        false => (Codec::Lz4, lz4_flex::block::compress(raw)),
    };
    if packed.len() < raw.len() { (codec, Some(packed)) } else { (Codec::Plain, None) }
}

/// The raw octets again, `raw_bytes` of them.
pub(crate) fn unpack(codec: Codec, stored: &[u8], raw_bytes: usize) -> Option<Vec<u8>> {
    match codec {
        Codec::Plain => Some(stored.to_vec()),
        Codec::Lz4 => lz4_flex::block::decompress(stored, raw_bytes).ok(),
        Codec::Lz4Header => lz4_flex::block::decompress_with_dict(stored, raw_bytes, DICTIONARY).ok(),
        Codec::Base64 => spans::encode(stored, raw_bytes),
        Codec::Base64Lz4 => {
            let (length, packed) = stored.split_first_chunk::<4>()?;
            // Decoded base64 and its table are never longer than what they came from.
            let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|n| *n <= raw_bytes)?;
            spans::encode(&lz4_flex::block::decompress(packed, length).ok()?, raw_bytes)
        }
    }
}
