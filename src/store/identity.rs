//! Which store this is: a random number in a small file beside the log, made with the store, kept for good, and told by every
//! backup, so that no folder with one store's backup is taken for another's. What is restored is a store of its own, which
//! says what it came from: the one before may live on. Nothing else needs it: a store that has lost it starts, and is another
//! one for its backups from then on.
//!
//! ```text
//! pigeon store NUMBER CRC-32C                                  32 hexadecimal digits, and the checksum of all before
//! pigeon store NUMBER from NUMBER SEQUENCE CRC-32C CRC-32C     restored from that one's backup, whose last batch this was
//! ```

use super::disk::{Disk, create_whole, replace_whole};
use std::io;

/// Where it lies.
pub(super) const FILE: &str = "store.id";
const WORDS: &str = "pigeon store ";
/// A file that is longer is none of ours.
const FILE_BYTES_MAX: u64 = 160;
/// Random numbers of 32 bits in it.
const PARTS: usize = 4;

/// Which store it is, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) number: String,
    /// What it was restored from: the store's number, and the last batch there (sequence and checksum).
    pub(super) from: Option<(String, (u64, u32))>,
}

/// The identity that a folder has, a store's or a backup's; none when it has none, or a damaged one.
pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Identity>> {
    let file = match disk.open(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let bytes = file.len()?.min(FILE_BYTES_MAX);
    let mut text = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_at(0, &mut text)?;
    let identity = parse(&text);
    if identity.is_none() {
        log::warn!("{FILE} is damaged");
    }
    Ok(identity)
}

/// Makes one where there is none; anew where there was no store either. Without one the store works on.
pub(super) fn ensure(disk: &dyn Disk, is_new: bool) {
    let made = match read(disk) {
        Ok(Some(_)) if !is_new => return,
        Ok(_) => make(disk, None),
        Err(error) => Err(error),
    };
    if let Err(error) = made {
        log::warn!("{FILE}: {error}; a backup does not know whose it is");
    }
}

/// Makes a new one, of a store that was restored `from` another's backup, if it was.
pub(super) fn make(disk: &dyn Disk, from: Option<(String, (u64, u32))>) -> io::Result<()> {
    let number = (0..PARTS).map(|_| format!("{:08x}", disk.chance())).collect();
    create_whole(disk, FILE, &[(0, Identity { number, from }.text().as_bytes())]).map(drop)
}

/// Leaves out what the store was restored from, if it was.
pub(super) fn forget_origin(disk: &dyn Disk) -> io::Result<()> {
    match read(disk)? {
        Some(Identity { number, from: Some(_) }) => {
            // One that has none is another store for its backups, which is the safe side.
            replace_whole(disk, FILE, Identity { number, from: None }.text().as_bytes())
                .or_else(|_| disk.remove(FILE).and_then(|()| disk.sync_folder("")))
        }
        _ => Ok(()),
    }
}

/// Whether this may stand for an identity in a manifest.
pub(super) fn is_number(text: &str) -> bool {
    text.len() == 8 * PARTS && text.bytes().all(|octet| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet))
}

impl Identity {
    fn text(&self) -> String {
        let mut text = format!("{WORDS}{}", self.number);
        if let Some((number, (sequence, crc))) = &self.from {
            text.push_str(&format!(" from {number} {sequence} {crc:08x}"));
        }
        format!("{text} {:08x}\n", crc32c::crc32c(text.as_bytes()))
    }
}

fn parse(text: &[u8]) -> Option<Identity> {
    let text = std::str::from_utf8(text).ok()?;
    let (told, _) = text.strip_prefix(WORDS)?.rsplit_once(' ')?;
    let (number, from) = match told.split_once(" from ") {
        None => (told, None),
        Some((number, from)) => {
            let (store, batch) = from.split_once(' ')?;
            let (sequence, crc) = batch.split_once(' ')?;
            let batch = (sequence.parse().ok()?, u32::from_str_radix(crc, 16).ok()?);
            (number, is_number(store).then(|| Some((store.to_owned(), batch)))?)
        }
    };
    let identity = Identity { number: number.to_owned(), from };
    (is_number(number) && text == identity.text()).then_some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sim::{Cut, Fault, SimDisk};

    #[test]
    fn an_identity_is_made_once_and_a_changed_octet_makes_it_none() {
        let disk = SimDisk::new();
        ensure(&disk, true);
        let made = read(&disk).unwrap().unwrap();
        ensure(&disk, false);
        assert_eq!(read(&disk).unwrap(), Some(made.clone()));
        assert_eq!(read(&disk.reboot(Cut::Nothing)).unwrap(), Some(made.clone()), "it is durable when it can be told");
        let restored = SimDisk::new();
        make(&restored, Some((made.number, (u64::MAX, u32::MAX)))).unwrap();
        assert_eq!(read(&restored).unwrap().unwrap().from.unwrap().1, (u64::MAX, u32::MAX));
        for text in [disk, restored].map(|disk| disk.contents(FILE).unwrap()) {
            assert!(text.len() as u64 <= FILE_BYTES_MAX);
            for at in 0..text.len() {
                let mut broken = text.clone();
                broken[at] ^= 1;
                assert_eq!(parse(&broken), None, "octet {at}");
                assert_eq!(parse(&text[..at]), None, "cut at {at}");
            }
        }
    }

    #[test]
    fn a_disk_that_cannot_take_one_or_give_it_back_has_none_and_loses_none() {
        let disk = SimDisk::new();
        disk.fail(Fault::Full);
        ensure(&disk, true);
        assert_eq!(read(&disk).unwrap(), None);
        disk.heal();
        ensure(&disk, false);
        let made = read(&disk).unwrap();
        disk.fail(Fault::ReadEio(0));
        ensure(&disk, false);
        disk.heal();
        assert_eq!(read(&disk).unwrap(), made, "what cannot be read now is not replaced");
    }
}
