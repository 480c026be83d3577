//! What clients may ask for without end has an end: names, subscriptions, answers, and one's share of the writer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::store::sim::SimDisk;
use pigeon::store::*;
use store_support::*;

async fn with_messages(store: &Store, count: usize) -> (AccountId, MailboxId) {
    let account = store.account_add("alice@example.org", Vec::new(), &[("INBOX", None)]).await.unwrap();
    let inbox = store.mailbox_by_name(account, "INBOX").await.unwrap().unwrap().id;
    for _ in 0..count {
        store.deliver(message(store, b"Subject: x\r\n\r\n").await.unwrap(), into(&[inbox])).await.unwrap();
    }
    (account, inbox)
}

#[test]
fn a_rename_leaves_no_child_with_a_name_that_nobody_can_send() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        let (account, _) = with_messages(&store, 0).await;
        let (long, deep) = ("l".repeat(600), ["d"; 20].join("/"));
        store.mailbox_create(account, &format!("a/{long}"), None).await.unwrap();
        store.mailbox_create(account, &format!("b/{deep}"), None).await.unwrap();
        for name in ["a", "b"] {
            let parent = store.mailbox_by_name(account, name).await.unwrap().unwrap();
            for to in ["x".repeat(600), ["x"; 20].join("/")] {
                let renamed = store.mailbox_rename(parent.id, &to).await;
                let fits = (name == "a") != (to.len() == 600);
                assert_eq!(renamed, if fits { Ok(()) } else { Err(Refusal::Limit) }, "{name} to {to}");
                if fits {
                    store.mailbox_rename(parent.id, name).await.unwrap();
                }
            }
        }
        assert_eq!(store.mailbox_create(account, &"x".repeat(1_001), None).await, Err(Refusal::Limit));
    });
}

#[test]
fn an_account_subscribes_to_so_many_names_and_no_more() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        let names: Vec<String> = (0..9_999).map(|n| format!("n{n}")).collect();
        let names: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        let account = store.account_add("alice@example.org", Vec::new(), &names).await.unwrap();
        store.subscribe(account, "one more", true).await.unwrap();
        assert_eq!(store.subscribe(account, "too many", true).await, Err(Refusal::Limit));
        store.subscribe(account, "one more", false).await.unwrap();
        store.subscribe(account, "instead", true).await.unwrap();
    });
}

#[test]
fn what_was_expunged_here_and_there_is_told_in_answers_of_bounded_length() {
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        let (_, inbox) = with_messages(&store, 80).await;
        let every = |from: u32| (from..=80).step_by(4).map(Uid).collect::<UidSet>();
        store.expunge(inbox, every(1), false).await.unwrap();
        store.expunge(inbox, every(3), false).await.unwrap();
        let (mut since, mut expunged, mut answers) = (ModSeq(0), 0, 0);
        loop {
            let changes = store.changes(inbox, since, 5).await.unwrap();
            assert!(changes.expunged.ranges().len() <= 20, "{changes:?}");
            expunged += changes.expunged.len();
            answers += 1;
            if !changes.more {
                break;
            }
            assert!(changes.upto > since);
            since = changes.upto;
        }
        assert_eq!(expunged, 40);
        assert!(answers > 2);
    });
}

#[test]
fn bulk_work_of_many_is_not_done_in_one_batch_that_all_others_wait_for() {
    let (disk, workers) = (SimDisk::counting(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        let (_, inbox) = with_messages(&store, 1).await;
        store.copy(inbox, UidSet::one(Uid(1)), inbox).await.unwrap();
        let mut last = 2;
        while last < 1_000 {
            last = store.copy(inbox, UidSet::range(Uid(1), Uid(last)), inbox).await.unwrap().to.last().unwrap().0;
        }
        let before = store.stats().await.unwrap().batches;
        let mut asked = Vec::new();
        for n in 0..32 {
            let (change, store) = (if n % 2 == 0 { FlagChange::Add } else { FlagChange::Remove }, store.clone());
            let uids = UidSet::range(Uid(1), Uid(1_000));
            asked.push(smol::spawn(async move {
                store.flags(inbox, uids, change, flags(Flags::SEEN, &[]), None).await.unwrap();
            }));
        }
        for task in asked {
            task.await;
        }
        let batches = store.stats().await.unwrap().batches - before;
        assert!(batches >= 8, "{batches}");
    });
}

mod panicking {
    use pigeon::store::{Disk, DiskFile, Lock};
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A disk under an index whose next sync panics, as redb does on what it cannot understand.
    #[derive(Debug)]
    pub(crate) struct Panicking {
        pub(crate) disk: Arc<dyn Disk>,
        pub(crate) armed: Arc<AtomicBool>,
    }

    #[derive(Debug)]
    struct File(Arc<dyn DiskFile>, Option<Arc<AtomicBool>>);

    impl Panicking {
        fn wrap(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
            Arc::new(File(file, name.starts_with("index").then(|| self.armed.clone())))
        }
    }

    impl Disk for Panicking {
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
    }

    impl DiskFile for File {
        fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
            self.0.read_at(offset, to)
        }
        fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
            self.0.write_at(offset, from)
        }
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }
        fn truncate(&self, len: u64) -> io::Result<()> {
            self.0.truncate(len)
        }
        fn sync(&self) -> io::Result<()> {
            assert!(!self.1.as_ref().is_some_and(|armed| armed.swap(false, Ordering::AcqRel)), "as the test wants");
            self.0.sync()
        }
    }
}

#[test]
fn a_panic_in_a_checkpoint_does_not_leave_everybody_waiting_for_ever() {
    use pigeon::base::{Budget, Clock};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let armed = Arc::new(AtomicBool::new(false));
    let disk = panicking::Panicking { disk: Arc::new(SimDisk::counting()), armed: armed.clone() };
    let (clock, _) = Clock::simulated(1_700_000_000);
    smol::block_on(async {
        let store =
            Store::open_on(Arc::new(disk), Options::default(), clock, workers(), Budget::new(32 << 20)).unwrap();
        let account = store.account_add("alice@example.org", Vec::new(), &[("INBOX", None)]).await.unwrap();
        armed.store(true, Ordering::Release);
        for n in 0..1_200u32 {
            let asked = store.account_secrets(account, n.to_be_bytes().to_vec());
            let late = async {
                smol::Timer::after(std::time::Duration::from_secs(20)).await;
                Err(Refusal::NoMemory)
            };
            assert_eq!(smol::future::or(asked, late).await, Ok(()), "{n}");
        }
        assert!(!armed.load(Ordering::Acquire));
        assert_eq!(store.account_by_id(account).await.unwrap().unwrap().secrets, 1_199u32.to_be_bytes());
    });
}
