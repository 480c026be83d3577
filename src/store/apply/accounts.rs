//! Events of accounts, addresses, domains and marks.

use super::mailboxes::{doom, mailboxes_created};
use super::{News, mend};
use crate::store::event::NewMailbox;
use crate::store::index::{IndexError, Read, Tx};
use crate::store::keys::{T, after_prefix, key_name, key_u32};
use crate::store::rows::{self, decode, one, value};
use crate::store::types::*;

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
    tx.put(T::Aliases, address.as_bytes(), value(|to| crate::store::bytes::put_list(to, targets)))
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
