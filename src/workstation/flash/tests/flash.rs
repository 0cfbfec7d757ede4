//! Finding disks in a made-up /sys, and writing images to files.

#[path = "../../image/tests/checker/mod.rs"]
mod checker;

use fruit_flash::{FlashError, Objection, Source, System, Target, Transport};
use fruit_image::bmap::Bmap;
use fruit_image::card::{Card, Image};
use fruit_image::gpt::{self, LINUX_DATA, Mbr, Wanted};
use fruit_image::storage::WriteAt;
use fruit_image::zst;
use fruit_progress::{Progress, Step, Unit};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// A workstation: an NVMe disk with the system on LUKS, a swap disk, an eMMC chip, and things one may plug in.
fn workstation(root: &Path) -> System {
    let system = System { sys: root.join("sys"), proc: root.join("proc"), dev: root.join("dev") };
    let put = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let disk = |bus: &str, name: &str, number: &str, sectors: u64, removable: &str, device: &[(&str, &str)]| {
        let base = format!("sys/devices/{bus}/block/{name}");
        put(&format!("{base}/size"), &format!("{sectors}\n"));
        put(&format!("{base}/dev"), &format!("{number}\n"));
        put(&format!("{base}/removable"), &format!("{removable}\n"));
        put(&format!("{base}/ro"), "0\n");
        for (file, text) in device {
            put(&format!("{base}/device/{file}"), &format!("{text}\n"));
        }
        fs::create_dir_all(root.join("sys/block")).unwrap();
        symlink(root.join(&base), root.join("sys/block").join(name)).unwrap();
        base
    };
    let part = |base: &str, name: &str, number: &str, holders: &[&str]| {
        put(&format!("{base}/{name}/partition"), "1\n");
        put(&format!("{base}/{name}/dev"), &format!("{number}\n"));
        for holder in holders {
            put(&format!("{base}/{name}/holders/{holder}"), "");
        }
    };
    let nvme = disk("pci0/nvme0", "nvme0n1", "259:0", 1_000_000_000, "0", &[("model", "Fast Disk")]);
    part(&nvme, "nvme0n1p2", "259:2", &["dm-0"]);
    let luks = disk("virtual", "dm-0", "254:0", 999_000_000, "0", &[]);
    put(&format!("{luks}/holders/dm-1"), "");
    disk("virtual", "dm-1", "254:1", 998_000_000, "0", &[]);
    disk("pci0/mmc0", "mmcblk0", "179:0", 60_000_000, "0", &[("type", "MMC"), ("name", "eMMC1")]);
    disk("pci0/mmc1", "mmcblk1", "179:32", 62_333_952, "0", &[("type", "SD"), ("name", "SD32G")]);
    disk("pci0/usb1/1-1/host4", "sda", "8:0", 15_000_000, "1", &[("vendor", "Generic "), ("model", "STORAGE DEVICE ")]);
    disk("pci0/usb1/1-1/host4", "sdb", "8:16", 0, "1", &[("model", "empty slot")]);
    let stick = disk("pci0/usb1/1-2/host5", "sdc", "8:32", 30_000_000, "1", &[("model", "Stick")]);
    part(&stick, "sdc1", "8:33", &[]);
    let swap = disk("pci0/usb1/1-3/host6", "sdd", "8:48", 30_000_000, "0", &[]);
    part(&swap, "sdd1", "8:49", &[]);
    let system_stick = disk("pci0/usb1/1-4/host7", "sde", "8:64", 30_000_000, "1", &[]);
    part(&system_stick, "sde1", "8:65", &[]);
    let locked = disk("pci0/usb1/1-5/host8", "sdf", "8:80", 30_000_000, "1", &[]);
    put(&format!("{locked}/ro"), "1\n");
    disk("pci0/usb1/1-6/host9", "sdg", "8:96", 30_000_000, "1", &[]);
    disk("virtual", "loop0", "7:0", 1000, "0", &[]);
    put(
        "proc/self/mountinfo",
        "22 1 254:1 / / rw shared:1 - ext4 /dev/mapper/root rw\n\
         30 22 8:33 / /media/my\\040stick rw shared:5 - vfat /dev/sdc1 rw\n\
         31 22 8:65 / /boot rw - ext4 /dev/sde1 rw\n\
         32 22 0:44 / /mnt/b rw - btrfs /dev/sdg rw\n\
         33 22 0:5 / /proc rw - proc proc rw\n",
    );
    let large = disk("pci0/usb1/1-7/host10", "sdh", "8:112", 30_000_000, "1", &[]);
    put(&format!("{large}/queue/logical_block_size"), "4096\n");
    put(&format!("{stick}/queue/logical_block_size"), "512\n");
    put("proc/swaps", "Filename Type Size Used Priority\n/dev/sdd1 partition 100 0 -2\n");
    system
}

#[test]
fn only_disks_that_can_be_taken_out_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let found = fruit_flash::list(&workstation(dir.path())).unwrap();
    let names: Vec<_> = found.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["mmcblk1", "sda", "sdc", "sdd", "sde", "sdf", "sdg", "sdh"]);
}

#[test]
fn a_disk_tells_its_size_model_and_way_of_connection() {
    let dir = tempfile::tempdir().unwrap();
    let system = workstation(dir.path());
    let card = fruit_flash::inspect(&system, "mmcblk1").unwrap();
    assert_eq!((card.transport, card.size, card.model.as_str()), (Transport::Sd, 62_333_952 * 512, "SD32G"));
    assert_eq!(card.path, system.dev.join("mmcblk1"));
    let reader = fruit_flash::inspect(&system, "sda").unwrap();
    assert_eq!((reader.transport, reader.model.as_str()), (Transport::Usb, "Generic STORAGE DEVICE"));
    assert_eq!(reader.objection, None);
}

#[test]
fn mounted_system_swap_and_locked_disks_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let system = workstation(dir.path());
    let why = |name: &str| fruit_flash::inspect(&system, name).unwrap().objection;
    assert_eq!(why("nvme0n1"), Some(Objection::System { mount: "/".to_owned() }), "through LUKS and LVM");
    assert_eq!(why("sde"), Some(Objection::System { mount: "/boot".to_owned() }));
    assert_eq!(why("sdc"), Some(Objection::Mounted { mount: "/media/my stick".to_owned() }));
    assert_eq!(why("sdg"), Some(Objection::Mounted { mount: "/mnt/b".to_owned() }), "btrfs");
    assert_eq!(why("sdd"), Some(Objection::Swap { device: "sdd1".to_owned() }));
    assert_eq!(why("sdf"), Some(Objection::ReadOnly));
    assert_eq!(why("sdh"), Some(Objection::SectorSize(4096)));
    assert_eq!(why("sdb"), Some(Objection::Empty));
    assert_eq!(why("mmcblk0"), Some(Objection::NotRemovable), "eMMC is soldered");
    assert_eq!(why("loop0"), Some(Objection::NotRemovable));
    assert_eq!(why("mmcblk1"), None);
}

#[test]
fn a_disk_held_by_something_unknown_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let system = workstation(dir.path());
    let folder = fs::canonicalize(system.sys.join("block/sda")).unwrap();
    fs::create_dir_all(folder.join("holders/md127")).unwrap();
    let why = fruit_flash::inspect(&system, "sda").unwrap().objection.unwrap();
    assert_eq!(why.to_string(), "sda is in use by md127");
}

#[test]
fn this_machine_can_be_listed() {
    fruit_flash::list(&System::default()).unwrap();
}

/// A card image of 8 MiB with 3 MiB of content in two runs.
fn build(dir: &Path) -> Image {
    let wanted = [1u8, 2].map(|n| Wanted {
        name: format!("part{n}"),
        type_guid: LINUX_DATA,
        guid: Uuid::from_bytes([n; 16]),
        size: 3 << 20,
    });
    let layout = gpt::plan(Uuid::from_bytes([9; 16]), Some(8 << 20), 1 << 20, Mbr::Protective, &wanted).unwrap();
    let card = Card::create(&dir.join("card.img"), layout).unwrap();
    let bytes: Vec<u8> = (0..1_500_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for n in [1, 2] {
        card.partition(n, |part| part.write_all_at(&bytes, 40_960)).unwrap();
    }
    card.finish().unwrap()
}

fn flash_to(image: &Path, target: &Path) -> Result<u64, FlashError> {
    let source = Source::open(image)?;
    let mut target = Target::open(&System::default(), target)?;
    let steps = Steps::default();
    let done = fruit_flash::write(&source, &mut target, &steps)?;
    let seen = steps.0.lock().unwrap();
    assert_eq!(seen.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["checking", "writing", "reading back"]);
    for (name, step) in &*seen {
        assert_eq!(step.done.load(Relaxed), step.total.load(Relaxed), "{name} ends at its end");
    }
    Ok(done.written)
}

/// Remembers what it was told.
#[derive(Default)]
struct Steps(Mutex<Vec<(String, Arc<Count>)>>);

#[derive(Default)]
struct Count {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress for Steps {
    fn say(&self, _: &str) {}

    fn step(&self, name: &str, total: u64, _: Unit) -> Box<dyn Step> {
        let count = Arc::new(Count { total: total.into(), ..Count::default() });
        self.0.lock().unwrap().push((name.to_owned(), count.clone()));
        Box::new(One(count))
    }
}

struct One(Arc<Count>);

impl Step for One {
    fn set_total(&self, total: u64) {
        self.0.total.store(total, Relaxed);
    }

    fn add(&self, amount: u64) {
        self.set(self.0.done.load(Relaxed) + amount);
    }

    fn set(&self, done: u64) {
        assert!(done <= self.0.total.load(Relaxed));
        self.0.done.store(done, Relaxed);
    }
}

#[test]
fn plain_and_compressed_images_arrive_whole_with_and_without_a_block_map() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(dir.path());
    let packed = dir.path().join("card.img.zst");
    let options = zst::Options { level: 3, threads: 1, sum_image: false };
    let made = zst::compress(&image, &packed, options, None).unwrap();
    made.draft.commit().unwrap();
    let expected = fs::read(&image.path).unwrap();
    let card = dir.path().join("card");
    for map in [None, Some(made.bmap.to_xml())] {
        if let Some(xml) = &map {
            fs::write(dir.path().join("card.img.bmap"), xml).unwrap();
        }
        for source in [&image.path, &packed] {
            fs::write(&card, "what was there before").unwrap();
            let written = flash_to(source, &card).unwrap();
            assert_eq!(written, map.as_ref().map_or(8 << 20, |_| made.bmap.mapped_bytes()));
            assert!(fs::read(&card).unwrap() == expected, "{source:?} with map: {}", map.is_some());
        }
    }
}

#[test]
fn a_damaged_image_is_told_by_its_block_map() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(dir.path());
    fs::write(dir.path().join("card.img.bmap"), zst::map(&image).unwrap().to_xml()).unwrap();
    let file = fs::File::options().write(true).open(&image.path).unwrap();
    WriteAt::write_all_at(&file, b"X", (1 << 20) + 50_000).unwrap();
    let error = flash_to(&image.path, &dir.path().join("card")).unwrap_err();
    assert!(matches!(error, FlashError::DamagedImage { first: 266, .. }), "{error}");
    assert!(!dir.path().join("card").exists(), "found before the first byte is written");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(dir.path());
    let card = dir.path().join("card");
    let mut map: Bmap = zst::map(&image).unwrap();
    map.image_size += 4096;
    let bmap = dir.path().join("card.img.bmap");
    fs::write(&bmap, map.to_xml()).unwrap();
    assert!(matches!(flash_to(&image.path, &card), Err(FlashError::OtherImage { .. })));
    fs::write(&bmap, map.to_xml().replace("4096", "4097")).unwrap();
    assert!(matches!(flash_to(&image.path, &card), Err(FlashError::Bmap { .. })));
    fs::remove_file(&bmap).unwrap();
    assert!(matches!(flash_to(&image.path, &image.path), Err(FlashError::SameFile(_))));
    assert_eq!(fs::metadata(&image.path).unwrap().len(), 8 << 20, "the image is still there");
    assert!(matches!(flash_to(&image.path, dir.path()), Err(FlashError::NotADisk(_))));
    let missing = flash_to(&image.path, Path::new("/dev/no-such-disk"));
    assert!(matches!(missing, Err(FlashError::NoDevice(_))), "a file in /dev must not be made");
    let stream = dir.path().join("stream.zst");
    let script = "zstd -q -c - < \"$0\" > \"$1\"";
    checker::passes("zstd", "sh", [Path::new("-c"), Path::new(script), &image.path, &stream]);
    flash_to(&stream, &card).unwrap();
    assert!(fs::read(&card).unwrap() == fs::read(&image.path).unwrap(), "the partition table says how long it is");
    // Two frames without a table of them: the first tells its own length only.
    let two = dir.path().join("two.zst");
    let script = "head -c 4194304 \"$0\" > half && zstd -q -f half -o 1 && zstd -q -f -c half >> 1 && mv 1 \"$1\"";
    let script = format!("cd \"${{1%/*}}\" && {script}");
    checker::passes("zstd", "sh", [Path::new("-c"), Path::new(&script), &image.path, &two]);
    // The halves are alike, so the second copy of the table is not where the first one says.
    let other = flash_to(&two, &card);
    assert!(matches!(other, Err(FlashError::Incomplete { .. })), "{other:?}");
    fs::write(&stream, &fs::read(&stream).unwrap()[..1000]).unwrap();
    fs::write(dir.path().join("stream.bmap"), zst::map(&image).unwrap().to_xml()).unwrap();
    let cut = flash_to(&stream, &card).unwrap_err();
    assert!(matches!(cut, FlashError::Incomplete { .. }) && cut.to_string().contains("stream.zst"), "{cut}");
}

/// The error of flashing `source` to a file that is not there yet and to one that holds something; neither is touched.
fn refused(source: &Path) -> FlashError {
    let dir = source.parent().unwrap();
    let (missing, precious) = (dir.join("missing"), dir.join("precious"));
    fs::write(&precious, "precious").unwrap();
    flash_to(source, &precious).unwrap_err();
    assert_eq!(fs::read(&precious).unwrap(), b"precious", "{source:?}");
    let error = flash_to(source, &missing).unwrap_err();
    assert!(!missing.exists(), "{source:?}");
    assert!(error.to_string().starts_with(&format!("{}: ", source.display())), "{error}");
    error
}

#[test]
fn what_is_no_image_is_refused_by_what_it_is_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let mut sector = vec![0; 512];
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    let files: [(&str, &[u8], &str); 11] = [
        ("empty.img", b"", "is empty"),
        ("a.img.bmap", b"<?xml version=\"1.0\" ?>\n<!-- for a.img -->\n<bmap version=\"2.0\">", "is a block map"),
        ("short.bmap", b"<bmap/>\n", "is a block map"),
        ("page.img", b"\n<!DOCTYPE HTML>\n<title>404</title>", "is a web page"),
        ("notes.img", "Gr\u{fc}\u{df}e\n".as_bytes(), "is text"),
        ("noise.img", &noise, "has no partition table"),
        ("zeros.img", &[0; 100_000], "has no partition table"),
        ("sector.img", &sector, "has no partition table"),
        ("card.zip", b"PK\x03\x04\x14\0", "unzip "),
        ("card.img.bz2", b"BZh91AY&SY", "bunzip2 --keep "),
        ("card.img.lz4", &[0x04, 0x22, 0x4D, 0x18, 0x64], "unlz4 "),
    ];
    for (name, bytes, says) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
        let error = refused(&dir.path().join(name));
        assert!(matches!(error, FlashError::NotAnImage { .. }), "{name}: {error}");
        assert!(error.to_string().contains(says), "{name}: {error}");
    }
    for (tool, end) in [("xz", "xz"), ("gzip", "gz"), ("zstd", "zst")] {
        let packed = dir.path().join(format!("noise.img.{end}"));
        let script = format!("{tool} -q -c < \"$0\" > \"$1\"");
        checker::passes(tool, "sh", [Path::new("-c"), Path::new(&script), &dir.path().join("noise.img"), &packed]);
        let error = refused(&packed);
        assert!(error.to_string().contains("has no partition table"), "{error}");
        fs::write(&packed, &fs::read(&packed).unwrap()[..10]).unwrap();
        refused(&packed);
    }
    let folder = dir.path().join("folder.img");
    fs::create_dir(&folder).unwrap();
    assert!(matches!(refused(&folder), FlashError::NotAnImage { .. }));
}

#[test]
fn an_image_that_is_cut_or_whose_table_is_damaged_is_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let image = build(dir.path());
    let map = zst::map(&image).unwrap().to_xml();
    let whole = fs::read(&image.path).unwrap();
    let damaged = dir.path().join("damaged.img");
    let bmap = dir.path().join("damaged.img.bmap");
    let with = |bytes: &[u8]| {
        fs::write(&damaged, bytes).unwrap();
        fs::write(&bmap, &map).unwrap();
        refused(&damaged);
        fs::remove_file(&bmap).unwrap();
        refused(&damaged)
    };
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for len in [whole.len() - 1, whole.len() - 512, whole.len() / 2, 1000, 512] {
        with(&whole[..len]);
    }
    assert!(with(&whole[..4 << 20]).to_string().contains("has 4194304 bytes, its partition table is for 8388608"));
    // Header and entries of the first copy, and of the second.
    for at in [512 + 24, 1024 + 40] {
        assert!(with(&changed(at)).to_string().contains("its partition table is damaged"));
    }
    for at in [whole.len() - 512 + 24, whole.len() - 33 * 512 + 40] {
        assert!(with(&changed(at)).to_string().contains("the second copy of its partition table"));
    }
    for (tool, end) in [("xz", "xz"), ("gzip", "gz"), ("zstd", "zst")] {
        let packed = dir.path().join(format!("packed.img.{end}"));
        let script = format!("{tool} -q -c < \"$0\" > \"$1\"");
        checker::passes(tool, "sh", [Path::new("-c"), Path::new(&script), &image.path, &packed]);
        let card = dir.path().join(format!("card-{end}"));
        flash_to(&packed, &card).unwrap();
        assert!(fs::read(&card).unwrap() == whole, "{end}");
        let bytes = fs::read(&packed).unwrap();
        for len in [bytes.len() - 1, bytes.len() / 2, 100] {
            fs::write(&packed, &bytes[..len]).unwrap();
            refused(&packed);
        }
        fs::write(&damaged, changed(whole.len() - 512 + 24)).unwrap();
        checker::passes(tool, "sh", [Path::new("-c"), Path::new(&script), &damaged, &packed]);
        assert!(refused(&packed).to_string().contains("the second copy of its partition table"));
    }
    // Our own: with a table of frames, with and without a block map.
    let packed = dir.path().join("card.img.zst");
    let options = zst::Options { level: 3, threads: 1, sum_image: false };
    zst::compress(&image, &packed, options, None).unwrap().draft.commit().unwrap();
    let bytes = fs::read(&packed).unwrap();
    for map in [None, Some(&map)] {
        if let Some(map) = map {
            fs::write(dir.path().join("card.img.bmap"), map).unwrap();
        }
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        // With a map, damage where nothing is mapped does no harm.
        let damaged = if map.is_none() { &damaged } else { &bytes[..100] };
        for bytes in [&bytes[..bytes.len() - 1], &bytes[..bytes.len() / 2], damaged] {
            fs::write(&packed, bytes).unwrap();
            refused(&packed);
        }
    }
}

#[test]
fn an_image_with_an_mbr_alone_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("other.img");
    let mut bytes = vec![0; 1 << 20];
    bytes[446..462].copy_from_slice(&[0, 0, 0, 0, 0x0C, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0]);
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    fs::write(&image, &bytes).unwrap();
    flash_to(&image, &dir.path().join("card")).unwrap();
    assert!(fs::read(dir.path().join("card")).unwrap() == bytes);
    fs::write(&image, &bytes[..1 << 19]).unwrap();
    assert!(matches!(refused(&image), FlashError::Incomplete { .. }));
}
