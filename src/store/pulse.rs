//! Whether the writer is alive, for a watchdog that ends the process when it is not. Counts only; no clock, no thread.
//!
//! The writer is alive while it rests because nothing waits for it, while it gets on with its work, and while the disk
//! makes it wait. A card may take a minute for one sync; ending the process would not hurry it, and would cost every
//! connection. What is left is a writer that has work, does nothing, and waits for no disk: it never will.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

thread_local! {
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// Signs of life.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Operations of the disk that the writer has ended, and pieces of work that it has begun.
    beats: AtomicU64,
    /// Operations of the disk under way, by whatever thread: the writer may wait for a lock whose holder waits for the disk.
    under_way: AtomicUsize,
    /// How often there was none under way.
    rests: AtomicU64,
}

/// What was seen of a writer at one look, to be compared with the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    beats: u64,
    rests: u64,
    had_work: bool,
}

/// How a writer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It rests, or gets on.
    Alive,
    /// It has waited for the disk since the look before.
    Waiting,
    /// It has had work since the look before, and has done nothing.
    Stuck,
}

impl Pulse {
    /// From now on this thread is the writer.
    pub(crate) fn of_this_thread() {
        IS_WRITER.set(true);
    }

    /// A sign of life.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Does something with the disk.
    pub(crate) fn during<T>(&self, operation: impl FnOnce() -> T) -> T {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        let done = operation();
        if IS_WRITER.get() {
            self.beat();
        }
        if self.under_way.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.rests.fetch_add(1, Ordering::AcqRel);
        }
        done
    }

    /// Looks at the writer and compares with the look before; `has_work`: it does not rest.
    pub(crate) fn look(&self, has_work: bool, last: &mut Look) -> Found {
        let beats = self.beats.load(Ordering::Relaxed);
        let rests = self.rests.load(Ordering::Acquire);
        let is_under_way = self.under_way.load(Ordering::Acquire) > 0;
        let now = Look { beats, rests, had_work: has_work };
        let before = std::mem::replace(last, now);
        if !has_work || !before.had_work || beats != before.beats {
            Found::Alive
        } else if is_under_way && rests == before.rests {
            Found::Waiting
        } else {
            Found::Stuck
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_stuck_when_it_has_work_and_neither_it_nor_the_disk_does_anything() {
        let (pulse, mut last) = (Pulse::default(), Look::default());
        assert_eq!(pulse.look(false, &mut last), Found::Alive, "nothing to do");
        assert_eq!(pulse.look(true, &mut last), Found::Alive, "it came a moment ago");
        pulse.beat();
        assert_eq!(pulse.look(true, &mut last), Found::Alive, "it gets on");
        assert_eq!(pulse.look(true, &mut last), Found::Stuck);
        assert_eq!(pulse.look(true, &mut last), Found::Stuck, "still");
        assert_eq!(pulse.look(false, &mut last), Found::Alive, "it was only slow");
    }

    #[test]
    fn whoever_waits_for_the_disk_is_not_stuck() {
        let (pulse, mut last) = (Pulse::default(), Look::default());
        // Somebody's operation, begun before the first look and not ended at the second.
        pulse.during(|| {
            assert_eq!(pulse.look(true, &mut last), Found::Alive);
            assert_eq!(pulse.look(true, &mut last), Found::Waiting);
        });
        assert_eq!(pulse.look(true, &mut last), Found::Stuck, "the disk has answered, and nothing came of it");
        // Others' operations that come and go say nothing of the writer; its own do.
        for _ in 0..3 {
            pulse.during(|| ());
        }
        pulse.during(|| assert_eq!(pulse.look(true, &mut last), Found::Stuck));
        IS_WRITER.set(true);
        pulse.during(|| ());
        IS_WRITER.set(false);
        assert_eq!(pulse.look(true, &mut last), Found::Alive);
    }
}
