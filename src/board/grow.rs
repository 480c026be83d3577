//! The data partition and the ext4 on it, grown to the end of the card. Each step may be the last before a power cut, and
//! each is done again by the next start: the table is one sector, the kernel reads it at every start, and ext4 keeps a journal
//! of its own growth.

use super::files::SECTOR_BYTES;
use super::mbr::{Extent, TableError, grown};
use rustix::fs::{fstatfs, sync};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

/// Why nothing was grown.
#[derive(Debug)]
pub enum GrowError {
    /// The partition table is none that may be changed.
    Table(TableError),
    /// What was written into the first sector reads back differently.
    NotKept,
    /// What failed, and how.
    Io(&'static str, io::Error),
}

impl std::fmt::Display for GrowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Table(error) => write!(f, "{error}"),
            Self::NotKept => f.write_str("the disk does not keep its partition table"),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Whether the partition became larger.
    pub partition: bool,
    /// Octets of the partition now.
    pub bytes: u64,
    /// Whether the file system became larger.
    pub files: bool,
}

/// Grows partition `number` of `disk` and the ext4 mounted at `mount`.
pub fn grow(disk: &Path, number: u8, mount: &Path) -> Result<Grown, GrowError> {
    let (partition, extent) = grow_partition(disk, number)?;
    let mounted = File::open(mount).map_err(|error| GrowError::Io("cannot open the mounted file system", error))?;
    let facts = fstatfs(&mounted).map_err(|error| GrowError::Io("cannot look at the file system", error.into()))?;
    let block_bytes = u64::try_from(facts.f_bsize).ok().filter(|bytes| *bytes > 0).unwrap_or(4096);
    let blocks = extent.sectors.saturating_mul(SECTOR_BYTES as u64) / block_bytes;
    super::ioctl::grow_ext4(&mounted, blocks).map_err(|error| GrowError::Io("cannot grow the file system", error))?;
    let after = fstatfs(&mounted).map_err(|error| GrowError::Io("cannot look at the file system", error.into()))?;
    let bytes = extent.sectors.saturating_mul(SECTOR_BYTES as u64);
    Ok(Grown { partition, bytes, files: after.f_blocks > facts.f_blocks })
}

/// The partition alone; also on a file that holds a disk's image.
fn grow_partition(disk: &Path, number: u8) -> Result<(bool, Extent), GrowError> {
    let failed = |what| move |error| GrowError::Io(what, error);
    let mut file = OpenOptions::new().read(true).write(true).open(disk).map_err(failed("cannot open the disk"))?;
    let sectors = file.seek(SeekFrom::End(0)).map_err(failed("cannot tell the disk's size"))? / SECTOR_BYTES as u64;
    let mut sector = [0; SECTOR_BYTES];
    file.read_exact_at(&mut sector, 0).map_err(failed("cannot read the partition table"))?;
    let (changed, extent) = grown(&sector, number, sectors).map_err(GrowError::Table)?;
    if let Some(changed) = changed {
        file.write_all_at(&changed, 0).map_err(failed("cannot write the partition table"))?;
        file.sync_all().map_err(failed("cannot write the partition table"))?;
        sync();
        let mut kept = [0; SECTOR_BYTES];
        file.read_exact_at(&mut kept, 0).map_err(failed("cannot read the partition table"))?;
        if kept != changed {
            return Err(GrowError::NotKept);
        }
    }
    let is_device = file.metadata().is_ok_and(|facts| facts.file_type().is_block_device());
    if is_device {
        // Said at every start: it changes nothing where the kernel knows.
        super::ioctl::resize_partition(
            &file,
            number,
            extent.start * SECTOR_BYTES as u64,
            extent.sectors * SECTOR_BYTES as u64,
        )
        .map_err(failed("the kernel does not take the partition's new size"))?;
    }
    Ok((changed.is_some(), extent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disks_image_is_grown_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        let mut sector = [0_u8; SECTOR_BYTES];
        sector[446 + 4] = 0x83;
        sector[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
        sector[446 + 12..446 + 16].copy_from_slice(&2048_u32.to_le_bytes());
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&path, sector).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(64 << 20).unwrap();
        let whole = Extent { start: 2048, sectors: 63 * 2048 };
        assert_eq!(grow_partition(&path, 1).unwrap(), (true, whole));
        assert_eq!(grow_partition(&path, 1).unwrap(), (false, whole));
        assert!(matches!(grow_partition(&path, 2), Err(GrowError::Table(TableError::NoPartition))));
    }
}
