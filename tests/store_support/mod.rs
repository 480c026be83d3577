//! What the store's tests share: opening on a simulated disk, small scenarios, and a picture of everything a client sees.

#![allow(dead_code, reason = "not every test uses all of it")]

pub(crate) mod hooked;
pub(crate) mod mail;
pub(crate) mod worn;

use pigeon::base::{Budget, Clock, Workers};
use pigeon::store::sim::SimDisk;
use pigeon::store::*;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Opens a store on a simulated disk, at a moment that never passes.
pub(crate) fn open(disk: &SimDisk, workers: &Workers) -> Result<Store, OpenError> {
    let options = Options { segment_bytes: 64 * 1024, gather: Duration::from_millis(1), ..Options::default() };
    open_with(disk, workers, options)
}

/// As [`open`], with options.
pub(crate) fn open_with(disk: &SimDisk, workers: &Workers, options: Options) -> Result<Store, OpenError> {
    open_on(disk, workers, options)
}

/// As [`open_with`], on any disk.
pub(crate) fn open_on(disk: &(impl Disk + Clone), workers: &Workers, options: Options) -> Result<Store, OpenError> {
    let (clock, _) = Clock::simulated(1_700_000_000);
    Store::open_on(Arc::new(disk.clone()), options, clock, workers.clone(), Budget::new(32 << 20))
}

/// As [`open`], on a disk with sectors that cannot be read.
pub(crate) fn open_worn(disk: &worn::Worn, workers: &Workers) -> Result<Store, OpenError> {
    open_on(disk, workers, Options { segment_bytes: 64 * 1024, ..Options::default() })
}

/// Threads for a test.
pub(crate) fn workers() -> Workers {
    Workers::new("test", 2, 512 * 1024).unwrap()
}

/// Octets that do not compress, different for every seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(3_037_000_493);
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(bytes)
    .collect()
}

/// A message with this body.
pub(crate) async fn message(store: &Store, octets: &[u8]) -> Result<NewMessage, Refusal> {
    let mut body = store.body();
    body.write(octets).await?;
    let body = body.finish().await?;
    let summary = format!("summary of {} octets", octets.len()).into_bytes();
    Ok(NewMessage { body, summary, internal_date: Date { unix_s: 1_699_999_999, zone_minutes: -90 } })
}

/// Targets without flags.
pub(crate) fn into(mailboxes: &[MailboxId]) -> Vec<Target> {
    mailboxes.iter().map(|mailbox| Target { mailbox: *mailbox, flags: FlagNames::default() }).collect()
}

/// Flags by name.
pub(crate) fn flags(system: Flags, keywords: &[&str]) -> FlagNames {
    FlagNames { system, keywords: keywords.iter().map(|name| (*name).to_owned()).collect() }
}

/// A whole body.
pub(crate) async fn body(store: &Store, blob: BlobId) -> Result<Vec<u8>, Refusal> {
    let mut reader = store.read(blob).await?;
    let mut all = Vec::new();
    while (all.len() as u64) < reader.len() {
        let piece = reader.at(all.len() as u64).await?;
        all.extend_from_slice(piece);
    }
    Ok(all)
}

/// Everything that clients and operators can see, as text.
pub(crate) async fn picture(store: &Store) -> Result<String, Refusal> {
    let mut text = String::new();
    writeln!(text, "domains {:?}", store.domains().await?).unwrap();
    writeln!(text, "aliases {:?}", store.aliases(None, 1_000).await?).unwrap();
    for account in store.accounts(None, 1_000).await? {
        writeln!(text, "{account:?}").unwrap();
        writeln!(text, " subscribed {:?}", store.subscriptions(account.id).await?).unwrap();
        for mailbox in store.mailboxes(account.id).await? {
            writeln!(text, " {mailbox:?}").unwrap();
            check_counters(store, &mailbox).await?;
            let (uids, _) = store.uids(mailbox.id).await?;
            let mut rest = uids;
            while !rest.is_empty() {
                let found = store.messages(mailbox.id, &rest, 1_000).await?;
                let last = found.last().expect("uids() named it").0.uid;
                for (entry, message) in found {
                    let octets = body(store, message.blob).await?;
                    let sum = crc32c::crc32c(&octets);
                    assert_eq!(octets.len() as u64, message.size);
                    writeln!(text, "  {entry:?} {message:?} body {sum:08x}").unwrap();
                }
                rest.remove_range(UidRange { first: Uid(0), last });
            }
            let changes = store.changes(mailbox.id, ModSeq(0), 10_000).await?;
            writeln!(text, "  gone {:?} upto {:?}", changes.expunged, changes.upto).unwrap();
        }
    }
    Ok(text)
}

/// A mailbox's counters agree with its messages.
pub(crate) async fn check_counters(store: &Store, mailbox: &Mailbox) -> Result<(), Refusal> {
    let (uids, modseq) = store.uids(mailbox.id).await?;
    let mut entries = Vec::new();
    let mut rest = uids.clone();
    while !rest.is_empty() {
        let found = store.entries(mailbox.id, &rest, 1_000).await?;
        rest.remove_range(UidRange { first: Uid(0), last: found.last().expect("uids() named it").uid });
        entries.extend(found);
    }
    let count = |test: &dyn Fn(&Entry) -> bool| entries.iter().filter(|entry| test(entry)).count() as u32;
    assert_eq!(modseq, mailbox.highest_modseq);
    assert_eq!(uids.len(), u64::from(mailbox.exists));
    assert_eq!(mailbox.exists, count(&|_| true));
    assert_eq!(mailbox.unseen, count(&|entry| !entry.flags.has(Flags::SEEN)));
    assert_eq!(mailbox.deleted, count(&|entry| entry.flags.has(Flags::DELETED)));
    let first_unseen = entries.iter().find(|entry| !entry.flags.has(Flags::SEEN)).map(|entry| entry.uid);
    assert_eq!(store.first_unseen(mailbox.id).await?, first_unseen);
    for entry in &entries {
        assert!(entry.uid < mailbox.uid_next && entry.modseq <= mailbox.highest_modseq);
    }
    let changes = store.changes(mailbox.id, ModSeq(0), 10_000).await?;
    let mut told: Vec<Uid> = changes.changed.iter().map(|entry| entry.uid).collect();
    assert!(changes.changed.is_sorted_by_key(|entry| entry.modseq));
    told.sort();
    assert_eq!(told, entries.iter().map(|entry| entry.uid).collect::<Vec<_>>());
    Ok(())
}
