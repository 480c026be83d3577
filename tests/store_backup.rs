//! Backups: complete, incremental, consistent while mail arrives; an attempt that breaks off leaves the one before good; what
//! is restored is what was backed up, with UIDs and modification sequences raised.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::base::Workers;
use pigeon::store::backup::{self, BackupError, Copied, Restoring};
use pigeon::store::sim::{Cut, Fault, SimDisk, Tear};
use pigeon::store::*;
use store_support::*;

const INBOX: MailboxId = MailboxId(1);

async fn filled(disk: &SimDisk, workers: &Workers, messages: u64) -> Store {
    disk.put("tls/ca.pem", b"certificate");
    disk.put("pigeon.toml", b"hostname = \"mx.example.org\"\n");
    let store = open(disk, workers).unwrap();
    store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
    more(&store, messages).await;
    store
}

/// The same, and a stick with a backup of it.
async fn backed_up(workers: &Workers, messages: u64) -> (SimDisk, SimDisk, Store) {
    let (disk, stick) = (SimDisk::new(), SimDisk::new());
    let store = filled(&disk, workers, messages).await;
    back_up(&store, &disk, &stick).await.unwrap();
    (disk, stick, store)
}

async fn more(store: &Store, messages: u64) {
    for n in 0..messages {
        let bytes = if n % 7 == 6 { 90_000 } else { 3_000 };
        store.deliver(message(store, &noise(n, bytes)).await.unwrap(), into(&[INBOX])).await.unwrap();
    }
}

async fn back_up(store: &Store, from: &SimDisk, to: &SimDisk) -> Result<Copied, BackupError> {
    let held = store.hold().await.unwrap();
    backup::back_up(from, to, &held.content(0), &mut |_, _| ())
}

/// Restores into an empty disk, as it is or as `pigeon restore` does it.
fn restored(from: &SimDisk, workers: &Workers, raised: bool) -> (SimDisk, Store) {
    restored_onto(SimDisk::new(), from, workers, raised)
}

fn restored_onto(disk: SimDisk, from: &SimDisk, workers: &Workers, raised: bool) -> (SimDisk, Store) {
    let manifest = backup::newest(from).unwrap();
    backup::prove(from, &manifest, &mut |_, _| ()).unwrap();
    backup::restore(from, &manifest, &disk, &mut |_, _| ()).unwrap();
    let options = Options { segment_bytes: 64 * 1024, salvage: raised, ..Options::default() };
    let store = open_with(&disk, workers, options).unwrap();
    (disk, store)
}

#[test]
fn what_is_restored_is_what_was_backed_up() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 60).await;
        let seen = (store.digest().await.unwrap(), picture(&store).await.unwrap());
        let copied = back_up(&store, &disk, &stick).await.unwrap();
        assert_eq!(copied.bytes, copied.new_bytes);
        more(&store, 5).await;
        let (there, again) = restored(&stick, &workers, false);
        assert_eq!((again.digest().await.unwrap(), picture(&again).await.unwrap()), seen);
        assert_eq!(again.damage().1, 0);
        for name in ["tls/ca.pem", "pigeon.toml"] {
            assert_eq!(there.contents(name), disk.contents(name), "{name}");
        }
        // As the verb does it: clients may have seen UIDs that were given out after the backup.
        let (_, raised) = restored(&stick, &workers, true);
        let (before, after) =
            (store.mailbox(INBOX).await.unwrap().unwrap(), raised.mailbox(INBOX).await.unwrap().unwrap());
        assert!(after.uid_next > before.uid_next && after.highest_modseq > before.highest_modseq);
        assert_eq!(after.uid_validity, before.uid_validity);
        assert_eq!(raised.uids(INBOX).await.unwrap().0, again.uids(INBOX).await.unwrap().0);
    });
}

#[test]
fn a_second_backup_copies_only_what_is_new() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 300).await;
        let first = back_up(&store, &disk, &stick).await.unwrap();
        assert!(first.new_bytes > 1 << 20);
        more(&store, 1).await;
        let before = stick.counters();
        let second = back_up(&store, &disk, &stick).await.unwrap();
        // One segment with one message, and the two small files beside.
        assert!(second.new_bytes < 24 * 1024, "{second:?}");
        assert!((stick.counters() - before).written_bytes < 48 * 1024);
        let seen = store.digest().await.unwrap();
        assert_eq!(restored(&stick, &workers, false).1.digest().await.unwrap(), seen);
        // And one when nothing has happened at all.
        let third = back_up(&store, &disk, &stick).await.unwrap();
        assert!(third.new_bytes < 1_000, "{third:?}");
        assert_eq!(restored(&stick, &workers, false).1.digest().await.unwrap(), seen);
    });
}

#[test]
fn mail_that_arrives_meanwhile_waits_for_no_backup_and_is_not_half_in_it() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 40).await;
        let held = store.hold().await.unwrap();
        let seen = store.digest().await.unwrap();
        // A large body half-way when the files are sealed, and mail of every size while they are copied.
        let mut body = store.body();
        body.write(&noise(1, 200_000)).await.unwrap();
        let mut steps = 0;
        backup::back_up(&disk, &stick, &held.content(0), &mut |_, _| {
            steps += 1;
            if steps % 4 == 0 {
                smol::block_on(more(&store, 1));
            }
        })
        .unwrap();
        assert!(steps > 8);
        drop(held);
        body.write(&noise(2, 200_000)).await.unwrap();
        drop(body.finish().await.unwrap());
        assert_eq!(restored(&stick, &workers, false).1.digest().await.unwrap(), seen);
    });
}

#[test]
fn a_stick_pulled_out_at_any_operation_leaves_the_backup_before() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = filled(&disk, &workers, 30).await;
        let sticks = [SimDisk::new(), SimDisk::fat()];
        for stick in &sticks {
            back_up(&store, &disk, stick).await.unwrap();
        }
        let first = store.digest().await.unwrap();
        disk.put("tls/ca.pem", b"another certificate");
        more(&store, 10).await;
        store.snapshot().await.unwrap();
        more(&store, 10).await;
        let second = store.digest().await.unwrap();
        for stick in sticks {
            for at in 0.. {
                let stick = stick.reboot(Cut::Nothing);
                stick.stop_after(at);
                let done = back_up(&store, &disk, &stick).await.is_ok() && !stick.is_off();
                for cut in [Cut::Nothing, Cut::Everything, Cut::Some(Tear::Sector, at)] {
                    let after = stick.reboot(cut);
                    let digest = restored(&after, &workers, false).1.digest().await.unwrap();
                    assert!(digest == second || (digest == first && !done), "pulled at {at}, {cut:?}");
                    // The next one is complete, and leaves nothing of the broken one.
                    back_up(&store, &disk, &after).await.unwrap();
                    assert_eq!(restored(&after, &workers, false).1.digest().await.unwrap(), second);
                    let names = after.list("").unwrap();
                    let manifests: Vec<&String> = names.iter().filter(|name| name.starts_with("MANIFEST")).collect();
                    let is_pair = manifests.len() == 2 && manifests.iter().any(|name| name.ends_with(".copy"));
                    assert!(is_pair, "{names:?}");
                    assert!(!after.list("log").unwrap().iter().any(|name| name.ends_with(".tmp")));
                }
                if done {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_restore_that_fails_and_is_cut_leaves_a_mark_or_nothing() {
    let workers = workers();
    smol::block_on(async {
        let (_disk, stick, _store) = backed_up(&workers, 20).await;
        let manifest = backup::newest(&stick).unwrap();
        let last = manifest.files.last().unwrap();
        let mut contents = stick.contents(&last.stored).unwrap();
        contents[0] ^= 1;
        stick.put(&last.stored, &contents);
        let (mut marked, mut empty) = (0, 0);
        for at in 0.. {
            let to = SimDisk::new();
            to.stop_after(at);
            assert!(backup::restore(&stick, &manifest, &to, &mut |_, _| ()).is_err());
            let is_done = !to.is_off();
            for cut in [Cut::Nothing, Cut::Everything, Cut::Some(Tear::Sector, at)] {
                let after = to.reboot(cut);
                let is_marked = backup::is_half_restored(&after).unwrap();
                let left: Vec<String> = all(&after).into_iter().map(|(name, _)| name).collect();
                let is_empty = left.iter().all(|name| name == "restoring.tmp");
                assert!(is_marked || is_empty, "operation {at}, {cut:?}: {left:?}");
                marked += u32::from(is_marked);
                empty += u32::from(is_empty);
            }
            if is_done {
                break;
            }
        }
        assert!(marked > 10 && empty > 3, "{marked}, {empty}");
    });
}

#[test]
fn a_changed_octet_anywhere_in_a_backup_is_found() {
    let workers = workers();
    smol::block_on(async {
        let (_disk, stick, _store) = backed_up(&workers, 20).await;
        let manifest = backup::newest(&stick).unwrap();
        for file in &manifest.files {
            for at in [0, file.bytes / 2, file.bytes - 1] {
                let stick = stick.reboot(Cut::Nothing);
                let mut contents = stick.contents(&file.stored).unwrap();
                contents[at as usize] ^= 4;
                stick.put(&file.stored, &contents);
                let found = backup::prove(&stick, &manifest, &mut |_, _| ());
                assert!(matches!(&found, Err(BackupError::Damaged(name)) if *name == file.stored), "{found:?}");
                let to = SimDisk::new();
                assert!(backup::restore(&stick, &manifest, &to, &mut |_, _| ()).is_err());
            }
        }
    });
}

/// Every file of a disk.
fn all(disk: &SimDisk) -> Vec<(String, Option<Vec<u8>>)> {
    let folders = ["", "log/", "snapshots/", "tls/"];
    let names = folders.iter().flat_map(|folder| {
        let names = disk.list(folder.trim_end_matches('/')).unwrap();
        names.into_iter().map(move |name| format!("{folder}{name}"))
    });
    names.map(|name| (name.clone(), disk.contents(&name))).collect()
}

/// A store that is not the one of the same history: its identity and its salts are others.
async fn another(workers: &Workers, messages: u64) -> (SimDisk, Store) {
    let disk = SimDisk::new();
    drop(disk.create("something").unwrap());
    let store = filled(&disk, workers, messages).await;
    (disk, store)
}

#[test]
fn another_stores_folder_is_refused_and_left_as_it_is() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick, store) = backed_up(&workers, 20).await;
        let (other, others) = another(&workers, 21).await;
        let before = all(&stick);
        assert!(matches!(back_up(&others, &other, &stick).await, Err(BackupError::OtherStore)));
        assert!(all(&stick) == before);
        // Nor where its manifest can be read no more.
        let mut manifest = stick.contents("MANIFEST-1").unwrap();
        manifest[30] ^= 1;
        stick.put("MANIFEST-1", &manifest);
        let before = all(&stick);
        assert!(matches!(back_up(&others, &other, &stick).await, Err(BackupError::OtherStore)));
        assert!(all(&stick) == before);
        back_up(&store, &disk, &stick).await.unwrap();
        assert_eq!(restored(&stick, &workers, false).1.digest().await.unwrap(), store.digest().await.unwrap());
    });
}

#[test]
fn a_store_that_was_restored_or_salvaged_goes_on_with_its_folder() {
    let workers = workers();
    smol::block_on(async {
        let (_disk, stick, store) = backed_up(&workers, 60).await;
        drop(store);
        let (there, again) = restored(&stick, &workers, true);
        more(&again, 1).await;
        let copied = back_up(&again, &there, &stick).await.unwrap();
        assert!(copied.new_bytes < copied.bytes / 2, "{copied:?}");
        drop(again);
        // The index is lost, and with it the snapshots.
        let there = there.revive();
        there.remove("index.redb").unwrap();
        for name in there.list("snapshots").unwrap() {
            there.remove(&format!("snapshots/{name}")).unwrap();
        }
        let salvaged = open_with(&there, &workers, Options { salvage: true, ..Options::default() }).unwrap();
        back_up(&salvaged, &there, &stick).await.unwrap();
        assert_eq!(restored(&stick, &workers, false).1.digest().await.unwrap(), salvaged.digest().await.unwrap());
    });
}

/// Takes out of a backup what versions before did not write.
fn without_identity(stick: &SimDisk) {
    let name = stick.list("").unwrap().into_iter().find(|name| name.starts_with("MANIFEST-")).unwrap();
    let is_new = |line: &str| ["store ", "mark ", "made "].iter().any(|word| line.starts_with(word));
    rewrite(stick, &name, |line| !is_new(line) && !line.ends_with("store.id"));
    stick.remove("store.id").unwrap();
    assert!(backup::newest(stick).unwrap().store.is_none());
}

/// A manifest with some of its lines.
fn rewrite(stick: &SimDisk, name: &str, stays: impl Fn(&str) -> bool) {
    let text = String::from_utf8(stick.contents(name).unwrap()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("end ") && stays(line));
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    stick.put(name, format!("{body}end {:08x}\n", crc32c::crc32c(body.as_bytes())).as_bytes());
}

#[test]
fn a_folder_that_does_not_say_whose_it_is_is_used_on_by_its_own_store_alone() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick, store) = backed_up(&workers, 20).await;
        without_identity(&stick);
        let (other, others) = another(&workers, 21).await;
        let before = all(&stick);
        assert!(matches!(back_up(&others, &other, &stick).await, Err(BackupError::OtherStore)));
        assert!(all(&stick) == before);
        let seen = store.digest().await.unwrap();
        assert_eq!(restored(&stick, &workers, false).1.digest().await.unwrap(), seen);
        more(&store, 1).await;
        back_up(&store, &disk, &stick).await.unwrap();
        assert!(backup::newest(&stick).unwrap().store.is_some());
    });
}

#[test]
fn a_store_whose_identity_is_lost_starts_and_its_old_folder_stays() {
    let workers = workers();
    smol::block_on(async {
        for spoilt in [None, Some(&b"rubbish"[..]), Some(b"")] {
            let (disk, stick, store) = backed_up(&workers, 20).await;
            drop(store);
            let disk = disk.revive();
            match spoilt {
                None => disk.remove("store.id").unwrap(),
                Some(text) => disk.put("store.id", text),
            }
            let store = open(&disk, &workers).unwrap();
            let before = all(&stick);
            assert!(matches!(back_up(&store, &disk, &stick).await, Err(BackupError::OtherStore)));
            assert!(all(&stick) == before);
            back_up(&store, &disk, &SimDisk::new()).await.unwrap();
        }
    });
}

#[test]
fn a_later_state_of_the_store_is_not_backed_over_by_an_earlier_one() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 20).await;
        drop(store);
        // A copy of the card, put back later.
        let copy = disk.reboot(Cut::Everything);
        let disk = disk.revive();
        let store = open(&disk, &workers).unwrap();
        more(&store, 20).await;
        back_up(&store, &disk, &stick).await.unwrap();
        let before = all(&stick);
        let earlier = open(&copy, &workers).unwrap();
        assert!(matches!(back_up(&earlier, &copy, &stick).await, Err(BackupError::Forked(..))));
        assert!(all(&stick) == before);
        // One that does not say which it is.
        for name in ["MANIFEST-1", "MANIFEST-1.copy"] {
            rewrite(&stick, name, |line| !line.starts_with("mark "));
        }
        assert!(matches!(back_up(&earlier, &copy, &stick).await, Err(BackupError::Later(..))));
    });
}

/// It may have come further since: what its backup alone has is not taken away.
#[test]
fn a_store_that_went_another_way_since_its_backup_does_not_take_that_over() {
    let workers = workers();
    smol::block_on(async {
        let last = |disk: &SimDisk| segments(disk, ".commit").pop().unwrap();
        let empty: Loss = ("its last segment emptied", |disk| disk.put(&segments(disk, ".commit").pop().unwrap(), b""));
        let lose: Loss =
            ("its last segment lost", |disk| disk.remove(&segments(disk, ".commit").pop().unwrap()).unwrap());
        for (what, lose) in [("a copy of before, put back", (|_| ()) as fn(&SimDisk)), empty, lose] {
            let (disk, stick) = (SimDisk::new(), SimDisk::new());
            drop(filled(&disk, &workers, 20).await);
            let copy = disk.reboot(Cut::Everything);
            let disk = disk.revive();
            let store = open(&disk, &workers).unwrap();
            more(&store, 20).await;
            back_up(&store, &disk, &stick).await.unwrap();
            let (saved, messages) = (all(&stick), store.stats().await.unwrap().messages);
            let its_last = last(&disk);
            let disk = if what.starts_with("its") { disk.reboot(Cut::Nothing) } else { copy };
            // Chance is not the same again; here it depends on what has happened on the disk.
            disk.create("chance").unwrap();
            disk.remove("chance").unwrap();
            drop(store);
            lose(&disk);
            if what.starts_with("its") {
                disk.remove("index.redb").unwrap();
                disk.list("snapshots")
                    .unwrap()
                    .iter()
                    .for_each(|name| disk.remove(&format!("snapshots/{name}")).unwrap());
            }
            let store = open(&disk, &workers).unwrap();
            more(&store, 60).await;
            for _ in 0..2 {
                let done = back_up(&store, &disk, &stick).await;
                assert!(matches!(done, Err(BackupError::Forked(..))), "{what}, {its_last}: {done:?}");
                assert!(all(&stick) == saved, "{what}");
                more(&store, 1).await;
            }
            back_up(&store, &disk, &SimDisk::new()).await.unwrap();
            let (_, again) = restored(&stick, &workers, true);
            assert_eq!(again.stats().await.unwrap().messages, messages, "{what}");
        }
    });
}

#[test]
fn kills_and_cuts_between_backups_are_no_other_way() {
    let workers = workers();
    smol::block_on(async {
        let (mut disk, stick) = (SimDisk::new(), SimDisk::new());
        drop(filled(&disk, &workers, 5).await);
        for n in 0..24u64 {
            let cut = [Cut::Nothing, Cut::Everything, Cut::Some(Tear::Sector, n)][n as usize % 3];
            disk = if n % 4 == 0 { disk.revive() } else { disk.reboot(cut) };
            let store = open(&disk, &workers).unwrap();
            assert!(!store.is_end_uncertain() && store.damage().1 == 0, "{n}");
            if n % 5 != 0 {
                more(&store, n % 3).await;
            }
            if n % 2 == 0 {
                let copied = back_up(&store, &disk, &stick).await.unwrap();
                assert!(copied.kept.is_empty() && copied.lost.is_empty(), "{n}: {copied:?}");
            }
            if n % 6 == 5 {
                store.close();
            }
        }
    });
}

/// What a start has lost no later one knows of; what has it is left alone by all of them.
#[test]
fn a_backup_of_before_a_loss_is_left_as_it_is_by_every_later_start() {
    let workers = workers();
    smol::block_on(async {
        let no_index: fn(&SimDisk) = |disk| {
            disk.remove("index.redb").unwrap();
            disk.list("snapshots").unwrap().iter().for_each(|name| disk.remove(&format!("snapshots/{name}")).unwrap());
        };
        let back: Loss = ("the last but one", |disk| {
            let commits = segments(disk, ".commit");
            disk.remove(&commits[commits.len() - 2]).unwrap();
        });
        let end: Loss = ("the last", |disk| disk.remove(&segments(disk, ".commit").pop().unwrap()).unwrap());
        let head: Loss = ("the end of the last", |disk| {
            let last = segments(disk, ".commit").pop().unwrap();
            let octets = disk.contents(&last).unwrap();
            disk.put(&last, &octets[..8 * 1024]);
        });
        let log: Loss = ("the log", |disk| segments(disk, "").iter().for_each(|name| disk.remove(name).unwrap()));
        for ((what, lose), is_index_lost) in [(back, true), (end, false), (end, true), (head, false), (log, false)] {
            let (disk, stick, store) = backed_up(&workers, 60).await;
            more(&store, 14).await;
            back_up(&store, &disk, &stick).await.unwrap();
            if what == "the last but one" {
                more(&store, 3).await;
            }
            let (saved, seen) = (all(&stick), backup::newest(&stick).unwrap().batch);
            let mut disk = disk.revive();
            drop(store);
            lose(&disk);
            if is_index_lost {
                no_index(&disk);
            }
            let fresh = SimDisk::new();
            for n in 0..3 {
                let store = open(&disk, &workers).unwrap();
                assert_eq!(store.damage().1 > 0 || store.is_end_uncertain(), n == 0, "{what}, {n}");
                // Much comes meanwhile, and what was is reclaimed.
                more(&store, 60).await;
                store.snapshot().await.unwrap();
                store.snapshot().await.unwrap();
                store.keep_house().await.unwrap();
                let done = back_up(&store, &disk, &stick).await;
                assert!(matches!(done, Err(BackupError::Forked(..))), "{what}, {n}: {done:?}");
                assert!(all(&stick) == saved, "{what}, {n}");
                // A new folder is its own from then on.
                back_up(&store, &disk, &fresh).await.unwrap();
                drop(store);
                disk = disk.revive();
            }
            let (_, again) = restored(&stick, &workers, true);
            assert_eq!(
                (again.stats().await.unwrap().messages, backup::newest(&stick).unwrap().batch),
                (74, seen),
                "{what}"
            );
        }
    });
}

/// Nothing of the log tells it any more once that is reclaimed.
#[test]
fn a_store_that_was_put_back_takes_no_later_backup_over_however_long_it_lived() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick, store) = backed_up(&workers, 20).await;
        drop(store);
        let copy = disk.reboot(Cut::Everything);
        let disk = disk.revive();
        let store = open(&disk, &workers).unwrap();
        more(&store, 20).await;
        back_up(&store, &disk, &stick).await.unwrap();
        let saved = all(&stick);
        let earlier = open(&copy, &workers).unwrap();
        for _ in 0..4 {
            more(&earlier, 40).await;
            earlier.snapshot().await.unwrap();
            earlier.keep_house().await.unwrap();
            let done = back_up(&earlier, &copy, &stick).await;
            assert!(matches!(done, Err(BackupError::Forked(..))), "{done:?}");
        }
        assert!(all(&stick) == saved);
        // The one that made it goes on, and with a folder of before, too.
        let other = SimDisk::new();
        back_up(&store, &disk, &other).await.unwrap();
        for _ in 0..3 {
            more(&store, 1).await;
            back_up(&store, &disk, &stick).await.unwrap();
        }
        back_up(&store, &disk, &other).await.unwrap();
    });
}

/// A full disk has no room to write a backup down: it is made, and goes on.
#[test]
fn a_backup_that_cannot_be_written_down_is_made_nevertheless() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick, store) = backed_up(&workers, 20).await;
        let mark = backup::newest(&stick).unwrap().mark;
        assert!(mark.is_some());
        disk.leave_room(Some(0));
        back_up(&store, &disk, &stick).await.unwrap();
        let new = SimDisk::new();
        back_up(&store, &disk, &new).await.unwrap();
        // What is known says at least of which past it is.
        assert_eq!((backup::newest(&stick).unwrap().mark, backup::newest(&new).unwrap().mark), (mark.clone(), mark));
        disk.leave_room(None);
        for stick in [&stick, &new] {
            more(&store, 1).await;
            back_up(&store, &disk, stick).await.unwrap();
            assert!(backup::newest(stick).unwrap().mark.is_some());
        }
    });
}

#[test]
fn a_data_directory_is_no_place_for_a_backup() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        drop(filled(&disk, &workers, 20).await);
        let copy = disk.reboot(Cut::Everything);
        let disk = disk.revive();
        let store = open(&disk, &workers).unwrap();
        for is_named in [true, false] {
            if !is_named {
                copy.remove("store.id").unwrap();
            }
            let before = all(&copy);
            let done = back_up(&store, &disk, &copy).await;
            assert!(matches!(done, Err(BackupError::NotOurs(_))), "{done:?}");
            assert!(all(&copy) == before);
        }
    });
}

/// The head of a segment ruined, on the card or on the stick, however it is.
#[test]
fn a_ruined_head_takes_no_good_copy_along() {
    let workers = workers();
    smol::block_on(async {
        let ruins: [fn(&mut Vec<u8>); 4] = [
            |octets| octets[..4096].fill(0),
            |octets| octets[..4096].fill(0xff),
            |octets| octets[20] ^= 4,
            |octets| octets[..2048].iter_mut().enumerate().for_each(|(n, octet)| *octet = (n * 37) as u8 ^ 0x5a),
        ];
        for (n, ruin) in ruins.into_iter().enumerate() {
            let (disk, stick, store) = backed_up(&workers, 60).await;
            let manifest = backup::newest(&stick).unwrap();
            let victim = segments(&disk, ".body").remove(0);
            let good = stick.contents(&victim).unwrap();
            let mut octets = disk.contents(&victim).unwrap();
            ruin(&mut octets);
            disk.put(&victim, &octets);
            let copied = back_up(&store, &disk, &stick).await.unwrap();
            assert_eq!(copied.kept, std::slice::from_ref(&victim), "{n}");
            let kept = backup::newest(&stick).unwrap();
            let stored =
                |manifest: &backup::Manifest| manifest.files.iter().find(|file| file.name == victim).unwrap().clone();
            assert_eq!((stored(&kept), stick.contents(&victim).unwrap()), (stored(&manifest), good.clone()), "{n}");
            // On the stick: it is copied again.
            let (disk, stick, store) = backed_up(&workers, 60).await;
            for victim in [segments(&disk, ".commit").remove(0), victim] {
                let good = stick.contents(&victim).unwrap();
                let mut octets = good.clone();
                ruin(&mut octets);
                stick.put(&victim, &octets);
                let copied = back_up(&store, &disk, &stick).await.unwrap();
                assert!(copied.kept.is_empty(), "{n}: {copied:?}");
                let manifest = backup::newest(&stick).unwrap();
                backup::prove(&stick, &manifest, &mut |_, _| ()).unwrap();
            }
        }
    });
}

/// What is on its way while a backup is made belongs to no backup, and costs none its good name.
#[test]
fn a_message_that_is_on_its_way_is_not_missed() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick, store) = backed_up(&workers, 20).await;
        let mut body = store.body();
        body.write(&noise(7, 300_000)).await.unwrap();
        let batch = back_up(&store, &disk, &stick).await.map(|_| backup::newest(&stick).unwrap().batch).unwrap();
        drop(body);
        for _ in 0..2 {
            let copied = back_up(&store, &disk, &stick).await.unwrap();
            assert!(copied.kept.is_empty() && copied.lost.is_empty(), "{copied:?}");
        }
        let manifest = backup::newest(&stick).unwrap();
        assert_eq!(manifest.batch, batch);
        let (_, again) = restored(&stick, &workers, true);
        assert!(!again.is_end_uncertain() && again.damage().1 == 0);
    });
}

#[test]
fn one_of_two_manifests_is_enough() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick, store) = backed_up(&workers, 5).await;
        let whole = backup::newest(&stick).unwrap();
        let names = ["MANIFEST-1", "MANIFEST-1.copy"];
        let spoil = |stick: &SimDisk, name: &str, way: u32| match way {
            0 => stick.remove(name).unwrap(),
            1 => stick.put(name, b""),
            _ => {
                let mut text = stick.contents(name).unwrap();
                text[40] ^= 4;
                stick.put(name, &text);
            }
        };
        for way in 0..3 {
            for name in names {
                let stick = stick.revive();
                spoil(&stick, name, way);
                assert_eq!(backup::newest(&stick).unwrap(), whole, "{name}, {way}");
                drop(restored(&stick, &workers, true));
            }
            let stick = stick.revive();
            names.into_iter().for_each(|name| spoil(&stick, name, way));
            assert!(backup::newest(&stick).is_err(), "{way}");
        }
        // The next backup has two again, and the older ones are gone.
        let stick = stick.revive();
        spoil(&stick, names[0], 2);
        back_up(&store, &disk, &stick).await.unwrap();
        let mut there = stick.list("").unwrap();
        there.retain(|name| name.starts_with("MANIFEST"));
        there.sort();
        assert_eq!(there, ["MANIFEST-2", "MANIFEST-2.copy"]);
    });
}

#[test]
fn a_restore_removes_nothing_that_none_has_made() {
    // A file that only has the mark's name.
    let to = SimDisk::new();
    to.put("restoring", b"the old chairs");
    to.put("thesis.txt", b"words");
    let before = all(&to);
    assert!(matches!(Restoring::begin(&to), Err(BackupError::NotEmpty(_))));
    assert!(all(&to) == before);
    // A restore that was cut short, and somebody's files beside it.
    for name in ["thesis.txt", "log/thesis.txt", "log/0000000001.commit.odt"] {
        let to = SimDisk::new();
        drop(Restoring::begin(&to).unwrap());
        to.put(name, b"words");
        to.put("log/0000000001.commit", b"copied");
        let before = all(&to);
        assert!(matches!(Restoring::begin(&to), Err(BackupError::NotEmpty(_))), "{name}");
        assert!(all(&to) == before, "{name}");
    }
}

#[test]
fn a_first_backup_that_broke_off_anywhere_is_its_stores() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 10).await;
        let (other, others) = another(&workers, 11).await;
        for at in 0.. {
            let stick = stick.reboot(Cut::Nothing);
            stick.stop_after(at);
            let done = back_up(&store, &disk, &stick).await.is_ok() && !stick.is_off();
            for cut in [Cut::Nothing, Cut::Everything, Cut::Some(Tear::Sector, at)] {
                let after = stick.reboot(cut);
                let is_theirs = !after.list("log").unwrap().is_empty();
                let tried = back_up(&others, &other, &stick.reboot(cut)).await;
                assert_eq!(matches!(tried, Err(BackupError::OtherStore)), after.contents("store.id").is_some(), "{at}");
                assert!(!is_theirs || tried.is_err(), "pulled at {at}, {cut:?}");
                back_up(&store, &disk, &after).await.unwrap();
            }
            if done {
                break;
            }
        }
    });
}

#[test]
fn a_full_stick_is_said_before_anything_is_written() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 5).await;
        stick.fail(Fault::Full);
        assert!(matches!(back_up(&store, &disk, &stick).await, Err(BackupError::NoRoom(..))));
        assert_eq!(stick.counters().written_bytes, 0);
    });
}

/// The names of the segments in a folder, and of those alone that hold bodies.
fn segments(disk: &SimDisk, kind: &str) -> Vec<String> {
    let mut names: Vec<String> = disk.list("log").unwrap().into_iter().filter(|name| name.ends_with(kind)).collect();
    names.sort();
    names.into_iter().map(|name| format!("log/{name}")).collect()
}

/// What a card loses, and how.
type Loss = (&'static str, fn(&SimDisk));

/// Whatever a card loses while the backup still has it: the next backup must not take it away.
#[test]
fn what_the_store_has_lost_stays_in_the_backup_and_is_told() {
    let workers = workers();
    smol::block_on(async {
        let lose: [Loss; 5] = [
            ("the newest segment", |disk| disk.remove(&segments(disk, "").pop().unwrap()).unwrap()),
            ("a segment", |disk| disk.remove(&segments(disk, ".body")[0]).unwrap()),
            ("the end of one", |disk| {
                let name = segments(disk, ".body").remove(0);
                let octets = disk.contents(&name).unwrap();
                disk.put(&name, &octets[..octets.len() / 2]);
            }),
            ("the head of one", |disk| {
                let name = segments(disk, ".body").remove(0);
                let mut octets = disk.contents(&name).unwrap();
                octets[..4096].fill(0);
                disk.put(&name, &octets);
            }),
            ("all of one", |disk| disk.put(&segments(disk, ".body")[0], b"")),
        ];
        for (what, lose) in lose {
            let (disk, stick) = (SimDisk::new(), SimDisk::new());
            let store = filled(&disk, &workers, 60).await;
            let large = message(&store, &noise(60, 90_000)).await.unwrap();
            store.deliver(large, into(&[INBOX])).await.unwrap();
            assert!(segments(&disk, "").pop().unwrap().ends_with(".body"));
            back_up(&store, &disk, &stick).await.unwrap();
            drop(store);
            let disk = disk.revive();
            lose(&disk);
            let store = open(&disk, &workers).unwrap();
            for _ in 0..3 {
                let copied = back_up(&store, &disk, &stick).await.unwrap();
                assert!(!copied.kept.is_empty() && copied.lost.is_empty(), "{what}: {copied:?}");
                more(&store, 1).await;
            }
            drop(store);
            let (_, again) = restored(&stick, &workers, true);
            let verified = again.verify(&mut |_| ()).await.unwrap();
            assert_eq!(verified.faults_total, 0, "{what}: {:?}", verified.faults.first());
            assert_eq!(again.stats().await.unwrap().messages, 63, "{what}");
            // Without one of before, it is told that there is none.
            if what == "a segment" {
                let store = open(&disk.revive(), &workers).unwrap();
                let copied = back_up(&store, &disk.revive(), &SimDisk::new()).await.unwrap();
                assert_eq!((copied.lost.len(), copied.kept.len()), (1, 0));
            }
        }
    });
}

#[test]
fn two_that_came_of_one_backup_do_not_take_each_others_folder() {
    let workers = workers();
    smol::block_on(async {
        for who_first in 0..3 {
            let (disk, stick, store) = backed_up(&workers, 20).await;
            let (one_disk, one) = restored(&stick, &workers, true);
            // Chance is not the same on another disk, which here depends on what has happened on it.
            let another = SimDisk::new();
            another.put("chance", b"");
            another.create("chance").unwrap();
            another.remove("chance").unwrap();
            let (two_disk, two) = restored_onto(another, &stick, &workers, true);
            let mut all = [(&disk, &store), (&one_disk, &one), (&two_disk, &two)];
            all.rotate_left(who_first);
            for (n, (disk, store)) in all.into_iter().enumerate() {
                more(store, 3 + n as u64).await;
                let done = back_up(store, disk, &stick).await;
                assert_eq!(done.is_ok(), n == 0, "{who_first}, {n}: {done:?}");
                assert!(n == 0 || matches!(done, Err(BackupError::OtherStore)), "{done:?}");
            }
            // Who goes on with it goes on.
            let (disk, store) = all[0];
            more(store, 1).await;
            back_up(store, disk, &stick).await.unwrap();
            assert_eq!(restored(&stick, &workers, false).1.digest().await.unwrap(), store.digest().await.unwrap());
        }
    });
}

#[test]
fn attempts_that_broke_off_take_no_room_of_the_next() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 60).await;
        let bytes = back_up(&store, &disk, &SimDisk::new()).await.unwrap().bytes;
        stick.leave_room(Some(bytes + bytes / 8));
        stick.stop_after(40);
        assert!(back_up(&store, &disk, &stick).await.is_err());
        let stick = stick.reboot(Cut::Everything);
        assert!(!segments(&stick, "").is_empty(), "it broke off before anything was there");
        back_up(&store, &disk, &stick).await.unwrap();
        assert_eq!(restored(&stick, &workers, false).1.digest().await.unwrap(), store.digest().await.unwrap());
    });
}

#[test]
fn names_that_lead_elsewhere_are_not_opened() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 1).await;
        let mut held = store.hold().await.unwrap();
        held.names.push("log/../../etc/evil".to_owned());
        let done = backup::back_up(&disk, &stick, &held.content(0), &mut |_, _| ());
        assert!(matches!(done, Err(BackupError::Strange(_))), "{done:?}");
        assert!(all(&stick).is_empty(), "nothing is made before");
    });
}
