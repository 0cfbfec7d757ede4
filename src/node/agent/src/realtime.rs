//! What the kernel is asked for so that a thread runs on time: a real-time scheduler and memory that stays.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};

/// Puts the calling thread under `SCHED_FIFO`. Needs `RLIMIT_RTPRIO` (the unit's `LimitRTPRIO=`), no capability.
///
/// # Errors
/// Not permitted.
pub fn schedule_fifo(priority: u8) -> io::Result<()> {
    // SAFETY: a plain C structure of integers (musl has reserved ones), for which all zeroes are valid.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = i32::from(priority);
    // The system call itself, since musl's sched_setscheduler() refuses always. Thread 0 is the caller.
    // SAFETY: the kernel reads one sched_param, which lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps every page of this process in memory from its first use on. Pages that are never used are not brought in:
/// the whole stacks and the whole program would cost more memory than the agent may have.
///
/// # Errors
/// Not permitted: `RLIMIT_MEMLOCK` (the unit's `LimitMEMLOCK=`) is below the size of the process.
pub fn lock_memory() -> io::Result<()> {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).map_err(io::Error::from)
}
