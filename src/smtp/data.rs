//! What follows DATA (RFC 5321 sections 4.1.1.4 and 4.5.2): dots are taken off, the end is found, and only at
//! CRLF.CRLF. A bare CR or LF never ends anything: it is a fault, and the message is read to its real end. Pure and
//! streaming; holds no octet.

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

/// Reads DATA. Begins at the start of a line.
#[derive(Debug, Default)]
pub(super) struct DotReader {
    state: State,
    line_bytes: usize,
    fault: Option<Fault>,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// After CRLF, or before the first octet.
    #[default]
    LineStart,
    /// A dot began the line and was taken off.
    Dot,
    /// CR after such a dot.
    DotCr,
    /// Inside a line.
    Text,
    /// After a CR.
    Cr,
}

impl DotReader {
    /// Takes a first part of `octets`; call again with the rest until it is used up or the message has ended.
    pub(super) fn step<'a>(&mut self, octets: &'a [u8]) -> Step<'a> {
        let mut start = 0;
        if self.state == State::LineStart && octets.first() == Some(&b'.') {
            self.state = State::Dot;
            start += 1;
        }
        if self.state == State::Dot {
            match octets.get(start) {
                None => return Step { text: b"", used: start, ended: false },
                Some(b'\r') => {
                    self.state = State::DotCr;
                    start += 1;
                }
                Some(_) => self.state = State::Text,
            }
        }
        if self.state == State::DotCr {
            match octets.get(start) {
                None => return Step { text: b"", used: start, ended: false },
                Some(b'\n') => return Step { text: b"", used: start + 1, ended: true },
                Some(_) => {
                    self.found(Fault::BareLineEnd);
                    self.state = State::Text;
                }
            }
        }
        let rest = octets.get(start..).unwrap_or_default();
        let length = self.run(rest);
        Step { text: rest.get(..length).unwrap_or_default(), used: start + length, ended: false }
    }

    /// The first fault so far: the message is to be refused at its end.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// How many of `octets` are text, up to a dot that begins a line.
    fn run(&mut self, octets: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&octet) = octets.get(at) {
            match (self.state, octet) {
                (State::LineStart, b'.') => break,
                (State::Cr, b'\n') => {
                    self.state = State::LineStart;
                    self.line_bytes = 0;
                    at += 1;
                }
                (State::Cr, _) => {
                    self.found(Fault::BareLineEnd);
                    self.state = State::Text;
                }
                (_, b'\r') => {
                    self.state = State::Cr;
                    at += 1;
                }
                (_, b'\n') => {
                    self.found(Fault::BareLineEnd);
                    self.state = State::Text;
                    at += 1;
                }
                (_, 0) => {
                    self.found(Fault::Nul);
                    self.state = State::Text;
                    at += 1;
                }
                _ => {
                    let rest = octets.get(at..).unwrap_or_default();
                    let length = memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                    self.line_bytes = self.line_bytes.saturating_add(length);
                    if self.line_bytes > TEXT_LINE_BYTES_MAX {
                        self.found(Fault::LineTooLong);
                    }
                    self.state = State::Text;
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
        fn how_octets_are_cut_makes_no_difference(input in "[\\.\r\na\0]{0,24}", piece in 1usize..8) {
            prop_assert_eq!(read(input.as_bytes(), piece), read(input.as_bytes(), input.len().max(1)));
        }
    }
}
