//! Puts the node's settings into the root, before anything in it starts. Everything lands in the RAM overlay, so the
//! next boot starts from the image again.

mod access;
mod locale;
mod network;
mod wifi;

use std::io;

use fruit_contract::{HostName, NodeConfig, Problem};

use crate::root::{Attributes, NewRoot};

/// Applies all settings. What can't be applied is returned and costs only itself.
pub fn apply(config: &NodeConfig, hostname: &HostName, root: &NewRoot) -> Vec<Problem> {
    let mut target = Target { root, problems: Vec::new() };
    target.hostname(hostname);
    network::apply(&mut target, config);
    wifi::apply(&mut target, config.wifi.as_ref());
    access::apply(&mut target, config);
    locale::apply(&mut target, config);
    target.labels(config);
    target.problems
}

const WORLD_READABLE: Attributes = Attributes::root(0o644);
const PRIVATE: Attributes = Attributes::root(0o600);

/// The root, and the mistakes found while writing into it.
struct Target<'a> {
    root: &'a NewRoot,
    problems: Vec<Problem>,
}

impl Target<'_> {
    fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem { line: None, column: None, key: key.into(), message: message.into() });
    }

    fn check(&mut self, key: &str, result: io::Result<()>) {
        if let Err(e) = result {
            self.problem(key, format!("can't be applied: {e}"));
        }
    }

    fn write(&mut self, key: &str, path: &str, content: &str, attributes: Attributes) {
        let result = self.root.write(path, content.as_bytes(), attributes);
        self.check(key, result);
    }

    /// Whether systemd's own programs configure network and clock.
    fn has_systemd(&self) -> bool {
        self.root.exists("/usr/lib/systemd/systemd")
    }

    fn hostname(&mut self, hostname: &HostName) {
        self.write("hostname", "/etc/hostname", &format!("{hostname}\n"), WORLD_READABLE);
        let hosts = self.root.read("/etc/hosts", 64 << 10).map(|(bytes, _)| bytes).unwrap_or_default();
        let hosts = render_hosts(&String::from_utf8_lossy(&hosts), hostname);
        self.write("hostname", "/etc/hosts", &hosts, WORLD_READABLE);
    }

    fn labels(&mut self, config: &NodeConfig) {
        if config.labels.is_empty() {
            return;
        }
        let json = serde_json::to_string_pretty(&config.labels).unwrap_or_default();
        self.write("labels", "/etc/fruit/labels.json", &format!("{json}\n"), WORLD_READABLE);
    }
}

/// The image's hosts with this node's own line, as Debian writes it (127.0.1.1, hostname(5)).
fn render_hosts(image: &str, hostname: &HostName) -> String {
    const OWN: &str = "127.0.1.1";
    let mut lines: Vec<&str> = image.lines().filter(|l| l.split_whitespace().next() != Some(OWN)).collect();
    if !lines.iter().any(|l| l.split_whitespace().nth(1) == Some("localhost")) {
        lines.extend(["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]);
    }
    let full = hostname.as_str();
    let own = match full.split_once('.') {
        Some((short, _)) => format!("{OWN}\t{full} {short}"),
        None => format!("{OWN}\t{full}"),
    };
    lines.push(&own);
    lines.join("\n") + "\n"
}

/// A word that a POSIX shell reads back as it is, whatever is in it.
fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
