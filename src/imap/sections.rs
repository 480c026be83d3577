//! `BODY[section]<partial>` (RFC 3501 6.4.5): which octets of a message, and their way to the client as a literal whose
//! length is known before. Byte for byte, chunk by chunk; never holds a message.

use super::failure::{End, Failure};
use super::grammar::{FetchItem, Partial, SectionText, write};
use crate::base::{Budget, Grant};
use crate::mail::{FieldFilter, FieldNames, Span, Summary, Wanted};
use crate::net::Wire;
use crate::store::{BodyReader, Message, Refusal, Store};

/// A decoded summary takes at most about so many times its stored octets: a thousand empty parts are the worst.
const DECODED_FACTOR: usize = 64;
/// Header octets filtered at once.
const FILTER_BYTES: usize = 4 * 1024;
/// What stands for octets that cannot be read once the literal has been announced; the tagged reply is NO then.
const PAD: [u8; 512] = [b' '; 512];

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    part: &'a [u32],
    text: Option<&'a SectionText>,
    partial: Option<Partial>,
}

/// A message to read sections of.
pub(super) struct Source<'a> {
    store: &'a Store,
    message: &'a Message,
    summary: Option<&'a Summary>,
    reader: Option<BodyReader>,
}

/// A message's summary, decoded within the budget.
pub(super) fn summary(budget: &Budget, message: &Message) -> Result<(Summary, Grant), Refusal> {
    let room = budget.take(message.summary.len().saturating_mul(DECODED_FACTOR)).ok_or(Refusal::NoMemory)?;
    let summary = Summary::decode(&message.summary).map_err(|_| Refusal::Damaged)?;
    Ok((summary, room))
}

/// Octets of the message.
#[derive(Clone, Copy)]
enum Content<'a> {
    Span(Span),
    Fields(Span, FieldNames<'a>),
}

impl<'a> Section<'a> {
    /// The section that an item asks for; `None` when it asks for none.
    pub(super) fn of(item: &'a FetchItem) -> Option<Self> {
        let whole = |text| Some(Self { part: &[], text, partial: None });
        match item {
            FetchItem::Rfc822 => whole(None),
            FetchItem::Rfc822Header => whole(Some(&SectionText::Header)),
            FetchItem::Rfc822Text => whole(Some(&SectionText::Text)),
            FetchItem::Section(body) => {
                Some(Self { part: &body.section.part, text: body.section.text.as_ref(), partial: body.partial })
            }
            FetchItem::Envelope
            | FetchItem::Flags
            | FetchItem::InternalDate
            | FetchItem::Rfc822Size
            | FetchItem::Body
            | FetchItem::BodyStructure
            | FetchItem::Uid
            | FetchItem::ModSeq => None,
        }
    }

    /// Where it is; `None` when the message has no such part.
    fn content(self, octets: u64, summary: Option<&Summary>) -> Option<Content<'a>> {
        let find = |wanted| summary.and_then(|summary| summary.section(self.part, wanted));
        Some(match self.text {
            None if self.part.is_empty() => Content::Span(Span { offset: 0, octets }),
            None => Content::Span(find(Wanted::Body)?),
            Some(SectionText::Header) => Content::Span(find(Wanted::Header)?),
            Some(SectionText::Text) => Content::Span(find(Wanted::Text)?),
            Some(SectionText::Mime) => Content::Span(find(Wanted::Mime)?),
            Some(SectionText::HeaderFields(names)) => Content::Fields(find(Wanted::Header)?, FieldNames::Only(names)),
            Some(SectionText::HeaderFieldsNot(names)) => Content::Fields(find(Wanted::Header)?, FieldNames::Not(names)),
        })
    }
}

impl<'a> Source<'a> {
    /// A message whose body is opened when it is needed.
    pub(super) fn new(store: &'a Store, message: &'a Message, summary: Option<&'a Summary>) -> Self {
        Self { store, message, summary, reader: None }
    }

    /// Sends what is in `out`, then the section as a literal, or NIL when there is none. What could not be read is told
    /// by the refusal; the reply is well formed nevertheless.
    pub(super) async fn send(
        &mut self,
        wire: &mut Wire,
        out: &mut Vec<u8>,
        section: Section<'_>,
    ) -> Result<Option<Refusal>, Failure> {
        let Some(content) = section.content(self.message.size, self.summary) else {
            out.extend_from_slice(b"NIL");
            return Ok(None);
        };
        let (reader, octets) = match self.measure(content).await {
            Ok(measured) => measured,
            Err(refusal) => {
                out.extend_from_slice(b"NIL");
                return Ok(Some(refusal));
            }
        };
        let (first, count) = window(section.partial, octets);
        write::literal_head(out, count);
        wire.send(out).await?;
        out.clear();
        let sent = match content {
            Content::Span(span) => send_span(wire, reader, span.offset.saturating_add(first), count).await,
            Content::Fields(span, names) => send_fields(wire, reader, span, names, (first, count)).await,
        };
        let (missing, failed) = sent.map_err(|_| End::Broken)?;
        pad(wire, missing).await.map_err(|_| End::Broken)?;
        Ok(failed)
    }

    /// How many octets the content has.
    async fn measure(&mut self, content: Content<'_>) -> Result<(&mut BodyReader, u64), Refusal> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.store.read(self.message.blob).await?),
        };
        let octets = match content {
            Content::Span(span) => span.octets,
            Content::Fields(span, names) => count_fields(reader, span, names).await?,
        };
        Ok((reader, octets))
    }
}

/// The first octet and the count of a partial, within what there is.
fn window(partial: Option<Partial>, octets: u64) -> (u64, u64) {
    match partial {
        None => (0, octets),
        Some(Partial { first, count }) => {
            let first = first.min(octets);
            (first, count.min(octets - first))
        }
    }
}

/// What is left to send when it ends early, and why.
type Sent = Result<(u64, Option<Refusal>), crate::net::WireError>;

async fn send_span(wire: &mut Wire, reader: &mut BodyReader, offset: u64, count: u64) -> Sent {
    let (mut offset, mut left) = (offset, count);
    while left > 0 {
        let chunk = match reader.at(offset).await {
            Ok([]) => return Ok((left, Some(Refusal::Damaged))),
            Ok(chunk) => chunk,
            Err(refusal) => return Ok((left, Some(refusal))),
        };
        let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        send_octets(wire, chunk.get(..count).unwrap_or_default()).await?;
        offset = offset.saturating_add(count as u64);
        left = left.saturating_sub(count as u64);
    }
    Ok((0, None))
}

async fn count_fields(reader: &mut BodyReader, span: Span, names: FieldNames<'_>) -> Result<u64, Refusal> {
    let mut filter = FieldFilter::new(names);
    let mut octets = 0_u64;
    let mut offset = span.offset;
    while offset < span.end() {
        let chunk = reader.at(offset).await?;
        let Some(header) = head(chunk, span.end() - offset) else {
            return Err(Refusal::Damaged);
        };
        filter.feed(header, &mut |kept| octets = octets.saturating_add(kept.len() as u64));
        offset = offset.saturating_add(header.len() as u64);
    }
    filter.finish(&mut |kept| octets = octets.saturating_add(kept.len() as u64));
    Ok(octets)
}

async fn send_fields(
    wire: &mut Wire,
    reader: &mut BodyReader,
    span: Span,
    names: FieldNames<'_>,
    (first, count): (u64, u64),
) -> Sent {
    let mut filter = FieldFilter::new(names);
    let (mut skip, mut left) = (first, count);
    let mut offset = span.offset;
    let mut kept = Vec::new();
    while left > 0 && offset < span.end() {
        let chunk = match reader.at(offset).await {
            Ok(chunk) => chunk,
            Err(refusal) => return Ok((left, Some(refusal))),
        };
        let Some(header) = head(chunk, span.end() - offset) else {
            return Ok((left, Some(Refusal::Damaged)));
        };
        for piece in header.chunks(FILTER_BYTES) {
            kept.clear();
            filter.feed(piece, &mut |octets| kept.extend_from_slice(octets));
            send_windowed(wire, &kept, &mut skip, &mut left).await?;
        }
        offset = offset.saturating_add(header.len() as u64);
    }
    kept.clear();
    filter.finish(&mut |octets| kept.extend_from_slice(octets));
    send_windowed(wire, &kept, &mut skip, &mut left).await?;
    // It was counted a moment ago, and stored bodies never change.
    Ok((left, (left > 0).then_some(Refusal::Damaged)))
}

/// The first octets of a chunk, at most `octets`; `None` when the body has ended.
fn head(chunk: &[u8], octets: u64) -> Option<&[u8]> {
    let count = chunk.len().min(usize::try_from(octets).unwrap_or(usize::MAX));
    chunk.get(..count).filter(|head| !head.is_empty())
}

async fn send_windowed(
    wire: &mut Wire,
    octets: &[u8],
    skip: &mut u64,
    left: &mut u64,
) -> Result<(), crate::net::WireError> {
    let skipped = octets.len().min(usize::try_from(*skip).unwrap_or(usize::MAX));
    *skip = skip.saturating_sub(skipped as u64);
    let rest = octets.get(skipped..).unwrap_or_default();
    let rest = head(rest, *left).unwrap_or_default();
    *left = left.saturating_sub(rest.len() as u64);
    send_octets(wire, rest).await
}

/// Octets of a literal. NUL, which a message taken over SMTP may have and a literal may not, goes as 0x80.
async fn send_octets(wire: &mut Wire, octets: &[u8]) -> Result<(), crate::net::WireError> {
    if memchr::memchr(0, octets).is_none() {
        return wire.send(octets).await;
    }
    for piece in octets.chunks(FILTER_BYTES) {
        let piece: Vec<u8> = piece.iter().map(|&octet| if octet == 0 { 0x80 } else { octet }).collect();
        wire.send(&piece).await?;
    }
    Ok(())
}

async fn pad(wire: &mut Wire, octets: u64) -> Result<(), crate::net::WireError> {
    let mut left = octets;
    while let Some(piece) = head(&PAD, left) {
        wire.send(piece).await?;
        left = left.saturating_sub(piece.len() as u64);
    }
    Ok(())
}
