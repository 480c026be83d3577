//! Worn cards and the world around a store: places that cannot be read, files of others beside ours, slow writes. What can be
//! had is had; nothing is taken from others; nothing is promised that is not so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::base::Workers;
use pigeon::store::backup;
use pigeon::store::sim::SimDisk;
use pigeon::store::*;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use store_support::hooked::{Hook, Hooked};
use store_support::worn::Worn;
use store_support::*;

const INBOX: MailboxId = MailboxId(1);

async fn with_inbox(store: &Store) {
    store.account_add("alice@example.org", vec![0; 200], &[("INBOX", None)]).await.unwrap();
}
async fn deliver(store: &Store, octets: &[u8]) -> Uid {
    let new = message(store, octets).await.unwrap();
    store.deliver(new, into(&[INBOX])).await.unwrap()[0].uid
}
fn list(disk: &SimDisk, folder: &str) -> Vec<String> {
    let mut names: Vec<String> = disk.list(folder).unwrap().into_iter().map(|n| format!("{folder}/{n}")).collect();
    names.sort();
    names
}

#[test]
fn a_backup_survives_one_flipped_bit_in_the_newest_snapshot() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        store.reclaim_no_faster_than(u64::MAX);
        with_inbox(&store).await;
        for n in 0..100 {
            deliver(&store, &noise(n, 5_000)).await;
        }
        let (uids, _) = store.uids(INBOX).await.unwrap();
        let mut rest: UidSet = (1..=100).filter(|n| n % 2 == 0).map(Uid).collect();
        while !rest.is_empty() {
            rest = store.expunge(INBOX, rest, false).await.unwrap().rest;
        }
        drop(uids);
        store.snapshot().await.unwrap();
        for n in 0..5 {
            deliver(&store, &noise(n, 3_000)).await;
        }
        store.snapshot().await.unwrap();
        for _ in 0..50 {
            if store.keep_house().await.unwrap() == Kept::Nothing {
                break;
            }
        }
        for n in 0..5 {
            deliver(&store, &noise(n, 3_000)).await;
        }
        let there = store.uids(INBOX).await.unwrap().0.len();
        let newest = list(&disk, "snapshots").pop().unwrap();
        let mut contents = disk.contents(&newest).unwrap();
        contents[4096 + 500] ^= 1;
        disk.put(&newest, &contents);
        let stick = SimDisk::new();
        let held = store.hold().await.unwrap();
        backup::back_up(&disk, &stick, &held.content(0), &mut |_, _| ()).unwrap();
        drop(held);
        let to = SimDisk::new();
        let manifest = backup::newest(&stick).unwrap();
        backup::prove(&stick, &manifest, &mut |_, _| ()).unwrap();
        backup::restore(&stick, &manifest, &to, &mut |_, _| ()).unwrap();
        let again = open(&to, &workers).unwrap();
        let (accounts, back) = (again.accounts(None, 10).await.unwrap().len(), again.uids(INBOX).await);
        assert_eq!((accounts, back.map(|(uids, _)| uids.len())), (1, Ok(there)), "{:?}", again.damage());
    });
}

#[test]
fn a_store_starts_with_an_unreadable_snapshot() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        with_inbox(&store).await;
        store.snapshot().await.unwrap();
        store.close();
        drop(store);
        let worn = Worn::new(&disk);
        worn.spoil(&list(&disk, "snapshots")[0], 0..4096);
        let store = open_worn(&worn, &workers).map(drop);
        assert!(store.is_ok(), "{store:?}");
    });
}

#[test]
fn an_unreadable_newest_snapshot_is_passed_over_for_the_one_before() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        with_inbox(&store).await;
        for n in 0..300 {
            deliver(&store, &noise(n, 300)).await;
        }
        store.snapshot().await.unwrap();
        store.snapshot().await.unwrap();
        store.close();
        drop(store);
        disk.remove("index.redb").unwrap();
        let worn = Worn::new(&disk);
        worn.spoil(list(&disk, "snapshots").last().unwrap(), 8192..12288);
        let store = open_worn(&worn, &workers).map(drop);
        assert!(store.is_ok(), "{store:?}");
    });
}

#[test]
fn an_unreadable_page_of_the_index_costs_nothing() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        with_inbox(&store).await;
        for n in 0..300 {
            deliver(&store, &noise(n, 300)).await;
        }
        store.close();
        drop(store);
        let len = disk.contents("index.redb").unwrap().len() as u64;
        let mut not_opened = Vec::new();
        let mut not_served = Vec::new();
        for page in 0..(len / 4096).min(120) {
            let worn = Worn::new(&disk.revive());
            worn.spoil("index.redb", page * 4096..page * 4096 + 4096);
            match open_worn(&worn, &workers) {
                Err(error) => not_opened.push(format!("{page}: {error:?}")),
                Ok(store) => {
                    if let Err(refusal) = picture(&store).await {
                        not_served.push(format!("{page}: {refusal:?}"))
                    }
                }
            }
        }
        assert!(
            not_opened.is_empty() && not_served.is_empty(),
            "not opened {} {:?}; not served {} {:?}",
            not_opened.len(),
            not_opened.first(),
            not_served.len(),
            not_served.first()
        );
    });
}

#[test]
fn salvage_raises_uid_validity_without_any_mailbox() {
    let workers = workers();
    smol::block_on(async {
        let (disk, stick) = (SimDisk::new(), SimDisk::new());
        let store = open(&disk, &workers).unwrap();
        store.domain_add("example.org").await.unwrap();
        let held = store.hold().await.unwrap();
        backup::back_up(&disk, &stick, &held.content(0), &mut |_, _| ()).unwrap();
        drop(held);
        with_inbox(&store).await;
        let seen = store.mailbox(INBOX).await.unwrap().unwrap().uid_validity;
        deliver(&store, b"one").await;
        let to = SimDisk::new();
        backup::restore(&stick, &backup::newest(&stick).unwrap(), &to, &mut |_, _| ()).unwrap();
        let again =
            open_with(&to, &workers, Options { salvage: true, segment_bytes: 65536, ..Options::default() }).unwrap();
        with_inbox(&again).await;
        let now = again.mailbox(INBOX).await.unwrap().unwrap().uid_validity;
        assert!(now > seen, "{now:?} again");
    });
}

#[test]
fn a_stray_file_beside_the_certificate_does_not_break_backups() {
    let workers = workers();
    smol::block_on(async {
        for name in ["tls/.ca.pem.swp", "tls/my cert.pem"] {
            let (disk, stick) = (SimDisk::new(), SimDisk::new());
            disk.put(name, b"x");
            let store = open(&disk, &workers).unwrap();
            with_inbox(&store).await;
            let held = store.hold().await.unwrap();
            let done = backup::back_up(&disk, &stick, &held.content(0), &mut |_, _| ());
            assert!(done.is_ok(), "{name}: {done:?}");
        }
    });
}

#[test]
fn a_backup_of_many_segments_needs_few_open_files() {
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    let mut most = 0;
    let root = std::env::temp_dir().join(format!("pigeon-worn-{}", std::process::id()));
    let (from, to) = (RealDisk::new(&root.join("from")).unwrap(), RealDisk::new(&root.join("to")).unwrap());
    let mut names = Vec::new();
    for n in 0..400 {
        let name = format!("log/{n:010}.body");
        from.create(&name).unwrap().write_at(0, &[7; 100]).unwrap();
        names.push(name);
    }
    let done = backup::back_up(
        &from,
        &to,
        &backup::Content { batch: (1, 1), end: (0, 0), names: &names, needed: &[], mark: None, made_s: 0 },
        &mut |_, _| most = open_files().max(most),
    );
    std::fs::remove_dir_all(&root).unwrap();
    assert!(done.is_ok(), "{done:?}");
    assert!(most < before + 50, "{most} files are open");
}

#[test]
fn a_card_that_does_not_give_its_identity_back_is_saved_into_another_folder() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let worn = Worn::new(&disk);
        let store = open_worn(&worn, &workers).unwrap();
        with_inbox(&store).await;
        let (old, new) = (SimDisk::new(), SimDisk::new());
        let back_up = async |to: &SimDisk| {
            deliver(&store, &noise(1, 3_000)).await;
            let held = store.hold().await.unwrap();
            backup::back_up(&worn, to, &held.content(0), &mut |_, _| ())
        };
        back_up(&old).await.unwrap();
        worn.spoil("store.id", 0..4096);
        assert!(matches!(back_up(&old).await, Err(backup::BackupError::OtherStore)));
        for _ in 0..2 {
            assert_eq!(back_up(&new).await.unwrap().unreadable, ["store.id"]);
        }
    });
}

#[test]
fn a_backup_of_a_worn_card_saves_the_rest() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let worn = Worn::new(&disk);
        let store = open_worn(&worn, &workers).unwrap();
        with_inbox(&store).await;
        for n in 0..5 {
            deliver(&store, &noise(n, 70_000)).await;
        }
        let bodies: Vec<String> = list(&disk, "log").into_iter().filter(|n| n.ends_with(".body")).collect();
        worn.spoil(&bodies[1], 16384..20480);
        let held = store.hold().await.unwrap();
        let stick = SimDisk::new();
        let done = backup::back_up(&worn, &stick, &held.content(0), &mut |_, _| ());
        assert!(backup::newest(&stick).is_ok(), "{done:?}");
    });
}

#[test]
fn a_backup_into_a_folder_with_other_things_leaves_them() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        with_inbox(&store).await;
        let var = SimDisk::new();
        let others = ["log/syslog", "tls/key-of-the-web-server.pem", "pigeon.toml"];
        for name in others {
            var.put(name, b"precious");
        }
        let held = store.hold().await.unwrap();
        let done = backup::back_up(&disk, &var, &held.content(0), &mut |_, _| ());
        for name in others {
            assert!(var.contents(name).is_some(), "{name} is gone: {done:?}");
        }
    });
}

/// Holds back one write into a body segment.
#[derive(Debug, Default)]
struct Gate {
    /// Whether it is shut, and whether a write waits at it.
    shut: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Hook for Gate {
    fn writes(&self, name: &str, octets: Range<u64>) -> io::Result<()> {
        if name.contains(".body") && octets.start == 4096 {
            let mut shut = self.shut.lock().unwrap();
            if shut.0 && !shut.1 {
                shut.1 = true;
                self.changed.notify_all();
                while shut.0 {
                    shut = self.changed.wait(shut).unwrap();
                }
            }
        }
        Ok(())
    }
}

#[test]
fn a_full_segment_with_a_slow_write_is_not_taken_for_sealed() {
    let (disk, workers) = (SimDisk::new(), Workers::new("test", 4, 512 * 1024).unwrap());
    smol::block_on(async {
        let gate = Arc::new(Gate::default());
        let slow = Hooked { disk: disk.clone(), hook: gate.clone() };
        let options = Options { segment_bytes: 256 * 1024, ..Options::default() };
        let store = open_on(&slow, &workers, options).unwrap();
        with_inbox(&store).await;
        gate.shut.lock().unwrap().0 = true;
        let a = smol::spawn({
            let store = store.clone();
            async move { message(&store, &noise(1, 70_000)).await.unwrap() }
        });
        {
            let mut shut = gate.shut.lock().unwrap();
            while !shut.1 {
                shut = gate.changed.wait(shut).unwrap();
            }
        }
        // Others fill the segment and begin the next one.
        let mut b = store.body();
        b.write(&noise(2, 400_000)).await.unwrap();
        let stick = SimDisk::new();
        let free = {
            let gate = gate.clone();
            move || {
                gate.shut.lock().unwrap().0 = false;
                gate.changed.notify_all();
            }
        };
        // If sealing waited for the write, as it should, this sets it free.
        let timer = std::thread::spawn({
            let free = free.clone();
            move || {
                std::thread::sleep(std::time::Duration::from_millis(500));
                free()
            }
        });
        let held = store.hold().await.unwrap();
        backup::back_up(&disk, &stick, &held.content(0), &mut |_, _| ()).unwrap();
        drop(held);
        free();
        let a = a.await;
        store.deliver(a, into(&[INBOX])).await.unwrap();
        drop(b);
        let held = store.hold().await.unwrap();
        backup::back_up(&disk, &stick, &held.content(0), &mut |_, _| ()).unwrap();
        drop(held);
        let to = SimDisk::new();
        backup::restore(&stick, &backup::newest(&stick).unwrap(), &to, &mut |_, _| ()).unwrap();
        let again = open(&to, &workers).unwrap();
        assert_eq!(body(&store, BlobId(1)).await, Ok(noise(1, 70_000)));
        let there = body(&again, BlobId(1)).await;
        assert!(there == Ok(noise(1, 70_000)), "in the backup: {:?}", there.map(|octets| octets.len()));
        timer.join().unwrap();
    });
}
