//! The only code that changes the index, the same when an event happens and when it is replayed. Total and deterministic:
//! no clock, no configuration, no chance. What an event names and is not there is passed over.

mod accounts;
mod mailboxes;
mod mend;
mod messages;

use super::event::Event;
use super::index::{IndexError, Tx};
use super::keys::{T, key_name};
use super::rows;
use super::types::*;
pub(crate) use accounts::domain_of;
use accounts::{account_added, account_removed, alias_added, alias_removed, count_in_domain, marked};
use mailboxes::{doom, mailboxes_created, purged, raised, renamed_all};
pub(crate) use mend::{DOMAIN as RECOVERED_DOMAIN, MAILBOX as RECOVERED_MAILBOX};
pub(crate) use messages::{changed, intern, names_of};
use messages::{copied, expunged, flags_changed, stored};
use std::collections::BTreeMap;

/// Where the batch lies that an event stands in: bodies in it are told relative to its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The commit segment.
    pub(crate) segment: u64,
    /// Where the batch begins.
    pub(crate) offset: u64,
}

/// What watchers are to be told once the events are durable.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Mailboxes that changed, and how far they have come.
    pub(crate) mailboxes: BTreeMap<MailboxId, ModSeq>,
    /// Mailboxes that are gone.
    pub(crate) gone: Vec<MailboxId>,
    /// Accounts with new secrets (false) and accounts that are gone (true).
    pub(crate) accounts: Vec<(AccountId, bool)>,
}

/// Applies one event.
pub(crate) fn apply(tx: &mut Tx<'_>, event: &Event, place: Place, news: &mut News) -> Result<(), IndexError> {
    match event {
        Event::DomainAdded { name } => count_in_domain(tx, name, 0),
        Event::DomainRemoved { name } => tx.remove(T::Domains, name.as_bytes()).map(drop),
        Event::AccountAdded { id, address, secrets, mailboxes } => {
            let account = Account { id: *id, address: address.clone(), secrets: secrets.clone() };
            account_added(tx, &account, mailboxes)
        }
        Event::AccountSecrets { id, secrets } => {
            if let Some(mut account) = rows::account(tx, *id)? {
                account.secrets.clone_from(secrets);
                rows::put_account(tx, &account)?;
            }
            news.accounts.push((*id, false));
            Ok(())
        }
        Event::AccountRemoved { id } => account_removed(tx, *id, news),
        Event::AliasAdded { address, targets } => alias_added(tx, address, targets),
        Event::AliasRemoved { address } => alias_removed(tx, address),
        Event::MailboxesCreated { account, mailboxes } => mailboxes_created(tx, *account, mailboxes),
        Event::MailboxDeleted { id } => doom(tx, *id, news),
        Event::MailboxesRenamed { account, renamed, created } => renamed_all(tx, *account, renamed, created),
        Event::Subscribed { account, name, subscribed: true } => {
            tx.put(T::Subscriptions, &key_name(account.0, name), Vec::new())
        }
        Event::Subscribed { account, name, subscribed: false } => {
            tx.remove(T::Subscriptions, &key_name(account.0, name)).map(drop)
        }
        Event::Marked(mark) => marked(tx, mark),
        Event::RecentShown { mailbox, uid } => {
            if let Some(mut row) = rows::mailbox(tx, *mailbox)?
                && row.recent_from < *uid
            {
                row.recent_from = *uid;
                rows::put_mailbox(tx, &row)?;
            }
            Ok(())
        }
        Event::Stored { messages, saved_unix_s } => {
            messages.iter().try_for_each(|message| stored(tx, message, *saved_unix_s, place, news))
        }
        Event::FlagsChanged { mailbox, change, flags, uids, modseq } => {
            flags_changed(tx, *mailbox, (*change, flags), uids, *modseq, news)
        }
        Event::Copied { from, to, uids, uid, modseq, saved_unix_s } => {
            copied(tx, (*from, *to), uids, (*uid, *modseq), *saved_unix_s, news)
        }
        Event::Moved { from, to, uids, uid, modseq, gone_modseq, saved_unix_s } => {
            copied(tx, (*from, *to), uids, (*uid, *modseq), *saved_unix_s, news)?;
            expunged(tx, *from, uids, *gone_modseq, news)
        }
        Event::Expunged { mailbox, uids, modseq } => expunged(tx, *mailbox, uids, *modseq, news),
        Event::Purged { mailbox } => purged(tx, *mailbox),
        Event::Raised { mailbox, uid_next, modseq, uid_validity_next, next } => {
            let state = tx.state()?;
            state.raise_from = *next;
            state.uid_validity_next = state.uid_validity_next.max(uid_validity_next.0);
            raised(tx, *mailbox, *uid_next, *modseq, news)
        }
        Event::Relocated { moves } => moves.iter().try_for_each(|moved| rows::relocate(tx, moved)),
        Event::SegmentGone { number } => rows::remove_segment(tx, *number),
        Event::NamesTold(told) => mend::names(tx, told),
        Event::StretchTold(told) => mend::stretch(tx, told),
        Event::MailboxTold(told) => mend::mailbox(tx, told),
        Event::MessagesTold(told) => mend::messages(tx, told, news),
        Event::RollEnded(end) => mend::ended(tx, end, news),
        Event::Summarized { summaries, next } => mend::summarized(tx, summaries, *next),
    }
}
