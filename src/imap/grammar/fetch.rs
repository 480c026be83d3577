//! What FETCH can be asked (RFC 3501 6.4.5): items and sections as types, their parser and their names in replies.

use super::command::{Fetch, Numbering};
use super::lexer::{Cursor, Parsed, bad, too_many};
use super::limits::{FETCH_ITEMS_MAX, FIELD_NAME_BYTES_MAX, HEADER_FIELDS_MAX, SECTION_DEPTH_MAX};
use super::write;

/// One item of FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// ENVELOPE
    Envelope,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822: as BODY\[\], but named RFC822 in the reply.
    Rfc822,
    /// RFC822.HEADER: as BODY.PEEK\[HEADER\]; does not set \Seen.
    Rfc822Header,
    /// RFC822.SIZE
    Rfc822Size,
    /// RFC822.TEXT: as BODY\[TEXT\]; sets \Seen.
    Rfc822Text,
    /// BODY: the structure without extension data.
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// UID
    Uid,
    /// MODSEQ (RFC 7162 3.1.4.2)
    ModSeq,
    /// `BODY[section]<partial>`, `BODY.PEEK[section]<partial>`
    Section(BodySection),
}

impl FetchItem {
    /// Whether fetching it sets \Seen (RFC 3501 6.4.5).
    pub fn sets_seen(&self) -> bool {
        match self {
            Self::Rfc822 | Self::Rfc822Text => true,
            Self::Section(section) => !section.peek,
            Self::Envelope
            | Self::Flags
            | Self::InternalDate
            | Self::Rfc822Header
            | Self::Rfc822Size
            | Self::Body
            | Self::BodyStructure
            | Self::Uid
            | Self::ModSeq => false,
        }
    }
}

/// `BODY[section]<partial>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodySection {
    /// BODY.PEEK: \Seen is not set.
    pub peek: bool,
    /// Which part of the message.
    pub section: Section,
    /// Which octets of it.
    pub partial: Option<Partial>,
}

/// `<first.count>`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The first octet, from 0.
    pub first: u64,
    /// How many octets at most; at least 1.
    pub count: u64,
}

/// A section specification (RFC 3501 6.4.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The part's number; empty for the message itself.
    pub part: Vec<u32>,
    /// What of the part; `None` for its whole content (or, without a part, the whole message).
    pub text: Option<SectionText>,
}

/// What of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// HEADER
    Header,
    /// HEADER.FIELDS: these; names as the client wrote them.
    HeaderFields(Vec<Vec<u8>>),
    /// HEADER.FIELDS.NOT: all but these.
    HeaderFieldsNot(Vec<Vec<u8>>),
    /// TEXT
    Text,
    /// MIME: only with a part.
    Mime,
}

impl FetchItem {
    /// Writes its name as it stands in a reply, the section spelled out: `BODY[1.MIME]<0>`.
    pub fn put_name(&self, out: &mut Vec<u8>) {
        let name: &[u8] = match self {
            Self::Envelope => b"ENVELOPE",
            Self::Flags => b"FLAGS",
            Self::InternalDate => b"INTERNALDATE",
            Self::Rfc822 => b"RFC822",
            Self::Rfc822Header => b"RFC822.HEADER",
            Self::Rfc822Size => b"RFC822.SIZE",
            Self::Rfc822Text => b"RFC822.TEXT",
            Self::Body => b"BODY",
            Self::BodyStructure => b"BODYSTRUCTURE",
            Self::Uid => b"UID",
            Self::ModSeq => b"MODSEQ",
            Self::Section(section) => return section.put_name(out),
        };
        out.extend_from_slice(name);
    }
}

impl BodySection {
    /// RFC 3501 7.4.2: the reply names the section, and the first octet of a partial, but never PEEK.
    fn put_name(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"BODY[");
        self.section.put(out);
        out.push(b']');
        if let Some(partial) = self.partial {
            out.push(b'<');
            write::number(out, partial.first);
            out.push(b'>');
        }
    }
}

impl Section {
    fn put(&self, out: &mut Vec<u8>) {
        for (n, &number) in self.part.iter().enumerate() {
            if n > 0 {
                out.push(b'.');
            }
            write::number(out, u64::from(number));
        }
        let Some(text) = &self.text else {
            return;
        };
        if !self.part.is_empty() {
            out.push(b'.');
        }
        let (name, fields): (&[u8], &[Vec<u8>]) = match text {
            SectionText::Header => (b"HEADER", &[]),
            SectionText::HeaderFields(fields) => (b"HEADER.FIELDS ", fields),
            SectionText::HeaderFieldsNot(fields) => (b"HEADER.FIELDS.NOT ", fields),
            SectionText::Text => (b"TEXT", &[]),
            SectionText::Mime => (b"MIME", &[]),
        };
        out.extend_from_slice(name);
        for (n, field) in fields.iter().enumerate() {
            out.push(if n == 0 { b'(' } else { b' ' });
            write::astring(out, field);
        }
        if !fields.is_empty() {
            out.push(b')');
        }
    }
}

/// The arguments of FETCH.
pub(super) fn fetch(cursor: &mut Cursor<'_>, numbering: Numbering) -> Parsed<Fetch> {
    let set = cursor.sequence_set()?;
    cursor.space("FETCH needs message numbers and items")?;
    let items = items(cursor)?;
    let mut changed_since = None;
    // RFC 4466 2.4: modifiers stand in parentheses after the items.
    cursor.spaces();
    if cursor.eat(b'(') {
        cursor.spaces();
        if !cursor.eat_word(b"CHANGEDSINCE") {
            return bad("unknown FETCH modifier");
        }
        cursor.space("CHANGEDSINCE needs a number")?;
        changed_since = Some(cursor.modseq()?);
        cursor.spaces();
        cursor.expect(b')', "expected ) after the FETCH modifier")?;
    }
    Ok(Fetch { numbering, set, items, changed_since })
}

fn items(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    let mut items = Vec::new();
    let mut fields = 0;
    if !cursor.eat(b'(') {
        for (name, all) in MACROS {
            let mut ahead = *cursor;
            if ahead.word().eq_ignore_ascii_case(name) {
                *cursor = ahead;
                return Ok(all.to_vec());
            }
        }
        items.push(item(cursor, &mut fields)?);
        return Ok(items);
    }
    cursor.spaces();
    let mut count = 0;
    loop {
        if count == FETCH_ITEMS_MAX {
            return too_many("too many FETCH items");
        }
        count += 1;
        let item = item(cursor, &mut fields)?;
        if !items.contains(&item) {
            items.push(item);
        }
        let spaced = cursor.peek() == Some(b' ');
        cursor.spaces();
        if cursor.eat(b')') {
            return Ok(items);
        }
        if !spaced {
            return bad("expected a space or ) after a FETCH item");
        }
    }
}

/// RFC 3501 6.4.5: three names for several items each, only without parentheses.
const MACROS: [(&[u8], &[FetchItem]); 3] = [
    (b"ALL", &[FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size, FetchItem::Envelope]),
    (b"FAST", &[FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size]),
    (
        b"FULL",
        &[FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size, FetchItem::Envelope, FetchItem::Body],
    ),
];

fn item(cursor: &mut Cursor<'_>, fields: &mut usize) -> Parsed<FetchItem> {
    let word = cursor.word().to_ascii_uppercase();
    if cursor.peek() == Some(b'[') {
        return match word.as_slice() {
            b"BODY" => section_item(cursor, false, fields),
            b"BODY.PEEK" => section_item(cursor, true, fields),
            _ => bad("only BODY and BODY.PEEK take a section"),
        };
    }
    Ok(match word.as_slice() {
        b"ENVELOPE" => FetchItem::Envelope,
        b"FLAGS" => FetchItem::Flags,
        b"INTERNALDATE" => FetchItem::InternalDate,
        b"RFC822" => FetchItem::Rfc822,
        b"RFC822.HEADER" => FetchItem::Rfc822Header,
        b"RFC822.SIZE" => FetchItem::Rfc822Size,
        b"RFC822.TEXT" => FetchItem::Rfc822Text,
        b"BODY" => FetchItem::Body,
        b"BODYSTRUCTURE" => FetchItem::BodyStructure,
        b"UID" => FetchItem::Uid,
        b"MODSEQ" => FetchItem::ModSeq,
        b"BODY.PEEK" => return bad("BODY.PEEK needs a section, like BODY.PEEK[]"),
        b"ALL" | b"FAST" | b"FULL" => return bad("ALL, FAST and FULL stand alone, without parentheses"),
        _ => return bad("unknown FETCH item"),
    })
}

fn section_item(cursor: &mut Cursor<'_>, peek: bool, fields: &mut usize) -> Parsed<FetchItem> {
    cursor.expect(b'[', "expected [")?;
    let section = section(cursor, fields)?;
    cursor.expect(b']', "expected ] after the section")?;
    let partial = if cursor.eat(b'<') { Some(partial(cursor)?) } else { None };
    Ok(FetchItem::Section(BodySection { peek, section, partial }))
}

fn partial(cursor: &mut Cursor<'_>) -> Parsed<Partial> {
    const EXPECTED: &str = "expected a partial like <0.1024>";
    let first = cursor.number(EXPECTED)?;
    cursor.expect(b'.', EXPECTED)?;
    let count = cursor.number(EXPECTED)?;
    cursor.expect(b'>', EXPECTED)?;
    if count == 0 { bad("a partial of no octets") } else { Ok(Partial { first, count }) }
}

fn section(cursor: &mut Cursor<'_>, fields: &mut usize) -> Parsed<Section> {
    let mut part = Vec::new();
    while cursor.peek().is_some_and(|octet| octet.is_ascii_digit()) {
        if part.len() == SECTION_DEPTH_MAX {
            return too_many("the part's number is too deep");
        }
        match u32::try_from(cursor.number("a part's number is too large")?) {
            Ok(number) if number != 0 => part.push(number),
            _ => return bad("parts are numbered from 1"),
        }
        if !cursor.eat(b'.') {
            return Ok(Section { part, text: None });
        }
    }
    let word = cursor.word().to_ascii_uppercase();
    let text = match word.as_slice() {
        b"" if part.is_empty() => None,
        b"HEADER" => Some(SectionText::Header),
        b"HEADER.FIELDS" => Some(SectionText::HeaderFields(field_names(cursor, fields)?)),
        b"HEADER.FIELDS.NOT" => Some(SectionText::HeaderFieldsNot(field_names(cursor, fields)?)),
        b"TEXT" => Some(SectionText::Text),
        b"MIME" if part.is_empty() => return bad("MIME needs a part's number before it"),
        b"MIME" => Some(SectionText::Mime),
        _ => return bad("expected HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME"),
    };
    Ok(Section { part, text })
}

/// `header-list`. Names may be quoted, as Outlook and Apple Mail do, or literals.
fn field_names(cursor: &mut Cursor<'_>, count: &mut usize) -> Parsed<Vec<Vec<u8>>> {
    cursor.spaces();
    cursor.expect(b'(', "expected header names in parentheses")?;
    cursor.spaces();
    let mut names = Vec::new();
    loop {
        if *count == HEADER_FIELDS_MAX {
            return too_many("too many header names");
        }
        *count += 1;
        let name = cursor.astring("expected a header name")?;
        if name.len() > FIELD_NAME_BYTES_MAX {
            return bad("a header name is too long");
        }
        names.push(name);
        let spaced = cursor.peek() == Some(b' ');
        cursor.spaces();
        if cursor.eat(b')') {
            return Ok(names);
        }
        if !spaced {
            return bad("expected a space or ) after a header name");
        }
    }
}
