//! The account of maintainer scripts on the packages that a node is made of.

use crate::archive::{Archive, unpack};
use fruit_root::account::unhandled;

/// The packages of the shipped recipes and what people add to them.
pub const NODE: [&str; 42] = [
    "busybox",
    "bash",
    "ca-certificates",
    "containerd",
    "cryptsetup-bin",
    "curl",
    "dbus",
    "dosfstools",
    "dropbear-bin",
    "e2fsprogs",
    "iproute2",
    "iptables",
    "iputils-ping",
    "iw",
    "kmod",
    "less",
    "libnss-myhostname",
    "libnss-resolve",
    "libpam-systemd",
    "locales",
    "login",
    "netbase",
    "nftables",
    "openssh-client",
    "openssh-server",
    "passwd",
    "procps",
    "python3-minimal",
    "raspi-firmware",
    "runc",
    "sudo",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "tzdata",
    "udev",
    "util-linux",
    "wpasupplicant",
    "linux-image-arm64",
    "nano",
    "vim-tiny",
];

#[test]
fn every_command_of_a_nodes_maintainer_scripts_is_accounted_for() {
    let archive = Archive::open("trixie", "arm64");
    let packages = unpack(&archive.fetch(&NODE), "arm64", 0).packages;
    assert!(packages.len() > 150, "only {} packages", packages.len());
    let left = unhandled(&packages);
    let lines: Vec<String> =
        left.iter().map(|u| format!("{} {} {}:{} {}", u.package, u.version, u.script, u.line, u.command)).collect();
    assert!(lines.is_empty(), "{} not accounted for:\n{}", lines.len(), lines.join("\n"));
}
