//! `/etc/fruit/peer.yaml`. A [`PeerConfig`] that exists is a valid one.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::agent::config::SOCKET_PATH;
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
/// Public part of the ssh server's host key.
pub const HOST_KEY_PATH: &str = "/etc/ssh/ssh_host_ed25519_key.pub";
/// Addresses that [`PeerConfig::forward`] has at most.
pub const FORWARDS: usize = 16;
/// In [`RUN_PATH`]: pieces for the updater.
pub const PIECES_SOCKET: &str = "pieces.sock";
/// In [`RUN_PATH`]: status, and what is asked with `fruit-peer status`.
pub const STATUS_SOCKET: &str = "peer.sock";

/// Addresses that operators reach through a node: at most [`FORWARDS`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
#[serde(try_from = "Vec<SocketAddr>")]
pub struct Forwards(Vec<SocketAddr>);

impl Forwards {
    /// Whether this address is one of them.
    #[must_use]
    pub fn allow(&self, address: &SocketAddr) -> bool {
        self.0.contains(address)
    }
}

impl TryFrom<Vec<SocketAddr>> for Forwards {
    type Error = String;

    fn try_from(addresses: Vec<SocketAddr>) -> Result<Forwards, String> {
        match addresses.len() {
            0..=FORWARDS => Ok(Forwards(addresses)),
            many => Err(format!("{many} addresses, and {FORWARDS} is the most")),
        }
    }
}

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
    /// Longest time between two reports of the node about itself; what matters is told within a minute.
    pub report: Span<1_000, 86_400_000>,
    /// The node's own ssh server, which operators with the role `run` reach through the network; `null`: nobody does.
    pub ssh: Option<SocketAddr>,
    /// Public part of its host key, which the node's report tells.
    pub host_key: AbsolutePath,
    /// More that these operators reach, by `fruitctl forward`: at most 16 addresses, such as `127.0.0.1:8080`.
    #[cfg_attr(feature = "schema", schemars(length(max = 16)))]
    pub forward: Forwards,
    /// Socket of the agent, whose figures the report has.
    pub agent: AbsolutePath,
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
            report: Span::from_millis(600_000),
            ssh: Some(SocketAddr::from(([127, 0, 0, 1], 22))),
            host_key: AbsolutePath::known(HOST_KEY_PATH),
            forward: Forwards::default(),
            agent: AbsolutePath::known(SOCKET_PATH),
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
report: 1min
ssh: null
host_key: /tmp/host.pub
forward: [127.0.0.1:8080, '[::1]:80']
agent: /tmp/agent.sock
invite: /tmp/invite
state: /tmp/state
shared: /tmp/shared
run: /tmp/run
";
        let config = PeerConfig::from_yaml(text, "peer.yaml").unwrap();
        assert_eq!((config.port, config.mdns, config.cache_mib, config.ssh), (4433, false, 16, None));
        let allowed =
            ["127.0.0.1:8080", "[::1]:80", "127.0.0.1:80"].map(|at| config.forward.allow(&at.parse().unwrap()));
        assert_eq!(allowed, [true, true, false]);
        assert_eq!(PeerConfig::from_yaml(&config.to_yaml(), "peer.yaml").unwrap(), config);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let many = format!("forward: [{}]\n", ["127.0.0.1:80"; 17].join(", "));
        for (text, said) in [
            ("mdns: true\nports: 1\n", "peer.yaml:2:"),
            ("port: 70000\n", "peer.yaml:1:"),
            ("compare: 1ms\n", "out of range"),
            ("ssh: localhost\n", "peer.yaml:1:"),
            (many.as_str(), "17 addresses, and 16 is the most"),
            ("state: var/lib\n", "must start with /"),
        ] {
            let error = PeerConfig::from_yaml(text, "peer.yaml").unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
