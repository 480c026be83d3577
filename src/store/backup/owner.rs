//! Whose a folder is: nothing is copied into another store's.

use super::manifest::{Manifest, newest, numbers};
use super::restore::LOCK;
use super::{BackupError, head, is_of_backup};
use crate::store::disk::{Disk, is_unreadable};
use crate::store::identity::{self, Identity};
use crate::store::marks;

/// What a store has beside its log that no backup has.
const OF_STORE: [&str; 4] = [LOCK, "ballast", "wear.json", marks::FILE];

/// Refuses a folder with another store's backup, or with a state of this one that it was never in, or has lost something of; which
/// of this store it has, and this store's identity.
pub fn refuse_other(from: &dyn Disk, to: &dyn Disk) -> Result<(Option<Manifest>, Option<String>), BackupError> {
    let before = match newest(to) {
        Ok(manifest) => Some(manifest),
        Err(BackupError::Nothing | BackupError::Damaged(_)) => None,
        Err(error) => return Err(error),
    };
    refuse_store(to)?;
    let there = |error| BackupError::Backup(identity::FILE.to_owned(), error);
    let ours = match identity::read(from) {
        // A worn card is saved, too: into a folder that says nobody's.
        Err(error) if is_unreadable(&error) => None,
        ours => ours.map_err(|error| BackupError::Store(identity::FILE.to_owned(), error))?,
    };
    let theirs = match &before {
        Some(manifest) => manifest.store.clone(),
        None => identity::read(to).map_err(there)?.map(|theirs| theirs.number),
    };
    let is_origin = ours.as_ref().is_some_and(|ours| came_of(ours, before.as_ref()));
    let is_ours = match theirs {
        Some(theirs) => is_origin || ours.as_ref().is_some_and(|ours| ours.number == theirs),
        // Nothing was ever completed in it, or it does not say whose it is: then a file that both have tells.
        None if before.is_none() => {
            refuse_strange(to)?;
            numbers(to)?.is_empty() || shares_a_file(from, to)
        }
        None => shares_a_file(from, to),
    };
    if !is_ours {
        return Err(BackupError::OtherStore);
    }
    if let Some(Manifest { batch, mark: Some(mark), .. }) = &before
        && !is_origin
        && !marks::read(from).unwrap_or_default().contains(mark)
    {
        return Err(BackupError::Forked(batch.0));
    }
    Ok((before, ours.map(|ours| ours.number)))
}

/// Whether the store was restored from this very backup. It goes on with the folder then; whoever else lives of that store, or
/// was restored from it as well, finds the folder another's from then on.
fn came_of(ours: &Identity, before: Option<&Manifest>) -> bool {
    let Some((number, batch)) = &ours.from else { return false };
    before.is_some_and(|before| before.store.as_ref() == Some(number) && before.batch == *batch)
}

/// Whether a segment or a snapshot of the store lies in the folder: their headers have salts.
fn shares_a_file(from: &dyn Disk, to: &dyn Disk) -> bool {
    let head = |disk: &dyn Disk, name: &str| {
        let file = disk.open(name).ok()?;
        head(&*file, file.len().ok()?).ok().filter(|head| !head.is_empty())
    };
    ["log", "snapshots"].iter().any(|folder| {
        to.list(folder).unwrap_or_default().iter().any(|name| {
            let name = format!("{folder}/{name}");
            head(to, &name).is_some_and(|there| head(from, &name) == Some(there))
        })
    })
}

/// A data directory, or a copy of one, is no place for a backup: what is there would go.
fn refuse_store(to: &dyn Disk) -> Result<(), BackupError> {
    let is_of_store = |name: &String| name.starts_with("index.redb") || OF_STORE.contains(&name.as_str());
    match to.list("").unwrap_or_default().into_iter().find(is_of_store) {
        Some(name) if numbers(to)?.is_empty() => Err(BackupError::NotOurs(name)),
        _ => Ok(()),
    }
}

/// A first backup goes into a folder that has nothing of the kind in it: what is there may be somebody's.
fn refuse_strange(to: &dyn Disk) -> Result<(), BackupError> {
    let of = |folder: &str| to.list(folder).unwrap_or_default();
    let others = of("log").into_iter().chain(of("snapshots")).filter(|name| !is_of_backup(name));
    let others = others.chain(of("").into_iter().filter(|name| name.starts_with("pigeon.toml")));
    match others.chain(of("tls").into_iter().filter(|name| !name.ends_with(".tmp"))).next() {
        // An attempt that broke off may have left the small ones; it is told by its segments.
        Some(name) if !of("log").iter().any(|name| is_of_backup(name)) => Err(BackupError::NotOurs(name)),
        _ => Ok(()),
    }
}
