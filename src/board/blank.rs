//! The free space of the card's FAT overwritten once with zeros, after a start that erased something: an editor that writes a
//! file anew leaves its earlier drafts there, with the passwords in them. A file takes all that is free and is removed.
//!
//! | step | what a cut behind it leaves | who cleans up |
//! |---|---|---|
//! | an empty file is made, synced, before anything is erased | the file: it is to be done | done by this start or the next |
//! | the file grows with zeros until nothing is free, synced | a FAT without room | the next start empties the file first, and does it again |
//! | the file is removed | nothing, or the file | done again |

use super::files::{Files, Folder};
use std::io;
use std::path::Path;

/// What takes the space; while it is there, it is to be done.
const FILLER: &str = "pigeon-zeros.tmp";
/// No card's FAT is larger, octets; of one that is, so much is overwritten.
const FILL_BYTES_MAX: u64 = 1 << 30;
/// Written at once, octets.
const STEP_BYTES: usize = 256 * 1024;
/// Written until it is brought onto the card: memory is for the mail.
const SYNC_BYTES: u64 = 4 << 20;
/// The last free clusters are filled in these steps, octets.
const LAST_BYTES: usize = 512;

/// Notes that it is to be done.
pub(super) fn note(files: &impl Files) -> io::Result<()> {
    files.write_at(FILLER, 0, b"").and_then(|()| files.sync(FILLER))
}

/// Gives back what a cut left taken. To be called before anything is written.
pub(super) fn give_back(files: &impl Files) -> io::Result<()> {
    match files.len(FILLER)? {
        None | Some(0) => Ok(()),
        Some(_) => files.cut_at(FILLER, 0).and_then(|()| files.sync(FILLER)),
    }
}

/// Overwrites the free space of the FAT at `boot`, if that is to be done; answers how many octets were.
pub fn blank(boot: &Path) -> io::Result<Option<u64>> {
    fill(&Folder(boot.to_owned()), FILL_BYTES_MAX)
}

fn fill(files: &impl Files, max: u64) -> io::Result<Option<u64>> {
    if files.len(FILLER)?.is_none() {
        return Ok(None);
    }
    let filled = grow(files, max).and_then(|()| files.sync(FILLER)).and_then(|()| files.len(FILLER));
    // Whatever went wrong, the space is given back.
    files.remove(FILLER)?;
    filled
}

fn grow(files: &impl Files, max: u64) -> io::Result<()> {
    let (zeros, mut step, mut synced) = (vec![0; STEP_BYTES], STEP_BYTES, 0);
    loop {
        // A step that found too little room may have taken a part of it.
        let length = files.len(FILLER)?.unwrap_or(0);
        if length >= max {
            return Ok(());
        }
        if length.saturating_sub(synced) >= SYNC_BYTES {
            files.sync(FILLER)?;
            synced = length;
        }
        match files.write_at(FILLER, length, zeros.get(..step).unwrap_or(&zeros)) {
            Ok(()) => {}
            Err(error) if error.kind() != io::ErrorKind::StorageFull => return Err(error),
            Err(_) if step == LAST_BYTES => return Ok(()),
            Err(_) => step = LAST_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::simulated::{Disk, chance};
    use super::*;

    #[test]
    fn nothing_is_filled_unless_it_is_noted_and_nothing_is_left() {
        let disk = Disk::new(&[("pigeon.toml", b"a".to_vec())]);
        assert_eq!(fill(&disk, 1_000_000).unwrap(), None);
        note(&disk).unwrap();
        let filled = fill(&disk, 1_000_000).unwrap().unwrap();
        assert!((1_000_000..1_000_000 + STEP_BYTES as u64).contains(&filled), "{filled}");
        assert_eq!(disk.content(FILLER), None);
        assert_eq!(fill(&disk, 1_000_000).unwrap(), None);
    }

    #[test]
    fn after_a_cut_the_space_is_given_back_and_it_is_done_again() {
        let (mut again, mut done) = (0, 0);
        for operations in 0..12 {
            for seed in 1..6 {
                let disk = Disk::new(&[]);
                note(&disk).unwrap();
                disk.operations.set(operations);
                let is_done = fill(&disk, 1_000_000).is_ok();
                let after = disk.after_cut(chance(seed));
                give_back(&after).unwrap();
                assert!(after.content(FILLER).is_none_or(|left| left.is_empty()));
                let has_more = fill(&after, 1_000_000).unwrap().is_some();
                assert!(is_done || has_more, "operation {operations}");
                (again, done) = (again + usize::from(has_more), done + usize::from(is_done));
                assert_eq!(after.content(FILLER), None);
            }
        }
        assert!(again > 10 && done > 10, "{again} {done}");
    }
}
