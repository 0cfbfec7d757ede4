//! The recipe's `python`: wheels chosen by pip on this machine, pinned in the lock, fetched into the store, and laid into the root.

use std::collections::BTreeMap;

use fruit_contract::image_manifest;
use fruit_debian::{Archive, Digest, Lock, LockedDownload, LockedPython, LockedWheel, Store};
use fruit_image::tree::Tree;
use fruit_progress::{Progress, Unit};
use fruit_recipe::{Diagnostic, Recipe};
use fruit_root::files::{self, What};
use fruit_wheels::{NotChosen, Target, normalized};

use crate::error::{Error, diagnostic};
use crate::sources::{self, Bars};

/// Debian's packages that decide which wheels run.
const INTERPRETER: &str = "python3";
const C_LIBRARY: &str = "libc6";

/// Packages that every image with wheels has: the interpreter, and the libraries that wheels for manylinux find on any Linux (PEP 599, 600) and
/// that Debian's Python does not bring.
pub const PACKAGES: [&str; 3] = [INTERPRETER, "libatomic1", "libstdc++6"];

/// Debian's versions of Python and of the C library in a lock.
fn versions(lock: &Lock) -> Result<(String, String), Error> {
    let version = |name: &str| {
        let package = lock.package(name);
        let missing = || Error::input(format!("python: the image has no package {name}, which wheels need"));
        Ok::<_, Error>(package.ok_or_else(missing)?.version.to_string())
    };
    Ok((version(INTERPRETER)?, version(C_LIBRARY)?))
}

fn target(lock: &Lock, python3: &str, libc6: &str) -> Result<Target, Error> {
    Target::new(&lock.architecture, python3, libc6).map_err(|why| Error::input(format!("python: {why}")))
}

/// What the recipe asks for, for the packages of `lock`; without wheels yet.
fn wanted(recipe: &Recipe, lock: &Lock) -> Result<LockedPython, Error> {
    let (python3, libc6) = versions(lock)?;
    let requirements = recipe.python.packages.iter().map(|one| one.as_str().to_owned()).collect();
    let index = recipe.python.index.as_ref().map(|index| index.as_str().to_owned());
    Ok(LockedPython { requirements, index, python3, libc6, wheels: Vec::new() })
}

/// Whether `locked` is an answer to what is `wanted`.
fn answers(wanted: &LockedPython, locked: &LockedPython) -> bool {
    *wanted == LockedPython { wheels: Vec::new(), ..locked.clone() }
}

/// Whether a lock has the wheels that the recipe asks for.
pub fn answered(recipe: &Recipe, lock: &Lock) -> bool {
    match &lock.python {
        None => recipe.python.packages.is_empty(),
        Some(locked) => wanted(recipe, lock).is_ok_and(|wanted| answers(&wanted, locked)),
    }
}

/// Wheels for what the recipe asks for and the packages of `lock`. If `kept` answers that, they are `kept`'s; else versions stay where they
/// can.
///
/// # Errors
/// pip is missing or finds no answer, a transfer that failed for good.
pub fn pin(
    recipe: &Recipe,
    lock: &Lock,
    kept: Option<&LockedPython>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Option<LockedPython>, Error> {
    let Some(first) = recipe.python.packages.first() else { return Ok(None) };
    let wanted = wanted(recipe, lock)?;
    if let Some(kept) = kept.filter(|kept| answers(&wanted, kept)) {
        return Ok(Some(kept.clone()));
    }
    if store.is_offline() {
        return Err(Error::input(
            "python: the lock has not the wheels that the recipe asks for, and choosing them needs the index; build once without --offline",
        ));
    }
    let target = target(lock, &wanted.python3, &wanted.libc6)?;
    progress.say(&format!("choosing wheels for Python {} on {}", target.python_version(), target.machine));
    let chosen = {
        let _step = progress.step("choosing wheels", 1, Unit::Pieces);
        choose(&target, &wanted, kept, progress).map_err(|error| match error {
            NotChosen::Path(error) => Error::Path(error),
            error => {
                let mut lines = error.to_string();
                let rest = lines.find('\n').map(|at| lines.split_off(at)).unwrap_or_default();
                let made = Diagnostic::error(lines).maybe_place(first.place.clone());
                diagnostic(if rest.is_empty() { made } else { made.note(rest.trim().to_owned()) })
            }
        })?
    };
    let bars = Bars::new(progress);
    let wheel = |one: &fruit_wheels::Chosen| {
        let (size, sha256) = store.pin(&[&one.url], Some(Digest::Sha256(one.sha256)), &bars)?;
        Ok(LockedWheel { name: one.name.clone(), version: one.version.clone(), url: one.url.clone(), size, sha256 })
    };
    let wheels: Result<_, Error> = chosen.iter().map(wheel).collect();
    Ok(Some(LockedPython { wheels: wheels?, ..wanted }))
}

fn choose(
    target: &Target,
    wanted: &LockedPython,
    kept: Option<&LockedPython>,
    progress: &dyn Progress,
) -> Result<Vec<fruit_wheels::Chosen>, NotChosen> {
    let index = match &wanted.index {
        Some(index) => Some(index.clone()),
        None => sources::python_index().map_err(|error| NotChosen::Report(error.to_string()))?,
    };
    let old: Vec<(String, String)> =
        kept.iter().flat_map(|kept| &kept.wheels).map(|wheel| (wheel.name.clone(), wheel.version.clone())).collect();
    let resolve =
        |kept: &[(String, String)]| fruit_wheels::resolve(target, &wanted.requirements, kept, index.as_deref());
    match resolve(&old) {
        Err(NotChosen::Refused { .. }) if !old.is_empty() => {
            progress.say("the wheels of the lock do not answer what the recipe asks for now; choosing all anew");
            resolve(&[])
        }
        outcome => outcome,
    }
}

/// A wheel as the store has it.
fn file(wheel: &LockedWheel) -> LockedDownload {
    let name = format!("{} {}", wheel.name, wheel.version);
    LockedDownload { name, url: wheel.url.clone(), size: wheel.size, sha256: wheel.sha256, sha512: None }
}

/// Fetches what the store lacks.
///
/// # Errors
/// A transfer that failed for good; offline, a wheel that is not in the store.
pub fn ensure(lock: &Lock, store: &Store, progress: &dyn Progress) -> Result<(), Error> {
    let bars = Bars::new(progress);
    for wheel in lock.python.iter().flat_map(|python| &python.wheels) {
        store.ensure_download(&file(wheel), &[&wheel.url], &bars)?;
    }
    Ok(())
}

/// What was laid.
#[derive(Default)]
pub struct Placed {
    /// Paths in the root.
    pub files: Vec<String>,
    pub report: Vec<image_manifest::Wheel>,
}

/// Lays the wheels into the root. The store has them.
///
/// # Errors
/// A wheel that is damaged or none, a file that would take the place of another one.
pub fn lay(recipe: &Recipe, lock: &Lock, store: &Store, tree: &mut Tree, epoch: i64) -> Result<Placed, Error> {
    let mut placed = Placed::default();
    let Some(python) = &lock.python else { return Ok(placed) };
    let target = target(lock, &python.python3, &python.libc6)?;
    let named = |wheel: &LockedWheel| recipe.python.packages.iter().find(|one| normalized(one.project()) == wheel.name);
    let mut whose: BTreeMap<String, String> = BTreeMap::new();
    for wheel in &python.wheels {
        let who = format!("{} {}", wheel.name, wheel.version);
        let place = named(wheel).or(recipe.python.packages.first()).and_then(|one| one.place.clone());
        let wrong = |message: String| diagnostic(Diagnostic::error(message).maybe_place(place.clone()));
        let Archive::Many(members) = store.open_archive(&file(wheel))? else {
            return Err(wrong(format!("{who}: it is no wheel, for it is no zip archive")));
        };
        let laid = fruit_wheels::lay_out(&wheel.name, &wheel.version, named(wheel).is_some(), &members, &target);
        for file in laid.map_err(|error| wrong(error.to_string()))? {
            let what = What::File { content: file.content, mode: file.mode };
            let real = files::lay(tree, &file.path, what, false, epoch).map_err(|refused| {
                let other = whose.get(&file.path).map(|other| format!(", by the wheel of {other}")).unwrap_or_default();
                wrong(format!("{who}: {refused}{other}"))
            })?;
            whose.insert(real.clone(), who.clone());
            placed.files.push(real);
        }
        placed.report.push(image_manifest::Wheel {
            name: wheel.name.clone(),
            version: wheel.version.clone(),
            url: wheel.url.clone(),
            sha256: wheel.sha256.to_string(),
        });
    }
    Ok(placed)
}
