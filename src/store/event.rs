//! Events: what happened, complete, so that applying them again gives the same index: every number, UID, modification
//! sequence and date is in them. Each begins with its kind and its version; old versions stay readable.

use super::bytes::{Code, Decoder, Encoder, get_list, put_list};
use super::rows::{Extent, Move};
use super::told::{MailboxTold, MessagesTold, NamesTold, RollEnd, StretchTold};
use super::types::*;

/// The version that new events are written with.
const VERSION: u8 = 1;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A domain is served.
    DomainAdded { name: String },
    /// A domain is no longer served.
    DomainRemoved { name: String },
    /// An account with its first mailboxes, all subscribed; its domain came with it if it was new.
    AccountAdded { id: AccountId, address: String, secrets: Vec<u8>, mailboxes: Vec<NewMailbox> },
    /// An account's new secrets.
    AccountSecrets { id: AccountId, secrets: Vec<u8> },
    /// An account is gone, and its mailboxes are doomed.
    AccountRemoved { id: AccountId },
    /// An alias; its domain came with it if it was new.
    AliasAdded { address: String, targets: Vec<String> },
    /// An alias is gone.
    AliasRemoved { address: String },
    /// Mailboxes were made.
    MailboxesCreated { account: AccountId, mailboxes: Vec<NewMailbox> },
    /// A mailbox is gone for everybody; its rows go with `Purged` events.
    MailboxDeleted { id: MailboxId },
    /// New names, and the parents that they needed.
    MailboxesRenamed { account: AccountId, renamed: Vec<(MailboxId, String)>, created: Vec<NewMailbox> },
    /// A name is subscribed to, or no longer.
    Subscribed { account: AccountId, name: String, subscribed: bool },
    /// An account's mark has this value now; none when that is empty.
    Marked(Mark),
    /// Sessions have shown everything below `uid` as \Recent.
    RecentShown { mailbox: MailboxId, uid: Uid },
    /// New messages, all or none.
    Stored { messages: Vec<StoredMessage>, saved_unix_s: i64 },
    /// The flags of these messages changed; the n-th took the n-th modification sequence from `modseq` on.
    FlagsChanged { mailbox: MailboxId, change: FlagChange, flags: FlagNames, uids: UidSet, modseq: ModSeq },
    /// These messages were copied; the n-th took the n-th UID and modification sequence.
    Copied { from: MailboxId, to: MailboxId, uids: UidSet, uid: Uid, modseq: ModSeq, saved_unix_s: i64 },
    /// As `Copied`, and taken out of `from` at its modification sequence `gone_modseq`.
    Moved {
        from: MailboxId,
        to: MailboxId,
        uids: UidSet,
        uid: Uid,
        modseq: ModSeq,
        gone_modseq: ModSeq,
        saved_unix_s: i64,
    },
    /// These messages were taken out.
    Expunged { mailbox: MailboxId, uids: UidSet, modseq: ModSeq },
    /// A step of removing what a deleted mailbox held.
    Purged { mailbox: MailboxId },
    /// Something may have been lost that clients have seen: the mailbox's UIDs go on at `uid_next`, its messages took the
    /// modification sequences from `modseq` on, UIDVALIDITYs go on at `uid_validity_next`; mailboxes from number `next` on
    /// are still to be raised (0: none).
    Raised { mailbox: MailboxId, uid_next: Uid, modseq: ModSeq, uid_validity_next: UidValidity, next: u32 },
    /// Parts of bodies were copied elsewhere.
    Relocated { moves: Vec<Move> },
    /// No body lies in this segment any more, and it is about to be deleted.
    SegmentGone { number: u64 },
    /// As `StretchTold`, without saying that there are no others; no longer written.
    NamesTold(NamesTold),
    /// What is there, told again; an index that lacks nothing stays as it is.
    StretchTold(StretchTold),
    /// The same of a mailbox.
    MailboxTold(MailboxTold),
    /// The same of messages.
    MessagesTold(MessagesTold),
    /// All was told again.
    RollEnded(RollEnd),
    /// Messages that were told again got the summaries that telling leaves out; those from number `next` on may still lack
    /// theirs (0: none does).
    Summarized { summaries: Vec<(MessageId, Vec<u8>)>, next: MessageId },
}

/// A mailbox that comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewMailbox {
    pub(crate) id: MailboxId,
    pub(crate) uid_validity: UidValidity,
    pub(crate) name: String,
    pub(crate) special_use: Option<SpecialUse>,
}

/// A message that comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredMessage {
    pub(crate) id: MessageId,
    pub(crate) blob: BlobId,
    pub(crate) size: u64,
    pub(crate) internal_date: Date,
    pub(crate) summary: Vec<u8>,
    pub(crate) extents: Vec<Extent>,
    pub(crate) places: Vec<StoredPlace>,
}

/// Where a new message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPlace {
    /// Whose mailbox it is: not needed for the index, but for whoever must make one from messages alone.
    pub(crate) account: AccountId,
    pub(crate) mailbox: MailboxId,
    pub(crate) uid: Uid,
    pub(crate) modseq: ModSeq,
    pub(crate) flags: FlagNames,
}

impl Event {
    /// The highest number of a segment in which this says that a body lies; 0 for none.
    pub(crate) fn highest_segment(&self) -> u64 {
        let of = |extents: &[Extent]| extents.iter().map(|extent| extent.segment).max();
        let highest = match self {
            Self::Stored { messages, .. } => messages.iter().filter_map(|message| of(&message.extents)).max(),
            Self::MessagesTold(told) => told.messages.iter().filter_map(|message| of(&message.extents)).max(),
            Self::Relocated { moves } => moves.iter().map(|moved| moved.to.segment).max(),
            _ => None,
        };
        highest.unwrap_or(0)
    }

    /// Whether it neither makes room nor prepares that, so that it can wait until there is some.
    pub(crate) fn can_wait(&self) -> bool {
        match self {
            Self::FlagsChanged { change, flags, .. } => {
                *change == FlagChange::Remove || !flags.system.has(Flags::DELETED)
            }
            Self::DomainAdded { .. }
            | Self::AccountAdded { .. }
            | Self::AliasAdded { .. }
            | Self::MailboxesCreated { .. }
            | Self::Subscribed { .. }
            | Self::Stored { .. }
            | Self::Copied { .. }
            | Self::Summarized { .. } => true,
            // A mark may also go, and it is small. Who fills the disk with a stolen password is locked out by another one.
            Self::Marked(_)
            | Self::AccountSecrets { .. }
            | Self::RecentShown { .. }
            | Self::DomainRemoved { .. }
            | Self::AccountRemoved { .. }
            | Self::AliasRemoved { .. }
            | Self::MailboxDeleted { .. }
            // Into the trash, mostly.
            | Self::Moved { .. }
            | Self::MailboxesRenamed { .. }
            | Self::Expunged { .. }
            | Self::Purged { .. }
            | Self::Raised { .. }
            | Self::Relocated { .. }
            | Self::SegmentGone { .. }
            // Before all is told again, no part of the log goes.
            | Self::NamesTold(_)
            | Self::StretchTold(_)
            | Self::MailboxTold(_)
            | Self::MessagesTold(_)
            | Self::RollEnded(_) => false,
        }
    }

    /// The event as it stands in the log.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::default();
        to.put(&self.kind()).put(&VERSION);
        match self {
            Self::DomainAdded { name } | Self::DomainRemoved { name } => {
                to.put(name);
            }
            Self::AccountAdded { id, address, secrets, mailboxes } => {
                to.put(id).put(address).put(secrets);
                put_list(&mut to, mailboxes);
            }
            Self::AccountSecrets { id, secrets } => {
                to.put(id).put(secrets);
            }
            Self::AccountRemoved { id } => {
                to.put(id);
            }
            Self::AliasAdded { address, targets } => {
                to.put(address);
                put_list(&mut to, targets);
            }
            Self::AliasRemoved { address } => {
                to.put(address);
            }
            Self::MailboxesCreated { account, mailboxes } => {
                to.put(account);
                put_list(&mut to, mailboxes);
            }
            Self::MailboxDeleted { id } => {
                to.put(id);
            }
            Self::MailboxesRenamed { account, renamed, created } => {
                to.put(account);
                put_list(&mut to, renamed);
                put_list(&mut to, created);
            }
            Self::Subscribed { account, name, subscribed } => {
                to.put(account).put(name).put(subscribed);
            }
            Self::Marked(mark) => mark.put(&mut to),
            Self::RecentShown { mailbox, uid } => {
                to.put(mailbox).put(uid);
            }
            Self::Stored { messages, saved_unix_s } => {
                put_list(&mut to, messages);
                to.put(saved_unix_s);
            }
            Self::FlagsChanged { mailbox, change, flags, uids, modseq } => {
                to.put(mailbox).put(change).put(flags).put(uids).put(modseq);
            }
            Self::Copied { from, to: into, uids, uid, modseq, saved_unix_s } => {
                to.put(from).put(into).put(uids).put(uid).put(modseq).put(saved_unix_s);
            }
            Self::Moved { from, to: into, uids, uid, modseq, gone_modseq, saved_unix_s } => {
                to.put(from).put(into).put(uids).put(uid).put(modseq).put(gone_modseq).put(saved_unix_s);
            }
            Self::Expunged { mailbox, uids, modseq } => {
                to.put(mailbox).put(uids).put(modseq);
            }
            Self::Purged { mailbox } => {
                to.put(mailbox);
            }
            Self::Raised { mailbox, uid_next, modseq, uid_validity_next, next } => {
                to.put(mailbox).put(uid_next).put(modseq).put(uid_validity_next).put(next);
            }
            Self::Relocated { moves } => put_list(&mut to, moves),
            Self::SegmentGone { number } => {
                to.put(number);
            }
            Self::NamesTold(told) => told.put(&mut to),
            Self::StretchTold(told) => told.put(&mut to),
            Self::MailboxTold(told) => told.put(&mut to),
            Self::MessagesTold(told) => told.put(&mut to),
            Self::RollEnded(end) => end.put(&mut to),
            Self::Summarized { summaries, next } => {
                put_list(&mut to, summaries);
                to.put(next);
            }
        }
        to.0
    }

    fn kind(&self) -> u8 {
        match self {
            Self::DomainAdded { .. } => 1,
            Self::DomainRemoved { .. } => 2,
            Self::AccountAdded { .. } => 3,
            Self::AccountSecrets { .. } => 4,
            Self::AccountRemoved { .. } => 5,
            Self::AliasAdded { .. } => 6,
            Self::AliasRemoved { .. } => 7,
            Self::MailboxesCreated { .. } => 8,
            Self::MailboxDeleted { .. } => 9,
            Self::MailboxesRenamed { .. } => 10,
            Self::Subscribed { .. } => 11,
            Self::RecentShown { .. } => 12,
            Self::Stored { .. } => 13,
            Self::FlagsChanged { .. } => 14,
            Self::Copied { .. } => 15,
            Self::Moved { .. } => 16,
            Self::Expunged { .. } => 17,
            Self::Purged { .. } => 18,
            Self::Raised { .. } => 21,
            Self::Relocated { .. } => 19,
            Self::SegmentGone { .. } => 20,
            Self::NamesTold(_) => 22,
            Self::MailboxTold(_) => 23,
            Self::MessagesTold(_) => 24,
            Self::RollEnded(_) => 25,
            Self::Summarized { .. } => 26,
            Self::Marked(_) => 27,
            Self::StretchTold(_) => 28,
        }
    }

    /// Reads an event; nothing when it is of a kind or version that this program does not know.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Decoder(bytes);
        let kind = from.get::<u8>()?;
        if from.get::<u8>()? != VERSION {
            return None;
        }
        let d = &mut from;
        let event = match kind {
            1 => Self::DomainAdded { name: d.get()? },
            2 => Self::DomainRemoved { name: d.get()? },
            3 => Self::AccountAdded { id: d.get()?, address: d.get()?, secrets: d.get()?, mailboxes: get_list(d)? },
            4 => Self::AccountSecrets { id: d.get()?, secrets: d.get()? },
            5 => Self::AccountRemoved { id: d.get()? },
            6 => Self::AliasAdded { address: d.get()?, targets: get_list(d)? },
            7 => Self::AliasRemoved { address: d.get()? },
            8 => Self::MailboxesCreated { account: d.get()?, mailboxes: get_list(d)? },
            9 => Self::MailboxDeleted { id: d.get()? },
            10 => Self::MailboxesRenamed { account: d.get()?, renamed: get_list(d)?, created: get_list(d)? },
            11 => Self::Subscribed { account: d.get()?, name: d.get()?, subscribed: d.get()? },
            12 => Self::RecentShown { mailbox: d.get()?, uid: d.get()? },
            13 => Self::Stored { messages: get_list(d)?, saved_unix_s: d.get()? },
            14 => Self::FlagsChanged {
                mailbox: d.get()?,
                change: d.get()?,
                flags: d.get()?,
                uids: d.get()?,
                modseq: d.get()?,
            },
            15 => Self::Copied {
                from: d.get()?,
                to: d.get()?,
                uids: d.get()?,
                uid: d.get()?,
                modseq: d.get()?,
                saved_unix_s: d.get()?,
            },
            16 => Self::Moved {
                from: d.get()?,
                to: d.get()?,
                uids: d.get()?,
                uid: d.get()?,
                modseq: d.get()?,
                gone_modseq: d.get()?,
                saved_unix_s: d.get()?,
            },
            17 => Self::Expunged { mailbox: d.get()?, uids: d.get()?, modseq: d.get()? },
            18 => Self::Purged { mailbox: d.get()? },
            21 => Self::Raised {
                mailbox: d.get()?,
                uid_next: d.get()?,
                modseq: d.get()?,
                uid_validity_next: d.get()?,
                next: d.get()?,
            },
            19 => Self::Relocated { moves: get_list(d)? },
            20 => Self::SegmentGone { number: d.get()? },
            22 => Self::NamesTold(d.get()?),
            23 => Self::MailboxTold(d.get()?),
            24 => Self::MessagesTold(d.get()?),
            25 => Self::RollEnded(d.get()?),
            26 => Self::Summarized { summaries: get_list(d)?, next: d.get()? },
            27 => Self::Marked(d.get()?),
            28 => Self::StretchTold(d.get()?),
            _ => return None,
        };
        from.is_empty().then_some(event)
    }
}

impl Code for NewMailbox {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.id).put(&self.uid_validity).put(&self.name).put(&self.special_use);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { id: from.get()?, uid_validity: from.get()?, name: from.get()?, special_use: from.get()? })
    }
}

impl Code for Mark {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.account).put(&self.name).put(&self.value);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { account: from.get()?, name: from.get()?, value: from.get()? })
    }
}

impl Code for (MailboxId, String) {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.0).put(&self.1);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some((from.get()?, from.get()?))
    }
}

impl Code for (MessageId, Vec<u8>) {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.0).put(&self.1);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some((from.get()?, from.get()?))
    }
}

impl Code for StoredMessage {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.id).put(&self.blob).put(&self.size).put(&self.internal_date).put(&self.summary);
        put_list(to, &self.extents);
        put_list(to, &self.places);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            id: from.get()?,
            blob: from.get()?,
            size: from.get()?,
            internal_date: from.get()?,
            summary: from.get()?,
            extents: get_list(from)?,
            places: get_list(from)?,
        })
    }
}

impl Code for StoredPlace {
    fn put(&self, to: &mut Encoder) {
        to.put(&self.account).put(&self.mailbox).put(&self.uid).put(&self.modseq).put(&self.flags);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self {
            account: from.get()?,
            mailbox: from.get()?,
            uid: from.get()?,
            modseq: from.get()?,
            flags: from.get()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_and_an_unknown_version_is_nothing() {
        let event = Event::Stored {
            messages: vec![StoredMessage {
                id: MessageId(7),
                blob: BlobId(9),
                size: 1234,
                internal_date: Date { unix_s: -5, zone_minutes: -330 },
                summary: b"opaque".to_vec(),
                extents: vec![Extent { segment: 0, offset: 33, stored_bytes: 900, raw_bytes: 1234 }],
                places: vec![StoredPlace {
                    account: AccountId(2),
                    mailbox: MailboxId(3),
                    uid: Uid(44),
                    modseq: ModSeq(99),
                    flags: FlagNames { system: Flags::SEEN, keywords: vec!["$Forwarded".into()] },
                }],
            }],
            saved_unix_s: 1_700_000_000,
        };
        let mut bytes = event.encode();
        assert_eq!(Event::decode(&bytes), Some(event));
        for end in 0..bytes.len() {
            assert_eq!(Event::decode(&bytes[..end]), None, "cut at {end}");
        }
        bytes[1] = 2;
        assert_eq!(Event::decode(&bytes), None);
    }
}
