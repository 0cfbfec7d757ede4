//! Who may log in, and whom the node obeys: root's ssh keys and password, the operator's key, the invite to a fleet.

use fruit_contract::NodeConfig;
use fruit_contract::access::AuthorizedKey;
use fruit_contract::invite::INVITE_PATH;

use super::{PRIVATE, Target, WORLD_READABLE};
use crate::root::Attributes;

const SSH_FOLDER: &str = "/root/.ssh";
const AUTHORIZED_KEYS: &str = "/root/.ssh/authorized_keys";
const SHADOW: &str = "/etc/shadow";
/// More than any file that is edited here has.
const LARGEST: u64 = 1 << 20;

pub fn apply(target: &mut Target<'_>, config: &NodeConfig) {
    if !config.ssh_authorized_keys.is_empty() {
        // sshd takes no keys from a folder that others may write to.
        let folder = target.root.create_folder(SSH_FOLDER, Attributes::root(0o700)).map(drop);
        target.check("ssh_authorized_keys", folder);
        let present = target.root.read(AUTHORIZED_KEYS, LARGEST).map(|(bytes, _)| bytes).unwrap_or_default();
        let keys = render_keys(&String::from_utf8_lossy(&present), &config.ssh_authorized_keys);
        target.write("ssh_authorized_keys", AUTHORIZED_KEYS, &keys, PRIVATE);
    }
    if let Some(hash) = &config.root_password_hash {
        match target.root.read(SHADOW, LARGEST) {
            Ok((bytes, attributes)) => match render_shadow(&String::from_utf8_lossy(&bytes), hash.as_str()) {
                Some(shadow) => target.write("root_password_hash", SHADOW, &shadow, attributes),
                None => target.problem("root_password_hash", format!("{SHADOW} of this image has no user root")),
            },
            Err(e) => target.problem("root_password_hash", format!("this image has no usable {SHADOW}: {e}")),
        }
    }
    if let Some(key) = &config.operator_key {
        target.write("operator_key", "/etc/fruit/operator.pub", &format!("{key}\n"), WORLD_READABLE);
    }
    if let Some(invite) = &config.invite {
        target.write("invite", INVITE_PATH, &format!("{invite}\n"), PRIVATE);
    }
}

/// The image's lines and behind them the new keys that it lacks.
pub fn render_keys(present: &str, keys: &[AuthorizedKey]) -> String {
    let mut lines: Vec<&str> = present.lines().collect();
    for key in keys {
        if !lines.contains(&key.as_str()) {
            lines.push(key.as_str());
        }
    }
    lines.join("\n") + "\n"
}

/// shadow(5) with another hash for root; `None` if root is not in it.
pub fn render_shadow(shadow: &str, hash: &str) -> Option<String> {
    let mut found = false;
    let lines: Vec<String> = shadow
        .lines()
        .map(|line| match line.split(':').collect::<Vec<_>>()[..] {
            ["root", _, ref rest @ ..] => {
                found = true;
                format!("root:{hash}:{}", rest.join(":"))
            }
            _ => line.to_owned(),
        })
        .collect();
    found.then(|| lines.join("\n") + "\n")
}
