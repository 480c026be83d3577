//! A test seam: a disk in memory that keeps what is live apart from what is durable. It can stop at any operation, tear,
//! drop and reorder what was not synced, fail reads, writes and syncs, and fill up; it counts what goes over it. Whoever
//! watches it is given, at each operation, the disk as a power cut at that moment would leave it to be rebooted; contents are
//! shared page by page, so that thousands of such moments can be kept.
//!
//! The model: a write is durable once a sync of its file has returned; a name once a sync of its folder has. After a failed
//! sync the pages count as clean, as Linux has it: a later sync that succeeds does not make them durable.

mod content;
mod cut;
mod dice;
mod world;

use super::disk::{Disk, DiskFile, Lock};
use content::{Content, is_zeros};
pub use cut::{Cut, Tear};
use cut::{File, Pending, after_cut, apply};
pub use dice::Dice;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use world::{Hidden, World, set_name};

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The `n`-th changing operation from now on, and nothing after it.
    Operation(u64, io::ErrorKind),
    /// The `n`-th sync from now on; its pages count as clean afterwards and are not durable.
    Sync(u64),
    /// The `n`-th sync from now on; its pages stay dirty, and the next sync writes them.
    SyncKept(u64),
    /// The `n`-th read from now on.
    Read(u64),
    /// The `n`-th read from now on, with the system's error for a page that cannot be read (EIO).
    ReadEio(u64),
    /// Every write that needs room, until the faults are cleared.
    Full,
    /// Every write that needs room in a file whose name begins so, until the faults are cleared.
    FullIn(&'static str),
}

/// What a changing operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Makes a file.
    Create,
    /// Writes octets other than zeros.
    Write,
    /// Writes zeros.
    Zeros,
    /// Changes a file's length.
    Truncate,
    /// Makes a file's contents durable.
    Sync,
    /// Gives a file another name.
    Rename,
    /// Removes a name.
    Remove,
    /// Makes the names in a folder durable.
    SyncFolder,
}

/// An operation that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// What it does.
    pub kind: Kind,
    /// The file's or the folder's name; the new one of a rename.
    pub name: &'a str,
}

/// Told of every operation, with the disk as a cut at that very moment would leave it, to be rebooted. Must not use the
/// disk that it watches.
pub type Watcher = Arc<dyn Fn(&Operation<'_>, SimDisk) + Send + Sync>;

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
    /// Operations that found no room.
    pub full: u64,
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
            full: self.full - before.full,
        }
    }
}

/// The disk: cheap to clone, all clones are the same one.
#[derive(Clone, Debug)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    lock: Arc<AtomicBool>,
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

    /// An empty FAT: the length of a file that got another name is durable once the file is synced under it, and not with its
    /// folder; until then it is empty after a cut.
    pub fn fat() -> Self {
        Self::of(World { keeps_durable: true, is_fat: true, ..World::default() })
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
            Fault::Sync(n) | Fault::SyncKept(n) => world.counters.syncs + n,
            Fault::Read(n) | Fault::ReadEio(n) => world.counters.reads + n,
            Fault::Full | Fault::FullIn(_) => 0,
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
            room: old.room,
            keeps_durable: old.keeps_durable,
            is_fat: old.is_fat,
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
        let (durable_names, counters, room, is_fat) = (names.clone(), old.counters, old.room, old.is_fat);
        Self::of(World { files, names, durable_names, counters, room, is_fat, keeps_durable: true, ..World::default() })
    }

    /// So many octets are left for all files together; as many as anybody wants, when that is not told. Removing files and
    /// making them shorter gives room back.
    pub fn leave_room(&self, bytes: Option<u64>) {
        let mut world = self.world();
        world.room = bytes.map(|bytes| world.used_bytes() + bytes);
    }

    /// A file's live octets.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(name).and_then(|file| world.files.get(*file)).map(|file| file.live.to_vec())
    }

    /// Tells `watcher` of every operation from now on; nobody, when there is none.
    pub fn watch(&self, watcher: Option<Watcher>) {
        self.world().watcher = watcher.map(Hidden);
    }

    /// Puts a file there, durable at once.
    pub fn put(&self, name: &str, contents: &[u8]) {
        let mut world = self.world();
        let contents = Content::from(contents);
        let file = File { live: contents.clone(), durable: contents, ..File::default() };
        world.files.push(file);
        let number = world.files.len() - 1;
        world.names.insert(name.to_owned(), number);
        world.durable_names.insert(name.to_owned(), number);
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
        if !world.operation(name, true)? {
            return power_is_gone();
        }
        world.tell(Kind::Create, name);
        world.files.push(File::default());
        let number = world.files.len() - 1;
        world.rename(name, Some(number));
        Ok(Arc::new(SimFile { world: self.world.clone(), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world();
        let happens = world.operation(to, false)?;
        let number = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        world.rename(to, Some(number));
        world.rename(from, None);
        let is_fat = world.is_fat;
        world.file(number)?.has_no_length = is_fat;
        world.tell(Kind::Rename, to);
        if happens { Ok(()) } else { power_is_gone() }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.world();
        if !world.operation(name, false)? {
            return power_is_gone();
        }
        if !world.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.rename(name, None);
        world.tell(Kind::Remove, name);
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
        let happens = world.operation(folder, false)?;
        let fails = world.failing_sync().is_some();
        world.counters.syncs += 1;
        if !happens {
            return power_is_gone();
        }
        if fails {
            return Err(io::Error::other("the sync failed"));
        }
        world.tell(Kind::SyncFolder, folder);
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
        let world = self.world();
        let is_full = world.faults.iter().any(|(_, fault)| matches!(fault, Fault::Full));
        let free = world.room.map_or(1 << 40, |room| room.saturating_sub(world.used_bytes()));
        Ok(if is_full { 0 } else { free })
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
        let failing = world.failing_read();
        world.counters.reads += 1;
        world.counters.read_bytes += to.len() as u64;
        if let Some(error) = failing {
            return Err(error);
        }
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let file = world.file(self.number)?;
        if file.live.read(from, to) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let live = &world.file(self.number)?.live;
        let (more, has_hole) = ((at + from.len()).saturating_sub(live.len()), live.has_hole(at, from.len()));
        let name = world.name_of(self.number);
        let happens = world.operation(&name, more > 0 || has_hole)?;
        if !world.has_room_for(more) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.counters.writes += 1;
        world.counters.written_bytes += from.len() as u64;
        let pages = (offset + from.len() as u64).div_ceil(4096) - offset / 4096;
        world.counters.written_pages += pages;
        let keeps_durable = world.keeps_durable;
        let file = world.file(self.number)?;
        if keeps_durable {
            Arc::make_mut(&mut file.pending).push(Pending::Write(at, from.into()));
        }
        if !happens {
            return power_is_gone();
        }
        file.live.write(at, from);
        world.tell(if is_zeros(from) { Kind::Zeros } else { Kind::Write }, &name);
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
        let more = len.saturating_sub(world.file(self.number)?.live.len());
        let name = world.name_of(self.number);
        let happens = world.operation(&name, more > 0)?;
        if !world.has_room_for(more) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let keeps_durable = world.keeps_durable;
        let file = world.file(self.number)?;
        if keeps_durable {
            Arc::make_mut(&mut file.pending).push(Pending::Truncate(len));
        }
        if !happens {
            return power_is_gone();
        }
        file.live.resize(len);
        world.tell(Kind::Truncate, &name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world();
        let name = world.name_of(self.number);
        let happens = world.operation(&name, false)?;
        let failing = world.failing_sync();
        world.counters.syncs += 1;
        if !happens {
            return power_is_gone();
        }
        if failing.is_none() {
            world.tell(Kind::Sync, &name);
        }
        let file = world.file(self.number)?;
        match failing {
            None => {}
            Some(Fault::SyncKept(_)) => return Err(io::Error::other("the sync failed")),
            Some(_) => {
                // The pages count as clean now, and are not durable.
                file.pending = Arc::default();
                return Err(io::Error::other("the sync failed"));
            }
        }
        let pending = std::mem::take(&mut file.pending);
        for change in pending.iter() {
            apply(&mut file.durable, change);
        }
        file.has_no_length = false;
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
    fn a_sync_that_failed_and_kept_its_pages_writes_them_the_next_time() {
        let disk = SimDisk::new();
        let file = one_file(&disk);
        file.write_at(0, &[2; 10]).unwrap();
        disk.fail(Fault::SyncKept(0));
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(disk.reboot(Cut::Nothing).contents("f").unwrap()[0], 2);
    }

    #[test]
    fn whoever_watches_gets_the_disk_as_a_cut_at_that_moment_leaves_it() {
        let disk = SimDisk::new();
        let file = one_file(&disk);
        let seen: Arc<Mutex<Vec<(Kind, SimDisk)>>> = Arc::default();
        let to = seen.clone();
        disk.watch(Some(Arc::new(move |operation, fork| to.lock().unwrap().push((operation.kind, fork)))));
        file.write_at(4096, &[2; 10]).unwrap();
        file.sync().unwrap();
        file.write_at(0, &[0; 10]).unwrap();
        disk.watch(None);
        file.sync().unwrap();
        let seen = seen.lock().unwrap();
        let first_octets = |(_, fork): &(Kind, SimDisk), cut| {
            let after = fork.reboot(cut).contents("f").unwrap();
            (after[0], after[4096])
        };
        assert_eq!(seen.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Write, Kind::Sync, Kind::Zeros]);
        assert_eq!(first_octets(&seen[0], Cut::Nothing), (1, 1));
        assert_eq!(first_octets(&seen[0], Cut::Everything), (1, 2));
        assert_eq!(first_octets(&seen[1], Cut::Nothing), (1, 1));
        assert_eq!(first_octets(&seen[2], Cut::Nothing), (1, 2));
        assert_eq!(first_octets(&seen[2], Cut::Everything), (0, 2));
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
    fn what_is_removed_or_made_shorter_makes_room() {
        let disk = SimDisk::new();
        let file = one_file(&disk);
        disk.leave_room(Some(100));
        file.write_at(0, &[2; 8292]).unwrap();
        assert_eq!(file.write_at(8292, &[2]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.truncate(8293).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_at(0, &[3; 8292]).unwrap();
        file.truncate(8000).unwrap();
        assert_eq!(disk.free_bytes().unwrap(), 292);
        disk.create("g").unwrap().write_at(0, &[1; 292]).unwrap();
        disk.remove("f").unwrap();
        assert_eq!(disk.free_bytes().unwrap(), 8000);
        disk.leave_room(None);
        assert!(disk.free_bytes().unwrap() > 8292);
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
