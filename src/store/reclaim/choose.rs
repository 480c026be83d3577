//! Which segments are worth emptying. Pure.

use crate::store::segment::Kind;

/// Dead octets may be so much of the live ones, in percent,
const DEAD_PERCENT_MAX: u64 = 15;
/// and are brought down by so much more: emptying few at a time, the emptiest, costs the least for each octet that it frees.
const DEAD_PERCENT_LESS: u64 = 3;
/// However much is dead in segments that cannot go yet, the others may be dead to so much, in percent of what is live.
const DEAD_PERCENT_MIN: u64 = 5;
/// A segment that is live to more than so much of its length, in percent, is left alone.
const LIVE_PERCENT_MAX: u64 = 85;
/// Segments that are emptied in one pass at the most: one look at every body serves all of them.
const SPARSE_MAX: usize = 16;
/// Empty segments that are deleted in one pass at the most.
const EMPTY_MAX: usize = 256;

const _: () = assert!(DEAD_PERCENT_LESS < DEAD_PERCENT_MIN && DEAD_PERCENT_MIN < DEAD_PERCENT_MAX);

/// A segment that no longer grows and that no replay needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    /// Its file's length.
    pub(crate) bytes: u64,
    /// Octets of it that messages need.
    pub(crate) live_bytes: u64,
}

impl Sealed {
    pub(crate) fn dead_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.live_bytes)
    }

    fn is_sparse(&self) -> bool {
        self.live_bytes.saturating_mul(100) <= self.bytes.saturating_mul(LIVE_PERCENT_MAX)
    }
}

/// Octets of the whole store.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// That messages need.
    pub(crate) live_bytes: u64,
    /// Dead in segments that cannot go yet.
    pub(crate) stuck_bytes: u64,
    /// Too few for a pass.
    pub(crate) spare_bytes: u64,
}

impl Totals {
    /// What may be dead in segments that can go.
    fn allowed_bytes(&self) -> u64 {
        let of_live = |percent: u64| self.live_bytes.saturating_mul(percent) / 100;
        let allowed = of_live(DEAD_PERCENT_MAX).saturating_sub(self.stuck_bytes);
        allowed.max(of_live(DEAD_PERCENT_MIN)).max(self.spare_bytes)
    }

    /// What may be dead in them after a pass.
    fn goal_bytes(&self) -> u64 {
        self.allowed_bytes().saturating_sub(self.live_bytes.saturating_mul(DEAD_PERCENT_LESS) / 100)
    }
}

/// What goes in the next pass: whatever is empty if it adds up, and when too much is dead in all, the emptiest of the others,
/// as far as copies of what they hold take no more than so many octets.
pub(crate) fn choose(sealed: &[Sealed], totals: Totals, mut copy_bytes_max: u64) -> Vec<Sealed> {
    let (mut chosen, mut others): (Vec<Sealed>, Vec<Sealed>) =
        sealed.iter().partition(|segment| segment.live_bytes == 0);
    chosen.truncate(EMPTY_MAX);
    if chosen.iter().map(Sealed::dead_bytes).sum::<u64>() < totals.spare_bytes {
        chosen.clear();
    }
    let mut dead_bytes: u64 = others.iter().map(Sealed::dead_bytes).sum();
    if dead_bytes <= totals.allowed_bytes() {
        return chosen;
    }
    others.retain(Sealed::is_sparse);
    // By live / length, without a division: a/b < c/d when a * d < c * b.
    others.sort_by(|a, b| {
        let product = |x: u64, y: u64| u128::from(x) * u128::from(y);
        product(a.live_bytes, b.bytes).cmp(&product(b.live_bytes, a.bytes)).then(a.number.cmp(&b.number))
    });
    for segment in others.into_iter().take(SPARSE_MAX) {
        if dead_bytes <= totals.goal_bytes() || segment.live_bytes > copy_bytes_max {
            break;
        }
        copy_bytes_max = copy_bytes_max.saturating_sub(segment.live_bytes);
        dead_bytes = dead_bytes.saturating_sub(segment.dead_bytes());
        chosen.push(segment);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(number: u64, bytes: u64, live_bytes: u64) -> Sealed {
        Sealed { kind: Kind::Body, number, bytes, live_bytes }
    }

    fn numbers(segments: &[Sealed], (live_bytes, stuck_bytes, spare_bytes): (u64, u64, u64)) -> Vec<u64> {
        let totals = Totals { live_bytes, stuck_bytes, spare_bytes };
        choose(segments, totals, u64::MAX).iter().map(|segment| segment.number).collect()
    }

    #[test]
    fn what_is_empty_always_goes_and_the_rest_when_too_much_is_dead() {
        type Row<'a> = (&'a str, &'a [Sealed], (u64, u64, u64), &'a [u64]);
        let table: [Row<'_>; 11] = [
            ("nothing there", &[], (0, 0, 0), &[]),
            ("an empty one", &[sealed(1, 100, 0), sealed(2, 100, 100)], (1_000, 0, 0), &[1]),
            ("as much dead as may be", &[sealed(1, 250, 100)], (1_000, 0, 0), &[]),
            ("a little more", &[sealed(1, 251, 100)], (1_000, 0, 0), &[1]),
            (
                "the emptiest first, until enough goes",
                &[sealed(1, 1_000, 800), sealed(2, 300, 150)],
                (1_000, 0, 0),
                &[2, 1],
            ),
            ("... and no more", &[sealed(1, 300, 200), sealed(2, 300, 150)], (1_000, 0, 0), &[2]),
            ("nothing that is nearly full", &[sealed(1, 9_000, 8_000)], (1_000, 0, 0), &[]),
            ("less may be dead when other segments cannot go", &[sealed(1, 201, 100)], (1_000, 50, 0), &[1]),
            ("... but a little always", &[sealed(1, 150, 100)], (1_000, 900, 0), &[]),
            ("an empty one that is not worth it", &[sealed(1, 100, 0)], (1_000, 0, 101), &[]),
            ("little, in a small store", &[sealed(1, 251, 100)], (1_000, 0, 200), &[]),
        ];
        for (what, segments, totals, expected) in table {
            assert_eq!(numbers(segments, totals), expected, "{what}");
        }
    }

    #[test]
    fn what_is_copied_finds_room_and_what_is_empty_needs_none() {
        let segments = [sealed(1, 100, 0), sealed(2, 100, 10), sealed(3, 100, 20), sealed(4, 100, 30)];
        for (copy_bytes_max, expected) in [(0, 1), (9, 1), (10, 2), (29, 2), (30, 3), (60, 4), (u64::MAX, 4)] {
            let chosen = choose(&segments, Totals::default(), copy_bytes_max);
            assert_eq!(chosen, segments[..expected], "{copy_bytes_max}");
        }
    }

    #[test]
    fn a_pass_takes_so_many_and_no_more() {
        let empty: Vec<_> = (0..1_000).map(|n| sealed(n, 100, 0)).collect();
        assert_eq!(numbers(&empty, (0, 0, 0)).len(), EMPTY_MAX);
        let sparse: Vec<_> = (0..1_000).map(|n| sealed(n, 100, 1)).collect();
        assert_eq!(numbers(&sparse, (1_000, 0, 0)).len(), SPARSE_MAX);
    }
}
