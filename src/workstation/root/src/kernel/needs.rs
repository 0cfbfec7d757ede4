//! Kernel modules that what is installed needs: what its own lists for systemd name, which go into the image, and what is
//! known of programs, which is told where the image lacks it.

use std::collections::BTreeSet;

use fruit_image::tree::Tree;

use super::Selection;
use super::elf::module_name;
use super::select::Available;
use crate::Error;
use crate::edit::{exists, names, text};
use crate::glob::Glob;

/// Files in which packages name modules that are loaded at boot (modules-load.d(5)).
const LISTS: [&str; 2] = ["usr/lib/modules-load.d", "etc/modules-load.d"];
/// Formats of programs that systemd registers at boot (binfmt.d(5)); without the module its service fails.
const FORMATS: [&str; 2] = ["usr/lib/binfmt.d", "etc/binfmt.d"];
const FORMATS_MODULE: &str = "binfmt_misc";
const FORMATS_UNIT: &str = "systemd-binfmt.service";

/// A module that a file of a package asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub module: String,
    /// The file, relative to the root.
    pub by: String,
}

/// Modules that systemd would load at boot for what is installed: without them `systemctl is-system-running` says
/// `degraded`. Empty in a root without systemd.
///
/// # Errors
/// A list that cannot be read.
pub fn wanted(tree: &Tree) -> Result<Vec<Wanted>, Error> {
    let mut found: Vec<Wanted> = Vec::new();
    if !exists(tree, "usr/lib/systemd/systemd") {
        return Ok(found);
    }
    for dir in LISTS {
        for path in files(tree, dir) {
            for line in text(tree, &path)?.unwrap_or_default().lines().map(str::trim) {
                let is_name = !line.is_empty() && line.len() < 64 && !line.contains(char::is_whitespace);
                if is_name && !line.starts_with(['#', ';']) && !found.iter().any(|w| w.module == module_name(line)) {
                    found.push(Wanted { module: module_name(line), by: path.clone() });
                }
            }
        }
    }
    if let Some(path) = FORMATS.iter().find_map(|dir| files(tree, dir).into_iter().next()) {
        found.push(Wanted { module: FORMATS_MODULE.to_owned(), by: path });
    }
    Ok(found)
}

fn files(tree: &Tree, dir: &str) -> Vec<String> {
    let names = names(tree, dir).into_iter().filter(|name| name.ends_with(".conf"));
    names.map(|name| format!("{dir}/{name}")).collect()
}

/// Units that would fail at each boot because the kernel lacks their module altogether.
pub fn hopeless_units(missing: &[Wanted]) -> Vec<String> {
    let formats = missing.iter().any(|wanted| wanted.module == FORMATS_MODULE);
    if formats { vec![FORMATS_UNIT.to_owned()] } else { Vec::new() }
}

/// What programs are known to ask the kernel for: patterns of their files, their name, the modules. Modules that another
/// kernel builds in or names otherwise are passed over.
const KNOWN: &[(&[&str], &str, &[&str])] = &[
    (
        &["usr/{bin,sbin}/dockerd"],
        "docker",
        &[
            "overlay",
            "bridge",
            "br_netfilter",
            "veth",
            "nf_nat",
            "nf_conntrack",
            "xt_conntrack",
            "xt_addrtype",
            "xt_MASQUERADE",
            "xt_nat",
            "nft_compat",
            "nf_tables",
        ],
    ),
    (
        &["usr/lib/podman/netavark", "usr/libexec/podman/netavark"],
        "podman's bridge networks (netavark)",
        &[
            "bridge",
            "veth",
            "nf_tables",
            "nft_chain_nat",
            "nft_ct",
            "nft_masq",
            "nft_nat",
            "nft_fib_ipv4",
            "nft_fib_ipv6",
            "nft_fib_inet",
        ],
    ),
    (&["usr/bin/podman"], "podman", &["overlay", "fuse", "tun"]),
    (&["usr/bin/{slirp4netns,pasta}"], "rootless networks of containers", &["tun"]),
    (&["usr/{lib,libexec}/cni/bridge", "opt/cni/bin/bridge"], "CNI's bridge", &["bridge", "br_netfilter", "veth"]),
    (&["usr/{bin,sbin}/lxc-start", "usr/bin/incusd"], "lxc", &["overlay", "bridge", "veth"]),
    (
        &["usr/sbin/firewalld"],
        "firewalld",
        &[
            "nf_tables",
            "nft_ct",
            "nft_reject_inet",
            "nft_fib_inet",
            "nft_fib_ipv4",
            "nft_fib_ipv6",
            "nft_chain_nat",
            "nft_masq",
            "nft_nat",
            "nft_redir",
        ],
    ),
    (
        &["usr/sbin/nft"],
        "nftables",
        &["nf_tables", "nft_ct", "nft_reject_inet", "nft_limit", "nft_log", "nf_log_syslog"],
    ),
    (
        &["usr/sbin/xtables-nft-multi"],
        "iptables",
        &["nf_tables", "nft_compat", "x_tables", "xt_conntrack", "xt_tcpudp", "xt_LOG", "xt_limit", "xt_multiport"],
    ),
    (
        &["usr/sbin/ufw"],
        "ufw",
        &["nft_compat", "xt_conntrack", "xt_limit", "xt_LOG", "xt_addrtype", "xt_recent", "xt_hl"],
    ),
    (&["usr/sbin/ipset"], "ipset", &["ip_set", "ip_set_hash_ip", "ip_set_hash_net", "xt_set"]),
    (&["usr/sbin/{ipvsadm,keepalived}"], "load balancing in the kernel (IPVS)", &["ip_vs", "ip_vs_rr", "ip_vs_wrr"]),
    (&["usr/sbin/conntrackd", "usr/sbin/conntrack"], "conntrack", &["nf_conntrack_netlink"]),
    (&["usr/sbin/rpc.nfsd"], "the NFS server", &["nfsd"]),
    (&["usr/sbin/mount.nfs"], "NFS mounts", &["nfs", "nfsv3", "nfsv4"]),
    (&["usr/sbin/mount.cifs"], "SMB mounts", &["cifs"]),
    (&["usr/sbin/ksmbd.mountd", "usr/sbin/ksmbd.tools"], "ksmbd", &["ksmbd"]),
    (&["usr/bin/wg"], "WireGuard", &["wireguard"]),
    (&["usr/sbin/openvpn", "usr/sbin/tailscaled", "usr/sbin/openconnect", "usr/sbin/tincd"], "its tunnel", &["tun"]),
    (&["usr/sbin/{pppd,xl2tpd}"], "ppp", &["ppp_generic", "ppp_async", "pppoe"]),
    (&["usr/lib/ipsec/charon*", "usr/sbin/charon*"], "IPsec", &["xfrm_user", "esp4", "esp6", "af_key"]),
    (&["usr/sbin/mdadm"], "software RAID", &["md_mod", "raid0", "raid1", "raid456"]),
    (&["usr/sbin/lvm"], "LVM", &["dm_mod", "dm_snapshot", "dm_thin_pool"]),
    (&["usr/{bin,lib/systemd}/systemd-cryptsetup", "usr/sbin/cryptsetup"], "encrypted disks", &["dm_crypt"]),
    (&["usr/sbin/iscsid"], "iSCSI", &["iscsi_tcp"]),
    (&["usr/bin/targetcli", "usr/bin/targetctl"], "the iSCSI target", &["target_core_mod", "iscsi_target_mod"]),
    (&["usr/sbin/multipathd"], "multipath", &["dm_multipath"]),
    (&["usr/sbin/mkfs.btrfs"], "Btrfs", &["btrfs"]),
    (&["usr/sbin/mkfs.xfs"], "XFS", &["xfs"]),
    (&["usr/sbin/mkfs.f2fs"], "F2FS", &["f2fs"]),
    (&["usr/sbin/mkfs.exfat"], "exFAT", &["exfat"]),
    (&["usr/bin/{fusermount,fusermount3}"], "FUSE", &["fuse"]),
    (
        &["usr/sbin/zramctl.conf", "usr/lib/systemd/system-generators/zram-generator", "usr/sbin/zramswap"],
        "swap in zram",
        &["zram"],
    ),
    (
        &["usr/libexec/bluetooth/bluetoothd", "usr/lib/bluetooth/bluetoothd"],
        "Bluetooth",
        &["bluetooth", "btusb", "rfcomm", "bnep"],
    ),
    (&["usr/bin/candump"], "CAN", &["can", "can_raw", "vcan"]),
    (&["usr/bin/qemu-*-static"], "programs of other architectures", &["binfmt_misc"]),
    (&["usr/sbin/libvirtd"], "libvirt", &["kvm", "tun", "bridge", "vhost_net"]),
    (&["usr/sbin/usbipd"], "USB over IP", &["usbip_core", "usbip_host", "vhci_hcd"]),
    (&["usr/bin/batctl", "usr/sbin/batctl"], "the B.A.T.M.A.N. mesh", &["batman_adv"]),
    (&["usr/sbin/ovs-vswitchd"], "Open vSwitch", &["openvswitch"]),
    (&["usr/lib/snapd/snapd"], "snapd", &["squashfs", "loop"]),
];

/// A program whose modules the image lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// What does not work.
    pub what: String,
    /// The file that shows that it is wanted, relative to the root.
    pub by: String,
    /// Modules that the kernel has and the image does not.
    pub modules: Vec<String>,
}

/// Modules that installed programs are known to need and that `selection` lacks although the kernel has them. Asked before
/// [`super::install`] removes the others.
///
/// # Errors
/// No modules of the selection's kernel in `tree`.
pub fn lacking(tree: &Tree, selection: &Selection) -> Result<Vec<Lacking>, Error> {
    let available = Available::of(tree, &selection.release)?;
    let chosen: BTreeSet<&str> = selection.modules.iter().map(|module| module.name.as_str()).collect();
    let mut found = Vec::new();
    for (files, what, modules) in KNOWN {
        let absent: Vec<String> = modules
            .iter()
            .filter(|m| available.is_module(m) && !chosen.contains(*m))
            .map(|m| (*m).to_owned())
            .collect();
        if absent.is_empty() {
            continue;
        }
        if let Some(by) = first(tree, files)? {
            found.push(Lacking { what: (*what).to_owned(), by, modules: absent });
        }
    }
    Ok(found)
}

fn first(tree: &Tree, patterns: &[&str]) -> Result<Option<String>, Error> {
    for pattern in patterns {
        let glob = Glob::new(pattern).map_err(|what| Error::Invalid { path: (*pattern).to_owned(), what })?;
        if let Some((path, ..)) = tree.iter().find(|(path, ..)| glob.matches(path)) {
            return Ok(Some(path.to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::DIR;
    use super::*;
    use crate::edit::TreeEditor;

    #[test]
    fn lists_for_systemd_are_asked_for_and_only_where_systemd_is() {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("usr/lib/modules-load.d/iscsi.conf", "# comment\niscsi-tcp\n\nib_iser\n", 0o644).unwrap();
        root.write("usr/lib/binfmt.d/python3.13.conf", ":python3.13:M::…", 0o644).unwrap();
        assert!(wanted(root.tree).unwrap().is_empty());
        root.write("usr/lib/systemd/systemd", "", 0o755).unwrap();
        let found = wanted(&tree).unwrap();
        let modules: Vec<&str> = found.iter().map(|w| w.module.as_str()).collect();
        assert_eq!(modules, ["iscsi_tcp", "ib_iser", "binfmt_misc"]);
        assert_eq!(hopeless_units(&found), ["systemd-binfmt.service"]);
        assert!(hopeless_units(&found[..2]).is_empty());
    }

    #[test]
    fn firewalls_whose_nft_modules_are_left_out_are_told() {
        let programs = ["usr/sbin/nft", "usr/sbin/xtables-nft-multi", "usr/sbin/firewalld", "usr/lib/podman/netavark"];
        for program in programs {
            let (_, what, modules) = KNOWN.iter().find(|(files, ..)| files.contains(&program)).unwrap();
            assert!(modules.contains(&"nf_tables"), "{what}");
            let mut tree = Tree::new(0);
            let mut root = TreeEditor::new(&mut tree, 0);
            root.write(program, "", 0o755).unwrap();
            for module in *modules {
                root.write(&format!("{DIR}/6.12/kernel/net/netfilter/{module}.ko.xz"), "", 0o644).unwrap();
            }
            let none =
                Selection { release: "6.12".into(), modules: Vec::new(), missing: Vec::new(), builtin: Vec::new() };
            let found = lacking(&tree, &none).unwrap();
            let [found] = &found[..] else { panic!("{found:?}") };
            assert_eq!((found.what.as_str(), found.by.as_str(), found.modules.len()), (*what, program, modules.len()));
        }
    }

    #[test]
    fn programs_whose_modules_are_left_out_are_told_with_their_evidence() {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("usr/sbin/dockerd", "", 0o755).unwrap();
        root.write("usr/sbin/rpc.nfsd", "", 0o755).unwrap();
        for module in ["net/bridge/bridge.ko.xz", "net/bridge/br_netfilter.ko.xz", "drivers/net/veth.ko.xz"] {
            root.write(&format!("{DIR}/6.1/kernel/{module}"), "", 0o644).unwrap();
        }
        root.write(&format!("{DIR}/6.1/modules.builtin"), "kernel/fs/nfsd/nfsd.ko\n", 0o644).unwrap();
        let selection =
            Selection { release: "6.1".into(), modules: Vec::new(), missing: Vec::new(), builtin: Vec::new() };
        let found = lacking(&tree, &selection).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].what.as_str(), found[0].by.as_str()), ("docker", "usr/sbin/dockerd"));
        assert_eq!(found[0].modules, ["bridge", "br_netfilter", "veth"]);
    }
}
