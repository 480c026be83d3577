//! Octets read from a peer and not yet used. They may be a password: whatever is used, moved or given back is wiped first.
//! Never reads by itself, never grows beyond what it is given.

use crate::base::wipe;

/// Room grows by so much at once: a peer that sends octet by octet must not have them all copied with each.
const STEP_BYTES: usize = 1024;

/// Octets that wait, behind some that are used and wiped.
#[derive(Debug, Default)]
pub(super) struct Input {
    octets: Vec<u8>,
    used: usize,
}

impl Input {
    /// Octets not yet used.
    pub(super) fn waiting(&self) -> &[u8] {
        self.octets.get(self.used..).unwrap_or_default()
    }

    /// Memory that it takes once `count` octets more have come.
    pub(super) fn bytes_with(&self, count: usize) -> usize {
        self.octets.capacity().max((self.waiting().len() + count).next_multiple_of(STEP_BYTES))
    }

    /// Takes `octets` in.
    pub(super) fn extend(&mut self, octets: &[u8]) {
        let room = self.bytes_with(octets.len());
        if room > self.octets.capacity() {
            let mut larger = Vec::with_capacity(room);
            larger.extend_from_slice(self.waiting());
            *self = Self { octets: larger, used: 0 };
        } else if self.octets.capacity() - self.octets.len() < octets.len() {
            let waiting = self.waiting().len();
            self.octets.copy_within(self.used.., 0);
            wipe(self.octets.get_mut(waiting..).unwrap_or_default());
            self.octets.truncate(waiting);
            self.used = 0;
        }
        self.octets.extend_from_slice(octets);
    }

    /// The first `count` octets that wait are used.
    pub(super) fn consume(&mut self, count: usize) {
        let end = self.used.saturating_add(count).min(self.octets.len());
        wipe(self.octets.get_mut(self.used..end).unwrap_or_default());
        self.used = end;
        if self.used == self.octets.len() {
            self.octets.clear();
            self.used = 0;
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        wipe(&mut self.octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_used_is_wiped_and_what_moves_leaves_no_copy() {
        let mut input = Input::default();
        input.extend(b"LOGIN alice secret\r\nNOOP");
        input.consume(20);
        assert_eq!(input.octets, [&[0; 20], b"NOOP".as_slice()].concat());
        let filler = vec![b'x'; input.octets.capacity() - 10];
        input.extend(&filler);
        assert_eq!(input.used, 0, "moved to the front, for room");
        assert_eq!(input.waiting(), [b"NOOP", filler.as_slice()].concat());
        assert_eq!(input.octets.capacity(), STEP_BYTES);
    }

    proptest! {
        #[test]
        fn it_gives_back_what_it_took_in_the_room_it_said(steps in prop::collection::vec((0..3_000_usize, 0..3_000_usize), 1..30)) {
            let mut input = Input::default();
            let mut model = Vec::new();
            let mut next = 0_u8;
            for (come, go) in steps {
                let octets: Vec<u8> = (0..come).map(|_| { next = next.wrapping_add(1); next }).collect();
                let room = input.bytes_with(come);
                input.extend(&octets);
                prop_assert!(input.octets.capacity() <= room);
                model.extend_from_slice(&octets);
                input.consume(go);
                model.drain(..go.min(model.len()));
                prop_assert_eq!(input.waiting(), model.as_slice());
                prop_assert!(input.octets[..input.used].iter().all(|octet| *octet == 0));
            }
        }
    }
}
