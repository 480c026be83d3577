//! A backup: a folder with the files that a store needs to come back (a snapshot, the log, and what lies beside them), and
//! `MANIFEST-n` with their names, lengths and checksums, written last. Segments are immutable, so a later backup into the same
//! folder copies only what is new; what an older manifest needs stays until a newer one is complete.
//!
//! A folder belongs to one store: another's, or a state of the same that it was never in or has lost something of (`store::marks`), is
//! refused and left as it is. Nothing is copied into a folder before it durably has the store's identity, so that a first backup that
//! broke off is known, too. A segment that the store has lost since its start, and that mail lies in, stays in the backup.

mod manifest;
mod owner;
mod restore;

pub use manifest::{BackupFile, Manifest, newest};
pub use owner::refuse_other;
pub use restore::{Open, Restoring, finish_restore, is_half_restored, restore};

use super::batch::Batch;
use super::disk::{Disk, DiskFile, create_whole, folder_of, is_unreadable};
use super::identity;
use super::marks;
use super::rows;
use super::segment::{Header, Kind, PAGE_BYTES};
use super::snapshot::SnapshotError;
use super::{Refusal, Shared, Store};
use manifest::{FOLDERS, PREFIX, is_inside, number_of, numbers};
use smol::lock::MutexGuardArc;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};

/// Octets read and written at a time,
const PIECE_BYTES: usize = 256 * 1024;
/// and between two syncs.
const UNSYNCED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Octets by which two files of a name and a length are told apart: a segment's header, with its salt.
const HEAD_BYTES: u64 = 64;

/// What a backup copies: sealed files, which stay while this lives.
#[derive(Debug)]
pub struct Held {
    /// The last batch in it: sequence and checksum.
    pub batch: (u64, u32),
    /// Where it ends: a segment, and the octets of it.
    pub end: (u64, u64),
    /// The files' names.
    pub names: Vec<String>,
    /// Segments that must be among them, because mail lies in them.
    pub needed: Vec<u64>,
    /// Which of the store's backups this will be; nothing where that could not be written down.
    pub mark: Option<String>,
    #[expect(dead_code, reason = "held until it is dropped")]
    guard: MutexGuardArc<()>,
}

impl Held {
    /// What there is to back up, at this time (seconds since 1970).
    pub fn content(&self, made_s: u64) -> Content<'_> {
        let Self { batch, end, names, needed, mark, .. } = self;
        Content { batch: *batch, end: *end, names, needed, mark: mark.as_deref(), made_s }
    }
}

/// What goes into a backup.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The last batch in it: sequence and checksum.
    pub batch: (u64, u32),
    /// Where that ends: a segment, and the octets of it, of which there may be more.
    pub end: (u64, u64),
    /// The files' names.
    pub names: &'a [String],
    /// Segments that must be among them, because mail lies in them.
    pub needed: &'a [u64],
    /// Which of the store's backups it is; as the one before where there is none.
    pub mark: Option<&'a str>,
    /// When it is made, seconds since 1970; told in the manifest.
    pub made_s: u64,
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
    /// Segments that the store has lost, all or the end of them; the copy of the backup before stands for them.
    pub kept: Vec<String>,
    /// Segments that the store has lost, and that no backup here has.
    pub lost: Vec<u64>,
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
    /// The store is said to have a file of this name, which none has.
    Strange(String),
    /// The folder is another store's.
    OtherStore,
    /// The folder's backup goes further than the store: the last batch there, and here.
    Later(u64, u64),
    /// The folder's backup is of a state in which the store never was, or of which it has lost something: the last batch there.
    Forked(u64),
    /// The backup's disk has too little room: octets needed, octets free.
    NoRoom(u64, u64),
    /// The folder to restore into has this in it.
    NotEmpty(String),
    /// Somebody else works in the folder to restore into.
    Busy,
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(name, error) => write!(f, "{name} of the store: {error}"),
            Self::Backup(name, error) => write!(f, "{name} of the backup: {error}"),
            Self::Damaged(name) => write!(f, "{name} of the backup is damaged"),
            Self::Nothing => f.write_str("there is no complete backup"),
            Self::NotOurs(name) => write!(f, "{name} is there, and no backup"),
            Self::Strange(name) => write!(f, "{name:?} is no name of a store's file"),
            Self::OtherStore => f.write_str("it holds a backup of another store"),
            Self::Later(there, here) => {
                write!(f, "it holds a later state of this store: up to batch {there}, and this is at batch {here}")
            }
            Self::Forked(there) => {
                write!(
                    f,
                    "it holds a later state of this store, or one of which this has lost a part (up to batch {there})"
                )
            }
            Self::NotEmpty(name) => write!(f, "{name} is there already"),
            Self::Busy => f.write_str("another pigeon works in it"),
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
            match self.snapshot().await {
                // The log alone is enough, too, and on a full disk a backup is wanted most.
                Err(Refusal::DiskFull) => log::warn!("no room for a snapshot: the backup goes without a new one"),
                written => drop(written?),
            }
        }
        let (position, bound) = self.shared.queue.leave().recv().await.map_err(|_| Refusal::Unavailable)?;
        let segments = self.shared.query(|rx| Ok(rows::segments(rx)?)).await?;
        let is_needed = |(number, (live_bytes, _)): &(&u64, &(u64, u64))| **number < bound && *live_bytes > 0;
        let needed = segments.iter().filter(is_needed).map(|(number, _)| *number).collect();
        let shared = self.shared.clone();
        let listed = move || (names(&*shared.disk, bound, &segments), marks::record(&*shared.disk));
        let (names, mark) = self.shared.workers.run(listed).await.ok_or(Refusal::Unavailable)?;
        let names = names.map_err(|error| super::refusal_of(&error))?;
        // On a full or failing disk a backup is wanted most.
        let mark = mark.inspect_err(|error| log::warn!("the backup cannot be written down: {error}")).ok();
        let (batch, end) = ((position.sequence, position.crc), (position.segment, position.end));
        Ok(Held { batch, end, names, needed, mark, guard })
    }
}

/// The files that a store needs: its snapshots, the segments below `bound`, and what lies beside. Body segments in which nothing
/// lies (those of `segments` have something) hold what is still on its way, or never came.
fn names(disk: &dyn Disk, bound: u64, segments: &BTreeMap<u64, (u64, u64)>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for snapshot in super::snapshot::list(disk)? {
        names.push(super::segment::file_name(Kind::Snapshot, snapshot.number));
    }
    for name in disk.list("log")? {
        let Some((kind, number)) = super::segment::parse_name(&name) else { continue };
        if number < bound && (kind == Kind::Commit || segments.contains_key(&number)) {
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
    let beside = disk.list("")?;
    let is_there = |name: &str| beside.iter().any(|other| other == name);
    if is_there("pigeon.toml") {
        names.push("pigeon.toml".to_owned());
    }
    names.sort();
    if is_there(identity::FILE) {
        // It goes first.
        names.insert(0, identity::FILE.to_owned());
    }
    Ok(names)
}

/// Copies held files into a backup and completes it; what is new there is read back and compared before. Blocks.
pub fn back_up(
    from: &dyn Disk,
    to: &dyn Disk,
    content: &Content<'_>,
    progress: &mut Progress<'_>,
) -> Result<Copied, BackupError> {
    let Content { batch, end, names, needed, mark, made_s } = *content;
    let last = super::segment::file_name(Kind::Commit, end.0);
    // Whoever is asked for names may be anybody: none leads out of the store's folder, or out of the backup's.
    if let Some(name) = names.iter().find(|name| !is_inside(name) || name.contains(char::is_whitespace)) {
        return Err(BackupError::Strange(name.clone()));
    }
    let (before, store) = refuse_other(from, to)?;
    if let Some(before) = &before
        && before.batch.0 > batch.0
    {
        return Err(BackupError::Later(before.batch.0, batch.0));
    }
    let number = numbers(to)?.last().map_or(1, |number| number + 1);
    if store.is_some() && (before.is_some() || number == 1) {
        // Attempts that broke off must not take the room of this one. Where a manifest is damaged, what is there stays till then.
        clear(to, before.as_ref(), None);
    }
    let known: BTreeMap<&str, &BackupFile> =
        before.iter().flat_map(|manifest| &manifest.files).map(|file| (file.stored.as_str(), file)).collect();
    let mut copied = Copied::default();
    let mut plan = Vec::new();
    let (mut old_bytes, mut new_bytes) = (0, 0);
    for name in names {
        let file = from.open(name).map_err(|error| BackupError::Store(name.clone(), error))?;
        let bytes = file.len().map_err(|error| BackupError::Store(name.clone(), error))?;
        // The zeros behind its end go when more comes.
        let bytes = if *name == last { bytes.min(end.1) } else { bytes };
        // What versions before made of a store at rest (batch 0) was not sealed.
        let is_sealed = before.as_ref().is_some_and(|before| before.batch.0 != 0);
        let kept = known.values().find(|kept| kept.name == *name && is_sealed).and_then(|kept| {
            let found = compare(&*file, bytes, to, kept);
            if found == Found::Less {
                copied.kept.push(name.clone());
            }
            (found != Found::Other).then_some(*kept)
        });
        match kept {
            Some(kept) => old_bytes += kept.bytes,
            None => new_bytes += bytes,
        }
        if kept.is_none()
            && let Some(before) = &before
            && goes_another_way(&*file, (name, bytes), (to, before))
        {
            return Err(BackupError::Forked(before.batch.0));
        }
        plan.push((name.as_str(), bytes, kept.cloned()));
    }
    let is_there: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    for kept in known.values().filter(|kept| !is_there.contains(kept.name.as_str())) {
        let is_needed = segment_of(&kept.name).is_some_and(|number| needed.contains(&number));
        let there = to.open(&kept.stored).and_then(|there| there.len());
        if is_needed && there.is_ok_and(|bytes| bytes == kept.bytes) {
            copied.kept.push(kept.name.clone());
            old_bytes += kept.bytes;
            plan.push((kept.name.as_str(), kept.bytes, Some((*kept).clone())));
        }
    }
    let saved: BTreeSet<u64> = plan.iter().filter_map(|(name, ..)| segment_of(name)).collect();
    copied.lost = needed.iter().copied().filter(|number| !saved.contains(number)).collect();
    if let Ok(free) = to.free_bytes()
        && free < new_bytes
    {
        return Err(BackupError::NoRoom(new_bytes, free));
    }
    let (mut done, total) = (0, 2 * new_bytes);
    (copied.bytes, copied.new_bytes) = (old_bytes + new_bytes, new_bytes);
    let mut files = Vec::with_capacity(plan.len());
    let mut new = Vec::new();
    for (name, bytes, kept) in plan {
        copied.files += 1;
        files.push(match kept {
            Some(kept) => kept,
            None => {
                let stored = match known.contains_key(name) {
                    // What the manifest before needs is not overwritten.
                    true => format!("{name}.{number}"),
                    false => name.to_owned(),
                };
                let file = from.open(name).map_err(|error| BackupError::Store(name.to_owned(), error))?;
                let mut unreadable = false;
                let crc = copy(&*file, (name, bytes), (to, &stored), &mut unreadable, &mut |bytes| {
                    done += bytes;
                    progress(done, total);
                })?;
                if unreadable {
                    copied.unreadable.push(name.to_owned());
                }
                if name == identity::FILE {
                    to.sync_folder("").map_err(|error| BackupError::Backup(stored.clone(), error))?;
                }
                copied.new_files += 1;
                new.push(files.len());
                BackupFile { name: name.to_owned(), stored, bytes, crc }
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
    // One that the store knows says at least that it is of its past.
    let mark = mark.map(str::to_owned).or_else(|| before.as_ref()?.mark.clone()).or_else(|| marks::newest(from));
    let manifest = Manifest { number, batch, store, mark, made_s, files };
    let text = manifest.text();
    // Twice: without it all of the backup would be of no use.
    for name in manifest.names() {
        let made = create_whole(to, &name, &[(0, text.as_bytes())]).and_then(|file| file.sync());
        made.map_err(|error| BackupError::Backup(name.clone(), error))?;
        if manifest::read(to, &name, number)? != manifest {
            return Err(BackupError::Damaged(name));
        }
    }
    clear(to, Some(&manifest), before.as_ref());
    Ok(copied)
}

/// A segment's number in the name of a file.
fn segment_of(name: &str) -> Option<u64> {
    name.strip_prefix("log/").and_then(super::segment::parse_name).map(|(_, number)| number)
}

/// Whether this segment of the store is not the backup's, and begins with a batch before the last one there: a start writes that
/// one again, and no other.
fn goes_another_way(file: &dyn DiskFile, (name, bytes): (&str, u64), (to, before): (&dyn Disk, &Manifest)) -> bool {
    let Some(header) = Header::read(file).ok().flatten().filter(|header| header.kind == Kind::Commit) else {
        return false;
    };
    if let Some(kept) = before.files.iter().find(|kept| kept.name == name) {
        let there = to.open(&kept.stored).and_then(|there| Header::read(&*there)).ok().flatten();
        // What the stick has lost is made again.
        if there.is_none_or(|there| there.salt == header.salt) {
            return false;
        }
    }
    let first = Batch::read(file, (header.number, Some(header.salt)), PAGE_BYTES, bytes).ok().flatten();
    first.is_some_and(|first| first.sequence < before.batch.0)
}

/// What a file is to the one of that name in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Same,
    /// The same, of which a part is lost: its end, or its head.
    Less,
    Other,
}

/// Segments and snapshots never change once they are sealed, nor does the identity, all of which is in its first octets.
fn compare(file: &dyn DiskFile, bytes: u64, to: &dyn Disk, kept: &BackupFile) -> Found {
    let is_segment = segment_of(&kept.name).is_some();
    let never_changes = is_segment || folder_of(&kept.name) == "snapshots" || kept.name == identity::FILE;
    let there = to.open(&kept.stored).and_then(|open| Ok((open.len()?, head(&*open, kept.bytes)?, open)));
    let Ok((length, there, open)) = there else {
        return Found::Other;
    };
    if !never_changes || length != kept.bytes {
        return Found::Other;
    }
    match head(file, bytes) {
        Ok(here) if bytes == kept.bytes && here == there => Found::Same,
        Ok(here) if is_segment && bytes < kept.bytes && there.starts_with(&here) => Found::Less,
        // Its head is ruined.
        Ok(_) if is_segment && !is_headed(file, &kept.name) && is_headed(&*open, &kept.name) => Found::Less,
        Err(error) if is_segment && is_unreadable(&error) => Found::Less,
        _ => Found::Other,
    }
}

/// Whether a segment begins with a header that is its own.
fn is_headed(file: &dyn DiskFile, name: &str) -> bool {
    let header = Header::read(file).ok().flatten().map(|header| (header.kind, header.number));
    header.is_some() && header == name.strip_prefix("log/").and_then(super::segment::parse_name)
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
    // On FAT a new name has no length before its file is synced under it.
    file.sync().map_err(there)?;
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
fn clear(to: &dyn Disk, manifest: Option<&Manifest>, before: Option<&Manifest>) {
    let needed: BTreeSet<&str> =
        manifest.iter().flat_map(|manifest| &manifest.files).map(|file| file.stored.as_str()).collect();
    let listed: BTreeSet<&str> =
        before.iter().flat_map(|before| &before.files).map(|file| file.stored.as_str()).collect();
    let remove = |name: &str| {
        if let Err(error) = to.remove(name) {
            log::warn!("removing {name} from the backup: {error}");
        }
    };
    let kept = manifest.map(|manifest| manifest.number);
    for name in to.list("").unwrap_or_default() {
        if number_of(&name).is_some_and(|number| Some(number) != kept) {
            remove(&name);
        }
    }
    for folder in FOLDERS {
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
            let name = super::segment::file_name(Kind::Snapshot, *number);
            self.disk.remove(&name).map_err(|error| super::refusal_of(&error))?;
        }
        Ok(bad.is_empty())
    }

    /// Whether the newest snapshot is missing, or what has happened since outweighs it.
    pub(crate) fn is_snapshot_due(self: &Arc<Self>) -> Result<bool, Refusal> {
        let state = self.index.read(super::query::state);
        let state = state.map_err(|error| super::query::refusal_of_index(&error))?;
        let newest = self.newest_snapshot();
        Ok(newest.is_none() || super::keeper::do_events_outweigh(state.event_bytes, newest, self.segments.bytes()))
    }
}
