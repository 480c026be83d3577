//! An index made anew: from the newest snapshot that is whole and the events after it, else from the whole log. Restore,
//! salvage, a lost index and a damaged row all come here.

use super::chain::Damage;
use super::disk::{Disk, is_unreadable};
use super::index::{Index, IndexError, Unpublished};
use super::log::{Log, NewSegments};
use super::recover::{self, Found, Reading, RecoverError};
use super::segment::Position;
use super::snapshot::{self, SnapshotError};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What an index was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The snapshot with this number, and the log behind it.
    Snapshot(u64),
    /// The log alone, because no snapshot is whole.
    Log,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(number) => write!(f, "snapshot {number} and the log behind it"),
            Self::Log => f.write_str("the log alone"),
        }
    }
}

/// An index and a log that agree.
pub(crate) struct Opened {
    pub(crate) index: Index,
    pub(crate) log: Log,
    pub(crate) damage: Damage,
    /// What the index was made from, unless it was there.
    pub(crate) source: Option<Source>,
}

/// Events that a start sets aside at the most, before it says that the log is not one.
const EVENTS_ASIDE_MAX: usize = 100;

/// Makes the index anew at a start, and brings it up to the end of the log; the old one is kept beside.
pub(crate) fn at_start(
    disk: &Arc<dyn Disk>,
    cache_bytes: usize,
    segments: &Arc<NewSegments>,
    found: &Found,
    raises: bool,
) -> Result<Opened, RecoverError> {
    let mut reading = Reading { proves_end: true, raises, ..Reading::default() };
    // A full disk gets no fuller by what comes to nothing.
    let _unpublished = Unpublished(&**disk);
    loop {
        let (index, source, mut damage) = from_snapshot(disk, cache_bytes, &found.snapshots)?;
        match recover::start(disk, &index, segments, found, &reading) {
            Ok((log, more)) => {
                damage.add(more);
                // It is durable, and a cut before this leaves the old one, which leads here again.
                if let Some(aside) = index.publish()? {
                    log::error!("the index is made anew; the old one is kept as {aside}");
                }
                return Ok(Opened { index, log, damage, source: Some(source) });
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
        let (new, ..) = from_snapshot(disk, index.cache_bytes(), &snapshots)?;
        recover::catch_up(&**disk, &new, to)?;
        new.write(true, |tx| {
            let state = tx.state()?;
            (state.raise_from, state.patchy) = (raise_from, false);
            Ok(())
        })?;
        Ok(new)
    };
    let _unpublished = Unpublished(&**disk);
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
fn from_snapshot(
    disk: &Arc<dyn Disk>,
    cache_bytes: usize,
    snapshots: &[u64],
) -> Result<(Index, Source, Damage), RecoverError> {
    let mut damage = Damage::default();
    for number in snapshots.iter().rev() {
        let index = Index::make(disk, cache_bytes)?;
        match snapshot::load(&**disk, *number, &index) {
            Ok(_) => return Ok((index, Source::Snapshot(*number), damage)),
            Err(SnapshotError::Disk(error)) if !is_unreadable(&error) => {
                return Err(error.into());
            }
            Err(error) => {
                log::error!("snapshot {number}: {error}");
                damage.note(format!("snapshot {number}: {error}"));
            }
        }
    }
    let index = Index::make(disk, cache_bytes)?;
    index.write(false, |tx| {
        // The beginning of the log may be gone; what it tells again is then all there is.
        tx.state()?.patchy = true;
        Ok(())
    })?;
    Ok((index, Source::Log, damage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Budget, Clock, Workers};
    use crate::store::index::{Read, Tx};
    use crate::store::keys::{T, key_u32};
    use crate::store::sim::{Cut, Fault, SimDisk};
    use crate::store::{MailboxId, Options, Store, Uid};

    const CACHE_BYTES: usize = 1 << 20;

    fn open(disk: &SimDisk) -> Store {
        let (clock, _) = Clock::simulated(1_700_000_000);
        let workers = Workers::new("test", 2, 512 * 1024).unwrap();
        Store::open_on(Arc::new(disk.clone()), Options::default(), clock, workers, Budget::new(32 << 20)).unwrap()
    }

    /// A log with so many events that cannot be applied to what the only snapshot holds.
    fn with_bad_events(events: u32) -> SimDisk {
        let disk = SimDisk::new();
        let store = open(&disk);
        smol::block_on(async {
            store.account_add("alice@example.org", Vec::new(), &[("INBOX", None)]).await.unwrap();
            let key = key_u32(1);
            let row = store.shared.index.write(false, |tx| Ok(tx.get(T::Mailboxes, &key)?.unwrap())).unwrap();
            let put = |row: Vec<u8>| store.shared.index.write(false, |tx: &mut Tx<'_>| tx.put(T::Mailboxes, &key, row));
            put(vec![0xff; 3]).unwrap();
            store.snapshot().await.unwrap();
            put(row).unwrap();
            for n in 1..=events {
                store.recent_shown(MailboxId(1), Uid(n + 1)).await.unwrap();
                store.domain_add(&format!("{n}.example.org")).await.unwrap();
            }
            store.close();
        });
        drop(store);
        disk.revive()
    }

    fn anew(disk: &SimDisk) -> Result<Damage, RecoverError> {
        disk.put("index.redb", b"rubbish");
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let found = recover::look(&*disk)?;
        let segments = Arc::new(NewSegments::after(found.highest, 1 << 20));
        at_start(&disk, CACHE_BYTES, &segments, &found, false).map(|opened| opened.damage)
    }

    fn names(disk: &SimDisk, what: &str) -> Vec<String> {
        let mut names = disk.list("").unwrap();
        names.retain(|name| name.starts_with(what));
        names.sort();
        names
    }

    #[test]
    fn each_event_that_cannot_be_applied_is_kept_once_and_the_newest_two_indexes() {
        let disk = with_bad_events(5);
        for round in 1..=4 {
            let damage = anew(&disk).unwrap();
            assert_eq!(damage.count, 5, "{damage:?}");
            assert_eq!(names(&disk, "event.broken").len(), 5, "round {round}: {damage:?}");
            let aside = [round - 1, round].into_iter().filter(|n| *n > 0);
            let aside: Vec<String> = aside.map(|n| format!("index.redb.broken-{n}")).collect();
            assert_eq!(names(&disk, "index.redb.broken"), aside);
            assert_eq!(names(&disk, "index.redb.tmp"), [""; 0]);
        }
    }

    #[test]
    fn a_try_that_comes_to_nothing_leaves_the_log_as_it_was() {
        let disk = with_bad_events(5);
        let before = disk.list("log").unwrap().len();
        anew(&disk).unwrap();
        assert_eq!(disk.list("log").unwrap().len(), before + 1, "{:?}", disk.list("log"));
        let mut failed = 0;
        for n in 0.. {
            let disk = with_bad_events(0);
            let (before, reads) = (disk.list("log").unwrap(), disk.counters().reads);
            disk.fail(Fault::Read(n));
            if anew(&disk).is_err() {
                failed += 1;
                assert_eq!(disk.list("log").unwrap(), before, "read {n}");
            }
            if disk.counters().reads - reads <= n {
                break;
            }
        }
        assert!(failed > 2, "{failed}");
    }

    #[test]
    fn a_mailbox_whose_row_is_out_of_shape_keeps_no_other_from_being_raised() {
        let disk = with_bad_events(0);
        let store = open(&disk);
        smol::block_on(store.account_add("bob@example.org", Vec::new(), &[("INBOX", None)])).unwrap();
        store.close();
        drop(store);
        // The snapshot's row of the first mailbox has the right checksum and means nothing.
        let disk = disk.revive();
        disk.remove("index.redb").unwrap();
        let (clock, _) = Clock::simulated(1_700_000_000);
        let workers = Workers::new("test", 2, 512 * 1024).unwrap();
        let options = Options { salvage: true, ..Options::default() };
        let budget = Budget::new(32 << 20);
        let store = Store::open_on(Arc::new(disk.clone()), options, clock, workers, budget).unwrap();
        let second = smol::block_on(store.mailbox(MailboxId(2))).unwrap().unwrap();
        assert!(second.uid_next > Uid(1_000_000), "{second:?}");
    }

    #[test]
    fn a_salvage_that_is_cut_is_no_damage_to_the_index_it_leaves() {
        let disk = SimDisk::new();
        let killed = open(&disk);
        smol::block_on(killed.account_add("alice@example.org", Vec::new(), &[("INBOX", None)])).unwrap();
        disk.stop();
        drop(killed);
        // A start moves the last batch to a segment of its own, and a salvage moves it once more.
        let disk = disk.revive();
        drop(open(&disk));
        let origin = disk.revive().reboot(Cut::Everything);
        let mut cuts = 0;
        for at in 0.. {
            let disk = origin.revive();
            disk.stop_after(at);
            let (clock, _) = Clock::simulated(1_700_000_000);
            let workers = Workers::new("test", 2, 512 * 1024).unwrap();
            let options = Options { salvage: true, ..Options::default() };
            let disk_of: Arc<dyn Disk> = Arc::new(disk.clone());
            if Store::open_on(disk_of, options, clock, workers, Budget::new(32 << 20)).is_ok() && !disk.is_off() {
                break;
            }
            cuts += 1;
            let store = open(&disk.reboot(Cut::Everything));
            assert_eq!(store.damage().0, [""; 0], "operation {at}");
            // The process is killed there; the next one takes the new index, and a cut brings the old one back.
            for domains in [vec!["example.net", "example.org"], vec!["example.org"]] {
                let mut disk = disk.revive();
                let store = open(&disk);
                if domains.len() > 1 {
                    smol::block_on(store.domain_add("example.net")).unwrap();
                }
                disk.stop();
                drop(store);
                for _ in 0..2 {
                    disk = disk.reboot(Cut::Nothing);
                    let store = open(&disk);
                    assert_eq!(store.damage().0, [""; 0], "operation {at}, killed, then cut");
                    assert_eq!(smol::block_on(store.domains()).unwrap(), domains);
                    disk.stop();
                }
            }
        }
        assert!(cuts > 10, "{cuts}");
    }

    #[test]
    fn an_index_that_comes_to_nothing_leaves_nothing_but_the_old_one() {
        let origin = with_bad_events(0);
        let mut failed = 0;
        for at in 0.. {
            let disk = origin.revive();
            disk.fail(Fault::Operation(at, std::io::ErrorKind::StorageFull));
            let done = anew(&disk);
            if done.is_ok() {
                break;
            }
            failed += 1;
            let left = names(&disk, "index.redb");
            assert!(left == ["index.redb"] || left == ["index.redb.broken-1"], "operation {at}: {left:?}");
        }
        assert!(failed > 3, "{failed}");
    }
}
