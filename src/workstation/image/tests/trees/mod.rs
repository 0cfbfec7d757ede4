//! Trees to put into images, and how two of them are compared.

use fruit_image::tree::{Content, Inode, Kind, Tree};

/// The time that compact inodes have in the images of tests.
pub const TIME: i64 = 1_700_000_000;

pub fn assert_same_trees(a: &Tree, b: &Tree) {
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
    let piece = ours.len().min(1 << 20) as usize;
    let (mut a, mut b) = (vec![0; piece], vec![0; piece]);
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
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

pub fn with_xattrs<'a>(mut inode: Inode, xattrs: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Inode {
    inode.meta.xattrs.extend(xattrs.into_iter().map(|(name, value)| (name.to_owned(), value)));
    inode
}

/// `linux/posix_acl_xattr.h`: version 2; owner, user 1000, group, mask, others.
pub fn acl() -> Vec<u8> {
    let entry =
        |tag: u16, perm: u16, id: u32| [tag.to_le_bytes().as_slice(), &perm.to_le_bytes(), &id.to_le_bytes()].concat();
    let entries = [(1, 7, u32::MAX), (2, 5, 1000), (4, 5, u32::MAX), (0x10, 5, u32::MAX), (0x20, 0, u32::MAX)];
    let mut acl = 2u32.to_le_bytes().to_vec();
    acl.extend(entries.iter().flat_map(|(tag, perm, id)| entry(*tag, *perm, *id)));
    acl
}

/// cap_net_raw+ep, version 2 (`linux/capability.h`).
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A little of everything.
pub fn sample() -> Tree {
    let mut tree = Tree::new(TIME);
    let mut put = |path: &str, inode: Inode| tree.insert(path, inode).unwrap();
    put("bin", Inode::dir(0o755, TIME));
    for size in [0, 1, 4000, 4096, 5000, 70_000] {
        put(&format!("bin/{size}"), Inode::file(noise(size, size as u64), 0o755, TIME + size as i64 % 3));
    }
    put("bin/ping", with_xattrs(Inode::file("ping", 0o4755, 5), [("security.capability", CAPABILITY.to_vec())]));
    let mut owned = Inode::file("mine", 0o600, TIME);
    (owned.meta.uid, owned.meta.gid) = (100_000, 42);
    put("bin/owned", owned);
    put("acl", with_xattrs(Inode::dir(0o750, TIME), [("system.posix_acl_access", acl())]));
    for i in 0..400 {
        let label = [("security.label", b"system_u:object_r:usr_t".to_vec()), ("user.i", vec![i as u8; i % 7])];
        put(&format!("acl/entry-with-a-name-{i}"), with_xattrs(Inode::file("", 0o644, TIME), label));
    }
    put("link", Inode::symlink("bin/ping", TIME));
    put("long", Inode::symlink("x".repeat(4095), TIME));
    let node = |kind| Inode { kind, ..Inode::dir(0o660, TIME) };
    put("console", node(Kind::CharDevice { major: 5, minor: 1 }));
    put("disk", node(Kind::BlockDevice { major: 259, minor: 300 }));
    put("fifo", node(Kind::Fifo));
    put("socket", node(Kind::Socket));
    tree.link("acl/hard", "bin/5000").unwrap();
    tree
}
