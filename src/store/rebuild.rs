//! An index made anew: from the newest snapshot that is whole and the events after it, else from the whole log. Restore,
//! salvage, a lost index and a damaged row all come here.

use super::chain::Damage;
use super::disk::{Disk, is_unreadable};
use super::index::{Index, IndexError};
use super::log::{Log, Numbers};
use super::recover::{self, Found, Reading, RecoverError};
use super::segment::Position;
use super::snapshot::{self, SnapshotError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Events that a start sets aside at the most, before it says that the log is not one.
const EVENTS_ASIDE_MAX: usize = 100;

/// Makes the index anew at a start, and brings it up to the end of the log; the old one is kept beside.
pub(crate) fn at_start(
    disk: &Arc<dyn Disk>,
    cache_bytes: usize,
    numbers: &Arc<Numbers>,
    (found, segment_bytes): (&Found, u64),
    raises: bool,
) -> Result<(Index, Log, Damage), RecoverError> {
    let mut reading = Reading { proves_end: true, raises, ..Reading::default() };
    loop {
        let (index, mut damage) = from_snapshot(disk, cache_bytes, &found.snapshots)?;
        if let Some(aside) = index.publish()? {
            log::error!("the index is made anew; the old one is kept as {aside}");
        }
        match recover::start(disk, &index, numbers, (found, segment_bytes), &reading) {
            Ok((log, more)) => {
                damage.add(more);
                return Ok((index, log, damage));
            }
            Err(RecoverError::Event(name, what)) if reading.skip.len() < EVENTS_ASIDE_MAX => {
                log::error!("event {} of batch {} cannot be applied: {what}", name.1, name.0);
                reading.skip.insert(name);
                index.close();
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes the index anew while the store is open: as it was at `to`, the end of the log. The old one is kept beside.
pub(crate) fn in_service(disk: &Arc<dyn Disk>, index: &Index, to: Position) -> Result<(), RecoverError> {
    let make = || {
        let raise_from = index.read(super::query::state).map_or(0, |state| state.raise_from);
        let snapshots = snapshot::numbers(&**disk)?;
        let (new, _) = from_snapshot(disk, index.cache_bytes(), &snapshots)?;
        recover::catch_up(&**disk, &new, to)?;
        new.write(true, |tx| {
            tx.state()?.raise_from = raise_from;
            Ok(())
        })?;
        Ok(new)
    };
    let new = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|_| {
        let error = redb::Error::Corrupted("redb panicked".into());
        Err(RecoverError::Index(IndexError::Redb(Box::new(error))))
    })?;
    if let Some(aside) = index.replace(new)? {
        log::error!("the index was made anew; the old one is kept as {aside}");
    }
    Ok(())
}

/// An index beside the one there is: with the rows of the newest snapshot that is whole, else empty.
fn from_snapshot(disk: &Arc<dyn Disk>, cache_bytes: usize, snapshots: &[u64]) -> Result<(Index, Damage), RecoverError> {
    let mut damage = Damage::default();
    for number in snapshots.iter().rev() {
        let index = Index::make(disk, cache_bytes)?;
        match snapshot::load(&**disk, *number, &index) {
            Ok(_) => return Ok((index, damage)),
            Err(SnapshotError::Disk(error)) if !is_unreadable(&error) => {
                return Err(error.into());
            }
            Err(error) => {
                log::error!("snapshot {number}: {error}");
                damage.note(format!("snapshot {number}: {error}"));
            }
        }
    }
    Ok((Index::make(disk, cache_bytes)?, damage))
}
