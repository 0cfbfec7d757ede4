//! A file tree that exists only in memory: owner, mode, xattrs and hard links as the device will see them,
//! contents by reference. Packages are unpacked into it, finishing steps change it, filesystem writers read it.
//! Nothing here needs root or touches the workstation's file system, except to read contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fruit_base::{AtPath, Sha256};
use sha2::Digest as _;

/// Symbolic links followed before a path is taken for a loop; the kernel's own limit (`MAXSYMLINKS`, linux/namei.h).
const MAX_SYMLINKS: usize = 40;

/// Index of an inode within one [`Tree`]. Two paths with the same id are hard links of one file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct InodeId(usize);

/// What the device sees of a file besides its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meta {
    /// Permission, set-id and sticky bits (`0o7777`); the file type is in [`Kind`].
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970-01-01 UTC.
    pub mtime: i64,
    /// Full names (`security.capability`, `user.x`, …) to raw values.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Meta {
    /// Owned by root, no xattrs.
    pub fn root(mode: u16, mtime: i64) -> Meta {
        Meta { mode, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
    }
}

/// A file of the workstation that contents are read from; kept open, read by position, shared by many contents.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
}

impl Source {
    /// # Errors
    /// Those of `open(2)`; the message carries the path.
    pub fn open(path: &Path) -> io::Result<Arc<Source>> {
        let file = File::open(path).at(path)?;
        Ok(Arc::new(Source { path: path.to_owned(), file }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self) -> &File {
        &self.file
    }
}

/// The bytes of a regular file.
#[derive(Clone, Debug)]
pub enum Content {
    Bytes(Arc<[u8]>),
    /// `len` bytes at `offset` of a file of the workstation.
    Range {
        source: Arc<Source>,
        offset: u64,
        len: u64,
    },
    /// The parts one after the other; filesystem images keep a file's last bytes apart from its blocks.
    Joined(Arc<[Content]>),
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(b) => b.len() as u64,
            Content::Range { len, .. } => *len,
            Content::Joined(parts) => parts.iter().map(Content::len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `at`; `at + buf.len()` must be within the content.
    ///
    /// # Errors
    /// A read error or a source that became shorter, with the source's path.
    pub fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "read past the end of a content");
        let end = at.checked_add(buf.len() as u64).filter(|end| *end <= self.len()).ok_or_else(short)?;
        match self {
            Content::Bytes(b) => buf.copy_from_slice(&b[at as usize..end as usize]),
            Content::Range { source, offset, .. } => source.file.read_exact_at(buf, offset + at).at(&source.path)?,
            Content::Joined(parts) => {
                let (mut rest, mut skip) = (buf, at);
                for part in parts.iter() {
                    let n = part.len().saturating_sub(skip).min(rest.len() as u64);
                    if n > 0 {
                        let (now, later) = rest.split_at_mut(n as usize);
                        part.read_at(now, skip)?;
                        rest = later;
                    }
                    skip = skip.saturating_sub(part.len());
                }
            }
        }
        Ok(())
    }

    /// Its SHA-256, read in parts.
    ///
    /// # Errors
    /// As [`Content::read_at`].
    pub fn sha256(&self) -> io::Result<Sha256> {
        const PART: u64 = 1 << 16;
        let (mut hash, mut buf, mut at) = (sha2::Sha256::new(), vec![0; PART as usize], 0);
        while at < self.len() {
            let part = &mut buf[..(self.len() - at).min(PART) as usize];
            self.read_at(part, at)?;
            hash.update(&*part);
            at += part.len() as u64;
        }
        Ok(Sha256(hash.finalize().into()))
    }

    /// The whole content.
    ///
    /// # Errors
    /// As [`Content::read_at`].
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut all = vec![0; usize::try_from(self.len()).map_err(io::Error::other)?];
        self.read_at(&mut all, 0)?;
        Ok(all)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content::Bytes(bytes.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Content {
        Content::Bytes(text.as_bytes().into())
    }
}

#[derive(Clone, Debug)]
pub enum Kind {
    Dir,
    File(Content),
    /// Target text as stored, absolute or relative.
    Symlink(String),
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
    Socket,
}

#[derive(Clone, Debug)]
pub struct Inode {
    pub meta: Meta,
    pub kind: Kind,
}

impl Inode {
    pub fn dir(mode: u16, mtime: i64) -> Inode {
        Inode { meta: Meta::root(mode, mtime), kind: Kind::Dir }
    }

    pub fn file(content: impl Into<Content>, mode: u16, mtime: i64) -> Inode {
        Inode { meta: Meta::root(mode, mtime), kind: Kind::File(content.into()) }
    }

    pub fn symlink(target: impl Into<String>, mtime: i64) -> Inode {
        Inode { meta: Meta::root(0o777, mtime), kind: Kind::Symlink(target.into()) }
    }

    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir)
    }
}

#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum TreeError {
    #[error("{0:?} is not a clean path relative to the root (empty, absolute, `.`, `..`, `//` or NUL)")]
    BadPath(String),
    #[error("{0}: the parent directory does not exist")]
    NoParent(String),
    #[error("{0}: the parent is not a directory")]
    ParentNotDir(String),
    #[error("{0}: no such file")]
    NotFound(String),
    #[error("{0}: is a directory")]
    IsDir(String),
    #[error("{0}: a directory cannot be replaced by another kind of file")]
    DirInTheWay(String),
    #[error("{0}: too many symbolic links, or a loop of them")]
    Loop(String),
}

/// Paths are relative to the root, `/`-separated, without leading or trailing slash (`usr/bin/env`); the root is `""`.
/// Lookups by path do not follow symbolic links unless said so.
#[derive(Clone, Debug)]
pub struct Tree {
    paths: BTreeMap<String, InodeId>,
    inodes: Vec<Inode>,
}

impl Tree {
    /// An empty root directory, mode 0755.
    pub fn new(mtime: i64) -> Tree {
        Tree { paths: BTreeMap::from([(String::new(), InodeId(0))]), inodes: vec![Inode::dir(0o755, mtime)] }
    }

    pub fn id(&self, path: &str) -> Option<InodeId> {
        self.paths.get(path).copied()
    }

    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.0]
    }

    pub fn get(&self, path: &str) -> Option<&Inode> {
        self.id(path).map(|id| self.inode(id))
    }

    /// A change shows at every hard link of the file.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Inode> {
        let id = self.id(path)?;
        Some(&mut self.inodes[id.0])
    }

    pub fn contains(&self, path: &str) -> bool {
        self.paths.contains_key(path)
    }

    /// Every path with its inode, the root first, in byte order of the path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, InodeId, &Inode)> {
        self.paths.iter().map(|(path, id)| (path.as_str(), *id, &self.inodes[id.0]))
    }

    /// Paths at and below `dir`, in byte order.
    pub fn below<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = (&'a str, InodeId, &'a Inode)> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let own = self.paths.get_key_value(dir).filter(|_| !dir.is_empty());
        let start = prefix.clone();
        let rest = self
            .paths
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .collect::<Vec<_>>();
        own.into_iter().chain(rest).map(|(path, id)| (path.as_str(), *id, &self.inodes[id.0]))
    }

    /// Names and inodes directly in `dir`, in byte order.
    pub fn children<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = (&'a str, InodeId, &'a Inode)> {
        let skip = if dir.is_empty() { 0 } else { dir.len() + 1 };
        self.below(dir)
            .filter(move |(path, ..)| path.len() > skip && !path[skip..].contains('/'))
            .map(move |(path, id, inode)| (&path[skip..], id, inode))
    }

    /// Puts `inode` at `path`. A non-directory there is replaced (other hard links of it stay); a directory over a
    /// directory changes its metadata and keeps its children.
    ///
    /// # Errors
    /// A path that is not clean, a missing or non-directory parent, or a non-directory over a directory.
    pub fn insert(&mut self, path: &str, inode: Inode) -> Result<InodeId, TreeError> {
        self.check_place(path)?;
        if let Some(id) = self.id(path)
            && self.inode(id).is_dir()
        {
            if !inode.is_dir() {
                return Err(TreeError::DirInTheWay(path.to_owned()));
            }
            self.inodes[id.0].meta = inode.meta;
            return Ok(id);
        }
        let id = InodeId(self.inodes.len());
        self.inodes.push(inode);
        self.paths.insert(path.to_owned(), id);
        Ok(id)
    }

    /// Makes `path` another name of the file `target`.
    ///
    /// # Errors
    /// As [`Tree::insert`]; also a missing target, or a directory.
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        self.check_place(path)?;
        let id = self.id(target).ok_or_else(|| TreeError::NotFound(target.to_owned()))?;
        if self.inode(id).is_dir() {
            return Err(TreeError::IsDir(target.to_owned()));
        }
        if self.get(path).is_some_and(Inode::is_dir) {
            return Err(TreeError::DirInTheWay(path.to_owned()));
        }
        self.paths.insert(path.to_owned(), id);
        Ok(())
    }

    /// Makes `path` and its missing parents directories (root-owned, `mode`); existing directories stay as they are.
    ///
    /// # Errors
    /// As [`Tree::insert`], when something else than a directory is in the way.
    pub fn make_dirs(&mut self, path: &str, mode: u16, mtime: i64) -> Result<(), TreeError> {
        if path.is_empty() {
            return Ok(());
        }
        let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]).collect::<Vec<_>>();
        for end in ends {
            let part = &path[..end];
            match self.get(part) {
                Some(inode) if inode.is_dir() => {}
                Some(_) => return Err(TreeError::ParentNotDir(path.to_owned())),
                None => {
                    self.insert(part, Inode::dir(mode, mtime))?;
                }
            }
        }
        Ok(())
    }

    /// Removes `path` and everything below; returns the bytes of content that no other link keeps alive, and whether
    /// anything was there. The root itself cannot be removed, only its children.
    pub fn remove(&mut self, path: &str) -> u64 {
        let gone: Vec<String> = self.below(path).map(|(p, ..)| p.to_owned()).filter(|p| !p.is_empty()).collect();
        let ids: Vec<InodeId> = gone.iter().filter_map(|p| self.paths.remove(p)).collect();
        let mut freed: BTreeMap<InodeId, u64> = BTreeMap::new();
        for id in ids {
            if let Kind::File(content) = &self.inode(id).kind {
                freed.insert(id, content.len());
            }
        }
        if !freed.is_empty() {
            for id in self.paths.values() {
                freed.remove(id);
            }
        }
        freed.values().sum()
    }

    /// The path that `path` names when symbolic links are followed inside this root as the device would, the last
    /// component included; parents must exist, the last component need not.
    ///
    /// # Errors
    /// A loop, a missing parent, or a parent that is not a directory.
    pub fn resolve(&self, path: &str) -> Result<String, TreeError> {
        let mut done: Vec<String> = Vec::new();
        let mut todo: Vec<String> = components(path).rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(name),
            }
            let here = done.join("/");
            match self.get(&here).map(|inode| &inode.kind) {
                Some(Kind::Symlink(target)) => {
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(TreeError::Loop(path.to_owned()));
                    }
                    done.pop();
                    if target.starts_with('/') {
                        done.clear();
                    }
                    todo.extend(components(target).rev().map(str::to_owned));
                }
                Some(Kind::Dir) => {}
                Some(_) if todo.is_empty() => {}
                Some(_) => return Err(TreeError::ParentNotDir(path.to_owned())),
                None if todo.is_empty() => {}
                None => return Err(TreeError::NoParent(path.to_owned())),
            }
        }
        Ok(done.join("/"))
    }

    /// The content of the regular file that `path` names, links followed.
    ///
    /// # Errors
    /// `NotFound` as an [`io::Error`] when there is no regular file; read errors of the source.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let missing = |why: String| io::Error::new(io::ErrorKind::NotFound, why);
        let real = self.resolve(path).map_err(|e| missing(e.to_string()))?;
        match self.get(&real).map(|inode| &inode.kind) {
            Some(Kind::File(content)) => content.to_vec(),
            Some(_) => Err(missing(format!("{path}: not a regular file"))),
            None => Err(missing(format!("{path}: no such file"))),
        }
    }

    /// How many paths name each inode (directories: not counted as the kernel does, just their one path).
    pub fn link_counts(&self) -> BTreeMap<InodeId, u32> {
        let mut counts = BTreeMap::new();
        for id in self.paths.values() {
            *counts.entry(*id).or_insert(0) += 1;
        }
        counts
    }

    fn check_place(&self, path: &str) -> Result<(), TreeError> {
        let bad = |c: &str| c.is_empty() || c == "." || c == ".." || c.contains('\0');
        if path.is_empty() {
            return Ok(()); // the root: metadata only
        }
        if path.split('/').any(bad) {
            return Err(TreeError::BadPath(path.to_owned()));
        }
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        match self.get(parent) {
            Some(inode) if inode.is_dir() => Ok(()),
            Some(_) => Err(TreeError::ParentNotDir(path.to_owned())),
            None => Err(TreeError::NoParent(path.to_owned())),
        }
    }
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut t = Tree::new(0);
        t.make_dirs("usr/bin", 0o755, 0).unwrap();
        t.insert("bin", Inode::symlink("usr/bin", 0)).unwrap();
        t.insert("usr/bin/a", Inode::file("hello", 0o755, 0)).unwrap();
        t.insert("usr/bin-x", Inode::file("x", 0o644, 0)).unwrap();
        t
    }

    #[test]
    fn children_are_direct_and_sorted() {
        let t = tree();
        let names = |d| t.children(d).map(|(n, ..)| n.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(""), ["bin", "usr"]);
        assert_eq!(names("usr"), ["bin", "bin-x"]);
    }

    #[test]
    fn links_resolve_inside_the_root_only() {
        let mut t = tree();
        assert_eq!(t.resolve("bin/a").unwrap(), "usr/bin/a");
        t.insert("up", Inode::symlink("../../../usr/bin/a", 0)).unwrap();
        assert_eq!(t.resolve("up").unwrap(), "usr/bin/a");
        t.insert("loop", Inode::symlink("loop", 0)).unwrap();
        assert_eq!(t.resolve("loop"), Err(TreeError::Loop("loop".into())));
    }

    #[test]
    fn insert_never_writes_through_a_link() {
        let mut t = tree();
        assert_eq!(t.insert("bin/b", Inode::file("b", 0o644, 0)).unwrap_err(), TreeError::ParentNotDir("bin/b".into()));
    }

    #[test]
    fn removing_one_link_keeps_the_other() {
        let mut t = tree();
        t.link("usr/b", "usr/bin/a").unwrap();
        assert_eq!(t.remove("usr/bin"), 0);
        assert_eq!(t.read("usr/b").unwrap(), b"hello");
        assert_eq!(t.remove("usr/b"), 5);
    }

    #[test]
    fn joined_contents_read_as_one() {
        let parts = [Content::from("abc"), Content::from(""), Content::from("defg")];
        let joined = Content::Joined(parts.into());
        assert_eq!(joined.to_vec().unwrap(), b"abcdefg");
        for from in 0..=7 {
            for to in from..=7 {
                let mut buf = vec![0; to - from];
                joined.read_at(&mut buf, from as u64).unwrap();
                assert_eq!(buf, b"abcdefg"[from..to]);
            }
        }
        assert!(joined.read_at(&mut [0; 2], 6).is_err());
    }

    #[test]
    fn paths_that_escape_are_refused() {
        let mut t = tree();
        for bad in ["/etc", "../x", "usr//x", "usr/./x", "usr/../x", "a\0b"] {
            assert!(matches!(t.insert(bad, Inode::dir(0o755, 0)), Err(TreeError::BadPath(_))), "{bad:?}");
        }
    }
}
