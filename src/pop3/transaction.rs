//! TRANSACTION and UPDATE (RFC 1939 sections 5 and 6), and the look at INBOX that a maildrop begins with. Only QUIT
//! removes anything; a connection that is lost removes nothing.

use super::body::Sender;
use super::grammar::{Command, Lines, Number};
use super::maildrop::{Maildrop, NoMemory};
use super::session::{Faults, capabilities, command, language};
use crate::base::Budget;
use crate::net::{Wire, WireError};
use crate::store::{
    AccountId, BodyReader, Mailbox, MailboxId, Message, Refusal, STEP_MESSAGES_MAX, Store, Uid, UidSet,
};
use std::fmt::Write;
use std::time::Duration;

/// What a maildrop is of.
const INBOX: &str = "INBOX";
/// Looks at a mailbox until its row and its UIDs are of one moment; after that the sizes are summed up one by one.
const LOOKS_MAX: usize = 4;
/// Messages asked of the store at once.
const MESSAGES_STEP: usize = 1_000;

/// What is said of a number that stands for no message.
const NO_SUCH_MESSAGE: &[u8] = b"-ERR no such message\r\n";

/// Why a maildrop cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    TryLater,
    Damaged,
}

/// The account's maildrop as it is now.
pub(super) async fn open(store: &Store, account: AccountId, budget: &Budget) -> Result<Maildrop, OpenError> {
    let snapshot = snapshot(store, account).await.map_err(|refusal| match refusal {
        Refusal::Damaged => OpenError::Damaged,
        Refusal::NotFound
        | Refusal::Exists
        | Refusal::NotAllowed
        | Refusal::Limit
        | Refusal::OverQuota
        | Refusal::NoMemory
        | Refusal::DiskFull
        | Refusal::Unavailable => OpenError::TryLater,
    })?;
    let (mailbox, uids, octets) = snapshot;
    Maildrop::new(&mailbox, uids, octets, budget).map_err(|NoMemory| OpenError::TryLater)
}

/// INBOX's row, its UIDs, and the octets of these messages.
async fn snapshot(store: &Store, account: AccountId) -> Result<(Mailbox, UidSet, u64), Refusal> {
    for _ in 0..LOOKS_MAX {
        let mailbox = store.mailbox_by_name(account, INBOX).await?.ok_or(Refusal::NotFound)?;
        let (uids, modseq) = store.uids(mailbox.id).await?;
        if modseq == mailbox.highest_modseq {
            let octets = mailbox.size;
            return Ok((mailbox, uids, octets));
        }
    }
    let mailbox = store.mailbox_by_name(account, INBOX).await?.ok_or(Refusal::NotFound)?;
    let (uids, _) = store.uids(mailbox.id).await?;
    let mut octets = 0u64;
    let mut sizes = Sizes::of(mailbox.id, uids.clone());
    while let Some(step) = sizes.next(store).await? {
        octets = step.iter().fold(octets, |sum, (_, size)| sum.saturating_add(*size));
    }
    Ok((mailbox, uids, octets))
}

/// Walks over the sizes of messages, a bounded step at a time. Those expunged meanwhile are passed over.
struct Sizes {
    mailbox: MailboxId,
    rest: UidSet,
}

impl Sizes {
    fn of(mailbox: MailboxId, uids: UidSet) -> Self {
        Self { mailbox, rest: uids }
    }

    async fn next(&mut self, store: &Store) -> Result<Option<Vec<(Uid, u64)>>, Refusal> {
        let sizes = store.sizes(self.mailbox, &self.rest, MESSAGES_STEP).await?;
        let Some((last, _)) = sizes.last() else {
            return Ok(None);
        };
        let (after, end) = (last.0.checked_add(1).map(Uid), self.rest.last());
        self.rest = match (after, end) {
            (Some(after), Some(end)) => UidSet::range(after, end),
            _ => UidSet::new(),
        };
        Ok(Some(sizes))
    }
}

/// Serves the commands of somebody who has logged in, up to QUIT.
pub(super) async fn serve(
    wire: &mut Wire,
    store: &Store,
    mut maildrop: Maildrop,
    faults: &mut Faults,
) -> Result<(), WireError> {
    while let Some(command) = command(wire, faults, Duration::MAX).await? {
        match command {
            Command::Stat => wire.put(format!("+OK {} {}\r\n", maildrop.count(), maildrop.octets()).as_bytes()),
            Command::List(None) => Box::pin(list(wire, store, &maildrop)).await?,
            Command::List(Some(number)) => match Box::pin(message(store, &maildrop, number)).await {
                Ok((_, message)) => wire.put(format!("+OK {} {}\r\n", number.0, message.size).as_bytes()),
                Err(words) => wire.put(words),
            },
            Command::Uidl(None) => unique_ids(wire, &maildrop).await?,
            Command::Uidl(Some(number)) => match maildrop.uid(number) {
                Some(uid) => wire.put(format!("+OK {} {}\r\n", number.0, maildrop.unique_id(uid)).as_bytes()),
                None => wire.put(NO_SUCH_MESSAGE),
            },
            Command::Retr(number) => Box::pin(retrieve(wire, store, &maildrop, number, None)).await?,
            Command::Top(number, lines) => Box::pin(retrieve(wire, store, &maildrop, number, Some(lines))).await?,
            Command::Dele(number) => {
                let words = Box::pin(delete(store, &mut maildrop, number)).await;
                wire.put(words);
            }
            Command::Rset => {
                maildrop.unmark_all();
                wire.put(format!("+OK {} messages ({} octets)\r\n", maildrop.count(), maildrop.octets()).as_bytes());
            }
            Command::Noop => wire.put(b"+OK\r\n"),
            Command::Capa => capabilities(wire, true),
            Command::Lang(ranges) => language(wire, &ranges),
            Command::Quit => {
                let words = Box::pin(update(store, &maildrop)).await;
                wire.put(words);
                return Ok(());
            }
            Command::User(_) | Command::Pass(_) | Command::Apop | Command::Auth(_) | Command::Stls | Command::Utf8 => {
                if faults.answer(wire, "you are logged in already") {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// LIST without an argument: the sizes come from the store step by step, so the answer may be of any length.
async fn list(wire: &mut Wire, store: &Store, maildrop: &Maildrop) -> Result<(), WireError> {
    let mut sizes = Sizes::of(maildrop.mailbox(), maildrop.uids_from(Uid(1)));
    let mut step = match sizes.next(store).await {
        Ok(step) => step,
        Err(refusal) => {
            wire.put(words_for(&refusal));
            return Ok(());
        }
    };
    wire.put(format!("+OK {} messages ({} octets)\r\n", maildrop.count(), maildrop.octets()).as_bytes());
    while let Some(messages) = step {
        let mut lines = String::new();
        for (uid, octets) in messages {
            if let Some(number) = maildrop.number(uid) {
                write_line(&mut lines, format_args!("{number} {octets}\r\n"));
            }
        }
        wire.send(lines.as_bytes()).await?;
        step = sizes.next(store).await.map_err(|refusal| broken(&refusal))?;
    }
    wire.send(b".\r\n").await
}

/// UIDL without an argument (RFC 1939 section 7).
async fn unique_ids(wire: &mut Wire, maildrop: &Maildrop) -> Result<(), WireError> {
    wire.put(b"+OK unique ids follow\r\n");
    let mut line = String::new();
    for (number, uid) in maildrop.iter() {
        line.clear();
        write_line(&mut line, format_args!("{number} {}\r\n", maildrop.unique_id(uid)));
        wire.send(line.as_bytes()).await?;
    }
    wire.send(b".\r\n").await
}

/// RETR, and TOP when `lines` are given.
async fn retrieve(
    wire: &mut Wire,
    store: &Store,
    maildrop: &Maildrop,
    number: Number,
    lines: Option<Lines>,
) -> Result<(), WireError> {
    let message = match message(store, maildrop, number).await {
        Ok((_, message)) => message,
        Err(words) => {
            wire.put(words);
            return Ok(());
        }
    };
    // The first octets are read before anything is promised.
    let mut reader = match first_read(store, &message, lines.is_none()).await {
        Ok(reader) => reader,
        Err(refusal) => {
            wire.put(words_for(&refusal));
            return Ok(());
        }
    };
    let mut sender = lines.map_or_else(Sender::whole, Sender::top);
    match lines {
        None => wire.put(format!("+OK {} octets\r\n", message.size).as_bytes()),
        Some(_) => wire.put(b"+OK top of message follows\r\n"),
    }
    let mut offset = 0u64;
    while !sender.is_done() {
        let mut chunk = reader.at(offset).await.map_err(|refusal| broken(&refusal))?;
        if chunk.is_empty() {
            break;
        }
        offset = offset.saturating_add(chunk.len() as u64);
        while let Some(piece) = sender.next(&mut chunk) {
            if piece.is_stuffed {
                wire.send(b".").await?;
            }
            wire.send(piece.octets).await?;
        }
    }
    wire.send(sender.end()).await
}

/// What breaks off in the middle ends the session, and no mail behind it would ever come if it did so again.
async fn first_read(store: &Store, message: &Message, whole: bool) -> Result<BodyReader, Refusal> {
    let mut reader = store.read(message.blob).await?;
    let octets = if whole { message.size } else { 1 };
    reader.try_out(0..octets).await?;
    Ok(reader)
}

/// DELE: marks only; the octets are looked up for STAT.
async fn delete(store: &Store, maildrop: &mut Maildrop, number: Number) -> &'static [u8] {
    match message(store, maildrop, number).await {
        Ok((_, message)) => match maildrop.mark(number, message.size) {
            Ok(()) => b"+OK marked as deleted\r\n",
            Err(NoMemory) => words_for(&Refusal::NoMemory),
        },
        Err(words) => words,
    }
}

/// UPDATE (RFC 1939 section 6): takes the marked messages out, in steps, and says so after the last one is durable. One
/// that somebody else has taken out meanwhile is gone as well.
async fn update(store: &Store, maildrop: &Maildrop) -> &'static [u8] {
    let mut from = 1;
    while maildrop.has_marks() {
        let (mut step, next) = maildrop.marked(from, STEP_MESSAGES_MAX);
        if step.is_empty() {
            break;
        }
        while !step.is_empty() {
            match store.expunge(maildrop.mailbox(), step, false).await {
                Ok(expunged) => step = expunged.rest,
                Err(refusal) => {
                    log::warn!("a POP3 session could not remove its messages: {refusal:?}");
                    return b"-ERR [SYS/TEMP] some deleted messages were not removed\r\n";
                }
            }
        }
        from = next;
    }
    b"+OK goodbye\r\n"
}

/// The message of that number, or what to say instead.
async fn message(store: &Store, maildrop: &Maildrop, number: Number) -> Result<(Uid, Message), &'static [u8]> {
    let uid = maildrop.uid(number).ok_or(NO_SUCH_MESSAGE)?;
    match store.messages(maildrop.mailbox(), &UidSet::one(uid), 1).await {
        Ok(messages) => match messages.into_iter().next() {
            Some((entry, message)) => Ok((entry.uid, message)),
            None => Err(b"-ERR the message was removed by another session\r\n"),
        },
        Err(refusal) => Err(words_for(&refusal)),
    }
}

/// What a refusal of the store is on the wire (RFC 3206).
fn words_for(refusal: &Refusal) -> &'static [u8] {
    match refusal {
        Refusal::Damaged => b"-ERR [SYS/PERM] the message is damaged\r\n",
        Refusal::NotFound => b"-ERR the message was removed by another session\r\n",
        Refusal::NoMemory
        | Refusal::Exists
        | Refusal::NotAllowed
        | Refusal::Limit
        | Refusal::OverQuota
        | Refusal::DiskFull
        | Refusal::Unavailable => b"-ERR [SYS/TEMP] not possible now; try again later\r\n",
    }
}

/// The store failed in the middle of an answer. There are no words for that: only the missing end tells the client.
fn broken(refusal: &Refusal) -> WireError {
    log::warn!("a POP3 answer broke off: {refusal:?}");
    WireError::Closed
}

fn write_line(lines: &mut String, line: std::fmt::Arguments<'_>) {
    let written = lines.write_fmt(line);
    debug_assert!(written.is_ok(), "writing into a string does not fail");
}
