//! What the kernel says about a mounted image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use fruit_image::tree::{Content, InodeId, Kind, Tree};

/// Every node of `tree` and nothing else is below `root`, with all that `stat`, `readlink`, `read` and `getxattr` tell.
pub fn assert_same(tree: &Tree, root: &Path) {
    let links = tree.link_counts();
    let mut inos: BTreeMap<InodeId, u64> = BTreeMap::new();
    for (path, id, inode) in tree.iter() {
        let real = root.join(path);
        let stat = fs::symlink_metadata(&real).unwrap_or_else(|e| panic!("{path}: {e}"));
        let meta = &inode.meta;
        assert_eq!(stat.mode() & 0o7777, u32::from(meta.mode), "{path}: mode");
        assert_eq!((stat.uid(), stat.gid()), (meta.uid, meta.gid), "{path}: owner");
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (meta.mtime, 0), "{path}: mtime");
        assert_eq!(*inos.entry(id).or_insert(stat.ino()), stat.ino(), "{path}: inode of a hard link");
        let device = |major: u32, minor: u32| rustix::fs::makedev(major, minor);
        let kind = stat.file_type();
        match &inode.kind {
            Kind::Dir => {
                assert!(kind.is_dir(), "{path}: type");
                let subdirs = tree.children(path).filter(|(_, _, child)| child.is_dir()).count() as u64;
                assert_eq!(stat.nlink(), 2 + subdirs, "{path}: links");
                let ours: BTreeSet<String> = tree.children(path).map(|(name, ..)| name.to_owned()).collect();
                let entries = fs::read_dir(&real).unwrap();
                let theirs: BTreeSet<String> =
                    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
                assert_eq!(ours, theirs, "{path}: names");
            }
            Kind::File(content) => {
                assert!(kind.is_file(), "{path}: type");
                assert_eq!(stat.len(), content.len(), "{path}: size");
                assert_same_content(path, content, &real);
            }
            Kind::Symlink(target) => {
                assert_eq!(fs::read_link(&real).unwrap(), PathBuf::from(target), "{path}: target");
                assert_eq!(stat.len(), target.len() as u64, "{path}: size");
            }
            Kind::CharDevice { major, minor } => {
                assert!(kind.is_char_device(), "{path}: type");
                assert_eq!(stat.rdev(), device(*major, *minor), "{path}: device");
            }
            Kind::BlockDevice { major, minor } => {
                assert!(kind.is_block_device(), "{path}: type");
                assert_eq!(stat.rdev(), device(*major, *minor), "{path}: device");
            }
            Kind::Fifo => assert!(kind.is_fifo(), "{path}: type"),
            Kind::Socket => assert!(kind.is_socket(), "{path}: type"),
        }
        if !inode.is_dir() {
            assert_eq!(stat.nlink(), u64::from(links[&id]), "{path}: links");
        }
        let theirs = xattrs(&real);
        assert!(theirs == meta.xattrs, "{path}: xattrs: {:?} {:?}", theirs.keys(), meta.xattrs.keys());
    }
}

fn assert_same_content(path: &str, content: &Content, real: &Path) {
    let mut file = File::open(real).unwrap();
    let piece = content.len().min(1 << 20) as usize;
    let (mut ours, mut theirs) = (vec![0; piece], vec![0; piece]);
    let mut at = 0;
    while at < content.len() {
        let n = (content.len() - at).min(1 << 20) as usize;
        content.read_at(&mut ours[..n], at).unwrap();
        file.read_exact(&mut theirs[..n]).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(ours[..n] == theirs[..n], "{path}: content from byte {at}");
        at += n as u64;
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..len].split(|b| *b == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let mut value = vec![0; 1 << 16];
            let len = rustix::fs::lgetxattr(path, &*name, &mut value[..]).unwrap();
            value.truncate(len);
            (name, value)
        })
        .collect()
}
