//! A message as RETR and TOP send it (RFC 1939 sections 3 and 5): its octets as they are stored, a dot doubled where a line
//! begins with one, a line end before the last dot if the message has none. Pure: octets in, pieces out.
//!
//! A line begins after any LF, though RFC 1939 knows only CRLF: most programs read lines so, and none of them shall take a
//! bare LF and a dot inside a message for its end.

use super::grammar::Lines;

/// Where in a message the sender is.
#[derive(Debug)]
pub(super) struct Sender {
    /// At the start of a line.
    at_start: bool,
    /// The last octets sent end a line as RFC 1939 means it; so does the reply line before an empty message.
    ends_line: bool,
    last: u8,
    cut: Cut,
}

/// What is still to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// All of it: RETR.
    Nowhere,
    /// TOP: the header, the empty line, and then so many lines; `blank` while the current line has nothing but a CR.
    Header { lines: u64, blank: bool },
    /// TOP: so many lines more.
    Body { lines: u64 },
}

/// Octets to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// A dot goes first.
    pub(super) is_stuffed: bool,
    pub(super) octets: &'a [u8],
}

impl Sender {
    /// Sends all: RETR.
    pub(super) fn whole() -> Self {
        Self { at_start: true, ends_line: true, last: b'\n', cut: Cut::Nowhere }
    }

    /// Sends the header and so many lines of the body: TOP.
    pub(super) fn top(lines: Lines) -> Self {
        Self { cut: Cut::Header { lines: lines.0, blank: true }, ..Self::whole() }
    }

    /// Whether everything that was asked for has been sent, though the message may go on.
    pub(super) fn is_done(&self) -> bool {
        self.cut == Cut::Body { lines: 0 }
    }

    /// Takes the next piece off `rest`; `None` when nothing of it is to be sent. RETR's pieces span lines.
    pub(super) fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Option<Piece<'a>> {
        let first = *rest.first().filter(|_| !self.is_done())?;
        let is_stuffed = self.at_start && first == b'.';
        let length = match self.cut {
            // Up to the next line that begins with a dot.
            Cut::Nowhere => memchr::memmem::find(rest, b"\n.").map_or(rest.len(), |at| at + 1),
            Cut::Header { .. } | Cut::Body { .. } => memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1),
        };
        let (octets, after) = rest.split_at_checked(length)?;
        *rest = after;
        self.sent(octets);
        Some(Piece { is_stuffed, octets })
    }

    /// What ends the reply.
    pub(super) fn end(&self) -> &'static [u8] {
        if self.ends_line { b".\r\n" } else { b"\r\n.\r\n" }
    }

    fn sent(&mut self, octets: &[u8]) {
        let Some((&last, before)) = octets.split_last() else {
            return;
        };
        self.at_start = last == b'\n';
        self.ends_line = self.at_start && before.last().copied().unwrap_or(self.last) == b'\r';
        self.last = last;
        self.cut = match self.cut {
            Cut::Nowhere => Cut::Nowhere,
            Cut::Header { lines, blank } => {
                let blank = blank && octets.iter().all(|octet| matches!(octet, b'\r' | b'\n'));
                match (self.at_start, blank) {
                    (true, true) => Cut::Body { lines },
                    (true, false) => Cut::Header { lines, blank: true },
                    (false, blank) => Cut::Header { lines, blank },
                }
            }
            Cut::Body { lines } => Cut::Body { lines: lines.saturating_sub(u64::from(self.at_start)) },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_goes_out_as_it_is_with_dots_doubled_and_an_end() {
        let rows: [(&[u8], &[u8], &str); 10] = [
            (b"", b".\r\n", "an empty message"),
            (b"A: b\r\n\r\nc\r\n", b"A: b\r\n\r\nc\r\n.\r\n", "nothing to do"),
            (b"A: b\r\n\r\n.\r\n", b"A: b\r\n\r\n..\r\n.\r\n", "a lonely dot"),
            (b".a\r\n..b\r\nc.\r\n", b"..a\r\n...b\r\nc.\r\n.\r\n", "dots at the start of lines only"),
            (b"a", b"a\r\n.\r\n", "no line end"),
            (b"a\r", b"a\r\r\n.\r\n", "half a line end"),
            (b"a\n", b"a\n\r\n.\r\n", "a bare LF ends no reply"),
            (b"a\n.\r\nb\r\n", b"a\n..\r\nb\r\n.\r\n", "a dot after a bare LF must not look like the end"),
            (b"a\r.\r\n", b"a\r.\r\n.\r\n", "a bare CR begins no line"),
            (b"a\0\xff\r\n", b"a\0\xff\r\n.\r\n", "octets of any kind"),
        ];
        for (message, expected, why) in rows {
            for step in 1..=message.len().max(1) {
                let sent = send(Sender::whole(), message, step);
                assert_eq!(sent.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{why}, by {step}");
            }
        }
    }

    #[test]
    fn top_sends_the_header_the_empty_line_and_so_many_lines() {
        let rows: [(u64, &[u8], &[u8], &str); 10] = [
            (0, b"A: b\r\nC: d\r\n\r\ne\r\n", b"A: b\r\nC: d\r\n\r\n.\r\n", "no lines"),
            (1, b"A: b\r\n\r\ne\r\nf\r\n", b"A: b\r\n\r\ne\r\n.\r\n", "one line"),
            (9, b"A: b\r\n\r\ne\r\nf\r\n", b"A: b\r\n\r\ne\r\nf\r\n.\r\n", "more than there are: all (RFC 1939 7)"),
            (u64::MAX, b"A: b\r\n\r\ne\r\nf", b"A: b\r\n\r\ne\r\nf\r\n.\r\n", "no line end at the end"),
            (5, b"A: b\r\n", b"A: b\r\n.\r\n", "no body"),
            (1, b"\r\nbody\r\nmore\r\n", b"\r\nbody\r\n.\r\n", "no header"),
            (1, b"A: b\n\ne\nf\n", b"A: b\n\ne\n\r\n.\r\n", "bare LF"),
            (2, b"A: b\r\n\r\n.e\r\n.f\r\n.g\r\n", b"A: b\r\n\r\n..e\r\n..f\r\n.\r\n", "dots"),
            (
                1,
                b"A: b\r\n \r\n\r\nc\r\nd\r\n",
                b"A: b\r\n \r\n\r\nc\r\n.\r\n",
                "a line of white space is no empty line",
            ),
            (2, b"A: b\r\n\r\n\r\n\r\nc\r\n", b"A: b\r\n\r\n\r\n\r\n.\r\n", "empty lines count"),
        ];
        for (lines, message, expected, why) in rows {
            for step in 1..=message.len() {
                let sent = send(Sender::top(Lines(lines)), message, step);
                assert_eq!(sent.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{why}, by {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_client_gets_back_what_is_stored(message in "[a.\r\n]{0,60}", step in 1usize..9) {
            let sent = send(Sender::whole(), message.as_bytes(), step);
            // A client that reads by LF: takes the doubled dots away, ends at a line of one dot.
            let mut got = Vec::new();
            let mut lines = sent.split_inclusive(|octet| *octet == b'\n');
            for line in lines.by_ref() {
                if line == b".\r\n" {
                    break;
                }
                got.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            }
            prop_assert_eq!(lines.next(), None, "the end comes once, at the end");
            let rest = got.strip_prefix(message.as_bytes());
            let whole: &[u8] = if message.is_empty() || message.ends_with("\r\n") { b"" } else { b"\r\n" };
            prop_assert_eq!(rest, Some(whole));
            prop_assert!(sent == b".\r\n" || sent.ends_with(b"\r\n.\r\n"));
        }
    }

    fn send(mut sender: Sender, message: &[u8], step: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        for mut chunk in message.chunks(step) {
            while let Some(piece) = sender.next(&mut chunk) {
                if piece.is_stuffed {
                    sent.push(b'.');
                }
                sent.extend_from_slice(piece.octets);
            }
        }
        sent.extend_from_slice(sender.end());
        sent
    }
}
