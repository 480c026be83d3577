//! Sets of UIDs kept as rows of runs (mailbox | first -> last): a mailbox whose UIDs have no gaps is one row, and a new
//! message changes one, however many there are.

use super::index::{IndexError, Read, Tx};
use super::keys::{T, key_uid, uid_of_key};
use super::types::*;

/// The last run that begins at `uid` or before.
fn run_before(rx: &mut impl Read, table: T, mailbox: MailboxId, uid: Uid) -> Result<Option<UidRange>, IndexError> {
    let mut found = None;
    rx.scan(table, &key_uid(mailbox, Uid(0)), &key_uid(mailbox, uid), false, &mut |key, row| {
        found = Some(decode(table, key, row)?);
        Ok(false)
    })?;
    Ok(found)
}

fn decode(table: T, key: &[u8], row: &[u8]) -> Result<UidRange, IndexError> {
    match (uid_of_key(key), uid_of_key(row)) {
        (Some(first), Some(last)) if row.len() == 4 && first <= last => Ok(UidRange { first, last }),
        _ => Err(IndexError::Damaged(table)),
    }
}

fn put(tx: &mut Tx<'_>, table: T, mailbox: MailboxId, run: UidRange) -> Result<(), IndexError> {
    tx.put(table, &key_uid(mailbox, run.first), run.last.0.to_be_bytes().to_vec())
}

/// The runs that touch or overlap `range`, at most `max`.
fn runs_at(
    rx: &mut impl Read,
    table: T,
    mailbox: MailboxId,
    range: UidRange,
    max: usize,
) -> Result<Vec<UidRange>, IndexError> {
    let mut runs = Vec::new();
    let mut from = range.first;
    if let Some(run) = run_before(rx, table, mailbox, range.first)? {
        if run.last.0.saturating_add(1) >= range.first.0 {
            runs.push(run);
        }
        from = Uid(range.first.0.saturating_add(1));
    }
    if range.last.0.saturating_add(1) >= from.0 && runs.len() < max {
        let to = Uid(range.last.0.saturating_add(1));
        rx.scan(table, &key_uid(mailbox, from), &key_uid(mailbox, to), true, &mut |key, row| {
            runs.push(decode(table, key, row)?);
            Ok(runs.len() < max)
        })?;
    }
    Ok(runs)
}

/// Adds a range.
pub(crate) fn add(tx: &mut Tx<'_>, table: T, mailbox: MailboxId, range: UidRange) -> Result<(), IndexError> {
    let mut new = range;
    for run in runs_at(tx, table, mailbox, range, usize::MAX)? {
        if run.first <= range.first && run.last >= range.last {
            return Ok(());
        }
        new.first = new.first.min(run.first);
        new.last = new.last.max(run.last);
        if run.first != new.first {
            tx.remove(table, &key_uid(mailbox, run.first))?;
        }
    }
    put(tx, table, mailbox, new)
}

/// Takes a range out.
pub(crate) fn remove(tx: &mut Tx<'_>, table: T, mailbox: MailboxId, range: UidRange) -> Result<(), IndexError> {
    for run in runs_at(tx, table, mailbox, range, usize::MAX)? {
        if run.last < range.first || run.first > range.last {
            continue;
        }
        if run.first < range.first {
            put(tx, table, mailbox, UidRange { first: run.first, last: Uid(range.first.0 - 1) })?;
        } else {
            tx.remove(table, &key_uid(mailbox, run.first))?;
        }
        if run.last > range.last {
            put(tx, table, mailbox, UidRange { first: Uid(range.last.0 + 1), last: run.last })?;
        }
    }
    Ok(())
}

/// Adds every range of a set.
pub(crate) fn add_all(tx: &mut Tx<'_>, table: T, mailbox: MailboxId, set: &UidSet) -> Result<(), IndexError> {
    set.ranges().iter().try_for_each(|range| add(tx, table, mailbox, *range))
}

/// Takes every range of a set out.
pub(crate) fn remove_all(tx: &mut Tx<'_>, table: T, mailbox: MailboxId, set: &UidSet) -> Result<(), IndexError> {
    set.ranges().iter().try_for_each(|range| remove(tx, table, mailbox, *range))
}

/// The lowest UID.
pub(crate) fn first(rx: &mut impl Read, table: T, mailbox: MailboxId) -> Result<Option<Uid>, IndexError> {
    let mut found = None;
    rx.scan(table, &key_uid(mailbox, Uid(0)), &key_uid(mailbox, Uid(u32::MAX)), true, &mut |key, row| {
        found = Some(decode(table, key, row)?.first);
        Ok(false)
    })?;
    Ok(found)
}

/// The whole set.
pub(crate) fn all(rx: &mut impl Read, table: T, mailbox: MailboxId) -> Result<UidSet, IndexError> {
    let mut set = UidSet::new();
    rx.scan(table, &key_uid(mailbox, Uid(0)), &key_uid(mailbox, Uid(u32::MAX)), true, &mut |key, row| {
        set.insert_range(decode(table, key, row)?);
        Ok(true)
    })?;
    Ok(set)
}

/// The first `max` UIDs that are both in `uids` and in the set kept in `table`.
pub(crate) fn common(
    rx: &mut impl Read,
    table: T,
    mailbox: MailboxId,
    uids: &UidSet,
    max: u64,
) -> Result<UidSet, IndexError> {
    let mut found = UidSet::new();
    let mut left = max;
    for range in uids.ranges() {
        let mut next = *range;
        while left > 0 && next.first <= next.last {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(1_000);
            let runs = runs_at(rx, table, mailbox, next, step)?;
            for run in &runs {
                let first = run.first.max(next.first);
                let last = run.last.min(next.last);
                if first > last || left == 0 {
                    continue;
                }
                let most = u32::try_from(left - 1).unwrap_or(u32::MAX);
                let last = last.min(Uid(first.0.saturating_add(most)));
                left -= u64::from(last.0 - first.0) + 1;
                found.insert_range(UidRange { first, last });
            }
            match runs.last() {
                // There may be more runs behind the last one read.
                Some(run) if runs.len() >= step && run.last < next.last => next.first = Uid(run.last.0 + 1),
                _ => break,
            }
        }
    }
    Ok(found)
}
