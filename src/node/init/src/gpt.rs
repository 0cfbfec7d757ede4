//! Reads the partition table of the card and plans its growth: UEFI specification 2.10, section 5.3.
//!
//! Sectors are 512 bytes throughout, as on every SD card.

use std::fs::File;
use std::os::unix::fs::FileExt;

use fruit_contract::Guid;

pub const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = SECTOR as usize;
/// Partitions end on a multiple of this many sectors (1 MiB), so that the filesystem's blocks and the flash's fit.
const ALIGNMENT: u64 = 2048;
/// Bytes of an entry; the specification allows more, nobody writes it.
const ENTRY: usize = 128;
/// Most entries that are read: twice of what the specification reserves.
const MAX_ENTRIES: u32 = 256;
/// The primary entries end before this sector (32 MiB): all up to there is held in memory when the table is written anew.
const MAX_ENTRIES_END: u64 = 1 << 16;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_BYTES: u32 = 92;

#[derive(Debug, thiserror::Error)]
pub enum GptError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("no valid GPT (primary: {primary}; backup: {backup})")]
    Invalid { primary: &'static str, backup: &'static str },
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
    entries: Vec<u8>,
    entries_lba: u64,
    first_usable: u64,
    alternate_lba: u64,
    last_usable: u64,
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

struct Header {
    my_lba: u64,
    alternate_lba: u64,
    first_usable: u64,
    last_usable: u64,
    disk: Guid,
    entries_lba: u64,
    entry_count: u32,
    entries_crc: u32,
}

fn u32_at(bytes: &[u8; SECTOR_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; SECTOR_BYTES], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl Header {
    fn parse(sector: &[u8; SECTOR_BYTES], lba: u64, disk_sectors: u64) -> Result<Header, &'static str> {
        if &sector[..8] != SIGNATURE {
            return Err("no signature");
        }
        if u32_at(sector, 12) != HEADER_BYTES {
            return Err("unknown header size");
        }
        let mut zeroed = *sector;
        zeroed[16..20].fill(0);
        if fruit_contract::crc32::crc32(&zeroed[..HEADER_BYTES as usize]) != u32_at(sector, 16) {
            return Err("wrong header checksum");
        }
        let mut guid = [0u8; 16];
        guid.copy_from_slice(&sector[56..72]);
        let header = Header {
            my_lba: u64_at(sector, 24),
            alternate_lba: u64_at(sector, 32),
            first_usable: u64_at(sector, 40),
            last_usable: u64_at(sector, 48),
            disk: Guid::from_gpt(guid),
            entries_lba: u64_at(sector, 72),
            entry_count: u32_at(sector, 80),
            entries_crc: u32_at(sector, 88),
        };
        if u32_at(sector, 84) as usize != ENTRY || header.entry_count > MAX_ENTRIES || header.entry_count < 1 {
            return Err("unknown layout of the entries");
        }
        let sane = header.my_lba == lba
            && header.first_usable <= header.last_usable
            && header.last_usable < disk_sectors
            && header.entries_lba >= 2
            && header.entries_lba < disk_sectors
            && (lba != 1 || header.entries_lba + entry_sectors(header.entry_count) <= MAX_ENTRIES_END);
        if sane { Ok(header) } else { Err("impossible sector numbers") }
    }
}

/// Sectors that `count` entries take.
const fn entry_sectors(count: u32) -> u64 {
    (count as u64 * ENTRY as u64).div_ceil(SECTOR)
}

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

    fn read_one(read: &ReadAt<'_>, lba: u64, disk_sectors: u64) -> std::io::Result<Result<Table, &'static str>> {
        if lba == 0 || lba >= disk_sectors {
            return Ok(Err("no such sector"));
        }
        let mut sector = [0u8; SECTOR_BYTES];
        read(&mut sector, lba.saturating_mul(SECTOR))?;
        let header = match Header::parse(&sector, lba, disk_sectors) {
            Ok(header) => header,
            Err(reason) => return Ok(Err(reason)),
        };
        // Bounded by MAX_ENTRIES.
        let mut entries = vec![0u8; header.entry_count as usize * ENTRY];
        if header.entries_lba + entry_sectors(header.entry_count) > disk_sectors {
            return Ok(Err("entries behind the end of the disk"));
        }
        read(&mut entries, header.entries_lba * SECTOR)?;
        if fruit_contract::crc32::crc32(&entries) != header.entries_crc {
            return Ok(Err("wrong checksum of the entries"));
        }
        Ok(Ok(Table {
            disk: header.disk,
            entries,
            entries_lba: header.entries_lba,
            first_usable: header.first_usable,
            alternate_lba: header.alternate_lba,
            last_usable: header.last_usable,
            from_backup: false,
        }))
    }

    fn entry(&self, number: u32) -> Option<&[u8; ENTRY]> {
        let (entries, _) = self.entries.as_chunks::<ENTRY>();
        entries.get((number as usize).checked_sub(1)?).filter(|e| e[..16] != [0; 16])
    }

    /// Where partition `number` (from 1) is; `None` if unused or impossible.
    pub fn extent(&self, number: u32) -> Option<Extent> {
        let entry = self.entry(number)?;
        let lba = |at: usize| entry[at..at + 8].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        let extent = Extent { first: lba(32), last: lba(40) };
        (extent.first <= extent.last && extent.first >= 2 && extent.last < u64::MAX / SECTOR).then_some(extent)
    }

    /// GUID of partition `number`, the kernel's PARTUUID.
    pub fn guid(&self, number: u32) -> Option<Guid> {
        let entry = self.entry(number)?;
        let mut guid = [0u8; 16];
        guid.copy_from_slice(&entry[16..32]);
        Some(Guid::from_gpt(guid))
    }

    /// Number of the partition with this GUID.
    pub fn find(&self, guid: Guid) -> Option<u32> {
        (1..=(self.entries.len() / ENTRY) as u32).find(|&n| self.guid(n) == Some(guid))
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        (1..=(self.entries.len() / ENTRY) as u32).filter(|&n| self.entry(n).is_some())
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
        if self.numbers().any(|n| self.extent(n).is_none_or(|e| e.last > old.last)) {
            return Err(GptError::NotLast(number));
        }
        let count = (self.entries.len() / ENTRY) as u32;
        let table_sectors = entry_sectors(count);
        // Behind the last usable sector: the entries and the header of the backup.
        let last_usable = disk_sectors.saturating_sub(table_sectors + 2);
        if last_usable < old.last {
            return Err(GptError::DiskTooSmall { needed: old.last + table_sectors + 2, found: disk_sectors });
        }
        let aligned_last = ((last_usable + 1) / ALIGNMENT * ALIGNMENT).saturating_sub(1);
        let extent = Extent { first: old.first, last: aligned_last.max(old.last) };
        let in_place = !self.from_backup && self.alternate_lba == disk_sectors - 1 && self.last_usable == last_usable;
        if in_place && extent == old {
            return Ok(None);
        }

        let mut entries = self.entries.clone();
        let at = (number as usize - 1) * ENTRY + 40;
        entries[at..at + 8].copy_from_slice(&extent.last.to_le_bytes());
        let grown = Table { entries, last_usable, ..self.clone() };
        let primary_entries_lba = if self.from_backup { 2 } else { self.entries_lba };
        let backup_lba = disk_sectors - 1;
        let backup_entries_lba = backup_lba - table_sectors;

        let mut backup = vec![0u8; ((table_sectors + 1) * SECTOR) as usize];
        backup[..grown.entries.len()].copy_from_slice(&grown.entries);
        let header = grown.header(backup_lba, 1, backup_entries_lba);
        backup[(table_sectors * SECTOR) as usize..].copy_from_slice(&header);

        // A short table ends before the 4096 bytes that are written at once; what is behind it stays.
        let head_len = ((primary_entries_lba + table_sectors) * SECTOR) as usize;
        let mut head = vec![0u8; head_len.max(start.len())];
        head[..start.len()].copy_from_slice(start);
        protective_size(&mut head, disk_sectors);
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

    fn header(&self, my_lba: u64, alternate_lba: u64, entries_lba: u64) -> [u8; SECTOR_BYTES] {
        let mut sector = [0u8; SECTOR_BYTES];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, SIGNATURE);
        put(8, &0x0001_0000u32.to_le_bytes());
        put(12, &HEADER_BYTES.to_le_bytes());
        put(24, &my_lba.to_le_bytes());
        put(32, &alternate_lba.to_le_bytes());
        put(40, &self.first_usable.to_le_bytes());
        put(48, &self.last_usable.to_le_bytes());
        put(56, &self.disk.to_gpt());
        put(72, &entries_lba.to_le_bytes());
        put(80, &((self.entries.len() / ENTRY) as u32).to_le_bytes());
        put(84, &(ENTRY as u32).to_le_bytes());
        put(88, &fruit_contract::crc32::crc32(&self.entries).to_le_bytes());
        let crc = fruit_contract::crc32::crc32(&sector[..HEADER_BYTES as usize]);
        sector[16..20].copy_from_slice(&crc.to_le_bytes());
        sector
    }
}

/// A plain protective MBR (one entry, type 0xEE, from sector 1) says the size of the disk; a hybrid one, which the boot
/// ROM of old Raspberry Pis reads, stays as it is.
fn protective_size(head: &mut [u8], disk_sectors: u64) {
    const TABLE: usize = 446;
    let used: Vec<usize> = (0..4).map(|i| TABLE + 16 * i).filter(|&at| head[at + 4] != 0).collect();
    if let [at] = used[..]
        && head[at + 4] == 0xee
        && head[at + 8..at + 12] == [1, 0, 0, 0]
    {
        let size = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
        head[at + 12..at + 16].copy_from_slice(&size.to_le_bytes());
    }
}
