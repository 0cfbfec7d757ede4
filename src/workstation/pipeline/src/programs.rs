//! Our own programs in an image: which ones, and the files that go with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fruit_contract::agent::config::{AgentConfig, CONFIG_PATH};
use fruit_contract::agent::files::{FILES, PROGRAM as AGENT, PROGRAM_PATH};
use fruit_device_programs::Programs;
use fruit_image::tree::{Content, Inode};
use fruit_progress::Progress;
use fruit_recipe::{InitSystem, Recipe};

use super::device_files::{DeviceFiles, below_root, file_content, installed, sha256_of};
use super::updater::Updater;
use crate::error::Error;

const INIT: &str = "fruit-init";
const UPDATE: &str = "fruit-update";

/// What a recipe wants of our programs; its settings are checked.
pub struct Wanted {
    /// Settings of the power agent, if the recipe has its section.
    agent: Option<AgentConfig>,
    /// The updater, if the recipe has its section.
    update: Option<Updater>,
}

/// The programs themselves.
pub struct Obtained {
    /// fruit-init, for the initramfs.
    pub init: Content,
    pub in_root: Vec<DeviceFiles>,
    /// Name and SHA-256 of each program.
    pub hashes: Vec<(String, String)>,
    /// Name and SHA-256 of each file of the workstation that goes into the root with a program.
    pub files: Vec<(String, String)>,
}

/// Which programs the recipe's sections ask for.
///
/// # Errors
/// A setting that the program would refuse, on its line.
pub fn wanted(recipe: &Recipe) -> Result<Wanted, Error> {
    let agent = if recipe.agent.is_written() { Some(wanted_agent(recipe)?) } else { None };
    let update = if recipe.update.is_written() { Some(Updater::wanted(recipe)?) } else { None };
    Ok(Wanted { agent, update })
}

fn wanted_agent(recipe: &Recipe) -> Result<AgentConfig, Error> {
    if recipe.init.value != InitSystem::Systemd {
        let wrong = fruit_recipe::Diagnostic::error("the power agent needs systemd, and this recipe has another init");
        return Err(fruit_recipe::Diagnostics::from(wrong.maybe_place(recipe.agent.place(&[]))).into());
    }
    Ok(recipe.agent.read()?)
}

impl Wanted {
    /// Takes the programs from a release or compiles them.
    ///
    /// # Errors
    /// As [`Programs::obtain`].
    pub fn obtain(
        &self,
        recipe: &Recipe,
        cache: &Path,
        epoch: i64,
        progress: &dyn Progress,
    ) -> Result<Obtained, Error> {
        let architecture = recipe.board.architecture.to_string();
        let optional = [(self.agent.is_some(), AGENT), (self.update.is_some(), UPDATE)];
        let names: Vec<&str> =
            [INIT].into_iter().chain(optional.iter().filter(|(on, _)| *on).map(|(_, name)| *name)).collect();
        let programs = Programs::new(cache).obtain(&names, &architecture, progress)?;
        let mut hashes = Vec::new();
        for (name, path) in &programs {
            hashes.push((name.clone(), sha256_of(&file_content(path)?)?));
        }
        let (mut in_root, mut files) = (Vec::new(), Vec::new());
        if let Some(config) = &self.agent {
            in_root.push(baked_agent(config, &programs, epoch)?);
        }
        if let Some(updater) = &self.update {
            in_root.push(updater.bake(&programs[UPDATE], epoch)?);
            files.push(updater.file());
        }
        Ok(Obtained { init: file_content(&programs[INIT])?, in_root, hashes, files })
    }
}

fn baked_agent(config: &AgentConfig, files: &BTreeMap<String, PathBuf>, epoch: i64) -> Result<DeviceFiles, Error> {
    let mut baked = vec![
        (below_root(PROGRAM_PATH), Inode::file(file_content(&files[AGENT])?, 0o755, epoch)),
        (below_root(CONFIG_PATH), Inode::file(config.to_yaml().as_str(), 0o644, epoch)),
    ];
    baked.extend(FILES.iter().map(|file| installed(file, epoch)));
    Ok(DeviceFiles { files: baked })
}
