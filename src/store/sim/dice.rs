//! Chance that a seed repeats.

/// A small generator of our own (splitmix64), so that a seed means the same for ever.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// One of so many sides, from 0 on.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }

    /// One of these; nothing when there are none.
    pub fn pick<'a, O>(&mut self, from: &'a [O]) -> Option<&'a O> {
        from.get(usize::try_from(self.roll(from.len() as u64)).unwrap_or(usize::MAX))
    }

    /// So many octets that nothing makes shorter.
    pub fn octets(&mut self, bytes: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.roll(256).to_le_bytes()).map(|[octet, ..]| octet).take(bytes).collect()
    }
}
