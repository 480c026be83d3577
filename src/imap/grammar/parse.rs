//! The parser of whole commands (RFC 3501 section 9): octets, literals in place, to a [`Command`].

use super::command::{AppendRest, Command};
use super::lexer::Parsed;
use super::tag::Tag;

/// The command in `octets`: its lines and literals as they came, the last line end removed.
#[expect(clippy::todo, unused_variables, reason = "the shape first")]
pub(super) fn command(octets: &[u8]) -> Parsed<Command> {
    todo!()
}

/// The tag that `octets` begin with, if they do.
pub(super) fn tag_of(octets: &[u8]) -> Option<Tag> {
    let end = octets.iter().position(|&octet| octet == b' ').unwrap_or(octets.len());
    Tag::parse(octets.get(..end)?)
}

/// What the line after a message of APPEND says.
#[expect(clippy::todo, unused_variables, reason = "the shape first")]
pub fn append_rest(line: &[u8], tag: &Tag) -> Result<AppendRest, Box<super::Rejected>> {
    todo!()
}

/// Whether a line ends IDLE (RFC 2177).
pub fn is_done(line: &[u8]) -> bool {
    line.trim_ascii_end().eq_ignore_ascii_case(b"DONE")
}
