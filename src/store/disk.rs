//! The seam between the store and the disk: files, names, syncs, and nothing else. One real implementation here, one
//! simulated in [`super::sim`]. Everything the store reads or writes goes through it, redb's pages included.

use super::pulse::Pulse;
use super::sabotage::{self, Sabotage};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::BuildHasher;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder with files in it (and the folders `log/` and `snapshots/`); names are relative to it.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Takes the store's lock; nothing when somebody else holds it. Dropping it gives the lock back.
    fn lock(&self) -> io::Result<Option<Lock>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes an empty file, in place of any that has the name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, in place of any that has it. Survives a power cut only after [`Disk::sync_folder`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The names of the files in a folder, without it, in no order; the empty name is the root.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// Octets that are free.
    fn free_bytes(&self) -> io::Result<u64>;
    /// A number that nobody can guess.
    fn chance(&self) -> u32;
}

/// An open file; several may be open on the same one.
#[expect(clippy::len_without_is_empty, reason = "a file's length may fail; nobody asks whether it is empty")]
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// Fills `to` from `offset`; an error when the file ends before.
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()>;
    /// Writes all of `from` at `offset`, growing the file when needed.
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()>;
    /// Octets in the file.
    fn len(&self) -> io::Result<u64>;
    /// Makes the file exactly so long; what is new reads as zeros.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Returns when everything written so far is durable, length included.
    fn sync(&self) -> io::Result<()>;
    /// Has later reads come from the disk itself, as far as that can be had.
    fn forget_cached(&self) {}
}

/// The system's number for what cannot be read (EIO).
const EIO: i32 = 5;

/// Whether it is this place that cannot be read, and not the disk that is gone.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EIO) || error.kind() == io::ErrorKind::UnexpectedEof
}

/// Held while the store is open.
#[derive(Debug)]
pub struct Lock(pub Box<dyn Debug + Send + Sync>);

/// As [`create_whole`], of a file that nobody has made before: what has its name is somebody's mail, and stays.
pub(crate) fn create_new(disk: &dyn Disk, name: &str, parts: &[(u64, &[u8])]) -> io::Result<Arc<dyn DiskFile>> {
    match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_whole(disk, name, parts),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} is there already"))),
        Err(error) => Err(error),
    }
}

/// Makes a file with this content, whole or not at all. A cut leaves at most `NAME.tmp`, which the next start removes; after
/// a failure neither name stays, so that a full disk gets no fuller and a refused batch is not found by the next start, not
/// even after a power cut.
pub(crate) fn create_whole(disk: &dyn Disk, name: &str, parts: &[(u64, &[u8])]) -> io::Result<Arc<dyn DiskFile>> {
    let temporary = format!("{name}.tmp");
    let made = make_whole(disk, name, &temporary, parts);
    if made.is_err() {
        // Either may not be there.
        drop((disk.remove(&temporary), disk.remove(name)));
        if let Err(error) = disk.sync_folder(folder_of(name)) {
            log::warn!("taking {name} back: {error}");
        }
    }
    made
}

/// The same in the place of a file that may be there: after a failure, or a cut, that one stays, or the new one is there.
pub(crate) fn replace_whole(disk: &dyn Disk, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    make_whole(disk, name, &temporary, &[(0, content)]).map(drop).inspect_err(|_| drop(disk.remove(&temporary)))
}

fn make_whole(disk: &dyn Disk, name: &str, temporary: &str, parts: &[(u64, &[u8])]) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(temporary)?;
    for (offset, part) in parts {
        file.write_at(*offset, part)?;
    }
    file.sync()?;
    disk.rename(temporary, name)?;
    if !sabotage::is(Sabotage::FolderWithoutSync) {
        disk.sync_folder(folder_of(name))?;
    }
    Ok(file)
}

/// The folder part of a name.
pub(crate) fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A real folder.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    reads_only: bool,
}

#[derive(Debug)]
struct RealFile(File);

impl RealDisk {
    /// The folder `root`, made with the folders in it when it is not there (readable for its owner alone).
    pub fn new(root: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        for folder in ["log", "snapshots"] {
            let folder = root.join(folder);
            if !folder.is_dir() {
                builder.create(folder)?;
                // Their names, and that of the root, are as durable as what will be written into them.
                File::open(root)?.sync_all()?;
                let above = root.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if let Err(error) = File::open(above).and_then(|above| above.sync_all()) {
                    // Above a service's own folder it may not look.
                    log::debug!("syncing {}: {error}", above.display());
                }
            }
        }
        Ok(Self { root: root.to_owned(), reads_only: false })
    }
}

impl RealDisk {
    /// A folder that is there and only read; no link in it is followed, for it may be another user's.
    pub fn read_only(root: &Path) -> Self {
        Self { root: root.to_owned(), reads_only: true }
    }
}

/// Opens a plain file below a folder for reading; links and what leads out of it are refused, pipes are not waited for.
fn open_beneath(root: &Path, name: &str) -> io::Result<File> {
    let folder = File::open(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = match openat2(&folder, name, flags, Mode::empty(), within) {
        // Kernels before 5.6, and sandboxes that do not know it.
        Err(Errno::NOSYS | Errno::PERM) => openat(&folder, name, flags, Mode::empty()),
        opened => opened,
    };
    let file = File::from(opened?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no plain file")) }
}

impl Disk for RealDisk {
    fn lock(&self) -> io::Result<Option<Lock>> {
        let path = self.root.join("lock");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(Box::new(file)))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.reads_only {
            return Ok(Arc::new(RealFile(open_beneath(&self.root, name)?)));
        }
        let file = OpenOptions::new().read(true).write(true).open(self.root.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.root.join(name);
        let create = || OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent() {
                    DirBuilder::new().mode(0o700).create(folder)?;
                }
                create()?
            }
            file => file?,
        };
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.root.join(name))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.root.join(folder))?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let status = rustix::fs::statvfs(&self.root)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    fn chance(&self) -> u32 {
        // Keyed from the system's randomness, anew in each.
        let number = std::hash::RandomState::new().hash_one(&self.root);
        u32::try_from(number >> 32).unwrap_or(u32::MAX)
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(to, offset)
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.0.write_all_at(from, offset)
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn forget_cached(&self) {
        // Advice: whoever does not take it reads what it remembers.
        let _ = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// What went to the disk since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Octets written.
    pub(crate) written_bytes: AtomicU64,
    /// Octets read.
    pub(crate) read_bytes: AtomicU64,
    /// Reads.
    pub(crate) reads: AtomicU64,
    /// Syncs of files and folders.
    pub(crate) syncs: AtomicU64,
    /// Whether the writer lives.
    pub(crate) pulse: Pulse,
}

/// A disk that counts.
#[derive(Debug)]
pub(crate) struct Metered {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) meter: Arc<Meter>,
}

#[derive(Debug)]
struct MeteredFile {
    file: Arc<dyn DiskFile>,
    meter: Arc<Meter>,
}

impl Metered {
    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(MeteredFile { file, meter: self.meter.clone() })
    }
}

impl Disk for Metered {
    fn lock(&self) -> io::Result<Option<Lock>> {
        self.disk.lock()
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.meter.pulse.during(|| self.disk.open(name))?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(self.meter.pulse.during(|| self.disk.create(name))?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.meter.pulse.during(|| self.disk.rename(from, to))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.meter.pulse.during(|| self.disk.remove(name))
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.meter.pulse.during(|| self.disk.list(folder))
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.meter.syncs.fetch_add(1, Ordering::Relaxed);
        self.meter.pulse.during(|| self.disk.sync_folder(folder))
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.meter.pulse.during(|| self.disk.free_bytes())
    }
    fn chance(&self) -> u32 {
        self.disk.chance()
    }
}

impl DiskFile for MeteredFile {
    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<()> {
        self.meter.reads.fetch_add(1, Ordering::Relaxed);
        self.meter.read_bytes.fetch_add(to.len() as u64, Ordering::Relaxed);
        self.meter.pulse.during(|| self.file.read_at(offset, to))
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.meter.written_bytes.fetch_add(from.len() as u64, Ordering::Relaxed);
        self.meter.pulse.during(|| self.file.write_at(offset, from))
    }
    fn len(&self) -> io::Result<u64> {
        self.meter.pulse.during(|| self.file.len())
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.meter.pulse.during(|| self.file.truncate(len))
    }
    fn sync(&self) -> io::Result<()> {
        self.meter.syncs.fetch_add(1, Ordering::Relaxed);
        self.meter.pulse.during(|| self.file.sync())
    }
    fn forget_cached(&self) {
        self.file.forget_cached();
    }
}
