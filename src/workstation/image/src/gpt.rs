//! GUID partition table (UEFI 2.10, chapter 5), 512-byte sectors, with the MBR in front of it either protective or
//! hybrid. What is read and written on the workstation goes through the code that a node reads it with, `fruit-gpt`.

mod read;
mod write;

pub use read::{CopyState, Found, read};
pub use write::{Table, encode};

use uuid::{Uuid, uuid};

pub use fruit_gpt::{MAX_NAME, SECTOR};

/// Sectors in front of the first partition at least: MBR, header, 128 entries of 128 bytes.
pub const HEAD_SECTORS: u64 = 34;
/// Sectors behind the last partition at least: the entries again, then the backup header.
pub const TAIL_SECTORS: u64 = 33;
/// Entries that the table has room for.
pub const MAX_PARTITIONS: usize = 128;

/// Type GUID of a FAT partition that any PC shows ("Microsoft basic data").
pub const BASIC_DATA: Uuid = uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7");
/// Type GUID of a FAT partition that UEFI firmware boots from.
pub const EFI_SYSTEM: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Type GUID of Linux data of any kind.
pub const LINUX_DATA: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

#[derive(thiserror::Error, Debug)]
pub enum GptError {
    #[error("alignment of {0} bytes: expected a multiple of 4096")]
    Alignment(u64),
    #[error("{0} partitions: expected 1 to {MAX_PARTITIONS}")]
    Count(usize),
    #[error("partition name {0:?}: expected 1 to {MAX_NAME} UTF-16 units without NUL")]
    Name(String),
    #[error("partition {name}: size {size} bytes is zero or too large")]
    Size { name: String, size: u64 },
    #[error(
        "the partitions need a disk of {needed} bytes, it has {available}; make partitions smaller or the disk larger"
    )]
    TooSmall { needed: u64, available: u64 },
    #[error("disk size of {0} bytes: expected a multiple of the 512-byte sector")]
    DiskSize(u64),
    #[error("the hybrid MBR cannot hold partition {0}: no such partition, or it lies beyond 2 TiB")]
    Hybrid(u32),
    #[error("GUID {0} is used twice")]
    SameGuid(Uuid),
    #[error("no GUID partition table: primary {primary}; backup {backup}")]
    NoTable { primary: CopyState, backup: CopyState },
    #[error("reading the partition table: {0}")]
    Io(#[from] std::io::Error),
}

/// A partition that [`plan`] finds a place for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: String,
    pub type_guid: Uuid,
    pub guid: Uuid,
    /// Bytes; rounded up to the alignment.
    pub size: u64,
}

/// A partition and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// From 1, as Linux counts.
    pub number: u32,
    pub name: String,
    pub type_guid: Uuid,
    /// PARTUUID.
    pub guid: Uuid,
    pub first_sector: u64,
    pub sectors: u64,
}

impl Partition {
    /// Bytes from the start of the disk.
    pub fn start(&self) -> u64 {
        self.first_sector * SECTOR
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.sectors * SECTOR
    }
}

/// The MBR in front of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mbr {
    /// One entry of type 0xEE over the whole disk.
    Protective,
    /// An entry of type 0xEE over the table, then an active one of type 0x0C (FAT32, LBA) over this partition: the boot
    /// ROM of the Raspberry Pi 3 and older knows no GPT.
    Hybrid { partition: u32 },
}

/// Where everything on a disk is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    pub disk_guid: Uuid,
    /// Bytes.
    pub disk_size: u64,
    pub mbr: Mbr,
    pub partitions: Vec<Partition>,
}

/// Places the partitions one behind the other, each at a multiple of `alignment` (bytes). Without `disk_size` the disk
/// is as small as they allow, rounded up to the alignment.
///
/// # Errors
/// Alignment, names, sizes or GUIDs that cannot be, and a disk that is too small.
pub fn plan(
    disk_guid: Uuid,
    disk_size: Option<u64>,
    alignment: u64,
    mbr: Mbr,
    wanted: &[Wanted],
) -> Result<Layout, GptError> {
    if alignment == 0 || !alignment.is_multiple_of(4096) {
        return Err(GptError::Alignment(alignment));
    }
    if wanted.is_empty() || wanted.len() > MAX_PARTITIONS {
        return Err(GptError::Count(wanted.len()));
    }
    let mut guids = vec![disk_guid];
    let mut at = up(HEAD_SECTORS * SECTOR, alignment).ok_or(GptError::Alignment(alignment))?;
    let mut partitions = Vec::with_capacity(wanted.len());
    for (number, part) in (1..).zip(wanted) {
        if !(1..=MAX_NAME).contains(&part.name.encode_utf16().count()) || part.name.contains('\0') {
            return Err(GptError::Name(part.name.clone()));
        }
        if guids.contains(&part.guid) {
            return Err(GptError::SameGuid(part.guid));
        }
        guids.push(part.guid);
        let bad_size = || GptError::Size { name: part.name.clone(), size: part.size };
        let size = up(part.size, alignment).filter(|size| *size > 0).ok_or_else(bad_size)?;
        partitions.push(Partition {
            number,
            name: part.name.clone(),
            type_guid: part.type_guid,
            guid: part.guid,
            first_sector: at / SECTOR,
            sectors: size / SECTOR,
        });
        at = at.checked_add(size).ok_or_else(bad_size)?;
    }
    let too_large = || GptError::TooSmall { needed: u64::MAX, available: disk_size.unwrap_or(u64::MAX) };
    let needed = at.checked_add(TAIL_SECTORS * SECTOR).ok_or_else(too_large)?;
    let disk_size = match disk_size {
        Some(size) if !size.is_multiple_of(SECTOR) => return Err(GptError::DiskSize(size)),
        Some(size) if size < needed => return Err(GptError::TooSmall { needed, available: size }),
        Some(size) => size,
        None => up(needed, alignment).ok_or_else(too_large)?,
    };
    if let Mbr::Hybrid { partition } = mbr {
        let found = partitions.iter().find(|p| p.number == partition);
        let fits = |p: &&Partition| p.first_sector + p.sectors <= u64::from(u32::MAX);
        found.filter(fits).ok_or(GptError::Hybrid(partition))?;
    }
    Ok(Layout { disk_guid, disk_size, mbr, partitions })
}

fn up(n: u64, to: u64) -> Option<u64> {
    n.checked_next_multiple_of(to)
}
