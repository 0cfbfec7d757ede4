//! What an image needs besides the program, its configuration and its root metadata: how the daemon is started.

use crate::installed::{Content, InstalledFile, file_of, link_to};

/// Where the program belongs in the root (mode 0755).
pub const PROGRAM_PATH: &str = "usr/bin/fruit-update";

/// For images with systemd, sorted by path.
pub const SYSTEMD: &[InstalledFile] = &[
    file_of!(Text, "update/systemd", "usr/lib/systemd/system/fruit-update-fallback.service"),
    file_of!(Text, "update/systemd", "usr/lib/systemd/system/fruit-update.service"),
    link_to!("usr/lib/systemd/system/multi-user.target.wants/fruit-update.service", "../fruit-update.service"),
];

/// For images with busybox init, sorted by path.
pub const BUSYBOX: &[InstalledFile] = &[file_of!(Script, "update/busybox", "usr/lib/fruit/start.d/50-fruit-update")];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::installed::tests::source;

    #[test]
    fn shells_take_the_scripts() {
        for file in BUSYBOX {
            let path = source("update/busybox").join(file.path);
            assert!(Command::new("/bin/sh").arg("-n").arg(path).status().unwrap().success(), "{}", file.path);
        }
    }

    #[test]
    fn systemd_takes_the_units() {
        // Units must be in a root with the programs that they start.
        let root = tempfile::tempdir().unwrap();
        for program in [PROGRAM_PATH, "bin/sh"] {
            let path = root.path().join(program);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let units = root.path().join("usr/lib/systemd/system");
        std::fs::create_dir_all(&units).unwrap();
        let mut names = Vec::new();
        for file in SYSTEMD {
            if let Content::Text(text) = file.content {
                std::fs::write(root.path().join(file.path), text).unwrap();
                names.push(Path::new(file.path).file_name().unwrap().to_owned());
            }
        }
        for target in ["sysinit", "basic", "multi-user", "shutdown", "local-fs"] {
            std::fs::write(units.join(format!("{target}.target")), "[Unit]\nDescription=x\n").unwrap();
        }
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no", "--root"])
            .arg(root.path())
            .args(names)
            .output()
            .unwrap_or_else(|error| panic!("systemd-analyze (Debian package systemd): {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("Unknown"), "{said}");
    }
}
