//! Tells the client what has happened in its mailbox: FETCH, EXPUNGE, EXISTS, RECENT (RFC 3501 7.3, 7.4; RFC 7162 for
//! MODSEQ). Works in steps, whatever the number of changes.

use super::failure::Failure;
use super::grammar::{Code, Condition, reply, write};
use super::session::{Opened, Selected, send};
use crate::net::Wire;
use crate::store::{Changes, Entry, Flags, Refusal, Store, Uid, UidSet};

/// Changes read at once.
const CHANGES_MAX: usize = 500;

/// Whether the command under way allows EXPUNGE: FETCH, STORE and SEARCH by message number do not (RFC 3501 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expunges {
    Tell,
    Hold,
}

impl Opened<'_> {
    /// Tells everything that the client does not know yet. Costs no look at the store when nothing has happened.
    pub(super) async fn sync(&mut self, expunges: Expunges) -> Result<(), Failure> {
        if self.selected.watch.is_gone() {
            return Err(gone());
        }
        if self.selected.watch.reached() > self.selected.view.modseq() || self.selected.view.has_gone() {
            return self.sync_now(expunges).await;
        }
        Ok(())
    }

    /// As [`Opened::sync`], but looks at the store in any case, and so finds out that the mailbox is gone.
    pub(super) async fn sync_now(&mut self, expunges: Expunges) -> Result<(), Failure> {
        let mut fresh = UidSet::new();
        self.learn(&mut fresh).await?;
        if expunges == Expunges::Tell && self.selected.view.has_gone() {
            self.tell_gone().await?;
        }
        if !fresh.is_empty() {
            self.tell_new(&fresh).await?;
        }
        Ok(())
    }

    async fn learn(&mut self, fresh: &mut UidSet) -> Result<(), Failure> {
        loop {
            let view = &self.selected.view;
            let changes = self.store.changes(view.mailbox, view.modseq(), CHANGES_MAX).await.map_err(lost)?;
            self.tell_flags(&changes).await?;
            self.selected.view.learn(&changes, fresh)?;
            if !changes.more {
                return Ok(());
            }
        }
    }

    async fn tell_flags(&mut self, changes: &Changes) -> Result<(), Failure> {
        for entry in &changes.changed {
            self.tell_entry(entry, Told::Flags).await?;
        }
        Ok(())
    }

    /// Tells a message's flags, if the client knows the message.
    pub(super) async fn tell_entry(&mut self, entry: &Entry, told: Told) -> Result<(), Failure> {
        let Some(number) = self.selected.view.number(entry.uid) else {
            return Ok(());
        };
        self.know_keywords(entry.flags).await?;
        let (selected, condstore) = (&*self.selected, self.user.condstore);
        send(self.wire, |out| put_entry(out, number, entry, selected, told, condstore)).await?;
        Ok(())
    }

    async fn tell_gone(&mut self) -> Result<(), Failure> {
        let mut out = Vec::new();
        for number in self.selected.view.gone_numbers() {
            out.clear();
            reply::expunge(&mut out, number);
            self.wire.send(&out).await?;
        }
        Ok(self.selected.view.forget_gone()?)
    }

    async fn tell_new(&mut self, fresh: &UidSet) -> Result<(), Failure> {
        let view = &mut self.selected.view;
        view.add(fresh)?;
        let mailbox = self.store.mailbox(view.mailbox).await.map_err(lost)?.ok_or_else(gone)?;
        let first = fresh.first().map_or(mailbox.uid_next, |first| first.max(mailbox.recent_from));
        claim(self.store, self.selected, first).await;
        let (exists, recent) = (self.selected.view.exists(), self.selected.view.recent());
        send(self.wire, |out| {
            reply::exists(out, exists);
            reply::recent(out, recent);
        })
        .await?;
        Ok(())
    }

    /// Tells the keywords again when `flags` has one that the client does not know (RFC 3501 7.2.6).
    pub(super) async fn know_keywords(&mut self, flags: Flags) -> Result<(), Failure> {
        let known = u32::try_from(self.selected.keywords.len()).unwrap_or(u32::MAX);
        if flags.0.checked_shr(Flags::KEYWORD_BIT_FIRST.saturating_add(known)).unwrap_or_default() == 0 {
            return Ok(());
        }
        let mailbox = self.store.mailbox(self.selected.view.mailbox).await.map_err(lost)?.ok_or_else(gone)?;
        self.selected.keywords = mailbox.keywords;
        put_keywords(self.wire, self.selected).await
    }
}

/// What a reply about a message's flags tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// FLAGS, and UID and MODSEQ once CONDSTORE is enabled.
    Flags,
    /// FLAGS and UID.
    FlagsAndUid,
    /// UID and MODSEQ only: `.SILENT` with CONDSTORE (RFC 7162 3.1.3).
    ModSeq,
}

fn put_entry(out: &mut Vec<u8>, number: u32, entry: &Entry, selected: &Selected, told: Told, condstore: bool) {
    out.extend_from_slice(b"* ");
    write::number(out, u64::from(number));
    out.extend_from_slice(b" FETCH (");
    if condstore || told != Told::Flags {
        out.extend_from_slice(b"UID ");
        write::number(out, u64::from(entry.uid.0));
        out.push(b' ');
    }
    if told != Told::ModSeq {
        out.extend_from_slice(b"FLAGS ");
        reply::put_flags(out, entry.flags, &selected.keywords, selected.view.is_recent(entry.uid));
    }
    if condstore {
        if told != Told::ModSeq {
            out.push(b' ');
        }
        out.extend_from_slice(b"MODSEQ (");
        write::number(out, entry.modseq.0);
        out.push(b')');
    }
    out.extend_from_slice(b")\r\n");
}

/// FLAGS and PERMANENTFLAGS.
pub(super) async fn put_keywords(wire: &mut Wire, selected: &Selected) -> Result<(), Failure> {
    let keywords = selected.keywords.as_slice();
    let code = if selected.read_only {
        Code::PermanentFlags { system: Flags::default(), keywords: &[], new_keywords: false }
    } else {
        let new_keywords = keywords.len() < Flags::KEYWORDS_MAX;
        Code::PermanentFlags { system: reply::ALL_SYSTEM_FLAGS, keywords, new_keywords }
    };
    send(wire, |out| {
        reply::flags(out, keywords);
        reply::status(out, None, Condition::Ok, Some(&code), "flags that last");
    })
    .await?;
    Ok(())
}

/// Messages from `first` on are \Recent to this session, unless another has claimed them; the next one sees them no longer
/// so. EXAMINE leaves them to it. If that cannot be noted they are \Recent once more: harmless.
pub(super) async fn claim(store: &Store, selected: &mut Selected, first: Uid) {
    let Some(next) = selected.view.last_uid().and_then(|last| last.0.checked_add(1)).map(Uid) else {
        return;
    };
    if selected.read_only {
        selected.view.claim_recent(first.max(selected.watch.recent_from()));
        return;
    }
    let unclaimed = selected.watch.claim_recent(next);
    selected.view.claim_recent(first.max(unclaimed));
    drop(store.recent_shown(selected.view.mailbox, next).await);
}

/// The selected mailbox may be deleted by another session.
pub(super) fn lost(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::NotFound => gone(),
        Refusal::Exists
        | Refusal::NotAllowed
        | Refusal::Limit
        | Refusal::OverQuota
        | Refusal::NoMemory
        | Refusal::DiskFull
        | Refusal::Unavailable
        | Refusal::Damaged => refusal.into(),
    }
}

/// Some of the messages asked for are gone, and the client has not been told yet (RFC 5530).
pub(super) fn expunge_issued() -> Failure {
    Failure::No(Some(Code::ExpungeIssued), "some of the messages are gone")
}

fn gone() -> Failure {
    Failure::bye("the selected mailbox was deleted")
}
