//! LIST patterns (RFC 3501 6.3.8): `*` matches anything, `%` anything within one level.
//! Time is at most pattern times name, never exponential.

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

/// Octet by octet, keeping the set of places in `glob` that the name so far can have reached. Octets will do: in UTF-8
/// the separator and the wildcards are never part of another character.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    // INBOX matches without case, `inb%` too.
    let inbox = match name.split_at_checked(INBOX.len()) {
        Some((head, rest)) if head == INBOX.as_bytes() && rest.first().is_none_or(|&next| next == SEPARATOR as u8) => {
            INBOX.len()
        }
        _ => 0,
    };
    let mut reached = vec![false; glob.len().saturating_add(1)];
    let mut next = reached.clone();
    mark(glob, &mut reached, 0);
    for (at, &octet) in name.iter().enumerate() {
        next.fill(false);
        let mut any = false;
        for (place, &wanted) in glob.iter().enumerate() {
            if !reached.get(place).copied().unwrap_or_default() {
                continue;
            }
            let stays = wanted == b'*' || (wanted == b'%' && octet != SEPARATOR as u8);
            let same = wanted == octet || (at < inbox && wanted.eq_ignore_ascii_case(&octet));
            let goes_on = same && !matches!(wanted, b'*' | b'%');
            if stays {
                mark(glob, &mut next, place);
            }
            if goes_on {
                mark(glob, &mut next, place.saturating_add(1));
            }
            any |= stays || goes_on;
        }
        if !any {
            return false;
        }
        std::mem::swap(&mut reached, &mut next);
    }
    reached.last().copied().unwrap_or_default()
}

/// Marks a place, and the one after a wildcard there, since it may match nothing. Wildcards never stand in a row.
fn mark(glob: &[u8], places: &mut [bool], place: usize) {
    let wildcard = matches!(glob.get(place), Some(b'*' | b'%'));
    for place in place..=place.saturating_add(usize::from(wildcard)) {
        if let Some(mark) = places.get_mut(place) {
            *mark = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn hostile_patterns_take_no_more_than_their_product() {
        let pattern = "*a".repeat(500);
        let name = "a".repeat(999) + "b";
        assert!(!matching("", &pattern, &name));
        assert!(matching("", &(pattern + "*"), &name));
    }
}
