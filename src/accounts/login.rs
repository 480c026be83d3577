//! A login: the name looked up, the wait that failures have earned, the cache, and one hash; the same work whether the
//! account exists or not.

use super::Accounts;
use super::cache::Tag;
use super::hasher::Turn;
use super::name::fold;
use super::password;
use super::secrets::Secrets;
use super::throttle::Who;
use crate::base::{Secret, Stop};
use crate::store::{Account, AccountId, Refusal};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A name longer than this is no account's: RFC 5321 4.5.3.1 and the @ between.
const NAME_OCTETS_MAX: usize = 64 + 1 + 255;

/// Somebody who has shown the right password.
#[derive(Clone, Debug)]
pub struct Login {
    /// The account.
    pub id: AccountId,
    /// Its address.
    pub address: String,
    /// Given when the account is removed or its password changes: give it to the session's wire.
    pub ended: Arc<Stop>,
}

/// Why a login was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// No such account, or not its password: which of them is not told.
    Wrong,
    /// It could not be found out now.
    TryLater,
}

impl From<Refusal> for LoginError {
    fn from(refusal: Refusal) -> Self {
        log::warn!("a login could not be checked: {refusal:?}");
        Self::TryLater
    }
}

impl Accounts {
    /// Logs `name` in: a full address, or its local part while that is unambiguous among the served domains; case means
    /// nothing, and the password's octets are taken as they are. After failures before it the answer comes later, by at
    /// most three seconds, right or wrong.
    pub async fn login(&self, name: &[u8], password: &Secret, peer: IpAddr) -> Result<Login, LoginError> {
        let account = match password::check(password) {
            Ok(()) => self.account_named(name).await?,
            Err(_) => None, // No account has such a password.
        };
        let tag = self.0.cache.tag(account.as_ref(), password);
        let who = self.0.throttle.who(peer, account.as_ref().map(|account| account.id), name);
        let (is_right, turn) = self.is_right(account.as_ref(), password, &tag, who).await?;
        if is_right {
            self.0.throttle.succeeded(who);
        } else {
            self.0.throttle.failed(who, tag.short(), self.0.clock.monotonic());
        }
        drop(turn); // Only now may the next one look at what has failed.
        match account.filter(|_| is_right) {
            Some(account) => self.admit(account).await,
            None => Err(LoginError::Wrong),
        }
    }

    /// Whether the password is right; after a hash, with the turn that it took.
    async fn is_right(
        &self,
        account: Option<&Account>,
        password: &Secret,
        tag: &Tag,
        who: Who,
    ) -> Result<(bool, Option<Turn>), LoginError> {
        let is_known = || account.is_some_and(|account| self.0.cache.knows(account, tag, self.0.clock.monotonic()));
        if self.0.throttle.is_clean(who, self.0.clock.monotonic()) && is_known() {
            return Ok((true, None)); // Whoever else fails at this address, a program that is known is served at once.
        }
        let Some(turn) = self.turn_after_delay(who, &is_known).await else {
            return Ok((true, None));
        };
        let secrets = account.and_then(|account| Secrets::decode(&account.secrets));
        let checked = self.0.hasher.fits(turn, secrets, password.clone()).await;
        let (fits, turn) = checked.ok_or(LoginError::TryLater)?;
        if let Some(account) = account.filter(|_| fits) {
            self.0.cache.remember(account, tag, self.0.clock.monotonic());
        }
        Ok((fits, Some(turn)))
    }

    /// Waits as long as failures demand, and then for the turn to hash. Failures that happened meanwhile, on other
    /// connections, count too: trying on many at once gains nothing. `None` as soon as the login is known to be right, as
    /// when a program opens five connections at once and the first has been checked.
    async fn turn_after_delay(&self, who: Who, is_known: &impl Fn() -> bool) -> Option<Turn> {
        let mut waited = Duration::ZERO;
        loop {
            // Ends: `waited` only grows, and no delay is longer than three seconds.
            let demanded = self.0.throttle.delay(who, self.0.clock.monotonic());
            if let Some(rest) = demanded.checked_sub(waited).filter(|rest| !rest.is_zero()) {
                self.0.clock.sleep(rest).await;
                waited = demanded;
                continue;
            }
            if is_known() {
                return None;
            }
            let turn = self.0.hasher.turn().await;
            if is_known() {
                return None;
            }
            if self.0.throttle.delay(who, self.0.clock.monotonic()) <= waited {
                return Some(turn);
            }
        }
    }

    /// Lets a session begin, unless the account or its password changed while it was being checked. The signal is taken
    /// before the second look and given after the change was stored, so one of the two ends the session.
    async fn admit(&self, account: Account) -> Result<Login, LoginError> {
        let ended = self.0.sessions.signal(account.id);
        let same = self.0.store.account_by_id(account.id).await?.filter(|now| now.secrets == account.secrets);
        match same {
            Some(account) => Ok(Login { id: account.id, address: account.address, ended }),
            None => Err(LoginError::Wrong),
        }
    }

    async fn account_named(&self, name: &[u8]) -> Result<Option<Account>, Refusal> {
        let Ok(name) = std::str::from_utf8(name) else {
            return Ok(None);
        };
        if name.is_empty() || name.len() > NAME_OCTETS_MAX {
            return Ok(None);
        }
        let name = fold(name);
        if name.contains('@') {
            return self.0.store.account(&name).await;
        }
        let mut accounts = self.0.store.accounts_by_local_part(&name).await?;
        let first = accounts.pop();
        Ok(first.filter(|_| accounts.is_empty()))
    }
}
