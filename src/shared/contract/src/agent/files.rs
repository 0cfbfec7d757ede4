//! What an image needs besides the program: units, user, device permissions, shutdown hook.

use crate::installed::{Content, InstalledFile, file_of, link_to};

/// Name of the program and of its service.
pub const PROGRAM: &str = "fruit-agent";

/// Where the program belongs in the root (mode 0755).
pub const PROGRAM_PATH: &str = "usr/bin/fruit-agent";

/// Name under which the program is called as systemd's shutdown hook, with `poweroff`, `halt`, `reboot` or `kexec` as
/// its argument (systemd-shutdown(8)).
pub const HOOK_NAME: &str = "fruit-agent-shutdown-hook";

/// Sorted by path.
pub const FILES: &[InstalledFile] = &[
    link_to!("usr/lib/systemd/system-shutdown/fruit-agent-shutdown-hook", "../../../bin/fruit-agent"),
    link_to!("usr/lib/systemd/system/basic.target.wants/fruit-agent.service", "../fruit-agent.service"),
    file_of!(Text, "agent", "usr/lib/systemd/system/fruit-agent-ending.service"),
    file_of!(Text, "agent", "usr/lib/systemd/system/fruit-agent-poweroff.path"),
    file_of!(Text, "agent", "usr/lib/systemd/system/fruit-agent-poweroff.service"),
    file_of!(Text, "agent", "usr/lib/systemd/system/fruit-agent.service"),
    link_to!(
        "usr/lib/systemd/system/multi-user.target.wants/fruit-agent-ending.service",
        "../fruit-agent-ending.service"
    ),
    link_to!("usr/lib/systemd/system/paths.target.wants/fruit-agent-poweroff.path", "../fruit-agent-poweroff.path"),
    file_of!(Text, "agent", "usr/lib/sysusers.d/fruit-agent.conf"),
    file_of!(Text, "agent", "usr/lib/udev/rules.d/70-fruit-agent.rules"),
];
