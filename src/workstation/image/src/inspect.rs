//! What is in a card image: partitions, the filesystems in them, the files of the FAT ones.

use crate::disk::{Disk, DiskFile, Window};
use crate::erofs;
use crate::fat::{self, FatError, Volume};
use crate::gpt::{self, CopyState, Found, GptError, Mbr, Partition};
use fruit_base::le::u32_at;
use std::io;
use uuid::Uuid;

/// Where ext4 keeps its superblock, and its magic in it (Documentation/filesystems/ext4/super.rst).
const EXT4_SUPERBLOCK: u64 = 1024;
const EXT4_MAGIC: [u8; 2] = [0x53, 0xEF];
/// First bytes of a boot-control block (this project's).
const BOOT_CONTROL_MAGIC: &[u8] = b"FBC1";
/// Bytes looked at to tell a partition without a filesystem from an empty one.
const PROBE: u64 = 8192;

#[derive(thiserror::Error, Debug)]
pub enum InspectError {
    #[error(transparent)]
    Gpt(#[from] GptError),
    #[error("partition {number}: {source}")]
    Fat { number: u32, source: FatError },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A card or its image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Card {
    /// Bytes.
    pub size: u64,
    pub disk_guid: Uuid,
    pub mbr: Mbr,
    pub primary: CopyState,
    pub backup: CopyState,
    pub partitions: Vec<Contents>,
}

/// A partition and what is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contents {
    pub partition: Partition,
    pub filesystem: Filesystem,
}

/// What a partition holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filesystem {
    Fat {
        kind: fat::Kind,
        label: String,
        volume_id: u32,
        /// Bytes in free clusters.
        free: u64,
        files: Vec<fat::Entry>,
    },
    /// Sizes in bytes.
    Ext4 {
        label: String,
        uuid: Uuid,
        size: u64,
        free: u64,
    },
    /// The size in bytes; a verity tree may follow it.
    Erofs {
        label: String,
        uuid: Uuid,
        size: u64,
        inodes: u64,
    },
    BootControl,
    /// Zeros at the start: never written.
    Empty,
    /// Nothing known, or a superblock that makes no sense.
    Unknown,
}

/// Looks at a card or image, which may be damaged or hostile.
///
/// # Errors
/// No partition table; a FAT filesystem that is damaged; read errors.
pub fn inspect<D: Disk + ?Sized>(disk: &D) -> Result<Card, InspectError> {
    let Found { layout, primary, backup, .. } = gpt::read(disk)?;
    let look = |partition: Partition| {
        let filesystem = filesystem(&Window::new(disk, partition.start(), partition.size()))
            .map_err(|e| at_partition(partition.number, e))?;
        Ok(Contents { partition, filesystem })
    };
    let partitions = layout.partitions.into_iter().map(look).collect::<Result<_, InspectError>>()?;
    Ok(Card { size: disk.size(), disk_guid: layout.disk_guid, mbr: layout.mbr, primary, backup, partitions })
}

/// The partition of that name, to read its files with [`Volume`] or the reader of its format.
///
/// # Errors
/// No partition table, no such partition; read errors.
pub fn partition<'a>(disk: &'a DiskFile, name: &str) -> Result<Window<'a, DiskFile>, InspectError> {
    let found = gpt::read(disk)?;
    let wanted = found.layout.partitions.iter().find(|p| p.name == name);
    let missing = || {
        let why = format!("{}: no partition is named {name}", disk.path().display());
        io::Error::new(io::ErrorKind::NotFound, why)
    };
    let p = wanted.ok_or_else(missing)?;
    Ok(Window::new(disk, p.start(), p.size()))
}

fn at_partition(number: u32, source: FatError) -> InspectError {
    match source {
        FatError::Io(e) => InspectError::Io(e),
        source => InspectError::Fat { number, source },
    }
}

fn filesystem<D: Disk + ?Sized>(part: &D) -> Result<Filesystem, FatError> {
    let mut start = vec![0; part.size().min(PROBE) as usize];
    part.read_exact_at(&mut start, 0)?;
    let holds = |at: u64, magic: &[u8]| start.get(at as usize..).is_some_and(|bytes| bytes.starts_with(magic));
    if erofs::is_erofs(&start) {
        return Ok(erofs::Reader::open(part, part.size()).map_or(Filesystem::Unknown, |reader| Filesystem::Erofs {
            label: reader.volume_name(),
            uuid: Uuid::from_bytes(reader.uuid()),
            size: reader.image_len(),
            inodes: reader.inode_count(),
        }));
    }
    if holds(EXT4_SUPERBLOCK + 0x38, &EXT4_MAGIC) && start.len() >= 2048 {
        return Ok(ext4(&start[EXT4_SUPERBLOCK as usize..2048]));
    }
    if holds(0, BOOT_CONTROL_MAGIC) || holds(4096, BOOT_CONTROL_MAGIC) {
        return Ok(Filesystem::BootControl);
    }
    if start.iter().all(|b| *b == 0) {
        return Ok(Filesystem::Empty);
    }
    match Volume::open(part) {
        Ok(volume) => Ok(Filesystem::Fat {
            kind: volume.kind(),
            label: volume.label().to_owned(),
            volume_id: volume.volume_id(),
            free: volume.free()?,
            files: volume.list()?,
        }),
        Err(FatError::NotFat(_)) => Ok(Filesystem::Unknown),
        Err(e) => Err(e),
    }
}

/// From a superblock of 1024 bytes (`struct ext4_super_block`). Its numbers are shown, never used to reach anything.
fn ext4(superblock: &[u8]) -> Filesystem {
    let block = 1024u64.checked_shl(u32_at(superblock, 0x18)).unwrap_or(0);
    let bytes = |at| u64::from(u32_at(superblock, at)).saturating_mul(block);
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&superblock[0x68..0x78]);
    let label = superblock[0x78..0x88].split(|b| *b == 0).next().unwrap_or_default();
    Filesystem::Ext4 {
        label: String::from_utf8_lossy(label).into_owned(),
        uuid: Uuid::from_bytes(uuid),
        size: bytes(0x04),
        free: bytes(0x0C),
    }
}
