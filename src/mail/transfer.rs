//! Content-Transfer-Encoding (RFC 2045 section 6) undone, a piece at a time. Tolerant: what is not valid is passed over
//! (base64) or passed on (quoted-printable).

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit, 8bit, binary and what we do not know.
    Identity,
    /// base64
    Base64,
    /// quoted-printable
    QuotedPrintable,
}

/// Undoes an encoding while a body streams through.
#[derive(Debug)]
pub struct Transfer {}

#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
impl Transfer {
    /// At the first octet of a body.
    pub fn new(encoding: Encoding) -> Self {
        todo!()
    }

    /// Takes the next octets, cut anywhere.
    pub fn feed(&mut self, octets: &[u8], sink: &mut dyn FnMut(&[u8])) {
        todo!()
    }

    /// The body has ended.
    pub fn finish(&mut self, sink: &mut dyn FnMut(&[u8])) {
        todo!()
    }
}

#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
impl Encoding {
    /// From the value of Content-Transfer-Encoding, without regard to case.
    pub fn of(value: &[u8]) -> Self {
        todo!()
    }
}
