//! EXPUNGE (RFC 3501 6.4.3) and UID EXPUNGE (RFC 4315 2.1), in steps.

use super::failure::Failure;
use super::grammar::{Numbering, SequenceSet, Tag};
use super::session::{Opened, ok};
use super::sync::{Expunges, lost};
use crate::store::{Uid, UidSet};

impl Opened<'_> {
    /// EXPUNGE and UID EXPUNGE.
    pub(super) async fn expunge(&mut self, tag: &Tag, uids: Option<&SequenceSet>) -> Result<(), Failure> {
        self.writable()?;
        let mailbox = self.selected.view.mailbox;
        let mut rest = match uids {
            // What is \Deleted and not told yet goes too, as RFC 3501 6.4.3 has it.
            None => UidSet::range(Uid(1), Uid(u32::MAX)),
            Some(set) => self.resolve(set, Numbering::Uid)?,
        };
        while !rest.is_empty() {
            rest = self.store.expunge(mailbox, rest, true).await.map_err(lost)?.rest;
            self.sync(Expunges::Tell).await?;
        }
        self.sync(Expunges::Tell).await?;
        Ok(ok(self.wire, tag, None, "expunged").await?)
    }

    /// The messages that a command names; BAD when a message number is none.
    pub(super) fn resolve(&self, set: &SequenceSet, numbering: Numbering) -> Result<UidSet, Failure> {
        self.selected.view.resolve(set, numbering).ok_or(Failure::Bad("there is no message with such a number"))
    }

    /// NO in a mailbox that was entered with EXAMINE.
    pub(super) fn writable(&self) -> Result<(), Failure> {
        if self.selected.read_only {
            return Err(Failure::No(Some(super::grammar::Code::Cannot), "the mailbox was opened read-only"));
        }
        Ok(())
    }
}
