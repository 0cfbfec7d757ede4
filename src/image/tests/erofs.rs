//! EROFS: what we write is what `fsck.erofs` and the kernel read, and what `mkfs.erofs` writes is what we read.

mod checker;
mod mounted;

use std::fs;
use std::path::Path;

use fruit_image::erofs::{Options, Plan, Reader};
use fruit_image::storage::Region;
use fruit_image::tree::{Content, Inode, Kind, Meta, Source, Tree};
use mounted::{Mount, assert_same};

const TIME: i64 = 1_700_000_000;

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
    assert!(text.trim() == "<I> erofs: No errors found", "{text}");
}

fn assert_same_trees(a: &Tree, b: &Tree) {
    let paths = |t: &Tree| t.iter().map(|(path, ..)| path.to_owned()).collect::<Vec<_>>();
    assert_eq!(paths(a), paths(b));
    let (a_links, b_links) = (a.link_counts(), b.link_counts());
    for ((path, a_id, ours), (_, b_id, theirs)) in a.iter().zip(b.iter()) {
        assert_eq!(ours.meta, theirs.meta, "{path}");
        match (&ours.kind, &theirs.kind) {
            (Kind::File(ours), Kind::File(theirs)) => assert_same_contents(path, ours, theirs),
            (ours, theirs) => assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "{path}"),
        }
        assert_eq!(a_links[&a_id], b_links[&b_id], "{path}: links");
    }
}

fn assert_same_contents(path: &str, ours: &Content, theirs: &Content) {
    assert_eq!(ours.len(), theirs.len(), "{path}: size");
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while at < ours.len() {
        let n = (ours.len() - at).min(1 << 20) as usize;
        ours.read_at(&mut a[..n], at).unwrap();
        theirs.read_at(&mut b[..n], at).unwrap();
        assert!(a[..n] == b[..n], "{path}: content from byte {at}");
        at += n as u64;
    }
}

/// Bytes that differ from place to place.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn with_xattrs<'a>(mut inode: Inode, xattrs: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Inode {
    inode.meta.xattrs.extend(xattrs.into_iter().map(|(name, value)| (name.to_owned(), value)));
    inode
}

/// `linux/posix_acl_xattr.h`: version 2; owner, user 1000, group, mask, others.
fn acl() -> Vec<u8> {
    let entry =
        |tag: u16, perm: u16, id: u32| [tag.to_le_bytes().as_slice(), &perm.to_le_bytes(), &id.to_le_bytes()].concat();
    let entries = [(1, 7, u32::MAX), (2, 5, 1000), (4, 5, u32::MAX), (0x10, 5, u32::MAX), (0x20, 0, u32::MAX)];
    let mut acl = 2u32.to_le_bytes().to_vec();
    acl.extend(entries.iter().flat_map(|(tag, perm, id)| entry(*tag, *perm, *id)));
    acl
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
    let capability = || ("security.capability", vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    tree.insert("ping", with_xattrs(file(), [capability()])).unwrap();
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
    tree.insert("d", Inode::dir(0o755, TIME)).unwrap();
    for i in 0..66_000 {
        tree.link(&format!("d/{i}"), "f").unwrap();
        tree.insert(&format!("d/sub{i}"), Inode::dir(0o755, TIME)).unwrap();
    }
    let image = image_of(&tree);
    let reader = Reader::open(&*image, image.len() as u64).unwrap();
    assert_eq!(reader.find("f").unwrap().unwrap().nlink, 66_001);
    assert_eq!(reader.find("d").unwrap().unwrap().nlink, 66_002);
    assert_accepted(&tree);
}
