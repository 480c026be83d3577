//! A command's tag (RFC 3501 2.2.1).

use super::limits::TAG_BYTES_MAX;

/// What a client puts before a command and finds again before its reply: 1 to 64 printable octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(heapless::String<TAG_BYTES_MAX>);

impl Tag {
    /// The tag in `bytes`: ASTRING-CHARs except `+` (RFC 3501 section 9).
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let valid = |&octet: &u8| super::lexer::is_astring_char(octet) && octet != b'+';
        if bytes.is_empty() || !bytes.iter().all(valid) {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        heapless::String::try_from(text).ok().map(Self)
    }

    /// As the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
