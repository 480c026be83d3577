//! How far an import has come: a small file in the data directory, written after every so many messages, removed at the end.
//!
//! | a cut                                   | leaves                          | the next run                           |
//! |-----------------------------------------|---------------------------------|----------------------------------------|
//! | before the first commit into a mailbox  | the note, made before it        | starts behind the note's position      |
//! | after a commit, before its note         | messages that the note misses   | finds them: their UIDs are the note's  |
//! |                                         |                                 | or higher, and their octets' sums known|
//! | while the note is replaced              | the old one or the new one      | as above                               |
//! | after the last commit                   | the note                        | passes over what is there, removes it  |
//!
//! A note moves on only where the earlier run, which ends its batches at the same messages, would have moved it on as well:
//! so whatever that run stored and did not note, the next one meets before its own first note.

use super::ImportOrder;
use crate::base::{hex, replace_file};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The format of notes.
const VERSION: u32 = 1;
/// No note is longer: its position is the longest part.
const BYTES_MAX: u64 = 64 * 1024;

/// How far an import has come.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Note {
    version: u32,
    /// Whose mail it becomes.
    account: String,
    /// The source.
    source: String,
    /// Where what follows goes; nothing before the first message.
    pub(super) place: Option<Place>,
    /// The last message that is surely in.
    pub(super) position: Option<String>,
    /// Messages stored so far.
    pub(super) stored: u64,
}

/// A mailbox, as it was when the note was written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) mailbox: String,
    pub(super) uid_validity: u32,
    /// Messages of this import that the note misses have this UID or a higher one.
    pub(super) uid_next: u32,
}

impl Note {
    pub(super) fn new(order: &ImportOrder) -> Self {
        let (account, source) = (order.account.clone(), order.source.clone());
        Self { version: VERSION, account, source, place: None, position: None, stored: 0 }
    }

    /// The note of this import; nothing when there is none, or none that can be used.
    pub(super) fn read(path: &Path, order: &ImportOrder) -> io::Result<Option<Self>> {
        let octets = match std::fs::metadata(path) {
            Ok(facts) if facts.len() > BYTES_MAX => return Ok(None),
            Ok(_) => std::fs::read(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_ours =
            |note: &Self| note.version == VERSION && note.account == order.account && note.source == order.source;
        Ok(serde_json::from_slice(&octets).ok().filter(is_ours))
    }

    /// Durable when it returns. Blocks.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        replace_file(path, &serde_json::to_vec_pretty(self)?, 0o600)
    }
}

/// Imports at work in this process, by their notes.
static AT_WORK: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The right to be at work on an import, for one at a time.
#[derive(Debug)]
pub(super) struct Alone(PathBuf);

impl Alone {
    pub(super) fn take(note: &Path) -> Option<Self> {
        let is_first = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner).insert(note.to_owned());
        is_first.then(|| Self(note.to_owned()))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        AT_WORK.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Where the note of this import is.
pub(super) fn path(data: &Path, order: &ImportOrder) -> PathBuf {
    let sum = digest(&SHA256, format!("{}\n{}", order.account, order.source).as_bytes());
    data.join(format!("import-{}.json", hex(sum.as_ref().iter().take(8))))
}

/// Removes the note. Blocks.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_works_on_an_import_at_a_time() {
        let (one, other) = (Path::new("/a note of this test"), Path::new("/another"));
        let first = Alone::take(one).unwrap();
        assert!(Alone::take(one).is_none() && Alone::take(other).is_some());
        drop(first);
        assert!(Alone::take(one).is_some());
    }

    #[test]
    fn a_note_is_read_again_for_its_own_import_alone() {
        let folder = tempfile::tempdir().unwrap();
        let order = |source: &str| ImportOrder {
            account: "alice@example.org".to_owned(),
            source: source.to_owned(),
            from_start: false,
        };
        let (one, two) = (order("mbox /one"), order("mbox /two"));
        let (path, other) = (path(folder.path(), &one), path(folder.path(), &two));
        assert_ne!(path, other);
        assert_eq!(Note::read(&path, &one).unwrap(), None);
        let mut note = Note::new(&one);
        note.place = Some(Place { mailbox: "Ä".to_owned(), uid_validity: 3, uid_next: 7 });
        note.write(&path).unwrap();
        assert_eq!(Note::read(&path, &one).unwrap(), Some(note));
        assert_eq!(Note::read(&path, &two).unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Note::read(&path, &one).unwrap(), None);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }
}
