//! Decisions about mailboxes. A missing parent is created with its child, so that no name without a mailbox ever stands
//! between them.

use super::Step;
use crate::store::event::{Event, NewMailbox};
use crate::store::index::Read;
use crate::store::keys::{T, after_prefix, key_name, key_u32};
use crate::store::query::{self, Fault};
use crate::store::types::*;

/// Mailboxes of one account: LIST answers them in one go.
const MAILBOXES_MAX: usize = 10_000;
/// Subscriptions of one account; they stay when their mailboxes go.
const SUBSCRIPTIONS_MAX: usize = 10_000;
/// Marks of one account, and octets of one and of its name.
const MARKS_MAX: usize = 1_000;
const MARK_BYTES_MAX: usize = 64 * 1024;
/// A mailbox's name: what clients can send and address (IMAP's grammar has the same bounds).
const NAME_BYTES_MAX: usize = 1_000;
const NAME_LEVELS_MAX: usize = 32;
/// The mailbox that every account has (RFC 3501 section 5.1).
pub(crate) const INBOX: &str = "INBOX";

/// What is to be done to rename a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renamed {
    /// It is done.
    Done,
    /// It was INBOX: its messages are to be moved into this new mailbox (RFC 3501 6.3.5).
    MoveInto(MailboxId),
}

/// Children grow with their parents' names, so a rename may make one that nobody can address.
fn must_be_addressable(name: &str) -> Result<(), Fault> {
    let fits = name.len() <= NAME_BYTES_MAX && name.split('/').count() <= NAME_LEVELS_MAX;
    if fits { Ok(()) } else { Err(Refusal::Limit.into()) }
}

/// The parents of a name, outermost first.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

/// New mailboxes for those of `names` that there are none of.
fn missing<'a>(
    step: &mut Step<'_, '_>,
    account: AccountId,
    names: impl Iterator<Item = (&'a str, Option<SpecialUse>)>,
) -> Result<Vec<NewMailbox>, Fault> {
    let state = step.tx.state()?;
    let (mut id, mut uid_validity) = (state.mailbox_next, state.uid_validity_next);
    let mut new = Vec::new();
    for (name, special_use) in names {
        if query::mailbox_id(step.tx, account, name)?.is_none() {
            let name = name.to_owned();
            new.push(NewMailbox { id: MailboxId(id), uid_validity: UidValidity(uid_validity), name, special_use });
            id = id.checked_add(1).ok_or(Refusal::Limit)?;
            uid_validity = uid_validity.checked_add(1).ok_or(Refusal::Limit)?;
        }
    }
    let prefix = key_u32(account.0);
    let mut there = new.len();
    step.tx.scan(T::Names, &prefix, &after_prefix(&prefix), true, &mut |_, _| {
        there += 1;
        Ok(there <= MAILBOXES_MAX)
    })?;
    if there > MAILBOXES_MAX { Err(Refusal::Limit.into()) } else { Ok(new) }
}

fn must_be_an_account(step: &mut Step<'_, '_>, account: AccountId) -> Result<(), Fault> {
    if step.tx.has(T::Accounts, &key_u32(account.0))? { Ok(()) } else { Err(Refusal::NotFound.into()) }
}

/// Creates a mailbox and the parents it lacks.
pub(crate) fn create(
    step: &mut Step<'_, '_>,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<MailboxId, Fault> {
    step.needs_room()?;
    must_be_an_account(step, account)?;
    must_be_addressable(name)?;
    if query::mailbox_id(step.tx, account, name)?.is_some() {
        return Err(Refusal::Exists.into());
    }
    let names = parents(name).map(|parent| (parent, None)).chain([(name, special_use)]);
    let mailboxes = missing(step, account, names)?;
    let id = mailboxes.last().map(|new| new.id).ok_or(Refusal::Unavailable)?;
    step.happen(&Event::MailboxesCreated { account, mailboxes })?;
    Ok(id)
}

/// The mailboxes below one.
fn children(step: &mut Step<'_, '_>, mailbox: &Mailbox, max: usize) -> Result<Vec<(MailboxId, String)>, Fault> {
    let prefix = key_name(mailbox.account.0, &format!("{}/", mailbox.name));
    let mut found = Vec::new();
    step.tx.scan(T::Names, &prefix, &after_prefix(&prefix), true, &mut |key, row| {
        let id = crate::store::rows::decode(T::Names, row, |from| from.get::<MailboxId>())?;
        let rest = key.get(prefix.len()..).and_then(|rest| std::str::from_utf8(rest).ok()).unwrap_or_default();
        found.push((id, rest.to_owned()));
        Ok(found.len() < max)
    })?;
    Ok(found)
}

/// Deletes a mailbox that has no children; its messages go in steps afterwards.
pub(crate) fn delete(step: &mut Step<'_, '_>, id: MailboxId) -> Result<(), Fault> {
    let mailbox = query::mailbox(step.tx, id)?;
    if mailbox.name == INBOX || !children(step, &mailbox, 1)?.is_empty() {
        return Err(Refusal::NotAllowed.into());
    }
    step.happen(&Event::MailboxDeleted { id })
}

/// Renames a mailbox and its children.
pub(crate) fn rename(step: &mut Step<'_, '_>, id: MailboxId, name: &str) -> Result<Renamed, Fault> {
    let mailbox = query::mailbox(step.tx, id)?;
    if query::mailbox_id(step.tx, mailbox.account, name)?.is_some() {
        return Err(Refusal::Exists.into());
    }
    if mailbox.name == INBOX {
        return create(step, mailbox.account, name, None).map(Renamed::MoveInto);
    }
    if name.strip_prefix(&mailbox.name).is_some_and(|rest| rest.starts_with('/')) {
        return Err(Refusal::NotAllowed.into());
    }
    let children = children(step, &mailbox, usize::MAX)?;
    let created = missing(step, mailbox.account, parents(name).map(|parent| (parent, None)))?;
    let mut renamed = vec![(id, name.to_owned())];
    renamed.extend(children.into_iter().map(|(id, rest)| (id, format!("{name}/{rest}"))));
    renamed.iter().try_for_each(|(_, name)| must_be_addressable(name))?;
    step.happen(&Event::MailboxesRenamed { account: mailbox.account, renamed, created })?;
    Ok(Renamed::Done)
}

/// Subscribes to a name, or ends that.
pub(crate) fn subscribe(
    step: &mut Step<'_, '_>,
    account: AccountId,
    name: String,
    subscribed: bool,
) -> Result<(), Fault> {
    must_be_an_account(step, account)?;
    if step.tx.has(T::Subscriptions, &key_name(account.0, &name))? == subscribed {
        return Ok(());
    }
    if subscribed {
        must_have_room(step, T::Subscriptions, account, SUBSCRIPTIONS_MAX)?;
    }
    step.happen(&Event::Subscribed { account, name, subscribed })
}

/// Sets a mark, or removes it.
pub(crate) fn mark(step: &mut Step<'_, '_>, mark: Mark) -> Result<(), Fault> {
    may_mark(step, &mark)?;
    step.happen(&Event::Marked(mark))
}

/// Whether a mark can be set. Nothing may have happened yet when it cannot.
pub(super) fn may_mark(step: &mut Step<'_, '_>, mark: &Mark) -> Result<(), Fault> {
    must_be_an_account(step, mark.account)?;
    let is_there = step.tx.has(T::Marks, &key_name(mark.account.0, &mark.name))?;
    if mark.name.len() > NAME_BYTES_MAX || mark.value.len() > MARK_BYTES_MAX {
        return Err(Refusal::Limit.into());
    }
    if is_there || mark.value.is_empty() {
        return Ok(());
    }
    must_have_room(step, T::Marks, mark.account, MARKS_MAX)
}

/// Whether an account has fewer than so many rows of a table.
fn must_have_room(step: &mut Step<'_, '_>, table: T, account: AccountId, most: usize) -> Result<(), Fault> {
    let prefix = key_u32(account.0);
    let mut there = 0;
    step.tx.scan(table, &prefix, &after_prefix(&prefix), true, &mut |_, _| {
        there += 1;
        Ok(there < most)
    })?;
    if there < most { Ok(()) } else { Err(Refusal::Limit.into()) }
}
