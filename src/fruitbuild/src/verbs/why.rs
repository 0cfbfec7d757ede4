//! `fruitbuild why`

use std::path::{Path, PathBuf};

use fruit_debian::Lock;
use serde_json::json;

use crate::build::lock;
use crate::failure::{Failure, at};

pub fn why(package: &str, recipe: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let locks = match recipe {
        Some(recipe) => vec![lock::path(recipe)],
        None => all_locks(Path::new("recipes"))?,
    };
    let mut found = Vec::new();
    for path in &locks {
        let lock = Lock::load(path)?;
        let chain = lock.why(package);
        if chain.is_empty() {
            continue;
        }
        let steps: Vec<_> =
            chain.iter().map(|p| json!({"package": p.name, "version": p.version, "reason": p.reason.to_string()})).collect();
        if !as_json {
            println!("{}:", path.display());
            for (depth, step) in chain.iter().enumerate() {
                println!("{}{} {} ({})", "  ".repeat(depth + 1), step.name, step.version, step.reason);
            }
        }
        found.push(json!({"lock": path, "chain": steps}));
    }
    if as_json {
        println!("{:#}", json!(found));
    }
    if found.is_empty() {
        let names = locks.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(Failure::general(match &locks[..] {
            [] => "there is no lock in recipes/; make one with: fruitbuild lock RECIPE".to_owned(),
            _ => format!("package {package} is not in {names}"),
        }));
    }
    Ok(())
}

fn all_locks(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(at(folder))?;
    let mut locks = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(at(folder))?;
    locks.retain(|path| path.extension().is_some_and(|e| e == "lock"));
    locks.sort();
    Ok(locks)
}
