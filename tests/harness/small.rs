//! Card images of a few MiB, with their manifests, as a build writes them but for the content: for what publishing does
//! with any image.

use std::fs;
use std::path::{Path, PathBuf};

use fruit_contract::image_manifest::{self as manifest, ImageManifest};
use fruit_image::card::Card;
use fruit_image::gpt::{self, Mbr, Wanted};
use fruit_image::tree::{Content, Inode, Source, Tree};
use fruit_image::{erofs, fat, verity};
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const TIME: i64 = 1_767_225_600;
pub const BOARD: &str = "raspberrypi3";

pub struct Small {
    pub version: &'static str,
    /// Bytes of a file that no other version has.
    pub extra: usize,
    /// MiB of a root's partition.
    pub root_size: u64,
    pub updater: bool,
}

impl Small {
    pub fn new(version: &'static str) -> Small {
        Small { version, extra: 10_000, root_size: 4, updater: true }
    }

    /// The image `out/node-VERSION-BOARD.img` below `folder`.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let out = folder.join("out");
        fs::create_dir_all(&out).unwrap();
        let stem = format!("node-{}-{BOARD}", self.version);
        let seed = self.version.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut random = fastrand::Rng::with_seed(seed);
        let mut root = Tree::new(TIME);
        root.insert("common", Inode::file(vec![7u8; 300_000], 0o644, TIME)).unwrap();
        let extra: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(self.extra).collect();
        root.insert("extra", Inode::file(extra, 0o644, TIME)).unwrap();
        let mut boot = Tree::new(TIME);
        boot.insert("kernel", Inode::file(vec![1u8; 50_000], 0o644, TIME)).unwrap();

        let slot = [
            ("boot-a", 16 * MIB),
            ("boot-b", 16 * MIB),
            ("root-a", self.root_size * MIB),
            ("root-b", self.root_size * MIB),
        ];
        let wanted: Vec<Wanted> = slot
            .iter()
            .enumerate()
            .map(|(i, (name, size))| Wanted {
                name: (*name).to_owned(),
                type_guid: Uuid::from_u128(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4),
                guid: Uuid::from_u128(1 + i as u128),
                size: *size,
            })
            .collect();
        let layout = gpt::plan(Uuid::from_u128(99), None, MIB, Mbr::Protective, &wanted).unwrap();
        let card = Card::create(&out.join(format!("{stem}.img")), layout).unwrap();
        let options = erofs::Options { uuid: [1; 16], volume_name: "node".into(), build_time: TIME };
        let plan = erofs::Plan::new(&root, options).unwrap();
        let hashing = verity::Options { uuid: [2; 16], salt: vec![3; 16] };
        let (file, start) = card.claim(3, verity::total_len(plan.image_len()).unwrap()).unwrap();
        let mut writer = verity::Writer::new(file, start, plan.image_len(), &hashing).unwrap();
        plan.write(&mut writer).unwrap();
        let verity = writer.finish().unwrap().to_string();
        let size = fat::least_size(&boot, fat::Kind::Fat16, MIB / 4).unwrap();
        let options = fat::Options { kind: fat::Kind::Fat16, size, label: "BOOT".into(), volume_id: 1, time: TIME };
        card.partition(1, |part| {
            part.claim(0, size)?;
            fat::write(&boot, &options, part).map_err(|error| std::io::Error::other(error.to_string()))
        })
        .unwrap();
        let image = card.finish().unwrap();
        let mut described = self.manifest(seed, image.size, verity);
        described.partitions.push(boot_described(&image.path, size));
        let text = described.to_text().unwrap();
        fs::write(out.join(format!("{stem}.manifest.json")), text).unwrap();
        image.path
    }

    fn manifest(&self, seed: u64, disk_size: u64, verity: String) -> ImageManifest {
        ImageManifest {
            format: manifest::FORMAT,
            tool: "tests".into(),
            build_id: format!("{seed:032x}"),
            source_date_epoch: TIME,
            image: manifest::Image {
                name: "node".into(),
                version: self.version.into(),
                board: BOARD.into(),
                architecture: "arm64".into(),
                compatible: vec!["raspberrypi,3-model-b".into()],
                disk_size,
                bytes_to_write: disk_size,
            },
            release: manifest::Release {
                product: "node".into(),
                epoch: 0,
                min_bootloader: 0,
                updater: Some(self.updater),
            },
            variables: std::collections::BTreeMap::new(),
            kernel: manifest::Kernel { release: "6.12".into(), command_line: String::new(), verity },
            partitions: Vec::new(),
            inputs: Vec::new(),
            repositories: Vec::new(),
            packages: Vec::new(),
            downloads: Vec::new(),
            wheels: Vec::new(),
            containers: Vec::new(),
            pruned: Vec::new(),
            kept: Vec::new(),
            units: Vec::new(),
            enabled_by: Default::default(),
            warnings: Vec::new(),
            scripts_run: None,
            scripts_not_reproduced: Vec::new(),
        }
    }
}

/// The boot partition as the manifest has it.
fn boot_described(image: &Path, content_size: u64) -> manifest::Partition {
    let found = gpt::read(&fruit_image::disk::DiskFile::open(image).unwrap()).unwrap().layout.partitions;
    let boot = found.into_iter().find(|partition| partition.name == "boot-a").unwrap();
    let source = Source::open(image).unwrap();
    let content = Content::Range { source, offset: boot.start(), len: content_size };
    manifest::Partition {
        number: boot.number,
        name: boot.name.clone(),
        guid: boot.guid.to_string(),
        start: boot.start(),
        size: boot.size(),
        used: content_size,
        content_size: Some(content_size),
        sha256: Some(content.sha256().unwrap().to_string()),
    }
}
