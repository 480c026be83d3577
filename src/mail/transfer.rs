//! Content-Transfer-Encoding (RFC 2045 section 6) undone, a piece at a time, in constant memory. Tolerant: what is no
//! base64 is passed over, what is no quoted-printable is passed on.

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

impl Encoding {
    /// From the value of Content-Transfer-Encoding, without regard to case.
    pub fn of(value: &[u8]) -> Self {
        match value.trim_ascii().to_ascii_lowercase().as_slice() {
            b"base64" => Self::Base64,
            b"quoted-printable" => Self::QuotedPrintable,
            _ => Self::Identity,
        }
    }
}

/// Undoes an encoding while a body streams through.
#[derive(Debug)]
pub struct Transfer(State);

#[derive(Debug)]
enum State {
    Identity,
    /// Bits that make no octet yet, and how many digits they came in.
    Base64 {
        bits: u32,
        digits: u8,
    },
    /// What came after an equals sign, up to what tells what it is.
    QuotedPrintable {
        held: Vec<u8>,
    },
}

/// Octets decoded before they go to the sink.
const PIECE_BYTES: usize = 1024;
/// White space between an equals sign and the line end it takes away, octets; more of it is text.
const PADDING_BYTES_MAX: usize = 80;

impl Transfer {
    /// At the first octet of a body.
    pub fn new(encoding: Encoding) -> Self {
        Self(match encoding {
            Encoding::Identity => State::Identity,
            Encoding::Base64 => State::Base64 { bits: 0, digits: 0 },
            Encoding::QuotedPrintable => State::QuotedPrintable { held: Vec::new() },
        })
    }

    /// Takes the next octets, cut anywhere.
    pub fn feed(&mut self, octets: &[u8], sink: &mut dyn FnMut(&[u8])) {
        match &mut self.0 {
            State::Identity => sink(octets),
            State::Base64 { bits, digits } => {
                let mut piece = heapless::Vec::<u8, PIECE_BYTES>::new();
                let mut full = false;
                for &b in octets {
                    if piece.capacity() - piece.len() < 3 {
                        sink(&piece);
                        piece.clear();
                    }
                    let Some(value) = base64_digit(b) else {
                        if b == b'=' {
                            base64_end(bits, digits, &mut |octet| full |= piece.push(octet).is_err());
                        }
                        continue;
                    };
                    *bits = *bits << 6 | value;
                    *digits += 1;
                    if *digits == 4 {
                        base64_end(bits, digits, &mut |octet| full |= piece.push(octet).is_err());
                    }
                }
                debug_assert!(!full, "room for three octets was made");
                sink(&piece);
            }
            State::QuotedPrintable { held } => quoted_printable(held, octets, sink),
        }
    }

    /// The body has ended.
    pub fn finish(&mut self, sink: &mut dyn FnMut(&[u8])) {
        match &mut self.0 {
            State::Identity => {}
            State::Base64 { bits, digits } => base64_end(bits, digits, &mut |octet| sink(&[octet])),
            State::QuotedPrintable { held } => {
                // An equals sign and white space at the very end are a soft line break.
                if !held.iter().skip(1).all(u8::is_ascii_whitespace) {
                    sink(held);
                }
                held.clear();
            }
        }
    }
}

fn base64_digit(b: u8) -> Option<u32> {
    let value = match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Gives the octets that 1 to 4 digits hold, and begins anew: base64 texts set end to end are read one after the other.
fn base64_end(bits: &mut u32, digits: &mut u8, sink: &mut dyn FnMut(u8)) {
    let octets = match digits {
        4 => 3,
        3 => 2,
        2 => 1,
        _ => 0,
    };
    let whole = *bits << (6 * u32::from(4u8.saturating_sub(*digits)));
    whole.to_be_bytes().iter().skip(1).take(octets).for_each(|&octet| sink(octet));
    (*bits, *digits) = (0, 0);
}

fn quoted_printable(held: &mut Vec<u8>, octets: &[u8], sink: &mut dyn FnMut(&[u8])) {
    let mut rest = octets;
    while !rest.is_empty() {
        if held.is_empty() {
            let plain = memchr::memchr(b'=', rest).unwrap_or(rest.len());
            let (text, after) = rest.split_at_checked(plain).unwrap_or((rest, b""));
            if !text.is_empty() {
                sink(text);
            }
            let Some((_, after)) = after.split_first() else { return };
            held.push(b'=');
            rest = after;
            continue;
        }
        let Some((&b, after)) = rest.split_first() else { return };
        match (held.as_slice(), b) {
            ([_], b) if b.is_ascii_hexdigit() => held.push(b),
            ([_, high], b) if high.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                sink(&[hex(*high) << 4 | hex(b)]);
                held.clear();
            }
            // RFC 2045 6.7 (5): a soft line break; (3): white space before the line end is not there.
            ([.., before], b'\n') if !before.is_ascii_hexdigit() => held.clear(),
            ([.., before], b' ' | b'\t' | b'\r') if !before.is_ascii_hexdigit() && held.len() < PADDING_BYTES_MAX => {
                held.push(b);
            }
            _ => {
                // Not quoted-printable: the equals sign stands for itself, and this octet is looked at anew.
                sink(held);
                held.clear();
                continue;
            }
        }
        rest = after;
    }
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(encoding: Encoding, body: &[u8], piece_bytes: usize) -> Vec<u8> {
        let mut text = Vec::new();
        let mut transfer = Transfer::new(encoding);
        for piece in body.chunks(piece_bytes) {
            transfer.feed(piece, &mut |octets| text.extend_from_slice(octets));
        }
        transfer.finish(&mut |octets| text.extend_from_slice(octets));
        text
    }

    #[test]
    fn bodies_are_decoded() {
        use Encoding::{Base64, Identity, QuotedPrintable};
        for (encoding, body, text, why) in [
            (Base64, &b"SGVsbG8="[..], &b"Hello"[..], "RFC 4648"),
            (Base64, b"SGVs\r\nbG8=\r\n", b"Hello", "lines"),
            (Base64, b"SGVsbG8", b"Hello", "padding forgotten"),
            (Base64, b"SGVsbG8=SGVsbG8=", b"HelloHello", "two texts end to end"),
            (Base64, b"S*G!V s-b\0G8=", b"Hello", "other octets (RFC 2045 6.8: ignored)"),
            (Base64, b"S", b"", "one digit is no octet"),
            (Base64, b"====", b"", "padding alone"),
            (QuotedPrintable, b"a=3Db=C3=a4", b"a=b\xC3\xA4", "octets, lower case too"),
            (QuotedPrintable, b"a=\r\nb=\nc", b"abc", "soft line breaks"),
            (QuotedPrintable, b"a= \t\r\nb", b"ab", "white space before a line end"),
            (QuotedPrintable, b"a=", b"a", "a soft line break at the end"),
            (QuotedPrintable, b"a=xb=4", b"a=xb=4", "no hex digits"),
            (QuotedPrintable, b"a==3D", b"a==", "an equals sign too many"),
            (QuotedPrintable, b"a= b", b"a= b", "no line end after it"),
            (Identity, b"a=3D\xFF", b"a=3D\xFF", "as it is"),
        ] {
            assert_eq!(decoded(encoding, body, 1000), text, "{why}");
        }
        assert_eq!(Encoding::of(b" Quoted-Printable "), QuotedPrintable);
        assert_eq!(Encoding::of(b"BASE64"), Base64);
        assert_eq!(Encoding::of(b"x-uuencode"), Identity);
    }

    proptest! {
        #[test]
        fn any_cut_decodes_the_same(
            body in proptest::collection::vec(proptest::sample::select(b"=AbC3 \t\r\nx+/\xFF".to_vec()), 0..60),
            piece_bytes in 1usize..7,
            base64 in any::<bool>(),
        ) {
            let encoding = if base64 { Encoding::Base64 } else { Encoding::QuotedPrintable };
            prop_assert_eq!(decoded(encoding, &body, 1000), decoded(encoding, &body, piece_bytes));
        }
    }
}
