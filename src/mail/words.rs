//! Encoded words in header values (RFC 2047), decoded for search and sorting.

/// An unfolded value with its encoded words decoded; raw 8-bit octets are taken as UTF-8, else as windows-1252. What is
/// no valid word stays as it stands.
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn decode_words(value: &[u8]) -> String {
    todo!()
}
