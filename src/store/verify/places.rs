//! Names the messages that have a damaged body: accounts, mailboxes, UIDs.

use super::{Fault, PLACES_MAX, Place, Verified};
use crate::store::index::{IndexError, Rx};
use crate::store::keys::{T, uid_of_key};
use crate::store::rows::{self, decode, decode_entry};
use crate::store::{BlobId, MailboxId, MessageId, Refusal, Shared, Uid};
use std::collections::BTreeMap;
use std::sync::Arc;

type Places = BTreeMap<BlobId, Vec<Place>>;

pub(super) async fn name(shared: &Arc<Shared>, report: &mut Verified) -> Result<(), Refusal> {
    let mut damaged = Places::new();
    for fault in &report.faults {
        if let Fault::Body { blob, .. } = fault {
            damaged.entry(*blob).or_default();
        }
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let of = shared.clone();
    let found = shared.keeper()?.run(move || of.index.read(|rx| find(rx, damaged))).await;
    match found.ok_or(Refusal::Unavailable)? {
        Ok(found) => {
            for fault in &mut report.faults {
                if let Fault::Body { blob, places, .. } = fault {
                    *places = found.get(blob).cloned().unwrap_or_default();
                }
            }
        }
        Err(error) => super::note_index(report, &error),
    }
    Ok(())
}

fn find(rx: &mut Rx, mut places: Places) -> Result<Places, IndexError> {
    // Messages lie behind the entries that name them, so that the tree is walked twice.
    let mut messages = BTreeMap::<MessageId, BlobId>::new();
    rx.walk(&T::Messages.tree_key(&[0; 8]), &mut |_, row| {
        if let Some((T::Messages, key, value)) = row
            && let Ok(blob) = decode(T::Messages, value, |from| from.get())
            && places.contains_key(&blob)
            && let Some(number) = key.first_chunk()
        {
            messages.insert(MessageId(u64::from_be_bytes(*number)), blob);
        }
        Ok(true)
    })?;
    let mut entries = Vec::<(BlobId, MailboxId, Uid)>::new();
    let mut told = BTreeMap::<BlobId, usize>::new();
    rx.walk(&T::Entries.tree_key(&[0; 8]), &mut |_, row| {
        if let Some((T::Entries, key, value)) = row
            && let Some(uid) = uid_of_key(key)
            && let Ok(entry) = decode_entry(uid, value)
            && let Some(blob) = messages.get(&entry.entry.message)
            && let Some(mailbox) = key.first_chunk()
        {
            let count = told.entry(*blob).or_default();
            if *count < PLACES_MAX {
                *count += 1;
                entries.push((*blob, MailboxId(u32::from_be_bytes(*mailbox)), uid));
            }
        }
        Ok(true)
    })?;
    for (blob, id, uid) in entries {
        // One that was deleted has no row any more.
        let Ok(Some(mailbox)) = rows::mailbox(rx, id) else {
            continue;
        };
        let address = rows::account(rx, mailbox.account).ok().flatten().map(|account| account.address);
        let (account, address, name) = (mailbox.account, address.unwrap_or_default(), mailbox.name);
        places.entry(blob).or_default().push(Place { account, address, mailbox: id, name, uid });
    }
    Ok(places)
}
