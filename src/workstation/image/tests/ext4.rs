//! ext4 filesystems against e2fsck, debugfs, resize2fs and the kernel.

use crate::checker;
use fruit_image::ext4::{self, Ext4Error, Options};
use fruit_image::tree::{Inode, Kind, Meta, Tree};
use std::fs::File;
use std::path::{Path, PathBuf};
use uuid::{Uuid, uuid};

const MIB: u64 = 1 << 20;
const TIME: i64 = 1_795_350_896;
const UUID: Uuid = uuid!("1b4e28ba-2fa1-11d2-883f-0016d3cca427");

fn options(size: u64) -> Options {
    Options { size, label: "data".to_owned(), uuid: UUID, time: TIME, inodes: None, reserved_percent: 0 }
}

fn build(dir: &Path, tree: &Tree, options: &Options) -> PathBuf {
    let path = dir.join("ext4.img");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.set_len(options.size).unwrap();
    ext4::write(tree, options, &file).unwrap();
    path
}

fn fsck(image: &Path) {
    checker::passes("e2fsprogs", "e2fsck", [Path::new("-fn"), image]);
}

/// `user::rwx user:1000:r-- group::r-x mask::r-x other::---` as getxattr(2) returns it.
fn acl() -> Vec<u8> {
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in
        [(1u16, 7u16, u32::MAX), (2, 4, 1000), (4, 5, u32::MAX), (0x10, 5, u32::MAX), (0x20, 0, u32::MAX)]
    {
        acl.extend(tag.to_le_bytes().iter().chain(&perm.to_le_bytes()).chain(&id.to_le_bytes()));
    }
    acl
}

fn rich_tree() -> Tree {
    let mut tree = Tree::new(TIME);
    tree.make_dirs("usr/bin", 0o755, TIME).unwrap();
    tree.make_dirs("many", 0o1777, TIME).unwrap();
    let capability = vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let meta = |mode, uid, xattr: &[(&str, Vec<u8>)]| Meta {
        uid,
        gid: 70_000,
        xattrs: xattr.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        ..Meta::root(mode, TIME - 5)
    };
    let file = |bytes: Vec<u8>, meta| Inode { meta, kind: Kind::File(bytes.into()) };
    tree.insert("usr/bin/ping", file(vec![9; 100_000], meta(0o4755, 0, &[("security.capability", capability)])))
        .unwrap();
    tree.link("usr/bin/ping6", "usr/bin/ping").unwrap();
    tree.insert("shared", file(b"acl".to_vec(), meta(0o750, 100_000, &[("system.posix_acl_access", acl())]))).unwrap();
    tree.insert("usr/link", Inode::symlink("bin/ping", TIME)).unwrap();
    tree.insert("usr/longlink", Inode::symlink("x".repeat(500), TIME)).unwrap();
    let special = |kind| Inode { meta: Meta::root(0o600, TIME), kind };
    tree.insert("null", special(Kind::CharDevice { major: 1, minor: 3 })).unwrap();
    tree.insert("card", special(Kind::BlockDevice { major: 179, minor: 300 })).unwrap();
    tree.insert("pipe", special(Kind::Fifo)).unwrap();
    for i in 0..3000 {
        tree.insert(&format!("many/{}-{i}", "long".repeat(20)), Inode::file(format!("{i}").as_str(), 0o644, TIME))
            .unwrap();
    }
    tree
}

#[test]
fn e2fsck_has_no_complaint_about_empty_and_filled_filesystems() {
    let dir = tempfile::tempdir().unwrap();
    for size in [16, 64, 300, 2048] {
        fsck(&build(dir.path(), &Tree::new(TIME), &options(size * MIB)));
    }
    fsck(&build(dir.path(), &rich_tree(), &options(64 * MIB)));
}

#[test]
fn the_kernel_sees_owner_mode_xattrs_acl_and_hard_links() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(dir.path(), &rich_tree(), &options(64 * MIB));
    let ask = |command: &str| checker::passes("e2fsprogs", "debugfs", ["-R", command, image.to_str().unwrap()]);
    let ping = ask("stat /usr/bin/ping");
    assert!(ping.contains("Mode:  04755") && ping.contains("Group: 70000") && ping.contains("Links: 2"), "{ping}");
    assert!(ping.contains("security.capability (20)"), "{ping}");
    // 4 bytes of version, then 4 bytes per entry and 8 for the one that names a user.
    let shared = ask("ea_list /shared");
    assert!(
        shared.contains("system.posix_acl_access (28) = 01 00 00 00 01 00 07 00 02 00 04 00 e8 03 00 00"),
        "{shared}"
    );
    assert!(ask("stat /null").contains("Device major/minor number: 01:03"));
    assert!(ask("stat /usr/longlink").contains("Size: 500"));
    let cat = ask("cat /shared");
    assert!(cat.contains("acl"), "{cat}");
}

#[test]
fn an_empty_data_partition_has_its_label_uuid_and_few_blocks_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(dir.path(), &Tree::new(TIME), &options(64 * MIB));
    let blkid = checker::passes("util-linux", "blkid", [Path::new("-p"), &image]);
    assert!(blkid.contains("LABEL=\"data\"") && blkid.contains(&format!("UUID=\"{UUID}\"")), "{blkid}");
    use std::os::unix::fs::MetadataExt;
    let written = std::fs::metadata(&image).unwrap().blocks() * 512;
    // 4 MiB of journal, 1 MiB of inodes.
    assert!(written < 6 * MIB, "{written} bytes written for an empty filesystem");
}

#[test]
fn the_data_partition_can_be_grown_to_the_card() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(dir.path(), &rich_tree(), &options(64 * MIB));
    for size in [1u64 << 30, 5 << 30, 40 << 30] {
        File::options().write(true).open(&image).unwrap().set_len(size).unwrap();
        checker::passes("e2fsprogs", "resize2fs", [&image]);
        fsck(&image);
    }
    let header = checker::passes("e2fsprogs", "dumpe2fs", [Path::new("-h"), &image]);
    assert!(header.contains(&format!("Block count:              {}", (40u64 << 30) / 4096)), "{header}");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let read = |dir: &Path| std::fs::read(build(dir, &rich_tree(), &options(32 * MIB))).unwrap();
    assert!(read(one.path()) == read(two.path()));
}

#[test]
fn what_ext4_cannot_hold_is_refused_by_name() {
    let out = tempfile::tempfile().unwrap();
    let write = |tree: &Tree, options: &Options| ext4::write(tree, options, &out).unwrap_err();
    let with = |path: &str, inode: Inode| {
        let mut tree = Tree::new(TIME);
        tree.make_dirs("lost+found", 0o700, TIME).unwrap();
        tree.insert(path, inode).unwrap();
        tree
    };
    assert!(matches!(write(&Tree::new(0), &options(8 * MIB)), Ext4Error::Size(_)));
    assert!(matches!(
        write(&Tree::new(0), &Options { label: "x".repeat(17), ..options(16 * MIB) }),
        Ext4Error::Label(_)
    ));
    let found = with("lost+found/x", Inode::file("", 0o644, 0));
    assert!(matches!(write(&found, &options(16 * MIB)), Ext4Error::LostFound));
    let large = with("large", Inode::file(vec![1; 20 << 20], 0o644, 0));
    let error = write(&large, &options(16 * MIB)).to_string();
    assert!(error.contains("16777216") && error.contains("larger"), "{error}");
    let mut odd = Inode::file("", 0o644, 0);
    odd.meta.xattrs.insert("system.posix_acl_access".to_owned(), vec![1, 2, 3]);
    let error = write(&with("odd", odd), &options(16 * MIB)).to_string();
    assert!(error.contains("/odd") && error.contains("POSIX ACL"), "{error}");
    ext4::write(&with("fine", Inode::file("", 0o644, 0)), &options(16 * MIB), &out).unwrap();
}
