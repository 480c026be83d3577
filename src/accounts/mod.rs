//! Who may log in, and whose mail an address is. Passwords are argon2id hashes, one computed at a time; verified logins
//! are remembered for a quarter of an hour; failed ones are answered later and later, and no account is ever locked.
//! Keeps no state of its own on the disk: accounts, aliases and domains are the store's.

mod cache;
mod error;
mod hasher;
mod login;
mod manage;
mod name;
mod password;
mod resolve;
mod secrets;
mod sessions;
mod throttle;

pub use error::Error;
pub use login::{Login, LoginError};
pub use manage::MAILBOXES;
pub use password::{Weakness, generated_password, weakness};
pub use resolve::Recipient;

use crate::base::Clock;
use crate::store::Store;
use std::io;
use std::sync::Arc;

/// The accounts of a server: cheap to clone, all clones share one login cache and one throttle.
#[derive(Clone, Debug)]
pub struct Accounts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    hasher: hasher::Hasher,
    cache: cache::LoginCache,
    throttle: throttle::Throttle,
    sessions: sessions::Sessions,
}

impl Accounts {
    /// The accounts in `store`. Starts the one thread that computes password hashes.
    pub fn new(store: Store, clock: Clock) -> io::Result<Self> {
        let hasher = hasher::Hasher::new()?;
        let (cache, throttle) = (cache::LoginCache::new()?, throttle::Throttle::new());
        Ok(Self(Arc::new(Inner { store, clock, hasher, cache, throttle, sessions: sessions::Sessions::default() })))
    }
}
