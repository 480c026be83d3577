//! A backup: a folder with the files that a store needs to come back (a snapshot, the log, and what lies beside them), and
//! `MANIFEST-n` with their names, lengths and checksums, written last. Segments are immutable, so a later backup into the same
//! folder copies only what is new; what an older manifest needs stays until a newer one is complete.
//!
//! A manifest is text, a line each, fields separated by one space:
//!
//!     pigeon backup 1
//!     batch SEQUENCE CRC                     the last batch in it
//!     store NUMBER                           whose it is ([`super::identity`]); manifests of before do not say it
//!     made SECONDS                           when, since 1970, by the clock of whoever made it; likewise
//!     file LENGTH CRC-32C STORED NAME        NAME is where it belongs in a data directory; STORED where it lies here
//!     end CRC-32C                            over all lines before
//!
//! A folder belongs to one store: another's, or a later state of the same, is refused and left as it is. Nothing is copied
//! into a folder before it durably has the store's identity, so that a first backup that broke off is known, too.

use super::disk::{Disk, DiskFile, create_whole, folder_of, is_unreadable};
use super::identity;
use super::segment::PAGE_BYTES;
use super::snapshot::SnapshotError;
use super::{Refusal, Shared, Store};
use smol::lock::MutexGuardArc;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};

const FIRST_LINE: &str = "pigeon backup 1";
const PREFIX: &str = "MANIFEST-";
/// Octets read and written at a time,
const PIECE_BYTES: usize = 256 * 1024;
/// and between two syncs.
const UNSYNCED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Octets by which two files of a name and a length are told apart: a segment's header, with its salt.
const HEAD_BYTES: u64 = 64;
/// A manifest is never longer.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a backup copies: sealed files, which stay while this lives.
#[derive(Debug)]
pub struct Held {
    /// The last batch in it: sequence and checksum.
    pub batch: (u64, u32),
    /// The files' names.
    pub names: Vec<String>,
    #[expect(dead_code, reason = "held until it is dropped")]
    guard: MutexGuardArc<()>,
}

impl Held {
    /// What there is to back up, at this time (seconds since 1970).
    pub fn content(&self, made_s: u64) -> Content<'_> {
        Content { batch: self.batch, names: &self.names, made_s }
    }
}

/// What goes into a backup.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The last batch in it: sequence and checksum; zeros when nobody has the store open.
    pub batch: (u64, u32),
    /// The files' names.
    pub names: &'a [String],
    /// When it is made, seconds since 1970; told in the manifest.
    pub made_s: u64,
}

/// A backup that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its number.
    pub number: u64,
    /// The last batch in it: sequence and checksum.
    pub batch: (u64, u32),
    /// Whose it is.
    pub store: Option<String>,
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

/// What a backup copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files in it.
    pub files: u64,
    /// Their octets.
    pub bytes: u64,
    /// Files that were new.
    pub new_files: u64,
    /// Their octets.
    pub new_bytes: u64,
    /// Files of which a part could not be read; zeros stand for it.
    pub unreadable: Vec<String>,
}

/// Why a backup or a restore failed.
#[derive(Debug)]
pub enum BackupError {
    /// A file of the store cannot be read, or cannot be written while it is restored.
    Store(String, io::Error),
    /// A file of the backup cannot be read or written.
    Backup(String, io::Error),
    /// What lies in the backup is not what was written.
    Damaged(String),
    /// There is no complete backup.
    Nothing,
    /// The folder has other things in it, this among them.
    NotOurs(String),
    /// The folder is another store's.
    OtherStore,
    /// The folder's backup goes further than the store: the last batch there, and here.
    Later(u64, u64),
    /// The backup's disk has too little room: octets needed, octets free.
    NoRoom(u64, u64),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(name, error) => write!(f, "{name} of the store: {error}"),
            Self::Backup(name, error) => write!(f, "{name} of the backup: {error}"),
            Self::Damaged(name) => write!(f, "{name} of the backup is damaged"),
            Self::Nothing => f.write_str("there is no complete backup"),
            Self::NotOurs(name) => write!(f, "{name} is there, and no backup"),
            Self::OtherStore => f.write_str("it holds a backup of another store"),
            Self::Later(there, here) => {
                write!(f, "it holds a later state of this store: up to batch {there}, and this is at batch {here}")
            }
            Self::NoRoom(needed, free) => write!(f, "the backup needs {needed} bytes and its disk has {free} free"),
        }
    }
}

/// Told octets done and octets in all.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

impl Store {
    /// Writes a snapshot if the newest one is missing or much has happened since, seals what is being written, and holds
    /// every file until the answer is dropped. Deliveries go on meanwhile.
    pub async fn hold(&self) -> Result<Held, Refusal> {
        let guard = self.shared.enter_house().await;
        let shared = self.shared.clone();
        let due = self.shared.workers.run(move || shared.is_snapshot_due()).await.ok_or(Refusal::Unavailable)?;
        let shared = self.shared.clone();
        let proved = self.shared.workers.run(move || shared.prove_snapshots()).await.ok_or(Refusal::Unavailable)?;
        if due? || !proved? {
            self.snapshot().await?;
        }
        let (position, bound) = self.shared.queue.leave().recv().await.map_err(|_| Refusal::Unavailable)?;
        let shared = self.shared.clone();
        let names = self.shared.workers.run(move || names(&*shared.disk, bound)).await;
        let names = names.ok_or(Refusal::Unavailable)?.map_err(|error| super::refusal_of(&error))?;
        Ok(Held { batch: (position.sequence, position.crc), names, guard })
    }
}

/// The files that a store needs: its snapshots, the segments below `bound`, and what lies beside.
fn names(disk: &dyn Disk, bound: u64) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for snapshot in super::snapshot::list(disk)? {
        names.push(super::segment::file_name(super::segment::Kind::Snapshot, snapshot.number));
    }
    for name in disk.list("log")? {
        if super::segment::parse_name(&name).is_some_and(|(_, number)| number < bound) {
            names.push(format!("log/{name}"));
        }
    }
    for name in disk.list("tls").unwrap_or_default() {
        let name = format!("tls/{name}");
        // What an editor left, say; a manifest could not name it.
        match is_inside(&name) && !name.contains(char::is_whitespace) {
            true => names.push(name),
            false => log::warn!("{name} is left out of the backup"),
        }
    }
    if disk.list("")?.iter().any(|name| name == "pigeon.toml") {
        names.push("pigeon.toml".to_owned());
    }
    names.sort();
    if disk.list("")?.iter().any(|name| name == identity::FILE) {
        // It goes first.
        names.insert(0, identity::FILE.to_owned());
    }
    Ok(names)
}

/// The files that a store needs which nobody has open.
pub fn names_at_rest(disk: &dyn Disk) -> io::Result<Vec<String>> {
    names(disk, u64::MAX)
}

/// Refuses a folder with another store's backup; which of this store it has, and this store's identity.
pub fn refuse_other(from: &dyn Disk, to: &dyn Disk) -> Result<(Option<Manifest>, Option<String>), BackupError> {
    let before = match newest(to) {
        Ok(manifest) => Some(manifest),
        Err(BackupError::Nothing | BackupError::Damaged(_)) => None,
        Err(error) => return Err(error),
    };
    let there = |error| BackupError::Backup(identity::FILE.to_owned(), error);
    let ours = identity::read(from).map_err(|error| BackupError::Store(identity::FILE.to_owned(), error))?;
    let theirs = match &before {
        Some(manifest) => manifest.store.clone(),
        None => identity::read(to).map_err(there)?,
    };
    let is_ours = match theirs {
        Some(theirs) => ours.as_ref() == Some(&theirs),
        // Nothing was ever completed in it, or it does not say whose it is: then a file that both have tells.
        None if before.is_none() => {
            refuse_strange(to)?;
            numbers(to)?.is_empty() || shares_a_file(from, to)
        }
        None => shares_a_file(from, to),
    };
    if is_ours { Ok((before, ours)) } else { Err(BackupError::OtherStore) }
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

/// Copies held files into a backup and completes it; what is new there is read back and compared before. Blocks.
pub fn back_up(
    from: &dyn Disk,
    to: &dyn Disk,
    content: &Content<'_>,
    progress: &mut Progress<'_>,
) -> Result<Copied, BackupError> {
    let Content { batch, names, made_s } = *content;
    let (before, store) = refuse_other(from, to)?;
    if let Some(before) = &before
        && batch.0 != 0
        && before.batch.0 > batch.0
    {
        return Err(BackupError::Later(before.batch.0, batch.0));
    }
    let number = numbers(to)?.last().map_or(1, |number| number + 1);
    let known: BTreeMap<&str, &BackupFile> =
        before.iter().flat_map(|manifest| &manifest.files).map(|file| (file.stored.as_str(), file)).collect();
    let mut plan = Vec::new();
    let (mut old_bytes, mut new_bytes) = (0, 0);
    for name in names {
        let file = from.open(name).map_err(|error| BackupError::Store(name.clone(), error))?;
        let bytes = file.len().map_err(|error| BackupError::Store(name.clone(), error))?;
        let kept = known.values().find(|kept| kept.name == *name && is_same(&*file, bytes, to, kept));
        match kept {
            Some(_) => old_bytes += bytes,
            None => new_bytes += bytes,
        }
        plan.push((name, bytes, kept.map(|kept| (*kept).clone())));
    }
    if let Ok(free) = to.free_bytes()
        && free < new_bytes
    {
        return Err(BackupError::NoRoom(new_bytes, free));
    }
    let (mut done, total) = (0, 2 * new_bytes);
    let mut copied = Copied { bytes: old_bytes + new_bytes, new_bytes, ..Copied::default() };
    let mut files = Vec::with_capacity(plan.len());
    let mut new = Vec::new();
    for (name, bytes, kept) in plan {
        copied.files += 1;
        files.push(match kept {
            Some(kept) => kept,
            None => {
                let stored = match known.contains_key(name.as_str()) {
                    // What the manifest before needs is not overwritten.
                    true => format!("{name}.{number}"),
                    false => name.clone(),
                };
                let file = from.open(name).map_err(|error| BackupError::Store(name.clone(), error))?;
                let mut unreadable = false;
                let crc = copy(&*file, (name, bytes), (to, &stored), &mut unreadable, &mut |bytes| {
                    done += bytes;
                    progress(done, total);
                })?;
                if unreadable {
                    copied.unreadable.push(name.clone());
                }
                if name == identity::FILE {
                    to.sync_folder("").map_err(|error| BackupError::Backup(stored.clone(), error))?;
                }
                copied.new_files += 1;
                new.push(files.len());
                BackupFile { name: name.clone(), stored, bytes, crc }
            }
        });
    }
    for folder in files.iter().map(|file| folder_of(&file.stored)).collect::<BTreeSet<_>>() {
        to.sync_folder(folder).map_err(|error| BackupError::Backup(folder.to_owned(), error))?;
    }
    for file in new.into_iter().filter_map(|at| files.get(at)) {
        prove_file(to, file, &mut |bytes| {
            done += bytes;
            progress(done, total);
        })?;
    }
    let manifest = Manifest { number, batch, store, made_s, files };
    let name = format!("{PREFIX}{number}");
    let text = manifest.text();
    create_whole(to, &name, &[(0, text.as_bytes())]).map_err(|error| BackupError::Backup(name.clone(), error))?;
    if newest(to)? != manifest {
        return Err(BackupError::Damaged(name));
    }
    clear(to, &manifest, before.as_ref());
    Ok(copied)
}

/// Whether a file of the backup is the one at hand: segments and snapshots never change once they are sealed, nor does
/// the identity, all of which is in its first octets.
fn is_same(file: &dyn DiskFile, bytes: u64, to: &dyn Disk, kept: &BackupFile) -> bool {
    let never_changes = ["log", "snapshots"].contains(&folder_of(&kept.name)) || kept.name == identity::FILE;
    if kept.bytes != bytes || !never_changes {
        return false;
    }
    let there = to.open(&kept.stored).and_then(|there| Ok((there.len()?, head(&*there, bytes)?)));
    matches!((there, head(file, bytes)), (Ok((length, there)), Ok(here)) if length == bytes && there == here)
}

/// The first octets of a file of this length.
fn head(file: &dyn DiskFile, bytes: u64) -> io::Result<Vec<u8>> {
    let mut head = vec![0; usize::try_from(bytes.min(HEAD_BYTES)).unwrap_or(0)];
    file.read_at(0, &mut head).map(|()| head)
}

/// Copies a file, durable when this returns but for its name; its checksum. Zeros stand for what cannot be read.
fn copy(
    from: &dyn DiskFile,
    (name, bytes): (&str, u64),
    (to, stored): (&dyn Disk, &str),
    unreadable: &mut bool,
    progress: &mut dyn FnMut(u64),
) -> Result<u32, BackupError> {
    let there = |error| BackupError::Backup(stored.to_owned(), error);
    let temporary = format!("{stored}.tmp");
    let file = to.create(&temporary).map_err(there)?;
    let (mut at, mut unsynced, mut crc) = (0, 0, 0);
    let mut piece = vec![0; PIECE_BYTES];
    while at < bytes {
        let length = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let piece = piece.get_mut(..length).unwrap_or_default();
        match from.read_at(at, piece) {
            Err(error) if is_unreadable(&error) => {
                *unreadable = true;
                read_around(from, at, piece);
            }
            read => read.map_err(|error| BackupError::Store(name.to_owned(), error))?,
        }
        crc = crc32c::crc32c_append(crc, piece);
        file.write_at(at, piece).map_err(there)?;
        at += length as u64;
        unsynced += length as u64;
        if unsynced >= UNSYNCED_BYTES_MAX {
            file.sync().map_err(there)?;
            unsynced = 0;
        }
        progress(length as u64);
    }
    file.sync().map_err(there)?;
    to.rename(&temporary, stored).map_err(there)?;
    Ok(crc)
}

/// Reads page by page; zeros stand for those that cannot be read.
fn read_around(from: &dyn DiskFile, at: u64, to: &mut [u8]) {
    for (n, page) in (0..).zip(to.chunks_mut(PAGE_BYTES as usize)) {
        if from.read_at(at + n * PAGE_BYTES, page).is_err() {
            page.fill(0);
        }
    }
}

/// Reads a file of a backup and compares it with what the manifest says.
fn prove_file(disk: &dyn Disk, file: &BackupFile, progress: &mut dyn FnMut(u64)) -> Result<(), BackupError> {
    let there = |error| BackupError::Backup(file.stored.clone(), error);
    let open = disk.open(&file.stored).map_err(there)?;
    if open.len().map_err(there)? != file.bytes {
        return Err(BackupError::Damaged(file.stored.clone()));
    }
    // From the disk, not from the memory of having written it.
    open.forget_cached();
    let (mut at, mut crc) = (0, 0);
    let mut piece = vec![0; PIECE_BYTES];
    while at < file.bytes {
        let length = usize::try_from(file.bytes - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let piece = piece.get_mut(..length).unwrap_or_default();
        open.read_at(at, piece).map_err(there)?;
        crc = crc32c::crc32c_append(crc, piece);
        at += length as u64;
        progress(length as u64);
    }
    if crc == file.crc { Ok(()) } else { Err(BackupError::Damaged(file.stored.clone())) }
}

/// Removes what only the backup before, or a broken attempt, needed; nothing that is not ours.
fn clear(to: &dyn Disk, manifest: &Manifest, before: Option<&Manifest>) {
    let needed: BTreeSet<&str> = manifest.files.iter().map(|file| file.stored.as_str()).collect();
    let listed: BTreeSet<&str> =
        before.iter().flat_map(|before| &before.files).map(|file| file.stored.as_str()).collect();
    let remove = |name: &str| {
        if let Err(error) = to.remove(name) {
            log::warn!("removing {name} from the backup: {error}");
        }
    };
    for number in numbers(to).unwrap_or_default().into_iter().filter(|number| *number != manifest.number) {
        remove(&format!("{PREFIX}{number}"));
    }
    for folder in ["log", "snapshots", "tls"] {
        for name in to.list(folder).unwrap_or_default() {
            let is_ours = is_of_backup(&name);
            let name = format!("{folder}/{name}");
            if !needed.contains(name.as_str()) && (is_ours || listed.contains(name.as_str())) {
                remove(&name);
            }
        }
    }
    for name in to.list("").unwrap_or_default() {
        let is_ours = listed.contains(name.as_str()) || (name.starts_with(PREFIX) && name.ends_with(".tmp"));
        if is_ours && !needed.contains(name.as_str()) {
            remove(&name);
        }
    }
}

/// Whether only a backup, or an attempt at one, has files of this name.
fn is_of_backup(name: &str) -> bool {
    let name = name.strip_suffix(".tmp").unwrap_or(name);
    let without_number = name.rsplit_once('.').filter(|(_, n)| n.parse::<u64>().is_ok()).map_or(name, |(name, _)| name);
    super::segment::parse_name(without_number).is_some()
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

/// Reads every file of a backup and compares it with the manifest. Blocks.
pub fn prove(disk: &dyn Disk, manifest: &Manifest, progress: &mut Progress<'_>) -> Result<(), BackupError> {
    let total = manifest.bytes();
    let mut done = 0;
    manifest.files.iter().try_for_each(|file| {
        prove_file(disk, file, &mut |bytes| {
            done += bytes;
            progress(done, total);
        })
    })
}

/// Copies a backup into an empty data directory, each file compared with the manifest on the way. Blocks.
pub fn restore(
    from: &dyn Disk,
    manifest: &Manifest,
    to: &dyn Disk,
    progress: &mut Progress<'_>,
) -> Result<(), BackupError> {
    let total = manifest.bytes();
    let mut done = 0;
    for file in &manifest.files {
        let open = from.open(&file.stored).map_err(|error| BackupError::Backup(file.stored.clone(), error))?;
        let mut unreadable = false;
        let crc = copy(&*open, (&file.stored, file.bytes), (to, &file.name), &mut unreadable, &mut |bytes| {
            done += bytes;
            progress(done, total);
        });
        // Here the backup is what is read, and the store what is written.
        let crc = crc.map_err(|error| match error {
            BackupError::Store(name, error) => BackupError::Backup(name, error),
            BackupError::Backup(name, error) => BackupError::Store(name, error),
            error => error,
        })?;
        if crc != file.crc {
            return Err(BackupError::Damaged(file.stored.clone()));
        }
    }
    for folder in manifest.files.iter().map(|file| folder_of(&file.name)).collect::<BTreeSet<_>>() {
        to.sync_folder(folder).map_err(|error| BackupError::Store(folder.to_owned(), error))?;
    }
    Ok(())
}

/// Numbers of the manifests there are, ascending.
fn numbers(disk: &dyn Disk) -> Result<Vec<u64>, BackupError> {
    let names = disk.list("").map_err(|error| BackupError::Backup("its folder".to_owned(), error))?;
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| name.strip_prefix(PREFIX)).filter_map(|number| number.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The newest backup that is complete.
pub fn newest(disk: &dyn Disk) -> Result<Manifest, BackupError> {
    let mut outcome = Err(BackupError::Nothing);
    for number in numbers(disk)?.into_iter().rev() {
        outcome = manifest(disk, number);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn manifest(disk: &dyn Disk, number: u64) -> Result<Manifest, BackupError> {
    let name = format!("{PREFIX}{number}");
    let there = |error| BackupError::Backup(name.clone(), error);
    let file = disk.open(&name).map_err(there)?;
    let bytes = file.len().map_err(there)?;
    if bytes > MANIFEST_BYTES_MAX {
        return Err(BackupError::Damaged(name));
    }
    let mut text = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_at(0, &mut text).map_err(there)?;
    Manifest::parse(number, &text).ok_or(BackupError::Damaged(name))
}

impl Manifest {
    /// Octets of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nbatch {} {:08x}\n", self.batch.0, self.batch.1);
        if let Some(store) = &self.store {
            text.push_str(&format!("store {store}\n"));
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
        Some(Self { number, batch, store, made_s, files: files.collect::<Option<_>>()? })
    }
}

/// Whether a name leads to a file in one of the folders: a manifest from elsewhere must not write anywhere else.
fn is_inside(name: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    ["", "log", "snapshots", "tls"].contains(&folder) && !file.is_empty() && !file.starts_with('.')
}

impl Shared {
    /// Reads every snapshot that is kept; one that is damaged is removed. Whether all were whole. Blocks.
    fn prove_snapshots(&self) -> Result<bool, Refusal> {
        let kept = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut bad = BTreeSet::new();
        for snapshot in &kept {
            match super::snapshot::read(&*self.disk, snapshot.number, &mut |_, _| Ok(())) {
                Ok(_) => {}
                Err(SnapshotError::Disk(error)) if !is_unreadable(&error) => return Err(super::refusal_of(&error)),
                Err(error) => {
                    log::error!("snapshot {} is removed: {error}", snapshot.number);
                    bad.insert(snapshot.number);
                }
            }
        }
        let is_good = |snapshot: &super::Snapshot| !bad.contains(&snapshot.number);
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner).retain(is_good);
        for number in &bad {
            let name = super::segment::file_name(super::segment::Kind::Snapshot, *number);
            self.disk.remove(&name).map_err(|error| super::refusal_of(&error))?;
        }
        Ok(bad.is_empty())
    }

    /// Whether the newest snapshot is missing, or what has happened since outweighs it.
    pub(crate) fn is_snapshot_due(self: &Arc<Self>) -> Result<bool, Refusal> {
        let state = self.index.read(super::query::state);
        let state = state.map_err(|error| super::query::refusal_of_index(&error))?;
        let newest = self.newest_snapshot();
        Ok(newest.is_none() || super::keeper::do_events_outweigh(state.event_bytes, newest, self.segment_bytes))
    }
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
            made_s: 1_790_000_000,
            files: vec![file("log/1.commit"), file("tls/a b")],
        };
        let text = manifest.text();
        // A space in a stored name would break the line: ours have none.
        let manifest = Manifest { files: vec![file("log/1.commit")], ..manifest };
        assert_ne!(manifest.text(), text);
        let text = manifest.text();
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
