//! A whole card image, its block map and its compressed form, against bmaptool, zstd, sha256sum and the checkers.

use crate::checker;
use fruit_image::bmap::Bmap;
use fruit_image::card::{Card, CardError, Image};
use fruit_image::disk::{Disk, DiskFile, Window};
use fruit_image::gpt::{self, BASIC_DATA, LINUX_DATA, Mbr, Wanted};
use fruit_image::sparse::Blocks;
use fruit_image::storage::WriteAt;
use fruit_image::sums::{Sum, sha256sums};
use fruit_image::tree::{Inode, Tree};
use fruit_image::{ext4, fat, zst};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use uuid::{Uuid, uuid};

const MIB: u64 = 1 << 20;
const DISK: Uuid = uuid!("6f1d7a52-93a4-4c8e-8f10-52b7c0d3e400");
const TIME: i64 = 1_795_350_896;

fn layout() -> gpt::Layout {
    let wanted: Vec<_> = [("firmware", 48), ("root-a", 32), ("root-b", 32), ("data", 32)]
        .iter()
        .zip(1u8..)
        .map(|((name, mib), n)| {
            let mut guid = *DISK.as_bytes();
            guid[15] = n;
            let type_guid = if n == 1 { BASIC_DATA } else { LINUX_DATA };
            Wanted { name: (*name).to_owned(), type_guid, guid: Uuid::from_bytes(guid), size: mib * MIB }
        })
        .collect();
    gpt::plan(DISK, None, MIB, Mbr::Hybrid { partition: 1 }, &wanted).unwrap()
}

/// Not compressible, so that a mistake in the order of blocks shows.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

fn build(target: &Path) -> Image {
    let mut tree = Tree::new(TIME);
    tree.insert("kernel.img", Inode::file(noise(3_000_000), 0o644, TIME)).unwrap();
    let card = Card::create(target, layout()).unwrap();
    let fat =
        fat::Options { kind: fat::Kind::Fat32, size: 48 * MIB, label: "FRUITOS".to_owned(), volume_id: 7, time: TIME };
    let data = ext4::Options {
        size: 32 * MIB,
        label: "data".to_owned(),
        uuid: uuid!("1b4e28ba-2fa1-11d2-883f-0016d3cca427"),
        time: TIME,
        inodes: None,
        reserved_percent: 0,
    };
    // Parts may be written at the same time.
    std::thread::scope(|s| {
        s.spawn(|| card.partition(1, |part| fat::write(&tree, &fat, part)).unwrap());
        s.spawn(|| card.partition(4, |part| ext4::write(&Tree::new(TIME), &data, part)).unwrap());
        s.spawn(|| card.partition(2, |part| part.write_all_at(&noise(5_000_001), 8192)).unwrap());
    });
    card.finish().unwrap()
}

fn extract(image: &Path, number: u32, to: &Path) -> PathBuf {
    let disk = DiskFile::open(image).unwrap();
    let found = gpt::read(&disk).unwrap();
    let p = found.layout.partitions.iter().find(|p| p.number == number).unwrap();
    let window = Window::new(&disk, p.start(), p.size());
    let mut bytes = vec![0; window.size() as usize];
    fruit_image::storage::ReadAt::read_exact_at(&window, &mut bytes, 0).unwrap();
    let path = to.join(format!("part{number}"));
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn every_part_of_the_card_satisfies_its_checker() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(&dir.path().join("a.img"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "only the final name is there");
    let said = checker::passes("gdisk", "sgdisk", [Path::new("-v"), &image.path]);
    assert!(said.contains("No problems found"), "{said}");
    checker::passes("dosfstools", "fsck.fat", [Path::new("-n"), &extract(&image.path, 1, dir.path())]);
    checker::passes("e2fsprogs", "e2fsck", [Path::new("-fn"), &extract(&image.path, 4, dir.path())]);
    let root = fs::read(extract(&image.path, 2, dir.path())).unwrap();
    assert!(root[8192..8192 + 5_000_001] == noise(5_000_001));
}

#[test]
fn the_same_card_gives_the_same_bytes_and_the_same_map() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (build(&one.path().join("a.img")), build(&two.path().join("b.img")));
    assert_eq!(a.mapped, b.mapped);
    assert!(fs::read(&a.path).unwrap() == fs::read(&b.path).unwrap());
}

#[test]
fn every_block_that_holds_something_is_mapped_and_free_space_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(&dir.path().join("a.img"));
    let bytes = fs::read(&image.path).unwrap();
    for (number, block) in bytes.chunks(4096).enumerate() {
        assert!(image.mapped.contains(number as u64) || block.iter().all(|b| *b == 0), "block {number}");
    }
    assert!(image.mapped.count() * 4096 < 16 * MIB, "{} blocks for 8 MB of content", image.mapped.count());
}

#[test]
fn a_card_that_held_something_else_is_as_good_as_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(&dir.path().join("a.img"));
    let mut card = noise(image.size as usize);
    let bytes = fs::read(&image.path).unwrap();
    for range in image.mapped.ranges() {
        let range = range.start as usize * 4096..range.end as usize * 4096;
        card[range.clone()].copy_from_slice(&bytes[range]);
    }
    let used = dir.path().join("card");
    fs::write(&used, card).unwrap();
    checker::passes("gdisk", "sgdisk", [Path::new("-v"), &used]);
    checker::passes("dosfstools", "fsck.fat", [Path::new("-n"), &extract(&used, 1, dir.path())]);
    let data = extract(&used, 4, dir.path());
    checker::passes("e2fsprogs", "e2fsck", [Path::new("-fn"), &data]);
    // The journal (inode 8) holds no transaction of the card's past.
    let journal = dir.path().join("journal");
    let dump = format!("dump <8> {}", journal.display());
    checker::passes("e2fsprogs", "debugfs", ["-R", &dump, data.to_str().unwrap()]);
    assert!(fs::read(journal).unwrap()[4096..].iter().all(|b| *b == 0));
}

#[test]
fn bmaptool_writes_the_image_from_our_map() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(&dir.path().join("a.img"));
    let map = zst::map(&image).unwrap();
    let bmap = dir.path().join("a.img.bmap");
    fs::write(&bmap, map.to_xml()).unwrap();
    let copy = dir.path().join("copy");
    checker::passes("bmap-tools", "bmaptool", [Path::new("copy"), Path::new("--bmap"), &bmap, &image.path, &copy]);
    assert!(fs::read(&copy).unwrap() == fs::read(&image.path).unwrap());
    assert_eq!(Bmap::parse(&map.to_xml()).unwrap(), map);
}

#[test]
fn our_reader_takes_a_map_made_by_bmaptool() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(&dir.path().join("a.img"));
    let theirs = checker::run("bmap-tools", "bmaptool", [Path::new("create"), &image.path]);
    let theirs = Bmap::parse(std::str::from_utf8(&theirs.stdout).unwrap()).unwrap();
    let theirs: Blocks = theirs.ranges.iter().map(|r| r.blocks.clone()).collect();
    // The filesystem below may keep larger pieces than we wrote.
    assert!(image.mapped.ranges().iter().flat_map(Range::clone).all(|block| theirs.contains(block)));
}

#[test]
fn the_compressed_image_unpacks_to_the_image_with_the_sums_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(&dir.path().join("a.img"));
    let packed = dir.path().join("a.img.zst");
    let made = zst::compress(&image, &packed, zst::Options { level: 3, threads: 2, sum_image: true }, None).unwrap();
    made.draft.commit().unwrap();
    assert_eq!(made.bmap, zst::map(&image).unwrap());
    assert_eq!(made.size, fs::metadata(&packed).unwrap().len());
    let unpacked = dir.path().join("unpacked");
    checker::passes("zstd", "zstd", [Path::new("-d"), &packed, Path::new("-o"), &unpacked]);
    assert!(fs::read(&unpacked).unwrap() == fs::read(&image.path).unwrap());
    let sums = sha256sums([("a.img", made.image_sum.unwrap()), ("a.img.zst", made.sum)]);
    fs::write(dir.path().join("SHA256SUMS"), sums).unwrap();
    let script = "cd \"$0\" && sha256sum --strict -c SHA256SUMS";
    checker::passes("coreutils", "sh", [Path::new("-c"), Path::new(script), dir.path()]);
}

#[test]
fn the_number_of_threads_does_not_change_the_compressed_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(&dir.path().join("a.img"));
    let sums: Vec<Sum> = [1, 2, 5]
        .iter()
        .map(|threads| {
            let options = zst::Options { level: 3, threads: *threads, sum_image: false };
            zst::compress(&image, &dir.path().join("a.img.zst"), options, None).unwrap().sum
        })
        .collect();
    assert!(sums.iter().all(|s| *s == sums[0]), "{sums:?}");
}

#[test]
fn what_an_earlier_build_compressed_is_taken_over_and_the_bytes_do_not_tell() {
    let dir = tempfile::tempdir().unwrap();
    let options = zst::Options { level: 3, threads: 2, sum_image: false };
    let first = build(&dir.path().join("a.img"));
    let packed = dir.path().join("a.img.zst");
    let made = zst::compress(&first, &packed, options, None).unwrap();
    made.draft.commit().unwrap();
    // Another image, of which most is the same.
    let second = build(&dir.path().join("b.img"));
    let file = fs::File::options().write(true).open(&second.path).unwrap();
    let place = second.mapped.ranges()[1].start * 4096;
    WriteAt::write_all_at(&file, b"changed", place).unwrap();
    let whole = zst::compress(&second, &dir.path().join("whole"), options, None).unwrap();
    let frames = |file: fs::File| zst::Earlier::new(file, made.frames.clone());
    let earlier = frames(fs::File::open(&packed).unwrap());
    let again = zst::compress(&second, &dir.path().join("again"), options, Some(&earlier)).unwrap();
    let old: Vec<Sum> = made.frames.iter().map(|frame| frame.key).collect();
    let changed = again.frames.iter().filter(|frame| !old.contains(&frame.key)).count();
    assert_eq!((changed, again.sum), (1, whole.sum));
    // Frames that somebody changed, or that are gone, are not taken.
    let mut bytes = fs::read(&packed).unwrap();
    for frame in &made.frames {
        bytes[frame.start as usize + frame.len as usize / 2] ^= 1;
    }
    fs::write(&packed, bytes).unwrap();
    for file in [fs::File::open(&packed).unwrap(), tempfile::tempfile().unwrap()] {
        let again = zst::compress(&second, &dir.path().join("third"), options, Some(&frames(file))).unwrap();
        assert_eq!(again.sum, whole.sum);
    }
}

#[test]
fn a_part_that_fails_leaves_neither_image_nor_litter() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("a.img");
    let card = Card::create(&target, layout()).unwrap();
    let too_much = card.partition(3, |part| part.write_all_at(&[1; 100], 32 * MIB - 50));
    assert!(too_much.unwrap_err().to_string().contains("do not fit"));
    let missing: Result<(), CardError> = card.partition(9, |_| unreachable!("there is no partition 9"));
    assert!(missing.unwrap_err().to_string().contains("no partition 9"));
    drop(card);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
