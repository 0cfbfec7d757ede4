//! A tree as a tar archive, and back.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use fruit_image::tree::{Content, Inode, InodeId, Kind, Tree};
use tar::{Builder, EntryType, Header};

/// Prefix of extended attributes among the records of pax (star(5)).
const XATTR: &str = "SCHILY.xattr.";

/// Writes entries of a tree.
pub(crate) struct Writer<W: Write> {
    tar: Builder<W>,
}

impl<W: Write> Writer<W> {
    pub fn new(to: W) -> Writer<W> {
        Writer { tar: Builder::new(to) }
    }

    pub fn add(&mut self, path: &str, inode: &Inode) -> io::Result<()> {
        let xattrs: Vec<(String, &[u8])> =
            inode.meta.xattrs.iter().map(|(name, value)| (format!("{XATTR}{name}"), value.as_slice())).collect();
        if !xattrs.is_empty() {
            self.tar.append_pax_extensions(xattrs.iter().map(|(name, value)| (name.as_str(), *value)))?;
        }
        let mut header = Header::new_gnu();
        header.set_mode(u32::from(inode.meta.mode));
        header.set_uid(inode.meta.uid.into());
        header.set_gid(inode.meta.gid.into());
        header.set_mtime(u64::try_from(inode.meta.mtime).unwrap_or(0));
        header.set_size(0);
        let path = if path.is_empty() { "./" } else { path };
        match &inode.kind {
            Kind::File(content) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(content.len());
                self.tar.append_data(&mut header, path, Reader { content, at: 0 })
            }
            Kind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                self.tar.append_link(&mut header, path, target)
            }
            Kind::Dir => {
                header.set_entry_type(EntryType::Directory);
                self.tar.append_data(&mut header, path, io::empty())
            }
            Kind::Fifo => {
                header.set_entry_type(EntryType::Fifo);
                self.tar.append_data(&mut header, path, io::empty())
            }
            // Nobody makes them without root, and a socket is nothing without who listens.
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Socket => Ok(()),
        }
    }

    /// Another name of the file at `target`.
    pub fn add_link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Link);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        self.tar.append_link(&mut header, path, target)
    }

    pub fn finish(self) -> io::Result<W> {
        self.tar.into_inner()
    }
}

/// Writes a whole tree, parents before what is in them.
pub(crate) fn write(tree: &Tree, to: impl Write) -> io::Result<()> {
    let mut writer = Writer::new(io::BufWriter::with_capacity(256 << 10, to));
    let mut first: BTreeMap<InodeId, &str> = BTreeMap::new();
    for (path, id, inode) in tree.iter() {
        match first.get(&id) {
            Some(first) => writer.add_link(path, first)?,
            None => {
                if !inode.is_dir() {
                    first.insert(id, path);
                }
                writer.add(path, inode)?;
            }
        }
    }
    writer.finish()?.flush()
}

/// Reads a content from its start.
pub(crate) struct Reader<'c> {
    pub content: &'c Content,
    pub at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.content.len().saturating_sub(self.at);
        let count = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.content.read_at(&mut buf[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
