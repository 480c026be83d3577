//! The mail log and its index. The only room that knows redb; keeps bytes, keys and events and knows no MIME.

mod types;

pub use types::*;

use crate::base::{Budget, Clock, Workers};
use std::path::Path;
use std::time::Duration;

/// A message goes to so many mailboxes at once at the most.
pub const TARGETS_MAX: usize = 1_000;
/// COPY and MULTIAPPEND take so many messages at the most.
pub const COPY_MESSAGES_MAX: u64 = 20_000;
/// Bulk changes go in steps of so many messages.
pub const STEP_MESSAGES_MAX: usize = 1_000;

/// How the store is to work.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// redb's cache, bytes.
    pub index_cache_bytes: usize,
    /// How long a batch gathers while other deliveries arrive.
    pub gather: Duration,
}

/// A handle on the store: cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(());

/// Why the store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Locked,
    /// Anything else, in words for the operator.
    Failed(String),
}

/// One mailbox that a delivery goes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The flags it starts with there.
    pub flags: FlagNames,
}

/// A new message: its body, and what is stored beside it.
#[derive(Debug)]
pub struct NewMessage {
    /// The body, already written or still small enough to ride in the batch.
    pub body: Body,
    /// Envelope and structure; opaque to the store.
    pub summary: Vec<u8>,
    /// INTERNALDATE.
    pub internal_date: Date,
}

/// Where a new message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Its UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The message's UID there.
    pub uid: Uid,
    /// Its modification sequence.
    pub modseq: ModSeq,
}

/// What COPY or a step of MOVE did: the n-th UID of `from` became the n-th of `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The destination's UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// UIDs in the source, ascending.
    pub from: UidSet,
    /// UIDs in the destination, ascending.
    pub to: UidSet,
}

/// What a step of STORE did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagsChanged {
    /// Messages whose flags are now as asked (changed or already so), at most [`STEP_MESSAGES_MAX`].
    pub done: Vec<Entry>,
    /// Messages left alone because they changed after UNCHANGEDSINCE.
    pub modified: UidSet,
    /// What is still to do: call again with it until it is empty.
    pub rest: UidSet,
}

/// What a step of EXPUNGE or MOVE took out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expunged {
    /// UIDs that are gone now.
    pub uids: UidSet,
    /// The mailbox's modification sequence afterwards.
    pub modseq: ModSeq,
    /// What is still to do: call again with it until it is empty.
    pub rest: UidSet,
}

/// A body while it arrives. Small ones stay in memory, larger ones go to the disk chunk by chunk.
/// Dropping it aborts; what was written is dead.
#[derive(Debug)]
pub struct BodyWriter(());

/// A body that has come whole and belongs to no message yet. Dropping it aborts.
#[derive(Debug)]
pub struct Body(());

/// Reads a stored body, any range, holding at most one decoded chunk.
#[derive(Debug)]
pub struct BodyReader(());

/// Wakes when a mailbox has changed; holds no queue.
#[derive(Debug)]
pub struct Watch(());

#[expect(
    clippy::todo,
    unused_variables,
    clippy::unused_async,
    reason = "the shape that other rooms are written against"
)]
impl Store {
    /// Opens the store in `data`, creating the folder and an empty store when there is none: takes the lock, opens the
    /// index, replays the log, makes its end certain. Blocks.
    pub fn open(
        data: &Path,
        options: Options,
        clock: Clock,
        workers: Workers,
        budget: Budget,
    ) -> Result<Self, OpenError> {
        todo!()
    }

    /// Checkpoints, ends the writer and gives the lock back; every later call is refused. Blocks.
    pub fn close(&self) {
        todo!()
    }

    // Domains, accounts, aliases. Each is synced before it answers.

    /// Adds a domain (lower case).
    pub async fn domain_add(&self, domain: &str) -> Result<(), Refusal> {
        todo!()
    }
    /// Removes a domain; [`Refusal::NotAllowed`] while accounts or aliases are in it.
    pub async fn domain_remove(&self, domain: &str) -> Result<(), Refusal> {
        todo!()
    }
    /// Every domain, sorted.
    pub async fn domains(&self) -> Result<Vec<String>, Refusal> {
        todo!()
    }
    /// Whether `domain` is served.
    pub async fn has_domain(&self, domain: &str) -> Result<bool, Refusal> {
        todo!()
    }
    /// Adds an account with these mailboxes, all subscribed (INBOX among them), and its domain if that is new.
    pub async fn account_add(
        &self,
        address: &str,
        secrets: Vec<u8>,
        mailboxes: &[(&str, Option<SpecialUse>)],
    ) -> Result<AccountId, Refusal> {
        todo!()
    }
    /// Gives an account new secrets.
    pub async fn account_secrets(&self, id: AccountId, secrets: Vec<u8>) -> Result<(), Refusal> {
        todo!()
    }
    /// Removes an account and everything in it.
    pub async fn account_remove(&self, id: AccountId) -> Result<(), Refusal> {
        todo!()
    }
    /// The account of this very address.
    pub async fn account(&self, address: &str) -> Result<Option<Account>, Refusal> {
        todo!()
    }
    /// The account with this number.
    pub async fn account_by_id(&self, id: AccountId) -> Result<Option<Account>, Refusal> {
        todo!()
    }
    /// At most two accounts with this local part, whatever their domain: enough to know whether it is ambiguous.
    pub async fn accounts_by_local_part(&self, local_part: &str) -> Result<Vec<Account>, Refusal> {
        todo!()
    }
    /// Accounts with numbers above `after`, ascending, at most `max`.
    pub async fn accounts(&self, after: Option<AccountId>, max: usize) -> Result<Vec<Account>, Refusal> {
        todo!()
    }
    /// Adds an alias (`name@domain` or `@domain`) for these targets, and its domain if that is new.
    pub async fn alias_add(&self, address: &str, targets: &[String]) -> Result<(), Refusal> {
        todo!()
    }
    /// Removes an alias.
    pub async fn alias_remove(&self, address: &str) -> Result<(), Refusal> {
        todo!()
    }
    /// The targets of an alias.
    pub async fn alias(&self, address: &str) -> Result<Option<Vec<String>>, Refusal> {
        todo!()
    }
    /// Aliases that sort after `after`, at most `max`.
    pub async fn aliases(&self, after: Option<&str>, max: usize) -> Result<Vec<(String, Vec<String>)>, Refusal> {
        todo!()
    }

    // Mailboxes.

    /// Every mailbox of an account, by name.
    pub async fn mailboxes(&self, account: AccountId) -> Result<Vec<Mailbox>, Refusal> {
        todo!()
    }
    /// A mailbox by its exact name.
    pub async fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Option<Mailbox>, Refusal> {
        todo!()
    }
    /// A mailbox by its number.
    pub async fn mailbox(&self, id: MailboxId) -> Result<Option<Mailbox>, Refusal> {
        todo!()
    }
    /// Creates a mailbox and the parents it lacks.
    pub async fn mailbox_create(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId, Refusal> {
        todo!()
    }
    /// Deletes a mailbox with its messages; [`Refusal::NotAllowed`] for INBOX or while it has children.
    pub async fn mailbox_delete(&self, id: MailboxId) -> Result<(), Refusal> {
        todo!()
    }
    /// Renames a mailbox and its children, creating the parents that `name` lacks. Renaming INBOX moves its messages into
    /// a new mailbox instead (RFC 3501 6.3.5).
    pub async fn mailbox_rename(&self, id: MailboxId, name: &str) -> Result<(), Refusal> {
        todo!()
    }
    /// The names an account is subscribed to, sorted; they need not exist (RFC 3501 6.3.6).
    pub async fn subscriptions(&self, account: AccountId) -> Result<Vec<String>, Refusal> {
        todo!()
    }
    /// Subscribes to a name, or ends that.
    pub async fn subscribe(&self, account: AccountId, name: &str, subscribed: bool) -> Result<(), Refusal> {
        todo!()
    }
    /// Says that a session has shown everything below `uid` as \Recent; rides with the next commit.
    pub async fn recent_shown(&self, mailbox: MailboxId, uid: Uid) -> Result<(), Refusal> {
        todo!()
    }

    // Messages.

    /// A body that begins to arrive.
    pub fn body(&self) -> BodyWriter {
        todo!()
    }
    /// Stores one message into every target: one event, one commit, one answer.
    pub async fn deliver(&self, message: NewMessage, targets: Vec<Target>) -> Result<Vec<Stored>, Refusal> {
        todo!()
    }
    /// Stores several messages into one mailbox, all or none (APPEND, MULTIAPPEND).
    pub async fn append(
        &self,
        mailbox: MailboxId,
        messages: Vec<(NewMessage, FlagNames)>,
    ) -> Result<Vec<Stored>, Refusal> {
        todo!()
    }
    /// Changes flags of a first step of `uids` (those that exist). Messages changed after `unchanged_since` are left alone.
    /// A message whose flags stay the same keeps its modification sequence.
    pub async fn flags(
        &self,
        mailbox: MailboxId,
        uids: UidSet,
        change: FlagChange,
        flags: FlagNames,
        unchanged_since: Option<ModSeq>,
    ) -> Result<FlagsChanged, Refusal> {
        todo!()
    }
    /// Copies messages into another mailbox (or the same), flags kept, all or none; copies no bytes.
    pub async fn copy(&self, from: MailboxId, uids: UidSet, to: MailboxId) -> Result<Copied, Refusal> {
        todo!()
    }
    /// Moves a first step of `uids`; call again with the rest.
    pub async fn move_messages(
        &self,
        from: MailboxId,
        uids: UidSet,
        to: MailboxId,
    ) -> Result<(Copied, Expunged), Refusal> {
        todo!()
    }
    /// Takes out a first step of `uids`, only those with \Deleted if `only_deleted`; call again with the rest.
    pub async fn expunge(&self, mailbox: MailboxId, uids: UidSet, only_deleted: bool) -> Result<Expunged, Refusal> {
        todo!()
    }
    /// The UIDs in a mailbox as ranges, and the modification sequence they are of: one row per range, so flat in the
    /// number of messages.
    pub async fn uids(&self, mailbox: MailboxId) -> Result<(UidSet, ModSeq), Refusal> {
        todo!()
    }
    /// The lowest UID without \Seen, at a flat cost.
    pub async fn first_unseen(&self, mailbox: MailboxId) -> Result<Option<Uid>, Refusal> {
        todo!()
    }
    /// The small rows of those `uids` that exist, ascending, at most `max`; go on after the last one.
    pub async fn entries(&self, mailbox: MailboxId, uids: &UidSet, max: usize) -> Result<Vec<Entry>, Refusal> {
        todo!()
    }
    /// As [`Store::entries`], each with its message; stops early when summaries sum up to 64 KiB.
    pub async fn messages(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        max: usize,
    ) -> Result<Vec<(Entry, Message)>, Refusal> {
        todo!()
    }
    /// What happened after `since`, in order, at most `max` entries.
    pub async fn changes(&self, mailbox: MailboxId, since: ModSeq, max: usize) -> Result<Changes, Refusal> {
        todo!()
    }
    /// A reader of a body; it stays readable while the reader lives.
    pub async fn read(&self, blob: BlobId) -> Result<BodyReader, Refusal> {
        todo!()
    }

    // News.

    /// Wakes whenever `mailbox` changes.
    pub fn watch(&self, mailbox: MailboxId) -> Watch {
        todo!()
    }
}

#[expect(
    clippy::todo,
    unused_variables,
    clippy::unused_async,
    reason = "the shape that other rooms are written against"
)]
impl BodyWriter {
    /// Takes octets; waits while the disk is behind.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), Refusal> {
        todo!()
    }
    /// Octets taken so far.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// Whether none came yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The body is whole; what went to the disk is durable when this returns.
    pub async fn finish(self) -> Result<Body, Refusal> {
        todo!()
    }
}

#[expect(
    clippy::todo,
    unused_variables,
    clippy::unused_async,
    reason = "the shape that other rooms are written against"
)]
impl BodyReader {
    /// Octets in all.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The octets from `offset` to the end of the chunk that holds it (at most 64 KiB); empty at the end.
    pub async fn at(&mut self, offset: u64) -> Result<&[u8], Refusal> {
        todo!()
    }
}

#[expect(
    clippy::todo,
    unused_variables,
    clippy::unused_async,
    reason = "the shape that other rooms are written against"
)]
impl Watch {
    /// The modification sequence the mailbox has reached, without a look at the disk.
    pub fn reached(&self) -> ModSeq {
        todo!()
    }
    /// Returns once the mailbox has reached more than `seen`, or is gone.
    pub async fn beyond(&self, seen: ModSeq) {
        todo!()
    }
}
