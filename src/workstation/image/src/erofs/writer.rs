//! From a plan to bytes, strictly in order.

use std::io::Write;

use super::error::WriteError;
use super::format::{
    BLOCK, BLOCK_BITS, COMPACT_LEN, COMPAT_CHECKSUM, COMPAT_MTIME, DIRENT_LEN, EXTENDED_LEN, InodeRecord,
    SUPERBLOCK_AT, Superblock, XATTR_HEADER_LEN, put, seal,
};
use super::plan::{Dir, Node, Plan};
use crate::tree::{Content, Kind};

/// Bytes held before they are written; large, because each piece is one system call and one unit of hashing.
const BUFFER: usize = 1 << 20;

impl Plan<'_> {
    /// Writes [`Plan::image_len`] bytes to `to`, in pieces of 1 MiB.
    ///
    /// # Errors
    /// A content that cannot be read, or what `to` reports.
    pub fn write(&self, to: &mut impl Write) -> Result<(), WriteError> {
        let mut out = Out { to, buffer: vec![0; BUFFER], used: 0, flushed: 0 };
        out.zero_to(SUPERBLOCK_AT)?;
        out.bytes(&self.superblock().encode())?;
        let mut by_place: Vec<(u64, usize)> = self.nodes.iter().enumerate().map(|(i, n)| (n.offset, i)).collect();
        by_place.sort_unstable();
        for (_, i) in by_place {
            self.write_inode(&self.nodes[i], i, &mut out)?;
        }
        out.zero_to(u64::from(self.xattr_block) * BLOCK)?;
        let mut entry = Vec::new();
        for shared in self.shared.entries() {
            entry.clear();
            shared.append_to(&mut entry);
            out.bytes(&entry)?;
        }
        out.zero_to_block()?;
        for node in &self.nodes {
            if let Some(dir) = node.dir {
                for i in 0..node.body_len().div_ceil(BLOCK) {
                    out.bytes(&self.dir_block(&self.dirs[dir as usize], i as usize))?;
                }
            }
        }
        for node in &self.nodes {
            match &node.inode.kind {
                Kind::File(content) => out.content(node.path, content, 0, node.body_len())?,
                Kind::Symlink(target) => out.bytes(&target.as_bytes()[..node.body_len() as usize])?,
                _ => continue,
            }
            out.zero_to_block()?;
        }
        out.zero_to(self.image_len())?;
        out.flush()
    }

    fn superblock(&self) -> Superblock {
        let mut volume_name = [0; 16];
        put(&mut volume_name, 0, self.options.volume_name.as_bytes());
        Superblock {
            block_bits: BLOCK_BITS,
            compat: COMPAT_CHECKSUM | COMPAT_MTIME,
            incompat: 0,
            checksum: 0,                          // `Out` seals the first block
            root_nid: self.nodes[0].nid() as u16, // the root is placed first, in block 0 or 1
            inodes: self.nodes.len() as u64,
            build_time: self.options.build_time,
            build_time_nsec: 0,
            blocks: self.blocks,
            meta_block: 0,
            xattr_block: if self.shared.is_empty() { 0 } else { self.xattr_block },
            uuid: self.options.uuid,
            volume_name,
            extra_devices: 0,
            dir_block_bits: 0,
            xattr_prefixes: 0,
        }
    }

    fn write_inode<W: Write>(&self, node: &Node, number: usize, out: &mut Out<W>) -> Result<(), WriteError> {
        out.zero_to(node.offset)?;
        let meta = &node.inode.meta;
        let xattr_count = match node.xattrs.len() {
            0 => 0,
            len => (len - XATTR_HEADER_LEN) / 4 + 1,
        };
        let record = InodeRecord {
            extended: node.extended,
            layout: node.layout(),
            xattr_count: xattr_count as u16, // the plan bounds it
            mode: node.mode(),
            nlink: node.nlink,
            size: node.size,
            place: node.place,
            number: number as u32 + 1,
            uid: meta.uid,
            gid: meta.gid,
            mtime: meta.mtime,
            mtime_nsec: 0,
        };
        let len = if node.extended { EXTENDED_LEN } else { COMPACT_LEN };
        out.bytes(&record.encode()[..len as usize])?;
        out.bytes(&node.xattrs)?;
        let (tail, body) = (node.tail_len(), node.body_len());
        if tail == 0 {
            return Ok(());
        }
        match (&node.inode.kind, node.dir) {
            (Kind::File(content), _) => out.content(node.path, content, body, tail),
            (Kind::Symlink(target), _) => out.bytes(&target.as_bytes()[body as usize..]),
            (_, Some(dir)) => {
                let block = self.dir_block(&self.dirs[dir as usize], (body / BLOCK) as usize);
                out.bytes(&block[..tail as usize])
            }
            _ => Ok(()), // other kinds have no bytes
        }
    }

    /// Entries first, then their names without separators; zeros end the last name.
    fn dir_block(&self, dir: &Dir, i: usize) -> [u8; BLOCK as usize] {
        let mut block = [0; BLOCK as usize];
        let entries = dir.block(i);
        let mut name_at = entries.len() * DIRENT_LEN;
        for (entry, (name, node)) in block_entries(entries) {
            let node = &self.nodes[*node as usize];
            put(&mut block, entry, &node.nid().to_le_bytes());
            put(&mut block, entry + 8, &(name_at as u16).to_le_bytes());
            block[entry + 10] = file_type(&node.inode.kind);
            put(&mut block, name_at, name.as_bytes());
            name_at += name.len();
        }
        block
    }
}

fn block_entries<'a, 't>(entries: &'a [(&'t str, u32)]) -> impl Iterator<Item = (usize, &'a (&'t str, u32))> {
    entries.iter().enumerate().map(|(i, entry)| (i * DIRENT_LEN, entry))
}

/// `FT_*` of Linux `include/linux/fs_types.h`.
fn file_type(kind: &Kind) -> u8 {
    match kind {
        Kind::File(_) => 1,
        Kind::Dir => 2,
        Kind::CharDevice { .. } => 3,
        Kind::BlockDevice { .. } => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink(_) => 7,
    }
}

struct Out<'w, W> {
    to: &'w mut W,
    buffer: Vec<u8>,
    used: usize,
    /// Bytes that left the buffer.
    flushed: u64,
}

impl<W: Write> Out<'_, W> {
    fn at(&self) -> u64 {
        self.flushed + self.used as u64
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        if self.flushed == 0 && self.used >= BLOCK as usize {
            seal(&mut self.buffer[SUPERBLOCK_AT as usize..BLOCK as usize]);
        }
        self.to.write_all(&self.buffer[..self.used]).map_err(WriteError::Write)?;
        self.flushed += self.used as u64;
        self.used = 0;
        Ok(())
    }

    /// Hands the next `len` bytes of the output to `fill`, piece by piece, with the place of each piece among them.
    fn pieces(
        &mut self,
        len: u64,
        mut fill: impl FnMut(&mut [u8], u64) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut done = 0;
        while done < len {
            let n = (len - done).min((self.buffer.len() - self.used) as u64) as usize;
            fill(&mut self.buffer[self.used..self.used + n], done)?;
            self.used += n;
            done += n as u64;
            if self.used == self.buffer.len() {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.pieces(bytes.len() as u64, |piece, at| {
            let at = at as usize;
            piece.copy_from_slice(&bytes[at..at + piece.len()]);
            Ok(())
        })
    }

    fn content(&mut self, path: &str, content: &Content, from: u64, len: u64) -> Result<(), WriteError> {
        self.pieces(len, |piece, at| {
            content.read_at(piece, from + at).map_err(|source| WriteError::Read { path: path.to_owned(), source })
        })
    }

    /// Zeros up to byte `offset` of the image, which is not behind.
    fn zero_to(&mut self, offset: u64) -> Result<(), WriteError> {
        self.pieces(offset - self.at(), |piece, _| {
            piece.fill(0);
            Ok(())
        })
    }

    fn zero_to_block(&mut self) -> Result<(), WriteError> {
        self.zero_to(self.at().next_multiple_of(BLOCK))
    }
}
