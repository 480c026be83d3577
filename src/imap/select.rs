//! Into a mailbox and out of it: SELECT, EXAMINE (RFC 3501 6.3.1, 6.3.2; RFC 7162 3.1.8), CLOSE, UNSELECT (RFC 3691).

use super::failure::Failure;
use super::grammar::{Code, Condition, MailboxName, Tag, reply};
use super::session::{Selected, Session, State, send};
use super::sync::{claim, put_keywords};
use super::view::{NoRoom, View};
use crate::store::{Mailbox, MailboxId, Uid, UidSet};

impl Session {
    /// SELECT and EXAMINE.
    pub(super) async fn select(
        &mut self,
        tag: &Tag,
        name: MailboxName,
        read_only: bool,
        condstore: bool,
    ) -> Result<(), Failure> {
        let account = self.user()?.account;
        // RFC 3501 6.3.1: whatever comes of it, the mailbox before is left.
        if self.leave_mailbox() {
            let closed = |out: &mut Vec<u8>| {
                reply::status(out, None, Condition::Ok, Some(&Code::Closed), "the mailbox before is closed");
            };
            send(&mut self.wire, closed).await?;
        }
        let store = &self.context.store;
        let mailbox = store.mailbox_by_name(account, name.as_str()).await?;
        let mailbox = mailbox.ok_or(crate::store::Refusal::NotFound)?;
        let (mailbox, selected) = self.open(mailbox.id, read_only).await?;
        let user = self.user()?;
        user.condstore |= condstore;
        let user = *user;
        self.tell_selected(&mailbox, &selected).await?;
        self.state = State::Selected(user, Box::new(selected));
        let code = if read_only { Code::ReadOnly } else { Code::ReadWrite };
        self.ok(tag, Some(&code), "in the mailbox").await
    }

    /// Reads the mailbox's UIDs into a view, within the budget.
    async fn open(&mut self, id: MailboxId, read_only: bool) -> Result<(Mailbox, Selected), Failure> {
        let no_room = |NoRoom: NoRoom| Failure::from(crate::store::Refusal::NoMemory);
        let store = &self.context.store;
        // Before the row and the UIDs are read, so that no change falls between, nor what another session claims.
        let watch = store.watch(id);
        let mailbox = store.mailbox(id).await?.ok_or(crate::store::Refusal::NotFound)?;
        let room = View::bytes_max(mailbox.exists, mailbox.uid_next);
        let Some(room) = self.wire.budget().take(room) else {
            return Err(no_room(NoRoom));
        };
        let (uids, modseq) = store.uids(mailbox.id).await?;
        drop(room);
        let view = View::new(id, uids, modseq, self.wire.budget()).map_err(no_room)?;
        let mut selected = Selected { view, keywords: mailbox.keywords.clone(), read_only, watch };
        claim(store, &mut selected, mailbox.recent_from).await;
        Ok((mailbox, selected))
    }

    /// RFC 3501 6.3.1: what a client is told of the mailbox it enters.
    async fn tell_selected(&mut self, mailbox: &Mailbox, selected: &Selected) -> Result<(), Failure> {
        let view = &selected.view;
        let first_unseen = self.context.store.first_unseen(view.mailbox).await?;
        put_keywords(&mut self.wire, selected).await?;
        let uid_next =
            view.last_uid().map_or(mailbox.uid_next, |last| mailbox.uid_next.max(Uid(last.0.saturating_add(1))));
        let mut out = Vec::new();
        reply::exists(&mut out, view.exists());
        reply::recent(&mut out, view.recent());
        let mut tell = |code: Code<'_>, text: &str| reply::status(&mut out, None, Condition::Ok, Some(&code), text);
        if let Some(number) = first_unseen.and_then(|uid| view.number(uid)) {
            tell(Code::Unseen(number), "the first unseen message");
        }
        tell(Code::UidValidity(mailbox.uid_validity), "UIDs last");
        tell(Code::UidNext(uid_next), "the next UID");
        tell(Code::HighestModSeq(view.modseq()), "the latest change");
        Ok(self.wire.send(&out).await?)
    }

    /// CLOSE: expunges without a word, and leaves (RFC 3501 6.4.2).
    pub(super) async fn close(&mut self, tag: &Tag) -> Result<(), Failure> {
        let opened = self.opened()?;
        if !opened.selected.read_only {
            let mailbox = opened.selected.view.mailbox;
            let mut rest = UidSet::range(Uid(1), Uid(u32::MAX));
            while !rest.is_empty() {
                rest = opened.store.expunge(mailbox, rest, true).await.map_err(super::sync::lost)?.rest;
            }
        }
        self.leave_mailbox();
        self.ok(tag, None, "out of the mailbox").await
    }

    /// UNSELECT (RFC 3691)
    pub(super) async fn unselect(&mut self, tag: &Tag) -> Result<(), Failure> {
        self.opened()?;
        self.leave_mailbox();
        self.ok(tag, None, "out of the mailbox").await
    }
}
