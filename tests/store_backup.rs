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
use pigeon::store::backup::{self, BackupError, Copied};
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

async fn more(store: &Store, messages: u64) {
    for n in 0..messages {
        let bytes = if n % 7 == 6 { 90_000 } else { 3_000 };
        store.deliver(message(store, &noise(n, bytes)).await.unwrap(), into(&[INBOX])).await.unwrap();
    }
}

async fn back_up(store: &Store, from: &SimDisk, to: &SimDisk) -> Result<Copied, BackupError> {
    let held = store.hold().await.unwrap();
    backup::back_up(from, to, (held.batch, &held.names), &mut |_, _| ())
}

/// Restores into an empty disk, as it is or as `pigeon restore` does it.
fn restored(from: &SimDisk, workers: &Workers, raised: bool) -> (SimDisk, Store) {
    let disk = SimDisk::new();
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
        backup::back_up(&disk, &stick, (held.batch, &held.names), &mut |_, _| {
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
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 30).await;
        back_up(&store, &disk, &stick).await.unwrap();
        let first = store.digest().await.unwrap();
        disk.put("tls/ca.pem", b"another certificate");
        more(&store, 10).await;
        store.snapshot().await.unwrap();
        more(&store, 10).await;
        let second = store.digest().await.unwrap();
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
                assert_eq!(names.iter().filter(|name| name.starts_with("MANIFEST")).count(), 1, "{names:?}");
                assert!(!after.list("log").unwrap().iter().any(|name| name.ends_with(".tmp")));
            }
            if done {
                break;
            }
        }
    });
}

#[test]
fn a_changed_octet_anywhere_in_a_backup_is_found() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = filled(&disk, &workers, 20).await;
        back_up(&store, &disk, &stick).await.unwrap();
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

#[test]
fn another_store_of_the_same_length_is_not_taken_for_this_one() {
    let workers = workers();
    smol::block_on(async {
        let (one, other, stick) = (SimDisk::new(), SimDisk::new(), SimDisk::new());
        let store = filled(&one, &workers, 20).await;
        back_up(&store, &one, &stick).await.unwrap();
        // Its history differs by one operation, so its salts do.
        drop(other.create("something").unwrap());
        let store = filled(&other, &workers, 20).await;
        more(&store, 1).await;
        back_up(&store, &other, &stick).await.unwrap();
        assert_eq!(restored(&stick, &workers, false).1.digest().await.unwrap(), store.digest().await.unwrap());
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
