//! Writing a card image to a card (or to a file): only what the block map lists, read back and compared.
//!
//! The image is checked before the target is touched: its partition table, whether it is whole, and the sums of its block
//! map. Without a block map everything is written. The holes of an image file are not taken for one: copying a file makes
//! holes of zeros that matter.

mod check;
mod disks;
mod kind;
pub mod node_config;
mod source;
mod table;
mod target;
mod write;

pub use disks::{BlockDevice, Objection, System, Transport, inspect, list};
pub use source::Source;
pub use target::Target;
pub use write::{Flashed, write};

use fruit_base::PathError;
use fruit_image::bmap::BmapError;
use fruit_image::zst::SeekError;
use std::io;
use std::path::PathBuf;

/// Bytes moved at a time.
const CHUNK: u64 = 1 << 20;

#[derive(thiserror::Error, Debug)]
pub enum FlashError {
    #[error("{path}: {why}")]
    Refused { path: PathBuf, why: Objection },
    #[error("{0}: no such device; give the whole disk, such as /dev/sdb, or a file outside /dev")]
    NoDevice(PathBuf),
    #[error("{path}: is partition {partition} of a disk; give the whole disk")]
    Partition { path: PathBuf, partition: String },
    #[error("{0}: is neither a block device nor a regular file")]
    NotADisk(PathBuf),
    #[error("{0}: is the image itself; write it to a disk or to another file")]
    SameFile(PathBuf),
    #[error("{path}: has {available} bytes, the image needs {needed}; take a larger card")]
    TooSmall { path: PathBuf, needed: u64, available: u64 },
    #[error("{path}: {what}")]
    NotAnImage { path: PathBuf, what: String },
    #[error("{path}: {what}; the image is cut short or damaged, get it again")]
    Incomplete { path: PathBuf, what: String },
    #[error("{why}; {path} is not whole: it has no partition table, write an image to it again")]
    Unfinished { path: PathBuf, why: Box<FlashError> },
    #[error("{path}: {source}")]
    Bmap { path: PathBuf, source: BmapError },
    #[error(
        "{path}: the block map is for an image of {expected} bytes, this one has {found}; they do not belong together"
    )]
    OtherImage { path: PathBuf, expected: u64, found: u64 },
    #[error("{path}: {source}")]
    Table { path: PathBuf, source: SeekError },
    #[error("{path}: holds more than the {size} bytes that it says; keep its .bmap file beside it")]
    Longer { path: PathBuf, size: u64 },
    #[error("{0}: does not say how large the image is; keep its .bmap file beside it")]
    UnknownSize(PathBuf),
    #[error(
        "{path}: blocks {first} to {last} do not have the checksum of the block map; the image is damaged, get it again"
    )]
    DamagedImage { path: PathBuf, first: u64, last: u64 },
    #[error("{path}: reads back other bytes than were written at byte {at}; the card is worn out or not what it says")]
    BadCard { path: PathBuf, at: u64 },
    #[error(transparent)]
    Path(#[from] PathError),
    /// Its text names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}
