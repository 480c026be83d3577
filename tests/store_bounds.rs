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
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store_support::hooked::{Hook, Hooked};
use store_support::*;

async fn with_messages(store: &Store, count: usize) -> (AccountId, MailboxId) {
    let account = store.account_add("alice@example.org", Vec::new(), &[("INBOX", None)]).await.unwrap();
    let inbox = store.mailbox_by_name(account, "INBOX").await.unwrap().unwrap().id;
    for _ in 0..count {
        store.deliver(message(store, b"Subject: x\r\n\r\n").await.unwrap(), into(&[inbox])).await.unwrap();
    }
    (account, inbox)
}

/// A thousand messages or more, copies of one.
async fn with_thousand(store: &Store) -> (AccountId, MailboxId) {
    let (account, inbox) = with_messages(store, 1).await;
    let mut last = 1;
    while last < 1_000 {
        last = store.copy(inbox, UidSet::range(Uid(1), Uid(last)), inbox).await.unwrap().to.last().unwrap().0;
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
fn old_expunges_are_forgotten_and_whoever_asks_about_them_is_told_all_that_is_not_there() {
    let (disk, workers) = (SimDisk::counting(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        let (_, inbox) = with_thousand(&store).await;
        let (all, start) = store.uids(inbox).await.unwrap();
        let last = store.copy(inbox, all, inbox).await.unwrap().to.last().unwrap();
        // The mailbox as of each expunge.
        let mut known = vec![store.uids(inbox).await.unwrap()];
        for n in 0..1_300u32 {
            let uid = Uid(1 + n * 7 % last.0);
            if store.expunge(inbox, UidSet::one(uid), false).await.unwrap().uids.is_empty() {
                continue;
            }
            known.push(store.uids(inbox).await.unwrap());
        }
        assert!(known.len() > 1_200);
        let mailbox = store.mailbox(inbox).await.unwrap().unwrap();
        assert!((750..=1_000).contains(&mailbox.expunges_known), "{mailbox:?}");
        let forgotten = mailbox.expunges_forgotten;
        assert!(forgotten > start, "{mailbox:?}");
        let (now, _) = known.last().unwrap().clone();
        for (before, since) in known.iter().step_by(40) {
            let (mut left, mut from, mut told, mut answers) = (before.clone(), *since, 0, 0);
            loop {
                let step = store.changes(inbox, from, 100).await.unwrap();
                step.expunged.ranges().iter().for_each(|range| left.remove_range(*range));
                told += step.expunged.len();
                (from, answers) = (step.upto, answers + 1);
                if !step.more {
                    break;
                }
            }
            assert_eq!(left, now, "since {since:?}");
            if *since >= forgotten {
                assert_eq!(told, before.len() - now.len(), "since {since:?}");
            }
            assert!(answers < 30, "{answers}");
        }
        // The index made anew from the log forgets the same.
        let (before, lost) = (store.digest().await.unwrap(), disk.revive());
        drop(store);
        lost.put("index.redb", b"");
        assert_eq!(open(&lost, &workers).unwrap().digest().await.unwrap(), before);
    });
}

#[test]
fn bulk_work_of_many_is_not_done_in_one_batch_that_all_others_wait_for() {
    let (disk, workers) = (SimDisk::counting(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        let (_, inbox) = with_thousand(&store).await;
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

/// When the index panics, as redb does on what it cannot understand.
#[derive(Debug, Default)]
struct Trap {
    /// At its next sync.
    at_sync: AtomicBool,
    /// At whatever it does next once a segment of the log has been synced.
    after_log: AtomicBool,
    now: AtomicBool,
}

impl Trap {
    /// Whether it waits to spring.
    fn is_set(&self) -> bool {
        [&self.at_sync, &self.after_log, &self.now].iter().any(|armed| armed.load(Ordering::Acquire))
    }

    fn spring(armed: &AtomicBool) {
        assert!(!armed.swap(false, Ordering::AcqRel), "as the test wants");
    }

    fn step(&self, name: &str) {
        if name.starts_with("index") {
            Self::spring(&self.now);
        }
    }
}

impl Hook for Trap {
    fn reads(&self, name: &str, _: Range<u64>) -> io::Result<()> {
        self.step(name);
        Ok(())
    }
    fn writes(&self, name: &str, _: Range<u64>) -> io::Result<()> {
        self.step(name);
        Ok(())
    }
    fn truncates(&self, name: &str, _: u64) {
        self.step(name);
    }
    fn syncs(&self, name: &str) {
        self.step(name);
        if name.starts_with("index") {
            Self::spring(&self.at_sync);
        } else if self.after_log.swap(false, Ordering::AcqRel) {
            self.now.store(true, Ordering::Release);
        }
    }
}

/// A store on a disk with a trap, and an account in it.
async fn with_trap(options: Options) -> (Store, AccountId, Arc<Trap>) {
    let trap = Arc::new(Trap::default());
    let disk = Hooked { disk: SimDisk::counting(), hook: trap.clone() };
    let store = open_on(&disk, &workers(), options).unwrap();
    let account = store.account_add("alice@example.org", Vec::new(), &[("INBOX", None)]).await.unwrap();
    (store, account, trap)
}

#[test]
fn a_panic_in_a_checkpoint_does_not_leave_everybody_waiting_for_ever() {
    smol::block_on(async {
        let (store, account, trap) = with_trap(Options::default()).await;
        trap.at_sync.store(true, Ordering::Release);
        for n in 0..1_200u32 {
            let asked = store.account_secrets(account, n.to_be_bytes().to_vec());
            let late = async {
                smol::Timer::after(std::time::Duration::from_secs(20)).await;
                Err(Refusal::NoMemory)
            };
            assert_eq!(smol::future::or(asked, late).await, Ok(()), "{n}");
        }
        assert!(!trap.at_sync.load(Ordering::Acquire));
        assert_eq!(store.account_by_id(account).await.unwrap().unwrap().secrets, 1_199u32.to_be_bytes());
    });
}

#[test]
fn what_is_synced_is_answered_yes_even_if_the_index_panics_in_its_commit() {
    smol::block_on(async {
        let (store, account, trap) = with_trap(Options { index_cache_bytes: 0, ..Options::default() }).await;
        for n in 0..20u32 {
            trap.after_log.store(true, Ordering::Release);
            assert_eq!(store.account_secrets(account, n.to_be_bytes().to_vec()).await, Ok(()), "{n}");
            assert!(!trap.is_set(), "{n}: nothing panicked");
            assert_eq!(store.account_by_id(account).await.unwrap().unwrap().secrets, n.to_be_bytes());
        }
    });
}

#[test]
fn deleted_mailboxes_are_emptied_while_requests_never_end() {
    let (disk, workers) = (SimDisk::counting(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        let (account, inbox) = with_thousand(&store).await;
        let trash = store.mailbox_create(account, "Trash", None).await.unwrap();
        store.copy(inbox, UidSet::range(Uid(1), Uid(50)), trash).await.unwrap();
        // Four of these fill a batch, so that some always wait.
        let asked: Vec<_> = (0..40)
            .map(|n| {
                let (store, uids) = (store.clone(), UidSet::range(Uid(1), Uid(1_000)));
                let change = if n % 2 == 0 { FlagChange::Add } else { FlagChange::Remove };
                smol::spawn(async move {
                    for _ in 0..4 {
                        store.flags(inbox, uids.clone(), change, flags(Flags::SEEN, &[]), None).await.unwrap();
                    }
                })
            })
            .collect();
        store.mailbox_delete(trash).await.unwrap();
        let before = store.stats().await.unwrap().batches;
        while store.stats().await.unwrap().doomed > 0 {
            let batches = store.stats().await.unwrap().batches - before;
            assert!(batches < 30, "{batches} batches");
        }
        for task in asked {
            task.await;
        }
    });
}

#[test]
fn a_set_of_many_ranges_is_answered_whole_however_few_of_them_hold_a_message() {
    let (disk, workers) = (SimDisk::counting(), workers());
    smol::block_on(async {
        let store = open(&disk, &workers).unwrap();
        let (_, inbox) = with_thousand(&store).await;
        let all: Vec<Uid> = store.uids(inbox).await.unwrap().0.iter().collect();
        let last = all.last().unwrap().0;
        // Every second UID, then thousands of ranges without a message, then nothing.
        let mut uids: UidSet = (1..=last).step_by(2).map(Uid).collect();
        let expected: Vec<Uid> = uids.iter().collect();
        (0..5_000).for_each(|n| uids.insert(Uid(last + 2 + n * 2)));
        let sparse: UidSet =
            uids.ranges().iter().map(|range| range.first).filter(|uid| uid.0 == 1 || uid.0 > last).collect();
        for max in [1, 300, 10_000] {
            let (mut rest, mut found) = (uids.clone(), Vec::new());
            loop {
                let entries = store.entries(inbox, &rest, max).await.unwrap();
                let Some(last) = entries.last().map(|entry| entry.uid) else { break };
                let sizes = store.sizes(inbox, &rest, max).await.unwrap();
                assert_eq!(
                    sizes.iter().map(|(uid, _)| *uid).collect::<Vec<_>>(),
                    entries.iter().map(|e| e.uid).collect::<Vec<_>>()
                );
                let messages = store.messages(inbox, &rest, max).await.unwrap();
                assert!(
                    messages.iter().zip(&entries).all(|((entry, _), other)| entry == other) && !messages.is_empty()
                );
                assert!(entries.len() <= max);
                found.extend(entries.iter().map(|entry| entry.uid));
                rest.remove_range(UidRange { first: Uid(0), last });
                if max == 1 {
                    break;
                }
            }
            assert_eq!(found, expected[..found.len()]);
            assert!(max == 1 || found.len() == expected.len());
            let step = store.message_step(inbox, &sparse, max, true).await.unwrap();
            assert_eq!((step.found.len(), step.last), (1, Some(Uid(1))));
        }
        let mut behind = sparse;
        behind.remove_range(UidRange { first: Uid(0), last: Uid(1) });
        assert_eq!(store.message_step(inbox, &behind, 10, true).await.unwrap().last, None);
    });
}

#[test]
fn an_index_that_is_opened_again_takes_away_nothing_that_is_being_made() {
    use pigeon::store::Disk;
    use pigeon::store::sim::Fault;
    let (disk, workers) = (SimDisk::new(), workers());
    smol::block_on(async {
        let options = Options { index_cache_bytes: 0, ..Options::default() };
        let store = open_with(&disk, &workers, options).unwrap();
        let (_, inbox) = with_messages(&store, 5).await;
        for name in ["log/0000000099.body.tmp", "snapshots/0000000099.snapshot.tmp"] {
            disk.create(name).unwrap();
        }
        disk.fail(Fault::Read(0));
        assert_eq!(store.uids(inbox).await.unwrap().0.len(), 5);
        disk.heal();
        let has = |disk: &SimDisk| disk.list("log").unwrap().iter().any(|name| name.ends_with(".tmp"));
        assert!(has(&disk), "somebody is making it");
        drop(store);
        let disk = disk.revive();
        drop(open(&disk, &workers).unwrap());
        assert!(!has(&disk) && disk.list("snapshots").unwrap().is_empty(), "nobody is");
    });
}
