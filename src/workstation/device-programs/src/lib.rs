//! Programs of ours that run on the node: taken from a release of fruitbuild when it ships them, else built once from
//! this source tree and kept in the cache.

mod rust;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fruit_base::{AtPath, PathError};
use fruit_contract::cmdline::hex;
use fruit_progress::{Progress, Unit};
use sha2::{Digest, Sha256};

pub use rust::rust_tool;
use rust::{cargo_home, path_with, rustc, watch};

/// What device programs are made of: the groups of crates that may stand in one. Their content is part of the cache key.
const SOURCES: [&str; 5] = ["Cargo.toml", "Cargo.lock", ".cargo", "src/shared", "src/node"];

/// Programs with C and assembler in them (the cryptography of TLS): these need a compiler for the target besides Rust's.
const WITH_C: [&str; 2] = ["fruit-update", "fruit-peer"];

/// Cargo's profile for them, in the workspace's manifest.
const PROFILE: &str = "device";

/// Part of the key: what the names of folders in a program are replaced by, since programs that have them differ from
/// machine to machine.
const HIDDEN: [u8; 2] = *b"v1";

/// Where a release keeps prebuilt device programs, relative to the folder of the `fruitbuild` program.
const SHIPPED: &str = "../lib/fruitbuild";

#[derive(thiserror::Error, Debug)]
pub enum DeviceError {
    #[error("no device programs for {0}: fruitbuild knows arm64, armhf and amd64")]
    UnknownArchitecture(String),
    #[error(
        "no prebuilt {program} for {target} beside fruitbuild in ../lib/fruitbuild, and no source tree to compile it from; \
         install fruitbuild anew, or set FRUITBUILD_DEVICE_PROGRAMS to a folder that holds {target}/{program}"
    )]
    NoSource { program: String, target: String },
    #[error(
        "{program} must be built for {target}, and that Rust target is not installed; run: fruitbuild setup   (or: rustup target add {target})"
    )]
    MissingTarget { program: String, target: String },
    #[error(
        "{program} must be built for {target}, which needs the C compiler {compiler}; run: fruitbuild setup   (or: apt-get install {package})"
    )]
    MissingCompiler { program: String, target: String, compiler: String, package: String },
    #[error(
        "{program} must be compiled for {target}, and there is no Rust compiler: {why}; install Rust (https://rustup.rs, \
         then: fruitbuild setup), or add the folder of rustc to PATH, or set FRUITBUILD_DEVICE_PROGRAMS to a folder that \
         holds {target}/{program}"
    )]
    NoRust { program: String, target: String, why: String },
    #[error("{program} for {target} cannot be compiled: no space left on the disk of {folder}", folder = folder.display())]
    DiskFull { program: String, target: String, folder: PathBuf },
    #[error("building {program} for {target} failed; cargo said:\n{output}")]
    Build { program: String, target: String, output: String },
    #[error("cannot run {program}: {error}")]
    Run { program: String, error: io::Error },
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A cross-compilation target of device programs.
pub struct Target {
    pub triple: &'static str,
    /// C compiler, with the Debian packages that bring it and its headers. `.cargo/config.toml` names the same one.
    pub compiler: (&'static str, &'static str),
    /// Whether it is also what links.
    links: bool,
    rustflags: &'static str,
}

impl Target {
    /// Flags for rustc: static, and without a name of this machine's folders. `tree`: top of the repository.
    #[must_use]
    pub fn flags(&self, tree: &Path) -> Vec<String> {
        self.rustflags.split(' ').map(str::to_owned).chain(hidden_folders(tree)).collect()
    }

    /// Whether `program` can be compiled for it; `with_c`: its C compiler takes part.
    ///
    /// # Errors
    /// The Rust target or the C compiler is not installed, with the command that installs it.
    pub fn check_tools(&self, program: &str, with_c: bool) -> Result<(), DeviceError> {
        let (program, target) = (program.to_owned(), self.triple.to_owned());
        let libdir = rustc(&["--print", "target-libdir", "--target", self.triple]).unwrap_or_default();
        let libdir = PathBuf::from(String::from_utf8_lossy(&libdir).trim());
        if !libdir.is_dir() {
            return Err(DeviceError::MissingTarget { program, target });
        }
        let (compiler, package) = self.compiler;
        if with_c && Command::new(compiler).arg("--version").output().is_err() {
            let (compiler, package) = (compiler.to_owned(), package.to_owned());
            return Err(DeviceError::MissingCompiler { program, target, compiler, package });
        }
        Ok(())
    }
}

/// Brings `x86_64-linux-gnu-gcc`: where that is the machine's own compiler, it is in the package of that.
const AMD64_COMPILER: &str =
    if cfg!(target_arch = "x86_64") { "gcc libc6-dev" } else { "gcc-x86-64-linux-gnu libc6-dev-amd64-cross" };
const ARM64_COMPILER: &str =
    if cfg!(target_arch = "aarch64") { "gcc libc6-dev" } else { "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" };

/// All architectures of devices, in Debian's spelling.
pub const ARCHITECTURES: [&str; 3] = ["arm64", "amd64", "armhf"];

/// Static programs everywhere: they run in the initramfs, before any library is there, and on any root.
///
/// # Errors
/// An architecture that no device of ours has: [`DeviceError::UnknownArchitecture`].
pub fn target(debian_architecture: &str) -> Result<Target, DeviceError> {
    Ok(match debian_architecture {
        "arm64" => Target {
            triple: "aarch64-unknown-linux-musl",
            compiler: ("aarch64-linux-gnu-gcc", ARM64_COMPILER),
            links: false,
            rustflags: "-Clinker=rust-lld -Ctarget-feature=+crt-static",
        },
        "amd64" => Target {
            triple: "x86_64-unknown-linux-musl",
            compiler: ("x86_64-linux-gnu-gcc", AMD64_COMPILER),
            links: false,
            rustflags: "-Clinker=rust-lld -Ctarget-feature=+crt-static",
        },
        // Rust ships no musl for this one's hard-float name everywhere; glibc links statically as well.
        "armhf" => Target {
            triple: "armv7-unknown-linux-gnueabihf",
            compiler: ("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"),
            links: true,
            rustflags: "-Clinker=arm-linux-gnueabihf-gcc -Ctarget-feature=+crt-static",
        },
        other => return Err(DeviceError::UnknownArchitecture(other.to_owned())),
    })
}

/// Name of the package in the workspace whose binary has the same name.
pub struct Programs {
    cache: PathBuf,
}

/// The tree that this program was compiled in; a release has none, for it runs where that is not, and must not name it.
pub fn source_tree() -> Option<PathBuf> {
    const TREE: Option<&str> = match option_env!("FRUITBUILD_SOURCE") {
        Some(_) => None,
        // Cargo compiles this again when the tree has moved, together with what was compiled in it.
        None => Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../../..")),
    };
    TREE.map(PathBuf::from)
}

impl Programs {
    /// `cache`: fruitbuild's cache directory; made when needed.
    pub fn new(cache: &Path) -> Programs {
        Programs { cache: cache.join("device") }
    }

    /// The file of each program (`fruit-init`, `fruit-agent`, …) for an architecture in Debian's spelling.
    /// `progress` shows when something has to be compiled, which takes a minute or two once.
    ///
    /// # Errors
    /// A target or linker that is not installed, with the command that installs it; a failed compilation.
    pub fn obtain(
        &self,
        names: &[&str],
        architecture: &str,
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, PathBuf>, DeviceError> {
        let target = target(architecture)?;
        let mut files = BTreeMap::new();
        for name in names {
            let file = match shipped(name, target.triple) {
                Some(file) => file,
                None => self.built(name, &target, progress)?,
            };
            files.insert((*name).to_owned(), file);
        }
        Ok(files)
    }

    fn built(&self, name: &str, target: &Target, progress: &dyn Progress) -> Result<PathBuf, DeviceError> {
        let Some(tree) = source_tree().filter(|tree| tree.join("Cargo.lock").is_file()) else {
            return Err(DeviceError::NoSource { program: name.to_owned(), target: target.triple.to_owned() });
        };
        let sources = sources_key(&tree)?;
        let known = self.cache.join("known").join(format!("{name}-{}-{sources}", target.triple));
        let kept_as = |key: &str| self.cache.join(key).join(target.triple).join(name);
        let version = match rustc(&["--version"]) {
            Ok(version) => version,
            // Sources that did not change need no compiler.
            Err(why) => {
                let before = fs::read_to_string(&known).ok().filter(|key| is_key(key));
                let kept = before.map(|key| kept_as(&key)).filter(|kept| kept.is_file());
                return kept.ok_or_else(|| DeviceError::NoRust {
                    program: name.to_owned(),
                    target: target.triple.to_owned(),
                    why,
                });
            }
        };
        let key = program_key(name, target, &version, &sources);
        let kept = kept_as(&key);
        if !kept.is_file() {
            self.compile(name, target, &tree, &kept, progress)?;
        }
        if fs::read_to_string(&known).ok().as_ref() != Some(&key) {
            keep(&mut key.as_bytes(), &known)?;
        }
        Ok(kept)
    }

    fn compile(
        &self,
        name: &str,
        target: &Target,
        tree: &Path,
        kept: &Path,
        progress: &dyn Progress,
    ) -> Result<(), DeviceError> {
        target.check_tools(name, target.links || WITH_C.contains(&name))?;
        progress.say(&format!("compiling {name} for {} (once; kept in the cache)", target.triple));
        let build_dir = self.cache.join("build");
        let cargo = std::env::var_os("CARGO").map(PathBuf::from).or_else(|| rust_tool("cargo"));
        let cargo = cargo.unwrap_or_else(|| "cargo".into());
        let step = progress.step(&format!("compiling {name}"), 0, Unit::Pieces);
        let mut command = Command::new(&cargo);
        command
            .current_dir(tree)
            .args(["build", "--locked", "--profile", PROFILE, "--package", name, "--target", target.triple])
            .arg("--target-dir")
            .arg(&build_dir)
            .env("PATH", path_with(&cargo))
            .env("CARGO_ENCODED_RUSTFLAGS", target.flags(tree).join("\u{1f}"))
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            // Lets tests be timed (`.ci/times`); it would let dependencies use what stable Rust has not.
            .env_remove("RUSTC_BOOTSTRAP");
        let mut show = |done, total| {
            step.set_total(total);
            step.set(done);
        };
        let ended =
            watch(&mut command, &mut show).map_err(|error| DeviceError::Run { program: "cargo".to_owned(), error })?;
        let (program, triple) = (name.to_owned(), target.triple.to_owned());
        ended.map_err(|output| match output.contains("No space left on device") {
            true => DeviceError::DiskFull { program, target: triple, folder: build_dir.clone() },
            false => DeviceError::Build { program, target: triple, output },
        })?;
        let made = build_dir.join(target.triple).join(PROFILE).join(name);
        let mut file = fs::File::open(&made).at(&made)?;
        keep(&mut file, kept)
    }
}

/// Flags for rustc that keep the folders of this machine out of a program: the same sources give the same bytes wherever
/// they and the crates of others lie. `tree`: top of the repository.
fn hidden_folders(tree: &Path) -> Vec<String> {
    let tree = (tree.canonicalize().unwrap_or_else(|_| tree.to_owned()), "fruitbuild");
    let folders = [Some(tree), cargo_home().map(|home| (home, "cargo"))];
    let flag = |(folder, name): (PathBuf, &str)| format!("--remap-path-prefix={}={name}", folder.display());
    folders.into_iter().flatten().map(flag).collect()
}

fn shipped(name: &str, triple: &str) -> Option<PathBuf> {
    let given = std::env::var_os("FRUITBUILD_DEVICE_PROGRAMS").map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(SHIPPED)));
    [given, beside].into_iter().flatten().map(|folder| folder.join(triple).join(name)).find(|file| file.is_file())
}

/// Names the sources and the compilers, so that a changed source or compiler makes a new program.
fn program_key(name: &str, target: &Target, rustc_version: &[u8], sources: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(rustc_version);
    hash.update(target.rustflags);
    hash.update(HIDDEN);
    // One that is missing is told of before it is needed.
    if WITH_C.contains(&name)
        && let Ok(version) = Command::new(target.compiler.0).arg("--version").output()
    {
        hash.update(&version.stdout);
    }
    hash.update(sources);
    hex(&hash.finalize()[..16])
}

fn sources_key(tree: &Path) -> Result<String, DeviceError> {
    let mut hash = Sha256::new();
    for source in SOURCES {
        add_to_key(&mut hash, &tree.join(source), source)?;
    }
    Ok(hex(&hash.finalize()[..16]))
}

fn is_key(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn add_to_key(hash: &mut Sha256, path: &Path, name: &str) -> Result<(), DeviceError> {
    if path.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)
            .at(path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()
            .at(path)?;
        names.sort();
        for child in names {
            add_to_key(hash, &path.join(&child), &format!("{name}/{}", child.to_string_lossy()))?;
        }
    } else if path.is_file() {
        let bytes = fs::read(path).at(path)?;
        hash.update(name);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    Ok(())
}

/// Copies under a temporary name and renames, so that an interrupted copy is never taken for a program.
fn keep(from: &mut dyn io::Read, to: &Path) -> Result<(), DeviceError> {
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).at(to)?;
    let runs = Permissions::from_mode(0o755);
    let mut temporary = tempfile::Builder::new().permissions(runs).tempfile_in(folder).at(to)?;
    io::copy(from, &mut temporary).at(to)?;
    temporary.as_file().sync_all().at(to)?;
    temporary.persist(to).at(to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_anything_that_device_programs_are_made_of_makes_them_anew() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap();
        let tree = |program: &str| {
            let of =
                ["tree", "--locked", "--prefix=none", "--format={p}", "--edges=normal,build", "--package", program];
            let output = Command::new(env!("CARGO")).current_dir(&top).args(of).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        for program in ["fruit-init", "fruit-agent", "fruit-update", "fruit-peer"] {
            let tree = tree(program);
            // `fruit-release v0.1.0 (/…/src/shared/release)`; crates of others have no path.
            let own = tree.lines().filter_map(|line| line.split_once(" (/")?.1.split([')', ' ']).next());
            let own: Vec<PathBuf> = own.map(|path| Path::new("/").join(path)).collect();
            assert!(!own.is_empty(), "{tree}");
            for path in own {
                let inside = SOURCES.iter().any(|source| path.starts_with(top.join(source)));
                assert!(inside, "{program} needs {}, which is not part of the key", path.display());
            }
        }
    }
}
