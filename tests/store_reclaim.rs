//! Deleted mail gives its space back, and nothing else goes: with readers in the middle of a message, bodies still arriving,
//! damaged chunks, and a power cut at every operation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::base::Workers;
use pigeon::store::sim::{Cut, SimDisk, Tear};
use pigeon::store::*;
use std::collections::BTreeMap;
use std::time::Duration;
use store_support::mail::{arriving_bytes, mail};
use store_support::worn::Worn;
use store_support::*;

const INBOX: MailboxId = MailboxId(1);

/// Opens in a hurry: reclaim is not slowed down.
fn open_fast(disk: &SimDisk, workers: &Workers) -> Store {
    let store = open(disk, workers).unwrap();
    store.reclaim_no_faster_than(u64::MAX);
    store
}

/// Does all housework there is; says what was reclaimed.
async fn keep_all(store: &Store) -> Reclaimed {
    let mut all = Reclaimed::default();
    for _ in 0..1_000 {
        match store.keep_house().await.unwrap() {
            Kept::Nothing => return all,
            Kept::Snapshot(_) => {}
            Kept::Reclaimed(done) => {
                all.segments += done.segments;
                all.copied_bytes += done.copied_bytes;
                all.freed_bytes += done.freed_bytes;
            }
        }
    }
    panic!("the housework never ends");
}

/// Octets of the files in a folder.
fn bytes_in(disk: &SimDisk, folder: &str) -> u64 {
    let names = disk.list(folder).unwrap();
    names.iter().map(|name| disk.open(&format!("{folder}/{name}")).unwrap().len().unwrap()).sum()
}

/// Octets of the log's files.
fn log_bytes(disk: &SimDisk) -> u64 {
    bytes_in(disk, "log")
}

/// Delivers this; answers its UID.
async fn deliver(store: &Store, octets: &[u8]) -> Uid {
    let new = message(store, octets).await.unwrap();
    store.deliver(new, into(&[INBOX])).await.unwrap()[0].uid
}

async fn expunge(store: &Store, uids: UidSet) {
    let mut rest = uids;
    while !rest.is_empty() {
        rest = store.expunge(INBOX, rest, false).await.unwrap().rest;
    }
}

/// Two snapshots, so that no replay needs the events before.
async fn snapshots(store: &Store) {
    store.snapshot().await.unwrap();
    store.snapshot().await.unwrap();
}

async fn with_inbox(store: &Store) {
    store.account_add("alice@example.org", vec![0; 200], &[("INBOX", None)]).await.unwrap();
}

#[test]
fn deleted_bodies_give_their_space_back_and_the_others_stay() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open_fast(&disk, &workers);
        with_inbox(&store).await;
        for n in 0..40 {
            deliver(&store, &noise(n, 70_000)).await;
        }
        assert_eq!(keep_all(&store).await, Reclaimed::default(), "nothing is dead");
        let before = log_bytes(&disk);
        expunge(&store, (1..=40).filter(|uid| uid % 4 != 0).map(Uid).collect()).await;
        let seen = picture(&store).await.unwrap();
        let digest = store.digest().await.unwrap();
        let done = keep_all(&store).await;
        assert!(done.segments >= 30 && done.copied_bytes >= 4 * 60_000, "{done:?}");
        assert!(log_bytes(&disk) < before / 2, "{} of {before}", log_bytes(&disk));
        assert_eq!((picture(&store).await.unwrap(), store.digest().await.unwrap()), (seen.clone(), digest));
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.copied_bytes, stats.reclaimed_bytes), (done.copied_bytes, done.freed_bytes));
        store.close();
        let store = open_fast(&disk, &workers);
        assert_eq!((picture(&store).await.unwrap(), store.digest().await.unwrap()), (seen, digest));
    });
}

#[test]
fn events_and_small_bodies_go_once_no_replay_needs_them() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open_fast(&disk, &workers);
        with_inbox(&store).await;
        for n in 0..200 {
            deliver(&store, &noise(n, 1_500)).await;
        }
        expunge(&store, (1..=200).filter(|uid| uid % 3 != 0).map(Uid).collect()).await;
        assert_eq!(keep_all(&store).await, Reclaimed::default(), "a replay may need the events");
        let before = log_bytes(&disk);
        snapshots(&store).await;
        let seen = picture(&store).await.unwrap();
        keep_all(&store).await;
        assert!(log_bytes(&disk) < before / 2, "{} of {before}", log_bytes(&disk));
        assert_eq!(picture(&store).await.unwrap(), seen);
        for disk in [disk.revive(), disk.reboot(Cut::Nothing)] {
            assert_eq!(picture(&open_fast(&disk, &workers)).await.unwrap(), seen);
        }
    });
}

#[test]
fn a_reader_in_the_middle_of_a_message_reads_on() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open_fast(&disk, &workers);
        with_inbox(&store).await;
        let octets = noise(1, 300_000);
        deliver(&store, &octets).await;
        for n in 2..12 {
            deliver(&store, &noise(n, 70_000)).await;
        }
        let kept = store.messages(INBOX, &UidSet::one(Uid(5)), 1).await.unwrap()[0].1.blob;
        let blob = store.messages(INBOX, &UidSet::one(Uid(1)), 1).await.unwrap()[0].1.blob;
        let mut readers = [store.read(blob).await.unwrap(), store.read(kept).await.unwrap()];
        assert_eq!(readers[0].at(0).await.unwrap()[..100], octets[..100]);
        expunge(&store, (1..=11).filter(|uid| *uid != 5).map(Uid).collect()).await;
        keep_all(&store).await;
        for (reader, octets) in readers.iter_mut().zip([octets.clone(), noise(5, 70_000)]) {
            let mut at = 0;
            while at < octets.len() {
                let piece = reader.at(at as u64).await.unwrap();
                assert_eq!(*piece, octets[at..at + piece.len()]);
                at += piece.len();
            }
        }
        assert_eq!(store.read(blob).await.err(), Some(Refusal::NotFound));
        let pinned = log_bytes(&disk);
        drop(readers);
        assert!(keep_all(&store).await.segments > 0, "what was read is given back afterwards");
        assert!(log_bytes(&disk) < pinned);
        assert_eq!(body(&store, kept).await.unwrap(), noise(5, 70_000));
    });
}

#[test]
fn a_body_that_belongs_to_no_message_yet_keeps_its_segments() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open_fast(&disk, &workers);
        with_inbox(&store).await;
        let octets = noise(1, 400_000);
        let mut arriving = store.body();
        arriving.write(&octets[..200_000]).await.unwrap();
        let whole = message(&store, &noise(2, 300_000)).await.unwrap();
        let aborted = message(&store, &noise(3, 300_000)).await.unwrap();
        deliver(&store, &noise(4, 70_000)).await;
        assert_eq!(keep_all(&store).await, Reclaimed::default());
        drop(aborted);
        assert!(keep_all(&store).await.segments >= 3, "what was aborted goes");
        arriving.write(&octets[200_000..]).await.unwrap();
        let arrived = NewMessage { body: arriving.finish().await.unwrap(), summary: Vec::new(), ..whole };
        let Stored { uid, .. } = store.deliver(arrived, into(&[INBOX])).await.unwrap()[0];
        keep_all(&store).await;
        let blob = store.messages(INBOX, &UidSet::one(uid), 1).await.unwrap()[0].1.blob;
        assert_eq!(body(&store, blob).await.unwrap(), octets);
    });
}

#[test]
fn a_damaged_chunk_stays_with_its_segment_and_the_rest_moves() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let open = || {
            let store = open_with(&disk, &workers, Options { segment_bytes: 256 << 10, ..Options::default() }).unwrap();
            store.reclaim_no_faster_than(u64::MAX);
            store
        };
        let store = open();
        with_inbox(&store).await;
        // Several share a segment, so that a part of it is live.
        for n in 0..20 {
            deliver(&store, &noise(n, 66_000)).await;
        }
        expunge(&store, (1..=20).filter(|uid| uid % 5 != 0).map(Uid).collect()).await;
        store.close();
        let needle = &noise(9, 66_000)[1_000..1_050];
        let name = disk.list("log").unwrap().into_iter().map(|name| format!("log/{name}")).find(|name| {
            let contents = disk.contents(name).unwrap();
            contents.windows(needle.len()).any(|window| window == needle)
        });
        let name = name.unwrap();
        let mut contents = disk.contents(&name).unwrap();
        let at = contents.windows(needle.len()).position(|window| window == needle).unwrap();
        contents[at] ^= 1;
        disk.put(&name, &contents);
        let store = open();
        assert!(keep_all(&store).await.segments > 0);
        assert!(disk.contents(&name).is_some(), "{name} is kept");
        for uid in [5, 10, 15, 20] {
            let blob = store.messages(INBOX, &UidSet::one(Uid(uid)), 1).await.unwrap()[0].1.blob;
            let expected = if uid == 10 { Err(Refusal::Damaged) } else { Ok(noise(u64::from(uid) - 1, 66_000)) };
            assert!(body(&store, blob).await == expected, "{uid}");
        }
        assert_eq!(keep_all(&store).await, Reclaimed::default(), "it is not tried again and again");
    });
}

/// A store in which a pass has everything to do: empty segments, sparse ones, small bodies and large, and some of each that stay.
async fn before_a_pass(workers: &Workers) -> SimDisk {
    let disk = SimDisk::new();
    let store = open_fast(&disk, workers);
    with_inbox(&store).await;
    for n in 0..12 {
        deliver(&store, &noise(n, if n % 2 == 0 { 70_000 } else { 9_000 })).await;
    }
    expunge(&store, (1..=12).filter(|uid| ![3, 6, 7].contains(uid)).map(Uid).collect()).await;
    store.close();
    disk
}

/// A pass, with mail coming and going meanwhile; says how many of those changes were acknowledged.
async fn a_pass(store: &Store) -> usize {
    if store.snapshot().await.is_err() || store.snapshot().await.is_err() {
        return 0;
    }
    let mut done = 0;
    let changes = async {
        let Ok(new) = message(store, &noise(50, 66_000)).await else { return };
        if store.deliver(new, into(&[INBOX])).await.is_err() {
            return;
        }
        done += 1;
        if store.expunge(INBOX, UidSet::one(Uid(3)), false).await.is_err() {
            return;
        }
        done += 1;
    };
    let keeping = async { while matches!(store.keep_house().await, Ok(Kept::Reclaimed(_))) {} };
    smol::future::zip(changes, keeping).await;
    done
}

#[test]
fn a_power_cut_at_any_operation_of_a_pass_loses_nothing() {
    let workers = workers();
    smol::block_on(async {
        let start = before_a_pass(&workers).await;
        let copy_of = |disk: &SimDisk| {
            let copy = SimDisk::new();
            for folder in ["", "log", "snapshots"] {
                for name in disk.list(folder).unwrap() {
                    let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                    copy.put(&name, &disk.contents(&name).unwrap());
                }
            }
            copy
        };
        // What is to be seen after each number of changes.
        let mut pictures = Vec::new();
        let disk = copy_of(&start);
        let store = open_fast(&disk, &workers);
        pictures.push(picture(&store).await.unwrap());
        store.deliver(message(&store, &noise(50, 66_000)).await.unwrap(), into(&[INBOX])).await.unwrap();
        pictures.push(picture(&store).await.unwrap());
        store.expunge(INBOX, UidSet::one(Uid(3)), false).await.unwrap();
        pictures.push(picture(&store).await.unwrap());
        drop(store);
        let disk = copy_of(&start);
        let before = disk.counters().operations;
        let store = open_fast(&disk, &workers);
        assert_eq!(a_pass(&store).await, 2);
        store.close();
        let operations = disk.counters().operations - before;
        let (first, last) = (log_bytes(&start), log_bytes(&disk));
        println!("{operations} operations; the log shrinks from {first} to {last} octets");
        assert!(last < first * 2 / 3);
        for at in 0..operations {
            let disk = copy_of(&start);
            disk.stop_after(at);
            let done = match open(&disk, &workers) {
                Ok(store) => {
                    store.reclaim_no_faster_than(u64::MAX);
                    a_pass(&store).await
                }
                Err(_) => 0,
            };
            let tear = [Tear::Byte, Tear::Sector, Tear::Page][at as usize % 3];
            let some = [Cut::Some(tear, at), Cut::Some(tear, at + 1_000)];
            for cut in [Cut::Nothing, Cut::Everything].into_iter().chain(some).map(Some).chain([None]) {
                let what = format!("cut at operation {at}, leaving {cut:?}");
                let after = cut.map_or_else(|| disk.revive(), |cut| disk.reboot(cut));
                let store = open_fast(&after, &workers);
                let seen = picture(&store).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let shown = (done..=2.min(done + 1)).find(|n| pictures[*n] == seen);
                assert!(shown.is_some(), "{what}: after {done} changes\n{}\nis not\n{seen}", pictures[done]);
                // What the cut left half done is done later, and nothing is lost then either.
                snapshots(&store).await;
                keep_all(&store).await;
                assert_eq!(picture(&store).await.unwrap(), seen, "{what}, then reclaimed");
                store.close();
                let later = after.reboot(Cut::Nothing);
                let store = open_fast(&later, &workers);
                assert_eq!(picture(&store).await.unwrap(), seen, "{what}, then reclaimed and cut again");
                if cut.is_some_and(|cut| cut != Cut::Nothing) {
                    continue;
                }
                assert_eq!(store.verify(&mut |_| ()).await.unwrap().faults, [], "{what}");
                drop(store);
                // What is left is enough to make the index anew.
                let lost = later.revive();
                lost.put("index.redb", b"");
                let store = open_fast(&lost, &workers);
                assert_eq!(picture(&store).await.unwrap(), seen, "{what}, then the index lost");
            }
        }
    });
}

/// A year of a household: mail comes by the mix, most of it goes within days, some stays; flags change.
#[test]
fn a_year_of_ordinary_use_stays_near_what_is_live() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::counting();
        let store = open_with(&disk, &workers, Options::default()).unwrap();
        store.reclaim_no_faster_than(u64::MAX);
        with_inbox(&store).await;
        let (mut ends, mut received) = (BTreeMap::<u64, Vec<Uid>>::new(), 0u64);
        let (mut worst, mut all_worst, mut over_worst) = (0f64, 0f64, 0f64);
        let mut reclaimed = Reclaimed::default();
        let mut number = 0u64;
        for day in 0..365 {
            for _ in 0..12 {
                number += 1;
                let octets = mail(number, arriving_bytes(number).min(1_000_000));
                received += octets.len() as u64;
                let uid = deliver(&store, &octets).await;
                store.flags(INBOX, UidSet::one(uid), FlagChange::Add, flags(Flags::SEEN, &[]), None).await.unwrap();
                // One of three is kept; the others go within a month.
                if !number.is_multiple_of(3) {
                    ends.entry(day + 1 + number * 31 % 30).or_default().push(uid);
                }
            }
            for uid in ends.remove(&day).unwrap_or_default() {
                expunge(&store, UidSet::one(uid)).await;
            }
            let done = keep_all(&store).await;
            reclaimed.segments += done.segments;
            reclaimed.freed_bytes += done.freed_bytes;
            let stats = store.stats().await.unwrap();
            let all_bytes = log_bytes(&disk) + bytes_in(&disk, "snapshots") + stats.index_bytes;
            over_worst = over_worst.max(log_bytes(&disk) as f64 - 1.2 * stats.live_bytes as f64);
            // In the first weeks a segment is much beside all mail.
            if day >= 60 {
                worst = worst.max(log_bytes(&disk) as f64 / stats.live_bytes as f64);
                all_worst = all_worst.max(all_bytes as f64 / stats.live_bytes as f64);
            }
        }
        let stats = store.stats().await.unwrap();
        println!(
            "a year: {number} messages, {} KiB received, {} KiB live, log at worst {worst:.3} of the live octets, \
             with index and snapshots {all_worst:.3}, and on no day of all more than {} KiB above 1.2; {:.3} octets \
             written per octet received, {:.3} of them by reclaim, {} segments of {} KiB freed; index {} KiB, snapshots {} KiB",
            received / 1024,
            stats.live_bytes / 1024,
            over_worst as u64 / 1024,
            stats.written_bytes as f64 / received as f64,
            stats.copied_bytes as f64 / received as f64,
            reclaimed.segments,
            reclaimed.freed_bytes / 1024,
            stats.index_bytes / 1024,
            bytes_in(&disk, "snapshots") / 1024,
        );
        assert!(worst <= 1.2, "{worst}");
        // From the first day on it is that and one segment of the shortest.
        assert!(over_worst <= (512 << 10) as f64, "{over_worst}");
        // An index has pages to spare, which weigh more beside little mail.
        assert!(all_worst <= 1.4, "{all_worst}");
        let (uids, _) = store.uids(INBOX).await.unwrap();
        for uid in uids.iter().step_by(50) {
            let blob = store.messages(INBOX, &UidSet::one(uid), 1).await.unwrap()[0].1.blob;
            let number = u64::from(uid.0);
            assert!(
                body(&store, blob).await.unwrap() == mail(number, arriving_bytes(number).min(1_000_000)),
                "{uid:?}"
            );
        }
    });
}

#[test]
fn an_unreadable_chunk_does_not_stop_reclaim_and_is_named_by_verify() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let worn = Worn::new(&disk);
        let store = open_worn(&worn, &workers).unwrap();
        store.reclaim_no_faster_than(u64::MAX);
        with_inbox(&store).await;
        for n in 0..40 {
            deliver(&store, &noise(n, 70_000)).await;
        }
        expunge(&store, (1..=40).filter(|n| n % 4 != 0).map(Uid).collect()).await;
        snapshots(&store).await;
        // One sector in the first bodies: some live, some dead.
        let mut bodies: Vec<String> = disk.list("log").unwrap();
        bodies.retain(|name| name.ends_with(".body"));
        bodies.sort();
        for name in &bodies[2..5] {
            worn.spoil(&format!("log/{name}"), 16_384..20_480);
        }
        worn.spoil("snapshots/0000000001.snapshot", 4_096..8_192);
        let done = keep_all(&store).await;
        assert!(done.segments > 10, "{done:?}");
        let verified = store.verify(&mut |_| ()).await.unwrap();
        let bodies = verified.faults.iter().filter(|fault| matches!(fault, verify::Fault::Body { .. })).count() as u64;
        let snapshot = verified.faults.iter().any(|fault| matches!(fault, verify::Fault::Snapshot { number: 1, .. }));
        assert!(bodies > 0 && snapshot && bodies + 1 == verified.faults_total, "{verified:?}");
    });
}

/// A store whose reclaim has several steps to do, on segments that hold several bodies.
async fn half_dead(disk: &SimDisk, workers: &Workers) -> Store {
    let options = Options { segment_bytes: 256 * 1024, ..Options::default() };
    let store = open_with(disk, workers, options).unwrap();
    store.reclaim_no_faster_than(u64::MAX);
    with_inbox(&store).await;
    for n in 0..120 {
        deliver(&store, &noise(n, 70_000)).await;
    }
    expunge(&store, (1..=120).filter(|n| n % 2 != 0).map(Uid).collect()).await;
    snapshots(&store).await;
    store
}

#[test]
fn a_backup_waits_for_a_step_of_reclaim_and_not_for_the_pass() {
    let workers = workers();
    smol::block_on(async {
        let (alone, disturbed) = (SimDisk::new(), SimDisk::new());
        let store = half_dead(&alone, &workers).await;
        let Kept::Reclaimed(whole) = store.keep_house().await.unwrap() else { panic!("nothing to do") };
        assert!(whole.copied_bytes > 3 << 19, "{whole:?}");
        let store = half_dead(&disturbed, &workers).await;
        store.reclaim_no_faster_than(1 << 20);
        let hold = async {
            while store.stats().await.unwrap().copied_bytes == 0 {
                smol::Timer::after(Duration::from_millis(1)).await;
            }
            store.hold().await
        };
        let (part, held) = smol::future::zip(store.keep_house(), hold).await;
        store.reclaim_no_faster_than(u64::MAX);
        let Kept::Reclaimed(part) = part.unwrap() else { panic!("nothing was done") };
        assert!(part.copied_bytes < whole.copied_bytes && part.segments == 0, "{part:?} of {whole:?}");
        drop(held.unwrap());
        // What was left is done another time.
        let rest = keep_all(&store).await;
        assert!(part.copied_bytes + rest.copied_bytes >= whole.copied_bytes && rest.segments > 0, "{rest:?}");
        assert_eq!(store.verify(&mut |_| ()).await.unwrap().faults, []);
    });
}

#[test]
fn a_backup_does_not_wait_for_verify() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = half_dead(&disk, &workers).await;
        let order = std::cell::RefCell::new(Vec::new());
        let verify = async {
            let verified = store.verify(&mut |_| ()).await.unwrap();
            order.borrow_mut().push("verify");
            verified
        };
        let hold = async {
            let held = store.hold().await.unwrap();
            order.borrow_mut().push("backup");
            drop(held);
        };
        let (verified, ()) = smol::future::zip(verify, hold).await;
        assert_eq!((verified.faults, order.into_inner()), (Vec::new(), vec!["backup", "verify"]));
    });
}
