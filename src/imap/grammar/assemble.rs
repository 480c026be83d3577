//! Puts a command together from lines and literals (RFC 3501 4.3, RFC 7888), and says what to read next.
//! Bounded whatever the client announces; never reads by itself.

use super::command::{Command, LiteralHead};
use super::lexer::{Reason, Stop, literal_at_end};
use super::limits::{DISCARD_BYTES_MAX, LITERAL_BYTES_MAX, LITERALS_MAX};
use super::parse;
use super::reply::{Code, Condition};
use super::tag::Tag;
use crate::base::wipe;

/// More than is thrown away.
const FAR_TOO_LONG: &str = "a literal is far too long";
/// What usually follows a literal on its line.
const LINE_AFTER_LITERAL_BYTES: usize = 64;

/// What the session does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Say `+ ...` if `waits`, read so many octets and hand them to [`Assembler::literal`]; then read a line.
    Literal {
        /// How many; may be 0.
        octets: usize,
        /// Whether the client waits for a go-ahead.
        waits: bool,
    },
    /// Read so many octets and throw them away; then read a line.
    Discard {
        /// How many; may be 0.
        octets: u64,
    },
    /// The command is whole (an APPEND up to its message); the assembler is ready for the next one.
    Command(Box<Command>),
    /// Tell the client; the assembler is ready for the next command.
    Rejected(Rejected),
    /// Say BYE with these words and close: the client sends, unasked, more than we throw away.
    End(&'static str),
}

/// A command that is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Its tag, if it had one; else the reply is untagged.
    pub tag: Option<Tag>,
    /// NO or BAD.
    pub condition: Condition,
    /// A response code.
    pub code: Option<Code<'static>>,
    /// Words for a person.
    pub text: &'static str,
}

impl Rejected {
    /// Writes the reply.
    pub fn put(&self, out: &mut Vec<u8>) {
        super::reply::status(out, self.tag.as_ref(), self.condition, self.code.as_ref(), self.text);
    }
}

/// A command on its way. Holds no more than the bound it was made with. No Debug: a password may be on its way, and what was
/// held is wiped.
pub struct Assembler {
    bytes_max: usize,
    bytes: Vec<u8>,
    literals: usize,
    /// Octets of the current literal yet to come.
    missing: usize,
    /// Why the command is refused, while what the client still sends of it is thrown away.
    rejected: Option<Rejected>,
    discarded: u64,
}

impl Assembler {
    /// An assembler of commands of at most `bytes_max` octets: [`super::limits::COMMAND_BYTES_MAX`], or before login
    /// [`super::limits::STRANGER_BYTES_MAX`].
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: Vec::new(), literals: 0, missing: 0, rejected: None, discarded: 0 }
    }

    /// Octets that the next line may have, its end not counted.
    pub fn line_bytes_max(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes.len())
    }

    /// Octets held, for the memory budget.
    pub fn bytes_held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Octets of the announced literal that have not come yet.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Takes a line, its end removed.
    pub fn line(&mut self, text: &[u8]) -> Step {
        if self.rejected.is_some() {
            return self.discard(text);
        }
        let fits = text.len() <= self.line_bytes_max();
        self.keep(text);
        if !fits {
            return self.reject(too_long(), text);
        }
        match parse::command(&self.bytes) {
            Ok(command) => {
                self.reset();
                Step::Command(Box::new(command))
            }
            Err(Stop::Literal(head)) => self.announced(head, text),
            Err(Stop::Refused(reason)) => self.reject(reason, text),
        }
    }

    /// A line longer than [`Assembler::line_bytes_max`] was thrown away; `tag` is its first word, `end` its last octets. A
    /// literal that it announces must not be taken for commands.
    pub fn line_too_long(&mut self, tag: Option<Tag>, end: &[u8]) -> Step {
        if self.rejected.is_none() {
            let tag = if self.bytes.is_empty() { tag } else { None };
            let rejected = self.rejected(too_long());
            self.rejected = Some(Rejected { tag: rejected.tag.or(tag), ..rejected });
            self.forget();
        }
        if end.strip_suffix(b"+}").is_some_and(|digits| digits.iter().all(u8::is_ascii_digit)) {
            return Step::End(FAR_TOO_LONG);
        }
        self.discard(end)
    }

    /// Takes octets of the announced literal, and says how many of `octets` belonged to it.
    pub fn literal(&mut self, octets: &[u8]) -> usize {
        let count = octets.len().min(self.missing);
        self.keep(octets.get(..count).unwrap_or_default());
        self.missing = self.missing.saturating_sub(count);
        count
    }

    /// Takes octets in; where that needs a larger buffer, the old one is wiped.
    fn keep(&mut self, octets: &[u8]) {
        let needed = self.bytes.len().saturating_add(octets.len());
        if needed > self.bytes.capacity() {
            let mut larger = Vec::with_capacity(needed);
            larger.extend_from_slice(&self.bytes);
            self.forget();
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(octets);
    }

    fn forget(&mut self) {
        wipe(&mut self.bytes);
        self.bytes = Vec::new();
    }

    fn announced(&mut self, head: LiteralHead, line: &[u8]) -> Step {
        // RFC 7888 section 4: a literal that is too long is refused with TOOBIG (RFC 4469), read or unread.
        let fits = |&octets: &usize| octets <= LITERAL_BYTES_MAX && octets.saturating_add(2) <= self.line_bytes_max();
        let Some(octets) = usize::try_from(head.octets).ok().filter(fits) else {
            let text = "a literal is too long";
            return self.reject(Reason { condition: Condition::Bad, code: Some(Code::TooBig), text }, line);
        };
        if self.literals >= LITERALS_MAX {
            let text = "too many literals in one command";
            return self.reject(Reason { condition: Condition::No, code: Some(Code::Limit), text }, line);
        }
        self.literals += 1;
        self.missing = octets;
        self.keep(b"\r\n");
        // Room for all of it at once, and for the line after it.
        let room = octets.saturating_add(LINE_AFTER_LITERAL_BYTES).min(self.line_bytes_max());
        let mut larger = Vec::with_capacity(self.bytes.len().saturating_add(room));
        larger.extend_from_slice(&self.bytes);
        self.forget();
        self.bytes = larger;
        Step::Literal { octets, waits: head.waits }
    }

    fn reject(&mut self, reason: Reason, line: &[u8]) -> Step {
        self.rejected = Some(self.rejected(reason));
        self.forget();
        self.discard(line)
    }

    /// A client that does not wait sends on, whatever we think: its literals are read, and the lines between them.
    fn discard(&mut self, line: &[u8]) -> Step {
        if let Some(LiteralHead { octets, waits: false, .. }) = literal_at_end(line) {
            self.discarded = self.discarded.saturating_add(octets);
            if self.discarded > DISCARD_BYTES_MAX {
                return Step::End(FAR_TOO_LONG);
            }
            return Step::Discard { octets };
        }
        let rejected = self.rejected.take().unwrap_or_else(|| self.rejected(too_long()));
        self.reset();
        Step::Rejected(rejected)
    }

    fn rejected(&self, reason: Reason) -> Rejected {
        let Reason { condition, code, text } = reason;
        Rejected { tag: parse::tag_of(&self.bytes), condition, code, text }
    }

    fn reset(&mut self) {
        *self = Self::new(self.bytes_max);
    }
}

impl Drop for Assembler {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

fn too_long() -> Reason {
    Reason { condition: Condition::Bad, code: Some(Code::TooBig), text: "the command is too long" }
}

#[cfg(test)]
mod tests {
    use super::super::command::CommandBody;
    use super::super::limits::{COMMAND_BYTES_MAX, STRANGER_BYTES_MAX};
    use super::*;
    use proptest::prelude::*;

    /// Feeds `octets` as a session would, and says what came of it and how much was read.
    fn feed(assembler: &mut Assembler, octets: &[u8]) -> (Step, usize) {
        let mut at = 0;
        loop {
            let Some(end) = memchr::memchr(b'\n', &octets[at..]) else {
                return (Step::End("the test's input ends"), at);
            };
            let line = octets[at..at + end].strip_suffix(b"\r").unwrap_or(&octets[at..at + end]);
            at += end + 1;
            match assembler.line(line) {
                Step::Literal { octets: count, .. } => {
                    let there = &octets[at..(at + count).min(octets.len())];
                    let mut taken = 0;
                    // In two pieces, and with more behind than belongs to it.
                    taken += assembler.literal(&there[..there.len() / 2]);
                    taken += assembler.literal(&octets[at + taken..]);
                    assert_eq!(taken, there.len());
                    at += taken;
                }
                Step::Discard { octets: count } => at = (at + usize::try_from(count).unwrap()).min(octets.len()),
                step => return (step, at),
            }
        }
    }

    fn rejected(octets: &[u8]) -> Option<(Option<Code<'static>>, Condition)> {
        match feed(&mut Assembler::new(COMMAND_BYTES_MAX), octets) {
            (Step::Rejected(rejected), _) => Some((rejected.code, rejected.condition)),
            _ => None,
        }
    }

    #[test]
    fn a_line_is_a_command() {
        let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
        let Step::Command(command) = assembler.line(b"a1 noop") else { panic!("no command") };
        assert_eq!((command.tag.as_str(), command.body), ("a1", CommandBody::Noop));
        assert_eq!(assembler.bytes_held(), 0, "nothing is kept between commands");
    }

    #[test]
    fn literals_come_between_the_lines() {
        let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
        // RFC 3501 6.2.3 and 4.3: the client waits for the go-ahead.
        assert_eq!(assembler.line(b"a1 LOGIN {5}"), Step::Literal { octets: 5, waits: true });
        assert_eq!(assembler.missing(), 5);
        assert_eq!(assembler.literal(b"al"), 2);
        assert_eq!(assembler.literal(b"ice {3+}"), 3);
        // RFC 7888 section 3: it does not.
        assert_eq!(assembler.line(b" {3+}"), Step::Literal { octets: 3, waits: false });
        assert_eq!(assembler.literal(b"a\r\n"), 3);
        let Step::Command(command) = assembler.line(b"") else { panic!("no command") };
        let CommandBody::Login { name, password } = command.body else { panic!("no LOGIN") };
        assert_eq!((name.as_slice(), password.expose()), (&b"alice"[..], &b"a\r\n"[..]));
    }

    #[test]
    fn a_literal_may_be_empty_or_look_like_a_command() {
        for (octets, expected) in [
            (&b"a LOGIN {0}\r\n {0}\r\n\r\n"[..], &b""[..]),
            (b"a LOGIN {0+}\r\n {12}\r\nb NOOP {3}\r\n\r\n", b"b NOOP {3}\r\n"),
        ] {
            let (step, read) = feed(&mut Assembler::new(COMMAND_BYTES_MAX), octets);
            let Step::Command(command) = step else { panic!("{step:?}") };
            let CommandBody::Login { password, .. } = command.body else { panic!("no LOGIN") };
            assert_eq!((password.expose(), read), (expected, octets.len()));
        }
    }

    #[test]
    fn append_stops_at_its_message() {
        for (octets, octets_announced, waits, binary) in [
            (&b"a APPEND INBOX {310}\r\n"[..], 310, true, false),
            (b"a APPEND INBOX {99999999999+}\r\n", 99_999_999_999, false, false),
            (b"a APPEND {5}\r\nINBOX (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {0+}\r\n", 0, false, false),
            (b"a APPEND {5+}\r\nINBOX ~{7}\r\n", 7, true, true),
        ] {
            let (step, _) = feed(&mut Assembler::new(COMMAND_BYTES_MAX), octets);
            let Step::Command(command) = step else { panic!("{step:?}") };
            let CommandBody::Append { mailbox, message } = command.body else { panic!("no APPEND") };
            assert!(mailbox.is_inbox());
            assert_eq!(message.literal, LiteralHead { octets: octets_announced, waits, binary });
        }
    }

    #[test]
    fn a_command_that_is_none_is_not_asked_for_its_literal() {
        // RFC 3501 4.3: a refused literal gets its tagged reply instead of the go-ahead.
        let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
        assert!(matches!(assembler.line(b"a FROBNICATE {5}"), Step::Rejected(_)));
        assert!(matches!(assembler.line(b"b NOOP"), Step::Command(_)));
    }

    #[test]
    fn what_a_client_sends_unasked_is_thrown_away() {
        // RFC 7888 section 4: a server that refuses must still read what is on its way.
        let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
        let octets = b"a FROBNICATE {5+}\r\nb NOO {6+}\r\nP\r\n12\n\r\nc NOOP\r\n";
        let (step, read) = feed(&mut assembler, octets);
        let Step::Rejected(rejected) = step else { panic!("{step:?}") };
        assert_eq!(rejected.tag.map(|tag| tag.as_str().to_owned()).as_deref(), Some("a"));
        let (step, _) = feed(&mut assembler, &octets[read..]);
        assert!(matches!(step, Step::Command(command) if command.tag.as_str() == "c"));
    }

    #[test]
    fn oversized_literals_are_refused() {
        let too_big = Some((Some(Code::TooBig), Condition::Bad));
        assert_eq!(rejected(b"a LOGIN {70000}\r\n"), too_big, "waiting: never sent");
        let sent = [b"a LOGIN {70000+}\r\n".to_vec(), vec![b'x'; 70_000], b" y\r\n".to_vec()].concat();
        assert_eq!(rejected(&sent), too_big, "not waiting: thrown away");
        assert_eq!(
            rejected(b"a LOGIN {99999999999999999999}\r\n").map(|(_, condition)| condition),
            Some(Condition::Bad)
        );
        let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
        assert!(matches!(assembler.line(b"a LOGIN {2000000+}"), Step::End(_)), "more than we throw away");
        let endless = assembler.line(b"a LOGIN {99999999999999999999999999+}");
        assert!(matches!(endless, Step::End(_)), "its octets must not be taken for commands");
        let mut stranger = Assembler::new(STRANGER_BYTES_MAX);
        assert!(matches!(stranger.line(b"a LOGIN {50000}"), Step::Rejected(_)), "less is held for strangers");
    }

    #[test]
    fn literals_together_stay_below_the_bound() {
        let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
        let mut line = b"a SEARCH SUBJECT {30000+}".to_vec();
        for _ in 0..2 {
            let Step::Literal { octets, .. } = assembler.line(&line) else { panic!("refused too early") };
            assert_eq!(assembler.literal(&vec![b'x'; octets]), octets);
            line = b" SUBJECT {30000+}".to_vec();
        }
        assert!(matches!(assembler.line(&line), Step::Discard { octets: 30_000 }));
        assert!(matches!(assembler.line(b""), Step::Rejected(rejected) if rejected.code == Some(Code::TooBig)));
        assert_eq!(assembler.bytes_held(), 0);
    }

    #[test]
    fn a_line_too_long_gets_its_tag_if_that_was_seen() {
        let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
        let too_long = |assembler: &mut Assembler, tag| match assembler.line_too_long(tag, b"xyz") {
            Step::Rejected(rejected) => rejected,
            step => panic!("{step:?}"),
        };
        assert_eq!(too_long(&mut assembler, None).tag, None);
        assert_eq!(too_long(&mut assembler, Tag::parse(b"b")).tag, Tag::parse(b"b"));
        assert!(matches!(assembler.line(b"a LOGIN {5+}"), Step::Literal { .. }));
        assembler.literal(b"alice");
        let rejected = too_long(&mut assembler, Tag::parse(b"x"));
        assert_eq!(rejected.tag.as_ref().map(Tag::as_str), Some("a"));
        let mut out = Vec::new();
        rejected.put(&mut out);
        assert_eq!(out, b"a BAD [TOOBIG] the command is too long\r\n");
    }

    #[test]
    fn the_literal_after_a_line_too_long_is_thrown_away_with_it() {
        let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
        for (end, expected, why) in [
            (&b"xx {5+}"[..], Step::Discard { octets: 5 }, "sent without waiting"),
            (b"xx ~{7+}", Step::Discard { octets: 7 }, "binary"),
            (b"{2000000+}", Step::End("a literal is far too long"), "more than we throw away"),
            (b"00000000000000000000000000005+}", Step::End("a literal is far too long"), "no end of digits"),
        ] {
            assert_eq!(assembler.line_too_long(Tag::parse(b"a"), end), expected, "{why}");
            if let Step::Discard { .. } = expected {
                let step = assembler.line_too_long(None, b"still too long");
                assert!(matches!(step, Step::Rejected(rejected) if rejected.tag == Tag::parse(b"a")), "{why}");
            }
            assembler = Assembler::new(COMMAND_BYTES_MAX);
        }
        assert!(matches!(assembler.line_too_long(None, b"{5}"), Step::Rejected(_)), "it waits, and is not asked");
    }

    proptest! {
        #[test]
        fn octets_never_panic_and_never_hold_more_than_the_bound(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)
        ) {
            let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
            for line in lines {
                assembler.line(&line);
                assembler.literal(&line);
                prop_assert!(assembler.bytes_held() <= 4 * COMMAND_BYTES_MAX);
            }
        }

        #[test]
        fn almost_commands_never_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..24)) {
            let mut assembler = Assembler::new(COMMAND_BYTES_MAX);
            let line = words.concat();
            let (_, read) = feed(&mut assembler, format!("a {line}\r\n").as_bytes());
            prop_assert!(read > 0);
        }
    }

    const WORDS: &[&str] = &[
        "UID ",
        "FETCH ",
        "STORE ",
        "SEARCH ",
        "APPEND ",
        "LIST ",
        "COPY ",
        "STATUS ",
        "ID ",
        "INBOX",
        "\"a\\\"",
        "\"",
        "\\",
        "(",
        ")",
        " ",
        "[",
        "]",
        "<0.1>",
        "BODY",
        "BODY.PEEK[",
        "1",
        ":",
        ",",
        "*",
        "{3}",
        "{3+}",
        "\r\nabc",
        "\r\n",
        "NOT ",
        "OR ",
        "ALL",
        "HEADER.FIELDS ",
        "FLAGS",
        "+FLAGS ",
        "\\Seen",
        "NIL",
        "1-Feb-2000",
        "CHARSET ",
        "99999999999",
        "&",
        "&AOk-",
        "%",
        "~{2}",
        "\u{e9}",
        "\0",
        "MODSEQ ",
        "(CHANGEDSINCE 5)",
        ".",
        "MIME",
    ];
}
