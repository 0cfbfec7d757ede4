//! The recipes and boards of the repository.

use std::path::{Path, PathBuf};

use fruit_recipe::{Search, load, load_board, load_set};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(top().join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
    all.retain(|p| p.extension().is_some_and(|e| e == "yaml"));
    all.sort();
    assert!(!all.is_empty(), "no files in {folder}");
    all
}

#[test]
fn every_board_is_valid() {
    for path in yaml_files("boards") {
        load_board(&path).unwrap_or_else(|found| panic!("{}\n{found}", path.display()));
    }
}

#[test]
fn every_recipe_is_valid() {
    for path in yaml_files("recipes") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        // A base alone names no board.
        if name.starts_with("base") || name.ends_with("-base") {
            continue;
        }
        // Keys of others, which expire, are not in the repository; any file will do here.
        let key = format!("key={}", path.canonicalize().unwrap().display());
        let settings = if name == "kubeadm-packages" { vec![key] } else { Vec::new() };
        load_set(&path, &Search::default(), &settings).unwrap_or_else(|found| panic!("{}\n{found}", path.display()));
    }
}

#[test]
fn every_example_is_valid() {
    let search = Search {
        recipes: vec![top().join("recipes")],
        boards: vec![top().join("boards")],
        overlays: vec![top().join("overlays")],
    };
    for path in yaml_files("examples/recipes") {
        load(&path, &search).unwrap_or_else(|found| panic!("{}\n{found}", path.display()));
    }
}
