//! The marks of the backups that were made of this store, in a small file beside the log. Each backup bears a random one, which the
//! store has written down before: whose mark it knows, that backup is of its own past, and it may go on in that folder. A store that
//! was put back (a card's image, say) knows none that came later; one that has lost something forgets all, because what it lost may be
//! in any of them. No backup takes the file along.
//!
//! ```text
//! pigeon backups
//! MARK                      16 hexadecimal digits; the latest last, at most 10,000
//! CRC-32C                   of all before
//! ```

use super::disk::{Disk, replace_whole};
use super::identity;
use std::io;

pub(super) const FILE: &str = "backups.made";
const FIRST_LINE: &str = "pigeon backups\n";
const MARK_BYTES: usize = 16;
/// Marks that are known: of a year of hourly backups.
const MARKS_MAX: usize = 10_000;
const FILE_BYTES_MAX: u64 = (FIRST_LINE.len() + MARKS_MAX * (MARK_BYTES + 1) + 9) as u64;

/// The marks that the store knows; none when it has no such file, or a damaged one.
pub(super) fn read(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let file = match disk.open(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let bytes = file.len()?.min(FILE_BYTES_MAX);
    let mut text = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_at(0, &mut text)?;
    Ok(parse(&text).unwrap_or_else(|| {
        log::warn!("{FILE} is damaged: a backup goes into a new folder");
        Vec::new()
    }))
}

/// The mark of the latest backup.
pub(super) fn newest(disk: &dyn Disk) -> Option<String> {
    read(disk).ok()?.pop()
}

/// Writes down the mark of a backup that is about to be made, durably.
pub(super) fn record(disk: &dyn Disk) -> io::Result<String> {
    let mark = format!("{:08x}{:08x}", disk.chance(), disk.chance());
    let mut marks = read(disk)?;
    marks.push(mark.clone());
    let known = marks.get(marks.len().saturating_sub(MARKS_MAX)..).unwrap_or_default();
    replace_whole(disk, FILE, text(known).as_bytes())?;
    Ok(mark)
}

/// Forgets all, durably, and what the store was restored from: something of it is lost.
pub(super) fn forget(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.and_then(|()| disk.sync_folder(""))?,
    }
    identity::forget_origin(disk)
}

/// Whether this may stand for a mark in a manifest.
pub(super) fn is_mark(text: &str) -> bool {
    text.len() == MARK_BYTES && text.bytes().all(|octet| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet))
}

fn text(marks: &[String]) -> String {
    let mut text = FIRST_LINE.to_owned();
    marks.iter().for_each(|mark| text.extend([mark.as_str(), "\n"]));
    format!("{text}{:08x}\n", crc32c::crc32c(text.as_bytes()))
}

fn parse(octets: &[u8]) -> Option<Vec<String>> {
    let told = std::str::from_utf8(octets).ok()?;
    let (marks, _) = told.strip_prefix(FIRST_LINE)?.strip_suffix('\n')?.rsplit_once('\n').unwrap_or_default();
    let marks: Vec<String> = marks.lines().map(str::to_owned).collect();
    (marks.iter().all(|mark| is_mark(mark)) && text(&marks) == told).then_some(marks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sim::{Cut, Fault, SimDisk};

    #[test]
    fn a_mark_is_durable_before_it_is_told_and_the_latest_are_known() {
        let disk = SimDisk::new();
        assert_eq!(read(&disk).unwrap(), [""; 0]);
        let first = record(&disk).unwrap();
        let second = record(&disk).unwrap();
        let disk = disk.reboot(Cut::Nothing);
        assert_eq!(read(&disk).unwrap(), [first.clone(), second]);
        let many: Vec<String> = (1..MARKS_MAX).map(|n| format!("{n:016x}")).collect();
        disk.put(FILE, text(&[std::slice::from_ref(&first), &many[..]].concat()).as_bytes());
        assert!(read(&disk).unwrap().contains(&first));
        let last = record(&disk).unwrap();
        let known = read(&disk).unwrap();
        assert!(known.len() == MARKS_MAX && !known.contains(&first) && known.last() == Some(&last));
        assert_eq!(newest(&disk), Some(last));
        assert!(disk.contents(FILE).unwrap().len() as u64 <= FILE_BYTES_MAX);
        forget(&disk).unwrap();
        forget(&disk).unwrap();
        assert_eq!(read(&disk.reboot(Cut::Everything)).unwrap(), [""; 0]);
    }

    #[test]
    fn a_changed_octet_leaves_none_and_a_full_disk_those_of_before() {
        let disk = SimDisk::new();
        let marks = [record(&disk).unwrap(), record(&disk).unwrap()];
        let text = disk.contents(FILE).unwrap();
        for at in 0..text.len() {
            let mut broken = text.clone();
            broken[at] ^= 1;
            assert_eq!(parse(&broken), None, "octet {at}");
            assert_eq!(parse(&text[..at]), None, "cut at {at}");
        }
        disk.fail(Fault::Full);
        assert!(record(&disk).is_err());
        assert_eq!(read(&disk).unwrap(), marks);
        // What was lost can be told on a full disk, too.
        forget(&disk).unwrap();
        assert_eq!(read(&disk).unwrap(), [""; 0]);
    }
}
