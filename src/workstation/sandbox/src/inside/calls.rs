//! System calls that what runs in a root may not make: those that make or enter namespaces, change mounts, load code into the kernel,
//! look into other processes, or are seldom needed and often broken.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use crate::protocol::{Failure, Outcome, Step};

/// Refused with "operation not permitted", as for a process without rights.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kcmp,
    KEXEC_FILE_LOAD,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Refused as unknown to the kernel, for which programs have another way: `clone3`, whose flags no filter can see, and the rings
/// that databases would use.
const UNKNOWN: &[libc::c_long] =
    &[libc::SYS_clone3, libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_io_uring_setup];

/// libc names it for few targets. The second number is that of all newer architectures.
const KEXEC_FILE_LOAD: libc::c_long = if cfg!(target_arch = "x86_64") { 320 } else { 294 };

/// `open_tree_attr`, of Linux 6.15: the number is the same everywhere; libc has no name for it yet.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// Flags of `clone` and `unshare` that make a namespace.
const NAMESPACES: [libc::c_int; 8] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
    // CLONE_NEWTIME
    0x80,
];

/// Kinds of sockets that may be made. Others reach what no network namespace holds (vsock: the hypervisor) or what is seldom used.
const SOCKETS: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// `TIOCSTI`, which types into a terminal, and `TIOCLINUX`, which pastes into a console.
const TYPING: [u64; 2] = [0x5412, 0x541c];

/// The filters, ready to be laid on a process.
pub struct Filters {
    programs: Vec<BpfProgram>,
}

impl Filters {
    pub fn new() -> Outcome<Filters> {
        let made = || -> Result<Vec<BpfProgram>, BackendError> {
            let arch: TargetArch = std::env::consts::ARCH.try_into()?;
            let filter =
                |rules: BTreeMap<i64, Vec<SeccompRule>>, errno: libc::c_int| -> Result<BpfProgram, BackendError> {
                    let refuse = SeccompAction::Errno(errno.unsigned_abs());
                    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
                };
            let unknown = UNKNOWN.iter().map(|number| (*number, Vec::new())).collect();
            Ok(vec![foreign(), filter(refused()?, libc::EPERM)?, filter(unknown, libc::ENOSYS)?])
        };
        let programs =
            made().map_err(|error| Failure::new(Step::Namespaces, "making a filter of system calls", error))?;
        Ok(Filters { programs })
    }

    /// Lays them on this process, for good.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn lay(&self) -> Result<(), seccompiler::Error> {
        self.programs.iter().try_for_each(|program| seccompiler::apply_filter(program))
    }
}

fn refused() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(&[OPEN_TREE_ATTR]).map(|number| (*number, Vec::new())).collect();
    let made = |number| {
        let flag = |flag: &libc::c_int| {
            let flag = u64::from(flag.unsigned_abs());
            // The lowest byte of `clone` is a signal.
            let bits = if number == libc::SYS_clone { flag & !0xff } else { flag };
            let set = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bits), bits)?;
            (bits != 0).then(|| SeccompRule::new(vec![set])).transpose()
        };
        NAMESPACES.iter().filter_map(|bit| flag(bit).transpose()).collect::<Result<Vec<_>, _>>()
    };
    rules.insert(libc::SYS_clone, made(libc::SYS_clone)?);
    rules.insert(libc::SYS_unshare, made(libc::SYS_unshare)?);
    let other = SOCKETS.map(|family| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(family.unsigned_abs()))
    });
    let other = SeccompRule::new(other.into_iter().collect::<Result<_, _>>()?)?;
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, vec![other.clone()]);
    }
    let typing = TYPING.map(|request| {
        let asked = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request)?;
        SeccompRule::new(vec![asked])
    });
    rules.insert(libc::SYS_ioctl, typing.into_iter().collect::<Result<_, _>>()?);
    Ok(rules)
}

/// On x86-64: refuses the system calls of x32, whose numbers no other filter knows, as unknown. Those of 32 bits end the process: the
/// filters check the architecture.
fn foreign() -> BpfProgram {
    /// `BPF_LD | BPF_W | BPF_ABS`: loads a word of what describes the call, first of all its number.
    const LOAD: u16 = 0x20;
    /// `BPF_JMP | BPF_JGE | BPF_K`
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    /// `BPF_RET | BPF_K`
    const RETURN: u16 = 0x06;
    /// `__X32_SYSCALL_BIT`
    const X32: u32 = 0x4000_0000;
    let one = |code, k, jf| sock_filter { code, jt: 0, jf, k };
    vec![
        one(LOAD, 0, 0),
        one(JUMP_IF_AT_LEAST, X32, 1),
        one(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(), 0),
        one(RETURN, libc::SECCOMP_RET_ALLOW, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_fit_into_the_kernel() {
        let filters = Filters::new().unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(filters.programs.len(), 3);
        assert!(filters.programs.iter().all(|program| !program.is_empty() && program.len() < 1000));
    }
}
