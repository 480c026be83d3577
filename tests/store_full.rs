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

use pigeon::base::{Budget, Clock, Workers};
use pigeon::store::sim::{Cut, SimDisk};
use pigeon::store::*;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use store_support::*;

const INBOX: MailboxId = MailboxId(1);

/// A simulated disk with so much room; like a real one it gives blocks to what is written, not to what is only long.
#[derive(Clone, Debug)]
struct Small {
    disk: SimDisk,
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Room {
    bytes: AtomicU64,
    /// Blocks in use, by file.
    used: Mutex<std::collections::BTreeMap<String, std::collections::BTreeSet<u64>>>,
}

#[derive(Debug)]
struct SmallFile {
    /// Follows the file when it gets another name.
    name: Arc<Mutex<String>>,
    file: Arc<dyn DiskFile>,
    room: Arc<Room>,
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

impl Small {
    fn new(bytes: u64) -> Self {
        Self { disk: SimDisk::new(), room: Arc::new(Room { bytes: AtomicU64::new(bytes), ..Room::default() }) }
    }

    fn wrap(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SmallFile { name: Arc::new(Mutex::new(name.to_owned())), file, room: self.room.clone() })
    }
}

impl Disk for Small {
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.disk.lock()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.disk.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(name)?;
        self.room.used.lock().unwrap().remove(name.trim_end_matches(".tmp"));
        Ok(self.wrap(name, file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)?;
        let mut used = self.room.used.lock().unwrap();
        let short = from.trim_end_matches(".tmp").to_owned();
        if let Some(blocks) = used.remove(&short) {
            used.insert(to.to_owned(), blocks);
        }
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)?;
        self.room.used.lock().unwrap().remove(name.trim_end_matches(".tmp"));
        Ok(())
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.room.free_bytes())
    }
    fn chance(&self) -> u32 {
        self.disk.chance()
    }
}

impl DiskFile for SmallFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, to)
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        let name = self.name.lock().unwrap().trim_end_matches(".tmp").to_owned();
        self.room.take(&name, offset, offset + from.len() as u64)?;
        self.file.write_at(offset, from)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)?;
        let name = self.name.lock().unwrap().trim_end_matches(".tmp").to_owned();
        if let Some(blocks) = self.room.used.lock().unwrap().get_mut(&name) {
            blocks.retain(|block| block * BLOCK < len);
        }
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn open_small(disk: &Small, workers: &Workers) -> Store {
    let (clock, _) = Clock::simulated(1_700_000_000);
    let options = Options { segment_bytes: 1 << 20, ..Options::default() };
    Store::open_on(Arc::new(disk.clone()), options, clock, workers.clone(), Budget::new(32 << 20)).unwrap()
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
                let disk = Small::new(24 << 20);
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
                assert_eq!(picture(&store).await.unwrap(), seen, "{what}");
                // A cut now loses nothing; a start on the full disk works.
                let after = Small { disk: disk.disk.reboot(Cut::Nothing), room: disk.room.clone() };
                let store = open_small(&after, &workers);
                store.keep_free(keep_free);
                assert_eq!(picture(&store).await.unwrap(), seen, "{what}, after a cut");
                // Deleting goes on.
                let one = UidSet::range(Uid(1), Uid(10));
                let deleted = flags(Flags::DELETED, &[]);
                store.flags(INBOX, one.clone(), FlagChange::Add, deleted, None).await.unwrap_or_else(|refusal| {
                    panic!("{what}: flags are refused: {refusal:?}, {} free", after.room.free_bytes())
                });
                let gone = store.expunge(INBOX, one, true).await;
                assert_eq!(gone.map(|gone| gone.uids.len()), Ok(10), "{what}");
                // With room everything goes on, without a restart.
                after.room.bytes.store(64 << 20, Ordering::Relaxed);
                assert!(store.lay_ballast().await, "{what}");
                let new = message(&store, b"there is room").await.unwrap();
                store.deliver(new, into(&[INBOX])).await.unwrap();
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
        let disk = Small::new(16 << 20);
        let store = open_small(&disk, &workers);
        let before = disk.room.used_bytes();
        assert!(store.lay_ballast().await);
        assert_eq!(disk.room.used_bytes() - before, 4 << 20);
        assert!(store.lay_ballast().await);
        assert_eq!(disk.room.used_bytes() - before, 4 << 20, "once is enough");
        store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
        assert_eq!(fill(&store, 60_000).await.1, Refusal::DiskFull);
        assert!(disk.disk.contents("ballast").is_none(), "it was given up");
        assert!(!store.lay_ballast().await, "there is no room for it");
        disk.room.bytes.store(32 << 20, Ordering::Relaxed);
        assert!(store.lay_ballast().await);
        let octets = disk.disk.contents("ballast").unwrap();
        assert!(
            lz4_flex::block::compress(&octets).len() > octets.len() / 20,
            "it would vanish where files are compressed"
        );
    });
}
