//! A release written into the slot that does not run.
//!
//! | step | what a cut behind it leaves |
//! |---|---|
//! | the running system is not on trial, the whole file is verified | nothing has changed |
//! | `slots.env`: the running slot is good, none is tried | the same |
//! | the first sector of the other system is zeros | the other slot cannot be booted, and is not tried |
//! | everything behind the first sector is written, synced, read back and compared | the same |
//! | the first sector is written, synced, the whole read back and compared | the other slot is whole, and is not tried |
//! | `slots.env`: the other slot is tried | the new system comes up, or the boot loader falls back |
//!
//! The slots' files keep their places and their lengths, so no table of the FAT changes and the running system is out of reach.

use super::files::{Files, Folder, SECTOR_BYTES};
use super::release::{PIECE_BYTES, Release, ReleaseError, each_piece, verify};
use super::slots::{Slot, State};
use crate::base::hex;
use ring::digest::{Context, SHA256};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Writes the release into the slot that does not run. `file` stands behind what [`super::open`] read.
pub fn apply(boot: &Path, running: Slot, file: &mut (impl Read + Seek), release: &Release) -> Result<(), ReleaseError> {
    apply_to(&Folder(boot.to_owned()), running, file, release)
}

fn apply_to(
    card: &impl Files,
    running: Slot,
    file: &mut (impl Read + Seek),
    release: &Release,
) -> Result<(), ReleaseError> {
    if State::read(card)?.is_some_and(|state| state.on_trial == Some(running)) {
        return Err(ReleaseError::OnTrial);
    }
    let name = running.other().file();
    let bytes_max = card.len(name)?.ok_or(ReleaseError::NoSlot)?;
    if release.bytes > bytes_max {
        return Err(ReleaseError::TooLarge { bytes_max });
    }
    let start = file.stream_position()?;
    verify(file, release)?;
    file.seek(SeekFrom::Start(start))?;

    State::good(running).write(card)?;
    card.write_at(name, 0, &[0; SECTOR_BYTES])?;
    card.sync(name)?;

    let mut first = Vec::new();
    each_piece(file, release, |offset, piece| {
        let split = if offset == 0 { SECTOR_BYTES.min(piece.len()) } else { 0 };
        let (head, rest) = piece.split_at_checked(split).unwrap_or((piece, &[]));
        first.extend_from_slice(head);
        if !rest.is_empty() {
            card.write_at(name, offset + head.len() as u64, rest)?;
        }
        Ok(())
    })?;
    card.sync(name)?;
    // The first sector is not there yet; the sum is made with it.
    compare(card, name, release, Some(&first))?;
    card.write_at(name, 0, &first)?;
    card.sync(name)?;
    compare(card, name, release, None)?;
    State::trial(running).write(card)?;
    Ok(())
}

/// Reads the slot back, with `first` in the place of its first octets.
fn compare(card: &impl Files, name: &str, release: &Release, first: Option<&[u8]>) -> Result<(), ReleaseError> {
    let mut sum = Context::new(&SHA256);
    let mut offset = 0;
    if let Some(first) = first {
        sum.update(first);
        offset = first.len() as u64;
    }
    let mut piece = vec![0; PIECE_BYTES];
    while offset < release.bytes {
        let length = usize::try_from(release.bytes - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let piece = piece.get_mut(..length).unwrap_or_default();
        if card.read_at(name, offset, piece)? != length {
            return Err(ReleaseError::BadCard);
        }
        sum.update(piece);
        offset += length as u64;
    }
    if hex(sum.finish().as_ref()) == release.sha256 { Ok(()) } else { Err(ReleaseError::BadCard) }
}

#[cfg(test)]
mod tests {
    use super::super::files::simulated::{Disk, chance};
    use super::*;
    use std::io::{self, Cursor};

    /// What a boot loader finds bootable: a system whose head says its length and sum.
    fn system(letter: u8, length: usize) -> Vec<u8> {
        let body = vec![letter; length - SECTOR_BYTES];
        let mut head = format!("{length} {}\n", crc32c::crc32c(&body)).into_bytes();
        head.resize(SECTOR_BYTES, 0);
        [head, body].concat()
    }

    fn boots(octets: &[u8]) -> Option<u8> {
        let (head, rest) = octets.split_at(SECTOR_BYTES);
        let line = String::from_utf8_lossy(head).lines().next()?.to_owned();
        let (length, sum) = line.split_once(' ')?;
        let body = rest.get(..length.parse::<usize>().ok()? - SECTOR_BYTES)?;
        (sum.parse() == Ok(crc32c::crc32c(body))).then(|| body[0])
    }

    /// What comes up, as the boot loader decides; `tries` are counted down by it.
    fn boot(disk: &Disk) -> (Slot, u8) {
        let state = State::read(disk).unwrap().unwrap();
        if let Some(slot) = state.on_trial.filter(|_| state.tries > 0)
            && let Some(letter) = boots(&disk.content(slot.file()).unwrap())
        {
            return (slot, letter);
        }
        (state.good, boots(&disk.content(state.good.file()).unwrap()).unwrap())
    }

    fn release(system: &[u8]) -> Release {
        let mut sum = Context::new(&SHA256);
        sum.update(system);
        Release {
            version: "0.2.0".to_owned(),
            board: "rpi-arm64".to_owned(),
            bytes: system.len() as u64,
            sha256: hex(sum.finish().as_ref()),
            comment: String::new(),
        }
    }

    fn card() -> Disk {
        let slot = |letter| [system(letter, 150_000), vec![0xff; 50_000]].concat();
        let state = b"good=a\ntry=\ntries=0\n".to_vec();
        Disk::new(&[
            ("slots.env", [state, vec![b'\n'; 492]].concat()),
            ("slot-a/system", slot(b'r')),
            ("slot-b/system", slot(b'o')),
        ])
    }

    #[test]
    fn a_cut_at_any_operation_leaves_a_card_that_boots_and_the_update_can_be_done_again() {
        let new = system(b'n', 180_000);
        let release = release(&new);
        let (mut before, mut behind) = (0, 0);
        for operations in 0..14 {
            for seed in 1..16 {
                let disk = card();
                disk.operations.set(operations);
                let done = apply_to(&disk, Slot::A, &mut Cursor::new(&new), &release).is_ok();
                let after = disk.after_cut(chance(seed));
                match boot(&after) {
                    (Slot::A, b'r') if !done => before += 1,
                    (Slot::B, b'n') => behind += 1,
                    other => panic!("{other:?} comes up after {operations} operations, seed {seed}"),
                }
                assert_eq!(after.len("slot-b/system").unwrap(), Some(200_000), "the file keeps its length");
                apply_to(&after, Slot::A, &mut Cursor::new(&new), &release).unwrap();
                assert_eq!(boot(&after), (Slot::B, b'n'));
            }
        }
        assert!(before > 20 && behind > 20, "{before} {behind}");
    }

    #[test]
    fn the_system_that_comes_back_is_not_written_over_while_its_successor_is_on_trial() {
        let new = system(b'n', 180_000);
        let disk = card();
        // As the boot loader leaves it when it starts the system in b.
        State { tries: 1, ..State::trial(Slot::A) }.write(&disk).unwrap();
        let before = (disk.content("slots.env"), disk.content("slot-a/system"));
        let tried = apply_to(&disk, Slot::B, &mut Cursor::new(&new), &release(&new));
        assert!(matches!(tried, Err(ReleaseError::OnTrial)));
        assert!((disk.content("slots.env"), disk.content("slot-a/system")) == before);
        // One that waits for its first start is replaced by another.
        apply_to(&disk, Slot::A, &mut Cursor::new(&new), &release(&new)).unwrap();
        assert_eq!(boot(&disk), (Slot::B, b'n'));
    }

    #[test]
    fn nothing_changes_for_a_file_that_is_not_whole_or_has_no_room() {
        let new = system(b'n', 180_000);
        let (good, mut changed) = (release(&new), new.clone());
        changed[100_000] ^= 1;
        let large = system(b'n', 200_001);
        let disk = card();
        disk.operations.set(0);
        let damaged = apply_to(&disk, Slot::A, &mut Cursor::new(&changed), &good);
        assert!(matches!(damaged, Err(ReleaseError::Damaged)));
        let cut = apply_to(&disk, Slot::A, &mut Cursor::new(&new[..179_999]), &good);
        assert!(matches!(cut, Err(ReleaseError::Damaged)));
        let large = apply_to(&disk, Slot::A, &mut Cursor::new(&large), &release(&large));
        assert!(matches!(large, Err(ReleaseError::TooLarge { bytes_max: 200_000 })));
    }

    /// A card that takes what is written to one sector and keeps something else.
    struct Worn(Disk);

    impl Files for Worn {
        fn len(&self, name: &str) -> io::Result<Option<u64>> {
            self.0.len(name)
        }
        fn read_at(&self, name: &str, offset: u64, octets: &mut [u8]) -> io::Result<usize> {
            let got = self.0.read_at(name, offset, octets)?;
            if name == "slot-b/system" && (offset..offset + got as u64).contains(&100_000) {
                octets[(100_000 - offset) as usize] ^= 0x10;
            }
            Ok(got)
        }
        fn write_at(&self, name: &str, offset: u64, octets: &[u8]) -> io::Result<()> {
            self.0.write_at(name, offset, octets)
        }
        fn cut_at(&self, name: &str, length: u64) -> io::Result<()> {
            self.0.cut_at(name, length)
        }
        fn sync(&self, name: &str) -> io::Result<()> {
            self.0.sync(name)
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }
    }

    #[test]
    fn a_worn_card_is_noticed_before_anything_is_tried() {
        let new = system(b'n', 180_000);
        let worn = Worn(card());
        let applied = apply_to(&worn, Slot::A, &mut Cursor::new(&new), &release(&new));
        assert!(matches!(applied, Err(ReleaseError::BadCard)));
        assert_eq!(boot(&worn.0), (Slot::A, b'r'));
    }
}
