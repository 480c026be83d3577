//! The only code that changes the index, the same when an event happens and when it is replayed. Total and deterministic:
//! no clock, no configuration, no chance. What an event names and is not there is passed over.

use super::event::{Event, NewMailbox, StoredMessage};
use super::index::{IndexError, Read, Tx};
use super::keys::{T, after_prefix, key_modseq, key_name, key_u32, key_u64, key_uid};
use super::mend;
use super::rows::{self, EntryRow, decode, one, value};
use super::runs;
use super::types::*;
use std::collections::BTreeMap;

/// Rows that one `Purged` event removes at the most.
const PURGE_ROWS_MAX: usize = 1_000;
/// A mailbox knows so many expunges one by one at the most; who asks about older ones is told all that is not there.
const EXPUNGES_MAX: u32 = 1_000;
/// The oldest are forgotten so many at a time, since they lie far from what else an expunge changes.
const EXPUNGES_FORGOTTEN: usize = 250;
/// Rows that `Raised` holds in memory at a time.
const RAISE_ROWS: usize = 1_000;

/// Where the batch lies that an event stands in: bodies in it are told relative to its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The commit segment.
    pub(crate) segment: u64,
    /// Where the batch begins.
    pub(crate) offset: u64,
}

/// What watchers are to be told once the events are durable.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Mailboxes that changed, and how far they have come.
    pub(crate) mailboxes: BTreeMap<MailboxId, ModSeq>,
    /// Mailboxes that are gone.
    pub(crate) gone: Vec<MailboxId>,
    /// Accounts with new secrets (false) and accounts that are gone (true).
    pub(crate) accounts: Vec<(AccountId, bool)>,
}

/// Applies one event.
pub(crate) fn apply(tx: &mut Tx<'_>, event: &Event, place: Place, news: &mut News) -> Result<(), IndexError> {
    match event {
        Event::DomainAdded { name } => count_in_domain(tx, name, 0),
        Event::DomainRemoved { name } => tx.remove(T::Domains, name.as_bytes()).map(drop),
        Event::AccountAdded { id, address, secrets, mailboxes } => {
            let account = Account { id: *id, address: address.clone(), secrets: secrets.clone() };
            account_added(tx, &account, mailboxes)
        }
        Event::AccountSecrets { id, secrets } => {
            if let Some(mut account) = rows::account(tx, *id)? {
                account.secrets.clone_from(secrets);
                rows::put_account(tx, &account)?;
            }
            news.accounts.push((*id, false));
            Ok(())
        }
        Event::AccountRemoved { id } => account_removed(tx, *id, news),
        Event::AliasAdded { address, targets } => alias_added(tx, address, targets),
        Event::AliasRemoved { address } => alias_removed(tx, address),
        Event::MailboxesCreated { account, mailboxes } => mailboxes_created(tx, *account, mailboxes),
        Event::MailboxDeleted { id } => doom(tx, *id, news),
        Event::MailboxesRenamed { account, renamed, created } => renamed_all(tx, *account, renamed, created),
        Event::Subscribed { account, name, subscribed: true } => {
            tx.put(T::Subscriptions, &key_name(account.0, name), Vec::new())
        }
        Event::Subscribed { account, name, subscribed: false } => {
            tx.remove(T::Subscriptions, &key_name(account.0, name)).map(drop)
        }
        Event::Marked(mark) => marked(tx, mark),
        Event::RecentShown { mailbox, uid } => {
            if let Some(mut row) = rows::mailbox(tx, *mailbox)?
                && row.recent_from < *uid
            {
                row.recent_from = *uid;
                rows::put_mailbox(tx, &row)?;
            }
            Ok(())
        }
        Event::Stored { messages, saved_unix_s } => {
            messages.iter().try_for_each(|message| stored(tx, message, *saved_unix_s, place, news))
        }
        Event::FlagsChanged { mailbox, change, flags, uids, modseq } => {
            flags_changed(tx, *mailbox, (*change, flags), uids, *modseq, news)
        }
        Event::Copied { from, to, uids, uid, modseq, saved_unix_s } => {
            copied(tx, (*from, *to), uids, (*uid, *modseq), *saved_unix_s, news)
        }
        Event::Moved { from, to, uids, uid, modseq, gone_modseq, saved_unix_s } => {
            copied(tx, (*from, *to), uids, (*uid, *modseq), *saved_unix_s, news)?;
            expunged(tx, *from, uids, *gone_modseq, news)
        }
        Event::Expunged { mailbox, uids, modseq } => expunged(tx, *mailbox, uids, *modseq, news),
        Event::Purged { mailbox } => purged(tx, *mailbox),
        Event::Raised { mailbox, uid_next, modseq, uid_validity_next, next } => {
            let state = tx.state()?;
            state.raise_from = *next;
            state.uid_validity_next = state.uid_validity_next.max(uid_validity_next.0);
            raised(tx, *mailbox, *uid_next, *modseq, news)
        }
        Event::Relocated { moves } => moves.iter().try_for_each(|moved| rows::relocate(tx, moved)),
        Event::SegmentGone { number } => rows::remove_segment(tx, *number),
        Event::NamesTold(told) => mend::names(tx, told),
        Event::StretchTold(told) => mend::stretch(tx, told),
        Event::MailboxTold(told) => mend::mailbox(tx, told),
        Event::MessagesTold(told) => mend::messages(tx, told, news),
        Event::RollEnded(end) => mend::ended(tx, end, news),
        Event::Summarized { summaries, next } => mend::summarized(tx, summaries, *next),
    }
}

/// The part after the last `@`.
pub(crate) fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

fn local_key(address: &str, id: AccountId) -> Vec<u8> {
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    let mut key = local.as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&id.0.to_be_bytes());
    key
}

/// Makes the domain if it is new, and counts what is in it.
pub(super) fn count_in_domain(tx: &mut Tx<'_>, domain: &str, more: i64) -> Result<(), IndexError> {
    let count = match tx.get(T::Domains, domain.as_bytes())? {
        Some(row) => decode(T::Domains, &row, |from| from.get::<u64>())?,
        None => 0,
    };
    let count = count.saturating_add_signed(more);
    tx.put(T::Domains, domain.as_bytes(), one(&count))
}

pub(super) fn alias_added(tx: &mut Tx<'_>, address: &str, targets: &[String]) -> Result<(), IndexError> {
    if !tx.has(T::Aliases, address.as_bytes())? {
        count_in_domain(tx, domain_of(address), 1)?;
    }
    tx.put(T::Aliases, address.as_bytes(), value(|to| super::bytes::put_list(to, targets)))
}

pub(super) fn marked(tx: &mut Tx<'_>, mark: &Mark) -> Result<(), IndexError> {
    let key = key_name(mark.account.0, &mark.name);
    if mark.value.is_empty() { tx.remove(T::Marks, &key).map(drop) } else { tx.put(T::Marks, &key, mark.value.clone()) }
}

pub(super) fn alias_removed(tx: &mut Tx<'_>, address: &str) -> Result<(), IndexError> {
    if tx.remove(T::Aliases, address.as_bytes())? {
        count_in_domain(tx, domain_of(address), -1)?;
    }
    Ok(())
}

/// Gives an account's row its address everywhere; the row itself is the caller's.
pub(super) fn put_address(tx: &mut Tx<'_>, address: &str, id: AccountId) -> Result<(), IndexError> {
    mend::free_address(tx, address, id)?;
    count_in_domain(tx, domain_of(address), 1)?;
    tx.put(T::Addresses, address.as_bytes(), one(&id))?;
    tx.put(T::Locals, &local_key(address, id), Vec::new())
}

/// Takes an account's address away, but for its row.
pub(super) fn remove_address(tx: &mut Tx<'_>, address: &str, id: AccountId) -> Result<(), IndexError> {
    tx.remove(T::Addresses, address.as_bytes())?;
    tx.remove(T::Locals, &local_key(address, id))?;
    count_in_domain(tx, domain_of(address), -1)
}

pub(super) fn account_added(tx: &mut Tx<'_>, account: &Account, mailboxes: &[NewMailbox]) -> Result<(), IndexError> {
    let state = tx.state()?;
    state.account_next = state.account_next.max(account.id.0.saturating_add(1));
    state.accounts += 1;
    put_address(tx, &account.address, account.id)?;
    rows::put_account(tx, account)?;
    mailboxes_created(tx, account.id, mailboxes)?;
    for mailbox in mailboxes {
        tx.put(T::Subscriptions, &key_name(account.id.0, &mailbox.name), Vec::new())?;
    }
    Ok(())
}

pub(super) fn account_removed(tx: &mut Tx<'_>, id: AccountId, news: &mut News) -> Result<(), IndexError> {
    let Some(account) = rows::account(tx, id)? else {
        return Ok(());
    };
    tx.remove(T::Accounts, &key_u32(id.0))?;
    remove_address(tx, &account.address, id)?;
    let state = tx.state()?;
    state.accounts = state.accounts.saturating_sub(1);
    let prefix = key_u32(id.0);
    let mut names = Vec::new();
    tx.scan(T::Names, &prefix, &after_prefix(&prefix), true, &mut |_, row| {
        names.push(decode(T::Names, row, |from| from.get::<MailboxId>())?);
        Ok(true)
    })?;
    for mailbox in names {
        doom(tx, mailbox, news)?;
    }
    for table in [T::Subscriptions, T::Marks] {
        let mut keys = Vec::new();
        tx.scan(table, &prefix, &after_prefix(&prefix), true, &mut |key, _| {
            keys.push(key.to_vec());
            Ok(true)
        })?;
        for key in keys {
            tx.remove(table, &key)?;
        }
    }
    news.accounts.push((id, true));
    Ok(())
}

pub(super) fn mailboxes_created(
    tx: &mut Tx<'_>,
    account: AccountId,
    mailboxes: &[NewMailbox],
) -> Result<(), IndexError> {
    for new in mailboxes {
        let state = tx.state()?;
        state.mailbox_next = state.mailbox_next.max(new.id.0.saturating_add(1));
        state.uid_validity_next = state.uid_validity_next.max(new.uid_validity.0.saturating_add(1));
        mend::free_name(tx, account, &new.name, new.id)?;
        tx.put(T::Names, &key_name(account.0, &new.name), one(&new.id))?;
        let row = Mailbox {
            id: new.id,
            account,
            name: new.name.clone(),
            uid_validity: new.uid_validity,
            uid_next: Uid(1),
            highest_modseq: ModSeq(1),
            exists: 0,
            unseen: 0,
            deleted: 0,
            size: 0,
            recent_from: Uid(1),
            special_use: new.special_use,
            keywords: Vec::new(),
            expunges_known: 0,
            expunges_forgotten: ModSeq(0),
        };
        rows::put_mailbox(tx, &row)?;
    }
    Ok(())
}

/// Takes a mailbox's name away; what it holds goes later.
pub(super) fn doom(tx: &mut Tx<'_>, id: MailboxId, news: &mut News) -> Result<(), IndexError> {
    let Some(mailbox) = rows::mailbox(tx, id)? else {
        return Ok(());
    };
    tx.remove(T::Names, &key_name(mailbox.account.0, &mailbox.name))?;
    tx.remove(T::Mailboxes, &key_u32(id.0))?;
    tx.put(T::Doomed, &key_u32(id.0), Vec::new())?;
    tx.state()?.doomed += 1;
    news.gone.push(id);
    Ok(())
}

fn renamed_all(
    tx: &mut Tx<'_>,
    account: AccountId,
    renamed: &[(MailboxId, String)],
    created: &[NewMailbox],
) -> Result<(), IndexError> {
    mailboxes_created(tx, account, created)?;
    for (id, name) in renamed {
        let Some(mut row) = rows::mailbox(tx, *id)? else {
            continue;
        };
        rename(tx, &mut row, (account, name))?;
        rows::put_mailbox(tx, &row)?;
    }
    Ok(())
}

/// Gives a mailbox, whose row the caller writes, another name.
pub(super) fn rename(tx: &mut Tx<'_>, row: &mut Mailbox, (account, name): (AccountId, &str)) -> Result<(), IndexError> {
    tx.remove(T::Names, &key_name(row.account.0, &row.name))?;
    mend::free_name(tx, account, name, row.id)?;
    tx.put(T::Names, &key_name(account.0, name), one(&row.id))?;
    row.account = account;
    name.clone_into(&mut row.name);
    Ok(())
}

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

fn put_modseq(tx: &mut Tx<'_>, mailbox: MailboxId, modseq: ModSeq, uid: Uid) -> Result<(), IndexError> {
    tx.put(T::ModSeqs, &key_modseq(mailbox, modseq), uid.0.to_be_bytes().to_vec())
}

fn stored(
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

fn copied(
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
fn release(tx: &mut Tx<'_>, id: MessageId) -> Result<u64, IndexError> {
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
        oldest.push(super::keys::modseq_of_key(key).ok_or(IndexError::Damaged(T::Expunged))?);
        Ok(oldest.len() < EXPUNGES_FORGOTTEN)
    })?;
    for modseq in oldest {
        tx.remove(T::Expunged, &key_modseq(mailbox.id, modseq))?;
        mailbox.expunges_known = mailbox.expunges_known.saturating_sub(1);
        mailbox.expunges_forgotten = mailbox.expunges_forgotten.max(modseq);
    }
    Ok(())
}

/// Gives every message of a mailbox a new modification sequence, and its next one a higher UID.
fn raised(tx: &mut Tx<'_>, id: MailboxId, uid_next: Uid, modseq: ModSeq, news: &mut News) -> Result<(), IndexError> {
    let Some(mut mailbox) = rows::mailbox(tx, id)? else {
        return Ok(());
    };
    mailbox.uid_next = mailbox.uid_next.max(uid_next);
    let (mut next, mut from) = (modseq, Some(Uid(0)));
    while let Some(first) = from {
        let mut entries = Vec::new();
        tx.scan(T::Entries, &key_uid(id, first), &key_uid(id, Uid(u32::MAX)), true, &mut |key, row| {
            let uid = super::keys::uid_of_key(key).ok_or(IndexError::Damaged(T::Entries))?;
            entries.push(rows::decode_entry(uid, row)?);
            Ok(entries.len() < RAISE_ROWS)
        })?;
        from = entries.last().and_then(|row| row.entry.uid.0.checked_add(1)).map(Uid);
        for mut row in entries {
            tx.remove(T::ModSeqs, &key_modseq(id, row.entry.modseq))?;
            row.entry.modseq = next;
            rows::put_entry(tx, id, &row)?;
            put_modseq(tx, id, next, row.entry.uid)?;
            mailbox.highest_modseq = mailbox.highest_modseq.max(next);
            next = ModSeq(next.0.saturating_add(1));
        }
    }
    mailbox.highest_modseq = mailbox.highest_modseq.max(modseq);
    // What clients have seen and was lost is among no expunges that are known.
    mailbox.expunges_forgotten = mailbox.expunges_forgotten.max(modseq);
    rows::put_mailbox(tx, &mailbox)?;
    news.mailboxes.insert(id, mailbox.highest_modseq);
    Ok(())
}

/// Removes up to [`PURGE_ROWS_MAX`] rows of a deleted mailbox; the last step takes its mark away.
fn purged(tx: &mut Tx<'_>, id: MailboxId) -> Result<(), IndexError> {
    let mut messages = Vec::new();
    let (from, to) = (key_uid(id, Uid(0)), key_uid(id, Uid(u32::MAX)));
    tx.scan(T::Entries, &from, &to, true, &mut |key, row| {
        messages.push((key.to_vec(), rows::decode_entry(Uid(0), row)?.entry.message));
        Ok(messages.len() < PURGE_ROWS_MAX)
    })?;
    for (key, message) in &messages {
        tx.remove(T::Entries, key)?;
        release(tx, *message)?;
    }
    let mut left = PURGE_ROWS_MAX - messages.len();
    for table in [T::ModSeqs, T::Expunged] {
        left -= purge_rows(tx, table, &key_modseq(id, ModSeq(0)), &key_modseq(id, ModSeq(u64::MAX)), left)?;
    }
    for table in [T::Uids, T::Unseen, T::Deleted] {
        left -= purge_rows(tx, table, &from, &to, left)?;
    }
    if left > 0 && tx.remove(T::Doomed, &key_u32(id.0))? {
        let state = tx.state()?;
        state.doomed = state.doomed.saturating_sub(1);
    }
    Ok(())
}

fn purge_rows(tx: &mut Tx<'_>, table: T, from: &[u8], to: &[u8], max: usize) -> Result<usize, IndexError> {
    let mut keys = Vec::new();
    if max > 0 {
        tx.scan(table, from, to, true, &mut |key, _| {
            keys.push(key.to_vec());
            Ok(keys.len() < max)
        })?;
    }
    for key in &keys {
        tx.remove(table, key)?;
    }
    Ok(keys.len())
}
