//! The store's side of `export`: mailboxes by name, messages by UID, each streamed chunk by chunk. Nothing is held open
//! while the other side writes its files but the message it is at.

use super::{ExportOrder, Failed, Folder, Marks, Outgoing, PATIENCE, Totals, answer, kind};
use crate::accounts::Error;
use crate::imap::grammar::MailboxName;
use crate::net::{FRAME_BYTES_MAX, LocalStream};
use crate::serve::manage::{Answer, failure};
use crate::serve::world::World;
use crate::store::{Entry, Flags, Mailbox, Message, Refusal, Uid, UidRange};
use std::io;

/// Messages that are looked up in a step.
const STEP_MESSAGES: usize = 128;

/// Sends what is asked for, to the end.
pub(super) async fn serve(world: &World, order: ExportOrder, stream: &mut LocalStream) -> io::Result<()> {
    let mailboxes = match look(world, &order).await {
        Ok(mailboxes) => mailboxes,
        Err(error) => return answer(stream, &error).await,
    };
    let totals = Totals {
        messages: mailboxes.iter().map(|mailbox| u64::from(mailbox.exists)).sum(),
        bytes: mailboxes.iter().map(|mailbox| mailbox.size).sum(),
    };
    answer(stream, &Answer::Export(totals)).await?;
    for mailbox in mailboxes {
        let done = order
            .after
            .as_ref()
            .filter(|after| after.mailbox == mailbox.name && after.uid_validity == mailbox.uid_validity.0);
        let first = Uid(done.map_or(1, |after| after.uid.saturating_add(1)));
        if let Err(refusal) = folder(world, &mailbox, first, stream).await? {
            let failed = Failed::of(&Error::Store(refusal));
            return frame(world, stream, kind::ANSWER, &serde_json::to_vec(&failed)?).await;
        }
    }
    frame(world, stream, kind::DONE, b"").await
}

/// The mailboxes that are still to be sent.
async fn look(world: &World, order: &ExportOrder) -> Result<Vec<Mailbox>, Answer> {
    let account = world.accounts.account(&order.account).await.map_err(|error| failure(&error))?;
    let store = |refusal| failure(&Error::Store(refusal));
    let mut mailboxes = match &order.mailbox {
        None => world.store.mailboxes(account.id).await.map_err(store)?,
        Some(name) => {
            let known = MailboxName::from_utf8(name).ok();
            let name_known = known.as_ref().map_or(name.as_str(), MailboxName::as_str);
            let mailbox = world.store.mailbox_by_name(account.id, name_known).await.map_err(store)?;
            vec![mailbox.ok_or_else(|| failure(&Error::NotFound { kind: "mailbox", name: name.clone() }))?]
        }
    };
    mailboxes.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(after) = &order.after {
        mailboxes.retain(|mailbox| mailbox.name >= after.mailbox);
    }
    Ok(mailboxes)
}

/// A program that takes nothing for too long is left.
async fn frame(world: &World, stream: &mut LocalStream, kind: u8, octets: &[u8]) -> io::Result<()> {
    let written = world.clock.timeout(PATIENCE, stream.write_frame(kind, octets)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Sends a mailbox from UID `first` on. The inner failure is the store's.
async fn folder(
    world: &World,
    mailbox: &Mailbox,
    first: Uid,
    stream: &mut LocalStream,
) -> io::Result<Result<(), Refusal>> {
    let (mut uids, _) = match world.store.uids(mailbox.id).await {
        // Deleted since.
        Err(Refusal::NotFound) => return Ok(Ok(())),
        Err(refusal) => return Ok(Err(refusal)),
        Ok(uids) => uids,
    };
    if let Some(last) = first.0.checked_sub(1) {
        uids.remove_range(UidRange { first: Uid(0), last: Uid(last) });
    }
    let told = Folder { name: mailbox.name.clone(), uid_validity: mailbox.uid_validity.0, messages: uids.len() };
    frame(world, stream, kind::MAILBOX, &serde_json::to_vec(&told)?).await?;
    // What came while the export ran may have brought keywords.
    let keywords = match world.store.mailbox(mailbox.id).await {
        Ok(Some(now)) => now.keywords,
        _ => mailbox.keywords.clone(),
    };
    loop {
        let step = match world.store.messages(mailbox.id, &uids, STEP_MESSAGES).await {
            Ok(step) => step,
            Err(Refusal::NotFound) => return Ok(Ok(())),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some((last, _)) = step.last() else {
            return Ok(Ok(()));
        };
        uids.remove_range(UidRange { first: Uid(0), last: last.uid });
        for (entry, message) in step {
            if let Err(refusal) = self::message(world, (&entry, &message), &keywords, stream).await? {
                match refusal {
                    Refusal::NotFound | Refusal::Damaged => {
                        let why = match refusal {
                            Refusal::Damaged => "it is damaged in the store",
                            _ => "it was deleted meanwhile",
                        };
                        let why = format!("{} UID {}: {why}", mailbox.name, entry.uid.0);
                        frame(world, stream, kind::FORGET, why.as_bytes()).await?;
                    }
                    refusal => return Ok(Err(refusal)),
                }
            }
        }
    }
}

async fn message(
    world: &World,
    (entry, message): (&Entry, &Message),
    keywords: &[String],
    stream: &mut LocalStream,
) -> io::Result<Result<(), Refusal>> {
    let mut reader = match world.store.read(message.blob).await {
        Ok(reader) => reader,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut ends = Ends::default();
    let mut offset = 0;
    loop {
        match reader.at(offset).await {
            Ok([]) => break,
            Ok(part) => {
                ends.feed(part);
                offset += part.len() as u64;
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let has = |n: &usize| entry.flags.has(Flags::keyword(*n));
    let mut marks = Marks {
        flags: entry.flags.0 & ((1 << Flags::KEYWORD_BIT_FIRST) - 1),
        keywords: (0..keywords.len()).filter(has).filter_map(|n| keywords.get(n).cloned()).collect(),
        ..Marks::default()
    };
    marks.set_date(message.internal_date);
    let told = Outgoing {
        uid: entry.uid.0,
        size: message.size,
        marks,
        is_regular: ends.are_regular(),
        is_ended: ends.are_ended(),
    };
    frame(world, stream, kind::BEGIN, &serde_json::to_vec(&told)?).await?;
    let mut offset = 0;
    loop {
        let part = match reader.at(offset).await {
            Ok([]) => break,
            Ok(part) => part.get(..part.len().min(FRAME_BYTES_MAX)).unwrap_or_default(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        offset += part.len() as u64;
        frame(world, stream, kind::DATA, part).await?;
    }
    frame(world, stream, kind::END, b"").await?;
    Ok(Ok(()))
}

/// Whether every line ends with CRLF, and none holds a CR or LF of its own.
#[derive(Debug, Default)]
struct Ends {
    is_odd: bool,
    /// The last octet was a CR.
    is_after_cr: bool,
    /// The last octet.
    last: Option<u8>,
}

impl Ends {
    fn feed(&mut self, mut octets: &[u8]) {
        self.last = octets.last().copied().or(self.last);
        if octets.is_empty() || self.is_odd {
            return;
        }
        if std::mem::take(&mut self.is_after_cr) {
            match octets.split_first() {
                Some((b'\n', rest)) => octets = rest,
                _ => self.is_odd = true,
            }
        }
        while let Some(at) = memchr::memchr2(b'\r', b'\n', octets) {
            match octets.get(at..) {
                Some([b'\r', b'\n', rest @ ..]) => octets = rest,
                Some([b'\r']) => {
                    self.is_after_cr = true;
                    return;
                }
                _ => {
                    self.is_odd = true;
                    return;
                }
            }
        }
    }

    fn are_regular(&self) -> bool {
        !self.is_odd && self.are_ended()
    }

    fn are_ended(&self) -> bool {
        matches!(self.last, None | Some(b'\n'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_regular_when_all_end_with_crlf() {
        let table: [(&[u8], bool); 11] = [
            (b"", true),
            (b"a\r\n", true),
            (b"a\r\n\r\nb\r\n", true),
            (b"\r\n", true),
            (b"a", false),
            (b"a\n", false),
            (b"a\r\nb\n", false),
            (b"a\rb\r\n", false),
            (b"a\r\r\n", false),
            (b"a\r", false),
            (b"\n\r\n", false),
        ];
        for (text, are_regular) in table {
            for at in 0..=text.len() {
                let mut ends = Ends::default();
                ends.feed(&text[..at]);
                ends.feed(&text[at..]);
                assert_eq!(ends.are_regular(), are_regular, "{:?} at {at}", String::from_utf8_lossy(text));
            }
        }
    }
}
