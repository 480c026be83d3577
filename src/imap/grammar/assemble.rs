//! Puts a command together from lines and literals (RFC 3501 4.3, RFC 7888), and says what to read next.
//! Bounded whatever the client announces; never reads by itself.

use super::command::{Command, LiteralHead};
use super::lexer::{Reason, Stop, literal_at_end};
use super::limits::{DISCARD_BYTES_MAX, LITERAL_BYTES_MAX, LITERALS_MAX};
use super::parse;
use super::reply::{Code, Condition};
use super::tag::Tag;

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

/// A command on its way. Holds no more than the bound it was made with.
#[derive(Debug)]
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
        if text.len() > self.line_bytes_max() {
            return self.reject(too_long(), text);
        }
        self.bytes.extend_from_slice(text);
        match parse::command(&self.bytes) {
            Ok(command) => {
                self.reset();
                Step::Command(Box::new(command))
            }
            Err(Stop::Literal(head)) => self.announced(head, text),
            Err(Stop::Refused(reason)) => self.reject(reason, text),
        }
    }

    /// The line was longer than [`Assembler::line_bytes_max`] and was thrown away: what to tell the client.
    pub fn line_too_long(&mut self) -> Rejected {
        let reason = too_long();
        let rejected = self.rejected.take().unwrap_or_else(|| self.rejected(reason));
        self.reset();
        rejected
    }

    /// Takes octets of the announced literal, and says how many of `octets` belonged to it.
    pub fn literal(&mut self, octets: &[u8]) -> usize {
        let count = octets.len().min(self.missing);
        self.bytes.extend(octets.iter().take(count));
        self.missing = self.missing.saturating_sub(count);
        count
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
            return self.reject(Reason { condition: Condition::Bad, code: Some(Code::Limit), text }, line);
        }
        self.literals += 1;
        self.missing = octets;
        self.bytes.extend_from_slice(b"\r\n");
        Step::Literal { octets, waits: head.waits }
    }

    fn reject(&mut self, reason: Reason, line: &[u8]) -> Step {
        self.rejected = Some(self.rejected(reason));
        self.bytes = Vec::new();
        self.discard(line)
    }

    /// A client that does not wait sends on, whatever we think: its literals are read, and the lines between them.
    fn discard(&mut self, line: &[u8]) -> Step {
        if let Some(LiteralHead { octets, waits: false, .. }) = literal_at_end(line) {
            self.discarded = self.discarded.saturating_add(octets);
            if self.discarded > DISCARD_BYTES_MAX {
                return Step::End("a literal is far too long");
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

fn too_long() -> Reason {
    Reason { condition: Condition::Bad, code: Some(Code::TooBig), text: "the command is too long" }
}
