//! `/etc/fruit/peer.yaml`. A [`PeerConfig`] that exists is a valid one.

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::invite::INVITE_PATH;
use crate::settings::{self, ConfigError};
use crate::values::{AbsolutePath, Span};

/// Where the program looks when nothing else is named.
pub const CONFIG_PATH: &str = "/etc/fruit/peer.yaml";
/// Key, records and cache of the node.
pub const STATE_PATH: &str = "/var/lib/fruit/peer";
/// Folder of [`STATE_PATH`] with the fleet's charters, verified: `1.record`, `2.record` and so on.
pub const CHARTERS: &str = "charters";
/// What the updater has verified and lets others have: `REPOSITORY/NAME`, as a repository of releases each.
pub const SHARED_PATH: &str = "/var/lib/fruit/shared";
/// The folder of the local sockets.
pub const RUN_PATH: &str = "/run/fruit-peer";
/// In [`RUN_PATH`]: pieces for the updater.
pub const PIECES_SOCKET: &str = "pieces.sock";
/// In [`RUN_PATH`]: status, and what is asked with `fruit-peer status`.
pub const STATUS_SOCKET: &str = "peer.sock";

/// The whole configuration. Every key has a default; an empty file is a valid one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct PeerConfig {
    /// UDP port for other nodes; 0: any that is free.
    pub port: u16,
    /// Address at which other nodes are let in; all of the node's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<IpAddr>,
    /// Finds nodes of the fleet on the local network by multicast DNS.
    pub mdns: bool,
    /// Asks the router to let other nodes in (UPnP, PCP, NAT-PMP).
    pub port_mapping: bool,
    /// Site of the node, which its beacon names; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// MiB of pieces of releases that are kept for others.
    pub cache_mib: u32,
    /// Repositories of releases that the node hands on: folders as `fruitbuild publish` writes them.
    pub serve: Vec<AbsolutePath>,
    /// Between two comparisons of records with each neighbour.
    pub compare: Span<1_000, 3_600_000>,
    /// File with the invite.
    pub invite: AbsolutePath,
    /// Folder of key, records and cache.
    pub state: AbsolutePath,
    /// Folder of what the updater has verified.
    pub shared: AbsolutePath,
    /// Folder of the local sockets.
    pub run: AbsolutePath,
}

impl Default for PeerConfig {
    fn default() -> PeerConfig {
        PeerConfig {
            port: 0,
            listen: None,
            mdns: true,
            port_mapping: true,
            site: None,
            cache_mib: 256,
            serve: Vec::new(),
            compare: Span::from_millis(60_000),
            invite: AbsolutePath::known(INVITE_PATH),
            state: AbsolutePath::known(STATE_PATH),
            shared: AbsolutePath::known(SHARED_PATH),
            run: AbsolutePath::known(RUN_PATH),
        }
    }
}

impl PeerConfig {
    /// Reads the configuration at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or [`ConfigError::Invalid`] with the place of the first mistake.
    pub fn read(path: &Path) -> Result<PeerConfig, ConfigError> {
        let (text, shown) = settings::text_of(path)?;
        PeerConfig::from_yaml(&text, &shown)
    }

    /// Reads a configuration out of `text`; `path` is what errors call it.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the place of the first mistake.
    pub fn from_yaml(text: &str, path: &str) -> Result<PeerConfig, ConfigError> {
        // A file with nothing but comments is a null document, which is no mapping to serde.
        settings::parse::<Option<PeerConfig>>(text, path).map(Option::unwrap_or_default)
    }

    /// This configuration as the text of a file that [`PeerConfig::from_yaml`] reads back to an equal value.
    pub fn to_yaml(&self) -> String {
        settings::to_yaml(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default_and_what_is_written_is_read() {
        for text in ["", "# nothing\n", "{}"] {
            assert_eq!(PeerConfig::from_yaml(text, "peer.yaml").unwrap(), PeerConfig::default());
        }
        let text = "\
port: 4433
listen: 192.0.2.1
mdns: false
port_mapping: false
site: berlin
cache_mib: 16
serve: [/srv/releases]
compare: 5s
invite: /tmp/invite
state: /tmp/state
shared: /tmp/shared
run: /tmp/run
";
        let config = PeerConfig::from_yaml(text, "peer.yaml").unwrap();
        assert_eq!((config.port, config.mdns, config.cache_mib), (4433, false, 16));
        assert_eq!(PeerConfig::from_yaml(&config.to_yaml(), "peer.yaml").unwrap(), config);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, said) in [
            ("mdns: true\nports: 1\n", "peer.yaml:2:"),
            ("port: 70000\n", "peer.yaml:1:"),
            ("compare: 1ms\n", "out of range"),
            ("state: var/lib\n", "must start with /"),
        ] {
            let error = PeerConfig::from_yaml(text, "peer.yaml").unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
