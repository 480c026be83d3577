//! Base64 in a chunk (RFC 2045 6.8), kept decoded: attachments take a quarter less. Only what encodes to the very same
//! octets again is touched: lines of one length, CRLF between them, nothing odd. Read and decoded in one pass.
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

/// A stretch of base64, from `start` to `end` of the raw octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    line: usize,
    column: usize,
}

/// RFC 4648 4.
const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Set in the value of whatever is no character of the alphabet, above the 24 bits of a group.
const WRONG: u32 = 1 << 31;

/// What a character is worth at each of a group's four places.
#[expect(clippy::indexing_slicing, reason = "computed when compiled; places below four, octets below 256")]
static VALUES: [[u32; 256]; 4] = {
    let mut values = [[WRONG; 256]; 4];
    let mut six = 0;
    while six < 64 {
        let mut place = 0;
        while place < 4 {
            values[place][ALPHABET[six] as usize] = (six as u32) << (18 - 6 * place);
            place += 1;
        }
        six += 1;
    }
    values
};

/// The two characters that twelve bits are.
#[expect(clippy::indexing_slicing, reason = "computed when compiled; twelve bits, twice six")]
static PAIRS: [[u8; 2]; 4096] = {
    let mut pairs = [[0; 2]; 4096];
    let mut bits = 0;
    while bits < 4096 {
        pairs[bits] = [ALPHABET[bits >> 6], ALPHABET[bits & 63]];
        bits += 1;
    }
    pairs
};

/// What four characters are worth together, or something with [`WRONG`] in it.
#[expect(clippy::indexing_slicing, reason = "an octet is below 256")]
fn value([a, b, c, d]: [u8; 4]) -> u32 {
    let [first, second, third, fourth] = &VALUES;
    first[usize::from(a)] | second[usize::from(b)] | third[usize::from(c)] | fourth[usize::from(d)]
}

#[expect(clippy::indexing_slicing, reason = "twelve bits are below 4,096")]
fn pair(bits: u32) -> [u8; 2] {
    PAIRS[bits as usize & 4095]
}

#[expect(clippy::indexing_slicing, reason = "an octet is below 256")]
fn is_character(octet: u8) -> bool {
    let [first, ..] = &VALUES;
    first[usize::from(octet)] & WRONG == 0
}

/// The chunk with its base64 decoded; nothing when that would not be shorter.
pub(crate) fn decode(raw: &[u8]) -> Option<Vec<u8>> {
    let mut table = Encoder::default();
    let (mut outside, mut decoded) = (Vec::new(), Vec::new());
    let (mut spans, mut from, mut at) = (0usize, 0, 0);
    while at < raw.len() && spans < SPANS_MAX {
        let before = decoded.len();
        let (span, next) = span_at(raw, at, &mut decoded);
        at = next.max(at + 1);
        let Some(span) = span.filter(|span| span.end - span.start >= SPAN_BYTES_MIN) else {
            decoded.truncate(before);
            continue;
        };
        let gap = raw.get(from..span.start)?;
        outside.extend_from_slice(gap);
        for number in [gap.len(), decoded.len() - before, span.line, span.column] {
            table.varint(number as u64);
        }
        spans += 1;
        from = span.end;
    }
    if spans == 0 {
        return None;
    }
    outside.extend_from_slice(raw.get(from..)?);
    let mut whole = Encoder(Vec::with_capacity(1 + table.0.len() + outside.len() + decoded.len()));
    whole.varint(spans as u64);
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
        let is_whole_groups = line.is_multiple_of(4) && column.is_multiple_of(4);
        if line > LINE_BYTES_MAX || column >= line || !is_whole_groups {
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

/// Characters of the alphabet from `at` on.
fn run(raw: &[u8], at: usize) -> usize {
    raw.get(at..).unwrap_or_default().iter().take_while(|octet| is_character(**octet)).count()
}

/// Where the line after `at` begins.
fn next_line(raw: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', raw.get(at..).unwrap_or_default()).map_or(raw.len(), |n| at + n + 1)
}

/// The span that begins in the line at `at`, its octets appended to `to`, and where to look on. Four characters are
/// three octets and nothing else is, so whole groups come back as they were.
fn span_at(raw: &[u8], at: usize, to: &mut Vec<u8>) -> (Option<Span>, usize) {
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
    to.reserve((raw.len() - start) / 4 * 3);
    decode_groups(raw.get(start..end).unwrap_or_default(), to);
    while is_crlf(end) {
        let (begin, after) = (end + 2, end + 2 + line);
        let is_longer = raw.get(after).is_some_and(|octet| is_character(*octet));
        if !is_longer && raw.get(begin..after).is_some_and(|text| decode_groups(text, to)) {
            end = after;
            continue;
        }
        // The last line is shorter, and may end in padding; or the chunk ends inside it.
        let more = run(raw, begin);
        if more < line {
            let groups = begin + more - more % 4;
            decode_groups(raw.get(begin..groups).unwrap_or_default(), to);
            end = if groups > begin { groups } else { end };
            if let Some(group) = raw.get(groups..groups + 4)
                && decode_last(group, to)
            {
                end = groups + 4;
            }
        }
        break;
    }
    (Some(Span { start, end, line, column }), next_line(raw, end))
}

/// Appends what whole groups of characters decode to; nothing, when they are not all of the alphabet.
fn decode_groups(text: &[u8], to: &mut Vec<u8>) -> bool {
    let (before, groups) = (to.len(), text.as_chunks::<4>().0);
    to.resize(before + groups.len() * 3, 0);
    let octets = to.get_mut(before..).unwrap_or_default().as_chunks_mut::<3>().0;
    let mut all = 0;
    for (group, octets) in groups.iter().zip(octets) {
        let bits = value(*group);
        all |= bits;
        let [_, a, b, c] = bits.to_be_bytes();
        *octets = [a, b, c];
    }
    let is_whole = all & WRONG == 0;
    if !is_whole {
        to.truncate(before);
    }
    is_whole
}

/// Appends what a group with padding decodes to; nothing, unless it is what those octets encode to (RFC 4648 3.5).
fn decode_last(group: &[u8], to: &mut Vec<u8>) -> bool {
    let (bits, octets) = match *group {
        [a, b, b'=', b'='] => (value([a, b, b'A', b'A']), 1),
        [a, b, c, b'='] => (value([a, b, c, b'A']), 2),
        _ => return false,
    };
    let [_, all @ ..] = bits.to_be_bytes();
    let (kept, rest) = all.split_at_checked(octets).unwrap_or_default();
    let is_canonical = bits & WRONG == 0 && rest.iter().all(|octet| *octet == 0);
    if is_canonical {
        to.extend_from_slice(kept);
    }
    is_canonical
}

/// Writes base64 from a column on: CRLF before each further line, none at the end. Line and column are whole groups.
fn encode_span(octets: &[u8], line: usize, column: usize, to: &mut Vec<u8>) {
    let mut rest = octets;
    let mut column = column;
    while !rest.is_empty() {
        if column >= line {
            to.extend_from_slice(b"\r\n");
            column = 0;
        }
        let room = line.saturating_sub(column) / 4 * 3;
        let (now, later) = rest.split_at_checked(room).unwrap_or((rest, b""));
        encode_groups(now, to);
        (rest, column) = (later, line);
    }
}

/// Appends octets as base64, with padding at the end if they need it.
fn encode_groups(octets: &[u8], to: &mut Vec<u8>) {
    let (groups, last) = octets.as_chunks::<3>();
    let before = to.len();
    to.resize(before + groups.len() * 4, 0);
    let text = to.get_mut(before..).unwrap_or_default().as_chunks_mut::<4>().0;
    for ([a, b, c], characters) in groups.iter().zip(text) {
        let bits = u32::from_be_bytes([0, *a, *b, *c]);
        let ([a, b], [c, d]) = (pair(bits >> 12), pair(bits));
        *characters = [a, b, c, d];
    }
    match *last {
        [a] => {
            let [a, b] = pair(u32::from(a) << 4);
            to.extend_from_slice(&[a, b, b'=', b'=']);
        }
        [a, b] => {
            let bits = u32::from_be_bytes([0, a, b, 0]);
            let ([a, b], [c, _]) = (pair(bits >> 12), pair(bits));
            to.extend_from_slice(&[a, b, c, b'=']);
        }
        _ => {}
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
    fn a_last_group_is_decoded_only_if_it_comes_back() {
        // RFC 4648 3.5: the bits behind the last octet must be zero, or they would be lost.
        let rows = [
            ("Zg==", Some("f")),
            ("Zh==", None),
            ("Zm8=", Some("fo")),
            ("Zm9=", None),
            ("Z===", None),
            ("====", None),
            ("Zg=A", None),
            ("Z =A", None),
        ];
        for (group, octets) in rows {
            let mut to = Vec::new();
            assert_eq!(decode_last(group.as_bytes(), &mut to), octets.is_some(), "{group}");
            assert_eq!(to, octets.unwrap_or_default().as_bytes(), "{group}");
            let raw = [&base64(&noise(570), 76)[..], b"\r\n", group.as_bytes()].concat();
            let stored = decode(&raw).unwrap();
            assert_eq!(encode(&stored, raw.len()), Some(raw), "{group}");
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
        fn whatever_is_odd_in_base64_comes_back(
            parts in proptest::collection::vec((0usize..1_500, 1usize..20), 1..4),
            odd in proptest::collection::vec((0usize..4_000, "[A=+ \r\n.é]"), 0..4),
            (front, back) in (0usize..200, 0usize..200),
        ) {
            let parts: Vec<_> = parts.into_iter().map(|(bytes, line)| base64(&noise(bytes), line * 4)).collect();
            let mut raw = parts.join(b"\r\n".as_slice());
            for (at, octets) in odd {
                let at = at % (raw.len() + 1);
                // Put in, or over what is there.
                raw.splice(at..raw.len().min(at + at % 3), octets.bytes());
            }
            let raw = &raw[front.min(raw.len())..];
            let raw = &raw[..raw.len().saturating_sub(back)];
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
