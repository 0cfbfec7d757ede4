//! The partition table of the card, and the plan of its growth.

use std::fs::File;
use std::os::unix::fs::FileExt;

use fruit_contract::Guid;
pub use fruit_gpt::SECTOR;
use fruit_gpt::{Damage, ENTRY, SECTOR_BYTES, entry_sectors, set_protective_size};

/// Partitions end on a multiple of this many sectors (1 MiB), so that the filesystem's blocks and the flash's fit.
const ALIGNMENT: u64 = 2048;

#[derive(Debug, thiserror::Error)]
pub enum GptError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("no valid GPT (primary: {primary}; backup: {backup})")]
    Invalid { primary: Damage, backup: Damage },
    #[error("partition {0} is not in the table")]
    Missing(u32),
    #[error("partition {0} is not the last one on the disk")]
    NotLast(u32),
    #[error("the table needs {needed} sectors, the disk has {found}")]
    DiskTooSmall { needed: u64, found: u64 },
}

/// A valid partition table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    pub disk: Guid,
    copy: fruit_gpt::Table,
    /// Whether this is the backup, because the primary is damaged (a torn write).
    pub from_backup: bool,
}

/// First and last sector of a partition, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pub first: u64,
    pub last: u64,
}

impl Extent {
    pub const fn bytes(&self) -> u64 {
        (self.last - self.first + 1) * SECTOR
    }

    /// Offset of the first byte on the disk.
    pub const fn start(&self) -> u64 {
        self.first * SECTOR
    }
}

/// A write of a plan. Writes are done in order, each on the disk before the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Bytes from the start of the disk.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// How to make the table fit the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Growth {
    pub extent: Extent,
    pub writes: Vec<Write>,
}

/// Fills the bytes from an offset of the disk.
type ReadAt<'a> = dyn Fn(&mut [u8], u64) -> std::io::Result<()> + 'a;

impl Table {
    /// Reads the table of a disk of `disk_sectors`: the primary one, else the backup in the last sector.
    ///
    /// # Errors
    /// [`GptError::Invalid`] if both are damaged or not there, [`GptError::Read`].
    pub fn read(disk: &File, disk_sectors: u64) -> Result<Table, GptError> {
        Table::read_with(&|bytes, offset| disk.read_exact_at(bytes, offset), disk_sectors)
    }

    /// [`Table::read`] over the bytes of a whole disk.
    ///
    /// # Errors
    /// [`GptError::Invalid`].
    pub fn parse(disk: &[u8]) -> Result<Table, GptError> {
        let read = |bytes: &mut [u8], offset: u64| {
            let at = usize::try_from(offset).ok();
            let found = at.and_then(|at| disk.get(at..at.checked_add(bytes.len())?));
            bytes.copy_from_slice(found.ok_or(std::io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        Table::read_with(&read, disk.len() as u64 / SECTOR)
    }

    fn read_with(read: &ReadAt<'_>, disk_sectors: u64) -> Result<Table, GptError> {
        let primary = match Table::read_one(read, 1, disk_sectors)? {
            Ok(table) => return Ok(table),
            Err(reason) => reason,
        };
        match Table::read_one(read, disk_sectors.saturating_sub(1), disk_sectors)? {
            Ok(table) => Ok(Table { from_backup: true, ..table }),
            Err(backup) => Err(GptError::Invalid { primary, backup }),
        }
    }

    fn read_one(read: &ReadAt<'_>, lba: u64, disk_sectors: u64) -> std::io::Result<Result<Table, Damage>> {
        let copy = fruit_gpt::Table::read(read, lba, disk_sectors)?;
        Ok(copy.map(|copy| Table { disk: Guid::from_gpt(copy.disk), copy, from_backup: false }))
    }

    /// Where partition `number` (from 1) is; `None` if unused or impossible.
    pub fn extent(&self, number: u32) -> Option<Extent> {
        let entry = self.copy.raw(number)?;
        let lba = |at: usize| entry[at..at + 8].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        let extent = Extent { first: lba(32), last: lba(40) };
        (extent.first <= extent.last && extent.first >= 2 && extent.last < u64::MAX / SECTOR).then_some(extent)
    }

    /// GUID of partition `number`, the kernel's PARTUUID.
    pub fn guid(&self, number: u32) -> Option<Guid> {
        let entry = self.copy.raw(number)?;
        let mut guid = [0u8; 16];
        guid.copy_from_slice(&entry[16..32]);
        Some(Guid::from_gpt(guid))
    }

    /// Number of the partition with this GUID.
    pub fn find(&self, guid: Guid) -> Option<u32> {
        self.copy.numbers().find(|&n| self.guid(n) == Some(guid))
    }

    /// Plans to move the backup table to the end of a disk of `disk_sectors` and to stretch partition `number`, the
    /// last one, up to it. `mbr` is sector 0; `sector_1_to_7` are the seven sectors behind it. `None`: nothing to do.
    ///
    /// The backup is written first; then everything at the start that changes in a single write of the first 4096
    /// bytes, so that a power cut leaves the old primary, or the new one, or (if the card tears that write) the backup.
    ///
    /// # Errors
    /// [`GptError::Missing`], [`GptError::NotLast`], [`GptError::DiskTooSmall`].
    pub fn plan_growth(&self, number: u32, disk_sectors: u64, start: &[u8; 4096]) -> Result<Option<Growth>, GptError> {
        let old = self.extent(number).ok_or(GptError::Missing(number))?;
        if self.copy.numbers().any(|n| self.extent(n).is_none_or(|e| e.last > old.last)) {
            return Err(GptError::NotLast(number));
        }
        let table_sectors = entry_sectors(self.copy.count());
        // Behind the last usable sector: the entries and the header of the backup.
        let last_usable = disk_sectors.saturating_sub(table_sectors + 2);
        if last_usable < old.last {
            return Err(GptError::DiskTooSmall { needed: old.last + table_sectors + 2, found: disk_sectors });
        }
        let aligned_last = ((last_usable + 1) / ALIGNMENT * ALIGNMENT).saturating_sub(1);
        let extent = Extent { first: old.first, last: aligned_last.max(old.last) };
        let backup_lba = disk_sectors - 1;
        let in_place = !self.from_backup && self.copy.other == backup_lba && self.copy.last_usable == last_usable;
        if in_place && extent == old {
            return Ok(None);
        }

        let mut grown = fruit_gpt::Table { last_usable, ..self.copy.clone() };
        let at = (number as usize - 1) * ENTRY + 40;
        grown.entries[at..at + 8].copy_from_slice(&extent.last.to_le_bytes());
        let primary_entries_lba = if self.from_backup { 2 } else { self.copy.entries_at };
        let backup_entries_lba = backup_lba - table_sectors;

        let mut backup = vec![0u8; ((table_sectors + 1) * SECTOR) as usize];
        backup[..grown.entries.len()].copy_from_slice(&grown.entries);
        let header = grown.header(backup_lba, 1, backup_entries_lba);
        backup[(table_sectors * SECTOR) as usize..].copy_from_slice(&header);

        // A short table ends before the 4096 bytes that are written at once; what is behind it stays.
        let head_len = ((primary_entries_lba + table_sectors) * SECTOR) as usize;
        let mut head = vec![0u8; head_len.max(start.len())];
        head[..start.len()].copy_from_slice(start);
        set_protective_size(&mut head, disk_sectors);
        head[SECTOR_BYTES..2 * SECTOR_BYTES].copy_from_slice(&grown.header(1, backup_lba, primary_entries_lba));
        let at = (primary_entries_lba * SECTOR) as usize;
        head[at..at + grown.entries.len()].copy_from_slice(&grown.entries);
        let writes = self.order_writes(backup, backup_entries_lba * SECTOR, head, primary_entries_lba);
        Ok(Some(Growth { extent, writes }))
    }

    /// With a whole primary, everything that differs from it is in the first 4096 bytes (entries 1 to 24 when they
    /// start at sector 2). After damage the rest of the entries goes first.
    fn order_writes(&self, backup: Vec<u8>, backup_at: u64, head: Vec<u8>, entries_lba: u64) -> Vec<Write> {
        let mut writes = vec![Write { offset: backup_at, bytes: backup }];
        if self.from_backup || entries_lba != 2 {
            writes
                .push(Write { offset: entries_lba * SECTOR, bytes: head[(entries_lba * SECTOR) as usize..].to_vec() });
        }
        writes.push(Write { offset: 0, bytes: head[..4096].to_vec() });
        writes
    }
}
