//! Random operations on the store and on a plain model of it, with restarts, kills, power cuts and lost indexes in between:
//! both always show the same, and replaying the log gives the same index.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on may stop"
)]

mod store_support;

use pigeon::base::Workers;
use pigeon::store::sim::{Cut, SimDisk};
use pigeon::store::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use store_support::*;

const NAMES: [&str; 8] = ["INBOX", "Trash", "a", "a/b", "a/b/c", "d", "d/e", "Ü"];
const KEYWORDS: [&str; 3] = ["$Junk", "$Forwarded", "later"];

#[derive(Clone, Debug)]
enum Op {
    Deliver { seed: u64, size: usize, targets: u8 },
    Flags { mailbox: u8, uids: (u32, u32), change: FlagChange, system: u8, keywords: u8, since: Option<u64> },
    Copy { from: u8, uids: (u32, u32), to: u8 },
    Move { from: u8, uids: (u32, u32), to: u8 },
    Expunge { mailbox: u8, uids: (u32, u32), only_deleted: bool },
    Create { name: u8 },
    Delete { name: u8 },
    Rename { from: u8, to: u8 },
    Subscribe { name: u8, on: bool },
    KeepHouse,
    Restart(Restart),
}

#[derive(Clone, Copy, Debug)]
enum Restart {
    Closed,
    Killed,
    Cut,
    IndexLost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mail {
    body: Vec<u8>,
    system: u64,
    keywords: BTreeSet<&'static str>,
    modseq: u64,
}

#[derive(Clone, Debug, Default)]
struct Box_ {
    id: u32,
    uid_validity: u32,
    uid_next: u32,
    modseq: u64,
    mails: BTreeMap<u32, Mail>,
    gone: BTreeMap<u32, u64>,
}

#[derive(Default)]
struct Model {
    boxes: BTreeMap<&'static str, Box_>,
    subscribed: BTreeSet<&'static str>,
    made: u32,
}

impl Model {
    fn create(&mut self, name: &'static str) {
        self.made += 1;
        let new = Box_ { id: self.made, uid_validity: self.made, uid_next: 1, modseq: 1, ..Box_::default() };
        self.boxes.insert(name, new);
    }

    fn pick(&self, n: u8) -> (&'static str, MailboxId) {
        let (name, mailbox) = self.boxes.iter().nth(usize::from(n) % self.boxes.len()).unwrap();
        (name, MailboxId(mailbox.id))
    }
}

impl Box_ {
    fn add(&mut self, mut mail: Mail) -> u32 {
        self.modseq += 1;
        mail.modseq = self.modseq;
        self.mails.insert(self.uid_next, mail);
        self.uid_next += 1;
        self.uid_next - 1
    }

    fn within(&self, (first, last): (u32, u32)) -> Vec<u32> {
        if first > last { Vec::new() } else { self.mails.range(first..=last).map(|(uid, _)| *uid).collect() }
    }

    fn expunge(&mut self, uids: &[u32]) {
        if !uids.is_empty() {
            self.modseq += 1;
        }
        for uid in uids {
            self.mails.remove(uid);
            self.gone.insert(*uid, self.modseq);
        }
    }
}

fn parents(name: &str) -> Vec<&'static str> {
    let cuts = name.match_indices('/').map(|(at, _)| &name[..at]);
    cuts.map(|parent| *NAMES.iter().find(|known| **known == parent).unwrap()).collect()
}

fn static_keywords(bits: u8) -> BTreeSet<&'static str> {
    KEYWORDS.into_iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, name)| name).collect()
}

fn set((first, last): (u32, u32)) -> UidSet {
    UidSet::range(Uid(first), Uid(last))
}

fn set_of(uids: &[u32]) -> UidSet {
    uids.iter().map(|uid| Uid(*uid)).collect()
}

/// Does one operation on both; they answer alike.
async fn both(store: &Store, model: &mut Model, op: &Op) {
    let alice = AccountId(1);
    match op {
        Op::Deliver { seed, size, targets } => {
            let octets = noise(*seed, *size);
            let mut chosen: Vec<(&str, MailboxId)> = vec![model.pick(*targets)];
            if targets & 1 == 1 {
                let second = model.pick(targets.wrapping_add(1));
                if second != chosen[0] {
                    chosen.push(second);
                }
            }
            let ids: Vec<MailboxId> = chosen.iter().map(|(_, id)| *id).collect();
            let new = message(store, &octets).await.unwrap();
            let stored = store.deliver(new, into(&ids)).await.unwrap();
            for ((name, _), stored) in chosen.iter().zip(stored) {
                let mailbox = model.boxes.get_mut(name).unwrap();
                let mail = Mail { body: octets.clone(), system: 0, keywords: BTreeSet::new(), modseq: 0 };
                assert_eq!(stored.uid.0, mailbox.add(mail));
                assert_eq!(stored.modseq.0, mailbox.modseq);
            }
        }
        Op::Flags { mailbox, uids, change, system, keywords, since } => {
            let (name, id) = model.pick(*mailbox);
            let mailbox = model.boxes.get_mut(name).unwrap();
            let since = since.map(|back| ModSeq(mailbox.modseq.saturating_sub(back)));
            let names: Vec<&str> = static_keywords(*keywords).into_iter().collect();
            let given = flags(Flags(u64::from(*system)), &names);
            let done = store.flags(id, set(*uids), *change, given, since).await.unwrap();
            let mut modified = Vec::new();
            let mut expected = Vec::new();
            for uid in mailbox.within(*uids) {
                let mail = mailbox.mails.get_mut(&uid).unwrap();
                if since.is_some_and(|since| mail.modseq > since.0) {
                    modified.push(uid);
                    continue;
                }
                let before = mail.clone();
                let (system, keywords) = (u64::from(*system), static_keywords(*keywords));
                match change {
                    FlagChange::Replace => (mail.system, mail.keywords) = (system, keywords),
                    FlagChange::Add => {
                        mail.system |= system;
                        mail.keywords.extend(keywords);
                    }
                    FlagChange::Remove => {
                        mail.system &= !system;
                        mail.keywords.retain(|name| !keywords.contains(name));
                    }
                }
                if *mail != before {
                    mailbox.modseq += 1;
                    mail.modseq = mailbox.modseq;
                }
                expected.push((uid, mail.modseq));
            }
            assert_eq!(done.modified, set_of(&modified));
            assert_eq!(done.done.iter().map(|e| (e.uid.0, e.modseq.0)).collect::<Vec<_>>(), expected);
            assert!(done.rest.is_empty());
        }
        Op::Copy { from, uids, to } => {
            let ((from, from_id), (to, to_id)) = (model.pick(*from), model.pick(*to));
            let copied = store.copy(from_id, set(*uids), to_id).await.unwrap();
            let found = model.boxes[from].within(*uids);
            let mails: Vec<Mail> = found.iter().map(|uid| model.boxes[from].mails[uid].clone()).collect();
            let target = model.boxes.get_mut(to).unwrap();
            let new: Vec<u32> = mails.into_iter().map(|mail| target.add(mail)).collect();
            assert_eq!((copied.from, copied.to), (set_of(&found), set_of(&new)));
        }
        Op::Move { from, uids, to } => {
            let ((from, from_id), (to, to_id)) = (model.pick(*from), model.pick(*to));
            let (copied, gone) = store.move_messages(from_id, set(*uids), to_id).await.unwrap();
            let found = model.boxes[from].within(*uids);
            let mails: Vec<Mail> = found.iter().map(|uid| model.boxes[from].mails[uid].clone()).collect();
            let target = model.boxes.get_mut(to).unwrap();
            let new: Vec<u32> = mails.into_iter().map(|mail| target.add(mail)).collect();
            let source = model.boxes.get_mut(from).unwrap();
            source.expunge(&found);
            assert_eq!((copied.from, copied.to), (set_of(&found), set_of(&new)));
            assert_eq!((gone.uids, gone.modseq.0), (set_of(&found), source.modseq));
        }
        Op::Expunge { mailbox, uids, only_deleted } => {
            let (name, id) = model.pick(*mailbox);
            let gone = store.expunge(id, set(*uids), *only_deleted).await.unwrap();
            let mailbox = model.boxes.get_mut(name).unwrap();
            let mut found = mailbox.within(*uids);
            found.retain(|uid| !only_deleted || mailbox.mails[uid].system & Flags::DELETED.0 != 0);
            mailbox.expunge(&found);
            assert_eq!((gone.uids, gone.modseq.0), (set_of(&found), mailbox.modseq));
        }
        Op::Create { name } => {
            let name = NAMES[usize::from(*name) % NAMES.len()];
            let created = store.mailbox_create(alice, name, None).await;
            if model.boxes.contains_key(name) {
                assert_eq!(created, Err(Refusal::Exists));
                return;
            }
            for name in parents(name).into_iter().chain([name]) {
                if !model.boxes.contains_key(name) {
                    model.create(name);
                }
            }
            assert_eq!(created, Ok(MailboxId(model.boxes[name].id)));
        }
        Op::Delete { name } => {
            let (name, id) = model.pick(*name);
            let deleted = store.mailbox_delete(id).await;
            let has_children = model.boxes.keys().any(|other| other.starts_with(&format!("{name}/")));
            if name == "INBOX" || has_children {
                assert_eq!(deleted, Err(Refusal::NotAllowed));
            } else {
                assert_eq!(deleted, Ok(()));
                model.boxes.remove(name);
            }
        }
        Op::Rename { from, to } => {
            let ((from, id), to) = (model.pick(*from), NAMES[usize::from(*to) % NAMES.len()]);
            let is_inside = to.starts_with(&format!("{from}/"));
            let children: Vec<&str> =
                model.boxes.keys().copied().filter(|n| n.starts_with(&format!("{from}/"))).collect();
            // Names that the model does not know, and INBOX's messages moving out, have tests of their own.
            if from == "INBOX" || !children.is_empty() && !model.boxes.contains_key(to) && !is_inside {
                return;
            }
            let renamed = store.mailbox_rename(id, to).await;
            if model.boxes.contains_key(to) {
                assert_eq!(renamed, Err(Refusal::Exists));
            } else if is_inside {
                assert_eq!(renamed, Err(Refusal::NotAllowed));
            } else {
                assert_eq!(renamed, Ok(()));
                for parent in parents(to) {
                    if !model.boxes.contains_key(parent) {
                        model.create(parent);
                    }
                }
                let moved = model.boxes.remove(from).unwrap();
                model.boxes.insert(to, moved);
            }
        }
        Op::Subscribe { name, on } => {
            let name = NAMES[usize::from(*name) % NAMES.len()];
            store.subscribe(alice, name, *on).await.unwrap();
            if *on {
                model.subscribed.insert(name)
            } else {
                model.subscribed.remove(name)
            };
        }
        Op::KeepHouse => {
            store.keep_house().await.unwrap();
        }
        Op::Restart(_) => {}
    }
}

/// The store shows what the model holds.
async fn compare(store: &Store, model: &Model) {
    let mailboxes = store.mailboxes(AccountId(1)).await.unwrap();
    assert_eq!(
        mailboxes.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
        model.boxes.keys().copied().collect::<Vec<_>>()
    );
    let subscribed = store.subscriptions(AccountId(1)).await.unwrap();
    assert_eq!(subscribed, model.subscribed.iter().copied().collect::<Vec<_>>());
    for row in mailboxes {
        let expected = &model.boxes[row.name.as_str()];
        assert_eq!((row.id.0, row.uid_validity.0), (expected.id, expected.uid_validity));
        assert_eq!((row.uid_next.0, row.highest_modseq.0), (expected.uid_next, expected.modseq));
        assert_eq!(row.size, expected.mails.values().map(|mail| mail.body.len() as u64).sum::<u64>());
        check_counters(store, &row).await.unwrap();
        let (uids, _) = store.uids(row.id).await.unwrap();
        assert_eq!(uids, expected.mails.keys().map(|uid| Uid(*uid)).collect());
        let found = store.messages(row.id, &uids, 10_000).await.unwrap();
        assert_eq!(found.len(), expected.mails.len());
        for (entry, message) in found {
            let mail = &expected.mails[&entry.uid.0];
            let keywords = row.keywords.iter().enumerate().filter(|(n, _)| entry.flags.has(Flags::keyword(*n)));
            assert_eq!(entry.flags.0 & 31, mail.system);
            assert_eq!(keywords.map(|(_, name)| name.as_str()).collect::<BTreeSet<_>>(), mail.keywords);
            assert_eq!(entry.modseq.0, mail.modseq);
            assert!(body(store, message.blob).await.unwrap() == mail.body);
        }
        compare_changes(store, &row, expected).await;
    }
}

/// Whoever knows the mailbox as of any modification sequence is told all that happened since, in steps of any size.
async fn compare_changes(store: &Store, row: &Mailbox, expected: &Box_) {
    for (since, max) in [(0, 3), (expected.modseq / 2, 1), (expected.modseq, 10), (expected.modseq / 3, 1_000)] {
        let (mut changed, mut expunged, mut from) = (BTreeMap::new(), UidSet::new(), ModSeq(since));
        loop {
            let step = store.changes(row.id, from, max).await.unwrap();
            assert!(step.changed.len() <= max && step.upto >= from);
            changed.extend(step.changed.iter().map(|entry| (entry.uid.0, entry.modseq.0)));
            step.expunged.ranges().iter().for_each(|range| expunged.insert_range(*range));
            from = step.upto;
            if !step.more {
                break;
            }
        }
        assert_eq!(from.0, expected.modseq.max(since));
        let later = expected.mails.iter().filter(|(_, mail)| mail.modseq > since);
        assert_eq!(changed, later.map(|(uid, mail)| (*uid, mail.modseq)).collect());
        let gone = expected.gone.iter().filter(|(_, modseq)| **modseq > since);
        assert_eq!(expunged, gone.map(|(uid, _)| Uid(*uid)).collect());
    }
}

async fn restart(disk: SimDisk, store: Store, how: Restart, workers: &Workers) -> (SimDisk, Store) {
    let before = store.digest().await.unwrap();
    let after = match how {
        Restart::Closed => {
            store.close();
            disk
        }
        Restart::Killed => disk.revive(),
        Restart::Cut => disk.reboot(Cut::Nothing),
        Restart::IndexLost => {
            let after = disk.revive();
            after.put("index.redb", b"");
            after
        }
    };
    drop(store);
    let store = open(&after, workers).unwrap();
    assert_eq!(store.digest().await.unwrap(), before, "{how:?}");
    (after, store)
}

async fn play(ops: &[Op], workers: &Workers) {
    let mut disk = SimDisk::new();
    let mut store = open(&disk, workers).unwrap();
    let mut model = Model::default();
    store.account_add("alice@example.org", vec![1], &[("INBOX", None), ("Trash", None)]).await.unwrap();
    for name in ["INBOX", "Trash"] {
        model.create(name);
        model.subscribed.insert(name);
    }
    for op in ops {
        if let Op::Restart(how) = op {
            // What deleted mailboxes held goes in the background; wait, so that both sums are of the same moment.
            settle(&store, &model).await;
            (disk, store) = restart(disk, store, *how, workers).await;
            compare(&store, &model).await;
        } else {
            both(&store, &mut model, op).await;
        }
    }
    compare(&store, &model).await;
    settle(&store, &model).await;
    restart(disk, store, Restart::IndexLost, workers).await;
}

/// Waits until only what the model knows is held.
async fn settle(store: &Store, model: &Model) {
    for _ in 0..1_000 {
        let stats = store.stats().await.unwrap();
        let bodies: BTreeSet<&Vec<u8>> = model.boxes.values().flat_map(|b| b.mails.values()).map(|m| &m.body).collect();
        if stats.doomed == 0 && stats.messages >= bodies.len() as u64 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("deleted mailboxes are still there");
}

fn uids() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![(1u32..12, 1u32..12), Just((1, u32::MAX)), (1u32..12).prop_map(|uid| (uid, uid))]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let size = prop_oneof![Just(0usize), 1usize..3_000, 60_000usize..70_000, Just(150_000)];
    let change = prop_oneof![Just(FlagChange::Replace), Just(FlagChange::Add), Just(FlagChange::Remove)];
    let how = prop_oneof![Just(Restart::Closed), Just(Restart::Killed), Just(Restart::Cut), Just(Restart::IndexLost)];
    let op = prop_oneof![
        6 => (any::<u64>(), size, any::<u8>()).prop_map(|(seed, size, targets)| Op::Deliver { seed, size, targets }),
        5 => (any::<u8>(), uids(), change, 0u8..32, 0u8..8, proptest::option::of(0u64..6)).prop_map(
            |(mailbox, uids, change, system, keywords, since)| Op::Flags { mailbox, uids, change, system, keywords, since }
        ),
        2 => (any::<u8>(), uids(), any::<u8>()).prop_map(|(from, uids, to)| Op::Copy { from, uids, to }),
        2 => (any::<u8>(), uids(), any::<u8>()).prop_map(|(from, uids, to)| Op::Move { from, uids, to }),
        2 => (any::<u8>(), uids(), any::<bool>())
            .prop_map(|(mailbox, uids, only_deleted)| Op::Expunge { mailbox, uids, only_deleted }),
        2 => any::<u8>().prop_map(|name| Op::Create { name }),
        1 => any::<u8>().prop_map(|name| Op::Delete { name }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Op::Rename { from, to }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(name, on)| Op::Subscribe { name, on }),
        2 => Just(Op::KeepHouse),
        2 => how.prop_map(Op::Restart),
    ];
    proptest::collection::vec(op, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_what_a_plain_model_is(ops in ops()) {
        let workers = workers();
        smol::block_on(play(&ops, &workers));
    }
}

#[test]
fn bulk_work_goes_in_steps_and_ends_where_it_should() {
    let workers = workers();
    smol::block_on(async {
        let disk = SimDisk::new();
        let store = open_with(&disk, &workers, Options::default()).unwrap();
        store.account_add("alice@example.org", vec![1], &[("INBOX", None), ("Trash", None)]).await.unwrap();
        let (inbox, trash) = (MailboxId(1), MailboxId(2));
        let mut batch = Vec::new();
        for n in 0..2_500u64 {
            batch.push((message(&store, &noise(n, 20)).await.unwrap(), FlagNames::default()));
        }
        assert_eq!(store.append(inbox, batch).await.unwrap().len(), 2_500);
        let all = UidSet::range(Uid(1), Uid(u32::MAX));
        let (mut rest, mut steps) = (all.clone(), Vec::new());
        while !rest.is_empty() {
            let done = store.flags(inbox, rest, FlagChange::Add, flags(Flags::DELETED, &[]), None).await.unwrap();
            steps.push(done.done.len());
            rest = done.rest;
        }
        assert_eq!(steps, [1_000, 1_000, 500]);
        let (mut rest, mut steps) = (UidSet::range(Uid(1), Uid(1_200)), Vec::new());
        while !rest.is_empty() {
            let (copied, gone) = store.move_messages(inbox, rest, trash).await.unwrap();
            assert_eq!(copied.from, gone.uids);
            steps.push(copied.to.len());
            rest = gone.rest;
        }
        assert_eq!(steps, [1_000, 200]);
        let (mut rest, mut steps) = (all, Vec::new());
        while !rest.is_empty() {
            let gone = store.expunge(inbox, rest, true).await.unwrap();
            steps.push(gone.uids.len());
            rest = gone.rest;
        }
        assert_eq!(steps, [1_000, 300]);
        assert_eq!(store.mailbox(inbox).await.unwrap().unwrap().exists, 0);
        assert_eq!(store.mailbox(trash).await.unwrap().unwrap().exists, 1_200);
        store.mailbox_delete(trash).await.unwrap();
        for _ in 0..1_000 {
            if store.stats().await.unwrap().doomed == 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.messages, stats.live_bytes), (0, 0));
    });
}
