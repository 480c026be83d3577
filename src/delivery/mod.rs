//! The way of a message into mailboxes: its body and its structure are taken while it arrives, trace headers are made,
//! and one event puts it into every recipient's INBOX. Knows no protocol; never holds a message in memory.

use crate::mail::Scanner;
use crate::store::{AccountId, BlobId, BodyWriter, Date, FlagNames, MailboxId, NewMessage, Refusal, Store, Target};

mod trace;

pub use trace::{Protocol, Trace, address_literal};

/// The folder that mail is delivered to.
const INBOX: &str = "INBOX";

/// A message while it arrives. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    body: BodyWriter,
    scanner: Box<Scanner>,
}

impl Incoming {
    /// A message that begins to arrive.
    pub fn new(store: &Store) -> Self {
        Self { body: store.body(), scanner: Box::new(Scanner::new()) }
    }

    /// Takes octets as they are to be stored; waits while the disk is behind.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), Refusal> {
        self.scanner.feed(octets);
        self.body.write(octets).await
    }

    /// Octets taken so far.
    pub fn len(&self) -> u64 {
        self.body.len()
    }

    /// Whether none came yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `Received` fields seen so far in its header, for loop detection (RFC 5321 section 6.3).
    pub fn received_count(&self) -> u32 {
        self.scanner.received_count()
    }

    /// The message is whole: what [`deliver`] or the store's append takes. It is stored only once one of them returned.
    pub async fn finish(self, internal_date: Date) -> Result<NewMessage, Refusal> {
        Ok(NewMessage { body: self.body.finish().await?, summary: self.scanner.finish_encoded(), internal_date })
    }
}

/// Computes the summaries that messages lack, because their store was made from its log alone, from their bodies; answers
/// how many got theirs. A body that cannot be read stays without.
pub async fn summarize(store: &Store) -> Result<u64, Refusal> {
    let mut done = 0;
    while let Some(bare) = store.bare().await? {
        let mut summaries = Vec::with_capacity(bare.messages.len());
        for &(message, blob) in &bare.messages {
            match summary_of(store, blob).await {
                Ok(summary) => summaries.push((message, summary)),
                Err(Refusal::Damaged | Refusal::NotFound) => log::error!("message {} cannot be read whole", message.0),
                Err(refusal) => return Err(refusal),
            }
        }
        done += summaries.len() as u64;
        store.summarize(&bare, summaries).await?;
    }
    Ok(done)
}

async fn summary_of(store: &Store, blob: BlobId) -> Result<Vec<u8>, Refusal> {
    let mut body = store.read(blob).await?;
    let mut scanner = Box::new(Scanner::new());
    let mut at = 0;
    while at < body.len() {
        let octets = body.at(at).await?;
        at = at.saturating_add(octets.len() as u64);
        scanner.feed(octets);
    }
    Ok(scanner.finish_encoded())
}

/// Puts one message into the INBOX of each of `recipients` (one copy for an account named twice): one body, one event,
/// durable when this returns. An account that has gone meanwhile is passed over and answered; [`Refusal::NotFound`] when all
/// have.
pub async fn deliver(store: &Store, message: NewMessage, recipients: &[AccountId]) -> Result<Vec<AccountId>, Refusal> {
    let mut accounts = recipients.to_vec();
    accounts.sort_unstable();
    accounts.dedup();
    let (mut gone, mut inboxes) = (Vec::new(), Vec::with_capacity(accounts.len()));
    for account in accounts {
        match store.mailbox_by_name(account, INBOX).await? {
            Some(inbox) => inboxes.push((account, inbox.id)),
            None => gone.push(account),
        }
    }
    if inboxes.is_empty() {
        return Err(Refusal::NotFound);
    }
    let target = |&(_, mailbox): &(_, MailboxId)| Target { mailbox, flags: FlagNames::default() };
    let stored = store.deliver(message, inboxes.iter().map(target).collect()).await?;
    // The store passes over what has gone since the look above.
    let is_missing = |mailbox| stored.iter().all(|stored| stored.mailbox != mailbox);
    if stored.len() < inboxes.len() {
        gone.extend(inboxes.into_iter().filter(|(_, inbox)| is_missing(*inbox)).map(|(account, _)| account));
    }
    Ok(gone)
}
