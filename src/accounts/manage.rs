//! Domains, accounts and aliases added, changed and removed, by the person who runs the server.

use super::name::{self, fold};
use super::resolve::{Recipient, split};
use super::{Accounts, Error, password};
use crate::base::Secret;
use crate::store::{Account, AccountId, Refusal, SpecialUse, TARGETS_MAX};

/// What a new account starts with, all subscribed (RFC 6154 for what each is for).
pub const MAILBOXES: [(&str, Option<SpecialUse>); 6] = [
    ("INBOX", None),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Sent", Some(SpecialUse::Sent)),
    ("Junk", Some(SpecialUse::Junk)),
    ("Trash", Some(SpecialUse::Trash)),
    ("Archive", Some(SpecialUse::Archive)),
];

impl Accounts {
    /// Serves a further domain.
    pub async fn domain_add(&self, domain: &str) -> Result<(), Error> {
        let name = name::domain(domain)?;
        self.0.store.domain_add(&name).await.map_err(|refusal| named(refusal, "domain", name))
    }

    /// No longer serves a domain; it must have neither accounts nor aliases.
    pub async fn domain_remove(&self, domain: &str) -> Result<(), Error> {
        let name = fold(domain);
        self.0.store.domain_remove(&name).await.map_err(|refusal| match refusal {
            Refusal::NotAllowed => Error::DomainInUse(name),
            other => named(other, "domain", name),
        })
    }

    /// The domains served, sorted.
    pub async fn domains(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.store.domains().await?)
    }

    /// Adds an account with the mailboxes of [`MAILBOXES`], and its domain if that is new.
    pub async fn account_add(&self, address: &str, password: &Secret) -> Result<AccountId, Error> {
        let address = name::address(address)?;
        let secrets = {
            password::check(password)?;
            if self.0.store.alias(&address).await?.is_some() {
                return Err(Error::Exists { kind: "alias", name: address });
            }
            if self.0.store.account(&address).await?.is_some() {
                return Err(Error::Exists { kind: "account", name: address });
            }
            self.secrets(password).await?
        };
        let added = self.0.store.account_add(&address, secrets, &MAILBOXES).await;
        added.map_err(|refusal| named(refusal, "account", address))
    }

    /// Gives an account a new password. Remembered logins with the old one are worth nothing from here on, and its
    /// sessions end.
    pub async fn set_password(&self, address: &str, password: &Secret) -> Result<(), Error> {
        password::check(password)?;
        let account = self.account(address).await?;
        let secrets = self.secrets(password).await?;
        let changed = self.0.store.account_secrets(account.id, secrets).await;
        changed.map_err(|refusal| named(refusal, "account", account.address))?;
        self.0.sessions.end(account.id);
        Ok(())
    }

    /// Removes an account with everything in it, and ends its sessions.
    pub async fn account_remove(&self, address: &str) -> Result<(), Error> {
        let account = self.account(address).await?;
        let removed = self.0.store.account_remove(account.id).await;
        removed.map_err(|refusal| named(refusal, "account", account.address))?;
        self.0.sessions.end(account.id);
        Ok(())
    }

    /// The account of this very address.
    pub async fn account(&self, address: &str) -> Result<Account, Error> {
        let name = fold(address);
        let account = self.0.store.account(&name).await?;
        account.ok_or(Error::NotFound { kind: "account", name })
    }

    /// Accounts with numbers above `after`, ascending, at most `max`.
    pub async fn accounts(&self, after: Option<AccountId>, max: usize) -> Result<Vec<Account>, Error> {
        Ok(self.0.store.accounts(after, max).await?)
    }

    /// Adds an alias (`name@domain`, or `@domain` for whatever else comes to the domain), and its domain if that is new.
    /// Its targets must be addresses that exist here.
    pub async fn alias_add(&self, address: &str, targets: &[impl AsRef<str>]) -> Result<(), Error> {
        let address = name::alias(address)?;
        if self.0.store.account(&address).await?.is_some() {
            return Err(Error::Exists { kind: "account", name: address });
        }
        if targets.is_empty() || targets.len() > TARGETS_MAX {
            return Err(Error::TargetCount);
        }
        let mut names: Vec<String> = Vec::with_capacity(targets.len());
        for target in targets {
            let name = name::address(target.as_ref())?;
            if !self.exists(&name).await? {
                return Err(Error::BadTarget(name));
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let added = self.0.store.alias_add(&address, &names).await;
        added.map_err(|refusal| named(refusal, "alias", address))
    }

    /// Removes an alias.
    pub async fn alias_remove(&self, address: &str) -> Result<(), Error> {
        let name = fold(address);
        self.0.store.alias_remove(&name).await.map_err(|refusal| named(refusal, "alias", name))
    }

    /// Aliases that sort after `after` with their targets, at most `max`.
    pub async fn aliases(&self, after: Option<&str>, max: usize) -> Result<Vec<(String, Vec<String>)>, Error> {
        Ok(self.0.store.aliases(after, max).await?)
    }

    async fn exists(&self, address: &str) -> Result<bool, Error> {
        let Some((local, domain)) = split(address) else {
            return Ok(false);
        };
        Ok(match self.resolve_parts(&local, &domain).await? {
            Recipient::Local(_) => true,
            Recipient::NoSuchUser | Recipient::NotLocal => false,
        })
    }

    async fn secrets(&self, password: &Secret) -> Result<Vec<u8>, Error> {
        let secrets = self.0.hasher.secrets(password.clone()).await;
        Ok(secrets.ok_or(Error::Store(Refusal::NoMemory))?.encode())
    }
}

/// A refusal about one thing, with its name.
fn named(refusal: Refusal, kind: &'static str, name: String) -> Error {
    match refusal {
        Refusal::Exists => Error::Exists { kind, name },
        Refusal::NotFound => Error::NotFound { kind, name },
        other => Error::Store(other),
    }
}
