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

    /// Whether `next` begins right after it, so that both are one range: phones list UIDs one by one.
    fn goes_on_with(self, next: Self) -> bool {
        self.last != STAR && next.first != STAR && self.last.checked_add(1) == Some(next.first)
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
