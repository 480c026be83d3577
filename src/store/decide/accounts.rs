//! Decisions about domains, accounts and aliases.

use super::Step;
use crate::store::apply::domain_of;
use crate::store::event::{Event, NewMailbox};
use crate::store::index::Read;
use crate::store::keys::{T, key_u32};
use crate::store::query::{self, Fault};
use crate::store::types::*;

/// Adds a domain.
pub(crate) fn domain_add(step: &mut Step<'_, '_>, name: String) -> Result<(), Fault> {
    step.needs_room()?;
    if query::domain(step.tx, &name)?.is_some() {
        return Err(Refusal::Exists.into());
    }
    step.happen(&Event::DomainAdded { name })
}

/// Removes a domain that nothing is in.
pub(crate) fn domain_remove(step: &mut Step<'_, '_>, name: String) -> Result<(), Fault> {
    match query::domain(step.tx, &name)? {
        None => Err(Refusal::NotFound.into()),
        Some(0) => step.happen(&Event::DomainRemoved { name }),
        Some(_) => Err(Refusal::NotAllowed.into()),
    }
}

fn is_taken(step: &mut Step<'_, '_>, address: &str) -> Result<bool, Fault> {
    Ok(step.tx.has(T::Addresses, address.as_bytes())? || step.tx.has(T::Aliases, address.as_bytes())?)
}

/// Adds an account.
pub(crate) fn account_add(
    step: &mut Step<'_, '_>,
    address: String,
    secrets: Vec<u8>,
    mailboxes: Vec<(String, Option<SpecialUse>)>,
) -> Result<AccountId, Fault> {
    step.needs_room()?;
    if domain_of(&address).is_empty() {
        return Err(Refusal::NotAllowed.into());
    }
    if is_taken(step, &address)? {
        return Err(Refusal::Exists.into());
    }
    let state = step.tx.state()?;
    let id = AccountId(state.account_next);
    let mailboxes = (state.mailbox_next..)
        .zip(state.uid_validity_next..)
        .zip(mailboxes)
        .map(|((id, uid_validity), (name, special_use))| NewMailbox {
            id: MailboxId(id),
            uid_validity: UidValidity(uid_validity),
            name,
            special_use,
        })
        .collect();
    step.happen(&Event::AccountAdded { id, address, secrets, mailboxes })?;
    Ok(id)
}

/// Gives an account new secrets.
pub(crate) fn account_secrets(step: &mut Step<'_, '_>, id: AccountId, secrets: Vec<u8>) -> Result<(), Fault> {
    if !step.tx.has(T::Accounts, &key_u32(id.0))? {
        return Err(Refusal::NotFound.into());
    }
    step.happen(&Event::AccountSecrets { id, secrets })
}

/// Removes an account; its mailboxes go in steps afterwards.
pub(crate) fn account_remove(step: &mut Step<'_, '_>, id: AccountId) -> Result<(), Fault> {
    if !step.tx.has(T::Accounts, &key_u32(id.0))? {
        return Err(Refusal::NotFound.into());
    }
    step.happen(&Event::AccountRemoved { id })
}

/// Adds an alias.
pub(crate) fn alias_add(step: &mut Step<'_, '_>, address: String, targets: Vec<String>) -> Result<(), Fault> {
    step.needs_room()?;
    if domain_of(&address).is_empty() || targets.is_empty() {
        return Err(Refusal::NotAllowed.into());
    }
    if is_taken(step, &address)? {
        return Err(Refusal::Exists.into());
    }
    step.happen(&Event::AliasAdded { address, targets })
}

/// Removes an alias.
pub(crate) fn alias_remove(step: &mut Step<'_, '_>, address: String) -> Result<(), Fault> {
    if !step.tx.has(T::Aliases, address.as_bytes())? {
        return Err(Refusal::NotFound.into());
    }
    step.happen(&Event::AliasRemoved { address })
}
