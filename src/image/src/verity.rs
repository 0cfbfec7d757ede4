//! dm-verity: a tree of SHA-256 hashes over the blocks of an image, whose root vouches for every block.
//!
//! Format: Linux `Documentation/admin-guide/device-mapper/verity.rst` and cryptsetup `lib/verity/verity.c`; hash type
//! 1, data and hash blocks of 4096 bytes. What `veritysetup format --hash-offset` writes behind an image:
//!
//! ```text
//! data blocks │ superblock, one block │ top of the tree, one block │ next level │ … │ hashes of the data blocks
//! ```

use std::fmt;
use std::io;
use std::str::FromStr;

use sha2::{Digest, Sha256};

mod verify;
mod writer;

pub use verify::{BadBlock, verify};
pub use writer::Writer;

/// Bytes of a data block and of a hash block.
pub const BLOCK: u64 = 4096;
const HASH_LEN: usize = 32;
/// Hashes in one hash block.
const FANOUT: u64 = BLOCK / HASH_LEN as u64;
/// `salt` of `struct verity_sb`.
const SALT_MAX: usize = 256;
type Hash = [u8; HASH_LEN];

/// What the kernel needs to open an image with its hash tree behind it: the value of `fruit.verity=`, as text
/// `<data blocks>:<first block of the tree>:<root hash>:<salt, or ->`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Params {
    pub data_blocks: u64,
    /// First block of the tree, counted from the start of the data; the superblock is the one before it.
    pub hash_start_block: u64,
    pub root_hash: [u8; 32],
    /// At most 256 bytes, hashed before each block.
    pub salt: Vec<u8>,
}

impl Params {
    /// Bytes of data, superblock and tree together.
    ///
    /// # Errors
    /// More blocks than a number holds, or a tree that would lie within the data.
    pub fn total_len(&self) -> Result<u64, VerityError> {
        if self.hash_start_block < self.data_blocks {
            return Err(VerityError::Text(self.to_string()));
        }
        let levels = Levels::new(self.data_blocks, self.hash_start_block)?;
        levels.end.checked_mul(BLOCK).ok_or(VerityError::TooBig)
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let salt = if self.salt.is_empty() { "-".to_owned() } else { hex(&self.salt) };
        write!(f, "{}:{}:{}:{salt}", self.data_blocks, self.hash_start_block, hex(&self.root_hash))
    }
}

impl FromStr for Params {
    type Err = VerityError;

    fn from_str(text: &str) -> Result<Params, VerityError> {
        let bad = || VerityError::Text(text.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        let [data_blocks, hash_start, root, salt] = parts.as_slice() else { return Err(bad()) };
        let salt = if *salt == "-" { Vec::new() } else { unhex(salt).filter(|s| !s.is_empty()).ok_or_else(bad)? };
        if salt.len() > SALT_MAX {
            return Err(VerityError::Salt(salt.len()));
        }
        Ok(Params {
            data_blocks: data_blocks.parse().map_err(|_| bad())?,
            hash_start_block: hash_start.parse().map_err(|_| bad())?,
            root_hash: unhex(root).and_then(|hash| hash.try_into().ok()).ok_or_else(bad)?,
            salt,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

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
    #[error("verity: {0:?} is not <data blocks>:<first hash block>:<root hash>:<salt or ->")]
    Text(String),
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
