//! What the simulated disk holds, counts and is told to fail.

use super::cut::File;
use super::{Counters, Fault, Kind, Operation, SimDisk, Watcher};
use std::collections::BTreeMap;
use std::{fmt, io};

#[derive(Default)]
pub(super) struct World {
    pub(super) files: Vec<File>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    /// Changes of names since their folder was synced.
    pub(super) pending_names: Vec<(String, Option<usize>)>,
    pub(super) counters: Counters,
    pub(super) faults: Vec<(u64, Fault)>,
    pub(super) stop_at: Option<u64>,
    pub(super) is_off: bool,
    /// Octets that all files together may have.
    pub(super) room: Option<u64>,
    /// Whether durable contents are kept; figures do not need them.
    pub(super) keeps_durable: bool,
    /// Whether names are as FAT has them.
    pub(super) is_fat: bool,
    pub(super) watcher: Option<Hidden>,
}

/// A watcher, which has nothing to print.
#[derive(Clone)]
pub(super) struct Hidden(pub(super) Watcher);

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({} files)", self.files.len())
    }
}

impl World {
    /// Counts a changing operation; false in the answer says that it fails half-way because the power goes.
    pub(super) fn operation(&mut self, name: &str, needs_room: bool) -> io::Result<bool> {
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
                Fault::FullIn(of) if !name.starts_with(of) => {}
                Fault::Full | Fault::FullIn(_) if needs_room => {
                    self.counters.full += 1;
                    return Err(io::ErrorKind::StorageFull.into());
                }
                Fault::Operation(..) | Fault::Full | Fault::FullIn(_) => {}
                Fault::Sync(_) | Fault::SyncKept(_) | Fault::Read(_) | Fault::ReadEio(_) => {}
            }
        }
        Ok(true)
    }

    /// Octets of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().filter_map(|file| self.files.get(*file)).map(|file| file.live.len() as u64).sum()
    }

    /// Whether so many octets more find room.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        bytes == 0 || self.room.is_none_or(|room| self.used_bytes() + bytes as u64 <= room)
    }

    /// Whether this sync fails, and how.
    pub(super) fn failing_sync(&self) -> Option<Fault> {
        let number = self.counters.syncs;
        let is_sync = |fault: &Fault| matches!(fault, Fault::Sync(_) | Fault::SyncKept(_));
        self.faults.iter().find(|(from, fault)| is_sync(fault) && *from == number).map(|(_, fault)| *fault)
    }

    pub(super) fn failing_read(&self) -> Option<io::Error> {
        let number = self.counters.reads;
        self.faults.iter().filter(|(from, _)| *from == number).find_map(|(_, fault)| match fault {
            Fault::Read(_) => Some(io::Error::other("the read failed")),
            Fault::ReadEio(_) => Some(io::Error::from_raw_os_error(EIO)),
            Fault::Operation(..) | Fault::Sync(_) | Fault::SyncKept(_) | Fault::Full | Fault::FullIn(_) => None,
        })
    }

    /// Tells whoever watches, with the disk as it would be found after a cut now.
    pub(super) fn tell(&self, kind: Kind, name: &str) {
        let Some(Hidden(watcher)) = &self.watcher else {
            return;
        };
        let world = Self {
            files: self.files.clone(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            is_fat: self.is_fat,
            pending_names: self.pending_names.clone(),
            counters: self.counters,
            room: self.room,
            keeps_durable: self.keeps_durable,
            is_off: true,
            ..Self::default()
        };
        watcher(&Operation { kind, name }, SimDisk::of(world));
    }

    pub(super) fn name_of(&self, number: usize) -> String {
        self.names.iter().find(|(_, file)| **file == number).map_or_else(String::new, |(name, _)| name.clone())
    }

    pub(super) fn file(&mut self, number: usize) -> io::Result<&mut File> {
        self.files.get_mut(number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn rename(&mut self, name: &str, file: Option<usize>) {
        set_name(&mut self.names, name, file);
        self.pending_names.push((name.to_owned(), file));
    }
}

/// The system's number for a page that cannot be read.
const EIO: i32 = 5;

pub(super) fn set_name(names: &mut BTreeMap<String, usize>, name: &str, file: Option<usize>) {
    match file {
        Some(file) => names.insert(name.to_owned(), file),
        None => names.remove(name),
    };
}
