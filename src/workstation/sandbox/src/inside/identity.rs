//! Who the helper and what it runs are, and what they may do.

use std::{fs, io};

use rustix::process::{Pid, Signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, UnshareFlags, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    unshare_unsafe,
};

use crate::protocol::{During, Failure, Outcome, Step};

/// What maintainer scripts do: give files away, become a package's user, set capabilities of files, end a service, bind a port.
/// All of it holds for the ids of the sandbox only.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// Closes all files but input, output and errors: what the program was started with, a log of a shell's perhaps, is nothing for a root.
pub fn keep_three_files() -> Outcome<()> {
    // SAFETY: nothing of this process uses any of them.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error()).during(Step::Identity, "closing the program's files")
    }
}

/// Has every signal do what it does by itself, whatever whoever started the program ignores.
pub fn heed_signals() {
    for number in 1..32 {
        // SAFETY: no handler is given. Two of them cannot be changed, and need not be.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Has the kernel kill this process when `parent` dies. Becoming another user undoes it.
pub fn die_with(parent: i32) -> Outcome<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).during(Step::Identity, "tying the helper to its program")?;
    // It may have died before.
    if rustix::process::getppid().map(Pid::as_raw_pid) == Some(parent) {
        Ok(())
    } else {
        Err(Failure::new(Step::Identity, "tying the helper to its program", "the program has ended"))
    }
}

/// Where memory runs out, the kernel ends what runs in here rather than something of the workstation.
pub fn be_first_to_go() {
    // Without it the choice is the kernel's, as ever.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
}

/// Becomes uid and gid 0 of the user namespace, which is somebody else outside.
pub fn be_root_inside() -> Outcome<()> {
    let become_root = || -> rustix::io::Result<()> {
        set_thread_groups(&[])?;
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
    };
    become_root().during(Step::Identity, "becoming root of the user namespace")
}

/// Leaves namespaces for new ones.
pub fn part(from: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: this process has one thread, and nothing that it has open depends on a namespace.
    unsafe { unshare_unsafe(from) }
}

/// Gives up every capability but those that scripts need, for good.
pub fn keep_few_capabilities() -> rustix::io::Result<()> {
    for capability in CapabilitySet::all().iter().filter(|one| !KEPT.contains(*one)) {
        match remove_capability_from_bounding_set(capability) {
            // A kernel that does not know it yet.
            Err(rustix::io::Errno::INVAL) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    // What a newer kernel knows and this program does not.
    for number in 41..64_u32 {
        // SAFETY: it takes a number and changes nothing but the bounding set.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
    }
    clear_ambient_capability_set()?;
    set_capabilities(None, CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() })
}
