//! A message's octets as DATA and BDAT bring them. Of either every line ends with CRLF (RFC 5321 section 2.3.8; RFC 3030
//! section 2 knows other octets only with BINARYMIME, which is not on offer); of DATA the dots are taken off and the end is
//! found, and only at CRLF.CRLF (RFC 5321 sections 4.1.1.4 and 4.5.2). A bare CR or LF never ends anything: it is a fault, and
//! the message is read to its real end. Pure and streaming; holds no octet.

use super::limits::TEXT_LINE_BYTES_MAX;
use memchr::memchr3;

/// What is wrong with a message's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A CR without LF or a LF without CR (RFC 5321 section 2.3.8): servers that disagree about them let mail be smuggled.
    BareLineEnd,
    /// A line longer than [`TEXT_LINE_BYTES_MAX`].
    LineTooLong,
    /// A NUL.
    Nul,
}

/// Watches lines of text go by, whatever command brings them and wherever they are cut. Begins at the start of a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    place: Place,
    line_bytes: usize,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// After CRLF, or before the first octet.
    #[default]
    Start,
    /// Inside a line.
    Inside,
    /// After a CR.
    Cr,
}

impl Lines {
    /// Takes octets, all of them.
    pub(super) fn pass(&mut self, octets: &[u8]) {
        self.run(octets, false);
    }

    /// The text has ended: a CR at its end is bare; a line need not have ended.
    pub(super) fn end(&mut self) {
        if self.place == Place::Cr {
            self.found(Fault::BareLineEnd);
        }
    }

    /// The first fault so far: the message is to be refused at its end.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Takes octets, up to a dot that begins a line if there such dots mean something; how many those were.
    fn run(&mut self, octets: &[u8], with_dots: bool) -> usize {
        let mut at = 0;
        while let Some(&octet) = octets.get(at) {
            match (self.place, octet) {
                (Place::Start, b'.') if with_dots => break,
                (Place::Cr, b'\n') => {
                    self.place = Place::Start;
                    self.line_bytes = 0;
                    at += 1;
                }
                (Place::Cr, _) => {
                    self.found(Fault::BareLineEnd);
                    self.place = Place::Inside;
                }
                (_, b'\r') => {
                    self.place = Place::Cr;
                    at += 1;
                }
                (_, b'\n') => {
                    self.found(Fault::BareLineEnd);
                    self.place = Place::Inside;
                    at += 1;
                }
                (_, 0) => {
                    self.found(Fault::Nul);
                    self.place = Place::Inside;
                    at += 1;
                }
                _ => {
                    let rest = octets.get(at..).unwrap_or_default();
                    let length = memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                    self.line_bytes = self.line_bytes.saturating_add(length);
                    if self.line_bytes > TEXT_LINE_BYTES_MAX {
                        self.found(Fault::LineTooLong);
                    }
                    self.place = Place::Inside;
                    at += length;
                }
            }
        }
        at
    }

    fn found(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

/// Reads DATA. Begins at the start of a line.
#[derive(Debug, Default)]
pub(super) struct DotReader {
    lines: Lines,
    dot: Dot,
}

/// One step through the octets given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    /// Text of the message, dots taken off.
    pub(super) text: &'a [u8],
    /// Octets of the input that are done with; at least one unless the input was empty.
    pub(super) used: usize,
    /// Whether the message has ended; what follows is the next command.
    pub(super) ended: bool,
}

/// A dot that began the line at hand and was taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Dot {
    /// None did, or more has come behind it.
    #[default]
    None,
    /// Nothing has come behind it.
    Alone,
    /// A CR has.
    Cr,
}

impl DotReader {
    /// Takes a first part of `octets`; call again with the rest until it is used up or the message has ended.
    pub(super) fn step<'a>(&mut self, octets: &'a [u8]) -> Step<'a> {
        let mut start = 0;
        if self.dot == Dot::None && self.lines.place == Place::Start && octets.first() == Some(&b'.') {
            self.dot = Dot::Alone;
            start += 1;
        }
        if self.dot == Dot::Alone {
            match octets.get(start) {
                None => return Step { text: b"", used: start, ended: false },
                Some(b'\r') => {
                    self.dot = Dot::Cr;
                    start += 1;
                }
                Some(_) => self.go_on_behind_dot(),
            }
        }
        if self.dot == Dot::Cr {
            match octets.get(start) {
                None => return Step { text: b"", used: start, ended: false },
                Some(b'\n') => return Step { text: b"", used: start + 1, ended: true },
                Some(_) => {
                    self.lines.found(Fault::BareLineEnd);
                    self.go_on_behind_dot();
                }
            }
        }
        let rest = octets.get(start..).unwrap_or_default();
        let length = self.lines.run(rest, true);
        Step { text: rest.get(..length).unwrap_or_default(), used: start + length, ended: false }
    }

    /// The first fault so far: the message is to be refused at its end.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.lines.fault()
    }

    /// What comes is text, a second dot too.
    fn go_on_behind_dot(&mut self) {
        self.dot = Dot::None;
        self.lines.place = Place::Inside;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text, the fault, and how many octets were used when the end came; fed in pieces of `piece` octets.
    fn read(input: &[u8], piece: usize) -> (Vec<u8>, Option<Fault>, Option<usize>) {
        let (mut reader, mut text, mut used) = (DotReader::default(), Vec::new(), 0);
        for part in input.chunks(piece) {
            let mut rest = part;
            while !rest.is_empty() {
                let step = reader.step(rest);
                assert!(step.used > 0, "every step goes on");
                text.extend_from_slice(step.text);
                used += step.used;
                rest = &rest[step.used..];
                if step.ended {
                    return (text, reader.fault(), Some(used));
                }
            }
        }
        (text, reader.fault(), None)
    }

    #[test]
    fn dots_are_taken_off_and_the_end_is_found() {
        let rows: [(&str, &str, &str); 8] = [
            ("a\r\n.\r\n", "a\r\n", "RFC 5321 4.1.1.4"),
            (".\r\n", "", "the CRLF of the DATA line counts as the one before the dot"),
            ("..\r\n.\r\n", ".\r\n", "RFC 5321 4.5.2: a dot is taken off"),
            ("...\r\n.\r\n", "..\r\n", "only one dot"),
            (".a\r\n.\r\n", "a\r\n", "RFC 5321 4.5.2: whatever follows the dot"),
            ("a.\r\n.\r\n", "a.\r\n", "a dot inside a line is text"),
            ("\r\n\r\n.\r\n", "\r\n\r\n", "empty lines"),
            ("\u{e4}", "\u{e4}", "8-bit text; no end yet"),
        ];
        for (input, text, why) in rows {
            let end = input.ends_with(".\r\n").then_some(input.len());
            for piece in 1..=input.len() {
                assert_eq!(read(input.as_bytes(), piece), (text.into(), None, end), "{input:?}: {why}, by {piece}");
            }
        }
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message_and_bare_line_ends_are_faults() {
        // Each is followed by a real end, and MAIL in between must stay text (smuggling).
        for input in [
            "a\n.\nMAIL\r\n.\r\n",
            "a\n.\r\nMAIL\r\n.\r\n",
            "a\r\n.\nMAIL\r\n.\r\n",
            "a\r.\rMAIL\r\n.\r\n",
            "a\r\n.\rMAIL\r\n.\r\n",
            "a\r.\r\nMAIL\r\n.\r\n",
            "a\r\r\n.\r\rMAIL\r\n.\r\n",
            "a\r\n.\r\r\nMAIL\r\n.\r\n",
            "\n.\r\nMAIL\r\n.\r\n",
            ".\nMAIL\r\n.\r\n",
        ] {
            for piece in 1..=input.len() {
                let (text, fault, end) = read(input.as_bytes(), piece);
                assert_eq!((fault, end), (Some(Fault::BareLineEnd), Some(input.len())), "{input:?} by {piece}");
                assert!(text.ends_with(b"MAIL\r\n"), "{input:?} by {piece}");
            }
        }
    }

    #[test]
    fn nul_and_endless_lines_are_faults_and_the_end_is_still_found() {
        assert_eq!(read(b"a\0b\r\n.\r\n", 3).1, Some(Fault::Nul));
        let line = |length: usize| [vec![b'x'; length], b"\r\n.\r\n".to_vec()].concat();
        let longest = line(TEXT_LINE_BYTES_MAX);
        assert_eq!(read(&longest, 8192), (longest[..longest.len() - 3].to_vec(), None, Some(longest.len())));
        let (_, fault, end) = read(&line(TEXT_LINE_BYTES_MAX + 1), 8192);
        assert_eq!((fault, end.is_some()), (Some(Fault::LineTooLong), true));
    }

    /// The fault of a text in chunks of `piece` octets.
    fn passed(text: &[u8], piece: usize) -> Option<Fault> {
        let mut lines = Lines::default();
        text.chunks(piece).for_each(|part| lines.pass(part));
        lines.end();
        lines.fault()
    }

    #[test]
    fn a_text_without_dots_has_the_same_rule() {
        let rows: [(&str, Option<Fault>, &str); 8] = [
            ("a\r\n.\r\n..\r\n", None, "RFC 3030 2: a dot means nothing"),
            ("", None, "nothing at all"),
            ("a\r\nb", None, "the last line need not end"),
            ("a\nb\r\n", Some(Fault::BareLineEnd), "RFC 5321 2.3.8: a bare LF"),
            ("a\rb\r\n", Some(Fault::BareLineEnd), "a bare CR"),
            ("a\r\r\n", Some(Fault::BareLineEnd), "a bare CR before CRLF"),
            ("a\r\n\r", Some(Fault::BareLineEnd), "a CR that nothing follows"),
            ("a\0\r\n\n", Some(Fault::Nul), "the first fault counts"),
        ];
        for (text, fault, why) in rows {
            for piece in 1..=text.len().max(1) {
                assert_eq!(passed(text.as_bytes(), piece), fault, "{text:?}: {why}, by {piece}");
            }
        }
    }

    /// A client's side (RFC 5321 section 4.5.2).
    fn stuffed(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in text.split_inclusive(|&octet| octet == b'\n') {
            if line.first() == Some(&b'.') {
                out.push(b'.');
            }
            out.extend_from_slice(line);
        }
        out.extend_from_slice(b".\r\n");
        out
    }

    proptest! {
        #[test]
        fn what_a_client_stuffs_comes_out_as_it_was(text in "((\\.{0,3}[a-z\u{e4}]{0,4}\\.?)\r\n){0,6}", piece in 1usize..20) {
            let sent = stuffed(text.as_bytes());
            prop_assert_eq!(read(&sent, piece), (text.into_bytes(), None, Some(sent.len())));
        }

        #[test]
        fn a_text_is_as_good_by_chunks_as_behind_data(text in "[\\.\r\na\0]{0,24}", piece in 1usize..8) {
            // DATA ends with a line end: what has none is given one.
            let text = format!("{text}\r\n");
            let (_, fault, end) = read(&stuffed(text.as_bytes()), piece);
            prop_assert_eq!((passed(text.as_bytes(), piece), true), (fault, end.is_some()));
        }

        #[test]
        fn how_octets_are_cut_makes_no_difference(input in "[\\.\r\na\0]{0,24}", piece in 1usize..8) {
            prop_assert_eq!(read(input.as_bytes(), piece), read(input.as_bytes(), input.len().max(1)));
        }
    }
}
