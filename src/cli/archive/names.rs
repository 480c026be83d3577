//! Mailbox names as paths of folders and files, and back. What a file system or we would take for something else is written
//! as `%` and two hexadecimal digits.

/// What ends the name of an mbox.
const MBOX: &str = ".mbox";
/// What Thunderbird adds to the folder of a mailbox's children.
const THUNDERBIRD: &str = ".sbd";

/// The levels of a path for a mailbox.
pub(in crate::cli) fn path_of_mailbox(mailbox: &str) -> Vec<String> {
    mailbox.split('/').map(escape).collect()
}

/// The mailbox of a path's levels; those of mbox files without their `.mbox`.
pub(in crate::cli) fn mailbox_of_path<'a>(levels: impl IntoIterator<Item = &'a str>) -> String {
    let level = |level: &'a str| unescape(level.strip_suffix(THUNDERBIRD).unwrap_or(level));
    levels.into_iter().map(level).collect::<Vec<_>>().join("/")
}

fn escape(level: &str) -> String {
    let mut out = String::with_capacity(level.len());
    let ending = [MBOX, THUNDERBIRD].into_iter().find(|ending| level.to_ascii_lowercase().ends_with(ending));
    let dot_at = ending.map(|ending| level.len().saturating_sub(ending.len()));
    for (at, character) in level.char_indices() {
        let is_hidden = character == '.' && (at == 0 || Some(at) == dot_at);
        if character == '%' || character.is_ascii_control() || is_hidden {
            out.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}

/// Only what [`escape`] writes: other folders may have `%` in their names.
fn unescape(level: &str) -> String {
    let mut out = String::with_capacity(level.len());
    let mut rest = level;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let digits = after.get(..2).filter(|digits| !digits.bytes().any(|octet| octet.is_ascii_lowercase()));
        let octet = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match octet.filter(|octet| matches!(octet, b'%' | b'.') || octet.is_ascii_control() && *octet > 0) {
            Some(octet) => {
                out.push(char::from(octet));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// A file's name as text, one to one: for a position in a source.
pub(in crate::cli) fn position_name(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for octet in name {
        if octet.is_ascii_graphic() && *octet != b'%' {
            out.push(char::from(*octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels_are_written_so_that_nothing_is_taken_for_something_else() {
        for (mailbox, path) in [
            ("INBOX", "INBOX"),
            ("Archive/2020", "Archive/2020"),
            (".hidden", "%2Ehidden"),
            ("..", "%2E."),
            ("a.b", "a.b"),
            ("x.mbox/y", "x%2Embox/y"),
            ("100%", "100%25"),
            ("Entwürfe", "Entwürfe"),
        ] {
            assert_eq!(path_of_mailbox(mailbox).join("/"), path);
            assert_eq!(mailbox_of_path(path.split('/')), mailbox);
        }
        assert_eq!(mailbox_of_path(["Archive.sbd", "2020"]), "Archive/2020", "Thunderbird's");
        assert_eq!(mailbox_of_path(["100%41", "50% off"]), "100%41/50% off", "another program's");
    }

    proptest! {
        #[test]
        fn mailboxes_come_back(mailbox in "[^/\0]{1,20}(/[^/\0]{1,20}){0,3}") {
            let path = path_of_mailbox(&mailbox);
            prop_assert!(path.iter().all(|level| !level.starts_with('.') && !level.ends_with(".mbox")));
            prop_assert_eq!(mailbox_of_path(path.iter().map(String::as_str)), mailbox);
        }

        #[test]
        fn positions_are_one_to_one(one in any::<Vec<u8>>(), other in any::<Vec<u8>>()) {
            prop_assert_eq!(position_name(&one) == position_name(&other), one == other);
        }
    }
}
