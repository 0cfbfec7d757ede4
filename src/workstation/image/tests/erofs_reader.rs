//! Reading EROFS: images of `mkfs.erofs`, and images that want to harm.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checker;
use crate::mounted::Mount;
use crate::trees::{TIME, assert_same_trees, sample};
use fruit_image::erofs::{FileType, Options, Plan, ReadError, Reader, is_erofs};
use fruit_image::storage::{Extent, Region};
use fruit_image::tree::{Content, Inode, Kind, Source, Tree};
use proptest::prelude::*;

fn image_of(tree: &Tree) -> Vec<u8> {
    let options = Options { uuid: [7; 16], volume_name: "sample".to_owned(), build_time: TIME };
    let mut image = Vec::new();
    Plan::new(tree, options).unwrap().write(&mut image).unwrap();
    image
}

fn open(image: &[u8]) -> Result<Reader<&[u8]>, ReadError> {
    Reader::open(image, image.len() as u64)
}

/// Makes an image of the files below `root` with the tool.
fn mkfs(root: &Path, dir: &Path, options: &[&str]) -> PathBuf {
    let image = dir.join("mkfs.erofs");
    let mut args = options.to_vec();
    args.extend([image.to_str().unwrap(), root.to_str().unwrap()]);
    checker::passes("erofs-utils", "mkfs.erofs", args);
    image
}

#[test]
fn images_of_mkfs_erofs_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let ours = dir.path().join("ours.erofs");
    let tree = sample();
    fs::write(&ours, image_of(&tree)).unwrap();
    // The kernel shows our tree to the tool, with owners, nodes and xattrs; we read what the tool made of it.
    let mount = Mount::new(&ours);
    let uuid = "-U00000000-0000-0000-0000-000000000001";
    for options in [
        &["--preserve-mtime"][..],
        &["--preserve-mtime", "-Enoinline_data", uuid],
        &["--preserve-mtime", "-x1"],
        &["--preserve-mtime", "-Eforce-inode-extended"],
    ] {
        let image = mkfs(mount.path(), dir.path(), options);
        let region = Region::whole(Source::open(&image).unwrap()).unwrap();
        let reader = Reader::open(region.clone(), region.len()).unwrap_or_else(|e| panic!("{options:?}: {e}"));
        assert_eq!(reader.image_len(), region.len());
        assert_same_trees(&reader.to_tree().unwrap(), &tree);
    }
}

#[test]
fn compressed_and_chunked_images_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), vec![b'x'; 1 << 20]).unwrap();
    for (options, reason) in [(&["-zlz4hc"][..], "compressed"), (&["--chunksize=4096"], "not supported")] {
        let image = fs::read(mkfs(&root, dir.path(), options)).unwrap();
        let error = open(&image).and_then(|reader| reader.to_tree()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn what_an_image_says_about_itself_is_read() {
    let tree = sample();
    let image = image_of(&tree);
    let reader = open(&image).unwrap();
    assert!(is_erofs(&image) && !is_erofs(&image[1..]) && !is_erofs(&[]));
    assert_eq!((reader.uuid(), &*reader.volume_name(), reader.build_time()), ([7; 16], "sample", TIME));
    assert_eq!(reader.inode_count() as usize, tree.iter().count() - 1, "a hard link is no inode of its own");
    let ping = reader.find("bin/ping").unwrap().unwrap();
    assert_eq!((ping.file_type, ping.mode, ping.mtime, ping.size), (FileType::File, 0o4755, 5, 4));
    assert_eq!(reader.xattrs(&ping).unwrap(), tree.get("bin/ping").unwrap().meta.xattrs);
    let link = reader.find("link").unwrap().unwrap();
    assert_eq!(reader.target(&link).unwrap(), "bin/ping");
    assert!(matches!(reader.target(&ping), Err(ReadError::WrongType { .. })));
    for missing in ["bin/nothing", "bin/ping/below", "nothing/at/all"] {
        assert!(reader.find(missing).unwrap().is_none(), "{missing}");
    }
    let big = reader.find("bin/70000").unwrap().unwrap();
    let mut middle = [0; 5000];
    reader.read(&big, 64_000, &mut middle).unwrap();
    assert!(middle == tree.read("bin/70000").unwrap()[64_000..69_000]);
    assert!(reader.read(&big, 65_001, &mut middle).is_err());
}

#[test]
fn contents_of_a_partition_stay_references() {
    let dir = tempfile::tempdir().unwrap();
    let card = dir.path().join("card");
    let image = image_of(&sample());
    let extent = Extent { offset: 1 << 20, len: image.len() as u64 };
    fs::write(&card, [vec![0; 1 << 20], image, vec![0; 5000]].concat()).unwrap();
    let reader = Reader::open(Region::new(Source::open(&card).unwrap(), extent), extent.len).unwrap();
    let tree = reader.to_tree().unwrap();
    assert_same_trees(&tree, &sample());
    for (path, _, inode) in tree.iter() {
        if let Kind::File(content) = &inode.kind {
            assert!(!matches!(content, Content::Bytes(bytes) if !bytes.is_empty()), "{path}");
        }
    }
}

/// With the checksum made good, so that what is behind it is tried.
fn sealed(mut image: Vec<u8>) -> Vec<u8> {
    image[1028..1032].fill(0);
    let sum = !crc32c::crc32c(&image[1024..4096]);
    image[1028..1032].copy_from_slice(&sum.to_le_bytes());
    image
}

/// Where the bytes are in the image.
fn position(image: &[u8], bytes: &[u8]) -> usize {
    image.windows(bytes.len()).position(|window| window == bytes).unwrap()
}

#[test]
fn a_directory_inside_itself_is_refused() {
    let mut tree = Tree::new(TIME);
    tree.insert("dir", Inode::dir(0o755, TIME)).unwrap();
    tree.insert("dir/inner", Inode::dir(0o755, TIME)).unwrap();
    let image = image_of(&tree);
    let reader = open(&image).unwrap();
    let nid = |path: &str| reader.find(path).unwrap().unwrap().nid.to_le_bytes();
    // The entry that names the inner directory is the third of its block: the number stands 3 entries before the name.
    let entry = position(&image, b"...inner") - 12;
    assert_eq!(image[entry..entry + 8], nid("dir/inner"));
    for target in ["dir", ""] {
        let mut looped = image.clone();
        looped[entry..entry + 8].copy_from_slice(&nid(target));
        let error = open(&sealed(looped)).unwrap().to_tree().unwrap_err();
        assert!(matches!(error, ReadError::Tree(_)), "{error}");
    }
}

#[test]
fn damage_is_named() {
    let image = image_of(&sample());
    let mut flipped = image.clone();
    flipped[4000] ^= 1;
    assert!(matches!(open(&flipped), Err(ReadError::Checksum { .. })));
    assert!(matches!(open(&image[..image.len() - 4096]), Err(ReadError::Short { .. })));
    assert!(matches!(open(&image[..1000]), Err(ReadError::NotErofs)));
    assert!(matches!(open(&vec![0; 1 << 20]), Err(ReadError::NotErofs)));
    let mut newer = image.clone();
    newer[1024 + 80] |= 0x40;
    assert!(matches!(open(&sealed(newer)), Err(ReadError::Unsupported { value: 0x40, .. })));
}

fn read_everything(image: &[u8]) {
    let Ok(reader) = open(image) else { return };
    let _ = reader.find("bin/5000");
    let Ok(tree) = reader.to_tree() else { return };
    for (_, _, inode) in tree.iter() {
        if let Kind::File(content) = &inode.kind {
            content.to_vec().unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_images_never_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..40),
        near_start: bool,
        cut: Option<proptest::sample::Index>,
    ) {
        thread_local!(static IMAGE: Vec<u8> = image_of(&sample()));
        let mut image = IMAGE.with(Vec::clone);
        let reach = if near_start { 3 * 4096 - 1024 } else { image.len() - 1024 };
        for (at, byte) in changes {
            image[1024 + at.index(reach)] = byte;
        }
        image[1024..1028].copy_from_slice(&0xE0F5_E1E2_u32.to_le_bytes());
        let mut image = sealed(image);
        if let Some(cut) = cut {
            image.truncate(cut.index(image.len()));
        }
        read_everything(&image);
    }

    #[test]
    fn changed_numbers_never_panic(at in 36u64..400, field in 0usize..32, value in prop_oneof![Just(0u32), Just(u32::MAX), Just(1 << 31), any::<u32>()]) {
        thread_local!(static IMAGE: Vec<u8> = image_of(&sample()));
        let mut image = IMAGE.with(Vec::clone);
        let place = at as usize * 32 + field;
        image[place..place + 4].copy_from_slice(&value.to_le_bytes());
        read_everything(&sealed(image));
    }
}
