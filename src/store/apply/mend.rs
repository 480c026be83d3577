//! Applies what the log tells again ([`crate::store::roll`]) to an index that was made from a log with gaps: what is told is there,
//! what is not told is gone. Whatever an event names and nobody told of gets a placeholder, so that no message is lost for want of
//! a name. Part of [`super::apply`], and as total and deterministic; an index that lacks nothing is left as it is.

use super::News;
use super::accounts::{
    account_added, account_removed, alias_added, alias_removed, count_in_domain, marked, put_address, remove_address,
};
use super::mailboxes::{doom, mailboxes_created, rename};
use super::messages::{arrive, expunged, flags_changed, holders, intern};
use crate::store::event::NewMailbox;
use crate::store::index::{IndexError, Read, Tx};
use crate::store::keys::{T, key_name, key_u64};
use crate::store::query;
use crate::store::rows::{self, EntryRow, one};
use crate::store::runs;
use crate::store::told::{MailboxTold, MessageTold, MessagesTold, NamesTold, RollEnd, StretchTold};
use crate::store::types::*;
use std::collections::BTreeSet;

/// The domain of accounts whose address is not known; nobody else's mail ever goes there (RFC 2606 section 2).
pub(crate) const DOMAIN: &str = "recovered.invalid";
/// How a mailbox's name begins that is not known.
pub(crate) const MAILBOX: &str = "Recovered";

fn is_patchy(tx: &mut Tx<'_>) -> Result<bool, IndexError> {
    Ok(tx.state()?.patchy)
}

/// The first of `name`, `name-1`, `name-2`, ... that nobody has.
fn first_free(
    mut name: impl FnMut(&str) -> String,
    mut is_taken: impl FnMut(&str) -> Result<bool, IndexError>,
) -> Result<String, IndexError> {
    let mut free = name("");
    let mut number = 0u32;
    while is_taken(&free)? {
        number = number.saturating_add(1);
        free = name(&format!("-{number}"));
    }
    Ok(free)
}

fn placeholder_address(tx: &mut Tx<'_>, id: AccountId) -> Result<String, IndexError> {
    first_free(
        |end| format!("recovered-{}{end}@{DOMAIN}", id.0),
        |address| Ok(tx.has(T::Addresses, address.as_bytes())? || tx.has(T::Aliases, address.as_bytes())?),
    )
}

fn placeholder_name(tx: &mut Tx<'_>, account: AccountId, id: MailboxId) -> Result<String, IndexError> {
    first_free(|end| format!("{MAILBOX} {}{end}", id.0), |name| tx.has(T::Names, &key_name(account.0, name)))
}

/// Takes an address from whoever else has it: an account whose removal is not known.
pub(super) fn free_address(tx: &mut Tx<'_>, address: &str, id: AccountId) -> Result<(), IndexError> {
    let Some(holder) = query::account_id(tx, address)?.filter(|holder| *holder != id) else {
        return Ok(());
    };
    let Some(account) = rows::account(tx, holder)? else {
        return Ok(());
    };
    let placeholder = placeholder_address(tx, holder)?;
    readdress(tx, account, placeholder)
}

/// Gives an account another address.
fn readdress(tx: &mut Tx<'_>, mut account: Account, address: String) -> Result<(), IndexError> {
    remove_address(tx, &account.address, account.id)?;
    if query::domain(tx, DOMAIN)? == Some(0) {
        tx.remove(T::Domains, DOMAIN.as_bytes())?;
    }
    put_address(tx, &address, account.id)?;
    account.address = address;
    rows::put_account(tx, &account)
}

/// Takes a name from whichever other mailbox has it: one whose deletion or new name is not known.
pub(super) fn free_name(tx: &mut Tx<'_>, account: AccountId, name: &str, id: MailboxId) -> Result<(), IndexError> {
    let Some(holder) = query::mailbox_id(tx, account, name)?.filter(|holder| *holder != id) else {
        return Ok(());
    };
    let Some(mut row) = rows::mailbox(tx, holder)? else {
        return Ok(());
    };
    let placeholder = placeholder_name(tx, account, holder)?;
    rename(tx, &mut row, (account, &placeholder))?;
    rows::put_mailbox(tx, &row)
}

/// A mailbox; where something is lacking, a new one in the place of one that is not known.
pub(super) fn known_mailbox(tx: &mut Tx<'_>, account: AccountId, id: MailboxId) -> Result<Option<Mailbox>, IndexError> {
    match rows::mailbox(tx, id)? {
        None if is_patchy(tx)? => {}
        known => return Ok(known),
    }
    let name = placeholder_name(tx, account, id)?;
    make_mailbox(tx, account, id, name)?;
    rows::mailbox(tx, id)
}

fn make_mailbox(tx: &mut Tx<'_>, account: AccountId, id: MailboxId, name: String) -> Result<(), IndexError> {
    if rows::account(tx, account)?.is_none() {
        let address = placeholder_address(tx, account)?;
        account_added(tx, &Account { id: account, address, secrets: Vec::new() }, &[])?;
    }
    let uid_validity = UidValidity(tx.state()?.uid_validity_next);
    tx.put(T::Subscriptions, &key_name(account.0, &name), Vec::new())?;
    mailboxes_created(tx, account, &[NewMailbox { id, uid_validity, name, special_use: None }])
}

/// These rows are there, and no others between them.
pub(super) fn stretch(tx: &mut Tx<'_>, told: &StretchTold) -> Result<(), IndexError> {
    if !is_patchy(tx)? {
        return Ok(());
    }
    let names = &told.names;
    let table = T::from_number(told.table).ok_or(IndexError::Damaged(T::State))?;
    let keys: BTreeSet<Vec<u8>> = match table {
        T::Domains => names.domains.iter().map(|name| name.clone().into_bytes()).collect(),
        T::Aliases => names.aliases.iter().map(|(address, _)| address.clone().into_bytes()).collect(),
        T::Subscriptions => names.subscriptions.iter().map(|(of, name)| key_name(of.0, name)).collect(),
        T::Marks => told.marks.iter().map(|mark| key_name(mark.account.0, &mark.name)).collect(),
        // Which accounts are gone is told at the end.
        _ => return self::names(tx, names),
    };
    let mut untold = Vec::new();
    let last = if told.last.is_empty() { &[0xff; 8][..] } else { &told.last };
    tx.scan(table, &told.after, last, true, &mut |key, _| {
        if key != told.after && !keys.contains(key) {
            untold.push(key.to_vec());
        }
        Ok(true)
    })?;
    for key in untold {
        match table {
            T::Aliases => alias_removed(tx, std::str::from_utf8(&key).map_err(|_| IndexError::Damaged(table))?)?,
            // Somebody is in it who has not been told of yet, or has no address yet.
            T::Domains if tx.get(T::Domains, &key)?.is_some_and(|count| count != one(&0u64)) => {}
            _ => drop(tx.remove(table, &key)?),
        }
    }
    told.marks.iter().try_for_each(|mark| marked(tx, mark))?;
    self::names(tx, names)
}

/// These names are there.
pub(super) fn names(tx: &mut Tx<'_>, told: &NamesTold) -> Result<(), IndexError> {
    if !is_patchy(tx)? {
        return Ok(());
    }
    for domain in &told.domains {
        count_in_domain(tx, domain, 0)?;
    }
    for account in &told.accounts {
        match rows::account(tx, account.id)? {
            None => account_added(tx, account, &[])?,
            Some(known) if known.address != account.address => readdress(tx, known, account.address.clone())?,
            Some(_) => {}
        }
        rows::put_account(tx, account)?;
    }
    for (address, targets) in &told.aliases {
        alias_added(tx, address, targets)?;
    }
    for (account, name) in &told.subscriptions {
        tx.put(T::Subscriptions, &key_name(account.0, name), Vec::new())?;
    }
    Ok(())
}

/// This mailbox is there.
pub(super) fn mailbox(tx: &mut Tx<'_>, told: &MailboxTold) -> Result<(), IndexError> {
    if !is_patchy(tx)? {
        return Ok(());
    }
    let (id, account) = (told.id, told.account);
    let Some(mut row) = known_mailbox(tx, account, id)? else {
        return Ok(());
    };
    if (row.account, row.name.as_str()) != (account, told.name.as_str()) {
        // A placeholder was subscribed to, so that its owner sees it; which names are is told.
        if row.is_made_up() {
            tx.remove(T::Subscriptions, &key_name(row.account.0, &row.name))?;
        }
        rename(tx, &mut row, (account, &told.name))?;
    }
    row.special_use = told.special_use;
    row.uid_validity = told.uid_validity;
    row.uid_next = row.uid_next.max(told.uid_next);
    row.highest_modseq = row.highest_modseq.max(told.highest_modseq);
    row.recent_from = row.recent_from.max(told.recent_from);
    let state = tx.state()?;
    state.uid_validity_next = state.uid_validity_next.max(told.uid_validity.0.saturating_add(1));
    rows::put_mailbox(tx, &row)
}

/// These messages are there, and no others between them.
pub(super) fn messages(tx: &mut Tx<'_>, told: &MessagesTold, news: &mut News) -> Result<(), IndexError> {
    if !is_patchy(tx)? {
        return Ok(());
    }
    let Some(mailbox) = known_mailbox(tx, told.account, told.mailbox)? else {
        return Ok(());
    };
    let range = UidSet::range(told.first, told.last);
    let mut gone = runs::common(tx, T::Uids, mailbox.id, &range, u64::MAX)?;
    for message in &told.messages {
        let entry = message.row.entry;
        if rows::entry(tx, mailbox.id, entry.uid)?.is_some_and(|row| row.entry.message == entry.message) {
            gone.remove_range(UidRange { first: entry.uid, last: entry.uid });
        }
    }
    if !gone.is_empty() {
        let modseq = ModSeq(mailbox.highest_modseq.0.saturating_add(1));
        expunged(tx, mailbox.id, &gone, modseq, news)?;
    }
    told.messages.iter().try_for_each(|message| one_message(tx, mailbox.id, &told.keywords, message, news))
}

fn one_message(
    tx: &mut Tx<'_>,
    id: MailboxId,
    keywords: &[String],
    told: &MessageTold,
    news: &mut News,
) -> Result<(), IndexError> {
    let Some(mut mailbox) = rows::mailbox(tx, id)? else {
        return Ok(());
    };
    let EntryRow { entry, saved_unix_s } = told.row;
    let names = names_with(keywords, entry.flags);
    let flags = intern(&mut mailbox, &names);
    match rows::entry(tx, id, entry.uid)? {
        Some(known) => {
            place_body(tx, told)?;
            if (known.entry.flags, known.entry.modseq) != (flags, entry.modseq) {
                let one = UidSet::one(entry.uid);
                flags_changed(tx, id, (FlagChange::Replace, &names), &one, entry.modseq, news)?;
            }
            Ok(())
        }
        None => {
            if !place_body(tx, told)? {
                let holders = holders(tx, entry.message)?.saturating_add(1);
                tx.put(T::Shares, &key_u64(entry.message.0), one(&holders))?;
            }
            let entry = Entry { flags, ..entry };
            arrive(tx, &mut mailbox, &EntryRow { entry, saved_unix_s }, told.size)?;
            rows::put_mailbox(tx, &mailbox)
        }
    }
}

fn names_with(keywords: &[String], flags: Flags) -> FlagNames {
    let system = Flags(flags.0 & ((1 << Flags::KEYWORD_BIT_FIRST) - 1));
    let given = keywords.iter().enumerate().filter(|(n, _)| flags.has(Flags::keyword(*n)));
    FlagNames { system, keywords: given.map(|(_, name)| name.clone()).collect() }
}

/// The message's row names its body and the body its place; says whether the message is new.
fn place_body(tx: &mut Tx<'_>, told: &MessageTold) -> Result<bool, IndexError> {
    let id = told.row.entry.message;
    let known = rows::message(tx, id)?;
    if let Some(known) = &known {
        if known.blob == told.blob && rows::blob(tx, told.blob)?.as_ref() == Some(&(told.size, told.extents.clone())) {
            return Ok(false);
        }
        rows::remove_blob(tx, known.blob)?;
    }
    rows::put_blob(tx, told.blob, told.size, &told.extents)?;
    let is_new = known.is_none();
    let summary = known.map(|known| known.summary).unwrap_or_default();
    let row = Message { blob: told.blob, size: told.size, internal_date: told.internal_date, summary };
    rows::put_message(tx, id, &row)?;
    let state = tx.state()?;
    if is_new {
        state.messages += 1;
        state.bare_from = if state.bare_from == 0 { id.0 } else { state.bare_from.min(id.0) };
    }
    state.message_next = state.message_next.max(id.0.saturating_add(1));
    state.blob_next = state.blob_next.max(told.blob.0.saturating_add(1));
    Ok(is_new)
}

/// All was told: accounts and mailboxes that were not are gone.
pub(super) fn ended(tx: &mut Tx<'_>, end: &RollEnd, news: &mut News) -> Result<(), IndexError> {
    let state = tx.state()?;
    state.roll_segment = end.segment;
    if !state.patchy {
        return Ok(());
    }
    state.account_next = state.account_next.max(end.account_next);
    state.mailbox_next = state.mailbox_next.max(end.mailbox_next);
    state.uid_validity_next = state.uid_validity_next.max(end.uid_validity_next);
    state.message_next = state.message_next.max(end.message_next);
    state.blob_next = state.blob_next.max(end.blob_next);
    for id in end.mailboxes.missing_below(Uid(end.mailbox_next)).iter() {
        doom(tx, MailboxId(id.0), news)?;
    }
    for id in end.accounts.missing_below(Uid(end.account_next)).iter() {
        account_removed(tx, AccountId(id.0), news)?;
    }
    Ok(())
}

/// Messages get the summaries they lacked.
pub(super) fn summarized(
    tx: &mut Tx<'_>,
    summaries: &[(MessageId, Vec<u8>)],
    next: MessageId,
) -> Result<(), IndexError> {
    for (id, summary) in summaries {
        if let Some(mut row) = rows::message(tx, *id)? {
            row.summary.clone_from(summary);
            rows::put_message(tx, *id, &row)?;
        }
    }
    tx.state()?.bare_from = next.0;
    Ok(())
}
