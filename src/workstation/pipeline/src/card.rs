//! Partitions of a card: how large they are, what is written into them.

use std::io::{self, Write};
use std::path::Path;

use fruit_base::AtPath;
use fruit_contract::image_manifest::Partition;
use fruit_contract::{Guid, bootctl};
use fruit_image::card::{Card, Image};
use fruit_image::draft::Draft;
use fruit_image::gpt::{self, Layout, Mbr, Wanted};
use fruit_image::storage::WriteAt;
use fruit_image::tree::{Content, Source, Tree};
use fruit_image::verity;
use fruit_image::{cpio, erofs, ext4, fat};
use fruit_recipe::{KernelForm, PartitionTable, Recipe, RootFormat};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::boot_files::BootPackages;
use super::flows::{self, SlotFiles};
use super::partitions;
use super::root::FinishedRoot;
use crate::device_files::sha256_of;
use crate::error::Error;

/// What Windows and macOS show as a drive.
const TYPE_BASIC_DATA: Uuid = Uuid::from_u128(0xEBD0A0A2_B9E5_4433_87C0_68B6B72699C7);
const TYPE_LINUX: Uuid = Uuid::from_u128(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4);
/// "Linux reserved": nothing mounts or formats it.
const TYPE_RESERVED: Uuid = Uuid::from_u128(0x8DA63339_0007_60C0_C436_083AC8230908);

const MIB: u64 = 1 << 20;
/// FAT32 with the smallest clusters, and room for the user's files.
const FIRMWARE_SIZE: u64 = 64 * MIB;
const STATE_SIZE: u64 = MIB;
/// An empty ext4 with a journal; it grows to the card at first boot.
const DATA_SIZE: u64 = 32 * MIB;
/// Sizes of `auto` slots: what the image needs and this much more (in percent), for the updates of years.
const SLOT_HEADROOM: u64 = 50;
const SLOT_STEP: u64 = 16 * MIB;
/// What a boot file system has to spare, for a person who puts a file there by hand.
const BOOT_ROOM: u64 = MIB / 4;
/// From this size on a boot file system is FAT32, which has clusters enough then; every loader reads both.
const LEAST_FAT32: u64 = 64 * MIB;
/// The initramfs is read by a slow loader and unpacked by a slow processor at each boot, but made at each build.
const INITRAMFS_LEVEL: i32 = 10;
const GZIP_LEVEL: u32 = 6;

/// The partitions' numbers.
pub const FIRMWARE: u32 = 1;
pub const BOOT_A: u32 = 2;
pub const ROOT_A: u32 = 4;
pub const STATE: u32 = 6;
pub const DATA: u32 = 7;

pub struct WrittenCard {
    /// Whole, and under its temporary name until `draft` is committed.
    pub image: Image,
    pub draft: Draft,
    pub partitions: Vec<Partition>,
    pub verity: String,
    pub command_line: String,
}

/// Writes the card of a finished root, which is to be `target`.
///
/// # Errors
/// A slot that is too small for its content, missing firmware files, file system errors.
pub fn write(
    recipe: &Recipe,
    root: &FinishedRoot,
    packages: &BootPackages,
    initramfs: Content,
    epoch: i64,
    target: &Path,
) -> Result<WrittenCard, Error> {
    let disk = Guid::of_disk(recipe.name.as_str());
    let kernel = kernel_image(recipe, &root.kernel)?;
    let mut slot =
        SlotFiles { kernel, initramfs, device_trees: root.device_trees.clone(), command_line: String::new() };

    let plan = RootPlan::new(recipe, &root.tree, epoch)?;
    let words = command_line_words(recipe);
    // The root hash is known once the root is written; any other one takes as much room.
    slot.command_line = partitions::command_line(disk, &plan.verity([0; 32]), &words);
    let boot_size = BootSize::of(&partitions::boot(&recipe.board, packages, &slot, epoch)?)?;
    let root_len = plan.total_len()?;
    let layout = layout(recipe, disk, root_len, boot_size.bytes)?;
    let size_of = |number: u32| layout.partitions[number as usize - 1].size();
    let copies =
        bootctl::COPY_OFFSETS.map(|offset| (layout.partitions[STATE as usize - 1].start() + offset) / gpt::SECTOR);

    let card = Card::create(target, layout.clone()).map_err(fail)?;
    let verity = plan.write(&card)?;
    slot.command_line = partitions::command_line(disk, &verity, &words);
    let boot_tree = partitions::boot(&recipe.board, packages, &slot, epoch)?;
    let firmware_tree = partitions::firmware(&recipe.board, packages, copies, epoch)?;
    let fat_options = |kind, size, label: &str| fat::Options {
        kind,
        size,
        label: label.to_owned(),
        volume_id: volume_id(recipe, label),
        time: epoch,
    };
    let firmware = fat_options(fat::Kind::Fat32, size_of(FIRMWARE), "FRUITOS");
    let boot = fat_options(boot_size.kind, boot_size.bytes, "BOOT");
    card.partition(FIRMWARE, |part| fat::write(&firmware_tree, &firmware, part).map_err(Failed::from))?;
    card.partition(BOOT_A, |part| {
        // Free clusters too: all bytes of a slot are the same on every card, or none could be made from another's.
        part.claim(0, boot_size.bytes)?;
        fat::write(&boot_tree, &boot, part).map_err(Failed::from)
    })?;
    card.partition(STATE, |part| part.write_all_at(&bootctl::fresh_block(), 0).map_err(Failed::from))?;
    let data = ext4::Options {
        size: size_of(DATA),
        label: "data".to_owned(),
        uuid: derived_uuid(recipe, "data"),
        time: epoch,
        inodes: None,
        reserved_percent: 0,
    };
    card.partition(DATA, |part| ext4::write(&Tree::new(epoch), &data, part).map_err(Failed::from))?;
    let (image, draft) = card.into_draft();
    let mut partitions = report(&layout, &image, boot_size.bytes, root_len);
    let boot = &mut partitions[BOOT_A as usize - 1];
    let source = Source::open(&image.path).at(&image.path)?;
    boot.sha256 = Some(sha256_of(&Content::Range { source, offset: boot.start, len: boot_size.bytes })?);
    Ok(WrittenCard { image, draft, partitions, verity: verity.to_string(), command_line: slot.command_line })
}

fn fail(error: impl std::fmt::Display) -> Error {
    Error::other(error.to_string())
}

/// Carries any format's error out of a partition's closure.
struct Failed(Error);

impl<E: std::fmt::Display> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed(fail(error))
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Error {
        failed.0
    }
}

fn report(layout: &Layout, image: &Image, boot_len: u64, root_len: u64) -> Vec<Partition> {
    let content_size = |number| match number {
        BOOT_A => Some(boot_len),
        ROOT_A => Some(root_len),
        _ => None,
    };
    layout
        .partitions
        .iter()
        .map(|p| Partition {
            number: p.number,
            name: p.name.clone(),
            guid: p.guid.to_string(),
            start: p.start(),
            size: p.size(),
            used: image.mapped.bytes_within(p.start(), p.size()),
            content_size: content_size(p.number),
            sha256: None,
        })
        .collect()
}

/// The kernel in the form that the board's loader takes.
fn kernel_image(recipe: &Recipe, image: &Content) -> Result<Content, Error> {
    match recipe.board.kernel.form.value {
        KernelForm::Plain => Ok(image.clone()),
        KernelForm::Gzip => {
            let bytes = image.to_vec().map_err(fail)?;
            let mut encoder = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
            encoder.write_all(&bytes).map_err(fail)?;
            Ok(encoder.finish().map_err(fail)?.into())
        }
    }
}

/// The archive of an initramfs, as the kernel unpacks it.
///
/// # Errors
/// Contents that can't be read.
pub fn compress_initramfs(tree: &Tree) -> Result<Content, Error> {
    let mut archive = Vec::new();
    cpio::write_zstd(tree, INITRAMFS_LEVEL, &mut archive).map_err(fail)?;
    Ok(archive.into())
}

/// What a slot's boot file system is: as large as its files need, whatever the partition has.
struct BootSize {
    kind: fat::Kind,
    bytes: u64,
}

impl BootSize {
    fn of(tree: &Tree) -> Result<BootSize, Error> {
        let least = |kind| fat::least_size(tree, kind, BOOT_ROOM).map_err(fail);
        let bytes = least(fat::Kind::Fat16)?;
        if bytes < LEAST_FAT32 {
            return Ok(BootSize { kind: fat::Kind::Fat16, bytes });
        }
        Ok(BootSize { kind: fat::Kind::Fat32, bytes: least(fat::Kind::Fat32)?.max(LEAST_FAT32) })
    }
}

fn command_line_words(recipe: &Recipe) -> Vec<String> {
    // After a panic the board starts again, so that the loader can fall back.
    let fixed = ["panic=10".to_owned(), "quiet".to_owned()];
    let written = recipe.board.command_line.iter().chain(&recipe.kernel.command_line);
    fixed.into_iter().chain(written.map(|w| w.as_str().to_owned())).collect()
}

fn layout(recipe: &Recipe, disk: Guid, root_len: u64, boot_len: u64) -> Result<Layout, Error> {
    let sizes = &recipe.partitions;
    let grown = |len: u64| (len + len * SLOT_HEADROOM / 100).next_multiple_of(SLOT_STEP);
    let boot = sizes.boot.bytes().unwrap_or_else(|| grown(boot_len).max(64 * MIB));
    let root = sizes.root.bytes().unwrap_or_else(|| grown(root_len));
    if root < root_len {
        let message =
            format!("the root needs {} MiB, and its partition is to have {}", root_len.div_ceil(MIB), root / MIB);
        let place = sizes.root.place.clone();
        return Err(fruit_recipe::Diagnostics::from(fruit_recipe::Diagnostic::error(message).maybe_place(place)).into());
    }
    if boot < boot_len {
        let message = format!(
            "kernel, initramfs and device trees need {} MiB, and their partition is to have {}",
            boot_len / MIB,
            boot / MIB
        );
        let place = sizes.boot.place.clone();
        return Err(fruit_recipe::Diagnostics::from(fruit_recipe::Diagnostic::error(message).maybe_place(place)).into());
    }
    let wanted = [
        ("firmware", TYPE_BASIC_DATA, sizes.firmware.bytes().unwrap_or(FIRMWARE_SIZE)),
        ("boot-a", flows::boot_type(&recipe.board), boot),
        ("boot-b", flows::boot_type(&recipe.board), boot),
        ("root-a", TYPE_LINUX, root),
        ("root-b", TYPE_LINUX, root),
        ("state", TYPE_RESERVED, STATE_SIZE),
        ("data", TYPE_LINUX, sizes.data.bytes().unwrap_or(DATA_SIZE)),
    ];
    let wanted: Vec<Wanted> = (1..)
        .zip(wanted)
        .map(|(number, (name, type_guid, size))| Wanted {
            name: name.to_owned(),
            type_guid,
            guid: Uuid::from_bytes(disk.partition(number).bytes()),
            size,
        })
        .collect();
    let mbr = match recipe.board.partition_table.value {
        PartitionTable::Gpt => Mbr::Protective,
        PartitionTable::HybridMbr => Mbr::Hybrid { partition: FIRMWARE },
    };
    gpt::plan(Uuid::from_bytes(disk.bytes()), None, recipe.board.alignment.bytes(), mbr, &wanted).map_err(fail)
}

/// A UUID that follows from name, version and `part`: two builds of one version are the same bytes.
pub fn derived_uuid(recipe: &Recipe, part: &str) -> Uuid {
    let text = format!("fruitbuild\0{}\0{}\0{}\0{part}", recipe.name, recipe.version, recipe.board_name);
    let hash = Sha256::digest(text);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn volume_id(recipe: &Recipe, part: &str) -> u32 {
    let bytes = derived_uuid(recipe, part).into_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The root's file system, laid out but not written.
enum RootPlan<'t> {
    Erofs(erofs::Plan<'t>, verity::Options),
    Ext4 { tree: &'t Tree, options: ext4::Options, verity: verity::Options },
}

impl<'t> RootPlan<'t> {
    fn new(recipe: &Recipe, tree: &'t Tree, epoch: i64) -> Result<RootPlan<'t>, Error> {
        let uuid = derived_uuid(recipe, "root");
        let salt = Sha256::digest(uuid.as_bytes())[..16].to_vec();
        let verity = verity::Options { uuid: derived_uuid(recipe, "verity").into_bytes(), salt };
        match recipe.root.format.value {
            RootFormat::Erofs => {
                let name: String = recipe.name.as_str().chars().take(15).collect();
                let options = erofs::Options { uuid: uuid.into_bytes(), volume_name: name, build_time: epoch };
                Ok(RootPlan::Erofs(erofs::Plan::new(tree, options).map_err(fail)?, verity))
            }
            RootFormat::Ext4 => {
                let size = ext4_size(tree);
                let options = ext4::Options {
                    size,
                    label: "root".to_owned(),
                    uuid,
                    time: epoch,
                    inodes: Some(tree.iter().count() as u32 + 64),
                    reserved_percent: 0,
                };
                Ok(RootPlan::Ext4 { tree, options, verity })
            }
        }
    }

    fn options(&self) -> &verity::Options {
        match self {
            RootPlan::Erofs(_, options) => options,
            RootPlan::Ext4 { verity, .. } => verity,
        }
    }

    /// What the kernel is told about the root whose root hash this is.
    fn verity(&self, root_hash: [u8; 32]) -> verity::Params {
        let data_blocks = self.data_len() / verity::BLOCK;
        verity::Params { data_blocks, hash_start_block: data_blocks + 1, root_hash, salt: self.options().salt.clone() }
    }

    fn data_len(&self) -> u64 {
        match self {
            RootPlan::Erofs(plan, _) => plan.image_len(),
            RootPlan::Ext4 { options, .. } => options.size,
        }
    }

    /// With superblock and hash tree.
    fn total_len(&self) -> Result<u64, Error> {
        verity::total_len(self.data_len()).map_err(fail)
    }

    fn write(&self, card: &Card) -> Result<verity::Params, Error> {
        let (file, start) = card.claim(ROOT_A, self.total_len()?).map_err(fail)?;
        match self {
            RootPlan::Erofs(plan, options) => {
                let mut writer = verity::Writer::new(file, start, plan.image_len(), options).map_err(fail)?;
                plan.write(&mut writer).map_err(fail)?;
                writer.finish().map_err(fail)
            }
            // mkext4 writes by position, verity hashes a stream: written first, then hashed from the page cache.
            RootPlan::Ext4 { tree, options, verity: verity_options } => {
                card.partition(ROOT_A, |part| ext4::write(tree, options, part).map_err(Failed::from))?;
                let source = file.try_clone().map_err(fail)?;
                let mut writer = verity::Writer::new(file, start, options.size, verity_options).map_err(fail)?;
                stream(&source, start, options.size, &mut writer).map_err(fail)?;
                writer.finish().map_err(fail)
            }
        }
    }
}

/// Contents in whole blocks, an inode of 256 bytes and a directory entry for each file, the journal, and some room.
fn ext4_size(tree: &Tree) -> u64 {
    let content: u64 = tree
        .iter()
        .map(|(.., inode)| match &inode.kind {
            fruit_image::tree::Kind::File(content) => content.len().next_multiple_of(4096) + 1024,
            _ => 4096 + 1024,
        })
        .sum();
    (content + content / 20 + 40 * MIB).next_multiple_of(MIB)
}

fn stream(file: &std::fs::File, start: u64, len: u64, to: &mut impl Write) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < len {
        let count = (len - at).min(buffer.len() as u64) as usize;
        file.read_exact_at(&mut buffer[..count], start + at)?;
        to.write_all(&buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}
