//! Decisions about messages. What touches many goes in steps, so that others are served in between.

use super::Step;
use super::mailboxes::may_mark;
use crate::store::apply::{changed, intern, names_of};
use crate::store::body::Content;
use crate::store::event::{Event, StoredMessage, StoredPlace};
use crate::store::index::IndexError;
use crate::store::keys::T;
use crate::store::query::{self, Fault};
use crate::store::rows::{self, Extent};
use crate::store::runs;
use crate::store::types::*;
use crate::store::{COPY_MESSAGES_MAX, Copied, Expunged, FlagsChanged, NewMessage, STEP_MESSAGES_MAX, Stored, Target};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The next UIDs and modification sequences of the mailboxes that a decision touches.
#[derive(Default)]
struct Next(BTreeMap<MailboxId, Mailbox>);

impl Next {
    fn take(&mut self, step: &mut Step<'_, '_>, target: &Target) -> Result<(StoredPlace, UidValidity), Fault> {
        let id = target.mailbox;
        let mailbox = match self.0.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(query::mailbox(step.tx, id)?),
        };
        learn(mailbox, &target.flags)?;
        let uid = mailbox.uid_next;
        mailbox.uid_next = Uid(uid.0.checked_add(1).ok_or(Refusal::Limit)?);
        let modseq = next_modseq(mailbox, 1)?;
        let (account, flags) = (mailbox.account, target.flags.clone());
        Ok((StoredPlace { account, mailbox: id, uid, modseq, flags }, mailbox.uid_validity))
    }
}

/// Gives the mailbox the keywords that it does not know yet; refused when they are too many.
fn learn(mailbox: &mut Mailbox, flags: &FlagNames) -> Result<Flags, Fault> {
    let bits = intern(mailbox, flags);
    let known = |name: &String| mailbox.keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(name));
    if flags.keywords.iter().all(known) { Ok(bits) } else { Err(Refusal::Limit.into()) }
}

/// The first of `count` modification sequences, all taken.
fn next_modseq(mailbox: &mut Mailbox, count: u64) -> Result<ModSeq, Fault> {
    let first = ModSeq(mailbox.highest_modseq.0.checked_add(1).ok_or(Refusal::Limit)?);
    mailbox.highest_modseq = ModSeq(first.0.checked_add(count.saturating_sub(1)).ok_or(Refusal::Limit)?);
    Ok(first)
}

/// Stores messages, each into its targets: one event. A target that has gone meanwhile is passed over, so that the others
/// get their mail; a message of which all have gone is refused, and everything with it. With them a mark is set.
pub(crate) fn store(
    step: &mut Step<'_, '_>,
    messages: Vec<(NewMessage, Vec<Target>)>,
    mark: Option<Mark>,
) -> Result<Vec<Stored>, Fault> {
    step.needs_room()?;
    mark.iter().try_for_each(|mark| may_mark(step, mark))?;
    let state = step.tx.state()?;
    let (mut id, mut blob) = (state.message_next, state.blob_next);
    let mut next = Next::default();
    let mut answer = Vec::new();
    let mut new = Vec::with_capacity(messages.len());
    for (message, targets) in messages {
        let mut places = Vec::with_capacity(targets.len());
        for target in &targets {
            let (place, uid_validity) = match next.take(step, target) {
                Ok(taken) => taken,
                Err(Fault::Refused(Refusal::NotFound)) => continue,
                Err(fault) => return Err(fault),
            };
            let (mailbox, uid, modseq) = (place.mailbox, place.uid, place.modseq);
            answer.push(Stored { mailbox, uid_validity, uid, modseq });
            places.push(place);
        }
        if places.is_empty() {
            return Err(Refusal::NotFound.into());
        }
        let size = message.body.size;
        step.pins.extend(message.body.pins.map(|pins| *pins));
        let extents = match message.body.content {
            Content::Disk(extents) => extents,
            Content::Memory(chunk) if chunk.is_empty() => Vec::new(),
            Content::Memory(chunk) => {
                let offset = step.batch.chunk(&chunk);
                vec![Extent { segment: 0, offset, stored_bytes: chunk.len() as u64, raw_bytes: size }]
            }
        };
        new.push(StoredMessage {
            id: MessageId(id),
            blob: BlobId(blob),
            size,
            internal_date: message.internal_date,
            summary: message.summary,
            extents,
            places,
        });
        id += 1;
        blob += 1;
    }
    step.happen(&Event::Stored { messages: new, saved_unix_s: step.now_unix_s })?;
    mark.into_iter().try_for_each(|mark| step.happen(&Event::Marked(mark)))?;
    Ok(answer)
}

/// The first so many of `uids` that exist, and what is left of `uids` behind them.
fn first_existing(
    step: &mut Step<'_, '_>,
    table: T,
    mailbox: MailboxId,
    uids: UidSet,
) -> Result<(UidSet, UidSet), Fault> {
    let found = runs::common(step.tx, table, mailbox, &uids, STEP_MESSAGES_MAX as u64)?;
    let mut rest = UidSet::new();
    if found.len() >= STEP_MESSAGES_MAX as u64
        && let Some(last) = found.last()
    {
        rest = uids;
        rest.remove_range(UidRange { first: Uid(0), last });
        if runs::common(step.tx, table, mailbox, &rest, 1)?.is_empty() {
            rest = UidSet::new();
        }
    }
    Ok((found, rest))
}

/// Changes the flags of a first step of `uids`.
pub(crate) fn flags(
    step: &mut Step<'_, '_>,
    id: MailboxId,
    uids: UidSet,
    change: FlagChange,
    flags: FlagNames,
    unchanged_since: Option<ModSeq>,
) -> Result<FlagsChanged, Fault> {
    let mut mailbox = query::mailbox(step.tx, id)?;
    let given = match change {
        FlagChange::Replace | FlagChange::Add => learn(&mut mailbox, &flags)?,
        // A keyword that nobody has needs no number.
        FlagChange::Remove => known_bits(&mailbox, &flags),
    };
    let (found, rest) = first_existing(step, T::Uids, id, uids)?;
    let mut outcome = FlagsChanged { rest, ..FlagsChanged::default() };
    let mut touched = UidSet::new();
    for uid in found.iter() {
        let Some(row) = rows::entry(step.tx, id, uid)? else {
            continue;
        };
        let mut entry = row.entry;
        if unchanged_since.is_some_and(|since| entry.modseq > since) {
            outcome.modified.insert(uid);
            continue;
        }
        let new = changed(change, entry.flags, given);
        if new != entry.flags {
            entry.flags = new;
            entry.modseq = next_modseq(&mut mailbox, 1)?;
            touched.insert(uid);
        }
        outcome.done.push(entry);
    }
    if !touched.is_empty() {
        let first = ModSeq(mailbox.highest_modseq.0 + 1 - touched.len());
        let flags = match change {
            FlagChange::Replace | FlagChange::Add => flags,
            FlagChange::Remove => names_of(&mailbox, given),
        };
        step.happen(&Event::FlagsChanged { mailbox: id, change, flags, uids: touched, modseq: first })?;
    }
    Ok(outcome)
}

fn known_bits(mailbox: &Mailbox, flags: &FlagNames) -> Flags {
    let known = |name: &String| mailbox.keywords.iter().position(|keyword| keyword.eq_ignore_ascii_case(name));
    flags.keywords.iter().filter_map(known).fold(flags.system, |bits, n| bits.with(Flags::keyword(n)))
}

/// Where copies will go: the target, its first new UID and modification sequence.
fn room_for(step: &mut Step<'_, '_>, to: MailboxId, count: u64) -> Result<(Mailbox, Uid, ModSeq), Fault> {
    let mut target = query::mailbox(step.tx, to)?;
    let uid = target.uid_next;
    let count_u32 = u32::try_from(count).map_err(|_| Refusal::Limit)?;
    target.uid_next = Uid(uid.0.checked_add(count_u32).ok_or(Refusal::Limit)?);
    let modseq = next_modseq(&mut target, count)?;
    Ok((target, uid, modseq))
}

fn copied(target: &Mailbox, found: UidSet, uid: Uid) -> Copied {
    let to = match found.is_empty() {
        true => UidSet::new(),
        false => UidSet::range(uid, Uid(target.uid_next.0.saturating_sub(1))),
    };
    Copied { uid_validity: target.uid_validity, from: found, to, keywords_left_out: false }
}

/// Whether the target has no room for all keywords of these messages. Looks at them only where that can be.
fn leaves_keywords_out(
    step: &mut Step<'_, '_>,
    source: &Mailbox,
    target: &Mailbox,
    found: &UidSet,
) -> Result<bool, Fault> {
    let is_new = |name: &&String| !target.keywords.iter().any(|known| known.eq_ignore_ascii_case(name));
    let is_full = |new: usize| target.keywords.len().saturating_add(new) > Flags::KEYWORDS_MAX;
    if source.id == target.id || !is_full(source.keywords.iter().filter(is_new).count()) {
        return Ok(false);
    }
    let mut flags = Flags::default();
    for uid in found.iter() {
        flags = flags.with(rows::entry(step.tx, source.id, uid)?.map(|row| row.entry.flags).unwrap_or_default());
    }
    Ok(is_full(names_of(source, flags).keywords.iter().filter(is_new).count()))
}

/// Copies all of `uids` that exist.
pub(crate) fn copy(step: &mut Step<'_, '_>, from: MailboxId, uids: &UidSet, to: MailboxId) -> Result<Copied, Fault> {
    step.needs_room()?;
    let source = query::mailbox(step.tx, from)?;
    let found = runs::common(step.tx, T::Uids, from, uids, COPY_MESSAGES_MAX + 1)?;
    if found.len() > COPY_MESSAGES_MAX {
        return Err(Refusal::Limit.into());
    }
    let (target, uid, modseq) = room_for(step, to, found.len())?;
    let keywords_left_out = leaves_keywords_out(step, &source, &target, &found)?;
    if !found.is_empty() {
        let (uids, saved_unix_s) = (found.clone(), step.now_unix_s);
        step.happen(&Event::Copied { from, to, uids, uid, modseq, saved_unix_s })?;
    }
    Ok(Copied { keywords_left_out, ..copied(&target, found, uid) })
}

/// Moves a first step of `uids`.
pub(crate) fn move_messages(
    step: &mut Step<'_, '_>,
    from: MailboxId,
    uids: UidSet,
    to: MailboxId,
) -> Result<(Copied, Expunged), Fault> {
    let mut source = query::mailbox(step.tx, from)?;
    let (found, rest) = first_existing(step, T::Uids, from, uids)?;
    let (mut target, uid, modseq) = room_for(step, to, found.len())?;
    let keywords_left_out = leaves_keywords_out(step, &source, &target, &found)?;
    let gone_modseq = next_modseq(if from == to { &mut target } else { &mut source }, 1)?;
    let mut expunged = Expunged { uids: found.clone(), modseq: source.highest_modseq, rest };
    if !found.is_empty() {
        expunged.modseq = gone_modseq;
        let (uids, saved_unix_s) = (found.clone(), step.now_unix_s);
        step.happen(&Event::Moved { from, to, uids, uid, modseq, gone_modseq, saved_unix_s })?;
    } else {
        expunged.modseq = query::mailbox(step.tx, from)?.highest_modseq;
    }
    Ok((Copied { keywords_left_out, ..copied(&target, found, uid) }, expunged))
}

/// Takes a first step of `uids` out.
pub(crate) fn expunge(
    step: &mut Step<'_, '_>,
    id: MailboxId,
    uids: UidSet,
    only_deleted: bool,
) -> Result<Expunged, Fault> {
    let mut mailbox = query::mailbox(step.tx, id)?;
    let table = if only_deleted { T::Deleted } else { T::Uids };
    let (found, rest) = first_existing(step, table, id, uids)?;
    if found.is_empty() {
        return Ok(Expunged { uids: found, modseq: mailbox.highest_modseq, rest });
    }
    let modseq = next_modseq(&mut mailbox, 1)?;
    step.happen(&Event::Expunged { mailbox: id, uids: found.clone(), modseq })?;
    Ok(Expunged { uids: found, modseq, rest })
}

/// UIDs and UIDVALIDITYs jump so far when some may have been given out and lost,
const RAISE_UIDS: u32 = 1_000_000;
/// and modification sequences so far.
const RAISE_MODSEQS: u64 = 1_000_000_000;
/// Mailboxes raised in one step.
const RAISE_STEP: u32 = 100;

/// Raises the next mailboxes that are still to be raised: their next UIDs are higher than any that can have been given out,
/// and every message has a new modification sequence, so that clients which saw what is lost learn of it. Answers
/// whether there are more.
pub(crate) fn raise(step: &mut Step<'_, '_>) -> Result<bool, Fault> {
    let state = step.tx.state()?;
    let (from, end) = (state.raise_from, state.mailbox_next);
    let uid_validity_next = UidValidity(state.uid_validity_next.saturating_add(RAISE_UIDS));
    if from == 0 {
        return Ok(false);
    }
    let to = end.min(from.saturating_add(RAISE_STEP)).max(from);
    for id in (from..to).map(MailboxId) {
        let mailbox = match rows::mailbox(step.tx, id) {
            Ok(Some(mailbox)) => mailbox,
            Ok(None) => continue,
            // It cannot be served, let alone raised; the others can.
            Err(IndexError::Damaged(_)) => {
                log::error!("mailbox {} is not raised, because its row is damaged", id.0);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let uid_next = Uid(mailbox.uid_next.0.saturating_add(RAISE_UIDS));
        let modseq = ModSeq(mailbox.highest_modseq.0.saturating_add(RAISE_MODSEQS));
        let uid_validity_next = UidValidity(0);
        step.happen(&Event::Raised { mailbox: id, uid_next, modseq, uid_validity_next, next: id.0 + 1 })?;
    }
    let next = if to >= end { 0 } else { to };
    step.happen(&Event::Raised {
        mailbox: MailboxId(0),
        uid_next: Uid(0),
        modseq: ModSeq(0),
        uid_validity_next: if from == 1 { uid_validity_next } else { UidValidity(0) },
        next,
    })?;
    Ok(next != 0)
}
