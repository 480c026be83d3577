//! What SEARCH can be asked (RFC 3501 6.4.4): keys as a tree, and their parser. Does not match anything.

use super::command::{Numbering, Search};
use super::date::{Day, date};
use super::flags::keyword;
use super::lexer::{Cursor, Parsed, bad, too_many};
use super::limits::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX};
use super::sequence::SequenceSet;
use crate::store::{Flags, ModSeq};

/// One key of SEARCH. Chains of AND and OR are flat; the tree is at most [`super::limits::SEARCH_DEPTH_MAX`] deep.
/// Texts are octets in the command's charset, compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// ALL
    All,
    /// Every one of them; keys written side by side or in parentheses.
    And(Vec<SearchKey>),
    /// At least one of them.
    Or(Vec<SearchKey>),
    /// NOT
    Not(Box<SearchKey>),
    /// Has the system flag (one bit of [`Flags`]): ANSWERED, DELETED, DRAFT, FLAGGED, SEEN; UNSEEN is its [`SearchKey::Not`].
    Flag(Flags),
    /// KEYWORD; UNKEYWORD is its [`SearchKey::Not`].
    Keyword(String),
    /// RECENT; OLD is its [`SearchKey::Not`], NEW is RECENT and not SEEN.
    Recent,
    /// INTERNALDATE's day, its time and zone disregarded: BEFORE, ON, SINCE.
    Internal(When, Day),
    /// The Date header's day, its time and zone disregarded: SENTBEFORE, SENTON, SENTSINCE.
    Sent(When, Day),
    /// More octets than that (RFC822.SIZE).
    Larger(u64),
    /// Fewer octets than that.
    Smaller(u64),
    /// BCC, CC, FROM, TO: the text is in that address list of the envelope. SUBJECT: in the decoded subject.
    Field(SearchField, Vec<u8>),
    /// HEADER name text: there is such a field and the text is in it; an empty text asks only for the field.
    Header(String, Vec<u8>),
    /// BODY
    Body(Vec<u8>),
    /// TEXT: header or body.
    Text(Vec<u8>),
    /// Message sequence numbers.
    Sequence(SequenceSet),
    /// UID
    Uid(SequenceSet),
    /// MODSEQ: at least that (RFC 7162 3.1.5); the reply then ends in (MODSEQ n).
    ModSeq(ModSeq),
}

/// Compared with a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On an earlier day.
    Before,
    /// On that day.
    On,
    /// On that day or later.
    Since,
}

/// Header fields that SEARCH names by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchField {
    /// BCC
    Bcc,
    /// CC
    Cc,
    /// FROM
    From,
    /// SUBJECT
    Subject,
    /// TO
    To,
}

/// The arguments of SEARCH.
pub(super) fn search(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Search> {
    let mut charset = None;
    if cursor.eat_word(b"CHARSET ") {
        cursor.spaces();
        let name = cursor.astring("CHARSET needs the name of a charset")?;
        charset = Some(String::from_utf8_lossy(&name).to_ascii_uppercase());
        cursor.space("CHARSET must be followed by search keys")?;
    }
    let key = keys(cursor)?;
    Ok(Search { numbering, charset, key })
}

/// A key that waits for its operands. They stand on a list, not on the machine's stack: nesting cannot overflow it.
enum Frame {
    /// Keys side by side, in parentheses or not.
    And { keys: Vec<Key>, closes: bool },
    /// OR and its first operand, if that has come.
    Or(Option<Key>),
    /// NOT
    Not,
}

/// A key and how many levels it has.
struct Key(SearchKey, usize);

fn keys(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    let mut frames = vec![Frame::And { keys: Vec::new(), closes: false }];
    for _ in 0..SEARCH_KEYS_MAX {
        if cursor.eat(b'(') {
            cursor.spaces();
            frames.push(Frame::And { keys: Vec::new(), closes: true });
            continue;
        }
        let numbers = matches!(cursor.peek(), Some(b'0'..=b'9' | b'*'));
        let word = if numbers { Vec::new() } else { cursor.word().to_ascii_uppercase() };
        match word.as_slice() {
            b"OR" => {
                cursor.space("OR needs two search keys")?;
                frames.push(Frame::Or(None));
            }
            b"NOT" => {
                cursor.space("NOT needs a search key")?;
                frames.push(Frame::Not);
            }
            b"" if !numbers => return bad("expected a search key"),
            word => {
                let key = leaf(cursor, word)?;
                let depth = depth(&key);
                let key = Key(key, depth);
                if let Some(whole) = place(cursor, &mut frames, key)? {
                    return Ok(whole);
                }
            }
        }
    }
    too_many("too many search keys")
}

/// Gives `key` to whoever waits for it, and what becomes whole by that to the next one; the whole search when it ends
/// there. Else the cursor stands before the next key.
fn place(cursor: &mut Cursor<'_>, frames: &mut Vec<Frame>, mut key: Key) -> Parsed<Option<SearchKey>> {
    loop {
        match frames.pop() {
            None => return Ok(Some(key.0)),
            Some(Frame::Not) => key = not(key),
            Some(Frame::Or(None)) => {
                frames.push(Frame::Or(Some(key)));
                cursor.space("OR needs two search keys")?;
                return Ok(None);
            }
            Some(Frame::Or(Some(first))) => key = joined(vec![first, key], true),
            Some(Frame::And { mut keys, closes }) => {
                keys.push(key);
                let spaced = cursor.peek() == Some(b' ');
                cursor.spaces();
                let ends = if closes { cursor.eat(b')') } else { cursor.is_at_end() };
                if ends {
                    key = joined(keys, false);
                } else if spaced {
                    frames.push(Frame::And { keys, closes });
                    return Ok(None);
                } else {
                    return bad("expected a space, a ) or the end after a search key");
                }
            }
        }
        if key.1 > SEARCH_DEPTH_MAX {
            return too_many("the search is nested too deeply");
        }
    }
}

/// Levels of a key that [`leaf`] made.
fn depth(leaf: &SearchKey) -> usize {
    match leaf {
        SearchKey::Not(_) => 2,
        SearchKey::And(_) => 3, // NEW
        _ => 1,
    }
}

fn not(Key(key, depth): Key) -> Key {
    match key {
        SearchKey::Not(inner) => Key(*inner, depth.saturating_sub(1)),
        key => Key(SearchKey::Not(Box::new(key)), depth.saturating_add(1)),
    }
}

/// AND, or OR, of `keys`; those that are themselves the same melt into it.
fn joined(keys: Vec<Key>, or: bool) -> Key {
    let mut all = Vec::with_capacity(keys.len());
    let mut depth = 0;
    for Key(key, levels) in keys {
        match key {
            SearchKey::And(inner) if !or => {
                all.extend(inner);
                depth = depth.max(levels.saturating_sub(1));
            }
            SearchKey::Or(inner) if or => {
                all.extend(inner);
                depth = depth.max(levels.saturating_sub(1));
            }
            key => {
                all.push(key);
                depth = depth.max(levels);
            }
        }
    }
    match all.pop() {
        Some(only) if all.is_empty() => Key(only, depth),
        Some(last) => {
            all.push(last);
            let key = if or { SearchKey::Or(all) } else { SearchKey::And(all) };
            Key(key, depth.saturating_add(1))
        }
        None => Key(SearchKey::All, 1),
    }
}

/// A key without keys in it; `word` has been read.
fn leaf(cursor: &mut Cursor<'_>, word: &[u8]) -> Parsed<SearchKey> {
    let flag = |flag| Ok(SearchKey::Flag(flag));
    let no_flag = |flag| Ok(negated(SearchKey::Flag(flag)));
    match word {
        b"ALL" => Ok(SearchKey::All),
        b"ANSWERED" => flag(Flags::ANSWERED),
        b"DELETED" => flag(Flags::DELETED),
        b"DRAFT" => flag(Flags::DRAFT),
        b"FLAGGED" => flag(Flags::FLAGGED),
        b"SEEN" => flag(Flags::SEEN),
        b"UNANSWERED" => no_flag(Flags::ANSWERED),
        b"UNDELETED" => no_flag(Flags::DELETED),
        b"UNDRAFT" => no_flag(Flags::DRAFT),
        b"UNFLAGGED" => no_flag(Flags::FLAGGED),
        b"UNSEEN" => no_flag(Flags::SEEN),
        b"RECENT" => Ok(SearchKey::Recent),
        b"OLD" => Ok(negated(SearchKey::Recent)),
        b"NEW" => Ok(SearchKey::And(vec![SearchKey::Recent, negated(SearchKey::Flag(Flags::SEEN))])),
        b"" => Ok(SearchKey::Sequence(cursor.sequence_set()?)),
        _ => leaf_with_argument(cursor, word),
    }
}

fn negated(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

fn leaf_with_argument(cursor: &mut Cursor<'_>, word: &[u8]) -> Parsed<SearchKey> {
    const TEXT: &str = "expected a text to search for";
    const SIZE: &str = "expected a size in octets";
    let space = |cursor: &mut Cursor<'_>| cursor.space("a search key lacks its argument");
    Ok(match word {
        b"BCC" => SearchKey::Field(SearchField::Bcc, text(cursor, TEXT)?),
        b"CC" => SearchKey::Field(SearchField::Cc, text(cursor, TEXT)?),
        b"FROM" => SearchKey::Field(SearchField::From, text(cursor, TEXT)?),
        b"SUBJECT" => SearchKey::Field(SearchField::Subject, text(cursor, TEXT)?),
        b"TO" => SearchKey::Field(SearchField::To, text(cursor, TEXT)?),
        b"BODY" => SearchKey::Body(text(cursor, TEXT)?),
        b"TEXT" => SearchKey::Text(text(cursor, TEXT)?),
        b"HEADER" => {
            let name = text(cursor, "expected a header's name")?;
            SearchKey::Header(String::from_utf8_lossy(&name).into_owned(), text(cursor, TEXT)?)
        }
        b"BEFORE" => SearchKey::Internal(When::Before, day(cursor)?),
        b"ON" => SearchKey::Internal(When::On, day(cursor)?),
        b"SINCE" => SearchKey::Internal(When::Since, day(cursor)?),
        b"SENTBEFORE" => SearchKey::Sent(When::Before, day(cursor)?),
        b"SENTON" => SearchKey::Sent(When::On, day(cursor)?),
        b"SENTSINCE" => SearchKey::Sent(When::Since, day(cursor)?),
        b"KEYWORD" => {
            space(cursor)?;
            SearchKey::Keyword(keyword(cursor)?)
        }
        b"UNKEYWORD" => {
            space(cursor)?;
            negated(SearchKey::Keyword(keyword(cursor)?))
        }
        b"LARGER" => {
            space(cursor)?;
            SearchKey::Larger(cursor.number(SIZE)?)
        }
        b"SMALLER" => {
            space(cursor)?;
            SearchKey::Smaller(cursor.number(SIZE)?)
        }
        b"UID" => {
            space(cursor)?;
            SearchKey::Uid(cursor.sequence_set()?)
        }
        b"MODSEQ" => {
            space(cursor)?;
            modseq(cursor)?
        }
        _ => return bad("unknown search key"),
    })
}

fn text(cursor: &mut Cursor<'_>, expected: &'static str) -> Parsed<Vec<u8>> {
    cursor.space("a search key lacks its argument")?;
    cursor.astring(expected)
}

fn day(cursor: &mut Cursor<'_>) -> Parsed<Day> {
    cursor.space("a search key lacks its argument")?;
    date(cursor)
}

/// RFC 7162 3.1.5: an entry may be named, like `"/flags/\\Seen" all`; a server that keeps one number per message, as we
/// do, disregards it.
fn modseq(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    if cursor.peek() == Some(b'"') {
        cursor.string("expected an entry's name")?;
        cursor.space("expected priv, shared or all after an entry's name")?;
        if ![&b"priv"[..], b"shared", b"all"].iter().any(|&kind| cursor.eat_word(kind)) {
            return bad("expected priv, shared or all after an entry's name");
        }
        cursor.space("expected a modification sequence")?;
    }
    Ok(SearchKey::ModSeq(cursor.modseq()?))
}
