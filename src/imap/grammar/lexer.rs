//! The small words of IMAP's grammar (RFC 3501 section 9): atoms, numbers, strings, literals. A cursor over the octets
//! of a command, its literals in place. Never panics, never reads past the end.

use super::command::LiteralHead;
use super::limits::NUMBER_DIGITS_MAX;
use super::mailbox::MailboxName;
use super::reply::{Code, Condition};
use super::sequence::{SequenceSet, SetError};
use crate::store::ModSeq;

/// Why the octets so far are no command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stop {
    /// They end where a literal is announced: its octets come first.
    Literal(LiteralHead),
    /// They never will be one.
    Refused(Reason),
}

/// What the client is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reason {
    pub(super) condition: Condition,
    pub(super) code: Option<Code<'static>>,
    pub(super) text: &'static str,
}

pub(super) type Parsed<T> = Result<T, Stop>;

/// BAD with these words.
pub(super) fn bad<T>(text: &'static str) -> Parsed<T> {
    Err(Stop::Refused(Reason { condition: Condition::Bad, code: None, text }))
}

/// `NO [LIMIT]` (RFC 5530): well formed, but more than a cap allows.
pub(super) fn too_many<T>(text: &'static str) -> Parsed<T> {
    no(Code::Limit, text)
}

/// NO with a code: well formed, but it can never be done.
pub(super) fn no<T>(code: Code<'static>, text: &'static str) -> Parsed<T> {
    Err(Stop::Refused(Reason { condition: Condition::No, code: Some(code), text }))
}

/// `atom-specials` and controls excluded, 8-bit too (RFC 3501 section 9, `ATOM-CHAR`).
pub(super) fn is_atom_char(octet: u8) -> bool {
    matches!(octet, 0x21..=0x7e) && !matches!(octet, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `ASTRING-CHAR`: an atom's octets and `]`.
pub(super) fn is_astring_char(octet: u8) -> bool {
    is_atom_char(octet) || octet == b']'
}

/// `list-char`: an astring's octets and the wildcards.
pub(super) fn is_list_char(octet: u8) -> bool {
    is_astring_char(octet) || matches!(octet, b'%' | b'*')
}

/// A decimal number: digits only, at least one, not too large.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > NUMBER_DIGITS_MAX {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// The literal announced at the end of a line, if any: `{n}`, `{n+}`, `~{n}`.
pub(super) fn literal_at_end(line: &[u8]) -> Option<LiteralHead> {
    let inner = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', inner)?;
    let (before, inner) = inner.split_at_checked(open)?;
    let digits = inner.get(1..)?;
    let (digits, waits) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    // A number beyond all measure announces octets all the same: what follows must never be taken for commands.
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let octets = decimal(digits).or(is_number.then_some(u64::MAX))?;
    Some(LiteralHead { octets, waits, binary: before.last() == Some(&b'~') })
}

/// A place in a command's octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Goes past `octet` if it is next.
    pub(super) fn eat(&mut self, octet: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Goes past `word` if it is next, whatever its case.
    pub(super) fn eat_word(&mut self, word: &[u8]) -> bool {
        match self.rest.split_at_checked(word.len()) {
            Some((head, rest)) if head.eq_ignore_ascii_case(word) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Octets as long as `accept` holds; maybe none.
    pub(super) fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&octet| !accept(octet)).unwrap_or(self.rest.len());
        let (head, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        head
    }

    /// One space between arguments. More than one is accepted: Outlook Express and several hand-made clients send
    /// `FETCH 1  (FLAGS)`; no argument begins with a space, so nothing becomes ambiguous.
    pub(super) fn space(&mut self, expected: &'static str) -> Parsed<()> {
        if !self.eat(b' ') {
            return bad(expected);
        }
        self.spaces();
        Ok(())
    }

    /// Spaces where the grammar has none; see [`Cursor::space`].
    pub(super) fn spaces(&mut self) {
        self.take_while(|octet| octet == b' ');
    }

    /// The end of the command. Spaces before it are accepted: some Outlook versions and scanners send `NOOP `.
    pub(super) fn end(&mut self, expected: &'static str) -> Parsed<()> {
        self.spaces();
        if self.rest.is_empty() { Ok(()) } else { bad(expected) }
    }

    pub(super) fn expect(&mut self, octet: u8, expected: &'static str) -> Parsed<()> {
        if self.eat(octet) { Ok(()) } else { bad(expected) }
    }

    /// Letters, digits and dots: a keyword of the grammar, maybe none.
    pub(super) fn word(&mut self) -> &'a [u8] {
        self.take_while(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-'))
    }

    pub(super) fn atom(&mut self, expected: &'static str) -> Parsed<&'a [u8]> {
        match self.take_while(is_atom_char) {
            [] => bad(expected),
            atom => Ok(atom),
        }
    }

    /// `sequence-set`.
    pub(super) fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        const EXPECTED: &str = "expected message numbers like 1:5,7,9:*";
        let octets = self.take_while(|octet| octet.is_ascii_digit() || matches!(octet, b':' | b',' | b'*'));
        match SequenceSet::parse(octets) {
            Ok(set) => Ok(set),
            Err(SetError::Malformed) => bad(EXPECTED),
            Err(SetError::TooMany) => too_many("too many ranges of message numbers"),
        }
    }

    /// `mod-sequence-value` and `mod-sequence-valzer` (RFC 7162 section 7): 63 bits. 0 is taken for both, it means no less.
    pub(super) fn modseq(&mut self) -> Parsed<ModSeq> {
        const EXPECTED: &str = "expected a modification sequence, a number below 2^63";
        let number = self.number(EXPECTED)?;
        if i64::try_from(number).is_ok() { Ok(ModSeq(number)) } else { bad(EXPECTED) }
    }

    /// `mailbox`.
    pub(super) fn mailbox(&mut self) -> Parsed<MailboxName> {
        let wire = self.astring("expected a mailbox name")?;
        MailboxName::parse(&wire).or_else(|error| no(Code::Cannot, error.words()))
    }

    /// `number64`.
    pub(super) fn number(&mut self, expected: &'static str) -> Parsed<u64> {
        match decimal(self.take_while(|octet| octet.is_ascii_digit())) {
            Some(number) => Ok(number),
            None => bad(expected),
        }
    }

    /// `astring`: an atom, a quoted string or a literal.
    pub(super) fn astring(&mut self, expected: &'static str) -> Parsed<Vec<u8>> {
        self.string_or(is_astring_char, expected)
    }

    /// `list-mailbox`: as `astring`, with wildcards.
    pub(super) fn list_mailbox(&mut self, expected: &'static str) -> Parsed<Vec<u8>> {
        self.string_or(is_list_char, expected)
    }

    /// `nstring`: a string or NIL.
    pub(super) fn nstring(&mut self, expected: &'static str) -> Parsed<Option<Vec<u8>>> {
        match self.peek() {
            Some(b'"' | b'{' | b'~') => self.string(expected).map(Some),
            _ if self.eat_word(b"NIL") => Ok(None),
            _ => bad(expected),
        }
    }

    fn string_or(&mut self, accept: fn(u8) -> bool, expected: &'static str) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(expected),
            _ => match self.take_while(accept) {
                [] => bad(expected),
                atom => Ok(atom.to_vec()),
            },
        }
    }

    /// `string`: quoted or literal.
    pub(super) fn string(&mut self, expected: &'static str) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{' | b'~') => {
                let (head, octets) = self.literal()?;
                match head {
                    LiteralHead { binary: true, .. } => bad("a binary literal is only taken by APPEND"),
                    _ if memchr::memchr(0, octets).is_some() => bad("NUL is not allowed in a literal"),
                    _ => Ok(octets.to_vec()),
                }
            }
            _ => bad(expected),
        }
    }

    /// `quoted`. UTF-8 is accepted in it (RFC 6855 3, and clients that never asked); other 8-bit is not.
    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        self.expect(b'"', "expected a quoted string")?;
        // At once as large as it becomes: it may be a password, which growing would leave behind in pieces.
        let mut escaped = false;
        let ends = |octet: u8| {
            let is_end = octet == b'"' && !escaped;
            escaped = octet == b'\\' && !escaped;
            is_end
        };
        let mut text = Vec::with_capacity(self.rest.iter().copied().position(ends).unwrap_or_default());
        loop {
            text.extend_from_slice(self.take_while(|octet| !matches!(octet, b'"' | b'\\' | b'\r' | b'\n' | 0)));
            match self.rest.split_first() {
                Some((b'"', rest)) => {
                    self.rest = rest;
                    break;
                }
                Some((b'\\', [escaped @ (b'"' | b'\\'), rest @ ..])) => {
                    text.push(*escaped);
                    self.rest = rest;
                }
                Some((b'\\', _)) => return bad("in a quoted string only \\\" and \\\\ may follow a backslash"),
                Some(_) => return bad("CR, LF and NUL are not allowed in a quoted string"),
                None => return bad("a quoted string does not end"),
            }
        }
        if std::str::from_utf8(&text).is_err() {
            return bad("8-bit text in a quoted string must be UTF-8");
        }
        Ok(text)
    }

    /// `literal` or `literal8`, and its octets; [`Stop::Literal`] when they have not come yet.
    fn literal(&mut self) -> Parsed<(LiteralHead, &'a [u8])> {
        let head = self.literal_head()?;
        if self.rest.is_empty() {
            return Err(Stop::Literal(head));
        }
        let octets = self.rest.strip_prefix(b"\r\n").zip(usize::try_from(head.octets).ok());
        match octets.and_then(|(rest, count)| rest.split_at_checked(count)) {
            Some((octets, rest)) => {
                self.rest = rest;
                Ok((head, octets))
            }
            None => bad("a literal's size must end the line"),
        }
    }

    /// `{n}`, `{n+}` or `~{n}`.
    pub(super) fn literal_head(&mut self) -> Parsed<LiteralHead> {
        let binary = self.eat(b'~');
        self.expect(b'{', "expected a literal")?;
        let octets = self.number("a literal's size must be a number")?;
        let waits = !self.eat(b'+');
        self.expect(b'}', "a literal's size must be followed by }")?;
        Ok(LiteralHead { octets, waits, binary })
    }
}
