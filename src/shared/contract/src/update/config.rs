//! `/etc/fruit/update.yaml`, which is also the `update:` section of a recipe. An [`UpdateConfig`] that exists is a valid
//! one: every bound is checked while it is deserialized, so that whoever reads it out of a larger document gets the same
//! errors at the same places.

mod check;
mod health;
mod rate;
mod source;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use check::Check;
pub use health::{AgentCheck, CommandCheck, CommandLine, FailedUnits, HealthChecks, Reach};
pub use rate::Rate;
pub use source::{ProxyUrl, SourceAddress};

use crate::bootctl::MAX_TRIES;
use crate::settings::{self, ConfigError};
use crate::update::window::Window;
use crate::values::AbsolutePath;

/// Where the updater looks when nothing else is named.
pub const CONFIG_PATH: &str = "/etc/fruit/update.yaml";
/// Where an image has the root metadata that it trusts from the start.
pub const ROOT_PATH: &str = "/etc/fruit/update/root.json";
/// Most sources, windows, commands and addresses that one configuration may have.
const LIST_MAX: usize = 32;

/// The whole configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateConfig {
    /// Root metadata to trust. In a recipe a path on the workstation, relative to the recipe; on the node where the image
    /// has it. Without it the node takes the releases that its fleet's charter accepts, and none without an invite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootPath>,
    /// Releases of this product are taken. Default: the name of the recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<ProductName>,
    /// Where releases come from.
    #[serde(default, deserialize_with = "few")]
    pub sources: Vec<SourceAddress>,
    /// When sources are asked.
    #[serde(default)]
    pub check: Check,
    /// When a release that was found is written to the other slot.
    #[serde(default)]
    pub install: Policy,
    /// When the node restarts into a release that is written.
    #[serde(default = "Policy::in_window")]
    pub reboot: Policy,
    /// Times for what is to be done `window`; without any, all times.
    #[serde(default, deserialize_with = "few")]
    pub windows: Vec<Window>,
    /// What becomes of windows while the node does not know the time.
    #[serde(default)]
    pub without_clock: WithoutClock,
    /// Most bytes per second of a download; without it, no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Rate>,
    /// Boots that the loader gives a new release to prove itself.
    #[serde(default)]
    pub tries: Tries,
    /// Security epoch of this image. Goes up when going back would reopen a hole: no release of a lower one is taken.
    #[serde(default)]
    pub epoch: u64,
    /// The oldest boot loader interface that starts this image.
    #[serde(default)]
    pub min_bootloader: u64,
    /// Certificates on the node that HTTPS servers are checked against, instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<AbsolutePath>,
    /// Proxy for downloads; without it, what `https_proxy` and the like say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyUrl>,
    /// What a new release must show before it is committed.
    #[serde(default)]
    pub health: HealthChecks,
    /// Whether the other slot gets a copy of the running one, so that there is something to fall back to.
    #[serde(default)]
    pub clone: ClonePolicy,
}

/// When something is done that the updater could do by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// As soon as it can be.
    #[default]
    Auto,
    /// Within the windows.
    Window,
    /// When a person asks for it.
    Manual,
}

impl Policy {
    const fn in_window() -> Policy {
        Policy::Window
    }
}

/// What windows mean on a node that does not know the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum WithoutClock {
    /// They are waited for: who wrote them does not want the node to restart at a wrong time.
    #[default]
    Wait,
    /// All times are allowed.
    Ignore,
}

/// Whether idle time is used to fill a slot that holds nothing, or a release that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ClonePolicy {
    Idle,
    #[default]
    Never,
}

/// Number of boots of a trial, 1 to 7.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "u32", into = "u32")]
#[cfg_attr(feature = "schema", schemars(extend("minimum" = 1, "maximum" = 7)))]
pub struct Tries(u32);

impl Tries {
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Tries {
    fn default() -> Tries {
        Tries(3)
    }
}

impl TryFrom<u32> for Tries {
    type Error = String;

    fn try_from(tries: u32) -> Result<Tries, String> {
        match tries {
            1..=MAX_TRIES => Ok(Tries(tries)),
            _ => Err(format!("{tries} tries are not possible; the loader counts 1 to {MAX_TRIES}")),
        }
    }
}

impl From<Tries> for u32 {
    fn from(tries: Tries) -> u32 {
        tries.0
    }
}

/// Path of root metadata; any, but one line and not empty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r".")))]
pub struct RootPath(String);

impl RootPath {
    /// [`ROOT_PATH`], as an image has it.
    pub fn of_image() -> RootPath {
        RootPath(ROOT_PATH.to_owned())
    }

    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl TryFrom<String> for RootPath {
    type Error = String;

    fn try_from(text: String) -> Result<RootPath, String> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err("expected the path of a root.json, as `fruitbuild keys` makes it".into());
        }
        Ok(RootPath(text))
    }
}

impl From<RootPath> for String {
    fn from(path: RootPath) -> String {
        path.0
    }
}

/// Name of what a node is: letters, digits, `.`, `_`, `+`, `-`, a letter or digit first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")))]
pub struct ProductName(String);

impl ProductName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProductName {
    type Error = String;

    fn try_from(text: String) -> Result<ProductName, String> {
        const LONGEST: usize = 64;
        let known = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !starts || text.len() > LONGEST || !text.chars().all(known) {
            return Err(format!(
                "`{text}` is not the name of a product: 1 to {LONGEST} letters, digits, `.`, `_`, `+` and `-`, a letter or digit first"
            ));
        }
        Ok(ProductName(text))
    }
}

impl From<ProductName> for String {
    fn from(name: ProductName) -> String {
        name.0
    }
}

/// A list whose length is bounded.
fn few<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(from)?;
    if list.len() > LIST_MAX {
        return Err(serde::de::Error::custom(format!("a list of {} entries, at most {LIST_MAX} are read", list.len())));
    }
    Ok(list)
}

impl UpdateConfig {
    /// Every default, with that root.
    pub fn new(root: Option<RootPath>) -> UpdateConfig {
        UpdateConfig {
            root,
            product: None,
            sources: Vec::new(),
            check: Check::default(),
            install: Policy::default(),
            reboot: Policy::in_window(),
            windows: Vec::new(),
            without_clock: WithoutClock::default(),
            bandwidth: None,
            tries: Tries::default(),
            epoch: 0,
            min_bootloader: 0,
            ca: None,
            proxy: None,
            health: HealthChecks::default(),
            clone: ClonePolicy::default(),
        }
    }

    /// Reads the configuration at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or [`ConfigError::Invalid`] with the place of the first mistake.
    pub fn read(path: &Path) -> Result<UpdateConfig, ConfigError> {
        let (text, shown) = settings::text_of(path)?;
        UpdateConfig::from_yaml(&text, &shown)
    }

    /// Reads a configuration out of `text`; `path` is what errors call it.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the place of the first mistake.
    pub fn from_yaml(text: &str, path: &str) -> Result<UpdateConfig, ConfigError> {
        settings::parse(text, path)
    }

    /// This configuration as the text of a file that [`UpdateConfig::from_yaml`] reads back to an equal value.
    pub fn to_yaml(&self) -> String {
        settings::to_yaml(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "\
root: ../keys/root.json
product: pistack
sources:
  - https://updates.example.org/pistack
  - http://10.0.0.1:8080/
  - /media/stick
  - usb
  - peers
check: {every: 6h, jitter: 30min}
install: auto
reboot: window
windows: [\"Mon-Fri 01:00-04:00\", \"Sun\"]
without_clock: ignore
bandwidth: 500K
tries: 5
epoch: 2
min_bootloader: 1
ca: /etc/ssl/fleet.pem
proxy: http://10.0.0.1:3128
health:
  within: 10min
  soak: 5min
  units: [ssh.service]
  failed_units: none
  commands:
    - run: [/usr/bin/true, -x]
      timeout: 1min
  reach: [gateway, \"10.0.0.1:443\"]
  agent: healthy
clone: idle
";

    #[test]
    fn every_key_is_read_and_written_back() {
        let config = UpdateConfig::from_yaml(FULL, "x").unwrap();
        assert_eq!(config.sources.len(), 5);
        assert_eq!(config.windows.len(), 2);
        assert_eq!(config.bandwidth.unwrap().bytes_per_second(), 500_000);
        assert_eq!((config.tries.get(), config.epoch, config.min_bootloader), (5, 2, 1));
        assert_eq!(config.health.commands[0].timeout.millis(), 60_000);
        let again = UpdateConfig::from_yaml(&config.to_yaml(), "y");
        assert_eq!(again.unwrap(), config, "{}", config.to_yaml());
    }

    #[test]
    fn a_root_or_nothing_is_enough() {
        for (text, root) in [("root: r.json\n", Some(RootPath("r.json".into()))), ("{}\n", None)] {
            let config = UpdateConfig::from_yaml(text, "x").unwrap();
            assert_eq!(config, UpdateConfig::new(root));
            assert_eq!(UpdateConfig::from_yaml(&config.to_yaml(), "y").unwrap(), config);
        }
    }

    #[test]
    fn a_mistake_is_shown_where_it_is() {
        for (text, line, word) in [
            ("root: r\nsourcs: []\n", 2, "sourcs"),
            ("root: r\nsources:\n  - ftp://x/\n", 3, "ftp://x/"),
            ("root: r\ntries: 9\n", 2, "9 tries"),
            ("root: r\nwindows:\n  - Mon 01:00-04:00\n  - Mon 4-5\n", 4, "4-5"),
            ("root: r\nhealth:\n  units: [ssh]\n", 3, "ssh.service"),
            ("root: r\nhealth:\n  commands:\n    - run: []\n", 4, "program"),
            ("root: r\nhealth:\n  reach: [somewhere]\n", 3, "somewhere"),
            ("root: r\nbandwidth: 10\n", 2, "bandwidth"),
            ("root: r\ncheck: often\n", 2, "often"),
            ("root: r\ncheck: {every: 1s}\n", 2, "1s"),
            ("root: ''\n", 1, "root.json"),
            ("root: r\nproduct: a b\n", 2, "a b"),
        ] {
            match UpdateConfig::from_yaml(text, "update.yaml") {
                Err(ConfigError::Invalid { line: found, message, .. }) => {
                    assert_eq!(found, line, "{text}{message}");
                    assert!(message.contains(word), "{text}{message}");
                }
                other => panic!("{text}{other:?}"),
            }
        }
    }

    #[test]
    fn lists_are_bounded() {
        let sources = "  - /a\n".repeat(LIST_MAX + 1);
        assert!(UpdateConfig::from_yaml(&format!("root: r\nsources:\n{sources}"), "x").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(root: r\n|sources: |windows: |- |usb|check: |[{}:,]|Mon |0[0-9]:|health: |\\PC|\n ){0,20}") {
            let _ = UpdateConfig::from_yaml(&text, "x");
        }
    }
}
