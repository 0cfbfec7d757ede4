//! A release of fruitbuild as people get it: installed into bare roots that have neither Rust nor an apt configuration, it
//! builds an image of `recipes/pistack.yaml`, the same bytes in each.
//!
//! Four things differ from `cargo run -p fruit-dist -- release`, for the time they cost: the programs for workstations are
//! compiled without optimization and for this machine alone, fruitctl is the one of this machine and not static (it is not
//! run in the roots), there are programs for arm64 nodes only (those that other tests have compiled), and packages that this
//! machine's cache holds are not downloaded again, but for one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fruit_dist::source::Source;
use fruit_dist::{Scope, release};
use fruit_pipeline::sources::{Sources, cache_folder};
use fruitbuild::progress::Progress;

fn succeed(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().unwrap_or_else(|error| panic!("cannot run {program}: {error}; run: fruitbuild setup --tests"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

/// Where this machine's apt gets the distribution and its security updates: what a person would give as `--mirror`.
fn mirrors() -> [String; 2] {
    let output = succeed(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI) $(LABEL)"]));
    let text = String::from_utf8(output.stdout).unwrap();
    ["Debian", "Debian-Security"].map(|wanted| {
        let sources = text.lines().filter_map(|line| line.split_once(' '));
        let uri = sources.filter(|(_, label)| *label == wanted).map(|(uri, _)| uri.trim_end_matches('/')).next();
        uri.unwrap_or_else(|| panic!("apt has no source with the label {wanted}; run: apt-get update\n{text}"))
            .to_owned()
    })
}

/// The release of Debian that this machine runs, whose keys are here.
fn codename() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or_else(|| panic!("/etc/os-release names no VERSION_CODENAME:\n{text}")).to_owned()
}

/// A root with a release in it, entered in namespaces of its own.
struct Root {
    folder: PathBuf,
    /// The `fruitbuild` in it, and where boards and recipes are.
    program: &'static str,
    share: &'static str,
}

impl Root {
    /// `fruitbuild ARGUMENTS` in the root. The network is this machine's, with its name servers and proxies; nothing else of
    /// it is seen but packages, which are read and never written. `without`: SHA-256 of a package that is to be downloaded.
    fn run(&self, arguments: &[&str], variables: &[(&str, &str)], without: &str) -> Output {
        let cache = cache_folder(&Sources::default()).unwrap();
        let blobs = cache.join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        let script = r#"set -e
            root=$1 blobs=$2 without=$3; shift 3
            cd "$root"
            mkdir -p proc dev tmp work etc cache/blobs layer
            mount -t proc proc proc
            mount -t tmpfs tmpfs dev
            mknod -m 666 dev/null c 1 3; mknod -m 444 dev/urandom c 1 9
            for file in resolv.conf hosts; do [ ! -e /etc/$file ] || cat /etc/$file > etc/$file; done
            mount -t tmpfs tmpfs layer; mkdir layer/upper layer/work
            mount -t overlay overlay -o "lowerdir=$blobs,upperdir=layer/upper,workdir=layer/work" cache/blobs
            # What is written is renamed to where it belongs, so all of it must be on one file system.
            for folder in tmp lists; do mkdir cache/blobs/$folder; ln -sfn blobs/$folder cache/$folder; done
            [ -z "$without" ] || rm cache/blobs/*/$without*
            exec chroot . "$@""#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--uts", "--ipc", "--fork", "--", "sh", "-c", script, "sh"]);
        command.args([&self.folder, &blobs]).arg(without).arg(self.program).args(arguments);
        command.current_dir("/").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("FRUITBUILD_CACHE", "/cache").env("HOME", "/work").env("NO_COLOR", "1");
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        succeed(command.envs(variables.iter().copied()))
    }

    /// Takes the recipe that the release brings, as a person would, and builds it: the image's SHA-256.
    fn image(&self, arguments: &[&str], variables: &[(&str, &str)], without: &str) -> String {
        let recipes = self.folder.join("work/recipes");
        std::fs::create_dir_all(&recipes).unwrap();
        std::fs::copy(self.folder.join(self.share).join("recipes/pistack.yaml"), recipes.join("pistack.yaml")).unwrap();
        let build = ["build", "/work/recipes/pistack.yaml", "--out", "/work/out"];
        self.run(&[&build, arguments].concat(), variables, without);
        let sums = std::fs::read_to_string(self.folder.join("work/out/SHA256SUMS")).unwrap();
        let line = sums.lines().find(|line| line.ends_with(".img")).unwrap_or_else(|| panic!("{sums}"));
        line.split(' ').next().unwrap().to_owned()
    }

    /// SHA-256 of a package in the lock that the build wrote.
    fn package(&self, name: &str) -> String {
        let lock = fruit_debian::Lock::load(&self.folder.join("work/recipes/pistack.lock")).unwrap();
        lock.package(name).unwrap().sha256.to_string()
    }
}

fn holds(bytes: &[u8], part: &Path) -> bool {
    let part = part.to_str().unwrap().as_bytes();
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_release_is_installed_without_rust_and_builds_the_same_image_on_any_distribution() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    assert!(
        root,
        "this test enters other roots: run it as root, or leave it out: cargo test -- --skip a_release_is_installed"
    );
    let work = tempfile::tempdir().unwrap();
    let source = Source::here().unwrap();
    let files = release(&source, &Scope::of_a_test(), &work.path().join("dist"), &Progress::new(true)).unwrap();
    let named = |end: &str| {
        files.iter().find(|file| file.to_string_lossy().ends_with(end)).unwrap_or_else(|| panic!("{files:?}")).clone()
    };
    succeed(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(work.path().join("dist")));
    let sbom = std::fs::read_to_string(named(".spdx.json")).unwrap();
    assert!(sbom.contains("pkg:cargo/ed25519-dalek@") && !sbom.contains("pkg:cargo/proptest@"), "{sbom}");

    // A bare Debian.
    let [mirror, security] = mirrors();
    let folder = work.path().join("debian");
    let mut debian = Command::new("mmdebstrap");
    debian.args(["--mode=root", "--variant=essential", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]);
    succeed(debian.arg(codename()).arg(&folder).arg(&mirror));
    for other in ["usr/bin/apt-get", "usr/bin/rustc", "usr/bin/gcc", "etc/ssl/certs"] {
        assert!(!folder.join(other).exists(), "a bare Debian has {other}");
    }
    let _ = std::fs::remove_dir_all(folder.join("etc/apt"));
    std::fs::copy(named(".deb"), folder.join("fruitbuild.deb")).unwrap();
    succeed(Command::new("chroot").arg(&folder).args(["dpkg", "--install", "/fruitbuild.deb"]));
    let debian = Root { folder, program: "/usr/bin/fruitbuild", share: "usr/share/fruitbuild" };
    let version = String::from_utf8(debian.run(&["--version"], &[], "").stdout).unwrap();
    assert_eq!(version.trim(), format!("fruitbuild {} ({} {})", source.version, source.commit, source.date));
    for page in [
        "man/man1/fruitbuild-build.1",
        "man/man1/fruitctl-stack-status.1",
        "bash-completion/completions/fruitctl",
        "zsh/vendor-completions/_fruitbuild",
        "doc/fruitbuild/docs/guides/install.md",
    ] {
        assert!(debian.folder.join("usr/share").join(page).is_file(), "{page} is missing");
    }
    let options = [format!("debian={mirror}"), format!("debian-security={security}")];
    let first = debian.image(&["--mirror", &options[0], "--mirror", &options[1]], &[], "");

    // A root that holds the archive and nothing else: no shell, no libc.
    let folder = work.path().join("bare");
    std::fs::create_dir_all(folder.join("opt/fruitbuild")).unwrap();
    let mut unpack = Command::new("tar");
    unpack.args(["--strip-components=1", "-xf"]).arg(named(".tar.gz")).arg("-C").arg(folder.join("opt/fruitbuild"));
    succeed(&mut unpack);
    // What people get has no symbols; here they name where C and assembler were compiled.
    let stripped = work.path().join("fruitbuild");
    succeed(Command::new("strip").arg("-o").arg(&stripped).arg(folder.join("opt/fruitbuild/bin/fruitbuild")));
    let bytes = std::fs::read(&stripped).unwrap();
    let home = PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo/registry");
    for path in [&source.top, &home] {
        assert!(!holds(&bytes, path), "fruitbuild names a folder of this machine: {}", path.display());
    }
    assert!(folder.join("opt/fruitbuild/bin/fruitctl").is_file());
    let bare = Root { folder, program: "/opt/fruitbuild/bin/fruitbuild", share: "opt/fruitbuild/share/fruitbuild" };
    let second = bare.image(&[], &[("FRUITBUILD_MIRROR", &options.join(","))], &debian.package("nftables"));
    assert_eq!(first, second, "images of the same recipe differ");
}
