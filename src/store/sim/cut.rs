//! A file's changes that were not synced, and what a power cut leaves of them.

use super::content::Content;
use super::dice::Dice;
use std::sync::Arc;

/// The smallest part of a write that a tear may leave old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Any byte.
    Byte,
    /// 512 bytes.
    Sector,
    /// 4,096 bytes.
    Page,
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Nothing,
    /// Everything, as if it had been written back in time.
    Everything,
    /// Some writes, in any order, some of them in part: the seed decides.
    Some(Tear, u64),
}

#[derive(Clone, Default)]
#[expect(clippy::rc_buffer, reason = "shared until it is written to, then copied")]
pub(super) struct File {
    pub(super) live: Content,
    pub(super) durable: Content,
    pub(super) pending: Arc<Vec<Pending>>,
    /// It has a new name on FAT, where that says a length only once the file is synced.
    pub(super) has_no_length: bool,
}

#[derive(Clone)]
pub(super) enum Pending {
    Write(usize, Arc<[u8]>),
    Truncate(usize),
}

pub(super) fn apply(to: &mut Content, change: &Pending) {
    match change {
        Pending::Write(offset, from) => to.write(*offset, from),
        Pending::Truncate(len) => to.resize(*len),
    }
}

/// What a cut leaves of a file.
pub(super) fn after_cut(file: &File, cut: Cut, dice: &mut Dice) -> File {
    let mut contents = file.durable.clone();
    for change in file.pending.iter() {
        match (cut, change) {
            (Cut::Nothing, _) => {}
            (Cut::Everything, change) => apply(&mut contents, change),
            (Cut::Some(tear, _), Pending::Write(offset, from)) => tear_into(&mut contents, *offset, from, tear, dice),
            (Cut::Some(..), Pending::Truncate(_)) => {
                if dice.roll(2) == 0 {
                    apply(&mut contents, change);
                }
            }
        }
    }
    let is_lost = match cut {
        Cut::Nothing => file.has_no_length,
        Cut::Everything => false,
        Cut::Some(..) => file.has_no_length && dice.roll(2) == 0,
    };
    if is_lost {
        contents = Content::default();
    }
    File { live: contents.clone(), durable: contents, ..File::default() }
}

/// Lets a write arrive whole, not at all, or in part.
fn tear_into(to: &mut Content, offset: usize, from: &[u8], tear: Tear, dice: &mut Dice) {
    match dice.roll(3) {
        0 => return,
        1 => return to.write(offset, from),
        _ => {}
    }
    let unit = match tear {
        Tear::Byte => 1,
        Tear::Sector => 512,
        Tear::Page => 4096,
    };
    if dice.roll(2) == 0 {
        // The first so many units came.
        let units = from.len().div_ceil(unit) as u64;
        let bytes = usize::try_from(dice.roll(units + 1)).unwrap_or(0) * unit;
        return to.write(offset, from.get(..bytes.min(from.len())).unwrap_or(from));
    }
    // Some units came, in any order; single bytes in runs of up to 64, or nothing would ever be whole.
    let mut at = 0;
    while at < from.len() {
        let run = if unit == 1 { 1 + usize::try_from(dice.roll(64)).unwrap_or(0) } else { unit };
        let end = (at + run).min(from.len());
        if dice.roll(2) == 0
            && let Some(part) = from.get(at..end)
        {
            to.write(offset + at, part);
        }
        at = end;
    }
}
