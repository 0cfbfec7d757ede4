//! File capabilities as text (`cap_net_raw+ep`, as setcap(8) takes) and as the kernel stores them.

/// The extended attribute that holds them (xattr(7)).
pub const XATTR: &str = "security.capability";

/// `VFS_CAP_REVISION_2` and `VFS_CAP_FLAGS_EFFECTIVE` (linux/capability.h).
const REVISION_2: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 0x0000_0001;

/// Names by number (linux/capability.h).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The attribute's value: `struct vfs_cap_data` of revision 2, little-endian. `None` when `text` is not a clause list
/// of cap_from_text(3) with only `=` and `+`.
pub fn encode(text: &str) -> Option<Vec<u8>> {
    let (mut permitted, mut inheritable, mut effective) = (0u64, 0u64, false);
    for clause in text.split_whitespace() {
        let at = clause.find(['=', '+'])?;
        let bits = clause[..at].split(',').try_fold(0u64, |bits, name| {
            let name = name.to_ascii_lowercase();
            let number = NAMES.iter().position(|n| Some(*n) == name.strip_prefix("cap_"))?;
            Some(bits | 1 << number)
        })?;
        for flag in clause[at + 1..].chars() {
            match flag {
                'e' => effective = true,
                'p' => permitted |= bits,
                'i' => inheritable |= bits,
                _ => return None,
            }
        }
    }
    if permitted | inheritable == 0 {
        return None;
    }
    let magic = REVISION_2 | if effective { EFFECTIVE } else { 0 };
    let words = [magic, permitted as u32, inheritable as u32, (permitted >> 32) as u32, (inheritable >> 32) as u32];
    Some(words.iter().flat_map(|word| word.to_le_bytes()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ping_capability_is_what_setcap_stores() {
        // getfattr -e hex -n security.capability after `setcap cap_net_raw+ep`.
        let stored = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(encode("cap_net_raw+ep").unwrap(), stored);
        assert_eq!(encode("cap_nonsense+ep"), None);
        assert_eq!(encode("net_raw"), None);
    }
}
