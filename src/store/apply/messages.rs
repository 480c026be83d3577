//! Events of messages in mailboxes.

use super::{News, Place, mend};
use crate::store::event::StoredMessage;
use crate::store::index::{IndexError, Read, Tx};
use crate::store::keys::{T, key_modseq, key_u64, key_uid};
use crate::store::rows::{self, EntryRow, decode, one};
use crate::store::runs;
use crate::store::types::*;

/// A mailbox knows so many expunges one by one at the most; who asks about older ones is told all that is not there.
const EXPUNGES_MAX: u32 = 1_000;
/// The oldest are forgotten so many at a time, since they lie far from what else an expunge changes.
const EXPUNGES_FORGOTTEN: usize = 250;

/// The flags as bits of this mailbox; keywords that it has not yet are added while there is room.
pub(crate) fn intern(mailbox: &mut Mailbox, names: &FlagNames) -> Flags {
    names.keywords.iter().fold(names.system, |flags, name| {
        let number = mailbox.keywords.iter().position(|known| known.eq_ignore_ascii_case(name)).unwrap_or_else(|| {
            if mailbox.keywords.len() < Flags::KEYWORDS_MAX {
                mailbox.keywords.push(name.clone());
                mailbox.keywords.len() - 1
            } else {
                usize::MAX
            }
        });
        flags.with(Flags::keyword(number))
    })
}

/// The flags as names, from the bits of this mailbox.
pub(crate) fn names_of(mailbox: &Mailbox, flags: Flags) -> FlagNames {
    let system = Flags(flags.0 & ((1 << Flags::KEYWORD_BIT_FIRST) - 1));
    let keywords = mailbox.keywords.iter().enumerate();
    let keywords = keywords.filter(|(n, _)| flags.has(Flags::keyword(*n))).map(|(_, name)| name.clone()).collect();
    FlagNames { system, keywords }
}

/// Flags before and after a change.
pub(crate) fn changed(change: FlagChange, old: Flags, given: Flags) -> Flags {
    match change {
        FlagChange::Replace => given,
        FlagChange::Add => old.with(given),
        FlagChange::Remove => old.without(given),
    }
}

/// Puts one message into a mailbox, whose row the caller writes, and into its runs.
pub(super) fn arrive(tx: &mut Tx<'_>, mailbox: &mut Mailbox, row: &EntryRow, size: u64) -> Result<(), IndexError> {
    enter(tx, mailbox, row, size)?;
    let Entry { uid, flags, .. } = row.entry;
    let run = UidRange { first: uid, last: uid };
    runs::add(tx, T::Uids, mailbox.id, run)?;
    if !flags.has(Flags::SEEN) {
        runs::add(tx, T::Unseen, mailbox.id, run)?;
    }
    if flags.has(Flags::DELETED) {
        runs::add(tx, T::Deleted, mailbox.id, run)?;
    }
    Ok(())
}

/// Puts a message into a mailbox, whose row the caller writes.
fn enter(tx: &mut Tx<'_>, mailbox: &mut Mailbox, row: &EntryRow, size: u64) -> Result<(), IndexError> {
    let entry = &row.entry;
    mailbox.exists = mailbox.exists.saturating_add(1);
    mailbox.size = mailbox.size.saturating_add(size);
    mailbox.uid_next = mailbox.uid_next.max(Uid(entry.uid.0.saturating_add(1)));
    mailbox.highest_modseq = mailbox.highest_modseq.max(entry.modseq);
    if !entry.flags.has(Flags::SEEN) {
        mailbox.unseen = mailbox.unseen.saturating_add(1);
    }
    if entry.flags.has(Flags::DELETED) {
        mailbox.deleted = mailbox.deleted.saturating_add(1);
    }
    rows::put_entry(tx, mailbox.id, row)?;
    put_modseq(tx, mailbox.id, entry.modseq, entry.uid)
}

pub(super) fn put_modseq(tx: &mut Tx<'_>, mailbox: MailboxId, modseq: ModSeq, uid: Uid) -> Result<(), IndexError> {
    tx.put(T::ModSeqs, &key_modseq(mailbox, modseq), uid.0.to_be_bytes().to_vec())
}

pub(super) fn stored(
    tx: &mut Tx<'_>,
    message: &StoredMessage,
    saved_unix_s: i64,
    place: Place,
    news: &mut News,
) -> Result<(), IndexError> {
    let state = tx.state()?;
    state.message_next = state.message_next.max(message.id.0.saturating_add(1));
    state.blob_next = state.blob_next.max(message.blob.0.saturating_add(1));
    state.messages += 1;
    let mut extents = message.extents.clone();
    for extent in extents.iter_mut().filter(|extent| extent.segment == 0) {
        extent.segment = place.segment;
        extent.offset = extent.offset.saturating_add(place.offset);
    }
    rows::put_blob(tx, message.blob, message.size, &extents)?;
    let row = Message {
        blob: message.blob,
        size: message.size,
        internal_date: message.internal_date,
        summary: message.summary.clone(),
    };
    rows::put_message(tx, message.id, &row)?;
    let mut holders = 0u64;
    for target in &message.places {
        let Some(mut mailbox) = mend::known_mailbox(tx, target.account, target.mailbox)? else {
            continue;
        };
        let flags = intern(&mut mailbox, &target.flags);
        let entry = Entry { uid: target.uid, flags, modseq: target.modseq, message: message.id };
        arrive(tx, &mut mailbox, &EntryRow { entry, saved_unix_s }, message.size)?;
        rows::put_mailbox(tx, &mailbox)?;
        news.mailboxes.insert(mailbox.id, mailbox.highest_modseq);
        holders += 1;
    }
    if holders > 1 {
        tx.put(T::Shares, &key_u64(message.id.0), one(&holders))?;
    }
    Ok(())
}

pub(super) fn flags_changed(
    tx: &mut Tx<'_>,
    id: MailboxId,
    (change, names): (FlagChange, &FlagNames),
    uids: &UidSet,
    modseq: ModSeq,
    news: &mut News,
) -> Result<(), IndexError> {
    let Some(mut mailbox) = rows::mailbox(tx, id)? else {
        return Ok(());
    };
    let given = intern(&mut mailbox, names);
    let mut seen = (UidSet::new(), UidSet::new());
    let mut deleted = (UidSet::new(), UidSet::new());
    let mut next = modseq;
    for uid in uids.iter() {
        let Some(mut row) = rows::entry(tx, id, uid)? else {
            continue;
        };
        let old = row.entry;
        row.entry.flags = changed(change, old.flags, given);
        row.entry.modseq = next;
        next = ModSeq(next.0.saturating_add(1));
        note(Flags::SEEN, old.flags, row.entry.flags, uid, &mut seen);
        note(Flags::DELETED, old.flags, row.entry.flags, uid, &mut deleted);
        rows::put_entry(tx, id, &row)?;
        tx.remove(T::ModSeqs, &key_modseq(id, old.modseq))?;
        put_modseq(tx, id, row.entry.modseq, uid)?;
        mailbox.highest_modseq = mailbox.highest_modseq.max(row.entry.modseq);
    }
    mailbox.unseen = adjusted(mailbox.unseen, &seen.1, &seen.0);
    mailbox.deleted = adjusted(mailbox.deleted, &deleted.0, &deleted.1);
    runs::remove_all(tx, T::Unseen, id, &seen.0)?;
    runs::add_all(tx, T::Unseen, id, &seen.1)?;
    runs::add_all(tx, T::Deleted, id, &deleted.0)?;
    runs::remove_all(tx, T::Deleted, id, &deleted.1)?;
    rows::put_mailbox(tx, &mailbox)?;
    news.mailboxes.insert(id, mailbox.highest_modseq);
    Ok(())
}

/// Notes who got (first) and who lost (second) a flag.
fn note(flag: Flags, old: Flags, new: Flags, uid: Uid, sets: &mut (UidSet, UidSet)) {
    match (old.has(flag), new.has(flag)) {
        (false, true) => sets.0.insert(uid),
        (true, false) => sets.1.insert(uid),
        (true, true) | (false, false) => {}
    }
}

fn adjusted(count: u32, more: &UidSet, less: &UidSet) -> u32 {
    let more = u32::try_from(more.len()).unwrap_or(u32::MAX);
    let less = u32::try_from(less.len()).unwrap_or(u32::MAX);
    count.saturating_add(more).saturating_sub(less)
}

pub(super) fn copied(
    tx: &mut Tx<'_>,
    (from, to): (MailboxId, MailboxId),
    uids: &UidSet,
    (first_uid, first_modseq): (Uid, ModSeq),
    saved_unix_s: i64,
    news: &mut News,
) -> Result<(), IndexError> {
    let Some(source) = rows::mailbox(tx, from)? else {
        return Ok(());
    };
    let Some(mut target) = mend::known_mailbox(tx, source.account, to)? else {
        return Ok(());
    };
    let (mut all, mut unseen, mut deleted) = (UidSet::new(), UidSet::new(), UidSet::new());
    let (mut uid, mut modseq) = (first_uid, first_modseq);
    for old in uids.iter() {
        let Some(row) = rows::entry(tx, from, old)? else {
            continue;
        };
        let message = row.entry.message;
        let size = rows::message(tx, message)?.map_or(0, |message| message.size);
        let flags = intern(&mut target, &names_of(&source, row.entry.flags));
        let entry = Entry { uid, flags, modseq, message };
        enter(tx, &mut target, &EntryRow { entry, saved_unix_s }, size)?;
        let holders = holders(tx, message)?.saturating_add(1);
        tx.put(T::Shares, &key_u64(message.0), one(&holders))?;
        all.insert(uid);
        if !flags.has(Flags::SEEN) {
            unseen.insert(uid);
        }
        if flags.has(Flags::DELETED) {
            deleted.insert(uid);
        }
        uid = Uid(uid.0.saturating_add(1));
        modseq = ModSeq(modseq.0.saturating_add(1));
    }
    runs::add_all(tx, T::Uids, to, &all)?;
    runs::add_all(tx, T::Unseen, to, &unseen)?;
    runs::add_all(tx, T::Deleted, to, &deleted)?;
    rows::put_mailbox(tx, &target)?;
    news.mailboxes.insert(to, target.highest_modseq);
    Ok(())
}

/// Mailboxes' entries that hold a message.
pub(super) fn holders(tx: &mut Tx<'_>, message: MessageId) -> Result<u64, IndexError> {
    match tx.get(T::Shares, &key_u64(message.0))? {
        Some(row) => decode(T::Shares, &row, |from| from.get()),
        None => Ok(1),
    }
}

/// Takes one holder from a message, and the message away with its last.
pub(super) fn release(tx: &mut Tx<'_>, id: MessageId) -> Result<u64, IndexError> {
    let Some(message) = rows::message(tx, id)? else {
        return Ok(0);
    };
    match holders(tx, id)? {
        0 | 1 => {
            tx.remove(T::Messages, &key_u64(id.0))?;
            rows::remove_blob(tx, message.blob)?;
            let state = tx.state()?;
            state.messages = state.messages.saturating_sub(1);
        }
        2 => drop(tx.remove(T::Shares, &key_u64(id.0))?),
        more => tx.put(T::Shares, &key_u64(id.0), one(&(more - 1)))?,
    }
    Ok(message.size)
}

pub(super) fn expunged(
    tx: &mut Tx<'_>,
    id: MailboxId,
    uids: &UidSet,
    modseq: ModSeq,
    news: &mut News,
) -> Result<(), IndexError> {
    let Some(mut mailbox) = rows::mailbox(tx, id)? else {
        return Ok(());
    };
    let mut gone = UidSet::new();
    for uid in uids.iter() {
        let Some(EntryRow { entry, .. }) = rows::entry(tx, id, uid)? else {
            continue;
        };
        tx.remove(T::Entries, &key_uid(id, uid))?;
        tx.remove(T::ModSeqs, &key_modseq(id, entry.modseq))?;
        let size = release(tx, entry.message)?;
        mailbox.exists = mailbox.exists.saturating_sub(1);
        mailbox.size = mailbox.size.saturating_sub(size);
        mailbox.unseen = mailbox.unseen.saturating_sub(u32::from(!entry.flags.has(Flags::SEEN)));
        mailbox.deleted = mailbox.deleted.saturating_sub(u32::from(entry.flags.has(Flags::DELETED)));
        gone.insert(uid);
    }
    for table in [T::Uids, T::Unseen, T::Deleted] {
        runs::remove_all(tx, table, id, &gone)?;
    }
    mailbox.highest_modseq = mailbox.highest_modseq.max(modseq);
    tx.put(T::Expunged, &key_modseq(id, modseq), one(&gone))?;
    mailbox.expunges_known = mailbox.expunges_known.saturating_add(1);
    if mailbox.expunges_known > EXPUNGES_MAX {
        forget_expunges(tx, &mut mailbox)?;
    }
    rows::put_mailbox(tx, &mailbox)?;
    news.mailboxes.insert(id, mailbox.highest_modseq);
    Ok(())
}

/// Forgets the oldest expunges of a mailbox, whose row the caller writes.
fn forget_expunges(tx: &mut Tx<'_>, mailbox: &mut Mailbox) -> Result<(), IndexError> {
    let mut oldest = Vec::new();
    let (from, to) = (key_modseq(mailbox.id, ModSeq(0)), key_modseq(mailbox.id, ModSeq(u64::MAX)));
    tx.scan(T::Expunged, &from, &to, true, &mut |key, _| {
        oldest.push(crate::store::keys::modseq_of_key(key).ok_or(IndexError::Damaged(T::Expunged))?);
        Ok(oldest.len() < EXPUNGES_FORGOTTEN)
    })?;
    for modseq in oldest {
        tx.remove(T::Expunged, &key_modseq(mailbox.id, modseq))?;
        mailbox.expunges_known = mailbox.expunges_known.saturating_sub(1);
        mailbox.expunges_forgotten = mailbox.expunges_forgotten.max(modseq);
    }
    Ok(())
}
