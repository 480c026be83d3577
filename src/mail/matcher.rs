//! Looks for a text in a stream of text without regard to case, in constant memory (in the spirit of i;unicode-casemap,
//! RFC 5051, without its decomposition: a composed character does not match a decomposed one).

/// Looks for one search key. Start anew for each text with [`Matcher::restart`].
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The key, folded, as UTF-8.
    key: Vec<u8>,
    /// After n octets of the key and one that does not go on with it, so many octets of the key still fit.
    fallback: Vec<usize>,
    /// Octets of the key that the text so far ends with.
    matched: usize,
    found: bool,
}

impl Matcher {
    /// A matcher for `key`; the empty key is found in every text.
    pub fn new(key: &str) -> Self {
        let mut folded = Vec::with_capacity(key.len());
        key.chars().for_each(|c| fold(c, &mut |octet| folded.push(octet)));
        let fallback = fallback_of(&folded);
        let found = folded.is_empty();
        Self { key: folded, fallback, matched: 0, found }
    }

    /// Takes the next piece of the text.
    pub fn feed(&mut self, text: &str) {
        if text.is_ascii() {
            self.feed_ascii(text.as_bytes());
            return;
        }
        for c in text.chars() {
            if self.found {
                return;
            }
            if c.is_ascii() {
                self.octet(c.to_ascii_lowercase() as u8);
            } else {
                fold(c, &mut |octet| self.octet(octet));
            }
        }
    }

    /// As `feed`; skips at memory speed to where the key may begin.
    fn feed_ascii(&mut self, text: &[u8]) {
        let first = self.key.first().copied().unwrap_or_default();
        let mut rest = text;
        while !self.found {
            if self.matched == 0 {
                let at = memchr::memchr2(first, first.to_ascii_uppercase(), rest).unwrap_or(rest.len());
                rest = rest.get(at..).unwrap_or_default();
            }
            let Some((octet, after)) = rest.split_first() else { return };
            self.octet(octet.to_ascii_lowercase());
            rest = after;
        }
    }

    /// Whether it was found in this or any earlier text.
    pub fn found(&self) -> bool {
        self.found
    }

    /// A new text begins: a match must not span from one to the next. What was found stays found.
    pub fn restart(&mut self) {
        self.matched = 0;
    }

    fn octet(&mut self, octet: u8) {
        self.matched = step(&self.key, &self.fallback, self.matched, octet);
        if self.matched == self.key.len() {
            self.found = true;
            self.matched = 0;
        }
    }
}

/// Octets of the key that fit when `matched` did and `octet` follows (Knuth, Morris, Pratt).
fn step(key: &[u8], fallback: &[usize], mut matched: usize, octet: u8) -> usize {
    loop {
        if key.get(matched) == Some(&octet) {
            return matched + 1;
        }
        match matched.checked_sub(1).and_then(|before| fallback.get(before)) {
            Some(&shorter) => matched = shorter,
            None => return 0,
        }
    }
}

fn fallback_of(key: &[u8]) -> Vec<usize> {
    let mut fallback = Vec::with_capacity(key.len());
    let mut matched = 0;
    for (at, &octet) in key.iter().enumerate() {
        if at > 0 {
            matched = step(key, &fallback, matched, octet);
        }
        fallback.push(matched);
    }
    fallback
}

/// A character without its case: to upper case and back, so that ß is ss and both Greek sigmas are one.
fn fold(c: char, sink: &mut dyn FnMut(u8)) {
    for upper in c.to_uppercase() {
        for lower in upper.to_lowercase() {
            lower.encode_utf8(&mut [0; 4]).bytes().for_each(&mut *sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn finds(key: &str, pieces: &[&str]) -> bool {
        let mut matcher = Matcher::new(key);
        pieces.iter().for_each(|piece| matcher.feed(piece));
        matcher.found()
    }

    #[test]
    fn keys_are_found_without_regard_to_case() {
        for (key, text, found, why) in [
            ("meeting", "Minutes of the MEETING", true, "ASCII"),
            ("JÖRG", "jörg", true, "umlauts"),
            ("strasse", "Hauptstraße", true, "sharp s"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος", true, "final sigma"),
            ("привет", "ПРИВЕТ", true, "Cyrillic"),
            ("aab", "aaab", true, "a match that begins inside a failed one"),
            ("abab", "abaabab", true, "the same"),
            ("abc", "ab", false, "only its beginning"),
            ("", "", true, "the empty key"),
            ("a", "", false, "no text"),
            ("用户", "用 户", false, "a space between"),
        ] {
            assert_eq!(finds(key, &[text]), found, "{why}");
        }
    }

    #[test]
    fn a_match_spans_pieces_but_not_texts() {
        assert!(finds("meeting", &["mee", "", "ting"]));
        let mut matcher = Matcher::new("meeting");
        matcher.feed("mee");
        matcher.restart();
        matcher.feed("ting");
        assert!(!matcher.found());
        matcher.feed(" meeting");
        matcher.restart();
        assert!(matcher.found(), "what was found stays found");
    }

    proptest! {
        #[test]
        fn it_finds_what_contains_finds(key in "[abAB]{0,4}", text in "[abAB]{0,30}", cut in 0usize..30) {
            let (left, right) = text.split_at(cut.min(text.len()));
            prop_assert_eq!(finds(&key, &[left, right]), text.to_lowercase().contains(&key.to_lowercase()));
        }
    }
}
