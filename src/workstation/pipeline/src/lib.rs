//! From a recipe to a card: check, lock, fetch, unpack, finish, prune, overlay, write, describe.

mod accounts;
pub mod boot_files;
pub mod card;
pub mod check;
pub mod containers;
pub mod device_files;
pub mod downloads;
pub mod error;
mod files;
pub mod flows;
pub mod inputs;
pub mod lock;
pub mod outputs;
pub mod partitions;
pub mod programs;
pub mod python;
mod read_scripts;
pub mod root;
pub mod scripts;
pub mod sources;
mod sysctl;
pub mod updater;
mod warnings;

use std::fs;
use std::path::PathBuf;
use std::thread::ScopedJoinHandle;

use fruit_base::AtPath;
use fruit_contract::init::{Module, Overlay};
use fruit_contract::{HostNameTemplate, InitConfig, NodeConfig};
use fruit_debian::{Diversions, Lock, LockedPackage, PackageContents, Store, unpack_all, unpack_diverted};
use fruit_image::tree::Tree;
use fruit_progress::{Progress, Unit};
use fruit_recipe::{Recipe, Search};
use fruit_root::kernel::Selection;

use boot_files::BootPackages;
use check::Checked;
pub use error::Error;
use inputs::Inputs;
use outputs::{Names, Outcome};
use root::{FinishedRoot, Supply};
use sources::Sources;

/// Modules without which no root can be mounted; the others may lack their hardware.
const REQUIRED_MODULES: [&str; 4] = ["dm_mod", "dm_verity", "erofs", "overlay"];

/// Where boards and overlays that a recipe does not bring are looked for: beside the program's own source or release.
pub fn search() -> Search {
    let release = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("../share/fruitbuild")));
    let folders: Vec<PathBuf> = release.into_iter().chain(fruit_device_programs::source_tree()).collect();
    Search {
        recipes: folders.iter().map(|folder| folder.join("recipes")).collect(),
        boards: folders.iter().map(|folder| folder.join("boards")).collect(),
        overlays: folders.iter().map(|folder| folder.join("overlays")).collect(),
    }
}

/// What to build, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub recipe: PathBuf,
    /// Values of the recipe's variables, each `NAME=VALUE`.
    pub set: Vec<String>,
    /// Folder for the image and what belongs to it.
    pub out: PathBuf,
    /// Fail if the lock lacks something the recipe asks for, instead of changing the lock.
    pub locked: bool,
    /// Fail if packages' scripts do something that is neither done here nor known to be harmless.
    pub strict: bool,
    /// Build even if nothing changed.
    pub force: bool,
    pub sources: Sources,
}

/// Builds the image of `options.recipe`.
///
/// # Errors
/// Everything that can be wrong with a recipe, its packages, the network or the disk; nothing half-written stays.
pub fn build(options: &Options, progress: &dyn Progress) -> Result<Outcome, Error> {
    let checked = check::check_set(&options.recipe, &options.set)?;
    let Checked { recipe, node, programs, overlays, repositories } = &checked;
    if options.out.exists() && !options.out.is_dir() {
        return Err(Error::input(format!("{}: is not a folder; name another one with --out", options.out.display())));
    }
    let given_epoch = given_epoch()?;
    let cache = sources::cache_folder(&options.sources)?;
    let store = Store::open(&cache, options.sources.offline)?;
    let mirrors = sources::mirrors(&options.sources, recipe)?;
    let mut lock = lock::for_build(recipe, options.locked, repositories, &store, &mirrors, progress)?;
    let epoch = given_epoch.unwrap_or_else(|| lock.date());
    let baked = programs.obtain(recipe, &cache, epoch, progress)?;
    let mut inputs = Inputs::gather(recipe, overlays, &lock, &baked, epoch)?;

    fs::create_dir_all(&options.out).at(&options.out)?;
    let names = Names::new(recipe, &options.out);
    let _output_lock = outputs::lock_outputs(&cache, &names, progress)?;
    if !options.force
        && let Some(outcome) = outputs::unchanged(&cache, &names, &inputs)
    {
        progress.say(&format!("nothing changed: {} is up to date", names.img.display()));
        warnings::repeat(outcome.summary.warnings, &names.manifest, progress);
        return Ok(outcome);
    }

    store.ensure(&lock.packages, &mirrors, &sources::Bars::new(progress))?;
    downloads::ensure(recipe, &lock, &store, progress)?;
    python::ensure(&lock, &store, progress)?;
    let unpacked = unpack(&lock, &store, epoch, progress)?;
    let from = scripts::Fetching { store: &store, mirrors: &mirrors, locked: options.locked };
    let twins = lock.twins.len();
    let scripts = scripts::obtain(&checked, &mut lock, &unpacked.1, from, epoch, progress)?;
    if lock.twins.len() != twins {
        inputs = Inputs::gather(recipe, overlays, &lock, &baked, epoch)?;
    }
    containers::ensure(recipe, &lock, &store, progress)?;
    let archive =
        |modules: Selection| card::compress_initramfs(&initramfs(recipe, &modules, node, &baked, &inputs, epoch)?);
    // Beside the root, which takes longer than both.
    let (root, packages, boot_packages, initramfs) = std::thread::scope(|scope| {
        let boot_packages = scope.spawn(|| boot_packages(&lock, &store, epoch));
        let start = |modules| scope.spawn(move || archive(modules));
        let (root, packages, initramfs) =
            assemble(&checked, &lock, &store, unpacked, &scripts, &baked, &inputs, epoch, start)?;
        Ok::<_, Error>((root, packages, joined(boot_packages)??, joined(initramfs)??))
    })?;
    warnings::say(&root.report, &names.manifest, options.strict, progress)?;
    let written = {
        let _step = progress.step("writing the image", 1, Unit::Pieces);
        card::write(recipe, &root, &boot_packages, initramfs, epoch, &names.img)
            .map_err(|failure| failure.about(&names.img))?
    };
    let _step = progress.step("compressing", 1, Unit::Pieces);
    let result =
        outputs::BuildResult { recipe, lock: &lock, inputs: &inputs, root: &root, packages: &packages, card: written };
    outputs::write(result, &names, &cache, epoch)
}

/// The packages of a lock that are installed, in one tree, and what each brought. The store has them.
///
/// # Errors
/// As [`build`].
pub fn unpack(
    lock: &Lock,
    store: &Store,
    epoch: i64,
    progress: &dyn Progress,
) -> Result<(Tree, Vec<PackageContents>), Error> {
    let bars = sources::Bars::new(progress);
    let installed: Vec<_> = lock.packages.iter().filter(|p| lock::is_installed(p)).cloned().collect();
    Ok(unpack_diverted(store, &lock.architecture, &installed, &read_scripts::diversions, epoch, &bars)?)
}

/// The recipe's root as a tree, made of what [`unpack`] gave and what `scripts` came to; what each package brought, and what `start` gave of the modules of the initramfs, which
/// are known long before the root is done. The store has the packages.
///
/// # Errors
/// As [`build`].
#[allow(clippy::too_many_arguments)] // one step of the story with all that came before it
pub fn assemble<T>(
    checked: &Checked,
    lock: &Lock,
    store: &Store,
    (tree, packages): (Tree, Vec<PackageContents>),
    scripts: &scripts::Scripts,
    baked: &programs::Obtained,
    inputs: &Inputs,
    epoch: i64,
    start: impl FnOnce(Selection) -> T,
) -> Result<(FinishedRoot, Vec<PackageContents>, T), Error> {
    let (root, started) = root::finish_root(
        checked,
        tree,
        &packages,
        Supply { lock, store },
        scripts,
        &baked.in_root,
        &inputs.build_id,
        epoch,
        start,
    )?;
    Ok((root, packages, started))
}

/// What a thread of the build made.
///
/// # Errors
/// The thread panicked.
pub fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T, Error> {
    thread.join().map_err(|_| Error::other("a thread of the build panicked"))
}

/// Packages of a lock that only files are taken from.
pub fn files_only(lock: &Lock) -> Vec<LockedPackage> {
    lock.packages.iter().filter(|p| lock.request.files_of.contains(&p.name)).cloned().collect()
}

/// Packages that only files are taken from, each in a tree of its own, by name. The store has them.
///
/// # Errors
/// As [`build`].
pub fn boot_packages(lock: &Lock, store: &Store, epoch: i64) -> Result<BootPackages, Error> {
    let mut trees = BootPackages::new();
    for package in files_only(lock) {
        let one = std::slice::from_ref(&package);
        let (tree, _) =
            unpack_all(store, &lock.architecture, one, &Diversions::default(), epoch, &fruit_debian::Silent)?;
        trees.insert(package.name, tree);
    }
    Ok(trees)
}

/// `SOURCE_DATE_EPOCH`, if it is set; else the date of the packages counts.
fn given_epoch() -> Result<Option<i64>, Error> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let seconds = text.trim().parse();
    let wrong = |_| Error::other(format!("SOURCE_DATE_EPOCH is {text:?}; expected seconds since 1970, or unset"));
    seconds.map(Some).map_err(wrong)
}

/// The `first_boot` section as fruit-init takes it, with the recipe's host name.
///
/// # Errors
/// A value that fruit-init would refuse, on its line.
pub fn node_defaults(recipe: &Recipe) -> Result<NodeConfig, Error> {
    let mut node: NodeConfig = recipe.first_boot.read()?;
    if node.hostname.is_none() {
        let name: Result<HostNameTemplate, _> = recipe.hostname.as_str().parse();
        let name = name.map_err(|why| {
            let wrong = fruit_recipe::Diagnostic::error(why.to_string()).maybe_place(recipe.hostname.place.clone());
            Error::from(fruit_recipe::Diagnostics::from(wrong))
        })?;
        node.hostname = Some(name);
    }
    Ok(node)
}

fn initramfs(
    recipe: &Recipe,
    selection: &Selection,
    node: &NodeConfig,
    baked: &programs::Obtained,
    inputs: &Inputs,
    epoch: i64,
) -> Result<Tree, Error> {
    let wrong = |what: &'static str| move |why: String| Error::input(format!("{what}: {why}"));
    let mut config = InitConfig::new(fruit_contract::init::ImageInfo {
        name: recipe.name.as_str().to_owned(),
        version: recipe.version.as_str().to_owned(),
        board: recipe.board_name.clone(),
        build_id: inputs.build_id.clone(),
        build_time: u64::try_from(epoch).unwrap_or(0),
    });
    config.modules = selection
        .load_order()
        .into_iter()
        .zip(&selection.modules)
        .map(|(path, module)| Module {
            path,
            options: String::new(),
            required: REQUIRED_MODULES.contains(&module.name.as_str()),
        })
        .collect();
    config.root.format = match recipe.root.format.value {
        fruit_recipe::RootFormat::Erofs => fruit_contract::init::RootFormat::Erofs,
        fruit_recipe::RootFormat::Ext4 => fruit_contract::init::RootFormat::Ext4,
    };
    config.root.apart = !recipe.containers.is_empty();
    config.overlay = Overlay { size: recipe.overlay_cap().to_string().parse().map_err(wrong("overlay"))? };
    for path in &recipe.state {
        config.state_paths.push(path.as_str().parse().map_err(wrong("state"))?);
    }
    config.node = node.clone();
    let tree = fruit_root::initramfs::tree(baked.init.clone(), config.to_json().into_bytes(), selection, &[], epoch)?;
    Ok(tree)
}
