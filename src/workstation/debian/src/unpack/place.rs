//! Where each entry of a package lands: dpkg's rules (dpkg 1.22, src/main/archives.c `tarobject`), inside the tree.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fruit_image::tree::{Content, Inode, Kind, Meta, Tree, TreeError};

use super::Diversions;
use crate::error::{Error, Result};
use crate::package::{Control, OpenPackage};
use crate::relation::{Relation, Relations};
use crate::tarball::{Entry, EntryKind};
use crate::version::Version;

/// Symbolic links followed for one path, as in the kernel (`MAXSYMLINKS`, linux/namei.h).
const MAX_SYMLINKS: usize = 40;

/// Puts packages into a tree, one after the other.
pub struct Unpacker {
    tree: Tree,
    diversions: Diversions,
    mtime: i64,
    packages: Vec<Known>,
    /// Path of everything but folders to the package it is from.
    owners: BTreeMap<String, usize>,
    /// Folders that were made because something is in them; the first package that ships one decides on its mode.
    implied: BTreeSet<String>,
}

struct Known {
    name: String,
    version: Option<Version>,
    replaces: Vec<Relation>,
    paths: BTreeSet<String>,
    bytes: u64,
}

/// What has become of an entry of the package being unpacked: where it is in the tree, unless it was left out because
/// another package replaces it.
struct Placed<'e> {
    at: Option<String>,
    entry: &'e Entry,
}

impl Unpacker {
    /// An empty tree with the links of a merged /usr, which every Debian since bookworm has.
    ///
    /// # Errors
    /// None that outside data could cause.
    pub fn new(architecture: &str, diversions: Diversions, mtime: i64) -> Result<Unpacker> {
        let mut unpacker = Unpacker {
            tree: Tree::new(mtime),
            diversions,
            mtime,
            packages: Vec::new(),
            owners: BTreeMap::new(),
            implied: BTreeSet::new(),
        };
        // The ABI names /lib64 as the place of the dynamic linker on these.
        let lib64 = ["amd64", "ppc64el", "ppc64", "s390x", "loong64"].contains(&architecture);
        for link in ["bin", "lib", "sbin"].into_iter().chain(lib64.then_some("lib64")) {
            let target = format!("usr/{link}");
            let lay = |tree: &mut Tree| {
                tree.make_dirs(&target, 0o755, mtime)?;
                tree.insert(link, Inode::symlink(target.as_str(), mtime))
            };
            lay(&mut unpacker.tree).map_err(|e| Error::deb("merged /usr", e.to_string()))?;
            unpacker.implied.insert(target);
        }
        unpacker.implied.insert("usr".to_owned());
        unpacker.implied.insert(String::new());
        Ok(unpacker)
    }

    /// # Errors
    /// An entry that is hostile, cannot be where it should, or belongs to another package.
    pub fn add(&mut self, package: &OpenPackage) -> Result<()> {
        let number = self.packages.len();
        self.packages.push(Known::of(&package.control));
        let mut placed: HashMap<&str, Placed<'_>> = HashMap::with_capacity(package.entries.len());
        for entry in &package.entries {
            let refuse = |why: String| Error::entry(&package.label, &entry.path, why);
            let wanted = self.diversions.destination(&entry.path, &self.packages[number].name).to_owned();
            let path = self.real_path(&wanted, number).map_err(refuse)?;
            if let EntryKind::HardLink(target) = &entry.kind {
                let first = placed
                    .get_mut(target.as_str())
                    .ok_or_else(|| refuse(format!("is a hard link to {target:?}, which is no earlier file of it")))?;
                if self.tree.get(&path).is_some_and(Inode::is_dir) {
                    return Err(refuse(self.in_the_way("a hard link", &path)));
                }
                if !self.claim(&path, number, None)? {
                    continue;
                }
                match (first.at.clone(), inode_of(first.entry, package)) {
                    (Some(at), _) => self.tree.link(&path, &at).map_err(|e| refuse(e.to_string()))?,
                    // The first name was left out for another package's file; this one takes its place.
                    (None, Some(inode)) => {
                        self.tree.insert(&path, inode).map_err(|e| refuse(e.to_string()))?;
                        self.packages[number].bytes += first.entry.size;
                        first.at = Some(path);
                    }
                    (None, None) => return Err(refuse("is a hard link to a hard link".to_owned())),
                }
                continue;
            }
            let Some(inode) = inode_of(entry, package) else { continue };
            let at = self.place(path, inode, number).map_err(|why| match why {
                Obstacle::Owned(error) => error,
                Obstacle::Refused(why) => refuse(why),
            })?;
            if at.is_some() {
                self.packages[number].bytes += entry.size;
            }
            placed.insert(&entry.path, Placed { at, entry });
        }
        Ok(())
    }

    /// The tree, and by package name what it has there and how many bytes.
    pub fn finish(self) -> (Tree, BTreeMap<String, (Vec<String>, u64)>) {
        let packages = self.packages.into_iter().map(|p| (p.name, (p.paths.into_iter().collect(), p.bytes)));
        (self.tree, packages.collect())
    }

    /// Lays an inode at a resolved path; `None` when it was left out.
    fn place(&mut self, path: String, inode: Inode, number: usize) -> Result<Option<String>, Obstacle> {
        let existing = self.tree.get(&path).map(|inode| inode.kind.clone());
        let keep_dir = |unpacker: &mut Unpacker| {
            unpacker.packages[number].paths.insert(path.clone());
            Ok(Some(path.clone()))
        };
        if inode.is_dir() {
            match existing {
                None => {}
                // dpkg does not touch a folder that is there; the first one to ship it decides.
                Some(Kind::Dir) if !self.implied.remove(&path) => return keep_dir(self),
                Some(Kind::Dir) => {}
                Some(Kind::Symlink(_)) if self.leads_to_dir(&path) => return keep_dir(self),
                Some(_) => return Err(Obstacle::Refused(self.in_the_way("a folder", &path))),
            }
            self.insert(&path, inode)?;
            return keep_dir(self);
        }
        match (&existing, &inode.kind) {
            (None, _) => {}
            // A folder is never replaced; dpkg keeps it where the link leads to one.
            (Some(Kind::Dir), Kind::Symlink(_)) if self.target_is_dir(&path, &inode) => return keep_dir(self),
            (Some(Kind::Dir), _) => return Err(Obstacle::Refused(self.in_the_way("a file", &path))),
            (Some(_), _) => {}
        }
        if !self.claim(&path, number, Some(&inode)).map_err(Obstacle::Owned)? {
            return Ok(None);
        }
        self.insert(&path, inode)?;
        Ok(Some(path))
    }

    fn insert(&mut self, path: &str, inode: Inode) -> Result<(), Obstacle> {
        self.tree.insert(path, inode).map_err(|e| Obstacle::Refused(e.to_string())).map(|_| ())
    }

    /// Makes `number` the owner of `path`; false when another package that replaces this one has it.
    fn claim(&mut self, path: &str, number: usize, inode: Option<&Inode>) -> Result<bool> {
        match self.owners.get(path).copied() {
            None => {
                // Something of ours: a link of the merged /usr may only be replaced by itself.
                let same = match (self.tree.get(path).map(|i| &i.kind), inode.map(|i| &i.kind)) {
                    (None, _) => true,
                    (Some(Kind::Symlink(ours)), Some(Kind::Symlink(theirs))) => {
                        ours.trim_matches('/') == theirs.trim_matches('/')
                    }
                    _ => false,
                };
                if !same {
                    return Err(self.two_owners(path, "the merged /usr", number));
                }
            }
            Some(owner) if owner == number => {
                return Err(Error::entry(
                    &self.packages[number].name,
                    path,
                    "two entries of the package land on this path",
                ));
            }
            Some(owner) => {
                if self.packages[number].replaces(&self.packages[owner]) {
                    let size = match self.tree.get(path).map(|i| &i.kind) {
                        Some(Kind::File(content)) => content.len(),
                        _ => 0,
                    };
                    let loser = &mut self.packages[owner];
                    loser.paths.remove(path);
                    loser.bytes = loser.bytes.saturating_sub(size);
                } else if self.packages[owner].replaces(&self.packages[number]) {
                    return Ok(false);
                } else {
                    let first = self.packages[owner].name.clone();
                    return Err(self.two_owners(path, &first, number));
                }
            }
        }
        self.owners.insert(path.to_owned(), number);
        self.packages[number].paths.insert(path.to_owned());
        Ok(true)
    }

    fn two_owners(&self, path: &str, first: &str, second: usize) -> Error {
        let second = self.packages[second].name.clone();
        Error::TwoOwners { path: path.to_owned(), first: first.to_owned(), second }
    }

    fn in_the_way(&self, what: &str, path: &str) -> String {
        let owner = self.owners.get(path).map(|number| format!(" of {}", self.packages[*number].name));
        let kind = match self.tree.get(path).map(|i| &i.kind) {
            Some(Kind::Dir) => "a folder",
            Some(Kind::Symlink(_)) => "a symbolic link",
            _ => "a file",
        };
        format!("is {what}, but {kind}{} is there already", owner.unwrap_or_default())
    }

    fn leads_to_dir(&self, path: &str) -> bool {
        self.tree.resolve(path).is_ok_and(|real| self.tree.get(&real).is_some_and(Inode::is_dir))
    }

    fn target_is_dir(&self, path: &str, link: &Inode) -> bool {
        let Kind::Symlink(target) = &link.kind else { return false };
        let full = match target.strip_prefix('/') {
            Some(absolute) => absolute.to_owned(),
            None => format!("{}/{target}", path.rsplit_once('/').map_or("", |(parent, _)| parent)),
        };
        self.leads_to_dir(&full)
    }

    /// The path with the symbolic links of its parents followed inside the tree; missing parents are made.
    fn real_path(&mut self, path: &str, number: usize) -> Result<String, String> {
        let Some((parent, name)) = path.rsplit_once('/') else { return Ok(path.to_owned()) };
        let mut done: Vec<String> = Vec::new();
        let mut todo: Vec<String> = parent.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(next) = todo.pop() {
            match next.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop().ok_or("its path leads out of the root through a symbolic link")?;
                    continue;
                }
                _ => done.push(next),
            }
            let here = done.join("/");
            match self.tree.get(&here).map(|inode| &inode.kind) {
                Some(Kind::Dir) => {}
                Some(Kind::Symlink(target)) => {
                    if self.owners.get(&here) == Some(&number) && self.implicit_link(&here, target).is_none() {
                        return Err(format!("would be written through the symbolic link {here:?} of the same package"));
                    }
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(format!("too many symbolic links, or a loop of them, at {here:?}"));
                    }
                    done.pop();
                    if target.starts_with('/') {
                        done.clear();
                    }
                    todo.extend(target.split('/').rev().map(str::to_owned));
                }
                Some(_) => return Err(format!("its parent {here:?} is a file")),
                None => {
                    let dir = Inode::dir(0o755, self.mtime);
                    self.tree.insert(&here, dir).map_err(|e: TreeError| e.to_string())?;
                    self.implied.insert(here);
                }
            }
        }
        done.push(name.to_owned());
        Ok(done.join("/"))
    }

    /// base-files ships the links of the merged /usr, and files below them are everyone's.
    fn implicit_link(&self, path: &str, target: &str) -> Option<()> {
        (target.strip_prefix("usr/")? == path).then_some(())
    }
}

enum Obstacle {
    Owned(Error),
    Refused(String),
}

impl Known {
    fn of(control: &Control) -> Known {
        let replaces = Relations::parse(control.paragraph.get("Replaces").unwrap_or("")).unwrap_or_default();
        Known {
            name: control.name().to_owned(),
            version: control.version().parse().ok(),
            replaces: replaces.0.into_iter().flat_map(|clause| clause.0).collect(),
            paths: BTreeSet::new(),
            bytes: 0,
        }
    }

    fn replaces(&self, other: &Known) -> bool {
        self.replaces.iter().any(|relation| {
            relation.name == other.name && other.version.as_ref().is_some_and(|version| relation.accepts(version))
        })
    }
}

/// `None` for a hard link.
fn inode_of(entry: &Entry, package: &OpenPackage) -> Option<Inode> {
    let kind = match &entry.kind {
        EntryKind::File if entry.size == 0 => Kind::File(Content::from(Vec::new())),
        EntryKind::File => Kind::File(Content::Range {
            source: package.source.clone(),
            // Both are positions in one file, whose length was checked.
            offset: package.data_start.saturating_add(entry.offset),
            len: entry.size,
        }),
        EntryKind::Dir => Kind::Dir,
        EntryKind::Symlink(target) => Kind::Symlink(target.clone()),
        EntryKind::CharDevice { major, minor } => Kind::CharDevice { major: *major, minor: *minor },
        EntryKind::BlockDevice { major, minor } => Kind::BlockDevice { major: *major, minor: *minor },
        EntryKind::Fifo => Kind::Fifo,
        EntryKind::HardLink(_) => return None,
    };
    // Links have no mode of their own.
    let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { entry.mode };
    let meta = Meta { mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: entry.xattrs.clone() };
    Some(Inode { meta, kind })
}
