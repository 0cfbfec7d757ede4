//! Our own programs in an image: which ones, and the files that go with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fruit_contract::agent::config::{AgentConfig, CONFIG_PATH};
use fruit_contract::agent::files::{FILES, PROGRAM as AGENT, PROGRAM_PATH};
use fruit_contract::peer;
use fruit_contract::peer::config::PeerConfig;
use fruit_contract::peer::files::PROGRAM as PEER;
use fruit_device_programs::Programs;
use fruit_image::tree::Content;
use fruit_progress::Progress;
use fruit_recipe::{InitSystem, Recipe};

use super::device_files::{DeviceFiles, file_content, sha256_of};
use super::updater::Updater;
use crate::error::Error;

const INIT: &str = "fruit-init";
const UPDATE: &str = "fruit-update";

/// What a recipe wants of our programs; its settings are checked.
pub struct Wanted {
    /// Settings of the power agent, if the recipe has its section.
    agent: Option<AgentConfig>,
    /// Settings of the fleet's network, if the recipe has its section.
    fleet: Option<PeerConfig>,
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
    let fleet = if recipe.fleet.is_written() { Some(wanted_fleet(recipe)?) } else { None };
    let update = if recipe.update.is_written() { Some(Updater::wanted(recipe)?) } else { None };
    Ok(Wanted { agent, fleet, update })
}

fn wanted_fleet(recipe: &Recipe) -> Result<PeerConfig, Error> {
    let wrong = |what: &str, key: &[&str], help: &str| {
        let wrong = fruit_recipe::Diagnostic::error(what).maybe_place(recipe.fleet.place(key)).help(help);
        Err(fruit_recipe::Diagnostics::from(wrong).into())
    };
    if recipe.init.value != InitSystem::Systemd {
        let help = "take `fleet` out, or build on `base-systemd.yaml`";
        return wrong("a fleet's network needs systemd, and this recipe has another init", &[], help);
    }
    let section = recipe.fleet.value();
    if section["invite"].as_str().is_some_and(|text| text.starts_with(fruit_contract::invite::PREFIX)) {
        let help = "the invite itself belongs into `first_boot: {invite: …}`, or into fruit.yaml on the card";
        return wrong("`fleet.invite` is the path of a file on the node", &["invite"], help);
    }
    Ok(recipe.fleet.read()?)
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
        let optional = [(self.agent.is_some(), AGENT), (self.fleet.is_some(), PEER), (self.update.is_some(), UPDATE)];
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
        if let Some(config) = &self.fleet {
            in_root.push(baked_peer(config, &programs, epoch)?);
        }
        if let Some(updater) = &self.update {
            in_root.push(updater.bake(&programs[UPDATE], epoch)?);
            files.extend(updater.file());
        }
        Ok(Obtained { init: file_content(&programs[INIT])?, in_root, hashes, files })
    }
}

fn baked_agent(config: &AgentConfig, files: &BTreeMap<String, PathBuf>, epoch: i64) -> Result<DeviceFiles, Error> {
    DeviceFiles::of((&files[AGENT], PROGRAM_PATH), (CONFIG_PATH, &config.to_yaml()), FILES, epoch)
}

fn baked_peer(config: &PeerConfig, files: &BTreeMap<String, PathBuf>, epoch: i64) -> Result<DeviceFiles, Error> {
    let (to, with) = (peer::files::PROGRAM_PATH, peer::files::FILES);
    DeviceFiles::of((&files[PEER], to), (peer::config::CONFIG_PATH, &config.to_yaml()), with, epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_of(more: &str) -> Result<Wanted, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        std::fs::write(&path, format!("name: x\nboard: qemu-arm64\ndistribution: {{suite: trixie}}\n{more}")).unwrap();
        let recipe = fruit_recipe::load(&path, &crate::search()).unwrap_or_else(|e| panic!("{e}"));
        wanted(&recipe).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_fleet_brings_its_program_with_settings_unit_and_user() {
        let config = wanted_of("fleet: {site: berlin, port: 4433}\n").unwrap().fleet.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(PEER);
        std::fs::write(&program, "program").unwrap();
        let baked = baked_peer(&config, &BTreeMap::from([(PEER.to_owned(), program)]), 0).unwrap();
        let found = |path: &str| baked.text(path);
        assert_eq!(found("usr/bin/fruit-peer"), "program");
        assert_eq!(PeerConfig::from_yaml(&found("etc/fruit/peer.yaml"), "peer.yaml").unwrap(), config);
        assert!(found("usr/lib/systemd/system/fruit-peer.service").contains("User=fruit-peer"));
        found("usr/lib/systemd/system/multi-user.target.wants/fruit-peer.service");
        found("usr/lib/sysusers.d/fruit-peer.conf");
        assert!(wanted_of("").unwrap().fleet.is_none());
    }

    #[test]
    fn a_fleet_that_no_image_could_have_is_refused_on_its_line() {
        for (more, said, line) in [
            ("init: busybox\nfleet: {}\n", "base-systemd.yaml", "x.yaml:5"),
            ("fleet:\n  invite: fruit1-abc\n", "first_boot: {invite: …}", "x.yaml:5"),
            ("fleet:\n  ports: 1\n", "ports", "x.yaml:5"),
        ] {
            let error = wanted_of(more).map(|_| ()).unwrap_err();
            assert!(error.contains(said) && error.contains(line), "{error}");
        }
    }
}
