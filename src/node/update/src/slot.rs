//! Reading a slot's volumes, and writing only what differs.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use fruit_release::Digest;
use fruit_release::manifest::{self, CHUNK};
use fruit_verity::{Params, ReadAt, WriteAt};

use crate::card::{BLOCK, Volume};

/// Bytes that are written before they are pushed to the medium: what a power cut can cost, and what piles up in memory.
/// A card needs some hundredths of a second for it.
const SYNC_BYTES: u64 = 4 << 20;
/// Chunks that are gone through with something written among them before it is pushed to the medium: where a delta
/// changes little of each, time is spent on reading and fetching.
pub const SYNC_CHUNKS: u32 = 8;
/// The longest that something written waits to be pushed to the medium, where a source is slow.
const SYNC_TIME: Duration = Duration::from_secs(5);

/// A volume as something that is read by position.
pub struct Reading<'v>(pub &'v dyn Volume);

impl ReadAt for Reading<'_> {
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

/// Most bytes of a kernel command line that are looked at for verity parameters.
const PARAMS_MAX: usize = 700;
/// Most different parameters of one boot volume that are looked at.
const NAMED_MAX: usize = 8;

/// Verity parameters that stand in a boot volume, in the order of their place: its command line names the root of the
/// slot. A file of a few hundred bytes is in one piece, wherever the file system has it; other files may have the word too.
///
/// # Errors
/// Read errors.
pub fn named_roots(boot: &dyn Volume) -> io::Result<Vec<Params>> {
    const KEY: &[u8] = b"fruit.verity=";
    let mut found: Vec<Params> = Vec::new();
    // Each piece reaches into the next one, so that nothing is cut in two.
    let mut buffer = vec![0; CHUNK as usize + PARAMS_MAX];
    for at in (0..boot.len()).step_by(CHUNK as usize) {
        let len = usize::try_from(boot.len() - at).unwrap_or(usize::MAX).min(buffer.len());
        let bytes = &mut buffer[..len];
        boot.read_exact_at(bytes, at)?;
        let mut rest = &*bytes;
        while let Some(place) = rest.iter().position(|byte| *byte == KEY[0]) {
            rest = &rest[place..];
            let Some(text) = rest.strip_prefix(KEY) else {
                rest = &rest[1..];
                continue;
            };
            let end =
                text.iter().take(PARAMS_MAX).position(|byte| !(byte.is_ascii_alphanumeric() || b":-".contains(byte)));
            let text = &text[..end.unwrap_or_default()];
            if let Some(params) = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Params>().ok())
                && !found.contains(&params)
                && found.len() < NAMED_MAX
            {
                found.push(params);
            }
            rest = &rest[KEY.len()..];
        }
    }
    Ok(found)
}

/// Writes blocks that differ from what is there, and counts them.
pub struct Differences<'v> {
    volume: &'v dyn Volume,
    blocks: Cell<u64>,
    bytes: Cell<u64>,
    unsynced: Cell<u64>,
    /// Chunks that were gone through, and time, since something was written that is not on the medium yet.
    chunks: Cell<u32>,
    since: Cell<Option<Instant>>,
}

impl<'v> Differences<'v> {
    pub fn new(volume: &'v dyn Volume) -> Differences<'v> {
        Differences {
            volume,
            blocks: Cell::new(0),
            bytes: Cell::new(0),
            unsynced: Cell::new(0),
            chunks: Cell::new(0),
            since: Cell::new(None),
        }
    }

    /// A chunk is done. Now and then everything so far goes to the medium, so that a power cut costs little of it.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    pub fn chunk_done(&self) -> io::Result<()> {
        let Some(since) = self.since.get() else { return Ok(()) };
        self.chunks.set(self.chunks.get() + 1);
        if self.chunks.get() >= SYNC_CHUNKS || since.elapsed() >= SYNC_TIME { self.sync() } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.unsynced.set(0);
        self.chunks.set(0);
        self.since.set(None);
        self.volume.sync()
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
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
        }
        if self.unsynced.get() >= SYNC_BYTES { self.sync() } else { Ok(()) }
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
