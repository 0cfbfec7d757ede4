//! Reading a slot's volumes, and writing only what differs.

use std::cell::Cell;
use std::io;

use fruit_release::Digest;
use fruit_release::manifest::{self, CHUNK};
use fruit_verity::{ReadAt, WriteAt};

use crate::card::{BLOCK, Volume};

/// Bytes that are written before they are pushed to the medium: more would pile up in memory.
const SYNC_EVERY: u64 = 16 << 20;

/// A volume as something that is read by position.
pub struct Reading<'v>(pub &'v dyn Volume);

impl ReadAt for Reading<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
}

impl fruit_delta::ReadAt for Reading<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
}

/// Whether chunk `i` of a volume holds what it shall hold; `buffer` has room for a chunk.
///
/// # Errors
/// Read errors.
pub fn holds_chunk(volume: &dyn Volume, content: &manifest::Volume, i: usize, buffer: &mut [u8]) -> io::Result<bool> {
    let buffer = &mut buffer[..content.chunk_len(i)];
    volume.read_exact_at(buffer, i as u64 * CHUNK)?;
    Ok(content.chunks.get(i) == Some(&Digest::of(buffer)))
}

/// Writes blocks that differ from what is there, and counts them.
pub struct Differences<'v> {
    volume: &'v dyn Volume,
    blocks: Cell<u64>,
    bytes: Cell<u64>,
    unsynced: Cell<u64>,
}

impl<'v> Differences<'v> {
    pub fn new(volume: &'v dyn Volume) -> Differences<'v> {
        Differences { volume, blocks: Cell::new(0), bytes: Cell::new(0), unsynced: Cell::new(0) }
    }

    /// Blocks of [`BLOCK`] bytes that differed.
    pub fn blocks(&self) -> u64 {
        self.blocks.get()
    }

    /// Bytes that were written.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Writes the blocks of `new` that differ from `old`, which is what is at `offset`; blocks next to each other at
    /// once.
    ///
    /// # Errors
    /// Write errors.
    pub fn write(&self, old: &[u8], new: &[u8], offset: u64) -> io::Result<()> {
        let differs = |at: usize| at < new.len() && old.get(at..).is_none_or(|old| !old.starts_with(block(new, at)));
        let mut at = 0;
        while at < new.len() {
            let start = at;
            while differs(at) {
                self.blocks.set(self.blocks.get() + 1);
                at += BLOCK;
            }
            if at > start {
                let run = &new[start..at.min(new.len())];
                self.volume.write_all_at(run, offset + start as u64)?;
                self.wrote(run.len() as u64)?;
            } else {
                at += BLOCK;
            }
        }
        Ok(())
    }

    fn wrote(&self, bytes: u64) -> io::Result<()> {
        self.bytes.set(self.bytes.get() + bytes);
        self.unsynced.set(self.unsynced.get() + bytes);
        if self.unsynced.get() >= SYNC_EVERY {
            self.unsynced.set(0);
            self.volume.sync()?;
        }
        Ok(())
    }
}

fn block(bytes: &[u8], at: usize) -> &[u8] {
    &bytes[at..bytes.len().min(at + BLOCK)]
}

impl WriteAt for Differences<'_> {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut old = vec![0; buf.len()];
        self.volume.read_exact_at(&mut old, offset)?;
        self.write(&old, buf, offset)
    }
}
