//! APPEND (RFC 3501 6.3.11, RFC 4315 3): a message streams from the literal into the store, byte for byte, never held.
//! What cannot be taken is refused before a waiting client sends it.

use super::failure::{End, Failure};
use super::grammar::limits::DISCARD_BYTES_MAX;
use super::grammar::{
    AppendMessage, AppendRest, Code, Condition, LiteralHead, MailboxName, Rejected, Tag, append_rest, reply,
};
use super::input::{OCTETS_PER_S_MIN, discard, discarded_until};
use super::session::{LOGIN_WAIT, Session, State, ok, send};
use crate::delivery::Incoming;
use crate::net::{Wire, WireError};
use crate::store::{Date, Mailbox, NewMessage, Refusal, UidSet};
use std::time::Duration;

/// A message that is sent without waiting and cannot be taken is read and thrown away up to so many times the largest
/// one; beyond, the connection ends.
const DISCARD_FACTOR: u64 = 4;
/// What is added for the first octets of an upload.
const UPLOAD_START: Duration = Duration::from_secs(10 * 60);
/// The longest silence within an upload.
const UPLOAD_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The line after the literal: nothing, or what we refuse.
const REST_BYTES_MAX: usize = 8 * 1024;

impl Session {
    /// APPEND
    pub(super) async fn append(
        &mut self,
        tag: &Tag,
        name: &MailboxName,
        message: AppendMessage,
    ) -> Result<(), Failure> {
        let AppendMessage { flags, date, literal } = message;
        let mailbox = match self.may_append(name, literal).await {
            Ok(mailbox) => mailbox,
            Err(failure @ Failure::End(_)) => return Err(failure),
            Err(failure) => return self.refuse_upload(literal, failure).await,
        };
        if literal.waits {
            send(&mut self.wire, |out| reply::go_ahead(out, "go ahead")).await?;
        }
        let mut incoming = Incoming::new(&self.context.store);
        let taken = take(&mut self.wire, &mut incoming, literal.octets).await?;
        self.end_of_append(tag).await?;
        taken?;
        let now = Date { unix_s: self.wire.clock().unix_s(), zone_minutes: 0 };
        let message: NewMessage = incoming.finish(date.unwrap_or(now)).await?;
        let stored = match self.context.store.append(mailbox.id, vec![(message, flags)]).await {
            // Deleted while the message came.
            Err(Refusal::NotFound) => return Err(Failure::No(Some(Code::TryCreate), "there is no such mailbox")),
            stored => stored?,
        };
        // RFC 3501 6.3.11: a selected mailbox tells of its new message at once.
        Box::pin(self.sync_if_selected()).await?;
        let uids: UidSet = stored.iter().map(|stored| stored.uid).collect();
        let validity = stored.first().map_or(mailbox.uid_validity, |stored| stored.uid_validity);
        ok(&mut self.wire, tag, Some(&Code::AppendUid { validity, uids: &uids }), "appended").await?;
        Ok(())
    }

    async fn may_append(&mut self, name: &MailboxName, literal: LiteralHead) -> Result<Mailbox, Failure> {
        self.user()?;
        if literal.binary {
            return Err(Failure::No(Some(Code::UnknownCte), "binary literals are not taken"));
        }
        if literal.octets > self.context.message_bytes_max {
            return Err(Failure::No(Some(Code::TooBig), "the message is too large"));
        }
        self.destination(name).await
    }

    /// A client that waits is told at once and sends nothing; one that does not is heard out first.
    async fn refuse_upload(&mut self, literal: LiteralHead, failure: Failure) -> Result<(), Failure> {
        if !literal.waits {
            // Strangers have nothing to upload.
            let (octets_max, until) = match self.state {
                State::NotAuthenticated { .. } => {
                    (DISCARD_BYTES_MAX, self.wire.clock().monotonic().saturating_add(LOGIN_WAIT))
                }
                State::Authenticated(_) | State::Selected(..) => (
                    self.context.message_bytes_max.saturating_mul(DISCARD_FACTOR),
                    discarded_until(&self.wire, literal.octets),
                ),
            };
            if literal.octets > octets_max {
                return Err(End::Bye(Some(Code::TooBig), "the message is far too large").into());
            }
            discard(&mut self.wire, literal.octets, until).await?;
            self.rest_line().await?;
        }
        Err(failure)
    }

    /// The command ends after its message.
    async fn end_of_append(&mut self, tag: &Tag) -> Result<(), Failure> {
        let Some(line) = self.rest_line().await? else {
            return Err(Failure::Bad("the line after the message is too long"));
        };
        match append_rest(&line, tag) {
            Ok(AppendRest::End) => Ok(()),
            Ok(AppendRest::Another(message)) => {
                let failure = Failure::No(Some(Code::Cannot), "one message at a time");
                Box::pin(self.refuse_upload(message.literal, failure)).await
            }
            Err(rejected) => {
                let Rejected { condition, code, text, .. } = *rejected;
                Err(if condition == Condition::No { Failure::No(code, text) } else { Failure::Bad(text) })
            }
        }
    }

    async fn rest_line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.wire.acknowledge();
        match self.wire.line(REST_BYTES_MAX, UPLOAD_PAUSE).await {
            Ok(line) => Ok(Some(line.text)),
            Err(WireError::LineTooLong) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Streams `octets` octets into `incoming`. The inner failure leaves the connection in step: all of them were read.
async fn take(wire: &mut Wire, incoming: &mut Incoming, octets: u64) -> Result<Result<(), Failure>, Failure> {
    let limit = UPLOAD_START.saturating_add(Duration::from_secs(octets / OCTETS_PER_S_MIN));
    let started = wire.clock().monotonic();
    let mut left = octets;
    while left > 0 {
        let spent = wire.clock().monotonic().saturating_sub(started);
        let pause = limit.checked_sub(spent).ok_or(WireError::TimedOut)?.min(UPLOAD_PAUSE);
        let here = wire.octets(pause).await?;
        let count = here.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let here = here.get(..count).unwrap_or_default();
        let written = if memchr::memchr(0, here).is_some() {
            // RFC 3501 9: CHAR8 is any octet but NUL.
            Err(Failure::Bad("A message cannot have NUL in it"))
        } else {
            incoming.write(here).await.map_err(Failure::from)
        };
        wire.consume(count);
        left = left.saturating_sub(count as u64);
        if written.is_err() {
            discard(wire, left, started.saturating_add(limit)).await?;
            return Ok(written);
        }
    }
    Ok(Ok(()))
}
