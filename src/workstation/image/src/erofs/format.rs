//! The on-disk records, as numbers and as bytes. All integers are little-endian.

use std::ops::Range;

use fruit_base::le::{bytes_at, u16_at, u32_at, u64_at};

/// Bytes in a block.
pub const BLOCK: u64 = 4096;
pub(super) const BLOCK_BITS: u8 = 12;

/// `EROFS_SUPER_OFFSET`: room for a boot sector.
pub(super) const SUPERBLOCK_AT: u64 = 1024;
/// Without extension slots.
pub(super) const SUPERBLOCK_LEN: usize = 128;
/// `EROFS_SUPER_MAGIC_V1`.
pub(super) const MAGIC: u32 = 0xE0F5_E1E2;

pub(super) const COMPAT_CHECKSUM: u32 = 0x1;
/// Timestamps are modification times (not creation times, as before Linux 5.14).
pub(super) const COMPAT_MTIME: u32 = 0x2;
/// Concerns compressed data only; mkfs.erofs sets it always.
pub(super) const INCOMPAT_ZERO_PADDING: u32 = 0x1;

/// Inodes are addressed by their place in units of this many bytes ("nid").
pub(super) const SLOT: u64 = 32;
pub(super) const COMPACT_LEN: u64 = 32;
pub(super) const EXTENDED_LEN: u64 = 64;

pub(super) const LAYOUT_PLAIN: u16 = 0;
pub(super) const LAYOUT_INLINE: u16 = 2;
pub(super) const LAYOUT_CHUNKED: u16 = 4;

/// Bytes of a directory entry, without its name.
pub(super) const DIRENT_LEN: usize = 12;
/// `EROFS_NAME_LEN`.
pub(super) const NAME_MAX: usize = 255;
/// `PATH_MAX` of Linux less its terminating NUL: the longest target of a symbolic link.
pub(super) const TARGET_MAX: usize = 4095;
/// `struct erofs_xattr_ibody_header`.
pub(super) const XATTR_HEADER_LEN: usize = 12;
/// `struct erofs_xattr_entry`, without name and value.
pub(super) const XATTR_ENTRY_LEN: usize = 4;

/// File type bits of a mode (`man 7 inode`).
pub(super) const S_IFMT: u16 = 0o170_000;
pub(super) const S_IFSOCK: u16 = 0o140_000;
pub(super) const S_IFLNK: u16 = 0o120_000;
pub(super) const S_IFREG: u16 = 0o100_000;
pub(super) const S_IFBLK: u16 = 0o060_000;
pub(super) const S_IFDIR: u16 = 0o040_000;
pub(super) const S_IFCHR: u16 = 0o020_000;
pub(super) const S_IFIFO: u16 = 0o010_000;

/// Whether `start`, the first bytes of a partition or file (1028 at least), begins an EROFS image.
pub fn is_erofs(start: &[u8]) -> bool {
    start.get(1024..1028).is_some_and(|magic| magic == MAGIC.to_le_bytes())
}

pub(super) struct Superblock {
    pub block_bits: u8,
    pub compat: u32,
    pub incompat: u32,
    pub checksum: u32,
    pub root_nid: u16,
    pub inodes: u64,
    /// Seconds; also the modification time of every compact inode.
    pub build_time: i64,
    pub build_time_nsec: u32,
    pub blocks: u32,
    pub meta_block: u32,
    pub xattr_block: u32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub extra_devices: u16,
    pub dir_block_bits: u8,
    pub xattr_prefixes: u8,
}

impl Superblock {
    pub fn encode(&self) -> [u8; SUPERBLOCK_LEN] {
        let mut b = [0; SUPERBLOCK_LEN];
        put(&mut b, 0, &MAGIC.to_le_bytes());
        put(&mut b, CHECKSUM_FIELD.start, &self.checksum.to_le_bytes());
        put(&mut b, 8, &self.compat.to_le_bytes());
        b[12] = self.block_bits;
        put(&mut b, 14, &self.root_nid.to_le_bytes());
        put(&mut b, 16, &self.inodes.to_le_bytes());
        put(&mut b, 24, &self.build_time.to_le_bytes());
        put(&mut b, 32, &self.build_time_nsec.to_le_bytes());
        put(&mut b, 36, &self.blocks.to_le_bytes());
        put(&mut b, 40, &self.meta_block.to_le_bytes());
        put(&mut b, 44, &self.xattr_block.to_le_bytes());
        put(&mut b, 48, &self.uuid);
        put(&mut b, 64, &self.volume_name);
        put(&mut b, 80, &self.incompat.to_le_bytes());
        put(&mut b, 86, &self.extra_devices.to_le_bytes());
        b[90] = self.dir_block_bits;
        b[91] = self.xattr_prefixes;
        b
    }

    /// Nothing if the magic is not there.
    pub fn decode(b: &[u8; SUPERBLOCK_LEN]) -> Option<Superblock> {
        (u32_at(b, 0) == MAGIC).then(|| Superblock {
            checksum: u32_at(b, CHECKSUM_FIELD.start),
            compat: u32_at(b, 8),
            block_bits: b[12],
            root_nid: u16_at(b, 14),
            inodes: u64_at(b, 16),
            build_time: u64_at(b, 24) as i64,
            build_time_nsec: u32_at(b, 32),
            blocks: u32_at(b, 36),
            meta_block: u32_at(b, 40),
            xattr_block: u32_at(b, 44),
            uuid: bytes_at(b, 48),
            volume_name: bytes_at(b, 64),
            incompat: u32_at(b, 80),
            extra_devices: u16_at(b, 86),
            dir_block_bits: b[90],
            xattr_prefixes: b[91],
        })
    }
}

const CHECKSUM_FIELD: Range<usize> = 4..8;

/// CRC-32C of the first block from the superblock to the block's end, the checksum's own field taken as zero; without
/// the final inversion, as the kernel's `crc32c()` leaves it. `block` starts at the superblock.
pub(super) fn checksum(block: &[u8]) -> u32 {
    let mut crc = crc32c::crc32c(&block[..CHECKSUM_FIELD.start]);
    crc = crc32c::crc32c_append(crc, &[0; 4]);
    !crc32c::crc32c_append(crc, &block[CHECKSUM_FIELD.end..])
}

/// Sets the checksum in a finished first block that starts at the superblock.
pub(super) fn seal(block: &mut [u8]) {
    let sum = checksum(block);
    block[CHECKSUM_FIELD].copy_from_slice(&sum.to_le_bytes());
}

/// An inode's record; `extended` decides between the forms of 32 and 64 bytes.
#[derive(Clone, Debug)]
pub(super) struct InodeRecord {
    pub extended: bool,
    pub layout: u16,
    /// Length of the xattrs behind the inode: none, or 12 + 4 × (this − 1) bytes.
    pub xattr_count: u16,
    pub mode: u16,
    pub nlink: u32,
    pub size: u64,
    /// First block of the data, or the device number.
    pub place: u32,
    /// Number for programs whose `stat` has 32 bits.
    pub number: u32,
    pub uid: u32,
    pub gid: u32,
    /// Extended form only.
    pub mtime: i64,
    pub mtime_nsec: u32,
}

impl InodeRecord {
    /// The record in the first [`COMPACT_LEN`] or [`EXTENDED_LEN`] bytes. The compact form takes the low bits.
    pub fn encode(&self) -> [u8; EXTENDED_LEN as usize] {
        let mut b = [0; EXTENDED_LEN as usize];
        put(&mut b, 0, &(u16::from(self.extended) | self.layout << 1).to_le_bytes());
        put(&mut b, 2, &self.xattr_count.to_le_bytes());
        put(&mut b, 4, &self.mode.to_le_bytes());
        put(&mut b, 16, &self.place.to_le_bytes());
        put(&mut b, 20, &self.number.to_le_bytes());
        if self.extended {
            put(&mut b, 8, &self.size.to_le_bytes());
            put(&mut b, 24, &self.uid.to_le_bytes());
            put(&mut b, 28, &self.gid.to_le_bytes());
            put(&mut b, 32, &self.mtime.to_le_bytes());
            put(&mut b, 40, &self.mtime_nsec.to_le_bytes());
            put(&mut b, 44, &self.nlink.to_le_bytes());
        } else {
            put(&mut b, 6, &(self.nlink as u16).to_le_bytes());
            put(&mut b, 8, &(self.size as u32).to_le_bytes());
            put(&mut b, 24, &(self.uid as u16).to_le_bytes());
            put(&mut b, 26, &(self.gid as u16).to_le_bytes());
        }
        b
    }

    /// The form that an inode, of which `b` is the start, announces: bit 0 of the format.
    pub fn is_extended(b: &[u8]) -> bool {
        b.first().is_some_and(|b| b & 1 == 1)
    }

    /// `Err` with the format word if it has bits that are not known.
    pub fn decode(b: &[u8; EXTENDED_LEN as usize], epoch: (i64, u32)) -> Result<InodeRecord, u16> {
        let format = u16_at(b, 0);
        if format >> 4 != 0 {
            return Err(format);
        }
        let extended = format & 1 == 1;
        Ok(InodeRecord {
            extended,
            layout: format >> 1,
            xattr_count: u16_at(b, 2),
            mode: u16_at(b, 4),
            nlink: if extended { u32_at(b, 44) } else { u16_at(b, 6).into() },
            size: if extended { u64_at(b, 8) } else { u32_at(b, 8).into() },
            place: u32_at(b, 16),
            number: u32_at(b, 20),
            uid: if extended { u32_at(b, 24) } else { u16_at(b, 24).into() },
            gid: if extended { u32_at(b, 28) } else { u16_at(b, 26).into() },
            mtime: if extended { u64_at(b, 32) as i64 } else { epoch.0 },
            mtime_nsec: if extended { u32_at(b, 40) } else { epoch.1 },
        })
    }

    /// Bytes of xattrs behind the inode (`erofs_xattr_ibody_size`).
    pub fn xattr_len(&self) -> u64 {
        match self.xattr_count {
            0 => 0,
            n => XATTR_HEADER_LEN as u64 + 4 * (u64::from(n) - 1),
        }
    }
}

/// `new_encode_dev` of Linux: 12 bits of major and 20 of minor number; nothing if they do not fit.
pub(super) fn encode_device(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

/// Major and minor number.
pub(super) fn decode_device(rdev: u32) -> (u32, u32) {
    (rdev >> 8 & 0xfff, rdev & 0xff | rdev >> 12 & 0xf_ff00)
}

pub(super) fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive() {
        for (major, minor) in [(0, 0), (5, 1), (4095, 1_048_575), (259, 256), (8, 255)] {
            assert_eq!(decode_device(encode_device(major, minor).unwrap()), (major, minor));
        }
        assert_eq!(encode_device(4096, 0), None);
        assert_eq!(encode_device(0, 1 << 20), None);
    }
}
