//! Raw header bytes: iteration over fields, unfolding, and the filter of BODY[HEADER.FIELDS]. (RFC 5322 2.2, RFC 3501
//! 6.4.5.) Changes no byte it passes on.

/// A header field as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What stands before the colon, trailing spaces taken away; the whole line when there is no colon.
    pub name: &'a [u8],
    /// What follows the colon, folded, without the last line end. See [`unfold`].
    pub value: &'a [u8],
    /// All of it, with its line ends.
    pub raw: &'a [u8],
}

/// The fields of a header; ends at the blank line.
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    #[expect(unreachable_code, reason = "gives the todo a type")]
    {
        todo!();
        std::iter::empty()
    }
}

/// A value without its line ends, outer white space, NUL (RFC 5322 2.2.3).
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn unfold(value: &[u8]) -> Vec<u8> {
    todo!()
}

/// Which fields HEADER.FIELDS asks for.
#[derive(Clone, Copy, Debug)]
pub enum FieldNames<'a> {
    /// HEADER.FIELDS: these.
    Only(&'a [Vec<u8>]),
    /// HEADER.FIELDS.NOT: all but these.
    Not(&'a [Vec<u8>]),
}

/// Passes on the fields asked for and the blank line, byte for byte, while a header streams through it.
#[derive(Debug)]
pub struct FieldFilter<'a> {
    #[expect(dead_code, reason = "the shape that other rooms are written against")]
    names: FieldNames<'a>,
}

#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
impl<'a> FieldFilter<'a> {
    /// At the first octet of a header.
    pub fn new(names: FieldNames<'a>) -> Self {
        todo!()
    }

    /// Takes the next octets of the header (the span of [`super::Wanted::Header`]), cut anywhere; gives those that pass to `sink`.
    pub fn feed(&mut self, octets: &[u8], sink: &mut dyn FnMut(&[u8])) {
        todo!()
    }

    /// The header is whole.
    pub fn finish(self, sink: &mut dyn FnMut(&[u8])) {
        todo!()
    }
}
