//! What a slot holds: the two volumes of a card image, where their files are, and what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fruit_base::{AtPath, Sha256};
use fruit_contract::image_manifest::{self, ImageManifest};
use fruit_image::disk::{Disk, DiskFile, Window};
use fruit_image::erofs;
use fruit_image::fat;
use fruit_image::gpt;
use fruit_image::storage::{Extent, ReadAt, Region};
use fruit_image::tree::{Content, Kind, Source};
use fruit_image::verity;
use fruit_release::manifest::{SlotSizes, State, Verity, VolumeKind};
use fruit_release::{Digest, Manifest};

use crate::error::Error;

/// What a release is, as its target's entry says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub product: String,
    pub board: String,
    /// Device-tree strings of boards that it runs on.
    pub compatible: Vec<String>,
    /// Debian's name.
    pub architecture: String,
    pub version: String,
    /// 32 hexadecimal digits.
    pub build_id: String,
    /// Seconds since 1970.
    pub build_time: u64,
    /// Raised when older releases must never run again.
    pub epoch: u32,
    /// Version of the loader's script that it needs.
    pub min_bootloader: u32,
    pub packages: BTreeMap<String, String>,
    /// The slots of cards that were made with it; releases of older programs do not say.
    pub slot_sizes: Option<SlotSizes>,
    /// Whether it carries the updater, if that is known.
    pub updater: Option<bool>,
}

/// One volume, by reference to the file that it is in.
#[derive(Clone, Debug)]
pub struct Part {
    pub source: Arc<Source>,
    /// Where it is in the file.
    pub extent: Extent,
    /// Path and extents (within the volume) of each file, hard links once.
    pub files: Vec<(String, Vec<Extent>)>,
}

impl Part {
    pub fn region(&self) -> Region {
        Region::new(self.source.clone(), self.extent)
    }
}

/// A slot's content.
#[derive(Clone, Debug)]
pub struct Slot {
    pub identity: Identity,
    pub verity: Verity,
    /// In the order of [`VolumeKind::ALL`].
    pub parts: [Part; 2],
}

impl Slot {
    pub fn part(&self, kind: VolumeKind) -> &Part {
        &self.parts[usize::from(kind.number())]
    }

    /// What a delta from it says about where it starts.
    ///
    /// # Errors
    /// Verity parameters that are none.
    pub fn state(&self) -> Result<State, Error> {
        let parameters = parameters(&self.verity)?;
        Ok(State {
            version: self.identity.version.clone(),
            build_id: self.identity.build_id.clone(),
            root_hash: Digest(parameters.root_hash),
            lens: self.parts.iter().map(|part| part.extent.len).collect(),
        })
    }

    /// Slot a of a card image, described by the manifest that `fruitbuild build` wrote beside it. `path`: either file.
    ///
    /// # Errors
    /// No manifest beside the image, an image without slot a, damage.
    pub fn of_image(path: &Path) -> Result<Slot, Error> {
        let (image, manifest) = image_and_manifest(path)?;
        let described = read_manifest(&manifest)?;
        let disk = DiskFile::open(&image).map_err(|error| Error::other(error.to_string()))?;
        let in_image = |error: &dyn std::fmt::Display| Error::other(format!("{}: {error}", image.display()));
        let found = gpt::read(&disk).map_err(|error| in_image(&error))?;
        let partition = |name: &str| {
            let found = found.layout.partitions.iter().find(|p| p.name == name);
            let missing = || in_image(&format_args!("has no partition {name}"));
            found.map(|p| Extent { offset: p.start(), len: p.size() }).ok_or_else(missing)
        };
        let root = partition("root-a")?;
        let window = Window::new(&disk, root.offset, root.len);
        let verity = verity_of(&window, &described.kernel.verity).map_err(|error| in_image(&error))?;
        // Nodes would refuse it, or start from it and fail, when it is signed already.
        let bad = verity::verify(&window, &parameters(&verity)?).map_err(|error| in_image(&error))?;
        let damaged = |what: &str| {
            let (image, manifest) = (image.display(), manifest.display());
            Error::input(format!("{image}: damaged: {what} is not what {manifest} says; build the image again"))
        };
        if let Some(bad) = bad {
            return Err(damaged(&format!("{bad} of its root")));
        }
        let data = parameters(&verity)?.data_blocks * verity::BLOCK;
        let boot = partition("boot-a")?;
        let (root_len, boot_len) = (root.len, boot.len);
        let fat = fat::Volume::open(&Window::new(&disk, boot.offset, boot.len)).map_err(|e| in_image(&e))?.size();
        let source = Source::open(&image).map_err(|error| Error::other(error.to_string()))?;
        let boot = Extent { offset: boot.offset, len: fat };
        if !is_as_described(&source, boot, &described).map_err(|error| in_image(&error))? {
            return Err(damaged("boot partition"));
        }
        let parts = [root_part(&source, Extent { offset: root.offset, len: data }), boot_part(&source, &disk, boot)];
        let [root, boot] = parts;
        Ok(Slot {
            identity: identity(described, SlotSizes { root: root_len, boot: boot_len })
                .map_err(|why| Error::input(format!("{}: {why}", manifest.display())))?,
            verity,
            parts: [root.map_err(|e| in_image(&e))?, boot.map_err(|e| in_image(&e))?],
        })
    }

    /// The slot of a release whose volumes were put together again in two files.
    ///
    /// # Errors
    /// Volumes that are not what the manifest says.
    pub fn of_volumes(identity: Identity, manifest: &Manifest, files: [&Path; 2]) -> Result<Slot, Error> {
        let missing = || Error::other("a manifest without root or without verity parameters");
        let len = |kind| manifest.volume(kind).map(|v| v.len).ok_or_else(missing);
        let verity = manifest.volume(VolumeKind::Root).and_then(|v| v.verity.clone()).ok_or_else(missing)?;
        let [root, boot] = files;
        let broken = |path: &Path| {
            let path = path.to_owned();
            move |error: String| Error::other(format!("{}: {error}", path.display()))
        };
        let open = |path: &Path| Source::open(path).map_err(|error| Error::other(error.to_string()));
        let disk = DiskFile::open(boot).map_err(|error| Error::other(error.to_string()))?;
        let whole = |len| Extent { offset: 0, len };
        let root_part = root_part(&open(root)?, whole(len(VolumeKind::Root)?)).map_err(broken(root))?;
        let boot_part = boot_part(&open(boot)?, &disk, whole(len(VolumeKind::Boot)?)).map_err(broken(boot))?;
        Ok(Slot { identity, verity, parts: [root_part, boot_part] })
    }
}

/// Whether a boot volume is what the manifest says of it, if it does.
fn is_as_described(source: &Arc<Source>, boot: Extent, described: &ImageManifest) -> std::io::Result<bool> {
    let said = described.partitions.iter().find(|partition| partition.name == "boot-a");
    let Some(said) = said.and_then(|partition| partition.sha256.as_ref()) else { return Ok(true) };
    let volume = Content::Range { source: source.clone(), offset: boot.offset, len: boot.len };
    Ok(Sha256::parse(said) == Some(volume.sha256()?))
}

/// An image and the manifest beside it, found by either.
fn image_and_manifest(path: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = [".manifest.json", ".img"].iter().find_map(|ending| name.strip_suffix(ending));
    let stem = stem.ok_or_else(|| {
        let hint = if name.ends_with(".zst") { "; unpack it first: zstd -d" } else { "" };
        Error::input(format!("{}: expected an image (.img) or its manifest (.manifest.json){hint}", path.display()))
    })?;
    let (image, manifest) =
        (path.with_file_name(format!("{stem}.img")), path.with_file_name(format!("{stem}.manifest.json")));
    for (wanted, other) in [(&image, &manifest), (&manifest, &image)] {
        if !wanted.is_file() {
            let why = format!("{}: not there; it belongs beside {}", wanted.display(), other.display());
            return Err(Error::input(format!("{why}. `fruitbuild build` makes both")));
        }
    }
    Ok((image, manifest))
}

/// The manifest that a build wrote.
///
/// # Errors
/// A file that cannot be read or is no manifest.
pub fn read_manifest(path: &Path) -> Result<ImageManifest, Error> {
    let file = std::fs::File::open(path).at(path)?;
    let mut bytes = Vec::new();
    file.take(image_manifest::TEXT_MAX + 1).read_to_end(&mut bytes).at(path)?;
    ImageManifest::read(&bytes).map_err(|error| Error::input(format!("{}: {error}", path.display())))
}

fn identity(described: ImageManifest, slot_sizes: SlotSizes) -> Result<Identity, String> {
    let ImageManifest { image, release, .. } = described;
    let identity = Identity {
        product: release.product,
        board: image.board,
        compatible: image.compatible,
        architecture: image.architecture,
        version: image.version,
        build_id: described.build_id,
        build_time: u64::try_from(described.source_date_epoch)
            .map_err(|_| format!("source_date_epoch is {}: before 1970", described.source_date_epoch))?,
        epoch: release.epoch,
        min_bootloader: release.min_bootloader,
        packages: described.packages.into_iter().map(|p| (p.name, p.version)).collect(),
        slot_sizes: Some(slot_sizes),
        updater: release.updater,
    };
    // They become paths in the repository.
    let path = Manifest::new(&identity.product, &identity.board, &identity.version).target_path();
    if !fruit_release::name::is_target_path(&path) {
        return Err(format!("{path:?} cannot be the path of a release: product, board or version is odd or too long"));
    }
    let build = &identity.build_id;
    if build.len() != 32 || !build.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("build_id is {build:?}; expected 32 hexadecimal digits"));
    }
    Ok(identity)
}

/// `uuid` of `struct verity_sb`, cryptsetup `lib/verity/verity.c`.
const VERITY_UUID: u64 = 16;

/// The parameters that the manifest has, with the UUID that only the superblock behind the data has.
fn verity_of<D: Disk + ?Sized>(root: &D, parameters: &str) -> Result<Verity, String> {
    let parsed: verity::Params = parameters.parse().map_err(|error: verity::NotParams| error.to_string())?;
    let superblock = parsed.data_blocks.checked_mul(verity::BLOCK).ok_or("more blocks than a number holds")?;
    let mut uuid = [0; 16];
    root.read_exact_at(&mut uuid, superblock + VERITY_UUID).map_err(|error| error.to_string())?;
    Ok(Verity { uuid: fruit_contract::cmdline::hex(&uuid), parameters: parameters.to_owned() })
}

fn parameters(verity: &Verity) -> Result<verity::Params, Error> {
    verity.parameters.parse().map_err(|error: verity::NotParams| Error::other(error.to_string()))
}

/// The root; where it is no EROFS its files are not known, and it is coded as one.
fn root_part(source: &Arc<Source>, extent: Extent) -> Result<Part, String> {
    let region = Region::new(source.clone(), extent);
    let mut head = [0; 4096];
    region.read_exact_at(&mut head, 0).map_err(|error| error.to_string())?;
    let mut files = Vec::new();
    if erofs::is_erofs(&head) {
        let reader = erofs::Reader::open(region, extent.len).map_err(|error| error.to_string())?;
        let tree = reader.to_tree().map_err(|error| error.to_string())?;
        let mut seen = BTreeSet::new();
        for (path, id, inode) in tree.iter() {
            let Kind::File(content) = &inode.kind else { continue };
            let mut extents = Vec::new();
            places(content, extent.offset, &mut extents);
            if seen.insert(id) && !extents.is_empty() {
                files.push((path.to_owned(), extents));
            }
        }
    }
    Ok(Part { source: source.clone(), extent, files })
}

/// Where the parts of a content are in the volume that starts at byte `start` of their file.
fn places(content: &Content, start: u64, extents: &mut Vec<Extent>) {
    match content {
        // Contents of an image that is a file are references, but for empty ones.
        Content::Bytes(_) => {}
        Content::Range { offset, len, .. } => extents.push(Extent { offset: offset - start, len: *len }),
        Content::Joined(parts) => parts.iter().for_each(|part| places(part, start, extents)),
    }
}

fn boot_part(source: &Arc<Source>, disk: &DiskFile, extent: Extent) -> Result<Part, String> {
    let window = Window::new(disk, extent.offset, extent.len);
    let volume = fat::Volume::open(&window).map_err(|error| error.to_string())?;
    let mut files = Vec::new();
    for entry in volume.list().map_err(|error| error.to_string())? {
        if !entry.is_dir && entry.size > 0 {
            files.push((entry.path.clone(), volume.extents(&entry).map_err(|error| error.to_string())?));
        }
    }
    Ok(Part { source: source.clone(), extent, files })
}
