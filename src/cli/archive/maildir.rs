//! Maildir names: flags behind `:2,` (<https://cr.yp.to/proto/maildir.html>), sizes as Maildir++ writes them, folders as
//! `.Level.Level` in modified UTF-7 or UTF-8. Keywords are letters, which `dovecot-keywords` explains.

use crate::imap::grammar::utf7;
use crate::serve::transfer::Marks;
use crate::store::Flags;

/// Letters of the system flags, in the order in which names have them.
const LETTERS: [(u8, Flags); 5] = [
    (b'D', Flags::DRAFT),
    (b'F', Flags::FLAGGED),
    (b'R', Flags::ANSWERED),
    (b'S', Flags::SEEN),
    (b'T', Flags::DELETED),
];
/// P is for passed on: resent, forwarded, bounced.
const PASSED: (u8, &str) = (b'P', "$Forwarded");
/// Keywords that have letters.
const KEYWORDS_MAX: usize = 26;
/// What stands between a name and its flags.
const INFO: &[u8] = b":2,";
/// A dot that does not end a level, in modified UTF-7; only `.` itself is never encoded so elsewhere.
const DOT: &str = "&AC4-";

/// What a file's name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct MaildirName {
    /// Flags and keywords; a date's zone if the name has one.
    pub(in crate::cli) marks: Marks,
    /// Octets in the file, and with all lines ending with CRLF.
    pub(in crate::cli) sizes: Option<(u64, u64)>,
}

impl MaildirName {
    /// Reads a name; `keywords` are those of the folder, by letter.
    pub(in crate::cli) fn parse(name: &[u8], keywords: &[Option<String>]) -> Self {
        let mut found = Self::default();
        let base = sort_key(name);
        for letter in name.get(base.len() + INFO.len()..).unwrap_or_default() {
            if let Some((_, flag)) = LETTERS.iter().find(|(known, _)| known == letter) {
                found.marks.flags |= flag.0;
            } else if *letter == PASSED.0 {
                found.marks.keywords.push(PASSED.1.to_owned());
            } else if let Some(n) = letter.checked_sub(b'a')
                && let Some(Some(keyword)) = keywords.get(usize::from(n))
            {
                found.marks.keywords.push(keyword.clone());
            }
        }
        let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        let value = |key: u8| {
            let mut parts = base.split(|octet| *octet == b',').skip(1);
            parts.find_map(|part| part.strip_prefix(&[key, b'=']).and_then(number))
        };
        let size = |key| value(key).and_then(|number| u64::try_from(number).ok());
        found.sizes = size(b'S').zip(size(b'W'));
        found.marks.zone_minutes = value(b'Z').and_then(|minutes| i16::try_from(minutes).ok()).unwrap_or(0);
        found
    }
}

/// The part of a name that stays the same when flags change.
pub(in crate::cli) fn sort_key(name: &[u8]) -> &[u8] {
    let info = name.windows(INFO.len()).rposition(|window| window == INFO);
    name.get(..info.unwrap_or(name.len())).unwrap_or(name)
}

/// A name, for a message with this UID; names sort as UIDs do. `keywords` are those of the folder, and get those that are
/// new as long as there are letters. The second value says whether all had one.
pub(in crate::cli) fn put_name(
    (uid, uid_validity): (u32, u32),
    (size, size_crlf): (u64, u64),
    marks: &Marks,
    keywords: &mut Vec<String>,
) -> (String, bool) {
    let mut name = format!("{uid:010}.V{uid_validity}.pigeon,S={size},W={size_crlf}");
    if marks.zone_minutes != 0 {
        name.push_str(&format!(",Z={}", marks.zone_minutes));
    }
    name.push_str(":2,");
    let has = |keyword: &str| marks.keywords.iter().any(|known| known.eq_ignore_ascii_case(keyword));
    let mut letters: Vec<u8> =
        LETTERS.iter().filter(|(_, flag)| marks.flags & flag.0 != 0).map(|(letter, _)| *letter).collect();
    if has(PASSED.1) {
        letters.push(PASSED.0);
    }
    let mut is_whole = true;
    for keyword in marks.keywords.iter().filter(|keyword| !keyword.eq_ignore_ascii_case(PASSED.1)) {
        let known = keywords.iter().position(|known| known.eq_ignore_ascii_case(keyword));
        let n = known.unwrap_or(keywords.len());
        if known.is_none() && n < KEYWORDS_MAX {
            keywords.push(keyword.clone());
        }
        match u8::try_from(n) {
            Ok(n) if usize::from(n) < KEYWORDS_MAX => letters.push(b'a' + n),
            _ => is_whole = false,
        }
    }
    letters.sort_unstable();
    name.extend(letters.into_iter().map(char::from));
    (name, is_whole)
}

/// The keywords by letter that a `dovecot-keywords` file names: lines of a number and a keyword.
pub(in crate::cli) fn keyword_letters(text: &str) -> Vec<Option<String>> {
    let mut keywords = vec![None; KEYWORDS_MAX];
    for line in text.lines() {
        if let Some((number, keyword)) = line.split_once(' ')
            && let Some(place) = number.parse::<usize>().ok().and_then(|n| keywords.get_mut(n))
        {
            *place = Some(keyword.trim().to_owned());
        }
    }
    keywords
}

/// The folder of a mailbox beside INBOX: `.Level.Level`.
pub(in crate::cli) fn folder_name(mailbox: &str) -> String {
    let level = |level: &str| format!(".{}", utf7::encode(level).replace('.', DOT));
    mailbox.split('/').map(level).collect()
}

/// The mailbox of a folder's name with its first dot taken off.
pub(in crate::cli) fn mailbox_of_folder(folder: &str) -> String {
    let level = |level: &str| {
        let level = level.replace(DOT, ".");
        utf7::decode(level.as_bytes()).unwrap_or(level)
    };
    folder.split('.').map(level).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keywords() -> Vec<Option<String>> {
        keyword_letters("0 $Junk\n2 work\n77 far\nnonsense\n")
    }

    #[test]
    fn names_say_what_their_programs_mean() {
        let all = Flags::SEEN.with(Flags::ANSWERED).with(Flags::FLAGGED).with(Flags::DELETED).with(Flags::DRAFT).0;
        for (name, flags, words, sizes, why) in [
            ("1311.M1P2.host:2,S", Flags::SEEN.0, "", None, "one flag"),
            ("1311.M1P2.host,S=12,W=14:2,DFRST", all, "", Some((12, 14)), "all flags, and sizes"),
            ("1311.host:2,PSac", Flags::SEEN.0, "$Forwarded $Junk work", None, "keywords"),
            ("1311.host:2,bz", 0, "", None, "letters that nobody explains"),
            ("1311.host", 0, "", None, "no flags, as in new/"),
            ("1311.host:1,S", 0, "", None, "an experiment of the format's"),
            ("x:2,y:2,F", Flags::FLAGGED.0, "", None, "the last one counts"),
            (":2,", 0, "", None, "nothing"),
            ("", 0, "", None, "nothing at all"),
        ] {
            let found = MaildirName::parse(name.as_bytes(), &keywords());
            assert_eq!((found.marks.flags, found.sizes), (flags, sizes), "{why}");
            assert_eq!(found.marks.keywords.join(" "), words, "{why}");
        }
    }

    #[test]
    fn folders_are_mailboxes() {
        for (folder, mailbox, why) in [
            ("Sent", "Sent", "one level"),
            ("Archive.2020.May", "Archive/2020/May", "levels"),
            ("Entw&APw-rfe", "Entwürfe", "modified UTF-7"),
            ("Entwürfe", "Entwürfe", "UTF-8"),
            ("Tom &- Jerry", "Tom & Jerry", "an ampersand"),
            ("Tom & Jerry", "Tom & Jerry", "one that is not encoded"),
            ("a&AC4-b", "a.b", "a dot"),
            ("a&AC8-b", "a&AC8-b", "a slash, which is not to be encoded"),
        ] {
            assert_eq!(mailbox_of_folder(folder), mailbox, "{why}");
        }
    }

    #[test]
    fn what_has_no_letter_is_told() {
        let mut known: Vec<String> = (0..26).map(|n| format!("k{n}")).collect();
        let marks = |keyword: &str| Marks { keywords: vec![keyword.to_owned()], ..Marks::default() };
        assert_eq!(
            put_name((1, 2), (3, 4), &marks("K25"), &mut known),
            ("0000000001.V2.pigeon,S=3,W=4:2,z".to_owned(), true)
        );
        assert!(!put_name((1, 2), (3, 4), &marks("new"), &mut known).1);
    }

    proptest! {
        #[test]
        fn folder_names_come_back(levels in prop::collection::vec("[^/\\p{C}]{1,12}", 1..4)) {
            let mailbox = levels.join("/");
            let folder = folder_name(&mailbox);
            prop_assert_eq!(folder.matches('.').count(), levels.len());
            prop_assert_eq!(mailbox_of_folder(folder.trim_start_matches('.')), mailbox);
        }

        #[test]
        fn flags_come_back(flags in 0_u64..32, zone_minutes in -1439_i16..1440, words in prop::collection::btree_set("[a-z$]{1,9}", 0..9), uid: u32) {
            let marks = Marks { flags, zone_minutes, keywords: words.into_iter().collect(), unix_s: None };
            let mut known = vec!["other".to_owned()];
            let (name, is_whole) = put_name((uid, 1), (7, 9), &marks, &mut known);
            prop_assert!(is_whole);
            let known: Vec<_> = known.into_iter().map(Some).collect();
            let mut found = MaildirName::parse(name.as_bytes(), &known);
            found.marks.keywords.sort_unstable();
            prop_assert_eq!(found, MaildirName { marks, sizes: Some((7, 9)) });
        }

        #[test]
        fn octets_never_panic(name in any::<Vec<u8>>(), folder in any::<String>()) {
            drop((MaildirName::parse(&name, &keywords()), mailbox_of_folder(&folder), keyword_letters(&folder)));
        }
    }
}
