//! Sequence sets (RFC 3501 section 9, `sequence-set`): parsed, resolved against a mailbox, printed compactly.

use super::limits::SET_RANGES_MAX;
use crate::store::{Uid, UidRange, UidSet};

/// Message numbers or UIDs as a client writes them: `1,5:3,7:*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSet(Vec<Range>);

/// One range as written; [`STAR`] stands for `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    last: u32,
}

/// `*`, the largest number in use. 0 is no message's number, so it can stand for it.
const STAR: u32 = 0;

/// Why octets are no sequence set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetError {
    /// It breaks the grammar, or a number is 0 or above 4,294,967,295.
    Malformed,
    /// It has more than [`SET_RANGES_MAX`] ranges.
    TooMany,
}

impl SequenceSet {
    /// A set of one number, which must not be 0.
    pub fn one(number: u32) -> Self {
        Self(vec![Range { first: number, last: number }])
    }

    /// The set in `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, SetError> {
        let mut ranges: Vec<Range> = Vec::new();
        for piece in bytes.split(|&octet| octet == b',') {
            let range = match piece.iter().position(|&octet| octet == b':') {
                None => {
                    let number = number(piece)?;
                    Range { first: number, last: number }
                }
                Some(colon) => {
                    let (first, last) = piece.split_at_checked(colon).ok_or(SetError::Malformed)?;
                    let last = last.get(1..).unwrap_or_default();
                    Range::between(number(first)?, number(last)?)
                }
            };
            if let Some(previous) = ranges.last_mut().filter(|previous| previous.goes_on_with(range)) {
                previous.last = range.last;
            } else if ranges.len() < SET_RANGES_MAX {
                ranges.push(range);
            } else {
                return Err(SetError::TooMany);
            }
        }
        Ok(Self(ranges))
    }

    /// The numbers meant, when `largest` is the largest in use (0: there is none, so none is meant): ascending ranges
    /// that neither touch nor overlap, not confined to numbers in use. `*` and `9:*` mean at least `largest`.
    pub fn resolve(&self, largest: u32) -> Vec<(u32, u32)> {
        if largest == 0 {
            return Vec::new();
        }
        let star = |number: u32| if number == STAR { largest } else { number };
        let mut ranges: Vec<(u32, u32)> = self
            .0
            .iter()
            .map(|range| (star(range.first), star(range.last)))
            .map(|(first, last)| (first.min(last), first.max(last)))
            .collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let melts = next.0 <= kept.1.saturating_add(1);
            if melts {
                kept.1 = kept.1.max(next.1);
            }
            melts
        });
        ranges
    }

    /// As [`SequenceSet::resolve`], for UIDs.
    pub fn resolve_uids(&self, largest: Option<Uid>) -> UidSet {
        let mut set = UidSet::new();
        for (first, last) in self.resolve(largest.map_or(0, |uid| uid.0)) {
            set.insert_range(UidRange { first: Uid(first), last: Uid(last) });
        }
        set
    }

    /// Whether `*` is in it.
    pub fn has_star(&self) -> bool {
        self.0.iter().any(|range| range.first == STAR || range.last == STAR)
    }
}

impl Range {
    /// The range with its smaller number first; `*` is the larger one whatever the mailbox (RFC 3501: `*:4` is `4:*`).
    fn between(a: u32, b: u32) -> Self {
        match (a, b) {
            (STAR, b) => Self { first: b, last: STAR },
            (a, STAR) => Self { first: a, last: STAR },
            (a, b) => Self { first: a.min(b), last: a.max(b) },
        }
    }

    /// Whether `next` begins right after it, so that both are one range: phones list UIDs one by one. Never with `*`: where
    /// the largest number is 1, `1:44,45:*` means 1 to 45, and `1:*` only 1.
    fn goes_on_with(self, next: Self) -> bool {
        let is_open = self.last == STAR || next.first == STAR || next.last == STAR;
        !is_open && self.last.checked_add(1) == Some(next.first)
    }
}

/// `nz-number` or `*`.
fn number(bytes: &[u8]) -> Result<u32, SetError> {
    if bytes == b"*" {
        return Ok(STAR);
    }
    match super::lexer::decimal(bytes).map(u32::try_from) {
        Some(Ok(number)) if number != 0 => Ok(number),
        _ => Err(SetError::Malformed),
    }
}

/// Writes ranges as a set: `1:3,7`. An empty one writes nothing.
pub fn put_ranges(out: &mut Vec<u8>, ranges: impl IntoIterator<Item = (u32, u32)>) {
    for (n, (first, last)) in ranges.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        super::write::number(out, u64::from(first));
        if last != first {
            out.push(b':');
            super::write::number(out, u64::from(last));
        }
    }
}

/// Writes UIDs as a set: `1:3,7`.
pub fn put_uids(out: &mut Vec<u8>, uids: &UidSet) {
    put_ranges(out, uids.ranges().iter().map(|range| (range.first.0, range.last.0)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolved(text: &str, largest: u32) -> Vec<(u32, u32)> {
        SequenceSet::parse(text.as_bytes()).unwrap().resolve(largest)
    }

    #[test]
    fn sets_mean_what_the_rfc_says() {
        for (text, largest, expected, why) in [
            ("1", 9, vec![(1, 1)], "one"),
            ("2,4:7,9,12:*", 15, vec![(2, 2), (4, 7), (9, 9), (12, 15)], "RFC 3501 section 9, `sequence-set`"),
            ("*:4,5:7", 10, vec![(4, 10)], "the same: any order, overlaps"),
            ("7:5", 9, vec![(5, 7)], "reversed"),
            ("*", 9, vec![(9, 9)], "the largest"),
            ("*:*", 9, vec![(9, 9)], "the same twice"),
            ("12:*", 9, vec![(9, 12)], "RFC 3501 6.4.8: contains the largest, whatever the other end"),
            ("1,2,3,5", 9, vec![(1, 3), (5, 5)], "neighbours melt"),
            ("3,2,1", 9, vec![(1, 3)], "in any order"),
            ("1:*", 0, vec![], "an empty mailbox"),
            ("4294967295", 9, vec![(u32::MAX, u32::MAX)], "the largest number"),
        ] {
            assert_eq!(resolved(text, largest), expected, "{text}: {why}");
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in
            ["", "0", "1:0", "4294967296", "1,,2", ",1", "1,", "1:", ":1", "1:2:3", "a", "1 2", "-1", "1:*:", "**"]
        {
            assert_eq!(SequenceSet::parse(text.as_bytes()), Err(SetError::Malformed), "{text}");
        }
    }

    #[test]
    fn the_number_of_ranges_is_bounded_after_melting() {
        let list =
            |step: usize| (0..SET_RANGES_MAX + 1).map(|n| (n * step + 1).to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(SequenceSet::parse(list(2).as_bytes()), Err(SetError::TooMany));
        assert_eq!(resolved(&list(1), 1), [(1, u32::try_from(SET_RANGES_MAX).unwrap() + 1)]);
    }

    #[test]
    fn a_star_below_its_neighbour_does_not_melt() {
        assert_eq!(resolved("1:44,45:*", 1), [(1, 45)]);
    }

    proptest! {
        #[test]
        fn what_is_printed_means_the_same(numbers in prop::collection::btree_set(1_u32..200, 1..60)) {
            let uids: UidSet = numbers.iter().copied().map(Uid).collect();
            let mut out = Vec::new();
            put_uids(&mut out, &uids);
            let set = SequenceSet::parse(&out).unwrap();
            prop_assert!(!set.has_star());
            prop_assert_eq!(set.resolve_uids(Some(Uid(5))), uids);
        }

        #[test]
        fn resolving_keeps_every_number(ranges in prop::collection::vec((0_u32..50, 0_u32..50), 1..20), largest in 1_u32..60) {
            let name = |n: u32| if n == 0 { "*".to_owned() } else { n.to_string() };
            let text = ranges.iter().map(|&(a, b)| format!("{}:{}", name(a), name(b))).collect::<Vec<_>>().join(",");
            let resolved = resolved(&text, largest);
            for number in 1..70 {
                let star = |n: u32| if n == 0 { largest } else { n };
                let meant = ranges.iter().map(|&(a, b)| (star(a), star(b)));
                let meant = meant.map(|(a, b)| (a.min(b), a.max(b))).any(|(a, b)| (a..=b).contains(&number));
                prop_assert_eq!(resolved.iter().any(|&(a, b)| (a..=b).contains(&number)), meant);
            }
            prop_assert!(resolved.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "ascending, apart");
        }
    }
}
