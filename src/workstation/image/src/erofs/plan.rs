//! The layout of an image, settled before its first byte is written.

use std::collections::HashMap;

use super::error::WriteError;
use super::format::{
    BLOCK, COMPACT_LEN, DIRENT_LEN, EXTENDED_LEN, LAYOUT_INLINE, LAYOUT_PLAIN, NAME_MAX, S_IFBLK, S_IFCHR, S_IFDIR,
    S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK, SLOT, SUPERBLOCK_AT, SUPERBLOCK_LEN, TARGET_MAX, XATTR_HEADER_LEN,
    encode_device,
};
use super::pack::Packer;
use super::xattr::{self, Shared};
use crate::storage::Extent;
use crate::tree::{Inode, Kind, Tree};

/// Bytes of a volume name; the kernel wants a NUL behind it in its 16 bytes.
const VOLUME_NAME_MAX: usize = 15;

/// What an image is besides its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    pub uuid: [u8; 16],
    /// At most 15 bytes.
    pub volume_name: String,
    /// Seconds since 1970-01-01 UTC. Inodes with this modification time take half the space.
    pub build_time: i64,
}

/// Where the content of a file is in an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileExtents<'t> {
    /// Of several hard links, the first in byte order.
    pub path: &'t str,
    /// In the order of the content, none of them empty: whole blocks, then the last bytes among the inodes.
    pub extents: Vec<Extent>,
}

/// An inode in its place.
pub(super) struct Node<'t> {
    pub path: &'t str,
    pub inode: &'t Inode,
    pub nlink: u32,
    /// Bytes of the content as `stat` says.
    pub size: u64,
    pub extended: bool,
    /// Header, references and entries.
    pub xattrs: Vec<u8>,
    /// Bytes from the start of the image.
    pub offset: u64,
    /// Whether the bytes beyond whole blocks stand behind the inode.
    pub inline: bool,
    /// First block of the data, or the device number.
    pub place: u32,
    /// Index into [`Plan::dirs`].
    pub dir: Option<u32>,
}

impl Node<'_> {
    pub fn nid(&self) -> u64 {
        self.offset / SLOT
    }

    pub fn layout(&self) -> u16 {
        if self.inline { LAYOUT_INLINE } else { LAYOUT_PLAIN }
    }

    pub fn mode(&self) -> u16 {
        let file_type = match self.inode.kind {
            Kind::Dir => S_IFDIR,
            Kind::File(_) => S_IFREG,
            Kind::Symlink(_) => S_IFLNK,
            Kind::CharDevice { .. } => S_IFCHR,
            Kind::BlockDevice { .. } => S_IFBLK,
            Kind::Fifo => S_IFIFO,
            Kind::Socket => S_IFSOCK,
        };
        file_type | self.inode.meta.mode & 0o7777
    }

    fn record_len(&self) -> u64 {
        if self.extended { EXTENDED_LEN } else { COMPACT_LEN }
    }

    /// Bytes behind the inode.
    pub fn tail_len(&self) -> u64 {
        if self.inline { self.size % BLOCK } else { 0 }
    }

    /// Bytes in blocks of their own.
    pub fn body_len(&self) -> u64 {
        self.size - self.tail_len()
    }

    fn extents(&self) -> Vec<Extent> {
        let body = Extent { offset: u64::from(self.place) * BLOCK, len: self.body_len() };
        let tail = Extent { offset: self.offset + self.record_len() + self.xattrs.len() as u64, len: self.tail_len() };
        [body, tail].into_iter().filter(|extent| extent.len > 0).collect()
    }
}

/// A directory's entries, `.` and `..` included, in byte order.
pub(super) struct Dir<'t> {
    /// Names and indices into [`Plan::nodes`].
    pub entries: Vec<(&'t str, u32)>,
    /// Index of the first entry of each block.
    pub blocks: Vec<u32>,
}

impl Dir<'_> {
    /// Shares the entries out over blocks; returns the directory's size in bytes.
    fn split(&mut self) -> u64 {
        let mut used = 0;
        for (i, (name, _)) in self.entries.iter().enumerate() {
            let len = DIRENT_LEN + name.len();
            if self.blocks.is_empty() || used + len > BLOCK as usize {
                self.blocks.push(i as u32);
                used = 0;
            }
            used += len;
        }
        (self.blocks.len() as u64 - 1) * BLOCK + used as u64
    }

    /// The entries of block `i`.
    pub fn block(&self, i: usize) -> &[(&str, u32)] {
        let end = self.blocks.get(i + 1).map_or(self.entries.len(), |end| *end as usize);
        &self.entries[self.blocks[i] as usize..end]
    }
}

/// The layout of an image of one tree. Writing it needs no more memory than a buffer.
pub struct Plan<'t> {
    pub(super) options: Options,
    /// In the byte order of first paths, the root first.
    pub(super) nodes: Vec<Node<'t>>,
    pub(super) dirs: Vec<Dir<'t>>,
    pub(super) shared: Shared<'t>,
    /// First block after the inodes, where the shared xattrs are if there are any.
    pub(super) xattr_block: u32,
    pub(super) blocks: u32,
}

impl<'t> Plan<'t> {
    /// Lays out an image of `tree`. The same tree and options give the same layout.
    ///
    /// # Errors
    /// What EROFS cannot hold, with its path.
    pub fn new(tree: &'t Tree, options: Options) -> Result<Plan<'t>, WriteError> {
        if options.volume_name.len() > VOLUME_NAME_MAX || options.volume_name.contains('\0') {
            return Err(WriteError::VolumeName(options.volume_name));
        }
        let (mut nodes, mut dirs) = collect(tree)?;
        let shared = attach_xattrs(&mut nodes)?;
        for dir in &mut dirs {
            let size = dir.split();
            // `collect` puts `.` into each directory, so there is one to ask.
            if let Some((_, own)) = dir.entries.iter().find(|(name, _)| *name == ".") {
                nodes[*own as usize].size = size;
            }
        }
        let mut packer = Packer::new(SUPERBLOCK_AT + SUPERBLOCK_LEN as u64);
        for node in &mut nodes {
            place(node, &options, &mut packer);
        }
        let mut free = Free { next: packer.end() / BLOCK };
        let xattr_block = free.next()?;
        free.take(shared.len())?;
        for node in nodes.iter_mut().filter(|node| node.dir.is_some()) {
            node.place = free.take(node.body_len())?;
        }
        for node in &mut nodes {
            match node.inode.kind {
                Kind::File(_) | Kind::Symlink(_) => node.place = free.take(node.body_len())?,
                Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                    node.place = encode_device(major, minor).ok_or_else(|| WriteError::Device {
                        path: node.path.to_owned(),
                        major,
                        minor,
                    })?;
                }
                Kind::Dir | Kind::Fifo | Kind::Socket => {}
            }
        }
        let blocks = free.next()?;
        Ok(Plan { options, nodes, dirs, shared, xattr_block, blocks })
    }

    /// Bytes of the image, a multiple of [`BLOCK`].
    pub fn image_len(&self) -> u64 {
        u64::from(self.blocks) * BLOCK
    }

    /// Where the contents of regular files are, in byte order of paths; an empty file has no extents.
    pub fn files(&self) -> impl Iterator<Item = FileExtents<'t>> {
        self.nodes
            .iter()
            .filter(|node| matches!(node.inode.kind, Kind::File(_)))
            .map(|node| FileExtents { path: node.path, extents: node.extents() })
    }

    /// Superblock, inodes, shared xattrs and directories: everything before the blocks of files.
    pub fn metadata(&self) -> Extent {
        let is_data = |node: &&Node| node.dir.is_none() && node.body_len() > 0;
        let first = self.nodes.iter().find(is_data).map_or(self.blocks, |node| node.place);
        Extent { offset: 0, len: u64::from(first) * BLOCK }
    }
}

/// Blocks not given away yet.
struct Free {
    next: u64,
}

impl Free {
    /// The first of enough blocks for `len` bytes; block 0 for nothing.
    fn take(&mut self, len: u64) -> Result<u32, WriteError> {
        let first = if len == 0 { 0 } else { self.next };
        self.next = self.next.saturating_add(len.div_ceil(BLOCK));
        let too_big = |_| WriteError::TooBig { blocks: self.next };
        u32::try_from(self.next).map_err(too_big)?;
        u32::try_from(first).map_err(too_big)
    }

    fn next(&self) -> Result<u32, WriteError> {
        u32::try_from(self.next).map_err(|_| WriteError::TooBig { blocks: self.next })
    }
}

/// Every inode once, and the directories with their entries.
fn collect(tree: &Tree) -> Result<(Vec<Node<'_>>, Vec<Dir<'_>>), WriteError> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut dirs: Vec<Dir> = Vec::new();
    let mut index = HashMap::new();
    let mut dir_of: HashMap<&str, u32> = HashMap::new();
    for (path, id, inode) in tree.iter() {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.len() > NAME_MAX {
            return Err(WriteError::LongName { path: path.to_owned(), len: name.len() });
        }
        let fresh = nodes.len() as u32;
        let own = *index.entry(id).or_insert(fresh);
        if own == fresh {
            nodes.push(Node {
                path,
                inode,
                nlink: 0,
                size: content_len(path, inode)?,
                extended: false,
                xattrs: Vec::new(),
                offset: 0,
                inline: false,
                place: 0,
                dir: None,
            });
        }
        nodes[own as usize].nlink += 1;
        // A parent's path sorts before its children's, so it is known by now; the root is its own parent.
        let parent_node = if path.is_empty() {
            own
        } else {
            let parent_dir = dir_of.get(parent).ok_or_else(|| WriteError::NoParent(path.to_owned()))?;
            let entries = &mut dirs[*parent_dir as usize].entries;
            entries.push((name, own));
            entries[0].1
        };
        if inode.is_dir() {
            dir_of.insert(path, dirs.len() as u32);
            nodes[own as usize].dir = Some(dirs.len() as u32);
            dirs.push(Dir { entries: vec![(".", own), ("..", parent_node)], blocks: Vec::new() });
            nodes[own as usize].nlink += 1; // its own `.`
            if !path.is_empty() {
                nodes[parent_node as usize].nlink += 1; // its `..`
            }
        }
    }
    for dir in &mut dirs {
        dir.entries.sort_unstable();
    }
    Ok((nodes, dirs))
}

fn content_len(path: &str, inode: &Inode) -> Result<u64, WriteError> {
    match &inode.kind {
        Kind::File(content) => Ok(content.len()),
        Kind::Symlink(target) if target.is_empty() || target.len() > TARGET_MAX || target.contains('\0') => {
            Err(WriteError::Target { path: path.to_owned(), len: target.len() })
        }
        Kind::Symlink(target) => Ok(target.len() as u64),
        _ => Ok(0),
    }
}

fn attach_xattrs<'t>(nodes: &mut [Node<'t>]) -> Result<Shared<'t>, WriteError> {
    let refused = |node: &Node, why: String| WriteError::Xattr { path: node.path.to_owned(), why };
    let mut all = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        if !node.inode.meta.xattrs.is_empty() {
            all.push((i, xattr::entries(&node.inode.meta).map_err(|why| refused(node, why))?));
        }
    }
    let shared = Shared::choose(all.iter().flat_map(|(_, entries)| entries.iter().copied()));
    for (i, entries) in all {
        let body = shared.body(&entries);
        // The count that is kept in 16 bits: 1 for the header, 1 for each 4 bytes behind it.
        if (body.len() - XATTR_HEADER_LEN) / 4 + 1 > usize::from(u16::MAX) {
            return Err(refused(&nodes[i], format!("{} bytes of attributes, at most 262148 fit", body.len())));
        }
        nodes[i].xattrs = body;
    }
    Ok(shared)
}

/// Chooses the form of an inode and its place.
fn place(node: &mut Node, options: &Options, packer: &mut Packer) {
    let meta = &node.inode.meta;
    // The compact form has 16 bits for owner, group and links, 32 for the size, and the superblock's time.
    let small = |n: u32| n <= u32::from(u16::MAX);
    let compact = small(meta.uid)
        && small(meta.gid)
        && small(node.nlink)
        && node.size <= u64::from(u32::MAX)
        && meta.mtime == options.build_time;
    node.extended = !compact;
    let head = node.record_len() + node.xattrs.len() as u64;
    let tail = node.size % BLOCK;
    // The kernel finds an inline symlink only in the block that the inode is in, so all three go together.
    node.inline = tail > 0 && head + tail <= BLOCK;
    node.offset = packer.place(head + node.tail_len());
}
