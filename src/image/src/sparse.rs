//! Sparse writing: blocks of zeros are left as holes, and what was written is accounted for, so that the block map
//! of an image depends on its content alone and not on what the workstation's filesystem says about holes.

use crate::disk::at_path;
use crate::storage::WriteAt;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes per block of the accounting: the page size of the workstation's page cache and the unit of bmap files.
pub const BLOCK: u64 = 4096;

const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// Whether all of `bytes` are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// A set of block numbers, kept as sorted ranges that neither overlap nor touch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blocks {
    ranges: Vec<Range<u64>>,
}

impl Blocks {
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// How many blocks are in the set.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    pub fn contains(&self, block: u64) -> bool {
        let i = self.ranges.partition_point(|r| r.end <= block);
        self.ranges.get(i).is_some_and(|r| r.contains(&block))
    }

    pub fn insert(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        // The ranges from `first` up to `last` touch or overlap the new one.
        let first = self.ranges.partition_point(|r| r.end < new.start);
        let last = self.ranges.partition_point(|r| r.start <= new.end);
        let start = self.ranges[first..last].first().map_or(new.start, |r| r.start.min(new.start));
        let end = self.ranges[first..last].last().map_or(new.end, |r| r.end.max(new.end));
        self.ranges.splice(first..last, [start..end]);
    }

    pub fn merge(&mut self, other: &Blocks) {
        for range in &other.ranges {
            self.insert(range.clone());
        }
    }
}

impl FromIterator<Range<u64>> for Blocks {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Blocks {
        let mut blocks = Blocks::default();
        ranges.into_iter().for_each(|r| blocks.insert(r));
        blocks
    }
}

/// A part of an image file, which its writers fill by position (several threads at once if they like) or in sequence.
/// Blocks of zeros are not written.
#[derive(Debug)]
pub struct Part<'a> {
    file: &'a File,
    path: &'a Path,
    start: u64,
    len: u64,
    position: u64,
    mapped: Mutex<Blocks>,
}

impl<'a> Part<'a> {
    /// `len` bytes at `start` (both in bytes) of `file`, which reads as zero there; `path` is for messages.
    pub fn new(file: &'a File, path: &'a Path, start: u64, len: u64) -> Part<'a> {
        Part { file, path, start, len, position: 0, mapped: Mutex::default() }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The blocks of the *file* (not of the part) that hold something.
    pub fn into_mapped(self) -> Blocks {
        self.mapped.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    // A set of blocks is valid after every step, so a panic elsewhere does not spoil it.
    fn mapped(&self) -> MutexGuard<'_, Blocks> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(self.file, bytes, at).map_err(|e| at_path(self.path, &e))?;
        self.mapped().insert(at / BLOCK..(at + bytes.len() as u64).div_ceil(BLOCK));
        Ok(())
    }
}

impl WriteAt for Part<'_> {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let fits = at.checked_add(bytes.len() as u64).is_some_and(|end| end <= self.len);
        if !fits {
            let (n, len) = (bytes.len(), self.len);
            let why = format!("{n} bytes at {at} do not fit this part of the image, which has {len}");
            return Err(at_path(self.path, &io::Error::new(io::ErrorKind::FileTooLarge, why)));
        }
        let base = self.start + at;
        let mut run: Option<usize> = None; // where in `bytes` the blocks begin that wait to be written
        let mut done = 0;
        while done < bytes.len() {
            let here = base + done as u64;
            let left_in_block = (BLOCK - here % BLOCK) as usize;
            let next = bytes.len().min(done + left_in_block);
            // A block that already holds something must be overwritten even by zeros.
            let skip = is_zero(&bytes[done..next]) && !self.mapped().contains(here / BLOCK);
            match (skip, run) {
                (true, Some(first)) => {
                    self.put(&bytes[first..done], base + first as u64)?;
                    run = None;
                }
                (false, None) => run = Some(done),
                _ => {}
            }
            done = next;
        }
        match run {
            Some(first) => self.put(&bytes[first..], base + first as u64),
            None => Ok(()),
        }
    }
}

impl Write for Part<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Part<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.len.checked_add_signed(n),
            SeekFrom::Current(n) => self.position.checked_add_signed(n),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn zero_blocks_stay_holes_and_the_rest_is_accounted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(64 * BLOCK).unwrap();
        let part = Part::new(&file, &path, 8 * BLOCK, 32 * BLOCK);
        let mut bytes = vec![0; 3 * BLOCK as usize];
        bytes[5000] = 1;
        part.write_all_at(&bytes, 100).unwrap();
        assert_eq!(part.mapped().ranges(), std::slice::from_ref(&(9..10)));
        part.write_all_at(&[0; 8192], BLOCK).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), vec![0; 64 * BLOCK as usize], "zeros overwrite what was there");
        assert!(part.write_all_at(&[1], 32 * BLOCK).is_err(), "one past the end");
        assert!(part.write_all_at(&[1], u64::MAX).is_err());
    }

    proptest! {
        #[test]
        fn a_set_of_blocks_equals_a_plain_set(ranges in prop::collection::vec((0u64..200, 0u64..20), 0..40)) {
            let mut plain = BTreeSet::new();
            let mut blocks = Blocks::default();
            for (start, len) in ranges {
                plain.extend(start..start + len);
                blocks.insert(start..start + len);
            }
            prop_assert_eq!(blocks.count(), plain.len() as u64);
            for b in 0..230 {
                prop_assert_eq!(blocks.contains(b), plain.contains(&b));
            }
            for pair in blocks.ranges().windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
        }
    }
}
