//! Room for when the disk is full. A file of real octets is kept; when a write finds no room, the file is given up, and what
//! it took serves the deletions, checkpoints and reclaim that make room again. Until it is back, nothing new is taken. The
//! last of it is left to deletions and to the next start, which must come up to serve them.

use super::Shared;
use super::disk::{Disk, create_whole};
use super::index::IndexError;
use super::recover::RecoverError;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const FILE: &str = "ballast";
/// Octets of it: several checkpoints of an index whose every change finds no room.
const BYTES: u64 = 4 * 1024 * 1024;
/// Octets that must be free to lay it down: as much again stays.
const ROOM_BYTES: u64 = 2 * BYTES;
/// Octets written at a time.
const PIECE_BYTES: u64 = 256 * 1024;
/// The last octets of a full disk, which only what makes room may take: a start wants some for the log and the index.
pub(crate) const SPARE_BYTES: u64 = 1024 * 1024;
/// On a full disk, housework may take this part of what is free, to make more.
const HOUSEWORK_PART: u64 = 2;

/// Octets that must be free, beside what new messages leave free, before it is laid down in the data directory `data`; 0
/// where it lies.
pub fn ballast_needs_bytes(data: &Path) -> u64 {
    let is_there = std::fs::metadata(data.join(FILE)).is_ok_and(|facts| facts.len() == BYTES);
    if is_there { 0 } else { ROOM_BYTES }
}

/// What the disk has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Whatever comes.
    Enough,
    /// What changes little: flags, names.
    Little,
    /// What makes room.
    Spare,
}

/// How much room there must be, and whether the ballast is gone.
#[derive(Debug, Default)]
pub(crate) struct Ballast {
    /// Octets of the disk that new messages must leave free.
    pub(crate) keep_free_bytes: AtomicU64,
    spent: AtomicBool,
    /// That there is no room was told.
    told: AtomicBool,
}

impl Shared {
    /// What there is room for now.
    pub(crate) fn room(&self) -> Room {
        if self.has_room() {
            return Room::Enough;
        }
        let is_little = self.disk.free_bytes().map_or(true, |free_bytes| free_bytes >= SPARE_BYTES);
        if is_little { Room::Little } else { Room::Spare }
    }

    /// Octets that housework may take to make room.
    pub(crate) fn housework_bytes(&self) -> u64 {
        let is_free = || self.disk.free_bytes().map_or(u64::MAX, |free_bytes| free_bytes / HOUSEWORK_PART);
        if self.has_room() { u64::MAX } else { is_free() }
    }

    /// Whether the disk has room for what is new; a disk that does not tell has.
    pub(crate) fn has_room(&self) -> bool {
        let keep_free_bytes = self.ballast.keep_free_bytes.load(Ordering::Relaxed);
        let has_room = !self.ballast.spent.load(Ordering::Acquire)
            && (keep_free_bytes == 0
                || self.disk.free_bytes().map_or(true, |free_bytes| free_bytes >= keep_free_bytes));
        if !has_room {
            self.keeper.is_full();
        }
        if self.ballast.told.swap(!has_room, Ordering::AcqRel) == has_room {
            match has_room {
                true => log::info!("the disk has room again"),
                false => log::error!("{}", self.full()),
            }
        }
        has_room
    }

    /// What operators are told while there is no room: how much is free, and how much must be.
    pub(crate) fn full(&self) -> String {
        let mib = |bytes: u64| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
        let keep_free_bytes = self.ballast.keep_free_bytes.load(Ordering::Relaxed);
        let ballast_bytes = if self.is_ballast_spent() { ROOM_BYTES } else { 0 };
        let needed = keep_free_bytes.saturating_add(ballast_bytes);
        let free = self.disk.free_bytes().map_or_else(|_| "unknown".to_owned(), mib);
        format!(
            "the disk is full ({free} free, {} needed): what is new is refused, until something is deleted or there is \
             room otherwise",
            mib(needed)
        )
    }

    /// Whether it was given up and is not back yet.
    pub(crate) fn is_ballast_spent(&self) -> bool {
        self.ballast.spent.load(Ordering::Acquire)
    }

    /// Gives the ballast up because a write found no room; says whether there was any.
    pub(crate) fn spend_ballast(&self) -> bool {
        match self.disk.remove(FILE) {
            Ok(()) => {
                self.ballast.spent.store(true, Ordering::Release);
                log::error!("the disk is full: what is kept for that is given up");
                true
            }
            // Where none was ever laid there is none to wait for: each write is refused for itself.
            Err(_) => false,
        }
    }

    /// Lays the ballast down again, once there is room for it beside what new messages leave free; says whether there is
    /// room now. Blocks.
    pub(crate) fn lay_ballast(&self) -> io::Result<bool> {
        let there = self.disk.open(FILE).and_then(|file| file.len());
        let is_there = matches!(there, Ok(BYTES));
        if is_there && !self.ballast.spent.load(Ordering::Acquire) {
            return Ok(true);
        }
        let needed = self.ballast.keep_free_bytes.load(Ordering::Relaxed).saturating_add(ROOM_BYTES);
        if self.disk.free_bytes()? < needed {
            if there.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                self.ballast.spent.store(true, Ordering::Release);
            }
            return Ok(false);
        }
        if !is_there {
            make(&*self.disk)?;
        }
        self.ballast.spent.store(false, Ordering::Release);
        Ok(true)
    }
}

/// Writes octets that no file system can leave out.
fn make(disk: &dyn Disk) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut piece = Vec::new();
    while (piece.len() as u64) < PIECE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        piece.extend_from_slice(&state.to_le_bytes());
    }
    let parts: Vec<(u64, &[u8])> = (0..BYTES / PIECE_BYTES).map(|n| (n * PIECE_BYTES, piece.as_slice())).collect();
    create_whole(disk, FILE, &parts).map(drop)
}

/// Gives up, at a start that finds no room, what is kept for that, and then the damaged indexes that were there before it,
/// which nobody reads; says what, if there was any.
pub(crate) fn spend_at_start(disk: &dyn Disk, error: &RecoverError, aside: &mut Vec<String>) -> Option<&'static str> {
    if !is_full_start(error) {
        return None;
    }
    if disk.remove(FILE).is_ok() {
        return Some("what is kept for that");
    }
    let removed = aside.drain(..).filter(|name| disk.remove(name).is_ok()).count();
    (removed > 0).then_some("what is left of damaged indexes")
}

/// Whether the disk had no room for what the index wanted to write.
pub(crate) fn is_full(error: &IndexError) -> bool {
    error.io().is_some_and(is_full_io)
}

/// The same of a whole start.
pub(crate) fn is_full_start(error: &RecoverError) -> bool {
    match error {
        RecoverError::Disk(error) => is_full_io(error),
        RecoverError::Index(error) => is_full(error),
        RecoverError::Log(_) | RecoverError::Event(..) => false,
    }
}

/// The same of a file.
pub(crate) fn is_full_io(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
