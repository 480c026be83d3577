//! Verified logins, remembered for a quarter of an hour, because mail programs log in all day and a hash costs a board a
//! good part of a second. Holds keyed MACs under a key of this process, never a password.
//!
//! The MAC covers the stored secrets too: a password set anew makes the entry worthless without anybody telling the cache.

use super::secrets::same;
use crate::base::Secret;
use crate::store::Account;
use ring::{hmac, rand};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a verified login is remembered.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// Entries in all, and those among which an account's place is.
const ENTRIES: usize = 512;
const WAYS: usize = 8;
/// Octets kept of each MAC: 128 bits.
const TAG_BYTES: usize = 16;

const _: () = assert!(ENTRIES.is_multiple_of(WAYS));

#[derive(Debug)]
pub(super) struct LoginCache {
    key: hmac::Key,
    entries: Mutex<Box<[Entry]>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: [u8; TAG_BYTES],
    account: u32,
    until: Duration,
}

const EMPTY: Entry = Entry { tag: [0; TAG_BYTES], account: 0, until: Duration::ZERO };

/// A login as the cache knows it: account, stored secrets and password under the process's key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag([u8; TAG_BYTES]);

impl Tag {
    /// A number for telling passwords apart elsewhere.
    pub(super) fn short(&self) -> u64 {
        self.0.iter().take(8).fold(0, |number, octet| (number << 8) | u64::from(*octet))
    }
}

impl LoginCache {
    pub(super) fn new() -> io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        let key = key.map_err(|_| io::Error::other("the system gives no randomness"))?;
        Ok(Self { key, entries: Mutex::new(vec![EMPTY; ENTRIES].into_boxed_slice()) })
    }

    /// What stands for this login; without an account, for this password tried on nobody.
    pub(super) fn tag(&self, account: Option<&Account>, password: &Secret) -> Tag {
        let mut mac = hmac::Context::with_key(&self.key);
        if let Some(account) = account {
            mac.update(&account.id.0.to_le_bytes());
            mac.update(&(account.secrets.len() as u64).to_le_bytes());
            mac.update(&account.secrets);
        }
        mac.update(password.expose());
        let mut tag = [0; TAG_BYTES];
        for (to, from) in tag.iter_mut().zip(mac.sign().as_ref()) {
            *to = *from;
        }
        Tag(tag)
    }

    /// Whether this login was verified in the last quarter of an hour.
    pub(super) fn knows(&self, account: &Account, tag: &Tag, now: Duration) -> bool {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let set = set_of(&mut entries, account);
        set.iter().any(|entry| entry.account == account.id.0 && now < entry.until && same(&entry.tag, &tag.0))
    }

    /// Remembers a verified login; one for each account.
    pub(super) fn remember(&self, account: &Account, tag: &Tag, now: Duration) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let set = set_of(&mut entries, account);
        // The account's own place, else the one that ends first; an empty one ended at the beginning.
        let place = set.iter_mut().min_by_key(|entry| (entry.account != account.id.0, entry.until));
        if let Some(place) = place {
            *place = Entry { tag: tag.0, account: account.id.0, until: now.saturating_add(REMEMBERED) };
        }
    }
}

fn set_of<'a>(entries: &'a mut [Entry], account: &Account) -> &'a mut [Entry] {
    let set = account.id.0 as usize % (ENTRIES / WAYS);
    entries.chunks_exact_mut(WAYS).nth(set).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::AccountId;

    const NOW: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_verified_login_is_known_for_a_quarter_of_an_hour() {
        let (cache, alice) = (LoginCache::new().unwrap(), account(1, b"hash"));
        let tag = cache.tag(Some(&alice), &secret("right"));
        assert!(!cache.knows(&alice, &tag, NOW));
        cache.remember(&alice, &tag, NOW);
        assert!(cache.knows(&alice, &tag, NOW + Duration::from_secs(899)));
        assert!(!cache.knows(&alice, &tag, NOW + Duration::from_secs(900)));
        assert!(!cache.knows(&alice, &cache.tag(Some(&alice), &secret("wrong")), NOW));
    }

    #[test]
    fn new_secrets_make_the_entry_worthless() {
        let cache = LoginCache::new().unwrap();
        let (before, after) = (account(1, b"hash"), account(1, b"HASH"));
        cache.remember(&before, &cache.tag(Some(&before), &secret("right")), NOW);
        assert!(!cache.knows(&after, &cache.tag(Some(&after), &secret("right")), NOW));
    }

    #[test]
    fn another_account_with_the_same_password_is_not_known() {
        let cache = LoginCache::new().unwrap();
        let (alice, bob) = (account(1, b"hash"), account(65, b"hash"));
        cache.remember(&alice, &cache.tag(Some(&alice), &secret("right")), NOW);
        assert!(!cache.knows(&bob, &cache.tag(Some(&bob), &secret("right")), NOW));
    }

    #[test]
    fn the_table_does_not_grow_and_the_oldest_of_a_full_set_goes() {
        let cache = LoginCache::new().unwrap();
        let ids: Vec<u32> = (0..=WAYS as u32).map(|n| 3 + n * (ENTRIES / WAYS) as u32).collect();
        for (at, id) in ids.iter().enumerate() {
            let one = account(*id, b"hash");
            let now = NOW + Duration::from_secs(at as u64);
            cache.remember(&one, &cache.tag(Some(&one), &secret("right")), now);
        }
        let known = |id: &u32| {
            let one = account(*id, b"hash");
            cache.knows(&one, &cache.tag(Some(&one), &secret("right")), NOW)
        };
        assert_eq!(ids.iter().map(known).collect::<Vec<_>>(), [false, true, true, true, true, true, true, true, true]);
    }

    fn account(id: u32, secrets: &[u8]) -> Account {
        Account { id: AccountId(id), address: "alice@example.org".into(), secrets: secrets.to_vec() }
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }
}
