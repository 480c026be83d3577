//! A disk with sectors that cannot be read.

use pigeon::store::sim::SimDisk;
use pigeon::store::*;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// The system's number for a page that cannot be read.
const EIO: i32 = 5;

type Bad = Arc<Mutex<Vec<(String, Range<u64>)>>>;

/// A simulated disk where reads of some octets fail.
#[derive(Clone, Debug)]
pub(crate) struct Worn {
    disk: SimDisk,
    bad: Bad,
}

#[derive(Debug)]
struct WornFile {
    file: Arc<dyn DiskFile>,
    name: String,
    bad: Bad,
}

impl Worn {
    pub(crate) fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), bad: Arc::default() }
    }

    /// These octets of a file cannot be read from now on.
    pub(crate) fn spoil(&self, name: &str, octets: Range<u64>) {
        self.bad.lock().unwrap().push((name.to_owned(), octets));
    }

    fn wrap(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(WornFile { file, name: name.to_owned(), bad: self.bad.clone() })
    }
}

impl Disk for Worn {
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.disk.lock()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.disk.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.disk.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
    fn chance(&self) -> u32 {
        self.disk.chance()
    }
}

impl DiskFile for WornFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        let end = offset + to.len() as u64;
        let is_bad = |(name, bad): &(String, Range<u64>)| *name == self.name && offset < bad.end && end > bad.start;
        if self.bad.lock().unwrap().iter().any(is_bad) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.file.read_at(offset, to)
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, from)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
