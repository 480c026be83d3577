//! A restore. A backup's files are copied into a data directory, the index is made anew from them and raised
//! ([`super::super::Store::open_restored`]), and only then is it a store: until its mark is gone, nobody else opens it.
//!
//! | step                                   | a cut here leaves                       | who cleans up                   |
//! |----------------------------------------|-----------------------------------------|---------------------------------|
//! | the mark is made, durable              | nothing, or the mark                    | whoever restores again          |
//! | files are copied, durable              | the mark, and some files                | the same                        |
//! | the index is made anew and raised      | the mark, and files                     | the same                        |
//! | the mark is removed, the folder synced | everything, with the mark or without it | whoever restores again, or none |

use super::manifest::FOLDERS;
use super::{BackupError, Manifest, Progress, copy, folder_of, identity, segment_of};
use crate::store::disk::{Disk, DiskFile, Lock, create_whole, is_unreadable};
use crate::store::log::end_with_zeros;
use crate::store::segment::parse_name;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// The file that says that what lies beside it is no store yet.
pub(super) const MARK: &str = "restoring";
const MARK_WORDS: &str = "A restore into this folder is under way or was cut short: run `pigeon restore` again.\n";
/// What a store has beside its mail.
pub(super) const LOCK: &str = "lock";

/// Opens a file of a backup for reading.
pub type Open<'a> = dyn Fn(&str) -> io::Result<Arc<dyn DiskFile>> + 'a;

/// Whether a restore into this folder is under way or was cut short.
pub fn is_half_restored(disk: &dyn Disk) -> io::Result<bool> {
    Ok(mark(disk)?.is_some())
}

/// The mark's file: its first octets, one more than our words.
fn mark(disk: &dyn Disk) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(MARK) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let bytes = file.len()?.min(MARK_WORDS.len() as u64 + 1);
    let mut words = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_at(0, &mut words).map(|()| Some(words))
}

/// A restore that has begun; nobody else works in its folder as long as its lock is held.
#[derive(Debug)]
pub struct Restoring<'a> {
    to: &'a dyn Disk,
    lock: Lock,
    is_again: bool,
}

impl<'a> Restoring<'a> {
    /// Takes the folder and marks it; what an earlier restore left in it goes. Anything else in it is refused. Blocks.
    pub fn begin(to: &'a dyn Disk) -> Result<Self, BackupError> {
        let failed = |error| BackupError::Store(MARK.to_owned(), error);
        let lock = to.lock().map_err(failed)?.ok_or(BackupError::Busy)?;
        let mark = mark(to).map_err(failed)?;
        let is_again = mark.is_some();
        if mark.is_some_and(|words| !MARK_WORDS.as_bytes().starts_with(&words)) {
            return Err(BackupError::NotEmpty(MARK.to_owned()));
        }
        let restoring = Self { to, lock, is_again };
        if is_again {
            restoring.clear()?;
        } else if let Some(name) = files(to)?.pop() {
            return Err(BackupError::NotEmpty(name));
        }
        create_whole(to, MARK, &[(0, MARK_WORDS.as_bytes())]).map_err(failed)?;
        Ok(restoring)
    }

    /// Removes every file of it, durably: the mark must outlive them. With one among them that no restore makes, none is.
    fn clear(&self) -> Result<(), BackupError> {
        let names = files(self.to)?;
        if let Some(name) = names.iter().find(|name| !is_of_restore(name)) {
            return Err(BackupError::NotEmpty(name.clone()));
        }
        let folders: BTreeSet<&str> = names.iter().map(|name| folder_of(name)).collect();
        for name in &names {
            self.to.remove(name).map_err(|error| BackupError::Store(name.clone(), error))?;
        }
        folders.into_iter().try_for_each(|folder| {
            self.to.sync_folder(folder).map_err(|error| BackupError::Store(folder.to_owned(), error))
        })
    }

    /// Copies a backup, each file compared with the manifest on the way; answers which are damaged or missing, if it
    /// `takes_damaged` ones and does not refuse them: a body that is damaged then costs its message. What comes of it is a store of
    /// its own, once [`super::super::Store::open_restored`] made the index anew and [`finish_restore`] was called. A folder that was empty is so
    /// again after an error. Blocks.
    pub fn copy(
        &self,
        (open, manifest): (&Open<'_>, &Manifest),
        takes_damaged: bool,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<String>, BackupError> {
        let copied = self.copy_all((open, manifest), takes_damaged, progress);
        if copied.is_err()
            && !self.is_again
            && let Err(error) = self.clear().and_then(|()| finish_restore(self.to))
        {
            log::warn!("taking a restore back: {error}");
        }
        copied
    }

    fn copy_all(
        &self,
        (open, manifest): (&Open<'_>, &Manifest),
        takes_damaged: bool,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<String>, BackupError> {
        let to = self.to;
        let (total, mut done, mut damaged) = (manifest.bytes(), 0, Vec::new());
        for file in &manifest.files {
            let mut unreadable = false;
            let opened = open(&file.stored).and_then(|open| open.len().map(|bytes| (open, bytes)));
            let crc = match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound || is_unreadable(&error) => Ok(None),
                Err(error) => return Err(BackupError::Backup(file.stored.clone(), error)),
                Ok((open, bytes)) => {
                    let mut told = |bytes| {
                        done += bytes;
                        progress(done, total);
                    };
                    // Of one that is too short, what is there.
                    let bytes = bytes.min(file.bytes);
                    copy(&*open, (&file.stored, bytes), (to, &file.name), &mut unreadable, &mut told).map(Some)
                }
            };
            // Here the backup is what is read, and the store what is written.
            let crc = crc.map_err(|error| match error {
                BackupError::Store(name, error) => BackupError::Backup(name, error),
                BackupError::Backup(name, error) => BackupError::Store(name, error),
                error => error,
            })?;
            let is_damaged = crc != Some(file.crc) || unreadable;
            let [own, copy] = manifest.names();
            if is_damaged && let Err(error) = open(&own).or_else(|_| open(&copy)) {
                // The stick has gone.
                return Err(BackupError::Backup(own, error));
            }
            if is_damaged {
                damaged.push(file.stored.clone());
                if !takes_damaged {
                    return Err(BackupError::Damaged(file.stored.clone()));
                }
            }
        }
        // Its end is known, and nothing was lost behind it.
        let last = manifest.files.iter().filter(|file| file.name.ends_with(".commit"));
        if let Some(last) =
            last.max_by_key(|file| segment_of(&file.name)).filter(|last| !damaged.contains(&last.stored))
        {
            let ended = to.open(&last.name).and_then(|file| end_with_zeros(&*file, last.bytes));
            ended.map_err(|error| BackupError::Store(last.name.clone(), error))?;
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

    /// The lock, for whoever opens what was copied.
    pub fn into_lock(self) -> Lock {
        self.lock
    }
}

/// Whether a restore may have made a file of this name, or the start of what it copied.
fn is_of_restore(name: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let file = [".tmp", ".new"].iter().find_map(|end| file.strip_suffix(end)).unwrap_or(file);
    match folder {
        "" => is_of_root(file),
        "tls" => true,
        _ => parse_name(file).is_some(),
    }
}

fn is_of_root(file: &str) -> bool {
    let beside = ["pigeon.toml", "ballast", "wear.json", "control.sock", identity::FILE];
    beside.contains(&file) || ["index.redb", "event.broken"].iter().any(|ours| file.starts_with(ours))
}

/// Every file of a folder but the lock and what is, or may become, the mark.
fn files(disk: &dyn Disk) -> Result<Vec<String>, BackupError> {
    let mut names = Vec::new();
    for folder in std::iter::once("").chain(FOLDERS) {
        match disk.list(folder) {
            Ok(listed) if folder.is_empty() => names.extend(listed),
            Ok(listed) => names.extend(listed.into_iter().map(|name| format!("{folder}/{name}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(BackupError::Store(folder.to_owned(), error)),
        }
    }
    names.retain(|name| name != LOCK && name != MARK && name.strip_suffix(".tmp") != Some(MARK));
    Ok(names)
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
    Restoring::begin(to)?.copy((&|name| from.open(name), manifest), false, progress)?;
    finish_restore(to)
}
