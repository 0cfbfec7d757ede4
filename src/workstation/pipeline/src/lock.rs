//! The lock beside a recipe: read it, make it, refresh it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fruit_debian::resolve::Reason;
use fruit_debian::{Lock, LockedPackage, Mirrors, Repository, Request, Store, Universe};
use fruit_progress::Progress;
use fruit_recipe::{At, Bootloader, Diagnostic, Diagnostics, InitSystem, Recipe};

use super::sources::Bars;
use super::{containers, downloads, python};
use crate::error::Error;

/// What kernel packages depend on for their scripts, whose work fruitbuild does itself: it makes the initramfs, puts the
/// kernel on the boot partition, and indexes the modules. A root in which somebody loads modules names its `modprobe`.
const SUPPLIED: [&str; 4] = ["initramfs-tools", "linux-initramfs-tool", "linux-base", "kmod"];

/// `recipes/NAME.lock` of `recipes/NAME.yaml`.
pub fn path(recipe: &Path) -> PathBuf {
    recipe.with_extension("lock")
}

/// What a recipe and its board ask the package resolver for.
pub fn request(recipe: &Recipe) -> Request {
    let board = &recipe.board;
    let mut packages: BTreeSet<String> =
        recipe.packages.iter().chain(&board.packages).map(|p| p.as_str().to_owned()).collect();
    packages.insert(kernel_package(recipe).as_str().to_owned());
    if recipe.init.value == InitSystem::Systemd {
        packages.insert("systemd-sysv".to_owned());
    }
    if !recipe.python.packages.is_empty() {
        packages.extend(python::PACKAGES.map(str::to_owned));
    }
    let exclude = recipe.exclude.iter().map(|p| p.as_str().to_owned()).collect();
    Request {
        packages: packages.into_iter().collect(),
        exclude,
        supplied: SUPPLIED.map(str::to_owned).to_vec(),
        recommends: recipe.recommends,
        essential: recipe.essential,
        lean: recipe.lean.iter().filter(|_| recipe.essential).map(|(name, _)| name.as_str().to_owned()).collect(),
        files_of: files_of(recipe).into_iter().collect(),
        ..Request::default()
    }
}

/// The recipe's kernel package, or else the board's.
pub fn kernel_package(recipe: &Recipe) -> &At<fruit_recipe::PackageName> {
    recipe.kernel.package.as_ref().unwrap_or(&recipe.board.kernel.package)
}

/// Packages that loader and firmware files are taken from, and those that the emulated machines start with.
fn files_of(recipe: &Recipe) -> BTreeSet<String> {
    let board = &recipe.board;
    let mut names: BTreeSet<String> = board.firmware.iter().map(|f| f.package.as_str().to_owned()).collect();
    if let Bootloader::UBoot(loader) = &board.bootloader.value {
        names.insert(loader.package.as_str().to_owned());
    }
    for (_, machine) in board.qemu.iter() {
        names.extend([&machine.bios, &machine.kernel].into_iter().flatten().map(|f| f.package.as_str().to_owned()));
    }
    names
}

/// Whether a package of the lock goes into the root.
pub fn is_installed(package: &LockedPackage) -> bool {
    package.reason != Reason::FilesOnly
}

/// The lock for a build: the one beside the recipe if it answers what the recipe asks, else a new one that keeps its
/// versions, written beside the recipe. With `locked`, a lock that does not answer is an error.
///
/// # Errors
/// An unreadable lock, packages that cannot be had, failed fetches or checks.
pub fn for_build(
    recipe: &Recipe,
    locked: bool,
    repositories: &[Repository],
    store: &Store,
    mirrors: &Mirrors,
    progress: &dyn Progress,
) -> Result<Lock, Error> {
    let path = path(&recipe.path);
    let request = request(recipe);
    let old = if path.exists() { Some(Lock::load(&path)?) } else { None };
    match &old {
        Some(lock) if lock.request == request && lock.architecture == recipe.board.architecture.to_string() => {
            let answered = downloads::answered(recipe, lock)
                && containers::answered(recipe, lock)
                && python::answered(recipe, lock);
            if !answered && locked {
                return Err(out_of_step(&path, recipe));
            }
            let mut new = lock.clone();
            if !answered {
                new.downloads = downloads::pin(recipe, &lock.downloads, store, progress)?;
                new.python = python::pin(recipe, lock, lock.python.as_ref(), store, progress)?;
            }
            // Archives are files of the person's own, which may have become others.
            new.containers = containers::pin(recipe, &lock.containers, store, progress)?;
            if new != *lock {
                if locked {
                    return Err(out_of_step(&path, recipe));
                }
                new.write(&path)?;
            }
            return Ok(new);
        }
        Some(_) if locked => return Err(out_of_step(&path, recipe)),
        None if locked => {
            return Err(Error::input(format!(
                "{}: there is no lock; make it with: fruitbuild lock {}",
                path.display(),
                recipe.path.display()
            )));
        }
        _ => {}
    }
    progress.say(&format!("choosing packages for {}", path.display()));
    // Pins fail closed: if a version is gone from the mirrors, the person refreshes the lock knowingly.
    let pins = old.as_ref().map(Lock::pins).unwrap_or_default();
    let mut lock = resolve(recipe, &request, &pins, repositories, store, mirrors, progress)?;
    let kept = old.as_ref().map(|old| old.downloads.as_slice()).unwrap_or_default();
    lock.downloads = downloads::pin(recipe, kept, store, progress)?;
    let kept = old.as_ref().map(|old| old.containers.as_slice()).unwrap_or_default();
    lock.containers = containers::pin(recipe, kept, store, progress)?;
    lock.python = python::pin(recipe, &lock, old.as_ref().and_then(|old| old.python.as_ref()), store, progress)?;
    lock.write(&path)?;
    Ok(lock)
}

fn out_of_step(lock: &Path, recipe: &Recipe) -> Error {
    Error::input(format!(
        "{}: the recipe asks for something else than this lock has; refresh it with: fruitbuild lock {}",
        lock.display(),
        recipe.path.display()
    ))
}

/// Resolves what the recipe asks for among what the repositories offer now.
///
/// # Errors
/// As [`for_build`].
#[allow(clippy::too_many_arguments)] // one step of the story with all that came before it
pub fn resolve(
    recipe: &Recipe,
    request: &Request,
    pins: &BTreeMap<String, fruit_debian::Version>,
    repositories: &[Repository],
    store: &Store,
    mirrors: &Mirrors,
    progress: &dyn Progress,
) -> Result<Lock, Error> {
    let architecture = recipe.board.architecture.to_string();
    let bars = Bars::new(progress);
    let universe = Universe::load(repositories, &architecture, store, mirrors, fruit_base::now(), &bars)?;
    unknown_packages(recipe, &universe)?;
    let pins: BTreeMap<_, _> = pins
        .iter()
        .filter(|(name, _)| !universe.offers_of(name).is_empty())
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    let resolution = universe.resolve(request, &pins).map_err(fruit_debian::Error::from)?;
    Ok(Lock::new(request, &universe, &resolution, store, mirrors, &bars)?)
}

/// Names that no repository has are mistakes of the recipe: shown on their line.
fn unknown_packages(recipe: &Recipe, universe: &Universe) -> Result<(), Error> {
    let mut found = Diagnostics::new();
    let named = recipe.packages.iter().chain(&recipe.board.packages).chain([kernel_package(recipe)]);
    for package in named {
        let name = package.as_str();
        if universe.offers_of(name).is_empty() && universe.providers_of(name).next().is_none() {
            let unknown = Diagnostic::at(
                package,
                format!(
                    "there is no package `{name}` for {} in the repositories of this recipe",
                    universe.architecture()
                ),
                universe.similar_name(name),
            );
            found.push(match universe.left_out(name).next() {
                Some(why) => unknown.note(format!("its entry was left out: {why}")),
                None => unknown,
            });
        }
    }
    for (name, _) in recipe.lean.iter().filter(|_| recipe.essential) {
        let is_essential = |id: &fruit_debian::universe::OfferId| universe.offer(*id).essential;
        if !universe.offers_of(name.as_str()).iter().any(is_essential) {
            let message = format!("`{name}` is not an Essential package in the repositories of this recipe");
            let essential = universe.names().filter(|(_, ids)| ids.iter().any(is_essential)).map(|(name, _)| name);
            let made = Diagnostic::at(name, message, essential);
            found.push(made.help("take it out of `lean`: it comes in only where something needs it anyway"));
        }
    }
    if found.has_errors() { Err(found.into()) } else { Ok(()) }
}
