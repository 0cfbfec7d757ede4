//! What scripts changed: the root before against the root after.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use fruit_debian::tarball::{Entry, EntryKind, Tarball};
use fruit_image::tree::{Content, Inode, Kind, Meta, Tree};

use crate::error::Error;
use crate::rules::Rules;

/// Largest file that a script may leave, in bytes.
const MAX_FILE: u64 = 512 << 20;

/// Bytes of all such files: they are held in memory while they are looked at.
const MAX_ALL: u64 = 2 << 30;

/// Extended attributes that mean something on a node; others are the workstation's or the sandbox's.
const XATTRS: [&str; 2] = ["security.capability", "system.posix_acl_"];

/// A change of one path.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Something new, or something else than before.
    Put(Inode),
    /// Another name of a file.
    Link(String),
    /// Only owner, mode or attributes are others.
    Meta(Meta),
    Gone,
}

/// Changes by path, and what was not looked at.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub all: BTreeMap<String, Change>,
    /// How many paths each rule left out.
    pub left_out: BTreeMap<&'static str, u64>,
}

/// Compares `before` with the archive `after`, but for what `rules` leave out.
///
/// # Errors
/// An archive that cannot be read, or scripts that left more than an image can hold.
pub(crate) fn between(before: &Tree, after: impl Read, rules: &Rules) -> Result<Changes, Error> {
    let wrong = |why: String| Error::Other(format!("what the scripts left cannot be read: {why}"));
    let mut tar = Tarball::new(after).tolerant();
    let mut changes = Changes::default();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut room = MAX_ALL;
    while let Some(entry) = tar.next_entry().map_err(|e| wrong(e.to_string()))? {
        let path = entry.path.clone();
        if path.is_empty() {
            continue;
        }
        seen.insert(path.clone());
        if let Some(rule) = rules.leave_out(&path, entry.kind == EntryKind::Dir) {
            // What was there before is no change.
            if !before.contains(&path) {
                *changes.left_out.entry(rule).or_default() += 1;
            }
            continue;
        }
        let limit = MAX_FILE.min(room);
        let bytes = match entry.kind {
            EntryKind::File if entry.size > limit => {
                return Err(Error::Other(format!("scripts left /{path} of {} bytes, which is too much", entry.size)));
            }
            EntryKind::File => tar.contents(&entry, limit).map_err(|e| wrong(e.to_string()))?,
            _ => Vec::new(),
        };
        let length = bytes.len() as u64;
        if let Some(change) = change(before, &path, entry, bytes, &changes.all)? {
            if matches!(change, Change::Put(_)) {
                room = room.saturating_sub(length);
            }
            changes.all.insert(path, change);
        }
    }
    let gone = before.iter().filter(|(path, ..)| !path.is_empty() && !seen.contains(*path));
    for (path, _, inode) in gone {
        let device = matches!(inode.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Socket);
        // Only the highest of what is gone.
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let parent_gone = !parent.is_empty() && !seen.contains(parent);
        if !device && !parent_gone && rules.leave_out(path, inode.is_dir()).is_none() {
            changes.all.insert(path.to_owned(), Change::Gone);
        }
    }
    Ok(changes)
}

fn change(
    before: &Tree,
    path: &str,
    entry: Entry,
    bytes: Vec<u8>,
    earlier: &BTreeMap<String, Change>,
) -> Result<Option<Change>, Error> {
    let xattrs = entry.xattrs.into_iter().filter(|(name, _)| XATTRS.iter().any(|start| name.starts_with(start)));
    let meta = Meta { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: xattrs.collect() };
    let old = before.get(path);
    let only_meta = |old: &Inode, meta: Meta| {
        let same = (old.meta.mode, old.meta.uid, old.meta.gid, &old.meta.xattrs)
            == (meta.mode, meta.uid, meta.gid, &meta.xattrs);
        (!same).then_some(Change::Meta(meta))
    };
    let put = |kind: Kind, meta: Meta| Some(Change::Put(Inode { meta, kind }));
    Ok(match (entry.kind, old) {
        (EntryKind::HardLink(target), old) => {
            let was_one = old.is_some() && before.id(path) == before.id(&target);
            let content_changed = matches!(earlier.get(&target), Some(Change::Put(_)));
            if was_one && !content_changed { None } else { Some(Change::Link(target)) }
        }
        (EntryKind::Dir, Some(old)) if old.is_dir() => only_meta(old, meta),
        (EntryKind::Dir, _) => put(Kind::Dir, meta),
        (EntryKind::File, Some(old)) if is_file_of(old, &bytes)? => only_meta(old, meta),
        (EntryKind::File, _) => put(Kind::File(Content::from(bytes)), meta),
        (EntryKind::Symlink(target), Some(Inode { kind: Kind::Symlink(old), .. })) if *old == target => None,
        (EntryKind::Symlink(target), _) => put(Kind::Symlink(target), Meta { mode: 0o777, ..meta }),
        (EntryKind::Fifo, Some(Inode { kind: Kind::Fifo, .. })) => None,
        (EntryKind::Fifo, _) => put(Kind::Fifo, meta),
        (EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. }, _) => None,
    })
}

fn is_file_of(old: &Inode, bytes: &[u8]) -> Result<bool, Error> {
    let Kind::File(content) = &old.kind else { return Ok(false) };
    if content.len() != bytes.len() as u64 {
        return Ok(false);
    }
    let mut buf = vec![0; (64 << 10).min(bytes.len())];
    let mut at = 0;
    for part in bytes.chunks(64 << 10) {
        let buf = &mut buf[..part.len()];
        content.read_at(buf, at).map_err(|e| Error::Other(e.to_string()))?;
        if buf != part {
            return Ok(false);
        }
        at += part.len() as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new(5);
        for (path, text) in files {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            tree.make_dirs(parent, 0o755, 5).unwrap();
            tree.insert(path, Inode::file(*text, 0o644, 5)).unwrap();
        }
        tree
    }

    fn changes(before: &Tree, after: &Tree) -> Changes {
        let mut tar = Vec::new();
        archive::write(after, &mut tar).unwrap();
        between(before, &tar[..], &Rules::new()).unwrap()
    }

    #[test]
    fn only_what_is_another_than_before_is_a_change() {
        let long = "x".repeat(200);
        let deep = format!("usr/{long}/{long}/file");
        let before = tree(&[("etc/a", "1"), ("etc/b", "2"), ("etc/c", "3"), ("etc/d/e", "4"), (&deep, "5")]);
        let mut after = before.clone();
        assert!(changes(&before, &after).all.is_empty());
        after.insert("etc/b", Inode::file("two", 0o644, 9)).unwrap();
        after.get_mut("etc/c").unwrap().meta.gid = 7;
        after.get_mut("etc/c").unwrap().meta.xattrs = [("security.capability".to_owned(), vec![1, 0, 2])].into();
        after.remove("etc/d");
        after.insert("etc/l", Inode::symlink("b", 9)).unwrap();
        after.link("etc/m", "etc/a").unwrap();
        after.insert("var", Inode::dir(0o700, 9)).unwrap();
        after.get_mut(&deep).unwrap().meta.mtime = 99;
        let found = changes(&before, &after).all;
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["etc/b", "etc/c", "etc/d", "etc/l", "etc/m", "var"]);
        assert!(
            matches!(&found["etc/b"], Change::Put(Inode { kind: Kind::File(c), .. }) if c.to_vec().unwrap() == b"two")
        );
        assert!(matches!(&found["etc/c"], Change::Meta(meta) if meta.gid == 7 && meta.xattrs.len() == 1));
        assert!(matches!(&found["etc/d"], Change::Gone));
        assert!(matches!(&found["etc/m"], Change::Link(target) if target == "etc/a"));
    }
}
