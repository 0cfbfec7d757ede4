//! The partition table against sgdisk, fdisk and the `gpt` crate's reader, and our reader against damage.

use crate::checker;
use fruit_image::gpt::{self, BASIC_DATA, CopyState, GptError, LINUX_DATA, Layout, Mbr, SECTOR, Wanted};
use proptest::prelude::*;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use uuid::{Uuid, uuid};

const DISK: Uuid = uuid!("6f1d7a52-93a4-4c8e-8f10-52b7c0d3e400");
const MIB: u64 = 1 << 20;

fn guid(n: u8) -> Uuid {
    let mut bytes = *DISK.as_bytes();
    bytes[15] = n;
    Uuid::from_bytes(bytes)
}

fn wanted() -> Vec<Wanted> {
    let sizes = [("firmware", 64), ("boot-a", 64), ("boot-b", 64), ("root-a", 200), ("root-b", 200), ("state", 1)];
    let part = |(n, (name, mib)): (u8, &(&str, u64))| Wanted {
        name: (*name).to_owned(),
        type_guid: if n == 1 { BASIC_DATA } else { LINUX_DATA },
        guid: guid(n),
        size: mib * MIB,
    };
    (1..).zip(&sizes).map(part).collect()
}

fn plan(mbr: Mbr) -> Layout {
    gpt::plan(DISK, None, MIB, mbr, &wanted()).unwrap()
}

/// A sparse disk image with the table in it.
fn image(dir: &Path, layout: &Layout) -> PathBuf {
    use std::os::unix::fs::FileExt;
    let table = gpt::encode(layout).unwrap();
    let path = dir.join("disk.img");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(layout.disk_size).unwrap();
    file.write_all_at(&table.head, 0).unwrap();
    file.write_all_at(&table.tail, layout.disk_size - table.tail.len() as u64).unwrap();
    path
}

fn bytes(layout: &Layout) -> Vec<u8> {
    let table = gpt::encode(layout).unwrap();
    let mut all = vec![0; layout.disk_size as usize];
    all[..table.head.len()].copy_from_slice(&table.head);
    let tail = all.len() - table.tail.len();
    all[tail..].copy_from_slice(&table.tail);
    all
}

/// Small, for tests that change bytes of it.
fn small() -> Vec<u8> {
    let wanted: Vec<_> = wanted().into_iter().map(|w| Wanted { size: 4096, ..w }).collect();
    bytes(&gpt::plan(DISK, None, 4096, Mbr::Hybrid { partition: 1 }, &wanted).unwrap())
}

#[test]
fn sgdisk_finds_no_problem_and_the_same_partitions() {
    let dir = tempfile::tempdir().unwrap();
    for mbr in [Mbr::Protective, Mbr::Hybrid { partition: 1 }] {
        let layout = plan(mbr);
        let image = image(dir.path(), &layout);
        let verdict = checker::passes("gdisk", "sgdisk", [Path::new("-v"), &image]);
        assert!(verdict.contains("No problems found"), "{verdict}");
        assert!(!verdict.contains("Warning") && !verdict.contains("Caution"), "{verdict}");
        for p in &layout.partitions {
            let info = checker::passes("gdisk", "sgdisk", [&format!("-i{}", p.number), image.to_str().unwrap()]);
            assert!(info.contains(&format!("Partition unique GUID: {:X}", p.guid.hyphenated())), "{info}");
            assert!(info.contains(&format!("First sector: {} ", p.first_sector)), "{info}");
            assert!(info.contains(&format!("Partition size: {} sectors", p.sectors)), "{info}");
            assert!(info.contains(&format!("Partition name: '{}'", p.name)), "{info}");
        }
    }
}

#[test]
fn the_hybrid_mbr_shows_the_firmware_partition_to_tools_that_read_mbr_only() {
    let dir = tempfile::tempdir().unwrap();
    let layout = plan(Mbr::Hybrid { partition: 1 });
    let image = image(dir.path(), &layout);
    let dos = checker::passes("fdisk", "sfdisk", [Path::new("--label-nested=dos"), Path::new("-d"), &image]);
    let firmware = dos.lines().find(|l| l.contains("type=c")).unwrap_or_else(|| panic!("no type 0x0C in {dos}"));
    assert!(firmware.contains("start=        2048"), "{firmware}");
    assert!(firmware.contains("size=      131072"), "{firmware}");
    assert!(firmware.contains("bootable"), "{firmware}");
    let first = dos.lines().find(|l| l.contains("start=")).unwrap();
    assert!(first.contains("type=ee"), "0xEE must be the first entry: {dos}");
    let verdict = checker::passes("gdisk", "sgdisk", [Path::new("-p"), &image]);
    assert!(verdict.contains("firmware"), "{verdict}");
}

#[test]
fn the_same_layout_gives_the_same_bytes() {
    let layout = plan(Mbr::Hybrid { partition: 1 });
    assert_eq!(gpt::encode(&layout).unwrap(), gpt::encode(&layout.clone()).unwrap());
}

/// What the `gpt` crate makes of a layout with a protective MBR.
fn of_the_gpt_crate(layout: &Layout) -> Vec<u8> {
    let disk = Cursor::new(vec![0; layout.disk_size as usize]);
    let config = ::gpt::GptConfig::new().writable(true).logical_block_size(::gpt::disk::LogicalBlockSize::Lb512);
    let mut disk = config.create_from_device(disk, Some(layout.disk_guid)).unwrap();
    let entry = |p: &gpt::Partition| ::gpt::partition::Partition {
        part_type_guid: p.type_guid.into(),
        part_guid: p.guid,
        first_lba: p.first_sector,
        last_lba: p.first_sector + p.sectors - 1,
        flags: 0,
        name: p.name.clone(),
    };
    disk.update_partitions(layout.partitions.iter().map(|p| (p.number, entry(p))).collect()).unwrap();
    let mut disk = disk.write().unwrap();
    let mut mbr = ::gpt::mbr::ProtectiveMBR::new();
    let size = u32::try_from(layout.disk_size / SECTOR - 1).unwrap();
    mbr.set_partition(0, ::gpt::mbr::PartRecord::new_protective(Some(size)));
    mbr.overwrite_lba0(&mut disk).unwrap();
    disk.into_inner()
}

#[test]
fn the_gpt_crate_writes_the_same_bytes() {
    let wanted = [("first", 1), ("Größe", 2), ("third", 3)].map(|(name, n)| Wanted {
        name: name.to_owned(),
        type_guid: if n == 1 { BASIC_DATA } else { LINUX_DATA },
        guid: guid(n),
        size: u64::from(n) * MIB,
    });
    let layout = gpt::plan(DISK, None, MIB, Mbr::Protective, &wanted).unwrap();
    assert!(bytes(&layout) == of_the_gpt_crate(&layout));
}

#[test]
fn a_table_that_a_node_refuses_is_not_called_good() {
    // Entries of 256 bytes, 512 entries, a header of 96 bytes: allowed by UEFI, written by nobody, read by no node.
    let changes: [(usize, u32); 3] = [(84, 256), (80, 512), (12, 96)];
    for (at, value) in changes {
        let mut disk = small();
        let last = disk.len() - 512;
        for header in [512, last] {
            disk[header + at..header + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        reseal(&mut disk);
        let error = gpt::read(&disk[..]).unwrap_err().to_string();
        assert!(error.contains(&value.to_string()), "{error}");
    }
}

#[test]
fn our_reader_finds_what_was_written() {
    for mbr in [Mbr::Protective, Mbr::Hybrid { partition: 1 }] {
        let layout = plan(mbr);
        let found = gpt::read(&bytes(&layout)[..]).unwrap();
        assert_eq!(found.layout, layout);
        assert_eq!((found.primary, found.backup, found.backup_at_end), (CopyState::Good, CopyState::Good, true));
    }
}

#[test]
fn our_reader_reads_what_sgdisk_writes() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    std::fs::File::create(&image).unwrap().set_len(64 * MIB).unwrap();
    let args = ["-n1:2048:+8M", "-c1:Größe", "-t1:0700", "-n3:0:+1M", "-c3:third", "-U", &DISK.to_string()];
    checker::passes("gdisk", "sgdisk", args.iter().copied().chain([image.to_str().unwrap()]));
    let found = gpt::read(&std::fs::read(&image).unwrap()[..]).unwrap();
    assert_eq!(found.layout.disk_guid, DISK);
    let parts: Vec<_> =
        found.layout.partitions.iter().map(|p| (p.number, p.name.as_str(), p.start(), p.size())).collect();
    assert_eq!(parts, [(1, "Größe", MIB, 8 * MIB), (3, "third", 9 * MIB, MIB)]);
    assert_eq!(found.layout.partitions[0].type_guid, BASIC_DATA);
}

#[test]
fn partitions_start_at_the_alignment_and_follow_each_other() {
    let layout = gpt::plan(DISK, None, 4 * MIB, Mbr::Protective, &wanted()).unwrap();
    let mut end = 4 * MIB;
    for p in &layout.partitions {
        assert_eq!(p.start(), end, "{}", p.name);
        end = p.start() + p.size();
        assert_eq!(end % (4 * MIB), 0);
    }
    assert!(layout.disk_size >= end + 33 * SECTOR);
}

#[test]
fn what_cannot_be_is_refused_with_the_figures() {
    let plan = |size, alignment, wanted: &[Wanted]| gpt::plan(DISK, size, alignment, Mbr::Protective, wanted);
    let error = plan(Some(100 * MIB), MIB, &wanted()).unwrap_err().to_string();
    assert!(error.contains("104857600") && error.contains("622871040"), "{error}");
    assert!(matches!(plan(None, 1000, &wanted()), Err(GptError::Alignment(1000))));
    assert!(matches!(plan(None, MIB, &[]), Err(GptError::Count(0))));
    let mut twice = wanted();
    twice[3].guid = guid(1);
    assert!(matches!(plan(None, MIB, &twice), Err(GptError::SameGuid(_))));
    let with = |f: &dyn Fn(&mut Wanted)| {
        let mut w = wanted();
        f(&mut w[0]);
        plan(None, MIB, &w)
    };
    assert!(matches!(with(&|w| w.size = 0), Err(GptError::Size { .. })));
    assert!(matches!(with(&|w| w.size = u64::MAX), Err(GptError::Size { .. })));
    assert!(matches!(with(&|w| w.name = "x".repeat(37)), Err(GptError::Name(_))));
    assert!(matches!(gpt::plan(DISK, None, MIB, Mbr::Hybrid { partition: 9 }, &wanted()), Err(GptError::Hybrid(9))));
}

#[test]
fn a_damaged_copy_is_named_and_the_other_one_is_used() {
    let good = small();
    let expected = gpt::read(&good[..]).unwrap().layout;
    let mut first = good.clone();
    first[520] ^= 1;
    let found = gpt::read(&first[..]).unwrap();
    assert_eq!(found.layout, expected);
    assert!(matches!(&found.primary, CopyState::Damaged(why) if why.contains("checksum")), "{:?}", found.primary);
    assert_eq!(found.backup, CopyState::Good);

    let mut second = good.clone();
    let entries = second.len() - 33 * 512;
    second[entries + 60] ^= 1;
    let found = gpt::read(&second[..]).unwrap();
    assert_eq!(found.layout, expected);
    assert!(matches!(&found.backup, CopyState::Damaged(why) if why.contains("entries")), "{:?}", found.backup);

    second[1024] ^= 1;
    let error = gpt::read(&second[..]).unwrap_err();
    assert!(matches!(error, GptError::NoTable { .. }), "{error}");
}

#[test]
fn an_image_on_a_larger_card_is_read_and_its_backup_said_to_be_elsewhere() {
    let mut card = small();
    card.resize(card.len() + 65536, 0);
    let found = gpt::read(&card[..]).unwrap();
    assert_eq!((found.primary, found.backup, found.backup_at_end), (CopyState::Good, CopyState::Good, false));
}

/// Sets the checksums of both headers right again, so that changes behind them are looked at.
fn reseal(disk: &mut [u8]) {
    let last = disk.len() - 512;
    for header in [512, last] {
        let (count, size) = (&disk[header + 80..], &disk[header + 84..]);
        let le = |b: &[u8]| u64::from(u32::from_le_bytes(b[..4].try_into().unwrap()));
        let start = u64::from_le_bytes(disk[header + 72..header + 80].try_into().unwrap()).saturating_mul(512);
        let end = start.saturating_add(le(count) * le(size));
        if end <= disk.len() as u64 {
            let sum = crc32fast::hash(&disk[start as usize..end as usize]);
            disk[header + 88..header + 92].copy_from_slice(&sum.to_le_bytes());
        }
        disk[header + 16..header + 20].fill(0);
        let sum = crc32fast::hash(&disk[header..header + 92]);
        disk[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
    }
}

proptest! {
    #[test]
    fn changed_bytes_never_panic_and_partitions_stay_within_the_disk(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        sealed: bool,
        cut in 0usize..4096,
    ) {
        let mut disk = small();
        let ends: Vec<usize> = (0..512 * 36).chain(disk.len() - 512 * 33..disk.len()).collect();
        for (at, value) in changes {
            disk[ends[at.index(ends.len())]] = value;
        }
        if sealed {
            reseal(&mut disk);
        }
        disk.truncate(disk.len() - if cut > 2048 { cut } else { 0 });
        if let Ok(found) = gpt::read(&disk[..]) {
            for p in found.layout.partitions {
                prop_assert!(p.start() + p.size() <= disk.len() as u64);
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = gpt::read(&bytes[..]);
    }

    #[test]
    fn any_layout_is_read_back(sizes in prop::collection::vec(1u64..100_000, 1..40), shift in 12u32..21) {
        let wanted: Vec<_> = sizes.iter().enumerate().map(|(i, size)| Wanted {
            name: format!("part {i}"),
            type_guid: LINUX_DATA,
            guid: guid(i as u8 + 1),
            size: *size,
        }).collect();
        let layout = gpt::plan(DISK, None, 1 << shift, Mbr::Protective, &wanted).unwrap();
        prop_assume!(layout.disk_size < 64 << 20);
        prop_assert_eq!(gpt::read(&bytes(&layout)[..]).unwrap().layout, layout);
    }
}
