//! A message's octets on their way into the store, and the reason to refuse it as soon as there is one: from then on
//! octets are counted and thrown away, so that the connection stays in step.

use super::complete::Completion;
use super::data::{Fault, Lines};
use super::grammar::Reply;
use super::limits::{DATA_GRACE, DATA_RATE, DATA_WAIT, DRAIN_BYTES_MAX, RECEIVED_MAX};
use super::session::Last;
use crate::delivery::Incoming;
use crate::store::{Date, NewMessage, Refusal};
use std::time::Duration;

/// A message while it arrives.
#[derive(Debug)]
pub(super) struct Message {
    state: State,
    /// The text that chunks have brought, as far as they go.
    lines: Lines,
    /// When it began; monotonic.
    started: Duration,
    /// Octets that came and were wanted.
    bytes: u64,
    bytes_max: u64,
}

#[derive(Debug)]
enum State {
    Taken { incoming: Incoming, lacks: Option<Lacks> },
    Refused { why: Reply, drained: u64 },
}

/// What a submitted message gets where it has none of its own.
#[derive(Debug)]
pub(super) struct Lacks {
    pub(super) completion: Completion,
    pub(super) date: String,
    pub(super) message_id: String,
}

impl Message {
    /// A message of at most `bytes_max` octets that goes to `incoming`, on top of what is there already.
    pub(super) fn new(incoming: Incoming, lacks: Option<Lacks>, bytes_max: u64, now: Duration) -> Self {
        Self { state: State::Taken { incoming, lacks }, lines: Lines::default(), started: now, bytes: 0, bytes_max }
    }

    /// A message that nobody wants.
    pub(super) fn refused(why: Reply, now: Duration) -> Self {
        Self {
            state: State::Refused { why, drained: 0 },
            lines: Lines::default(),
            started: now,
            bytes: 0,
            bytes_max: 0,
        }
    }

    /// Octets that came and were wanted.
    pub(super) fn len(&self) -> u64 {
        self.bytes
    }

    /// Why it is refused, if it is.
    pub(super) fn why_refused(&self) -> Option<&Reply> {
        match &self.state {
            State::Taken { .. } => None,
            State::Refused { why, .. } => Some(why),
        }
    }

    /// Refuses it, unless it is refused already. What was written is dropped.
    pub(super) fn refuse(&mut self, why: Reply) {
        if self.why_refused().is_none() {
            self.state = State::Refused { why, drained: 0 };
        }
    }

    /// So many octets will come: refuses them at once if they are too many, and ends the session when throwing them away
    /// would be too much as well.
    pub(super) fn announce(&mut self, octets: u64) -> Result<(), Last> {
        if self.bytes.saturating_add(octets) > self.bytes_max {
            self.refuse(Reply::TooBig { bytes_max: self.bytes_max });
        }
        match self.state {
            State::Refused { drained, .. } if drained.saturating_add(octets) > DRAIN_BYTES_MAX => Err(flood()),
            State::Refused { .. } | State::Taken { .. } => Ok(()),
        }
    }

    /// Takes octets of a chunk: their lines are looked at here, those of DATA on the way.
    pub(super) async fn write_chunk(&mut self, octets: &[u8]) -> Result<(), Last> {
        self.lines.pass(octets);
        self.refuse_faulty();
        self.write(octets).await
    }

    /// The last chunk has come.
    pub(super) fn end_chunks(&mut self) {
        self.lines.end();
        self.refuse_faulty();
    }

    fn refuse_faulty(&mut self) {
        if let Some(fault) = self.lines.fault() {
            self.refuse(fault.into());
        }
    }

    /// Takes octets of the message.
    pub(super) async fn write(&mut self, text: &[u8]) -> Result<(), Last> {
        let count = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if self.bytes.saturating_add(count) > self.bytes_max {
            self.refuse(Reply::TooBig { bytes_max: self.bytes_max });
        }
        let written = match &mut self.state {
            State::Refused { drained, .. } => {
                *drained = drained.saturating_add(count);
                return if *drained > DRAIN_BYTES_MAX { Err(flood()) } else { Ok(()) };
            }
            State::Taken { incoming, lacks } => {
                self.bytes = self.bytes.saturating_add(count);
                let written = write_completed(incoming, lacks.as_mut(), text).await;
                // Our own field is among them.
                written.map(|()| incoming.received_count() > RECEIVED_MAX.saturating_add(1))
            }
        };
        match written {
            Ok(false) => (),
            Ok(true) => self.refuse(Reply::Loop),
            Err(refusal) => self.refuse(refusal.into()),
        }
        Ok(())
    }

    /// How long the next octets may take; `None` when the message has had its time.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        let allowed = DATA_GRACE.saturating_add(Duration::from_secs(self.bytes / DATA_RATE));
        let left = allowed.checked_sub(now.saturating_sub(self.started))?;
        Some(left.min(DATA_WAIT)).filter(|left| !left.is_zero())
    }

    /// It has come whole.
    pub(super) async fn finish(self, arrived: Date) -> Result<NewMessage, Reply> {
        match self.state {
            State::Refused { why, .. } => Err(why),
            State::Taken { mut incoming, lacks } => {
                if let Some(lacks) = lacks.filter(|lacks| lacks.completion.ends_in_header()) {
                    incoming.write(lacks.missing().as_bytes()).await?;
                }
                Ok(incoming.finish(arrived).await?)
            }
        }
    }
}

impl Lacks {
    fn missing(&self) -> String {
        self.completion.missing(&self.date, &self.message_id)
    }
}

async fn write_completed(incoming: &mut Incoming, lacks: Option<&mut Lacks>, text: &[u8]) -> Result<(), Refusal> {
    let Some(lacks) = lacks else {
        return incoming.write(text).await;
    };
    let Some((header, body)) = lacks.completion.feed(text).and_then(|at| text.split_at_checked(at)) else {
        return incoming.write(text).await;
    };
    incoming.write(header).await?;
    incoming.write(lacks.missing().as_bytes()).await?;
    incoming.write(body).await
}

fn flood() -> Last {
    Last(Some(Reply::Flood))
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::BareLineEnd => Self::BareLineEnd,
            Fault::LineTooLong => Self::TextLineTooLong,
            Fault::Nul => Self::Nul,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(started_s: u64, bytes: u64, now_s: u64) -> Option<Duration> {
        let mut message = Message::refused(Reply::Nul, Duration::from_secs(started_s));
        message.bytes = bytes;
        message.wait(Duration::from_secs(now_s))
    }

    #[test]
    fn a_drip_is_cut_and_a_slow_line_gets_its_mail_through() {
        let three_minutes = Some(Duration::from_secs(180));
        assert_eq!(at(100, 0, 100), three_minutes, "RFC 5321 4.5.3.2.5");
        assert_eq!(at(100, 9, 100 + 599), Some(Duration::from_secs(1)), "a byte a minute: ten minutes in all");
        assert_eq!(at(100, 10, 100 + 600), None);
        assert_eq!(at(0, 4_000 * 3_600, 3_600), three_minutes, "4 KB a second goes on for ever");
    }

    #[test]
    fn throwing_away_has_an_end() {
        let mut message = Message::refused(Reply::Nul, Duration::ZERO);
        assert!(message.announce(DRAIN_BYTES_MAX).is_ok());
        assert!(message.announce(DRAIN_BYTES_MAX + 1).is_err());
        smol::block_on(async {
            assert!(message.write(b"x").await.is_ok());
        });
        assert!(message.announce(DRAIN_BYTES_MAX).is_err());
        assert_eq!(message.why_refused(), Some(&Reply::Nul), "the first reason stays");
    }
}
