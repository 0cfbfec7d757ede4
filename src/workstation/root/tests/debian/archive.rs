//! Packages for tests: resolved and fetched by the host's apt from its own mirror into a private apt root, unpacked
//! into a tree by `dpkg-deb` and `tar`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use fruit_image::tree::{Inode, Kind, Meta, Tree};
use fruit_root::PackageScripts;

/// Runs a tool; a missing one fails the test with the Debian package that has it.
pub fn run(package: &str, command: &mut Command) -> Vec<u8> {
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => panic!("{:?}: {e}; install the Debian package {package}", command.get_program()),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output.stdout
}

/// A private apt root for one suite and architecture.
pub struct Archive {
    dir: PathBuf,
    /// `deb …` lines, with the host's mirror.
    pub sources: String,
}

impl Archive {
    pub fn open(suite: &str, architecture: &str) -> Archive {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("apt").join(format!("{suite}-{architecture}"));
        for sub in ["etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        let archive = Archive { sources: sources(suite, architecture), dir };
        let _turn = archive.turn();
        let at = |sub: &str| archive.dir.join(sub).display().to_string();
        fs::write(at("etc/sources.list"), &archive.sources).unwrap();
        fs::write(at("state/status"), "").unwrap();
        let conf = format!(
            "APT::Architecture \"{architecture}\";\nAPT::Architectures \"{architecture}\";\nAPT::Install-Recommends \"false\";\n\
             Dir::Etc \"{}\";\nDir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"-\";\nDir::State \"{}\";\n\
             Dir::State::status \"{}\";\nDir::Cache \"{}\";\nAcquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n",
            at("etc"),
            at("etc/sources.list"),
            at("state"),
            at("state/status"),
            at("cache"),
        );
        fs::write(at("apt.conf"), conf).unwrap();
        if fs::read_dir(archive.dir.join("state/lists")).unwrap().count() < 3 {
            run("apt", archive.apt().args(["-q", "update"]));
        }
        archive
    }

    /// Tests run side by side; apt's folder is for one at a time.
    fn turn(&self) -> fs::File {
        let file = fs::File::create(self.dir.join("turn")).unwrap();
        file.lock().unwrap();
        file
    }

    fn apt(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", self.dir.join("apt.conf"));
        command
    }

    /// The .deb files of `packages` and what they depend on, in the order in which apt installs them.
    pub fn fetch(&self, packages: &[&str]) -> Vec<PathBuf> {
        let _turn = self.turn();
        run("apt", self.apt().args(["-qq", "-y", "-d", "-o", "Debug::NoLocking=1", "install"]).args(packages));
        let plan = run("apt", self.apt().args(["-s", "-o", "Debug::NoLocking=1", "install"]).args(packages));
        let plan = String::from_utf8(plan).unwrap();
        let installed = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
        installed.map(|line| self.deb(line)).collect()
    }

    /// `bash (5.2 Debian:13/stable [arm64])` → the file.
    fn deb(&self, line: &str) -> PathBuf {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap().split(':').next().unwrap();
        let version = words.next().unwrap().trim_start_matches('(').replace(':', "%3a");
        let dir = self.dir.join("cache/archives");
        let start = format!("{name}_{version}_");
        let found = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let file = found.filter(|f| f.starts_with(&start)).min().unwrap_or_else(|| panic!("{start}*.deb not fetched"));
        dir.join(file)
    }
}

/// `deb` lines for the suite and its security updates, from the host's own apt configuration.
fn sources(suite: &str, architecture: &str) -> String {
    let listed = run("apt", Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI) $(SIGNED_BY)"]));
    let listed = String::from_utf8(listed).unwrap();
    let uri = |security: bool| {
        let mut found = listed.lines().filter_map(|l| l.split_whitespace().next()).filter(|u| u.contains("debian"));
        found.find(|u| u.contains("security") == security).map(str::to_owned)
    };
    let options = format!("[arch={architecture} signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]");
    let main = uri(false).expect("the host's apt configuration names no Debian mirror");
    let mut text = format!("deb {options} {main} {suite} main non-free-firmware\n");
    // The security archive of armhf is not always whole on mirrors; its packages are not needed there.
    if let Some(security) = uri(true).filter(|_| architecture != "armhf") {
        text += &format!("deb {options} {security} {suite}-security main non-free-firmware\n");
    }
    text
}

/// Packages unpacked into a tree, with what finishing needs to know of them.
pub struct Unpacked {
    pub tree: Tree,
    pub packages: Vec<PackageScripts>,
}

/// Unpacks without running anything.
pub fn unpack(debs: &[PathBuf], architecture: &str, epoch: i64) -> Unpacked {
    let mut tree = Tree::new(epoch);
    fruit_root::layout::seed(&mut tree, architecture, epoch).unwrap();
    let mut packages = Vec::new();
    for deb in debs {
        let data = run("dpkg", Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb));
        let paths = unpack_tar(&mut tree, &data);
        let control = run("dpkg", Command::new("dpkg-deb").arg("--ctrl-tarfile").arg(deb));
        packages.push(package(&control, paths));
    }
    Unpacked { tree, packages }
}

pub fn unpack_tar(tree: &mut Tree, data: &[u8]) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in tar::Archive::new(data).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let path = entry.path().unwrap().to_str().unwrap().trim_start_matches("./").trim_matches('/').to_owned();
        let place = match path.rsplit_once('/') {
            Some((parent, name)) => format!("{}/{name}", tree.resolve(parent).unwrap()),
            None => path.clone(),
        };
        let meta = Meta {
            uid: header.uid().unwrap() as u32,
            gid: header.gid().unwrap() as u32,
            ..Meta::root(header.mode().unwrap() as u16 & 0o7777, header.mtime().unwrap() as i64)
        };
        paths.push(path);
        if header.entry_type().is_hard_link() {
            let target = entry.link_name().unwrap().unwrap().to_str().unwrap().trim_start_matches("./").to_owned();
            let target = tree.resolve(&target).unwrap();
            tree.link(&place, &target).unwrap();
            continue;
        }
        let kind = match header.entry_type() {
            tar::EntryType::Directory => match tree.resolve(&place) {
                Ok(real) if tree.get(&real).is_some_and(Inode::is_dir) && real != place => continue,
                _ => Kind::Dir,
            },
            tar::EntryType::Symlink => Kind::Symlink(entry.link_name().unwrap().unwrap().to_str().unwrap().to_owned()),
            _ => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                Kind::File(content.into())
            }
        };
        tree.insert(&place, Inode { meta, kind }).unwrap();
    }
    paths
}

fn package(control: &[u8], paths: Vec<String>) -> PackageScripts {
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(control).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().trim_start_matches("./").to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        members.insert(name, String::from_utf8_lossy(&bytes).into_owned());
    }
    let field = |name: &str| {
        let start = format!("{name}: ");
        let line = members["control"].lines().find_map(|l| l.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {name} in a control file")).to_owned()
    };
    PackageScripts {
        name: field("Package"),
        version: field("Version"),
        depends: Vec::new(),
        conffiles: members.get("conffiles").map_or_else(Vec::new, |c| c.lines().map(str::to_owned).collect()),
        scripts: members.clone(),
        paths,
    }
}
