//! Streaming scanner: a message in pieces of any size in, its `Summary` out (RFC 5322, 2045, 2046). Memory is bounded
//! whatever comes: beyond a cap the rest is an opaque leaf, never an error.

use super::summary::Summary;

/// Reads a message while it arrives.
#[derive(Debug, Default)]
pub struct Scanner {}

#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
impl Scanner {
    /// At the first octet of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next octets; how they are cut makes no difference.
    pub fn feed(&mut self, octets: &[u8]) {
        todo!()
    }

    /// `Received:` fields seen so far in the message's own header, for loop detection (RFC 5321 6.3).
    pub fn received_count(&self) -> u32 {
        todo!()
    }

    /// Whether the message's own header has ended.
    pub fn is_past_header(&self) -> bool {
        todo!()
    }

    /// The message is whole.
    pub fn finish(self) -> Summary {
        todo!()
    }

    /// The message is whole: what [`Summary::encode`] would give, without the detour.
    pub fn finish_encoded(self) -> Vec<u8> {
        todo!()
    }
}
