//! SIGTERM and SIGINT as a descriptor that can be waited for along with others.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Blocks the two signals in the calling thread and those that it starts from now on; the descriptor becomes readable
/// when one arrives.
///
/// # Errors
/// Those of `signalfd(2)`.
pub fn descriptor() -> io::Result<OwnedFd> {
    // SAFETY: the set is a plain C structure, made valid by sigemptyset before use; all pointers are to it and live
    // through the calls; signalfd returns a descriptor that nobody else owns.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        let blocked = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
