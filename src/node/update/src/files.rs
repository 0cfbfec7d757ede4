//! What an image needs besides the program, its configuration and its root metadata: how the daemon is started. The
//! folders below `files/` of this crate, one for each init system, are laid out as the root is; [`SYSTEMD`] and
//! [`BUSYBOX`] are these folders as data. All belong to root.

/// Where the program belongs in the root (mode 0755).
pub const PROGRAM_PATH: &str = "usr/bin/fruit-update";

/// One file of the root.
#[derive(Clone, Copy, Debug)]
pub struct ImageFile {
    /// From the root, without the first slash.
    pub path: &'static str,
    pub content: Content,
}

#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// Mode 0644.
    Text(&'static str),
    /// Mode 0755.
    Script(&'static str),
    /// Target of a symbolic link.
    Link(&'static str),
}

macro_rules! text {
    ($folder:literal, $path:literal) => {
        ImageFile { path: $path, content: Content::Text(include_str!(concat!("../files/", $folder, "/", $path))) }
    };
}

macro_rules! script {
    ($folder:literal, $path:literal) => {
        ImageFile { path: $path, content: Content::Script(include_str!(concat!("../files/", $folder, "/", $path))) }
    };
}

macro_rules! link {
    ($path:literal, $target:literal) => {
        ImageFile { path: $path, content: Content::Link($target) }
    };
}

/// For images with systemd, sorted by path.
pub const SYSTEMD: &[ImageFile] = &[
    text!("systemd", "usr/lib/systemd/system/fruit-update-fallback.service"),
    text!("systemd", "usr/lib/systemd/system/fruit-update.service"),
    link!("usr/lib/systemd/system/multi-user.target.wants/fruit-update.service", "../fruit-update.service"),
];

/// For images with busybox init, sorted by path.
pub const BUSYBOX: &[ImageFile] = &[script!("busybox", "usr/lib/fruit/start.d/50-fruit-update")];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    fn of_crate(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("files").join(name)
    }

    fn folder(at: &Path, below: &str, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(at.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folder(at, &format!("{path}/"), found);
            } else if let Ok(target) = std::fs::read_link(entry.path()) {
                found.insert(path, format!("-> {}", target.display()));
            } else {
                let script = entry.metadata().unwrap().permissions().mode() & 0o111 != 0;
                let kind = if script { "script " } else { "text " };
                found.insert(path, kind.to_owned() + &std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }

    #[test]
    fn the_lists_are_the_folders() {
        for (name, files) in [("systemd", SYSTEMD), ("busybox", BUSYBOX)] {
            let mut found = BTreeMap::new();
            folder(&of_crate(name), "", &mut found);
            let listed: Vec<(String, String)> = files
                .iter()
                .map(|file| {
                    let content = match file.content {
                        Content::Text(text) => format!("text {text}"),
                        Content::Script(text) => format!("script {text}"),
                        Content::Link(target) => format!("-> {target}"),
                    };
                    (file.path.to_owned(), content)
                })
                .collect();
            assert_eq!(listed, found.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn shells_take_the_scripts() {
        for file in BUSYBOX {
            let path = of_crate("busybox").join(file.path);
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
