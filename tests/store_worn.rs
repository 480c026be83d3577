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

use pigeon::base::{Budget, Clock, Workers};
use pigeon::store::backup;
use pigeon::store::sim::SimDisk;
use pigeon::store::*;
use std::io;
use std::sync::{Arc, Mutex};
use store_support::*;

const INBOX: MailboxId = MailboxId(1);

/// A disk with sectors that cannot be read: (name, from, to).
#[derive(Clone, Debug)]
struct Worn {
    disk: SimDisk,
    bad: Arc<Mutex<Vec<(String, u64, u64)>>>,
}
#[derive(Debug)]
struct WornFile {
    file: Arc<dyn DiskFile>,
    name: String,
    bad: Arc<Mutex<Vec<(String, u64, u64)>>>,
}
impl Worn {
    fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), bad: Arc::default() }
    }
    fn spoil(&self, name: &str, from: u64, to: u64) {
        self.bad.lock().unwrap().push((name.to_owned(), from, to));
    }
    fn wrap(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(WornFile { file, name: name.to_owned(), bad: self.bad.clone() })
    }
}
impl Disk for Worn {
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.disk.lock()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.disk.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.disk.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn chance(&self) -> u32 {
        self.disk.chance()
    }
}
impl DiskFile for WornFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        let end = offset + to.len() as u64;
        if self.bad.lock().unwrap().iter().any(|(n, a, b)| *n == self.name && offset < *b && end > *a) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.read_at(offset, to)
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, from)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn open_worn(disk: &Worn, workers: &Workers) -> Result<Store, OpenError> {
    let (clock, _) = Clock::simulated(1_700_000_000);
    let options = Options { segment_bytes: 64 * 1024, ..Options::default() };
    Store::open_on(Arc::new(disk.clone()), options, clock, workers.clone(), Budget::new(32 << 20))
}

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
        backup::back_up(&disk, &stick, (held.batch, &held.names), &mut |_, _| ()).unwrap();
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
        worn.spoil(&list(&disk, "snapshots")[0], 0, 4096);
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
        worn.spoil(list(&disk, "snapshots").last().unwrap(), 8192, 12288);
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
            worn.spoil("index.redb", page * 4096, page * 4096 + 4096);
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
        backup::back_up(&disk, &stick, (held.batch, &held.names), &mut |_, _| ()).unwrap();
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
            let done = backup::back_up(&disk, &stick, (held.batch, &held.names), &mut |_, _| ());
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
    let done = backup::back_up(&from, &to, ((1, 1), &names), &mut |_, _| most = open_files().max(most));
    std::fs::remove_dir_all(&root).unwrap();
    assert!(done.is_ok(), "{done:?}");
    assert!(most < before + 50, "{most} files are open");
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
        worn.spoil(&bodies[1], 16384, 20480);
        let held = store.hold().await.unwrap();
        let stick = SimDisk::new();
        let done = backup::back_up(&worn, &stick, (held.batch, &held.names), &mut |_, _| ());
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
        let done = backup::back_up(&disk, &var, (held.batch, &held.names), &mut |_, _| ());
        for name in others {
            assert!(var.contents(name).is_some(), "{name} is gone: {done:?}");
        }
    });
}

/// Holds back one write into a body segment.
#[derive(Clone, Debug)]
struct Gate {
    disk: SimDisk,
    shut: Arc<(Mutex<(bool, bool)>, std::sync::Condvar)>,
}
#[derive(Debug)]
struct GateFile {
    file: Arc<dyn DiskFile>,
    body: bool,
    shut: Arc<(Mutex<(bool, bool)>, std::sync::Condvar)>,
}
impl Gate {
    fn wrap(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GateFile { file, body: name.contains(".body"), shut: self.shut.clone() })
    }
}
impl Disk for Gate {
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.disk.lock()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.disk.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.disk.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn chance(&self) -> u32 {
        self.disk.chance()
    }
}
impl DiskFile for GateFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, to)
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        if self.body && offset == 4096 {
            let mut shut = self.shut.0.lock().unwrap();
            if shut.0 && !shut.1 {
                shut.1 = true;
                self.shut.1.notify_all();
                while shut.0 {
                    shut = self.shut.1.wait(shut).unwrap();
                }
            }
        }
        self.file.write_at(offset, from)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[test]
fn a_full_segment_with_a_slow_write_is_not_taken_for_sealed() {
    let (disk, workers) = (SimDisk::new(), Workers::new("test", 4, 512 * 1024).unwrap());
    smol::block_on(async {
        let gate = Gate { disk: disk.clone(), shut: Arc::default() };
        let (clock, _) = Clock::simulated(1_700_000_000);
        let options = Options { segment_bytes: 256 * 1024, ..Options::default() };
        let store =
            Store::open_on(Arc::new(gate.clone()), options, clock, workers.clone(), Budget::new(32 << 20)).unwrap();
        with_inbox(&store).await;
        gate.shut.0.lock().unwrap().0 = true;
        let a = smol::spawn({
            let store = store.clone();
            async move { message(&store, &noise(1, 70_000)).await.unwrap() }
        });
        {
            let mut shut = gate.shut.0.lock().unwrap();
            while !shut.1 {
                shut = gate.shut.1.wait(shut).unwrap();
            }
        }
        // Others fill the segment and begin the next one.
        let mut b = store.body();
        b.write(&noise(2, 400_000)).await.unwrap();
        let stick = SimDisk::new();
        let free = {
            let gate = gate.clone();
            move || {
                gate.shut.0.lock().unwrap().0 = false;
                gate.shut.1.notify_all();
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
        backup::back_up(&disk, &stick, (held.batch, &held.names), &mut |_, _| ()).unwrap();
        drop(held);
        free();
        let a = a.await;
        store.deliver(a, into(&[INBOX])).await.unwrap();
        drop(b);
        let held = store.hold().await.unwrap();
        backup::back_up(&disk, &stick, (held.batch, &held.names), &mut |_, _| ()).unwrap();
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
