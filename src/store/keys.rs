//! The index's tables and where their rows lie. All are kept in one B-tree, so that what changes together lies together and
//! a commit touches few pages: a message's rows side by side, and of a mailbox the newest entry, its counters and the newest
//! modification sequence (which run backwards), so that a delivery usually changes one page of each.
//!
//! Numbers in keys are big-endian, so that they sort; `|` joins; values are varints unless told, and each ends with a
//! CRC-32C over table, key and value.
//!
//! | table         | key                    | value                                                          |
//! |---------------|------------------------|----------------------------------------------------------------|
//! | State         | (empty)                | format, position in the log, next numbers, totals              |
//! | Segments      | segment                | live and dead octets of bodies                                 |
//! | Domains       | name                   | accounts and aliases in it                                     |
//! | Accounts      | account                | address, secrets                                               |
//! | Addresses     | address                | account                                                        |
//! | Locals        | local part, 0, account | (empty)                                                        |
//! | Aliases       | address                | targets                                                        |
//! | Names         | account \| name        | mailbox                                                        |
//! | Subscriptions | account \| name        | (empty)                                                        |
//! | Marks         | account \| name        | how far work of an account's that comes in steps has got: opaque |
//! | Doomed        | mailbox                | (empty): deleted, its rows go in steps                         |
//! | Entries       | mailbox \| UID         | message, flags, MODSEQ, save date                              |
//! | Deleted, Unseen, Uids | mailbox \| first UID | last UID of the run: with \Deleted, without \Seen, all   |
//! | Mailboxes     | mailbox                | name, UIDNEXT, counters, keywords: what SELECT and STATUS tell |
//! | ModSeqs       | mailbox \| MODSEQ      | UID: the message whose last change it was; newest first        |
//! | Expunged      | mailbox \| MODSEQ      | UIDs that went with it; newest first                           |
//! | Messages      | message                | blob, size, date, summary                                      |
//! | Shares        | message                | entries that hold it, when more than one                       |
//! | Blobs         | blob \| part           | references and size (part 0), then at most 128 extents         |
//!
//! | keys in the tree              | tables                                                                         |
//! |-------------------------------|--------------------------------------------------------------------------------|
//! | table \| key                  | State to Marks                                                                 |
//! | 32 \| mailbox \| table \| rest | Entries to Expunged; the rest of ModSeqs and Expunged has every bit turned over |
//! | 64 \| number \| table \| rest  | Messages, Shares, Blobs                                                        |

use super::types::*;
use smallvec::SmallVec;

const MAILBOX_AREA: u8 = 32;
const MESSAGE_AREA: u8 = 64;

/// A key as it stands in the tree.
pub(crate) type TreeKey = SmallVec<[u8; 32]>;

/// A table. The number is on disk: it orders the rows and is part of their checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum T {
    State = 1,
    Segments = 2,
    Domains = 3,
    Accounts = 4,
    Addresses = 5,
    Locals = 6,
    Aliases = 7,
    Names = 8,
    Subscriptions = 9,
    Doomed = 10,
    Marks = 11,
    Entries = 33,
    Deleted = 34,
    Unseen = 35,
    Uids = 36,
    Mailboxes = 37,
    ModSeqs = 38,
    Expunged = 39,
    Messages = 65,
    Shares = 66,
    Blobs = 67,
}

/// Every table.
const ALL: [T; 21] = [
    T::State,
    T::Segments,
    T::Domains,
    T::Accounts,
    T::Addresses,
    T::Locals,
    T::Aliases,
    T::Names,
    T::Subscriptions,
    T::Doomed,
    T::Marks,
    T::Entries,
    T::Deleted,
    T::Unseen,
    T::Uids,
    T::Mailboxes,
    T::ModSeqs,
    T::Expunged,
    T::Messages,
    T::Shares,
    T::Blobs,
];

impl T {
    /// Where the table's number stands: after so many octets of the key.
    fn split(self) -> (Option<u8>, usize) {
        match self as u8 {
            0..MAILBOX_AREA => (None, 0),
            MAILBOX_AREA..MESSAGE_AREA => (Some(MAILBOX_AREA), 4),
            _ => (Some(MESSAGE_AREA), 8),
        }
    }

    /// The table with this number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        ALL.into_iter().find(|table| *table as u8 == number)
    }

    /// Whether the newest rows come first.
    pub(crate) fn runs_backwards(self) -> bool {
        matches!(self, Self::ModSeqs | Self::Expunged)
    }

    /// Whether its rows name places in the log, which recovery may change.
    pub(crate) fn names_places(number: u8) -> bool {
        [Self::State as u8, Self::Blobs as u8, Self::Segments as u8].contains(&number)
    }

    /// The key in the tree.
    pub(crate) fn tree_key(self, key: &[u8]) -> TreeKey {
        let (area, at) = self.split();
        let (front, rest) = key.split_at(at.min(key.len()));
        let mut tree = TreeKey::new();
        tree.extend(area);
        tree.extend_from_slice(front);
        tree.push(self as u8);
        match self.runs_backwards() {
            true => tree.extend(rest.iter().map(|octet| !octet)),
            false => tree.extend_from_slice(rest),
        }
        tree
    }

    /// The table's key again.
    pub(crate) fn key_of(self, tree: &[u8]) -> Option<TreeKey> {
        let (area, at) = self.split();
        let body = tree.get(usize::from(area.is_some())..)?;
        let (front, rest) = body.split_at_checked(at)?;
        let (number, rest) = rest.split_first()?;
        let mut key = TreeKey::from_slice(front);
        match self.runs_backwards() {
            true => key.extend(rest.iter().map(|octet| !octet)),
            false => key.extend_from_slice(rest),
        }
        (*number == self as u8).then_some(key)
    }
}

/// The number of the table that a row of the tree belongs to.
pub(crate) fn table_of(tree: &[u8]) -> Option<u8> {
    match *tree.first()? {
        MAILBOX_AREA => tree.get(5).copied(),
        MESSAGE_AREA => tree.get(9).copied(),
        number => Some(number),
    }
}

/// The key of a number.
pub(crate) fn key_u32(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// The key of a number.
pub(crate) fn key_u64(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The key of something of a mailbox's by UID.
pub(crate) fn key_uid(mailbox: MailboxId, uid: Uid) -> [u8; 8] {
    ((u64::from(mailbox.0) << 32) | u64::from(uid.0)).to_be_bytes()
}

/// The key of something of a mailbox's by modification sequence.
pub(crate) fn key_modseq(mailbox: MailboxId, modseq: ModSeq) -> [u8; 12] {
    joined(mailbox.0.to_be_bytes(), modseq.0.to_be_bytes())
}

/// The key of part of a blob.
pub(crate) fn key_blob(blob: u64, part: u32) -> [u8; 12] {
    joined(blob.to_be_bytes(), part.to_be_bytes())
}

fn joined<const A: usize, const B: usize>(front: [u8; A], rest: [u8; B]) -> [u8; 12] {
    const { assert!(A + B == 12) };
    let mut key = [0; 12];
    for (to, from) in key.iter_mut().zip(front.into_iter().chain(rest)) {
        *to = from;
    }
    key
}

/// The UID, or another number of 32 bits, at the end of a key or a value.
pub(crate) fn uid_of_key(key: &[u8]) -> Option<Uid> {
    key.last_chunk::<4>().map(|uid| Uid(u32::from_be_bytes(*uid)))
}

/// The modification sequence at the end of a key.
pub(crate) fn modseq_of_key(key: &[u8]) -> Option<ModSeq> {
    key.last_chunk::<8>().map(|modseq| ModSeq(u64::from_be_bytes(*modseq)))
}

/// The key of a name in an account.
pub(crate) fn key_name(account: u32, name: &str) -> Vec<u8> {
    let mut key = account.to_be_bytes().to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

/// Above every key that begins with `prefix` and goes on in UTF-8.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.push(0xff);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_name_their_table() {
        for table in ALL {
            for key in [&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12][..], &[0xff; 12]] {
                let tree = table.tree_key(key);
                assert_eq!(table.key_of(&tree).as_deref(), Some(key));
                assert_eq!(table_of(&tree), Some(table as u8));
                assert_eq!(T::from_number(table as u8), Some(table));
            }
        }
    }

    #[test]
    fn the_newest_entry_and_the_newest_change_of_a_mailbox_are_near() {
        let (mailbox, other) = (MailboxId(7), MailboxId(8));
        let order = [
            T::Entries.tree_key(&key_uid(mailbox, Uid(1))),
            T::Entries.tree_key(&key_uid(mailbox, Uid(900))),
            T::Uids.tree_key(&key_uid(mailbox, Uid(1))),
            T::Mailboxes.tree_key(&key_u32(mailbox.0)),
            T::ModSeqs.tree_key(&key_modseq(mailbox, ModSeq(901))),
            T::ModSeqs.tree_key(&key_modseq(mailbox, ModSeq(2))),
            T::Entries.tree_key(&key_uid(other, Uid(1))),
        ];
        assert!(order.is_sorted());
    }
}
