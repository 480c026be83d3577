//! A disk that fills up: what is new is refused, what was acknowledged stays, deleting goes on, and with room again
//! everything does, without a restart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::base::Workers;
use pigeon::store::sim::{Cut, SimDisk};
use pigeon::store::*;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use store_support::hooked::{Hook, Hooked};
use store_support::*;

const INBOX: MailboxId = MailboxId(1);

/// A simulated disk with so much room; like a real one it gives blocks to what is written, not to what is only long.
type Small = Hooked<Room>;

#[derive(Debug, Default)]
struct Room {
    bytes: AtomicU64,
    /// Octets written to snapshots.
    snapshot_bytes: AtomicU64,
    /// Blocks in use, by file.
    used: Mutex<std::collections::BTreeMap<String, std::collections::BTreeSet<u64>>>,
}

const BLOCK: u64 = 4_096;

impl Room {
    fn used_bytes(&self) -> u64 {
        self.used.lock().unwrap().values().map(|blocks| blocks.len() as u64 * BLOCK).sum()
    }

    fn free_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed).saturating_sub(self.used_bytes())
    }

    fn take(&self, name: &str, from: u64, to: u64) -> io::Result<()> {
        let mut used = self.used.lock().unwrap();
        let all: u64 = used.values().map(|blocks| blocks.len() as u64).sum();
        let blocks = used.entry(name.to_owned()).or_default();
        let new: Vec<u64> = (from / BLOCK..to.div_ceil(BLOCK)).filter(|block| !blocks.contains(block)).collect();
        if (all + new.len() as u64) * BLOCK > self.bytes.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        blocks.extend(new);
        Ok(())
    }
}

/// A file keeps its blocks when it gets its own name.
fn own_name(name: &str) -> &str {
    name.trim_end_matches(".tmp")
}

impl Hook for Room {
    fn writes(&self, name: &str, octets: Range<u64>) -> io::Result<()> {
        if name.starts_with("snapshots/") {
            self.snapshot_bytes.fetch_add(octets.end - octets.start, Ordering::Relaxed);
        }
        self.take(own_name(name), octets.start, octets.end)
    }
    fn truncates(&self, name: &str, len: u64) {
        if let Some(blocks) = self.used.lock().unwrap().get_mut(own_name(name)) {
            blocks.retain(|block| block * BLOCK < len);
        }
    }
    fn created(&self, name: &str) {
        self.removed(name);
    }
    fn renamed(&self, from: &str, to: &str) {
        let mut used = self.used.lock().unwrap();
        if let Some(blocks) = used.remove(own_name(from)) {
            used.insert(to.to_owned(), blocks);
        }
    }
    fn removed(&self, name: &str) {
        self.used.lock().unwrap().remove(own_name(name));
    }
    fn free_bytes(&self) -> Option<u64> {
        Some(Self::free_bytes(self))
    }
}

fn small(bytes: u64) -> Small {
    Small { disk: SimDisk::new(), hook: Arc::new(Room { bytes: AtomicU64::new(bytes), ..Room::default() }) }
}

fn open_small(disk: &Small, workers: &Workers) -> Store {
    open_on(disk, workers, Options { segment_bytes: 1 << 20, ..Options::default() }).unwrap()
}

/// Delivers until it is refused; how many were taken, and the refusal.
async fn fill(store: &Store, bytes: usize) -> (u64, Refusal) {
    for n in 0..100_000 {
        let outcome = match message(store, &noise(n, bytes)).await {
            Ok(message) => store.deliver(message, into(&[INBOX])).await.map(drop),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = outcome {
            return (n, refusal);
        }
    }
    panic!("the disk never fills up");
}

#[test]
fn a_disk_that_fills_up_refuses_what_is_new_keeps_what_is_there_and_goes_on_with_room() {
    let workers = workers();
    smol::block_on(async {
        for keep_free in [0, 2 << 20] {
            for bytes in [2_000, 50_000, 300_000] {
                let what = format!("{bytes} octets each, {keep_free} kept free");
                let disk = small(24 << 20);
                let store = open_small(&disk, &workers);
                store.keep_free(keep_free);
                assert!(store.lay_ballast().await, "{what}");
                let alice =
                    store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
                let (large, refusal) = fill(&store, bytes).await;
                assert_eq!(refusal, Refusal::DiskFull, "{what}");
                // What is small may still find room, until that is gone too.
                let (small, refusal) = fill(&store, 500).await;
                assert_eq!(refusal, Refusal::DiskFull, "{what}");
                let taken = large + small;
                assert!(taken > 20, "{what}: {taken}");
                let inbox = store.mailbox(INBOX).await.unwrap().unwrap();
                assert_eq!(u64::from(inbox.exists), taken, "{what}");
                let seen = picture(&store).await.unwrap();
                // Again and again, and what is small too.
                for _ in 0..20 {
                    let again = match message(&store, b"small").await {
                        Ok(message) => store.deliver(message, into(&[INBOX])).await.map(drop),
                        Err(refusal) => Err(refusal),
                    };
                    assert_eq!(again, Err(Refusal::DiskFull), "{what}");
                }
                assert_eq!(store.mailbox_create(alice, "More", None).await.map(drop), Err(Refusal::DiskFull), "{what}");
                assert!(store.stats().await.unwrap().read_only.is_some(), "{what}: nobody is told");
                assert_eq!(picture(&store).await.unwrap(), seen, "{what}");
                // A cut now loses nothing; a start on the full disk works.
                let after = Small { disk: disk.disk.reboot(Cut::Nothing), hook: disk.hook.clone() };
                let store = open_small(&after, &workers);
                store.keep_free(keep_free);
                assert_eq!(picture(&store).await.unwrap(), seen, "{what}, after a cut");
                // Deleting goes on.
                let one = UidSet::range(Uid(1), Uid(10));
                let deleted = flags(Flags::DELETED, &[]);
                store.flags(INBOX, one.clone(), FlagChange::Add, deleted, None).await.unwrap_or_else(|refusal| {
                    panic!("{what}: flags are refused: {refusal:?}, {} free", after.hook.free_bytes())
                });
                let gone = store.expunge(INBOX, one, true).await;
                assert_eq!(gone.map(|gone| gone.uids.len()), Ok(10), "{what}");
                // With room everything goes on, without a restart.
                after.hook.bytes.store(64 << 20, Ordering::Relaxed);
                assert!(store.lay_ballast().await, "{what}");
                let new = message(&store, b"there is room").await.unwrap();
                store.deliver(new, into(&[INBOX])).await.unwrap();
                assert_eq!(store.stats().await.unwrap().read_only, None, "{what}");
                let seen = picture(&store).await.unwrap();
                store.close();
                drop(store);
                let again = open_small(&after, &workers);
                assert_eq!(picture(&again).await.unwrap(), seen, "{what}, opened again");
            }
        }
    });
}

#[test]
fn the_ballast_is_real_octets_and_comes_back_with_room() {
    let workers = workers();
    smol::block_on(async {
        let disk = small(16 << 20);
        let store = open_small(&disk, &workers);
        let before = disk.hook.used_bytes();
        assert!(store.lay_ballast().await);
        assert_eq!(disk.hook.used_bytes() - before, 4 << 20);
        assert!(store.lay_ballast().await);
        assert_eq!(disk.hook.used_bytes() - before, 4 << 20, "once is enough");
        store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
        assert_eq!(fill(&store, 60_000).await.1, Refusal::DiskFull);
        assert!(disk.disk.contents("ballast").is_none(), "it was given up");
        assert!(!store.lay_ballast().await, "there is no room for it");
        disk.hook.bytes.store(32 << 20, Ordering::Relaxed);
        assert!(store.lay_ballast().await);
        let octets = disk.disk.contents("ballast").unwrap();
        assert!(
            lz4_flex::block::compress(&octets).len() > octets.len() / 20,
            "it would vanish where files are compressed"
        );
    });
}

/// The power goes; what starts next finds what the kernel had written.
fn cut(disk: &Small) -> Small {
    let used = Mutex::new(disk.hook.used.lock().unwrap().clone());
    let bytes = AtomicU64::new(disk.hook.bytes.load(Ordering::Relaxed));
    Small { disk: disk.disk.reboot(Cut::Everything), hook: Arc::new(Room { bytes, used, ..Room::default() }) }
}

/// Keeps house until nothing is due; the least that was free meanwhile.
async fn keep(store: &Store, disk: &Small) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..100 {
        let kept = store.keep_house().await.unwrap();
        least = least.min(disk.hook.free_bytes());
        if kept == Kept::Nothing {
            return least;
        }
    }
    panic!("there is always something to do");
}

/// Nothing but the store makes room, and it must run for that: a start may not need more than the one before left.
#[test]
fn a_full_disk_starts_again_after_any_number_of_cuts_and_salvages() {
    let workers = workers();
    smol::block_on(async {
        let mut disk = small(24 << 20);
        let mut store = open_small(&disk, &workers);
        assert!(store.lay_ballast().await);
        store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
        store.snapshot().await.unwrap();
        fill(&store, 20_000).await;
        fill(&store, 500).await;
        // Another program takes most of what the ballast left.
        disk.hook.bytes.store(disk.hook.used_bytes() + (1 << 20), Ordering::Relaxed);
        let (mut free, mut salvages) = (Vec::new(), 0);
        for round in 0..100 {
            let after = cut(&disk);
            drop(store);
            disk = after;
            let open = |salvage| {
                let options = Options { segment_bytes: 1 << 20, salvage, ..Options::default() };
                open_on(&disk, &workers, options)
            };
            let what = format!("start {round}, {} free", disk.hook.free_bytes());
            // A second index may find no room; then the one there is serves on.
            let salvaged = (round % 10 == 9).then(|| open(true)).and_then(Result::ok);
            salvages += u32::from(salvaged.is_some());
            store = salvaged.unwrap_or_else(|| open(false).unwrap_or_else(|error| panic!("{what}: {error:?}")));
            store.keep_free(2 << 20);
            assert!(!store.lay_ballast().await, "{what}");
            // Something that is taken as long as there is any room at all.
            let change = if round % 2 == 0 { FlagChange::Add } else { FlagChange::Remove };
            drop(store.flags(INBOX, UidSet::one(Uid(1)), change, flags(Flags::SEEN, &[]), None).await);
            free.push(disk.hook.free_bytes());
        }
        println!("{salvages} salvages, free after each start: {free:?}");
        let again = message(&store, b"small").await;
        assert_eq!(again.map(drop), Err(Refusal::DiskFull), "a restart makes no room");
        let all = UidSet::range(Uid(1), Uid(u32::MAX));
        // Deleting makes room, and then everything goes on.
        loop {
            let gone = store.expunge(INBOX, all.clone(), false).await.unwrap();
            if gone.rest.is_empty() {
                break;
            }
        }
        keep(&store, &disk).await;
        assert!(store.lay_ballast().await, "{} free", disk.hook.free_bytes());
        let new = message(&store, b"there is room").await.unwrap();
        store.deliver(new, into(&[INBOX])).await.unwrap();
    });
}

/// What is given up at a start is given up once: one that finds no room for all that says so, and the next, with room, has it all.
#[test]
fn a_start_that_finds_no_room_at_all_comes_to_its_end_and_loses_nothing() {
    let workers = workers();
    smol::block_on(async {
        let disk = small(24 << 20);
        let store = open_small(&disk, &workers);
        assert!(store.lay_ballast().await);
        store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
        let (taken, _) = fill(&store, 20_000).await;
        let disk = cut(&disk);
        drop(store);
        // The index is lost, and what another program took leaves no room for a new one, not even in the ballast's place.
        disk.disk.remove("index.redb").unwrap();
        disk.hook.removed("index.redb");
        disk.hook.bytes.store(disk.hook.used_bytes() - (4 << 20), Ordering::Relaxed);
        let options = || Options { segment_bytes: 1 << 20, ..Options::default() };
        for start in 0..3 {
            assert!(open_on(&disk, &workers, options()).is_err(), "start {start}");
        }
        assert!(disk.disk.contents("ballast").is_none(), "it was given up");
        disk.hook.bytes.store(64 << 20, Ordering::Relaxed);
        let store = open_small(&disk, &workers);
        let (there, _) = store.uids(INBOX).await.unwrap();
        assert_eq!(there.len(), taken);
    });
}

/// Copies of what is half empty may not take the room that what is empty would give.
#[test]
fn on_a_full_disk_what_is_empty_goes_before_anything_is_copied_that_finds_no_room() {
    const BYTES: u64 = 300_000;
    let workers = workers();
    smol::block_on(async {
        let disk = small(64 << 20);
        let options = Options { segment_bytes: 4 << 20, ..Options::default() };
        let store = open_on(&disk, &workers, options).unwrap();
        store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
        for n in 0..120 {
            let new = message(&store, &noise(n, BYTES as usize)).await.unwrap();
            store.deliver(new, into(&[INBOX])).await.unwrap();
        }
        store.keep_free(8 << 20);
        disk.hook.bytes.store(disk.hook.used_bytes() + (1 << 20), Ordering::Relaxed);
        let mut gone = UidSet::range(Uid(1), Uid(40));
        (41..=120).step_by(2).for_each(|uid| gone.insert(Uid(uid)));
        store.expunge(INBOX, gone, false).await.unwrap();
        let least = keep(&store, &disk).await;
        assert!(least > 400_000, "{least} free");
        assert!(disk.hook.free_bytes() > 60 * BYTES, "{} free", disk.hook.free_bytes());
    });
}

/// A snapshot that finds no room would be begun again at every look, and take the last room each time.
#[test]
fn no_snapshot_is_begun_that_finds_no_room() {
    let workers = workers();
    smol::block_on(async {
        let disk = small(64 << 20);
        let store = open_small(&disk, &workers);
        store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
        let many = async |from: u64| {
            for part in 0..20 {
                let mut messages = Vec::new();
                for n in 0..100 {
                    let new = message(&store, &noise(from + part * 100 + n, 500)).await.unwrap();
                    messages.push((new, FlagNames::default()));
                }
                store.append(INBOX, messages).await.unwrap();
            }
        };
        many(0).await;
        let snapshot = store.snapshot().await.unwrap();
        keep(&store, &disk).await;
        many(2_000).await;
        store.expunge(INBOX, UidSet::range(Uid(1_500), Uid(4_000)), false).await.unwrap();
        store.keep_free(8 << 20);
        disk.hook.bytes.store(disk.hook.used_bytes() + snapshot.bytes / 2, Ordering::Relaxed);
        disk.hook.snapshot_bytes.store(0, Ordering::Relaxed);
        for _ in 0..10 {
            store.keep_house().await.unwrap();
        }
        assert_eq!(disk.hook.snapshot_bytes.load(Ordering::Relaxed), 0);
        // With room it is due.
        disk.hook.bytes.store(disk.hook.used_bytes() + 8 * snapshot.bytes, Ordering::Relaxed);
        store.keep_house().await.unwrap();
        assert!(disk.hook.snapshot_bytes.load(Ordering::Relaxed) > 0);
    });
}

/// When the disk is full a backup is wanted most, and there may never have been a snapshot.
#[test]
fn a_full_disk_is_backed_up_for_the_first_time() {
    let workers = workers();
    smol::block_on(async {
        let disk = small(12 << 20);
        let store = open_small(&disk, &workers);
        assert!(store.lay_ballast().await);
        store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
        for bytes in [20_000, 500] {
            assert_eq!(fill(&store, bytes).await.1, Refusal::DiskFull);
        }
        // Nothing is left at all.
        disk.hook.bytes.store(disk.hook.used_bytes(), Ordering::Relaxed);
        let stick = SimDisk::new();
        let held = store.hold().await.unwrap();
        backup::back_up(&disk, &stick, &held.content(0), &mut |_, _| ()).unwrap();
        drop(held);
        let restored = SimDisk::new();
        backup::restore(&stick, &backup::newest(&stick).unwrap(), &restored, &mut |_, _| ()).unwrap();
        let again = open(&restored, &workers).unwrap();
        assert_eq!(again.damage().0, [""; 0]);
        assert_eq!(again.digest().await.unwrap(), store.digest().await.unwrap());
    });
}

/// A disk whose log takes nothing while that is so.
#[derive(Debug, Default)]
struct NoLog(AtomicBool);

impl Hook for NoLog {
    fn writes(&self, name: &str, _octets: Range<u64>) -> io::Result<()> {
        let refuses = self.0.load(Ordering::Relaxed) && name.starts_with("log/");
        if refuses { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// Otherwise it would write for ever, and wear the card out.
#[test]
fn the_house_rests_when_snapshots_give_nothing_free() {
    let workers = workers();
    smol::block_on(async {
        let disk = Hooked { disk: SimDisk::new(), hook: Arc::new(NoLog::default()) };
        let store = open_on(&disk, &workers, Options { segment_bytes: 64 * 1024, ..Options::default() }).unwrap();
        store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
        for n in 0..20 {
            let new = message(&store, &noise(n, 20_000)).await.unwrap();
            store.deliver(new, into(&[INBOX])).await.unwrap();
        }
        store.expunge(INBOX, UidSet::range(Uid(1), Uid(20)), false).await.unwrap();
        let segments = || disk.disk.list("log").unwrap().len();
        let before = segments();
        // However much is free counts for full, and the log cannot tell again what is there.
        store.keep_free(u64::MAX);
        disk.hook.0.store(true, Ordering::Relaxed);
        let mut snapshots = 0;
        while store.keep_house().await.unwrap() != Kept::Nothing {
            snapshots += 1;
            assert!(snapshots < 10, "a snapshot is written again and again");
        }
        assert!(snapshots > 0 && segments() == before, "{snapshots} snapshots");
        disk.hook.0.store(false, Ordering::Relaxed);
        while store.keep_house().await.unwrap() != Kept::Nothing {}
        assert!(segments() < before);
    });
}
