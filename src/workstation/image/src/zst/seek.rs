//! The table of a compressed image's frames: zstd's "seekable format" 0.1.0 (`contrib/seekable_format` of zstd), a
//! skippable frame at the end of the file with the lengths of all frames before it.

use crate::storage::ReadAt;
use std::io;

/// A skippable frame's magic (RFC 8878, 3.1.2), the one that the seekable format chose.
const SKIPPABLE: u32 = 0x184D_2A5E;
/// The last four bytes of the file.
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Magic and length of the skippable frame.
const HEADER: u64 = 8;
/// Number of frames, a byte of flags, the magic.
const FOOTER: u64 = 9;
/// Flag: each entry has a checksum of its frame's content behind it.
const CHECKSUMS: u8 = 0x80;
/// Flags that must be zero.
const RESERVED: u8 = 0x7C;
/// Frames read at most; the format's own limit is far above any card.
const MAX_FRAMES: u32 = 1 << 20;

#[derive(thiserror::Error, Debug)]
pub enum SeekError {
    #[error("the table of the compressed image's frames is damaged: {0}")]
    Damaged(&'static str),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where a frame is, and what it unpacks to. All in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// From the start of the file.
    pub start: u64,
    /// Of the compressed frame.
    pub len: u64,
    /// From the start of what the file unpacks to.
    pub content_start: u64,
    pub content_len: u64,
}

/// The table of frames given by their compressed and unpacked lengths, each below 4 GiB.
pub fn table(frames: impl IntoIterator<Item = (u64, u64)>) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count = 0u32;
    for (packed, content) in frames {
        // A frame holds one window, far below 4 GiB.
        entries.extend((packed as u32).to_le_bytes());
        entries.extend((content as u32).to_le_bytes());
        count += 1;
    }
    let mut table = Vec::with_capacity(entries.len() + (HEADER + FOOTER) as usize);
    table.extend(SKIPPABLE.to_le_bytes());
    table.extend((entries.len() as u32 + FOOTER as u32).to_le_bytes());
    table.extend(entries);
    table.extend(count.to_le_bytes());
    table.push(0);
    table.extend(SEEKABLE.to_le_bytes());
    table
}

/// The frames of a file of `len` bytes in the seekable format, which may be damaged or hostile; none if it has no such table.
///
/// # Errors
/// A table that contradicts itself or the file's length; read errors.
pub fn frames(file: &(impl ReadAt + ?Sized), len: u64) -> Result<Option<Vec<Placed>>, SeekError> {
    let Some(footer_at) = len.checked_sub(FOOTER) else { return Ok(None) };
    let mut footer = [0; FOOTER as usize];
    file.read_exact_at(&mut footer, footer_at)?;
    let [a, b, c, d, flags, magic @ ..] = footer;
    if u32::from_le_bytes(magic) != SEEKABLE {
        return Ok(None);
    }
    let count = u32::from_le_bytes([a, b, c, d]);
    if count > MAX_FRAMES {
        return Err(SeekError::Damaged("it has more than a million entries"));
    }
    if flags & RESERVED != 0 {
        return Err(SeekError::Damaged("flags that this program does not know"));
    }
    let entry = if flags & CHECKSUMS == 0 { 8 } else { 12 };
    let entries_len = u64::from(count) * entry;
    let outside = SeekError::Damaged("it is longer than the file");
    let table_at = footer_at.checked_sub(entries_len + HEADER).ok_or(outside)?;
    let mut table = vec![0; (HEADER + entries_len) as usize];
    file.read_exact_at(&mut table, table_at)?;
    let number = |at: usize| u32::from_le_bytes([table[at], table[at + 1], table[at + 2], table[at + 3]]);
    if number(0) != SKIPPABLE || u64::from(number(4)) != entries_len + FOOTER {
        return Err(SeekError::Damaged("it does not begin where it should"));
    }
    let mut frames = Vec::with_capacity(count as usize);
    let (mut start, mut content_start) = (0, 0);
    for at in (HEADER as usize..table.len()).step_by(entry as usize) {
        let (len, content_len) = (u64::from(number(at)), u64::from(number(at + 4)));
        frames.push(Placed { start, len, content_start, content_len });
        // At most a million numbers of 32 bits.
        start += len;
        content_start += content_len;
    }
    if start != table_at {
        return Err(SeekError::Damaged("the frames in it do not fill the file"));
    }
    Ok(Some(frames))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Option<Vec<Placed>>, SeekError> {
        frames(bytes, bytes.len() as u64)
    }

    fn with_table(frames: &[(u64, u64)]) -> Vec<u8> {
        let mut bytes = vec![7; frames.iter().map(|f| f.0 as usize).sum()];
        bytes.extend(table(frames.to_vec()));
        bytes
    }

    #[test]
    fn frames_are_found_where_the_table_says() {
        let bytes = with_table(&[(3, 100), (5, 200)]);
        let found = read(&bytes).unwrap().unwrap();
        let second = Placed { start: 3, len: 5, content_start: 100, content_len: 200 };
        assert_eq!((found.len(), found[1]), (2, second));
        assert_eq!(read(&bytes[..bytes.len() - 1]).unwrap(), None, "cut off: no table");
        assert_eq!(read(b"short").unwrap(), None);
    }

    #[test]
    fn a_table_that_lies_is_refused() {
        let bytes = with_table(&[(3, 100), (5, 200)]);
        assert!(matches!(read(&bytes[1..]), Err(SeekError::Damaged(_))), "a byte of the frames is missing");
        for at in bytes.len() - 9..bytes.len() - 4 {
            let mut changed = bytes.clone();
            changed[at] ^= 0x7C;
            assert!(matches!(read(&changed), Err(SeekError::Damaged(_))), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_file_panics(mut bytes: Vec<u8>, count: u32, flags: u8, lengths in prop::collection::vec((0u64..9, 0u64..9), 0..5)) {
            let good = with_table(&lengths);
            prop_assert_eq!(read(&good).unwrap().unwrap().len(), lengths.len());
            bytes.extend(count.to_le_bytes());
            bytes.push(flags);
            bytes.extend(SEEKABLE.to_le_bytes());
            let _ = read(&bytes);
        }
    }
}
