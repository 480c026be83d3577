//! Steps of long answers: rows of many messages, where a damaged one costs only its own message, and the first octets of
//! many bodies. One job on a worker each, bounded by what its caller asks for.

use super::chunk::{self, Header};
use super::handle::RANGES_STEP;
use super::index::{IndexError, Rx};
use super::keys::{T, key_uid, uid_of_key};
use super::query::SUMMARY_BYTES_MAX;
use super::reader::Files;
use super::rows::{self, Extent};
use super::types::*;
use super::{BlobId, Refusal, Store};
use std::sync::atomic::{AtomicBool, Ordering};

/// Octets read with a chunk's header, in the hope that they are all of it.
const FIRST_READ_BYTES: usize = 4 * 1024;

/// Messages in a range: those that can be read, and those that cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageStep {
    /// Small rows, ascending, each with its message where that was asked for.
    pub found: Vec<(Entry, Option<Message>)>,
    /// Messages whose rows are damaged.
    pub damaged: UidSet,
    /// The last message looked at: go on after it. `None` when there is none.
    pub last: Option<Uid>,
}

impl Store {
    /// The rows of the first of those `uids` that exist, at most `max`, each with its message if `with_messages`; stops early when
    /// summaries sum up to 64 KiB. Damaged ones are logged and told apart.
    pub async fn message_step(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        max: usize,
        with_messages: bool,
    ) -> Result<MessageStep, Refusal> {
        let mut step = MessageStep::default();
        for piece in uids.pieces(RANGES_STEP) {
            let first = AtomicBool::new(true);
            let look = move |rx: &mut Rx| {
                let step = message_step(rx, mailbox, &piece, max, with_messages)?;
                // The first time the index is made anew; what is damaged then, too, is passed over.
                if !step.damaged.is_empty() && first.swap(false, Ordering::AcqRel) {
                    return Err(IndexError::Damaged(T::Entries).into());
                }
                Ok(step)
            };
            step = self.shared.query(look).await?;
            if step.last.is_some() {
                break;
            }
        }
        if let Some(first) = step.damaged.first() {
            let count = step.damaged.len();
            ::log::error!("rows of messages are damaged mailbox={} uid={} count={count}", mailbox.0, first.0);
            // The index is made anew meanwhile; the next answer has them.
            drop(self.shared.queue.reopen(true));
        }
        Ok(step)
    }

    /// The first octets of bodies, at most `octets_max` of each; nothing of one that cannot be read: its reader says why.
    /// Takes memory for all of them, and once more for a chunk of 64 KiB.
    pub async fn heads(&self, blobs: Vec<BlobId>, octets_max: usize) -> Result<Vec<Vec<u8>>, Refusal> {
        // No segment goes away meanwhile.
        let _looking = self.shared.leases.look();
        let shared = self.shared.clone();
        let heads = move |rx: &mut Rx| {
            let mut heads = Vec::with_capacity(blobs.len());
            for blob in &blobs {
                let extents = match rows::blob(rx, *blob) {
                    Ok(found) => found.map(|(_, extents)| extents).unwrap_or_default(),
                    Err(IndexError::Damaged(_)) => Vec::new(),
                    Err(error) => return Err(error.into()),
                };
                let head = extents.first().and_then(|extent| head(&shared.files, extent, octets_max));
                heads.push(head.unwrap_or_default());
            }
            Ok(heads)
        };
        self.shared.query(heads).await
    }
}

#[cfg(test)]
impl Store {
    /// Spoils the row of a message in a mailbox.
    pub(crate) fn spoil_entry(&self, mailbox: MailboxId, uid: Uid) {
        self.spoil(T::Entries, &key_uid(mailbox, uid));
    }

    /// Spoils a message's row.
    pub(crate) fn spoil_message(&self, message: MessageId) {
        self.spoil(T::Messages, &super::keys::key_u64(message.0));
    }

    /// Spoils a mailbox's row.
    pub(crate) fn spoil_mailbox(&self, mailbox: MailboxId) {
        self.spoil(T::Mailboxes, &super::keys::key_u32(mailbox.0));
    }

    fn spoil(&self, table: T, key: &[u8]) {
        self.shared.index.write(false, |tx| tx.spoil(table, key)).unwrap();
    }
}

fn message_step(
    rx: &mut Rx,
    mailbox: MailboxId,
    uids: &UidSet,
    max: usize,
    with_messages: bool,
) -> Result<MessageStep, IndexError> {
    let mut step = MessageStep::default();
    let (mut count, mut bytes) = (0, 0);
    // Entries a few at a time, since the summaries may fill up sooner.
    let mut rest = uids.clone();
    while count < max && bytes < SUMMARY_BYTES_MAX {
        let entries = entries(rx, mailbox, &rest, (max - count).min(64))?;
        let Some((last, _)) = entries.last() else { break };
        rest.remove_range(UidRange { first: Uid(0), last: *last });
        for (uid, entry) in entries {
            if bytes >= SUMMARY_BYTES_MAX {
                break;
            }
            count += 1;
            step.last = Some(uid);
            let message = match &entry {
                Some(entry) if with_messages => whole(rows::message(rx, entry.message))?.flatten(),
                _ => None,
            };
            match entry {
                Some(entry) if message.is_some() || !with_messages => {
                    bytes += message.as_ref().map_or(0, |message| message.summary.len());
                    step.found.push((entry, message));
                }
                _ => step.damaged.insert(uid),
            }
        }
    }
    Ok(step)
}

/// The small rows of those `uids` that exist, nothing for a damaged one.
fn entries(
    rx: &mut Rx,
    mailbox: MailboxId,
    uids: &UidSet,
    max: usize,
) -> Result<Vec<(Uid, Option<Entry>)>, IndexError> {
    let mut entries = Vec::new();
    for range in uids.ranges() {
        if entries.len() >= max {
            break;
        }
        let (from, to) = (key_uid(mailbox, range.first), key_uid(mailbox, range.last));
        rx.scan_whole(T::Entries, &from, &to, &mut |key, row| {
            let uid = uid_of_key(key).ok_or(IndexError::Damaged(T::Entries))?;
            let row = row.map(|row| rows::decode_entry(uid, row));
            entries.push((uid, whole(row.transpose())?.flatten().map(|row| row.entry)));
            Ok(entries.len() < max)
        })?;
    }
    Ok(entries)
}

/// Nothing in place of what is damaged.
pub(super) fn whole<O>(row: Result<O, IndexError>) -> Result<Option<O>, IndexError> {
    match row {
        Ok(row) => Ok(Some(row)),
        Err(IndexError::Damaged(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first octets of a body; `None` when its first chunk cannot be read.
fn head(files: &Files, extent: &Extent, octets_max: usize) -> Option<Vec<u8>> {
    let file = files.get(extent.segment).ok()?;
    let stored_bytes = usize::try_from(extent.stored_bytes).ok()?;
    let mut octets = vec![0; stored_bytes.min(chunk::HEADER_BYTES + FIRST_READ_BYTES)];
    file.read_at(extent.offset, &mut octets).ok()?;
    let header = Header::parse(octets.first_chunk()?).ok()?;
    let end = chunk::HEADER_BYTES + header.stored_bytes;
    if end > stored_bytes {
        return None;
    }
    let here = octets.len();
    octets.resize(end, 0);
    if end > here {
        file.read_at(extent.offset + here as u64, octets.get_mut(here..)?).ok()?;
    }
    let mut raw = header.decode(octets.get(chunk::HEADER_BYTES..)?).ok()?;
    if raw.len() > octets_max {
        raw.truncate(octets_max);
        raw.shrink_to_fit();
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Budget, Clock, Workers};
    use crate::store::sim::SimDisk;
    use crate::store::{NewMessage, Options};
    use std::sync::Arc;

    #[test]
    fn a_damaged_row_costs_its_own_message_and_no_other() {
        let workers = Workers::new("test", 1, 256 * 1024).unwrap();
        let clock = Clock::simulated(0).0;
        let disk = Arc::new(SimDisk::new());
        let store = Store::open_on(disk, Options::default(), clock, workers, Budget::new(1 << 20)).unwrap();
        smol::block_on(async {
            let account = store.account_add("a@b", Vec::new(), &[("INBOX", None)]).await.unwrap();
            let inbox = store.mailbox_by_name(account, "INBOX").await.unwrap().unwrap().id;
            for _ in 0..5 {
                let body = store.body().finish().await.unwrap();
                let internal_date = Date { unix_s: 0, zone_minutes: 0 };
                let message = NewMessage { body, summary: Vec::new(), internal_date };
                store.append(inbox, vec![(message, FlagNames::default())]).await.unwrap();
            }
            let all = UidSet::range(Uid(1), Uid(9));
            let second = store.entries(inbox, &UidSet::one(Uid(2)), 1).await.unwrap()[0].message;
            store.spoil_message(second);
            store.spoil_entry(inbox, Uid(4));
            let told = |with_messages| {
                let step = store.shared.index.read(|rx| message_step(rx, inbox, &all, 9, with_messages)).unwrap();
                let found: Vec<u32> = step.found.iter().map(|(entry, _)| entry.uid.0).collect();
                (found, step.damaged.iter().map(|uid| uid.0).collect::<Vec<_>>(), step.last)
            };
            assert_eq!(told(false), (vec![1, 2, 3, 5], vec![4], Some(Uid(5))));
            assert_eq!(told(true), (vec![1, 3, 5], vec![2, 4], Some(Uid(5))));
            // Asked as sessions do, the index is made anew from the log.
            let healed = store.message_step(inbox, &all, 9, true).await.unwrap();
            assert_eq!((healed.found.len(), healed.damaged.is_empty()), (5, true));
            // So it is when changes are asked for.
            store.spoil_entry(inbox, Uid(4));
            assert_eq!(store.changes(inbox, ModSeq(0), 9).await.unwrap().changed.len(), 5);
        });
        store.close();
    }
}
