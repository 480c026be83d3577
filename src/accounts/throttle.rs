//! Failed logins are answered later and later: for a pair of address and account from the second on, for an address alone
//! only after twenty; by at most three seconds. Nobody is ever locked out, and nothing here grows: two fixed tables, in which
//! the least offender makes room. Time is an argument.

use crate::store::AccountId;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The longest any login waits for its answer because of failures before it.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(3);
/// Delays after one, two, three failures of a pair; after more it is [`DELAY_MAX`].
const PAIR_DELAYS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// Failures of an address before it is slowed whatever the account: an office or a home has one address.
const ADDRESS_FAILURES_FREE: u8 = 20;
/// Delays after so many and each further five; after more it is [`DELAY_MAX`].
const ADDRESS_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// Failures are forgotten after so long without a further one.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);

const PAIRS: usize = 1_024;
const ADDRESSES: usize = 512;
const WAYS: usize = 8;

const _: () = assert!(PAIRS.is_multiple_of(WAYS) && ADDRESSES.is_multiple_of(WAYS));

#[derive(Debug)]
pub(super) struct Throttle {
    random: RandomState,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    pairs: Box<[Slot]>,
    addresses: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    last_wrong: u64,
    latest: Duration,
    failures: u8,
}

const EMPTY: Slot = Slot { key: 0, last_wrong: 0, latest: Duration::ZERO, failures: 0 };

/// Who tries to be whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pair: u64,
    address: u64,
}

impl Throttle {
    pub(super) fn new() -> Self {
        let tables = Tables {
            pairs: vec![EMPTY; PAIRS].into_boxed_slice(),
            addresses: vec![EMPTY; ADDRESSES].into_boxed_slice(),
        };
        Self { random: RandomState::new(), tables: Mutex::new(tables) }
    }

    /// The pair of an address and an account; a name that is no account's stands for itself.
    pub(super) fn who(&self, peer: IpAddr, account: Option<AccountId>, name: &[u8]) -> Who {
        let network = network(peer);
        let name = if account.is_some() { b"" } else { name };
        Who { pair: self.random.hash_one((network, account, name)), address: self.random.hash_one(network) }
    }

    /// How long a login of `who` must have waited by now, because of failures before it.
    pub(super) fn delay(&self, who: Who, now: Duration) -> Duration {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = match usize::from(failures(&tables.pairs, who.pair, now)) {
            0 => Duration::ZERO,
            failures => PAIR_DELAYS.get(failures - 1).copied().unwrap_or(DELAY_MAX),
        };
        let address = match failures(&tables.addresses, who.address, now).checked_sub(ADDRESS_FAILURES_FREE) {
            None => Duration::ZERO,
            Some(over) => ADDRESS_DELAYS.get(usize::from(over / 5)).copied().unwrap_or(DELAY_MAX),
        };
        pair.max(address)
    }

    /// Whether this pair has no failure on record.
    pub(super) fn is_clean(&self, who: Who, now: Duration) -> bool {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        failures(&tables.pairs, who.pair, now) == 0
    }

    /// Records a failure; `wrong` stands for the password. A program that has kept an old password and tries it all day
    /// counts once against its address, so that it does not slow everybody behind the same router.
    pub(super) fn failed(&self, who: Who, wrong: u64, now: Duration) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = match count(&mut tables.pairs, who.pair, now) {
            Some(pair) => {
                let is_new = pair.failures == 1 || pair.last_wrong != wrong;
                pair.last_wrong = wrong;
                is_new
            }
            None => true,
        };
        if is_new {
            count(&mut tables.addresses, who.address, now);
        }
    }

    /// Records that the pair got it right.
    pub(super) fn succeeded(&self, who: Who) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = set_of(&mut tables.pairs, who.pair).iter_mut().find(|slot| slot.key == who.pair) {
            *slot = EMPTY;
        }
    }
}

/// IPv6 hosts have a /64 to themselves; IPv4 ones count alone, mapped or not.
fn network(peer: IpAddr) -> u64 {
    match peer.to_canonical() {
        IpAddr::V4(peer) => u64::from(peer.to_bits()),
        IpAddr::V6(peer) => u64::try_from(peer.to_bits() >> 64).unwrap_or_default() | 1 << 63,
    }
}

fn failures(slots: &[Slot], key: u64, now: Duration) -> u8 {
    let sets = slots.len() / WAYS;
    let set = slots.chunks_exact(WAYS).nth(place(key, sets)).unwrap_or_default();
    set.iter().find(|slot| slot.key == key && slot.is_remembered(now)).map_or(0, |slot| slot.failures)
}

/// Counts one more failure for `key`, in its own slot or in that of the least offender.
fn count(slots: &mut [Slot], key: u64, now: Duration) -> Option<&mut Slot> {
    let rank = |slot: &&mut Slot| (slot.key != key, slot.is_remembered(now), slot.failures, slot.latest);
    let slot = set_of(slots, key).iter_mut().min_by_key(rank)?;
    if slot.key != key || !slot.is_remembered(now) {
        *slot = Slot { key, ..EMPTY };
    }
    slot.failures = slot.failures.saturating_add(1);
    slot.latest = now;
    Some(slot)
}

fn set_of(slots: &mut [Slot], key: u64) -> &mut [Slot] {
    let sets = slots.len() / WAYS;
    slots.chunks_exact_mut(WAYS).nth(place(key, sets)).unwrap_or_default()
}

fn place(key: u64, sets: usize) -> usize {
    usize::try_from(key % sets as u64).unwrap_or_default()
}

impl Slot {
    fn is_remembered(&self, now: Duration) -> bool {
        self.failures > 0 && now.saturating_sub(self.latest) < FORGOTTEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5_000);
    const HOME: [u8; 4] = [192, 0, 2, 7];

    #[test]
    fn a_pair_waits_from_the_second_failure_on_and_never_beyond_three_seconds() {
        let throttle = Throttle::new();
        let who = throttle.who(HOME.into(), Some(AccountId(1)), b"alice");
        let mut delays = Vec::new();
        for _ in 0..300 {
            delays.push(throttle.delay(who, NOW));
            throttle.failed(who, 1, NOW);
        }
        assert_eq!(delays[0], Duration::ZERO, "the first failure is answered at once");
        assert!(delays[1] > Duration::ZERO, "the second is not");
        assert!(delays.is_sorted(), "later and later");
        assert_eq!(delays[299], DELAY_MAX);
        let other = throttle.who(HOME.into(), Some(AccountId(2)), b"bob");
        assert_eq!(throttle.delay(other, NOW), Duration::ZERO, "another account at the same address does not wait");
    }

    #[test]
    fn an_address_waits_only_after_twenty_failures() {
        let throttle = Throttle::new();
        for n in 0..20 {
            let fresh = throttle.who(HOME.into(), None, format!("guess{n}").as_bytes());
            assert_eq!(throttle.delay(fresh, NOW), Duration::ZERO, "after {n}");
            throttle.failed(fresh, 1, NOW);
        }
        let fresh = throttle.who(HOME.into(), None, b"another");
        assert!(throttle.delay(fresh, NOW) > Duration::ZERO);
        assert!(throttle.is_clean(fresh, NOW));
        let elsewhere = throttle.who([192, 0, 2, 8].into(), None, b"another");
        assert_eq!(throttle.delay(elsewhere, NOW), Duration::ZERO);
    }

    #[test]
    fn one_stale_password_tried_all_day_counts_once_against_its_address() {
        let throttle = Throttle::new();
        let phone = throttle.who(HOME.into(), Some(AccountId(1)), b"");
        for _ in 0..100 {
            throttle.failed(phone, 77, NOW);
        }
        let laptop = throttle.who(HOME.into(), Some(AccountId(2)), b"");
        assert_eq!(throttle.delay(laptop, NOW), Duration::ZERO);
    }

    #[test]
    fn success_and_time_clear_the_pair() {
        let throttle = Throttle::new();
        let who = throttle.who(HOME.into(), Some(AccountId(1)), b"");
        throttle.failed(who, 1, NOW);
        throttle.failed(who, 2, NOW);
        throttle.succeeded(who);
        assert_eq!(throttle.delay(who, NOW), Duration::ZERO);
        throttle.failed(who, 1, NOW);
        throttle.failed(who, 2, NOW);
        assert_eq!(throttle.delay(who, NOW + FORGOTTEN), Duration::ZERO);
    }

    #[test]
    fn an_ipv6_host_counts_by_its_64_and_a_mapped_address_by_its_ipv4() {
        let throttle = Throttle::new();
        let who = |text: &str| throttle.who(text.parse().unwrap(), None, b"x").address;
        assert_eq!(who("2001:db8:0:1::1"), who("2001:db8:0:1:ffff::2"));
        assert_ne!(who("2001:db8:0:1::1"), who("2001:db8:0:2::1"));
        assert_eq!(who("::ffff:192.0.2.7"), who("192.0.2.7"));
    }

    #[test]
    fn a_flood_of_strangers_does_not_wash_a_persistent_offender_away() {
        let throttle = Throttle::new();
        let offender = throttle.who(HOME.into(), Some(AccountId(1)), b"");
        for n in 0..5 {
            throttle.failed(offender, n, NOW);
        }
        for n in 0..20_000u32 {
            throttle.failed(throttle.who(IpAddr::V4(n.into()), None, b"x"), 1, NOW);
        }
        assert_eq!(throttle.delay(offender, NOW), DELAY_MAX);
    }
}
