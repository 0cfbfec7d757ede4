//! The updater in an image: its settings, the root metadata that it trusts, and the files that start it.

use std::io::Read;
use std::path::{Path, PathBuf};

use fruit_base::AtPath;
use fruit_contract::cmdline::hex;
use fruit_contract::update::config::{
    AgentCheck, CONFIG_PATH, FailedUnits, ROOT_PATH, RootPath, SourceAddress, UpdateConfig,
};
use fruit_contract::update::files::{BUSYBOX, PROGRAM_PATH, SYSTEMD};
use fruit_image::tree::Inode;
use fruit_recipe::{Diagnostic, Diagnostics, InitSystem, Recipe};
use fruit_release::tuf::Trust;
use sha2::{Digest, Sha256};

use super::device_files::{DeviceFiles, below_root};
use crate::error::Error;

/// Most bytes of root metadata.
const ROOT_MAX: u64 = 512 << 10;

/// An updater that a recipe asks for.
pub struct Updater {
    config: UpdateConfig,
    init: InitSystem,
    /// Root metadata, verified by itself; without it the fleet's charter says whose releases are taken.
    root: Option<Vec<u8>>,
}

fn wrong(diagnostic: Diagnostic) -> Error {
    Diagnostics::from(diagnostic).into()
}

impl Updater {
    /// The recipe's `update:` section, checked together with what it names.
    ///
    /// # Errors
    /// A setting that the updater would refuse, checks that this image can't answer, root metadata that is not there or
    /// is none; on their lines.
    pub fn wanted(recipe: &Recipe) -> Result<Updater, Error> {
        let section = &recipe.update;
        let mut config: UpdateConfig = section.read()?;
        check_peers(recipe, &config)?;
        if config.root.is_none() && !recipe.fleet.is_written() {
            let message = "`update` lacks `root`: the root metadata by which this image will know its releases";
            return Err(wrong(
                Diagnostic::error(message)
                    .maybe_place(section.place(&[]))
                    .label("no root here")
                    .help("make keys and root metadata with `fruitbuild keys`, and write `root: PATH/root.json`")
                    .help("or let a fleet say it: with `fleet: {}` the image has fruit-peer, and obeys nobody until it has an invite"),
            ));
        }
        check_health(recipe, &config)?;
        let root = config.root.as_ref().map(|path| read_root(recipe, path)).transpose()?;
        config.root = config.root.map(|_| RootPath::of_image());
        if config.product.is_none() {
            let place = recipe.name.place.clone();
            let product = recipe.name.as_str().to_owned().try_into();
            config.product = Some(product.map_err(|why: String| wrong(Diagnostic::error(why).maybe_place(place)))?);
        }
        Ok(Updater { config, init: recipe.init.value, root })
    }

    /// What goes into the root.
    ///
    /// # Errors
    /// The program can't be read.
    pub fn bake(&self, program: &Path, epoch: i64) -> Result<DeviceFiles, Error> {
        let starters = if self.init == InitSystem::Systemd { SYSTEMD } else { BUSYBOX };
        let mut baked =
            DeviceFiles::of((program, PROGRAM_PATH), (CONFIG_PATH, &self.config.to_yaml()), starters, epoch)?;
        let root = self.root.iter().map(|root| (below_root(ROOT_PATH), Inode::file(root.clone(), 0o644, epoch)));
        baked.files.extend(root);
        Ok(baked)
    }

    /// Name and SHA-256 of the root metadata, if there is some.
    pub fn file(&self) -> Option<(String, String)> {
        self.root.as_ref().map(|root| ("root.json".to_owned(), hex(&Sha256::digest(root))))
    }
}

/// A source that this image could not ask.
fn check_peers(recipe: &Recipe, config: &UpdateConfig) -> Result<(), Error> {
    let Some(at) = config.sources.iter().position(|source| *source == SourceAddress::Peers) else { return Ok(()) };
    if recipe.fleet.is_written() {
        return Ok(());
    }
    Err(wrong(
        Diagnostic::error("the source `peers` needs fruit-peer, and this image has none")
            .maybe_place(recipe.update.place(&["sources", &at.to_string()]))
            .label("nobody to ask")
            .help("add the section `fleet: {}` to the recipe"),
    ))
}

/// Checks that nothing in this image would answer make every release fail.
fn check_health(recipe: &Recipe, config: &UpdateConfig) -> Result<(), Error> {
    let refuse = |key: &str, why: &str| {
        Err(wrong(
            Diagnostic::error(why).maybe_place(recipe.update.place(&["health", key])).label("no release would pass"),
        ))
    };
    if recipe.init.value != InitSystem::Systemd {
        let why = "this check asks systemd, and this recipe has another init";
        if !config.health.units.is_empty() {
            return refuse("units", why);
        }
        if config.health.failed_units == FailedUnits::None {
            return refuse("failed_units", why);
        }
    }
    if config.health.agent == AgentCheck::Healthy && !recipe.agent.is_written() {
        return refuse("agent", "this check asks the power agent, and this recipe has no `agent` section");
    }
    Ok(())
}

fn read_root(recipe: &Recipe, root: &RootPath) -> Result<Vec<u8>, Error> {
    let place = recipe.update.place(&["root"]);
    let path: PathBuf = match &place {
        Some(place) => place.resolve(root.path()),
        None => root.path().to_owned(),
    };
    let shown = path.display();
    if !path.is_file() {
        return Err(wrong(
            Diagnostic::error(format!("there is no root metadata at {shown}"))
                .maybe_place(place)
                .label("no file here")
                .note("the path is relative to the file that this line stands in")
                .help("`fruitbuild keys` makes keys and root metadata; keep the keys, give the recipe the root.json"),
        ));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).at(&path)?;
    file.take(ROOT_MAX + 1).read_to_end(&mut bytes).at(&path)?;
    let checked = if bytes.len() as u64 > ROOT_MAX {
        Err(format!("more than {ROOT_MAX} bytes"))
    } else {
        Trust::from_root(&bytes).map(|_| ()).map_err(|error| error.to_string())
    };
    match checked {
        Ok(()) => Ok(bytes),
        Err(why) => Err(wrong(
            Diagnostic::error(format!("{shown} is not root metadata that releases can be verified by: {why}"))
                .maybe_place(place)
                .label("not signed root metadata"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root metadata as the specification of TUF writes it, signed by its one key.
    fn signed_root() -> String {
        use ed25519_dalek::{Signer, SigningKey};
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = hex(key.verifying_key().as_bytes());
        let entry = serde_json::json!({"keytype": "ed25519", "keyval": {"public": public}, "scheme": "ed25519"});
        let id = hex(&Sha256::digest(entry.to_string()));
        let role = serde_json::json!({"keyids": [id], "threshold": 1});
        let signed = serde_json::json!({
            "_type": "root", "consistent_snapshot": true, "expires": "2040-01-01T00:00:00Z", "keys": {&id: entry},
            "roles": {"root": role, "targets": role, "snapshot": role, "timestamp": role},
            "spec_version": "1.0.31", "version": 1,
        });
        // Keys in order and no spaces: canonical, as long as texts are plain.
        let signature = hex(&key.sign(signed.to_string().as_bytes()).to_bytes());
        serde_json::json!({"signatures": [{"keyid": id, "sig": signature}], "signed": signed}).to_string()
    }

    fn check(update: &str, more: &str) -> (tempfile::TempDir, Result<Updater, String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        let text = format!("name: x\nboard: qemu-arm64\ndistribution: {{suite: trixie}}\n{more}update:\n{update}");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("wrong.json"), "{}").unwrap();
        std::fs::write(folder.path().join("root.json"), signed_root()).unwrap();
        let recipe = fruit_recipe::load(&path, &crate::search()).unwrap_or_else(|e| panic!("{e}"));
        (folder, Updater::wanted(&recipe).map_err(|failure| failure.to_string()))
    }

    fn error(update: &str, more: &str) -> String {
        check(update, more).1.err().unwrap()
    }

    #[test]
    fn an_image_gets_program_settings_root_and_what_starts_it() {
        for (more, starter) in [
            ("", "usr/lib/systemd/system/multi-user.target.wants/fruit-update.service"),
            ("init: busybox\n", "usr/lib/fruit/start.d/50-fruit-update"),
        ] {
            let (folder, updater) = check("  root: root.json\n  sources: [usb]\n  epoch: 3\n", more);
            let updater = updater.unwrap();
            let program = folder.path().join("fruit-update");
            std::fs::write(&program, "program").unwrap();
            let baked = updater.bake(&program, 0).unwrap();
            let text = |path: &str| baked.text(path);
            assert_eq!(text("usr/bin/fruit-update"), "program");
            assert_eq!(text("etc/fruit/update/root.json"), signed_root());
            text(starter);
            let config = UpdateConfig::from_yaml(&text("etc/fruit/update.yaml"), "update.yaml").unwrap();
            assert_eq!(config.root, Some(RootPath::of_image()));
            assert_eq!((config.product.unwrap().as_str(), config.epoch), ("x", 3));
            assert_eq!(updater.file().unwrap().1, hex(&Sha256::digest(signed_root())));
        }
    }

    #[test]
    fn a_root_that_is_missing_is_told_with_the_way_to_get_one() {
        for text in [error("  tries: 3\n", ""), error("  root: ../keys/root.json\n", "")] {
            assert!(text.contains("fruitbuild keys") && text.contains("x.yaml"), "{text}");
        }
        assert!(error("  root: ../keys/root.json\n", "").contains("keys/root.json"));
    }

    #[test]
    fn with_a_fleet_no_root_is_needed_and_peers_can_be_asked() {
        let (folder, updater) = check("  sources: [usb, peers]\n", "fleet: {}\n");
        let updater = updater.unwrap();
        let program = folder.path().join("fruit-update");
        std::fs::write(&program, "program").unwrap();
        let baked = updater.bake(&program, 0).unwrap();
        assert!(updater.file().is_none() && baked.files.iter().all(|(path, _)| !path.ends_with("root.json")));
        let text = error("  root: root.json\n  sources: [usb, peers]\n", "");
        assert!(text.contains("fleet: {}") && text.contains("x.yaml:6"), "{text}");
        assert!(error("  sources: [usb]\n", "").contains("fleet: {}"));
    }

    #[test]
    fn what_is_no_root_metadata_is_refused() {
        let text = error("  root: wrong.json\n", "");
        assert!(text.contains("wrong.json is not root metadata"), "{text}");
    }

    #[test]
    fn mistakes_are_shown_on_their_line() {
        let text = error("  root: wrong.json\n  tries: 9\n", "");
        assert!(text.contains("9 tries") && text.contains("x.yaml:6"), "{text}");
        assert!(error("  root: wrong.json\n  sorces: []\n", "").contains("sorces"));
    }

    #[test]
    fn checks_that_nothing_could_answer_are_refused() {
        let text = error("  root: r\n  health: {units: [ssh.service]}\n", "init: busybox\n");
        assert!(text.contains("asks systemd"), "{text}");
        let text = error("  root: r\n  health: {failed_units: none}\n", "init: busybox\n");
        assert!(text.contains("asks systemd"), "{text}");
        let text = error("  root: r\n  health: {agent: healthy}\n", "");
        assert!(text.contains("no `agent` section"), "{text}");
    }
}
