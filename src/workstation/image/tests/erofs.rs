//! EROFS: what we write is what `fsck.erofs` and the kernel read, and what `mkfs.erofs` writes is what we read.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::checker;
use crate::kernel::assert_same;
use crate::mounted::Mount;
use crate::trees::{CAPABILITY, TIME, acl, assert_same_trees, noise, sample, with_xattrs};
use fruit_image::erofs::{BLOCK, Options, Plan, Reader, WriteError};
use fruit_image::storage::Region;
use fruit_image::tree::{Content, Inode, Kind, Meta, Source, Tree};

fn options() -> Options {
    Options { uuid: *b"fruit-image test", volume_name: "root".to_owned(), build_time: TIME }
}

fn image_of(tree: &Tree) -> Vec<u8> {
    let plan = Plan::new(tree, options()).unwrap();
    let mut image = Vec::new();
    plan.write(&mut image).unwrap();
    assert_eq!(image.len() as u64, plan.image_len());
    image
}

/// `fsck.erofs` has no complaint, and the kernel sees the tree.
fn assert_accepted(tree: &Tree) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.erofs");
    let plan = Plan::new(tree, options()).unwrap();
    plan.write(&mut fs::File::create(&path).unwrap()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), plan.image_len());
    fsck(&path);
    assert_same(tree, Mount::new(&path).path());
    let source = Source::open(&path).unwrap();
    let reader = Reader::open(Region::whole(source).unwrap(), plan.image_len()).unwrap();
    assert_same_trees(&reader.to_tree().unwrap(), tree);
}

fn fsck(image: &Path) {
    let args = ["-d3".as_ref(), "--extract".as_ref(), image.as_os_str()];
    let text = checker::passes("erofs-utils", "fsck.erofs", args);
    let complaint = |line: &str| !line.starts_with("<I>") || line.contains("rror") && !line.contains("No errors");
    assert!(text.contains("No errors found") && !text.lines().any(complaint), "{text}");
}

#[test]
fn contents_of_every_size_around_a_block_are_kept() {
    let mut tree = Tree::new(TIME);
    for mtime in [TIME, TIME + 1] {
        for size in [0, 1, 31, 32, 4031, 4032, 4033, 4063, 4064, 4065, 4095, 4096, 4097, 8159, 8160, 8161, 3_000_017] {
            let inode = Inode::file(noise(size, size as u64), 0o644, mtime);
            tree.insert(&format!("{size}-{}", mtime - TIME), inode).unwrap();
        }
    }
    assert_accepted(&tree);
}

#[test]
fn kinds_owners_times_and_modes_are_kept() {
    let mut tree = Tree::new(TIME);
    let meta = |mode, uid, gid, mtime| Meta { mode, uid, gid, mtime, xattrs: Default::default() };
    let mut put = |path: &str, meta: Meta, kind| tree.insert(path, Inode { meta, kind }).unwrap();
    put("dev", meta(0o1777, 0, 0, TIME), Kind::Dir);
    put("dev/console", meta(0o600, 0, 5, TIME), Kind::CharDevice { major: 5, minor: 1 });
    put("dev/last", meta(0o660, 0, 6, TIME), Kind::BlockDevice { major: 4095, minor: 1_048_575 });
    put("dev/nvme", meta(0o660, 0, 6, 7), Kind::BlockDevice { major: 259, minor: 256 });
    put("dev/fifo", meta(0o000, 1, 2, TIME), Kind::Fifo);
    put("dev/socket", meta(0o777, 1, 2, TIME), Kind::Socket);
    put("old", meta(0o4755, 65535, 65535, -1), Kind::File("a".into()));
    put("new", meta(0o2755, 65536, 4_294_967_294, 1 << 33), Kind::File("b".into()));
    put("locked", meta(0, 0, 65536, 0), Kind::Dir);
    for len in [1, 59, 4000, 4063, 4064, 4065, 4095] {
        put(&format!("link{len}"), meta(0o777, 0, 0, TIME), Kind::Symlink("x".repeat(len)));
        put(&format!("link{len}x"), meta(0o777, 0, 0, 1), Kind::Symlink("x".repeat(len)));
    }
    tree.link("new2", "new").unwrap();
    tree.link("dev/fifo2", "dev/fifo").unwrap();
    tree.link("dev/link", "link59").unwrap();
    assert_accepted(&tree);
}

#[test]
fn xattrs_of_every_kind_and_size_are_kept() {
    let mut tree = Tree::new(TIME);
    let file = || Inode::file("x", 0o755, TIME);
    tree.insert("ping", with_xattrs(file(), [("security.capability", CAPABILITY.to_vec())])).unwrap();
    let acls = [("system.posix_acl_access", acl()), ("system.posix_acl_default", acl())];
    tree.insert("acl", with_xattrs(Inode::dir(0o750, TIME), acls)).unwrap();
    let longest = format!("user.{}", "n".repeat(250));
    let many: Vec<String> = (0..200).map(|i| format!("trusted.{i}")).collect();
    tree.insert("empty", with_xattrs(file(), [("user.empty", vec![])])).unwrap();
    tree.insert("longest", with_xattrs(file(), [(&*longest, noise(65535, 1))])).unwrap();
    tree.insert("many", with_xattrs(file(), many.iter().map(|n| (&**n, noise(n.len() * 7, 3))))).unwrap();
    for len in [3900, 4000, 4010, 4011, 4012, 4040, 4090, 8180, 9000] {
        let value = || [("security.x", noise(len, len as u64))];
        tree.insert(&format!("value{len}"), with_xattrs(file(), value())).unwrap();
        tree.insert(&format!("link{len}"), with_xattrs(Inode::symlink("target", TIME), value())).unwrap();
        tree.insert(&format!("dir{len}"), with_xattrs(Inode::dir(0o755, 5), value())).unwrap();
    }
    // Labels that many files share, more of them than one block and than one file may refer to.
    let labels: Vec<String> = (0..300).map(|i| format!("user.label{i:03}")).collect();
    for i in 0..20 {
        let own = labels.iter().skip(i).map(|name| (&**name, noise(30, name.len() as u64)));
        tree.insert(&format!("labelled{i}"), with_xattrs(file(), own)).unwrap();
    }
    tree.get_mut("").unwrap().meta.xattrs.insert("trusted.root".to_owned(), noise(3500, 9));
    assert_accepted(&tree);
}

#[test]
fn names_of_255_bytes_and_in_any_byte_order_are_kept() {
    let mut tree = Tree::new(TIME);
    let mut path = String::new();
    for letter in ["a", "é", "漢", "\u{10FFFF}"] {
        let name = letter.repeat(255 / letter.len()) + &"z".repeat(255 % letter.len());
        assert_eq!(name.len(), 255);
        path = if path.is_empty() { name } else { format!("{path}/{name}") };
        tree.insert(&path, Inode::dir(0o755, TIME)).unwrap();
        for odd in ["!", "-", "-.", "..a", ".a", "...", "~", "\u{7f}", "\n", " ", "a\\b", "\u{1}"] {
            tree.insert(&format!("{path}/{odd}"), Inode::file(odd, 0o644, TIME)).unwrap();
        }
    }
    assert_accepted(&tree);
}

#[test]
fn a_directory_of_100000_names_is_kept() {
    let mut tree = Tree::new(TIME);
    tree.insert("big", Inode::dir(0o755, TIME)).unwrap();
    for i in 0..100_000 {
        tree.insert(&format!("big/entry-{i}"), Inode::file("", 0o644, TIME)).unwrap();
    }
    assert_accepted(&tree);
}

#[test]
fn hard_links_beyond_65535_are_kept() {
    let mut tree = Tree::new(TIME);
    tree.insert("f", Inode::file("shared", 0o644, TIME)).unwrap();
    for i in 0..66_000 {
        tree.link(&format!("{i}"), "f").unwrap();
    }
    assert_accepted(&tree);
}

#[test]
fn subdirectories_beyond_65535_are_counted() {
    let mut tree = Tree::new(TIME);
    for i in 0..66_000 {
        tree.insert(&format!("{i}"), Inode::dir(0o755, TIME)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.erofs");
    fs::write(&path, image_of(&tree)).unwrap();
    fsck(&path);
    assert_eq!(fs::metadata(Mount::new(&path).path()).unwrap().nlink(), 66_002);
}

/// Leaves holes where pieces are zero.
struct Sparse(File);

impl Write for Sparse {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
        if buf == &ZEROS[..buf.len()] {
            self.0.seek(SeekFrom::Current(buf.len() as i64))?;
        } else {
            self.0.write_all(buf)?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_beyond_4_gib_is_kept() {
    const LEN: u64 = (4 << 30) + 5000;
    let dir = tempfile::tempdir().unwrap();
    let (big, image) = (dir.path().join("big"), dir.path().join("image"));
    let file = File::create(&big).unwrap();
    file.write_all_at(b"first", 0).unwrap();
    file.write_all_at(b"last", LEN - 4).unwrap();
    let mut tree = Tree::new(TIME);
    let content = Content::Range { source: Source::open(&big).unwrap(), offset: 0, len: LEN };
    tree.insert("big", Inode { meta: Meta::root(0o644, TIME), kind: Kind::File(content) }).unwrap();
    tree.insert("small", Inode::file("behind it", 0o644, TIME)).unwrap();
    let plan = Plan::new(&tree, options()).unwrap();
    let mut out = Sparse(File::create(&image).unwrap());
    plan.write(&mut out).unwrap();
    out.0.set_len(plan.image_len()).unwrap();
    checker::passes("erofs-utils", "fsck.erofs", [&image]);
    let mount = Mount::new(&image);
    let big = File::open(mount.path().join("big")).unwrap();
    assert_eq!(big.metadata().unwrap().size(), LEN);
    let (mut first, mut last) = ([0; 5], [0; 4]);
    big.read_exact_at(&mut first, 0).unwrap();
    big.read_exact_at(&mut last, LEN - 4).unwrap();
    assert_eq!((&first, &last), (b"first", b"last"));
    assert_eq!(fs::read(mount.path().join("small")).unwrap(), b"behind it");
}

#[test]
fn the_same_tree_gives_the_same_bytes_however_it_was_made() {
    let tree = sample();
    let mut other = Tree::new(0);
    let mut paths: Vec<_> = tree.iter().collect();
    paths.sort_by_key(|(path, ..)| (path.matches('/').count(), std::cmp::Reverse(*path)));
    for (path, _, inode) in paths {
        if path == "bin/5000" {
            other.insert("acl/hard", inode.clone()).unwrap();
            other.link(path, "acl/hard").unwrap();
        } else if path == "acl/hard" {
            continue;
        } else if path.is_empty() {
            other.get_mut("").unwrap().meta = inode.meta.clone();
        } else {
            other.insert(path, inode.clone()).unwrap();
        }
    }
    assert!(image_of(&tree) == image_of(&other));
}

#[test]
fn extents_say_where_contents_are() {
    let tree = sample();
    let image = image_of(&tree);
    let plan = Plan::new(&tree, options()).unwrap();
    let mut seen = 0;
    for file in plan.files() {
        let parts = file.extents.iter().map(|e| &image[e.offset as usize..(e.offset + e.len) as usize]);
        assert!(parts.collect::<Vec<_>>().concat() == tree.read(file.path).unwrap(), "{}", file.path);
        assert!(file.extents.iter().all(|e| e.len > 0));
        let whole = file.extents.iter().filter(|e| e.offset >= plan.metadata().len);
        assert!(whole.clone().all(|e| e.offset.is_multiple_of(BLOCK)), "{}", file.path);
        seen += 1;
    }
    let files = tree.iter().filter(|(.., inode)| matches!(inode.kind, Kind::File(_))).count();
    assert_eq!(seen, files - 1, "the hard link counts once");
}

/// What deltas and the card's flash want of a layout.
#[test]
fn a_changed_file_leaves_the_others_where_they_are() {
    let tree = sample();
    let mut changed = tree.clone();
    let inode = changed.get_mut("bin/70000").unwrap();
    inode.kind = Kind::File(noise(70_000, 99).into());
    let (before, after) = (image_of(&tree), image_of(&changed));
    let plan = Plan::new(&tree, options()).unwrap();
    let file = plan.files().find(|file| file.path == "bin/70000").unwrap();
    assert_eq!(before.len(), after.len());
    let own = |i: u64| file.extents.iter().any(|e| (e.offset..e.offset + e.len).contains(&i));
    let checksum = |i: u64| (1028..1032).contains(&i);
    for (i, (a, b)) in before.iter().zip(&after).enumerate() {
        assert!(a == b || own(i as u64) || checksum(i as u64), "byte {i}");
    }
}

#[test]
fn the_blocks_of_inodes_are_full() {
    let mut tree = Tree::new(TIME);
    let sizes = noise(4000, 5);
    for (i, pair) in sizes.chunks(2).enumerate() {
        let size = usize::from(pair[0]) << 8 | usize::from(pair[1]);
        tree.insert(&format!("{i}"), Inode::file(vec![1; size], 0o644, TIME)).unwrap();
    }
    let plan = Plan::new(&tree, options()).unwrap();
    let content: u64 = plan.files().flat_map(|file| file.extents).map(|extent| extent.len).sum();
    let lost = plan.image_len() - content;
    assert!(lost * 100 < plan.image_len(), "{lost} of {} bytes are not content", plan.image_len());
}

#[test]
fn what_erofs_cannot_hold_is_refused_with_its_path() {
    let refused = |path: &str, inode: Inode| {
        let mut tree = Tree::new(TIME);
        tree.insert(path, inode).unwrap();
        match Plan::new(&tree, options()) {
            Ok(_) => panic!("{path} was taken"),
            Err(e) => e.to_string(),
        }
    };
    let file = || Inode::file("x", 0o644, TIME);
    assert!(refused(&"n".repeat(256), file()).contains("the name has 256 bytes"));
    assert!(refused("link", Inode::symlink("x".repeat(4096), TIME)).starts_with("link: the target"));
    assert!(refused("link", Inode::symlink("", TIME)).starts_with("link: the target"));
    let device = Inode { kind: Kind::CharDevice { major: 4096, minor: 0 }, ..file() };
    assert!(refused("dev", device).starts_with("dev: device number 4096:0"));
    for name in ["system.other", "user.", "user", "", "system.posix_acl_accessx"] {
        assert!(refused("x", with_xattrs(file(), [(name, vec![])])).starts_with("x: extended attribute"), "{name}");
    }
    let big = with_xattrs(file(), [("user.x", vec![0; 65536])]);
    assert!(refused("x", big).contains("the value of user.x has 65536 bytes"));
    let names = ["user.1", "user.2", "user.3", "user.4", "user.5"];
    let all = with_xattrs(file(), names.map(|name| (name, vec![0; 60000])));
    assert!(refused("x", all).contains("at most 262148 fit"));
    let name = Options { volume_name: "n".repeat(16), ..options() };
    assert!(matches!(Plan::new(&Tree::new(0), name), Err(WriteError::VolumeName(_))));
}

#[test]
fn contents_that_are_not_there_are_errors_with_the_path() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("short"), "short").unwrap();
    let source = Source::open(&dir.path().join("short")).unwrap();
    let tree_of = |len| {
        let mut tree = Tree::new(TIME);
        let kind = Kind::File(Content::Range { source: source.clone(), offset: 0, len });
        tree.insert("file", Inode { meta: Meta::root(0o644, TIME), kind }).unwrap();
        tree
    };
    let tree = tree_of(6);
    let plan = Plan::new(&tree, options()).unwrap();
    let error = plan.write(&mut Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("file: cannot read the content"), "{error}");
    assert!(matches!(Plan::new(&tree_of(1 << 45), options()), Err(WriteError::TooBig { .. })));
    assert!(matches!(Plan::new(&tree_of(u64::MAX), options()), Err(WriteError::TooBig { .. })));
}
