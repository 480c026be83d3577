//! STORE (RFC 3501 6.4.6, RFC 7162 3.1.3), in steps.

use super::failure::Failure;
use super::grammar::{Code, Numbering, StoreFlags, Tag};
use super::session::{Opened, ok};
use super::sync::{Expunges, Told, expunge_issued, lost};
use crate::store::{Entry, Uid, UidSet};

impl Opened<'_> {
    /// STORE and UID STORE.
    pub(super) async fn store_flags(&mut self, tag: &Tag, store: StoreFlags) -> Result<(), Failure> {
        self.writable()?;
        let StoreFlags { numbering, set, change, silent, flags, unchanged_since } = store;
        // RFC 7162 3.1: a CONDSTORE enabling command.
        self.user.condstore |= unchanged_since.is_some();
        let mut rest = self.resolve(&set, numbering)?;
        let asked = self.selected.view.count_in(&rest);
        // What others changed is told first: then .SILENT hides only this command's own work (RFC 3501 6.4.6).
        self.sync(Expunges::Hold).await?;
        let mailbox = self.selected.view.mailbox;
        let mut modified = UidSet::new();
        let mut found = 0_usize;
        while !rest.is_empty() {
            let step = self.store.flags(mailbox, rest, change, flags.clone(), unchanged_since).await.map_err(lost)?;
            self.tell_stored(&step.done, numbering, silent).await?;
            self.selected.view.own_changes(step.done.iter().map(|entry| entry.modseq));
            found = found.saturating_add(step.done.len());
            step.modified.ranges().iter().for_each(|range| modified.insert_range(*range));
            rest = step.rest;
        }
        match numbering {
            Numbering::Uid => self.sync(Expunges::Tell).await?,
            Numbering::Sequence => self.sync(Expunges::Hold).await?,
        }
        let found = found as u64 + modified.len();
        if numbering == Numbering::Sequence && found < u64::from(asked) {
            return Err(expunge_issued());
        }
        if modified.is_empty() {
            return Ok(ok(self.wire, tag, None, "stored").await?);
        }
        let ranges = self.numbers(&modified, numbering);
        Ok(ok(self.wire, tag, Some(&Code::Modified(&ranges)), "some were changed meanwhile and left alone").await?)
    }

    async fn tell_stored(&mut self, done: &[Entry], numbering: Numbering, silent: bool) -> Result<(), Failure> {
        let told = match (silent, numbering) {
            (true, _) if !self.user.condstore => return Ok(()),
            // RFC 7162 3.1.3: the client must learn the modification sequence in any case.
            (true, _) => Told::ModSeq,
            // RFC 3501 6.4.8: UID STORE tells UIDs.
            (false, Numbering::Uid) => Told::FlagsAndUid,
            (false, Numbering::Sequence) => Told::Flags,
        };
        for entry in done {
            self.tell_entry(entry, told).await?;
        }
        Ok(())
    }

    /// UIDs as the command's numbers.
    fn numbers(&self, uids: &UidSet, numbering: Numbering) -> Vec<(u32, u32)> {
        let number = |uid: Uid| self.selected.view.number(uid);
        match numbering {
            Numbering::Uid => uids.ranges().iter().map(|range| (range.first.0, range.last.0)).collect(),
            // All of them are messages, so the numbers of a range have no gaps either.
            Numbering::Sequence => {
                uids.ranges().iter().filter_map(|range| Some((number(range.first)?, number(range.last)?))).collect()
            }
        }
    }
}
