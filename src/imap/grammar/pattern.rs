//! LIST patterns (RFC 3501 6.3.8): `*` matches anything, `%` anything within one level.
//! Time is at most name times pattern, 64 octets of that at once: some microseconds for the longest of both.

use super::limits::PATTERN_BYTES_MAX;
use super::mailbox::{INBOX, SEPARATOR, canonical};
use super::utf7;

/// Reference and pattern, put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    /// An empty pattern asks for the separator and the reference's root, not for mailboxes.
    Root,
    /// UTF-8 with wildcards.
    Glob(String),
    /// No name can match: it is not modified UTF-7.
    Nothing,
}

/// The pattern is longer than [`PATTERN_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternTooLong;

impl Pattern {
    /// `pattern` below `reference`, both as on the wire. As in most servers the reference is simply put in front.
    pub fn new(reference: &[u8], pattern: &[u8]) -> Result<Self, PatternTooLong> {
        if reference.len().saturating_add(pattern.len()) > PATTERN_BYTES_MAX {
            return Err(PatternTooLong);
        }
        if pattern.is_empty() {
            return Ok(Self { text: Text::Root });
        }
        let text = match utf7::decode(reference).zip(utf7::decode(pattern)) {
            Some((reference, pattern)) => Text::Glob(canonical(&melted(&(reference + &pattern)))),
            None => Text::Nothing,
        };
        Ok(Self { text })
    }

    /// Whether it asks for the separator instead of mailboxes: answer `* LIST (\Noselect) "/" ""`.
    pub fn asks_for_root(&self) -> bool {
        self.text == Text::Root
    }

    /// Whether a mailbox's name (as the store knows it) matches.
    pub fn matches(&self, name: &str) -> bool {
        match &self.text {
            Text::Root | Text::Nothing => false,
            Text::Glob(glob) => matches(glob.as_bytes(), name.as_bytes()),
        }
    }
}

/// `glob` with runs of wildcards made one: `%%` is `%`, and a run with `*` in it is `*`.
fn melted(glob: &str) -> String {
    let mut out = String::with_capacity(glob.len());
    for character in glob.chars() {
        match (out.chars().next_back(), character) {
            (Some('*'), '*' | '%') | (Some('%'), '%') => {}
            (Some('%'), '*') => {
                out.pop();
                out.push('*');
            }
            _ => out.push(character),
        }
    }
    out
}

/// Octet by octet, keeping the set of places in `glob` that the name so far can have reached, a bit for each. Octets will
/// do: in UTF-8 the separator and the wildcards are never part of another character.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    // INBOX matches without case, `inb%` too.
    let inbox = match name.split_at_checked(INBOX.len()) {
        Some((head, rest)) if head == INBOX.as_bytes() && rest.first().is_none_or(|&next| next == SEPARATOR as u8) => {
            INBOX.len()
        }
        _ => 0,
    };
    let places = Places::of(glob);
    let mut reached = vec![0; places.words];
    mark(&mut reached, 0);
    places.pass_wildcards(&mut reached);
    for (at, &octet) in name.iter().enumerate() {
        let same = places.of_octet(octet);
        let same_without_case = if at < inbox { places.of_octet(octet.to_ascii_lowercase()) } else { &[] };
        let levels = if octet == SEPARATOR as u8 { &[][..] } else { places.of_octet(b'%') };
        let everything = places.of_octet(b'*');
        let (mut carry, mut any) = (0, 0);
        for (word, reached) in reached.iter_mut().enumerate() {
            let of = |places: &[u64]| places.get(word).copied().unwrap_or_default();
            let stays = *reached & (of(everything) | of(levels));
            // A wildcard in a name stands for itself nowhere.
            let wildcards = of(everything) | of(places.of_octet(b'%'));
            let goes_on = *reached & (of(same) | of(same_without_case)) & !wildcards;
            *reached = stays | (goes_on << 1) | carry;
            carry = goes_on >> 63;
            any |= *reached;
        }
        if any == 0 {
            return false;
        }
        places.pass_wildcards(&mut reached);
    }
    is_marked(&reached, glob.len())
}

/// Where in a glob each octet stands: a bit for each place.
struct Places {
    words: usize,
    /// For each octet which part of `bits` is its own, if it is in the glob.
    class_of: [Option<u8>; 256],
    bits: Vec<u64>,
}

impl Places {
    fn of(glob: &[u8]) -> Self {
        let words = glob.len() / 64 + 1;
        let mut places = Self { words, class_of: [None; 256], bits: Vec::new() };
        let mut classes = 0_u8;
        for (at, &octet) in glob.iter().enumerate() {
            let Some(class) = places.class_of.get_mut(usize::from(octet)) else { continue };
            let class = *class.get_or_insert_with(|| {
                classes = classes.saturating_add(1);
                classes - 1
            });
            let start = usize::from(class) * words;
            places.bits.resize(places.bits.len().max(start + words), 0);
            mark(places.bits.get_mut(start..).unwrap_or_default(), at);
        }
        places
    }

    fn of_octet(&self, octet: u8) -> &[u64] {
        let class = self.class_of.get(usize::from(octet)).copied().flatten();
        let own = class.and_then(|class| self.bits.get(usize::from(class) * self.words..)?.get(..self.words));
        own.unwrap_or_default()
    }

    /// Marks the place after each wildcard reached, too, since it may match nothing. Wildcards never stand in a row.
    fn pass_wildcards(&self, reached: &mut [u64]) {
        let (stars, percents) = (self.of_octet(b'*'), self.of_octet(b'%'));
        let mut carry = 0;
        for (word, reached) in reached.iter_mut().enumerate() {
            let of = |places: &[u64]| places.get(word).copied().unwrap_or_default();
            let wildcards = *reached & (of(stars) | of(percents));
            *reached |= (wildcards << 1) | carry;
            carry = wildcards >> 63;
        }
    }
}

fn mark(bits: &mut [u64], at: usize) {
    if let Some(word) = bits.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}

fn is_marked(bits: &[u64], at: usize) -> bool {
    bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matching(reference: &str, pattern: &str, name: &str) -> bool {
        Pattern::new(reference.as_bytes(), pattern.as_bytes()).unwrap().matches(name)
    }

    #[test]
    fn wildcards_match_as_the_rfc_says() {
        for (reference, pattern, name, expected, why) in [
            ("", "*", "INBOX", true, "* matches anything"),
            ("", "*", "a/b/c", true, "across levels"),
            ("", "%", "a", true, "% matches a level"),
            ("", "%", "a/b", false, "% does not match the separator"),
            ("", "%/%", "a/b", true, "a level each"),
            ("", "a/%", "a/", true, "% may match nothing"),
            ("", "a/*", "a", false, "the separator is literal"),
            ("", "a*", "a", true, "* may match nothing"),
            ("", "*b", "a/b", true, "at the front"),
            ("", "*%", "a/b", true, "a run with * in it is *"),
            ("", "%%", "ab", true, "a run of % is %"),
            ("", "%*%", "a/b/c", true, "whatever the order"),
            ("", "%a%", "bab/c", false, "% on both sides stays in the level"),
            ("", "x%z", "xyyz", true, "in the middle"),
            ("", "*a%c", "a/abac", true, "back from % to *"),
            ("", "inbox", "INBOX", true, "RFC 3501 5.1"),
            ("", "iNb%", "INBOX", true, "with a wildcard too"),
            ("", "inbox/%", "INBOX/a", true, "as first level"),
            ("", "inbox/a", "INBOX/A", false, "the rest has case"),
            ("", "sent", "Sent", false, "other names have case"),
            ("", "inboxes", "INBOXES", false, "not INBOX"),
            ("a/", "%", "a/b", true, "the reference goes in front"),
            ("a/", "b", "a/b", true, "without wildcards too"),
            ("", "Entw&APw-rfe", "Entwürfe", true, "modified UTF-7"),
            ("", "Entw%rfe", "Entwürfe", true, "a character of two octets"),
            ("", "a&b", "a&b", false, "not modified UTF-7: matches nothing"),
            ("", "", "INBOX", false, "the empty pattern asks for the root"),
        ] {
            assert_eq!(matching(reference, pattern, name), expected, "{reference:?} {pattern:?} {name:?}: {why}");
        }
    }

    #[test]
    fn an_empty_pattern_asks_for_the_root() {
        assert!(Pattern::new(b"", b"").unwrap().asks_for_root());
        assert!(!Pattern::new(b"", b"*").unwrap().asks_for_root());
        assert_eq!(Pattern::new(b"", &[b'a'; PATTERN_BYTES_MAX + 1]), Err(PatternTooLong));
    }

    /// What the RFC says, slowly.
    fn plainly(glob: &[u8], name: &[u8]) -> bool {
        match glob.split_first() {
            None => name.is_empty(),
            Some((wild @ (b'*' | b'%'), rest)) => {
                let level =
                    name.iter().position(|octet| *octet == b'/').filter(|_| *wild == b'%').unwrap_or(name.len());
                (0..=level).any(|skipped| plainly(rest, &name[skipped..]))
            }
            Some((octet, rest)) => name.strip_prefix(&[*octet]).is_some_and(|name| plainly(rest, name)),
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_the_plain_definition_does(
            glob in "[ab/%*]{0,9}", name in "[ab/]{0,12}", pad in prop::sample::select(vec![0, 60, 63, 64, 120, 128])
        ) {
            // Also across the words that places are kept in.
            let pad = "c".repeat(pad);
            let (glob, name) = (melted(&format!("{pad}{glob}")), format!("{pad}{name}"));
            prop_assert_eq!(matches(glob.as_bytes(), name.as_bytes()), plainly(glob.as_bytes(), name.as_bytes()));
        }
    }

    #[test]
    fn hostile_patterns_take_no_more_than_their_product() {
        let pattern = "*a".repeat(500);
        let name = "a".repeat(999) + "b";
        assert!(!matching("", &pattern, &name));
        assert!(matching("", &(pattern + "*"), &name));
    }
}
