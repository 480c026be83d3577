//! A disk with sectors that cannot be read.

use super::hooked::{Hook, Hooked};
use pigeon::store::sim::SimDisk;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// The system's number for a page that cannot be read.
const EIO: i32 = 5;

/// Octets that cannot be read, by file.
#[derive(Debug, Default)]
pub(crate) struct BadSectors(Mutex<Vec<(String, Range<u64>)>>);

/// A simulated disk where reads of some octets fail.
pub(crate) type Worn = Hooked<BadSectors>;

impl Worn {
    pub(crate) fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), hook: Arc::default() }
    }

    /// These octets of a file cannot be read from now on.
    pub(crate) fn spoil(&self, name: &str, octets: Range<u64>) {
        self.hook.0.lock().unwrap().push((name.to_owned(), octets));
    }
}

impl Hook for BadSectors {
    fn reads(&self, name: &str, octets: Range<u64>) -> io::Result<()> {
        let is_bad = |(of, bad): &(String, Range<u64>)| of == name && octets.start < bad.end && octets.end > bad.start;
        match self.0.lock().unwrap().iter().any(is_bad) {
            true => Err(io::Error::from_raw_os_error(EIO)),
            false => Ok(()),
        }
    }
}
