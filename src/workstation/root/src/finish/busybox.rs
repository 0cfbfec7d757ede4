//! A root without systemd gets its tools from busybox: a link for every applet that the program has and that no other
//! package brings. Debian's busybox has no links of its own.

use super::accounts::Accounts;
use crate::Error;
use crate::edit::TreeEditor;

const PROGRAM: &str = "usr/bin/busybox";
/// The applet names stand in the program one after another, each ended by NUL, in byte order (busybox's
/// include/applet_tables.h); these two come first.
const START: &[u8] = b"[\0[[\0";
/// More than any busybox has.
const MAX_APPLETS: usize = 1000;

/// Applets that the kernel, scripts or habit look for in sbin.
const SBIN: &[&str] = &[
    "acpid",
    "adjtimex",
    "arp",
    "blkdiscard",
    "blockdev",
    "brctl",
    "chroot",
    "crond",
    "depmod",
    "fdisk",
    "findfs",
    "freeramdisk",
    "fsfreeze",
    "fstrim",
    "getty",
    "halt",
    "httpd",
    "hwclock",
    "ifconfig",
    "ifdown",
    "ifup",
    "init",
    "insmod",
    "ip",
    "ipcalc",
    "klogd",
    "loadkmap",
    "logread",
    "losetup",
    "lsmod",
    "mdev",
    "mkdosfs",
    "mke2fs",
    "mkswap",
    "modinfo",
    "modprobe",
    "nameif",
    "nbd-client",
    "partprobe",
    "pivot_root",
    "poweroff",
    "rdate",
    "reboot",
    "rmmod",
    "route",
    "run-init",
    "setkeycodes",
    "start-stop-daemon",
    "sulogin",
    "svok",
    "swapoff",
    "swapon",
    "switch_root",
    "sysctl",
    "syslogd",
    "telnetd",
    "tunctl",
    "udhcpc",
    "udhcpc6",
    "udhcpd",
    "uevent",
    "vconfig",
    "watchdog",
];
/// Package tools, and a relic of the first initrds.
const UNWANTED: &[&str] = &["busybox", "dpkg", "dpkg-deb", "linuxrc", "rpm", "rpm2cpio"];

pub(crate) fn applets(root: &mut TreeEditor) -> Result<(), Error> {
    if !root.exists(PROGRAM) || root.exists("usr/lib/systemd/systemd") {
        return Ok(());
    }
    let program = root.tree.read(PROGRAM).map_err(|source| Error::Read { path: PROGRAM.to_owned(), source })?;
    for name in names(&program) {
        let there = root.exists(&format!("usr/bin/{name}")) || root.exists(&format!("usr/sbin/{name}"));
        if there || UNWANTED.contains(&name.as_str()) {
            continue;
        }
        match SBIN.contains(&name.as_str()) {
            true => root.symlink("../bin/busybox", &format!("usr/sbin/{name}"))?,
            false => root.symlink("busybox", &format!("usr/bin/{name}"))?,
        }
    }
    shells(root)
}

/// base-passwd gives root bash, which is not in such a root; dropbear refuses who has no shell.
fn shells(root: &mut TreeEditor) -> Result<(), Error> {
    let mut accounts = Accounts::load(root)?;
    for user in &mut accounts.users {
        if user.shell.ends_with("/bash") && !root.exists(user.shell.trim_start_matches('/')) {
            user.shell = "/bin/sh".to_owned();
        }
    }
    accounts.store(root)
}

/// The applets of a busybox program; none when it has no table of them.
fn names(program: &[u8]) -> Vec<String> {
    let starts = program.windows(START.len()).enumerate().filter(|(_, window)| *window == START);
    starts.map(|(start, _)| table(&program[start..])).max_by_key(Vec::len).unwrap_or_default()
}

fn table(bytes: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in bytes.split(|b| *b == 0).take(MAX_APPLETS) {
        let Ok(text) = std::str::from_utf8(name) else { break };
        let legal = |c: char| c.is_ascii_alphanumeric() || "[-_.+".contains(c);
        let in_order = names.last().is_none_or(|last| last.as_str() < text);
        if text.is_empty() || !text.chars().all(legal) || !in_order {
            break;
        }
        names.push(text.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use fruit_image::tree::{Kind, Tree};

    #[test]
    fn every_applet_that_nothing_else_brings_gets_a_link() {
        let mut tree = Tree::new(0);
        let mut root = TreeEditor::new(&mut tree, 0);
        root.write(PROGRAM, b"\x7fELF..\0[\0[[\0awk\0busybox\0init\0sh\0\0rest".to_vec(), 0o755).unwrap();
        root.write("usr/bin/awk", "mawk", 0o755).unwrap();
        applets(&mut root).unwrap();
        let target = |path: &str| match &tree.get(path).unwrap().kind {
            Kind::Symlink(target) => target.clone(),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!((target("usr/sbin/init"), target("usr/bin/sh")), ("../bin/busybox".into(), "busybox".into()));
        assert!(matches!(tree.get("usr/bin/awk").unwrap().kind, Kind::File(_)));
        assert!(names(b"no table here").is_empty());
    }
}
