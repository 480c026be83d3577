//! COPY (RFC 3501 6.4.7) and MOVE (RFC 6851), with COPYUID (RFC 4315 3). COPY is all or nothing, MOVE goes in steps.

use super::failure::Failure;
use super::grammar::{Code, Condition, Numbering, Tag, Transfer, reply};
use super::session::{Opened, Session, ok, send};
use super::sync::{Expunges, lost};
use crate::base::Grant;
use crate::store::{Copied, Mailbox, Refusal, UidSet};

/// COPYUID of a MOVE is sent once so many ranges have come together: normally once in all, before the EXPUNGEs.
const RANGES_MAX: usize = 2_000;
/// Octets that a range takes in COPYUID at the most: two UIDs of ten digits, a colon and a comma.
const RANGE_OCTETS: usize = 22;

impl Session {
    /// COPY
    pub(super) async fn copy(&mut self, tag: &Tag, transfer: &Transfer) -> Result<(), Failure> {
        self.opened()?;
        let to = self.destination(&transfer.to).await?;
        self.opened()?.copy_to(tag, transfer, &to).await
    }

    /// MOVE
    pub(super) async fn move_messages(&mut self, tag: &Tag, transfer: &Transfer) -> Result<(), Failure> {
        self.opened()?.writable()?;
        let to = self.destination(&transfer.to).await?;
        self.opened()?.move_to(tag, transfer, &to).await
    }
}

impl Opened<'_> {
    async fn copy_to(&mut self, tag: &Tag, transfer: &Transfer, to: &Mailbox) -> Result<(), Failure> {
        let uids = self.resolve(&transfer.set, transfer.numbering)?;
        self.all_there(&uids, transfer.numbering)?;
        let copied = self.store.copy(self.selected.view.mailbox, uids, to.id).await.map_err(no_destination)?;
        self.sync(Expunges::Tell).await?;
        if copied.keywords_left_out {
            self.tell_left_out().await?;
        }
        let Some(room) = room(self.wire.budget(), &copied) else {
            return Ok(ok(self.wire, tag, None, "copied").await?);
        };
        let Copied { uid_validity: validity, from, to, keywords_left_out: _ } = &copied;
        ok(self.wire, tag, Some(&Code::CopyUid { validity: *validity, from, to }), "copied").await?;
        drop(room);
        Ok(())
    }

    async fn move_to(&mut self, tag: &Tag, transfer: &Transfer, to: &Mailbox) -> Result<(), Failure> {
        let mut rest = self.resolve(&transfer.set, transfer.numbering)?;
        self.all_there(&rest, transfer.numbering)?;
        let from = self.selected.view.mailbox;
        let (validity, keywords_left_out) = (to.uid_validity, false);
        let mut told = Copied { uid_validity: validity, from: UidSet::new(), to: UidSet::new(), keywords_left_out };
        while !rest.is_empty() {
            let (copied, expunged) = self.store.move_messages(from, rest, to.id).await.map_err(no_destination)?;
            copied.from.ranges().iter().for_each(|range| told.from.insert_range(*range));
            copied.to.ranges().iter().for_each(|range| told.to.insert_range(*range));
            told.keywords_left_out |= copied.keywords_left_out;
            rest = expunged.rest;
            if rest.is_empty() || told.from.ranges().len() + told.to.ranges().len() > RANGES_MAX {
                // RFC 6851 4.3: COPYUID comes before the EXPUNGEs.
                self.tell_moved(&mut told).await?;
                self.sync(Expunges::Tell).await?;
            }
        }
        if told.keywords_left_out {
            self.tell_left_out().await?;
        }
        Ok(ok(self.wire, tag, None, "moved").await?)
    }

    /// RFC 3501 6.4.7: flags should be kept. An untagged NO is a warning (7.1.2); RFC 5530 LIMIT: the number of flags used in
    /// a mailbox.
    async fn tell_left_out(&mut self) -> Result<(), Failure> {
        let words = "that mailbox has no room for more keywords: some were left out";
        send(self.wire, |out| reply::status(out, None, Condition::No, Some(&Code::Limit), words)).await?;
        Ok(())
    }

    async fn tell_moved(&mut self, told: &mut Copied) -> Result<(), Failure> {
        if !told.from.is_empty() {
            let code = Code::CopyUid { validity: told.uid_validity, from: &told.from, to: &told.to };
            send(self.wire, |out| reply::status(out, None, Condition::Ok, Some(&code), "moved")).await?;
        }
        (told.from, told.to) = (UidSet::new(), UidSet::new());
        Ok(())
    }

    /// A message number may be that of a message that is gone and not told yet (RFC 2180 4.4.1: NO).
    fn all_there(&self, uids: &UidSet, numbering: Numbering) -> Result<(), Failure> {
        match numbering {
            Numbering::Uid => Ok(()),
            Numbering::Sequence if !self.selected.view.has_gone_in(uids) => Ok(()),
            Numbering::Sequence => Err(super::sync::expunge_issued()),
        }
    }
}

/// Room for the text of COPYUID; without it the client goes without.
fn room(budget: &crate::base::Budget, copied: &Copied) -> Option<Grant> {
    let ranges = copied.from.ranges().len().saturating_add(copied.to.ranges().len());
    if ranges == 0 { None } else { budget.take(ranges.saturating_mul(RANGE_OCTETS)) }
}

/// The destination may be deleted meanwhile; so may the mailbox we are in, which the next look at it finds out.
fn no_destination(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::NotFound => Failure::No(Some(Code::TryCreate), "there is no such mailbox"),
        Refusal::Exists
        | Refusal::NotAllowed
        | Refusal::Limit
        | Refusal::OverQuota
        | Refusal::NoMemory
        | Refusal::DiskFull
        | Refusal::Unavailable
        | Refusal::Damaged => lost(refusal),
    }
}
