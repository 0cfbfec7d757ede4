//! A whole image as a tree, with bounds that no honest image reaches.

use std::collections::HashMap;

use super::reader::{FileType, Inode, ReadError, Reader};
use crate::storage::Contents;
use crate::tree::{self, Content, Kind, Meta, Tree};

/// `PATH_MAX` of Linux.
const PATH_MAX: usize = 4096;

/// Bytes that paths, attributes and copied contents may take in memory: this, and [`BUDGET_FACTOR`] times the image.
/// A small image whose inodes all claim the same bytes would otherwise grow without end.
const BUDGET_BASE: u64 = 64 << 20;
const BUDGET_FACTOR: u64 = 16;

struct Budget(u64);

impl Budget {
    fn spend(&mut self, bytes: usize, path: &str) -> Result<(), ReadError> {
        let left = self.0.checked_sub(bytes as u64);
        self.0 = left.ok_or_else(|| ReadError::Unusable {
            path: path.to_owned(),
            what: "the image says that it holds far more than its size".to_owned(),
        })?;
        Ok(())
    }
}

/// Bytes that attributes and a copied content take.
fn memory(inode: &tree::Inode) -> usize {
    fn copied(content: &Content) -> usize {
        match content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Range { .. } => 0,
            Content::Joined(parts) => parts.iter().map(copied).sum(),
        }
    }
    let content = if let Kind::File(content) = &inode.kind { copied(content) } else { 0 };
    content + inode.meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

impl<R: Contents> Reader<R> {
    /// Every file of the image. Contents stay references where the storage can do so ([`crate::storage::Region`]).
    ///
    /// # Errors
    /// Anything that [`Reader`] refuses; names that are not UTF-8, directories with two parents, and images that are
    /// built to exhaust memory.
    pub fn to_tree(&self) -> Result<Tree, ReadError> {
        let root = self.root()?;
        let mut tree = Tree::new(root.mtime);
        let mut budget = Budget(self.image_len().saturating_mul(BUDGET_FACTOR).saturating_add(BUDGET_BASE));
        if let Some(inode) = tree.get_mut("") {
            inode.meta = self.meta(&root)?;
        }
        let mut first_path: HashMap<u64, String> = HashMap::from([(root.nid, String::new())]);
        let mut todo = vec![(String::new(), root)];
        while let Some((dir_path, dir)) = todo.pop() {
            let entries = self.list(&dir)?;
            budget.spend(usize::try_from(dir.size).unwrap_or(usize::MAX), &dir_path)?;
            for entry in entries {
                let unusable = |what: &str| ReadError::Unusable {
                    path: format!("{dir_path}/{}", String::from_utf8_lossy(&entry.name)),
                    what: what.to_owned(),
                };
                let name = std::str::from_utf8(&entry.name).map_err(|_| unusable("the name is not UTF-8"))?;
                let path = if dir_path.is_empty() { name.to_owned() } else { format!("{dir_path}/{name}") };
                if path.len() >= PATH_MAX {
                    return Err(unusable("the path is longer than Linux allows"));
                }
                if tree.contains(&path) {
                    return Err(unusable("the name is there twice"));
                }
                budget.spend(path.len(), &path)?;
                if let Some(first) = first_path.get(&entry.nid) {
                    tree.link(&path, first)?; // refuses directories
                    continue;
                }
                let inode = self.inode(entry.nid)?;
                let node = self.tree_inode(&inode)?;
                budget.spend(memory(&node), &path)?;
                tree.insert(&path, node)?;
                first_path.insert(entry.nid, path.clone());
                if inode.file_type == FileType::Dir {
                    todo.push((path, inode));
                }
            }
        }
        Ok(tree)
    }

    fn meta(&self, inode: &Inode) -> Result<Meta, ReadError> {
        let Inode { mode, uid, gid, mtime, .. } = *inode;
        Ok(Meta { mode, uid, gid, mtime, xattrs: self.xattrs(inode)? })
    }

    fn tree_inode(&self, inode: &Inode) -> Result<tree::Inode, ReadError> {
        let (major, minor) = inode.device;
        let kind = match inode.file_type {
            FileType::File => Kind::File(self.content(inode)?),
            FileType::Dir => Kind::Dir,
            FileType::Symlink => Kind::Symlink(self.target(inode)?),
            FileType::CharDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
        };
        Ok(tree::Inode { meta: self.meta(inode)?, kind })
    }
}
