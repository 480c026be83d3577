//! Every row of the index, in one transaction: its checksum, and what the rows say of one another. Counters are compared with
//! what is there; where they would need a list they are compared as sums of hashes, so that memory stays small.

use super::{Fault, Part, Progress, Verified};
use crate::store::index::{IndexError, Rx};
use crate::store::keys::{T, modseq_of_key, table_of, uid_of_key};
use crate::store::query;
use crate::store::rows::{self, State, decode, decode_blob_part, decode_entry};
use crate::store::{Flags, MailboxId, MessageId, ModSeq, Refusal, Shared, Uid};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries whose messages' sizes are looked up at a time.
const SIZES_STEP: usize = 1_000;

pub(super) async fn verify(
    shared: &Arc<Shared>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Verified, Refusal> {
    let of = shared.clone();
    let read = move || {
        let mut report = Verified::default();
        let outcome = of.index.read(|rx| look(rx, &mut report));
        if let Err(error) = outcome {
            super::note_index(&mut report, &error);
        }
        report
    };
    let report = shared.keeper()?.run(read).await.ok_or(Refusal::Unavailable)?;
    progress(Progress { part: Part::Index, done: report.rows, total: report.rows });
    Ok(report)
}

/// A number for each thing, such that sums of different things hardly ever agree.
fn hash(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What the rows of a mailbox amount to.
#[derive(Default)]
struct InMailbox {
    entries: u64,
    unseen: u64,
    deleted: u64,
    uids_in_runs: u64,
    unseen_in_runs: u64,
    deleted_in_runs: u64,
    uid_max: u32,
    modseq_max: u64,
    entries_sum: u64,
    modseqs_sum: u64,
    size: u64,
    row: Option<crate::store::Mailbox>,
}

/// What all rows amount to.
#[derive(Default)]
struct Truth {
    state: State,
    mailboxes: BTreeMap<u32, InMailbox>,
    doomed: Vec<u32>,
    names: u64,
    accounts: u64,
    addresses: u64,
    messages: u64,
    blobs: u64,
    /// Sums over messages of what they are, once by their own rows and once by those that name them.
    held_sum: u64,
    holders_sum: u64,
    blobs_sum: u64,
    named_blobs_sum: u64,
    live: BTreeMap<u64, u64>,
    told_live: BTreeMap<u64, u64>,
    /// The blob whose parts are being read: number, octets still to come.
    blob: Option<(u64, u64)>,
    /// A message whose holders are not known yet.
    message: Option<u64>,
}

fn look(rx: &mut Rx, report: &mut Verified) -> Result<(), IndexError> {
    let mut truth = Truth::default();
    let mut damaged = 0u64;
    rx.walk(&[], &mut |tree, row| {
        report.rows += 1;
        let is_understood = row.is_some_and(|(table, key, value)| truth.count(table, key, value, report).is_some());
        if !is_understood {
            damaged += 1;
            report.note(named(tree));
        }
        Ok(true)
    })?;
    if damaged > 0 {
        // Sums that lack a row say nothing.
        return Ok(());
    }
    truth.end_message();
    truth.end_blob(report);
    for (mailbox, of) in &mut truth.mailboxes {
        of.size = size(rx, MailboxId(*mailbox))?;
    }
    truth.compare(report);
    Ok(())
}

/// What a damaged row's key still tells.
fn named(tree: &[u8]) -> Fault {
    let number = table_of(tree);
    let table = number.and_then(T::from_number);
    let name = table.map_or_else(|| format!("table {number:?}"), |table| format!("{table:?}"));
    let key = table.and_then(|table| table.key_of(tree));
    let of_mailbox = matches!(
        table,
        Some(T::Entries | T::Deleted | T::Unseen | T::Uids | T::Mailboxes | T::ModSeqs | T::Expunged | T::Doomed)
    );
    let key = key.as_deref().unwrap_or_default();
    let mailbox = key.first_chunk().filter(|_| of_mailbox).map(|mailbox| MailboxId(u32::from_be_bytes(*mailbox)));
    let number = match table {
        Some(T::Messages | T::Shares | T::Blobs | T::Segments) => {
            key.first_chunk().map(|number| u64::from_be_bytes(*number))
        }
        Some(T::Entries) => uid_of_key(key).map(|uid| u64::from(uid.0)),
        _ => None,
    };
    Fault::Row { table: name, mailbox, number }
}

impl Truth {
    /// Counts a row; nothing when it cannot be understood.
    fn count(&mut self, table: T, key: &[u8], value: &[u8], report: &mut Verified) -> Option<()> {
        match table {
            T::State => self.state = State::decode(value)?,
            T::Segments => {
                let live = decode(table, value, |from| from.get()).ok()?;
                self.told_live.insert(u64::from_be_bytes(*key.first_chunk()?), live);
            }
            T::Accounts => self.accounts += 1,
            T::Addresses => self.addresses += 1,
            T::Names => self.names += 1,
            T::Domains | T::Locals | T::Aliases | T::Subscriptions | T::Marks => {}
            T::Doomed => self.doomed.push(uid_of_key(key)?.0),
            T::Entries | T::Deleted | T::Unseen | T::Uids | T::Mailboxes | T::ModSeqs | T::Expunged => {
                let id = u32::from_be_bytes(*key.first_chunk()?);
                let message = self.mailboxes.entry(id).or_default().count(table, id, key, value)?;
                if let Some(message) = message {
                    self.held_sum = self.held_sum.wrapping_add(hash(message.0, 1));
                }
            }
            T::Messages => {
                let number = u64::from_be_bytes(*key.first_chunk()?);
                self.end_message();
                self.message = Some(number);
                self.messages += 1;
                let blob: u64 = decode(table, value, |from| from.get()).ok()?;
                self.named_blobs_sum = self.named_blobs_sum.wrapping_add(hash(blob, 2));
            }
            T::Shares => {
                let number = u64::from_be_bytes(*key.first_chunk()?);
                let holders: u64 = decode(table, value, |from| from.get()).ok()?;
                self.holders_sum = self.holders_sum.wrapping_add(hash(number, 1).wrapping_mul(holders));
                self.message.take_if(|message| *message == number);
            }
            T::Blobs => self.count_blob(key, value, report)?,
        }
        Some(())
    }

    fn count_blob(&mut self, key: &[u8], value: &[u8], report: &mut Verified) -> Option<()> {
        let number = u64::from_be_bytes(*key.first_chunk()?);
        let (head, extents) = decode_blob_part(uid_of_key(key)?.0, value).ok()?;
        if let Some((_, size)) = head {
            self.end_blob(report);
            self.blobs += 1;
            self.blobs_sum = self.blobs_sum.wrapping_add(hash(number, 2));
            self.blob = Some((number, size));
        }
        for extent in extents {
            *self.live.entry(extent.segment).or_default() += extent.stored_bytes;
            if let Some((_, rest)) = &mut self.blob {
                *rest = rest.wrapping_sub(extent.raw_bytes);
            }
        }
        Some(())
    }

    /// A message without a row of its own about that is held once.
    fn end_message(&mut self) {
        if let Some(number) = self.message.take() {
            self.holders_sum = self.holders_sum.wrapping_add(hash(number, 1));
        }
    }

    /// A body is as long as its parts together.
    fn end_blob(&mut self, report: &mut Verified) {
        if let Some((number, rest)) = self.blob.take().filter(|(_, rest)| *rest != 0) {
            report.note(Fault::Counter { what: format!("octets that body {number} lacks"), told: 0, found: rest });
        }
    }

    fn compare(self, report: &mut Verified) {
        let mut must = |what: String, told: u64, found: u64| {
            if told != found {
                report.note(Fault::Counter { what, told, found });
            }
        };
        let state = &self.state;
        must("accounts".into(), state.accounts, self.accounts);
        must("addresses of accounts".into(), self.addresses, self.accounts);
        must("messages".into(), state.messages, self.messages);
        must("bodies".into(), self.messages, self.blobs);
        must("bodies that messages name (a sum)".into(), self.named_blobs_sum, self.blobs_sum);
        must("messages that mailboxes name (a sum)".into(), self.held_sum, self.holders_sum);
        must("deleted mailboxes with rows".into(), state.doomed, self.doomed.len() as u64);
        let mailboxes = self.mailboxes.values().filter(|of| of.row.is_some()).count() as u64;
        must("names of mailboxes".into(), self.names, mailboxes);
        for (id, of) in &self.mailboxes {
            match &of.row {
                Some(row) => of.compare(row, &mut must),
                None if self.doomed.contains(id) => {}
                None => must(format!("mailbox {id} has rows but is not there: rows"), 0, of.entries),
            }
        }
        for (segment, live) in &self.live {
            must(format!("live octets of segment {segment}"), self.told_live.get(segment).copied().unwrap_or(0), *live);
        }
        for (segment, told) in self.told_live.iter().filter(|(segment, _)| !self.live.contains_key(segment)) {
            must(format!("live octets of segment {segment}"), *told, 0);
        }
    }
}

impl InMailbox {
    /// Counts a row; answers the message of an entry.
    fn count(&mut self, table: T, id: u32, key: &[u8], value: &[u8]) -> Option<Option<MessageId>> {
        let run = || {
            let (first, last) = (uid_of_key(key)?, uid_of_key(value)?);
            Some(u64::from(last.0.checked_sub(first.0)?) + 1)
        };
        match table {
            T::Entries => {
                let entry = decode_entry(uid_of_key(key)?, value).ok()?.entry;
                self.entries += 1;
                self.unseen += u64::from(!entry.flags.has(Flags::SEEN));
                self.deleted += u64::from(entry.flags.has(Flags::DELETED));
                self.uid_max = self.uid_max.max(entry.uid.0);
                self.modseq_max = self.modseq_max.max(entry.modseq.0);
                self.entries_sum = self.entries_sum.wrapping_add(hash(entry.modseq.0, u64::from(entry.uid.0)));
                return Some(Some(entry.message));
            }
            T::ModSeqs => {
                let (ModSeq(modseq), Uid(uid)) = (modseq_of_key(key)?, uid_of_key(value)?);
                self.modseqs_sum = self.modseqs_sum.wrapping_add(hash(modseq, u64::from(uid)));
            }
            T::Uids => self.uids_in_runs += run()?,
            T::Unseen => self.unseen_in_runs += run()?,
            T::Deleted => self.deleted_in_runs += run()?,
            T::Expunged => self.modseq_max = self.modseq_max.max(modseq_of_key(key)?.0),
            _ => self.row = Some(rows::decode_mailbox(MailboxId(id), value).ok()?),
        }
        Some(None)
    }

    fn compare(&self, row: &crate::store::Mailbox, must: &mut dyn FnMut(String, u64, u64)) {
        let mut must =
            |what: &str, told, found| must(format!("{what} of mailbox {} ({})", row.id.0, row.name), told, found);
        must("messages", u64::from(row.exists), self.entries);
        must("messages without \\Seen", u64::from(row.unseen), self.unseen);
        must("messages with \\Deleted", u64::from(row.deleted), self.deleted);
        must("octets", row.size, self.size);
        must("UIDs in runs", self.uids_in_runs, self.entries);
        must("UIDs without \\Seen in runs", self.unseen_in_runs, self.unseen);
        must("UIDs with \\Deleted in runs", self.deleted_in_runs, self.deleted);
        must("modification sequences (a sum)", self.modseqs_sum, self.entries_sum);
        must("UIDs from UIDNEXT on", 0, u64::from(self.uid_max.saturating_sub(row.uid_next.0.saturating_sub(1))));
        must("modification sequences above the highest", 0, self.modseq_max.saturating_sub(row.highest_modseq.0));
    }
}

/// Octets of all messages in a mailbox.
fn size(rx: &mut Rx, mailbox: MailboxId) -> Result<u64, IndexError> {
    let (mut from, mut size) = (Some(Uid(0)), 0u64);
    while let Some(first) = from {
        let all = crate::store::UidSet::range(first, Uid(u32::MAX));
        let found = query::sizes(rx, mailbox, &all, SIZES_STEP)?;
        from = found.last().and_then(|(uid, _)| uid.0.checked_add(1)).map(Uid);
        size = found.iter().fold(size, |size, (_, bytes)| size.saturating_add(*bytes));
    }
    Ok(size)
}
