//! Mailbox names (RFC 3501 5.1): from the wire to the store's UTF-8 and back. `/` separates levels; INBOX has one spelling.

use super::limits::{MAILBOX_BYTES_MAX, MAILBOX_DEPTH_MAX};
use super::{utf7, write};

/// What separates the levels of a name.
pub const SEPARATOR: char = '/';
/// The one name that is compared without case (RFC 3501 5.1).
pub const INBOX: &str = "INBOX";

/// A name that a mailbox can have: UTF-8, INBOX in upper case, no empty level, no control characters, no wildcards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(String);

/// Why it cannot be a mailbox's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Not modified UTF-7 (RFC 3501 5.1.3).
    Encoding,
    /// Empty, or a level of it is.
    EmptyLevel,
    /// A control character or one of `%` and `*`.
    Character,
    /// Longer than [`MAILBOX_BYTES_MAX`] or deeper than [`MAILBOX_DEPTH_MAX`].
    TooLong,
}

impl MailboxName {
    /// The name that the wire's modified UTF-7 means.
    pub fn parse(wire: &[u8]) -> Result<Self, NameError> {
        let name = utf7::decode(wire).ok_or(NameError::Encoding)?;
        Self::from_utf8(&name)
    }

    /// The name, checked. One separator at its end is taken off: CREATE may carry one (RFC 3501 6.3.3), and Thunderbird
    /// puts one after the names of mailboxes that can have children.
    pub fn from_utf8(name: &str) -> Result<Self, NameError> {
        let name = name.strip_suffix(SEPARATOR).unwrap_or(name);
        if name.len() > MAILBOX_BYTES_MAX || name.split(SEPARATOR).count() > MAILBOX_DEPTH_MAX {
            return Err(NameError::TooLong);
        }
        if name.split(SEPARATOR).any(str::is_empty) {
            return Err(NameError::EmptyLevel);
        }
        // RFC 6855 3 and RFC 5198 2: no controls and no line or paragraph separators.
        let forbidden = |c: char| c.is_control() || matches!(c, '%' | '*' | '\u{2028}' | '\u{2029}');
        if name.contains(forbidden) {
            return Err(NameError::Character);
        }
        Ok(Self(canonical(name)))
    }

    /// As the store knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is INBOX itself.
    pub fn is_inbox(&self) -> bool {
        self.0 == INBOX
    }
}

impl NameError {
    /// Words for the client.
    pub fn words(self) -> &'static str {
        match self {
            Self::Encoding => "the mailbox name is not valid modified UTF-7",
            Self::EmptyLevel => "a mailbox name or a level of it is empty",
            Self::Character => "a mailbox name cannot contain control characters, % or *",
            Self::TooLong => "the mailbox name is too long or has too many levels",
        }
    }
}

/// `name` with INBOX, alone or as first level, in upper case.
pub(super) fn canonical(name: &str) -> String {
    match name.split_at_checked(INBOX.len()) {
        Some((head, rest)) if head.eq_ignore_ascii_case(INBOX) && (rest.is_empty() || rest.starts_with(SEPARATOR)) => {
            format!("{INBOX}{rest}")
        }
        _ => name.to_owned(),
    }
}

/// Writes a mailbox's name as an astring in modified UTF-7.
pub fn put_mailbox(out: &mut Vec<u8>, name: &str) {
    write::astring(out, utf7::encode(name).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        for (wire, name, why) in [
            (&b"INBOX"[..], "INBOX", "itself"),
            (b"iNbOx", "INBOX", "RFC 3501 5.1: case-insensitive"),
            (b"inbox/work", "INBOX/work", "as first level too"),
            (b"inboxes", "inboxes", "only as a whole level"),
            (b"a/Inbox", "a/Inbox", "only as first level"),
            (b"Sent/", "Sent", "RFC 3501 6.3.3: the separator at the end is a declaration"),
            (b"inbox/", "INBOX", "both"),
            (b"Entw&APw-rfe", "Entwürfe", "modified UTF-7"),
            (b"a b\\c\"d", "a b\\c\"d", "any printable character"),
        ] {
            assert_eq!(MailboxName::parse(wire).map(|name| name.0), Ok(name.to_owned()), "{why}");
        }
    }

    #[test]
    fn names_that_no_mailbox_can_have_are_refused() {
        let deep = vec!["a"; MAILBOX_DEPTH_MAX + 1].join("/");
        let long = "a".repeat(MAILBOX_BYTES_MAX + 1);
        for (wire, error, why) in [
            (&b""[..], NameError::EmptyLevel, "nothing"),
            (b"/", NameError::EmptyLevel, "only a separator"),
            (b"/a", NameError::EmptyLevel, "begins with a separator"),
            (b"a//b", NameError::EmptyLevel, "an empty level"),
            (b"a//", NameError::EmptyLevel, "one separator at the end may go, not two"),
            (b"a*", NameError::Character, "could never be listed by itself"),
            (b"a%b", NameError::Character, "the same"),
            (b"a&AAk-b", NameError::Character, "an encoded control character"),
            (b"a&ICg-b", NameError::Character, "a line separator"),
            (b"a&b", NameError::Encoding, "a bare ampersand"),
            (deep.as_bytes(), NameError::TooLong, "too deep"),
            (long.as_bytes(), NameError::TooLong, "too long"),
        ] {
            assert_eq!(MailboxName::parse(wire), Err(error), "{why}");
        }
    }

    #[test]
    fn what_is_printed_parses() {
        for name in ["INBOX", "Entwürfe/日本語", "a b", "a\"b\\c", "Tom & Jerry", "NIL", "x]"] {
            let mut out = Vec::new();
            put_mailbox(&mut out, name);
            let mut cursor = super::super::lexer::Cursor::new(&out);
            let wire = cursor.astring("").unwrap();
            assert!(cursor.is_at_end());
            assert_eq!(MailboxName::parse(&wire).unwrap().as_str(), name);
        }
    }
}
