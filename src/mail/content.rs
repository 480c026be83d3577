//! Values of MIME header fields (RFC 2045 5.1, RFC 2183): a type or token and its parameters, read leniently.
//! RFC 2231 continuations and charsets stay the raw attributes they are: a client puts them together.

use super::header::unfold;
use super::summary::{Disposition, Parameter};

/// Parameters of one field that are kept.
pub(super) const PARAMETERS_MAX: usize = 32;
/// Octets of a type, subtype, encoding or disposition; longer ones are as good as none.
pub(super) const TOKEN_BYTES_MAX: usize = 64;
/// Octets of a boundary that are compared. RFC 2046 5.1.1 allows 70; longer ones occur. A delimiter line needs only to
/// begin with the boundary, so that the first octets of one still longer do.
pub(super) const BOUNDARY_BYTES_MAX: usize = 200;

/// Content-Type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentType {
    pub(super) kind: Vec<u8>,
    pub(super) subtype: Vec<u8>,
    pub(super) parameters: Vec<Parameter>,
}

impl ContentType {
    /// What a part without one is (RFC 2045 5.2), or in a digest (RFC 2046 5.1.5).
    pub(super) fn default_in(digest: bool) -> Self {
        if digest {
            return Self { kind: b"message".to_vec(), subtype: b"rfc822".to_vec(), parameters: Vec::new() };
        }
        let charset = Parameter { name: b"charset".to_vec(), value: b"us-ascii".to_vec() };
        Self { kind: b"text".to_vec(), subtype: b"plain".to_vec(), parameters: vec![charset] }
    }

    /// What we do not look into.
    pub(super) fn opaque() -> Self {
        Self { kind: b"application".to_vec(), subtype: b"octet-stream".to_vec(), parameters: Vec::new() }
    }

    /// Parses a value; nothing when it is none, so that the default stands (RFC 2045 5.2).
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let value = unfold(value);
        let mut rest = Rest(&value);
        rest.space();
        let kind = rest.token();
        rest.space();
        if !rest.mark(b'/') {
            return None;
        }
        rest.space();
        let subtype = rest.token();
        if kind.is_empty() || subtype.is_empty() || kind.len().max(subtype.len()) > TOKEN_BYTES_MAX {
            return None;
        }
        Some(Self { kind: kind.to_vec(), subtype: subtype.to_vec(), parameters: rest.parameters() })
    }

    pub(super) fn is_multipart(&self) -> bool {
        self.kind.eq_ignore_ascii_case(b"multipart")
    }

    pub(super) fn is_digest(&self) -> bool {
        self.is_multipart() && self.subtype.eq_ignore_ascii_case(b"digest")
    }

    /// Whether a message is inside. message/global (RFC 6532) is a leaf: IMAP4rev1 has no words for its structure.
    pub(super) fn is_message(&self) -> bool {
        self.kind.eq_ignore_ascii_case(b"message") && self.subtype.eq_ignore_ascii_case(b"rfc822")
    }

    /// The octets that a delimiter line begins with after its hyphens; nothing when there is no usable boundary.
    pub(super) fn boundary(&self) -> Option<Vec<u8>> {
        let named = |name: &str| self.parameters.iter().find(|p| p.name.eq_ignore_ascii_case(name.as_bytes()));
        let mut boundary = Vec::new();
        if let Some(whole) = named("boundary") {
            boundary.extend_from_slice(&whole.value);
        } else {
            // RFC 2231 3: in pieces.
            let piece = |n: usize| named(&format!("boundary*{n}"));
            (0..PARAMETERS_MAX).map_while(piece).for_each(|p| boundary.extend_from_slice(&p.value));
        }
        // RFC 2046 5.1.1: a boundary does not end with white space.
        boundary.truncate(boundary.trim_ascii_end().len());
        boundary.truncate(BOUNDARY_BYTES_MAX);
        (!boundary.is_empty()).then_some(boundary)
    }
}

/// Content-Disposition; nothing when it has no token.
pub(super) fn parse_disposition(value: &[u8]) -> Option<Disposition> {
    let value = unfold(value);
    let mut rest = Rest(&value);
    rest.space();
    let kind = rest.token();
    if kind.is_empty() || kind.len() > TOKEN_BYTES_MAX {
        return None;
    }
    Some(Disposition { kind: kind.to_vec(), parameters: rest.parameters() })
}

/// Content-Transfer-Encoding: its first token; nothing when there is none.
pub(super) fn parse_encoding(value: &[u8]) -> Option<Vec<u8>> {
    let value = unfold(value);
    let mut rest = Rest(&value);
    rest.space();
    Some(rest.token().to_vec()).filter(|t| !t.is_empty() && t.len() <= TOKEN_BYTES_MAX)
}

/// Content-Language: its tags (RFC 3282).
pub(super) fn parse_languages(value: &[u8]) -> Vec<Vec<u8>> {
    let value = unfold(value);
    let mut rest = Rest(&value);
    let mut tags = Vec::new();
    while !rest.0.is_empty() && tags.len() < PARAMETERS_MAX {
        rest.space();
        let tag = rest.token();
        if !tag.is_empty() && tag.len() <= TOKEN_BYTES_MAX {
            tags.push(tag.to_vec());
        }
        rest.run(|b| b != b',');
        rest.mark(b',');
    }
    tags
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(n).unwrap_or((self.0, b""));
        self.0 = rest;
        taken
    }

    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        self.take(self.0.iter().position(|&b| !belongs(b)).unwrap_or(self.0.len()))
    }

    fn mark(&mut self, mark: u8) -> bool {
        let there = self.0.first() == Some(&mark);
        if there {
            self.take(1);
        }
        there
    }

    /// White space and comments.
    fn space(&mut self) {
        loop {
            self.run(|b| b.is_ascii_whitespace());
            if self.0.first() != Some(&b'(') {
                return;
            }
            let mut depth = 0u32;
            while let [b, ..] = *self.take(1) {
                match b {
                    b'\\' => {
                        self.take(1);
                    }
                    b'(' => depth = depth.saturating_add(1),
                    b')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
    }

    fn token(&mut self) -> &'a [u8] {
        self.run(|b| b > b' ' && b != 0x7F && !b"()<>@,;:\\\"/[]?=".contains(&b))
    }

    /// What follows the type: `; name=value` as often as it comes. Nonsense up to the next semicolon is passed over.
    fn parameters(&mut self) -> Vec<Parameter> {
        let mut found = Vec::new();
        while found.len() < PARAMETERS_MAX {
            self.space();
            if self.0.is_empty() {
                break;
            }
            if self.mark(b';') {
                continue;
            }
            let name = self.token();
            self.space();
            if !name.is_empty() && self.mark(b'=') {
                self.space();
                let value = self.value();
                found.push(Parameter { name: name.to_vec(), value });
            } else if name.is_empty() {
                self.run(|b| b != b';');
            }
        }
        found
    }

    /// A quoted string, or all up to a semicolon, white space or comment; words that follow without a semicolon belong to
    /// it too (`filename=My File.pdf`), unless they are a parameter (`charset=utf-8 format=flowed`).
    fn value(&mut self) -> Vec<u8> {
        if self.0.first() == Some(&b'"') {
            return self.quoted();
        }
        let is_plain = |b: u8| !b.is_ascii_whitespace() && !b"(;\"".contains(&b);
        let mut value = self.run(is_plain).to_vec();
        loop {
            let mut ahead = Rest(self.0);
            ahead.space();
            let word = ahead.run(is_plain);
            if word.is_empty() || word.contains(&b'=') || value.is_empty() {
                return value;
            }
            value.push(b' ');
            value.extend_from_slice(word);
            *self = ahead;
        }
    }

    /// A quoted string without its quotes; one that never ends goes to the end.
    fn quoted(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        self.take(1);
        while let [b, ..] = *self.take(1) {
            match b {
                b'"' => break,
                b'\\' => value.extend_from_slice(self.take(1)),
                _ => value.push(b),
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: &str) -> String {
        let Some(found) = ContentType::parse(value.as_bytes()) else { return "none".into() };
        let text = |t: &[u8]| String::from_utf8_lossy(t).into_owned();
        let parameters: Vec<_> =
            found.parameters.iter().map(|p| format!(" {}={}", text(&p.name), text(&p.value))).collect();
        format!("{}/{}{}", text(&found.kind), text(&found.subtype), parameters.concat())
    }

    #[test]
    fn content_types_are_read() {
        for (value, expected, why) in [
            ("text/plain; charset=us-ascii (Plain text)", "text/plain charset=us-ascii", "RFC 2045 5.1"),
            ("text/plain; charset=\"us-ascii\"", "text/plain charset=us-ascii", "RFC 2045 5.1"),
            (
                "multipart/mixed; boundary=\"gc0pJq0M:08jU534c0p\"",
                "multipart/mixed boundary=gc0pJq0M:08jU534c0p",
                "RFC 2046 5.1.1",
            ),
            (
                "application/x-stuff; title*0*=us-ascii'en'This%20is;\r\n title*1=\"isn't it!\"",
                "application/x-stuff title*0*=us-ascii'en'This%20is title*1=isn't it!",
                "RFC 2231 4.1 stays raw",
            ),
            ("Text / Plain", "Text/Plain", "white space around the slash; case as written"),
            ("text/plain;;; charset=x;", "text/plain charset=x", "semicolons"),
            ("text/plain charset=utf-8", "text/plain charset=utf-8", "a semicolon forgotten"),
            ("text/plain; charset=utf-8 format=flowed", "text/plain charset=utf-8 format=flowed", "the same"),
            ("image/png; name=My File.png; x=1", "image/png name=My File.png x=1", "quotes forgotten"),
            ("image/png; name=\"a\\\"b", "image/png name=a\"b", "a quote never closed"),
            ("text/plain; charset=", "text/plain charset=", "an empty value"),
            ("text/plain; charset", "text/plain", "no value"),
            ("text/plain; =x; a=b", "text/plain a=b", "no name"),
            ("text/plain; a = b", "text/plain a=b", "white space around the equals sign"),
            ("text", "none", "no subtype: the default stands (RFC 2045 5.2)"),
            ("/plain", "none", "no type"),
            ("text/", "none", "an empty subtype"),
            ("", "none", "empty"),
            ("(only a comment", "none", "a comment never closed"),
        ] {
            assert_eq!(shown(value), expected, "{why}: {value}");
        }
    }

    #[test]
    fn a_boundary_may_come_in_pieces_and_does_not_end_with_a_space() {
        let boundary = |value: &str| ContentType::parse(value.as_bytes()).and_then(|t| t.boundary());
        assert_eq!(boundary("multipart/mixed; BOUNDARY=\"a b \""), Some(b"a b".to_vec()));
        assert_eq!(boundary("multipart/mixed; boundary*0=a; boundary*1=b"), Some(b"ab".to_vec()));
        assert_eq!(boundary("multipart/mixed; boundary=\"\""), None);
        assert_eq!(boundary("multipart/mixed"), None);
        let long = boundary(&format!("multipart/mixed; boundary={}", "x".repeat(5000)));
        assert_eq!(long.map(|b| b.len()), Some(BOUNDARY_BYTES_MAX));
    }

    #[test]
    fn the_other_fields_are_read() {
        assert_eq!(parse_encoding(b" Base64 (of course)"), Some(b"Base64".to_vec()));
        assert_eq!(parse_encoding(b"7bit;"), Some(b"7bit".to_vec()));
        assert_eq!(parse_encoding(b" \r\n "), None);
        assert_eq!(parse_languages(b"en, de-CH (Swiss),, fr"), [b"en".to_vec(), b"de-CH".to_vec(), b"fr".to_vec()]);
        let disposition = parse_disposition(b"attachment; filename=\"a b.txt\"; size=3").expect("a disposition");
        assert_eq!((disposition.kind.as_slice(), disposition.parameters.len()), (&b"attachment"[..], 2));
        assert_eq!(parse_disposition(b"; filename=x"), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_always_ends(value in proptest::collection::vec(
            prop_oneof![proptest::sample::select(b" \t\r\n();=/\\\"*ab\0".to_vec()), any::<u8>()], 0..80)) {
            if let Some(found) = ContentType::parse(&value) {
                found.boundary();
            }
            parse_disposition(&value);
            parse_encoding(&value);
            parse_languages(&value);
        }
    }
}
