//! An account's names in steps: mailboxes, or what it is subscribed to with the parents of that. One job on a worker each,
//! bounded in names and octets; a damaged row costs what it alone knows.

use super::index::{IndexError, Read, Rx};
use super::keys::{T, after_prefix, key_name};
use super::rows;
use super::steps::whole;
use super::types::*;
use super::{Refusal, Store};

/// Names in a step at the most, before their parents.
const STEP_NAMES: usize = 100;
/// A step is full with so many octets of names.
const STEP_NAME_BYTES: usize = 16 * 1024;
/// Between a name and what is below it.
const SEPARATOR: char = '/';

/// Which names to go through, and what to find out about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameQuery {
    /// Names subscribed to and all their parents, whether they exist or not; else mailboxes.
    pub subscribed: bool,
    /// Whether [`NamedMailbox::is_above`] is wanted.
    pub above: bool,
    /// Only mailboxes with a special use count for it.
    pub special_use: bool,
}

/// A name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedMailbox {
    /// The name.
    pub name: String,
    /// Its mailbox, if there is one whose number can be read.
    pub id: Option<MailboxId>,
    /// Whether there is a mailbox.
    pub exists: bool,
    /// Its special use, if it has one that can be read.
    pub special_use: Option<SpecialUse>,
    /// Whether there are mailboxes below.
    pub has_children: bool,
    /// Whether the account is subscribed to it.
    pub is_subscribed: bool,
    /// Whether there is, below it, what the query goes through, of the kind that it counts.
    pub is_above: bool,
}

/// Some names, by name; parents stand right before the first name below them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameStep {
    /// The names.
    pub names: Vec<NamedMailbox>,
    /// Go on after this; `None` when that was all.
    pub next: Option<String>,
}

impl Store {
    /// Names of an account behind `after`, at most a hundred and their parents: less than 64 KiB.
    pub async fn name_step(
        &self,
        account: AccountId,
        after: Option<String>,
        query: NameQuery,
    ) -> Result<NameStep, Refusal> {
        self.shared.query(move |rx| Ok(name_step(rx, account, after.as_deref(), query)?)).await
    }
}

fn name_step(rx: &mut Rx, account: AccountId, after: Option<&str>, query: NameQuery) -> Result<NameStep, IndexError> {
    let table = if query.subscribed { T::Subscriptions } else { T::Names };
    let found = names(rx, table, account, "", after)?;
    let mut step = NameStep { next: found.last().cloned(), names: Vec::new() };
    let mut previous = after.unwrap_or_default().to_owned();
    let mut bytes = 0_usize;
    for name in found {
        if query.subscribed {
            for (at, _) in name.match_indices(SEPARATOR) {
                let (parent, _) = name.split_at(at);
                // What is below a name lies together: one that the previous name is below, too, has been told.
                let is_new = previous.strip_prefix(parent).is_none_or(|rest| !rest.starts_with(SEPARATOR));
                if is_new && !has(rx, T::Subscriptions, account, parent)? {
                    bytes += parent.len();
                    step.names.push(named(rx, account, parent, query)?);
                }
            }
        }
        let mut named = named(rx, account, &name, query)?;
        named.is_subscribed |= query.subscribed;
        step.names.push(named);
        bytes += name.len();
        previous = name;
        if bytes >= STEP_NAME_BYTES {
            step.next = Some(previous);
            break;
        }
    }
    Ok(step)
}

/// Names in `table` that begin with `prefix`, behind `after`, as many as a step holds.
fn names(
    rx: &mut Rx,
    table: T,
    account: AccountId,
    prefix: &str,
    after: Option<&str>,
) -> Result<Vec<String>, IndexError> {
    let key = key_name(account.0, prefix);
    let mut from = after.map_or_else(|| key.clone(), |after| key_name(account.0, after));
    if after.is_some() {
        from.push(0);
    }
    let mut names = Vec::new();
    let mut bytes = 0;
    rx.scan_whole(table, &from, &after_prefix(&key), &mut |key, _| {
        if let Some(Ok(name)) = key.get(4..).map(std::str::from_utf8) {
            bytes += name.len();
            names.push(name.to_owned());
        }
        Ok(names.len() < STEP_NAMES && bytes < STEP_NAME_BYTES)
    })?;
    Ok(names)
}

/// What is known of a name.
fn named(rx: &mut Rx, account: AccountId, name: &str, query: NameQuery) -> Result<NamedMailbox, IndexError> {
    let (exists, id) = match whole(super::query::mailbox_id(rx, account, name))? {
        Some(id) => (id.is_some(), id),
        None => (true, None), // a damaged row
    };
    let special_use = special_use(rx, id)?;
    let below = format!("{name}{SEPARATOR}");
    Ok(NamedMailbox {
        exists,
        id,
        special_use,
        has_children: is_any_below(rx, T::Names, account, &below)?,
        is_subscribed: has(rx, T::Subscriptions, account, name)?,
        is_above: query.above && is_above(rx, account, &below, query)?,
        name: name.to_owned(),
    })
}

fn special_use(rx: &mut Rx, id: Option<MailboxId>) -> Result<Option<SpecialUse>, IndexError> {
    let Some(id) = id else { return Ok(None) };
    let row = whole(rows::mailbox(rx, id))?;
    if row.is_none() {
        // Whoever enters it has the index made anew.
        ::log::error!("the row of a mailbox is damaged mailbox={}", id.0);
    }
    Ok(row.flatten().and_then(|mailbox| mailbox.special_use))
}

fn has(rx: &mut Rx, table: T, account: AccountId, name: &str) -> Result<bool, IndexError> {
    // A damaged row is there, too.
    Ok(whole(rx.has(table, &key_name(account.0, name)))?.unwrap_or(true))
}

fn is_any_below(rx: &mut Rx, table: T, account: AccountId, below: &str) -> Result<bool, IndexError> {
    let prefix = key_name(account.0, below);
    let mut is_any = false;
    rx.scan_whole(table, &prefix, &after_prefix(&prefix), &mut |_, _| {
        is_any = true;
        Ok(false)
    })?;
    Ok(is_any)
}

fn is_above(rx: &mut Rx, account: AccountId, below: &str, query: NameQuery) -> Result<bool, IndexError> {
    let table = if query.subscribed { T::Subscriptions } else { T::Names };
    if !query.special_use {
        return is_any_below(rx, table, account, below);
    }
    let mut after = None;
    loop {
        let found = names(rx, table, account, below, after.as_deref())?;
        let Some(last) = found.last() else { return Ok(false) };
        after = Some(last.clone());
        for name in found {
            let id = whole(super::query::mailbox_id(rx, account, &name))?.flatten();
            if special_use(rx, id)?.is_some() {
                return Ok(true);
            }
        }
    }
}
