//! What a file of the simulated disk holds: pages that copies share until one of them is written.

use std::sync::{Arc, LazyLock};

const PAGE_BYTES: usize = 4096;
static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
/// Every page of zeros that was written.
static ZERO_PAGE: LazyLock<Page> = LazyLock::new(|| Arc::new(ZEROS));

type Page = Arc<[u8; PAGE_BYTES]>;

/// A file's octets; a page that was never written is a hole.
#[derive(Clone, Debug, Default)]
#[expect(clippy::rc_buffer, reason = "shared until it is written to, then copied")]
pub(super) struct Content {
    len: usize,
    pages: Arc<Vec<Option<Page>>>,
}

/// Whether there is nothing but zeros.
pub(super) fn is_zeros(octets: &[u8]) -> bool {
    octets.chunks(PAGE_BYTES).all(|part| ZEROS.get(..part.len()) == Some(part))
}

impl From<&[u8]> for Content {
    fn from(octets: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, octets);
        content
    }
}

impl Content {
    /// Octets in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of it.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut octets = vec![0; self.len];
        self.read(0, &mut octets);
        octets
    }

    /// Fills `to` from `offset`; false when it ends before.
    pub(super) fn read(&self, offset: usize, to: &mut [u8]) -> bool {
        if offset.checked_add(to.len()).is_none_or(|end| end > self.len) {
            return false;
        }
        let mut at = offset;
        let mut rest = to;
        while !rest.is_empty() {
            let within = at % PAGE_BYTES;
            let (now, later) = rest.split_at_mut((PAGE_BYTES - within).min(rest.len()));
            let page = self.pages.get(at / PAGE_BYTES).and_then(Option::as_ref);
            match page.and_then(|page| page.get(within..within + now.len())) {
                Some(part) => now.copy_from_slice(part),
                None => now.fill(0),
            }
            at += now.len();
            rest = later;
        }
        true
    }

    /// Writes `from` at `offset`, longer than before where needed.
    pub(super) fn write(&mut self, offset: usize, from: &[u8]) {
        self.len = self.len.max(offset + from.len());
        let pages = Arc::make_mut(&mut self.pages);
        pages.resize(self.len.div_ceil(PAGE_BYTES), None);
        let (mut at, mut rest) = (offset, from);
        while !rest.is_empty() {
            let within = at % PAGE_BYTES;
            let (now, later) = rest.split_at((PAGE_BYTES - within).min(rest.len()));
            let place = pages.get_mut(at / PAGE_BYTES);
            if let Some(place @ None) = place.filter(|_| is_zeros(now)) {
                *place = Some(ZERO_PAGE.clone());
            } else if let Some(place) = pages.get_mut(at / PAGE_BYTES) {
                let page = Arc::make_mut(place.get_or_insert_with(|| Arc::new([0; PAGE_BYTES])));
                if let Some(part) = page.get_mut(within..within + now.len()) {
                    part.copy_from_slice(now);
                }
            }
            at += now.len();
            rest = later;
        }
    }

    /// Whether a page of this stretch was never written: on a disk it has no place yet.
    pub(super) fn has_hole(&self, offset: usize, bytes: usize) -> bool {
        let pages = offset / PAGE_BYTES..(offset + bytes).div_ceil(PAGE_BYTES);
        self.pages.get(pages).is_none_or(|pages| pages.iter().any(Option::is_none))
    }

    /// Makes it exactly so long; what is new is zeros, without a place.
    pub(super) fn resize(&mut self, len: usize) {
        let pages = Arc::make_mut(&mut self.pages);
        pages.resize(len.div_ceil(PAGE_BYTES), None);
        if len < self.len
            && let Some(Some(last)) = pages.get_mut(len / PAGE_BYTES)
        {
            Arc::make_mut(last).iter_mut().skip(len % PAGE_BYTES).for_each(|octet| *octet = 0);
        }
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sim::Dice;

    #[test]
    fn it_holds_what_a_plain_vector_holds() {
        let (mut content, mut plain) = (Content::default(), Vec::<u8>::new());
        let mut dice = Dice(7);
        let mut roll = |sides: u64| usize::try_from(dice.roll(sides)).unwrap();
        for n in 0..2_000u32 {
            let before = content.clone();
            let was = plain.clone();
            if roll(4) == 0 {
                let len = roll(40_000);
                content.resize(len);
                plain.resize(len, 0);
            } else {
                let (at, from) = (roll(30_000), vec![(n % 3) as u8; roll(10_000)]);
                content.write(at, &from);
                plain.resize(plain.len().max(at + from.len()), 0);
                plain[at..at + from.len()].copy_from_slice(&from);
            }
            assert_eq!(content.to_vec(), plain);
            assert_eq!(before.to_vec(), was, "a copy changes with what it was copied from");
            let mut part = vec![9; 100.min(plain.len())];
            let at = roll((plain.len() - part.len() + 1) as u64);
            assert!(content.read(at, &mut part));
            assert_eq!(part, plain[at..at + part.len()]);
            assert!(!content.read(plain.len(), &mut [0]));
        }
    }
}
