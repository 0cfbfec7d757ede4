//! The oracle: the same packages installed by mmdebstrap, their maintainer scripts run. Every difference to our root is
//! on the list `oracle-allowed.txt`, with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use fruit_image::tree::{Kind, Tree};
use fruit_root::finish::units::{self, NOTHING_TO_DO, Units};
use fruit_root::finish::{self, Identity};
use fruit_root::glob::Glob;

use crate::archive::{Archive, unpack};

/// What a node has, and what maintainer scripts need to run.
const PACKAGES: [&str; 51] = [
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "ca-certificates",
    "containerd",
    "coreutils",
    "cryptsetup-bin",
    "curl",
    "dash",
    "dbus",
    "debconf",
    "debianutils",
    "diffutils",
    "dosfstools",
    "dpkg",
    "e2fsprogs",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "iproute2",
    "iptables",
    "iputils-ping",
    "iw",
    "kmod",
    "less",
    "libc-bin",
    "libnss-myhostname",
    "libnss-resolve",
    "libpam-systemd",
    "login",
    "mawk",
    "ncurses-base",
    "ncurses-bin",
    "netbase",
    "nftables",
    "openssh-server",
    "passwd",
    "perl-base",
    "procps",
    "sed",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "tar",
    "tzdata",
    "udev",
    "util-linux",
];

/// One file as the device sees it, owners by name.
#[derive(PartialEq, Eq)]
struct Seen {
    kind: String,
    mode: u16,
    owner: String,
    /// Target of a link; of files below /etc their text.
    content: String,
}

#[test]
fn every_difference_to_an_installation_with_scripts_run_is_known_and_has_its_reason() {
    let archive = Archive::open("trixie", "amd64");
    let debs = archive.fetch(&PACKAGES);
    let names: Vec<String> = debs
        .iter()
        .map(|deb| deb.file_name().unwrap().to_str().unwrap().split('_').next().unwrap().to_owned())
        .collect();
    let epoch = 1_760_000_000;
    let theirs = see(&installed(&archive, &names));
    let mut ours = unpack(&debs, "amd64", epoch);
    finish::finish(&mut ours.tree, &ours.packages, &Identity::default(), epoch).unwrap();
    let unmask = NOTHING_TO_DO.iter().map(|u| (*u).to_owned()).collect();
    let units = Units { as_packaged: true, unmask, ..Units::default() };
    units::configure(&mut ours.tree, &ours.packages, &units, epoch).unwrap();
    let ours = see(&ours.tree);

    let allowed = allowed();
    let mut used = BTreeSet::new();
    let mut left = Vec::new();
    for path in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        for (kind, detail) in differences(theirs.get(path), ours.get(path)) {
            match allowed.iter().position(|(k, glob, _)| (k == kind || k == "any") && glob.covers(path)) {
                Some(i) => drop(used.insert(i)),
                None => left.push(format!("{kind} {path}\n{detail}")),
            }
        }
    }
    assert!(left.is_empty(), "{} differences that are not on the list:\n{}", left.len(), left.join("\n"));
    let unused: Vec<&str> = (0..allowed.len()).filter(|i| !used.contains(i)).map(|i| allowed[i].2.as_str()).collect();
    assert!(unused.is_empty(), "on the list, but no difference any more:\n{}", unused.join("\n"));
}

/// `kind glob reason` of `oracle-allowed.txt`.
fn allowed() -> Vec<(String, Glob, String)> {
    let lines = include_str!("oracle-allowed.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (kind, glob) = (words.next().unwrap(), words.next().unwrap());
            assert!(words.next().is_some(), "no reason: {line}");
            (kind.to_owned(), Glob::new(glob).unwrap(), line.to_owned())
        })
        .collect()
}

/// mmdebstrap's root as a tree.
fn installed(archive: &Archive, names: &[String]) -> Tree {
    let mut child = Command::new("mmdebstrap")
        .args(["--variant=custom", "--architectures=amd64", "--mode=root", "--format=tar"])
        .arg(format!("--include={}", names.join(",")))
        // The links of the merged /usr, before the first package.
        .arg("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr")
        .args(["--skip=cleanup/reproducible", "trixie", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("mmdebstrap: {e}; install the Debian package mmdebstrap"));
    child.stdin.take().unwrap().write_all(archive.sources.as_bytes()).unwrap();
    let mut errors = child.stderr.take().unwrap();
    let talk = std::thread::spawn(move || {
        let mut text = Vec::new();
        errors.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    let talk = talk.join().unwrap();
    assert!(child.wait().unwrap().success(), "mmdebstrap failed (it needs root):\n{talk}");
    let mut tree = Tree::new(0);
    crate::archive::unpack_tar(&mut tree, &bytes);
    tree
}

fn see(tree: &Tree) -> BTreeMap<String, Seen> {
    let names = |file: &str| -> BTreeMap<u32, String> {
        let text = String::from_utf8(tree.read(file).unwrap()).unwrap();
        let fields = |l: &str| l.split(':').map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(fields).map(|f| (f[2].parse().unwrap(), f[0].clone())).collect()
    };
    let (users, groups) = (names("etc/passwd"), names("etc/group"));
    let name = |map: &BTreeMap<u32, String>, id: u32| map.get(&id).cloned().unwrap_or(id.to_string());
    let mut seen = BTreeMap::new();
    for (path, _, inode) in tree.iter() {
        let (kind, content) = match &inode.kind {
            Kind::Dir => ("dir", String::new()),
            Kind::File(content) if path.starts_with("etc/") => {
                ("file", normalized(path, &String::from_utf8_lossy(&content.to_vec().unwrap())))
            }
            Kind::File(_) => ("file", String::new()),
            Kind::Symlink(target) => ("link", target.clone()),
            _ => ("device", String::new()),
        };
        let mode = if kind == "link" { 0 } else { inode.meta.mode };
        let owner = format!("{}:{}", name(&users, inode.meta.uid), name(&groups, inode.meta.gid));
        seen.insert(path.to_owned(), Seen { kind: kind.to_owned(), mode, owner, content });
    }
    seen
}

/// Account files without what differs by design: the dynamic ids, the order, the day of the last change.
fn normalized(path: &str, text: &str) -> String {
    let (numbers, blank): (&[usize], &[usize]) = match path {
        "etc/passwd" => (&[2, 3], &[]),
        "etc/group" => (&[2], &[]),
        "etc/shadow" => (&[], &[2]),
        "etc/gshadow" => (&[], &[1]),
        _ => return text.to_owned(),
    };
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        for i in numbers {
            if fields[*i].parse::<u32>().is_ok_and(|id| (100..1000).contains(&id)) {
                fields[*i] = "dynamic".to_owned();
            }
        }
        for i in blank {
            fields[*i].clear();
        }
        lines.push(fields.join(":"));
    }
    lines.sort();
    lines.join("\n")
}

fn differences(theirs: Option<&Seen>, ours: Option<&Seen>) -> Vec<(&'static str, String)> {
    let (Some(theirs), Some(ours)) = (theirs, ours) else {
        return match (theirs, ours) {
            (Some(t), None) => vec![("missing", format!("  {} {:o} {} {:.200}", t.kind, t.mode, t.owner, t.content))],
            (None, Some(o)) => vec![("extra", format!("  {} {:o} {} {:.200}", o.kind, o.mode, o.owner, o.content))],
            _ => Vec::new(),
        };
    };
    if theirs.kind != ours.kind {
        return vec![(
            "type",
            format!("  installed {} {}, ours {} {}", theirs.kind, theirs.content, ours.kind, ours.content),
        )];
    }
    let mut found = Vec::new();
    if theirs.mode != ours.mode {
        found.push(("mode", format!("  installed {:o}, ours {:o}", theirs.mode, ours.mode)));
    }
    if theirs.owner != ours.owner {
        found.push(("owner", format!("  installed {}, ours {}", theirs.owner, ours.owner)));
    }
    if theirs.content != ours.content {
        let kind = if theirs.kind == "link" { "link" } else { "content" };
        found.push((kind, only(&theirs.content, &ours.content)));
    }
    found
}

/// The lines that only one of two texts has.
fn only(theirs: &str, ours: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (theirs.lines().collect(), ours.lines().collect());
    let mut out: Vec<String> = a.iter().filter(|l| !b.contains(l)).take(12).map(|l| format!("  - {l}")).collect();
    out.extend(b.iter().filter(|l| !a.contains(l)).take(12).map(|l| format!("  + {l}")));
    if out.is_empty() { "  the same lines in another order".to_owned() } else { out.join("\n") }
}
