//! Checking what is there against a root hash.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::{BLOCK, FANOUT, HASH_LEN, Levels, Params, ReadAt, Run, VerityError, hash_block};

/// A block that is not what the root hash vouches for; its number counts from the start of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadBlock {
    Data(u64),
    Hash(u64),
}

impl BadBlock {
    /// Its number.
    pub const fn block(self) -> u64 {
        match self {
            BadBlock::Data(block) | BadBlock::Hash(block) => block,
        }
    }
}

impl fmt::Display for BadBlock {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            BadBlock::Data(block) => write!(f, "data block {block}"),
            BadBlock::Hash(block) => write!(f, "hash block {block}"),
        }
    }
}

/// Checks every block below the root hash, the tree from its top down, then the data; returns the first bad block.
///
/// # Errors
/// Read errors, such as an image that is too short.
pub fn verify(image: &(impl ReadAt + ?Sized), params: &Params) -> Result<Option<BadBlock>, VerityError> {
    check(image, params, true)
}

/// As [`verify`], but for the data, for who has checked that by other hashes. Data of one block has no tree.
///
/// # Errors
/// Read errors.
pub fn verify_tree(image: &(impl ReadAt + ?Sized), params: &Params) -> Result<Option<BadBlock>, VerityError> {
    check(image, params, false)
}

fn check(image: &(impl ReadAt + ?Sized), params: &Params, data: bool) -> Result<Option<BadBlock>, VerityError> {
    if params.data_blocks == 0 {
        return Err(VerityError::DataLen(0));
    }
    params.total_len()?;
    let levels = Levels::new(params.data_blocks, params.hash_start_block)?;
    let salted = Sha256::new_with_prefix(&params.salt);
    let mut hashes = vec![0; BLOCK as usize];
    let mut blocks = vec![0; (FANOUT * BLOCK) as usize];
    let mut above = None;
    let data = data.then_some(Run { start: 0, count: params.data_blocks });
    for run in levels.runs.iter().rev().chain(&data) {
        for group in 0..run.count.div_ceil(FANOUT) {
            match above {
                // The top is one block, that the root hash is of.
                None => hashes[..HASH_LEN].copy_from_slice(&params.root_hash),
                Some(Run { start, .. }) => image.read_exact_at(&mut hashes, (start + group) * BLOCK)?,
            }
            let done = group * FANOUT;
            let blocks = &mut blocks[..((run.count - done).min(FANOUT) * BLOCK) as usize];
            image.read_exact_at(blocks, (run.start + done) * BLOCK)?;
            let pairs = blocks.chunks_exact(BLOCK as usize).zip(hashes.chunks_exact(HASH_LEN));
            let good = pairs.take_while(|(block, hash)| hash_block(&salted, block) == **hash).count();
            if good < blocks.len() / BLOCK as usize {
                let bad = run.start + done + good as u64;
                return Ok(Some(if run.start == 0 { BadBlock::Data(bad) } else { BadBlock::Hash(bad) }));
            }
        }
        above = Some(*run);
    }
    Ok(None)
}
