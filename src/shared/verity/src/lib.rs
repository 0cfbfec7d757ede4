//! dm-verity: a tree of SHA-256 hashes over the blocks of an image, whose root vouches for every block.
//!
//! Format: Linux `Documentation/admin-guide/device-mapper/verity.rst` and cryptsetup `lib/verity/verity.c`; hash type
//! 1, data and hash blocks of 4096 bytes. What `veritysetup format --hash-offset` writes behind an image:
//!
//! ```text
//! data blocks │ superblock, one block │ top of the tree, one block │ next level │ … │ hashes of the data blocks
//! ```

use std::io;

use sha2::{Digest, Sha256};

mod params;
mod tree;
mod verify;
mod writer;

pub use fruit_base::storage::{ReadAt, WriteAt};
pub use params::{NotParams, Params};
pub use tree::{Tree, superblock};
pub use verify::{BadBlock, verify, verify_tree};
pub use writer::Writer;

/// Bytes of a data block and of a hash block.
pub const BLOCK: u64 = 4096;
const HASH_LEN: usize = 32;
/// Hashes in one hash block.
const FANOUT: u64 = BLOCK / HASH_LEN as u64;
/// `salt` of `struct verity_sb`.
const SALT_MAX: usize = 256;
type Hash = [u8; HASH_LEN];

#[derive(thiserror::Error, Debug)]
pub enum VerityError {
    #[error("verity: {0}")]
    Io(#[from] io::Error),
    #[error("verity: the salt has {0} bytes, at most 256 fit")]
    Salt(usize),
    #[error("verity: the data has {0} bytes; it must be one or more whole blocks of 4096")]
    DataLen(u64),
    #[error("verity: {written} bytes of data were written, {expected} were announced")]
    Incomplete { written: u64, expected: u64 },
    #[error("verity: the tree would go beyond what numbers of blocks can say")]
    TooBig,
    #[error("verity: the tree is to start at block {tree}, within the {data} blocks of data")]
    Overlap { data: u64, tree: u64 },
    #[error("verity: a thread that hashes ended early")]
    Thread,
}

/// How a tree is made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Of the superblock. The kernel does not read it.
    pub uuid: [u8; 16],
    /// At most 256 bytes.
    pub salt: Vec<u8>,
}

/// Bytes that [`Writer`] makes of `data_len` bytes: data, superblock and tree.
///
/// # Errors
/// A length that is not whole blocks, or more blocks than a number holds.
pub fn total_len(data_len: u64) -> Result<u64, VerityError> {
    if data_len == 0 || !data_len.is_multiple_of(BLOCK) {
        return Err(VerityError::DataLen(data_len));
    }
    let data_blocks = data_len / BLOCK;
    Levels::new(data_blocks, data_blocks + 1)?.end.checked_mul(BLOCK).ok_or(VerityError::TooBig)
}

/// Blocks next to each other.
#[derive(Clone, Copy)]
struct Run {
    start: u64,
    count: u64,
}

/// Where each level of a tree is.
struct Levels {
    /// That of the data's hashes first; none for data of one block.
    runs: Vec<Run>,
    /// First block after the tree.
    end: u64,
}

impl Levels {
    /// `hash_start` is the tree's first block, where its top is.
    fn new(data_blocks: u64, hash_start: u64) -> Result<Levels, VerityError> {
        let mut counts = Vec::new();
        let mut blocks = data_blocks;
        while blocks > 1 {
            blocks = blocks.div_ceil(FANOUT);
            counts.push(blocks);
        }
        let mut end = hash_start;
        let mut runs = Vec::new();
        for count in counts.into_iter().rev() {
            runs.push(Run { start: end, count });
            end = end.checked_add(count).ok_or(VerityError::TooBig)?;
        }
        runs.reverse();
        Ok(Levels { runs, end })
    }
}

/// Hash type 1: the salt comes first. `salted` has taken it in.
fn hash_block(salted: &Sha256, block: &[u8]) -> Hash {
    salted.clone().chain_update(block).finalize().into()
}
