//! What an emulated machine needs of a recipe's image: a disk, and the files that QEMU starts with.

use std::path::{Path, PathBuf};

use fruit_base::AtPath;
use fruit_debian::{Lock, Mirrors, Store};
use fruit_flash::node_config;
use fruit_image::disk::DiskFile;
use fruit_image::fat::Volume;
use fruit_image::inspect;
use fruit_image::tree::Content;
use fruit_pipeline::boot_files::{BootPackages, package_file};
use fruit_pipeline::outputs::Names;
use fruit_pipeline::sources::Sources;
use fruit_pipeline::{lock, sources};
use fruit_progress::Progress;
use fruit_recipe::{Board, FileOfPackage, Recipe};

use crate::error::Error;
use crate::{Plan, StartFiles, make_disk};

/// Cards are at least this large, so that the data partition grows at first boot.
const LEAST_DISK: u64 = 1 << 30;
/// A device tree, loader or kernel larger than this is none.
const MAX_START_FILE: u64 = 64 << 20;

/// Which image is to be started, and as what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Recipe, whose image in `out` is started.
    pub recipe: PathBuf,
    /// Another image of the recipe.
    pub image: Option<PathBuf>,
    /// One of the board's emulated machines; none: the first.
    pub machine: Option<String>,
    /// Folder with the image of the recipe.
    pub out: PathBuf,
    /// Disk file that outlives the machine; made from the image if it is not there.
    pub disk: Option<PathBuf>,
    /// `fruit.yaml` that the card gets before the machine starts.
    pub config: Option<PathBuf>,
    /// Where packages with files that QEMU starts with come from.
    pub sources: Sources,
}

/// Everything that QEMU needs for the image of a recipe, as files.
pub struct Prepared {
    recipe: Recipe,
    machine: String,
    files: StartFiles,
    disk: PathBuf,
    /// Holds the files and, if it is not to be kept, the disk.
    _folder: tempfile::TempDir,
}

impl Prepared {
    /// # Errors
    /// No image, no such machine of the board, start files that cannot be had.
    pub fn new(options: &Options, progress: &dyn Progress) -> Result<Prepared, Error> {
        let is_recipe = options.recipe.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if !is_recipe {
            return Err(Error::input(format!(
                "{}: give the recipe of the image; with --image another image of it is started",
                options.recipe.display()
            )));
        }
        let recipe = fruit_recipe::load(&options.recipe, &fruit_pipeline::search())?;
        let image = options.image.clone().unwrap_or_else(|| Names::new(&recipe, &options.out).img);
        if !image.is_file() {
            let message = format!(
                "{}: there is no such image; make it with: fruitbuild build {}",
                image.display(),
                options.recipe.display()
            );
            return Err(Error::input(message));
        }
        let machine = machine_name(&recipe.board, options.machine.as_deref())?;
        let folder = tempfile::tempdir().map_err(|error| Error::other(error.to_string()))?;
        let disk = options.disk.clone().unwrap_or_else(|| folder.path().join("disk.img"));
        if !disk.exists() {
            make_disk(&image, &disk, LEAST_DISK).map_err(|error| Error::other(error.to_string()))?;
        }
        if let Some(config) = &options.config {
            node_config::put(&disk, node_config::read(config)?)?;
        }
        let files = start_files(&recipe, &machine, &image, folder.path(), options, progress)?;
        Ok(Prepared { recipe, machine, files, disk, _folder: folder })
    }

    /// The card, as a file.
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// The machine with this card in it; see [`Plan::ssh_port`].
    pub fn plan(&self, ssh_port: Option<u16>) -> Plan<'_> {
        let (name, qemu) = self
            .recipe
            .board
            .qemu
            .iter()
            .find(|(name, _)| name.as_str() == self.machine)
            .unwrap_or_else(|| unreachable!("machine_name found it"));
        let architecture = self.recipe.board.architecture.value;
        Plan {
            machine: name.as_str(),
            architecture,
            qemu,
            files: &self.files,
            disk: &self.disk,
            ssh_port,
            monitor: None,
        }
    }
}

fn machine_name(board: &Board, wanted: Option<&str>) -> Result<String, Error> {
    let names: Vec<&str> = board.qemu.iter().map(|(name, _)| name.as_str()).collect();
    match (wanted, &names[..]) {
        (_, []) => Err(Error::input(format!("no emulated machine is known for this board ({})", board.description))),
        (None, [first, ..]) => Ok((*first).to_owned()),
        (Some(wanted), names) if names.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(wanted), names) => {
            Err(Error::input(format!("the board has no emulated machine {wanted}; it has {}", names.join(", "))))
        }
    }
}

fn start_files(
    recipe: &Recipe,
    machine: &str,
    image: &Path,
    folder: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<StartFiles, Error> {
    let Some(qemu) = recipe.board.qemu.get(machine) else {
        return Ok(StartFiles::default());
    };
    let packages = packages_of(recipe, options, progress)?;
    let write = |name: &str, bytes: &[u8]| -> Result<PathBuf, Error> {
        let path = folder.join(name);
        std::fs::write(&path, bytes).at(&path)?;
        Ok(path)
    };
    let from_package = |name: &str, file: &Option<FileOfPackage>| -> Result<Option<PathBuf>, Error> {
        let Some(file) = file else { return Ok(None) };
        let content: Content = package_file(&packages, file.package.as_str(), &file.file.value)?;
        let bytes = content.to_vec().map_err(|error| Error::other(error.to_string()))?;
        write(name, &bytes).map(Some)
    };
    let device_tree = match &qemu.device_tree {
        Some(name) => Some(write("board.dtb", &from_boot_partition(image, name.as_str())?)?),
        None => None,
    };
    Ok(StartFiles {
        bios: from_package("bios.bin", &qemu.bios)?,
        kernel: from_package("kernel.bin", &qemu.kernel)?,
        device_tree,
    })
}

fn packages_of(recipe: &Recipe, options: &Options, progress: &dyn Progress) -> Result<BootPackages, Error> {
    let from = &options.sources;
    let store = Store::open(&sources::cache_folder(from)?, from.offline)?;
    let mirrors: Mirrors = sources::mirrors(from, recipe)?;
    let lock = Lock::load(&lock::path(&recipe.path))?;
    store.ensure(&fruit_pipeline::files_only(&lock), &mirrors, &sources::Bars::new(progress))?;
    Ok(fruit_pipeline::boot_packages(&lock, &store, 0)?)
}

/// The file of that name, in whatever folder, of the image's boot-a partition.
fn from_boot_partition(image: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let fail = |error: &dyn std::fmt::Display| Error::other(format!("{}: boot-a: {error}", image.display()));
    let disk = DiskFile::open(image).map_err(|error| fail(&error))?;
    let window = inspect::partition(&disk, "boot-a").map_err(|error| fail(&error))?;
    let volume = Volume::open(&window).map_err(|error| fail(&error))?;
    let files = volume.list().map_err(|error| fail(&error))?;
    let found = files.iter().find(|f| !f.is_dir && f.path.rsplit('/').next() == Some(name));
    let file = found.ok_or_else(|| fail(&format!("has no file {name}")))?;
    volume.content(file, MAX_START_FILE).map_err(|error| fail(&error))
}
