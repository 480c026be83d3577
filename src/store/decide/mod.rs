//! Decisions: what a request asks is checked against the index as it stands and becomes events. They keep no state outside
//! the transaction, so dropping it undoes them.

pub(crate) mod accounts;
pub(crate) mod mailboxes;
pub(crate) mod messages;

use super::Refusal;
use super::apply::{News, Place, apply};
use super::ballast::Room;
use super::batch::Builder;
use super::event::Event;
use super::index::{IndexError, Tx};
use super::lease::Pins;
use super::query::{Fault, refusal_of_index};
use super::queue::{Answer, Request};
use std::time::Instant;

/// A batch being decided.
pub(crate) struct Step<'a, 't> {
    /// The index, as the requests before in the batch left it.
    pub(crate) tx: &'a mut Tx<'t>,
    /// What will be written.
    pub(crate) batch: &'a mut Builder,
    /// Where it will lie.
    pub(crate) place: Place,
    /// What will be told.
    pub(crate) news: &'a mut News,
    /// Seconds since 1970.
    pub(crate) now_unix_s: i64,
    /// What the disk has room for.
    pub(crate) room: Room,
    /// Holds on the segments of bodies that become messages, kept until the batch is committed or refused.
    pub(crate) pins: &'a mut Vec<Pins>,
    /// The index failed half-way through an event: the batch must be dropped.
    pub(crate) broken: Option<IndexError>,
}

impl Step<'_, '_> {
    /// Refuses what needs more room than it gives while the disk is full.
    pub(crate) fn needs_room(&self) -> Result<(), Fault> {
        if self.room == Room::Enough { Ok(()) } else { Err(Refusal::DiskFull.into()) }
    }

    /// Makes something happen: into the batch, and into the index by [`apply`].
    pub(crate) fn happen(&mut self, event: &Event) -> Result<(), Fault> {
        if self.room == Room::Spare && event.can_wait() {
            return Err(Refusal::DiskFull.into());
        }
        self.batch.event(&event.encode());
        if let Err(error) = apply(self.tx, event, self.place, self.news) {
            let refusal = refusal_of_index(&error);
            self.broken = Some(error);
            return Err(Fault::Refused(refusal));
        }
        Ok(())
    }
}

/// A request that answers with what `decide` found, once that is durable.
pub(crate) fn request<O: Send + 'static>(
    bytes: usize,
    gathers: bool,
    decide: impl FnOnce(&mut Step<'_, '_>) -> Result<O, Fault> + Send + 'static,
) -> (Request, smol::channel::Receiver<Result<O, Refusal>>) {
    let (answer, answered) = smol::channel::bounded(1);
    let decide = Box::new(move |step: &mut Step<'_, '_>| -> Answer {
        let length = step.batch.len();
        let events = step.batch.events();
        let decided = match decide(step) {
            Ok(outcome) => Ok(outcome),
            Err(Fault::Refused(refusal)) => Err(refusal),
            Err(Fault::Index(error)) => {
                let refusal = refusal_of_index(&error);
                if matches!(error, IndexError::Damaged(_)) {
                    log::error!("deciding: {error}");
                } else {
                    step.broken = Some(error);
                }
                Err(refusal)
            }
        };
        if decided.is_err() && step.batch.events() == events {
            // A refused delivery leaves no body behind.
            step.batch.cut_chunks(length);
        }
        Box::new(move |committed| {
            // Whoever asked may have gone away.
            drop(answer.try_send(committed.and(decided)));
        })
    });
    (Request { decide, bytes, gathers, came: Instant::now() }, answered)
}
