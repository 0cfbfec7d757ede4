//! The recipes and boards of the repository.

use std::path::{Path, PathBuf};

use fruit_recipe::{Search, load, load_board};

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
        // A base alone names no board.
        if path.file_name().unwrap().to_str().unwrap().starts_with("base") {
            continue;
        }
        load(&path, &Search::default()).unwrap_or_else(|found| panic!("{}\n{found}", path.display()));
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
