//! Gives back the space of what was deleted: empties the segments that hold the least and deletes them.
//!
//! | step                                       | a cut here leaves                            | who cleans up                  |
//! |--------------------------------------------|----------------------------------------------|--------------------------------|
//! | parts are copied and synced                | copies that nobody names: dead octets        | a later pass                   |
//! | `Relocated` is committed                   | bodies in their new places, the old dead     | a later pass: they are empty   |
//! | nobody pins the segment, no row names it   | the same                                     | the same                       |
//! | `SegmentGone` is committed                 | a file without counters                      | a later pass: it is empty      |
//! | the index is made durable                  | the same                                     | the same                       |
//! | the file is removed, the folder synced     | the file, or not                             | a later pass                   |
//!
//! Why a file can go. It does not grow, so nothing new gets a place in it. Once nobody pins it, every body in it is either in
//! the index or in nobody's hands; a body that still arrives has its pins. So when the index, read after that, does not name
//! it, no later row will. `SegmentGone` was committed after that, so no batch that was refused before can come back and name
//! it. A reader that was told of it before has a pin, or is still being told; both are waited for.

mod choose;
mod copy;

use super::event::Event;
use super::handle::MESSAGE_WEIGHT_BYTES;
use super::segment::{Kind, file_name, parse_name};
use super::{Refusal, Shared, query, refusal_of, rows};
pub(crate) use choose::Sealed;
use choose::{Totals, choose};
pub(crate) use copy::{ChunkError, Chunks, Cursor, extents_from};
use copy::{Copied, copy, find, spare_named};
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Octets copied in a second at the most, unless told otherwise: a third of what a slow card writes.
pub(crate) const COPY_BYTES_PER_S: u64 = 2 * 1024 * 1024;
/// While requests wait or bodies arrive, a step waits so long for them at the most: who never pauses must not keep the
/// store from shrinking.
const POLITE_MAX: Duration = Duration::from_millis(200);
/// A segment that somebody is about to be told of is waited for so long.
const FREE_MAX: Duration = Duration::from_secs(1);
/// How often both are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Less dead than a segment divided by this is not worth a pass.
const SPARE_PART: u64 = 16;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Segments deleted.
    pub segments: u64,
    /// Octets of bodies copied.
    pub copied_bytes: u64,
    /// Octets of files deleted.
    pub freed_bytes: u64,
}

/// What is worth doing.
pub(crate) struct Survey {
    /// The segments to be emptied or deleted now.
    pub(crate) chosen: Vec<Sealed>,
    /// Octets that messages need.
    pub(crate) live_bytes: u64,
    /// Dead octets of the commit segments from the newest snapshot on, which the next but one gives free.
    pub(crate) log_dead_bytes: u64,
    /// Dead octets of the commit segments between it and the older one, which only another one gives free.
    pub(crate) held_dead_bytes: u64,
    /// Octets of all events ever.
    pub(crate) event_bytes: u64,
    /// The disk has no room for new messages: every dead octet counts.
    pub(crate) is_full: bool,
    /// Octets that may be taken to make room.
    pub(crate) housework_bytes: u64,
    /// Deleted mailboxes still hold something.
    pub(crate) is_doomed: bool,
}

/// Looks at every segment.
pub(crate) async fn survey(shared: &Arc<Shared>) -> Result<Survey, Refusal> {
    let of = shared.clone();
    let keeper = shared.keeper()?;
    let files = keeper.run(move || files(&of)).await.ok_or(Refusal::Unavailable)?;
    let files = files.map_err(|error| refuse(&error))?;
    // In this order: what neither grows nor is pinned has all its bodies in the index or in nobody's hands, so that counters
    // read after that know of them.
    let at_rest = at_rest(shared, &files);
    let event_floor = shared.event_floor();
    let (segments, state) = shared.query_on(&keeper, |rx| Ok((rows::segments(rx)?, query::state(rx)?))).await?;
    let known = files.iter().map(|(number, kind, bytes)| {
        let live_bytes = segments.get(number).map_or(0, |(live, _)| *live);
        // Zeros written ahead are not dead yet.
        let bytes = if *number == state.position.segment { state.position.end.min(*bytes) } else { *bytes };
        Sealed { kind: *kind, number: *number, bytes, live_bytes }
    });
    // Whatever a replay may read stays; what lies before this position it does not once the index is durable.
    let floor = event_floor.min(state.position.segment);
    let is_sealed =
        |segment: &Sealed| at_rest.contains(&segment.number) && (segment.kind == Kind::Body || segment.number < floor);
    let (sealed, stuck): (Vec<Sealed>, Vec<Sealed>) = known.partition(is_sealed);
    let newest = shared.newest_snapshot().map(|newest| newest.position).unwrap_or_default();
    let log_dead = |segment: &Sealed| match segment.kind {
        Kind::Commit if segment.number > newest.segment => segment.dead_bytes(),
        Kind::Commit if segment.number == newest.segment => {
            segment.bytes.saturating_sub(newest.end).min(segment.dead_bytes())
        }
        Kind::Commit | Kind::Body | Kind::Snapshot => 0,
    };
    // What lies before the older one is held by something else, which no snapshot lets go.
    let older = shared.older_snapshot().map_or(0, |older| older.position.segment);
    let is_held = |segment: &&Sealed| segment.kind == Kind::Commit && (older..newest.segment).contains(&segment.number);
    let is_full = !shared.has_room();
    let live_bytes = segments.values().map(|(live, _)| live).sum();
    shared.segments.suit(live_bytes);
    let totals = Totals {
        live_bytes,
        stuck_bytes: stuck.iter().map(Sealed::dead_bytes).sum(),
        spare_bytes: shared.segments.bytes() / SPARE_PART,
    };
    let housework_bytes = shared.housework_bytes();
    Ok(Survey {
        chosen: choose(&sealed, if is_full { Totals::default() } else { totals }, housework_bytes),
        housework_bytes,
        live_bytes,
        held_dead_bytes: stuck.iter().filter(is_held).map(Sealed::dead_bytes).sum(),
        is_full,
        log_dead_bytes: sealed.iter().chain(&stuck).map(log_dead).sum(),
        event_bytes: state.event_bytes,
        is_doomed: state.doomed > 0,
    })
}

/// Segments in which nothing gets a place any more, that nobody pins and that are not kept; a commit segment may still grow.
fn at_rest(shared: &Shared, files: &[(u64, Kind, u64)]) -> BTreeSet<u64> {
    let damaged = shared.damaged.lock().unwrap_or_else(PoisonError::into_inner);
    // The highest number is never given up, because the next start counts on from it.
    let highest = files.last().map_or(0, |(number, ..)| *number);
    let numbers = files.iter().filter(|(number, kind, _)| match kind {
        Kind::Commit => true,
        Kind::Body => !shared.bodies.is_growing(*number),
        Kind::Snapshot => false,
    });
    // Whether it grows is asked first: what begins to arrive in it is pinned from then on.
    let numbers = numbers.map(|(number, ..)| *number).filter(|number| shared.leases.is_unpinned(*number));
    numbers.filter(|number| *number < highest && !damaged.contains(number)).collect()
}

/// Makes one pass, when there is something to gain. Never runs twice at the same time: the caller sees to that.
pub(crate) async fn pass(shared: &Arc<Shared>, survey: Survey) -> Result<Option<Reclaimed>, Refusal> {
    let chosen = survey.chosen;
    let mut done = Reclaimed::default();
    let sparse: BTreeSet<u64> = chosen.iter().filter(|s| s.live_bytes > 0).map(|s| s.number).collect();
    if !sparse.is_empty() {
        done.copied_bytes = match empty(shared, &Arc::new(sparse)).await {
            // What is empty can go all the same.
            Err(Refusal::DiskFull) => 0,
            copied => copied?,
        };
    }
    let unpinned = chosen.iter().map(|segment| segment.number).filter(|number| shared.leases.is_unpinned(*number));
    let unpinned: BTreeSet<u64> = unpinned.collect();
    // A backup does not wait for the whole pass: what is copied is copied, and the rest comes another time.
    let Some(unnamed) = unnamed(shared, unpinned.clone()).await? else {
        return Ok((done != Reclaimed::default()).then_some(done));
    };
    for segment in chosen.iter().filter(|segment| segment.live_bytes == 0 && unpinned.contains(&segment.number)) {
        if !unnamed.contains(&segment.number) {
            keep(shared, segment.number, "it holds bodies, which its counters deny");
        }
    }
    if !unnamed.is_empty() {
        say_gone(shared, &unnamed).await?;
        shared.queue.checkpoint().recv().await.unwrap_or(Err(Refusal::Unavailable))?;
        let gone = chosen.into_iter().filter(|segment| unnamed.contains(&segment.number));
        remove_all(shared, gone, &mut done).await?;
    }
    Ok((done != Reclaimed::default()).then_some(done))
}

/// Deletes files that nobody names and nobody is about to read.
async fn remove_all(
    shared: &Arc<Shared>,
    segments: impl Iterator<Item = Sealed>,
    done: &mut Reclaimed,
) -> Result<(), Refusal> {
    for segment in segments {
        if shared.is_house_wanted() {
            break;
        }
        if is_free(shared, segment.number).await && remove(shared, segment).await {
            done.segments += 1;
            done.freed_bytes += segment.bytes;
        }
    }
    shared.reclaimed_bytes.fetch_add(done.freed_bytes, Ordering::Relaxed);
    if done.segments > 0 {
        let folder = shared.clone();
        let synced = shared.keeper()?.run(move || folder.disk.sync_folder("log")).await;
        if let Some(Err(error)) = synced {
            // A cut may bring them back; then a later pass deletes them again.
            log::warn!("reclaiming: {error}");
        }
    }
    Ok(())
}

/// Every segment's number, kind and length, ascending.
fn files(shared: &Shared) -> io::Result<Vec<(u64, Kind, u64)>> {
    let mut files = Vec::new();
    for name in shared.disk.list("log")? {
        if let Some((kind, number)) = parse_name(&name) {
            files.push((number, kind, shared.disk.open(&file_name(kind, number))?.len()?));
        }
    }
    files.sort_unstable_by_key(|(number, ..)| *number);
    Ok(files)
}

/// Copies what lies in these segments elsewhere, until somebody wants the house; answers how many octets that were.
async fn empty(shared: &Arc<Shared>, segments: &Arc<BTreeSet<u64>>) -> Result<u64, Refusal> {
    let keeper = shared.keeper()?;
    let mut pace = Pace::new(shared);
    let mut next = Some(Cursor::default());
    while let Some(from) = next.filter(|_| !shared.is_house_wanted()) {
        let of = segments.clone();
        let (found, then) = shared.query_on(&keeper, move |rx| Ok(find(rx, &of, from)?)).await?;
        next = then;
        let of = shared.clone();
        let copied = keeper.run(move || copy(&of, &found)).await.ok_or(Refusal::Unavailable)?;
        let copied = copied.map_err(|error| refuse(&error))?;
        report(shared, &copied);
        let bytes = copied.bytes;
        relocate(shared, copied).await?;
        shared.copied_bytes.fetch_add(bytes, Ordering::Relaxed);
        pace.step(bytes).await;
    }
    Ok(pace.bytes)
}

async fn relocate(shared: &Arc<Shared>, copied: Copied) -> Result<(), Refusal> {
    if copied.moves.is_empty() {
        return Ok(());
    }
    let weight = copied.moves.len().saturating_mul(MESSAGE_WEIGHT_BYTES);
    shared.decide(weight, move |step| step.happen(&Event::Relocated { moves: copied.moves })).await
}

fn report(shared: &Shared, copied: &Copied) {
    for (blob, extent) in &copied.damaged {
        keep(shared, extent.segment, &format!("a chunk of blob {} in it is damaged", blob.0));
    }
}

/// The segment stays for whoever can still save something from it; that is said once.
fn keep(shared: &Shared, segment: u64, why: &str) {
    if shared.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(segment) {
        log::error!("segment {segment} is kept: {why}");
    }
}

/// Those of `segments` that no body names; nothing when somebody wants the house before that is known.
async fn unnamed(shared: &Arc<Shared>, mut segments: BTreeSet<u64>) -> Result<Option<BTreeSet<u64>>, Refusal> {
    let keeper = shared.keeper()?;
    let mut pace = Pace::new(shared);
    let mut next = Some(Cursor::default());
    while let Some(from) = next.filter(|_| !segments.is_empty()) {
        if shared.is_house_wanted() {
            return Ok(None);
        }
        let before = segments.clone();
        let look = move |rx: &mut super::index::Rx| {
            let mut left = before.clone();
            let next = spare_named(rx, &mut left, from)?;
            Ok((left, next))
        };
        (segments, next) = shared.query_on(&keeper, look).await?;
        pace.step(0).await;
    }
    Ok(Some(segments))
}

async fn say_gone(shared: &Arc<Shared>, segments: &BTreeSet<u64>) -> Result<(), Refusal> {
    let segments = segments.clone();
    let gone = move |step: &mut super::decide::Step<'_, '_>| {
        segments.iter().try_for_each(|number| step.happen(&Event::SegmentGone { number: *number }))
    };
    shared.decide(0, gone).await
}

/// Waits a moment for readers that are just being told where their bodies lie.
async fn is_free(shared: &Arc<Shared>, number: u64) -> bool {
    let began = Instant::now();
    while !shared.leases.is_free(number) {
        if began.elapsed() >= FREE_MAX || shared.goes_in_step() {
            return false;
        }
        smol::Timer::after(LOOK).await;
    }
    true
}

async fn remove(shared: &Arc<Shared>, segment: Sealed) -> bool {
    let of = shared.clone();
    let remove = move || {
        of.files.forget(segment.number);
        of.disk.remove(&file_name(segment.kind, segment.number))
    };
    let Ok(keeper) = shared.keeper() else {
        return false;
    };
    match keeper.run(remove).await {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            log::warn!("deleting segment {}: {error}", segment.number);
            false
        }
        None => false,
    }
}

fn refuse(error: &io::Error) -> Refusal {
    log::error!("reclaiming: {error}");
    refusal_of(error)
}

/// Keeps a pass from being in anybody's way.
pub(crate) struct Pace<'a> {
    shared: &'a Shared,
    began: Instant,
    bytes: u64,
}

impl<'a> Pace<'a> {
    /// From now on.
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared, began: Instant::now(), bytes: 0 }
    }

    /// After a step that copied so much: others first, and no faster than is allowed.
    pub(crate) async fn step(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.shared.goes_in_step() {
            return smol::future::yield_now().await;
        }
        let began = Instant::now();
        while self.shared.is_busy() && began.elapsed() < POLITE_MAX && !self.shared.is_house_wanted() {
            smol::Timer::after(LOOK).await;
        }
        let rate = self.shared.copy_bytes_per_s.load(Ordering::Relaxed).max(1);
        let due = Duration::from_millis(self.bytes.saturating_mul(1_000) / rate);
        let early = due.saturating_sub(self.began.elapsed());
        if !early.is_zero() {
            self.shared.rest_in_house(early).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Budget, Clock, Workers};
    use crate::store::keys::{T, key_u64};
    use crate::store::rows::value;
    use crate::store::sim::{Dice, SimDisk};
    use crate::store::*;
    use std::collections::BTreeMap;

    #[test]
    fn wrong_counters_choose_a_segment_but_do_not_delete_it() {
        let (clock, _) = Clock::simulated(1_700_000_000);
        let workers = Workers::new("test", 2, 512 * 1024).unwrap();
        let options = Options { segment_bytes: 64 * 1024, ..Options::default() };
        let disk = Arc::new(SimDisk::new());
        smol::block_on(async {
            let store = Store::open_on(disk.clone(), options, clock, workers, Budget::new(32 << 20)).unwrap();
            store.account_add("alice@example.org", Vec::new(), &[("INBOX", None)]).await.unwrap();
            let octets = Dice(1).octets(200_000);
            let mut body = store.body();
            body.write(&octets).await.unwrap();
            let internal_date = Date { unix_s: 0, zone_minutes: 0 };
            let new = NewMessage { body: body.finish().await.unwrap(), summary: Vec::new(), internal_date };
            let target = Target { mailbox: MailboxId(1), flags: FlagNames::default() };
            store.deliver(new, vec![target]).await.unwrap();
            let wrong = |tx: &mut index::Tx<'_>| {
                for number in rows::segments(tx)?.into_keys() {
                    let row = value(|to| {
                        to.put(&0u64).put(&0u64);
                    });
                    tx.put(T::Segments, &key_u64(number), row)?;
                }
                Ok(())
            };
            store.shared.index.write(false, wrong).unwrap();
            for _ in 0..5 {
                assert!(!matches!(store.keep_house().await, Ok(Kept::Reclaimed(_))));
            }
            assert_eq!(store.keep_house().await, Ok(Kept::Nothing));
            let mut reader = store.read(BlobId(1)).await.unwrap();
            assert_eq!(reader.at(150_000).await.unwrap()[..10], octets[150_000..150_010]);
        });
    }

    /// Live octets by segment as the bodies' rows have it, without segments that hold none.
    fn live(store: &Store) -> BTreeMap<u64, u64> {
        let mut live = BTreeMap::new();
        let count = |rx: &mut index::Rx| {
            extents_from(rx, Cursor::default(), false, &mut |_, extent| {
                *live.entry(extent.segment).or_default() += extent.stored_bytes;
                true
            })
        };
        assert_eq!(store.shared.index.read(count).unwrap(), None);
        live
    }

    /// Counters agree with rows, and what was ever put into a segment is alive or dead.
    fn check_counters(store: &Store, put: &BTreeMap<u64, u64>, when: &str) {
        let counted = store.shared.index.read(rows::segments).unwrap();
        let alive = counted.iter().filter(|(_, (live, _))| *live > 0).map(|(number, (live, _))| (*number, *live));
        assert_eq!(alive.collect::<BTreeMap<_, _>>(), live(store), "{when}: alive");
        let both: BTreeMap<u64, u64> =
            counted.into_iter().map(|(number, (live, dead))| (number, live + dead)).collect();
        assert_eq!(&both, put, "{when}: alive and dead");
    }

    /// A pass finds and copies parts of bodies in one moment and says where they are in a later one; meanwhile messages come,
    /// are copied and go, and a part may have been said to be elsewhere already.
    #[test]
    fn counters_stay_true_whatever_goes_between_a_copy_and_its_event() {
        let (clock, _) = Clock::simulated(1_700_000_000);
        let options = Options { segment_bytes: 256 * 1024, ..Options::default() };
        let disk = Arc::new(SimDisk::new());
        let (inbox, archive) = (MailboxId(1), MailboxId(2));
        smol::block_on(async {
            let store = Store::open_on(disk, options, clock, Workers::none(), Budget::new(32 << 20)).unwrap();
            let folders = [("INBOX", None), ("Archive", None)];
            store.account_add("alice@example.org", Vec::new(), &folders).await.unwrap();
            let mut dice = Dice(7);
            let mut roll = move |sides: u64| dice.roll(sides);
            let mut put = BTreeMap::new();
            let mut waiting: Vec<super::Copied> = Vec::new();
            // Relocated while its message was there, gone, or already elsewhere.
            let mut kinds = [0; 3];
            for round in 0..600 {
                let when = format!("round {round}");
                match roll(7) {
                    0 | 1 => {
                        let bytes = if roll(3) == 0 { 150_000 } else { 2_000 };
                        let octets: Vec<u8> = std::iter::repeat_with(|| roll(256) as u8).take(bytes).collect();
                        let mut body = store.body();
                        body.write(&octets).await.unwrap();
                        let body = body.finish().await.unwrap();
                        let internal_date = Date { unix_s: 0, zone_minutes: 0 };
                        let message = NewMessage { body, summary: Vec::new(), internal_date };
                        let target = Target { mailbox: inbox, flags: FlagNames::default() };
                        let before = live(&store);
                        store.deliver(message, vec![target]).await.unwrap();
                        for (segment, bytes) in live(&store) {
                            *put.entry(segment).or_default() += bytes - before.get(&segment).copied().unwrap_or(0);
                        }
                    }
                    2 | 3 => {
                        let mailbox = if roll(2) == 0 { inbox } else { archive };
                        let uids = store.uids(mailbox).await.unwrap().0;
                        let one = uids.iter().nth(roll(uids.len().max(1)) as usize);
                        match one.map(UidSet::one) {
                            Some(one) if roll(3) == 0 => drop(store.copy(mailbox, one, archive).await.unwrap()),
                            Some(one) => drop(store.expunge(mailbox, one, false).await.unwrap()),
                            None => {}
                        }
                    }
                    4 => {
                        let all: BTreeSet<u64> = live(&store).into_keys().collect();
                        let some = all.into_iter().filter(|_| roll(3) == 0).collect();
                        let (found, _) = store.shared.index.read(|rx| find(rx, &some, Cursor::default())).unwrap();
                        waiting.push(copy(&store.shared, &found).unwrap());
                    }
                    _ => {
                        let Some(copied) = (!waiting.is_empty()).then(|| waiting.remove(0)) else { continue };
                        for moved in &copied.moves {
                            *put.entry(moved.to.segment).or_default() += moved.to.stored_bytes;
                            let blob = store.shared.index.read(|rx| rows::blob(rx, moved.blob)).unwrap();
                            let kind = blob.map_or(1, |(_, parts)| if parts.contains(&moved.from) { 0 } else { 2 });
                            kinds[kind] += 1;
                        }
                        relocate(&store.shared, copied).await.unwrap();
                    }
                }
                check_counters(&store, &put, &when);
            }
            assert!(kinds.iter().all(|kind| *kind > 10), "{kinds:?}");
        });
    }
}
