//! What an image needs besides the program: unit and user. For images with systemd.

use crate::installed::{Content, InstalledFile, file_of, link_to};

/// Name of the program and of its service.
pub const PROGRAM: &str = "fruit-peer";

/// Where the program belongs in the root (mode 0755).
pub const PROGRAM_PATH: &str = "usr/bin/fruit-peer";

/// Sorted by path.
pub const FILES: &[InstalledFile] = &[
    file_of!(Text, "peer", "usr/lib/systemd/system/fruit-peer.service"),
    link_to!("usr/lib/systemd/system/multi-user.target.wants/fruit-peer.service", "../fruit-peer.service"),
    file_of!(Text, "peer", "usr/lib/sysusers.d/fruit-peer.conf"),
];
