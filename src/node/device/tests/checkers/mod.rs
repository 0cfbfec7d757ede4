//! What systemd's own checkers want of a program's installed files. Tests of the programs take it by its path.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use fruit_contract::installed::{Content, InstalledFile};

/// A root with those files, and with a program at that path.
pub fn root(files: &[InstalledFile], program: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match file.content {
            Content::Text(text) | Content::Script(text) => fs::write(path, text).unwrap(),
            Content::Link(target) => symlink(target, path).unwrap(),
        }
    }
    let program = root.path().join(program);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&program, "").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    root
}

pub fn analyze(arguments: &[&str]) -> Output {
    let run = Command::new("systemd-analyze").args(arguments).env("SYSTEMD_LOG_COLOR", "0").output();
    run.expect("systemd-analyze does not start; install the Debian package systemd")
}
