//! BODY[section] (RFC 3501 6.4.5): from part numbers to a byte range of the message.

use super::summary::{Span, Summary};

/// What of a part is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// BODY[] is the whole message, BODY[1.2] a part's body.
    Body,
    /// BODY[HEADER], BODY[1.2.HEADER] and its FIELDS (see `FieldFilter`): of the message or of a message/rfc822 part.
    Header,
    /// BODY[TEXT], BODY[1.2.TEXT]: of the message or of a message/rfc822 part.
    Text,
    /// BODY[1.2.MIME]: the header of the part itself.
    Mime,
}

#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
impl Summary {
    /// The octets that BODY[path.wanted] names; nothing when the message has no such part (RFC 3501 has servers answer
    /// NIL or an empty string). Part 1 of a message that is no multipart is its body.
    pub fn section(&self, path: &[u32], wanted: Wanted) -> Option<Span> {
        todo!()
    }
}
