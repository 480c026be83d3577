//! Events of whole mailboxes.

use super::messages::{put_modseq, release};
use super::{News, mend};
use crate::store::event::NewMailbox;
use crate::store::index::{IndexError, Read, Tx};
use crate::store::keys::{T, key_modseq, key_name, key_u32, key_uid};
use crate::store::rows::{self, one};
use crate::store::types::*;

/// Rows that one `Purged` event removes at the most.
const PURGE_ROWS_MAX: usize = 1_000;
/// Rows that `Raised` holds in memory at a time.
const RAISE_ROWS: usize = 1_000;

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

pub(super) fn renamed_all(
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

/// Gives every message of a mailbox a new modification sequence, and its next one a higher UID.
pub(super) fn raised(
    tx: &mut Tx<'_>,
    id: MailboxId,
    uid_next: Uid,
    modseq: ModSeq,
    news: &mut News,
) -> Result<(), IndexError> {
    let Some(mut mailbox) = rows::mailbox(tx, id)? else {
        return Ok(());
    };
    mailbox.uid_next = mailbox.uid_next.max(uid_next);
    let (mut next, mut from) = (modseq, Some(Uid(0)));
    while let Some(first) = from {
        let mut entries = Vec::new();
        tx.scan(T::Entries, &key_uid(id, first), &key_uid(id, Uid(u32::MAX)), true, &mut |key, row| {
            let uid = crate::store::keys::uid_of_key(key).ok_or(IndexError::Damaged(T::Entries))?;
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
pub(super) fn purged(tx: &mut Tx<'_>, id: MailboxId) -> Result<(), IndexError> {
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
