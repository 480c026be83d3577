//! Damage and loss: whatever part of the index, the log or the snapshots is gone or changed, the store opens, serves what is
//! whole, says what is not, and gives no UID out twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::base::Workers;
use pigeon::store::sim::{Cut, Dice, Kind, Operation, SimDisk, Tear};
use pigeon::store::verify::Fault;
use pigeon::store::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use store_support::*;

const INBOX: MailboxId = MailboxId(1);
const TRASH: MailboxId = MailboxId(2);

/// A store with some of everything, in several small segments.
async fn filled(disk: &SimDisk, workers: &Workers, messages: u64) -> Store {
    let store = open(disk, workers).unwrap();
    let folders = [("INBOX", None), ("Trash", Some(SpecialUse::Trash))];
    store.account_add("alice@example.org", b"secrets".to_vec(), &folders).await.unwrap();
    store.alias_add("team@example.org", &["alice@example.org".into()]).await.unwrap();
    more(&store, messages).await;
    store
}

async fn more(store: &Store, messages: u64) {
    for n in 0..messages {
        let bytes = if n % 10 == 9 { 90_000 } else { 3_000 };
        let stored = store.deliver(message(store, &noise(n, bytes)).await.unwrap(), into(&[INBOX])).await.unwrap()[0];
        let one = UidSet::one(stored.uid);
        match n % 5 {
            0 => drop(store.flags(INBOX, one, FlagChange::Add, flags(Flags::SEEN, &["$Work"]), None).await.unwrap()),
            1 => drop(store.copy(INBOX, one, TRASH).await.unwrap()),
            2 => drop(store.expunge(INBOX, one, false).await.unwrap()),
            3 => drop(store.move_messages(INBOX, one, TRASH).await.unwrap()),
            _ => {}
        }
    }
}

fn names(disk: &SimDisk, folder: &str) -> Vec<String> {
    let mut names: Vec<String> =
        disk.list(folder).unwrap().into_iter().map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    names
}

fn commits(disk: &SimDisk) -> Vec<String> {
    names(disk, "log").into_iter().filter(|name| name.ends_with(".commit")).collect()
}

/// Turns one bit of a file over.
fn flip(disk: &SimDisk, name: &str, byte: usize, bit: u8) {
    let mut contents = disk.contents(name).unwrap();
    contents[byte] ^= 1 << bit;
    disk.put(name, &contents);
}

async fn digest_and_picture(store: &Store) -> (u64, String) {
    (store.digest().await.unwrap(), picture(store).await.unwrap())
}

/// The UIDs in a mailbox, and its next.
async fn uids(store: &Store, mailbox: MailboxId) -> (UidSet, Uid, ModSeq) {
    let row = store.mailbox(mailbox).await.unwrap().unwrap();
    (store.uids(mailbox).await.unwrap().0, row.uid_next, row.highest_modseq)
}

#[test]
fn a_lost_index_comes_back_from_the_log_or_from_any_snapshot_the_same() {
    let workers = workers();
    smol::block_on(async {
        for snapshots_after in [vec![], vec![0], vec![0, 20], vec![20, 40, 60]] {
            let what = format!("snapshots after {snapshots_after:?}");
            let disk = SimDisk::new();
            let store = filled(&disk, &workers, 0).await;
            for n in 0..80 {
                if snapshots_after.contains(&n) {
                    store.snapshot().await.unwrap();
                }
                more(&store, 1).await;
            }
            let before = digest_and_picture(&store).await;
            store.close();
            drop(store);
            assert_eq!(names(&disk, "snapshots").len(), snapshots_after.len().min(2), "{what}");
            for gone in ["removed", "empty", "rubbish"] {
                let disk = disk.revive();
                match gone {
                    "removed" => disk.remove("index.redb").unwrap(),
                    "empty" => disk.put("index.redb", b""),
                    _ => disk.put("index.redb", &noise(1, 100_000)),
                }
                let store = open(&disk, &workers).unwrap();
                assert_eq!(digest_and_picture(&store).await, before, "{what}, {gone}");
                assert_eq!(store.damage().1, 0, "{what}, {gone}");
                more(&store, 3).await;
                let later = digest_and_picture(&store).await;
                drop(store);
                let again = open(&disk.reboot(Cut::Nothing), &workers).unwrap();
                assert_eq!(digest_and_picture(&again).await, later, "{what}, {gone}");
            }
        }
    });
}

#[test]
fn a_lost_index_behind_a_torn_end_raises_everything_and_loses_nothing() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        // The index holds each batch at once, so that a start writes none again and begins no segment behind the torn one.
        let options = Options { checkpoint_commits: 1, ..Options::default() };
        let store = open_with(&disk, &workers, options).unwrap();
        store.account_add("alice@example.org", Vec::new(), &[("INBOX", None), ("Trash", None)]).await.unwrap();
        more(&store, 5).await;
        let (before, known) = (picture(&store).await.unwrap(), uids(&store, INBOX).await);
        let torn: Arc<Mutex<Option<SimDisk>>> = Arc::default();
        let to = torn.clone();
        disk.watch(Some(Arc::new(move |operation: &Operation<'_>, disk| {
            if operation.kind == Kind::Write && operation.name.ends_with(".commit") {
                to.lock().unwrap().get_or_insert(disk);
            }
        })));
        more(&store, 1).await;
        disk.watch(None);
        let torn = torn.lock().unwrap().take().unwrap();
        let mut tears = 0;
        for seed in 0..30 {
            let disk = torn.revive().reboot(Cut::Some(Tear::Sector, seed));
            let store = open(&disk, &workers).unwrap();
            let whole = picture(&store).await.unwrap() != before;
            assert_eq!((store.damage().1, store.is_end_uncertain()), (0, false), "seed {seed}");
            let now = digest_and_picture(&store).await;
            let lost = disk.revive();
            drop(store);
            lost.remove("index.redb").unwrap();
            let store = open(&lost, &workers).unwrap();
            assert_eq!(store.damage().1, 0, "seed {seed}: a cut is no damage");
            if !store.is_end_uncertain() {
                assert_eq!(digest_and_picture(&store).await, now, "seed {seed}");
                continue;
            }
            tears += 1;
            assert!(!whole, "seed {seed}: the start wrote it again, so that nothing is left to doubt");
            let (there, raised, _) = uids(&store, INBOX).await;
            assert_eq!((there, raised.0 >= known.1.0 + 1_000_000), (known.0.clone(), true), "seed {seed}");
        }
        assert!(tears > 3, "{tears}");
        // Without a tear nothing is raised.
        let lost = torn.reboot(Cut::Nothing);
        lost.remove("index.redb").unwrap();
        let store = open(&lost, &workers).unwrap();
        assert_eq!((picture(&store).await.unwrap(), store.is_end_uncertain()), (before, false));
    });
}

#[test]
fn a_start_right_after_a_snapshot_does_not_make_a_later_loss_of_the_index_look_like_damage() {
    let workers = workers();
    smol::block_on(async {
        for after in [0, 3] {
            let disk = SimDisk::new();
            let store = filled(&disk, &workers, 20).await;
            store.snapshot().await.unwrap();
            // The last batch is in the snapshot, and not in the index as it was last made durable.
            let cut = disk.reboot(Cut::Nothing);
            drop(store);
            let store = open(&cut, &workers).unwrap();
            more(&store, after).await;
            let before = digest_and_picture(&store).await;
            let lost = cut.revive();
            drop(store);
            lost.remove("index.redb").unwrap();
            let store = open(&lost, &workers).unwrap();
            assert_eq!(store.damage(), (&[][..], 0), "{after} more");
            assert_eq!(digest_and_picture(&store).await, before, "{after} more");
        }
    });
}

#[test]
fn a_missing_index_without_the_beginning_of_the_log_is_never_taken_for_a_new_store() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 60).await;
        store.close();
        drop(store);
        disk.remove("index.redb").unwrap();
        disk.remove(&commits(&disk)[0]).unwrap();
        let store = open(&disk, &workers).unwrap();
        assert!(store.damage().1 > 0);
    });
}

#[test]
fn with_a_snapshot_the_log_before_it_is_not_needed() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 60).await;
        store.snapshot().await.unwrap();
        more(&store, 10).await;
        let before = store.digest().await.unwrap();
        store.close();
        drop(store);
        disk.remove("index.redb").unwrap();
        disk.remove(&commits(&disk)[0]).unwrap();
        let store = open(&disk, &workers).unwrap();
        assert_eq!(store.digest().await.unwrap(), before);
    });
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_the_one_before() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 30).await;
        store.snapshot().await.unwrap();
        more(&store, 20).await;
        store.snapshot().await.unwrap();
        more(&store, 10).await;
        let before = digest_and_picture(&store).await;
        store.close();
        drop(store);
        let newest = names(&disk, "snapshots").pop().unwrap();
        let length = disk.contents(&newest).unwrap().len();
        for byte in [3, 20, 4_100, 4_200, length / 2, length - 20, length - 1] {
            let disk = disk.revive();
            flip(&disk, &newest, byte, 3);
            disk.remove("index.redb").unwrap();
            let store = open(&disk, &workers).unwrap();
            let (uids, picture) = (uids(&store, INBOX).await.0, picture(&store).await.unwrap());
            assert_eq!(store.damage().1, 1, "byte {byte}");
            // The snapshot before and the log had all of it: nothing is raised.
            assert_eq!((store.digest().await.unwrap(), picture), before, "byte {byte}");
            assert!(!uids.is_empty());
        }
    });
}

/// Opens a store of which a batch in the middle of the log is damaged, with its index lost; what is whole must be there, and
/// UIDs must go on above every one that was ever given out.
async fn must_go_on(disk: &SimDisk, workers: &Workers, before: &[(UidSet, Uid, ModSeq)], lost_max: u64, what: &str) {
    let store = open(disk, workers).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert!(store.damage().1 > 0, "{what}: nothing was told");
    for (mailbox, before) in [INBOX, TRASH].into_iter().zip(before) {
        let (there, uid_next, modseq) = uids(&store, mailbox).await;
        assert!(uid_next.0 >= before.1.0 + 1_000_000 - 100, "{what}: UIDNEXT {uid_next:?} after {:?}", before.1);
        assert!(modseq > before.2, "{what}: {modseq:?} after {:?}", before.2);
        let lost = before.0.iter().filter(|uid| !there.contains(*uid)).count() as u64;
        assert!(lost <= lost_max, "{what}: {lost} messages of {} are lost", before.0.len());
        check_counters(&store, &store.mailbox(mailbox).await.unwrap().unwrap()).await.unwrap();
    }
    let stored = store.deliver(message(&store, b"new").await.unwrap(), into(&[INBOX])).await.unwrap()[0];
    let (digest, uid) = (store.digest().await.unwrap(), stored.uid);
    drop(store);
    // It is raised once, not at every start.
    let again = open(&disk.revive().reboot(Cut::Nothing), workers).unwrap();
    assert_eq!(again.digest().await.unwrap(), digest, "{what}");
    assert_eq!(uids(&again, INBOX).await.1.0, uid.0 + 1, "{what}");
    assert_eq!(again.damage().1, 0, "{what}");
}

#[test]
fn replay_goes_on_behind_a_damaged_page_and_loses_only_what_it_holds() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 60).await;
        let before = [uids(&store, INBOX).await, uids(&store, TRASH).await];
        store.close();
        drop(store);
        let commits = commits(&disk);
        assert!(commits.len() > 3);
        for name in &commits[..commits.len() - 1] {
            let pages = disk.contents(name).unwrap().len() / 4_096;
            for page in [0, 1, 2, pages / 2, pages - 1] {
                // The first batches make the account and its mailboxes: without them there is nothing to serve.
                if *name == commits[0] && (1..=2).contains(&page) {
                    continue;
                }
                for way in ["zeroed", "flipped"] {
                    let disk = disk.revive();
                    match way {
                        "zeroed" => {
                            let mut contents = disk.contents(name).unwrap();
                            contents[page * 4_096..(page + 1) * 4_096].fill(0);
                            disk.put(name, &contents);
                        }
                        _ => flip(&disk, name, page * 4_096 + 9, 5),
                    }
                    disk.remove("index.redb").unwrap();
                    must_go_on(&disk, &workers, &before, 2, &format!("{name}, page {page} {way}")).await;
                }
            }
        }
    });
}

#[test]
fn replay_goes_on_behind_a_missing_or_truncated_segment() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 80).await;
        let before = [uids(&store, INBOX).await, uids(&store, TRASH).await];
        store.close();
        drop(store);
        let commits = commits(&disk);
        for name in &commits[..commits.len() - 1] {
            for way in ["removed", "cut in the middle", "cut to nothing"] {
                let disk = disk.revive();
                let contents = disk.contents(name).unwrap();
                match way {
                    "removed" => disk.remove(name).unwrap(),
                    "cut to nothing" => disk.put(name, b""),
                    _ => disk.put(name, &contents[..contents.len() / 2]),
                }
                disk.remove("index.redb").unwrap();
                must_go_on(&disk, &workers, &before, 40, &format!("{name} {way}")).await;
            }
        }
    });
}

/// Whatever a flipped bit hits, lengths too: all events are there, or damage is told.
#[test]
fn a_flipped_bit_in_any_octet_of_the_log_loses_no_event_without_a_word() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 1).await;
        for from in [10, 20] {
            let mut three = Vec::new();
            for n in from..from + 3 {
                three.push((message(&store, &noise(n, 64 + 40 * n as usize)).await.unwrap(), FlagNames::default()));
            }
            store.append(INBOX, three).await.unwrap();
            store
                .flags(INBOX, UidSet::range(Uid(1), Uid(9)), FlagChange::Add, flags(Flags::SEEN, &[]), None)
                .await
                .unwrap();
        }
        store.deliver(message(&store, b"last").await.unwrap(), into(&[INBOX])).await.unwrap();
        let before = uids(&store, INBOX).await;
        let flagged = |store: Store| async move {
            let all = store.messages(INBOX, &UidSet::range(Uid(1), Uid(100)), 100).await.unwrap();
            all.into_iter().map(|(entry, _)| (entry.uid, entry.flags)).collect::<Vec<_>>()
        };
        let flags_before = flagged(store.clone()).await;
        store.close();
        drop(store);
        disk.remove("index.redb").unwrap();
        let (mut dice, mut whole, mut told) = (Dice(5), 0, 0);
        for name in commits(&disk) {
            let contents = disk.contents(&name).unwrap();
            for at in 4_096..contents.len() {
                // Every third; of zeros, which are padding for the most part, fewer.
                if at % 3 != 0 || (contents[at] == 0 && at % 7 != 0) {
                    continue;
                }
                let disk = disk.revive();
                let mut flipped = contents.clone();
                flipped[at] ^= 1 << dice.roll(8);
                disk.put(&name, &flipped);
                let store = open(&disk, &workers).unwrap();
                if store.damage().1 > 0 || store.is_end_uncertain() {
                    told += 1;
                    continue;
                }
                whole += 1;
                let what = format!("octet {at} of {name}");
                assert_eq!(uids(&store, INBOX).await, before, "{what}");
                assert_eq!(flagged(store.clone()).await, flags_before, "{what}");
            }
        }
        println!("{whole} flips cost nothing but bodies, {told} are told");
        assert!(whole > 100 && told > 100, "{whole}, {told}");
    });
}

/// Whether the index is whole, and behind the log's end or not, or is lost.
#[test]
fn a_lost_or_cut_last_segment_is_told_and_gives_no_uid_twice() {
    let workers = workers();
    smol::block_on(async {
        for way in ["killed", "killed, index lost", "stopped", "stopped, index lost"] {
            let disk = SimDisk::new();
            let store = filled(&disk, &workers, 80).await;
            let before = [uids(&store, INBOX).await, uids(&store, TRASH).await];
            if way.starts_with("stopped") {
                store.close();
            }
            let disk = disk.revive();
            drop(store);
            if way.ends_with("lost") {
                disk.remove("index.redb").unwrap();
            }
            let last = commits(&disk).pop().unwrap();
            let contents = disk.contents(&last).unwrap();
            let used = contents.iter().rposition(|octet| *octet != 0).unwrap() / 4_096;
            assert!(used > 10, "{used}");
            for pages in std::iter::once(None).chain((0..=used).map(Some)) {
                let what = format!("{way}: {last} of {used} pages left with {pages:?}");
                let disk = disk.revive();
                match pages {
                    None => disk.remove(&last).unwrap(),
                    Some(pages) => disk.put(&last, &contents[..pages * 4_096]),
                }
                let store = open(&disk, &workers).unwrap();
                let is_told = store.is_end_uncertain() || store.damage().1 > 0;
                // Where the index is at the end, events are lost that nobody needs.
                assert!(is_told || way == "stopped", "{what}");
                for (mailbox, before) in [INBOX, TRASH].into_iter().zip(&before) {
                    let after = uids(&store, mailbox).await;
                    let is_raised = after.1 > before.1 && after.2 > before.2;
                    assert!(is_raised || (!is_told && after == *before), "{what}: {after:?} after {before:?}");
                }
            }
            // Of what lost nothing, nothing is told.
            let store = open(&disk.revive(), &workers).unwrap();
            assert!(!store.is_end_uncertain() && store.damage().1 == 0, "{way}");
            assert_eq!([uids(&store, INBOX).await, uids(&store, TRASH).await], before, "{way}");
        }
    });
}

/// What becomes of a page, and how.
type Ruin = (&'static str, fn(&mut [u8]));

/// A card ruins more than it writes at once. Only the last batch may be one that nobody was told of.
#[test]
fn several_ruined_batches_at_the_end_are_told_and_give_no_uid_twice() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 80).await;
        let before = uids(&store, INBOX).await;
        let disk = disk.revive();
        drop(store);
        let last = commits(&disk).pop().unwrap();
        let contents = disk.contents(&last).unwrap();
        let used = contents.iter().rposition(|octet| *octet != 0).unwrap() / 4_096 + 1;
        let starts: Vec<usize> = (1..used).filter(|page| contents[page * 4_096..].starts_with(b"PgB1")).collect();
        let ruins: [Ruin; 4] = [
            ("a flipped bit", |page| page[40] ^= 1),
            ("erased but for its head", |page| page[32..].fill(0xff)),
            ("erased", |page| page.fill(0xff)),
            ("zeros", |page| page.fill(0)),
        ];
        for (what, ruin) in ruins {
            for count in 1..=5 {
                let disk = disk.revive();
                let mut octets = contents.clone();
                for start in &starts[starts.len() - count..] {
                    // The last one of those that are erased is left as it is: it shows that all before it were acknowledged.
                    if count == 1 || !what.ends_with("erased") && what != "zeros" || start != starts.last().unwrap() {
                        ruin(&mut octets[start * 4_096..(start + 1) * 4_096]);
                    }
                }
                disk.put(&last, &octets);
                let store = open(&disk, &workers).unwrap();
                let is_told = store.is_end_uncertain() || store.damage().1 > 0;
                assert!(is_told == (count > 1), "{what}, {count}");
                let after = uids(&store, INBOX).await;
                if is_told {
                    assert!(after.1 > before.1 && after.2 > before.2, "{what}, {count}: {after:?} after {before:?}");
                }
                drop(store);
                // That which follows is whole.
                let store = open(&disk.revive(), &workers).unwrap();
                assert!(!store.is_end_uncertain() && store.damage().1 == 0, "{what}, {count}");
            }
        }
    });
}

/// The index has seen the end of the segment before, which is the rule and not chance.
#[test]
fn a_lost_segment_behind_a_stop_or_a_backup_is_told_and_gives_no_uid_twice() {
    let workers = workers();
    smol::block_on(async {
        for way in ["stopped", "backed up", "stopped and backed up", "restarted"] {
            let disk = SimDisk::new();
            let store = filled(&disk, &workers, 5).await;
            if way.ends_with("backed up") {
                drop(store.hold().await.unwrap());
            }
            let (disk, store) = match way {
                "backed up" => (disk, store),
                _ => {
                    store.close();
                    drop(store);
                    let disk = disk.revive();
                    if way == "restarted" {
                        open(&disk, &workers).unwrap().close();
                    }
                    (disk.clone(), open(&disk, &workers).unwrap())
                }
            };
            let there = commits(&disk);
            more(&store, 3).await;
            let before = uids(&store, INBOX).await;
            let killed = disk.revive();
            drop(store);
            let last = commits(&killed).pop().unwrap();
            assert!(!there.contains(&last), "{way}: {last}");
            let contents = killed.contents(&last).unwrap();
            for pages in [None, Some(1), Some(2), Some(3)] {
                let disk = killed.revive();
                match pages {
                    None => disk.remove(&last).unwrap(),
                    Some(pages) => disk.put(&last, &contents[..pages * 4_096]),
                }
                let store = open(&disk, &workers).unwrap();
                assert!(store.is_end_uncertain() || store.damage().1 > 0, "{way}, {pages:?}");
                let after = uids(&store, INBOX).await;
                assert!(after.1 > before.1 && after.2 > before.2, "{way}, {pages:?}: {after:?} after {before:?}");
            }
            let store = open(&killed.revive(), &workers).unwrap();
            assert!(!store.is_end_uncertain() && store.damage().1 == 0, "{way}");
        }
    });
}

#[test]
fn a_last_segment_that_is_shorter_than_the_index_knows_is_told_and_stays_so() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let killed = filled(&disk, &workers, 10).await;
        // A start makes the index durable behind the batch that it wrote again; then more comes.
        let disk = disk.revive();
        drop(killed);
        let store = open(&disk, &workers).unwrap();
        let last = commits(&disk).pop().unwrap();
        more(&store, 3).await;
        let before = uids(&store, INBOX).await;
        let disk = disk.revive();
        drop(store);
        assert_eq!(commits(&disk).last(), Some(&last));
        disk.put(&last, &disk.contents(&last).unwrap()[..4_096]);
        let store = open(&disk, &workers).unwrap();
        assert!(store.is_end_uncertain() || store.damage().1 > 0);
        let after = uids(&store, INBOX).await;
        assert!(after.1 > before.1 && after.2 > before.2, "{after:?} after {before:?}");
        more(&store, 2).await;
        assert_eq!(disk.contents(&last).unwrap().len(), 4_096, "it is made no longer than it is");
    });
}

#[test]
fn a_lost_last_segment_and_index_give_no_uid_twice_where_bodies_tell_of_it() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        drop(filled(&disk, &workers, 1).await);
        let store = open(&disk, &workers).unwrap();
        more(&store, 20).await;
        let before = uids(&store, INBOX).await;
        store.close();
        drop(store);
        disk.remove(commits(&disk).last().unwrap()).unwrap();
        disk.remove("index.redb").unwrap();
        let store = open(&disk, &workers).unwrap();
        assert!(store.is_end_uncertain());
        let after = uids(&store, INBOX).await;
        assert!(after.1 > before.1 && after.2 > before.2, "{after:?} after {before:?}");
    });
}

async fn read(store: &Store, mailbox: MailboxId, uid: Uid) -> Result<Vec<u8>, Refusal> {
    let found = store.messages(mailbox, &UidSet::one(uid), 1).await?;
    body(store, found.first().ok_or(Refusal::NotFound)?.1.blob).await
}

#[test]
fn a_lost_segments_number_is_given_to_no_other() {
    let workers = workers();
    smol::block_on(async {
        // The index is whole, has not seen the last batch, or is made anew from the log.
        for way in ["closed", "cut", "index lost"] {
            let disk = SimDisk::new();
            let store = filled(&disk, &workers, 3).await;
            let secret = noise(77, 90_000);
            let stored = store.deliver(message(&store, &secret).await.unwrap(), into(&[INBOX])).await.unwrap()[0];
            if way == "closed" {
                store.close();
            }
            let disk = if way == "cut" { disk.reboot(Cut::Nothing) } else { disk.revive() };
            drop(store);
            let highest = names(&disk, "log").pop().unwrap();
            assert!(highest.ends_with(".body"), "{highest}");
            disk.remove(&highest).unwrap();
            if way == "index lost" {
                disk.remove("index.redb").unwrap();
            }
            let store = open(&disk, &workers).unwrap();
            let other =
                store.deliver(message(&store, &noise(78, 90_000)).await.unwrap(), into(&[TRASH])).await.unwrap();
            assert!(disk.contents(&highest).is_none(), "{way}: {highest} is there again");
            assert_eq!(read(&store, INBOX, stored.uid).await, Err(Refusal::Damaged), "{way}");
            assert!(read(&store, TRASH, other[0].uid).await.is_ok(), "{way}");
            let verified = store.verify(&mut |_| ()).await.unwrap();
            assert!(verified.faults_total > 0, "{way}");
            // After another start, too.
            store.close();
            drop(store);
            let store = open(&disk, &workers).unwrap();
            drop(message(&store, &noise(79, 90_000)).await.unwrap());
            assert!(disk.contents(&highest).is_none(), "{way}: {highest} is there after another start");
        }
    });
}

#[test]
fn a_strange_file_with_the_highest_number_stops_no_start() {
    let workers = workers();
    smol::block_on(async {
        for name in ["log/4611686018427387000.commit", "log/4611686018427387903.body", "log/4611404543450677247.commit"]
        {
            let disk = SimDisk::new();
            drop(filled(&disk, &workers, 5).await);
            let mut disk = disk.revive();
            disk.put(name, b"");
            for n in 0..4 {
                let store = open(&disk, &workers).unwrap();
                let before = store.stats().await.unwrap().messages;
                more(&store, 2).await;
                assert_eq!(store.stats().await.unwrap().messages, before + 2, "{name}, start {n}");
                assert!(before >= 3, "{name}, start {n}");
                if n % 2 == 0 {
                    store.close();
                }
                drop(store);
                disk = disk.revive();
            }
        }
    });
}

#[test]
fn a_damaged_first_batch_of_the_last_segment_is_told_and_gives_no_uid_twice() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 1).await;
        // What comes next begins a segment, as it does whenever one is full.
        drop(store.hold().await.unwrap());
        let seen = store.deliver(message(&store, b"two").await.unwrap(), into(&[INBOX])).await.unwrap()[0].uid;
        let cut = disk.reboot(Cut::Nothing);
        let last = commits(&cut).pop().unwrap();
        // The batch's header, its body, its event, its magic, all of it.
        for ruined in [4_096 + 10..4_096 + 11, 4_096 + 60..4_096 + 61, 4_096..4_100, 4_096..8_192] {
            let disk = cut.revive();
            let mut contents = disk.contents(&last).unwrap();
            contents[ruined.clone()].iter_mut().for_each(|octet| *octet ^= 1);
            disk.put(&last, &contents);
            let store = open(&disk, &workers).unwrap();
            assert!(store.damage().1 > 0, "{ruined:?}");
            let now = store.deliver(message(&store, b"three").await.unwrap(), into(&[INBOX])).await.unwrap()[0].uid;
            assert!(now > seen, "{ruined:?}: UID {now:?} after {seen:?}");
            let digest = store.digest().await.unwrap();
            store.close();
            drop(store);
            let store = open(&disk, &workers).unwrap();
            assert_eq!((store.digest().await.unwrap(), store.damage().1), (digest, 0), "{ruined:?}");
        }
        // An index that has seen it lacks nothing.
        let disk = cut.revive();
        let store = open(&disk, &workers).unwrap();
        store.close();
        drop(store);
        let last = commits(&disk).pop().unwrap();
        flip(&disk, &last, 4_096 + 60, 0);
        let store = open(&disk, &workers).unwrap();
        assert_eq!((store.damage().1, uids(&store, INBOX).await.0.contains(seen)), (0, true));
    });
}

#[test]
fn a_segment_that_names_itself_or_a_later_one_as_predecessor_ends_the_search() {
    let workers = workers();
    smol::block_on(async {
        let origin = SimDisk::new();
        let store = filled(&origin, &workers, 40).await;
        let before = [uids(&store, INBOX).await, uids(&store, TRASH).await];
        store.close();
        drop(store);
        origin.remove("index.redb").unwrap();
        let names = commits(&origin);
        for (name, later) in [(names.last().unwrap(), 0), (&names[1], 0), (&names[1], 1)] {
            let disk = origin.revive();
            let mut contents = disk.contents(name).unwrap();
            let number = u64::from_le_bytes(contents[16..24].try_into().unwrap()) + later;
            contents[24..32].copy_from_slice(&number.to_le_bytes());
            let crc = crc32c::crc32c(&contents[..52]);
            contents[52..56].copy_from_slice(&crc.to_le_bytes());
            disk.put(name, &contents);
            must_go_on(&disk, &workers, &before, 1, name).await;
        }
    });
}

#[test]
fn an_index_that_knows_more_than_the_log_keeps_what_it_knows() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 60).await;
        let before = uids(&store, INBOX).await;
        store.close();
        drop(store);
        let commits = commits(&disk);
        disk.remove(commits.last().unwrap()).unwrap();
        let store = open(&disk, &workers).unwrap();
        assert!(store.damage().1 > 0);
        let after = uids(&store, INBOX).await;
        assert_eq!(after.0, before.0);
        assert!(after.1.0 >= before.1.0 + 1_000_000);
        more(&store, 3).await;
        let digest = store.digest().await.unwrap();
        store.close();
        drop(store);
        assert_eq!(open(&disk, &workers).unwrap().digest().await.unwrap(), digest);
    });
}

#[test]
fn page_0_of_the_index_lost_costs_nothing() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 40).await;
        let before = digest_and_picture(&store).await;
        store.close();
        drop(store);
        let mut contents = disk.contents("index.redb").unwrap();
        contents[..4_096].fill(0);
        disk.put("index.redb", &contents);
        let store = open(&disk, &workers).unwrap();
        assert_eq!(digest_and_picture(&store).await, before);
        assert!(disk.contents("index.redb.broken-1").is_some());
    });
}

#[test]
fn a_damaged_row_makes_the_index_anew_without_a_restart() {
    let workers = workers();
    smol::block_on(async {
        for with_snapshot in [false, true] {
            let disk = SimDisk::new();
            let store = filled(&disk, &workers, 30).await;
            if with_snapshot {
                store.snapshot().await.unwrap();
            }
            store.deliver(message(&store, b"Subject: needle\r\n\r\n").await.unwrap(), into(&[INBOX])).await.unwrap();
            store.close();
            drop(store);
            let seen = {
                let store = open(&disk, &workers).unwrap();
                let seen = digest_and_picture(&store).await;
                store.close();
                seen
            };
            // Every place where the alias stands in the file.
            let mut contents = disk.contents("index.redb").unwrap();
            let mut hits = 0;
            let value = b"\x01\x11alice@example.org";
            for at in 0..contents.len() - value.len() {
                if contents[at..].starts_with(value) {
                    contents[at + 5] ^= 1;
                    hits += 1;
                }
            }
            assert!(hits > 0, "the row is not where this test looks for it");
            disk.put("index.redb", &contents);
            let store = open(&disk, &workers).unwrap();
            assert_eq!(
                store.alias("team@example.org").await.unwrap(),
                Some(vec!["alice@example.org".to_owned()]),
                "the row was made anew"
            );
            assert_eq!(digest_and_picture(&store).await, seen);
            more(&store, 2).await;
            let digest = store.digest().await.unwrap();
            store.close();
            drop(store);
            assert_eq!(open(&disk, &workers).unwrap().digest().await.unwrap(), digest);
        }
    });
}

#[test]
fn salvage_makes_the_index_anew_and_raises_every_mailbox() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 30).await;
        let before = [uids(&store, INBOX).await, uids(&store, TRASH).await];
        let account = store.account("alice@example.org").await.unwrap();
        store.close();
        drop(store);
        let options = Options { segment_bytes: 64 * 1024, salvage: true, ..Options::default() };
        let store = open_with(&disk, &workers, options).unwrap();
        assert_eq!(store.account("alice@example.org").await.unwrap(), account);
        for (mailbox, before) in [INBOX, TRASH].into_iter().zip(&before) {
            let after = uids(&store, mailbox).await;
            assert_eq!(after.0, before.0);
            assert_eq!(after.1.0, before.1.0 + 1_000_000);
            assert!(after.2.0 >= before.2.0 + 1_000_000_000);
            // Every message has changed for a client that knew it.
            let changes = store.changes(mailbox, before.2, 1_000).await.unwrap();
            assert_eq!(changes.changed.len() as u64, before.0.len());
        }
    });
}

#[test]
fn a_cut_at_any_operation_of_a_snapshot_or_of_salvage_loses_nothing() {
    let workers = workers();
    smol::block_on(async {
        let origin = SimDisk::new();
        let store = filled(&origin, &workers, 30).await;
        store.snapshot().await.unwrap();
        more(&store, 5).await;
        let seen = picture(&store).await.unwrap();
        store.close();
        drop(store);
        let cuts = [Cut::Nothing, Cut::Everything, Cut::Some(pigeon::store::sim::Tear::Sector, 7)];
        // A snapshot.
        for at in 0.. {
            let disk = origin.revive();
            let store = open(&disk, &workers).unwrap();
            disk.stop_after(at);
            let done = store.snapshot().await.is_ok();
            for cut in cuts {
                let after = disk.reboot(cut);
                let store = open(&after, &workers).unwrap();
                assert_eq!(picture(&store).await.unwrap(), seen, "cut at {at}, {cut:?}");
                assert!(!names(&after, "snapshots").iter().any(|name| name.ends_with(".tmp")));
                drop(store);
                after.remove("index.redb").unwrap();
                let store = open(&after.revive(), &workers).unwrap();
                assert_eq!(picture(&store).await.unwrap(), seen, "cut at {at}, {cut:?}, index lost");
            }
            if done {
                break;
            }
        }
        // A lost index made anew.
        for at in 0.. {
            let disk = origin.revive();
            disk.remove("index.redb").unwrap();
            disk.stop_after(at);
            let done = open(&disk, &workers).is_ok() && !disk.is_off();
            for cut in cuts {
                let store = open(&disk.reboot(cut), &workers).unwrap();
                let after = picture(&store).await.unwrap();
                // A cut may leave it unknown whether all is there: then UIDs are raised, and nothing else differs.
                if after != seen {
                    let raised = store.mailbox(INBOX).await.unwrap().unwrap().uid_next.0;
                    assert!(raised > 1_000_000, "cut at {at}, {cut:?}\n{after}\n{seen}");
                }
            }
            if done {
                break;
            }
        }
    });
}

/// What a client knows of a message, and whether it should still be there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    flags: FlagNames,
    body: u32,
    date: Date,
}

/// Everything in a mailbox by UID, and the UIDs of what cannot be read.
async fn known(store: &Store, mailbox: MailboxId) -> (BTreeMap<u32, Known>, BTreeSet<u32>) {
    let row = store.mailbox(mailbox).await.unwrap().unwrap();
    let mut known = BTreeMap::new();
    let mut unreadable = BTreeSet::new();
    let mut rest = store.uids(mailbox).await.unwrap().0;
    while !rest.is_empty() {
        let found = store.messages(mailbox, &rest, 500).await.unwrap();
        rest.remove_range(UidRange { first: Uid(0), last: found.last().unwrap().0.uid });
        for (entry, message) in found {
            let system = Flags(entry.flags.0 & 31);
            let keywords = row.keywords.iter().enumerate().filter(|(n, _)| entry.flags.has(Flags::keyword(*n)));
            let keywords = keywords.map(|(_, name)| name.clone()).collect();
            match body(store, message.blob).await {
                Ok(octets) => {
                    let body = crc32c::crc32c(&octets);
                    let flags = FlagNames { system, keywords };
                    known.insert(entry.uid.0, Known { flags, body, date: message.internal_date });
                }
                Err(Refusal::Damaged) => drop(unreadable.insert(entry.uid.0)),
                Err(refusal) => panic!("UID {}: {refusal:?}", entry.uid.0),
            }
        }
    }
    (known, unreadable)
}

/// Octets of the message with this number.
fn octets_of(n: u32) -> usize {
    if n % 100 == 99 { 80_000 } else { 700 + n as usize % 900 }
}

#[test]
fn ten_thousand_messages_with_random_damage_are_salvaged_but_for_what_was_hit() {
    const MESSAGES: u32 = 10_000;
    const HITS: u64 = 40;
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let options = Options { segment_bytes: 2 << 20, ..Options::default() };
        let store = open_with(&disk, &workers, options.clone()).unwrap();
        let folders = [("INBOX", None), ("Trash", Some(SpecialUse::Trash))];
        store.account_add("alice@example.org", b"her secrets".to_vec(), &folders).await.unwrap();
        store.alias_add("team@example.org", &["alice@example.org".into()]).await.unwrap();
        for start in (0..MESSAGES).step_by(200) {
            let mut new = Vec::new();
            for n in start..start + 200 {
                let mut message = message(&store, &noise(u64::from(n), octets_of(n))).await.unwrap();
                message.internal_date = Date { unix_s: 1_600_000_000 + i64::from(n), zone_minutes: 60 };
                new.push((message, FlagNames::default()));
            }
            store.append(INBOX, new).await.unwrap();
            let here = UidSet::range(Uid(start + 1), Uid(start + 60));
            store.flags(INBOX, here, FlagChange::Add, flags(Flags::SEEN, &["$Work"]), None).await.unwrap();
            let gone = UidSet::range(Uid(start + 61), Uid(start + 70));
            store.expunge(INBOX, gone, false).await.unwrap();
            if start == 4_000 || start == 8_000 {
                store.snapshot().await.unwrap();
            }
        }
        let (before, none) = known(&store, INBOX).await;
        let uid_validity = store.mailbox(INBOX).await.unwrap().unwrap().uid_validity;
        let account = store.account("alice@example.org").await.unwrap();
        let uid_next = uids(&store, INBOX).await.1;
        assert_eq!((before.len() as u32, none.len()), (MESSAGES - MESSAGES / 20, 0));
        store.close();
        drop(store);
        let log: Vec<(String, Vec<u8>)> =
            names(&disk, "log").into_iter().map(|name| (name.clone(), disk.contents(&name).unwrap())).collect();
        for seed in 0..6u64 {
            let disk = disk.revive();
            let mut dice = Dice(seed);
            let mut roll = |sides: usize| dice.roll(sides as u64) as usize;
            // A bit here and there in the log, or in bodies alone, those of expunged messages too; the newest snapshot hit as
            // well, and the index gone.
            let of_bodies = seed >= 3;
            let mut hit = BTreeSet::new();
            for _ in 0..HITS {
                let (name, at) = if of_bodies {
                    let n = roll(MESSAGES as usize);
                    let octets = noise(n as u64, octets_of(n as u32));
                    let at = roll(octets.len() - 40);
                    let found = log.iter().find_map(|(name, contents)| {
                        Some((name, memchr::memmem::find(contents, &octets[at..at + 40])?))
                    });
                    // Each once: a second bit would make up for the first.
                    if !hit.insert(n as u32 + 1) {
                        continue;
                    }
                    found.expect("its octets lie in one piece")
                } else {
                    let (name, contents) = &log[roll(log.len())];
                    (name, roll(contents.len()))
                };
                flip(&disk, name, at, 4);
            }
            let newest = names(&disk, "snapshots").pop().unwrap();
            flip(&disk, &newest, 5_000 + (roll(1_000)), 1);
            disk.remove("index.redb").unwrap();
            let store = open_with(&disk, &workers, Options { salvage: true, ..options.clone() }).unwrap();
            assert_eq!(store.account("alice@example.org").await.unwrap(), account);
            let alias = store.alias("team@example.org").await.unwrap();
            assert_eq!(alias, Some(vec!["alice@example.org".to_owned()]));
            let inbox = store.mailbox(INBOX).await.unwrap().unwrap();
            assert_eq!(inbox.uid_validity, uid_validity);
            assert!(inbox.uid_next.0 > uid_next.0 + 900_000);
            let (after, unreadable) = known(&store, INBOX).await;
            let same = after.iter().filter(|(uid, known)| before.get(uid) == Some(known)).count();
            let back: Vec<&u32> = after.keys().filter(|uid| !before.contains_key(uid)).collect();
            let lost = before.len() - after.len().min(before.len());
            let told = store.damage().1;
            println!(
                "seed {seed}: {same} of {} the same, {lost} lost, {} unreadable, {} back, {told} told",
                before.len(),
                unreadable.len(),
                back.len()
            );
            // What cannot be read is named, and nothing else.
            let mut named = BTreeSet::new();
            for fault in store.verify(&mut |_| ()).await.unwrap().faults {
                if let Fault::Body { places, .. } = &fault {
                    named.extend(places.iter().map(|place| place.uid.0));
                }
            }
            assert_eq!(named, unreadable, "seed {seed}");
            if of_bodies {
                // A damaged body costs its message, and one that nobody needs costs nothing.
                let expected = hit.into_iter().filter(|uid| before.contains_key(uid)).collect();
                assert_eq!(unreadable, expected, "seed {seed}");
                assert_eq!((same, back.len()), (before.len() - unreadable.len(), 0), "seed {seed}");
                assert_eq!(store.damage().1, 1, "the snapshot: {:?}", store.damage().0);
                continue;
            }
            for (uid, known) in &after {
                let Some(old) = before.get(uid) else { continue };
                assert_eq!((old.body, old.date), (known.body, known.date), "seed {seed}: UID {uid}");
            }
            // A hit costs the body or the event that it hits, and an event here is an APPEND of 200.
            let events = usize::try_from(told).unwrap() - 1;
            assert!(back.len() <= 10 * events, "seed {seed}: {} expunged ones came back", back.len());
            assert!(same + unreadable.len() + 200 * events >= before.len(), "seed {seed}: {same} of {}", before.len());
            assert!(unreadable.len() as u64 <= HITS, "seed {seed}: {} bodies for {HITS} hits", unreadable.len());
        }
    });
}
