//! Power cuts, kills and failing disks at every operation of a short mixed scenario: what was acknowledged is there, once
//! and whole; what was not is there whole or not at all; nothing that was seen after a restart is torn away later.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::base::Workers;
use pigeon::store::sim::{Cut, Fault, SimDisk, Tear};
use pigeon::store::*;
use std::sync::Arc;
use std::time::Duration;
use store_support::hooked::{Hook, Hooked};
use store_support::*;

const STEPS: usize = 14;

/// The disk fails at every operation; where programs run slowly (under an emulator), at every so-manieth.
fn every() -> usize {
    std::env::var("PIGEON_EVERY").map_or(1, |every| every.parse().expect("PIGEON_EVERY is a number"))
}

/// One step of the scenario; each is one commit.
async fn step(store: &Store, number: usize) -> Result<(), Refusal> {
    let alice = AccountId(1);
    let (inbox, archive) = (MailboxId(1), MailboxId(2));
    let one = |uid| UidSet::one(Uid(uid));
    match number {
        0 => store
            .account_add(
                "alice@example.org",
                b"secret".to_vec(),
                &[("INBOX", None), ("Archive", Some(SpecialUse::Archive))],
            )
            .await
            .map(drop),
        1 => store.deliver(message(store, b"Subject: one\r\n\r\nfirst\r\n").await?, into(&[inbox])).await.map(drop),
        2 => store.deliver(message(store, &noise(2, 100_000)).await?, into(&[inbox, archive])).await.map(drop),
        3 => store.flags(inbox, one(1), FlagChange::Add, flags(Flags::SEEN, &["$Work"]), None).await.map(drop),
        4 => {
            let messages = vec![
                (message(store, &noise(4, 3_000)).await?, flags(Flags::DRAFT, &[])),
                (message(store, &noise(5, 70_000)).await?, flags(Flags::FLAGGED, &["$Work"])),
            ];
            store.append(archive, messages).await.map(drop)
        }
        5 => store.copy(inbox, UidSet::range(Uid(1), Uid(2)), archive).await.map(drop),
        6 => store.account_secrets(alice, b"other".to_vec()).await,
        7 => store.move_messages(archive, one(2), inbox).await.map(drop),
        8 => store.expunge(inbox, one(2), false).await.map(drop),
        9 => store.alias_add("team@example.org", &["alice@example.org".into()]).await,
        10 => store.mailbox_create(alice, "Lists/rust", None).await.map(drop),
        11 => store.deliver(message(store, &noise(11, 40_000)).await?, into(&[inbox])).await.map(drop),
        12 => {
            let lists = store.mailbox_by_name(alice, "Lists").await?.ok_or(Refusal::NotFound)?;
            store.mailbox_rename(lists.id, "Old").await
        }
        _ => store.deliver(message(store, b"Subject: last\r\n\r\n").await?, into(&[inbox])).await.map(drop),
    }
}

/// Runs the scenario until it fails; says how many steps were acknowledged.
async fn run(store: &Store) -> usize {
    for number in 0..STEPS {
        if step(store, number).await.is_err() {
            return number;
        }
    }
    STEPS
}

/// What is to be seen after each number of steps.
async fn pictures(workers: &Workers) -> (Vec<String>, u64) {
    let disk = SimDisk::new();
    let store = open(&disk, workers).unwrap();
    let mut pictures = vec![picture(&store).await.unwrap()];
    for number in 0..STEPS {
        step(&store, number).await.unwrap();
        pictures.push(picture(&store).await.unwrap());
    }
    store.close();
    (pictures, disk.counters().operations)
}

/// Opens and compares; the store must show `done` steps or, since the next may have been on its way, one more.
async fn must_show(disk: &SimDisk, workers: &Workers, pictures: &[String], done: usize, what: &str) -> usize {
    let store = open(disk, workers).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let seen = picture(&store).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    disk.stop();
    let shown = (done..=STEPS.min(done + 1)).find(|n| pictures[*n] == seen);
    shown.unwrap_or_else(|| panic!("{what}: after {done} steps\n{}\nis not\n{seen}", pictures[done]))
}

/// What comes in after a cut gets numbers that nobody had before.
async fn must_go_on(disk: &SimDisk, workers: &Workers, what: &str) {
    let store = open(disk, workers).unwrap();
    let Some(inbox) = store.mailbox(MailboxId(1)).await.unwrap() else {
        return;
    };
    let new = message(&store, b"after the cut").await.unwrap();
    let stored = store.deliver(new, into(&[inbox.id])).await.unwrap()[0];
    assert_eq!((stored.uid, stored.uid_validity), (inbox.uid_next, inbox.uid_validity), "{what}");
    assert!(stored.modseq > inbox.highest_modseq, "{what}");
    let seen = picture(&store).await.unwrap();
    store.close();
    let again = open(disk, workers).unwrap();
    assert_eq!(picture(&again).await.unwrap(), seen, "{what}");
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    let workers = workers();
    smol::block_on(async {
        let (pictures, operations) = pictures(&workers).await;
        println!("{operations} operations");
        for at in (0..operations).step_by(every()) {
            let disk = SimDisk::new();
            disk.stop_after(at);
            let done = match open(&disk, &workers) {
                Ok(store) => run(&store).await,
                Err(_) => 0,
            };
            let tear = [Tear::Byte, Tear::Sector, Tear::Page][at as usize % 3];
            let some = [Cut::Some(tear, at), Cut::Some(tear, at + 1_000)];
            for cut in [Cut::Nothing, Cut::Everything].into_iter().chain(some) {
                let what = format!("cut at operation {at}, leaving {cut:?}");
                let after = disk.reboot(cut);
                let shown = must_show(&after, &workers, &pictures, done, &what).await;
                // What was shown once stays, whatever the next cut takes.
                let later = after.reboot(Cut::Nothing);
                must_show(&later, &workers, &pictures, shown, &format!("{what}, then a second cut")).await;
                if cut == Cut::Nothing {
                    must_go_on(&later.reboot(Cut::Nothing), &workers, &what).await;
                }
            }
            // Killed, not cut: the kernel still has what was not synced, and the next cut must not take what was shown.
            let killed = disk.revive();
            let what = format!("killed at operation {at}");
            let shown = must_show(&killed, &workers, &pictures, done, &what).await;
            let later = killed.reboot(Cut::Nothing);
            must_show(&later, &workers, &pictures, shown, &format!("{what}, then a cut")).await;
        }
    });
}

/// Runs every step whatever becomes of it; what is seen then must still be seen after a restart and after a cut.
async fn must_stay_true(disk: &SimDisk, workers: &Workers, what: &str) {
    let Ok(store) = open(disk, workers) else {
        return;
    };
    for number in 0..STEPS {
        drop(step(&store, number).await);
    }
    disk.heal();
    // Now everything works again, if it did not before.
    store.domain_add("later.example.org").await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let seen = picture(&store).await.unwrap();
    let killed = disk.revive();
    drop(store);
    let cut = disk.reboot(Cut::Nothing);
    let store = open(&killed, workers).unwrap();
    assert_eq!(picture(&store).await.unwrap(), seen, "{what}, then killed");
    drop(store);
    let store = open(&cut, workers).unwrap();
    assert_eq!(picture(&store).await.unwrap(), seen, "{what}, then cut");
}

#[test]
fn a_failed_write_or_sync_refuses_and_the_store_goes_on() {
    let workers = workers();
    smol::block_on(async {
        let (_, operations) = pictures(&workers).await;
        for at in (0..operations).step_by(every()) {
            let disk = SimDisk::new();
            disk.fail(Fault::Operation(at, std::io::ErrorKind::Other));
            must_stay_true(&disk, &workers, &format!("operation {at} failed")).await;
            let disk = SimDisk::new();
            disk.fail(Fault::Operation(at, std::io::ErrorKind::StorageFull));
            must_stay_true(&disk, &workers, &format!("operation {at} found the disk full")).await;
        }
        for at in (0..40).step_by(every()) {
            let disk = SimDisk::new();
            disk.fail(Fault::Sync(at));
            must_stay_true(&disk, &workers, &format!("sync {at} failed")).await;
        }
    });
}

#[test]
fn a_failed_read_is_tried_again() {
    let workers = workers();
    smol::block_on(async {
        for at in (0..60).step_by(every()) {
            let disk = SimDisk::new();
            disk.fail(Fault::Read(at));
            must_stay_true(&disk, &workers, &format!("read {at} failed")).await;
        }
    });
}

/// Opens with so small a cache that the index reads from the disk.
fn open_uncached(disk: &SimDisk, workers: &Workers) -> Store {
    let options = Options { segment_bytes: 64 * 1024, index_cache_bytes: 0, ..Options::default() };
    open_with(disk, workers, options).unwrap()
}

#[test]
fn a_disk_that_fails_while_the_index_is_opened_again_hides_nothing_later() {
    let workers = workers();
    smol::block_on(async {
        // The first failed read makes the index be opened again; the others fail while that is under way.
        let opening = (1..48).step_by(2).map(|n| vec![0, n]).chain((2..60).step_by(8).map(|n| (0..n).collect()));
        for failing in opening.step_by(every()) {
            let what = format!("reads {failing:?} failed");
            let disk = SimDisk::new();
            let store = open_uncached(&disk, &workers);
            for number in 0..STEPS - 1 {
                step(&store, number).await.unwrap();
            }
            let seen = picture(&store).await.unwrap();
            for n in failing {
                disk.fail(Fault::Read(n));
            }
            drop(picture(&store).await);
            disk.heal();
            assert_eq!(picture(&store).await.as_ref(), Ok(&seen), "{what}");
            let inbox = store.mailbox(MailboxId(1)).await.unwrap().unwrap();
            let new = message(&store, b"Subject: later\r\n\r\n").await.unwrap();
            assert_eq!(store.deliver(new, into(&[inbox.id])).await.unwrap()[0].uid, inbox.uid_next, "{what}");
            let seen = picture(&store).await.unwrap();
            let cut = disk.reboot(Cut::Nothing);
            assert_eq!(picture(&open(&cut, &workers).unwrap()).await.unwrap(), seen, "{what}, then cut");
        }
    });
}

/// Whoever was refused sends again: what then came back would be there twice.
#[test]
fn what_was_refused_is_not_there_after_a_power_cut() {
    let workers = workers();
    smol::block_on(async {
        let (pictures, operations) = pictures(&workers).await;
        let operation = |at| Fault::Operation(at, std::io::ErrorKind::StorageFull);
        let faults =
            (0..operations).map(operation).chain((0..40).flat_map(|at| [Fault::Sync(at), Fault::SyncKept(at)]));
        for (number, fault) in faults.enumerate().step_by(every()) {
            let disk = SimDisk::new();
            let store = open(&disk, &workers).unwrap();
            disk.fail(fault);
            let done = run(&store).await;
            for seed in 0..4 {
                let tear = [Tear::Byte, Tear::Sector, Tear::Page][number % 3];
                let cut = disk.reboot(Cut::Some(tear, seed));
                let seen = picture(&open(&cut, &workers).unwrap()).await.unwrap();
                assert_eq!(seen, pictures[done], "after {done} steps, {fault:?}, cut with seed {seed}");
            }
        }
    });
}

#[test]
fn what_was_refused_goes_even_where_it_cannot_be_cut_off() {
    let workers = workers();
    smol::block_on(async {
        for fault in [Fault::Sync(0), Fault::SyncKept(0)] {
            let disk = SimDisk::new();
            let store = open(&disk, &workers).unwrap();
            step(&store, 0).await.unwrap();
            step(&store, 1).await.unwrap();
            let seen = picture(&store).await.unwrap();
            disk.fail(fault);
            // The batch is written, its sync fails, and then the shortening of the segment.
            disk.fail(Fault::Operation(2, std::io::ErrorKind::Other));
            step(&store, 3).await.unwrap_err();
            let cuts = [Cut::Nothing, Cut::Everything, Cut::Some(Tear::Byte, 1), Cut::Some(Tear::Page, 2)];
            let killed = disk.revive();
            for after in cuts.map(|cut| killed.reboot(cut)).into_iter().chain([killed.revive()]) {
                assert_eq!(picture(&open(&after, &workers).unwrap()).await.unwrap(), seen, "{fault:?}");
            }
        }
    });
}

#[test]
fn what_was_refused_is_not_there_after_a_restart() {
    let workers = workers();
    smol::block_on(async {
        let (pictures, operations) = pictures(&workers).await;
        for at in (0..operations).step_by(every()) {
            let disk = SimDisk::new();
            let store = open(&disk, &workers).unwrap();
            disk.fail(Fault::Operation(at, std::io::ErrorKind::Other));
            disk.fail(Fault::Sync(at));
            let done = run(&store).await;
            let killed = disk.revive();
            let seen = picture(&open(&killed, &workers).unwrap()).await.unwrap();
            assert_eq!(seen, pictures[done], "after {done} steps, operation or sync {at} failed");
            assert!(!killed.list("log").unwrap().iter().any(|name| name.ends_with(".tmp")));
        }
    });
}

#[test]
fn a_full_disk_refuses_and_a_freed_one_takes_again() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk, &workers).unwrap();
        step(&store, 0).await.unwrap();
        disk.fail(Fault::Full);
        let mut refused = 0;
        for n in 0..40 {
            let Ok(new) = message(&store, &noise(n, 60_000)).await else {
                refused += 1;
                continue;
            };
            match store.deliver(new, into(&[MailboxId(1)])).await {
                Ok(_) => {}
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::DiskFull);
                    refused += 1;
                }
            }
        }
        assert!(refused > 30, "{refused}");
        assert!(store.stats().await.unwrap().read_only.is_some());
        disk.heal();
        step(&store, 1).await.unwrap();
        assert_eq!(store.stats().await.unwrap().read_only, None);
    });
}

/// Syncs of the log take their time, as a card's do.
#[derive(Debug)]
struct Slow;

impl Hook for Slow {
    fn syncs(&self, name: &str) {
        if name.contains("commit") {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Turns that the writer takes before it has nothing to do.
fn turns(store: &Store) -> u32 {
    store.take_turns(true);
    let mut given = 0;
    while store.writer_waits() && given < 100 {
        store.give_turn();
        given += 1;
    }
    store.take_turns(false);
    given
}

#[test]
fn the_writer_rests_when_nothing_is_left_of_deleted_mailboxes() {
    let workers = workers();
    smol::block_on(async {
        // The house is kept while the last of it is being removed.
        let disk = Hooked { disk: SimDisk::new(), hook: Arc::new(Slow) };
        let store = open_on(&disk, &workers, Options::default()).unwrap();
        step(&store, 0).await.unwrap();
        store.mailbox_delete(MailboxId(2)).await.unwrap();
        smol::Timer::after(Duration::from_millis(50)).await;
        store.keep_house().await.unwrap();
        smol::Timer::after(Duration::from_millis(500)).await;
        assert_eq!(store.stats().await.unwrap().doomed, 0);
        assert!(turns(&store) < 10);
        // A deletion is refused.
        let disk = SimDisk::new();
        let store = open(&disk, &workers).unwrap();
        step(&store, 0).await.unwrap();
        disk.fail(Fault::Sync(0));
        store.mailbox_delete(MailboxId(2)).await.unwrap_err();
        assert!(turns(&store) < 10);
    });
}

/// What deleted mailboxes held may be all that can make room.
#[test]
fn what_a_deleted_mailbox_held_goes_though_the_disk_failed_when_its_time_was() {
    const MESSAGES: u64 = 1_500;
    let workers = workers();
    smol::block_on(async {
        let origin = SimDisk::new();
        let store = open(&origin, &workers).unwrap();
        step(&store, 0).await.unwrap();
        let old = store.mailbox_create(AccountId(1), "Old", None).await.unwrap();
        for part in 0..MESSAGES / 50 {
            let mut messages = Vec::new();
            for n in 0..50 {
                let new = message(&store, format!("message {part} {n}").as_bytes()).await.unwrap();
                messages.push((new, FlagNames::default()));
            }
            store.append(old, messages).await.unwrap();
        }
        assert!(store.lay_ballast().await);
        store.close();
        let (mut kept, mut failed) = (0, 0);
        for n in 0..30 {
            for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other] {
                let disk = origin.reboot(Cut::Everything);
                let store = open(&disk, &workers).unwrap();
                disk.fail(Fault::Operation(n, kind));
                if store.mailbox_delete(old).await.is_err() {
                    continue;
                }
                assert!(turns(&store) < 100, "operation {n}, {kind:?}");
                if store.stats().await.unwrap().doomed > 0 {
                    failed += 1;
                    assert_ne!(kind, std::io::ErrorKind::StorageFull, "operation {n}: what was kept for that helps");
                    disk.heal();
                    store.keep_house().await.unwrap();
                    assert!(turns(&store) < 100, "operation {n}, {kind:?}");
                }
                assert_eq!(store.stats().await.unwrap().doomed, 0, "operation {n}, {kind:?}");
                kept += 1;
            }
        }
        assert!(
            kept > 12 && failed > 0,
            "{kept} deletions were acknowledged, {failed} of them not carried out at once"
        );
    });
}

#[test]
fn an_index_that_cannot_be_read_is_made_anew_from_the_log_and_kept_beside() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk, &workers).unwrap();
        run(&store).await;
        let seen = picture(&store).await.unwrap();
        store.close();
        let index = disk.contents("index.redb").unwrap();
        // redb's header; and a flipped bit in every written page, which the rows' checksums or redb must find.
        let mut broken = vec![vec![7; 4096]];
        for page in (0..index.len()).step_by(4096).filter(|page| index[*page..page + 4096].iter().any(|b| *b != 0)) {
            let mut flipped = index.clone();
            let at = (page..page + 4096).rev().find(|at| index[*at] != 0).unwrap();
            flipped[at] ^= 0x10;
            broken.push(flipped);
        }
        for (n, contents) in broken.into_iter().enumerate().step_by(every()) {
            let disk = disk.revive();
            disk.put("index.redb", &contents);
            let store = open(&disk, &workers).unwrap_or_else(|error| panic!("{n}: {error:?}"));
            match picture(&store).await {
                Ok(shown) => assert_eq!(shown, seen, "{n}"),
                // Found when it was read: refused, never shown wrong.
                Err(refusal) => assert!(matches!(refusal, Refusal::Damaged | Refusal::Unavailable), "{n}: {refusal:?}"),
            }
            if n == 0 {
                assert!(disk.contents("index.redb.broken-1").is_some());
            }
        }
    });
}
