//! `fruitbuild why`

use std::path::{Path, PathBuf};

use fruit_base::{AtPath, PathError};
use fruit_debian::Lock;
use fruit_pipeline::lock;
use serde_json::json;

use crate::failure::Failure;

/// Says why a package is in an image: `fruitbuild why`.
///
/// # Errors
/// There is no lock, or no such package in it; standard output cannot be written.
pub fn why(package: &str, recipe: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let locks = match recipe {
        Some(recipe) => vec![lock_of(recipe)?],
        None => all_locks(Path::new("recipes"))?,
    };
    let mut found = Vec::new();
    for path in &locks {
        let lock = Lock::load(path)?;
        let chain = lock.why(package);
        if chain.is_empty() {
            continue;
        }
        let steps: Vec<_> = chain
            .iter()
            .map(|p| json!({"package": p.name, "version": p.version, "reason": p.reason.to_string()}))
            .collect();
        if !as_json {
            outln!("{}:", path.display());
            for (depth, step) in chain.iter().enumerate() {
                outln!("{}{} {} ({})", "  ".repeat(depth + 1), step.name, step.version, step.reason);
            }
        }
        found.push(json!({"lock": path, "chain": steps}));
    }
    if locks.is_empty() {
        return Err(Failure::input("there is no lock in recipes/; make one with: fruitbuild lock RECIPE"));
    }
    if found.is_empty() {
        let names = locks.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(Failure::general(format!("package {package} is not in {names}")));
    }
    // After the errors: a failure prints a document of its own.
    if as_json {
        outln!("{:#}", json!(found));
    }
    Ok(())
}

fn lock_of(recipe: &Path) -> Result<PathBuf, Failure> {
    let path = lock::path(recipe);
    if path.is_file() {
        return Ok(path);
    }
    let message = format!("{}: there is no lock; make it with: fruitbuild lock {}", path.display(), recipe.display());
    Err(Failure::input(message))
}

fn all_locks(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PathError::new(folder, error).into()),
    };
    let mut locks = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().at(folder)?;
    locks.retain(|path| path.extension().is_some_and(|e| e == "lock"));
    locks.sort();
    Ok(locks)
}
