//! What is on the data partition, and a fresh ext4 for a blank one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use fruit_base::le;
use mkext4::{FsBuilder, InodeCount, RegionSink};

/// Bytes at the start in which every filesystem and container that is in use leaves its mark (the farthest is btrfs, at
/// 64 KiB).
const MARKS: usize = 128 << 10;
/// Written to the first sector, which ext4 leaves alone, for as long as the filesystem is being made.
const UNFINISHED: &[u8; 16] = b"FRUIT-FORMATTING";
/// The fresh filesystem is one block group at most; the kernel then grows it, which initializes the inode tables of all
/// other groups lazily instead of now.
const FRESH_SIZE: u64 = 128 << 20;
/// Journal of a filesystem that will grow, in blocks of 4096 bytes: it can't grow later.
const JOURNAL_BLOCKS: u32 = 8192;
/// Least size that mkext4 makes.
const SMALLEST: u64 = 16 << 20;
/// One inode per this many bytes, the default of mke2fs.
const BYTES_PER_INODE: u64 = 16 << 10;

/// What a partition holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    Ext4(Ext4),
    /// All zero, or all ones (erased flash).
    Blank,
    /// Making the filesystem was interrupted.
    Unfinished,
    Unknown {
        /// A guess for the message.
        looks_like: Option<&'static str>,
    },
}

/// What matters of an ext4 superblock (Linux, fs/ext4/ext4.h, `struct ext4_super_block`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ext4 {
    /// Bytes per block.
    pub block_size: u64,
    pub blocks: u64,
    /// Whether the kernel has found errors that no fsck has repaired.
    pub has_errors: bool,
}

impl Ext4 {
    pub const fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_size)
    }
}

/// Looks at the partition's content.
///
/// # Errors
/// Those of `pread(2)`.
pub fn identify(device: &File) -> io::Result<Content> {
    let mut start = vec![0u8; MARKS];
    let mut filled = 0;
    while filled < start.len() {
        match device.read_at(&mut start[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(identify_bytes(&start[..filled]))
}

/// [`identify`] over the first bytes of a partition.
pub fn identify_bytes(start: &[u8]) -> Content {
    if start.starts_with(UNFINISHED) {
        return Content::Unfinished;
    }
    if let Some(ext4) = superblock(start) {
        return Content::Ext4(ext4);
    }
    if start.iter().all(|&b| b == 0) || start.iter().all(|&b| b == 0xff) {
        return Content::Blank;
    }
    let marks: [(usize, &[u8], &str); 8] = [
        (0, b"LUKS\xba\xbe", "LUKS"),
        (0, b"XFSB", "XFS"),
        (1024, &0xf2f5_2010u32.to_le_bytes(), "F2FS"),
        (0x10040, b"_BHRfS_M", "btrfs"),
        (512, b"LABELONE", "LVM"),
        (4086, b"SWAPSPACE2", "swap"),
        (3, b"NTFS", "NTFS"),
        (510, &[0x55, 0xaa], "FAT"),
    ];
    let holds = |(at, mark, _): &&(usize, &[u8], &str)| start.get(*at..*at + mark.len()) == Some(*mark);
    Content::Unknown { looks_like: marks.iter().find(holds).map(|m| m.2) }
}

fn superblock(start: &[u8]) -> Option<Ext4> {
    let sb = start.get(1024..2048)?;
    let (u16_at, u32_at) = (|at| le::u16_at(sb, at), |at| le::u32_at(sb, at));
    let log_block_size = u32_at(0x18);
    if u16_at(0x38) != 0xef53 || log_block_size > 6 {
        return None;
    }
    let is_64bit = u32_at(0x60) & 0x80 != 0;
    let high = if is_64bit { u64::from(u32_at(0x150)) << 32 } else { 0 };
    Some(Ext4 {
        block_size: 1024 << log_block_size,
        blocks: u64::from(u32_at(4)) | high,
        has_errors: u16_at(0x3a) & 2 != 0,
    })
}

/// Makes an empty ext4 at the start of a partition of `size` bytes. A power cut leaves [`Content::Unfinished`].
///
/// # Errors
/// A partition under 16 MiB, and those of writing.
pub fn format(device: &File, size: u64, uuid: [u8; 16], epoch: i64) -> io::Result<()> {
    let size = size.min(FRESH_SIZE) / 4096 * 4096;
    if size < SMALLEST {
        return Err(io::Error::other(format!("{size} bytes are too few for ext4, at least {SMALLEST} are needed")));
    }
    let mut mark = [0u8; 512];
    mark[..UNFINISHED.len()].copy_from_slice(UNFINISHED);
    device.write_all_at(&mark, 0)?;
    device.sync_all()?;

    let mut options = mkext4::Options::new(size, uuid, epoch);
    options.label = Some("data".into());
    options.reserved_percent = 0;
    // Each group that the kernel adds has as many inodes as the first.
    options.inodes = InodeCount::Exact((size / BYTES_PER_INODE) as u32);
    options.journal_blocks = (size == FRESH_SIZE).then_some(JOURNAL_BLOCKS);
    let layout = FsBuilder::new(options).and_then(FsBuilder::seal).map_err(io::Error::other)?;
    let mut sink = DeviceSink { device };
    layout.writer(&mut sink).and_then(|writer| writer.finish()).map_err(io::Error::other)?;
    device.sync_all()?;

    device.write_all_at(&[0u8; 512], 0)?;
    device.sync_all()
}

/// Writes a filesystem to a device that may hold old data, keeping the mark in its first sector.
struct DeviceSink<'a> {
    device: &'a File,
}

impl RegionSink for DeviceSink<'_> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let kept = 512u64.saturating_sub(offset).min(bytes.len() as u64);
        self.device.write_all_at(&bytes[kept as usize..], offset + kept)
    }

    fn zeros(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let mut found = vec![0u8; 1 << 20];
        let mut at = offset;
        let end = offset.saturating_add(len);
        while at < end {
            let part = (end - at).min(found.len() as u64);
            let found = &mut found[..part as usize];
            // Reading is faster than writing, and most of a fresh card is zero already.
            self.device.read_exact_at(found, at)?;
            if found.iter().any(|&b| b != 0) {
                found.fill(0);
                self.data(at, found)?;
            }
            at += part;
        }
        Ok(())
    }
}
