//! Sparse writing: what is never written stays a hole, and what was written is accounted for, so that the block map of an
//! image does not depend on what the workstation's filesystem says about holes.
//!
//! Written means "must be on the card", zeros too: a card has been used before, and a block map leaves its old bytes
//! wherever it has no entry. An inode table, an allocation table or a file with zeros in it must come out as zeros.

use crate::storage::{ReadAt, WriteAt};
use fruit_base::{AtPath, PathError};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes per block of the accounting: the page size of the workstation's page cache and the unit of bmap files.
pub const BLOCK: u64 = 4096;

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

    /// Bytes of the set's blocks in `len` bytes from byte `start` on, both whole blocks.
    pub fn bytes_within(&self, start: u64, len: u64) -> u64 {
        let (first, end) = (start / BLOCK, (start + len) / BLOCK);
        self.ranges.iter().map(|r| r.end.min(end).saturating_sub(r.start.max(first))).sum::<u64>() * BLOCK
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
        self.ranges.splice(first..last, std::iter::once(start..end));
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

    /// Where it begins in the file, in bytes.
    pub fn start(&self) -> u64 {
        self.start
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

    /// Says that these bytes must be on the card as they are, zeros where nothing was written.
    ///
    /// # Errors
    /// Bytes past the end of the part.
    pub fn claim(&self, at: u64, len: u64) -> io::Result<()> {
        let start = self.place(at, len)?;
        self.mapped().insert(start / BLOCK..(start + len).div_ceil(BLOCK));
        Ok(())
    }

    /// Where in the file `len` bytes at `at` of the part are.
    fn place(&self, at: u64, len: u64) -> io::Result<u64> {
        if at.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(self.start + at);
        }
        let why = format!("{len} bytes at {at} do not fit this part of the image, which has {}", self.len);
        Err(PathError::new(self.path, io::Error::new(io::ErrorKind::FileTooLarge, why)).into())
    }
}

impl WriteAt for Part<'_> {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let start = self.place(at, bytes.len() as u64)?;
        FileExt::write_all_at(self.file, bytes, start).at(self.path)?;
        self.claim(at, bytes.len() as u64)
    }
}

impl ReadAt for Part<'_> {
    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let start = self.place(at, buf.len() as u64)?;
        Ok(FileExt::read_exact_at(self.file, buf, start).at(self.path)?)
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
    fn what_is_written_is_accounted_and_the_rest_stays_a_hole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(64 * BLOCK).unwrap();
        let part = Part::new(&file, &path, 8 * BLOCK, 32 * BLOCK);
        part.write_all_at(&[1; 5000], 100).unwrap();
        part.write_all_at(&[0; 10], 20 * BLOCK).unwrap();
        part.claim(30 * BLOCK, 2 * BLOCK).unwrap();
        assert!(part.write_all_at(&[1], 32 * BLOCK).is_err(), "one past the end");
        assert!(part.write_all_at(&[1], u64::MAX).is_err());
        assert!(part.claim(1, u64::MAX).is_err());
        let mut back = [0; 2];
        part.read_exact_at(&mut back, 99).unwrap();
        assert_eq!(back, [0, 1]);
        assert_eq!(part.into_mapped().ranges(), [8..10, 28..29, 38..40]);
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
