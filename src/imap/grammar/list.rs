//! The arguments of LIST, LSUB, XLIST (RFC 3501 6.3.8, RFC 5258, RFC 5819) and of STATUS.

use super::command::{List, ListKind, ListReturn, ListSelect, StatusItem};
use super::lexer::{Cursor, Parsed, bad, too_many};
use super::limits::{LIST_PATTERNS_MAX, STATUS_ITEMS_MAX};
use super::pattern::Pattern;

/// The arguments of LIST, with RFC 5258's extended forms.
pub(super) fn list(cursor: &mut Cursor<'_>) -> Parsed<List> {
    let select = if cursor.eat(b'(') {
        let select = select_options(cursor)?;
        cursor.space("LIST needs a reference and a pattern")?;
        select
    } else {
        ListSelect::default()
    };
    let reference = reference(cursor)?;
    let patterns = if cursor.eat(b'(') { patterns(cursor, &reference)? } else { vec![pattern(cursor, &reference)?] };
    cursor.spaces();
    let mut returns = ListReturn::default();
    if cursor.eat_word(b"RETURN") {
        cursor.space("RETURN needs options in parentheses")?;
        cursor.expect(b'(', "RETURN needs options in parentheses")?;
        returns = return_options(cursor)?;
    }
    Ok(List { kind: ListKind::List, patterns, select, returns })
}

/// The arguments of LSUB and XLIST.
pub(super) fn plain(cursor: &mut Cursor<'_>, kind: ListKind) -> Parsed<List> {
    let reference = reference(cursor)?;
    let patterns = vec![pattern(cursor, &reference)?];
    Ok(List { kind, patterns, select: ListSelect::default(), returns: ListReturn::default() })
}

fn reference(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    let reference = cursor.astring("expected a reference, \"\" for none")?;
    cursor.space("expected a pattern after the reference")?;
    Ok(reference)
}

fn pattern(cursor: &mut Cursor<'_>, reference: &[u8]) -> Parsed<Pattern> {
    let pattern = cursor.list_mailbox("expected a pattern")?;
    Pattern::new(reference, &pattern).or_else(|_| too_many("the pattern is too long"))
}

fn patterns(cursor: &mut Cursor<'_>, reference: &[u8]) -> Parsed<Vec<Pattern>> {
    let mut patterns = Vec::new();
    cursor.spaces();
    loop {
        if patterns.len() == LIST_PATTERNS_MAX {
            return too_many("too many patterns");
        }
        patterns.push(pattern(cursor, reference)?);
        if ends_list(cursor, "expected a space or ) after a pattern")? {
            return Ok(patterns);
        }
    }
}

/// RFC 5258 3.1; the opening parenthesis has been read.
fn select_options(cursor: &mut Cursor<'_>) -> Parsed<ListSelect> {
    let mut select = ListSelect::default();
    cursor.spaces();
    if cursor.eat(b')') {
        return Ok(select);
    }
    loop {
        match cursor.word().to_ascii_uppercase().as_slice() {
            b"SUBSCRIBED" => select.subscribed = true,
            b"REMOTE" => select.remote = true,
            b"RECURSIVEMATCH" => select.recursive_match = true,
            b"SPECIAL-USE" => select.special_use = true,
            _ => return bad("unknown LIST selection option"),
        }
        if ends_list(cursor, "expected a space or ) after a LIST option")? {
            break;
        }
    }
    if select.recursive_match && !select.subscribed && !select.special_use {
        return bad("RECURSIVEMATCH needs another selection option"); // RFC 5258 3.1
    }
    Ok(select)
}

/// RFC 5258 3.2; the opening parenthesis has been read.
fn return_options(cursor: &mut Cursor<'_>) -> Parsed<ListReturn> {
    let mut returns = ListReturn::default();
    cursor.spaces();
    if cursor.eat(b')') {
        return Ok(returns);
    }
    loop {
        match cursor.word().to_ascii_uppercase().as_slice() {
            b"SUBSCRIBED" => returns.subscribed = true,
            b"CHILDREN" => returns.children = true,
            b"SPECIAL-USE" => returns.special_use = true,
            b"STATUS" => {
                cursor.space("STATUS needs items in parentheses")?;
                returns.status = status_items(cursor)?;
            }
            _ => return bad("unknown LIST return option"),
        }
        if ends_list(cursor, "expected a space or ) after a LIST option")? {
            return Ok(returns);
        }
    }
}

/// `(MESSAGES UIDNEXT)`
pub(super) fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    cursor.expect(b'(', "STATUS needs items in parentheses")?;
    cursor.spaces();
    let mut items = Vec::new();
    for _ in 0..STATUS_ITEMS_MAX {
        let item = match cursor.word().to_ascii_uppercase().as_slice() {
            b"MESSAGES" => StatusItem::Messages,
            b"RECENT" => StatusItem::Recent,
            b"UIDNEXT" => StatusItem::UidNext,
            b"UIDVALIDITY" => StatusItem::UidValidity,
            b"UNSEEN" => StatusItem::Unseen,
            b"HIGHESTMODSEQ" => StatusItem::HighestModSeq,
            b"" => return bad("expected a STATUS item"),
            _ => return bad("unknown STATUS item"),
        };
        if !items.contains(&item) {
            items.push(item);
        }
        if ends_list(cursor, "expected a space or ) after a STATUS item")? {
            return Ok(items);
        }
    }
    too_many("too many STATUS items")
}

/// Whether a list ends here; else a space has been read and another element must come.
pub(super) fn ends_list(cursor: &mut Cursor<'_>, expected: &'static str) -> Parsed<bool> {
    let spaced = cursor.peek() == Some(b' ');
    cursor.spaces();
    if cursor.eat(b')') {
        return Ok(true);
    }
    if spaced { Ok(false) } else { bad(expected) }
}
