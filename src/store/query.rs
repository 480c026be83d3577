//! Reading the index: one short transaction a step, on a worker, none kept open.

use super::disk::is_unreadable;
use super::index::{IndexError, Read, Rx};
use super::keys::{T, after_prefix, key_modseq, key_name, key_u32, modseq_of_key, uid_of_key};
use super::rows::{self, State, decode};
use super::runs;
use super::types::*;
use super::{Refusal, Shared};
use crate::base::Workers;
use std::sync::Arc;

/// Summaries in one answer.
pub(crate) const SUMMARY_BYTES_MAX: usize = 64 * 1024;
/// Messages in one answer, whatever was asked.
pub(crate) const ROWS_MAX: usize = 10_000;

/// Why a step did not give an answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// What was asked cannot be.
    Refused(Refusal),
    /// The index failed.
    Index(IndexError),
}

impl From<IndexError> for Fault {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Shared {
    /// Runs a step of reading on a worker. A failed one is tried twice, the index opened again in between.
    pub(crate) async fn query<O: Send + 'static>(
        self: &Arc<Self>,
        step: impl Fn(&mut Rx) -> Result<O, Fault> + Send + Sync + 'static,
    ) -> Result<O, Refusal> {
        self.query_on(&self.workers, step).await
    }

    /// As [`Shared::query`], on these workers.
    pub(crate) async fn query_on<O: Send + 'static>(
        self: &Arc<Self>,
        workers: &Workers,
        step: impl Fn(&mut Rx) -> Result<O, Fault> + Send + Sync + 'static,
    ) -> Result<O, Refusal> {
        let step = Arc::new(step);
        for tried in 1..=TRIES {
            let (shared, step) = (self.clone(), step.clone());
            match workers.run(move || shared.index.read(|rx| step(rx))).await {
                Some(Ok(outcome)) => return Ok(outcome),
                Some(Err(Fault::Refused(refusal))) => return Err(refusal),
                Some(Err(Fault::Index(error))) => {
                    if !matches!(error, IndexError::Closed) {
                        log::error!("reading the index: {error}");
                    }
                    // Opened again it may be read; a place that cannot be read even then is as bad as a damaged row.
                    let unreadable = error.io().is_some_and(is_unreadable);
                    if tried >= if unreadable { TRIES } else { TRIES - 1 } {
                        return Err(refusal_of_index(&error));
                    }
                    let anew = matches!(error, IndexError::Damaged(_)) || (unreadable && tried > 1);
                    // Ends with an error when it has been tried, which is all that matters here.
                    let _ = self.queue.reopen(anew).recv().await;
                }
                None => return Err(Refusal::Unavailable),
            }
        }
        Err(Refusal::Unavailable)
    }
}

/// Tries of a step of reading at the most.
const TRIES: usize = 3;

/// The refusal for a failed index.
pub(crate) fn refusal_of_index(error: &IndexError) -> Refusal {
    match error {
        IndexError::Damaged(_) => Refusal::Damaged,
        IndexError::Redb(_) | IndexError::Closed | IndexError::Behind => Refusal::Unavailable,
    }
}

/// The state row.
pub(crate) fn state(rx: &mut impl Read) -> Result<State, IndexError> {
    match rx.get(T::State, &[])? {
        Some(row) => State::decode(&row).ok_or(IndexError::Damaged(T::State)),
        None => Ok(State::default()),
    }
}

/// The mailbox, or that there is none.
pub(crate) fn mailbox(rx: &mut impl Read, id: MailboxId) -> Result<Mailbox, Fault> {
    rows::mailbox(rx, id)?.ok_or(Fault::Refused(Refusal::NotFound))
}

/// A mailbox's number by its name.
pub(crate) fn mailbox_id(rx: &mut impl Read, account: AccountId, name: &str) -> Result<Option<MailboxId>, IndexError> {
    match rx.get(T::Names, &key_name(account.0, name))? {
        Some(row) => decode(T::Names, &row, |from| from.get()).map(Some),
        None => Ok(None),
    }
}

/// Every mailbox of an account, by name.
pub(crate) fn mailboxes(rx: &mut impl Read, account: AccountId) -> Result<Vec<Mailbox>, IndexError> {
    let prefix = key_u32(account.0);
    let mut ids = Vec::new();
    rx.scan(T::Names, &prefix, &after_prefix(&prefix), true, &mut |_, row| {
        ids.push(decode(T::Names, row, |from| from.get::<MailboxId>())?);
        Ok(true)
    })?;
    let mut mailboxes = Vec::with_capacity(ids.len());
    for id in ids {
        mailboxes.extend(rows::mailbox(rx, id)?);
    }
    Ok(mailboxes)
}

/// The names an account is subscribed to.
pub(crate) fn subscriptions(rx: &mut impl Read, account: AccountId) -> Result<Vec<String>, IndexError> {
    let prefix = key_u32(account.0);
    let mut names = Vec::new();
    rx.scan(T::Subscriptions, &prefix, &after_prefix(&prefix), true, &mut |key, _| {
        names.push(text(T::Subscriptions, key.get(4..))?);
        Ok(true)
    })?;
    Ok(names)
}

/// The value of an account's mark; empty when there is none.
pub(crate) fn mark(rx: &mut impl Read, account: AccountId, name: &str) -> Result<Vec<u8>, IndexError> {
    Ok(rx.get(T::Marks, &key_name(account.0, name))?.unwrap_or_default())
}

fn text(table: T, bytes: Option<&[u8]>) -> Result<String, IndexError> {
    let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.map(str::to_owned).ok_or(IndexError::Damaged(table))
}

/// Every domain.
pub(crate) fn domains(rx: &mut impl Read) -> Result<Vec<String>, IndexError> {
    let mut names = Vec::new();
    rx.scan(T::Domains, &[], &after_prefix(&[]), true, &mut |key, _| {
        names.push(text(T::Domains, Some(key))?);
        Ok(true)
    })?;
    Ok(names)
}

/// Accounts and aliases in a domain; nothing when it is not served.
pub(crate) fn domain(rx: &mut impl Read, name: &str) -> Result<Option<u64>, IndexError> {
    match rx.get(T::Domains, name.as_bytes())? {
        Some(row) => decode(T::Domains, &row, |from| from.get()).map(Some),
        None => Ok(None),
    }
}

/// An account's number by its address.
pub(crate) fn account_id(rx: &mut impl Read, address: &str) -> Result<Option<AccountId>, IndexError> {
    match rx.get(T::Addresses, address.as_bytes())? {
        Some(row) => decode(T::Addresses, &row, |from| from.get()).map(Some),
        None => Ok(None),
    }
}

/// The account of an address.
pub(crate) fn account(rx: &mut impl Read, address: &str) -> Result<Option<Account>, IndexError> {
    match account_id(rx, address)? {
        Some(id) => rows::account(rx, id),
        None => Ok(None),
    }
}

/// At most `max` accounts with a local part.
pub(crate) fn accounts_by_local_part(
    rx: &mut impl Read,
    local_part: &str,
    max: usize,
) -> Result<Vec<Account>, IndexError> {
    let mut from = local_part.as_bytes().to_vec();
    from.push(0);
    let mut to = from.clone();
    to.extend_from_slice(&[0xff; 4]);
    let mut ids = Vec::new();
    rx.scan(T::Locals, &from, &to, true, &mut |key, _| {
        let id = uid_of_key(key).filter(|_| key.len() == from.len() + 4);
        ids.extend(id.map(|id| AccountId(id.0)));
        Ok(ids.len() < max)
    })?;
    let mut accounts = Vec::new();
    for id in ids {
        accounts.extend(rows::account(rx, id)?);
    }
    Ok(accounts)
}

/// Accounts above a number.
pub(crate) fn accounts(rx: &mut impl Read, after: Option<AccountId>, max: usize) -> Result<Vec<Account>, IndexError> {
    let from = after.map_or(0, |after| after.0.saturating_add(1));
    let mut accounts = Vec::new();
    if max > 0 {
        rx.scan(T::Accounts, &key_u32(from), &key_u32(u32::MAX), true, &mut |key, row| {
            let id = uid_of_key(key).ok_or(IndexError::Damaged(T::Accounts))?;
            let account = decode(T::Accounts, row, |from| {
                Some(Account { id: AccountId(id.0), address: from.get()?, secrets: from.get()? })
            })?;
            accounts.push(account);
            Ok(accounts.len() < max)
        })?;
    }
    Ok(accounts)
}

/// An alias's targets.
pub(crate) fn alias(rx: &mut impl Read, address: &str) -> Result<Option<Vec<String>>, IndexError> {
    match rx.get(T::Aliases, address.as_bytes())? {
        Some(row) => decode(T::Aliases, &row, super::bytes::get_list).map(Some),
        None => Ok(None),
    }
}

/// Aliases that sort after one.
pub(crate) fn aliases(
    rx: &mut impl Read,
    after: Option<&str>,
    max: usize,
) -> Result<Vec<(String, Vec<String>)>, IndexError> {
    let mut from = after.unwrap_or_default().as_bytes().to_vec();
    if after.is_some() {
        from.push(0);
    }
    let mut found = Vec::new();
    if max > 0 {
        rx.scan(T::Aliases, &from, &after_prefix(&[]), true, &mut |key, row| {
            found.push((text(T::Aliases, Some(key))?, decode(T::Aliases, row, super::bytes::get_list)?));
            Ok(found.len() < max)
        })?;
    }
    Ok(found)
}

/// The small rows of those `uids` that exist.
pub(crate) fn entries(
    rx: &mut impl Read,
    mailbox: MailboxId,
    uids: &UidSet,
    max: usize,
) -> Result<Vec<Entry>, IndexError> {
    let max = max.min(ROWS_MAX);
    let mut entries = Vec::new();
    for range in uids.ranges() {
        if entries.len() >= max {
            break;
        }
        let (from, to) = (super::keys::key_uid(mailbox, range.first), super::keys::key_uid(mailbox, range.last));
        rx.scan(T::Entries, &from, &to, true, &mut |key, row| {
            let uid = uid_of_key(key).ok_or(IndexError::Damaged(T::Entries))?;
            entries.push(rows::decode_entry(uid, row)?.entry);
            Ok(entries.len() < max)
        })?;
    }
    Ok(entries)
}

/// As [`entries`], each with its message.
pub(crate) fn messages(
    rx: &mut impl Read,
    mailbox: MailboxId,
    uids: &UidSet,
    max: usize,
) -> Result<Vec<(Entry, Message)>, IndexError> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    // A step of a few hundred rows at a time, since the summaries may fill up sooner.
    let mut rest = uids.clone();
    while messages.len() < max && bytes < SUMMARY_BYTES_MAX {
        let found = entries(rx, mailbox, &rest, (max - messages.len()).min(64))?;
        let Some(last) = found.last().map(|entry| entry.uid) else {
            break;
        };
        rest.remove_range(UidRange { first: Uid(0), last });
        for entry in found {
            let message = rows::message(rx, entry.message)?.ok_or(IndexError::Damaged(T::Messages))?;
            bytes += message.summary.len();
            messages.push((entry, message));
            if bytes >= SUMMARY_BYTES_MAX {
                break;
            }
        }
    }
    Ok(messages)
}

/// The sizes of those `uids` that exist, ascending, at most `max`.
pub(crate) fn sizes(
    rx: &mut impl Read,
    mailbox: MailboxId,
    uids: &UidSet,
    max: usize,
) -> Result<Vec<(Uid, u64)>, IndexError> {
    let entries = entries(rx, mailbox, uids, max)?;
    let size = |entry: Entry| match rows::message_bytes(rx, entry.message)? {
        Some(bytes) => Ok((entry.uid, bytes)),
        None => Err(IndexError::Damaged(T::Messages)),
    };
    entries.into_iter().map(size).collect()
}

/// What happened after `since`, and whether a row was damaged that should have told more.
pub(crate) fn changes(
    rx: &mut impl Read,
    mailbox: &Mailbox,
    since: ModSeq,
    max: usize,
) -> Result<(Changes, bool), IndexError> {
    let mut damaged = false;
    let max = max.clamp(1, ROWS_MAX);
    let id = mailbox.id;
    let (from, to) = (key_modseq(id, ModSeq(since.0.saturating_add(1))), key_modseq(id, ModSeq(u64::MAX)));
    let mut changes = Changes { upto: mailbox.highest_modseq.max(since), ..Changes::default() };
    let mut uids = Vec::new();
    rx.scan(T::ModSeqs, &from, &to, true, &mut |key, row| {
        match (modseq_of_key(key), uid_of_key(row)) {
            (Some(modseq), Some(uid)) => uids.push((modseq, uid)),
            _ => return Err(IndexError::Damaged(T::ModSeqs)),
        }
        Ok(uids.len() <= max)
    })?;
    if uids.len() > max {
        uids.truncate(max);
        changes.more = true;
        changes.upto = uids.last().map_or(since, |(modseq, _)| *modseq);
    }
    // What went up to there is not known one by one any more: whatever is not there is told, once, with the step that gets
    // beyond it.
    let forgotten = mailbox.expunges_forgotten;
    if since < forgotten && forgotten <= changes.upto {
        changes.expunged = runs::all(rx, T::Uids, id)?.missing_below(mailbox.uid_next);
    }
    let known = if since < forgotten { key_modseq(id, ModSeq(u64::MAX)) } else { from };
    let mut gone = 0;
    rx.scan(T::Expunged, &known, &key_modseq(id, changes.upto), true, &mut |key, row| {
        let modseq = modseq_of_key(key).ok_or(IndexError::Damaged(T::Expunged))?;
        if gone >= max {
            changes.more = true;
            changes.upto = ModSeq(modseq.0 - 1);
            return Ok(false);
        }
        // Ranges count, not rows: a step of EXPUNGE may have taken a thousand out of a thousand places.
        let uids = decode(T::Expunged, row, |from| from.get::<UidSet>())?;
        gone += uids.ranges().len().max(1);
        for range in uids.ranges() {
            changes.expunged.insert_range(*range);
        }
        Ok(true)
    })?;
    for (modseq, uid) in uids {
        if modseq <= changes.upto {
            match rows::entry(rx, id, uid) {
                Ok(Some(row)) => changes.changed.push(row.entry),
                // Nothing can be told of it, but of all others.
                Ok(None) | Err(IndexError::Damaged(_)) => {
                    log::error!("the row of a message is damaged mailbox={} uid={}", id.0, uid.0);
                    damaged = true;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok((changes, damaged))
}

/// The UIDs of a mailbox.
pub(crate) fn uids(rx: &mut impl Read, mailbox: &Mailbox) -> Result<UidSet, IndexError> {
    runs::all(rx, T::Uids, mailbox.id)
}
