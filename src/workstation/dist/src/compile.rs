//! The programs of a release, compiled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use fruit_device_programs::{self as device, Programs};
use fruitbuild::failure::Failure;
use fruitbuild::progress::Progress;

use crate::source::Source;
use crate::{Host, Profile};

/// What runs on a node.
const NODE_PROGRAMS: [&str; 4] = ["fruit-init", "fruit-agent", "fruit-update", "fruit-peer"];
/// What runs on a workstation; each is in the package of its name.
pub const WORKSTATION_PROGRAMS: [&str; 2] = ["fruitbuild", "fruitctl"];

/// Files of the programs for nodes, by target and name: `aarch64-unknown-linux-musl/fruit-init`.
///
/// # Errors
/// A missing compiler, a failed compilation.
pub fn node_programs(
    programs: &Programs,
    architectures: &[&str],
    progress: &Progress,
) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut files = BTreeMap::new();
    for architecture in architectures {
        let target = device::target(architecture).map_err(|error| Failure::general(error.to_string()))?;
        let made = programs
            .obtain(&NODE_PROGRAMS, architecture, progress)
            .map_err(|error| Failure::general(error.to_string()))?;
        files.extend(made.into_iter().map(|(name, file)| (format!("{}/{name}", target.triple), file)));
    }
    Ok(files)
}

/// Files of the programs for a workstation, by name. They are static: any distribution's kernel runs them. For a test fruitctl
/// is the one that cargo made for this machine, as [`Profile::Dev`] says.
///
/// # Errors
/// A failed compilation, with what to install when a compiler is missing.
pub fn workstation_programs(
    source: &Source,
    host: Host,
    profile: Profile,
    progress: &Progress,
) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let target = device::target(host.debian()).map_err(|error| Failure::general(error.to_string()))?;
    let compiled = profile.compiles();
    let named = compiled.join(" and ");
    target.check_tools(&named, true).map_err(|error| Failure::general(error.to_string()))?;
    progress.say(format!("compiling {named} for {}", target.triple));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&source.top).args(["build", "--locked", "--profile", profile.name()]);
    command.args(["--target", target.triple]);
    for package in compiled {
        command.args(["--package", package]);
    }
    let folder = target_folder(source);
    let mut flags = target.flags(&source.top);
    // What build scripts have written is compiled as well. Of the folders that fit the last one counts, and this one may
    // be in the repository or not.
    flags.push(format!("--remap-path-prefix={}=target", folder.display()));
    let status = command
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TARGET_DIR", &folder)
        .env("FRUITBUILD_SOURCE", format!("{} {}", source.commit, source.date))
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_BOOTSTRAP")
        .status()
        .map_err(|error| Failure::general(format!("cannot run cargo: {error}")))?;
    if !status.success() {
        return Err(Failure::general(format!(
            "{named} cannot be compiled for {}: cargo ended with {status}",
            target.triple
        )));
    }
    let made = folder.join(target.triple).join(profile.folder());
    let others = folder.join(profile.folder());
    let place = |name: &str| if compiled.contains(&name) { made.join(name) } else { others.join(name) };
    let files: BTreeMap<_, _> = WORKSTATION_PROGRAMS.iter().map(|name| ((*name).to_owned(), place(name))).collect();
    match files.values().find(|file| !file.is_file()) {
        None => Ok(files),
        Some(file) => Err(Failure::general(format!("{} is not there; run: cargo build --workspace", file.display()))),
    }
}

/// Where cargo puts what it makes of this repository: a second run finds the dependencies there.
fn target_folder(source: &Source) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| source.top.join("target"), PathBuf::from)
}

/// What a program prints.
///
/// # Errors
/// It does not start, or fails.
pub fn printed(program: &Path, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let named = format!("{} {}", program.display(), arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| Failure::general(format!("cannot run {named}: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::general(format!("{named} ended with {}: {}", output.status, said.trim())));
    }
    Ok(output.stdout)
}
