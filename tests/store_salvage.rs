//! Salvage from the log alone: the index and both snapshots are gone, and reclaim has taken most of what the log once said.
//! Every live message comes back, in its mailbox where the name is still known and in one with a made-up name where it is
//! not; no expunged one does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::base::Workers;
use pigeon::store::sim::SimDisk;
use pigeon::store::*;
use std::collections::BTreeMap;
use store_support::*;

/// A message as its owner knows it: flags by name, date, and a sum of its octets.
type Seen = (Vec<String>, i64, u32);

/// What an owner sees, by address, mailbox and UID; a body that cannot be read is nothing.
type Mail = BTreeMap<(String, String, u32), Option<Seen>>;

async fn mail(store: &Store) -> Mail {
    let mut mail = Mail::new();
    for account in store.accounts(None, 1_000).await.unwrap() {
        for mailbox in store.mailboxes(account.id).await.unwrap() {
            check_counters(store, &mailbox).await.unwrap();
            let (mut rest, _) = store.uids(mailbox.id).await.unwrap();
            while !rest.is_empty() {
                let found = store.messages(mailbox.id, &rest, 1_000).await.unwrap();
                rest.remove_range(UidRange { first: Uid(0), last: found.last().unwrap().0.uid });
                for (entry, message) in found {
                    let mut flags: Vec<String> = (0..mailbox.keywords.len())
                        .filter(|n| entry.flags.has(Flags::keyword(*n)))
                        .map(|n| mailbox.keywords[n].clone())
                        .collect();
                    flags.push(format!("{:05b}", entry.flags.0 & 31));
                    let octets = body(store, message.blob).await.ok();
                    let seen = octets.map(|octets| (flags, message.internal_date.unix_s, crc32c::crc32c(&octets)));
                    mail.insert((account.address.clone(), mailbox.name.clone(), entry.uid.0), seen);
                }
            }
        }
    }
    mail
}

async fn keep_all(store: &Store) {
    for _ in 0..1_000 {
        if store.keep_house().await.unwrap() == Kept::Nothing {
            return;
        }
    }
    panic!("the housework never ends");
}

/// Two accounts, some folders, and messages that are moved, copied, flagged and taken out, some of them large.
async fn live(store: &Store, from: u64, to: u64) {
    let (inbox, work, bobs) = (MailboxId(1), MailboxId(3), MailboxId(2));
    for n in from..to {
        let bytes = if n % 50 == 49 { 90_000 } else { 600 };
        let targets = if n % 7 == 0 { vec![inbox, bobs] } else { vec![inbox] };
        let mut new = message(store, &noise(n, bytes)).await.unwrap();
        new.internal_date.unix_s = 1_600_000_000 + n as i64;
        let uid = store.deliver(new, into(&targets)).await.unwrap()[0].uid;
        let one = UidSet::one(uid);
        match n % 6 {
            0 => drop(store.flags(inbox, one, FlagChange::Add, flags(Flags::SEEN, &["$Work"]), None).await.unwrap()),
            1 => drop(store.copy(inbox, one, work).await.unwrap()),
            2 | 3 => drop(store.expunge(inbox, one, false).await.unwrap()),
            4 => drop(store.move_messages(inbox, one, work).await.unwrap()),
            _ => {}
        }
    }
}

async fn with_accounts(store: &Store) {
    store.account_add("alice@example.org", b"secrets".to_vec(), &[("INBOX", None)]).await.unwrap();
    store.account_add("bob@example.org", b"others".to_vec(), &[("INBOX", None)]).await.unwrap();
    store.mailbox_create(AccountId(1), "Work", Some(SpecialUse::Archive)).await.unwrap();
    store.alias_add("team@example.org", &["alice@example.org".into()]).await.unwrap();
}

/// A store that has lived: snapshots were written, and reclaim has emptied and deleted segments.
async fn worn(disk: &SimDisk, workers: &Workers, messages: u64) -> Store {
    let store = open(disk, workers).unwrap();
    store.reclaim_no_faster_than(u64::MAX);
    with_accounts(&store).await;
    // A folder and an account that are gone again, and a name that two folders had.
    let gone = store.mailbox_create(AccountId(1), "Gone", None).await.unwrap();
    store.deliver(message(&store, b"gone").await.unwrap(), into(&[gone])).await.unwrap();
    let mark = Mark { account: AccountId(1), name: "import".to_owned(), value: b"far".to_vec() };
    store.set_mark(mark).await.unwrap();
    let left = store.account_add("left@example.org", Vec::new(), &[("INBOX", None)]).await.unwrap();
    let parts = 4;
    for part in 0..parts {
        live(&store, messages * part / parts, messages * (part + 1) / parts).await;
        store.snapshot().await.unwrap();
        keep_all(&store).await;
        if part == 1 {
            store.mailbox_delete(gone).await.unwrap();
            store.mailbox_create(AccountId(1), "Gone", None).await.unwrap();
            store.account_remove(left).await.unwrap();
            store.mailbox_rename(MailboxId(3), "Old/Work").await.unwrap();
        }
    }
    // Some of it behind the last snapshot.
    live(&store, messages, messages + 40).await;
    store
}

fn names(disk: &SimDisk, folder: &str) -> Vec<String> {
    let mut names: Vec<_> = disk.list(folder).unwrap().into_iter().map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    names
}

/// The index and every snapshot are gone.
fn lose_all_but_the_log(disk: &SimDisk) {
    disk.remove("index.redb").unwrap();
    for name in names(disk, "snapshots") {
        disk.remove(&name).unwrap();
    }
}

#[test]
fn every_live_message_comes_back_from_the_log_alone_when_reclaim_took_what_it_once_said() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = worn(&disk, &workers, 3_000).await;
        let before = mail(&store).await;
        let subscriptions = store.subscriptions(AccountId(1)).await.unwrap();
        assert_eq!(store.mark(AccountId(1), "import").await.unwrap(), b"far");
        let inbox = store.mailbox(MailboxId(1)).await.unwrap().unwrap();
        let domains = store.domains().await.unwrap();
        store.close();
        drop(store);
        let left = names(&disk, "log");
        let number =
            |name: &String| name.trim_start_matches("log/").split('.').next().unwrap().parse::<usize>().unwrap();
        let gone = number(left.last().unwrap()) - left.len();
        assert!(gone > left.len(), "{gone} segments were taken, {} are left", left.len());
        assert!(before.len() > 1_500, "{}", before.len());
        lose_all_but_the_log(&disk);
        let store = open(&disk, &workers).unwrap();
        assert_eq!(store.source(), Some(Source::Log));
        let after = mail(&store).await;
        let lost: Vec<_> = before.iter().filter(|(key, seen)| after.get(*key) != Some(seen)).take(5).collect();
        let back: Vec<_> = after.keys().filter(|key| !before.contains_key(*key)).take(5).collect();
        assert!(lost.is_empty() && back.is_empty(), "lost or changed: {lost:?}, came back: {back:?}");
        let alice = store.account("alice@example.org").await.unwrap().unwrap();
        assert_eq!((alice.id, alice.secrets), (AccountId(1), b"secrets".to_vec()));
        assert_eq!(store.alias("team@example.org").await.unwrap().unwrap(), ["alice@example.org"]);
        assert_eq!(store.domains().await.unwrap(), domains);
        assert_eq!(store.subscriptions(AccountId(1)).await.unwrap(), subscriptions);
        assert_eq!(store.mark(AccountId(1), "import").await.unwrap(), b"far");
        let again = store.mailbox(MailboxId(1)).await.unwrap().unwrap();
        assert_eq!(again.uid_validity, inbox.uid_validity);
        assert!(again.uid_next.0 >= inbox.uid_next.0 + 1_000_000 && again.highest_modseq > inbox.highest_modseq);
        let verified = store.verify(&mut |_| ()).await.unwrap();
        assert_eq!(verified.faults_total, 0, "{:?}", verified.faults);
        // Which lacks a summary is told, until it has one.
        let mut bare = 0;
        while let Some(found) = store.bare().await.unwrap() {
            bare += found.messages.len();
            let given = found.messages.iter().map(|(id, _)| (*id, b"computed".to_vec())).collect();
            store.summarize(&found, given).await.unwrap();
        }
        assert!(bare > before.len() / 4, "{bare}");
        for name in [MailboxId(1), MailboxId(2), MailboxId(3)] {
            let (uids, _) = store.uids(name).await.unwrap();
            for (entry, message) in store.messages(name, &uids, 10_000).await.unwrap() {
                assert!(!message.summary.is_empty(), "{entry:?}");
            }
        }
        // It goes on as any other store does.
        live(&store, 4_000, 4_020).await;
        let later = mail(&store).await;
        store.snapshot().await.unwrap();
        keep_all(&store).await;
        store.close();
        drop(store);
        let store = open(&disk, &workers).unwrap();
        assert_eq!(store.damage().1, 0);
        assert!(mail(&store).await == later);
    });
}

#[test]
fn what_the_log_tells_again_changes_nothing_in_an_index_that_lacks_nothing() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk, &workers).unwrap();
        with_accounts(&store).await;
        live(&store, 0, 300).await;
        store.snapshot().await.unwrap();
        let before = (store.digest().await.unwrap(), picture(&store).await.unwrap());
        let batches = store.stats().await.unwrap().batches;
        let _ = store.keep_house().await.unwrap();
        assert!(store.stats().await.unwrap().batches > batches, "nothing was told");
        assert!((store.digest().await.unwrap(), picture(&store).await.unwrap()) == before);
        live(&store, 300, 310).await;
        let before = (store.digest().await.unwrap(), picture(&store).await.unwrap());
        store.close();
        drop(store);
        // From the snapshot, and from the whole log, in which all is told as it is there already.
        for lost in [false, true] {
            let disk = disk.revive();
            match lost {
                true => lose_all_but_the_log(&disk),
                false => disk.remove("index.redb").unwrap(),
            }
            let store = open(&disk, &workers).unwrap();
            assert_eq!(store.damage().1, 0);
            assert_eq!(store.digest().await.unwrap(), before.0, "all lost: {lost}");
            assert!(picture(&store).await.unwrap() == before.1, "all lost: {lost}");
        }
    });
}

#[test]
fn mail_whose_account_and_folder_nobody_knows_comes_back_under_made_up_names() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk, &workers).unwrap();
        with_accounts(&store).await;
        // What follows begins a segment.
        drop(store.hold().await.unwrap());
        live(&store, 0, 60).await;
        let before = mail(&store).await;
        store.close();
        drop(store);
        lose_all_but_the_log(&disk);
        disk.remove(&names(&disk, "log")[0]).unwrap();
        let store = open(&disk, &workers).unwrap();
        assert!(store.damage().1 > 0);
        let made_up = |key: &(String, String, u32)| {
            let (address, name) = match (key.0.as_str(), key.1.as_str()) {
                ("alice@example.org", "INBOX") => (1, 1),
                ("alice@example.org", _) => (1, 3),
                _ => (2, 2),
            };
            (format!("recovered-{address}@recovered.invalid"), format!("Recovered {name}"), key.2)
        };
        let expected: Mail = before.into_iter().map(|(key, seen)| (made_up(&key), seen)).collect();
        assert_eq!(mail(&store).await, expected);
        // An account without an inbox could not be logged in to.
        for id in [1, 2] {
            assert!(store.mailbox_by_name(AccountId(id), "INBOX").await.unwrap().is_some());
        }
        let other = store.account_add("carol@example.org", Vec::new(), &[("INBOX", None)]).await.unwrap();
        assert_eq!(other, AccountId(3));
    });
}

/// What a name once was stands in the log beside mail that lives; that it is gone stood beside mail that went.
#[test]
fn names_that_were_taken_away_stay_away_when_the_log_is_all_there_is() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open(&disk, &workers).unwrap();
        store.reclaim_no_faster_than(u64::MAX);
        let alice =
            store.account_add("alice@example.org", Vec::new(), &[("INBOX", None), ("Tmp", None)]).await.unwrap();
        let (inbox, tmp) = (MailboxId(1), MailboxId(2));
        let mark = |value: &str| Mark { account: alice, name: "import".to_owned(), value: value.into() };
        for n in 0..40 {
            match n {
                10 => store.alias_add("old@example.com", &["alice@example.org".into()]).await.unwrap(),
                20 => store.alias_add("team@example.org", &["alice@example.org".into()]).await.unwrap(),
                30 => store.subscribe(alice, "Lists", true).await.unwrap(),
                _ => {}
            }
            let mut batch = Vec::new();
            for m in 0..15 {
                batch.push((message(&store, &noise(n * 100 + m, 4_000)).await.unwrap(), FlagNames::default()));
            }
            store.append_marked(inbox, batch, mark(&format!("{n}"))).await.unwrap();
        }
        for n in 0..200 {
            let new = message(&store, &noise(10_000 + n, 2_000)).await.unwrap();
            store.append(tmp, vec![(new, FlagNames::default())]).await.unwrap();
            match n {
                80 => store.set_mark(mark("")).await.unwrap(),
                90 => store.alias_remove("old@example.com").await.unwrap(),
                100 => store.domain_remove("example.com").await.unwrap(),
                110 => store.subscribe(alice, "Lists", false).await.unwrap(),
                _ => {}
            }
        }
        let (all, _) = store.uids(tmp).await.unwrap();
        store.expunge(tmp, all, false).await.unwrap();
        for part in 0..4 {
            for n in 0..40 {
                let new = message(&store, &noise(20_000 + part * 100 + n, 2_000)).await.unwrap();
                store.append(inbox, vec![(new, FlagNames::default())]).await.unwrap();
            }
            store.snapshot().await.unwrap();
            keep_all(&store).await;
        }
        store.close();
        drop(store);
        lose_all_but_the_log(&disk);
        let store = open(&disk, &workers).unwrap();
        assert_eq!(store.source(), Some(Source::Log));
        assert_eq!(store.mark(alice, "import").await.unwrap(), b"");
        assert_eq!(store.alias("old@example.com").await.unwrap(), None);
        assert_eq!(store.alias("team@example.org").await.unwrap().unwrap(), ["alice@example.org"]);
        assert_eq!(store.domains().await.unwrap(), ["example.org"]);
        assert_eq!(store.subscriptions(alice).await.unwrap(), ["INBOX", "Tmp"]);
        assert_eq!(mail(&store).await.len(), 40 * 15 + 4 * 40);
    });
}

#[test]
fn the_log_alone_with_random_damage_gives_back_all_but_what_was_hit() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = worn(&disk, &workers, 1_000).await;
        let before = mail(&store).await;
        store.close();
        drop(store);
        let origin = disk.revive();
        lose_all_but_the_log(&origin);
        let mut state = 0x5eed_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for round in 0..6 {
            let disk = origin.revive();
            let places = 12;
            for _ in 0..places {
                let names = names(&disk, "log");
                let name = &names[random(names.len())];
                let mut contents = disk.contents(name).unwrap();
                let at = random(contents.len());
                contents[at] ^= 1 << random(8);
                disk.put(name, &contents);
            }
            let store = open(&disk, &workers).unwrap();
            let after = mail(&store).await;
            let whole = |key, seen: &Option<Seen>| after.get(key).is_some_and(|after| after.is_some() && after == seen);
            let lost: Vec<_> = before.iter().filter(|(key, seen)| !whole(*key, seen)).map(|(key, _)| key).collect();
            // A body, or an event of a delivery, at each place; two of them may be copies.
            assert!(lost.len() <= places * 3, "round {round}: {} are lost: {lost:?}", lost.len());
            let back: Vec<_> = after.keys().filter(|key| !before.contains_key(*key)).collect();
            assert!(back.len() <= places, "round {round}: {back:?} came back");
            assert!(store.account("alice@example.org").await.unwrap().is_some(), "round {round}");
        }
    });
}
