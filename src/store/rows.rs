//! What the rows hold, and how they are written. The tables are drawn in [`super::keys`].

use super::bytes::{Code, Decoder, Encoder, get_list, put_list};
use super::index::{IndexError, Read, Tx};
use super::keys::{T, key_blob, key_u32, key_u64, key_uid, uid_of_key};
use super::segment::Position;
use super::types::*;
use std::collections::BTreeMap;

/// The version of the index's rows; version 1 had a state without what the log amounts to, version 2 one without what was
/// told again.
const FORMAT_VERSION: u64 = 3;
/// Extents in one row at the most.
const ROW_EXTENTS_MAX: usize = 128;

/// The state row: where in the log the index stands, and what the next things are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The last batch that the index holds.
    pub(crate) position: Position,
    /// The next account's number.
    pub(crate) account_next: u32,
    /// The next mailbox's number.
    pub(crate) mailbox_next: u32,
    /// The next mailbox's UIDVALIDITY.
    pub(crate) uid_validity_next: u32,
    /// The next message's number.
    pub(crate) message_next: u64,
    /// The next blob's number.
    pub(crate) blob_next: u64,
    /// Accounts there are.
    pub(crate) accounts: u64,
    /// Messages there are; copies count once.
    pub(crate) messages: u64,
    /// Deleted mailboxes whose rows are still there.
    pub(crate) doomed: u64,
    /// Octets of all events that were ever applied.
    pub(crate) event_bytes: u64,
    /// Mailboxes from this number on are still to be raised, because something may have been lost; 0 when none is.
    pub(crate) raise_from: u32,
    /// The commit segment in which the last telling began that came to its end; 0 for none.
    pub(crate) roll_segment: u64,
    /// It was made from a log that lacks something: what is told again is taken for what is there. Never while mail is served.
    pub(crate) patchy: bool,
    /// Messages from this number on may lack their summaries; 0 when none does.
    pub(crate) bare_from: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            position: Position::default(),
            account_next: 1,
            mailbox_next: 1,
            uid_validity_next: 1,
            message_next: 1,
            blob_next: 1,
            accounts: 0,
            messages: 0,
            doomed: 0,
            event_bytes: 0,
            raise_from: 0,
            roll_segment: 0,
            patchy: false,
            bare_from: 0,
        }
    }
}

impl State {
    /// The row.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::default();
        to.put(&FORMAT_VERSION);
        to.put(&self.position.segment).put(&self.position.end).put(&self.position.sequence).put(&self.position.crc);
        to.put(&self.account_next).put(&self.mailbox_next).put(&self.uid_validity_next);
        to.put(&self.message_next).put(&self.blob_next);
        to.put(&self.accounts).put(&self.messages).put(&self.doomed);
        to.put(&self.event_bytes).put(&self.raise_from);
        to.put(&self.roll_segment).put(&self.patchy).put(&self.bare_from);
        to.0
    }

    /// Reads the row.
    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut from = Decoder(row);
        let version = from.get::<u64>()?;
        if version == 0 || version > FORMAT_VERSION {
            return None;
        }
        let position = Position { segment: from.get()?, end: from.get()?, sequence: from.get()?, crc: from.get()? };
        let mut state = Self {
            position,
            account_next: from.get()?,
            mailbox_next: from.get()?,
            uid_validity_next: from.get()?,
            message_next: from.get()?,
            blob_next: from.get()?,
            accounts: from.get()?,
            messages: from.get()?,
            doomed: from.get()?,
            ..Self::default()
        };
        if version >= 2 {
            state.event_bytes = from.get()?;
            state.raise_from = from.get()?;
        }
        if version >= 3 {
            state.roll_segment = from.get()?;
            state.patchy = from.get()?;
            state.bare_from = from.get()?;
        }
        Some(state)
    }
}

/// Writes what `write` puts, as a row's value.
pub(crate) fn value(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut to = Encoder::default();
    write(&mut to);
    to.0
}

/// The value of a row that holds one thing.
pub(crate) fn one(what: &impl Code) -> Vec<u8> {
    value(|to| what.put(to))
}

/// Reads a row of `table`.
pub(crate) fn decode<O>(
    table: T,
    row: &[u8],
    read: impl FnOnce(&mut Decoder<'_>) -> Option<O>,
) -> Result<O, IndexError> {
    read(&mut Decoder(row)).ok_or(IndexError::Damaged(table))
}

/// A mailbox's row.
pub(crate) fn mailbox(rx: &mut impl Read, id: MailboxId) -> Result<Option<Mailbox>, IndexError> {
    let Some(row) = rx.get(T::Mailboxes, &key_u32(id.0))? else {
        return Ok(None);
    };
    decode_mailbox(id, &row).map(Some)
}

/// Reads a mailbox's row.
pub(crate) fn decode_mailbox(id: MailboxId, row: &[u8]) -> Result<Mailbox, IndexError> {
    decode(T::Mailboxes, row, |from| {
        Some(Mailbox {
            id,
            account: from.get()?,
            name: from.get()?,
            uid_validity: from.get()?,
            uid_next: from.get()?,
            highest_modseq: from.get()?,
            exists: from.get()?,
            unseen: from.get()?,
            deleted: from.get()?,
            size: from.get()?,
            recent_from: from.get()?,
            special_use: from.get()?,
            keywords: get_list(from)?,
            // Older rows end here.
            expunges_known: if from.is_empty() { 0 } else { from.get()? },
            expunges_forgotten: if from.is_empty() { ModSeq(0) } else { from.get()? },
        })
    })
}

/// Writes a mailbox's row.
pub(crate) fn put_mailbox(tx: &mut Tx<'_>, mailbox: &Mailbox) -> Result<(), IndexError> {
    let row = value(|to| {
        to.put(&mailbox.account).put(&mailbox.name).put(&mailbox.uid_validity).put(&mailbox.uid_next);
        to.put(&mailbox.highest_modseq).put(&mailbox.exists).put(&mailbox.unseen).put(&mailbox.deleted);
        to.put(&mailbox.size).put(&mailbox.recent_from).put(&mailbox.special_use);
        put_list(to, &mailbox.keywords);
        to.put(&mailbox.expunges_known).put(&mailbox.expunges_forgotten);
    });
    tx.put(T::Mailboxes, &key_u32(mailbox.id.0), row)
}

/// An account's row.
pub(crate) fn account(rx: &mut impl Read, id: AccountId) -> Result<Option<Account>, IndexError> {
    let Some(row) = rx.get(T::Accounts, &key_u32(id.0))? else {
        return Ok(None);
    };
    decode(T::Accounts, &row, |from| Some(Account { id, address: from.get()?, secrets: from.get()? })).map(Some)
}

/// Writes an account's row.
pub(crate) fn put_account(tx: &mut Tx<'_>, account: &Account) -> Result<(), IndexError> {
    let row = value(|to| {
        to.put(&account.address).put(&account.secrets);
    });
    tx.put(T::Accounts, &key_u32(account.id.0), row)
}

/// A message in a mailbox as its row holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryRow {
    /// What everybody sees.
    pub(crate) entry: Entry,
    /// When it came into this mailbox, seconds since 1970.
    pub(crate) saved_unix_s: i64,
}

/// Reads the row of a message in a mailbox.
pub(crate) fn decode_entry(uid: Uid, row: &[u8]) -> Result<EntryRow, IndexError> {
    decode(T::Entries, row, |from| {
        let message = from.get()?;
        let flags = from.get()?;
        let modseq = from.get()?;
        Some(EntryRow { entry: Entry { uid, flags, modseq, message }, saved_unix_s: from.get()? })
    })
}

/// The row of a message in a mailbox.
pub(crate) fn entry(rx: &mut impl Read, mailbox: MailboxId, uid: Uid) -> Result<Option<EntryRow>, IndexError> {
    match rx.get(T::Entries, &key_uid(mailbox, uid))? {
        Some(row) => decode_entry(uid, &row).map(Some),
        None => Ok(None),
    }
}

/// Writes the row of a message in a mailbox.
pub(crate) fn put_entry(tx: &mut Tx<'_>, mailbox: MailboxId, row: &EntryRow) -> Result<(), IndexError> {
    let entry = &row.entry;
    let value = value(|to| {
        to.put(&entry.message).put(&entry.flags).put(&entry.modseq).put(&row.saved_unix_s);
    });
    tx.put(T::Entries, &key_uid(mailbox, entry.uid), value)
}

/// A message's row.
pub(crate) fn message(rx: &mut impl Read, id: MessageId) -> Result<Option<Message>, IndexError> {
    let Some(row) = rx.get(T::Messages, &key_u64(id.0))? else {
        return Ok(None);
    };
    decode_message(&row).map(Some)
}

/// Reads a message's row.
pub(crate) fn decode_message(row: &[u8]) -> Result<Message, IndexError> {
    decode(T::Messages, row, |from| {
        Some(Message { blob: from.get()?, size: from.get()?, internal_date: from.get()?, summary: from.get()? })
    })
}

/// A message's size, octets.
pub(crate) fn message_bytes(rx: &mut impl Read, id: MessageId) -> Result<Option<u64>, IndexError> {
    let mut bytes = None;
    rx.look(T::Messages, &key_u64(id.0), &mut |row| {
        let after_blob = |from: &mut Decoder<'_>| from.get::<BlobId>().and_then(|_| from.get());
        bytes = Some(decode(T::Messages, row, after_blob)?);
        Ok(())
    })?;
    Ok(bytes)
}

/// Writes a message's row.
pub(crate) fn put_message(tx: &mut Tx<'_>, id: MessageId, message: &Message) -> Result<(), IndexError> {
    let row = value(|to| {
        to.put(&message.blob).put(&message.size).put(&message.internal_date).put(&message.summary);
    });
    tx.put(T::Messages, &key_u64(id.0), row)
}

/// A run of chunks that lie one after another in one segment: at most 1 MiB of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The segment; 0, only in events, is the batch that the event stands in.
    pub(crate) segment: u64,
    /// Where the first chunk begins; in events with segment 0, from the batch's beginning.
    pub(crate) offset: u64,
    /// Octets of all its chunks with their headers.
    pub(crate) stored_bytes: u64,
    /// Octets of the body in it.
    pub(crate) raw_bytes: u64,
}

/// Octets of a body in one extent at the most: bounds the walk to a chunk in its middle.
pub(crate) const EXTENT_RAW_BYTES_MAX: u64 = 1024 * 1024;

impl Code for Extent {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.segment).put(&self.offset).put(&self.stored_bytes).put(&self.raw_bytes);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { segment: from.get()?, offset: from.get()?, stored_bytes: from.get()?, raw_bytes: from.get()? })
    }
}

/// A part of a body that lies elsewhere now: the same chunks, so of the same lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) blob: BlobId,
    pub(crate) from: Extent,
    pub(crate) to: Extent,
}

impl Code for Move {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.blob).put(&self.from).put(&self.to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { blob: from.get()?, from: from.get()?, to: from.get()? })
    }
}

/// Adds a chunk to a list of extents, melted into the last one where that touches.
pub(crate) fn add_extent(extents: &mut Vec<Extent>, new: Extent) {
    if let Some(last) = extents.last_mut()
        && last.segment == new.segment
        && last.offset + last.stored_bytes == new.offset
        && last.raw_bytes + new.raw_bytes <= EXTENT_RAW_BYTES_MAX
    {
        last.stored_bytes += new.stored_bytes;
        last.raw_bytes += new.raw_bytes;
        return;
    }
    extents.push(new);
}

/// A blob: its size and its extents, in order; nothing when there is no such blob.
pub(crate) fn blob(rx: &mut impl Read, id: BlobId) -> Result<Option<(u64, Vec<Extent>)>, IndexError> {
    let mut size = None;
    let mut extents = Vec::new();
    rx.scan(T::Blobs, &key_blob(id.0, 0), &key_blob(id.0, u32::MAX), true, &mut |_, row| {
        decode(T::Blobs, row, |from| {
            if size.is_none() {
                let _references = from.get::<u64>()?;
                size = Some(from.get()?);
            }
            extents.extend(get_list::<Extent>(from)?);
            Some(true)
        })
    })?;
    Ok(size.map(|size| (size, extents)))
}

/// Writes a blob's rows.
pub(crate) fn put_blob(tx: &mut Tx<'_>, id: BlobId, size: u64, extents: &[Extent]) -> Result<(), IndexError> {
    let first = extents.chunks(ROW_EXTENTS_MAX).next().unwrap_or_default();
    let row = value(|to| {
        to.put(&1u64).put(&size);
        put_list(to, first);
    });
    tx.put(T::Blobs, &key_blob(id.0, 0), row)?;
    for (part, extents) in (1..).zip(extents.chunks(ROW_EXTENTS_MAX).skip(1)) {
        tx.put(T::Blobs, &key_blob(id.0, part), value(|to| put_list(to, extents)))?;
    }
    for extent in extents {
        tx.segments.entry(extent.segment).or_default().0 += extent.stored_bytes.cast_signed();
    }
    Ok(())
}

/// Removes a blob; its octets are dead from now on.
pub(crate) fn remove_blob(tx: &mut Tx<'_>, id: BlobId) -> Result<(), IndexError> {
    let Some((_, extents)) = blob(tx, id)? else {
        return Ok(());
    };
    for part in (0..).take(extents.len().div_ceil(ROW_EXTENTS_MAX).max(1)) {
        tx.remove(T::Blobs, &key_blob(id.0, part))?;
    }
    for extent in extents {
        let counters = tx.segments.entry(extent.segment).or_default();
        counters.0 -= extent.stored_bytes.cast_signed();
        counters.1 += extent.stored_bytes.cast_signed();
    }
    Ok(())
}

/// Lets a blob name the place that a part of it was copied to; a blob or a part that is no longer there is passed over, and
/// the copy is dead.
pub(crate) fn relocate(tx: &mut Tx<'_>, moved: &Move) -> Result<(), IndexError> {
    let (blob, from, to) = (moved.blob, moved.from, moved.to);
    let mut found = None;
    tx.scan(T::Blobs, &key_blob(blob.0, 0), &key_blob(blob.0, u32::MAX), true, &mut |key, row| {
        let part = uid_of_key(key).ok_or(IndexError::Damaged(T::Blobs))?.0;
        let (head, mut extents) = decode_blob_part(part, row)?;
        if let Some(extent) = extents.iter_mut().find(|extent| **extent == from) {
            *extent = to;
            found = Some((part, head, extents));
        }
        Ok(found.is_none())
    })?;
    let Some((part, head, extents)) = found else {
        tx.segments.entry(to.segment).or_default().1 += to.stored_bytes.cast_signed();
        return Ok(());
    };
    let row = value(|row| {
        if let Some((references, size)) = head {
            row.put(&references).put(&size);
        }
        put_list(row, &extents);
    });
    tx.put(T::Blobs, &key_blob(blob.0, part), row)?;
    tx.segments.entry(to.segment).or_default().0 += to.stored_bytes.cast_signed();
    let counters = tx.segments.entry(from.segment).or_default();
    counters.0 -= from.stored_bytes.cast_signed();
    counters.1 += from.stored_bytes.cast_signed();
    Ok(())
}

/// What a row of a blob holds: its head (references and size), which part 0 alone has, and extents.
pub(crate) type BlobPart = (Option<(u64, u64)>, Vec<Extent>);

/// Reads a row of a blob.
pub(crate) fn decode_blob_part(part: u32, row: &[u8]) -> Result<BlobPart, IndexError> {
    decode(T::Blobs, row, |from| {
        let head = if part == 0 { Some((from.get()?, from.get()?)) } else { None };
        Some((head, get_list(from)?))
    })
}

/// Forgets a segment's counters.
pub(crate) fn remove_segment(tx: &mut Tx<'_>, number: u64) -> Result<(), IndexError> {
    tx.segments.remove(&number);
    tx.remove(T::Segments, &key_u64(number)).map(drop)
}

/// Every segment that has counters, with its octets alive and dead.
pub(crate) fn segments(rx: &mut impl Read) -> Result<BTreeMap<u64, (u64, u64)>, IndexError> {
    let mut segments = BTreeMap::new();
    rx.scan(T::Segments, &key_u64(0), &key_u64(u64::MAX), true, &mut |key, row| {
        let number =
            key.first_chunk().map(|number| u64::from_be_bytes(*number)).ok_or(IndexError::Damaged(T::Segments))?;
        segments.insert(number, decode(T::Segments, row, |from| Some((from.get()?, from.get()?)))?);
        Ok(true)
    })?;
    Ok(segments)
}

/// Adds to a segment's counters.
pub(crate) fn add_to_segment(tx: &mut Tx<'_>, segment: u64, live: i64, dead: i64) -> Result<(), IndexError> {
    let key = key_u64(segment);
    let (old_live, old_dead) = match tx.get(T::Segments, &key)? {
        Some(row) => decode(T::Segments, &row, |from| Some((from.get::<u64>()?, from.get::<u64>()?)))?,
        None => (0, 0),
    };
    let row = value(|to| {
        to.put(&old_live.saturating_add_signed(live)).put(&old_dead.saturating_add_signed(dead));
    });
    tx.put(T::Segments, &key, row)
}

/// Octets alive and dead in all segments.
pub(crate) fn segment_totals(rx: &mut impl Read) -> Result<(u64, u64), IndexError> {
    let add = |(live, dead): (u64, u64), of: (u64, u64)| (live.saturating_add(of.0), dead.saturating_add(of.1));
    Ok(segments(rx)?.into_values().fold((0, 0), add))
}
