//! Raw header bytes: iteration over fields, unfolding, and the filter of BODY[HEADER.FIELDS] (RFC 5322 2.2, RFC 3501
//! 6.4.5). Changes no byte it passes on.

/// A header field as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What stands before the colon, trailing spaces taken away; empty when there is no colon.
    pub name: &'a [u8],
    /// What follows the colon (all of the line when there is none), folded, without the last line end. See [`unfold`].
    pub value: &'a [u8],
    /// All of it, with its line ends.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Whether it has this name, without regard to case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header; ends at the blank line. Lines end with LF, whether or not a CR stands before it.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        if rest.is_empty() || is_blank(rest) {
            return None;
        }
        let mut end = line_bytes(rest);
        while let Some(next @ [b' ' | b'\t', ..]) = rest.get(end..) {
            end += line_bytes(next);
        }
        let (raw, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(field(raw))
    })
}

fn field(raw: &[u8]) -> Field<'_> {
    let line = without_line_end(raw);
    match memchr::memchr(b':', line).and_then(|colon| line.split_at_checked(colon)) {
        Some((name, value)) => Field { name: name.trim_ascii_end(), value: value.get(1..).unwrap_or(b""), raw },
        None => Field { name: b"", value: line, raw },
    }
}

/// Octets of the first line, its end included.
fn line_bytes(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

fn is_blank(text: &[u8]) -> bool {
    text.starts_with(b"\n") || text.starts_with(b"\r\n")
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A value without its line ends and outer white space (RFC 5322 2.2.3). NUL, which nothing may hold, goes; a CR or LF
/// that ends no line, which broken programs leave, becomes a space.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut octets = value.trim_ascii().iter().copied().peekable();
    while let Some(b) = octets.next() {
        match b {
            b'\0' => {}
            b'\r' if octets.peek() == Some(&b'\n') => {}
            b'\n' if matches!(octets.peek(), Some(b' ' | b'\t')) => {}
            b'\r' | b'\n' => plain.push(b' '),
            _ => plain.push(b),
        }
    }
    plain
}

/// Which fields HEADER.FIELDS asks for.
#[derive(Clone, Copy, Debug)]
pub enum FieldNames<'a> {
    /// HEADER.FIELDS: these.
    Only(&'a [Vec<u8>]),
    /// HEADER.FIELDS.NOT: all but these.
    Not(&'a [Vec<u8>]),
}

/// Passes on the fields asked for and the blank line, byte for byte, while a header streams through it. Holds no more
/// than the start of one field, up to the longest name asked for.
#[derive(Debug)]
pub struct FieldFilter<'a> {
    names: FieldNames<'a>,
    name_bytes_max: usize,
    state: State,
    /// The line that has begun, while it is not known what it is.
    held: Vec<u8>,
    /// Whether the field at hand passes.
    passes: bool,
}

/// White space between a field's name and its colon, octets that are looked at.
const SPACE_BEFORE_COLON_BYTES_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the first octet of a line, or after a CR that may be all of a blank line's.
    LineStart,
    /// In a field's name that may still be one of those asked for.
    Name,
    /// In the rest of a line.
    Line,
    /// The blank line has been.
    End,
}

impl<'a> FieldFilter<'a> {
    /// At the first octet of a header.
    pub fn new(names: FieldNames<'a>) -> Self {
        let (FieldNames::Only(list) | FieldNames::Not(list)) = names;
        let name_bytes_max = list.iter().map(Vec::len).max().unwrap_or(0);
        Self { names, name_bytes_max, state: State::LineStart, held: Vec::new(), passes: false }
    }

    /// Takes the next octets of the header (the span of [`super::Wanted::Header`]), cut anywhere; gives those that pass
    /// to `sink`. Octets after the blank line are passed over.
    pub fn feed(&mut self, octets: &[u8], sink: &mut dyn FnMut(&[u8])) {
        let mut rest = octets;
        while let Some((&b, after)) = rest.split_first() {
            match self.state {
                State::LineStart => rest = self.line_start(b, rest, after, sink),
                State::Name => {
                    self.name(b, sink);
                    rest = after;
                }
                State::Line => {
                    let (piece, after) = rest.split_at_checked(line_bytes(rest)).unwrap_or((rest, b""));
                    if self.passes {
                        sink(piece);
                    }
                    if piece.ends_with(b"\n") {
                        self.state = State::LineStart;
                    }
                    rest = after;
                }
                State::End => return,
            }
        }
    }

    /// The header is whole.
    pub fn finish(mut self, sink: &mut dyn FnMut(&[u8])) {
        if self.state == State::Name || !self.held.is_empty() {
            self.decide(sink);
        }
    }

    /// Looks at octet `b`, the first of `rest`, at a line's start; gives what is still to look at.
    fn line_start<'b>(&mut self, b: u8, rest: &'b [u8], after: &'b [u8], sink: &mut dyn FnMut(&[u8])) -> &'b [u8] {
        match (b, self.held.is_empty()) {
            (b'\n', _) => {
                self.held.push(b);
                sink(&self.held);
                self.held.clear();
                self.state = State::End;
                after
            }
            (b'\r', true) => {
                self.held.push(b);
                after
            }
            (b' ' | b'\t', true) => {
                self.state = State::Line;
                rest
            }
            _ => {
                self.state = State::Name;
                rest
            }
        }
    }

    /// Looks at the next octet of a line that begins a field.
    fn name(&mut self, b: u8, sink: &mut dyn FnMut(&[u8])) {
        let after_name = matches!(self.held.last(), Some(b' ' | b'\t'));
        self.held.push(b);
        // A name may be followed by white space before its colon (RFC 5322 4.5).
        let is_end = matches!(b, b':' | b'\n') || after_name && !matches!(b, b' ' | b'\t');
        if is_end || self.held.len() > self.name_bytes_max + SPACE_BEFORE_COLON_BYTES_MAX + 1 {
            self.decide(sink);
            self.state = if b == b'\n' { State::LineStart } else { State::Line };
        }
    }

    /// The held octets tell whether the field passes. A line without a colon is no field and has no name.
    fn decide(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let name = self.held.strip_suffix(b":").map(<[u8]>::trim_ascii_end);
        let listed = |list: &[Vec<u8>]| name.is_some_and(|name| list.iter().any(|n| n.eq_ignore_ascii_case(name)));
        self.passes = match self.names {
            FieldNames::Only(list) => listed(list),
            FieldNames::Not(list) => !listed(list),
        };
        if self.passes {
            sink(&self.held);
        }
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &[u8] =
        b"Received: a\r\n by b\r\nSubject : Hi\r\n\tthere\r\nno colon here\r\nX:\nTo: x\r\n\r\nBody: no\r\n";

    #[test]
    fn fields_are_told_apart() {
        let seen: Vec<_> = fields(HEADER).map(|f| (f.name, unfold(f.value))).collect();
        let expected: [(&[u8], &[u8]); 5] =
            [(b"Received", b"a by b"), (b"Subject", b"Hi\tthere"), (b"", b"no colon here"), (b"X", b""), (b"To", b"x")];
        assert_eq!(seen, expected.map(|(n, v)| (n, v.to_vec())));
    }

    #[test]
    fn unfolding_takes_line_ends_only() {
        for (folded, plain, why) in [
            (&b" a\r\n b"[..], &b"a b"[..], "RFC 5322 2.2.3"),
            (b"\r\n a", b"a", "all on the second line"),
            (b"a\n\tb", b"a\tb", "bare LF"),
            (b"a\rb", b"a b", "bare CR"),
            (b"a\0b", b"ab", "NUL"),
            (b"a  b ", b"a  b", "inner spaces stay"),
            (b"", b"", "empty"),
        ] {
            assert_eq!(unfold(folded), plain, "{why}");
        }
    }

    fn filtered(names: FieldNames<'_>, header: &[u8], piece_bytes: usize) -> Vec<u8> {
        let mut passed = Vec::new();
        let mut filter = FieldFilter::new(names);
        for piece in header.chunks(piece_bytes) {
            filter.feed(piece, &mut |octets| passed.extend_from_slice(octets));
        }
        filter.finish(&mut |octets| passed.extend_from_slice(octets));
        passed
    }

    #[test]
    fn header_fields_are_filtered_byte_for_byte() {
        let subject = [b"SUBJECT".to_vec(), b"x".to_vec()];
        assert_eq!(filtered(FieldNames::Only(&subject), HEADER, 1000), b"Subject : Hi\r\n\tthere\r\nX:\n\r\n");
        assert_eq!(
            filtered(FieldNames::Not(&subject), HEADER, 1000),
            b"Received: a\r\n by b\r\nno colon here\r\nTo: x\r\n\r\n"
        );
        assert_eq!(filtered(FieldNames::Only(&[]), HEADER, 1000), b"\r\n", "the blank line always (RFC 3501 6.4.5)");
        assert_eq!(
            filtered(FieldNames::Only(&subject), b"Subject: a", 1000),
            b"Subject: a",
            "no blank line, none given"
        );
        assert_eq!(
            filtered(FieldNames::Only(&subject), b"Subjects: a\r\nSub: b\r\n\r\n", 1000),
            b"\r\n",
            "whole names"
        );
        assert_eq!(filtered(FieldNames::Only(&subject), b"x", 1000), b"", "no colon, no name");
        assert_eq!(filtered(FieldNames::Not(&subject), b"\r", 1000), b"\r");
    }

    proptest! {
        #[test]
        fn any_cut_filters_the_same(
            header in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b':'), Just(b'a'), Just(b'b')], 0..60),
            piece_bytes in 1usize..7,
            not in any::<bool>(),
        ) {
            let list = [b"a".to_vec(), b"ab".to_vec(), b"b".to_vec()];
            let names = if not { FieldNames::Not(&list) } else { FieldNames::Only(&list) };
            let whole = filtered(names, &header, 1000);
            prop_assert_eq!(&whole, &filtered(names, &header, piece_bytes));
        }

        #[test]
        fn only_and_not_share_the_fields(header in "([A-c]{1,3} ?:[ a]{0,3}\r?\n|[ \t]x\n|[ab]\n){0,8}\r\n") {
            let list = [b"a".to_vec(), b"bb".to_vec()];
            let only = filtered(FieldNames::Only(&list), header.as_bytes(), 1000);
            let not = filtered(FieldNames::Not(&list), header.as_bytes(), 1000);
            prop_assert!(only.len() + not.len() <= header.len() + 2);
            let named: Vec<u8> = fields(header.as_bytes())
                .filter(|f| (f.is("a") || f.is("bb")) && !f.raw.starts_with(b" ") && !f.raw.starts_with(b"\t"))
                .flat_map(|f| f.raw.to_vec()).chain(*b"\r\n").collect();
            prop_assert_eq!(only, named);
        }
    }
}
