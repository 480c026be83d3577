//! Whose mail an address is: accounts, aliases of aliases, plus-addressing, catch-all, postmaster. Every chain is bounded and
//! no circle is followed twice.

use super::Accounts;
use super::name::{fold, without_tag};
use crate::mail::Address;
use crate::store::{AccountId, Refusal, TARGETS_MAX};
use std::collections::BTreeSet;

/// Aliases of aliases are followed so far.
const ALIAS_DEPTH_MAX: usize = 10;
/// RFC 5321 4.5.1: every domain has one, whatever its case.
const POSTMASTER: &str = "postmaster";

/// Where mail for an address goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// To these accounts, at least one, each once.
    Local(Vec<AccountId>),
    /// The domain is served here and nobody has that name.
    NoSuchUser,
    /// The domain is not served here.
    NotLocal,
}

/// What one address is, without following it further.
enum Found {
    Account(AccountId),
    Alias(String, Vec<String>),
    Nothing,
}

impl Accounts {
    /// Whose mail `address` is. For `<postmaster>` without a domain see [`Accounts::postmaster`].
    pub async fn resolve(&self, address: &Address) -> Result<Recipient, Refusal> {
        self.resolve_parts(&fold(address.local()), &fold(address.domain())).await
    }

    /// Whether an account may send as `address`: those whose mail it gets.
    pub async fn may_send_as(&self, id: AccountId, address: &Address) -> Result<bool, Refusal> {
        Ok(match self.resolve(address).await? {
            Recipient::Local(accounts) => accounts.contains(&id),
            Recipient::NoSuchUser | Recipient::NotLocal => false,
        })
    }

    /// Whose mail an address is, given as a local part and a domain in lower case.
    pub(super) async fn resolve_parts(&self, local: &str, domain: &str) -> Result<Recipient, Refusal> {
        if !self.0.store.has_domain(domain).await? {
            return Ok(Recipient::NotLocal);
        }
        let mut accounts = BTreeSet::new();
        let mut followed = BTreeSet::new();
        let mut here = vec![(local.to_owned(), domain.to_owned())];
        for _ in 0..=ALIAS_DEPTH_MAX {
            let mut next = Vec::new();
            for (local, domain) in here {
                match self.find(&local, &domain).await? {
                    Found::Account(id) => drop(accounts.insert(id)),
                    Found::Alias(name, targets) => {
                        if followed.insert(name) {
                            next.extend(targets.iter().filter_map(|target| split(target)));
                        }
                    }
                    Found::Nothing => (),
                }
            }
            if accounts.len() > TARGETS_MAX || followed.len() > TARGETS_MAX || next.len() > TARGETS_MAX {
                return Err(Refusal::Limit);
            }
            if next.is_empty() {
                break;
            }
            here = next;
        }
        Ok(match accounts.is_empty() {
            true => Recipient::NoSuchUser,
            false => Recipient::Local(accounts.into_iter().collect()),
        })
    }

    /// The account or alias of this name, else of the name without its tag, else the domain's catch-all, else, for
    /// `postmaster`, the first account of all.
    async fn find(&self, local: &str, domain: &str) -> Result<Found, Refusal> {
        for name in [Some(local), without_tag(local)].into_iter().flatten() {
            let address = format!("{name}@{domain}");
            if let Some(account) = self.0.store.account(&address).await? {
                return Ok(Found::Account(account.id));
            }
            if let Some(targets) = self.0.store.alias(&address).await? {
                return Ok(Found::Alias(address, targets));
            }
        }
        let catch_all = format!("@{domain}");
        if let Some(targets) = self.0.store.alias(&catch_all).await? {
            return Ok(Found::Alias(catch_all, targets));
        }
        if local == POSTMASTER && self.0.store.has_domain(domain).await? {
            let first = self.0.store.accounts(None, 1).await?;
            return Ok(first.first().map_or(Found::Nothing, |account| Found::Account(account.id)));
        }
        Ok(Found::Nothing)
    }

    /// Whose mail that for `<postmaster>` without a domain is (RFC 5321 4.5.1): that of the first account's domain.
    pub async fn postmaster(&self) -> Result<Recipient, Refusal> {
        let first = self.0.store.accounts(None, 1).await?;
        match first.first().and_then(|account| split(&account.address)) {
            Some((_, domain)) => self.resolve_parts(POSTMASTER, &domain).await,
            None => Ok(Recipient::NoSuchUser),
        }
    }
}

/// Local part and domain of a stored address.
pub(super) fn split(address: &str) -> Option<(String, String)> {
    let (local, domain) = address.rsplit_once('@')?;
    Some((local.to_owned(), domain.to_owned()))
}
