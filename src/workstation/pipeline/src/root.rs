//! From unpacked packages to the finished root, and what the kernel's package gives the boot partitions.

use std::collections::{BTreeMap, BTreeSet};

use fruit_contract::image_manifest;
use fruit_debian::{Lock, PackageContents, Store};
use fruit_image::tree::{Content, Inode, Kind, Tree};
use fruit_recipe::{Diagnostic, Recipe};
use fruit_root::account::Unhandled;
use fruit_root::finish::units::{Enabled, Units};
use fruit_root::finish::{Identity, Release};
use fruit_root::glob::Glob;
use fruit_root::kernel::needs::{self, Wanted};
use fruit_root::kernel::{self, Selection, sets};
use fruit_root::last_check::Problem;
use fruit_root::prune::{self, Installed, Pruned, Settings};
use fruit_root::records::Record;
use fruit_root::{PackageScripts, finish, last_check, records};

use super::lock::kernel_package;
use crate::check::Checked;
use crate::device_files::{DeviceFiles, put};
use crate::error::{Error, diagnostic};
use crate::read_scripts::package_scripts;
use crate::scripts::{Laid, Ran, Scripts};
use crate::{accounts, containers, downloads, files, python, sysctl};

/// A root that only needs to be written.
pub struct FinishedRoot {
    pub tree: Tree,
    /// Kernel image, as the package has it.
    pub kernel: Content,
    pub kernel_release: String,
    /// Device trees by the path that the loader asks for.
    pub device_trees: BTreeMap<String, Content>,
    pub report: RootReport,
}

/// What the recipe has besides packages: pinned by the lock, and in the store.
#[derive(Clone, Copy)]
pub struct Supply<'a> {
    pub lock: &'a Lock,
    pub store: &'a Store,
}

/// What the build says about a root.
pub struct RootReport {
    pub pruned: Pruned,
    /// Sets of kernel modules beside the board's.
    pub module_sets: Vec<sets::Chosen>,
    pub unhandled: Vec<Unhandled>,
    /// What scripts did that ran.
    pub scripts: Option<image_manifest::ScriptsRun>,
    /// What is to be told about them.
    pub of_scripts: Vec<String>,
    /// Packages that the recipe's `acknowledge` names and this image does not have.
    pub acknowledged_not_here: Vec<String>,
    pub problems: Vec<Problem>,
    pub enabled_units: Vec<Enabled>,
    pub downloads: Vec<image_manifest::Download>,
    pub wheels: Vec<image_manifest::Wheel>,
    pub containers: Vec<image_manifest::Container>,
}

/// Makes the root of a recipe from `tree`, in which `packages` are unpacked. `epoch` is in seconds since 1970. The modules
/// of the initramfs are handed to `start` as soon as they are known; what that gave comes back.
///
/// # Errors
/// Whatever the recipe asks for that the packages cannot give, on the recipe's line where it has one.
#[allow(clippy::too_many_arguments)] // one step of the story with all that came before it
pub fn finish_root<T>(
    checked: &Checked,
    mut tree: Tree,
    packages: &[PackageContents],
    supply: Supply<'_>,
    scripts: &Scripts,
    baked: &[DeviceFiles],
    build_id: &str,
    epoch: i64,
    start: impl FnOnce(Selection) -> T,
) -> Result<(FinishedRoot, T), Error> {
    let recipe = &checked.recipe;
    let texts = package_scripts(packages);
    let laid = match &scripts.ran {
        Some(ran) => ran.lay(&mut tree, &supply.lock.architecture, packages, epoch)?,
        None => Laid::default(),
    };
    // Before finishing: it makes the users that our programs' sysusers.d files name.
    for one in baked {
        bake(&mut tree, one, epoch)?;
    }
    let identity = identity(recipe, build_id);
    let finished = match &scripts.ran {
        Some(_) => finish::complete(&mut tree, &identity, epoch),
        None => finish::finish(&mut tree, &texts, &identity, epoch),
    };
    finished.map_err(|error| match &error {
        fruit_root::Error::UnknownTimeZone { zone, candidates } => {
            diagnostic(Diagnostic::at(&recipe.timezone, format!("there is no time zone `{zone}`"), candidates))
        }
        _ => error.into(),
    })?;

    let release = kernel_release(recipe, &tree)?;
    let kernel = kernel::image(&tree, &release)?.clone();
    let device_trees = device_trees(recipe, &tree, &release)?;
    let started = start(select(recipe, &tree, &release, initramfs_modules(recipe))?);
    // What packages' own lists for systemd name goes in, as far as this kernel has it.
    let mut asked = needs::wanted(&tree)?;
    let unknown = kernel::select(&tree, &release, &module_names(&asked), true)?.missing;
    let (missing, asked): (Vec<Wanted>, Vec<Wanted>) = asked.drain(..).partition(|w| unknown.contains(&w.module));
    let module_sets = module_sets(recipe, &tree, &release)?;
    let wanted = module_names(&asked).into_iter().chain(sets::modules(&module_sets));
    let modules = root_modules(recipe, &tree, &release, wanted.collect())?;
    kernel::install(&mut tree, &modules, epoch)?;

    let pruned = prune_root(recipe, &mut tree, &modules, &texts)?;
    let mut enable = Vec::new();
    let mut laid_over: Vec<String> = Vec::new();
    for overlay in &checked.overlays {
        enable.extend(overlay.apply(&mut tree, epoch)?.enable);
        laid_over.extend(overlay.entries().iter().map(|entry| entry.path.clone()));
    }
    let wheels = python::lay(recipe, supply.lock, supply.store, &mut tree, epoch)?;
    laid_over.extend(wheels.files);
    let downloads = downloads::lay(recipe, supply.lock, supply.store, &mut tree, packages, epoch)?;
    laid_over.extend(downloads.files.iter().map(|file| file.real.clone()));
    let files = files::lay(recipe, &mut tree, packages, epoch)?;
    laid_over.extend(files.iter().map(|file| file.real.clone()));
    finish::certificates::after_overlays(&mut tree, &laid_over, epoch)?;
    load_at_boot(recipe, &mut tree, epoch)?;
    sysctl::write(recipe, &mut tree, epoch)?;
    containers::settings(recipe, supply.lock, &mut tree, epoch)?;
    let linked = scripts.ran.as_ref().map(|_| laid.enabled.clone());
    let more = MoreUnits { linked, enable, mask: needs::hopeless_units(&missing) };
    let enabled_units = configure_units(recipe, &mut tree, &texts, more, epoch)?;
    accounts::add(recipe, &mut tree, epoch)?;
    files::own(&mut tree, &downloads.files)?;
    files::own(&mut tree, &files)?;
    records::write(&mut tree, &package_records(packages), epoch)?;
    let problems = last_check::finish(&mut tree, epoch);
    let containers = containers::lay(recipe, supply.lock, supply.store, &mut tree, epoch)?;

    let acknowledged: BTreeSet<&str> = recipe.acknowledge.iter().map(|p| p.as_str()).collect();
    let here = |name: &str| packages.iter().any(|p| p.name == name);
    let not_here = acknowledged.into_iter().filter(|name| !here(name)).map(str::to_owned).collect();
    let downloads = downloads.report;
    let unhandled = scripts.unhandled.clone();
    let of_scripts = scripts.ran.as_ref().map(|ran| ran.warnings(recipe, &laid)).unwrap_or_default();
    let report = RootReport {
        pruned,
        module_sets,
        unhandled,
        scripts: scripts.ran.as_ref().map(Ran::report),
        of_scripts,
        acknowledged_not_here: not_here,
        problems,
        enabled_units,
        downloads,
        wheels: wheels.report,
        containers,
    };
    Ok((FinishedRoot { tree, kernel, kernel_release: release, device_trees, report }, started))
}

fn identity(recipe: &Recipe, build_id: &str) -> Identity {
    Identity {
        // The node's own name comes from fruit-init; this one shows if that fails.
        hostname: recipe.name.as_str().to_owned(),
        timezone: recipe.timezone.as_str().to_owned(),
        locale: recipe.locale.as_str().to_owned(),
        release: Release {
            image_id: recipe.name.as_str().to_owned(),
            image_version: recipe.version.as_str().to_owned(),
            variant: recipe.description.clone().unwrap_or_else(|| recipe.name.as_str().to_owned()),
            variant_id: recipe.board_name.clone(),
            build_id: build_id.to_owned(),
        },
    }
}

fn kernel_release(recipe: &Recipe, tree: &Tree) -> Result<String, Error> {
    let releases = kernel::releases(tree);
    match &releases[..] {
        [one] => Ok(one.clone()),
        several => {
            let package = kernel_package(recipe);
            let message = match several {
                [] => format!("the package {package} and what it needs bring no kernel"),
                _ => format!("several kernels are in this image ({}); name one package", several.join(", ")),
            };
            Err(diagnostic(Diagnostic::error(message).maybe_place(package.place.clone())))
        }
    }
}

fn device_trees(recipe: &Recipe, tree: &Tree, release: &str) -> Result<BTreeMap<String, Content>, Error> {
    let folder = format!("usr/lib/linux-image-{release}");
    let mut found = BTreeMap::new();
    for pattern in &recipe.board.device_trees.files {
        let glob = Glob::new(&format!("{folder}/{}", pattern.as_str())).map_err(Error::input)?;
        let before = found.len();
        for (path, _, inode) in tree.below(&folder) {
            if let Kind::File(content) = &inode.kind
                && glob.matches(path)
            {
                found.insert(path[folder.len() + 1..].to_owned(), content.clone());
            }
        }
        if found.len() == before {
            let all: Vec<&str> = tree.below(&folder).map(|(path, ..)| &path[folder.len().min(path.len())..]).collect();
            let message = format!("kernel {release} has no device tree `{pattern}`");
            return Err(diagnostic(Diagnostic::at(pattern, message, all)));
        }
    }
    Ok(found)
}

fn initramfs_modules(recipe: &Recipe) -> Vec<String> {
    recipe.board.modules.initramfs.iter().map(|m| m.as_str().to_owned()).collect()
}

fn module_names(wanted: &[Wanted]) -> Vec<String> {
    wanted.iter().map(|one| one.module.clone()).collect()
}

/// Those of the programs that are installed, and those that the recipe names.
fn module_sets(recipe: &Recipe, tree: &Tree, release: &str) -> Result<Vec<sets::Chosen>, Error> {
    let mut all = sets::of_programs(tree, release)?;
    for name in &recipe.kernel.sets {
        all.push(sets::named(tree, release, name.as_str()).map_err(|error| match &error {
            fruit_root::Error::UnknownModuleSet { set, candidates } => {
                diagnostic(Diagnostic::at(name, format!("there is no set of kernel modules `{set}`"), candidates))
            }
            _ => error.into(),
        })?);
    }
    Ok(all)
}

fn root_modules(recipe: &Recipe, tree: &Tree, release: &str, asked: Vec<String>) -> Result<Selection, Error> {
    let modules = &recipe.board.modules;
    if !recipe.prune.modules {
        let dir = format!("{}/{release}/kernel", kernel::DIR);
        let all = tree
            .below(&dir)
            .filter(|(path, ..)| path.contains(".ko"))
            .filter_map(|(path, ..)| Some(path.rsplit('/').next()?.split(".ko").next()?.to_owned()));
        return select(recipe, tree, release, all.collect());
    }
    let named = modules.initramfs.iter().chain(&modules.root).chain(&recipe.kernel.modules).chain(&recipe.kernel.load);
    let named = named.map(|m| m.as_str().to_owned()).chain(asked);
    select(recipe, tree, release, named.collect())
}

fn select(recipe: &Recipe, tree: &Tree, release: &str, names: Vec<String>) -> Result<Selection, Error> {
    kernel::select(tree, release, &names, false).map_err(|error| match &error {
        fruit_root::Error::UnknownModule { module, release, candidates } => {
            let board = &recipe.board.modules;
            let mut written =
                recipe.kernel.modules.iter().chain(&recipe.kernel.load).chain(&board.initramfs).chain(&board.root);
            let message = format!("kernel {release} has no module `{module}`");
            match written.find(|m| m.as_str() == module) {
                Some(at) => diagnostic(Diagnostic::at(at, message, candidates)),
                None => error.into(),
            }
        }
        _ => error.into(),
    })
}

fn load_at_boot(recipe: &Recipe, tree: &mut Tree, epoch: i64) -> Result<(), Error> {
    if recipe.kernel.load.is_empty() {
        return Ok(());
    }
    let list: String = recipe.kernel.load.iter().flat_map(|m| [m.as_str(), "\n"]).collect();
    put(tree, "etc/modules-load.d/fruitbuild.conf", Inode::file(list.as_str(), 0o644, epoch), epoch)
}

/// The recipe's switches in the names of the pruning rules.
fn prune_root(
    recipe: &Recipe,
    tree: &mut Tree,
    modules: &Selection,
    packages: &[PackageScripts],
) -> Result<Pruned, Error> {
    let wanted = &recipe.prune;
    let switches: [(bool, &[&str]); 9] = [
        (wanted.docs, &["doc", "lint"]),
        (wanted.man, &["man", "info"]),
        (wanted.translations, &["locale"]),
        (wanted.completions, &["completion"]),
        (wanted.gconv, &["gconv"]),
        (wanted.perl, &["perl"]),
        (wanted.hardware_names || wanted.catalog, &["hwdb"]),
        (wanted.init_scripts, &["sysv"]),
        (wanted.package_manager, &["dpkg"]),
    ];
    let skip = switches.iter().filter(|(on, _)| !on).flat_map(|(_, rules)| rules.iter().map(|r| (*r).to_owned()));
    // Besides what the modules ask for: Wi-Fi settings of single boards, which the driver finds by the board's name.
    let firmware = wanted.firmware.then(|| modules.firmware().into_iter().chain(["brcm/*.txt".to_owned()]).collect());
    let installed = packages.iter().map(|p| {
        let mut paths = p.paths.clone();
        paths.sort_unstable();
        Installed { name: p.name.clone(), depends: p.depends.clone(), paths }
    });
    let settings = Settings {
        skip: skip.collect(),
        also: Vec::new(),
        locales: wanted.languages.iter().map(|l| l.as_str().to_owned()).collect(),
        firmware,
        remove: wanted.remove.iter().map(|g| g.as_str().trim_start_matches('/').to_owned()).collect(),
        keep: wanted.keep.iter().map(|g| g.as_str().trim_start_matches('/').to_owned()).collect(),
        named: recipe.packages.iter().map(|p| p.as_str().to_owned()).collect(),
        packages: installed.collect(),
    };
    Ok(prune::prune(tree, &settings)?)
}

fn bake(tree: &mut Tree, baked: &DeviceFiles, epoch: i64) -> Result<(), Error> {
    baked.files.iter().try_for_each(|(path, inode)| put(tree, path, inode.clone(), epoch))
}

/// Units besides those that the recipe lists.
struct MoreUnits {
    /// Enabled by scripts that ran.
    linked: Option<Vec<(String, String)>>,
    /// Of overlays.
    enable: Vec<String>,
    /// Such as would fail at each boot.
    mask: Vec<String>,
}

fn configure_units(
    recipe: &Recipe,
    tree: &mut Tree,
    scripts: &[PackageScripts],
    more: MoreUnits,
    epoch: i64,
) -> Result<Vec<Enabled>, Error> {
    let services = &recipe.services;
    let names =
        |list: &[fruit_recipe::At<fruit_recipe::UnitName>]| list.iter().map(|u| u.as_str().to_owned()).collect();
    let mut enable: Vec<String> = names(&services.enable);
    enable.extend(more.enable);
    let mut mask = names(&services.mask);
    mask.extend(more.mask.into_iter().filter(|unit| fruit_root::finish::units::list(tree).contains(unit)));
    let as_packaged = more.linked.is_none();
    let linked = more.linked.unwrap_or_default();
    let disable = names(&services.disable);
    let units = Units { as_packaged, linked, enable, disable, mask, ..Units::default() };
    fruit_root::finish::units::configure(tree, scripts, &units, epoch).map_err(|error| match &error {
        fruit_root::Error::UnknownUnit { unit, candidates } => {
            let mut written = services.enable.iter().chain(&services.disable).chain(&services.mask);
            match written.find(|u| u.as_str() == unit) {
                Some(at) => diagnostic(Diagnostic::at(
                    at,
                    format!("no package of this image has the unit `{unit}`"),
                    candidates,
                )),
                None => error.into(),
            }
        }
        _ => error.into(),
    })
}

fn package_records(packages: &[PackageContents]) -> Vec<Record> {
    packages
        .iter()
        .map(|p| Record {
            name: p.name.clone(),
            control: fruit_debian::status::status_stanza(&p.control),
            md5sums: p.control.md5sums.as_ref().map(|sums| String::from_utf8_lossy(sums).into_owned()),
        })
        .collect()
}
