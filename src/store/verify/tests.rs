//! What was flipped is named, what is dead is no fault, and nobody waits for it.

use super::*;
use crate::base::{Budget, Clock, Workers};
use crate::store::disk::Disk;
use crate::store::keys::{T, key_u64};
use crate::store::reclaim::{Chunks, Cursor, extents_from};
use crate::store::rows::{self, Extent, value};
use crate::store::segment::file_name;
use crate::store::sim::{Dice, SimDisk};
use crate::store::*;

const INBOX: MailboxId = MailboxId(1);
const ARCHIVE: MailboxId = MailboxId(2);

fn open(disk: &SimDisk) -> Store {
    let (clock, _) = Clock::simulated(1_700_000_000);
    let workers = Workers::new("test", 2, 1 << 20).unwrap();
    let options = Options { segment_bytes: 256 * 1024, ..Options::default() };
    let store = Store::open_on(Arc::new(disk.clone()), options, clock, workers, Budget::new(32 << 20)).unwrap();
    store.reclaim_no_faster_than(u64::MAX);
    store
}

async fn deliver(store: &Store, octets: &[u8]) {
    let mut body = store.body();
    body.write(octets).await.unwrap();
    let internal_date = Date { unix_s: 0, zone_minutes: 0 };
    let new = NewMessage { body: body.finish().await.unwrap(), summary: Vec::new(), internal_date };
    let target = Target { mailbox: INBOX, flags: FlagNames::default() };
    store.deliver(new, vec![target]).await.unwrap();
}

/// Lines of an attachment with nothing to compress.
fn base64(dice: &mut Dice) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut line = || (0..76).map(|_| char::from(ALPHABET[dice.roll(64) as usize])).collect::<String>() + "\r\n";
    (0..60).map(|_| line()).collect()
}

/// Bodies of every kind: tiny, text, noise, base64, of several chunks; some dead, some copied, some moved by reclaim.
async fn filled(store: &Store) {
    let folders = [("INBOX", None), ("Archive", None), ("Gone", None)];
    store.account_add("alice@example.org", vec![1], &folders).await.unwrap();
    let mut dice = Dice(7);
    for n in 0..60 {
        let octets = match n % 6 {
            0 => b"Subject: tiny\r\n\r\n".to_vec(),
            1 => b"Subject: text\r\n\r\nWords that repeat, and words that repeat.\r\n".repeat(40 + 400 * (n % 12)),
            2 => dice.octets(3_000),
            3 => dice.octets(66_000),
            4 => dice.octets(200_000),
            _ => [b"Content-Transfer-Encoding: base64\r\n\r\n".to_vec(), base64(&mut dice).into_bytes()].concat(),
        };
        deliver(store, &octets).await;
    }
    let gone = (1..=60).filter(|uid| uid % 4 == 0).map(Uid).collect();
    store.expunge(INBOX, gone, false).await.unwrap();
    store.copy(INBOX, UidSet::range(Uid(1), Uid(9)), ARCHIVE).await.unwrap();
    store.copy(INBOX, UidSet::range(Uid(1), Uid(3)), MailboxId(3)).await.unwrap();
    let seen = FlagNames { system: Flags::SEEN, keywords: vec!["$Work".into()] };
    store.flags(INBOX, UidSet::range(Uid(5), Uid(30)), FlagChange::Add, seen, None).await.unwrap();
    store.mailbox_delete(MailboxId(3)).await.unwrap();
    store.snapshot().await.unwrap();
    while store.keep_house().await.unwrap() != Kept::Nothing {}
    let mut unfinished = store.body();
    unfinished.write(&dice.octets(100_000)).await.unwrap();
}

fn nothing(_: Progress) {}

#[test]
fn a_whole_store_has_no_fault_whatever_it_went_through() {
    let disk = SimDisk::new();
    smol::block_on(async {
        let store = open(&disk);
        assert_eq!(store.verify(&mut nothing).await.unwrap().faults, []);
        filled(&store).await;
        let mut parts = Vec::new();
        let mut told = |progress: Progress| {
            assert!(progress.done <= progress.total, "{progress:?}");
            parts.push(progress.part);
        };
        let report = store.verify(&mut told).await.unwrap();
        assert_eq!((report.faults.as_slice(), report.faults_total), (&[][..], 0));
        assert!(report.chunks >= 60 && report.batches > 0 && report.snapshots > 0 && report.rows > 200, "{report:?}");
        let stats = store.stats().await.unwrap();
        assert_eq!(report.chunk_bytes, stats.live_bytes);
        parts.dedup();
        assert!(parts.starts_with(&[Part::Index, Part::Bodies, Part::Log, Part::Snapshots]), "{parts:?}");
        // Killed in the middle of a batch: the torn end is no fault.
        deliver(&store, b"last").await;
        let killed = disk.revive();
        let again = open(&killed);
        assert_eq!(again.verify(&mut nothing).await.unwrap().faults, []);
    });
}

#[test]
fn mail_that_comes_and_goes_meanwhile_is_no_fault() {
    let disk = SimDisk::new();
    smol::block_on(async {
        let store = open(&disk);
        filled(&store).await;
        let changes = async {
            for n in 0..40 {
                deliver(&store, &Dice(n).octets(70_000)).await;
                store.expunge(INBOX, UidSet::one(Uid(1 + n as u32)), false).await.unwrap();
            }
        };
        let looks = async {
            for _ in 0..10 {
                assert_eq!(store.verify(&mut nothing).await.unwrap().faults, []);
            }
        };
        smol::future::zip(changes, looks).await;
    });
}

/// Every chunk that is alive: its body, its segment, where it begins, its octets.
fn chunks(store: &Store) -> Vec<Vec<(BlobId, u64, u64, u64)>> {
    let mut extents: Vec<(BlobId, Extent)> = Vec::new();
    let each = &mut |blob, extent| {
        extents.push((blob, extent));
        true
    };
    assert_eq!(store.shared.index.read(|rx| extents_from(rx, Cursor::default(), false, each)).unwrap(), None);
    let of_extent = |(blob, extent): &(BlobId, Extent)| {
        let file = store.shared.files.get(extent.segment).unwrap();
        let mut chunks = Chunks::of(&*file, extent);
        let (mut all, mut at) = (Vec::new(), extent.offset);
        while let Some(chunk) = chunks.next().unwrap() {
            all.push((*blob, extent.segment, at, chunk.len() as u64));
            at += chunk.len() as u64;
        }
        all
    };
    extents.iter().map(of_extent).collect()
}

#[test]
fn a_flipped_bit_in_any_octet_of_a_live_chunk_is_named() {
    const PLACES: usize = 1_000;
    let disk = SimDisk::counting();
    smol::block_on(async {
        let store = open(&disk);
        filled(&store).await;
        let extents = chunks(&store);
        assert!(extents.len() >= 45, "{}", extents.len());
        let mut dice = Dice(42);
        let (mut places, mut codecs) = (0, std::collections::BTreeSet::new());
        while places < PLACES {
            // One bit in each part of a body, since a part is read up to its first damage.
            let (mut flipped, mut heads) = (Vec::new(), 0);
            for extent in &extents {
                let (blob, segment, at, bytes) = extent[dice.roll(extent.len() as u64) as usize];
                let place = at + dice.roll(bytes);
                heads += u64::from(place < at + chunk::HEADER_BYTES as u64);
                let name = [segment::Kind::Commit, segment::Kind::Body].map(|kind| file_name(kind, segment));
                let file = name.iter().find_map(|name| disk.open(name).ok()).unwrap();
                let mut octet = [0];
                file.read_at(at + 8, &mut octet).unwrap();
                codecs.insert(octet[0]);
                file.read_at(place, &mut octet).unwrap();
                file.write_at(place, &[octet[0] ^ (1 << dice.roll(8))]).unwrap();
                flipped.push((file, place, octet, (blob, segment, at)));
                places += 1;
            }
            let report = store.verify(&mut nothing).await.unwrap();
            let mut found = Vec::new();
            for fault in &report.faults {
                match fault {
                    Fault::Body { blob, segment, offset, places } => {
                        found.push((*blob, *segment, *offset));
                        assert!(places.iter().any(|place| place.address == "alice@example.org"), "{fault}");
                    }
                    // A small body lies in a batch, whose shape its header is part of.
                    Fault::Log { .. } if heads > 0 => {}
                    other => panic!("{other}"),
                }
            }
            let mut expected: Vec<_> = flipped.iter().map(|(.., chunk)| *chunk).collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected);
            for (file, place, octet, _) in flipped {
                file.write_at(place, &octet).unwrap();
            }
        }
        println!("{places} places in chunks of {} codecs", codecs.len());
        assert!(codecs.len() >= 3, "{codecs:?}");
        assert_eq!(store.verify(&mut nothing).await.unwrap().faults, []);
    });
}

#[test]
fn a_flipped_bit_in_a_dead_body_is_no_damage_and_costs_a_start_nothing() {
    let disk = SimDisk::new();
    smol::block_on(async {
        let store = open(&disk);
        filled(&store).await;
        let before = chunks(&store).concat();
        let uids = store.uids(INBOX).await.unwrap().0;
        let mut dice = Dice(7);
        for n in 0..30 {
            deliver(&store, &dice.octets(100 + n * 150)).await;
        }
        let new: UidSet = store.uids(INBOX).await.unwrap().0.iter().filter(|uid| !uids.contains(*uid)).collect();
        let bodies: Vec<_> = chunks(&store).concat().into_iter().filter(|chunk| !before.contains(chunk)).collect();
        assert_eq!((new.len(), bodies.len()), (30, 30));
        // Two of three go; the last two batches hold what stays.
        let dead: UidSet = new.iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, uid)| uid).collect();
        assert_eq!(store.expunge(INBOX, dead, false).await.unwrap().uids.len(), 20);
        let alive = chunks(&store).concat();
        let mut flipped = 0;
        for (_, segment, at, bytes) in bodies.iter().filter(|chunk| !alive.contains(chunk)) {
            let file = disk.open(&file_name(segment::Kind::Commit, *segment)).unwrap();
            let head = chunk::HEADER_BYTES as u64;
            let place = at + head + dice.roll(bytes - head);
            let mut octet = [0];
            file.read_at(place, &mut octet).unwrap();
            file.write_at(place, &[octet[0] ^ (1 << dice.roll(8))]).unwrap();
            flipped += 1;
        }
        assert_eq!(flipped, 20);
        let report = store.verify(&mut nothing).await.unwrap();
        assert_eq!(report.faults, []);
        // Nor is anything lost where the log is all there is, and nothing needs to be raised.
        let digest = store.digest().await.unwrap();
        let mailbox = store.mailbox(INBOX).await.unwrap();
        store.close();
        let disk = disk.revive();
        disk.remove("index.redb").unwrap();
        let again = open(&disk);
        assert_eq!(again.damage().0, [""; 0]);
        assert_eq!((again.digest().await.unwrap(), again.mailbox(INBOX).await.unwrap()), (digest, mailbox));
        // An event that is hit is told.
        let (_, segment, at, _) = alive.iter().rfind(|chunk| bodies.contains(chunk)).copied().unwrap();
        let file = disk.open(&file_name(segment::Kind::Commit, segment)).unwrap();
        let mut octet = [0];
        file.read_at(at - 4, &mut octet).unwrap();
        file.write_at(at - 4, &[octet[0] ^ 1]).unwrap();
        let report = again.verify(&mut nothing).await.unwrap();
        assert!(!report.faults.is_empty());
    });
}

#[test]
fn a_missing_segment_a_bad_batch_and_a_bad_snapshot_are_named() {
    let disk = SimDisk::new();
    smol::block_on(async {
        let store = open(&disk);
        filled(&store).await;
        deliver(&store, b"a batch after the snapshots").await;
        let (.., segment, at, _) = {
            let last = chunks(&store).into_iter().flatten().last().unwrap();
            (last.0, last.1, last.2, last.3)
        };
        // In the event before the chunk.
        let batch = disk.open(&file_name(segment::Kind::Commit, segment)).unwrap();
        let mut octet = [0];
        batch.read_at(at + 60, &mut octet).unwrap();
        batch.write_at(at + 60, &[octet[0] ^ 1]).unwrap();
        let told = store.verify(&mut nothing).await.unwrap();
        assert!(matches!(told.faults[..], [Fault::Log { .. }]), "{told:?}");
        batch.write_at(at + 60, &octet).unwrap();

        let number = store.shared.newest_snapshot().unwrap().number;
        let snapshot = disk.open(&file_name(segment::Kind::Snapshot, number)).unwrap();
        snapshot.read_at(5_000, &mut octet).unwrap();
        snapshot.write_at(5_000, &[octet[0] ^ 1]).unwrap();
        let told = store.verify(&mut nothing).await.unwrap();
        assert!(matches!(told.faults[..], [Fault::Snapshot { .. }]), "{told:?}");
        snapshot.write_at(5_000, &octet).unwrap();

        let body = chunks(&store).into_iter().flatten().find(|(.., bytes)| *bytes > 60_000).unwrap();
        let name = file_name(segment::Kind::Body, body.1);
        let contents = disk.contents(&name).unwrap();
        store.shared.files.forget(body.1);
        disk.remove(&name).unwrap();
        let told = store.verify(&mut nothing).await.unwrap();
        assert!(
            told.faults.iter().any(|fault| matches!(fault, Fault::Body { blob, .. } if *blob == body.0)),
            "{told:?}"
        );
        disk.put(&name, &contents);
        store.shared.files.forget(body.1);
        assert_eq!(store.verify(&mut nothing).await.unwrap().faults, []);
    });
}

#[test]
fn damaged_rows_and_wrong_counters_are_named() {
    let disk = SimDisk::new();
    smol::block_on(async {
        let store = open(&disk);
        filled(&store).await;
        let counted = |what: &str, change: &dyn Fn(&mut index::Tx<'_>) -> Result<(), IndexError>| {
            store.shared.index.write(false, |tx| change(tx)).unwrap();
            let told = smol::block_on(store.verify(&mut nothing)).unwrap();
            let faults: Vec<String> = told.faults.iter().map(Fault::to_string).collect();
            assert!(faults.iter().any(|fault| fault.contains(what)), "{what}: {faults:?}");
            faults
        };
        let mailbox = |change: &dyn Fn(&mut Mailbox), tx: &mut index::Tx<'_>| {
            let mut row = rows::mailbox(tx, INBOX)?.unwrap();
            change(&mut row);
            rows::put_mailbox(tx, &row)
        };
        let faults = counted("messages of mailbox 1 (INBOX)", &|tx| mailbox(&|row| row.exists += 1, tx));
        assert_eq!(faults.len(), 1);
        counted("octets of mailbox 1", &|tx| {
            mailbox(&|row| (row.exists, row.size) = (row.exists - 1, row.size + 1), tx)
        });
        counted("UIDs from UIDNEXT on of mailbox 1", &|tx| {
            mailbox(&|row| (row.size, row.uid_next) = (row.size - 1, Uid(5)), tx)
        });
        counted("live octets of segment", &|tx| {
            let number = *rows::segments(tx)?.keys().next().unwrap();
            let row = value(|to| {
                to.put(&1u64).put(&1u64);
            });
            tx.put(T::Segments, &key_u64(number), row)
        });
        counted("messages that mailboxes name", &|tx| tx.remove(T::Shares, &key_u64(1)).map(drop));
        store.spoil_entry(INBOX, Uid(7));
        let told = store.verify(&mut nothing).await.unwrap();
        let row = Fault::Row { table: "Entries".into(), mailbox: Some(INBOX), number: Some(7) };
        assert_eq!(told.faults, [row]);
    });
}

#[test]
fn a_restored_store_with_one_snapshot_has_no_fault() {
    smol::block_on(async {
        let (disk, stick, there) = (SimDisk::new(), SimDisk::new(), SimDisk::new());
        let store = open(&disk);
        filled(&store).await;
        // What lies before the older snapshot goes.
        store.snapshot().await.unwrap();
        deliver(&store, b"one more").await;
        store.snapshot().await.unwrap();
        while store.keep_house().await.unwrap() != Kept::Nothing {}
        let held = store.hold().await.unwrap();
        backup::back_up(&disk, &stick, &held.content(0), &mut |_, _| ()).unwrap();
        drop(held);
        let manifest = backup::newest(&stick).unwrap();
        backup::restore(&stick, &manifest, &there, &mut |_, _| ()).unwrap();
        assert!(!there.list("log").unwrap().contains(&"0000000001.commit".to_owned()), "this test needs the log cut");
        // As in backups that hold the newest snapshot alone.
        let mut snapshots = there.list("snapshots").unwrap();
        snapshots.sort();
        snapshots.pop().unwrap();
        snapshots.iter().for_each(|name| there.remove(&format!("snapshots/{name}")).unwrap());
        let restored = open(&there);
        assert_eq!(restored.damage().1, 0);
        let report = restored.verify(&mut |_| ()).await.unwrap();
        assert_eq!((report.faults, report.snapshots), (Vec::new(), 1));
    });
}
