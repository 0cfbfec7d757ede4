//! Files of the root that an image needs for our programs. The folders below `files/` of this crate are laid out as the
//! root is; the lists of [`crate::agent::files`], [`crate::peer::files`] and [`crate::update::files`] are these folders as
//! data. All belong to root.

/// One file of the root.
#[derive(Clone, Copy, Debug)]
pub struct InstalledFile {
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

/// The file that is at `$path` below the folder `files/$folder` of this crate, with the mode of `$kind`.
macro_rules! file_of {
    ($kind:ident, $folder:literal, $path:literal) => {
        InstalledFile {
            path: $path,
            content: Content::$kind(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/files/", $folder, "/", $path))),
        }
    };
}

/// A symbolic link at `$path`.
macro_rules! link_to {
    ($path:literal, $target:literal) => {
        InstalledFile { path: $path, content: Content::Link($target) }
    };
}

pub(crate) use {file_of, link_to};

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    use super::*;

    /// A folder below `files/`.
    pub(crate) fn source(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("files").join(name)
    }

    fn read(at: &Path, below: &str, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(at.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                read(at, &format!("{path}/"), found);
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
        use crate::{agent, peer, update};
        for (name, files) in [
            ("agent", agent::files::FILES),
            ("peer", peer::files::FILES),
            ("update/systemd", update::files::SYSTEMD),
            ("update/busybox", update::files::BUSYBOX),
        ] {
            let mut found = BTreeMap::new();
            read(&source(name), "", &mut found);
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
            assert_eq!(listed, found.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }
}
