//! Which block each inode goes into: an inode with its xattrs and inline data stays within one block, and the room
//! that is left is filled by inodes to come.

use super::format::{BLOCK, SLOT};

/// Blocks with room that are kept in mind. Few enough that a changed file moves only inodes near it, enough that
/// a block ends up 95 % full.
const OPEN_BLOCKS: usize = 64;

pub(super) struct Packer {
    /// Where the next fresh block begins.
    end: u64,
    /// First free byte of each block with room, oldest first.
    open: Vec<u64>,
}

impl Packer {
    /// The first free byte is at `start`.
    pub fn new(start: u64) -> Packer {
        Packer { end: start.next_multiple_of(BLOCK), open: vec![start] }
    }

    /// The offset for an inode of `len` bytes: within one block if it is no longer than that, else at the start of one.
    pub fn place(&mut self, len: u64) -> u64 {
        let room = |free: u64| BLOCK - free % BLOCK;
        let best = (0..self.open.len()).filter(|i| room(self.open[*i]) >= len).min_by_key(|i| room(self.open[*i]));
        let at = match best {
            Some(i) => self.open.remove(i),
            None => {
                let fresh = self.end;
                self.end += len.next_multiple_of(BLOCK);
                fresh
            }
        };
        let free = (at + len).next_multiple_of(SLOT);
        if !free.is_multiple_of(BLOCK) {
            if self.open.len() == OPEN_BLOCKS {
                self.open.remove(0);
            }
            self.open.push(free);
        }
        at
    }

    /// Bytes, whole blocks.
    pub fn end(&self) -> u64 {
        self.end
    }
}
