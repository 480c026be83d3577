//! A test seam: a disk in memory that keeps what is live apart from what is durable. It can stop at any operation, tear,
//! drop and reorder what was not synced, fail reads, writes and syncs, and fill up; it counts what goes over it.
//!
//! The model: a write is durable once a sync of its file has returned; a name once a sync of its folder has. After a failed
//! sync the pages count as clean, as Linux has it: a later sync that succeeds does not make them durable.

use super::disk::{Disk, DiskFile, Lock};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The smallest part of a write that a tear may leave old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Any byte.
    Byte,
    /// 512 bytes.
    Sector,
    /// 4,096 bytes.
    Page,
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Nothing,
    /// Everything, as if it had been written back in time.
    Everything,
    /// Some writes, in any order, some of them in part: the seed decides.
    Some(Tear, u64),
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The `n`-th changing operation from now on, and nothing after it.
    Operation(u64, io::ErrorKind),
    /// The `n`-th sync from now on.
    Sync(u64),
    /// The `n`-th read from now on.
    Read(u64),
    /// Every write that needs room, until the faults are cleared.
    Full,
}

/// What went over the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Operations that change something: writes, syncs, names, lengths.
    pub operations: u64,
    /// Writes.
    pub writes: u64,
    /// Octets written.
    pub written_bytes: u64,
    /// Pages of 4,096 octets that writes touched.
    pub written_pages: u64,
    /// Syncs of files and folders.
    pub syncs: u64,
    /// Reads.
    pub reads: u64,
    /// Octets read.
    pub read_bytes: u64,
}

impl std::ops::Sub for Counters {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self {
            operations: self.operations - before.operations,
            writes: self.writes - before.writes,
            written_bytes: self.written_bytes - before.written_bytes,
            written_pages: self.written_pages - before.written_pages,
            syncs: self.syncs - before.syncs,
            reads: self.reads - before.reads,
            read_bytes: self.read_bytes - before.read_bytes,
        }
    }
}

/// The disk: cheap to clone, all clones are the same one.
#[derive(Clone, Debug)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    lock: Arc<AtomicBool>,
}

#[derive(Default)]
struct World {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since their folder was synced.
    pending_names: Vec<(String, Option<usize>)>,
    counters: Counters,
    faults: Vec<(u64, Fault)>,
    stop_at: Option<u64>,
    is_off: bool,
    /// Whether durable contents are kept; figures do not need them.
    keeps_durable: bool,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({} files)", self.files.len())
    }
}

#[derive(Clone, Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// A small generator of our own, so that a seed means the same for ever (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk that can be cut.
    pub fn new() -> Self {
        Self::of(World { keeps_durable: true, ..World::default() })
    }

    /// An empty disk that only counts, with half the memory.
    pub fn counting() -> Self {
        Self::of(World::default())
    }

    fn of(world: World) -> Self {
        Self { world: Arc::new(Mutex::new(world)), lock: Arc::default() }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went over it so far.
    pub fn counters(&self) -> Counters {
        self.world().counters
    }

    /// The power goes at the `n`-th changing operation from now on (0: the next one): it and all later ones fail, and of a
    /// write at that very moment a part may have arrived.
    pub fn stop_after(&self, n: u64) {
        let mut world = self.world();
        world.stop_at = Some(world.counters.operations + n);
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.world().is_off
    }

    /// The power goes now.
    pub fn stop(&self) {
        self.world().is_off = true;
    }

    /// Something fails.
    pub fn fail(&self, fault: Fault) {
        let mut world = self.world();
        let from = match fault {
            Fault::Operation(n, _) => world.counters.operations + n,
            Fault::Sync(n) => world.counters.syncs + n,
            Fault::Read(n) => world.counters.reads + n,
            Fault::Full => 0,
        };
        world.faults.push((from, fault));
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.world().faults.clear();
    }

    /// The process was killed and starts again: what it wrote is still with the kernel, what was not synced still is not.
    pub fn revive(&self) -> Self {
        let mut old = self.world();
        let world = World {
            files: old.files.clone(),
            names: old.names.clone(),
            durable_names: old.durable_names.clone(),
            pending_names: old.pending_names.clone(),
            counters: old.counters,
            keeps_durable: old.keeps_durable,
            ..World::default()
        };
        old.is_off = true;
        Self::of(world)
    }

    /// The power came back after a cut.
    pub fn reboot(&self, cut: Cut) -> Self {
        let mut old = self.world();
        old.is_off = true;
        let mut dice = Dice(match cut {
            Cut::Some(_, seed) => seed,
            Cut::Nothing | Cut::Everything => 0,
        });
        let mut names = old.durable_names.clone();
        // A journal keeps the order of names: some of the last changes may be missing, none between.
        let kept = match cut {
            Cut::Nothing => 0,
            Cut::Everything => old.pending_names.len(),
            Cut::Some(..) => usize::try_from(dice.roll(old.pending_names.len() as u64 + 1)).unwrap_or(0),
        };
        for (name, file) in old.pending_names.iter().take(kept) {
            set_name(&mut names, name, *file);
        }
        let files = old.files.iter().map(|file| after_cut(file, cut, &mut dice)).collect();
        let (durable_names, counters) = (names.clone(), old.counters);
        Self::of(World { files, names, durable_names, counters, keeps_durable: true, ..World::default() })
    }

    /// A file's live octets.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(name).and_then(|file| world.files.get(*file)).map(|file| file.live.clone())
    }

    /// Puts a file there, durable at once.
    pub fn put(&self, name: &str, contents: &[u8]) {
        let mut world = self.world();
        let file = File { live: contents.to_vec(), durable: contents.to_vec(), pending: Vec::new() };
        world.files.push(file);
        let number = world.files.len() - 1;
        world.names.insert(name.to_owned(), number);
        world.durable_names.insert(name.to_owned(), number);
    }
}

fn set_name(names: &mut BTreeMap<String, usize>, name: &str, file: Option<usize>) {
    match file {
        Some(file) => names.insert(name.to_owned(), file),
        None => names.remove(name),
    };
}

fn write_into(to: &mut Vec<u8>, offset: usize, from: &[u8]) {
    let end = offset + from.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    if let Some(place) = to.get_mut(offset..end) {
        place.copy_from_slice(from);
    }
}

fn apply(to: &mut Vec<u8>, change: &Pending) {
    match change {
        Pending::Write(offset, from) => write_into(to, *offset, from),
        Pending::Truncate(len) => to.resize(*len, 0),
    }
}

/// What a cut leaves of a file.
fn after_cut(file: &File, cut: Cut, dice: &mut Dice) -> File {
    let mut contents = file.durable.clone();
    for change in &file.pending {
        match (cut, change) {
            (Cut::Nothing, _) => {}
            (Cut::Everything, change) => apply(&mut contents, change),
            (Cut::Some(tear, _), Pending::Write(offset, from)) => tear_into(&mut contents, *offset, from, tear, dice),
            (Cut::Some(..), Pending::Truncate(_)) => {
                if dice.roll(2) == 0 {
                    apply(&mut contents, change);
                }
            }
        }
    }
    File { live: contents.clone(), durable: contents, pending: Vec::new() }
}

/// Lets a write arrive whole, not at all, or in part.
fn tear_into(to: &mut Vec<u8>, offset: usize, from: &[u8], tear: Tear, dice: &mut Dice) {
    match dice.roll(3) {
        0 => return,
        1 => return write_into(to, offset, from),
        _ => {}
    }
    let unit = match tear {
        Tear::Byte => 1,
        Tear::Sector => 512,
        Tear::Page => 4096,
    };
    if dice.roll(2) == 0 {
        // The first so many units came.
        let units = from.len().div_ceil(unit) as u64;
        let bytes = usize::try_from(dice.roll(units + 1)).unwrap_or(0) * unit;
        return write_into(to, offset, from.get(..bytes.min(from.len())).unwrap_or(from));
    }
    // Some units came, in any order; single bytes in runs of up to 64, or nothing would ever be whole.
    let mut at = 0;
    while at < from.len() {
        let run = if unit == 1 { 1 + usize::try_from(dice.roll(64)).unwrap_or(0) } else { unit };
        let end = (at + run).min(from.len());
        if dice.roll(2) == 0
            && let Some(part) = from.get(at..end)
        {
            write_into(to, offset + at, part);
        }
        at = end;
    }
}

impl World {
    /// Counts a changing operation; false in the answer says that it fails half-way because the power goes.
    fn operation(&mut self, needs_room: bool) -> io::Result<bool> {
        if self.is_off {
            return Err(io::Error::other("the power is off"));
        }
        let number = self.counters.operations;
        self.counters.operations += 1;
        if self.stop_at.is_some_and(|at| number >= at) {
            self.is_off = true;
            return Ok(false);
        }
        for (from, fault) in &self.faults {
            match fault {
                Fault::Operation(_, kind) if number == *from => return Err((*kind).into()),
                Fault::Full if needs_room => return Err(io::ErrorKind::StorageFull.into()),
                Fault::Operation(..) | Fault::Full | Fault::Sync(_) | Fault::Read(_) => {}
            }
        }
        Ok(true)
    }

    fn is_failing_sync(&self) -> bool {
        let number = self.counters.syncs;
        self.faults.iter().any(|(from, fault)| matches!(fault, Fault::Sync(_)) && *from == number)
    }

    fn is_failing_read(&self) -> bool {
        let number = self.counters.reads;
        self.faults.iter().any(|(from, fault)| matches!(fault, Fault::Read(_)) && *from == number)
    }

    fn file(&mut self, number: usize) -> io::Result<&mut File> {
        self.files.get_mut(number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, name: &str, file: Option<usize>) {
        set_name(&mut self.names, name, file);
        self.pending_names.push((name.to_owned(), file));
    }
}

fn power_is_gone<O>() -> io::Result<O> {
    Err(io::Error::other("the power went"))
}

#[derive(Debug)]
struct SimLock(Arc<AtomicBool>);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Disk for SimDisk {
    fn lock(&self) -> io::Result<Option<Lock>> {
        let taken = self.lock.swap(true, Ordering::AcqRel);
        Ok((!taken).then(|| Lock(Box::new(SimLock(self.lock.clone())))))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let world = self.world();
        if world.is_off {
            return power_is_gone();
        }
        let number = *world.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { world: self.world.clone(), number }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        if !world.operation(true)? {
            return power_is_gone();
        }
        world.files.push(File::default());
        let number = world.files.len() - 1;
        world.rename(name, Some(number));
        Ok(Arc::new(SimFile { world: self.world.clone(), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let happens = world.operation(false)?;
        let number = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        world.rename(to, Some(number));
        world.rename(from, None);
        if happens { Ok(()) } else { power_is_gone() }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        if !world.operation(false)? {
            return power_is_gone();
        }
        if !world.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.rename(name, None);
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let world = self.world();
        let of_folder = |name: &String| match name.rsplit_once('/') {
            Some((of, rest)) => (of == folder).then(|| rest.to_owned()),
            None => folder.is_empty().then(|| name.clone()),
        };
        Ok(world.names.keys().filter_map(of_folder).collect())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut world = self.world();
        let happens = world.operation(false)?;
        let fails = world.is_failing_sync();
        world.counters.syncs += 1;
        if !happens {
            return power_is_gone();
        }
        if fails {
            return Err(io::Error::other("the sync failed"));
        }
        let (now, later) = std::mem::take(&mut world.pending_names)
            .into_iter()
            .partition(|(name, _)| super::disk::folder_of(name) == folder);
        world.pending_names = later;
        let now: Vec<(String, Option<usize>)> = now;
        for (name, file) in now {
            set_name(&mut world.durable_names, &name, file);
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let is_full = self.world().faults.iter().any(|(_, fault)| matches!(fault, Fault::Full));
        Ok(if is_full { 0 } else { 1 << 40 })
    }

    fn chance(&self) -> u32 {
        // The same for the same history.
        let operations = self.world().counters.operations;
        u32::try_from(Dice(operations).roll(u64::from(u32::MAX))).unwrap_or(0)
    }
}

#[derive(Debug)]
struct SimFile {
    world: Arc<Mutex<World>>,
    number: usize,
}

impl SimFile {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        let mut world = self.world();
        if world.is_off {
            return power_is_gone();
        }
        let fails = world.is_failing_read();
        world.counters.reads += 1;
        world.counters.read_bytes += to.len() as u64;
        if fails {
            return Err(io::Error::other("the read failed"));
        }
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let end = from.checked_add(to.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let file = world.file(self.number)?;
        to.copy_from_slice(file.live.get(from..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let grows = world.file(self.number)?.live.len() < at + from.len();
        let happens = world.operation(grows)?;
        world.counters.writes += 1;
        world.counters.written_bytes += from.len() as u64;
        let pages = (offset + from.len() as u64).div_ceil(4096) - offset / 4096;
        world.counters.written_pages += pages;
        let keeps_durable = world.keeps_durable;
        let file = world.file(self.number)?;
        if keeps_durable {
            file.pending.push(Pending::Write(at, from.to_vec()));
        }
        if !happens {
            return power_is_gone();
        }
        write_into(&mut file.live, at, from);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut world = self.world();
        if world.is_off {
            return power_is_gone();
        }
        Ok(world.file(self.number)?.live.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut world = self.world();
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let grows = world.file(self.number)?.live.len() < len;
        let happens = world.operation(grows)?;
        let keeps_durable = world.keeps_durable;
        let file = world.file(self.number)?;
        if keeps_durable {
            file.pending.push(Pending::Truncate(len));
        }
        if !happens {
            return power_is_gone();
        }
        file.live.resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world();
        let happens = world.operation(false)?;
        let fails = world.is_failing_sync();
        world.counters.syncs += 1;
        if !happens {
            return power_is_gone();
        }
        let file = world.file(self.number)?;
        let pending = std::mem::take(&mut file.pending);
        if fails {
            // The pages count as clean now, and are not durable.
            return Err(io::Error::other("the sync failed"));
        }
        for change in &pending {
            apply(&mut file.durable, change);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_file(disk: &SimDisk) -> Arc<dyn DiskFile> {
        let file = disk.create("f").unwrap();
        file.write_at(0, &[1; 8192]).unwrap();
        file.sync().unwrap();
        disk.sync_folder("").unwrap();
        file
    }

    #[test]
    fn what_was_not_synced_is_gone_after_a_cut_and_there_after_a_kill() {
        let disk = SimDisk::new();
        let file = one_file(&disk);
        file.write_at(0, &[2; 10]).unwrap();
        disk.create("g").unwrap();
        let killed = disk.revive();
        assert_eq!(killed.contents("f").unwrap()[0], 2);
        let cut = killed.reboot(Cut::Nothing);
        assert_eq!(cut.contents("f").unwrap(), [1; 8192]);
        assert_eq!(cut.contents("g"), None);
    }

    #[test]
    fn a_failed_sync_makes_nothing_durable_and_neither_does_the_next() {
        let disk = SimDisk::new();
        let file = one_file(&disk);
        file.write_at(0, &[2; 10]).unwrap();
        disk.fail(Fault::Sync(0));
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(disk.reboot(Cut::Everything).contents("f").unwrap()[0], 1);
    }

    #[test]
    fn a_tear_mixes_old_and_new_in_its_unit() {
        let disk = SimDisk::new();
        let file = one_file(&disk);
        file.write_at(0, &[2; 8192]).unwrap();
        let mut mixed = 0;
        for seed in 0..40 {
            let after = disk.revive().reboot(Cut::Some(Tear::Sector, seed)).contents("f").unwrap();
            for sector in after.chunks(512) {
                assert!(sector.iter().all(|b| *b == sector[0]));
            }
            mixed += u32::from(after.contains(&1) && after.contains(&2));
        }
        assert!(mixed > 5, "{mixed}");
    }

    #[test]
    fn the_power_goes_at_the_operation_asked_for() {
        let disk = SimDisk::new();
        let file = one_file(&disk);
        disk.stop_after(1);
        file.write_at(0, &[2]).unwrap();
        assert!(file.write_at(1, &[2]).is_err());
        assert!(file.sync().is_err());
        assert!(disk.is_off());
    }
}
