//! Restarting the node in good order, into a slot that the firmware is to try where that must be said.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tryboot::REBOOT_ARGUMENT;

/// There where systemd is process 1 (sd_booted(3)).
const SYSTEMD: &str = "run/systemd/system";
/// What busybox nodes do before they go down.
const LAST_STEPS: &str = "usr/lib/fruit/shutdown";

/// How a restart was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// systemd stops everything and restarts; with an argument for the kernel.
    Systemd(Option<&'static str>),
    /// busybox's init does.
    Init,
    /// The kernel itself, once the last steps are done: busybox has no way to pass an argument on.
    Kernel(&'static str),
}

/// Which way this node goes. `tries`: the firmware is to be told to try.
pub fn way(root: &Path, tries: bool) -> Way {
    match (root.join(SYSTEMD).is_dir(), tries) {
        (true, tries) => Way::Systemd(tries.then_some(REBOOT_ARGUMENT)),
        (false, false) => Way::Init,
        (false, true) => Way::Kernel(REBOOT_ARGUMENT),
    }
}

/// Asks for a restart. Returns when it was asked for; the node goes down soon after.
///
/// # Errors
/// The program that does it can't be run or fails, or the kernel refuses.
pub fn restart(root: &Path, way: &Way, kernel: &dyn Fn(&str) -> io::Result<()>) -> io::Result<()> {
    match way {
        Way::Systemd(argument) => {
            let mut command = Command::new(find(root, &["usr/bin/systemctl", "bin/systemctl"]));
            command.args(["--no-block", "--message=fruit-update", "reboot"]);
            command.args(argument.map(|argument| format!("--reboot-argument={argument}")));
            run(&mut command)
        }
        Way::Init => run(&mut Command::new(find(root, &["sbin/reboot", "usr/sbin/reboot"]))),
        Way::Kernel(argument) => {
            // What it can't do is no reason to stay.
            let _ = run(&mut Command::new(root.join(LAST_STEPS)));
            kernel(argument)
        }
    }
}

fn find(root: &Path, paths: &[&str]) -> PathBuf {
    let paths = paths.iter().map(|path| root.join(path));
    let known: Vec<PathBuf> = paths.collect();
    known.iter().find(|path| path.exists()).or(known.first()).cloned().unwrap_or_default()
}

fn run(command: &mut Command) -> io::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{name}: {e}"));
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output().map_err(named)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{name}: {}: {said}", output.status)))
}

/// Restarts the machine now, with an argument for its driver (reboot(2), `LINUX_REBOOT_CMD_RESTART2`).
///
/// # Errors
/// Those of `reboot(2)`; it does not return otherwise.
pub fn kernel(argument: &str) -> io::Result<()> {
    let argument = CString::new(argument)?;
    rustix::fs::sync();
    // SAFETY: the numbers are those of linux/reboot.h and the pointer is to a string that lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            argument.as_ptr(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(root: &Path, path: &str, script: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn systemd_is_told_with_the_argument_of_a_try() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(SYSTEMD)).unwrap();
        let said = root.path().join("said");
        program(root.path(), "usr/bin/systemctl", &format!("echo \"$@\" >> {}", said.display()));
        for tries in [false, true] {
            let way = way(root.path(), tries);
            restart(root.path(), &way, &|_| panic!("systemd restarts the node")).unwrap();
        }
        let said = fs::read_to_string(said).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert!(!lines[0].contains("argument") && lines[0].ends_with("reboot"));
        assert!(lines[1].ends_with("reboot --reboot-argument=0 tryboot"));
    }

    #[test]
    fn busybox_restarts_by_itself_unless_there_is_an_argument() {
        let root = tempfile::tempdir().unwrap();
        let said = root.path().join("said");
        program(root.path(), "sbin/reboot", &format!("echo reboot >> {}", said.display()));
        program(root.path(), LAST_STEPS, &format!("echo last steps >> {}", said.display()));
        let kernel = RefCell::new(Vec::new());
        let record = |argument: &str| {
            kernel.borrow_mut().push(argument.to_owned());
            Ok(())
        };
        restart(root.path(), &way(root.path(), false), &record).unwrap();
        assert!(kernel.borrow().is_empty());
        restart(root.path(), &way(root.path(), true), &record).unwrap();
        assert_eq!(*kernel.borrow(), ["0 tryboot"]);
        assert_eq!(fs::read_to_string(said).unwrap(), "reboot\nlast steps\n");
    }

    #[test]
    fn a_restart_that_is_refused_is_an_error_with_its_reason() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(SYSTEMD)).unwrap();
        let error = restart(root.path(), &Way::Systemd(None), &|_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("systemctl"));
        program(root.path(), "usr/bin/systemctl", "echo busy >&2; exit 1");
        let error = restart(root.path(), &Way::Systemd(None), &|_| Ok(())).unwrap_err();
        assert!(error.to_string().ends_with("busy"), "{error}");
    }
}
