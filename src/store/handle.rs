//! What others ask of the store: reads go to a worker, changes to the writer.

use super::body::BodyWriter;
use super::decide::{Step, accounts, mailboxes, messages, request};
use super::query::{self, Fault};
use super::reader::BodyReader;
use super::types::*;
use super::watch::{AccountWatch, Watch};
use super::{COPY_MESSAGES_MAX, keys::T, rows, runs};
use super::{
    Copied, Expunged, FlagsChanged, NewMessage, STEP_MESSAGES_MAX, Shared, Store, Stored, TARGETS_MAX, Target,
};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

/// A message touched by bulk work weighs as much in a batch as so many octets of a delivery: four steps fill one.
pub(crate) const MESSAGE_WEIGHT_BYTES: usize = 256;

/// Ranges of a UID set that one step of reading takes along: a set of many is not copied whole at every step.
pub(crate) const RANGES_STEP: usize = 1_000;
/// Accounts looked at in one step.
const ACCOUNTS_STEP: usize = 100;

impl Shared {
    /// Has something decided that weighs so much in its batch; answers when it is durable.
    pub(crate) async fn decide<O: Send + 'static>(
        &self,
        bytes: usize,
        decide: impl FnOnce(&mut Step<'_, '_>) -> Result<O, Fault> + Send + 'static,
    ) -> Result<O, Refusal> {
        let (request, answered) = request(bytes, false, decide);
        self.queue.push(request).await.map_err(|_| Refusal::Unavailable)?;
        answered.recv().await.unwrap_or(Err(Refusal::Unavailable))
    }
}

impl Store {
    /// Has something decided; answers when it is durable.
    async fn ask<O: Send + 'static>(
        &self,
        decide: impl FnOnce(&mut Step<'_, '_>) -> Result<O, Fault> + Send + 'static,
    ) -> Result<O, Refusal> {
        self.ask_about(0, decide).await
    }

    /// As [`Store::ask`], about so many messages: what touches many leaves its batch to few others, so that nobody waits
    /// for all the bulk work there is at once.
    async fn ask_about<O: Send + 'static>(
        &self,
        messages: u64,
        decide: impl FnOnce(&mut Step<'_, '_>) -> Result<O, Fault> + Send + 'static,
    ) -> Result<O, Refusal> {
        let bytes = usize::try_from(messages).unwrap_or(usize::MAX).saturating_mul(MESSAGE_WEIGHT_BYTES);
        self.shared.decide(bytes, decide).await
    }

    /// Raises every mailbox that is still to be raised (see [`messages::raise`]).
    pub(crate) async fn raise(&self) -> Result<(), Refusal> {
        while self.ask(messages::raise).await? {}
        Ok(())
    }

    /// Gives an INBOX to every account that lacks one, because nothing is known of it but that it had mail.
    pub(crate) async fn give_inboxes(&self) -> Result<(), Refusal> {
        let mut after = None;
        loop {
            let accounts = self.accounts(after, ACCOUNTS_STEP).await?;
            let Some(last) = accounts.last() else {
                return Ok(());
            };
            after = Some(last.id);
            for account in accounts {
                if self.mailbox_by_name(account.id, mailboxes::INBOX).await?.is_none() {
                    self.mailbox_create(account.id, mailboxes::INBOX, None).await?;
                    self.subscribe(account.id, mailboxes::INBOX, true).await?;
                }
            }
        }
    }

    // Domains, accounts, aliases. Each is synced before it answers.

    /// Adds a domain (lower case).
    pub async fn domain_add(&self, domain: &str) -> Result<(), Refusal> {
        let domain = domain.to_owned();
        self.ask(move |step| accounts::domain_add(step, domain)).await
    }

    /// Removes a domain; [`Refusal::NotAllowed`] while accounts or aliases are in it.
    pub async fn domain_remove(&self, domain: &str) -> Result<(), Refusal> {
        let domain = domain.to_owned();
        self.ask(move |step| accounts::domain_remove(step, domain)).await
    }

    /// Every domain, sorted.
    pub async fn domains(&self) -> Result<Vec<String>, Refusal> {
        self.shared.query(|rx| Ok(query::domains(rx)?)).await
    }

    /// Whether `domain` is served.
    pub async fn has_domain(&self, domain: &str) -> Result<bool, Refusal> {
        let domain = domain.to_owned();
        self.shared.query(move |rx| Ok(query::domain(rx, &domain)?.is_some())).await
    }

    /// Adds an account with these mailboxes, all subscribed (INBOX among them), and its domain if that is new.
    pub async fn account_add(
        &self,
        address: &str,
        secrets: Vec<u8>,
        mailboxes: &[(&str, Option<SpecialUse>)],
    ) -> Result<AccountId, Refusal> {
        let address = address.to_owned();
        let mailboxes = mailboxes.iter().map(|(name, special_use)| ((*name).to_owned(), *special_use)).collect();
        self.ask(move |step| accounts::account_add(step, address, secrets, mailboxes)).await
    }

    /// Gives an account new secrets.
    pub async fn account_secrets(&self, id: AccountId, secrets: Vec<u8>) -> Result<(), Refusal> {
        self.ask(move |step| accounts::account_secrets(step, id, secrets)).await
    }

    /// Removes an account and everything in it.
    pub async fn account_remove(&self, id: AccountId) -> Result<(), Refusal> {
        self.ask(move |step| accounts::account_remove(step, id)).await
    }

    /// The account of this very address.
    pub async fn account(&self, address: &str) -> Result<Option<Account>, Refusal> {
        let address = address.to_owned();
        self.shared.query(move |rx| Ok(query::account(rx, &address)?)).await
    }

    /// The account with this number.
    pub async fn account_by_id(&self, id: AccountId) -> Result<Option<Account>, Refusal> {
        self.shared.query(move |rx| Ok(rows::account(rx, id)?)).await
    }

    /// At most two accounts with this local part, whatever their domain: enough to know whether it is ambiguous.
    pub async fn accounts_by_local_part(&self, local_part: &str) -> Result<Vec<Account>, Refusal> {
        let local_part = local_part.to_owned();
        self.shared.query(move |rx| Ok(query::accounts_by_local_part(rx, &local_part, 2)?)).await
    }

    /// Accounts with numbers above `after`, ascending, at most `max`.
    pub async fn accounts(&self, after: Option<AccountId>, max: usize) -> Result<Vec<Account>, Refusal> {
        self.shared.query(move |rx| Ok(query::accounts(rx, after, max)?)).await
    }

    /// Adds an alias (`name@domain` or `@domain`) for these targets, and its domain if that is new.
    pub async fn alias_add(&self, address: &str, targets: &[String]) -> Result<(), Refusal> {
        let (address, targets) = (address.to_owned(), targets.to_vec());
        self.ask(move |step| accounts::alias_add(step, address, targets)).await
    }

    /// Removes an alias.
    pub async fn alias_remove(&self, address: &str) -> Result<(), Refusal> {
        let address = address.to_owned();
        self.ask(move |step| accounts::alias_remove(step, address)).await
    }

    /// The targets of an alias.
    pub async fn alias(&self, address: &str) -> Result<Option<Vec<String>>, Refusal> {
        let address = address.to_owned();
        self.shared.query(move |rx| Ok(query::alias(rx, &address)?)).await
    }

    /// Aliases that sort after `after`, at most `max`.
    pub async fn aliases(&self, after: Option<&str>, max: usize) -> Result<Vec<(String, Vec<String>)>, Refusal> {
        let after = after.map(str::to_owned);
        self.shared.query(move |rx| Ok(query::aliases(rx, after.as_deref(), max)?)).await
    }

    // Mailboxes.

    /// What sessions have shown as \Recent and no commit has taken along yet.
    fn with_riders(&self, mailboxes: &mut [Mailbox]) {
        let riders = self.shared.riders.lock().unwrap_or_else(PoisonError::into_inner);
        for mailbox in mailboxes {
            if let Some(uid) = riders.get(&mailbox.id) {
                mailbox.recent_from = mailbox.recent_from.max(*uid);
            }
        }
    }

    /// Every mailbox of an account, by name.
    pub async fn mailboxes(&self, account: AccountId) -> Result<Vec<Mailbox>, Refusal> {
        let mut mailboxes = self.shared.query(move |rx| Ok(query::mailboxes(rx, account)?)).await?;
        self.with_riders(&mut mailboxes);
        Ok(mailboxes)
    }

    /// A mailbox by its exact name.
    pub async fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<Option<Mailbox>, Refusal> {
        let name = name.to_owned();
        let mut mailbox = self
            .shared
            .query(move |rx| match query::mailbox_id(rx, account, &name)? {
                Some(id) => Ok(rows::mailbox(rx, id)?),
                None => Ok(None),
            })
            .await?;
        self.with_riders(mailbox.as_mut_slice());
        Ok(mailbox)
    }

    /// A mailbox by its number.
    pub async fn mailbox(&self, id: MailboxId) -> Result<Option<Mailbox>, Refusal> {
        let mut mailbox = self.shared.query(move |rx| Ok(rows::mailbox(rx, id)?)).await?;
        self.with_riders(mailbox.as_mut_slice());
        Ok(mailbox)
    }

    /// Creates a mailbox and the parents it lacks.
    pub async fn mailbox_create(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxId, Refusal> {
        let name = name.to_owned();
        self.ask(move |step| mailboxes::create(step, account, &name, special_use)).await
    }

    /// Deletes a mailbox with its messages; [`Refusal::NotAllowed`] for INBOX or while it has children.
    pub async fn mailbox_delete(&self, id: MailboxId) -> Result<(), Refusal> {
        self.ask(move |step| mailboxes::delete(step, id)).await
    }

    /// Renames a mailbox and its children, creating the parents that `name` lacks. Renaming INBOX moves its messages into
    /// a new mailbox instead (RFC 3501 6.3.5).
    pub async fn mailbox_rename(&self, id: MailboxId, name: &str) -> Result<(), Refusal> {
        let name = name.to_owned();
        let renamed = self.ask(move |step| mailboxes::rename(step, id, &name)).await?;
        if let mailboxes::Renamed::MoveInto(to) = renamed {
            // Messages that come meanwhile stay in INBOX.
            let (mut rest, _) = self.uids(id).await?;
            while !rest.is_empty() {
                rest = self.move_messages(id, rest, to).await?.1.rest;
            }
        }
        Ok(())
    }

    /// The names an account is subscribed to, sorted; they need not exist (RFC 3501 6.3.6).
    pub async fn subscriptions(&self, account: AccountId) -> Result<Vec<String>, Refusal> {
        self.shared.query(move |rx| Ok(query::subscriptions(rx, account)?)).await
    }

    /// Subscribes to a name, or ends that.
    pub async fn subscribe(&self, account: AccountId, name: &str, subscribed: bool) -> Result<(), Refusal> {
        let name = name.to_owned();
        self.ask(move |step| mailboxes::subscribe(step, account, name, subscribed)).await
    }

    /// Says that a session has shown everything below `uid` as \Recent; rides with the next commit.
    #[expect(clippy::unused_async, reason = "the signature leaves room for a commit of its own")]
    pub async fn recent_shown(&self, mailbox: MailboxId, uid: Uid) -> Result<(), Refusal> {
        let mut riders = self.shared.riders.lock().unwrap_or_else(PoisonError::into_inner);
        let at = riders.entry(mailbox).or_insert(uid);
        *at = uid.max(*at);
        Ok(())
    }

    // Messages.

    /// A body that begins to arrive.
    pub fn body(&self) -> BodyWriter {
        BodyWriter::new(&self.shared)
    }

    async fn store(
        &self,
        mut messages: Vec<(NewMessage, Vec<Target>)>,
        mark: Option<Mark>,
    ) -> Result<Vec<Stored>, Refusal> {
        let bytes = messages.iter().map(|(message, _)| message.body.batch_bytes() + message.summary.len()).sum();
        let on_the_way: Vec<_> = messages.iter_mut().map(|(message, _)| message.body.in_flight.take()).collect();
        let (request, answered) = request(bytes, true, move |step| messages::store(step, messages, mark));
        self.shared.queue.push(request).await.map_err(|_| Refusal::Unavailable)?;
        drop(on_the_way);
        answered.recv().await.unwrap_or(Err(Refusal::Unavailable))
    }

    /// Stores one message into every target that is still there: one event, one commit, one answer.
    pub async fn deliver(&self, message: NewMessage, targets: Vec<Target>) -> Result<Vec<Stored>, Refusal> {
        if targets.len() > TARGETS_MAX {
            return Err(Refusal::Limit);
        }
        self.store(vec![(message, targets)], None).await
    }

    /// Stores several messages into one mailbox, all or none (APPEND, MULTIAPPEND).
    pub async fn append(
        &self,
        mailbox: MailboxId,
        messages: Vec<(NewMessage, FlagNames)>,
    ) -> Result<Vec<Stored>, Refusal> {
        self.store_into(mailbox, messages, None).await
    }

    /// As [`Store::append`], and sets the mark: both or neither.
    pub async fn append_marked(
        &self,
        mailbox: MailboxId,
        messages: Vec<(NewMessage, FlagNames)>,
        mark: Mark,
    ) -> Result<Vec<Stored>, Refusal> {
        self.store_into(mailbox, messages, Some(mark)).await
    }

    async fn store_into(
        &self,
        mailbox: MailboxId,
        messages: Vec<(NewMessage, FlagNames)>,
        mark: Option<Mark>,
    ) -> Result<Vec<Stored>, Refusal> {
        if messages.len() as u64 > COPY_MESSAGES_MAX {
            return Err(Refusal::Limit);
        }
        let messages = messages.into_iter().map(|(message, flags)| (message, vec![Target { mailbox, flags }]));
        self.store(messages.collect(), mark).await
    }

    /// The value of an account's mark; empty when there is none.
    pub async fn mark(&self, account: AccountId, name: &str) -> Result<Vec<u8>, Refusal> {
        let name = name.to_owned();
        self.shared.query(move |rx| Ok(query::mark(rx, account, &name)?)).await
    }

    /// Sets an account's mark, or removes it.
    pub async fn set_mark(&self, mark: Mark) -> Result<(), Refusal> {
        self.ask(move |step| mailboxes::mark(step, mark)).await
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
        self.ask_about(step_of(&uids), move |step| messages::flags(step, mailbox, uids, change, flags, unchanged_since))
            .await
    }

    /// Copies messages into another mailbox (or the same), flags kept, all or none; copies no bytes.
    pub async fn copy(&self, from: MailboxId, uids: UidSet, to: MailboxId) -> Result<Copied, Refusal> {
        self.ask_about(uids.len().min(COPY_MESSAGES_MAX), move |step| messages::copy(step, from, &uids, to)).await
    }

    /// Moves a first step of `uids`; call again with the rest.
    pub async fn move_messages(
        &self,
        from: MailboxId,
        uids: UidSet,
        to: MailboxId,
    ) -> Result<(Copied, Expunged), Refusal> {
        self.ask_about(step_of(&uids), move |step| messages::move_messages(step, from, uids, to)).await
    }

    /// Takes out a first step of `uids`, only those with \Deleted if `only_deleted`; call again with the rest.
    pub async fn expunge(&self, mailbox: MailboxId, uids: UidSet, only_deleted: bool) -> Result<Expunged, Refusal> {
        self.ask_about(step_of(&uids), move |step| messages::expunge(step, mailbox, uids, only_deleted)).await
    }

    /// The UIDs in a mailbox as ranges, and the modification sequence they are of: one row per range, so flat in the
    /// number of messages.
    pub async fn uids(&self, mailbox: MailboxId) -> Result<(UidSet, ModSeq), Refusal> {
        self.shared
            .query(move |rx| {
                let mailbox = query::mailbox(rx, mailbox)?;
                Ok((query::uids(rx, &mailbox)?, mailbox.highest_modseq))
            })
            .await
    }

    /// The lowest UID without \Seen, at a flat cost.
    pub async fn first_unseen(&self, mailbox: MailboxId) -> Result<Option<Uid>, Refusal> {
        self.shared.query(move |rx| Ok(runs::first(rx, T::Unseen, mailbox)?)).await
    }

    /// The small rows of those `uids` that exist, ascending, at most `max`; go on after the last one.
    pub async fn entries(&self, mailbox: MailboxId, uids: &UidSet, max: usize) -> Result<Vec<Entry>, Refusal> {
        let (mut found, max) = (Vec::new(), max.min(query::ROWS_MAX));
        for piece in uids.pieces(RANGES_STEP) {
            let left = max.saturating_sub(found.len());
            found.extend(self.shared.query(move |rx| Ok(query::entries(rx, mailbox, &piece, left)?)).await?);
            if found.len() >= max {
                break;
            }
        }
        Ok(found)
    }

    /// As [`Store::entries`], each with its message; stops early when summaries sum up to 64 KiB.
    pub async fn messages(
        &self,
        mailbox: MailboxId,
        uids: &UidSet,
        max: usize,
    ) -> Result<Vec<(Entry, Message)>, Refusal> {
        let (mut found, max) = (Vec::new(), max.min(query::ROWS_MAX));
        for piece in uids.pieces(RANGES_STEP) {
            let left = max.saturating_sub(found.len());
            found.extend(self.shared.query(move |rx| Ok(query::messages(rx, mailbox, &piece, left)?)).await?);
            let bytes: usize = found.iter().map(|(_, message)| message.summary.len()).sum();
            if found.len() >= max || bytes >= query::SUMMARY_BYTES_MAX {
                break;
            }
        }
        Ok(found)
    }

    /// What happened after `since`, in order, at most `max` entries.
    pub async fn changes(&self, mailbox: MailboxId, since: ModSeq, max: usize) -> Result<Changes, Refusal> {
        let first = AtomicBool::new(true);
        let look = move |rx: &mut super::index::Rx| {
            let mailbox = query::mailbox(rx, mailbox)?;
            let (changes, damaged) = query::changes(rx, &mailbox, since, max)?;
            // The first time the index is made anew; what is damaged then, too, is passed over.
            if damaged && first.swap(false, Ordering::AcqRel) {
                return Err(super::index::IndexError::Damaged(T::Entries).into());
            }
            Ok(changes)
        };
        self.shared.query(look).await
    }

    /// A reader of a body; it stays readable while the reader lives.
    pub async fn read(&self, blob: BlobId) -> Result<BodyReader, Refusal> {
        // Before the index is asked, so that what it names is not deleted between the answer and the pin.
        let looking = self.shared.leases.look();
        let found = self.shared.query(move |rx| Ok(rows::blob(rx, blob)?)).await?;
        Ok(BodyReader::new(&self.shared, looking, blob, found.ok_or(Refusal::NotFound)?))
    }

    // Turns: a test seam.

    /// From now on the writer does one piece of work for each [`Store::give_turn`], so that a test decides what is done
    /// together and in which order; or again whatever comes.
    #[doc(hidden)]
    pub fn take_turns(&self, takes_turns: bool) {
        self.shared.queue.take_turns(takes_turns);
    }

    /// Waits until the writer rests; says whether it waits for its turn, and not for work. Blocks.
    #[doc(hidden)]
    pub fn writer_waits(&self) -> bool {
        self.shared.queue.rest()
    }

    /// Lets the writer do one piece of work.
    #[doc(hidden)]
    pub fn give_turn(&self) {
        self.shared.queue.give_turn();
    }

    // News.

    /// Wakes whenever `mailbox` changes. Begin to watch before reading the mailbox, so that nothing falls between.
    pub fn watch(&self, mailbox: MailboxId) -> Watch {
        Watch::new(&self.shared, mailbox)
    }

    /// Tells when the account gets new secrets or is removed.
    pub fn watch_account(&self, id: AccountId) -> AccountWatch {
        AccountWatch::new(&self.shared, id)
    }
}

/// Messages that a step of bulk work touches at the most.
fn step_of(uids: &UidSet) -> u64 {
    uids.len().min(STEP_MESSAGES_MAX as u64)
}
