//! An account of what the packages' maintainer scripts would have done: which commands of theirs are neither reproduced nor known to be harmless.

use std::collections::BTreeSet;

use crate::PackageScripts;
use crate::finish::reproduces;
use crate::scripts::{Command, diversion, known, read, reviewed};

/// A command of a maintainer script whose effect the image lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhandled {
    pub package: String,
    pub version: String,
    /// `preinst`, `config`, `postinst`.
    pub script: String,
    /// Line in the script, from 1; 0 when inside a substitution that could not be read.
    pub line: usize,
    /// The command after expansion, or why the script could not be read.
    pub command: String,
}

/// Commands that only read, compute or talk, whatever their arguments, as long as their output goes to no file.
const READERS: &[&str] = &[
    "",
    ":",
    ".",
    "[",
    "awk",
    "basename",
    "break",
    "cat",
    "cd",
    "cmp",
    "command",
    "continue",
    "cut",
    "date",
    "deb-systemd-invoke",
    "diff",
    "dirname",
    "dpkg-query",
    "dpkg-vendor",
    "echo",
    "egrep",
    "exit",
    "export",
    "expr",
    "false",
    "fgrep",
    "getcap",
    "getent",
    "grep",
    "head",
    "hash",
    "id",
    "ischroot",
    "let",
    "local",
    "ls",
    "md5sum",
    "mktemp",
    "mountpoint",
    "paste",
    "perl-version",
    "pgrep",
    "pidof",
    "printf",
    "ps",
    "pwd",
    "read",
    "readlink",
    "readonly",
    "realpath",
    "restorecon",
    "return",
    "seq",
    "set",
    "sha256sum",
    "shift",
    "sleep",
    "sort",
    "stat",
    "sync",
    "systemd-detect-virt",
    "tail",
    "test",
    "tr",
    "trap",
    "true",
    "tty",
    "type",
    "umask",
    "uname",
    "uniq",
    "unset",
    "wait",
    "wc",
    "which",
];

/// Helpers of packaging whose effect on an image is known: reproduced by a step, done at boot, or moot because nothing
/// runs and nothing is upgraded.
const HELPERS: &[(&str, &str)] = &[
    ("add-shell", "finish/small_files reads the shells"),
    ("deb-systemd-helper", "finish/units enables what the packages enable"),
    ("depmod", "kernel/depmod"),
    ("dpkg-maintscript-helper", "moves conffiles of older versions"),
    ("dpkg-trigger", "triggers run their own package's script, which is read too"),
    ("invoke-rc.d", "nothing runs"),
    ("journalctl", "the message catalogue is optional"),
    ("kill", "nothing runs"),
    ("killall", "nothing runs"),
    ("ldconfig", "the multiarch directories are built into the loader"),
    ("linux-run-hooks", "kernel hooks make initramfs and boot loader files; the image has its own"),
    ("linux-update-symlinks", "/vmlinuz links; the image's kernel is in the boot partition"),
    ("mount", "nothing is mounted"),
    ("pam-auth-update", "finish/pam"),
    ("py3clean", "removes caches of older versions"),
    ("py3compile", "byte code is a cache"),
    ("pycompile", "byte code is a cache"),
    ("runit-helper", "no runit"),
    ("service", "nothing runs"),
    ("shadowconfig", "finish/accounts writes shadowed files"),
    ("sysctl", "systemd-sysctl applies it at boot"),
    ("systemctl", "nothing runs; `enable` and `preset` are read by finish/units"),
    ("systemd-hwdb", "the hardware database is optional; udev's rules carry what boards need"),
    ("systemd-machine-id-setup", "fruit-init writes the node's id"),
    ("systemd-notify", "nothing runs"),
    ("systemd-sysusers", "finish/sysusers"),
    ("systemd-tmpfiles", "runs at each boot"),
    ("udevadm", "nothing runs"),
    ("ucfr", "ucf's register"),
    ("update-desktop-database", "no desktop"),
    ("update-icon-caches", "no desktop"),
    ("update-menus", "no desktop"),
    ("update-mime-database", "no desktop"),
    ("update-binfmts", "systemd-binfmt registers formats at boot"),
    ("update-ca-certificates", "finish/certificates"),
    ("update-initramfs", "the image's initramfs is fruit-init's"),
    ("update-rc.d", "System V init scripts are not used"),
    ("update-shells", "finish/small_files reads the shells"),
];

/// Options that make a reader or helper write.
fn writes_after_all(command: &Command) -> bool {
    let has = |option: &str| command.words.iter().any(|w| w == option);
    match command.name() {
        "sed" | "perl" => command.words.iter().skip(1).any(|w| w.starts_with("-i") || w.starts_with("-pi")),
        "find" => has("-delete") || has("-exec") || has("-execdir"),
        "getent" | "command" | "type" => false,
        _ => false,
    }
}

/// The commands of all scripts that are not accounted for, in the packages' order.
pub fn unhandled(packages: &[PackageScripts]) -> Vec<Unhandled> {
    let mut found = Vec::new();
    let shipped: BTreeSet<&str> = packages.iter().flat_map(|p| p.paths.iter().map(|path| merged(path))).collect();
    for script in read(packages) {
        let mut report = |line: usize, command: String| {
            found.push(Unhandled {
                package: script.package.name.clone(),
                version: script.package.version.clone(),
                script: script.name.to_owned(),
                line,
                command,
            });
        };
        match &script.commands {
            Ok(commands) => {
                for command in commands {
                    if !accounted(&script.package.name, script.name, command, &shipped) {
                        let mut text = command.words.join(" ");
                        for file in &command.writes {
                            text += &format!(" > {file}");
                        }
                        report(command.line, text);
                    }
                }
            }
            Err(_) if reviewed(&script.package.name, script.name, "unreadable").is_some() => {}
            Err(line) => report(*line, "the script could not be read as a shell script from this line on".to_owned()),
        }
    }
    found
}

fn accounted(package: &str, script: &str, command: &Command, shipped: &BTreeSet<&str>) -> bool {
    let name = command.name();
    let entry = reviewed(package, script, if name.is_empty() { ">" } else { name });
    if entry.is_some_and(|entry| !entry.apply) || reproduces(command, entry.is_some()) {
        return true;
    }
    // Output into a file is an effect of its own, except for devices and temporary files of unknown name.
    let quiet = command
        .writes
        .iter()
        .all(|path| path.starts_with("/dev/") || path.starts_with("/run/") || path.starts_with("$("));
    if !quiet {
        return false;
    }
    let reader = READERS.contains(&name) || name.starts_with("db_") || matches!(name, "sed" | "perl" | "find");
    if reader {
        return !writes_after_all(command);
    }
    match name {
        "dpkg" => command.words.get(1).is_none_or(|option| option != "-i" && option != "--install"),
        // Only asks, frees a name that an older version had taken, or protects the links of the merged /usr from dpkg.
        "dpkg-divert" => {
            let harmless = |w: &String| {
                matches!(w.as_str(), "--list" | "--listpackage" | "--truename" | "--remove")
                    || w.ends_with(".usr-is-merged")
            };
            // What `scripts::diversions` finds is done while the packages are unpacked.
            let done = script == "preinst" && command.certain && diversion(package, &command.words).is_some();
            done || command.words.iter().any(harmless)
        }
        "dpkg-statoverride" => command.words.iter().any(|w| matches!(w.as_str(), "--list" | "--remove")),
        // What no package ships is not there on a first installation: nothing to remove or to move away.
        "rm" | "rmdir" => command.words.iter().skip(1).all(|w| w.starts_with('-') || absent(w, shipped)),
        "mv" => command.words.iter().skip(1).find(|w| !w.starts_with('-')).is_some_and(|w| absent(w, shipped)),
        _ => HELPERS.iter().any(|(helper, _)| *helper == name),
    }
}

/// A path that cannot exist in a fresh root: no package has it, or it is the work of an older version or of a running
/// system.
fn absent(path: &str, shipped: &BTreeSet<&str>) -> bool {
    const TRACES: [&str; 8] = [".dpkg-", ".ucf-", ".old", ".bak", "/var/cache/", "/run/", "/tmp/", ".pam-old"];
    if TRACES.iter().any(|mark| path.contains(mark)) {
        return true;
    }
    let path = path.trim_matches('/');
    let plain = known(path) && !path.contains(['*', '?', '[']);
    plain && !shipped.contains(merged(path)) && !shipped.contains(format!("usr/{path}").as_str())
}

/// A path as in the merged /usr.
fn merged(path: &str) -> &str {
    let aliased = ["usr/bin/", "usr/sbin/", "usr/lib/"].iter().any(|dir| path.starts_with(dir));
    if aliased { &path["usr/".len()..] } else { path }
}
