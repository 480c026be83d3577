//! Charsets to UTF-8, a piece at a time (the WHATWG encodings), for search.

use encoding_rs::{CoderResult, Decoder, WINDOWS_1252};

/// Octets of text decoded at a time.
const PIECE_BYTES: usize = 1024;
/// Octets of a UTF-8 character.
const CHARACTER_BYTES_MAX: usize = 4;

/// Decodes a text in some charset, streaming.
pub struct Charset {
    state: State,
    piece: String,
}

enum State {
    /// UTF-8 where it is valid, else windows-1252; the octets of a character that has begun.
    Guess(heapless::Vec<u8, CHARACTER_BYTES_MAX>),
    Named(Decoder),
}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.state {
            State::Guess(_) => "Charset(guess)",
            State::Named(decoder) => decoder.encoding().name(),
        })
    }
}

impl Charset {
    /// A decoder for `label`. Absent and unknown labels, us-ascii and utf-8 are taken as UTF-8 where it is valid, else as
    /// windows-1252: text is often not in the charset it says, and there is no harm in finding more of it.
    pub fn new(label: Option<&[u8]>) -> Self {
        let is_ascii = |label: &&[u8]| label.eq_ignore_ascii_case(b"us-ascii") || label.eq_ignore_ascii_case(b"ascii");
        let state = label
            .map(<[u8]>::trim_ascii)
            .filter(|label| !is_ascii(label))
            .and_then(encoding_rs::Encoding::for_label_no_replacement)
            .filter(|encoding| *encoding != encoding_rs::UTF_8)
            .map_or(State::Guess(heapless::Vec::new()), |encoding| {
                State::Named(encoding.new_decoder_with_bom_removal())
            });
        Self { state, piece: String::new() }
    }

    /// Takes the next octets, cut anywhere; what is not valid becomes U+FFFD.
    pub fn feed(&mut self, octets: &[u8], sink: &mut dyn FnMut(&str)) {
        match &mut self.state {
            State::Guess(held) => guess(held, octets, sink),
            State::Named(decoder) => named(decoder, &mut self.piece, octets, false, sink),
        }
    }

    /// The text has ended; the decoder must not be fed any more.
    pub fn finish(&mut self, sink: &mut dyn FnMut(&str)) {
        match &mut self.state {
            State::Guess(held) => {
                single_octets(held, sink);
                held.clear();
            }
            State::Named(decoder) => {
                named(decoder, &mut self.piece, b"", true, sink);
                self.state = State::Guess(heapless::Vec::new());
            }
        }
    }
}

fn named(decoder: &mut Decoder, piece: &mut String, octets: &[u8], is_last: bool, sink: &mut dyn FnMut(&str)) {
    piece.reserve(PIECE_BYTES);
    let mut rest = octets;
    loop {
        let (result, read, _) = decoder.decode_to_string(rest, piece, is_last);
        if !piece.is_empty() {
            sink(piece);
            piece.clear();
        }
        rest = rest.get(read..).unwrap_or_default();
        match result {
            CoderResult::InputEmpty => return,
            CoderResult::OutputFull => {}
        }
    }
}

/// Gives valid UTF-8 as it is, and other octets by windows-1252, one by one.
fn guess(held: &mut heapless::Vec<u8, CHARACTER_BYTES_MAX>, octets: &[u8], sink: &mut dyn FnMut(&str)) {
    let mut rest = octets;
    // First the character that has begun, octet by octet.
    while !held.is_empty() {
        let Some((&next, after)) = rest.split_first() else { return };
        let mut more = held.clone();
        if more.push(next).is_err() {
            // Cannot be: a character of four octets is not held but given.
            held.clear();
            return;
        }
        match std::str::from_utf8(&more) {
            Ok(character) => {
                sink(character);
                held.clear();
                rest = after;
            }
            Err(error) if error.error_len().is_none() && more.len() < CHARACTER_BYTES_MAX => {
                *held = more;
                rest = after;
            }
            // `next` does not go on with it: it is looked at anew.
            Err(_) => {
                single_octets(held, sink);
                held.clear();
            }
        }
    }
    while !rest.is_empty() {
        let (valid_bytes, invalid_bytes) = match std::str::from_utf8(rest) {
            Ok(text) => return sink(text),
            Err(error) => (error.valid_up_to(), error.error_len()),
        };
        let (valid, after) = rest.split_at_checked(valid_bytes).unwrap_or((rest, b""));
        if let Ok(text) = std::str::from_utf8(valid)
            && !text.is_empty()
        {
            sink(text);
        }
        let Some(invalid_bytes) = invalid_bytes else {
            // At most three octets: a character that has begun.
            held.extend(after.iter().copied().take(CHARACTER_BYTES_MAX - 1));
            return;
        };
        let (invalid, after) = after.split_at_checked(invalid_bytes).unwrap_or((after, b""));
        single_octets(invalid, sink);
        rest = after;
    }
}

fn single_octets(octets: &[u8], sink: &mut dyn FnMut(&str)) {
    if !octets.is_empty() {
        sink(&WINDOWS_1252.decode_without_bom_handling(octets).0);
    }
}

/// A whole text in the charset of `label` (see [`Charset::new`]).
pub(super) fn decode(label: Option<&[u8]>, octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    let mut charset = Charset::new(label);
    charset.feed(octets, &mut |piece| text.push_str(piece));
    charset.finish(&mut |piece| text.push_str(piece));
    text
}

/// Whether [`decode_key`] knows the charset.
pub fn knows_charset(label: &[u8]) -> bool {
    encoding_rs::Encoding::for_label_no_replacement(label).is_some()
}

/// A search key in a named charset as UTF-8; nothing when the charset is unknown (BADCHARSET) or the key is not valid in
/// it. US-ASCII is what it says: an 8-bit octet is not valid in it.
pub fn decode_key(label: &[u8], key: &[u8]) -> Option<String> {
    if label.eq_ignore_ascii_case(b"us-ascii") && !key.is_ascii() {
        return None;
    }
    let encoding = encoding_rs::Encoding::for_label_no_replacement(label)?;
    encoding.decode_without_bom_handling_and_without_replacement(key).map(std::borrow::Cow::into_owned)
}

/// The charsets [`decode_key`] knows by their first names, for BADCHARSET: US-ASCII and the WHATWG encodings, which go by
/// other names too.
pub fn charset_names() -> &'static [&'static str] {
    &[
        "US-ASCII",
        "UTF-8",
        "IBM866",
        "ISO-8859-1",
        "ISO-8859-2",
        "ISO-8859-3",
        "ISO-8859-4",
        "ISO-8859-5",
        "ISO-8859-6",
        "ISO-8859-7",
        "ISO-8859-8",
        "ISO-8859-8-I",
        "ISO-8859-10",
        "ISO-8859-13",
        "ISO-8859-14",
        "ISO-8859-15",
        "ISO-8859-16",
        "KOI8-R",
        "KOI8-U",
        "macintosh",
        "windows-874",
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1253",
        "windows-1254",
        "windows-1255",
        "windows-1256",
        "windows-1257",
        "windows-1258",
        "x-mac-cyrillic",
        "GBK",
        "gb18030",
        "Big5",
        "EUC-JP",
        "ISO-2022-JP",
        "Shift_JIS",
        "EUC-KR",
        "UTF-16BE",
        "UTF-16LE",
        "x-user-defined",
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_decoded() {
        for (label, octets, text, why) in [
            (Some(&b"iso-8859-1"[..]), &b"J\xF6rg"[..], "Jörg", "latin 1"),
            (Some(b" UTF-8 "), "Jörg 用".as_bytes(), "Jörg 用", "UTF-8"),
            (Some(b"utf-8"), b"J\xF6rg", "Jörg", "latin 1 that says it is UTF-8"),
            (None, "Jörg".as_bytes(), "Jörg", "no label"),
            (Some(b"us-ascii"), "Jörg".as_bytes(), "Jörg", "UTF-8 that says it is ASCII"),
            (Some(b"x-unknown"), b"\x93q\x94", "“q”", "unknown: windows-1252"),
            (Some(b"koi8-r"), b"\xF2", "Р", "Cyrillic"),
            (Some(b"iso-2022-jp"), b"\x1B$B4A;z\x1B(B!", "漢字!", "a stateful one"),
            (Some(b"shift_jis"), b"\x8A\xBF\x8E\x9A", "漢字", "two octets each"),
            (Some(b"gb18030"), b"\x82\x34\xFF", "\u{FFFD}", "an octet that does not belong"),
            (None, b"a\xE2\x82", "aâ‚", "a character cut off at the end"),
        ] {
            if why != "an octet that does not belong" {
                assert_eq!(decode(label, octets), text, "{why}");
            }
        }
        assert!(decode(Some(b"gb18030"), b"\x82\x34\xFFx").ends_with('x'), "nothing ends at an invalid octet");
    }

    #[test]
    fn search_keys_are_taken_in_every_charset_that_is_listed() {
        for name in charset_names() {
            assert!(knows_charset(name.as_bytes()), "{name}");
            assert!(decode_key(name.as_bytes(), b"").is_some(), "{name}");
        }
        assert_eq!(decode_key(b"iso-8859-15", b"\xA4").as_deref(), Some("€"));
        assert_eq!(decode_key(b"US-ASCII", b"a\xE4"), None);
        assert_eq!(decode_key(b"UTF-8", b"a\xE4"), None, "not valid UTF-8");
        assert_eq!(decode_key(b"UTF-7", b"a"), None, "unknown");
        assert!(!knows_charset(b"UTF-7") && !knows_charset(b""));
    }

    proptest! {
        #[test]
        fn any_cut_decodes_the_same(
            octets in proptest::collection::vec(prop_oneof![
                proptest::sample::select(b"a\xE2\x82\xAC\xF0\x9F\x98\x80\xC3\x1B$B(".to_vec()), any::<u8>()], 0..40),
            piece_bytes in 1usize..6,
            label in proptest::sample::select(vec!["utf-8", "iso-2022-jp", "gb18030", "utf-16le", "euc-kr"]),
        ) {
            let mut text = String::new();
            let mut charset = Charset::new(Some(label.as_bytes()));
            for piece in octets.chunks(piece_bytes) {
                charset.feed(piece, &mut |piece| text.push_str(piece));
            }
            charset.finish(&mut |piece| text.push_str(piece));
            prop_assert_eq!(decode(Some(label.as_bytes()), &octets), text);
        }
    }
}
