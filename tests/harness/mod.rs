//! What the tests of the whole share: images built once by the real program, and a place to put them.

#![allow(dead_code)] // each test program uses its own part

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// The program under test.
pub fn fruitbuild() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fruitbuild"));
    command.current_dir(top()).env_remove("SOURCE_DATE_EPOCH").env("NO_COLOR", "1");
    command
}

/// Top of the repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap()
}

/// Where built images are kept between runs: a second run finds that nothing changed.
pub fn out() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Builds `recipes/NAME.yaml` (or `tests/recipes/NAME.yaml`) and returns the image.
pub fn image_of(recipe: &str) -> PathBuf {
    /// Asked for again by nearly every test, and even finding that nothing changed takes a second.
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(image) = built.get(recipe) {
        return image.clone();
    }
    let output = succeed(fruitbuild().arg("build").arg(recipe_path(recipe)).arg("--out").arg(out()));
    let list = String::from_utf8(output.stdout).unwrap();
    let image = list.lines().map(PathBuf::from).find(|path| path.extension().is_some_and(|e| e == "img"));
    built.entry(recipe.to_owned()).or_insert(image.expect("an image")).clone()
}

pub fn recipe_path(name: &str) -> PathBuf {
    let own = top().join("tests/recipes").join(format!("{name}.yaml"));
    if own.is_file() { own } else { top().join("recipes").join(format!("{name}.yaml")) }
}

/// Runs a command that must end well, and shows what it said if it does not.
pub fn succeed(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {}\n{out}\n{err}", output.status);
    output
}

/// A checker that others wrote; its Debian package is named when it is missing.
pub fn tool(program: &str, package: &str) -> Command {
    let sbin = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Path::new).map(|folder| folder.join(program));
    match sbin.into_iter().find(|path| path.is_file()) {
        Some(path) => Command::new(path),
        None => panic!("{program} is missing; install the Debian package {package} (or run: fruitbuild setup --tests)"),
    }
}
