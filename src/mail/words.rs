//! Encoded words in header values (RFC 2047), decoded for search and sorting. Tolerant: a word in the middle of other
//! text, or with spaces in it, counts too; what is no word stays as it stands.

use super::charset::{Charset, decode};
use super::transfer::{Encoding, Transfer};

/// Octets of an encoded word: RFC 2047 2 allows 75, programs write longer ones.
const WORD_BYTES_MAX: usize = 2048;

/// An unfolded value with its encoded words decoded; raw 8-bit octets are taken as UTF-8, else as windows-1252.
pub fn decode_words(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    // The charset of the word before, whose last character may go on in the next: broken programs cut there.
    let mut before: Option<(&[u8], Charset)> = None;
    while !rest.is_empty() {
        let found = memchr::memmem::find_iter(rest, b"=?").find_map(|at| {
            let (plain, encoded) = rest.split_at_checked(at)?;
            Some((plain, Word::parse(encoded)?))
        });
        let (plain, word) = found.map_or((rest, None), |(plain, word)| (plain, Some(word)));
        // RFC 2047 6.2: white space between two words is not there.
        let is_between = before.is_some() && word.is_some() && plain.iter().all(u8::is_ascii_whitespace);
        if !is_between {
            end_word(&mut before, &mut text);
            if !plain.is_empty() {
                text.push_str(&decode(None, plain));
            }
        }
        let Some((word, after)) = word else { break };
        if before.as_ref().is_none_or(|(charset, _)| !charset.eq_ignore_ascii_case(word.charset)) {
            end_word(&mut before, &mut text);
            before = Some((word.charset, Charset::new(Some(word.charset))));
        }
        if let Some((_, charset)) = &mut before {
            charset.feed(&word.octets, &mut |piece| text.push_str(piece));
        }
        rest = after;
    }
    end_word(&mut before, &mut text);
    text
}

fn end_word(before: &mut Option<(&[u8], Charset)>, text: &mut String) {
    if let Some((_, mut charset)) = before.take() {
        charset.finish(&mut |piece| text.push_str(piece));
    }
}

struct Word<'a> {
    charset: &'a [u8],
    octets: Vec<u8>,
}

impl<'a> Word<'a> {
    /// The word that `text` begins with, and what follows it.
    fn parse(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let near = text.get(..WORD_BYTES_MAX).unwrap_or(text);
        let rest = near.strip_prefix(b"=?")?;
        let (charset, rest) = until(rest, b"?")?;
        // RFC 2231 5: a language may follow the charset.
        let charset = memchr::memchr(b'*', charset).and_then(|at| charset.get(..at)).unwrap_or(charset);
        let (encoding, rest) = until(rest, b"?")?;
        let is_token = !charset.is_empty() && charset.iter().all(|&b| b > b' ' && b < 0x7F);
        let octets_of: fn(&[u8]) -> Vec<u8> = match encoding {
            _ if !is_token => return None,
            b"B" | b"b" => base64,
            b"Q" | b"q" => quoted,
            _ => return None,
        };
        let (encoded, rest) = until(rest, b"?=")?;
        let after = text.get(near.len() - rest.len()..)?;
        Some((Self { charset, octets: octets_of(encoded) }, after))
    }
}

fn until<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::find(text, mark)?;
    let (before, rest) = text.split_at_checked(at)?;
    Some((before, rest.get(mark.len()..)?))
}

fn base64(encoded: &[u8]) -> Vec<u8> {
    undone(Encoding::Base64, encoded)
}

/// RFC 2047 4.2: quoted-printable with an underscore for a space.
fn quoted(encoded: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = encoded.iter().map(|&b| if b == b'_' { b' ' } else { b }).collect();
    undone(Encoding::QuotedPrintable, &spaced)
}

fn undone(encoding: Encoding, encoded: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(encoded.len());
    let mut transfer = Transfer::new(encoding);
    transfer.feed(encoded, &mut |piece| octets.extend_from_slice(piece));
    transfer.finish(&mut |piece| octets.extend_from_slice(piece));
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_decoded() {
        for (value, text, why) in [
            ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>", "RFC 2047 8"),
            ("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld Jørn Simonsen", "RFC 2047 8"),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
                "RFC 2047 8",
            ),
            ("(=?ISO-8859-1?Q?a?= b)", "(a b)", "RFC 2047 8"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)", "RFC 2047 8"),
            ("(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)", "RFC 2047 8"),
            ("(=?ISO-8859-1?Q?a_b?=)", "(a b)", "RFC 2047 8"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)", "RFC 2047 8"),
            ("=?us-ascii*en?q?hi?=", "hi", "RFC 2231 5"),
            ("=?utf-8?q?=E7=94?= =?utf-8?q?=A8?=", "用", "a character cut between two words"),
            ("x=?utf-8?q?=C3=A4?=y", "xäy", "in the middle of a word"),
            ("=?utf-8?q?two words?=", "two words", "spaces in it"),
            ("=?utf-8?x?abc?=", "=?utf-8?x?abc?=", "no such encoding"),
            ("=?utf-8?q?abc", "=?utf-8?q?abc", "never ends"),
            ("=??q?abc?=", "=??q?abc?=", "no charset"),
            ("a =? b", "a =? b", "no word"),
            ("=?x-unknown?q?abc?=", "abc", "an unknown charset"),
            ("=?utf-8?q??=", "", "an empty word"),
            ("Jörg", "Jörg", "raw UTF-8"),
            ("", "", "empty"),
        ] {
            assert_eq!(decode_words(value.as_bytes()), text, "{why}: {value}");
        }
        assert_eq!(decode_words(b"J\xF6rg =?utf-8?b?w7Y=?="), "Jörg ö", "raw latin 1 and a word");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(value in proptest::collection::vec(
            prop_oneof![proptest::sample::select(b"=?utf-8bq *_\xC3".to_vec()), any::<u8>()], 0..60)) {
            decode_words(&value);
        }

        #[test]
        fn text_without_words_stays(value in "[a-z ä用]{0,40}") {
            prop_assert_eq!(decode_words(value.as_bytes()), value);
        }
    }
}
