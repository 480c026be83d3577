//! What the log tells again after each snapshot (see [`super::roll`]): everything the index holds but summaries and counters,
//! so that the log alone is enough however old what it once said is, and however much of that reclaim has taken.
//!
//! Messages are written as differences to the one before; about thirty octets each.

use super::bytes::{Code, Decoder, Encoder, get_list, put_list};
use super::rows::{EntryRow, Extent};
use super::types::*;

/// Some of the names there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamesTold {
    pub(crate) domains: Vec<String>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) aliases: Vec<(String, Vec<String>)>,
    pub(crate) subscriptions: Vec<(AccountId, String)>,
}

/// The rows of a table of names whose keys lie above `after` and not above `last`: these and no others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StretchTold {
    /// The table's number.
    pub(crate) table: u8,
    pub(crate) after: Vec<u8>,
    /// Empty for the end of the table.
    pub(crate) last: Vec<u8>,
    pub(crate) names: NamesTold,
    pub(crate) marks: Vec<Mark>,
}

/// A mailbox there is; of its row what does not follow from its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MailboxTold {
    pub(crate) id: MailboxId,
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) special_use: Option<SpecialUse>,
    pub(crate) uid_validity: UidValidity,
    pub(crate) uid_next: Uid,
    pub(crate) highest_modseq: ModSeq,
    pub(crate) recent_from: Uid,
}

/// The messages that a mailbox holds from UID `first` to `last`: these and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessagesTold {
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
    /// Names of the keywords in the flags below.
    pub(crate) keywords: Vec<String>,
    pub(crate) first: Uid,
    pub(crate) last: Uid,
    pub(crate) messages: Vec<MessageTold>,
}

/// A message in a mailbox, and where its body lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageTold {
    pub(crate) row: EntryRow,
    pub(crate) blob: BlobId,
    pub(crate) size: u64,
    pub(crate) internal_date: Date,
    pub(crate) extents: Vec<Extent>,
}

/// All is told: of the accounts and mailboxes with lower numbers than these there are no others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RollEnd {
    /// The commit segment in which the telling began.
    pub(crate) segment: u64,
    /// Numbers of accounts, kept as a set of UIDs is.
    pub(crate) accounts: UidSet,
    pub(crate) account_next: u32,
    /// Numbers of mailboxes.
    pub(crate) mailboxes: UidSet,
    pub(crate) mailbox_next: u32,
    pub(crate) uid_validity_next: u32,
    pub(crate) message_next: u64,
    pub(crate) blob_next: u64,
}

impl Code for NamesTold {
    fn put(&self, to: &mut Encoder) {
        put_list(to, &self.domains);
        put_list(to, &self.accounts);
        put_list(to, &self.aliases);
        put_list(to, &self.subscriptions);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            domains: get_list(from)?,
            accounts: get_list(from)?,
            aliases: get_list(from)?,
            subscriptions: get_list(from)?,
        })
    }
}

impl Code for StretchTold {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.table).put(&self.after).put(&self.last).put(&self.names);
        put_list(to, &self.marks);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            table: from.get()?,
            after: from.get()?,
            last: from.get()?,
            names: from.get()?,
            marks: get_list(from)?,
        })
    }
}

impl Code for Account {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.id).put(&self.address).put(&self.secrets);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { id: from.get()?, address: from.get()?, secrets: from.get()? })
    }
}

impl Code for (String, Vec<String>) {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.0);
        put_list(to, &self.1);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some((from.get()?, get_list(from)?))
    }
}

impl Code for (AccountId, String) {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.0).put(&self.1);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some((from.get()?, from.get()?))
    }
}

impl Code for MailboxTold {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.id).put(&self.account).put(&self.name).put(&self.special_use).put(&self.uid_validity);
        to.put(&self.uid_next).put(&self.highest_modseq).put(&self.recent_from);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            id: from.get()?,
            account: from.get()?,
            name: from.get()?,
            special_use: from.get()?,
            uid_validity: from.get()?,
            uid_next: from.get()?,
            highest_modseq: from.get()?,
            recent_from: from.get()?,
        })
    }
}

/// What a message is written as differences to.
struct Before {
    uid: u32,
    message: u64,
    unix_s: i64,
    modseq: u64,
}

impl Before {
    fn first(uid: Uid) -> Self {
        Self { uid: uid.0, message: 0, unix_s: 0, modseq: 0 }
    }

    fn of(told: &MessageTold) -> Self {
        let Entry { uid, message, modseq, .. } = told.row.entry;
        Self { uid: uid.0, message: message.0, unix_s: told.internal_date.unix_s, modseq: modseq.0 }
    }
}

fn put_difference(to: &mut Encoder, number: u64, before: u64) {
    to.put(&number.wrapping_sub(before).cast_signed());
}

fn get_difference(from: &mut Decoder<'_>, before: u64) -> Option<u64> {
    Some(before.wrapping_add(from.get::<i64>()?.cast_unsigned()))
}

fn put_date(to: &mut Encoder, unix_s: i64, before: i64) {
    to.put(&unix_s.wrapping_sub(before));
}

fn get_date(from: &mut Decoder<'_>, before: i64) -> Option<i64> {
    Some(before.wrapping_add(from.get()?))
}

impl MessageTold {
    fn put(&self, to: &mut Encoder, before: &Before) {
        let EntryRow { entry, saved_unix_s } = self.row;
        to.put(&entry.uid.0.wrapping_sub(before.uid)).put(&entry.flags);
        put_difference(to, entry.message.0, before.message);
        put_difference(to, entry.modseq.0, before.modseq);
        put_difference(to, self.blob.0, entry.message.0);
        put_date(to, self.internal_date.unix_s, before.unix_s);
        to.put(&i64::from(self.internal_date.zone_minutes));
        put_date(to, saved_unix_s, self.internal_date.unix_s);
        to.put(&self.size);
        put_list(to, &self.extents);
    }

    fn get(from: &mut Decoder<'_>, before: &Before) -> Option<Self> {
        let uid = Uid(before.uid.checked_add(from.get()?)?);
        let flags = from.get()?;
        let message = MessageId(get_difference(from, before.message)?);
        let modseq = ModSeq(get_difference(from, before.modseq)?);
        let blob = BlobId(get_difference(from, message.0)?);
        let unix_s = get_date(from, before.unix_s)?;
        let zone_minutes = i16::try_from(from.get::<i64>()?).ok()?;
        let saved_unix_s = get_date(from, unix_s)?;
        Some(Self {
            row: EntryRow { entry: Entry { uid, flags, modseq, message }, saved_unix_s },
            blob,
            size: from.get()?,
            internal_date: Date { unix_s, zone_minutes },
            extents: get_list(from)?,
        })
    }
}

impl Code for MessagesTold {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.account).put(&self.mailbox).put(&self.first).put(&self.last);
        put_list(to, &self.keywords);
        to.varint(self.messages.len() as u64);
        let mut before = Before::first(self.first);
        for message in &self.messages {
            message.put(to, &before);
            before = Before::of(message);
        }
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        let (account, mailbox, first, last) = (from.get()?, from.get()?, from.get()?, from.get()?);
        let keywords = get_list(from)?;
        let mut messages = Vec::new();
        let mut before = Before::first(first);
        for _ in 0..from.varint()? {
            let message = MessageTold::get(from, &before)?;
            before = Before::of(&message);
            messages.push(message);
        }
        Some(Self { account, mailbox, keywords, first, last, messages })
    }
}

impl Code for RollEnd {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.segment).put(&self.accounts).put(&self.account_next);
        to.put(&self.mailboxes).put(&self.mailbox_next).put(&self.uid_validity_next);
        to.put(&self.message_next).put(&self.blob_next);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            segment: from.get()?,
            accounts: from.get()?,
            account_next: from.get()?,
            mailboxes: from.get()?,
            mailbox_next: from.get()?,
            uid_validity_next: from.get()?,
            message_next: from.get()?,
            blob_next: from.get()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(uid: u32, numbers: (u64, u64, u64), dates: (i64, i64, i16)) -> MessageTold {
        let entry =
            Entry { uid: Uid(uid), flags: Flags(numbers.1), modseq: ModSeq(numbers.2), message: MessageId(numbers.0) };
        MessageTold {
            row: EntryRow { entry, saved_unix_s: dates.1 },
            blob: BlobId(numbers.2),
            size: numbers.1,
            internal_date: Date { unix_s: dates.0, zone_minutes: dates.2 },
            extents: vec![Extent { segment: 1, offset: numbers.0, stored_bytes: 7, raw_bytes: numbers.1 }],
        }
    }

    proptest! {
        #[test]
        fn told_messages_read_back(
            first in 0u32..1_000,
            given in proptest::collection::vec((0u32..1_000_000, any::<(u64, u64, u64)>(), any::<(i64, i64, i16)>()), 0..20),
        ) {
            let mut given = given;
            given.sort_by_key(|(uid, ..)| *uid);
            let messages = given.into_iter().map(|(uid, numbers, dates)| message(first + uid, numbers, dates)).collect();
            let keywords = vec!["$Work".to_owned()];
            let last = Uid(u32::MAX);
            let told = MessagesTold { account: AccountId(1), mailbox: MailboxId(2), keywords, first: Uid(first), last, messages };
            let mut to = Encoder::default();
            to.put(&told);
            let mut from = Decoder(&to.0);
            prop_assert_eq!(from.get::<MessagesTold>(), Some(told));
            prop_assert!(from.is_empty());
        }

        #[test]
        fn garbage_is_none_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            drop(Decoder(&bytes).get::<MessagesTold>());
            drop(Decoder(&bytes).get::<StretchTold>());
            drop(Decoder(&bytes).get::<RollEnd>());
        }
    }

    #[test]
    fn a_message_like_the_one_before_takes_few_octets() {
        let messages: Vec<_> = (1..=1_000u32)
            .map(|n| {
                let n_wide = u64::from(n) + 70_000;
                let mut told = message(n, (n_wide, 1, n_wide), (1_700_000_000 + i64::from(n) * 500, 0, 60));
                told.row.saved_unix_s = told.internal_date.unix_s + 1;
                (told.blob, told.size) = (BlobId(n_wide), 12_345);
                told.extents = vec![Extent { segment: 900, offset: 9_000_000, stored_bytes: 7_000, raw_bytes: 12_345 }];
                told
            })
            .collect();
        let (account, mailbox, keywords) = (AccountId(1), MailboxId(2), Vec::new());
        let told = MessagesTold { account, mailbox, keywords, first: Uid(1), last: Uid(1_000), messages };
        let mut to = Encoder::default();
        to.put(&told);
        assert!(to.0.len() < 30 * 1_000, "{}", to.0.len());
    }
}
