//! The store on a real disk: what goes in comes out, also after it was closed and opened again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on may stop")]

use pigeon::base::{Budget, Clock, Workers};
use pigeon::store::*;
use std::path::Path;

fn open(path: &Path) -> Store {
    let workers = Workers::new("test", 2, 512 * 1024).unwrap();
    Store::open(path, Options::default(), Clock::system(), workers, Budget::new(16 << 20)).unwrap()
}

async fn message(store: &Store, octets: &[u8]) -> NewMessage {
    let mut body = store.body();
    for piece in octets.chunks(10_000) {
        body.write(piece).await.unwrap();
    }
    let body = body.finish().await.unwrap();
    let summary = b"summary".to_vec();
    NewMessage { body, summary, internal_date: Date { unix_s: 1_700_000_000, zone_minutes: 60 } }
}

async fn body_of(store: &Store, message: &Message) -> Vec<u8> {
    let mut reader = store.read(message.blob).await.unwrap();
    let mut all = Vec::new();
    while (all.len() as u64) < reader.len() {
        let piece = reader.at(all.len() as u64).await.unwrap();
        all.extend_from_slice(piece);
    }
    all
}

async fn account(store: &Store) -> (AccountId, MailboxId, MailboxId) {
    let id = store.account_add("a@x.org", b"s".to_vec(), &[("INBOX", None), ("Trash", Some(SpecialUse::Trash))]).await;
    let id = id.unwrap();
    let inbox = store.mailbox_by_name(id, "INBOX").await.unwrap().unwrap().id;
    let trash = store.mailbox_by_name(id, "Trash").await.unwrap().unwrap().id;
    (id, inbox, trash)
}

fn target(mailbox: MailboxId) -> Vec<Target> {
    vec![Target { mailbox, flags: FlagNames::default() }]
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 7u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(bytes)
    .collect()
}

#[test]
fn a_mark_changes_with_its_messages_or_not_at_all_and_goes_with_its_account() {
    let folder = tempfile::tempdir().unwrap();
    smol::block_on(async {
        let mut store = open(folder.path());
        let (id, inbox, trash) = account(&store).await;
        let mark = |value: &str| Mark { account: id, name: "import 1".to_owned(), value: value.into() };
        let one = |message| vec![(message, FlagNames::default())];
        assert_eq!(store.mark(id, "import 1").await.unwrap(), b"");
        store.append_marked(inbox, one(message(&store, b"one").await), mark("1")).await.unwrap();
        store.mailbox_delete(trash).await.unwrap();
        let refused = store.append_marked(trash, one(message(&store, b"two").await), mark("2")).await;
        assert_eq!(refused, Err(Refusal::NotFound));
        let too_much = store.append_marked(inbox, one(message(&store, b"two").await), mark(&"2".repeat(70_000))).await;
        assert_eq!(too_much, Err(Refusal::Limit));
        for _ in 0..2 {
            assert_eq!(store.mark(id, "import 1").await.unwrap(), b"1");
            assert_eq!(store.mailbox(inbox).await.unwrap().unwrap().exists, 1);
            store.close();
            store = open(folder.path());
        }
        store.set_mark(mark("")).await.unwrap();
        assert_eq!(store.mark(id, "import 1").await.unwrap(), b"");
        store.set_mark(mark("3")).await.unwrap();
        store.account_remove(id).await.unwrap();
        assert_eq!(store.mark(id, "import 1").await.unwrap(), b"");
        assert_eq!(store.set_mark(mark("4")).await, Err(Refusal::NotFound));
    });
}

#[test]
fn new_messages_leave_the_reserve_free_and_old_ones_can_still_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    smol::block_on(async {
        let store = open(folder.path());
        let (_, inbox, _) = account(&store).await;
        store.deliver(message(&store, b"before").await, target(inbox)).await.unwrap();
        store.keep_free(u64::MAX);
        assert_eq!(store.body().finish().await.unwrap_err(), Refusal::DiskFull, "however small");
        let mut large = store.body();
        let refused = large.write(&noise(1_000_000)).await;
        assert_eq!(refused.unwrap_err(), Refusal::DiskFull, "while it streams");
        store.expunge(inbox, UidSet::one(Uid(1)), false).await.unwrap();
        store.keep_free(1);
        store.deliver(message(&store, b"after").await, target(inbox)).await.unwrap();
    });
}

#[test]
fn bodies_of_every_size_come_out_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    smol::block_on(async {
        let sizes = [0, 1, 100, 8_191, 8_193, 65_536, 65_537, 200_000, 3_000_000];
        let store = open(folder.path());
        let (_, inbox, _) = account(&store).await;
        for size in sizes {
            let new = message(&store, &noise(size)).await;
            store.deliver(new, target(inbox)).await.unwrap();
        }
        store.close();
        let store = open(folder.path());
        let (uids, _) = store.uids(inbox).await.unwrap();
        let messages = store.messages(inbox, &uids, 100).await.unwrap();
        assert_eq!(messages.iter().map(|(_, m)| m.size as usize).collect::<Vec<_>>(), sizes);
        for ((_, message), size) in messages.iter().zip(sizes) {
            assert!(body_of(&store, message).await == noise(size), "{size}");
        }
        let big = &messages.last().unwrap().1;
        let mut reader = store.read(big.blob).await.unwrap();
        for at in [2_999_999, 0, 1_500_000, 65_535, 65_536, 2_000_000] {
            assert_eq!(reader.at(at).await.unwrap().first(), noise(3_000_000).get(at as usize), "{at}");
        }
        assert_eq!(reader.at(3_000_000).await.unwrap(), b"");
    });
}

#[test]
fn flags_copies_moves_and_expunges_are_told_to_whoever_asks_for_changes() {
    let folder = tempfile::tempdir().unwrap();
    smol::block_on(async {
        let store = open(folder.path());
        let (_, inbox, trash) = account(&store).await;
        for n in 0..5 {
            let new = message(&store, format!("message {n}").as_bytes()).await;
            store.deliver(new, target(inbox)).await.unwrap();
        }
        let before = store.mailbox(inbox).await.unwrap().unwrap();
        assert_eq!((before.exists, before.unseen, before.uid_next), (5, 5, Uid(6)));
        let seen = FlagNames { system: Flags::SEEN, keywords: vec!["$Junk".into()] };
        let uids = UidSet::range(Uid(2), Uid(3));
        let done = store.flags(inbox, uids.clone(), FlagChange::Add, seen.clone(), None).await.unwrap();
        assert_eq!(done.done.len(), 2);
        let again = store.flags(inbox, uids, FlagChange::Add, seen, None).await.unwrap();
        assert_eq!(again.done, done.done, "nothing changed, so no new modification sequence");
        assert_eq!(store.first_unseen(inbox).await.unwrap(), Some(Uid(1)));

        let (copied, gone) = store.move_messages(inbox, UidSet::one(Uid(2)), trash).await.unwrap();
        assert_eq!((copied.from, copied.to), (UidSet::one(Uid(2)), UidSet::one(Uid(1))));
        assert_eq!(gone.uids, UidSet::one(Uid(2)));
        let copied = store.copy(inbox, UidSet::range(Uid(1), Uid(9)), trash).await.unwrap();
        assert_eq!(copied.to, UidSet::range(Uid(2), Uid(5)));

        let moved = store.entries(trash, &UidSet::one(Uid(1)), 9).await.unwrap()[0];
        let row = store.mailbox(trash).await.unwrap().unwrap();
        assert_eq!(row.keywords, ["$Junk"]);
        assert!(moved.flags.has(Flags::SEEN.with(Flags::keyword(0))));

        let changes = store.changes(inbox, before.highest_modseq, 100).await.unwrap();
        assert_eq!(changes.changed.iter().map(|e| e.uid.0).collect::<Vec<_>>(), [3]);
        assert_eq!(changes.expunged, UidSet::one(Uid(2)));
        assert!(!changes.more);

        let deleted = FlagNames { system: Flags::DELETED, keywords: vec![] };
        store.flags(inbox, UidSet::one(Uid(5)), FlagChange::Add, deleted, None).await.unwrap();
        let expunged = store.expunge(inbox, UidSet::range(Uid(1), Uid(99)), true).await.unwrap();
        assert_eq!(expunged.uids, UidSet::one(Uid(5)));
        let row = store.mailbox(inbox).await.unwrap().unwrap();
        assert_eq!((row.exists, row.unseen, row.deleted), (3, 2, 0));
        let kept = store.messages(trash, &UidSet::range(Uid(1), Uid(9)), 9).await.unwrap();
        assert_eq!(body_of(&store, &kept[4].1).await, b"message 4", "a copy outlives what it was copied from");
    });
}

#[test]
fn a_second_opener_is_told_that_the_store_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let workers = Workers::new("test", 1, 512 * 1024).unwrap();
    let second = Store::open(folder.path(), Options::default(), Clock::system(), workers, Budget::new(1 << 20));
    assert!(matches!(second, Err(OpenError::Locked)));
    store.close();
    open(folder.path());
}

#[test]
fn removed_accounts_take_everything_with_them() {
    let folder = tempfile::tempdir().unwrap();
    smol::block_on(async {
        let store = open(folder.path());
        let (id, inbox, _) = account(&store).await;
        let watch = store.watch(inbox);
        let account_watch = store.watch_account(id);
        for _ in 0..3 {
            let new = message(&store, b"x").await;
            store.deliver(new, target(inbox)).await.unwrap();
        }
        watch.beyond(ModSeq(3)).await;
        assert_eq!(watch.reached(), ModSeq(4));
        assert_eq!(store.domain_remove("x.org").await, Err(Refusal::NotAllowed));
        store.account_remove(id).await.unwrap();
        watch.beyond(ModSeq(99)).await;
        assert!(watch.is_gone());
        account_watch.changed().await;
        assert!(account_watch.is_gone());
        assert_eq!(store.mailbox(inbox).await.unwrap(), None);
        store.domain_remove("x.org").await.unwrap();
        for _ in 0..200 {
            if store.stats().await.unwrap().messages == 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.messages, stats.accounts, stats.live_bytes), (0, 0, 0));
    });
}

#[test]
fn a_message_reaches_the_targets_that_remain_and_is_refused_when_none_does() {
    let folder = tempfile::tempdir().unwrap();
    smol::block_on(async {
        let store = open(folder.path());
        let (id, inbox, trash) = account(&store).await;
        let gone = [store.mailbox_create(id, "one", None).await.unwrap(), MailboxId(999)];
        store.mailbox_delete(gone[0]).await.unwrap();
        let to = |mailboxes: &[MailboxId]| mailboxes.iter().flat_map(|mailbox| target(*mailbox)).collect();
        for octets in [&b"small"[..], &noise(200_000)] {
            let new = message(&store, octets).await;
            let stored = store.deliver(new, to(&[gone[0], inbox, gone[1], trash])).await.unwrap();
            assert_eq!(stored.iter().map(|stored| stored.mailbox).collect::<Vec<_>>(), [inbox, trash]);
            let new = message(&store, octets).await;
            assert_eq!(store.deliver(new, to(&gone)).await.unwrap_err(), Refusal::NotFound);
            let new = message(&store, octets).await;
            assert_eq!(store.deliver(new, Vec::new()).await.unwrap_err(), Refusal::NotFound);
            let both = vec![(message(&store, octets).await, FlagNames::default())];
            assert_eq!(store.append(gone[0], both).await.unwrap_err(), Refusal::NotFound);
        }
        store.close();
        let store = open(folder.path());
        for mailbox in [inbox, trash] {
            assert_eq!(store.mailbox(mailbox).await.unwrap().unwrap().exists, 2, "and so after a start");
        }
        assert_eq!(store.stats().await.unwrap().messages, 2);
    });
}

#[test]
fn mailboxes_are_created_with_their_parents_renamed_with_their_children_and_inbox_gives_its_mail_away() {
    let folder = tempfile::tempdir().unwrap();
    smol::block_on(async {
        let store = open(folder.path());
        let (id, inbox, _) = account(&store).await;
        let deep = store.mailbox_create(id, "a/b/c", None).await.unwrap();
        let a = store.mailbox_by_name(id, "a").await.unwrap().unwrap();
        assert_eq!(store.mailbox_create(id, "a/b", None).await, Err(Refusal::Exists));
        assert_eq!(store.mailbox_delete(a.id).await, Err(Refusal::NotAllowed), "it has children");
        assert_eq!(store.mailbox_rename(a.id, "a/d").await, Err(Refusal::NotAllowed), "into itself");
        store.mailbox_rename(a.id, "z/y").await.unwrap();
        let names: Vec<_> = store.mailboxes(id).await.unwrap().into_iter().map(|m| m.name).collect();
        assert_eq!(names, ["INBOX", "Trash", "z", "z/y", "z/y/b", "z/y/b/c"]);
        assert_eq!(store.mailbox(deep).await.unwrap().unwrap().name, "z/y/b/c");
        let new = message(&store, b"x").await;
        store.deliver(new, target(inbox)).await.unwrap();
        store.mailbox_rename(inbox, "old").await.unwrap();
        let old = store.mailbox_by_name(id, "old").await.unwrap().unwrap();
        assert_eq!((old.exists, store.mailbox(inbox).await.unwrap().unwrap().exists), (1, 0));
        assert_eq!(store.mailbox_delete(inbox).await, Err(Refusal::NotAllowed));
    });
}
