//! FAT filesystems against fsck.fat, mtools and the `fatfs` crate's reader, and our reader against damage.

use crate::checker;
use fruit_image::fat::{self, FatError, Kind, Options, Volume};
use fruit_image::tree::{Inode, Meta, Tree};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

const MIB: u64 = 1 << 20;
/// 2026-11-22 12:34:56 UTC.
const TIME: i64 = 1_795_350_896;

fn options(kind: Kind, size: u64) -> Options {
    Options { kind, size, label: "FRUITOS".to_owned(), volume_id: 0x1234_ABCD, time: TIME }
}

/// Like a boot partition, with the names that are hard for FAT.
fn boot_tree() -> Tree {
    let mut tree = Tree::new(0);
    tree.make_dirs("overlays/deep/er", 0o755, 0).unwrap();
    tree.make_dirs("empty", 0o755, 0).unwrap();
    let mut put = |path: &str, bytes: Vec<u8>| tree.insert(path, Inode::file(bytes, 0o644, 0)).map(|_| ()).unwrap();
    put("bootcode.bin", vec![1; 5000]);
    put("KERNEL8.IMG", (0..3_000_000u32).flat_map(u32::to_le_bytes).collect());
    put("bcm2837-rpi-3-b.dtb", vec![2; 512]);
    put("bcm2837-rpi-3-b-plus.dtb", vec![3; 4096]);
    put("fruit.yaml", b"hostname: berry\n".to_vec());
    put("nothing.txt", Vec::new());
    put("overlays/größe 漢字.dtbo", vec![4; 100]);
    put("overlays/deep/er/a.b.c", vec![5; 4097]);
    put("overlays/deep/er/BCM283~1.DTB", vec![6; 1]);
    for i in 0..300 {
        put(&format!("overlays/device-tree-overlay-number-{i}.dtbo"), vec![i as u8; i * 7]);
    }
    tree
}

fn build(dir: &Path, tree: &Tree, options: &Options) -> std::path::PathBuf {
    let path = dir.join("fat.img");
    let file = File::create(&path).unwrap();
    file.set_len(options.size).unwrap();
    fat::write(tree, options, &file).unwrap();
    path
}

fn files(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    let content = |path: &str| tree.read(path).unwrap();
    tree.iter().filter(|(_, _, i)| !i.is_dir()).map(|(path, ..)| (path.to_owned(), content(path))).collect()
}

/// fsck.fat must not say a word besides its summary.
fn fsck(image: &Path) {
    let said = checker::passes("dosfstools", "fsck.fat", [Path::new("-n"), Path::new("-v"), image]);
    for word in [
        "differ",
        "bad",
        "Bad",
        "wrong",
        "Wrong",
        "invalid",
        "Invalid",
        "Free",
        "Orphan",
        "Reclaimed",
        "dirty",
        "Warning",
    ] {
        assert!(!said.contains(word), "{said}");
    }
}

#[test]
fn fsck_has_no_complaint_about_either_kind() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, size) in
        [(Kind::Fat32, 64 * MIB), (Kind::Fat32, 260 * MIB), (Kind::Fat16, 32 * MIB), (Kind::Fat16, 300 * MIB)]
    {
        fsck(&build(dir.path(), &boot_tree(), &options(kind, size)));
        fsck(&build(dir.path(), &Tree::new(0), &options(kind, size)));
    }
}

#[test]
fn fat32_is_true_fat32_and_fat16_true_fat16() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, size, name) in [(Kind::Fat32, 40 * MIB, "FAT32"), (Kind::Fat16, 40 * MIB, "FAT16")] {
        let image = build(dir.path(), &boot_tree(), &options(kind, size));
        let info = checker::passes("mtools", "minfo", ["-i", image.to_str().unwrap(), "::"]);
        assert!(info.contains(&format!("disk type=\"{name}")), "{info}");
        let said = checker::passes("dosfstools", "fsck.fat", [Path::new("-nv"), &image]);
        let bits = if kind == Kind::Fat32 { "32" } else { "16" };
        assert!(said.contains(&format!("FATs, {bits} bit entries")), "{said}");
    }
}

#[test]
fn the_kernel_of_any_pc_finds_label_id_and_times() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(dir.path(), &boot_tree(), &options(Kind::Fat32, 64 * MIB));
    let blkid = checker::passes("util-linux", "blkid", [Path::new("-p"), &image]);
    for field in ["LABEL=\"FRUITOS\"", "LABEL_FATBOOT=\"FRUITOS\"", "UUID=\"1234-ABCD\"", "VERSION=\"FAT32\""] {
        assert!(blkid.contains(field), "{blkid}");
    }
    let listing = checker::passes("mtools", "mdir", ["-i", image.to_str().unwrap(), "::"]);
    assert!(listing.contains("2026-11-22  12:34"), "{listing}");
    assert!(listing.contains("Volume in drive : is FRUITOS"), "{listing}");
}

#[test]
fn mtools_and_fatfs_read_every_file_back() {
    let dir = tempfile::tempdir().unwrap();
    let tree = boot_tree();
    for (kind, size) in [(Kind::Fat32, 64 * MIB), (Kind::Fat16, 64 * MIB)] {
        let image = build(dir.path(), &tree, &options(kind, size));
        let out = dir.path().join(format!("{kind:?}"));
        std::fs::create_dir(&out).unwrap();
        checker::passes("mtools", "mcopy", ["-n", "-s", "-i", image.to_str().unwrap(), "::*", out.to_str().unwrap()]);
        let fs = fatfs::FileSystem::new(
            File::options().read(true).write(true).open(&image).unwrap(),
            fatfs::FsOptions::new(),
        );
        let fs = fs.unwrap();
        for (path, content) in files(&tree) {
            assert!(std::fs::read(out.join(&path)).unwrap() == content, "mcopy: {path}");
            let mut bytes = Vec::new();
            fs.root_dir().open_file(&path).unwrap().read_to_end(&mut bytes).unwrap();
            assert!(bytes == content, "fatfs: {path}");
        }
        assert!(out.join("empty").is_dir());
    }
}

#[test]
fn our_reader_reads_what_we_write() {
    let tree = boot_tree();
    let dir = tempfile::tempdir().unwrap();
    for (kind, size) in [(Kind::Fat32, 64 * MIB), (Kind::Fat16, 64 * MIB)] {
        let options = options(kind, size);
        let image = dir.path().join("fat.img");
        let file = File::create(&image).unwrap();
        file.set_len(size).unwrap();
        let written = fat::write(&tree, &options, &file).unwrap();
        let bytes = std::fs::read(&image).unwrap();
        let volume = Volume::open(&bytes[..]).unwrap();
        assert_eq!((volume.kind(), volume.label(), volume.volume_id()), (kind, "FRUITOS", 0x1234_ABCD));
        assert_eq!(volume.free().unwrap(), written.free);
        let listing = volume.list().unwrap();
        let paths = |dirs| listing.iter().filter(move |e| e.is_dir == dirs).map(|e| e.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(true), ["empty", "overlays", "overlays/deep", "overlays/deep/er"]);
        let expected = files(&tree);
        assert_eq!(paths(false).len(), expected.len());
        for (path, content) in expected {
            assert!(volume.read_file(&path, u64::MAX).unwrap() == content, "{path}");
        }
        let over = volume.read_file("fruit.yaml", 15).unwrap_err();
        assert!(matches!(over, FatError::OverLimit { size: 16, limit: 15, .. }), "{over}");
        assert!(matches!(volume.read_file("none", 15), Err(FatError::NotFound(_))));
    }
}

#[test]
fn our_reader_reads_what_mtools_and_mkfs_write() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("fat.img");
    let (yaml, image_arg) = (dir.path().join("fruit.yaml"), image.to_str().unwrap().to_owned());
    std::fs::write(&yaml, "hostname: edited\n").unwrap();
    for bits in ["16", "32"] {
        File::create(&image).unwrap().set_len(64 * MIB).unwrap();
        checker::passes("dosfstools", "mkfs.fat", ["-F", bits, "-n", "OTHER", &image_arg]);
        checker::passes("mtools", "mmd", ["-i", &image_arg, "::Some Folder"]);
        checker::passes("mtools", "mcopy", ["-i", &image_arg, yaml.to_str().unwrap(), "::Some Folder/"]);
        let bytes = std::fs::read(&image).unwrap();
        let volume = Volume::open(&bytes[..]).unwrap();
        assert_eq!(volume.label(), "OTHER");
        assert_eq!(volume.read_file("some folder/FRUIT.yaml", 100).unwrap(), b"hostname: edited\n");
    }
}

#[test]
fn a_person_can_change_fruit_yaml_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(dir.path(), &boot_tree(), &options(Kind::Fat32, 64 * MIB));
    let yaml = dir.path().join("fruit.yaml");
    std::fs::write(&yaml, vec![b'#'; 100_000]).unwrap();
    let args = ["-D", "o", "-i", image.to_str().unwrap(), yaml.to_str().unwrap(), "::"];
    checker::passes("mtools", "mcopy", args);
    fsck(&image);
    let bytes = std::fs::read(&image).unwrap();
    assert_eq!(Volume::open(&bytes[..]).unwrap().read_file("fruit.yaml", MIB).unwrap(), vec![b'#'; 100_000]);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = options(Kind::Fat32, 64 * MIB);
    let read = |dir: &Path| std::fs::read(build(dir, &boot_tree(), &options)).unwrap();
    assert!(read(one.path()) == read(two.path()));
}

#[test]
fn every_file_lies_in_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let tree = boot_tree();
    let bytes = std::fs::read(build(dir.path(), &tree, &options(Kind::Fat32, 64 * MIB))).unwrap();
    for (path, content) in files(&tree).into_iter().filter(|(_, c)| c.len() > 1000) {
        assert!(
            bytes.windows(content.len()).step_by(512).any(|w| w[..512] == content[..512] && w == content),
            "{path}"
        );
    }
}

#[test]
fn what_fat_cannot_hold_is_refused_by_name() {
    let refused = |path: &str, inode: Inode| {
        let mut tree = Tree::new(0);
        tree.insert("dir", Inode::dir(0o755, 0)).unwrap();
        tree.insert(&format!("dir/{path}"), inode).unwrap();
        fat::write(&tree, &options(Kind::Fat32, 64 * MIB), &tempfile::tempfile().unwrap()).unwrap_err().to_string()
    };
    let file = || Inode::file("x", 0o644, 0);
    assert!(refused("link", Inode::symlink("x", 0)).contains("dir/link"));
    assert!(refused("a:b", file()).contains("dir/a:b"));
    let device = Inode { meta: Meta::root(0o600, 0), kind: fruit_image::tree::Kind::Fifo };
    assert!(refused("fifo", device).contains("dir/fifo"));
    let mut tree = Tree::new(0);
    for name in ["Readme", "README"] {
        tree.insert(name, file()).unwrap();
    }
    let out = tempfile::tempfile().unwrap();
    assert!(matches!(fat::write(&tree, &options(Kind::Fat32, 64 * MIB), &out), Err(FatError::SameName(_))));
    let small = options(Kind::Fat32, 20 * MIB);
    assert!(matches!(fat::write(&Tree::new(0), &small, &out), Err(FatError::Size { .. })));
    let full = fat::write(&boot_tree(), &options(Kind::Fat16, 8 * MIB), &out).unwrap_err();
    assert!(matches!(full, FatError::Full { .. }), "{full}");
    let label = Options { label: "lower".to_owned(), ..small };
    assert!(matches!(fat::write(&Tree::new(0), &label, &out), Err(FatError::Label(_))));
}

#[test]
fn the_least_size_holds_the_tree_and_what_is_to_stay_free() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, free) in [(Kind::Fat16, 0), (Kind::Fat16, 5 * MIB), (Kind::Fat32, 0), (Kind::Fat32, 50 * MIB)] {
        let size = fat::least_size(&boot_tree(), kind, free).unwrap();
        let image = build(dir.path(), &boot_tree(), &options(kind, size));
        fsck(&image);
        let bytes = std::fs::read(&image).unwrap();
        assert!(Volume::open(&bytes[..]).unwrap().free().unwrap() >= free);
        let less = fat::write(&boot_tree(), &options(kind, size - MIB), &tempfile::tempfile().unwrap());
        assert!(less.is_err() || less.unwrap().free < free, "{kind:?}: {size} is not the least");
    }
}

/// A small filesystem of the kind, whose bytes tests change.
fn small(kind: Kind) -> Vec<u8> {
    let mut tree = Tree::new(0);
    tree.make_dirs("a/b", 0o755, 0).unwrap();
    tree.insert("a/b/a long name.txt", Inode::file(vec![7; 20_000], 0o644, 0)).unwrap();
    tree.insert("fruit.yaml", Inode::file("hostname: x", 0o644, 0)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let size = if kind == Kind::Fat16 { 3 * MIB } else { 34 * MIB };
    std::fs::read(build(dir.path(), &tree, &options(kind, size))).unwrap()
}

fn use_all(bytes: &[u8]) {
    if let Ok(volume) = Volume::open(bytes) {
        let _ = volume.free();
        for entry in volume.list().unwrap_or_default() {
            assert!(!entry.path.split('/').any(|c| matches!(c, "" | "." | "..")), "{:?}", entry.path);
            let _ = volume.content(&entry, MIB);
        }
    }
}

#[test]
fn a_directory_that_contains_itself_is_told_and_not_followed() {
    let mut bytes = small(Kind::Fat16);
    // Directories come first: cluster 2 is `a`, 3 is `a/b`. Let the entry of `b` in `a` point at `a`.
    let entry = bytes.windows(11).position(|w| w == b"B          ").unwrap();
    bytes[entry + 26] = 2;
    let error = Volume::open(&bytes[..]).unwrap().list().unwrap_err();
    assert!(error.to_string().contains("two places"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut: prop::sample::Index,
        truncate: bool,
    ) {
        static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| small(Kind::Fat16));
        // Boot sector, the used start of the tables, directories: where a change matters.
        static USED: LazyLock<Vec<usize>> = LazyLock::new(|| {
            let used = |i: &usize| *i < 700 || GOOD[*i] != 0;
            (0..GOOD.len()).filter(used).take(3000).collect()
        });
        let mut bytes = GOOD.clone();
        for (at, value) in changes {
            bytes[USED[at.index(USED.len())]] = value;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        use_all(&bytes);
    }

    #[test]
    fn any_boot_sector_never_panics(sector in prop::collection::vec(any::<u8>(), 512), len in 512usize..100_000) {
        let mut bytes = sector;
        bytes.resize(len, 0);
        bytes[0] = 0xEB;
        bytes[11..13].copy_from_slice(&512u16.to_le_bytes());
        bytes[16] = 2;
        bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
        use_all(&bytes);
    }
}

#[test]
fn extents_say_where_the_bytes_of_a_file_are() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, size) in [(Kind::Fat16, 32 * MIB), (Kind::Fat32, 64 * MIB)] {
        let tree = boot_tree();
        let image = std::fs::read(build(dir.path(), &tree, &options(kind, size))).unwrap();
        let volume = Volume::open(&image[..]).unwrap();
        for entry in volume.list().unwrap().iter().filter(|e| !e.is_dir) {
            let extents = volume.extents(entry).unwrap();
            let bytes: Vec<u8> =
                extents.iter().flat_map(|e| &image[e.offset as usize..(e.offset + e.len) as usize]).copied().collect();
            assert_eq!(bytes, volume.content(entry, u64::MAX).unwrap(), "{}", entry.path);
            assert!(extents.len() <= 1, "our writer lays a file down in one run: {}", entry.path);
        }
    }
}
