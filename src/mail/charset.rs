//! Charsets to UTF-8, a piece at a time (the WHATWG encodings), for search.

/// Decodes a text in some charset, streaming.
#[derive(Debug)]
pub struct Charset {}

#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
impl Charset {
    /// A decoder for `label`; us-ascii, unknown and absent labels are taken as UTF-8 where it is valid, else windows-1252.
    pub fn new(label: Option<&[u8]>) -> Self {
        todo!()
    }

    /// Takes the next octets, cut anywhere; what is not valid becomes U+FFFD.
    pub fn feed(&mut self, octets: &[u8], sink: &mut dyn FnMut(&str)) {
        todo!()
    }

    /// The text has ended.
    pub fn finish(&mut self, sink: &mut dyn FnMut(&str)) {
        todo!()
    }
}

/// A search key in a named charset as UTF-8; nothing when the charset is unknown (BADCHARSET) or the key is not valid in
/// it.
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn decode_key(label: &[u8], key: &[u8]) -> Option<String> {
    todo!()
}

/// The charsets [`decode_key`] knows by their first names, for BADCHARSET: US-ASCII, UTF-8, and the others.
pub fn charset_names() -> &'static [&'static str] {
    &["US-ASCII", "UTF-8"]
}
