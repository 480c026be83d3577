//! mbox (RFC 4155; the variants mboxo and mboxrd): splitting it into messages and quoting for it, octets at a time. Holds
//! no more than one separator.

use super::from_line::parse_from_line;
use crate::store::Date;

const FROM: &[u8] = b"From ";
/// A separator is no longer.
const FROM_LINE_BYTES_MAX: usize = 1_024;

/// What an mbox holds, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Piece<'a> {
    /// A separator: a message begins.
    Begin {
        /// Its date, if it has one.
        date: Option<Date>,
        /// The separator ends with CRLF: then lines stand as they are, else they end with LF alone.
        is_crlf: bool,
    },
    /// Octets of the message, quoting undone.
    Text(&'a [u8]),
    /// The message has ended; the next separator, or the end of the file, is here.
    End {
        /// Octets from the start of the file.
        next: u64,
    },
}

/// Splits an mbox.
#[derive(Debug)]
pub(in crate::cli) struct Splitter {
    at: At,
    /// Octets from the start of the file.
    offset: u64,
    /// A blank line that belongs to the message, unless a separator or the end follows.
    blank: Option<&'static [u8]>,
    is_in_message: bool,
    /// Nothing but the file's start stands before.
    is_at_start: bool,
    separator: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    /// A CR at the start of a line.
    Cr,
    /// What may be a separator, kept aside.
    Separator,
    /// Behind the first `>` of a line and perhaps more, with so much of `From `.
    Quote(usize),
    Within,
}

impl Splitter {
    /// At a separator, so many octets from the start of the file.
    pub(in crate::cli) fn new(offset: u64) -> Self {
        let (at, separator) = (At::LineStart, Vec::new());
        Self { at, offset, blank: None, is_in_message: false, is_at_start: true, separator }
    }

    /// Takes octets. What stands before the first separator is passed over.
    pub(in crate::cli) fn feed<E>(
        &mut self,
        mut input: &[u8],
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(&octet) = input.first() {
            let taken = match self.at {
                At::LineStart => self.line_start(octet, sink)?,
                At::Cr if octet == b'\n' => {
                    self.blank_line(b"\r\n", sink)?;
                    1
                }
                At::Cr => {
                    self.text(b"\r", sink)?;
                    self.at = At::Within;
                    0
                }
                At::Separator => self.separator(input, sink)?,
                At::Quote(matched) => self.quote(matched, octet, sink)?,
                At::Within => {
                    let end = memchr::memchr(b'\n', input).map(|at| at + 1);
                    let line = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
                    self.text(line, sink)?;
                    if end.is_some() {
                        self.at = At::LineStart;
                    }
                    line.len()
                }
            };
            self.offset = self.offset.saturating_add(taken as u64);
            input = input.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// The file has ended.
    pub(in crate::cli) fn finish<E>(mut self, sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        match self.at {
            At::LineStart | At::Within => {}
            At::Cr => self.text(b"\r", sink)?,
            At::Separator => self.no_separator(sink)?,
            At::Quote(matched) => self.no_quote(matched, sink)?,
        }
        self.end(self.offset, sink)
    }

    fn line_start<E>(&mut self, octet: u8, sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<usize, E> {
        match octet {
            b'\n' => {
                self.blank_line(b"\n", sink)?;
                return Ok(1);
            }
            b'\r' => self.at = At::Cr,
            b'>' => {
                self.text(b"", sink)?;
                self.at = At::Quote(0);
            }
            b'F' => {
                self.separator.clear();
                self.at = At::Separator;
                return Ok(0);
            }
            _ => {
                self.at = At::Within;
                return Ok(0);
            }
        }
        Ok(1)
    }

    fn blank_line<E>(
        &mut self,
        line: &'static [u8],
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.text(b"", sink)?;
        self.blank = self.is_in_message.then_some(line);
        self.at = At::LineStart;
        Ok(())
    }

    /// Octets of a message, the blank line before them first.
    fn text<E>(&mut self, text: &[u8], sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        self.is_at_start = false;
        if !self.is_in_message {
            return Ok(());
        }
        if let Some(blank) = self.blank.take() {
            sink(Piece::Text(blank))?;
        }
        if text.is_empty() { Ok(()) } else { sink(Piece::Text(text)) }
    }

    fn separator<E>(&mut self, input: &[u8], sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<usize, E> {
        let room = FROM_LINE_BYTES_MAX.saturating_sub(self.separator.len());
        let end = memchr::memchr(b'\n', input).map_or(input.len(), |at| at + 1).min(room);
        let part = input.get(..end).unwrap_or_default();
        let start = self.offset.saturating_sub(self.separator.len() as u64);
        self.separator.extend_from_slice(part);
        let line = self.separator.as_slice();
        let is_from = line.iter().zip(FROM).all(|(octet, from)| octet == from);
        let is_whole = line.ends_with(b"\n");
        if is_from && !is_whole && line.len() < FROM_LINE_BYTES_MAX {
            return Ok(part.len());
        }
        let date = parse_from_line(line);
        // What follows no blank line is text, and so is what has no date; the file's first line is neither.
        let is_separator = is_from
            && is_whole
            && line.len() > FROM.len()
            && (self.is_at_start || (date.is_some() && (self.blank.is_some() || !self.is_in_message)));
        if !is_separator {
            self.no_separator(sink)?;
            self.at = if is_whole { At::LineStart } else { At::Within };
            return Ok(part.len());
        }
        let is_crlf = line.ends_with(b"\r\n");
        self.end(start, sink)?;
        self.at = At::LineStart;
        self.is_in_message = true;
        self.is_at_start = false;
        sink(Piece::Begin { date, is_crlf })?;
        Ok(part.len())
    }

    fn no_separator<E>(&mut self, sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.separator);
        self.text(&line, sink)
    }

    /// mboxrd: lines of any `>` and `From ` have one `>` too many. Of all the same octets any may be the one kept back.
    fn quote<E>(
        &mut self,
        matched: usize,
        octet: u8,
        sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        if matched == 0 && octet == b'>' {
            self.text(b">", sink)?;
            return Ok(1);
        }
        if FROM.get(matched) != Some(&octet) {
            self.no_quote(matched, sink)?;
            self.at = At::Within;
            return Ok(0);
        }
        self.at = At::Quote(matched + 1);
        if matched + 1 == FROM.len() {
            self.text(FROM, sink)?;
            self.at = At::Within;
        }
        Ok(1)
    }

    fn no_quote<E>(&mut self, matched: usize, sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        self.text(b">", sink)?;
        self.text(FROM.get(..matched).unwrap_or_default(), sink)
    }

    fn end<E>(&mut self, next: u64, sink: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        self.blank = None;
        if std::mem::take(&mut self.is_in_message) { sink(Piece::End { next }) } else { Ok(()) }
    }
}

/// Quotes a message as mboxrd has it: a line of any `>` and `From ` gets one `>` more.
#[derive(Debug)]
pub(in crate::cli) struct Quoter {
    /// At the start of a line, with so much of `From `; nothing within a line.
    matched: Option<usize>,
}

impl Quoter {
    /// At the start of a message.
    pub(in crate::cli) fn new() -> Self {
        Self { matched: Some(0) }
    }

    /// Appends `text`, quoted, to `out`.
    pub(in crate::cli) fn feed(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        while let Some((&octet, rest)) = text.split_first() {
            match self.matched {
                Some(0) if octet == b'>' => out.push(b'>'),
                Some(matched) if FROM.get(matched) == Some(&octet) => {
                    self.matched = Some(matched + 1);
                    if matched + 1 == FROM.len() {
                        out.extend_from_slice(b">From ");
                        self.matched = None;
                    }
                }
                Some(_) => {
                    self.finish(out);
                    continue;
                }
                None => {
                    let end = memchr::memchr(b'\n', text).map(|at| at + 1);
                    let (line, rest) = text.split_at_checked(end.unwrap_or(text.len())).unwrap_or((text, b""));
                    out.extend_from_slice(line);
                    self.matched = end.map(|_| 0);
                    text = rest;
                    continue;
                }
            }
            text = rest;
        }
    }

    /// Appends what was kept back.
    pub(in crate::cli) fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(FROM.get(..self.matched.take().unwrap_or(0)).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::archive::print_from_line;
    use proptest::prelude::*;
    use std::convert::Infallible;

    type Messages = Vec<(Option<Date>, bool, Vec<u8>, u64)>;

    /// The messages of an mbox whose octets come in pieces of at most `step`.
    fn split(text: &[u8], step: usize) -> Messages {
        let mut messages: Messages = Vec::new();
        let mut ended = true;
        let mut sink = |piece: Piece<'_>| {
            match piece {
                Piece::Begin { date, is_crlf } => {
                    assert!(ended, "a message begins within another");
                    ended = false;
                    messages.push((date, is_crlf, Vec::new(), 0));
                }
                Piece::Text(text) => messages.last_mut().unwrap().2.extend_from_slice(text),
                Piece::End { next } => {
                    ended = true;
                    messages.last_mut().unwrap().3 = next;
                }
            }
            Ok::<_, Infallible>(())
        };
        let mut splitter = Splitter::new(0);
        for part in text.chunks(step) {
            splitter.feed(part, &mut sink).unwrap();
        }
        splitter.finish(&mut sink).unwrap();
        assert!(ended);
        messages
    }

    const SEPARATOR: &str = "From a@b Fri Jul  8 12:08:34 2011\n";

    #[test]
    fn messages_end_before_the_blank_line_of_the_next_separator() {
        for (text, bodies, why) in [
            ("S1\n\nS", vec!["1\n", ""], "one line, then none"),
            ("Sa: b\n\nc\n\n\nSd\n", vec!["a: b\n\nc\n\n", "d\n"], "a blank line of the message's own"),
            ("Sa\nFrom here on\n", vec!["a\nFrom here on\n"], "text: nothing blank before it"),
            ("Sa\n\nFrom here on\n", vec!["a\n\nFrom here on\n"], "text: no date"),
            ("Sa\nSb", vec!["a\nFrom a@b Fri Jul  8 12:08:34 2011\nb"], "text: nothing blank before it"),
            ("S>From x\n>>From y\n>Fro\n>> From\n>\n", vec!["From x\n>From y\n>Fro\n>> From\n>\n"], "quoting undone"),
            ("Sa\n\nFrom", vec!["a\n\nFrom"], "cut within what may be a separator"),
            ("Sa\n>From", vec!["a\n>From"], "cut within a quoted line"),
            ("Sa\n\r", vec!["a\n\r"], "cut within a line end"),
            ("junk\n\nSa\n", vec!["a\n"], "what no separator stands before is passed over"),
            ("From nobody\na\n", vec!["a\n"], "the first line needs no date"),
            ("", vec![], "nothing"),
        ] {
            // S at a line's start, or the text's.
            let text = text.replace('S', SEPARATOR);
            for step in 1..text.len().max(2) {
                let found: Vec<String> =
                    split(text.as_bytes(), step).into_iter().map(|it| String::from_utf8(it.2).unwrap()).collect();
                assert_eq!(found, bodies, "{why}, {step} at a time");
            }
        }
    }

    #[test]
    fn a_message_says_where_the_next_one_is() {
        let text = format!("{SEPARATOR}a\n\n{SEPARATOR}b\n");
        let found = split(text.as_bytes(), 7);
        let next = usize::try_from(found[0].3).unwrap();
        assert_eq!(text.as_bytes()[next..], *format!("{SEPARATOR}b\n").as_bytes());
        assert_eq!(found[1].3, text.len() as u64);
    }

    #[test]
    fn a_separator_says_how_lines_end() {
        let text = format!("{SEPARATOR}a\n\n{}b\r\n\r\n", SEPARATOR.replace('\n', "\r\n"));
        let found = split(text.as_bytes(), 5);
        assert_eq!((found[0].1, found[0].2.as_slice()), (false, &b"a\n"[..]));
        assert_eq!((found[1].1, found[1].2.as_slice()), (true, &b"b\r\n"[..]));
    }

    /// Octets that mean something here, more often than others.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(b"From ".to_vec()),
            Just(SEPARATOR.as_bytes().to_vec()),
            Just(b">".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\r".to_vec()),
            any::<Vec<u8>>(),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(bodies in prop::collection::vec(body(), 0..5), step in 1_usize..40, unix_s in 0_i64..2_000_000_000) {
            let date = Date { unix_s, zone_minutes: 0 };
            let (mut text, mut whole) = (Vec::new(), Vec::new());
            for body in &bodies {
                // Every message ends with a line end there.
                let body = [body.as_slice(), b"\r\n"].concat();
                text.extend_from_slice(print_from_line(date).as_bytes());
                text.extend_from_slice(b"\r\n");
                let mut quoter = Quoter::new();
                for part in body.chunks(step) {
                    quoter.feed(part, &mut text);
                }
                quoter.finish(&mut text);
                text.extend_from_slice(b"\r\n");
                whole.push(body);
            }
            let found = split(&text, step);
            prop_assert!(found.iter().all(|it| it.0 == Some(date) && it.1));
            prop_assert_eq!(found.into_iter().map(|it| it.2).collect::<Vec<_>>(), whole);
        }

        #[test]
        fn octets_split_the_same_however_they_come(text in body(), step in 1_usize..20) {
            let text = [SEPARATOR.as_bytes(), &text].concat();
            prop_assert_eq!(split(&text, step), split(&text, text.len()));
        }
    }
}
