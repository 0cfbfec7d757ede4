//! What goes out with fruitbuild itself: the reference pages of its documentation, and its releases. For each architecture
//! of workstations a release has an archive and a Debian package with static programs, the programs for nodes, boards,
//! recipes, overlays, documents, man pages and completions; for all of them an SBOM and SHA256SUMS. Two runs of one commit
//! with the same compilers give the same bytes, wherever they run.

mod archive;
mod compile;
mod deb;
pub mod reference;
mod sbom;
pub mod source;
mod stage;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fruit_base::AtPath;
use fruit_base::Sha256;
use fruit_device_programs::{ARCHITECTURES, Programs};
use fruit_pipeline::sources::{self, Sources};
use fruitbuild::failure::Failure;
use fruitbuild::progress::Progress;

use source::Source;
use stage::File;

/// An architecture that fruitbuild itself runs on.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host {
    Amd64,
    Arm64,
}

impl Host {
    /// The architecture of this program.
    pub const OWN: Host = if cfg!(target_arch = "aarch64") { Host::Arm64 } else { Host::Amd64 };

    /// Debian's name of the architecture.
    fn debian(self) -> &'static str {
        match self {
            Host::Amd64 => "amd64",
            Host::Arm64 => "arm64",
        }
    }

    /// The kernel's name of the architecture, which archives of programs carry.
    fn machine(self) -> &'static str {
        match self {
            Host::Amd64 => "x86_64",
            Host::Arm64 => "aarch64",
        }
    }
}

/// How the programs for workstations are compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Optimized and stripped, as people get them.
    Dist,
    /// In a third of the time, for tests of what a release holds and does. fruitctl is the one of `cargo build --workspace`,
    /// which is not static: the fleet's network, which it alone brings, is compiled statically for nodes in any case.
    Dev,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Dist => "dist",
            Profile::Dev => "dev",
        }
    }

    /// Programs that are compiled for a release, statically.
    fn compiles(self) -> &'static [&'static str] {
        match self {
            Profile::Dist => &compile::WORKSTATION_PROGRAMS,
            Profile::Dev => &["fruitbuild"],
        }
    }

    /// Cargo's folder for it.
    fn folder(self) -> &'static str {
        match self {
            Profile::Dist => "dist",
            Profile::Dev => "debug",
        }
    }
}

/// What a release is for.
pub struct Scope {
    /// Architectures of workstations.
    pub hosts: Vec<Host>,
    /// Architectures of nodes, in Debian's spelling.
    pub nodes: Vec<&'static str>,
    pub profile: Profile,
}

impl Scope {
    /// All nodes, as releases for people have them.
    #[must_use]
    pub fn of_hosts(hosts: Vec<Host>) -> Scope {
        Scope { hosts, nodes: ARCHITECTURES.to_vec(), profile: Profile::Dist }
    }

    /// This machine and arm64 nodes, compiled in a third of the time: what the test of a release makes.
    #[must_use]
    pub fn of_a_test() -> Scope {
        Scope { hosts: vec![Host::OWN], nodes: vec!["arm64"], profile: Profile::Dev }
    }
}

/// Compiles the programs of a release for this machine and for nodes. A release that is made next finds them done.
///
/// # Errors
/// A missing compiler, a failed compilation.
pub fn compile(source: &Source, scope: &Scope, progress: &Progress) -> Result<(), Failure> {
    compile::workstation_programs(source, Host::OWN, scope.profile, progress)?;
    let cache = sources::cache_folder(&Sources::default())?;
    compile::node_programs(&Programs::new(&cache), &scope.nodes, progress)?;
    Ok(())
}

/// Makes a release of `source` in the folder `out`: the files' paths, SHA256SUMS last.
///
/// # Errors
/// A missing compiler, a failed compilation, files that cannot be read or written.
pub fn release(source: &Source, scope: &Scope, out: &Path, progress: &Progress) -> Result<Vec<PathBuf>, Failure> {
    progress.say(format!("release {} of commit {}", source.version, source.commit));
    let cache = sources::cache_folder(&Sources::default())?;
    let nodes = compile::node_programs(&Programs::new(&cache), &scope.nodes, progress)?;
    // Those for this machine are needed in any case: they write the man pages and completions.
    let own = compile::workstation_programs(source, Host::OWN, scope.profile, progress)?;
    let sbom = sbom::of(source)?;
    let mut common = stage::common(source, &own, &nodes)?;
    common.insert("share/doc/fruitbuild/fruitbuild.spdx.json".to_owned(), File::plain(sbom.clone()));

    let mut made = Vec::new();
    for &host in &scope.hosts {
        let programs = match host == Host::OWN {
            true => own.clone(),
            false => compile::workstation_programs(source, host, scope.profile, progress)?,
        };
        let mut files = common.clone();
        stage::add_programs(&mut files, &programs)?;
        let stem = format!("fruitbuild-{}-{}-linux", source.version, host.machine());
        made.push((format!("{stem}.tar.gz"), archive::tar_gz(&stem, &files, source.epoch)?));
        made.push((
            format!("fruitbuild_{}_{}.deb", source.version, host.debian()),
            deb::package(source, host, &files)?,
        ));
    }
    made.push((format!("fruitbuild-{}.spdx.json", source.version), sbom));
    let sums = made.iter().map(|(name, bytes)| format!("{}  {name}\n", Sha256::of(bytes))).collect::<String>();
    made.push(("SHA256SUMS".to_owned(), sums.into_bytes()));

    std::fs::create_dir_all(out).at(out)?;
    let mut paths = Vec::new();
    for (name, bytes) in made {
        let path = out.join(name);
        fruit_base::replace(&path, &bytes).at(&path)?;
        paths.push(path);
    }
    Ok(paths)
}
