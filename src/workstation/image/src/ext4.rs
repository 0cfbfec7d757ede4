//! ext4 filesystems from a [`Tree`]: the data partition, and the root for kernels without EROFS. The on-disk format is the
//! work of the `mkext4` crate; this module feeds it and covers what it leaves out (POSIX ACLs, `lost+found`).

use crate::sparse::Blocks;
use crate::storage::{ReadAt, WriteAt};
use crate::tree::{Content, InodeId, Kind, Meta, Tree};
use mkext4::{FsBuilder, InodeCount, InodeHandle, ROOT, RegionSink, SpecialKind};
use std::collections::BTreeMap;
use std::io::{self, Read};
use uuid::Uuid;

/// Bytes per block, the only size written.
pub const BLOCK: u64 = 4096;
/// Blocks whose use one block of bits tells.
const BLOCKS_PER_GROUP: u64 = 8 * BLOCK;
/// The least size in bytes: the smallest journal takes 1024 blocks and may be a quarter of the filesystem.
pub const LEAST_SIZE: u64 = 16 << 20;
/// Made by every mkfs, inode 11; e2fsck puts what it finds there.
const LOST_FOUND: &str = "lost+found";

#[derive(thiserror::Error, Debug)]
pub enum Ext4Error {
    #[error("ext4 of {0} bytes: expected a multiple of {BLOCK}, {LEAST_SIZE} at least")]
    Size(u64),
    #[error("ext4 label {0:?}: expected up to 16 bytes")]
    Label(String),
    #[error("/{path}: xattr {name}: {why}")]
    Xattr { path: String, name: String, why: String },
    #[error("/lost+found: the filesystem has its own; leave it out of the tree")]
    LostFound,
    #[error("/{path}: {source}")]
    File { path: String, source: mkext4::Error },
    #[error("ext4 filesystem of {size} bytes: {source}; make the partition larger if it is full")]
    Layout { size: u64, source: mkext4::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What an ext4 filesystem is besides its files.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes, a multiple of 4096.
    pub size: u64,
    /// Up to 16 bytes.
    pub label: String,
    pub uuid: Uuid,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub time: i64,
    /// How many files it can hold; one per 16 KiB if not given, and never fewer than `tree` needs.
    pub inodes: Option<u32>,
    /// Blocks only root may use, in percent; 0 for a root that is never written.
    pub reserved_percent: u8,
}

/// Writes a filesystem with the contents of `tree` to `out`, which must read as zero wherever it was not written. Only
/// free blocks are left unwritten: whatever they hold does not matter. The same arguments give the same bytes.
///
/// # Errors
/// Options or names that ext4 cannot have, a tree that does not fit, read and write errors.
pub fn write(tree: &Tree, options: &Options, out: &(impl WriteAt + ReadAt)) -> Result<(), Ext4Error> {
    let mut builder = FsBuilder::new(mkfs_options(tree, options)?).map_err(|e| layout_error(options, e))?;
    let files = declare(tree, &mut builder)?;
    let layout = builder.seal().map_err(|e| layout_error(options, e))?;
    let mut sink = Sink { out, written: Blocks::default() };
    let mut writer = layout.writer(&mut sink).map_err(|e| layout_error(options, e))?;
    for file in &files {
        let mut content = ContentReader { content: file.content, at: 0 };
        writer.fill(file.handle, &mut content).map_err(|e| at(file.path)(e))?;
    }
    writer.finish().map_err(|e| layout_error(options, e))?;
    write_zeros_in_use(options, out, sink.written)
}

/// Writes the blocks that are in use and zero, which `mkext4` takes for granted: unused inodes and the journal. On a card
/// that was used before there would be old inodes and old transactions.
fn write_zeros_in_use(options: &Options, out: &(impl WriteAt + ReadAt), written: Blocks) -> Result<(), Ext4Error> {
    const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
    let fs = mkext4::reader::Fs::open(Source(out)).map_err(|e| layout_error(options, e))?;
    let blocks = options.size / BLOCK;
    for group in 0..fs.superblock().group_count() {
        let descriptor = fs.group_desc(group).map_err(|e| layout_error(options, e))?;
        let bitmap = fs.read_block(descriptor.block_bitmap).map_err(|e| layout_error(options, e))?;
        let first = group * BLOCKS_PER_GROUP;
        for block in first..blocks.min(first + BLOCKS_PER_GROUP) {
            let bit = (block - first) as usize;
            if bitmap[bit / 8] & 1 << (bit % 8) != 0 && !written.contains(block) {
                out.write_all_at(&ZEROS, block * BLOCK)?;
            }
        }
    }
    Ok(())
}

fn mkfs_options(tree: &Tree, options: &Options) -> Result<mkext4::Options, Ext4Error> {
    if options.size < LEAST_SIZE || !options.size.is_multiple_of(BLOCK) {
        return Err(Ext4Error::Size(options.size));
    }
    if options.label.len() > 16 {
        return Err(Ext4Error::Label(options.label.clone()));
    }
    // The first 11 inodes are the filesystem's own.
    let needed = u32::try_from(tree.link_counts().len()).unwrap_or(u32::MAX).saturating_add(11);
    let wanted = options.inodes.unwrap_or_else(|| u32::try_from(options.size / 16384).unwrap_or(u32::MAX));
    let mut mkfs = mkext4::Options::new(options.size, *options.uuid.as_bytes(), options.time);
    mkfs.label = Some(options.label.clone()).filter(|label| !label.is_empty());
    mkfs.inodes = InodeCount::Exact(wanted.max(needed));
    mkfs.reserved_percent = options.reserved_percent;
    Ok(mkfs)
}

fn layout_error(options: &Options, source: mkext4::Error) -> Ext4Error {
    Ext4Error::Layout { size: options.size, source }
}

fn at(path: &str) -> impl Fn(mkext4::Error) -> Ext4Error {
    move |source| Ext4Error::File { path: path.to_owned(), source }
}

/// A file whose bytes are still to be written.
struct Pending<'a> {
    path: &'a str,
    handle: InodeHandle,
    content: &'a Content,
}

/// Declares every path of the tree; returns the files in the order of their blocks.
fn declare<'a>(tree: &'a Tree, builder: &mut FsBuilder) -> Result<Vec<Pending<'a>>, Ext4Error> {
    let mut directories: BTreeMap<&str, InodeHandle> = BTreeMap::from([("", ROOT)]);
    let mut handles: BTreeMap<InodeId, InodeHandle> = BTreeMap::new();
    let mut pending = Vec::new();
    for (path, id, inode) in tree.iter() {
        if path.is_empty() {
            builder.set_meta(ROOT, meta(&inode.meta)).map_err(at(path))?;
            set_xattrs(path, &inode.meta, ROOT, builder)?;
            continue;
        }
        if path == LOST_FOUND && inode.is_dir() {
            continue;
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        // In a tree every path has its parent before it, so only the directory left out above is missing here.
        let parent = *directories.get(parent).filter(|_| path != LOST_FOUND).ok_or(Ext4Error::LostFound)?;
        if let Some(first) = handles.get(&id) {
            builder.hardlink(parent, name, *first).map_err(at(path))?;
            continue;
        }
        let meta = meta(&inode.meta);
        let mut special = |kind| builder.mknod(parent, name, meta, kind);
        let handle = match &inode.kind {
            Kind::Dir => builder.mkdir(parent, name, meta),
            Kind::File(content) => builder.file(parent, name, meta, content.len()),
            Kind::Symlink(target) => builder.symlink(parent, name, target, meta),
            Kind::CharDevice { major, minor } => special(SpecialKind::Char { major: *major, minor: *minor }),
            Kind::BlockDevice { major, minor } => special(SpecialKind::Block { major: *major, minor: *minor }),
            Kind::Fifo => special(SpecialKind::Fifo),
            Kind::Socket => special(SpecialKind::Socket),
        };
        let handle = handle.map_err(at(path))?;
        set_xattrs(path, &inode.meta, handle, builder)?;
        handles.insert(id, handle);
        match &inode.kind {
            Kind::Dir => {
                directories.insert(path, handle);
            }
            Kind::File(content) if !content.is_empty() => pending.push(Pending { path, handle, content }),
            _ => {}
        }
    }
    Ok(pending)
}

fn meta(meta: &Meta) -> mkext4::Meta {
    mkext4::Meta::new(meta.mode, meta.uid, meta.gid, (meta.mtime, 0))
}

fn set_xattrs(path: &str, meta: &Meta, handle: InodeHandle, builder: &mut FsBuilder) -> Result<(), Ext4Error> {
    for (name, value) in &meta.xattrs {
        let refused = |why: String| Ext4Error::Xattr { path: path.to_owned(), name: name.clone(), why };
        let acl = matches!(name.as_str(), "system.posix_acl_access" | "system.posix_acl_default");
        let stored = if acl { Some(stored_acl(value).map_err(|why| refused(why.to_owned()))?) } else { None };
        let value = stored.as_ref().unwrap_or(value);
        builder.set_xattr(handle, name, value).map_err(|e| refused(e.to_string()))?;
    }
    Ok(())
}

/// A POSIX ACL as system calls have it (version 2, linux/posix_acl_xattr.h) in the form ext4 stores (version 1,
/// fs/ext4/acl.h), where only entries that name somebody carry an id. The kernel refuses the file otherwise.
fn stored_acl(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let entries = value.strip_prefix(&2u32.to_le_bytes()).ok_or("not a POSIX ACL of version 2")?;
    if !entries.len().is_multiple_of(8) {
        return Err("a POSIX ACL with a broken entry");
    }
    let mut stored = 1u32.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let named = matches!(u16::from_le_bytes([entry[0], entry[1]]), USER | GROUP);
        stored.extend(if named { entry } else { &entry[..4] });
    }
    Ok(stored)
}

/// `mkext4` hands out every block once, as bytes or as zeros; the zeros are left for later.
struct Sink<'a, W> {
    out: &'a W,
    written: Blocks,
}

impl<W: WriteAt> RegionSink for Sink<'_, W> {
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.written.insert(offset / BLOCK..(offset + bytes.len() as u64).div_ceil(BLOCK));
        self.out.write_all_at(bytes, offset)
    }

    fn zeros(&mut self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
}

struct ContentReader<'a> {
    content: &'a Content,
    at: u64,
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = (self.content.len() - self.at).min(buf.len() as u64) as usize;
        self.content.read_at(&mut buf[..n], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

struct Source<'a, R>(&'a R);

impl<R: ReadAt> mkext4::reader::ReadAt for Source<'_, R> {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
}
