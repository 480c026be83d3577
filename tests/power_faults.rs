//! Disks that fail instead of losing power: a write or a sync that fails never leads to an acknowledgement, the store stays
//! readable, says what happened, and goes on without a restart once the disk does; nothing acknowledged is lost by a kill or
//! a power cut afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    dead_code,
    reason = "a test that cannot go on may stop"
)]

#[path = "support/client.rs"]
mod client;
mod power;
mod store_support;
#[path = "support/world.rs"]
mod world;

use pigeon::base::{Budget, Clock};
use pigeon::store::sim::{Cut, Fault, SimDisk, Tear};
use power::facts::Facts;
use power::life::{Dice, Life, Manner, Time};
use power::look::look;
use std::io::ErrorKind;

/// Rounds on a failing disk, at the most.
const ROUNDS_MAX: usize = 40;

/// Two rounds on a sound disk, some on one that fails so until it did, and two once it does not any more; then a kill and a power
/// cut.
fn lives_through(fault: Fault, seed: u64) {
    let what = format!("{fault:?}, seed {seed}");
    let mut dice = Dice(seed);
    let mut manner = Manner::of(&mut dice, true, Time::Ordinary);
    if seed.is_multiple_of(2) || matches!(fault, Fault::Read(_) | Fault::ReadEio(_)) {
        // So that the index reads from the disk.
        manner.options.index_cache_bytes = 0;
    }
    let must = |done: Result<_, String>| done.unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
    let mut life = Life::begin(SimDisk::new(), Facts::default(), &manner, dice).unwrap();
    for _ in 0..2 {
        must(life.round());
    }
    life.may_fail = true;
    life.disk.fail(fault);
    let (is_full, before) = (matches!(fault, Fault::Full), life.disk.counters());
    let (mut has_failed, mut rounds) = (false, 0);
    while rounds < 2 || (!has_failed && rounds < ROUNDS_MAX) {
        rounds += 1;
        life.connect();
        must(life.round());
        if is_full {
            let changed = smol::block_on(async {
                life.store().take_turns(false);
                let changed = store_change(&life).await;
                life.store().take_turns(true);
                changed
            });
            let stats = smol::block_on(life.store().stats()).unwrap();
            assert!(changed || stats.read_only.is_some(), "{what}: a full disk is not told");
        }
        let did = life.disk.counters() - before;
        has_failed = match fault {
            Fault::Operation(n, _) => did.operations > n,
            Fault::Sync(n) | Fault::SyncKept(n) => did.syncs > n,
            Fault::Read(n) | Fault::ReadEio(n) => did.reads > n,
            Fault::Full | Fault::FullIn(_) => did.full > 0,
        };
    }
    assert!(has_failed, "{what}: it never failed");
    life.disk.heal();
    life.keep_house();
    life.may_fail = false;
    life.connect();
    for _ in 0..2 {
        must(life.round());
    }
    let stats = smol::block_on(life.store().stats()).unwrap();
    assert_eq!(stats.read_only, None, "{what}");
    let (facts, disk) = (life.book.facts(), life.disk.clone());
    for after in [disk.revive(), disk.reboot(Cut::Nothing), disk.reboot(Cut::Some(Tear::Sector, seed))] {
        let (clock, _) = Clock::simulated(0);
        let store =
            manner.open(&after, clock, Budget::new(16 << 20)).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let seen = smol::block_on(look(&store, None)).unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
        after.stop();
        must(facts.check(&seen).map(|_| power::look::Seen::default()));
    }
}

/// Something that needs no more room than a deletion does.
async fn store_change(life: &Life) -> bool {
    let store = life.store();
    let id = power::look::id(store, "alice@example.org").await.unwrap();
    store.subscribe(id, "INBOX", true).await.is_ok()
}

#[test]
fn a_failed_operation_is_refused_and_the_store_goes_on() {
    for n in 0..24 {
        lives_through(Fault::Operation(n, ErrorKind::Other), n);
        lives_through(Fault::Operation(n, ErrorKind::StorageFull), n);
    }
}

#[test]
fn a_failed_sync_is_refused_whether_its_pages_are_kept_or_dropped() {
    for n in 0..16 {
        lives_through(Fault::Sync(n), n);
        lives_through(Fault::SyncKept(n), n);
    }
}

#[test]
fn a_failed_read_costs_nobody_anything_for_long() {
    for n in 0..20 {
        lives_through(Fault::Read(n * 3), n);
        lives_through(Fault::ReadEio(n * 3), n);
    }
}

#[test]
fn a_disk_that_is_full_for_all_or_for_some_refuses_and_takes_again() {
    for fault in [Fault::Full, Fault::FullIn("index.redb"), Fault::FullIn("log/"), Fault::FullIn("snapshots/")] {
        for seed in 0..8 {
            lives_through(fault, seed);
        }
    }
}

/// One change at a time over a disk that fails once: what is refused is told by `stats` until something goes well again, and
/// everything can be read meanwhile.
#[test]
fn a_store_that_refused_says_so_until_a_change_goes_well() {
    let mut refused = 0;
    for n in 0..12 {
        let faults = [Fault::Operation(n, ErrorKind::Other), Fault::Sync(n), Fault::SyncKept(n), Fault::FullIn("log/")];
        for fault in faults.into_iter().filter(|fault| n < 6 || matches!(fault, Fault::Operation(..))) {
            let mut manner = Manner::of(&mut Dice(n), true, Time::Ordinary);
            if n % 2 == 0 {
                manner.options.index_cache_bytes = 0;
            }
            let life = Life::begin(SimDisk::new(), Facts::default(), &manner, Dice(n)).unwrap();
            let store = life.store();
            store.take_turns(false);
            smol::block_on(async {
                let alice = power::look::id(store, "alice@example.org").await.unwrap();
                life.disk.fail(fault);
                for change in 0..30 {
                    let done = store.subscribe(alice, &format!("{change}"), true).await;
                    let told = store.stats().await.unwrap().read_only;
                    assert_eq!(done.is_err(), told.is_some(), "{fault:?}, change {change}: {done:?}, {told:?}");
                    refused += u32::from(done.is_err());
                    let seen = look(store, None).await.unwrap();
                    let known = &seen.accounts["alice@example.org"].subscribed;
                    assert_eq!(known.contains(&format!("{change}")), done.is_ok(), "{fault:?}, change {change}");
                }
            });
        }
    }
    assert!(refused > 10, "{refused}");
}
