//! A volume as the pieces that are compared: what each file has to itself, and the rest.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::Volume;

/// Filesystems of a slot give files whole blocks of this many bytes, or put them among the metadata.
const BLOCK: u64 = 4096;

/// Ranges of a volume that belong together, read as one text.
#[derive(Clone, Default, Debug)]
pub struct FileExtents {
    /// In order of the text; none is empty.
    pub ranges: Vec<Range<u64>>,
}

impl FileExtents {
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    pub fn read(&self, volume: &Volume<'_>) -> io::Result<Vec<u8>> {
        let mut text = vec![0; self.len() as usize];
        let mut rest = text.as_mut_slice();
        for range in &self.ranges {
            let (now, later) = rest.split_at_mut((range.end - range.start) as usize);
            volume.data.read_exact_at(now, range.start)?;
            rest = later;
        }
        Ok(text)
    }

    /// Where `len` bytes from `at` of the text are in the volume: as many places as it takes.
    pub fn places(&self, at: u64, len: u64) -> Vec<Range<u64>> {
        let (mut places, mut skip, mut left) = (Vec::new(), at, len);
        for range in &self.ranges {
            let size = range.end - range.start;
            if skip < size && left > 0 {
                let n = (size - skip).min(left);
                places.push(range.start + skip..range.start + skip + n);
                left -= n;
            }
            skip = skip.saturating_sub(size);
        }
        places
    }
}

/// A volume's pieces.
pub struct Layout {
    /// By path. Of files that share their data only one is here.
    pub files: BTreeMap<String, FileExtents>,
    /// Metadata, small files within it, and what no file owns.
    pub rest: FileExtents,
}

/// Whether an extent is a file's alone: blocks of its own rather than a place among the metadata.
fn own(extent: &Range<u64>) -> bool {
    extent.start.is_multiple_of(BLOCK) || extent.end - extent.start >= BLOCK
}

pub fn layout(volume: &Volume<'_>) -> Layout {
    let mut extents: Vec<(Range<u64>, usize, usize)> = Vec::new();
    for (file, f) in volume.files.iter().enumerate() {
        for (n, extent) in f.extents.iter().enumerate() {
            if extent.start < extent.end && extent.end <= volume.len && own(extent) {
                extents.push((extent.clone(), file, n));
            }
        }
    }
    extents.sort_by_key(|(range, file, n)| (range.start, range.end, *file, *n));
    let mut files: BTreeMap<String, BTreeMap<usize, Range<u64>>> = BTreeMap::new();
    let mut rest = FileExtents::default();
    let mut done = 0;
    for i in 0..extents.len() {
        let (range, file, n) = &extents[i];
        // Data that two files share counts once, for the first of them.
        if range.start < done {
            continue;
        }
        if done < range.start {
            rest.ranges.push(done..range.start);
        }
        let limit = extents[i + 1..].iter().map(|e| e.0.start).find(|s| *s >= range.end).unwrap_or(volume.len);
        // Up to its block's end nothing else can be.
        let end = range.end.next_multiple_of(BLOCK).min(limit).max(range.end).min(volume.len);
        files.entry(volume.files[*file].path.clone()).or_default().insert(*n, range.start..end);
        done = end;
    }
    if done < volume.len {
        rest.ranges.push(done..volume.len);
    }
    let files = files.into_iter().map(|(path, ranges)| (path, FileExtents { ranges: ranges.into_values().collect() }));
    Layout { files: files.collect(), rest }
}
