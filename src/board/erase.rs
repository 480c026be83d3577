//! A file on the card exchanged for one without its secrets, in the very octets where it lies, so that nothing of them is
//! left on the raw card; at a power cut the file is the old one or the new one.
//!
//! | step | what a cut behind it leaves | who cleans up |
//! |---|---|---|
//! | the new text and the sums of the old sectors go to a record, synced | the old file, and a record in part or whole | a record that is not whole is dropped, a whole one is carried out |
//! | what the new text is longer, behind the old one, synced | the old file, maybe longer, and the record | the record is carried out |
//! | the new text, with blank lines up to the old length, over the old one, synced | sectors of either, and the record | each sector is one of the two: the record is carried out |
//! | the file is cut to its new length, synced | the new file, and the record | carried out again |
//! | the record is overwritten with zeros, synced, removed | the new file, maybe zeros | dropped |
//!
//! A person who writes the file again in between (the card in a computer) is seen by a sector that is neither old nor new:
//! then the record is dropped.

use super::files::{Files, SECTOR_BYTES, read};
use std::io;

/// Where the record is.
const RECORD: &str = "pigeon-erase.tmp";
/// Its first words.
const MAGIC: &str = "PIGEON-ERASE 1";
/// No file that is exchanged is longer, octets.
pub(super) const FILE_BYTES_MAX: usize = 64 * 1024;
/// A record: the text, nine octets for each old sector, and a line.
const RECORD_BYTES_MAX: usize = 2 * FILE_BYTES_MAX + 4096;

/// Exchanges the content of `name` for `new`.
pub(super) fn exchange(files: &impl Files, name: &str, new: &[u8]) -> io::Result<()> {
    let Some(old) = read(files, name, FILE_BYTES_MAX)? else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let record = print(name, &old, new);
    let recorded = files.write_at(RECORD, 0, &record).and_then(|()| files.cut_at(RECORD, record.len() as u64));
    match recorded.and_then(|()| files.sync(RECORD)) {
        Ok(()) => {}
        // Better erased without a net than not erased.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
        Err(error) => return Err(error),
    }
    match overwrite(files, name, old.len(), new) {
        // The old file is whole: nothing is to be carried out later.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => drop_record(files).and(Err(error)),
        done => done.and_then(|()| drop_record(files)),
    }
}

/// Carries out what a power cut left undone. To be called before anything is read.
pub(super) fn finish(files: &impl Files) -> io::Result<()> {
    let Some(record) = read(files, RECORD, RECORD_BYTES_MAX)? else {
        return Ok(());
    };
    if let Some(Record { name, old_sums, new }) = parse(&record)
        && let Some(now) = read(files, name, FILE_BYTES_MAX)?
        && is_of_either(&now, &old_sums, new)
    {
        overwrite(files, name, now.len(), new)?;
    }
    drop_record(files)
}

/// Puts `new` where the file lies, with nothing left of the `old_length` octets that were there.
pub(super) fn overwrite(files: &impl Files, name: &str, old_length: usize, new: &[u8]) -> io::Result<()> {
    // What needs more room than the file has comes first: without it the file stays as it was.
    if let Some(longer) = new.get(old_length..).filter(|longer| !longer.is_empty()) {
        let lengthened = files.write_at(name, old_length as u64, longer).and_then(|()| files.sync(name));
        if let Err(error) = lengthened {
            files.cut_at(name, old_length as u64)?;
            return Err(error);
        }
    }
    let mut padded = new.to_vec();
    padded.resize(new.len().max(old_length), b'\n');
    files.write_at(name, 0, &padded)?;
    files.sync(name)?;
    files.cut_at(name, new.len() as u64)?;
    files.sync(name)
}

/// The sums in it would let somebody try passwords.
fn drop_record(files: &impl Files) -> io::Result<()> {
    let Some(length) = files.len(RECORD)? else {
        return Ok(());
    };
    files.write_at(RECORD, 0, &vec![0; usize::try_from(length).unwrap_or(0).min(RECORD_BYTES_MAX)])?;
    files.sync(RECORD)?;
    files.remove(RECORD)
}

struct Record<'r> {
    name: &'r str,
    old_sums: Vec<u32>,
    new: &'r [u8],
}

/// `PIGEON-ERASE 1 NAME OLD-SUMS SUM-OF-ALL-BEHIND`, a line end, the new text.
fn print(name: &str, old: &[u8], new: &[u8]) -> Vec<u8> {
    let sums: String = old.chunks(SECTOR_BYTES).map(|sector| format!("{:08x}", crc32c::crc32c(sector))).collect();
    let all = crc32c::crc32c_append(crc32c::crc32c(sums.as_bytes()), new);
    let mut record = format!("{MAGIC} {name} {} {sums} {all:08x}\n", new.len()).into_bytes();
    record.extend_from_slice(new);
    record
}

fn parse(record: &[u8]) -> Option<Record<'_>> {
    let end = memchr::memchr(b'\n', record)?;
    let (line, new) = (std::str::from_utf8(record.get(..end)?).ok()?, record.get(end + 1..)?);
    let mut words = line.strip_prefix(MAGIC)?.split_ascii_whitespace();
    let (name, length, sums) = (words.next()?, words.next()?.parse::<usize>().ok()?, words.next()?);
    let all = u32::from_str_radix(words.next()?, 16).ok()?;
    let new = new.get(..length)?;
    if all != crc32c::crc32c_append(crc32c::crc32c(sums.as_bytes()), new) {
        return None;
    }
    let old_sums = sums.as_bytes().chunks(8).map(|sum| u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok());
    Some(Record { name, old_sums: old_sums.collect::<Option<_>>()?, new })
}

/// Whether each sector is the old one, or the new one as [`overwrite`] leaves it.
fn is_of_either(now: &[u8], old_sums: &[u32], new: &[u8]) -> bool {
    let mut padded = new.to_vec();
    padded.resize(now.len().max(new.len()), b'\n');
    now.chunks(SECTOR_BYTES).zip(padded.chunks(SECTOR_BYTES)).enumerate().all(|(index, (sector, new))| {
        let is_new = new.get(..sector.len()) == Some(sector);
        // Made longer, and not yet written.
        let is_blank = index >= old_sums.len() && sector.iter().all(|octet| *octet == 0);
        is_new
            || is_blank
            || old_sums.get(index) == Some(&crc32c::crc32c(sector))
            || is_mixed(index, sector, old_sums, new)
    })
}

/// The old file's last sector was shorter than what was written over it: its old octets, and zeros or new ones behind.
fn is_mixed(index: usize, sector: &[u8], old_sums: &[u32], new: &[u8]) -> bool {
    index + 1 == old_sums.len()
        && (0..sector.len()).rev().any(|length| {
            sector.get(..length).is_some_and(|old| old_sums.get(index) == Some(&crc32c::crc32c(old)))
                && sector.get(length..).is_some_and(|rest| {
                    rest.iter().all(|octet| *octet == 0) || new.get(length..).is_some_and(|new| new.starts_with(rest))
                })
        })
}

#[cfg(test)]
mod tests {
    use super::super::files::simulated::{Disk, chance};
    use super::*;

    const NAME: &str = "pigeon.toml";

    fn texts() -> [(Vec<u8>, Vec<u8>); 4] {
        let line = |letter: u8, count: usize| [vec![letter; 99], vec![b'\n']].concat().repeat(count);
        [
            (b"password = \"hunter2\"\n".to_vec(), b"password = \"\"\n".to_vec()),
            // Longer than before: the key made of a Wi-Fi password is.
            ([b"hunter2\n".to_vec(), line(b'a', 7)].concat(), [vec![b'f'; 64], line(b'a', 8)].concat()),
            ([line(b'a', 20), b"hunter2\n".to_vec()].concat(), [line(b'a', 19), b"\n".to_vec()].concat()),
            ([line(b'b', 30), b"hunter2\n".to_vec(), line(b'c', 3)].concat(), [line(b'b', 30), line(b'c', 3)].concat()),
        ]
    }

    #[test]
    fn the_secret_is_nowhere_and_no_record_is_left() {
        for (old, new) in texts() {
            let disk = Disk::new(&[(NAME, old)]);
            exchange(&disk, NAME, &new).unwrap();
            assert_eq!(disk.content(NAME).unwrap(), new);
            assert_eq!(disk.content(RECORD), None);
            assert!(!disk.holds(b"hunter2"));
        }
    }

    #[test]
    fn a_cut_at_any_operation_leaves_the_old_file_or_the_new_one() {
        let (mut olds, mut news) = (0, 0);
        for (old, new) in texts() {
            for operations in 0..12 {
                for seed in 1..20 {
                    let disk = Disk::new(&[(NAME, old.clone())]);
                    disk.operations.set(operations);
                    let done = exchange(&disk, NAME, &new).is_ok();
                    let mut after = disk.after_cut(chance(seed));
                    // Cut again while it is mended, and again.
                    for again in 0..3 {
                        after.operations.set(again);
                        drop(finish(&after));
                        after = after.after_cut(chance(seed + 1_000));
                    }
                    finish(&after).unwrap();
                    let content = after.content(NAME).unwrap();
                    assert!(content == old || content == new, "operation {operations}, seed {seed}");
                    assert!(!done || content == new);
                    assert_eq!(after.content(RECORD), None);
                    assert!(content != new || !after.holds(b"hunter2"));
                    olds += usize::from(content == old);
                    news += usize::from(content == new);
                }
            }
        }
        assert!(olds > 100 && news > 100, "{olds} {news}");
    }

    #[test]
    fn without_room_for_a_longer_one_the_old_file_is_whole() {
        let (old, new) = texts()[1].clone();
        let disk = Disk::new(&[(NAME, old.clone())]);
        disk.room.set(old.len() + 3);
        let error = exchange(&disk, NAME, &new).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!((disk.content(NAME).unwrap(), disk.content(RECORD)), (old.clone(), None));
        exchange(&disk, NAME, &old[8..]).unwrap();
        assert!(!disk.holds(b"hunter2"));
    }

    #[test]
    fn what_a_person_wrote_meanwhile_is_kept() {
        let (old, new) = texts()[3].clone();
        let record = print(NAME, &old, &new);
        let mut edited = old.clone();
        edited[5..11].copy_from_slice(b"edited");
        let disk = Disk::new(&[(NAME, edited.clone()), (RECORD, record)]);
        finish(&disk).unwrap();
        assert_eq!(disk.content(NAME).unwrap(), edited);
        assert_eq!(disk.content(RECORD), None);
    }
}
