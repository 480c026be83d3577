//! The parser of whole commands (RFC 3501 section 9): octets, literals in place, to a [`Command`].

use super::assemble::Rejected;
use super::command::{AppendMessage, AppendRest, Command, CommandBody, IdPair, ListKind, Numbering, Transfer};
use super::lexer::{Cursor, Parsed, Reason, Stop, bad, no, too_many};
use super::limits::{ENABLE_MAX, ID_FIELD_BYTES_MAX, ID_PAIRS_MAX, ID_VALUE_BYTES_MAX};
use super::list::ends_list;
use super::reply::{Code, Condition};
use super::tag::Tag;
use super::{date, fetch, flags, list, search};
use crate::base::Secret;
use crate::store::{FlagNames, SpecialUse};

/// The command in `octets`: its lines and literals as they came, the last line end removed.
pub(super) fn command(octets: &[u8]) -> Parsed<Command> {
    let Some(tag) = tag_of(octets) else {
        return bad("expected a tag and a command");
    };
    let mut cursor = Cursor::new(octets);
    cursor.take_while(|octet| octet != b' ');
    cursor.space("expected a command after the tag")?;
    let body = body(&mut cursor)?;
    Ok(Command { tag, body })
}

/// The tag that `octets` begin with, if they do.
pub(super) fn tag_of(octets: &[u8]) -> Option<Tag> {
    let end = octets.iter().position(|&octet| octet == b' ').unwrap_or(octets.len());
    Tag::parse(octets.get(..end)?)
}

/// What the line after a message of APPEND says: nothing more, or the next message (RFC 3502).
pub fn append_rest(line: &[u8], tag: &Tag) -> Result<AppendRest, Box<Rejected>> {
    let mut cursor = Cursor::new(line);
    let rest = if line.trim_ascii().is_empty() {
        Ok(AppendRest::End)
    } else {
        let space = cursor.space("expected the end of APPEND or another message");
        space.and_then(|()| append_message(&mut cursor)).map(AppendRest::Another)
    };
    rest.map_err(|stop| {
        let reason = match stop {
            Stop::Refused(reason) => reason,
            Stop::Literal(_) => Reason { condition: Condition::Bad, code: None, text: "expected a message" },
        };
        let Reason { condition, code, text } = reason;
        Box::new(Rejected { tag: Some(tag.clone()), condition, code, text })
    })
}

/// Whether a line ends IDLE (RFC 2177).
pub fn is_done(line: &[u8]) -> bool {
    line.trim_ascii_end().eq_ignore_ascii_case(b"DONE")
}

fn body(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let word = cursor.word().to_ascii_uppercase();
    let body = match word.as_slice() {
        b"CAPABILITY" => CommandBody::Capability,
        b"NOOP" => CommandBody::Noop,
        b"LOGOUT" => CommandBody::Logout,
        b"STARTTLS" => CommandBody::StartTls,
        b"NAMESPACE" => CommandBody::Namespace,
        b"IDLE" => CommandBody::Idle,
        b"CHECK" => CommandBody::Check,
        b"CLOSE" => CommandBody::Close,
        b"UNSELECT" => CommandBody::Unselect,
        b"EXPUNGE" => CommandBody::Expunge { uids: None },
        // All others have arguments.
        word => {
            if !cursor.is_at_end() {
                cursor.space("expected a space after the command's name")?;
            }
            match with_arguments(cursor, word)? {
                // Its literal ends the line, and is no end of the command.
                append @ CommandBody::Append { .. } => return Ok(append),
                body => body,
            }
        }
    };
    cursor.end("something follows after the command's end")?;
    Ok(body)
}

fn with_arguments(cursor: &mut Cursor<'_>, word: &[u8]) -> Parsed<CommandBody> {
    Ok(match word {
        b"UID" => return uid(cursor),
        b"ID" => CommandBody::Id(id(cursor)?),
        b"AUTHENTICATE" => authenticate(cursor)?,
        b"LOGIN" => login(cursor)?,
        b"ENABLE" => CommandBody::Enable(enable(cursor)?),
        b"SELECT" => select(cursor, false)?,
        b"EXAMINE" => select(cursor, true)?,
        b"CREATE" => create(cursor)?,
        b"DELETE" => CommandBody::Delete(cursor.mailbox()?),
        b"RENAME" => {
            let from = cursor.mailbox()?;
            cursor.space("RENAME needs two mailbox names")?;
            CommandBody::Rename { from, to: cursor.mailbox()? }
        }
        b"SUBSCRIBE" => CommandBody::Subscribe(cursor.mailbox()?),
        b"UNSUBSCRIBE" => CommandBody::Unsubscribe(cursor.mailbox()?),
        b"LIST" => CommandBody::List(list::list(cursor)?),
        b"LSUB" => CommandBody::List(list::plain(cursor, ListKind::Lsub)?),
        b"XLIST" => CommandBody::List(list::plain(cursor, ListKind::Xlist)?),
        b"STATUS" => {
            let mailbox = cursor.mailbox()?;
            cursor.space("STATUS needs items in parentheses")?;
            CommandBody::Status { mailbox, items: list::status_items(cursor)? }
        }
        b"APPEND" => {
            let mailbox = cursor.mailbox()?;
            cursor.space("APPEND needs a mailbox and a message")?;
            CommandBody::Append { mailbox, message: append_message(cursor)? }
        }
        b"SEARCH" => CommandBody::Search(search::search(cursor, Numbering::Sequence)?),
        b"FETCH" => CommandBody::Fetch(fetch::fetch(cursor, Numbering::Sequence)?),
        b"STORE" => CommandBody::Store(flags::store(cursor, Numbering::Sequence)?),
        b"COPY" => CommandBody::Copy(transfer(cursor, Numbering::Sequence)?),
        b"MOVE" => CommandBody::Move(transfer(cursor, Numbering::Sequence)?),
        b"" => return bad("expected a command after the tag"),
        _ => return bad("unknown command"),
    })
}

fn uid(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    const EXPECTED: &str = "UID goes before FETCH, STORE, SEARCH, COPY, MOVE and EXPUNGE, with arguments";
    let word = cursor.word().to_ascii_uppercase();
    cursor.space(EXPECTED)?;
    Ok(match word.as_slice() {
        b"SEARCH" => CommandBody::Search(search::search(cursor, Numbering::Uid)?),
        b"FETCH" => CommandBody::Fetch(fetch::fetch(cursor, Numbering::Uid)?),
        b"STORE" => CommandBody::Store(flags::store(cursor, Numbering::Uid)?),
        b"COPY" => CommandBody::Copy(transfer(cursor, Numbering::Uid)?),
        b"MOVE" => CommandBody::Move(transfer(cursor, Numbering::Uid)?),
        b"EXPUNGE" => CommandBody::Expunge { uids: Some(cursor.sequence_set()?) },
        _ => return bad(EXPECTED),
    })
}

/// `NIL` or a list of pairs (RFC 2971 section 4).
fn id(cursor: &mut Cursor<'_>) -> Parsed<Vec<IdPair>> {
    const EXPECTED: &str = "ID needs NIL or pairs of strings in parentheses";
    let mut pairs = Vec::new();
    if cursor.eat_word(b"NIL") {
        return Ok(pairs);
    }
    cursor.expect(b'(', EXPECTED)?;
    cursor.spaces();
    if cursor.eat(b')') {
        return Ok(pairs);
    }
    loop {
        if pairs.len() == ID_PAIRS_MAX {
            return too_many("too many fields in ID");
        }
        let field = cursor.string(EXPECTED)?;
        cursor.space(EXPECTED)?;
        let value = cursor.nstring(EXPECTED)?;
        if field.len() > ID_FIELD_BYTES_MAX || value.as_ref().is_some_and(|value| value.len() > ID_VALUE_BYTES_MAX) {
            return bad("a field of ID is too long"); // RFC 2971 3.3
        }
        pairs.push(IdPair { field, value });
        if ends_list(cursor, EXPECTED)? {
            return Ok(pairs);
        }
    }
}

fn authenticate(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let mechanism = cursor.atom("AUTHENTICATE needs the name of a mechanism")?;
    let mechanism = String::from_utf8_lossy(mechanism).to_ascii_uppercase();
    cursor.spaces();
    let initial = match cursor.take_while(|octet| octet != b' ') {
        [] => None,
        b"=" => Some(Secret::new(Vec::new())), // RFC 4959 section 3: an empty response
        response => Some(Secret::new(response.to_vec())),
    };
    Ok(CommandBody::Authenticate { mechanism, initial })
}

fn login(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    let name = cursor.astring("LOGIN needs a name and a password")?;
    cursor.space("LOGIN needs a name and a password")?;
    let password = Secret::new(cursor.astring("LOGIN needs a name and a password")?);
    Ok(CommandBody::Login { name, password })
}

fn enable(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let mut names = Vec::new();
    loop {
        if names.len() == ENABLE_MAX {
            return too_many("too many capabilities");
        }
        let name = cursor.atom("ENABLE needs names of capabilities")?;
        names.push(String::from_utf8_lossy(name).to_ascii_uppercase());
        cursor.spaces();
        if cursor.is_at_end() {
            return Ok(names);
        }
    }
}

fn select(cursor: &mut Cursor<'_>, read_only: bool) -> Parsed<CommandBody> {
    let mailbox = cursor.mailbox()?;
    let mut condstore = false;
    cursor.spaces();
    // RFC 4466 2.2: parameters in parentheses.
    if cursor.eat(b'(') {
        cursor.spaces();
        loop {
            match cursor.word() {
                word if word.eq_ignore_ascii_case(b"CONDSTORE") => condstore = true,
                _ => return bad("unknown SELECT parameter"),
            }
            if ends_list(cursor, "expected a space or ) after a SELECT parameter")? {
                break;
            }
        }
    }
    Ok(CommandBody::Select { mailbox, read_only, condstore })
}

fn create(cursor: &mut Cursor<'_>) -> Parsed<CommandBody> {
    const EXPECTED: &str = "CREATE takes a mailbox name and maybe (USE (\\Sent))";
    let mailbox = cursor.mailbox()?;
    cursor.spaces();
    if !cursor.eat(b'(') {
        return Ok(CommandBody::Create { mailbox, special_use: None });
    }
    // RFC 6154 section 6; RFC 4466 2.3.
    cursor.spaces();
    if !cursor.eat_word(b"USE") {
        return bad("unknown CREATE parameter");
    }
    cursor.space(EXPECTED)?;
    cursor.expect(b'(', EXPECTED)?;
    cursor.spaces();
    let mut special_use = None;
    if !cursor.eat(b')') {
        cursor.expect(b'\\', EXPECTED)?;
        special_use = Some(match cursor.word().to_ascii_lowercase().as_slice() {
            b"archive" => SpecialUse::Archive,
            b"drafts" => SpecialUse::Drafts,
            b"junk" => SpecialUse::Junk,
            b"sent" => SpecialUse::Sent,
            b"trash" => SpecialUse::Trash,
            _ => return no(Code::UseAttr, "no such special use here"),
        });
        if !ends_list(cursor, EXPECTED)? {
            return no(Code::UseAttr, "a mailbox has one special use here");
        }
    }
    cursor.spaces();
    cursor.expect(b')', EXPECTED)?;
    Ok(CommandBody::Create { mailbox, special_use })
}

/// `[flags] [date] literal`; the literal's octets have not come.
fn append_message(cursor: &mut Cursor<'_>) -> Parsed<AppendMessage> {
    let mut flags = FlagNames::default();
    if cursor.peek() == Some(b'(') {
        flags = flags::flag_list(cursor)?;
        cursor.space("expected a date or a message after the flags")?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(date::date_time(cursor)?);
        cursor.space("expected a message after the date")?;
    }
    let literal = cursor.literal_head()?;
    if !cursor.is_at_end() {
        return bad("a literal's size must end the line");
    }
    Ok(AppendMessage { flags, date, literal })
}

fn transfer(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Transfer> {
    let set = cursor.sequence_set()?;
    cursor.space("expected a mailbox after the message numbers")?;
    Ok(Transfer { numbering, set, to: cursor.mailbox()? })
}

#[cfg(test)]
mod tests;
