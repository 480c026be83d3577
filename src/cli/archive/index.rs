//! What no .eml file can say of itself: `index.tsv` beside such files has a line for each, sorted as their names are:
//! name, INTERNALDATE, flags as IMAP writes them.

use crate::mail::{parse_imap_date_time, print_imap_date_time};
use crate::serve::transfer::Marks;
use crate::store::{Date, Flags};

const NAMES: [(&str, Flags); 5] = [
    ("\\Seen", Flags::SEEN),
    ("\\Answered", Flags::ANSWERED),
    ("\\Flagged", Flags::FLAGGED),
    ("\\Deleted", Flags::DELETED),
    ("\\Draft", Flags::DRAFT),
];

/// A line of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct IndexLine {
    /// The file's name.
    pub(in crate::cli) name: String,
    /// What is said of it.
    pub(in crate::cli) marks: Marks,
}

impl IndexLine {
    /// Reads a line; nothing when it is none.
    pub(in crate::cli) fn parse(line: &str) -> Option<Self> {
        let mut cells = line.trim_end_matches(['\r', '\n']).split('\t');
        let (name, date, flags) = (cells.next()?, cells.next()?, cells.next()?);
        let mut marks = Marks::default();
        marks.set_date(parse_imap_date_time(date.as_bytes())?);
        for word in flags.split(' ').filter(|word| !word.is_empty()) {
            match NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)) {
                Some((_, flag)) => marks.flags |= flag.0,
                None => marks.keywords.push(word.to_owned()),
            }
        }
        Some(Self { name: name.to_owned(), marks })
    }
}

/// A line, with its end. The name has no tab in it.
pub(in crate::cli) fn put_index_line(name: &str, marks: &Marks) -> String {
    let date = marks.date().unwrap_or(Date { unix_s: 0, zone_minutes: 0 });
    let system = NAMES.iter().filter(|(_, flag)| marks.flags & flag.0 != 0).map(|(name, _)| *name);
    let flags: Vec<&str> = system.chain(marks.keywords.iter().map(String::as_str)).collect();
    format!("{name}\t{}\t{}\n", print_imap_date_time(date), flags.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_reads_well() {
        let mut marks = Marks { flags: Flags::SEEN.0, keywords: vec!["work".to_owned()], ..Marks::default() };
        marks.set_date(Date { unix_s: 1_310_119_714, zone_minutes: 120 });
        assert_eq!(
            put_index_line("0000000001.eml", &marks),
            "0000000001.eml\t 8-Jul-2011 12:08:34 +0200\t\\Seen work\n"
        );
    }

    proptest! {
        #[test]
        fn lines_come_back(flags in 0_u64..32, keywords in prop::collection::vec("[a-z$/]{1,9}", 0..4), unix_s in 0_i64..250_000_000_000, zone_minutes in -1439_i16..1440) {
            let marks = Marks { flags, keywords, unix_s: Some(unix_s), zone_minutes };
            let line = put_index_line("1.eml", &marks);
            prop_assert_eq!(IndexLine::parse(&line), Some(IndexLine { name: "1.eml".to_owned(), marks }));
        }

        #[test]
        fn text_never_panics(line in any::<String>()) {
            drop(IndexLine::parse(&line));
        }
    }
}
