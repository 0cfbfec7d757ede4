//! What a person may say about one node: `fruit.yaml` on its first partition, or the same keys in a recipe.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::access::{AuthorizedKey, OperatorKey, PasswordHash};
use crate::hostname::HostNameTemplate;
use crate::invite::InviteText;
use crate::locale::{Keyboard, TimeZone};
use crate::network::{Interface, NtpServer};
use crate::text::{checked_text, is_made_of, shown};
use crate::wifi::{Wifi, WifiNetwork};

/// Settings of one node. Every key is optional; what is not said is as the image has it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeConfig {
    /// Host name; may hold `{serial}`, `{serial:8}`, `{mac}` and `{name}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<HostNameTemplate>,
    /// Network interfaces; without this key every Ethernet port asks DHCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Vec<Interface>>,
    /// Wi-Fi networks to join, and the country whose rules for radio hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wifi: Option<Wifi>,
    /// Public keys that may log in as root, in addition to those of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<AuthorizedKey>,
    /// crypt(5) hash of root's password, from `openssl passwd -6` or `mkpasswd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_password_hash: Option<PasswordHash>,
    /// Time zone, such as `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<TimeZone>,
    /// NTP servers, instead of those of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ntp_servers: Option<Vec<NtpServer>>,
    /// Keyboard layout, such as `de` or `de(nodeadkeys)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyboard: Option<Keyboard>,
    /// Public key (ed25519) of the operator whom the node obeys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_key: Option<OperatorKey>,
    /// Invite to a fleet, one line as `fruitctl node invite` prints it. The node obeys the fleet's operators and installs the
    /// releases that the fleet's charter accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<InviteText>,
    /// Free labels for whoever selects nodes; added to those of the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<LabelKey, LabelValue>,
}

/// Most labels that a node may have.
pub const MAX_LABELS: usize = 64;
const MAX_LABEL_KEY: usize = 63;
const MAX_LABEL_VALUE: usize = 256;

checked_text! {
    /// Name of a label: 1 to 63 letters, digits, `.`, `_`, `-`, `/`.
    LabelKey, check_label_key, "^[A-Za-z0-9._/-]{1,63}$"
}

checked_text! {
    /// Value of a label: at most 256 bytes on one line.
    LabelValue, check_label_value
}

fn check_label_key(text: &str) -> Result<String, String> {
    if (1..=MAX_LABEL_KEY).contains(&text.len()) && is_made_of(text, "._/-") {
        Ok(text.into())
    } else {
        Err(format!("'{}' is not a label: expected 1 to {MAX_LABEL_KEY} of A-Z a-z 0-9 . _ / -", shown(text)))
    }
}

fn check_label_value(text: &str) -> Result<String, String> {
    if text.len() <= MAX_LABEL_VALUE && !text.chars().any(char::is_control) {
        Ok(text.into())
    } else {
        Err(format!("a label's value is at most {MAX_LABEL_VALUE} bytes on one line"))
    }
}

impl NodeConfig {
    /// What is well-formed and still can't work, as key (such as `network[0]`) and sentence. The lenient reader leaves
    /// such entries out; a recipe should refuse them.
    pub fn contradictions(&self) -> Vec<(String, String)> {
        let interfaces = self.network.iter().flatten().map(Interface::contradiction);
        let interfaces = interfaces.enumerate().map(|(i, c)| (format!("network[{i}]"), c));
        let networks = self.wifi.iter().flat_map(|wifi| &wifi.networks).map(WifiNetwork::contradiction);
        let networks = networks.enumerate().map(|(i, c)| (format!("wifi.networks[{i}]"), c));
        interfaces.chain(networks).filter_map(|(key, contradiction)| Some((key, contradiction?))).collect()
    }

    /// These settings on top of `defaults`: ssh keys and labels are added, everything else replaces its key.
    #[must_use]
    pub fn over(self, defaults: NodeConfig) -> NodeConfig {
        let mut ssh_authorized_keys = defaults.ssh_authorized_keys;
        for key in self.ssh_authorized_keys {
            if !ssh_authorized_keys.contains(&key) {
                ssh_authorized_keys.push(key);
            }
        }
        let mut labels = defaults.labels;
        labels.extend(self.labels);
        NodeConfig {
            hostname: self.hostname.or(defaults.hostname),
            network: self.network.or(defaults.network),
            wifi: self.wifi.or(defaults.wifi),
            ssh_authorized_keys,
            root_password_hash: self.root_password_hash.or(defaults.root_password_hash),
            timezone: self.timezone.or(defaults.timezone),
            ntp_servers: self.ntp_servers.or(defaults.ntp_servers),
            keyboard: self.keyboard.or(defaults.keyboard),
            operator_key: self.operator_key.or(defaults.operator_key),
            invite: self.invite.or(defaults.invite),
            labels,
        }
    }
}
