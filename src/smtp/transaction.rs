//! A mail transaction (RFC 5321 section 3.3): MAIL, RCPT, and then DATA or BDAT (RFC 3030). The answer to the last is
//! given after the store has committed.

use super::Role;
use super::complete::Completion;
use super::data::DotReader;
use super::grammar::{ForwardPath, Mail, Mistake, Reply};
use super::limits::{RECIPIENTS_MAX, UNKNOWN_RECIPIENTS_MAX};
use super::message::{Lacks, Message};
use super::session::{Last, Session};
use crate::accounts::Recipient;
use crate::base::Grant;
use crate::delivery::{self, Incoming, Protocol, Trace};
use crate::mail::print_message_date;
use crate::store::{AccountId, Date, Refusal};
use ring::rand::{SecureRandom, SystemRandom};

/// Account numbers are granted in steps of so many.
const ACCOUNTS_STEP: usize = 64;

/// What MAIL and RCPT have said so far.
#[derive(Debug)]
pub(super) struct Transaction {
    /// The reverse-path; empty is the null one.
    from: String,
    utf8: bool,
    /// Our name for the message.
    id: String,
    /// Recipients accepted.
    recipients: usize,
    /// The first of them.
    recipient: String,
    /// Whom they are, ascending, each once.
    accounts: Vec<AccountId>,
    grant: Grant,
    /// What BDAT has brought so far.
    message: Option<Box<Message>>,
}

impl Session {
    pub(super) async fn mail(&mut self, mail: Mail) -> Result<(), Last> {
        if self.is_spent() {
            return Err(Last(Some(Reply::TooMuch)));
        }
        if let Some(refusal) = self.mail_refusal(&mail) {
            return self.wrong(refusal).await;
        }
        if let Some(refusal) = self.sender_refusal(&mail).await {
            return self.say(refusal).await;
        }
        self.transaction = Some(Box::new(Transaction {
            from: mail.from.map(|address| address.to_string()).unwrap_or_default(),
            utf8: mail.utf8,
            id: new_id(),
            recipients: 0,
            recipient: String::new(),
            accounts: Vec::new(),
            grant: Grant::none(self.wire.budget()),
            message: None,
        }));
        self.say(Reply::SenderOk).await
    }

    /// Whether MAIL is out of place.
    fn mail_refusal(&self, mail: &Mail) -> Option<Reply> {
        if self.hello.is_none() {
            return Some(Reply::HelloFirst);
        }
        match self.context.role {
            // RFC 4954 section 5: a server without AUTH does not know the parameter either.
            Role::Receive if mail.auth => return Some(Reply::Mistake(Mistake::Parameter)),
            Role::Receive => (),
            Role::Submission if !self.wire.is_tls() => return Some(Reply::TlsFirst),
            Role::Submission if self.login.is_none() => return Some(Reply::AuthFirst),
            Role::Submission => (),
        }
        self.transaction.is_some().then_some(Reply::NestedMail)
    }

    /// Whether this sender, or so big a message, is not taken.
    async fn sender_refusal(&self, mail: &Mail) -> Option<Reply> {
        let bytes_max = self.context.message_bytes_max;
        if mail.size.is_some_and(|size| size > bytes_max) {
            return Some(Reply::TooBig { bytes_max });
        }
        // The null path is nobody's, and receipts must be sent with it (RFC 8098 section 3).
        let address = mail.from.as_ref()?;
        if !address.is_ascii() && !mail.utf8 {
            return Some(Reply::NeedsUtf8);
        }
        let login = self.login.as_ref()?;
        match self.context.accounts.may_send_as(login.id, address).await {
            Ok(true) => None,
            Ok(false) => Some(Reply::NotYourAddress),
            Err(refusal) => Some(trouble(refusal)),
        }
    }

    pub(super) async fn recipient(&mut self, path: ForwardPath) -> Result<(), Last> {
        let Some(transaction) = &self.transaction else {
            return self.say(Reply::MailFirst).await;
        };
        if transaction.message.is_some() {
            return self.wrong(Reply::AfterChunk).await;
        }
        if transaction.recipients >= RECIPIENTS_MAX {
            return self.say(Reply::TooManyRecipients).await;
        }
        let accounts = &self.context.accounts;
        let (name, found) = match path {
            ForwardPath::Postmaster => ("postmaster".to_owned(), accounts.postmaster().await),
            ForwardPath::Address(address) if !address.is_ascii() && !transaction.utf8 => {
                return self.say(Reply::NeedsUtf8).await;
            }
            ForwardPath::Address(address) => (address.to_string(), accounts.resolve(&address).await),
        };
        let reply = match (found, self.context.role) {
            (Ok(Recipient::Local(accounts)), _) => self.transaction.as_mut().map(|open| open.add(name, &accounts)),
            (Ok(Recipient::NoSuchUser), _) => return self.unknown_recipient().await,
            (Ok(Recipient::NotLocal), Role::Receive) => Some(Reply::NoRelay),
            (Ok(Recipient::NotLocal), Role::Submission) => Some(Reply::NotSentYet),
            (Err(refusal), _) => Some(trouble(refusal)),
        };
        self.say(reply.unwrap_or(Reply::MailFirst)).await
    }

    async fn unknown_recipient(&mut self) -> Result<(), Last> {
        self.counts.unknown_recipients += 1;
        if self.counts.unknown_recipients >= UNKNOWN_RECIPIENTS_MAX {
            return Err(Last(Some(Reply::TooManyUnknown)));
        }
        self.say(Reply::NoSuchUser).await
    }

    pub(super) async fn data(&mut self) -> Result<(), Last> {
        let transaction = match self.transaction.take() {
            None => return self.say(Reply::MailFirst).await,
            Some(open) if open.message.is_some() => {
                self.transaction = Some(open);
                return self.wrong(Reply::AfterChunk).await;
            }
            Some(open) if open.recipients == 0 => {
                self.transaction = Some(open);
                return self.say(Reply::NoRecipients).await;
            }
            Some(open) => open,
        };
        let mut message = self.begin(&transaction).await;
        self.say(Reply::StartData).await?;
        let mut dots = DotReader::default();
        let mut ended = false;
        while !ended {
            let wait = message.wait(self.wire.clock().monotonic()).ok_or(Last(Some(Reply::TooSlow)))?;
            let step = dots.step(self.wire.octets(wait).await?);
            if let Some(fault) = dots.fault() {
                message.refuse(fault.into());
            }
            message.write(step.text).await?;
            ended = step.ended;
            let used = step.used;
            self.wire.consume(used);
        }
        self.deliver(*transaction, message).await
    }

    /// RFC 3030 section 2. Whatever the answer, the chunk is read first.
    pub(super) async fn chunk(&mut self, octets: u64, last: bool) -> Result<(), Last> {
        let now = self.wire.clock().monotonic();
        let (transaction, mut message) = match self.transaction.take() {
            None => (None, Message::refused(Reply::MailFirst, now)),
            Some(open) if open.recipients == 0 => (Some(open), Message::refused(Reply::NoRecipients, now)),
            Some(mut open) => match open.message.take() {
                Some(message) => (Some(open), *message),
                None => {
                    let message = self.begin(&open).await;
                    (Some(open), message)
                }
            },
        };
        message.announce(octets)?;
        let mut left = octets;
        while left > 0 {
            let wait = message.wait(self.wire.clock().monotonic()).ok_or(Last(Some(Reply::TooSlow)))?;
            let come = self.wire.octets(wait).await?;
            let part = come.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(come);
            let used = part.len();
            message.write_chunk(part).await?;
            left = left.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX));
            self.wire.consume(used);
        }
        if last {
            message.end_chunks();
        }
        match (transaction, message.why_refused()) {
            (Some(transaction), None) if last => self.deliver(*transaction, message).await,
            (Some(mut transaction), None) => {
                transaction.message = Some(Box::new(message));
                self.transaction = Some(transaction);
                self.say(Reply::ChunkOk { octets }).await
            }
            // The transaction has failed and is over: chunks that are on their way get 503.
            (_, why) => {
                let reply = why.cloned().unwrap_or(Reply::MailFirst);
                self.say(reply).await
            }
        }
    }

    /// A message begins: its trace fields go first.
    async fn begin(&self, transaction: &Transaction) -> Message {
        let now = self.wire.clock().monotonic();
        let hostname = &*self.context.hostname;
        let date = print_message_date(self.arrived());
        let (client, extended) = match &self.hello {
            Some(hello) => (hello.name.as_str(), hello.extended),
            None => ("unknown", false),
        };
        let protocol =
            Protocol { extended, tls: self.wire.is_tls(), authenticated: self.login.is_some(), utf8: transaction.utf8 };
        let trace = Trace {
            return_path: &transaction.from,
            client,
            peer: self.wire.peer().ip(),
            hostname,
            protocol,
            id: &transaction.id,
            recipient: (transaction.recipients == 1).then_some(&*transaction.recipient),
            date: &date,
        };
        let mut incoming = Incoming::new(&self.context.store);
        if let Err(refusal) = incoming.write(trace.print().as_bytes()).await {
            return Message::refused(trouble(refusal), now);
        }
        let lacks = (self.context.role == Role::Submission).then(|| Lacks {
            completion: Completion::default(),
            date,
            message_id: format!("{}@{hostname}", transaction.id),
        });
        Message::new(incoming, lacks, self.context.message_bytes_max, now)
    }

    /// Commits, and only then says so.
    async fn deliver(&mut self, transaction: Transaction, message: Message) -> Result<(), Last> {
        let Transaction { from, id, accounts, .. } = transaction;
        let bytes = message.len();
        let stored = match message.finish(self.arrived()).await {
            Ok(message) => delivery::deliver(&self.context.store, message, &accounts).await.map_err(trouble),
            Err(reply) => Err(reply),
        };
        let peer = self.wire.peer().ip();
        match stored {
            Ok(gone) => {
                let count = accounts.len().saturating_sub(gone.len());
                log::info!("smtp: stored id={id} from={from:?} peer={peer} bytes={bytes} accounts={count}");
                if !gone.is_empty() {
                    // SMTP has one answer for all recipients, and it is yes (RFC 5321 section 4.2.5).
                    log::warn!("smtp: recipients removed since RCPT did not get it id={id} accounts={gone:?}");
                }
                self.has_handed_in();
                self.say(Reply::Stored { id }).await
            }
            Err(reply) => {
                log::info!("smtp: refused id={id} from={from:?} peer={peer} why={reply:?}");
                self.say(reply).await
            }
        }
    }

    fn arrived(&self) -> Date {
        Date { unix_s: self.wire.clock().unix_s(), zone_minutes: 0 }
    }
}

impl Transaction {
    /// Adds a recipient who is these accounts.
    fn add(&mut self, name: String, accounts: &[AccountId]) -> Reply {
        // One copy for each account, however it is named.
        let is_new = |account: &&AccountId| self.accounts.binary_search(account).is_err();
        let new: Vec<AccountId> = accounts.iter().filter(is_new).copied().collect();
        let sum = self.accounts.len().saturating_add(new.len());
        if sum > RECIPIENTS_MAX {
            return Reply::TooManyRecipients;
        }
        if !self.grant.resize(sum.next_multiple_of(ACCOUNTS_STEP).saturating_mul(size_of::<AccountId>())) {
            return Reply::NoRoom;
        }
        self.accounts.extend(new);
        self.accounts.sort_unstable();
        self.accounts.dedup();
        if self.recipients == 0 {
            self.recipient = name;
        }
        self.recipients = self.recipients.saturating_add(1);
        Reply::RecipientOk
    }
}

/// The store's refusal, with a line in the log where the fault is ours.
fn trouble(refusal: Refusal) -> Reply {
    log::warn!("smtp: the store refused: {refusal:?}");
    refusal.into()
}

/// A name that no other message has.
fn new_id() -> String {
    let mut octets = [0; 8];
    // The system's randomness does not fail once the server is up; an id of zeros would still only be a poor name.
    if SystemRandom::new().fill(&mut octets).is_err() {
        log::warn!("smtp: no randomness for a message's id");
    }
    format!("{:016x}", u64::from_be_bytes(octets))
}
