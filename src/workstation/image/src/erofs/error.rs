//! Why a tree does not become an image.

use std::io;

/// What EROFS cannot hold, or what went wrong while writing.
#[derive(thiserror::Error, Debug)]
pub enum WriteError {
    #[error("{path}: the name has {len} bytes, EROFS holds at most 255")]
    LongName { path: String, len: usize },
    #[error("{path}: the target of a symbolic link needs 1 to 4095 bytes without NUL, this one has {len}")]
    Target { path: String, len: usize },
    #[error("{path}: device number {major}:{minor} is above 4095:1048575, the most that Linux knows")]
    Device { path: String, major: u32, minor: u32 },
    #[error("{path}: extended attribute: {why}")]
    Xattr { path: String, why: String },
    #[error("{0}: its parent directory is not in the tree")]
    NoParent(String),
    #[error("volume name {0:?}: at most 15 bytes without NUL fit")]
    VolumeName(String),
    #[error("the image would need {blocks} blocks of 4096 bytes, EROFS addresses 4294967295")]
    TooBig { blocks: u64 },
    #[error("{path}: cannot read the content: {source}")]
    Read { path: String, source: io::Error },
    #[error("cannot write the EROFS image: {0}")]
    Write(#[source] io::Error),
}
