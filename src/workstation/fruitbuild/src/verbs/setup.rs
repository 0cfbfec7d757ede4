//! `fruitbuild setup`: brings what a fresh machine lacks, with the distribution's and Rust's own installers.

use std::path::Path;
use std::process::Command;

use fruit_device_programs::{ARCHITECTURES, rust_tool, target};

use crate::failure::Failure;
use crate::progress::Progress;

/// Rust targets of the device programs.
const TARGETS: [&str; 3] = ["aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl", "armv7-unknown-linux-gnueabihf"];

/// A tool that must be on the PATH, and the Debian package that brings it, or several with spaces between.
type Tool = (&'static str, &'static str);

/// What `run` and the sandbox of packages' scripts need.
const BUILD_TOOLS: [Tool; 3] =
    [("qemu-system-aarch64", "qemu-system-arm"), ("qemu-system-x86_64", "qemu-system-x86"), ("newuidmap", "uidmap")];

/// Checkers and peers that the tests hold our output against.
const TEST_TOOLS: [Tool; 34] = [
    ("mmdebstrap", "mmdebstrap"),
    ("podman", "podman"),
    ("crun", "crun"),
    ("skopeo", "skopeo"),
    ("docker-registry", "docker-registry"),
    ("pip3", "python3-pip"),
    ("fsck.erofs", "erofs-utils"),
    ("sgdisk", "gdisk"),
    ("mdir", "mtools"),
    ("fsck.fat", "dosfstools"),
    ("veritysetup", "cryptsetup-bin"),
    ("e2fsck", "e2fsprogs"),
    ("cpio", "cpio"),
    ("genimage", "genimage"),
    ("mkimage", "u-boot-tools"),
    ("bmaptool", "bmap-tools"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("sfdisk", "fdisk"),
    ("xdelta3", "xdelta3"),
    ("depmod", "kmod"),
    ("gpgv", "gpgv"),
    ("zstd", "zstd"),
    ("xz", "xz-utils"),
    ("bzip2", "bzip2"),
    ("dtc", "device-tree-compiler"),
    ("gpg", "gpg"),
    ("dbus-daemon", "dbus-daemon"),
    ("systemd-analyze", "systemd"),
    ("time", "time"),
    ("ar", "binutils"),
    ("busybox", "busybox-static"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
];

/// Installs the Rust targets of the device programs and the tools that `run` and the sandbox need; with `tests` also the tools that
/// the tests need.
///
/// # Errors
/// An installer that is missing or fails; the message holds the command to run by hand.
pub fn setup(tests: bool, progress: &Progress) -> Result<(), Failure> {
    add_rust_targets(progress)?;
    let compilers: Vec<Tool> = ARCHITECTURES.iter().filter_map(|name| Some(target(name).ok()?.compiler)).collect();
    let wanted = compilers.iter().chain(&BUILD_TOOLS).chain(if tests { &TEST_TOOLS[..] } else { &[] });
    let missing: Vec<Tool> = wanted.copied().filter(|(tool, _)| !on_path(tool)).collect();
    if missing.is_empty() {
        progress.say("all tools are there");
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|(_, packages)| packages.split(' ')).collect();
    install(&packages, progress)
}

fn add_rust_targets(progress: &Progress) -> Result<(), Failure> {
    let missing: Vec<&str> = TARGETS.into_iter().filter(|target| !rust_target_installed(target)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    progress.say(format!("adding Rust targets: {}", missing.join(" ")));
    run(
        Command::new(rust_tool("rustup").unwrap_or_else(|| "rustup".into())).arg("target").arg("add").args(&missing),
        &format!("rustup target add {}", missing.join(" ")),
    )
}

fn rust_target_installed(target: &str) -> bool {
    Command::new(rust_tool("rustc").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .is_ok_and(|out| Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir())
}

fn install(packages: &[&str], progress: &Progress) -> Result<(), Failure> {
    let list = packages.join(" ");
    if !on_path("apt-get") {
        return Err(Failure::general(format!(
            "missing tools; this machine has no apt-get: install what brings these Debian packages' programs: {list}"
        )));
    }
    progress.say(format!("installing Debian packages: {list}"));
    let root = rustix::process::geteuid().is_root();
    let apt = |arguments: &[&str]| {
        let mut command = if root { Command::new("apt-get") } else { Command::new("sudo") };
        if !root {
            command.arg("apt-get");
        }
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let by_hand = format!("apt-get install --no-install-recommends {list}");
    run(&mut apt(&["update", "-q"]), "apt-get update")?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(packages);
    run(&mut apt(&arguments), &by_hand)
}

fn run(command: &mut Command, by_hand: &str) -> Result<(), Failure> {
    // Installers talk on stdout; ours is for data.
    let status = command.stdout(std::io::stderr()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::general(format!("`{by_hand}` ended with {status}"))),
        Err(error) => Err(Failure::general(format!("cannot run `{by_hand}`: {error}"))),
    }
}

pub fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps checkers in sbin, which a plain user's PATH lacks.
    std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|folder| folder.join(tool).is_file())
}
