//! A simulated disk with something in the way: a hook that is told of what is about to be done and may refuse it, hold it up, or
//! panic. The one disk that all tests wrap around another.

use pigeon::store::sim::SimDisk;
use pigeon::store::{Disk, DiskFile, Lock};
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// What stands in the way; whatever it does not mention goes through.
pub(crate) trait Hook: Debug + Send + Sync + 'static {
    /// Octets of a file are about to be read.
    fn reads(&self, _name: &str, _octets: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    /// Octets of a file are about to be written.
    fn writes(&self, _name: &str, _octets: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    /// A file is about to become so long.
    fn truncates(&self, _name: &str, _len: u64) {}
    /// A file is about to be synced.
    fn syncs(&self, _name: &str) {}
    /// A file is there, empty.
    fn created(&self, _name: &str) {}
    /// A file has another name.
    fn renamed(&self, _from: &str, _to: &str) {}
    /// A file is gone.
    fn removed(&self, _name: &str) {}
    /// Octets that are free, if the hook knows better than the disk.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// A disk with a hook; clones are the same one.
#[derive(Debug)]
pub(crate) struct Hooked<H> {
    pub(crate) disk: SimDisk,
    pub(crate) hook: Arc<H>,
}

impl<H> Clone for Hooked<H> {
    fn clone(&self) -> Self {
        Self { disk: self.disk.clone(), hook: self.hook.clone() }
    }
}

#[derive(Debug)]
struct HookedFile<H> {
    file: Arc<dyn DiskFile>,
    /// The name it was opened by.
    name: String,
    hook: Arc<H>,
}

impl<H: Hook> Hooked<H> {
    fn wrap(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(HookedFile { file, name: name.to_owned(), hook: self.hook.clone() })
    }
}

impl<H: Hook> Disk for Hooked<H> {
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.disk.lock()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.disk.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(name)?;
        self.hook.created(name);
        Ok(self.wrap(name, file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)?;
        self.hook.renamed(from, to);
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)?;
        self.hook.removed(name);
        Ok(())
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.hook.free_bytes().map_or_else(|| self.disk.free_bytes(), Ok)
    }
    fn chance(&self) -> u32 {
        self.disk.chance()
    }
}

impl<H: Hook> DiskFile for HookedFile<H> {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        self.hook.reads(&self.name, offset..offset + to.len() as u64)?;
        self.file.read_at(offset, to)
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.hook.writes(&self.name, offset..offset + from.len() as u64)?;
        self.file.write_at(offset, from)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.hook.truncates(&self.name, len);
        self.file.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.hook.syncs(&self.name);
        self.file.sync()
    }
}
