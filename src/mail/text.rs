//! The words of a message as a reader sees them: headers unfolded and decoded, text parts decoded to UTF-8; streaming,
//! for SEARCH HEADER, BODY and TEXT.

use super::summary::Summary;

/// A piece of decoded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEvent<'a> {
    /// A header field (of the message or of a part) begins: its name, as written. Its text follows.
    Field(&'a [u8]),
    /// A part's text begins.
    Part,
    /// The next piece of the text of the field or part.
    Text(&'a str),
}

/// Decodes a header while it streams through: [`TextEvent::Field`] and its text, for every field.
#[derive(Debug, Default)]
pub struct HeaderText {}

#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
impl HeaderText {
    /// At the first octet of a header.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next octets, cut anywhere.
    pub fn feed(&mut self, octets: &[u8], sink: &mut dyn FnMut(TextEvent<'_>)) {
        todo!()
    }

    /// The header is whole.
    pub fn finish(&mut self, sink: &mut dyn FnMut(TextEvent<'_>)) {
        todo!()
    }
}

/// Walks once through a message and gives the texts in it. For BODY and TEXT: a [`super::Matcher`] is restarted at Field
/// and Part, and fed with Text.
#[derive(Debug)]
pub struct TextWalk<'a> {
    #[expect(dead_code, reason = "the shape that other rooms are written against")]
    summary: &'a Summary,
}

#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
impl<'a> TextWalk<'a> {
    /// A walk through the message of `summary`; without `headers` (SEARCH BODY) the message's own header and the MIME
    /// headers of its parts are passed over; headers of messages inside it belong to its body.
    pub fn new(summary: &'a Summary, headers: bool) -> Self {
        todo!()
    }

    /// The next octet of the message that is needed: skip to it (attachments are not read); nothing when done.
    pub fn next_offset(&self) -> Option<u64> {
        todo!()
    }

    /// Takes octets of the message that stand at `offset` (at most [`TextWalk::next_offset`]), cut anywhere.
    pub fn feed(&mut self, offset: u64, octets: &[u8], sink: &mut dyn FnMut(TextEvent<'_>)) {
        todo!()
    }

    /// The message has ended.
    pub fn finish(&mut self, sink: &mut dyn FnMut(TextEvent<'_>)) {
        todo!()
    }
}
