//! What a backup is made of, in a text with a checksum. Pure but for reading it from the folder.
//!
//! A manifest is text, a line each, fields separated by one space:
//!
//! ```text
//! pigeon backup 1
//! batch SEQUENCE CRC                     the last batch in it
//! store NUMBER                           whose it is (`store::identity`); manifests of before do not say it
//! mark MARK                              which of the store's backups it is (`store::marks`); one that none could be written down for does not say
//! made SECONDS                           when, since 1970, by the clock of whoever made it; likewise
//! file LENGTH CRC-32C STORED NAME        NAME is where it belongs in a data directory; STORED where it lies here
//! end CRC-32C                            over all lines before
//! ```

use super::BackupError;
use super::restore::{LOCK, MARK};
use crate::store::disk::Disk;
use crate::store::{identity, marks};

const FIRST_LINE: &str = "pigeon backup 1";
pub(super) const PREFIX: &str = "MANIFEST-";
/// What follows the number in the name of its copy.
const COPY: &str = ".copy";
/// The folders in it, and in a data directory.
pub(super) const FOLDERS: [&str; 3] = ["log", "snapshots", "tls"];
/// A manifest is never longer.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A backup that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its number.
    pub number: u64,
    /// The last batch in it: sequence and checksum.
    pub batch: (u64, u32),
    /// Whose it is.
    pub store: Option<String>,
    /// Which of the store's backups it is.
    pub mark: Option<String>,
    /// When it was made, seconds since 1970; 0 when it does not say.
    pub made_s: u64,
    /// Its files, by name.
    pub files: Vec<BackupFile>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFile {
    /// Where it belongs in a data directory.
    pub name: String,
    /// Where it lies in the backup.
    pub stored: String,
    /// Octets.
    pub bytes: u64,
    /// CRC-32C of all of it.
    pub crc: u32,
}

/// The number in the name of a manifest or its copy.
pub(super) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(COPY).unwrap_or(name).strip_prefix(PREFIX)?.parse().ok()
}

/// The files that a manifest lies in: its own and its copy.
fn names_of(number: u64) -> [String; 2] {
    ["", COPY].map(|end| format!("{PREFIX}{number}{end}"))
}

/// Numbers of the manifests there are, ascending.
pub(super) fn numbers(disk: &dyn Disk) -> Result<Vec<u64>, BackupError> {
    let names = disk.list("").map_err(|error| BackupError::Backup("its folder".to_owned(), error))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// The newest backup that is complete.
pub fn newest(disk: &dyn Disk) -> Result<Manifest, BackupError> {
    let mut outcome = Err(BackupError::Nothing);
    for number in numbers(disk)?.into_iter().rev() {
        let [own, copy] = names_of(number);
        outcome = read(disk, &own, number).or_else(|error| read(disk, &copy, number).map_err(|_| error));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The manifest of this number in the file of this name.
pub(super) fn read(disk: &dyn Disk, name: &str, number: u64) -> Result<Manifest, BackupError> {
    let there = |error| BackupError::Backup(name.to_owned(), error);
    let file = disk.open(name).map_err(there)?;
    let bytes = file.len().map_err(there)?;
    if bytes > MANIFEST_BYTES_MAX {
        return Err(BackupError::Damaged(name.to_owned()));
    }
    let mut text = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_at(0, &mut text).map_err(there)?;
    Manifest::parse(number, &text).ok_or_else(|| BackupError::Damaged(name.to_owned()))
}

impl Manifest {
    /// The files that it lies in: its own and its copy.
    pub fn names(&self) -> [String; 2] {
        names_of(self.number)
    }

    /// Octets of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nbatch {} {:08x}\n", self.batch.0, self.batch.1);
        if let Some(store) = &self.store {
            text.push_str(&format!("store {store}\n"));
        }
        if let Some(mark) = &self.mark {
            text.push_str(&format!("mark {mark}\n"));
        }
        if self.made_s > 0 {
            text.push_str(&format!("made {}\n", self.made_s));
        }
        for file in &self.files {
            text.push_str(&format!("file {} {:08x} {} {}\n", file.bytes, file.crc, file.stored, file.name));
        }
        let crc = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("end {crc:08x}\n"));
        text
    }

    fn parse(number: u64, text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let body = text.strip_suffix('\n')?;
        let at = body.rfind('\n')? + 1;
        let (body, end) = text.split_at_checked(at)?;
        let crc = u32::from_str_radix(end.trim_end().strip_prefix("end ")?, 16).ok()?;
        if crc != crc32c::crc32c(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines().peekable();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let (sequence, crc) = lines.next()?.strip_prefix("batch ")?.split_once(' ')?;
        let batch = (sequence.parse().ok()?, u32::from_str_radix(crc, 16).ok()?);
        let store = match lines.next_if(|line| line.starts_with("store ")) {
            Some(line) => Some(line.strip_prefix("store ").filter(|number| identity::is_number(number))?.to_owned()),
            None => None,
        };
        let mark = match lines.next_if(|line| line.starts_with("mark ")) {
            Some(line) => Some(line.strip_prefix("mark ").filter(|mark| marks::is_mark(mark))?.to_owned()),
            None => None,
        };
        let made_s = match lines.next_if(|line| line.starts_with("made ")) {
            Some(line) => line.strip_prefix("made ")?.parse().ok()?,
            None => 0,
        };
        let files = lines.map(|line| {
            let mut fields = line.strip_prefix("file ")?.splitn(4, ' ');
            let bytes = fields.next()?.parse().ok()?;
            let crc = u32::from_str_radix(fields.next()?, 16).ok()?;
            let (stored, name) = (fields.next()?.to_owned(), fields.next()?.to_owned());
            (is_inside(&stored) && is_inside(&name)).then_some(BackupFile { name, stored, bytes, crc })
        });
        Some(Self { number, batch, store, mark, made_s, files: files.collect::<Option<_>>()? })
    }
}

/// Whether a name leads to a file in one of the folders: a manifest from elsewhere must not write anywhere else.
pub(super) fn is_inside(name: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    // What a restore makes itself.
    let is_own = folder.is_empty() && ([LOCK, MARK].contains(&file) || file.starts_with("index.redb"));
    (folder.is_empty() || FOLDERS.contains(&folder)) && !file.is_empty() && !file.starts_with('.') && !is_own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_a_changed_one_is_none() {
        let file = |name: &str| BackupFile { name: name.to_owned(), stored: format!("{name}.7"), bytes: 5, crc: 0xab };
        let manifest = Manifest {
            number: 7,
            batch: (44, 0xdead_beef),
            store: Some("0123456789abcdef".repeat(2)),
            mark: Some("0123456789abcdef".to_owned()),
            made_s: 1_790_000_000,
            files: vec![file("log/1.commit"), file("tls/a b")],
        };
        let text = manifest.text();
        // A space in a stored name would break the line: ours have none.
        let manifest = Manifest { files: vec![file("log/1.commit")], ..manifest };
        assert_ne!(manifest.text(), text);
        let text = manifest.text();
        let unmarked = Manifest { mark: None, store: None, ..manifest.clone() };
        assert_eq!(Manifest::parse(7, unmarked.text().as_bytes()), Some(unmarked));
        assert_eq!(Manifest::parse(7, text.as_bytes()), Some(manifest));
        for at in 0..text.len() {
            let mut broken = text.clone().into_bytes();
            broken[at] ^= 1;
            assert_eq!(Manifest::parse(7, &broken), None, "octet {at}");
            assert_eq!(Manifest::parse(7, &text.as_bytes()[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../etc/passwd", "/etc/passwd", "log/../x", "etc/x", "log/", "", "log/.x"] {
            assert!(!is_inside(name), "{name}");
        }
        for name in ["pigeon.toml", "log/0000000001.commit", "tls/ca.pem"] {
            assert!(is_inside(name), "{name}");
        }
    }
}
