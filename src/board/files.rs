//! The few operations that a FAT partition is asked for: one seam, so that a test can cut the power at each of them. Files
//! that exist are overwritten where they lie: FAT has no journal, and what changes no table can not break one.

use rustix::fs::{Advice, fadvise};
use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A sector: what a card writes whole.
pub(super) const SECTOR_BYTES: usize = 512;

/// The files of one folder, by names that may have a `/`.
pub(super) trait Files {
    /// A file's length, octets; `None` when there is no such file.
    fn len(&self, name: &str) -> io::Result<Option<u64>>;
    /// Fills as much of `octets` as the file has from `offset` on; answers how much that is.
    fn read_at(&self, name: &str, offset: u64, octets: &mut [u8]) -> io::Result<usize>;
    /// Overwrites, or makes the file longer; one that is not there is made.
    fn write_at(&self, name: &str, offset: u64, octets: &[u8]) -> io::Result<()>;
    /// Ends the file at `length`.
    fn cut_at(&self, name: &str, length: u64) -> io::Result<()>;
    /// Brings everything written to the file onto the disk, and forgets it in memory: what is read next is what lies there.
    fn sync(&self, name: &str) -> io::Result<()>;
    /// Removes the file.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file's first octets, at most `max`.
pub(super) fn read(files: &impl Files, name: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(length) = files.len(name)? else {
        return Ok(None);
    };
    let mut octets = vec![0; usize::try_from(length).unwrap_or(max).min(max)];
    let got = files.read_at(name, 0, &mut octets)?;
    octets.truncate(got);
    Ok(Some(octets))
}

/// A folder of this machine.
#[derive(Debug)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// The names of at most `max` plain files in its folder `of`, from this one on (empty: itself).
    pub(super) fn names(&self, of: &str, max: usize) -> io::Result<Vec<String>> {
        self.entries(of, max, FileType::is_file)
    }

    /// The same of folders.
    pub(super) fn folders(&self, of: &str, max: usize) -> io::Result<Vec<String>> {
        self.entries(of, max, FileType::is_dir)
    }

    fn entries(&self, of: &str, max: usize, is_wanted: fn(&FileType) -> bool) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.0.join(of))?.flatten();
        let wanted = entries.filter(|entry| entry.file_type().is_ok_and(|kind| is_wanted(&kind)));
        let names = wanted.filter_map(|entry| entry.file_name().into_string().ok());
        let before = if of.is_empty() { String::new() } else { format!("{of}/") };
        Ok(names.map(|name| format!("{before}{name}")).take(max).collect())
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.0.join(name))
    }
}

impl Files for Folder {
    fn len(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.0.join(name)) {
            Ok(facts) if facts.is_file() => Ok(Some(facts.len())),
            Ok(_) => Err(io::Error::other("this is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, name: &str, offset: u64, octets: &mut [u8]) -> io::Result<usize> {
        let file = File::open(self.0.join(name))?;
        let mut got = 0;
        while let Some(rest) = octets.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset.saturating_add(got as u64)) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    fn write_at(&self, name: &str, offset: u64, octets: &[u8]) -> io::Result<()> {
        let path = self.0.join(name);
        OpenOptions::new().write(true).create(true).truncate(false).open(path)?.write_all_at(octets, offset)
    }

    fn cut_at(&self, name: &str, length: u64) -> io::Result<()> {
        self.open(name)?.set_len(length)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let file = self.open(name)?;
        file.sync_all()?;
        // For the folder's entry, where the file is new or has another length.
        if let Some(parent) = self.0.join(name).parent() {
            File::open(parent)?.sync_all()?;
        }
        // A file system that keeps its octets in memory alone has nothing to forget.
        fadvise(&file, 0, None, Advice::DontNeed).unwrap_or_default();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }
}

/// A folder on a disk whose power is cut.
#[cfg(test)]
pub(super) mod simulated {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    /// One file: what is on the disk, and what was written since, in order.
    #[derive(Clone, Debug, Default)]
    struct Kept {
        durable: Option<Vec<u8>>,
        now: Option<Vec<u8>>,
        writes: Vec<(usize, Vec<u8>)>,
    }

    /// The folder. After `operations` changes and syncs every further one fails.
    #[derive(Debug)]
    pub(in crate::board) struct Disk {
        files: RefCell<BTreeMap<String, Kept>>,
        pub(in crate::board) operations: Cell<usize>,
        /// No file grows beyond so many octets.
        pub(in crate::board) room: Cell<usize>,
    }

    impl Disk {
        pub(in crate::board) fn new(files: &[(&str, Vec<u8>)]) -> Self {
            let kept =
                |octets: &Vec<u8>| Kept { durable: Some(octets.clone()), now: Some(octets.clone()), writes: vec![] };
            let files = files.iter().map(|(name, octets)| ((*name).to_owned(), kept(octets))).collect();
            Self { files: RefCell::new(files), operations: Cell::new(usize::MAX), room: Cell::new(usize::MAX) }
        }

        /// What is there when the power is back: of each file what was synced, and of what was written since, sector by
        /// sector, what `chance` says.
        pub(in crate::board) fn after_cut(&self, mut chance: impl FnMut() -> bool) -> Self {
            let mut files = BTreeMap::new();
            for (name, kept) in self.files.borrow().iter() {
                let survivor = match (&kept.durable, &kept.now) {
                    // Made or removed since: either.
                    (None, Some(_)) if !chance() => None,
                    (Some(_), None) if !chance() => None,
                    (durable, now) => {
                        let mut octets = durable.clone().unwrap_or_default();
                        for (offset, written) in &kept.writes {
                            for (index, sector) in written.chunks(SECTOR_BYTES).enumerate() {
                                let start = offset + index * SECTOR_BYTES;
                                if chance() {
                                    octets.resize(octets.len().max(start + sector.len()), 0);
                                    octets[start..start + sector.len()].copy_from_slice(sector);
                                }
                            }
                        }
                        if let Some(now) = now
                            && chance()
                        {
                            octets.resize(now.len(), 0);
                        }
                        Some(octets)
                    }
                };
                if survivor.is_some() {
                    files.insert(name.clone(), Kept { durable: survivor.clone(), now: survivor, writes: vec![] });
                }
            }
            Self { files: RefCell::new(files), operations: Cell::new(usize::MAX), room: Cell::new(usize::MAX) }
        }

        pub(in crate::board) fn content(&self, name: &str) -> Option<Vec<u8>> {
            self.files.borrow().get(name).and_then(|kept| kept.now.clone())
        }

        /// Everything that was ever left on the disk under any name, as far as the files tell.
        pub(in crate::board) fn holds(&self, words: &[u8]) -> bool {
            let has = |octets: &Option<Vec<u8>>| {
                octets.as_ref().is_some_and(|octets| octets.windows(words.len()).any(|window| window == words))
            };
            self.files.borrow().values().any(|kept| has(&kept.now) || has(&kept.durable))
        }

        fn step(&self) -> io::Result<()> {
            let left = self.operations.get();
            self.operations.set(left.saturating_sub(1));
            if left == 0 { Err(io::Error::other("the power is off")) } else { Ok(()) }
        }

        fn with<T>(&self, name: &str, work: impl FnOnce(&mut Kept) -> io::Result<T>) -> io::Result<T> {
            work(self.files.borrow_mut().entry(name.to_owned()).or_default())
        }
    }

    impl Files for Disk {
        fn len(&self, name: &str) -> io::Result<Option<u64>> {
            Ok(self.content(name).map(|octets| octets.len() as u64))
        }

        fn read_at(&self, name: &str, offset: u64, octets: &mut [u8]) -> io::Result<usize> {
            let content = self.content(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let rest = content.get(offset as usize..).unwrap_or_default();
            let length = rest.len().min(octets.len());
            octets[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }

        fn write_at(&self, name: &str, offset: u64, octets: &[u8]) -> io::Result<()> {
            let cut = self.step();
            let room = self.room.get().saturating_sub(offset as usize);
            let (octets, cut) = match octets.get(..room) {
                Some(fitting) if fitting.len() < octets.len() => (fitting, Err(io::ErrorKind::StorageFull.into())),
                _ => (octets, cut),
            };
            // The write that the cut meets may be there in part.
            self.with(name, |kept| {
                let now = kept.now.get_or_insert_default();
                let (start, end) = (offset as usize, offset as usize + octets.len());
                now.resize(now.len().max(end), 0);
                now[start..end].copy_from_slice(octets);
                kept.writes.push((start, octets.to_vec()));
                cut
            })
        }

        fn cut_at(&self, name: &str, length: u64) -> io::Result<()> {
            self.step()?;
            self.with(name, |kept| {
                kept.now.get_or_insert_default().truncate(length as usize);
                Ok(())
            })
        }

        fn sync(&self, name: &str) -> io::Result<()> {
            self.step()?;
            self.with(name, |kept| {
                kept.durable.clone_from(&kept.now);
                kept.writes.clear();
                Ok(())
            })
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.step()?;
            self.with(name, |kept| {
                kept.now = None;
                Ok(())
            })
        }
    }

    /// A small generator, the same for the same seed.
    pub(in crate::board) fn chance(seed: u64) -> impl FnMut() -> bool {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 33 & 1 == 1
        }
    }
}
