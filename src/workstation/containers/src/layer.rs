//! A layer of an image as what overlayfs lays over the layers below: entries that say "this is gone" become its whiteouts
//! (OCI image specification, "Filesystem Layer Changesets"; kernel, filesystems/overlayfs.rst).

use std::collections::{BTreeMap, BTreeSet};

use fruit_debian::Layer;
use fruit_debian::tarball::{Entry, EntryKind};
use fruit_image::tree::{Content, Inode, Kind, Meta, Tree, TreeError};

use crate::error::{Error, Result};

/// What the name of an entry begins with that takes away the file of the rest of its name.
const WHITEOUT: &str = ".wh.";
/// An entry that takes away all that layers below have in its folder.
const OPAQUE: &str = ".wh..wh..opq";
/// Entries of AUFS itself.
const META: &str = ".wh..wh.";

/// Symbolic links followed on the way to one entry, as the kernel (`MAXSYMLINKS`, linux/namei.h).
const MAX_LINKS: usize = 40;

/// How overlayfs marks a folder of which nothing below is seen.
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// The tree of a layer. In the lowest one there is nothing to take away. `epoch` is the time of folders that it does not have itself.
///
/// # Errors
/// Entries that are not where they can be.
pub(crate) fn tree(layer: &Layer, lowest: bool, label: &str, epoch: i64) -> Result<Tree> {
    let mut made = Tree::new(epoch);
    let (mut gone, mut opaque) = (BTreeSet::new(), BTreeSet::new());
    for entry in &layer.entries {
        let wrong = |why: String| Error::image(label, format!("entry {:?}: {why}", entry.path));
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let folder = folder_of(&mut made, folder, epoch).map_err(|error| wrong(error.to_string()))?;
        if name == OPAQUE {
            opaque.insert(folder);
        } else if name.starts_with(META) {
            continue;
        } else if let Some(name) = name.strip_prefix(WHITEOUT) {
            if matches!(name, "" | "." | "..") {
                return Err(wrong("takes nothing away".to_owned()));
            }
            gone.insert(join(&folder, name));
        } else {
            let path = if entry.path.is_empty() { String::new() } else { join(&folder, name) };
            put(&mut made, &path, entry, layer).map_err(|error| wrong(error.to_string()))?;
        }
    }
    if !lowest {
        take_away(&mut made, gone, opaque, epoch).map_err(|error| Error::image(label, error.to_string()))?;
    }
    Ok(made)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folder of an entry, made if it is missing. Links of this very layer are followed, and end at its root.
fn folder_of(tree: &mut Tree, folder: &str, epoch: i64) -> Result<String, TreeError> {
    let parts = |path: &str| path.split('/').rev().map(str::to_owned).collect::<Vec<_>>();
    let (mut real, mut todo, mut links) = (String::new(), parts(folder), 0);
    while let Some(part) = todo.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                real.truncate(real.rfind('/').unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let next = join(&real, &part);
        match tree.get(&next).map(|inode| &inode.kind) {
            Some(Kind::Symlink(target)) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(TreeError::Loop(folder.to_owned()));
                }
                if target.starts_with('/') {
                    real.clear();
                }
                todo.extend(parts(target));
            }
            Some(_) => real = next,
            None => {
                tree.make_dirs(&next, 0o755, epoch)?;
                real = next;
            }
        }
    }
    Ok(real)
}

fn put(tree: &mut Tree, path: &str, entry: &Entry, layer: &Layer) -> Result<(), TreeError> {
    let is_folder = entry.kind == EntryKind::Dir;
    // What comes later counts; only a folder over a folder keeps what is in it.
    if !path.is_empty() && tree.get(path).is_some_and(|there| !(is_folder && there.is_dir())) {
        tree.remove(path);
    }
    let kind = match &entry.kind {
        EntryKind::File => {
            Kind::File(Content::Range { source: layer.source.clone(), offset: entry.offset, len: entry.size })
        }
        EntryKind::Dir => Kind::Dir,
        EntryKind::Symlink(target) => Kind::Symlink(target.clone()),
        EntryKind::HardLink(target) => {
            let (folder, name) = target.rsplit_once('/').unwrap_or(("", target));
            let folder = tree.resolve(folder)?;
            return tree.link(path, &join(&folder, name));
        }
        EntryKind::CharDevice { major, minor } => Kind::CharDevice { major: *major, minor: *minor },
        EntryKind::BlockDevice { major, minor } => Kind::BlockDevice { major: *major, minor: *minor },
        EntryKind::Fifo => Kind::Fifo,
    };
    let meta =
        Meta { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: xattrs(&entry.xattrs) };
    tree.insert(path, Inode { meta, kind }).map(drop)
}

/// Attributes that an image may give its files: capabilities, and those of users but the ones that overlayfs obeys.
fn xattrs(all: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let may =
        |name: &str| name == "security.capability" || (name.starts_with("user.") && !name.starts_with("user.overlay."));
    all.iter().filter(|(name, _)| may(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn take_away(
    tree: &mut Tree,
    gone: BTreeSet<String>,
    mut opaque: BTreeSet<String>,
    epoch: i64,
) -> Result<(), TreeError> {
    for path in gone {
        match tree.get(&path).map(Inode::is_dir) {
            // A folder in the place of the one that is gone.
            Some(true) => drop(opaque.insert(path)),
            Some(false) => {}
            None => {
                let kind = Kind::CharDevice { major: 0, minor: 0 };
                tree.insert(&path, Inode { meta: Meta::root(0, epoch), kind })?;
            }
        }
    }
    for path in opaque {
        // The root of a layer hides nothing: what is below it is below all of it.
        if let Some(inode) = tree.get_mut(&path).filter(|inode| inode.is_dir()) {
            inode.meta.xattrs.insert(OPAQUE_XATTR.to_owned(), b"y".to_vec());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use fruit_debian::{LockedDownload, Store};

    use super::*;

    /// A layer made of `kind path [target]` lines, through the store as a fetched one.
    fn layer(lines: &str, lowest: bool) -> Result<Tree> {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        for line in lines.lines().map(str::trim) {
            let words: Vec<&str> = line.split(' ').collect();
            let mut head = [0u8; 512];
            head[..words[1].len()].copy_from_slice(words[1].as_bytes());
            head[100..107].copy_from_slice(b"0000640");
            head[108..115].copy_from_slice(b"0000007");
            head[116..123].copy_from_slice(b"0000010");
            head[124..135].copy_from_slice(b"00000000001");
            head[136..147].copy_from_slice(b"00000000005");
            head[156] = words[0].as_bytes()[0];
            if head[156] != b'0' {
                head[124..135].copy_from_slice(b"00000000000");
            }
            if let Some(target) = words.get(2) {
                head[157..157 + target.len()].copy_from_slice(target.as_bytes());
            }
            head[257..263].copy_from_slice(b"ustar\0");
            head[148..156].fill(b' ');
            let sum: u32 = head.iter().map(|b| u32::from(*b)).sum();
            head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            bytes.write_all(&head).unwrap();
            if head[156] == b'0' {
                bytes.write_all(&[b'x'; 512]).unwrap();
            }
        }
        bytes.extend([0; 1024]);
        let store = Store::open(dir.path(), true).unwrap();
        let (size, sha256) = store.import(&mut bytes.as_slice(), 1 << 20, "layer").unwrap();
        let file = LockedDownload { name: "layer".into(), url: String::new(), size, sha256, sha512: None };
        tree(&store.open_layer(&file)?, lowest, "layer", 9)
    }

    fn shown(tree: &Tree) -> Vec<String> {
        let one = |(path, _, inode): (&str, _, &Inode)| {
            let opaque = if inode.meta.xattrs.contains_key(OPAQUE_XATTR) { " opaque" } else { "" };
            let kind = match &inode.kind {
                Kind::Dir => "d".to_owned(),
                Kind::File(_) => "f".to_owned(),
                Kind::Symlink(target) => format!("l {target}"),
                Kind::CharDevice { major: 0, minor: 0 } => "gone".to_owned(),
                other => format!("{other:?}"),
            };
            format!("/{path} {kind}{opaque}")
        };
        tree.iter().map(one).collect()
    }

    #[test]
    fn what_is_gone_is_marked_as_overlayfs_wants_it() {
        let lines =
            "0 etc/.wh.old\n5 var/\n0 var/.wh..wh..opq\n0 var/new\n0 .wh..wh.plnk\n5 srv/\n0 .wh.srv\n0 .wh.a\n0 a";
        let marked = layer(lines, false).unwrap();
        let expected = ["/ d", "/a f", "/etc d", "/etc/old gone", "/srv d opaque", "/var d opaque", "/var/new f"];
        assert_eq!(shown(&marked), expected);
        assert_eq!(shown(&layer(lines, true).unwrap()), ["/ d", "/a f", "/etc d", "/srv d", "/var d", "/var/new f"]);
        let inode = marked.get("var/new").unwrap();
        assert_eq!((inode.meta.uid, inode.meta.gid, inode.meta.mode, inode.meta.mtime), (7, 8, 0o640, 5));
    }

    #[test]
    fn nothing_of_a_layer_lands_outside_of_it() {
        let inside = |lines: &str| shown(&layer(lines, false).unwrap());
        assert_eq!(inside("2 up ../../../..\n0 up/x"), ["/ d", "/up l ../../../..", "/x f"]);
        assert_eq!(inside("2 lib usr/lib\n0 lib/x"), ["/ d", "/lib l usr/lib", "/usr d", "/usr/lib d", "/usr/lib/x f"]);
        assert_eq!(inside("2 e /etc\n0 e/passwd"), ["/ d", "/e l /etc", "/etc d", "/etc/passwd f"]);
        assert_eq!(inside("0 a\n1 b a\n2 b /etc/passwd"), ["/ d", "/a f", "/b l /etc/passwd"]);
        for bad in ["0 ../x", "2 l l\n0 l/x", "0 f\n0 f/x", "1 a /etc/shadow", "0 .wh...", "0 .wh..", "0 .wh."] {
            layer(bad, false).map(|made| shown(&made)).expect_err(bad);
        }
    }

    #[test]
    fn a_link_of_two_names_stays_one_file() {
        let made = layer("0 d/a\n1 b d/a", false).unwrap();
        assert_eq!(made.id("d/a"), made.id("b"));
    }
}
