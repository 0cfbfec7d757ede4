//! A copy of the repository's recipes to build and to change, with a package store of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fruit_debian::{Lock, LockedPackage};
use serde_json::Value;

use super::measure::{Cost, run};

pub struct Project {
    pub folder: PathBuf,
    cache: PathBuf,
    out: PathBuf,
}

impl Project {
    pub fn new() -> Project {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
        for name in ["recipes", "boards", "overlays"] {
            let _ = fs::remove_dir_all(folder.join(name)); // of an earlier run
            copy(&top.join(name), &folder.join(name));
        }
        Project { cache: folder.join("cache"), out: folder.join("out"), folder }
    }

    /// Fetches packages and compiles programs for the node, which are no part of any figure.
    pub fn fill_store(&self, recipe: &str) {
        self.build(recipe);
    }

    /// Builds if something changed.
    pub fn build(&self, recipe: &str) -> Cost {
        run("fruitbuild", &mut self.command(recipe))
    }

    /// Builds all, into an empty folder.
    pub fn build_all(&self, recipe: &str) -> Cost {
        let _ = fs::remove_dir_all(&self.out); // may be missing
        run("fruitbuild", self.command(recipe).arg("--force"))
    }

    fn command(&self, recipe: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fruitbuild"));
        command.args(["build", "--quiet"]).arg(self.folder.join("recipes").join(format!("{recipe}.yaml")));
        command.arg("--out").arg(&self.out).arg("--cache").arg(&self.cache).stdout(Stdio::null());
        command.env_remove("SOURCE_DATE_EPOCH");
        command
    }

    /// Leaves of each package only the file that was fetched.
    pub fn forget_decompressed(&self) {
        for folder in fs::read_dir(self.cache.join("blobs")).expect("a filled store").flatten() {
            for file in fs::read_dir(folder.path()).expect("a folder of the store").flatten() {
                if file.path().extension().is_some_and(|e| e == "tars" || e == "sum") {
                    fs::remove_file(file.path()).expect("a file of the store");
                }
            }
        }
    }

    pub fn change_an_overlay(&self) {
        let path = self.folder.join("overlays/fruit/etc/fruit-bench");
        fs::create_dir_all(path.parent().expect("a folder")).expect("the overlay's folder");
        let count = fs::read(&path).map_or(0, |text| text.len());
        fs::write(&path, "x".repeat(count + 1)).expect("a file of the overlay");
    }

    pub fn lock(&self, recipe: &str) -> Lock {
        Lock::load(&self.folder.join("recipes").join(format!("{recipe}.lock"))).expect("the lock of a build")
    }

    pub fn deb(&self, package: &LockedPackage) -> PathBuf {
        let hash = package.sha256.to_string();
        self.cache.join("blobs").join(&hash[..2]).join(format!("{hash}.deb"))
    }

    /// The outputs of the last build of a recipe.
    pub fn outputs(&self, recipe: &str) -> Vec<PathBuf> {
        let start = format!("{recipe}-");
        let all = fs::read_dir(&self.out).expect("the outputs of a build").flatten().map(|entry| entry.path());
        all.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start))).collect()
    }

    pub fn output(&self, recipe: &str, ending: &str) -> PathBuf {
        let mut all = self.outputs(recipe).into_iter();
        all.find(|path| path.to_string_lossy().ends_with(ending)).unwrap_or_else(|| panic!("{recipe} has no {ending}"))
    }

    pub fn manifest(&self, recipe: &str) -> Value {
        let text = fs::read(self.output(recipe, ".manifest.json")).expect("a manifest");
        serde_json::from_slice(&text).expect("a manifest is JSON")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder of the bench");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())).flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("a file type") {
            kind if kind.is_dir() => copy(&from, &to),
            kind if kind.is_symlink() => {
                std::os::unix::fs::symlink(fs::read_link(&from).expect("a link"), &to).expect("a link");
            }
            _ => drop(fs::copy(&from, &to).expect("a file of the repository")),
        }
    }
}
