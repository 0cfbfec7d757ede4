//! A folder of recipes as a user has it, with a package store of its own that holds just what a recipe needs: builds in
//! it touch no network, no compiler and nobody else's files.

#![allow(dead_code)] // each test program uses its own part

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fruit_contract::image_manifest::ImageManifest;
use fruit_debian::Lock;
use fruit_device_programs::Programs;

use super::harness::{fruitbuild, image_of, recipe_path, top};

/// A user that owns nothing: Debian's `nobody`.
const NOBODY: u32 = 65534;

pub struct Project {
    folder: tempfile::TempDir,
    /// Whether its commands are run by a user without privileges.
    unprivileged: bool,
    /// Below the temporary folder.
    place: PathBuf,
    /// Arguments before the program's own, such as `taskset -c 0`.
    wrapper: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Project {
    /// A project with the repository's boards, overlays and recipes, but with no lock and an empty package store.
    pub fn empty() -> Project {
        Project::at("project", 0o755)
    }

    /// A project that can build `recipe` offline: with the lock that the shared build of it made, and its packages.
    pub fn of(recipe: &str) -> Project {
        Project::at("project", 0o755).with(recipe)
    }

    /// As [`Project::empty`], at `place` below a new folder, its folders with mode `mode`.
    pub fn at(place: &str, mode: u32) -> Project {
        let folder = tempfile::Builder::new().prefix("fruitbuild-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let project = Project {
            place: PathBuf::from(place),
            folder,
            unprivileged: false,
            wrapper: Vec::new(),
            variables: Vec::new(),
        };
        for name in ["recipes", "boards", "overlays"] {
            copy_folder(&top().join(name), &project.path(name), mode);
        }
        for name in ["home", "cache"] {
            fs::create_dir_all(project.path(name)).unwrap();
        }
        project
    }

    /// Puts the packages and the lock of `recipe` into it, after a shared build of the recipe.
    pub fn with(self, recipe: &str) -> Project {
        let image = image_of(recipe);
        let lock_path = recipe_path(recipe).with_extension("lock");
        let target = self.path(&format!("recipes/{recipe}.lock"));
        copy(&lock_path, &target);
        let lock = Lock::load(&lock_path).unwrap();
        for package in &lock.packages {
            let blob = blob(&package.sha256.to_string());
            let to = self.path("cache").join(&blob);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            copy(&shared_cache().join(&blob), &to);
        }
        // The programs of the node, as a release brings them.
        let manifest = ImageManifest::read(&fs::read(image.with_extension("manifest.json")).unwrap()).unwrap();
        let names: Vec<&str> =
            manifest.inputs.iter().filter(|input| input.kind == "program").map(|input| input.name.as_str()).collect();
        let built = Programs::new(&shared_cache()).obtain(&names, &lock.architecture, &fruit_progress::Silent).unwrap();
        for (name, file) in built {
            let folder = file.parent().and_then(Path::file_name).unwrap();
            let to = self.path("programs").join(folder);
            fs::create_dir_all(&to).unwrap();
            copy(&file, &to.join(name));
        }
        self
    }

    /// Its commands are run by somebody without privileges (if the tests themselves have any).
    pub fn unprivileged(mut self) -> Project {
        if rustix::process::geteuid().is_root() {
            give(self.folder.path(), NOBODY);
            self.unprivileged = true;
        }
        self
    }

    pub fn wrapped(mut self, wrapper: &[&str]) -> Project {
        self.wrapper = wrapper.iter().map(|&s| s.to_owned()).collect();
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Project {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(&self.place).join(below)
    }

    /// The package of that name in the project's store.
    pub fn blob(&self, recipe: &str, package: &str) -> PathBuf {
        let lock = Lock::load(&self.path(&format!("recipes/{recipe}.lock"))).unwrap();
        let sha256 = lock.package(package).unwrap().sha256.to_string();
        self.path("cache").join(blob(&sha256))
    }

    /// Writes a file of the project.
    pub fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// `fruitbuild ARGUMENTS` in the project's folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = fruitbuild().get_program().to_owned();
        let program = if self.unprivileged { self.copied(Path::new(&program)) } else { PathBuf::from(program) };
        let mut command = match &self.wrapper[..] {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.args(arguments).current_dir(self.path("")).env("NO_COLOR", "1");
        command.env("HOME", self.path("home")).env("FRUITBUILD_CACHE", self.path("cache"));
        command.env("FRUITBUILD_DEVICE_PROGRAMS", self.path("programs"));
        for name in ["SOURCE_DATE_EPOCH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if self.unprivileged {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// The program where everybody may run it: the tests may have been built in somebody's home.
    fn copied(&self, program: &Path) -> PathBuf {
        let copied = self.folder.path().join("fruitbuild");
        if !copied.exists() {
            copy(program, &copied);
        }
        copied
    }

    /// Runs it, whatever comes of it.
    pub fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(self.command(arguments).output().unwrap())
    }

    /// Runs it; it must end well.
    pub fn succeed(&self, arguments: &[&str]) -> Answer {
        let answer = self.run(arguments);
        assert_eq!(answer.code, 0, "{arguments:?}\n{}\n{}", answer.stdout, answer.stderr);
        answer
    }

    /// Runs it; it must end with `code`, and say all of `words` on stderr.
    pub fn fail(&self, arguments: &[&str], code: i32, words: &[&str]) -> Answer {
        let answer = self.run(arguments);
        assert_eq!(answer.code, code, "{arguments:?}\n{}\n{}", answer.stdout, answer.stderr);
        for word in words {
            assert!(answer.stderr.contains(word), "{arguments:?}: expected {word:?} in:\n{}", answer.stderr);
        }
        answer
    }
}

/// What a command answered.
pub struct Answer {
    /// −1: ended by a signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    pub fn of(output: Output) -> Answer {
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", self.stdout))
    }
}

/// The cache that the shared builds use.
pub fn shared_cache() -> PathBuf {
    let sources = fruit_pipeline::sources::Sources::default();
    fruit_pipeline::sources::cache_folder(&sources).unwrap_or_else(|failure| panic!("{failure}"))
}

fn blob(sha256: &str) -> PathBuf {
    PathBuf::from(format!("blobs/{}/{sha256}.deb", &sha256[..2]))
}

/// A copy with a date of its own.
fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
}

/// Copies files and links. `mode` is that of the folders; files get its bits, but only those that may be run keep `x`.
fn copy_folder(from: &Path, to: &Path, mode: u32) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            copy_folder(&path, &target, mode);
        } else if meta.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), &target).unwrap();
        } else if path.extension().is_none_or(|ending| ending != "lock") {
            File::create(&target).unwrap().write_all(&fs::read(&path).unwrap()).unwrap();
            let runs = if meta.permissions().mode() & 0o111 == 0 { !0o111 } else { !0 };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode & runs)).unwrap();
        }
    }
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).unwrap();
}

fn give(path: &Path, user: u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_symlink() {
        return;
    }
    chown(path, Some(user), Some(user)).unwrap();
    if meta.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}
