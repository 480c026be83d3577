//! STATUS (RFC 3501 6.3.10, RFC 7162 3.1.7): what a mailbox holds, without entering it.

use super::failure::Failure;
use super::grammar::{MailboxName, StatusItem, Tag, reply};
use super::session::{Session, send};
use crate::store::{Mailbox, Refusal, Store, Uid, UidRange};

impl Session {
    /// STATUS
    pub(super) async fn status(&mut self, tag: &Tag, name: &MailboxName, items: &[StatusItem]) -> Result<(), Failure> {
        let mailbox = self.existing(name).await?;
        if items.contains(&StatusItem::HighestModSeq) {
            self.user()?.condstore = true;
        }
        let values = values(&self.context.store, &mailbox, items).await?;
        send(&mut self.wire, |out| reply::mailbox_status(out, &mailbox.name, &values)).await?;
        self.ok(tag, None, "that is all").await
    }
}

/// What is asked about a mailbox.
pub(super) async fn values(
    store: &Store,
    mailbox: &Mailbox,
    items: &[StatusItem],
) -> Result<Vec<(StatusItem, u64)>, Refusal> {
    let mut values = Vec::with_capacity(items.len());
    for &item in items {
        let value = match item {
            StatusItem::Messages => u64::from(mailbox.exists),
            StatusItem::Recent => recent(store, mailbox).await?,
            StatusItem::UidNext => u64::from(mailbox.uid_next.0),
            StatusItem::UidValidity => u64::from(mailbox.uid_validity.0),
            StatusItem::Unseen => u64::from(mailbox.unseen),
            StatusItem::HighestModSeq => mailbox.highest_modseq.0,
        };
        values.push((item, value));
    }
    Ok(values)
}

async fn recent(store: &Store, mailbox: &Mailbox) -> Result<u64, Refusal> {
    if mailbox.recent_from >= mailbox.uid_next || mailbox.exists == 0 {
        return Ok(0);
    }
    let (mut uids, _) = store.uids(mailbox.id).await?;
    if let Some(last) = mailbox.recent_from.0.checked_sub(1).filter(|last| *last > 0) {
        uids.remove_range(UidRange { first: Uid(1), last: Uid(last) });
    }
    Ok(uids.len())
}
