//! `fruitbuild lock`

use std::collections::BTreeMap;
use std::path::Path;

use fruit_debian::{Lock, Store};
use fruit_pipeline::check::{Checked, check_set};
use fruit_pipeline::{containers, downloads, lock, python, scripts, sources};

use crate::cli;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::verbs::diff::print_changes;

/// Pins the packages of a recipe: `fruitbuild lock`.
///
/// # Errors
/// The recipe is wrong, metadata cannot be fetched or verified, package dependencies cannot be satisfied, or the lock
/// cannot be written.
pub fn lock(
    recipe: &Path,
    settings: &cli::Settings,
    options: &cli::Sources,
    json: bool,
    progress: &Progress,
) -> Result<(), Failure> {
    let Checked { recipe, repositories, .. } = check_set(recipe, &settings.set)?;
    let options = &options.into();
    let store = Store::open(&sources::cache_folder(options)?, options.offline)?;
    let mirrors = sources::mirrors(options, &recipe)?;
    let path = lock::path(&recipe.path);
    let old = if path.exists() { Some(Lock::load(&path)?) } else { None };
    let mut new =
        lock::resolve(&recipe, &lock::request(&recipe), &BTreeMap::new(), &repositories, &store, &mirrors, progress)?;
    // Nothing is kept: a file without a SHA-256 in the recipe is pinned as it is now.
    new.downloads = downloads::pin(&recipe, &[], &store, progress)?;
    new.python = python::pin(&recipe, &new, None, &store, progress)?;
    let from = scripts::Fetching { store: &store, mirrors: &mirrors, locked: false };
    scripts::lock_twin(&recipe, old.as_ref(), &mut new, from, progress)?;
    new.containers = containers::pin(&recipe, &[], &store, progress)?;
    new.write(&path)?;
    match old {
        Some(old) => print_changes(&new.changes_since(&old), json),
        None if json => {
            print_changes(&[], json)?;
            Ok(())
        }
        None => {
            progress.say(format!("{}: {} packages", path.display(), new.packages.len()));
            Ok(())
        }
    }
}
