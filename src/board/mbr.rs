//! The partition table of a card: a master boot record, whose last partition grows. Pure: a sector in, a sector out.

use super::files::SECTOR_BYTES;
use std::fmt;

/// The first sector of a disk.
pub(super) type Sector = [u8; SECTOR_BYTES];

const TABLE: usize = 446;
const ENTRY_BYTES: usize = 16;
const ENTRIES: usize = 4;
/// A disk with a GUID partition table has one partition of this type here, for programs that do not know such tables.
const GPT: u8 = 0xee;
/// Partitions end at whole MiB, as sfdisk makes them.
const ALIGN_SECTORS: u64 = 2048;

/// Where a partition lies, in sectors of 512 octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) sectors: u64,
}

impl Extent {
    const fn end(self) -> u64 {
        self.start + self.sectors
    }
}

/// Why a table is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// It has no signature.
    NotMbr,
    /// It stands in for a GUID partition table.
    Gpt,
    /// There is no such partition.
    NoPartition,
    /// Another partition lies behind it.
    NotLast,
    /// The partition is longer than the disk.
    BeyondDisk,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMbr => "the disk has no MBR partition table",
            Self::Gpt => "the disk has a GUID partition table",
            Self::NoPartition => "there is no such partition",
            Self::NotLast => "another partition lies behind it",
            Self::BeyondDisk => "the partition is larger than the disk",
        })
    }
}

/// What partition `number` (1 to 4) of a disk of so many sectors becomes: the sector to write, `None` when there is nothing to
/// grow, and where the partition lies then.
pub(super) fn grown(sector: &Sector, number: u8, disk_sectors: u64) -> Result<(Option<Sector>, Extent), TableError> {
    if !sector.ends_with(&[0x55, 0xaa]) {
        return Err(TableError::NotMbr);
    }
    let extents: Vec<(u8, Extent)> = (0..ENTRIES).filter_map(|index| entry(sector, index)).collect();
    if extents.iter().any(|(kind, _)| *kind == GPT) {
        return Err(TableError::Gpt);
    }
    let index = usize::from(number).checked_sub(1).filter(|index| *index < ENTRIES).ok_or(TableError::NoPartition)?;
    let (_, old) = entry(sector, index).ok_or(TableError::NoPartition)?;
    if extents.iter().any(|(_, other)| other.start > old.start) {
        return Err(TableError::NotLast);
    }
    if old.end() > disk_sectors {
        return Err(TableError::BeyondDisk);
    }
    let end = disk_sectors / ALIGN_SECTORS * ALIGN_SECTORS;
    // The table counts in 32 bits: 2 TiB.
    let sectors = u32::try_from(end.saturating_sub(old.start)).unwrap_or(u32::MAX);
    if u64::from(sectors) <= old.sectors {
        return Ok((None, old));
    }
    let mut new = *sector;
    let at = TABLE + index * ENTRY_BYTES + 12;
    for (place, octet) in new.iter_mut().skip(at).zip(sectors.to_le_bytes()) {
        *place = octet;
    }
    Ok((Some(new), Extent { start: old.start, sectors: u64::from(sectors) }))
}

/// Type and extent of an entry that is in use.
fn entry(sector: &Sector, index: usize) -> Option<(u8, Extent)> {
    let entry = sector.get(TABLE + index * ENTRY_BYTES..)?.first_chunk::<ENTRY_BYTES>()?;
    let number = |at: usize| entry.get(at..)?.first_chunk().map(|octets| u64::from(u32::from_le_bytes(*octets)));
    let (kind, extent) = (*entry.get(4)?, Extent { start: number(8)?, sectors: number(12)? });
    (kind != 0 && extent.sectors != 0).then_some((kind, extent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(u8, u32, u32)]) -> Sector {
        let mut sector = [0; SECTOR_BYTES];
        sector[..4].copy_from_slice(b"boot");
        for (index, &(kind, start, sectors)) in entries.iter().enumerate() {
            let at = TABLE + index * ENTRY_BYTES;
            sector[at + 4] = kind;
            sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            sector[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        }
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn the_last_partition_grows_to_the_last_whole_mebibyte() {
        let before = table(&[(0x0c, 2048, 262_144), (0x83, 264_192, 65_536)]);
        let (sector, extent) = grown(&before, 2, 62_332_928 + 77).unwrap();
        assert_eq!(extent, Extent { start: 264_192, sectors: 62_332_928 - 264_192 });
        let sector = sector.unwrap();
        let changed: Vec<usize> = (0..SECTOR_BYTES).filter(|&at| sector[at] != before[at]).collect();
        assert!(changed.iter().all(|at| (474..478).contains(at)), "{changed:?}");
        // Done once, there is nothing left to do.
        assert_eq!(grown(&sector, 2, 62_332_928 + 77), Ok((None, extent)));
    }

    #[test]
    fn a_table_that_might_lose_something_is_left_alone() {
        let two = [(0x0c, 2048, 262_144), (0x83, 264_192, 65_536)];
        let rows = [
            ([0; SECTOR_BYTES], 2, 1 << 20, TableError::NotMbr),
            (table(&[(0xee, 1, u32::MAX)]), 1, 1 << 20, TableError::Gpt),
            (table(&two), 1, 1 << 20, TableError::NotLast),
            (table(&two), 3, 1 << 20, TableError::NoPartition),
            (table(&two), 0, 1 << 20, TableError::NoPartition),
            (table(&two), 5, 1 << 20, TableError::NoPartition),
            (table(&two), 2, 300_000, TableError::BeyondDisk),
        ];
        for (sector, number, disk, error) in rows {
            assert_eq!(grown(&sector, number, disk), Err(error));
        }
        // Entries need not stand in the order of the disk.
        let turned = table(&[two[1], two[0]]);
        assert!(grown(&turned, 1, 1 << 20).unwrap().0.is_some());
        assert_eq!(grown(&turned, 2, 1 << 20), Err(TableError::NotLast));
    }

    #[test]
    fn no_partition_is_larger_than_the_table_can_say() {
        let (_, extent) = grown(&table(&[(0x83, 2048, 65_536)]), 1, 1 << 34).unwrap();
        assert_eq!(extent.sectors, u64::from(u32::MAX));
    }
}
