//! A hash tree that grows while the data goes by: one thread, and memory for one hash block per level.

use sha2::{Digest, Sha256};

use crate::{BLOCK, HASH_LEN, Hash, Levels, Options, Params, SALT_MAX, VerityError, WriteAt, hash_block};

/// Superblock and tree behind data that somebody else writes; each hash block is written once it is full.
pub struct Tree<S> {
    pub(crate) to: S,
    /// Bytes from the start of `to` to block 0.
    pub(crate) base: u64,
    pub(crate) salted: Sha256,
    data_blocks: u64,
    seen: u64,
    salt: Vec<u8>,
    levels: Vec<Level>,
    root: Hash,
}

struct Level {
    /// Where the block in the making goes.
    next: u64,
    block: Vec<u8>,
}

impl<S: WriteAt> Tree<S> {
    /// For `data_len` bytes that begin at byte `base` of `to`. Writes the superblock.
    ///
    /// # Errors
    /// A length that is not whole blocks, a salt that is too long; write errors.
    pub fn new(to: S, base: u64, data_len: u64, options: &Options) -> Result<Tree<S>, VerityError> {
        if data_len == 0 || !data_len.is_multiple_of(BLOCK) {
            return Err(VerityError::DataLen(data_len));
        }
        if options.salt.len() > SALT_MAX {
            return Err(VerityError::Salt(options.salt.len()));
        }
        let data_blocks = data_len / BLOCK;
        let levels = Levels::new(data_blocks, data_blocks + 1)?;
        levels.end.checked_mul(BLOCK).and_then(|len| len.checked_add(base)).ok_or(VerityError::TooBig)?;
        to.write_all_at(&superblock(data_blocks, options), base + data_len)?;
        Ok(Tree {
            to,
            base,
            salted: Sha256::new_with_prefix(&options.salt),
            data_blocks,
            seen: 0,
            salt: options.salt.clone(),
            levels: levels.runs.into_iter().map(|run| Level { next: run.start, block: Vec::new() }).collect(),
            root: [0; HASH_LEN],
        })
    }

    /// Takes in the next data: whole blocks, in order.
    ///
    /// # Errors
    /// A part of a block, more data than announced; write errors.
    pub fn data(&mut self, data: &[u8]) -> Result<(), VerityError> {
        let (blocks, rest) = data.as_chunks::<{ BLOCK as usize }>();
        if !rest.is_empty() {
            return Err(VerityError::DataLen(data.len() as u64));
        }
        for block in blocks {
            let hash = hash_block(&self.salted, block);
            self.push(hash)?;
        }
        Ok(())
    }

    /// Takes in the hash of the next data block.
    pub(crate) fn push(&mut self, hash: Hash) -> Result<(), VerityError> {
        self.seen += 1;
        if self.seen > self.data_blocks {
            return Err(self.incomplete());
        }
        let mut hash = hash;
        for i in 0..self.levels.len() {
            self.levels[i].block.extend(hash);
            if self.levels[i].block.len() < BLOCK as usize {
                return Ok(());
            }
            hash = self.write(i)?;
        }
        self.root = hash;
        Ok(())
    }

    fn incomplete(&self) -> VerityError {
        VerityError::Incomplete { written: self.seen * BLOCK, expected: self.data_blocks * BLOCK }
    }

    /// Writes the block of level `i` as it is; returns its hash.
    fn write(&mut self, i: usize) -> Result<Hash, VerityError> {
        let level = &mut self.levels[i];
        level.block.resize(BLOCK as usize, 0);
        self.to.write_all_at(&level.block, self.base + level.next * BLOCK)?;
        level.next += 1;
        let hash = hash_block(&self.salted, &level.block);
        level.block.clear();
        Ok(hash)
    }

    /// Completes the tree.
    ///
    /// # Errors
    /// Less data than announced; write errors.
    pub fn finish(mut self) -> Result<Params, VerityError> {
        self.complete()
    }

    /// [`Tree::finish`] where the tree can't be moved.
    pub(crate) fn complete(&mut self) -> Result<Params, VerityError> {
        if self.seen != self.data_blocks {
            return Err(self.incomplete());
        }
        for i in 0..self.levels.len() {
            if self.levels[i].block.is_empty() {
                continue;
            }
            let hash = self.write(i)?;
            match self.levels.get_mut(i + 1) {
                Some(above) => above.block.extend(hash),
                None => self.root = hash,
            }
        }
        Ok(Params {
            data_blocks: self.data_blocks,
            hash_start_block: self.data_blocks + 1,
            root_hash: self.root,
            salt: std::mem::take(&mut self.salt),
        })
    }
}

/// `struct verity_sb` of cryptsetup, in a block of its own: what is between data and tree.
pub fn superblock(data_blocks: u64, options: &Options) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK as usize);
    block.extend(b"verity\0\0");
    block.extend(1u32.to_le_bytes()); // version of the superblock
    block.extend(1u32.to_le_bytes()); // hash type: 1, salt before data
    block.extend(options.uuid);
    let mut algorithm = [0; 32];
    algorithm[..6].copy_from_slice(b"sha256");
    block.extend(algorithm);
    block.extend((BLOCK as u32).to_le_bytes()); // data block
    block.extend((BLOCK as u32).to_le_bytes()); // hash block
    block.extend(data_blocks.to_le_bytes());
    block.extend((options.salt.len() as u16).to_le_bytes()); // at most SALT_MAX
    block.extend([0; 6]);
    block.extend(&options.salt);
    block.resize(BLOCK as usize, 0);
    block
}
