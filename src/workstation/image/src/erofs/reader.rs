//! Reading an image that nobody vouches for: every offset and length is checked before it is used.

use std::collections::BTreeMap;
use std::io;

use fruit_base::le::{u16_at, u32_at, u64_at};

use super::format::{
    BLOCK, COMPACT_LEN, COMPAT_CHECKSUM, DIRENT_LEN, EXTENDED_LEN, INCOMPAT_ZERO_PADDING, InodeRecord, LAYOUT_CHUNKED,
    LAYOUT_INLINE, LAYOUT_PLAIN, NAME_MAX, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK,
    SLOT, SUPERBLOCK_AT, SUPERBLOCK_LEN, Superblock, TARGET_MAX, XATTR_ENTRY_LEN, XATTR_HEADER_LEN, checksum,
    decode_device,
};
use super::xattr;
use crate::storage::{Contents, Extent, ReadAt};
use crate::tree::{Content, TreeError};

/// Why an image cannot be read. `nid` is the number of the inode, its place in units of 32 bytes.
#[derive(thiserror::Error, Debug)]
pub enum ReadError {
    #[error("cannot read the EROFS image: {0}")]
    Io(#[from] io::Error),
    #[error("not an EROFS image: no magic number at byte 1024")]
    NotErofs,
    #[error("EROFS: {what} {value:#x} is not supported; only uncompressed images with 4 KiB blocks are")]
    Unsupported { what: &'static str, value: u64 },
    #[error("EROFS: the superblock's checksum is {found:#010x}, its block has {expected:#010x}: the image is damaged")]
    Checksum { found: u32, expected: u32 },
    #[error("EROFS: the image has {has} bytes, its superblock says {wants}: it was cut off")]
    Short { has: u64, wants: u64 },
    #[error("EROFS: inode {nid} is compressed; only uncompressed images can be read")]
    Compressed { nid: u64 },
    #[error("EROFS: inode {nid}: {what}: the image is damaged")]
    Damaged { nid: u64, what: &'static str },
    #[error("EROFS: inode {nid} is not a {expected}")]
    WrongType { nid: u64, expected: &'static str },
    #[error("EROFS: {path}: {what}")]
    Unusable { path: String, what: String },
    #[error("EROFS: {0}")]
    Tree(#[from] TreeError),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileType {
    File,
    Dir,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

/// An inode of an image.
#[derive(Clone, Debug)]
pub struct Inode {
    pub nid: u64,
    pub file_type: FileType,
    /// Permission, set-id and sticky bits.
    pub mode: u16,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970-01-01 UTC, and nanoseconds.
    pub mtime: i64,
    pub mtime_nsec: u32,
    /// Major and minor number; zeros unless it is a device.
    pub device: (u32, u32),
    /// Start of the record in the image.
    offset: u64,
    record: InodeRecord,
}

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    pub name: Vec<u8>,
    pub nid: u64,
}

/// An EROFS image.
pub struct Reader<R> {
    image: R,
    superblock: Superblock,
    len: u64,
}

impl<R: ReadAt> Reader<R> {
    /// Opens the image in the first `len` bytes of `image`, which may be longer than the filesystem.
    ///
    /// # Errors
    /// No EROFS, a feature beyond this reader, a wrong checksum, or an image that is shorter than it says.
    pub fn open(image: R, len: u64) -> Result<Reader<R>, ReadError> {
        if len < BLOCK {
            return Err(ReadError::NotErofs);
        }
        let mut block = vec![0; (BLOCK - SUPERBLOCK_AT) as usize];
        image.read_exact_at(&mut block, SUPERBLOCK_AT)?;
        let head = block.first_chunk::<SUPERBLOCK_LEN>().ok_or(ReadError::NotErofs)?;
        let superblock = Superblock::decode(head).ok_or(ReadError::NotErofs)?;
        let unsupported = |what, value| Err(ReadError::Unsupported { what, value });
        if u64::from(superblock.block_bits) != u64::from(BLOCK.ilog2()) {
            return unsupported("the block size (log2)", superblock.block_bits.into());
        }
        if superblock.incompat & !INCOMPAT_ZERO_PADDING != 0 {
            return unsupported("the set of features", superblock.incompat.into());
        }
        if superblock.dir_block_bits != 0 {
            return unsupported("the directory block size", superblock.dir_block_bits.into());
        }
        if superblock.compat & COMPAT_CHECKSUM != 0 {
            let expected = checksum(&block);
            if expected != superblock.checksum {
                return Err(ReadError::Checksum { found: superblock.checksum, expected });
            }
        }
        let wants = u64::from(superblock.blocks) * BLOCK;
        if wants > len {
            return Err(ReadError::Short { has: len, wants });
        }
        Ok(Reader { image, superblock, len: wants })
    }

    /// Bytes of the filesystem, which may be fewer than those of the partition it is in.
    pub fn image_len(&self) -> u64 {
        self.len
    }

    pub fn uuid(&self) -> [u8; 16] {
        self.superblock.uuid
    }

    /// Without the NULs behind it.
    pub fn volume_name(&self) -> String {
        let name = &self.superblock.volume_name;
        let len = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..len]).into_owned()
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn build_time(&self) -> i64 {
        self.superblock.build_time
    }

    /// How many inodes the superblock announces.
    pub fn inode_count(&self) -> u64 {
        self.superblock.inodes
    }

    /// The root directory.
    ///
    /// # Errors
    /// As [`Reader::inode`]; also if it is no directory.
    pub fn root(&self) -> Result<Inode, ReadError> {
        let root = self.inode(self.superblock.root_nid.into())?;
        expect_type(&root, FileType::Dir, "directory")?;
        Ok(root)
    }

    /// # Errors
    /// Read errors, and an inode that makes no sense or has compressed data.
    pub fn inode(&self, nid: u64) -> Result<Inode, ReadError> {
        let damaged = |what| ReadError::Damaged { nid, what };
        let offset = nid
            .checked_mul(SLOT)
            .and_then(|at| at.checked_add(u64::from(self.superblock.meta_block) * BLOCK))
            .ok_or_else(|| damaged("its place is outside of the image"))?;
        let mut bytes = [0; EXTENDED_LEN as usize];
        let (head, rest) = bytes.split_at_mut(COMPACT_LEN as usize);
        self.bytes(nid, head, offset)?;
        if InodeRecord::is_extended(head) {
            self.bytes(nid, rest, offset + COMPACT_LEN)?;
        }
        let epoch = (self.superblock.build_time, self.superblock.build_time_nsec);
        let record = InodeRecord::decode(&bytes, epoch)
            .map_err(|format| ReadError::Unsupported { what: "an inode's format", value: format.into() })?;
        match record.layout {
            LAYOUT_PLAIN | LAYOUT_INLINE => {}
            1 | 3 => return Err(ReadError::Compressed { nid }),
            LAYOUT_CHUNKED => return Err(ReadError::Unsupported { what: "the chunked data of inode", value: nid }),
            _ => return Err(damaged("its data layout is not one that EROFS has")),
        }
        let file_type = match record.mode & S_IFMT {
            S_IFREG => FileType::File,
            S_IFDIR => FileType::Dir,
            S_IFLNK => FileType::Symlink,
            S_IFCHR => FileType::CharDevice,
            S_IFBLK => FileType::BlockDevice,
            S_IFIFO => FileType::Fifo,
            S_IFSOCK => FileType::Socket,
            _ => return Err(damaged("its file type is none")),
        };
        let device = match file_type {
            FileType::CharDevice | FileType::BlockDevice => decode_device(record.place),
            _ => (0, 0),
        };
        let inode = Inode {
            nid,
            file_type,
            mode: record.mode & 0o7777,
            nlink: record.nlink,
            uid: record.uid,
            gid: record.gid,
            size: record.size,
            mtime: record.mtime,
            mtime_nsec: record.mtime_nsec,
            device,
            offset,
            record,
        };
        self.extents(&inode)?; // so that a size may be relied on from here
        Ok(inode)
    }

    /// Where the inode's data is, in order, without empty extents; devices, fifos and sockets have none.
    ///
    /// # Errors
    /// Data outside of the image.
    pub fn extents(&self, inode: &Inode) -> Result<Vec<Extent>, ReadError> {
        if !matches!(inode.file_type, FileType::File | FileType::Dir | FileType::Symlink) {
            return Ok(Vec::new());
        }
        let tail_len = if inode.record.layout == LAYOUT_INLINE { inode.size % BLOCK } else { 0 };
        let record_len = if inode.record.extended { EXTENDED_LEN } else { COMPACT_LEN };
        let body = Extent { offset: u64::from(inode.record.place) * BLOCK, len: inode.size - tail_len };
        let tail = Extent { offset: inode.offset + record_len + inode.record.xattr_len(), len: tail_len };
        let extents: Vec<Extent> = [body, tail].into_iter().filter(|extent| extent.len > 0).collect();
        let inside = |e: &Extent| e.offset.checked_add(e.len).is_some_and(|end| end <= self.len);
        if !extents.iter().all(inside) {
            return Err(ReadError::Damaged { nid: inode.nid, what: "its data is outside of the image" });
        }
        if tail_len > 0 && tail.offset % BLOCK + tail_len > BLOCK {
            return Err(ReadError::Damaged { nid: inode.nid, what: "its inline data crosses a block's end" });
        }
        Ok(extents)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// Not a symbolic link, longer than Linux allows, or not UTF-8; read errors.
    pub fn target(&self, inode: &Inode) -> Result<String, ReadError> {
        expect_type(inode, FileType::Symlink, "symbolic link")?;
        let damaged = |what| ReadError::Damaged { nid: inode.nid, what };
        if inode.size > TARGET_MAX as u64 {
            return Err(damaged("its target is longer than a path can be"));
        }
        let mut target = vec![0; inode.size as usize];
        self.read(inode, 0, &mut target)?;
        String::from_utf8(target).map_err(|_| damaged("its target is not UTF-8"))
    }

    /// The entries of a directory besides `.` and `..`, as they are stored.
    ///
    /// # Errors
    /// Not a directory, or one that makes no sense; read errors.
    pub fn list(&self, dir: &Inode) -> Result<Vec<DirEntry>, ReadError> {
        expect_type(dir, FileType::Dir, "directory")?;
        let mut entries = Vec::new();
        let mut block = [0; BLOCK as usize];
        let mut at = 0;
        while at < dir.size {
            let block = &mut block[..(dir.size - at).min(BLOCK) as usize];
            self.read(dir, at, block)?;
            parse_dir_block(block, &mut entries).map_err(|what| ReadError::Damaged { nid: dir.nid, what })?;
            at += block.len() as u64;
        }
        entries.retain(|entry| entry.name != b"." && entry.name != b"..");
        Ok(entries)
    }

    /// The inode at `path`, relative to the root, without following symbolic links; nothing if there is none.
    ///
    /// # Errors
    /// As [`Reader::list`] and [`Reader::inode`].
    pub fn find(&self, path: &str) -> Result<Option<Inode>, ReadError> {
        let mut inode = self.root()?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if inode.file_type != FileType::Dir {
                return Ok(None);
            }
            match self.list(&inode)?.into_iter().find(|entry| entry.name == name.as_bytes()) {
                Some(entry) => inode = self.inode(entry.nid)?,
                None => return Ok(None),
            }
        }
        Ok(Some(inode))
    }

    /// Extended attributes: full names to values.
    ///
    /// # Errors
    /// Attributes that make no sense; read errors.
    pub fn xattrs(&self, inode: &Inode) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
        let damaged = |what| ReadError::Damaged { nid: inode.nid, what };
        let mut xattrs = BTreeMap::new();
        let len = inode.record.xattr_len() as usize; // 18 bits
        if len <= XATTR_HEADER_LEN {
            return if len == 0 { Ok(xattrs) } else { Err(damaged("its xattrs are a header only")) };
        }
        let mut body = vec![0; len];
        let record_len = if inode.record.extended { EXTENDED_LEN } else { COMPACT_LEN };
        self.bytes(inode.nid, &mut body, inode.offset + record_len)?;
        let (refs, mut own) = body
            .split_at_checked(XATTR_HEADER_LEN + 4 * usize::from(body[4]))
            .ok_or_else(|| damaged("its xattrs refer to more shared ones than there is room for"))?;
        for id in refs[XATTR_HEADER_LEN..].chunks_exact(4) {
            let at = u64::from(self.superblock.xattr_block) * BLOCK + 4 * u64::from(u32_at(id, 0));
            let mut head = [0; XATTR_ENTRY_LEN];
            self.bytes(inode.nid, &mut head, at)?;
            let mut entry = vec![0; xattr_entry_len(&head)];
            self.bytes(inode.nid, &mut entry, at)?;
            insert_xattr(&mut xattrs, &entry).map_err(damaged)?;
        }
        while own.len() >= XATTR_ENTRY_LEN {
            let entry_len = xattr_entry_len(own);
            let entry = own.get(..entry_len).ok_or_else(|| damaged("an xattr goes beyond the others' end"))?;
            // Zeros behind the last one are padding of newer tools.
            if entry[..XATTR_ENTRY_LEN] != [0; XATTR_ENTRY_LEN] {
                insert_xattr(&mut xattrs, entry).map_err(damaged)?;
            }
            own = own.get(entry_len.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Ok(xattrs)
    }

    /// Fills `buf` with the data of `inode` from byte `at` on.
    ///
    /// # Errors
    /// Read errors, and `UnexpectedEof` past the end.
    pub fn read(&self, inode: &Inode, at: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let end = at.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > inode.size) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let (mut rest, mut skip) = (buf, at);
        for extent in self.extents(inode)? {
            let n = extent.len.saturating_sub(skip).min(rest.len() as u64);
            if n > 0 {
                let (now, later) = rest.split_at_mut(n as usize);
                self.image.read_exact_at(now, extent.offset + skip)?;
                rest = later;
            }
            skip = skip.saturating_sub(extent.len);
        }
        Ok(())
    }

    /// Metadata of inode `nid`: within the filesystem only.
    fn bytes(&self, nid: u64, buf: &mut [u8], at: u64) -> Result<(), ReadError> {
        if at.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(ReadError::Damaged { nid, what: "its metadata is outside of the image" });
        }
        Ok(self.image.read_exact_at(buf, at)?)
    }
}

impl<R: Contents> Reader<R> {
    /// The data of a regular file, by reference if the storage can do so.
    ///
    /// # Errors
    /// Not a regular file; read errors.
    pub fn content(&self, inode: &Inode) -> Result<Content, ReadError> {
        expect_type(inode, FileType::File, "regular file")?;
        let parts = self.extents(inode)?.into_iter().map(|extent| self.image.content(extent));
        let mut parts = parts.collect::<Result<Vec<Content>, io::Error>>()?;
        Ok(match parts.len() {
            0 => Content::Bytes([].into()),
            1 => parts.remove(0),
            _ => Content::Joined(parts.into()),
        })
    }
}

fn expect_type(inode: &Inode, file_type: FileType, expected: &'static str) -> Result<(), ReadError> {
    if inode.file_type == file_type { Ok(()) } else { Err(ReadError::WrongType { nid: inode.nid, expected }) }
}

/// Appends the entries of one block of a directory.
fn parse_dir_block(block: &[u8], entries: &mut Vec<DirEntry>) -> Result<(), &'static str> {
    const BAD: &str = "a directory entry makes no sense";
    if block.len() < DIRENT_LEN {
        return Err(BAD);
    }
    // Names follow the last entry at once, so the first name's place tells how many entries there are.
    let heads = usize::from(u16_at(block, 8));
    if heads == 0 || heads % DIRENT_LEN != 0 || heads >= block.len() {
        return Err(BAD);
    }
    let name_at = |entry: usize| usize::from(u16_at(block, entry + 8));
    for entry in (0..heads).step_by(DIRENT_LEN) {
        let next = entry + DIRENT_LEN;
        let end = if next < heads { name_at(next) } else { block.len() };
        let mut name = block.get(name_at(entry)..end).ok_or(BAD)?;
        if next == heads {
            let len = name.iter().position(|b| *b == 0).unwrap_or(name.len());
            name = &name[..len];
        }
        if name.is_empty() || name.len() > NAME_MAX || name.iter().any(|b| *b == 0 || *b == b'/') {
            return Err("a name in the directory is empty, too long, or has a slash or NUL");
        }
        entries.push(DirEntry { name: name.to_vec(), nid: u64_at(block, entry) });
    }
    Ok(())
}

/// Without padding.
fn xattr_entry_len(head: &[u8]) -> usize {
    XATTR_ENTRY_LEN + usize::from(head[0]) + usize::from(u16_at(head, 2))
}

fn insert_xattr(xattrs: &mut BTreeMap<String, Vec<u8>>, entry: &[u8]) -> Result<(), &'static str> {
    let (name, value) = entry[XATTR_ENTRY_LEN..].split_at(usize::from(entry[0]));
    let prefix = xattr::prefix(entry[1]).ok_or("an xattr has an unknown prefix")?;
    let name = std::str::from_utf8(name).map_err(|_| "the name of an xattr is not UTF-8")?;
    xattrs.insert(format!("{prefix}{name}"), value.to_vec());
    Ok(())
}
