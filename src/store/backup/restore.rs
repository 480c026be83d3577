//! A restore. A backup's files are copied into a data directory, the index is made anew from them and raised
//! ([`super::super::Options::restores`]), and only then is it a store: until its mark is gone, nobody else opens it.
//!
//! | step                                   | a cut here leaves                       | who cleans up                   |
//! |----------------------------------------|-----------------------------------------|---------------------------------|
//! | the mark is made, durable              | nothing, or the mark                    | whoever restores again          |
//! | files are copied, durable              | the mark, and some files                | the same                        |
//! | the index is made anew and raised      | the mark, and files                     | the same                        |
//! | the mark is removed, the folder synced | everything, with the mark or without it | whoever restores again, or none |

use super::{BackupError, Manifest, Progress, copy, folder_of, identity};
use crate::store::disk::{Disk, Lock, create_whole};
use std::collections::BTreeSet;
use std::io;

/// The file that says that what lies beside it is no store yet.
const MARK: &str = "restoring";
const MARK_WORDS: &str = "A restore into this folder is under way or was cut short: run `pigeon restore` again.\n";
const OWNER: &str = "owner ";
/// A mark that is longer is none.
const MARK_BYTES_MAX: u64 = 512;
/// What a store has beside its mail.
const LOCK: &str = "lock";

/// What a restore says of itself until it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// User and group that all of it shall belong to, if somebody else than who restores.
    pub owner: Option<(u32, u32)>,
}

impl Mark {
    /// The mark that lies in this folder, if a restore into it is under way or was cut short.
    pub fn of(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let file = match disk.open(MARK) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = vec![0; usize::try_from(file.len()?.min(MARK_BYTES_MAX)).unwrap_or(0)];
        file.read_at(0, &mut text)?;
        let text = String::from_utf8_lossy(&text);
        let owner = text.lines().find_map(|line| {
            let (user, group) = line.strip_prefix(OWNER)?.split_once(':')?;
            Some((user.parse().ok()?, group.parse().ok()?))
        });
        Ok(Some(Self { owner }))
    }

    fn text(self) -> String {
        let owner = self.owner.map(|(user, group)| format!("{OWNER}{user}:{group}\n")).unwrap_or_default();
        format!("{MARK_WORDS}{owner}")
    }
}

/// A restore that has begun; nobody else works in its folder as long as it is there.
#[derive(Debug)]
pub struct Restoring<'a> {
    to: &'a dyn Disk,
    #[expect(dead_code, reason = "held until it is dropped")]
    lock: Lock,
}

impl<'a> Restoring<'a> {
    /// Takes the folder and marks it; what an earlier restore left in it goes. Anything else in it is refused. Blocks.
    pub fn begin(to: &'a dyn Disk, mark: Mark) -> Result<Self, BackupError> {
        let failed = |error| BackupError::Store(MARK.to_owned(), error);
        let lock = to.lock().map_err(failed)?.ok_or(BackupError::Busy)?;
        let is_again = Mark::of(to).map_err(failed)?.is_some();
        for folder in ["", "log", "snapshots", "tls"] {
            for name in to.list(folder).unwrap_or_default() {
                // The mark may have been on its way.
                let is_marks = name == MARK || name.strip_suffix(".tmp") == Some(MARK);
                if folder.is_empty() && (is_marks || name == LOCK) {
                    continue;
                }
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if !is_again {
                    return Err(BackupError::NotEmpty(name));
                }
                to.remove(&name).map_err(|error| BackupError::Store(name, error))?;
            }
        }
        create_whole(to, MARK, &[(0, mark.text().as_bytes())]).map_err(failed)?;
        Ok(Self { to, lock })
    }

    /// Copies a backup, each file compared with the manifest on the way; answers which are damaged or missing, if it
    /// `takes_damaged` ones and does not refuse them: a body that is damaged then costs its message. What comes of it is a store of
    /// its own, once the index is made anew and [`finish_restore`] was called. Blocks.
    pub fn copy(
        &self,
        (from, manifest): (&dyn Disk, &Manifest),
        takes_damaged: bool,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<String>, BackupError> {
        let to = self.to;
        let (total, mut done, mut damaged) = (manifest.bytes(), 0, Vec::new());
        for file in &manifest.files {
            let there = |error| BackupError::Backup(file.stored.clone(), error);
            let mut unreadable = false;
            let opened = from.open(&file.stored).and_then(|open| open.len().map(|bytes| (open, bytes)));
            let crc = match opened {
                Err(error) if takes_damaged && error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => return Err(there(error)),
                Ok((open, bytes)) => {
                    // Of one that is too short, what is there.
                    let bytes = if takes_damaged { bytes.min(file.bytes) } else { file.bytes };
                    let mut told = |bytes| {
                        done += bytes;
                        progress(done, total);
                    };
                    copy(&*open, (&file.stored, bytes), (to, &file.name), &mut unreadable, &mut told).map(Some)
                }
            };
            // Here the backup is what is read, and the store what is written.
            let crc = crc.map_err(|error| match error {
                BackupError::Store(name, error) => BackupError::Backup(name, error),
                BackupError::Backup(name, error) => BackupError::Store(name, error),
                error => error,
            })?;
            if crc != Some(file.crc) || unreadable {
                damaged.push(file.stored.clone());
                if !takes_damaged {
                    return Err(BackupError::Damaged(file.stored.clone()));
                }
            }
        }
        if let Some(store) = &manifest.store {
            identity::make(to, Some((store.clone(), manifest.batch)))
                .map_err(|error| BackupError::Store(identity::FILE.to_owned(), error))?;
        }
        for folder in manifest.files.iter().map(|file| folder_of(&file.name)).collect::<BTreeSet<_>>() {
            to.sync_folder(folder).map_err(|error| BackupError::Store(folder.to_owned(), error))?;
        }
        Ok(damaged)
    }
}

/// What was restored is a store from now on, durably. Blocks.
pub fn finish_restore(to: &dyn Disk) -> Result<(), BackupError> {
    let done = to.remove(MARK).and_then(|()| to.sync_folder(""));
    done.map_err(|error| BackupError::Store(MARK.to_owned(), error))
}

/// Copies a backup into an empty folder for a look: it is a store at once, with nothing raised, and no clients shall see it.
/// Blocks.
pub fn restore(
    from: &dyn Disk,
    manifest: &Manifest,
    to: &dyn Disk,
    progress: &mut Progress<'_>,
) -> Result<(), BackupError> {
    Restoring::begin(to, Mark::default())?.copy((from, manifest), false, progress)?;
    finish_restore(to)
}
