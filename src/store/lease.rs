//! Which segments may not be deleted because somebody reads from them, or because a body in them belongs to no message yet.
//!
//! A reader says that it looks before it asks the index where a body lies, and pins what it was told; a body pins its
//! segments from its first chunk until its message is committed or refused. So a segment that nobody pins while nobody looks,
//! and that no row of the index names, is named by nobody ever again, provided it no longer grows.

use super::rows::Extent;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who holds what.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// Readers that have not yet been told where their body lies.
    looking: usize,
    /// Pins of each segment.
    pins: HashMap<u64, usize>,
}

/// A reader that is about to ask the index.
#[derive(Debug)]
pub(crate) struct Looking(Arc<Leases>);

/// A hold on some segments.
#[derive(Debug)]
pub(crate) struct Pins {
    leases: Arc<Leases>,
    segments: SmallVec<[u64; 2]>,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that somebody is about to ask where a body lies.
    pub(crate) fn look(self: &Arc<Self>) -> Looking {
        self.lock().looking += 1;
        Looking(self.clone())
    }

    /// Holds nothing yet.
    pub(crate) fn pins(self: &Arc<Self>) -> Pins {
        Pins { leases: self.clone(), segments: SmallVec::new() }
    }

    /// Whether nobody pins the segment.
    pub(crate) fn is_unpinned(&self, segment: u64) -> bool {
        !self.lock().pins.contains_key(&segment)
    }

    /// Whether nobody pins the segment and nobody is about to be told of it.
    pub(crate) fn is_free(&self, segment: u64) -> bool {
        let held = self.lock();
        held.looking == 0 && !held.pins.contains_key(&segment)
    }
}

impl Looking {
    /// Pins the segments that were found.
    pub(crate) fn pin(self, extents: &[Extent]) -> Pins {
        let mut pins = self.0.pins();
        for extent in extents {
            pins.add(extent.segment);
        }
        pins
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        let mut held = self.0.lock();
        held.looking = held.looking.saturating_sub(1);
    }
}

impl Pins {
    /// Holds this segment too.
    pub(crate) fn add(&mut self, segment: u64) {
        if !self.segments.contains(&segment) {
            *self.leases.lock().pins.entry(segment).or_default() += 1;
            self.segments.push(segment);
        }
    }

    /// Holds what `other` held.
    pub(crate) fn join(&mut self, other: &Self) {
        for segment in &other.segments {
            self.add(*segment);
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut held = self.leases.lock();
        for segment in &self.segments {
            if let Some(count) = held.pins.get_mut(segment) {
                *count -= 1;
                if *count == 0 {
                    held.pins.remove(segment);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_free_when_nobody_looks_and_nobody_pins_it() {
        let leases = Arc::new(Leases::default());
        let extent = |segment| Extent { segment, offset: 0, stored_bytes: 1, raw_bytes: 1 };
        let looking = leases.look();
        assert!(leases.is_unpinned(7) && !leases.is_free(7) && !leases.is_free(8));
        let reader = looking.pin(&[extent(7), extent(9), extent(7)]);
        assert!(!leases.is_free(7) && leases.is_free(8) && !leases.is_free(9));
        let mut body = leases.pins();
        body.add(8);
        let mut whole = leases.pins();
        whole.join(&body);
        drop((reader, body));
        assert!(leases.is_free(7) && !leases.is_free(8));
        drop((whole, leases.look()));
        assert!(leases.is_free(8) && leases.lock().pins.is_empty() && leases.lock().looking == 0);
    }
}
