//! Network: files for systemd-networkd, or, for a root without systemd, one small shell file per interface.

use std::fmt::Write;

use fruit_contract::NodeConfig;
use fruit_contract::network::Interface;

use super::{Target, WORLD_READABLE, shell_quote};

const NETWORKD: &str = "/etc/systemd/network";
/// `NN.env` files for the boot script of a root without systemd, which reads each in a subshell:
/// `for f in /etc/fruit/network/*.env; do ( . "$f"; … ); done`. Keys: `INTERFACE` (name or pattern, empty: every
/// Ethernet port), `MAC` (or empty), `DHCP` (`yes` or `no`), and the space-separated lists `ADDRESSES` (with prefix
/// length), `GATEWAYS`, `DNS`, `SEARCH`.
const ENV: &str = "/etc/fruit/network";

pub fn apply(target: &mut Target<'_>, config: &NodeConfig) {
    // Nobody can log in to a node without a network, so not saying anything means DHCP.
    let automatic = [Interface::default()];
    let interfaces = config.network.as_deref().unwrap_or(&automatic);
    let systemd = target.has_systemd();
    for (i, interface) in interfaces.iter().enumerate() {
        let key = format!("network[{i}]");
        let (path, content) = if systemd {
            // Before what the image brings for all interfaces; what says nothing at all, behind it.
            let place = if config.network.is_some() { 10 } else { 80 };
            (format!("{NETWORKD}/{place}-fruit-{i:02}.network"), networkd(interface))
        } else {
            (format!("{ENV}/{i:02}.env"), env(interface))
        };
        target.write(&key, &path, &content, WORLD_READABLE);
    }
    if let Some(servers) = &config.ntp_servers {
        let names: Vec<&str> = servers.iter().map(|s| s.as_str()).collect();
        if systemd {
            let content = format!("[Time]\nNTP={}\n", names.join(" "));
            target.write("ntp_servers", "/etc/systemd/timesyncd.conf.d/10-fruit.conf", &content, WORLD_READABLE);
        } else {
            let content = names.join("\n") + "\n";
            target.write("ntp_servers", "/etc/fruit/ntp-servers", &content, WORLD_READABLE);
        }
    }
}

/// systemd.network(5). Every value is of a type that can hold neither line breaks nor spaces.
pub fn networkd(interface: &Interface) -> String {
    let mut text = String::from("[Match]\n");
    // Writing to a String can't fail.
    if let Some(name) = &interface.interface {
        let _ = writeln!(text, "Name={name}");
    }
    if let Some(mac) = &interface.mac {
        let _ = writeln!(text, "MACAddress={mac}");
    }
    if interface.interface.is_none() && interface.mac.is_none() {
        // Ports of the board, not bridges and container ends, which are "ether" too.
        text.push_str("Type=ether\nKind=!*\n");
    }
    let dhcp = if interface.uses_dhcp() { "yes" } else { "no" };
    let _ = write!(text, "\n[Network]\nDHCP={dhcp}\n");
    for address in &interface.addresses {
        let _ = writeln!(text, "Address={address}");
    }
    for gateway in &interface.gateways {
        let _ = writeln!(text, "Gateway={gateway}");
    }
    for server in &interface.dns {
        let _ = writeln!(text, "DNS={server}");
    }
    if !interface.search.is_empty() {
        let _ = writeln!(text, "Domains={}", words(&interface.search));
    }
    text
}

/// See [`ENV`].
pub fn env(interface: &Interface) -> String {
    let name = interface.interface.as_ref().map_or("", |n| n.as_str());
    let mac = interface.mac.as_ref().map_or("", |m| m.as_str());
    let dhcp = if interface.uses_dhcp() { "yes" } else { "no" };
    let pairs = [
        ("INTERFACE", name.to_owned()),
        ("MAC", mac.to_owned()),
        ("DHCP", dhcp.to_owned()),
        ("ADDRESSES", words(&interface.addresses)),
        ("GATEWAYS", words(&interface.gateways)),
        ("DNS", words(&interface.dns)),
        ("SEARCH", words(&interface.search)),
    ];
    pairs.iter().fold(String::new(), |mut text, (key, value)| {
        let _ = writeln!(text, "{key}={}", shell_quote(value));
        text
    })
}

fn words<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}
