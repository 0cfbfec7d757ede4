//! What the kernel needs to open an image with its hash tree behind it.

use std::fmt;
use std::str::FromStr;

use fruit_base::hex::{self, Hex};

use crate::{BLOCK, Levels, SALT_MAX, VerityError};

/// Data, tree and root hash: the value of `fruit.verity=` on the kernel command line, as text
/// `<data blocks>:<first block of the tree>:<root hash>:<salt, or ->`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Params {
    /// Blocks of [`BLOCK`] bytes.
    pub data_blocks: u64,
    /// First block of the tree, counted from the start of the data; the superblock is the one before it.
    pub hash_start_block: u64,
    pub root_hash: [u8; 32],
    /// At most 256 bytes, may be empty; hashed before each block.
    pub salt: Vec<u8>,
}

/// A text that is no parameters; the message does not name the key that it came from.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotParams(String);

const EXPECTED: &str = "expected <data blocks>:<first hash block>:<root hash, 64 hex digits>:<salt in hex or ->";

impl Params {
    /// Bytes of data, superblock and tree together.
    ///
    /// # Errors
    /// More blocks than a number holds, or a tree that would lie within the data.
    pub fn total_len(&self) -> Result<u64, VerityError> {
        if self.hash_start_block < self.data_blocks {
            return Err(VerityError::Overlap { data: self.data_blocks, tree: self.hash_start_block });
        }
        let levels = Levels::new(self.data_blocks, self.hash_start_block)?;
        levels.end.checked_mul(BLOCK).ok_or(VerityError::TooBig)
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:", self.data_blocks, self.hash_start_block, Hex(&self.root_hash))?;
        if self.salt.is_empty() { f.write_str("-") } else { write!(f, "{}", Hex(&self.salt)) }
    }
}

impl FromStr for Params {
    type Err = NotParams;

    fn from_str(text: &str) -> Result<Params, NotParams> {
        let fields: Vec<&str> = text.splitn(5, ':').collect();
        let [data, tree, root, salt] = fields[..] else {
            return Err(NotParams(format!("not four fields, {EXPECTED}")));
        };
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = plain.then(|| text.parse::<u64>().ok()).flatten();
            number.ok_or_else(|| NotParams(format!("'{}' is not a number; {EXPECTED}", shown(text))))
        };
        let (data_blocks, hash_start_block) = (number(data)?, number(tree)?);
        if data_blocks == 0 || hash_start_block < data_blocks || hash_start_block > u64::MAX / BLOCK {
            let why = format!("{data_blocks} data blocks and a tree at block {hash_start_block} do not fit");
            return Err(NotParams(why));
        }
        let root_hash =
            hex::decode_array(root).ok_or_else(|| NotParams(format!("root hash '{}', {EXPECTED}", shown(root))))?;
        let salt = if salt == "-" {
            Some(Vec::new())
        } else {
            hex::decode(salt).filter(|s| (1..=SALT_MAX).contains(&s.len()))
        };
        let salt = salt.ok_or_else(|| NotParams(format!("salt is not hex of at most {SALT_MAX} bytes; {EXPECTED}")))?;
        Ok(Params { data_blocks, hash_start_block, root_hash, salt })
    }
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}
