//! Base64 in a chunk (RFC 2045 6.8), kept decoded: attachments take a quarter less. Only what encodes to the very same
//! octets again is touched: lines of one length, CRLF between them, nothing odd.
//!
//! A decoded chunk is a list of spans, then the octets outside spans, then the decoded ones:
//!
//!     number of spans
//!     each: octets outside before it, octets decoded, line length, column of its first character
//!     octets outside spans
//!     decoded octets
//!
//! All numbers are varints.

use super::bytes::{Decoder, Encoder};

/// A span shorter than this is not worth its table.
const SPAN_BYTES_MIN: usize = 256;
/// Lines as mail has them (RFC 2045: at most 76).
const LINE_BYTES_MAX: usize = 76;
/// One chunk has few attachments.
const SPANS_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// Where it begins and ends in the raw octets.
    start: usize,
    end: usize,
    line: usize,
    column: usize,
}

/// The value of a character; 64 for all that is none.
const fn six_bits(character: u8) -> u8 {
    match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 64,
    }
}

static VALUES: [u8; 256] = {
    let mut values = [64; 256];
    let mut n = 0;
    while n < 256 {
        #[expect(
            clippy::indexing_slicing,
            clippy::cast_possible_truncation,
            reason = "computed when compiled; n < 256"
        )]
        {
            values[n] = six_bits(n as u8);
        }
        n += 1;
    }
    values
};

fn value(character: u8) -> u8 {
    VALUES.get(usize::from(character)).copied().unwrap_or(64)
}

/// The chunk with its base64 decoded; nothing when that would not be shorter.
pub(crate) fn decode(raw: &[u8]) -> Option<Vec<u8>> {
    let mut table = Encoder::default();
    let (mut outside, mut decoded) = (Vec::new(), Vec::new());
    let (mut spans, mut at) = (0u64, 0);
    for span in find(raw) {
        let text = raw.get(span.start..span.end)?;
        let before = decoded.len();
        decode_span(text, &mut decoded);
        let octets = decoded.get(before..)?;
        let mut again = Vec::with_capacity(text.len());
        encode_span(octets, span.line, span.column, &mut again);
        if again != text {
            decoded.truncate(before);
            continue;
        }
        let gap = raw.get(at..span.start)?;
        outside.extend_from_slice(gap);
        table.varint(gap.len() as u64);
        table.varint(octets.len() as u64);
        table.varint(span.line as u64);
        table.varint(span.column as u64);
        spans += 1;
        at = span.end;
    }
    if spans == 0 {
        return None;
    }
    outside.extend_from_slice(raw.get(at..)?);
    let mut whole = Encoder::default();
    whole.varint(spans);
    whole.0.extend_from_slice(&table.0);
    whole.0.extend_from_slice(&outside);
    whole.0.extend_from_slice(&decoded);
    (whole.0.len() < raw.len()).then_some(whole.0)
}

/// The raw octets again, `raw_bytes` of them.
pub(crate) fn encode(stored: &[u8], raw_bytes: usize) -> Option<Vec<u8>> {
    let mut from = Decoder(stored);
    let count = usize::try_from(from.varint()?).ok().filter(|n| *n <= SPANS_MAX)?;
    let mut spans = Vec::with_capacity(count);
    let (mut gaps, mut lengths) = (0usize, 0usize);
    for _ in 0..count {
        let mut number = || usize::try_from(from.varint()?).ok();
        let (gap, length, line, column) = (number()?, number()?, number()?, number()?);
        if line == 0 || line > LINE_BYTES_MAX || column >= line {
            return None;
        }
        gaps = gaps.checked_add(gap)?;
        lengths = lengths.checked_add(length)?;
        spans.push((gap, length, line, column));
    }
    let outside_bytes = from.0.len().checked_sub(lengths).filter(|bytes| *bytes >= gaps)?;
    let mut outside = Decoder(from.take(outside_bytes)?);
    let mut raw = Vec::with_capacity(raw_bytes);
    for (gap, length, line, column) in spans {
        raw.extend_from_slice(outside.take(gap)?);
        encode_span(from.take(length)?, line, column, &mut raw);
        if raw.len() > raw_bytes {
            return None;
        }
    }
    raw.extend_from_slice(outside.0);
    Some(raw)
}

/// Stretches of raw octets that look like base64, long enough to matter.
fn find(raw: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < raw.len() && spans.len() < SPANS_MAX {
        let (span, next) = span_at(raw, at);
        spans.extend(span.filter(|span| span.end - span.start >= SPAN_BYTES_MIN));
        at = next.max(at + 1);
    }
    spans
}

/// Characters of the alphabet from `at` on.
fn run(raw: &[u8], at: usize) -> usize {
    raw.get(at..).unwrap_or_default().iter().take_while(|c| value(**c) < 64).count()
}

/// Where the line after `at` begins.
fn next_line(raw: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', raw.get(at..).unwrap_or_default()).map_or(raw.len(), |n| at + n + 1)
}

/// The span that begins in the line at `at`, and where to look on.
fn span_at(raw: &[u8], at: usize) -> (Option<Span>, usize) {
    let first = run(raw, at);
    let is_crlf = |at: usize| raw.get(at..at + 2) == Some(b"\r\n".as_slice());
    if first == 0 || !is_crlf(at + first) {
        return (None, next_line(raw, at));
    }
    let line = run(raw, at + first + 2);
    if line == 0 || line > LINE_BYTES_MAX || !line.is_multiple_of(4) || first > line {
        return (None, at + first + 2);
    }
    // A chunk may begin inside a line: its characters count from the line's end, whole groups of four.
    let start = at + first % 4;
    let column = line - (first - first % 4);
    if column >= line || column > 0 && at > 0 {
        return (None, at + first + 2);
    }
    let mut end = at + first;
    loop {
        if !is_crlf(end) {
            break;
        }
        let more = run(raw, end + 2);
        if more == line {
            end += 2 + line;
            continue;
        }
        // The last line is shorter, and may end in padding; or the chunk ends inside it.
        let groups = more - more % 4;
        let padded = raw.get(end + 2 + more..).unwrap_or_default().iter().take_while(|c| **c == b'=').count();
        if more < line && padded > 0 && padded <= 2 && (more + padded).is_multiple_of(4) {
            end += 2 + more + padded;
        } else if more < line && groups > 0 {
            end += 2 + groups;
        }
        break;
    }
    (Some(Span { start, end, line, column }), next_line(raw, end))
}

fn decode_span(text: &[u8], to: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u32, 0);
    for character in text {
        let six = value(*character);
        if six < 64 {
            bits = bits << 6 | u32::from(six);
            count += 1;
            if count == 4 {
                let [_, a, b, c] = bits.to_be_bytes();
                to.extend_from_slice(&[a, b, c]);
                (bits, count) = (0, 0);
            }
        }
    }
    match count {
        2 => to.push((bits >> 4).to_le_bytes()[0]),
        3 => {
            let [_, _, a, b] = (bits >> 2).to_be_bytes();
            to.extend_from_slice(&[a, b]);
        }
        _ => {}
    }
}

/// Writes base64 from a column on: CRLF before each further line, none at the end.
fn encode_span(octets: &[u8], line: usize, column: usize, to: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let character = |six: u32| ALPHABET.get(six as usize & 63).copied().unwrap_or(b'A');
    let mut column = column;
    for group in octets.chunks(3) {
        if column >= line {
            to.extend_from_slice(b"\r\n");
            column = 0;
        }
        let bits = match *group {
            [a, b, c] => u32::from_be_bytes([0, a, b, c]),
            [a, b] => u32::from_be_bytes([0, a, b, 0]),
            [a] => u32::from_be_bytes([0, a, 0, 0]),
            _ => 0,
        };
        let mut four = [character(bits >> 18), character(bits >> 12), character(bits >> 6), character(bits)];
        let padding = four.iter_mut().skip(group.len() + 1);
        padding.for_each(|character| *character = b'=');
        to.extend_from_slice(&four);
        column += 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base64(octets: &[u8], line: usize) -> Vec<u8> {
        let mut text = Vec::new();
        encode_span(octets, line, 0, &mut text);
        text
    }

    fn noise(bytes: usize) -> Vec<u8> {
        (0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn the_alphabet_is_that_of_rfc_4648() {
        // RFC 4648 10: test vectors.
        for (octets, text) in
            [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(octets.as_bytes(), 76), text.as_bytes());
        }
    }

    #[test]
    fn an_attachment_takes_a_quarter_less_wherever_a_chunk_cuts_it() {
        let mut mail = b"Content-Transfer-Encoding: base64\r\n\r\n".to_vec();
        mail.extend(base64(&noise(20_000), 76));
        mail.extend(b"\r\n--boundary--\r\n");
        for from in [0, 1, 37, 40, 100, 101, 102, 103, 115, 116, 117, 118] {
            for to in [mail.len(), mail.len() - 20, mail.len() - 21, mail.len() - 100, mail.len() - 101] {
                let raw = &mail[from..to];
                let stored = decode(raw).unwrap_or_else(|| panic!("{from}..{to}"));
                assert!(stored.len() < raw.len() * 77 / 100, "{from}..{to}: {} of {}", stored.len(), raw.len());
                assert_eq!(encode(&stored, raw.len()).as_deref(), Some(raw), "{from}..{to}");
            }
        }
    }

    #[test]
    fn odd_base64_is_left_alone_or_comes_back_as_it_was() {
        let clean = base64(&noise(3_000), 76);
        let table: [(&str, Vec<u8>); 6] = [
            ("bare line feeds", clean.iter().copied().filter(|c| *c != b'\r').collect()),
            ("a space in a line", {
                let mut odd = clean.clone();
                odd[1_000] = b' ';
                odd
            }),
            ("lines of two lengths", [base64(&noise(999), 76), b"\r\n".to_vec(), base64(&noise(999), 64)].concat()),
            ("bits behind the padding", [base64(&noise(999), 76), b"\r\nZh==".to_vec()].concat()),
            ("padding in the middle", [base64(&noise(400), 76), b"\r\n".to_vec(), base64(&noise(999), 76)].concat()),
            ("lines longer than mail has them", base64(&noise(3_000), 80)),
        ];
        for (what, raw) in table {
            if let Some(stored) = decode(&raw) {
                assert_eq!(encode(&stored, raw.len()), Some(raw), "{what}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_decoded_comes_back(
            parts in proptest::collection::vec(("[a-zA-Z0-9+/= \r\n]{0,300}", 0usize..2_000, 1usize..20), 1..4),
            cut in 0usize..400,
        ) {
            let mut raw = Vec::new();
            for (text, bytes, line) in parts {
                raw.extend(text.as_bytes());
                raw.extend(base64(&noise(bytes), line * 4));
            }
            let raw = &raw[cut.min(raw.len())..];
            if let Some(stored) = decode(raw) {
                let again = encode(&stored, raw.len());
                prop_assert_eq!(again.as_deref(), Some(raw));
            }
        }

        #[test]
        fn garbage_is_never_a_panic(stored in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(encode(&stored, 65_536));
        }
    }
}
