//! The small words of replies (RFC 3501 section 9): numbers, strings as atoms, quoted or literals.

use super::lexer::is_astring_char;
use super::limits::QUOTED_BYTES_MAX;

/// Writes a number.
pub fn number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut rest = number;
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len() - count));
}

/// Writes `string`: quoted when it is short printable ASCII, else a literal. NUL can stand in neither and is left out.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    let quotable = |&octet: &u8| matches!(octet, b' '..=b'~' | b'\t');
    if text.len() <= QUOTED_BYTES_MAX && text.iter().all(quotable) {
        out.push(b'"');
        for &octet in text {
            if matches!(octet, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(octet);
        }
        out.push(b'"');
        return;
    }
    let sent = || text.iter().copied().filter(|&octet| octet != 0);
    literal_head(out, sent().count() as u64);
    out.extend(sent());
}

/// Writes `nstring`: a string or NIL.
pub fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Writes `astring`: an atom where it can be one. `NIL` is quoted, since clients mistake it for nothing.
pub fn astring(out: &mut Vec<u8>, text: &[u8]) {
    let atom = !text.is_empty() && text.iter().all(|&octet| is_astring_char(octet));
    if atom && text.len() <= QUOTED_BYTES_MAX && !text.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(text);
    } else {
        string(out, text);
    }
}

/// Writes `{n}` and the line end: exactly so many octets, none of them NUL, must follow.
pub fn literal_head(out: &mut Vec<u8>, octets: u64) {
    out.push(b'{');
    number(out, octets);
    out.extend_from_slice(b"}\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::lexer::Cursor;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_printed_parses(text in prop::collection::vec(1_u8.., 0..40), as_atom: bool) {
            let mut out = Vec::new();
            if as_atom { astring(&mut out, &text) } else { string(&mut out, &text) }
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.astring("a string"), Ok(text));
            prop_assert!(cursor.is_at_end());
        }
    }

    #[test]
    fn numbers_are_decimal() {
        let mut out = Vec::new();
        for value in [0, 7, 10, 4_294_967_295, u64::MAX] {
            number(&mut out, value);
            out.push(b' ');
        }
        assert_eq!(out, b"0 7 10 4294967295 18446744073709551615 ");
    }

    #[test]
    fn strings_take_the_form_their_octets_need() {
        let long = "x".repeat(QUOTED_BYTES_MAX + 1);
        let long_literal = format!("{{{}}}\r\n{long}", long.len());
        for (text, expected, why) in [
            (&b"plain"[..], &b"\"plain\""[..], "quoted"),
            (b"", b"\"\"", "empty is quoted"),
            (b"a\"b\\c", b"\"a\\\"b\\\\c\"", "quoted-specials are escaped"),
            (b"a\r\nb", b"{4}\r\na\r\nb", "line ends need a literal"),
            (b"caf\xc3\xa9", b"{5}\r\ncaf\xc3\xa9", "8-bit needs a literal"),
            (b"a\0b", b"{2}\r\nab", "NUL is left out"),
            (b"\x01", b"{1}\r\n\x01", "controls go as a literal"),
            (long.as_bytes(), long_literal.as_bytes(), "long strings go as a literal"),
        ] {
            let mut out = Vec::new();
            string(&mut out, text);
            assert_eq!(out, expected, "{why}");
        }
    }

    #[test]
    fn astrings_are_atoms_where_they_can_be() {
        for (text, expected) in [
            (&b"INBOX"[..], &b"INBOX"[..]),
            (b"a/b]", b"a/b]"),
            (b"a b", b"\"a b\""),
            (b"", b"\"\""),
            (b"nil", b"\"nil\""),
            (b"50%", b"\"50%\""),
        ] {
            let mut out = Vec::new();
            astring(&mut out, text);
            assert_eq!(out, expected);
        }
    }
}
