//! A card image opened again, whole and damaged.

use crate::checker;
use fruit_image::card::Card;
use fruit_image::disk::DiskFile;
use fruit_image::ext4;
use fruit_image::fat::{self, Volume};
use fruit_image::gpt::{self, BASIC_DATA, LINUX_DATA, Mbr, Wanted};
use fruit_image::inspect::{Filesystem, inspect, partition};
use fruit_image::storage::WriteAt;
use fruit_image::tree::{Inode, Tree};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use uuid::{Uuid, uuid};

const MIB: u64 = 1 << 20;
const UUID: Uuid = uuid!("1b4e28ba-2fa1-11d2-883f-0016d3cca427");

fn build(dir: &Path) -> PathBuf {
    let names =
        [("firmware", 4), ("boot-a", 3), ("root-a", 4), ("root-b", 1), ("state", 1), ("noise", 1), ("data", 16)];
    let wanted: Vec<_> = (1u8..)
        .zip(names)
        .map(|(n, (name, mib))| Wanted {
            name: name.to_owned(),
            type_guid: if n == 1 { BASIC_DATA } else { LINUX_DATA },
            guid: Uuid::from_bytes([n; 16]),
            size: mib * MIB,
        })
        .collect();
    let layout = gpt::plan(Uuid::from_bytes([99; 16]), None, MIB, Mbr::Hybrid { partition: 1 }, &wanted).unwrap();
    let card = Card::create(&dir.join("card.img"), layout).unwrap();
    let mut tree = Tree::new(0);
    tree.make_dirs("overlays", 0o755, 0).unwrap();
    tree.insert("fruit.yaml", Inode::file("hostname: berry\n", 0o644, 0)).unwrap();
    tree.insert("overlays/a-long-name.dtbo", Inode::file(vec![1; 3000], 0o644, 0)).unwrap();
    let fat = |size, label: &str| fat::Options {
        kind: fat::Kind::Fat16,
        size,
        label: label.to_owned(),
        volume_id: 0xABCD_1234,
        time: 0,
    };
    card.partition(1, |part| fat::write(&tree, &fat(4 * MIB, "FRUITOS"), part)).unwrap();
    card.partition(2, |part| fat::write(&Tree::new(0), &fat(3 * MIB, "BOOT-A"), part)).unwrap();
    let source = dir.join("root");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), vec![5; 10_000]).unwrap();
    let erofs = dir.join("root.erofs");
    let args = ["-T0", &format!("-U{UUID}"), erofs.to_str().unwrap(), source.to_str().unwrap()];
    checker::passes("erofs-utils", "mkfs.erofs", args);
    card.partition(3, |part| part.write_all_at(&fs::read(&erofs).unwrap(), 0)).unwrap();
    card.partition(5, |part| part.write_all_at(b"FBC1", 4096)).unwrap();
    card.partition(6, |part| part.write_all_at(b"something else", 0)).unwrap();
    let data = ext4::Options {
        size: 16 * MIB,
        label: "data".to_owned(),
        uuid: UUID,
        time: 0,
        inodes: None,
        reserved_percent: 0,
    };
    card.partition(7, |part| ext4::write(&Tree::new(0), &data, part)).unwrap();
    card.finish().unwrap().path
}

#[test]
fn every_partition_is_told_by_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = DiskFile::open(&build(dir.path())).unwrap();
    let card = inspect(&disk).unwrap();
    assert_eq!(card.mbr, Mbr::Hybrid { partition: 1 });
    let names: Vec<_> = card.partitions.iter().map(|c| c.partition.name.as_str()).collect();
    assert_eq!(names, ["firmware", "boot-a", "root-a", "root-b", "state", "noise", "data"]);
    let [firmware, boot, root, empty, state, noise, data] = &card.partitions[..] else { panic!() };
    let Filesystem::Fat { kind, label, volume_id, free, files } = &firmware.filesystem else { panic!("{firmware:?}") };
    assert_eq!((*kind, label.as_str(), *volume_id), (fat::Kind::Fat16, "FRUITOS", 0xABCD_1234));
    assert!(*free > 3 * MIB && *free < 4 * MIB);
    let files: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.size)).collect();
    assert_eq!(files, [("fruit.yaml", 16), ("overlays", 0), ("overlays/a-long-name.dtbo", 3000)]);
    assert!(matches!(&boot.filesystem, Filesystem::Fat { label, files, .. } if label == "BOOT-A" && files.is_empty()));
    let Filesystem::Erofs { uuid, size, inodes, .. } = &root.filesystem else { panic!("{root:?}") };
    assert_eq!((*uuid, *inodes), (UUID, 2));
    assert!(*size >= 10_000 && *size < 100_000);
    assert_eq!(empty.filesystem, Filesystem::Empty);
    assert_eq!(state.filesystem, Filesystem::BootControl);
    assert_eq!(noise.filesystem, Filesystem::Unknown);
    let Filesystem::Ext4 { label, uuid, size, free } = &data.filesystem else { panic!("{data:?}") };
    assert_eq!((label.as_str(), *uuid, *size), ("data", UUID, 16 * MIB));
    assert!(*free > 10 * MIB && *free < 16 * MIB);
}

#[test]
fn files_of_a_partition_can_be_read_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let disk = DiskFile::open(&build(dir.path())).unwrap();
    let firmware = partition(&disk, "firmware").unwrap();
    let volume = Volume::open(&firmware).unwrap();
    assert_eq!(volume.read_file("fruit.yaml", 100).unwrap(), b"hostname: berry\n");
    let error = partition(&disk, "nothing").unwrap_err().to_string();
    assert!(error.contains("card.img") && error.contains("nothing"), "{error}");
}

#[test]
fn a_file_that_is_no_card_is_told_so() {
    let error = inspect(&[0u8; 100_000][..]).unwrap_err().to_string();
    assert!(error.contains("no GUID partition table"), "{error}");
    assert!(inspect(&[][..]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30)) {
        static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let dir = tempfile::tempdir().unwrap();
            fs::read(build(dir.path())).unwrap()
        });
        // Behind the partition table, whose checksums notice: where something is.
        static USED: LazyLock<Vec<usize>> = LazyLock::new(|| {
            (MIB as usize..GOOD.len() - MIB as usize).filter(|i| GOOD[*i] != 0 && GOOD[*i] != 5).collect()
        });
        let mut bytes = GOOD.clone();
        for (at, value) in changes {
            bytes[USED[at.index(USED.len())]] = value;
        }
        let _ = inspect(&bytes[..]);
    }
}
