//! FAT16 and FAT32 filesystems, after Microsoft's "FAT32 File System Specification" 1.03 (cited as `fatgen103`) with long
//! names.
//!
//! The writer is ours rather than the `fatfs` crate's: fsck.fat rejects what that crate writes as soon as there is a
//! subdirectory, it needs a backing store it can read again, and it stamps no order on the clusters. This one lays
//! directories first, then every file in one run of clusters, in one pass over the contents; so the boot ROM reads
//! long runs, and a small change of content stays a small change of the partition. The reader is ours because a
//! directory whose cluster chain is a loop never ends in `fatfs`.

mod geometry;
mod name;
mod read;
mod write;

pub use read::{Entry, Volume};
pub use write::{Options, Written, least_size, write};

/// Bytes per sector.
const SECTOR: u64 = 512;
/// Bytes per directory entry.
const SLOT: usize = 32;
/// Bytes in one directory at most: entries are counted in 16 bits by old drivers (`fatgen103`, p. 33).
const MAX_DIRECTORY: u64 = 65536 * SLOT as u64;

const ATTR_VOLUME: u8 = 0x08;
const ATTR_DIRECTORY: u8 = 0x10;
const ATTR_ARCHIVE: u8 = 0x20;
const ATTR_LONG_NAME: u8 = 0x0F;

/// How many bits a cluster number has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Fat16,
    Fat32,
}

impl Kind {
    /// Bytes per entry of the allocation table.
    fn entry_size(self) -> u64 {
        match self {
            Kind::Fat16 => 2,
            Kind::Fat32 => 4,
        }
    }

    /// Entries from here up end a chain of clusters.
    fn end_of_chain(self) -> u32 {
        match self {
            Kind::Fat16 => 0xFFF8,
            Kind::Fat32 => 0x0FFF_FFF8,
        }
    }
}

#[derive(thiserror::Error, Debug)]
pub enum FatError {
    #[error("{0}: FAT holds only directories and regular files; put a copy there instead")]
    NotAFile(String),
    #[error("{path}: a FAT name cannot {why}")]
    Name { path: String, why: &'static str },
    #[error("{0}: differs only in case from another file beside it, which is the same name to FAT")]
    SameName(String),
    #[error("{path}: {size} bytes, a file on FAT has less than 4 GiB")]
    FileTooLarge { path: String, size: u64 },
    #[error("{0}: a directory on FAT has at most 65536 entries of 32 bytes")]
    DirectoryTooLarge(String),
    #[error("volume label {0:?}: expected 1 to 11 of A to Z, 0 to 9, space, `-` and `_`")]
    Label(String),
    #[error("a {kind:?} filesystem cannot have {size} bytes")]
    Size { kind: Kind, size: u64 },
    #[error("the files need {needed} bytes, the FAT filesystem has room for {available}; make the partition larger")]
    Full { needed: u64, available: u64 },
    #[error("not a FAT16 or FAT32 filesystem: {0}")]
    NotFat(String),
    #[error("damaged FAT filesystem: {0}")]
    Damaged(String),
    #[error("{0}: no such file on the FAT filesystem")]
    NotFound(String),
    #[error("{path}: {size} bytes, expected at most {limit}")]
    OverLimit { path: String, size: u64, limit: u64 },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
