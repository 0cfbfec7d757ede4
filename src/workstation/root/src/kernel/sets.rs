//! Sets of kernel modules by what they are for: an image has those of the programs that it has, and those that a recipe names.

use std::collections::BTreeSet;

use fruit_image::tree::Tree;

use super::select::Available;
use crate::Error;
use crate::error::candidates;
use crate::glob::Glob;

/// What something asks the kernel for. Modules that a kernel builds in, or does not have, are passed over.
struct Set {
    /// What recipes call it.
    name: &'static str,
    /// For people.
    what: &'static str,
    /// Patterns of files that show that it is wanted.
    programs: &'static [&'static str],
    modules: &'static [&'static str],
}

const SETS: &[Set] = &[
    Set {
        name: "docker",
        what: "docker",
        programs: &["usr/{bin,sbin}/dockerd"],
        modules: &[
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
    },
    Set {
        name: "container-networks",
        what: "podman's bridge networks (netavark)",
        programs: &["usr/lib/podman/netavark", "usr/libexec/podman/netavark"],
        modules: &[
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
    },
    Set { name: "containers", what: "podman", programs: &["usr/bin/podman"], modules: &["overlay", "fuse", "tun"] },
    Set {
        name: "tun",
        what: "rootless networks of containers",
        programs: &["usr/bin/{slirp4netns,pasta}"],
        modules: &["tun"],
    },
    Set {
        name: "cni",
        what: "CNI's bridge",
        programs: &["usr/{lib,libexec}/cni/bridge", "opt/cni/bin/bridge"],
        modules: &["bridge", "br_netfilter", "veth"],
    },
    Set {
        name: "lxc",
        what: "lxc",
        programs: &["usr/{bin,sbin}/lxc-start", "usr/bin/incusd"],
        modules: &["overlay", "bridge", "veth"],
    },
    Set {
        name: "firewalld",
        what: "firewalld",
        programs: &["usr/sbin/firewalld"],
        modules: &[
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
    },
    Set {
        name: "nftables",
        what: "nftables",
        programs: &["usr/sbin/nft"],
        modules: &[
            "nf_tables",
            "nft_ct",
            "nft_reject_inet",
            "nft_limit",
            "nft_log",
            "nf_log_syslog",
            "nft_fib_inet",
            "nft_chain_nat",
            "nft_masq",
            "nft_nat",
            "nft_redir",
        ],
    },
    Set {
        name: "iptables",
        what: "iptables",
        programs: &["usr/sbin/xtables-nft-multi"],
        modules: &[
            "nf_tables",
            "nft_compat",
            "x_tables",
            "xt_conntrack",
            "xt_tcpudp",
            "xt_LOG",
            "xt_limit",
            "xt_multiport",
        ],
    },
    Set {
        name: "ufw",
        what: "ufw",
        programs: &["usr/sbin/ufw"],
        modules: &["nft_compat", "xt_conntrack", "xt_limit", "xt_LOG", "xt_addrtype", "xt_recent", "xt_hl"],
    },
    Set {
        name: "ipset",
        what: "ipset",
        programs: &["usr/sbin/ipset"],
        modules: &["ip_set", "ip_set_hash_ip", "ip_set_hash_net", "xt_set"],
    },
    Set {
        name: "ipvs",
        what: "load balancing in the kernel (IPVS)",
        programs: &["usr/sbin/{ipvsadm,keepalived}"],
        modules: &["ip_vs", "ip_vs_rr", "ip_vs_wrr"],
    },
    Set {
        name: "conntrack",
        what: "conntrack",
        programs: &["usr/sbin/conntrackd", "usr/sbin/conntrack"],
        modules: &["nf_conntrack_netlink"],
    },
    Set {
        // Of kube-proxy in its modes, of network policies, and of the usual network add-ons.
        name: "kubernetes",
        what: "Kubernetes",
        programs: &["usr/bin/{kubelet,k3s}", "usr/local/bin/{kubelet,k3s}"],
        modules: &[
            "overlay",
            "bridge",
            "br_netfilter",
            "veth",
            "vxlan",
            "nf_tables",
            "nft_compat",
            "nft_chain_nat",
            "nft_ct",
            "nft_nat",
            "nft_masq",
            "nft_redir",
            "nft_limit",
            "nft_log",
            "nft_reject_inet",
            "nft_fib_inet",
            "nft_numgen",
            "nft_hash",
            "nf_conntrack_netlink",
            "iptable_nat",
            "iptable_filter",
            "iptable_mangle",
            "ip6table_nat",
            "ip6table_filter",
            "ip6table_mangle",
            "ipt_REJECT",
            "ip6t_REJECT",
            "xt_conntrack",
            "xt_comment",
            "xt_mark",
            "xt_connmark",
            "xt_nat",
            "xt_MASQUERADE",
            "xt_REDIRECT",
            "xt_addrtype",
            "xt_statistic",
            "xt_multiport",
            "xt_recent",
            "xt_tcpudp",
            "xt_set",
            "ip_set_hash_ip",
            "ip_set_hash_net",
            "ip_set_hash_ipport",
            "ip_set_hash_ipportip",
            "ip_set_hash_ipportnet",
            "ip_set_bitmap_port",
            "nfnetlink_log",
        ],
    },
    Set { name: "nfs-server", what: "the NFS server", programs: &["usr/sbin/rpc.nfsd"], modules: &["nfsd"] },
    Set { name: "nfs", what: "NFS mounts", programs: &["usr/sbin/mount.nfs"], modules: &["nfs", "nfsv3", "nfsv4"] },
    Set { name: "smb", what: "SMB mounts", programs: &["usr/sbin/mount.cifs"], modules: &["cifs"] },
    Set {
        name: "ksmbd",
        what: "ksmbd",
        programs: &["usr/sbin/ksmbd.mountd", "usr/sbin/ksmbd.tools"],
        modules: &["ksmbd"],
    },
    Set { name: "wireguard", what: "WireGuard", programs: &["usr/bin/wg"], modules: &["wireguard"] },
    Set {
        name: "tunnels",
        what: "its tunnel",
        programs: &["usr/sbin/openvpn", "usr/sbin/tailscaled", "usr/sbin/openconnect", "usr/sbin/tincd"],
        modules: &["tun"],
    },
    Set {
        name: "ppp",
        what: "ppp",
        programs: &["usr/sbin/{pppd,xl2tpd}"],
        modules: &["ppp_generic", "ppp_async", "pppoe"],
    },
    Set {
        name: "ipsec",
        what: "IPsec",
        programs: &["usr/lib/ipsec/charon*", "usr/sbin/charon*"],
        modules: &["xfrm_user", "esp4", "esp6", "af_key"],
    },
    Set {
        name: "raid",
        what: "software RAID",
        programs: &["usr/sbin/mdadm"],
        modules: &["md_mod", "raid0", "raid1", "raid456"],
    },
    Set { name: "lvm", what: "LVM", programs: &["usr/sbin/lvm"], modules: &["dm_mod", "dm_snapshot", "dm_thin_pool"] },
    Set {
        name: "encryption",
        what: "encrypted disks",
        programs: &["usr/{bin,lib/systemd}/systemd-cryptsetup", "usr/sbin/cryptsetup"],
        modules: &["dm_crypt"],
    },
    Set { name: "iscsi", what: "iSCSI", programs: &["usr/sbin/iscsid"], modules: &["iscsi_tcp"] },
    Set {
        name: "iscsi-target",
        what: "the iSCSI target",
        programs: &["usr/bin/targetcli", "usr/bin/targetctl"],
        modules: &["target_core_mod", "iscsi_target_mod"],
    },
    Set { name: "multipath", what: "multipath", programs: &["usr/sbin/multipathd"], modules: &["dm_multipath"] },
    Set { name: "btrfs", what: "Btrfs", programs: &["usr/sbin/mkfs.btrfs"], modules: &["btrfs"] },
    Set { name: "xfs", what: "XFS", programs: &["usr/sbin/mkfs.xfs"], modules: &["xfs"] },
    Set { name: "f2fs", what: "F2FS", programs: &["usr/sbin/mkfs.f2fs"], modules: &["f2fs"] },
    Set { name: "exfat", what: "exFAT", programs: &["usr/sbin/mkfs.exfat"], modules: &["exfat"] },
    Set { name: "fuse", what: "FUSE", programs: &["usr/bin/{fusermount,fusermount3}"], modules: &["fuse"] },
    Set {
        name: "zram",
        what: "swap in zram",
        programs: &["usr/sbin/zramctl.conf", "usr/lib/systemd/system-generators/zram-generator", "usr/sbin/zramswap"],
        modules: &["zram"],
    },
    Set {
        name: "bluetooth",
        what: "Bluetooth",
        programs: &["usr/libexec/bluetooth/bluetoothd", "usr/lib/bluetooth/bluetoothd"],
        modules: &["bluetooth", "btusb", "rfcomm", "bnep"],
    },
    Set { name: "can", what: "CAN", programs: &["usr/bin/candump"], modules: &["can", "can_raw", "vcan"] },
    Set {
        name: "binfmt",
        what: "programs of other architectures",
        programs: &["usr/bin/qemu-*-static"],
        modules: &["binfmt_misc"],
    },
    Set {
        name: "libvirt",
        what: "libvirt",
        programs: &["usr/sbin/libvirtd"],
        modules: &["kvm", "tun", "bridge", "vhost_net"],
    },
    Set {
        name: "usbip",
        what: "USB over IP",
        programs: &["usr/sbin/usbipd"],
        modules: &["usbip_core", "usbip_host", "vhci_hcd"],
    },
    Set {
        name: "batman",
        what: "the B.A.T.M.A.N. mesh",
        programs: &["usr/bin/batctl", "usr/sbin/batctl"],
        modules: &["batman_adv"],
    },
    Set { name: "openvswitch", what: "Open vSwitch", programs: &["usr/sbin/ovs-vswitchd"], modules: &["openvswitch"] },
    Set { name: "snapd", what: "snapd", programs: &["usr/lib/snapd/snapd"], modules: &["squashfs", "loop"] },
];

/// A set that an image has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What it is for.
    pub what: String,
    /// The file that shows that it is wanted, relative to the root; `None` when the recipe names the set.
    pub by: Option<String>,
    /// Those of its modules that the kernel has as modules.
    pub modules: Vec<String>,
}

/// The sets of the programs in `tree`, as far as kernel `release` has their modules. Asked before [`super::install`] removes the
/// others.
///
/// # Errors
/// No modules of that kernel in `tree`.
pub fn of_programs(tree: &Tree, release: &str) -> Result<Vec<Chosen>, Error> {
    let available = Available::of(tree, release)?;
    let mut found = Vec::new();
    for set in SETS {
        if let Some(by) = first(tree, set.programs)? {
            found.push(set.chosen(&available, Some(by)));
        }
    }
    found.retain(|chosen| !chosen.modules.is_empty());
    Ok(found)
}

/// The set of that name.
///
/// # Errors
/// No such set, with the names that look like it; no modules of kernel `release` in `tree`.
pub fn named(tree: &Tree, release: &str, name: &str) -> Result<Chosen, Error> {
    match SETS.iter().find(|set| set.name == name) {
        Some(set) => Ok(set.chosen(&Available::of(tree, release)?, None)),
        None => Err(Error::UnknownModuleSet {
            set: name.to_owned(),
            candidates: candidates(name, SETS.iter().map(|set| set.name)),
        }),
    }
}

/// Names of all modules of these sets, each once.
pub fn modules(sets: &[Chosen]) -> BTreeSet<String> {
    sets.iter().flat_map(|set| set.modules.iter().cloned()).collect()
}

impl Set {
    fn chosen(&self, available: &Available, by: Option<String>) -> Chosen {
        let modules = self.modules.iter().filter(|module| available.is_module(module));
        Chosen { what: self.what.to_owned(), by, modules: modules.map(|module| (*module).to_owned()).collect() }
    }
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

    fn with_modules(tree: &mut Tree, modules: &[&str]) {
        let mut root = TreeEditor::new(tree, 0);
        for module in modules {
            root.write(&format!("{DIR}/6.12/kernel/net/{module}.ko.xz"), "", 0o644).unwrap();
        }
    }

    #[test]
    fn names_of_sets_are_unique_and_firewalls_have_their_tables() {
        let names: BTreeSet<&str> = SETS.iter().map(|set| set.name).collect();
        assert_eq!(names.len(), SETS.len());
        for program in ["usr/sbin/nft", "usr/sbin/xtables-nft-multi", "usr/sbin/firewalld", "usr/lib/podman/netavark"] {
            let set = SETS.iter().find(|set| set.programs.contains(&program)).unwrap();
            assert!(set.modules.contains(&"nf_tables"), "{}", set.name);
            let mut tree = Tree::new(0);
            TreeEditor::new(&mut tree, 0).write(program, "", 0o755).unwrap();
            with_modules(&mut tree, set.modules);
            let found = of_programs(&tree, "6.12").unwrap();
            let [found] = &found[..] else { panic!("{found:?}") };
            assert_eq!((found.what.as_str(), found.by.as_deref()), (set.what, Some(program)));
            assert_eq!(found.modules.len(), set.modules.len());
        }
    }

    #[test]
    fn programs_bring_the_modules_that_the_kernel_has() {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write("usr/sbin/dockerd", "", 0o755).unwrap();
        root.write("usr/sbin/rpc.nfsd", "", 0o755).unwrap();
        root.write(&format!("{DIR}/6.12/modules.builtin"), "kernel/fs/nfsd/nfsd.ko\n", 0o644).unwrap();
        with_modules(&mut tree, &["bridge", "br_netfilter", "veth"]);
        let found = of_programs(&tree, "6.12").unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].what.as_str(), found[0].by.as_deref()), ("docker", Some("usr/sbin/dockerd")));
        assert_eq!(modules(&found).into_iter().collect::<Vec<_>>(), ["br_netfilter", "bridge", "veth"]);
    }

    #[test]
    fn a_recipe_names_a_set_and_a_wrong_name_has_the_right_one_beside_it() {
        let mut tree = Tree::new(0);
        with_modules(&mut tree, &["wireguard"]);
        assert_eq!(named(&tree, "6.12", "wireguard").unwrap().modules, ["wireguard"]);
        let error = named(&tree, "6.12", "wiregaurd").unwrap_err();
        assert!(
            matches!(&error, Error::UnknownModuleSet { candidates, .. } if candidates == &["wireguard"]),
            "{error}"
        );
    }
}
