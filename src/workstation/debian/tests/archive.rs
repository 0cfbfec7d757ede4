//! Against the real archive, through the mirror that the machine's apt is set up with (or FRUITBUILD_MIRROR):
//! what apt resolves, what dpkg-deb and tar unpack, and what an offline build can do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use fruit_debian::{
    Diversions, Keyring, Lock, MirrorSources, Mirrors, Repository, Request, Silent, Store, Universe, unpack_all,
};
use fruit_image::tree::{Kind, Tree};

/// The set of a small server with systemd, as the recipes of this project have it.
const SYSTEMD: &str = "systemd systemd-sysv udev dbus libpam-systemd openssh-server systemd-resolved systemd-timesyncd \
    iproute2 nftables cryptsetup-bin e2fsprogs procps ca-certificates base-files base-passwd";

const COMPONENTS: &str = "main contrib non-free non-free-firmware";

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn mirrors() -> Mirrors {
    let environment = std::env::var(fruit_debian::mirror::ENVIRONMENT).ok();
    let sources = MirrorSources {
        options: &[],
        environment: environment.as_deref(),
        configuration: &BTreeMap::new(),
        etc_apt: Path::new("/etc/apt"),
    };
    Mirrors::find(&sources).unwrap()
}

/// Mirrors are slow to follow the indices of armhf in the suites that change daily; apt refuses them then, as we do.
fn suites(suite: &str, architecture: &str) -> Vec<(&'static str, String)> {
    let mut all = vec![("debian", suite.to_owned())];
    if architecture != "armhf" {
        all.push(("debian", format!("{suite}-updates")));
        all.push(("debian-security", format!("{suite}-security")));
    }
    all
}

fn repositories(suite: &str, architecture: &str) -> Vec<Repository> {
    let keyring = Arc::new(Keyring::debian_archive().unwrap());
    let repository = |(archive, suite): (&str, String)| Repository {
        archive: archive.to_owned(),
        suite,
        components: COMPONENTS.split(' ').map(str::to_owned).collect(),
        keyring: keyring.clone(),
        allow_expired: false,
    };
    suites(suite, architecture).into_iter().map(repository).collect()
}

/// One store for all tests of this file, in cargo's folder for such things: what a run fetched, the next one has.
fn store() -> Store {
    Store::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("archive-store"), false).unwrap()
}

fn universe(suite: &str, architecture: &str) -> Universe {
    Universe::load(&repositories(suite, architecture), architecture, &store(), &mirrors(), now(), &Silent).unwrap()
}

fn request(packages: &str) -> Request {
    Request { packages: packages.split_whitespace().map(str::to_owned).collect(), ..Request::default() }
}

fn run(command: &mut Command, package: &str) -> String {
    let program = command.get_program().to_owned();
    let output = command.output().unwrap_or_else(|e| panic!("{program:?}: {e}: install the Debian package {package}"));
    assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An apt of its own: nothing installed, nothing of the machine's touched.
struct Apt {
    dir: tempfile::TempDir,
}

impl Apt {
    fn new(suite: &str, architecture: &str) -> Apt {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("keys/debian-archive-keyring.gpg");
        let mirrors = mirrors();
        let source = |(archive, suite): (&str, String)| {
            let mirror = mirrors.of(archive).unwrap();
            format!("deb [arch={architecture} signed-by={}] {mirror} {suite} {COMPONENTS}\n", keys.display())
        };
        fs::write(
            root.join("etc/sources.list"),
            suites(suite, architecture).into_iter().map(source).collect::<String>(),
        )
        .unwrap();
        fs::write(root.join("state/status"), "").unwrap();
        let r = root.display();
        let configuration = format!(
            "APT::Architecture \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; }};\n\
             Dir \"{r}\";\nDir::Etc \"{r}/etc\";\nDir::Etc::sourcelist \"{r}/etc/sources.list\";\n\
             Dir::Etc::sourceparts \"-\";\nDir::State \"{r}/state\";\nDir::State::status \"{r}/state/status\";\n\
             Dir::Cache \"{r}/cache\";\nAcquire::Languages \"none\";\nAPT::Sandbox::User \"\";\n"
        );
        fs::write(root.join("apt.conf"), configuration).unwrap();
        let apt = Apt { dir };
        run(apt.get().args(["-qq", "update"]), "apt");
        apt
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", self.dir.path().join("apt.conf"));
        command
    }

    /// `name version` of everything that apt would install.
    fn would_install(&self, packages: &str) -> Vec<String> {
        let mut command = self.get();
        command.args(["-s", "--no-install-recommends", "install"]).args(packages.split_whitespace());
        let text = run(&mut command, "apt");
        let installs = text.lines().filter_map(|line| line.strip_prefix("Inst "));
        let mut all: Vec<String> = installs
            .map(|line| {
                let mut words = line.split_whitespace();
                let name = words.next().unwrap().split(':').next().unwrap();
                format!("{name} {}", words.next().unwrap().trim_start_matches('('))
            })
            .collect();
        all.sort();
        all
    }
}

fn assert_equal_to_apt(suite: &str, architecture: &str, sets: &[&str]) {
    let (universe, apt) = (universe(suite, architecture), Apt::new(suite, architecture));
    let mut differences = Vec::new();
    for set in sets {
        let found = universe.resolve(&request(set), &BTreeMap::new()).unwrap_or_else(|e| panic!("{set}: {e}"));
        let mut ours: Vec<String> =
            found.packages.iter().map(|r| format!("{} {}", r.offer.name, r.offer.version)).collect();
        ours.sort();
        let apts = apt.would_install(set);
        let only = |a: &[String], b: &[String]| a.iter().filter(|p| !b.contains(p)).cloned().collect::<Vec<_>>();
        if ours != apts {
            let (more, less) = (only(&ours, &apts), only(&apts, &ours));
            differences.push(format!("{suite} {architecture} {set}\nonly ours: {more:?}\nonly apt's: {less:?}\n"));
        }
        assert!(ours.len() > 5, "{set}");
    }
    assert!(differences.is_empty(), "{}", differences.concat());
}

#[test]
fn sets_for_arm64_are_those_of_apt() {
    let sets = [
        SYSTEMD,
        "busybox dropbear-bin",
        "linux-image-arm64 u-boot-rpi raspi-firmware firmware-brcm80211 wpasupplicant iw",
        "containerd runc crun containernetworking-plugins conntrack ebtables ethtool socat iptables kmod",
        "postgresql nginx python3-flask",
        "xfce4 lightdm chromium",
        "avahi-daemon chrony rsyslog cron logrotate sudo vim-tiny curl",
        "default-mta build-essential git",
    ];
    assert_equal_to_apt("trixie", "arm64", &sets);
}

#[test]
fn sets_for_armhf_are_those_of_apt() {
    assert_equal_to_apt("trixie", "armhf", &[SYSTEMD, "busybox dropbear-bin linux-image-armmp raspi-firmware"]);
}

#[test]
fn sets_for_amd64_are_those_of_apt() {
    assert_equal_to_apt("trixie", "amd64", &[SYSTEMD, "linux-image-amd64 grub-efi-amd64-bin busybox"]);
}

#[test]
fn sets_of_bookworm_are_those_of_apt() {
    assert_equal_to_apt("bookworm", "arm64", &[SYSTEMD, "linux-image-arm64 network-manager"]);
}

/// A locked set with everything that it needs in the store.
fn fetched() -> &'static Lock {
    static LOCK: OnceLock<Lock> = OnceLock::new();
    LOCK.get_or_init(|| {
        let universe = universe("trixie", "arm64");
        let request = request(&format!("{SYSTEMD} base-files passwd adduser perl-base iputils-ping"));
        let resolution = universe.resolve(&request, &BTreeMap::new()).unwrap();
        let lock = Lock::new(&request, &universe, &resolution, &store(), &mirrors(), &Silent).unwrap();
        store().ensure(&lock.packages, &mirrors(), &Silent).unwrap();
        lock
    })
}

fn unpacked() -> Tree {
    let lock = fetched();
    let (tree, contents) =
        unpack_all(&store(), "arm64", &lock.packages, &Diversions::default(), lock.date(), &Silent).unwrap();
    assert_eq!(contents.len(), lock.packages.len());
    let files: u64 = contents.iter().map(|c| c.bytes).sum();
    assert!(files > 100 << 20, "{files}");
    tree
}

/// Where `sha256` lies in the store.
fn deb_file(sha256: &str) -> PathBuf {
    store().root().join("blobs").join(&sha256[..2]).join(format!("{sha256}.deb"))
}

#[test]
fn every_entry_is_what_tar_lists_for_it() {
    let tree = unpacked();
    let links = tree.link_counts();
    for package in &fetched().packages {
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.arg("--fsys-tarfile").arg(deb_file(&package.sha256.to_string()));
        let mut child = dpkg.stdout(std::process::Stdio::piped()).spawn().expect("install the Debian package dpkg");
        let mut tar = Command::new("tar");
        tar.args(["-tv", "--numeric-owner", "--full-time", "--quoting-style=literal"]);
        let listing = run(tar.env("TZ", "UTC").stdin(child.stdout.take().unwrap()), "tar");
        child.wait().unwrap();
        for line in listing.lines() {
            // -rwsr-xr-x 0/42 70888 2025-05-09 17:20:12 ./usr/bin/chage
            let words: Vec<&str> = line.split_whitespace().collect();
            let (kind, mode) = words[0].split_at(1);
            let name = line.split_once(words[4]).unwrap().1.trim_start();
            let (name, target) = match kind {
                "l" => name.split_once(" -> ").unwrap(),
                "h" => name.split_once(" link to ").unwrap(),
                _ => (name, ""),
            };
            let raw = name.trim_start_matches("./").trim_end_matches('/');
            let path = match raw.rsplit_once('/') {
                Some((parent, last)) => format!("{}/{last}", tree.resolve(parent).unwrap()),
                None => raw.to_owned(),
            };
            let inode = tree.get(&path).unwrap_or_else(|| panic!("{}: {path}", package.name));
            let found = match &inode.kind {
                Kind::Dir => "d",
                Kind::Symlink(to) => {
                    assert_eq!(to, target, "{path}");
                    "l"
                }
                Kind::File(content) if kind == "h" => {
                    assert!(links[&tree.id(&path).unwrap()] > 1 && !content.is_empty(), "{path}");
                    "h"
                }
                Kind::File(content) => {
                    assert_eq!(content.len().to_string(), words[2], "{path}");
                    "-"
                }
                other => panic!("{path}: {other:?}"),
            };
            assert_eq!(found, kind, "{}: {path}", package.name);
            if kind == "-" {
                assert_eq!(symbolic(inode.meta.mode), mode, "{}: {path}", package.name);
                assert_eq!(format!("{}/{}", inode.meta.uid, inode.meta.gid), words[1], "{path}");
            }
        }
    }
    let chage = &tree.get("usr/bin/chage").unwrap().meta;
    assert_eq!((chage.mode, chage.gid), (0o2755, 42), "owners are those of the archive, not of this machine");
}

/// As `ls` writes modes.
fn symbolic(mode: u16) -> String {
    let mut text = String::new();
    for (shift, special, name) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => name,
            (false, true) => name.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[test]
fn contents_are_those_that_dpkg_wrote_down() {
    let tree = unpacked();
    let lock = fetched();
    let (_, contents) = unpack_all(&store(), "arm64", &lock.packages, &Diversions::default(), 0, &Silent).unwrap();
    let sums = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for name in ["openssh-server", "libc6", "systemd", "ca-certificates"] {
        let package = contents.iter().find(|c| c.name == name).unwrap();
        let root = sums.path().join(name);
        let text = String::from_utf8(package.control.md5sums.clone().unwrap()).unwrap();
        for line in text.lines() {
            let path = &line[34..];
            let out = root.join(path);
            fs::create_dir_all(out.parent().unwrap()).unwrap();
            fs::write(out, tree.read(path).unwrap()).unwrap();
            checked += 1;
        }
        fs::write(root.join("md5sums"), &text).unwrap();
        run(Command::new("md5sum").args(["--check", "--quiet", "md5sums"]).current_dir(&root), "coreutils");
    }
    assert!(checked > 500);
    let server = contents.iter().find(|c| c.name == "openssh-server").unwrap();
    assert!(server.control.conffiles.contains(&"etc/init.d/ssh".to_owned()), "{:?}", server.control.conffiles);
    assert!(server.control.scripts.contains_key("postinst"));
    let records = fruit_debian::status::record_files(&server.control);
    let stanza = String::from_utf8(records[0].1.clone()).unwrap();
    assert!(stanza.starts_with("Package: openssh-server\nStatus: install ok installed\n"), "{stanza}");
    assert_eq!(records[1].0, "openssh-server.md5sums");
}

#[test]
fn a_locked_set_needs_neither_network_nor_index() {
    let lock = Lock::parse(&fetched().to_text()).unwrap();
    let offline = Store::open(store().root(), true).unwrap();
    offline.ensure(&lock.packages, &Mirrors::none(), &Silent).unwrap();
    let unpack = || unpack_all(&offline, "arm64", &lock.packages, &Diversions::default(), 0, &Silent).unwrap().0;
    let same = |a: &Tree, b: &Tree| {
        a.iter()
            .map(|(p, _, i)| (p.to_owned(), i.meta.clone()))
            .eq(b.iter().map(|(p, _, i)| (p.to_owned(), i.meta.clone())))
    };
    assert!(same(&unpack(), &unpack()), "the same lock must give the same tree");
    // And what was fetched before can be resolved again.
    let again =
        Universe::load(&repositories("trixie", "arm64"), "arm64", &offline, &Mirrors::none(), now(), &Silent).unwrap();
    let resolution = again.resolve(&lock.request, &BTreeMap::new()).unwrap();
    let locked = Lock::new(&lock.request, &again, &resolution, &offline, &Mirrors::none(), &Silent).unwrap();
    assert_eq!(locked, lock);
}

#[test]
fn a_suite_or_a_component_that_does_not_exist_is_named() {
    let load = |change: fn(&mut Repository)| {
        let mut one = repositories("trixie", "arm64").swap_remove(0);
        change(&mut one);
        let error = Universe::load(&[one], "arm64", &store(), &mirrors(), now(), &Silent).unwrap_err();
        error.to_string()
    };
    let message = load(|r| r.suite = "no-such-suite".to_owned());
    assert!(message.contains("no-such-suite/InRelease"), "{message}");
    let message = load(|r| r.components = vec!["mian".to_owned()]);
    assert!(message.contains("lists no component mian; it has main"), "{message}");
}
