//! The whole way from packages to a root, for the two kinds of node that recipes are made of.

use std::path::{Path, PathBuf};

use fruit_image::tree::{Kind, Tree};
use fruit_root::finish::units::{self, Units};
use fruit_root::finish::users::{self, UserSpec};
use fruit_root::finish::{self, Identity};
use fruit_root::{initramfs, kernel, last_check, overlay, prune};

use crate::archive::{Archive, unpack};

const EPOCH: i64 = 1_760_000_000;

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|n| (*n).to_owned()).collect()
}

fn build(packages: &[&str], overlays: &[&str], enable: &[&str]) -> (Tree, Vec<prune::Saved>) {
    let archive = Archive::open("trixie", "arm64");
    let mut debs = archive.fetch(packages);
    // The kernel without what it depends on: an initramfs builder, and by that systemd.
    let kernel =
        |deb: &PathBuf| deb.file_name().is_some_and(|name| name.to_string_lossy().starts_with("linux-image-6"));
    debs.extend(archive.fetch(&["linux-image-arm64"]).into_iter().filter(kernel));
    let mut root = unpack(&debs, "arm64", EPOCH);
    finish::finish(&mut root.tree, &root.packages, &Identity::default(), EPOCH).unwrap();
    let release = kernel::releases(&root.tree).pop().unwrap();
    let modules = names(&["bcm2835_wdt", "erofs", "overlay", "dm-verity", "smsc95xx", "nf_tables", "wireguard"]);
    let selection = kernel::select(&root.tree, &release, &modules, false).unwrap();
    kernel::install(&mut root.tree, &selection, EPOCH).unwrap();
    let saved = prune::prune(&mut root.tree, &prune::Settings::default()).unwrap().saved;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../overlays");
    let mut units = Units { as_packaged: false, enable: names(enable), ..Units::default() };
    for name in overlays {
        units.enable.extend(overlay::apply(&mut root.tree, &folder.join(name), EPOCH).unwrap().enable);
    }
    if overlays.contains(&"systemd") {
        units::configure(&mut root.tree, &root.packages, &units, EPOCH).unwrap();
    }
    let user = UserSpec {
        name: "fruit".to_owned(),
        ssh_keys: vec!["ssh-ed25519 AAAA operator".to_owned()],
        groups: names(&["adm"]),
        ..UserSpec::default()
    };
    users::add(&mut root.tree, &[], &[user], EPOCH).unwrap();
    let problems = last_check::finish(&mut root.tree, EPOCH);
    assert!(problems.is_empty(), "{problems:#?}");
    (root.tree, saved)
}

fn size(tree: &Tree) -> u64 {
    tree.iter().map(|(.., inode)| if let Kind::File(content) = &inode.kind { content.len() } else { 0 }).sum()
}

#[test]
fn a_node_with_systemd_is_whole_after_pruning() {
    let packages = [
        "base-files",
        "base-passwd",
        "netbase",
        "systemd-sysv",
        "systemd-resolved",
        "systemd-timesyncd",
        "libpam-systemd",
        "libnss-resolve",
        "libnss-myhostname",
        "dbus",
        "udev",
        "kmod",
        "openssh-server",
        "passwd",
        "login",
        "util-linux",
        "bash",
        "coreutils",
        "procps",
        "iproute2",
        "iputils-ping",
        "ca-certificates",
        "tzdata",
    ];
    let enable = ["getty@tty1", "systemd-networkd", "systemd-resolved.service", "systemd-timesyncd", "ssh"];
    let (tree, saved) = build(&packages, &["fruit", "systemd"], &enable);
    let target = |path: &str| match tree.get(path).map(|inode| &inode.kind) {
        Some(Kind::Symlink(target)) => target.clone(),
        other => panic!("{path}: {other:?}"),
    };
    let system = "etc/systemd/system";
    assert_eq!(
        target(&format!("{system}/getty.target.wants/getty@tty1.service")),
        "/usr/lib/systemd/system/getty@.service"
    );
    assert_eq!(
        target(&format!("{system}/ssh.service.wants/fruit-ssh-keys.service")),
        "/usr/lib/systemd/system/fruit-ssh-keys.service"
    );
    assert_eq!(target(&format!("{system}/sshd-keygen.service")), "/dev/null");
    assert!(!tree.contains("usr/share/man") && !tree.contains("boot/System.map") && tree.contains("usr/bin/sh"));
    assert!(tree.contains("etc/ssl/certs/ca-certificates.crt") && tree.contains("usr/share/zoneinfo/Europe/Berlin"));
    assert!(size(&tree) < 140 << 20, "{} bytes; saved: {saved:#?}", size(&tree));
    let keys = tree.get("home/fruit/.ssh/authorized_keys").unwrap();
    assert_eq!((keys.meta.mode, keys.meta.uid), (0o600, 1000));
}

#[test]
fn the_least_node_has_an_init_a_shell_and_its_scripts() {
    let packages = ["base-files", "base-passwd", "netbase", "busybox-static", "dropbear-bin"];
    let (tree, saved) = build(&packages, &["fruit", "busybox"], &[]);
    for path in ["sbin/init", "bin/sh", "sbin/modprobe", "sbin/getty", "usr/bin/awk", "sbin/udhcpc", "bin/login"] {
        let real = tree.resolve(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(matches!(tree.get(&real).map(|i| &i.kind), Some(Kind::File(_))), "{path} → {real}");
    }
    // Every program that the scripts call by name is there.
    let scripts = ["boot", "network", "name-servers", "dhcp", "ssh", "console", "shutdown"];
    for script in scripts {
        let inode = tree.get(&format!("usr/lib/fruit/{script}")).unwrap();
        assert_eq!(inode.meta.mode, 0o755, "{script}");
    }
    for tool in [
        "mount",
        "hostname",
        "ip",
        "uevent",
        "mdev",
        "find",
        "xargs",
        "modprobe",
        "sort",
        "grep",
        "sysctl",
        "cat",
        "tr",
        "sleep",
        "udhcpc",
        "mv",
        "rm",
        "mkdir",
        "sync",
        "dropbear",
        "dropbearkey",
        "awk",
        "getty",
        "umount",
        "syslogd",
        "klogd",
        "reboot",
    ] {
        let found = ["usr/bin", "usr/sbin"].iter().any(|dir| tree.contains(&format!("{dir}/{tool}")));
        assert!(found, "{tool}");
    }
    assert!(size(&tree) < 40 << 20, "{} bytes; saved: {saved:#?}", size(&tree));
}

#[test]
fn the_initramfs_has_init_configuration_and_modules_where_the_load_order_says() {
    let archive = Archive::open("trixie", "arm64");
    let root = unpack(&archive.fetch(&["linux-image-arm64"]), "arm64", EPOCH);
    let release = kernel::releases(&root.tree).pop().unwrap();
    let selection =
        kernel::select(&root.tree, &release, &names(&["bcm2835_wdt", "erofs", "dm-verity"]), false).unwrap();
    let tree = initramfs::tree(b"init".to_vec().into(), b"{}\n".to_vec(), &selection, &[], EPOCH).unwrap();
    assert_eq!(tree.get("init").unwrap().meta.mode, 0o755);
    assert_eq!(tree.read("etc/fruit/init.json").unwrap(), b"{}\n");
    assert!(matches!(tree.get("dev/console").unwrap().kind, Kind::CharDevice { major: 5, minor: 1 }));
    let order = selection.load_order();
    assert!(order[0].ends_with("/bcm2835_wdt.ko"), "{order:?}");
    for path in order {
        assert!(tree.read(path.trim_start_matches('/')).unwrap().starts_with(b"\x7fELF"), "{path}");
    }
}
