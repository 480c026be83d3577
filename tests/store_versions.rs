//! A store that version 1 of the format wrote is opened and read by every later program. What is in it was written by the
//! test below when the format was new; it is never written again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::store::sim::SimDisk;
use pigeon::store::*;
use std::path::PathBuf;
use store_support::mail::mail;
use store_support::*;

const FILES: [&str; 3] = ["index.redb", "log/0000000001.commit", "log/0000000002.body"];

fn path(name: &str) -> PathBuf {
    let name = format!("{}.lz4", name.replace('/', "-"));
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/store-1").join(name)
}

/// The store's files, which stand compressed in the tree.
fn version_1() -> SimDisk {
    let disk = SimDisk::new();
    for name in FILES {
        let packed = std::fs::read(path(name)).unwrap();
        disk.put(name, &lz4_flex::block::decompress_size_prepended(&packed).unwrap());
    }
    disk
}

/// Bodies that use every codec: a header against the dictionary, plain LZ4, noise, base64.
fn bodies() -> [Vec<u8>; 4] {
    [mail(1, 2_000), mail(2, 15_000), noise(3, 5_000), mail(4, 90_000)]
}

async fn write(store: &Store) {
    let folders = [("INBOX", None), ("Trash", Some(SpecialUse::Trash))];
    let alice = store.account_add("alice@example.org", b"secrets".to_vec(), &folders).await.unwrap();
    store.alias_add("team@example.org", &["alice@example.org".into()]).await.unwrap();
    store.domain_add("example.net").await.unwrap();
    let (inbox, trash) = (MailboxId(1), MailboxId(2));
    for body in bodies() {
        store.deliver(message(store, &body).await.unwrap(), into(&[inbox])).await.unwrap();
    }
    let given = flags(Flags::SEEN.with(Flags::FLAGGED), &["$Work"]);
    store.flags(inbox, UidSet::range(Uid(1), Uid(2)), FlagChange::Add, given, None).await.unwrap();
    store.copy(inbox, UidSet::one(Uid(1)), trash).await.unwrap();
    store.move_messages(inbox, UidSet::one(Uid(3)), trash).await.unwrap();
    store.expunge(inbox, UidSet::one(Uid(1)), false).await.unwrap();
    store.mailbox_create(alice, "Lists/rust", None).await.unwrap();
    store.subscribe(alice, "Lists/rust", true).await.unwrap();
    store.recent_shown(inbox, Uid(5)).await.unwrap();
    store.account_secrets(alice, b"new secrets".to_vec()).await.unwrap();
}

#[test]
#[ignore = "writes the files of version 1, which must not change any more"]
fn write_version_1() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open_with(&disk, &workers, Options::default()).unwrap();
        write(&store).await;
        // As a kill leaves it: the index lags behind the log.
        let killed = disk.revive();
        drop(store);
        for name in FILES {
            let packed = lz4_flex::block::compress_prepend_size(&killed.contents(name).unwrap());
            std::fs::write(path(name), packed).unwrap();
        }
    });
}

async fn must_be_whole(store: &Store) {
    let alice = store.account("alice@example.org").await.unwrap().unwrap();
    assert_eq!((alice.id, alice.secrets.as_slice()), (AccountId(1), &b"new secrets"[..]));
    assert_eq!(store.alias("team@example.org").await.unwrap().unwrap(), ["alice@example.org"]);
    assert_eq!(store.domains().await.unwrap(), ["example.net", "example.org"]);
    assert_eq!(store.subscriptions(alice.id).await.unwrap(), ["INBOX", "Lists/rust", "Trash"]);
    let names: Vec<_> = store.mailboxes(alice.id).await.unwrap().into_iter().map(|m| m.name).collect();
    assert_eq!(names, ["INBOX", "Lists", "Lists/rust", "Trash"]);

    let inbox = store.mailbox(MailboxId(1)).await.unwrap().unwrap();
    assert_eq!((inbox.uid_validity, inbox.uid_next, inbox.recent_from), (UidValidity(1), Uid(5), Uid(5)));
    assert_eq!((inbox.exists, inbox.unseen, inbox.highest_modseq), (2, 1, ModSeq(9)));
    assert_eq!(inbox.keywords, ["$Work"]);
    let trash = store.mailbox(MailboxId(2)).await.unwrap().unwrap();
    assert_eq!(
        (trash.uid_validity, trash.uid_next, trash.special_use),
        (UidValidity(2), Uid(3), Some(SpecialUse::Trash))
    );

    let work = Flags::SEEN.with(Flags::FLAGGED).with(Flags::keyword(0));
    let expected = [
        (inbox.id, Uid(2), work, 1),
        (inbox.id, Uid(4), Flags::default(), 3),
        (trash.id, Uid(1), work, 0),
        (trash.id, Uid(2), Flags::default(), 2),
    ];
    for (mailbox, uid, flags, number) in expected {
        let (entry, message) = store.messages(mailbox, &UidSet::one(uid), 1).await.unwrap().remove(0);
        assert_eq!(entry.flags, flags, "{mailbox:?} {uid:?}");
        assert_eq!(message.internal_date, Date { unix_s: 1_699_999_999, zone_minutes: -90 });
        assert!(body(store, message.blob).await.unwrap() == bodies()[number], "{mailbox:?} {uid:?}");
    }
    let changes = store.changes(inbox.id, ModSeq(5), 100).await.unwrap();
    assert_eq!(changes.expunged, [Uid(1), Uid(3)].into_iter().collect());
    assert_eq!(changes.changed.iter().map(|entry| entry.uid).collect::<Vec<_>>(), [Uid(2)]);
    check_counters(store, &inbox).await.unwrap();
    check_counters(store, &trash).await.unwrap();
}

#[test]
fn version_1_opens_and_goes_on() {
    let workers = workers();
    smol::block_on(async {
        let disk = version_1();
        let store = open_with(&disk, &workers, Options::default()).unwrap();
        must_be_whole(&store).await;
        let new = message(&store, b"from a later version").await.unwrap();
        assert_eq!(store.deliver(new, into(&[MailboxId(1)])).await.unwrap()[0].uid, Uid(5));
        store.close();
        let store = open_with(&disk, &workers, Options::default()).unwrap();
        assert_eq!(store.mailbox(MailboxId(1)).await.unwrap().unwrap().exists, 3);
    });
}

#[test]
fn version_1_can_be_had_again_from_its_log_alone() {
    let workers = workers();
    smol::block_on(async {
        let disk = version_1();
        disk.put("index.redb", b"");
        must_be_whole(&open_with(&disk, &workers, Options::default()).unwrap()).await;
    });
}
