//! EROFS, the read-only filesystem of the root: 4 KiB blocks, uncompressed, nothing that Linux 6.1 does not know.
//!
//! Format: Linux `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`.
//!
//! ```text
//! block 0        1 KiB of zeros, superblock, first inodes
//! inodes         each with its xattrs and, where they fit into the block, the last bytes of its data
//! shared xattrs  values that several inodes have
//! directories    whole blocks of entries
//! files          whole blocks of contents, in the order of paths
//! ```

mod error;
mod format;
mod pack;
mod plan;
mod reader;
mod walk;
mod writer;
mod xattr;

pub use error::WriteError;
pub use format::{BLOCK, is_erofs};
pub use plan::{FileExtents, Options, Plan};
pub use reader::{DirEntry, FileType, Inode, ReadError, Reader};
