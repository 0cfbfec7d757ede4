//! The end of fruit-init: the root takes over, or the machine restarts.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::mount::mount_move;
use rustix::system::{RebootCommand, reboot};

/// Mounts that go along into the root.
const MOVED: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];
/// Time to read the message before the loader tries the other slot.
const TRIAL_PAUSE: Duration = Duration::from_secs(3);
/// Time to read it when a restart will most likely end here again.
const PAUSE: Duration = Duration::from_secs(30);

/// Makes `root` the root of everything and becomes `program`. Returns only if that failed.
pub fn switch_root(root: &Path, program: &str) -> io::Error {
    match try_switch(root) {
        Ok(()) => Command::new(program).exec(),
        Err(e) => e,
    }
}

fn try_switch(root: &Path) -> io::Result<()> {
    for path in MOVED {
        let target = root.join(path.trim_start_matches('/'));
        // In the overlay, when the image is too lean to have it.
        fs::create_dir_all(&target)?;
        mount_move(path, &target).map_err(|e| named(path, e.into()))?;
    }
    std::env::set_current_dir(root)?;
    // The initramfs is in RAM and nobody can reach it from now on.
    delete_contents(Path::new("/"), fs::metadata("/")?.dev());
    mount_move(".", "/").map_err(|e| named("/", e.into()))?;
    rustix::process::chroot(".")?;
    std::env::set_current_dir("/")
}

fn named(path: &str, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("can't move the mount of {path}: {e}"))
}

/// Deletes everything on `device` below `folder`. What can't be deleted costs RAM, no more.
fn delete_contents(folder: &Path, device: u64) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.dev() != device => {}
            Ok(meta) if meta.is_dir() => {
                delete_contents(&path, device);
                let _ = fs::remove_dir(&path);
            }
            _ => {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// Restarts the machine after a failure that was reported: soon in a slot on trial, so that the loader falls back.
pub fn restart_after_failure(trial: bool) -> ! {
    rustix::fs::sync();
    std::thread::sleep(if trial { TRIAL_PAUSE } else { PAUSE });
    rustix::fs::sync();
    let _ = reboot(RebootCommand::Restart);
    // No driver can restart this machine. The end of process 1 is a kernel panic, and `panic=` on the command line
    // decides what happens then.
    std::process::abort()
}

/// Keeps `message` free of NUL for the kernel.
///
/// # Errors
/// A NUL in the text.
pub fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::other)
}
