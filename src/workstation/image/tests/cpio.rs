//! The initramfs: `cpio` lists and unpacks what we pack, and we read what `cpio` packs.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use crate::checker;
use fruit_image::cpio::{CpioError, read, write, write_zstd};
use fruit_image::tree::{Inode, Kind, Meta, Tree};
use proptest::prelude::*;

const TIME: i64 = 1_700_000_000;

fn tree() -> Tree {
    let mut tree = Tree::new(TIME);
    let put = |tree: &mut Tree, path: &str, mode, (uid, gid), kind| {
        let meta = Meta { uid, gid, ..Meta::root(mode, TIME) };
        tree.insert(path, Inode { meta, kind }).unwrap();
    };
    put(&mut tree, "dev", 0o755, (0, 0), Kind::Dir);
    put(&mut tree, "dev/console", 0o600, (0, 5), Kind::CharDevice { major: 5, minor: 1 });
    put(&mut tree, "dev/sda", 0o660, (0, 6), Kind::BlockDevice { major: 8, minor: 300 });
    put(&mut tree, "init", 0o755, (0, 0), Kind::File(vec![7; 300_001].into()));
    put(&mut tree, "etc", 0o700, (3, 4), Kind::Dir);
    put(&mut tree, "etc/empty", 0o644, (70_000, 70_000), Kind::File("".into()));
    put(&mut tree, "etc/long", 0o4755, (0, 0), Kind::Symlink("x".repeat(4095)));
    put(&mut tree, "pipe", 0o640, (0, 0), Kind::Fifo);
    put(&mut tree, "sock", 0o640, (0, 0), Kind::Socket);
    for len in 1..9 {
        put(&mut tree, &"n".repeat(len), 0o644, (0, 0), Kind::File("d".repeat(len).as_str().into()));
    }
    tree.link("a-link", "init").unwrap();
    tree.link("z-link", "init").unwrap();
    tree
}

fn archive(tree: &Tree) -> Vec<u8> {
    let mut archive = Vec::new();
    write(tree, &mut archive).unwrap();
    archive
}

fn described(tree: &Tree) -> Vec<String> {
    let content = |kind: &Kind| match kind {
        Kind::File(content) => format!("{:?}", content.to_vec().unwrap()),
        kind => format!("{kind:?}"),
    };
    let links = tree.link_counts();
    let line = |(path, id, inode): (&str, _, &Inode)| {
        format!("{path} {:?} {} {}", inode.meta, links[&id], content(&inode.kind))
    };
    tree.iter().filter(|(path, ..)| !path.is_empty()).map(line).collect()
}

/// Feeds `input` to a tool.
fn pipe(package: &str, tool: &str, args: &[&str], dir: &std::path::Path, input: &[u8]) -> String {
    let given = dir.join("stdin");
    fs::write(&given, input).unwrap();
    let mut child = Command::new(tool);
    child.args(args).current_dir(dir).env("LC_ALL", "C").env("TZ", "UTC").stdin(fs::File::open(&given).unwrap());
    let output = child.output();
    let output = output.unwrap_or_else(|e| panic!("{tool}: {e}: apt-get install {package}"));
    fs::remove_file(&given).unwrap();
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_packed_is_what_is_read() {
    let tree = tree();
    assert_eq!(described(&read(&archive(&tree)).unwrap()), described(&tree));
    assert_eq!(archive(&tree), archive(&self::tree()), "the same tree gives the same bytes");
}

#[test]
fn cpio_lists_every_node() {
    let dir = tempfile::tempdir().unwrap();
    let list = pipe("cpio", "cpio", &["-itv", "--quiet", "-n"], dir.path(), &archive(&tree()));
    let line = |name: &str| {
        let line = list.lines().find(|line| line.split(" -> ").next().unwrap().ends_with(name));
        line.unwrap_or_else(|| panic!("{name} is missing: {list}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list.lines().count(), tree().iter().count() - 1);
    assert_eq!(line(" dev/console"), "crw------- 1 0 5 5, 1 Nov 14 2023 dev/console");
    assert!(line(" dev/sda").starts_with("brw-rw---- 1 0 6 8, 300"));
    assert!(line(" etc").starts_with("drwx------ 2 3 4 0"));
    assert!(line(" z-link").starts_with("-rwxr-xr-x 3 0 0 300001"));
    assert!(line(" etc/long").starts_with("lrwsr-xr-x 1 0 0 4095"));
    assert!(line(" sock").starts_with("srw-r-----"));
    assert!(line(" pipe").starts_with("prw-r-----"));
}

#[test]
fn cpio_unpacks_contents_and_hard_links() {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = tree();
    for node in ["dev/console", "dev/sda", "sock"] {
        tree.remove(node); // so that the test needs no root
    }
    pipe("cpio", "cpio", &["-id", "--quiet", "--no-preserve-owner"], dir.path(), &archive(&tree));
    let init = dir.path().join("init");
    assert_eq!(fs::read(&init).unwrap(), vec![7; 300_001]);
    assert_eq!(fs::metadata(&init).unwrap().nlink(), 3);
    assert_eq!(fs::metadata(&init).unwrap().ino(), fs::metadata(dir.path().join("z-link")).unwrap().ino());
    for len in 1..9 {
        assert_eq!(fs::read_to_string(dir.path().join("n".repeat(len))).unwrap(), "d".repeat(len));
    }
}

#[test]
fn what_cpio_packs_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("sub/file"), "content").unwrap();
    fs::hard_link(root.join("sub/file"), root.join("again")).unwrap();
    symlink("sub/file", root.join("link")).unwrap();
    let packed = dir.path().join("packed");
    let shell = format!("cd {} && find . | cpio -o -H newc --quiet > {}", root.display(), packed.display());
    checker::passes("cpio", "sh", ["-c", &shell]);
    let tree = read(&fs::read(packed).unwrap()).unwrap();
    assert_eq!(tree.iter().map(|(path, ..)| path).collect::<Vec<_>>(), ["", "again", "link", "sub", "sub/file"]);
    assert_eq!(tree.read("link").unwrap(), b"content");
    assert_eq!(tree.id("again"), tree.id("sub/file"));
}

#[test]
fn zstd_unpacks_the_compressed_form() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, path) = (tree(), dir.path().join("initramfs.zst"));
    let mut packed = Vec::new();
    write_zstd(&tree, 19, &mut packed).unwrap();
    fs::write(&path, &packed).unwrap();
    let plain = dir.path().join("initramfs");
    let args = ["-d".as_ref(), path.as_os_str(), "-o".as_ref(), plain.as_os_str()];
    checker::passes("zstd", "zstd", args);
    assert_eq!(fs::read(plain).unwrap(), archive(&tree));
}

#[test]
fn what_cpio_cannot_hold_is_refused_with_its_path() {
    let refused = |change: &dyn Fn(&mut Inode)| {
        let mut tree = tree();
        change(tree.get_mut("init").unwrap());
        match write(&tree, &mut Vec::new()) {
            Err(CpioError::Unfit { path, what }) => format!("{path}: {what}"),
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(&|inode| inode.meta.mtime = -1).starts_with("a-link: the time -1"));
    assert!(refused(&|inode| inode.meta.mtime = 1 << 32).contains("the time 4294967296"));
    let capability = |inode: &mut Inode| {
        inode.meta.xattrs.insert("security.capability".to_owned(), vec![1]);
    };
    assert!(refused(&capability).contains("security.capability"));
}

proptest! {
    #[test]
    fn hostile_archives_never_panic(at in 0usize..2000, byte: u8, cut in 0usize..4000, text in "[0-9a-f]{8}") {
        let mut archive = archive(&tree());
        archive[at] = byte;
        let _ = read(&archive);
        let _ = read(&archive[..cut]);
        let field = 6 + at % 13 * 8;
        archive[field..field + 8].copy_from_slice(text.as_bytes());
        let _ = read(&archive);
    }
}
