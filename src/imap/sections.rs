//! `BODY[section]<partial>` (RFC 3501 6.4.5): which octets of a message, and their way to the client as a literal whose
//! length is known before. Byte for byte, chunk by chunk; never holds a message.

use super::failure::{End, Failure};
use super::grammar::{FetchItem, Partial, SectionText, write};
use crate::base::{Budget, Grant};
use crate::mail::{FieldFilter, FieldNames, Span, Summary, Wanted};
use crate::net::Wire;
use crate::store::{BodyReader, Message, Refusal, Store, Uid};
use std::collections::VecDeque;

/// A decoded summary takes at most about so many times its stored octets: a thousand empty parts are the worst.
const DECODED_FACTOR: usize = 64;
/// Header octets filtered at once.
const FILTER_BYTES: usize = 4 * 1024;

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    part: &'a [u32],
    text: Option<&'a SectionText>,
    partial: Option<Partial>,
}

/// A message to read sections of.
pub(super) struct Source<'a> {
    message: &'a Message,
    summary: Option<&'a Summary>,
    octets: Octets<'a>,
}

/// A message's octets: the first may be known already, the others come from the store when they are wanted.
pub(super) struct Octets<'a> {
    store: &'a Store,
    message: &'a Message,
    head: &'a [u8],
    reader: Option<BodyReader>,
}

impl<'a> Octets<'a> {
    /// Of `message`, which begins with `head`.
    pub(super) fn new(store: &'a Store, message: &'a Message, head: &'a [u8]) -> Self {
        Self { store, message, head, reader: None }
    }

    /// The octets from `offset` to the end of what is at hand; empty at the message's end.
    pub(super) async fn at(&mut self, offset: u64) -> Result<&[u8], Refusal> {
        let known = usize::try_from(offset).ok().and_then(|offset| self.head.get(offset..));
        match known {
            Some(rest) if !rest.is_empty() => Ok(rest),
            _ if offset >= self.message.size => Ok(&[]),
            _ => self.reader().await?.at(offset).await,
        }
    }

    /// Finds out, before they are promised, whether these can be read, as far as it costs nothing.
    async fn try_out(&mut self, span: Span) -> Result<(), Refusal> {
        let first = span.offset.max(self.head.len() as u64);
        if first < span.end() { self.reader().await?.try_out(first..span.end()).await } else { Ok(()) }
    }

    async fn reader(&mut self) -> Result<&mut BodyReader, Refusal> {
        Ok(match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.store.read(self.message.blob).await?),
        })
    }
}

/// Octets that are read of every message of a batch.
pub(super) const HEAD_OCTETS: usize = 8 * 1024;
/// Octets that a batch has at the most.
const HEADS_OCTETS: usize = 64 * 1024;
/// A chunk while it is decoded, the stored one beside it.
const DECODING_OCTETS: usize = 128 * 1024;

/// The first octets of some messages that are about to be read, fetched in one step: a job for each of a thousand small
/// messages costs more than what it reads.
#[derive(Default)]
pub(super) struct Heads {
    /// In the order asked for.
    heads: VecDeque<(Uid, Vec<u8>)>,
    room: Option<Grant>,
}

impl Heads {
    /// Of the first messages among `wanted`, as many as a batch holds; none while memory is scarce, and of those that cannot
    /// be read: their readers will tell.
    pub(super) async fn read(store: &Store, budget: &Budget, wanted: impl Iterator<Item = (Uid, &Message)>) -> Self {
        let Some(mut room) =
            Some(HEADS_OCTETS + DECODING_OCTETS).filter(|_| budget.is_roomy()).and_then(|octets| budget.take(octets))
        else {
            return Self::default();
        };
        let (mut uids, mut blobs, mut octets) = (Vec::new(), Vec::new(), 0);
        for (uid, message) in wanted {
            octets += HEAD_OCTETS.min(usize::try_from(message.size).unwrap_or(usize::MAX));
            if octets > HEADS_OCTETS {
                break;
            }
            uids.push(uid);
            blobs.push(message.blob);
        }
        let Ok(heads) = store.heads(blobs, HEAD_OCTETS).await else {
            return Self::default();
        };
        // Smaller than before, so it fits.
        let _ = room.resize(heads.iter().map(Vec::capacity).sum::<usize>().min(room.bytes()));
        Self { heads: uids.into_iter().zip(heads).collect(), room: Some(room) }
    }

    /// Whether all have been taken.
    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The first octets of a message, if they were read; those before it are passed over.
    pub(super) fn take(&mut self, uid: Uid) -> Vec<u8> {
        while let Some((found, head)) = self.heads.pop_front() {
            if found == uid {
                return head;
            }
            if found > uid {
                self.heads.push_front((found, head));
                break;
            }
        }
        if self.heads.is_empty() {
            self.room = None;
        }
        Vec::new()
    }
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

    /// Whether it begins in the first octets of a message.
    pub(super) fn begins_in_head(self) -> bool {
        self.partial.is_none_or(|partial| partial.first < HEAD_OCTETS as u64)
    }

    /// Whether it is of the message's own header.
    pub(super) fn is_header(self) -> bool {
        let fields = matches!(
            self.text,
            Some(SectionText::Header | SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_))
        );
        self.part.is_empty() && fields
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
    pub(super) fn new(store: &'a Store, message: &'a Message, summary: Option<&'a Summary>, head: &'a [u8]) -> Self {
        Self { message, summary, octets: Octets::new(store, message, head) }
    }

    /// Sends what is in `out`, then the section as a literal; NIL when there is none, and when it cannot be read, which the
    /// refusal tells. What is found unreadable in the middle of a literal ends the session: whatever stood there instead would be
    /// taken, and kept, for the message. The next to ask for it has NIL.
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
        let (first, count) = match measure(&mut self.octets, content, section.partial).await {
            Ok(window) => window,
            Err(refusal) => {
                out.extend_from_slice(b"NIL");
                return Ok(Some(refusal));
            }
        };
        write::literal_head(out, count);
        wire.send(out).await?;
        out.clear();
        match content {
            Content::Span(span) => send_span(wire, &mut self.octets, within(span, first, count)).await?,
            Content::Fields(span, names) => send_fields(wire, &mut self.octets, span, names, (first, count)).await?,
        }
        Ok(None)
    }
}

/// The first octet and the count of what is asked for of the content.
async fn measure(
    octets: &mut Octets<'_>,
    content: Content<'_>,
    partial: Option<Partial>,
) -> Result<(u64, u64), Refusal> {
    match content {
        Content::Span(span) => {
            let (first, count) = window(partial, span.octets);
            octets.try_out(within(span, first, count)).await.map(|()| (first, count))
        }
        Content::Fields(span, names) => Ok(window(partial, count_fields(octets, span, names).await?)),
    }
}

fn within(span: Span, first: u64, octets: u64) -> Span {
    Span { offset: span.offset.saturating_add(first), octets }
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

async fn send_span(wire: &mut Wire, reader: &mut Octets<'_>, span: Span) -> Result<(), End> {
    let mut offset = span.offset;
    while offset < span.end() {
        let chunk = reader.at(offset).await.map_err(|_| End::Broken)?;
        let octets = head(chunk, span.end() - offset).ok_or(End::Broken)?;
        send_octets(wire, octets).await?;
        offset = offset.saturating_add(octets.len() as u64);
    }
    Ok(())
}

async fn count_fields(reader: &mut Octets<'_>, span: Span, names: FieldNames<'_>) -> Result<u64, Refusal> {
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
    reader: &mut Octets<'_>,
    span: Span,
    names: FieldNames<'_>,
    (first, count): (u64, u64),
) -> Result<(), End> {
    let mut filter = FieldFilter::new(names);
    let (mut skip, mut left) = (first, count);
    let mut offset = span.offset;
    let mut kept = Vec::new();
    while left > 0 && offset < span.end() {
        let chunk = reader.at(offset).await.map_err(|_| End::Broken)?;
        let header = head(chunk, span.end() - offset).ok_or(End::Broken)?;
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
    if left == 0 { Ok(()) } else { Err(End::Broken) }
}

/// The first octets of a chunk, at most `octets`; `None` when the body has ended.
fn head(chunk: &[u8], octets: u64) -> Option<&[u8]> {
    let count = chunk.len().min(usize::try_from(octets).unwrap_or(usize::MAX));
    chunk.get(..count).filter(|head| !head.is_empty())
}

async fn send_windowed(wire: &mut Wire, octets: &[u8], skip: &mut u64, left: &mut u64) -> Result<(), End> {
    let skipped = octets.len().min(usize::try_from(*skip).unwrap_or(usize::MAX));
    *skip = skip.saturating_sub(skipped as u64);
    let rest = octets.get(skipped..).unwrap_or_default();
    let rest = head(rest, *left).unwrap_or_default();
    *left = left.saturating_sub(rest.len() as u64);
    send_octets(wire, rest).await
}

/// Octets of a literal. NUL, which a message taken over SMTP may have and a literal may not, goes as 0x80.
async fn send_octets(wire: &mut Wire, octets: &[u8]) -> Result<(), End> {
    if memchr::memchr(0, octets).is_none() {
        return wire.send(octets).await.map_err(|_| End::Broken);
    }
    for piece in octets.chunks(FILTER_BYTES) {
        let piece: Vec<u8> = piece.iter().map(|&octet| if octet == 0 { 0x80 } else { octet }).collect();
        wire.send(&piece).await.map_err(|_| End::Broken)?;
    }
    Ok(())
}
