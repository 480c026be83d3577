//! What a message's own header says of its flags and date. In an mbox the first lines may be ours or another program's
//! (Status, X-Status, X-Keywords, as mutt, Pine and Dovecot read them): they are taken off. Elsewhere in the header such
//! fields, and Thunderbird's X-Mozilla-Status, are read and stay.

use crate::mail::parse_message_date;
use crate::serve::transfer::Marks;
use crate::store::Date;
use crate::store::Flags;

/// The fields that may stand on top, in this order.
const TOP: [&str; 4] = ["Status", "X-Status", "X-Keywords", NO_LINE_END];
/// The message does not end with a line end, and the mbox had to add one.
const NO_LINE_END: &str = "X-Pigeon-No-Line-End";
/// A field of interest is no longer: all keywords of a message.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Keywords of one message.
const KEYWORDS_MAX: usize = 100;

/// Letters of Status and X-Status.
const LETTERS: [(u8, Flags); 5] = [
    (b'R', Flags::SEEN),
    (b'A', Flags::ANSWERED),
    (b'F', Flags::FLAGGED),
    (b'D', Flags::DELETED),
    (b'T', Flags::DRAFT),
];
/// Bits of X-Mozilla-Status.
const MOZILLA: [(u32, Flags); 4] =
    [(0x1, Flags::SEEN), (0x2, Flags::ANSWERED), (0x4, Flags::FLAGGED), (0x8, Flags::DELETED)];
const MOZILLA_FORWARDED: u32 = 0x1000;
const FORWARDED: &str = "$Forwarded";

/// Reads a header while it passes.
#[derive(Debug)]
pub(in crate::cli) struct Heading {
    at: At,
    /// The line that is being read, as far as it is of interest.
    line: Vec<u8>,
    is_line_long: bool,
    marks: Marks,
    date: Option<Date>,
    seen: Seen,
    /// The message does not end with a line end.
    pub(in crate::cli) is_unended: bool,
}

/// Fields that came already: the first one counts.
#[derive(Debug, Default)]
struct Seen {
    status: bool,
    x_status: bool,
    keywords: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Fields may be taken off, from this one of [`TOP`] on.
    Top(usize),
    Header,
    Body,
}

impl Heading {
    /// `is_mbox`: fields on top are taken off.
    pub(in crate::cli) fn new(is_mbox: bool) -> Self {
        Self {
            at: if is_mbox { At::Top(0) } else { At::Header },
            line: Vec::new(),
            is_line_long: false,
            marks: Marks::default(),
            date: None,
            seen: Seen::default(),
            is_unended: false,
        }
    }

    /// Takes octets; hands out those that belong to the message.
    pub(in crate::cli) fn feed<E>(
        &mut self,
        mut text: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while !text.is_empty() && self.at != At::Body {
            let end = memchr::memchr(b'\n', text).map(|at| at + 1);
            let (part, rest) = text.split_at_checked(end.unwrap_or(text.len())).unwrap_or((text, b""));
            text = rest;
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            let kept = part.get(..part.len().min(room)).unwrap_or_default();
            self.line.extend_from_slice(kept);
            match self.at {
                At::Top(_) if kept.len() == part.len() => {}
                At::Top(_) => {
                    // No field of ours is so long.
                    self.at = At::Header;
                    self.is_line_long = true;
                    sink(&self.line)?;
                    sink(part.get(kept.len()..).unwrap_or_default())?;
                }
                At::Header | At::Body => {
                    self.is_line_long |= kept.len() < part.len();
                    sink(part)?;
                }
            }
            if end.is_some() {
                self.line_ended(sink)?;
            }
        }
        if text.is_empty() { Ok(()) } else { sink(text) }
    }

    /// The message has ended: what was kept back is handed out.
    pub(in crate::cli) fn finish<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self.at {
            At::Top(_) if !self.line.is_empty() => self.line_ended(sink),
            _ => Ok(()),
        }
    }

    fn line_ended<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        let is_long = std::mem::take(&mut self.is_line_long);
        let (name, value) = match memchr::memchr(b':', &line).and_then(|colon| line.split_at_checked(colon)) {
            Some((name, value)) => (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii()),
            None => (&b""[..], &b""[..]),
        };
        if let At::Top(from) = self.at {
            let place = TOP.iter().skip(from).position(|top| name.eq_ignore_ascii_case(top.as_bytes()));
            if let Some(place) = place {
                self.at = At::Top(from + place + 1);
                self.field(name, value);
                return Ok(());
            }
            self.at = At::Header;
            sink(&line)?;
        }
        if line.trim_ascii_end().is_empty() {
            self.at = At::Body;
        } else if !is_long && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            self.field(name, value);
        }
        Ok(())
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let letters = |letters: &[(u8, Flags)]| {
            let found = letters.iter().filter(|(letter, _)| value.contains(letter));
            found.fold(0, |bits, (_, flag)| bits | flag.0)
        };
        if is("Date") {
            self.date = self.date.or_else(|| parse_message_date(value));
        } else if is("Status") && !std::mem::replace(&mut self.seen.status, true) {
            self.marks.flags |= letters(LETTERS.get(..1).unwrap_or_default());
        } else if is("X-Status") && !std::mem::replace(&mut self.seen.x_status, true) {
            self.marks.flags |= letters(LETTERS.get(1..).unwrap_or_default());
        } else if is("X-Keywords") && !std::mem::replace(&mut self.seen.keywords, true) {
            let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(KEYWORDS_MAX);
            self.marks.keywords.extend(words.filter_map(|word| String::from_utf8(word.to_vec()).ok()));
        } else if is("X-Mozilla-Status") && !self.seen.status && !self.seen.x_status {
            let bits = std::str::from_utf8(value).ok().and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0);
            for (_, flag) in MOZILLA.iter().filter(|(bit, _)| bits & bit != 0) {
                self.marks.flags |= flag.0;
            }
            if bits & MOZILLA_FORWARDED != 0 {
                self.marks.keywords.push(FORWARDED.to_owned());
            }
        } else if is(NO_LINE_END) {
            self.is_unended = true;
        }
    }

    /// The flags found.
    pub(in crate::cli) fn marks(&self) -> Marks {
        self.marks.clone()
    }

    /// The Date field's date.
    pub(in crate::cli) fn date(&self) -> Option<Date> {
        self.date
    }
}

/// Appends the fields that an mbox has on top of a message.
pub(in crate::cli) fn put_top(marks: &Marks, is_ended: bool, line_end: &str, out: &mut Vec<u8>) {
    let letters = |letters: &[(u8, Flags)]| {
        let found = letters.iter().filter(|(_, flag)| marks.flags & flag.0 != 0);
        found.map(|(letter, _)| char::from(*letter)).collect::<String>()
    };
    // O: some mail program has known of it; mutt shows it as old, not as new.
    let status = format!("{}O", letters(LETTERS.get(..1).unwrap_or_default()));
    let x_status = letters(LETTERS.get(1..).unwrap_or_default());
    let mut put = |name: &str, value: &str| {
        out.extend_from_slice(format!("{name}: {value}{line_end}").as_bytes());
    };
    put("Status", &status);
    put("X-Status", &x_status);
    put("X-Keywords", &marks.keywords.join(" "));
    if !is_ended {
        put(NO_LINE_END, "1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn read(text: &[u8], is_mbox: bool, step: usize) -> (Heading, Vec<u8>) {
        let (mut heading, mut out) = (Heading::new(is_mbox), Vec::new());
        let mut sink = |part: &[u8]| {
            out.extend_from_slice(part);
            Ok::<_, Infallible>(())
        };
        text.chunks(step).for_each(|part| heading.feed(part, &mut sink).unwrap());
        heading.finish(&mut sink).unwrap();
        (heading, out)
    }

    #[test]
    fn fields_on_top_of_an_mbox_message_are_taken_off_and_others_read() {
        for (text, rest, flags, keywords, why) in [
            ("Status: RO\nX-Status: AF\nX-Keywords: a b\nA: b\n", "A: b\n", "SAF", "a b", "as we write them"),
            ("Status: O\nA: b\nX-Status: D\n\nStatus: R\n", "A: b\nX-Status: D\n\nStatus: R\n", "D", "", "elsewhere"),
            ("X-Status: T\nStatus: R\nA: b\n", "Status: R\nA: b\n", "ST", "", "in another order the rest stays"),
            ("Status: O\nX-Status: \nX-Keywords: \nStatus: RO\n", "Status: RO\n", "", "", "the first one counts"),
            ("X-Mozilla-Status: 1005\nA: b\n", "X-Mozilla-Status: 1005\nA: b\n", "SF", "$Forwarded", "Thunderbird's"),
            ("A: b\n Status: R\n", "A: b\n Status: R\n", "", "", "a folded line is no field"),
            ("Status: R", "", "S", "", "no line end"),
            ("Stat", "Stat", "", "", "no field at all"),
            ("\nStatus: R\n", "\nStatus: R\n", "", "", "no header"),
        ] {
            for step in 1..=text.len() {
                let (heading, out) = read(text.as_bytes(), true, step);
                let marks = heading.marks();
                let letters: Vec<_> = [
                    ("S", Flags::SEEN),
                    ("A", Flags::ANSWERED),
                    ("F", Flags::FLAGGED),
                    ("D", Flags::DELETED),
                    ("T", Flags::DRAFT),
                ]
                .iter()
                .filter(|(_, flag)| marks.flags & flag.0 != 0)
                .map(|(letter, _)| *letter)
                .collect();
                assert_eq!((letters.concat().as_str(), marks.keywords.join(" ").as_str()), (flags, keywords), "{why}");
                assert_eq!(String::from_utf8(out).unwrap(), rest, "{why}, {step}");
            }
        }
    }

    #[test]
    fn the_date_field_is_found_and_nothing_taken_off_where_that_is_not_an_mbox() {
        let text = b"Status: R\r\nDate: Fri, 08 Jul 2011 12:08:34 +0200\r\n\r\nDate: x\r\n";
        for step in 1..9 {
            let (heading, out) = read(text, false, step);
            assert_eq!(heading.date(), Some(Date { unix_s: 1_310_119_714, zone_minutes: 120 }));
            assert_eq!(out, text);
        }
    }

    #[test]
    fn long_lines_pass_whole() {
        let text = [b"Status: ".as_slice(), &[b'x'; 3 * LINE_BYTES_MAX], b"\nA: b\n\nc"].concat();
        for is_mbox in [true, false] {
            assert_eq!(read(&text, is_mbox, 1000).1, text);
        }
    }

    proptest! {
        #[test]
        fn what_is_put_on_top_is_found_and_taken_off(
            flags in 0_u64..32,
            keywords in prop::collection::vec("[a-zA-Z$][a-z0-9]{0,9}", 0..9),
            is_ended: bool,
            text in prop_oneof![any::<Vec<u8>>(), "(Status|X-Status|X-Keywords|X-Pigeon-No-Line-End): [RADFT]{0,3}\r\n".prop_map(String::into_bytes)],
            step in 1_usize..99,
        ) {
            let marks = Marks { flags, keywords, ..Marks::default() };
            let mut whole = Vec::new();
            put_top(&marks, is_ended, "\r\n", &mut whole);
            // The last field that may stand there is ours only where it says so.
            prop_assume!(!(is_ended && text.to_ascii_lowercase().starts_with(b"x-pigeon-no-line-end")));
            whole.extend_from_slice(&text);
            let (heading, out) = read(&whole, true, step);
            prop_assert_eq!(out, text);
            prop_assert_eq!(heading.is_unended, !is_ended);
            if is_ended {
                prop_assert_eq!(heading.marks(), marks);
            }
        }
    }
}
