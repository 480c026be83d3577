//! Folders: CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7, RFC 6154 3) and NAMESPACE (RFC
//! 2342). A mailbox always has its parents, so that none is ever \Noselect.

use super::failure::Failure;
use super::grammar::{Code, Condition, MailboxName, Tag, reply};
use super::session::{Session, State, send};
use crate::store::{Mailbox, Refusal, SpecialUse};

impl Session {
    /// CREATE
    pub(super) async fn create(
        &mut self,
        tag: &Tag,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
    ) -> Result<(), Failure> {
        let account = self.user()?.account;
        self.context.store.mailbox_create(account, name.as_str(), special_use).await?;
        self.ok(tag, None, "created").await
    }

    /// DELETE. Whoever has the mailbox selected is told; a mailbox with children stays, since it would have to become
    /// \Noselect, under which some programs lose mail.
    pub(super) async fn delete(&mut self, tag: &Tag, name: &MailboxName) -> Result<(), Failure> {
        if name.is_inbox() {
            return Err(Failure::No(Some(Code::Cannot), "INBOX stays"));
        }
        let mailbox = self.existing(name).await?;
        match self.context.store.mailbox_delete(mailbox.id).await {
            Err(Refusal::NotAllowed) => {
                return Err(Failure::No(Some(Code::InUse), "there are mailboxes inside: delete them first"));
            }
            deleted => deleted?,
        }
        let is_here = match &self.state {
            State::Selected(_, selected) => selected.view.mailbox == mailbox.id,
            State::NotAuthenticated { .. } | State::Authenticated(_) => false,
        };
        if is_here && self.leave_mailbox() {
            let closed = |out: &mut Vec<u8>| {
                reply::status(out, None, Condition::Ok, Some(&Code::Closed), "the mailbox is closed");
            };
            send(&mut self.wire, closed).await?;
        }
        self.ok(tag, None, "deleted").await
    }

    /// RENAME; of INBOX it moves the messages into a new mailbox (RFC 3501 6.3.5).
    pub(super) async fn rename(&mut self, tag: &Tag, from: &MailboxName, to: &MailboxName) -> Result<(), Failure> {
        let mailbox = self.existing(from).await?;
        self.context.store.mailbox_rename(mailbox.id, to.as_str()).await?;
        Box::pin(self.sync_if_selected()).await?;
        self.ok(tag, None, "renamed").await
    }

    /// SUBSCRIBE; only to what exists, as RFC 3501 6.3.6 allows.
    pub(super) async fn subscribe(&mut self, tag: &Tag, name: &MailboxName) -> Result<(), Failure> {
        let account = self.existing(name).await?.account;
        self.context.store.subscribe(account, name.as_str(), true).await?;
        self.ok(tag, None, "subscribed").await
    }

    /// UNSUBSCRIBE
    pub(super) async fn unsubscribe(&mut self, tag: &Tag, name: &MailboxName) -> Result<(), Failure> {
        let account = self.user()?.account;
        match self.context.store.subscribe(account, name.as_str(), false).await {
            // Not subscribed is what was wanted.
            Ok(()) | Err(Refusal::NotFound) => self.ok(tag, None, "unsubscribed").await,
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// NAMESPACE
    pub(super) async fn namespace(&mut self, tag: &Tag) -> Result<(), Failure> {
        self.user()?;
        send(&mut self.wire, reply::namespace).await?;
        self.ok(tag, None, "that is all").await
    }

    /// The user's mailbox of this name.
    pub(super) async fn existing(&mut self, name: &MailboxName) -> Result<Mailbox, Failure> {
        let account = self.user()?.account;
        let mailbox = self.context.store.mailbox_by_name(account, name.as_str()).await?;
        Ok(mailbox.ok_or(Refusal::NotFound)?)
    }

    /// As [`Session::existing`], for where messages go: a client may create it and try again (RFC 3501 7.1, TRYCREATE).
    pub(super) async fn destination(&mut self, name: &MailboxName) -> Result<Mailbox, Failure> {
        match self.existing(name).await {
            Err(Failure::No(Some(Code::NonExistent), text)) => Err(Failure::No(Some(Code::TryCreate), text)),
            found => found,
        }
    }
}
