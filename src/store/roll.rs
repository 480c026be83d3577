//! The log tells again what is there, after each snapshot: accounts, mailboxes, which messages they hold and where their
//! bodies lie; all but summaries, which follow from the bodies. What the log said before may then go, as far as the older
//! snapshot allows, and the log that is left is still enough: when the index and both snapshots are lost, all mail comes
//! back from it. It costs about thirty octets a message, where a snapshot takes hundreds.
//!
//! It goes in steps, each an event that is true where it stands; what happens between them follows in the log. A telling
//! that does not come to its end counts for nothing, and the log before it stays.

use super::bytes::{Decoder, get_list};
use super::decide::Step;
use super::event::Event;
use super::handle::MESSAGE_WEIGHT_BYTES;
use super::index::{IndexError, Read};
use super::keys::{T, key_uid, uid_of_key};
use super::query::{self, Fault};
use super::reclaim::Pace;
use super::rows::{self, EntryRow};
use super::told::{MailboxTold, MessageTold, MessagesTold, RollEnd, StretchTold};
use super::types::*;
use super::{Refusal, STEP_MESSAGES_MAX, Shared};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Mailboxes looked for in one step.
const MAILBOXES_STEP: u32 = 2_000;

/// How far a telling has come.
#[derive(Clone, Debug)]
struct Teller {
    at: At,
    end: RollEnd,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    /// Rows of this table above this key.
    Names(T, Vec<u8>),
    /// This mailbox, from this UID on.
    Messages(MailboxId, Uid),
    /// That it is the end.
    End,
    /// Nothing.
    Done,
}

/// The tables of names, in the order they are told: a domain that is not told is gone when nothing is in it.
const TABLES: [T; 5] = [T::Accounts, T::Aliases, T::Domains, T::Subscriptions, T::Marks];
/// Octets that a message takes in it, or a little less.
const TOLD_BYTES: u64 = 40;
/// Octets of marks that are told as many messages are.
const MARK_BYTES_STEP: usize = 128;

impl Shared {
    /// Whether the log has not told again what the newest snapshot holds.
    pub(crate) fn is_roll_due(&self) -> bool {
        let told = self.roll_segment.load(Ordering::Acquire);
        self.newest_snapshot().is_some_and(|newest| newest.position.segment > told)
    }

    /// Whether there is room for that: one that does not come to its end is told in vain, and next time again.
    pub(crate) async fn fits_roll(self: &Arc<Self>) -> Result<bool, Refusal> {
        let housework_bytes = self.housework_bytes();
        if housework_bytes == u64::MAX {
            return Ok(true);
        }
        let messages = self.query(|rx| Ok(query::state(rx)?.messages)).await?;
        Ok(messages.saturating_mul(TOLD_BYTES) <= housework_bytes)
    }

    /// Tells everything again, unless somebody wants the house meanwhile.
    pub(crate) async fn roll(self: &Arc<Self>) -> Result<(), Refusal> {
        let mut teller = Teller { at: At::Names(T::Accounts, Vec::new()), end: RollEnd::default() };
        let mut pace = Pace::new(self);
        while teller.at != At::Done {
            if self.is_house_wanted() {
                return Ok(());
            }
            let weight = STEP_MESSAGES_MAX.saturating_mul(MESSAGE_WEIGHT_BYTES);
            teller = match self.decide(weight, move |step| teller.step(step)).await {
                Err(Refusal::Damaged) => {
                    // Ends with an error when it has been tried, which is all that matters here.
                    let _ = self.queue.reopen(true).recv().await;
                    return Err(Refusal::Damaged);
                }
                told => told?,
            };
            pace.step(0).await;
        }
        self.roll_segment.store(teller.end.segment, Ordering::Release);
        Ok(())
    }
}

impl Teller {
    /// Tells as much as one step may, so that a small store is told in one batch.
    fn step(mut self, step: &mut Step<'_, '_>) -> Result<Self, Fault> {
        if self.end.segment == 0 {
            self.end.segment = step.place.segment;
            let state = step.tx.state()?;
            (self.end.account_next, self.end.mailbox_next) = (state.account_next, state.mailbox_next);
        }
        let mut left = STEP_MESSAGES_MAX;
        while left > 0 && self.at != At::Done {
            let told;
            (self.at, told) = match self.at.clone() {
                At::Names(table, after) => self.names(step, (table, &after), left)?,
                At::Messages(mailbox, uid) => self.messages(step, (mailbox, uid), left)?,
                At::End => {
                    let state = step.tx.state()?;
                    self.end.uid_validity_next = state.uid_validity_next;
                    (self.end.message_next, self.end.blob_next) = (state.message_next, state.blob_next);
                    step.happen(&Event::RollEnded(self.end.clone()))?;
                    (At::Done, 1)
                }
                At::Done => (At::Done, 0),
            };
            left = left.saturating_sub(told);
        }
        Ok(self)
    }

    /// Tells the next names of a table, at most `max`; says what comes next and how many were told.
    fn names(&mut self, step: &mut Step<'_, '_>, (table, after): (T, &[u8]), max: usize) -> Result<(At, usize), Fault> {
        let mut told = StretchTold { table: table as u8, after: after.to_vec(), ..StretchTold::default() };
        let (mut last, mut found) = (after.to_vec(), 0);
        step.tx.scan(table, after, &[0xff; 8], true, &mut |key, row| {
            if key == after {
                return Ok(true);
            }
            self.name(&mut told, table, (key, row)).ok_or(IndexError::Damaged(table))?;
            last = key.to_vec();
            found += if table == T::Marks { 1 + row.len() / MARK_BYTES_STEP } else { 1 };
            Ok(found < max)
        })?;
        let is_end = found < max;
        if !is_end {
            told.last.clone_from(&last);
        }
        step.happen(&Event::StretchTold(told))?;
        if !is_end {
            return Ok((At::Names(table, last), found));
        }
        let next = TABLES.iter().skip_while(|known| **known != table).nth(1);
        let next = next.map_or(At::Messages(MailboxId(1), Uid(0)), |next| At::Names(*next, Vec::new()));
        Ok((next, found))
    }

    /// Adds a row of a table of names to what is told.
    fn name(&mut self, told: &mut StretchTold, table: T, (key, row): (&[u8], &[u8])) -> Option<()> {
        let (names, marks) = (&mut told.names, &mut told.marks);
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let mut from = Decoder(row);
        match table {
            T::Domains => names.domains.push(text(key)?),
            T::Aliases => names.aliases.push((text(key)?, get_list(&mut from)?)),
            T::Accounts => {
                let id = AccountId(u32::from_be_bytes(*key.first_chunk()?));
                self.end.accounts.insert(Uid(id.0));
                names.accounts.push(Account { id, address: from.get()?, secrets: from.get()? });
            }
            _ => {
                let (account, name) = key.split_first_chunk()?;
                let (account, name) = (AccountId(u32::from_be_bytes(*account)), text(name)?);
                match table {
                    T::Marks => marks.push(Mark { account, name, value: row.to_vec() }),
                    _ => names.subscriptions.push((account, name)),
                }
            }
        }
        Some(())
    }

    /// Tells the next mailboxes with their messages, at most `max` of both; says what comes next and how many were told.
    fn messages(
        &mut self,
        step: &mut Step<'_, '_>,
        (mut id, mut from): (MailboxId, Uid),
        max: usize,
    ) -> Result<(At, usize), Fault> {
        let mut told = 0;
        let end = self.end.mailbox_next;
        let most = id.0.saturating_add(MAILBOXES_STEP);
        while id.0 < end {
            if told >= max || id.0 >= most {
                // Looking for mailboxes is work, too.
                return Ok((At::Messages(id, from), told.max(max)));
            }
            if let Some(row) = rows::mailbox(step.tx, id)? {
                if from.0 == 0 {
                    self.end.mailboxes.insert(Uid(id.0));
                    step.happen(&Event::MailboxTold(told_of(&row)))?;
                    (from, told) = (Uid(1), told + 1);
                }
                let messages = messages_of(step, &row, from, max.saturating_sub(told).max(1))?;
                told += messages.messages.len();
                let last = messages.last;
                step.happen(&Event::MessagesTold(messages))?;
                if last.0.saturating_add(1) < row.uid_next.0 {
                    from = Uid(last.0 + 1);
                    continue;
                }
            }
            (id, from) = (MailboxId(id.0 + 1), Uid(0));
        }
        Ok((At::End, told))
    }
}

fn told_of(row: &Mailbox) -> MailboxTold {
    MailboxTold {
        id: row.id,
        account: row.account,
        name: row.name.clone(),
        special_use: row.special_use,
        uid_validity: row.uid_validity,
        uid_next: row.uid_next,
        highest_modseq: row.highest_modseq,
        recent_from: row.recent_from,
    }
}

/// At most `max` messages of a mailbox from a UID on.
fn messages_of(step: &mut Step<'_, '_>, row: &Mailbox, first: Uid, max: usize) -> Result<MessagesTold, Fault> {
    let mut entries: Vec<EntryRow> = Vec::new();
    let (from, to) = (key_uid(row.id, first), key_uid(row.id, Uid(u32::MAX)));
    step.tx.scan(T::Entries, &from, &to, true, &mut |key, value| {
        let uid = uid_of_key(key).ok_or(IndexError::Damaged(T::Entries))?;
        entries.push(rows::decode_entry(uid, value)?);
        Ok(entries.len() < max)
    })?;
    let last = match entries.last() {
        Some(last) if entries.len() >= max => last.entry.uid,
        _ => Uid(row.uid_next.0.saturating_sub(1)),
    };
    let mut messages = Vec::with_capacity(entries.len());
    for row in entries {
        let Some(message) = rows::message(step.tx, row.entry.message)? else {
            continue;
        };
        let (size, extents) = rows::blob(step.tx, message.blob)?.unwrap_or((message.size, Vec::new()));
        messages.push(MessageTold { row, blob: message.blob, size, internal_date: message.internal_date, extents });
    }
    let keywords = row.keywords.clone();
    Ok(MessagesTold { account: row.account, mailbox: row.id, keywords, first, last, messages })
}
