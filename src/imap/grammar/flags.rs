//! Flags as a client names them (RFC 3501 2.3.2), and STORE's arguments.

use super::command::{Numbering, StoreFlags};
use super::lexer::{Cursor, Parsed, bad, is_atom_char, too_many};
use super::limits::{FLAGS_MAX, KEYWORD_BYTES_MAX};
use crate::store::{FlagChange, FlagNames, Flags};

/// The arguments of STORE.
pub(super) fn store(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<StoreFlags> {
    const WHAT: &str = "expected FLAGS, +FLAGS or -FLAGS, maybe with .SILENT";
    let set = cursor.sequence_set()?;
    cursor.space(WHAT)?;
    let unchanged_since = unchanged_since(cursor)?;
    let change = match cursor.peek() {
        Some(b'+') if cursor.eat(b'+') => FlagChange::Add,
        Some(b'-') if cursor.eat(b'-') => FlagChange::Remove,
        _ => FlagChange::Replace,
    };
    let word = cursor.word();
    let silent = match word {
        word if word.eq_ignore_ascii_case(b"FLAGS") => false,
        word if word.eq_ignore_ascii_case(b"FLAGS.SILENT") => true,
        _ => return bad(WHAT),
    };
    cursor.space("expected flags")?;
    let flags = if cursor.peek() == Some(b'(') { flag_list(cursor)? } else { bare_flags(cursor)? };
    Ok(StoreFlags { numbering, set, change, silent, flags, unchanged_since })
}

/// `(UNCHANGEDSINCE n) ` (RFC 7162 3.1.3), if it is there.
fn unchanged_since(cursor: &mut Cursor<'_>) -> Parsed<Option<crate::store::ModSeq>> {
    if !cursor.eat(b'(') {
        return Ok(None);
    }
    cursor.spaces();
    if !cursor.eat_word(b"UNCHANGEDSINCE") {
        return bad("unknown STORE modifier");
    }
    cursor.space("UNCHANGEDSINCE needs a number")?;
    let modseq = cursor.modseq()?;
    cursor.spaces();
    cursor.expect(b')', "expected ) after the STORE modifier")?;
    cursor.space("expected FLAGS after the STORE modifier")?;
    Ok(Some(modseq))
}

/// `flag-list`: flags in parentheses, maybe none.
pub(super) fn flag_list(cursor: &mut Cursor<'_>) -> Parsed<FlagNames> {
    cursor.expect(b'(', "expected flags in parentheses")?;
    let mut flags = FlagNames::default();
    for _ in 0..=FLAGS_MAX {
        // Spaces before the closing parenthesis: some Outlook versions send `(\Deleted )`.
        cursor.spaces();
        if cursor.eat(b')') {
            return Ok(flags);
        }
        flag(cursor, &mut flags)?;
        if !matches!(cursor.peek(), Some(b' ' | b')')) {
            return bad("expected a space or ) after a flag");
        }
    }
    too_many("too many flags")
}

/// STORE takes flags without parentheses as well (RFC 3501 section 9, `store-att-flags`).
fn bare_flags(cursor: &mut Cursor<'_>) -> Parsed<FlagNames> {
    let mut flags = FlagNames::default();
    for _ in 0..FLAGS_MAX {
        flag(cursor, &mut flags)?;
        let spaced = cursor.peek() == Some(b' ');
        cursor.spaces();
        if cursor.is_at_end() {
            return Ok(flags);
        }
        if !spaced {
            return bad("expected a space after a flag");
        }
    }
    too_many("too many flags")
}

fn flag(cursor: &mut Cursor<'_>, flags: &mut FlagNames) -> Parsed<()> {
    if !cursor.eat(b'\\') {
        let keyword = keyword(cursor)?;
        if !flags.keywords.iter().any(|known| known.eq_ignore_ascii_case(&keyword)) {
            flags.keywords.push(keyword);
        }
        return Ok(());
    }
    let name = cursor.take_while(|octet| is_atom_char(octet) || octet == b'*').to_ascii_lowercase();
    let flag = match name.as_slice() {
        b"answered" => Flags::ANSWERED,
        b"deleted" => Flags::DELETED,
        b"draft" => Flags::DRAFT,
        b"flagged" => Flags::FLAGGED,
        b"seen" => Flags::SEEN,
        b"recent" => return bad("only the server sets \\Recent"),
        b"*" => return bad("\\* is no flag"),
        _ => return bad("no such system flag"),
    };
    flags.system = flags.system.with(flag);
    Ok(())
}

/// `flag-keyword`.
pub(super) fn keyword(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let name = cursor.atom("expected a flag")?;
    if name.len() > KEYWORD_BYTES_MAX {
        return too_many("a keyword's name is too long");
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}
