//! The index's files: the one in use, one that is being made beside it, and damaged ones that were set aside.

use crate::store::disk::{Disk, DiskFile};
use std::io;
use std::sync::Arc;

pub(super) const FILE: &str = "index.redb";
pub(super) const TEMPORARY: &str = "index.redb.tmp";

/// Indexes that were set aside and are kept, the newest.
const ASIDE_KEPT: usize = 2;

/// Whether there is an index with anything in it.
pub(crate) fn is_there(disk: &dyn Disk) -> io::Result<bool> {
    match disk.open(FILE) {
        Ok(file) => Ok(file.len()? > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what is left of an index that was made beside the one there is and is not to take its place.
#[derive(Debug)]
pub(crate) struct Unpublished<'a>(pub(crate) &'a dyn Disk);

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        // One that has taken its place is not there any more.
        drop(self.0.remove(TEMPORARY));
    }
}

/// Puts the index aside, if there is one, where nobody looks for one; says where. Only the newest are kept.
pub(super) fn set_aside(disk: &dyn Disk) -> io::Result<Option<String>> {
    let names = disk.list("")?;
    if !names.iter().any(|name| name == FILE) {
        return Ok(None);
    }
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| aside_number(name)).collect();
    numbers.sort_unstable();
    let aside = format!("{FILE}.broken-{}", numbers.last().map_or(1, |last| last.saturating_add(1)));
    disk.rename(FILE, &aside)?;
    for old in numbers.iter().rev().skip(ASIDE_KEPT - 1) {
        if let Err(error) = disk.remove(&format!("{FILE}.broken-{old}")) {
            log::warn!("removing {FILE}.broken-{old}: {error}");
        }
    }
    Ok(Some(aside))
}

/// The names of indexes that were put aside.
pub(crate) fn aside(disk: &dyn Disk) -> Vec<String> {
    let mut names = disk.list("").unwrap_or_default();
    names.retain(|name| aside_number(name).is_some());
    names
}

fn aside_number(name: &str) -> Option<u32> {
    name.strip_prefix(FILE)?.strip_prefix(".broken-")?.parse().ok()
}

/// redb's pages go over the same seam.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<dyn DiskFile>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
