//! What an image needs besides the program: units, user, device permissions, shutdown hook. The folder `files/` of this
//! crate is laid out as the root is; [`FILES`] is that folder as data. All belong to root; texts have mode 0644.

/// Where the program belongs in the root (mode 0755).
pub const PROGRAM_PATH: &str = "usr/bin/fruit-agent";

/// Name under which the program is called as systemd's shutdown hook, with `poweroff`, `halt`, `reboot` or `kexec` as
/// its argument (systemd-shutdown(8)).
pub const HOOK_NAME: &str = "fruit-agent-shutdown-hook";

/// One file of the root.
#[derive(Clone, Copy, Debug)]
pub struct ImageFile {
    /// From the root, without the first slash.
    pub path: &'static str,
    pub content: Content,
}

#[derive(Clone, Copy, Debug)]
pub enum Content {
    Text(&'static str),
    /// Target of a symbolic link.
    Link(&'static str),
}

macro_rules! text {
    ($path:literal) => {
        ImageFile { path: $path, content: Content::Text(include_str!(concat!("../files/", $path))) }
    };
}

macro_rules! link {
    ($path:literal, $target:literal) => {
        ImageFile { path: $path, content: Content::Link($target) }
    };
}

/// Sorted by path.
pub const FILES: &[ImageFile] = &[
    link!("usr/lib/systemd/system-shutdown/fruit-agent-shutdown-hook", "../../../bin/fruit-agent"),
    link!("usr/lib/systemd/system/basic.target.wants/fruit-agent.service", "../fruit-agent.service"),
    text!("usr/lib/systemd/system/fruit-agent-ending.service"),
    text!("usr/lib/systemd/system/fruit-agent-poweroff.path"),
    text!("usr/lib/systemd/system/fruit-agent-poweroff.service"),
    text!("usr/lib/systemd/system/fruit-agent.service"),
    link!("usr/lib/systemd/system/multi-user.target.wants/fruit-agent-ending.service", "../fruit-agent-ending.service"),
    link!("usr/lib/systemd/system/paths.target.wants/fruit-agent-poweroff.path", "../fruit-agent-poweroff.path"),
    text!("usr/lib/sysusers.d/fruit-agent.conf"),
    text!("usr/lib/udev/rules.d/70-fruit-agent.rules"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn folder(at: &Path, below: &str, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(at.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                folder(at, &format!("{path}/"), found);
            } else if let Ok(target) = std::fs::read_link(entry.path()) {
                found.insert(path, format!("-> {}", target.display()));
            } else {
                found.insert(path, std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }

    #[test]
    fn the_list_is_the_folder() {
        let mut found = BTreeMap::new();
        folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("files"), "", &mut found);
        let listed: Vec<(String, String)> = FILES
            .iter()
            .map(|file| {
                let content = match file.content {
                    Content::Text(text) => text.to_owned(),
                    Content::Link(target) => format!("-> {target}"),
                };
                (file.path.to_owned(), content)
            })
            .collect();
        assert_eq!(listed, found.into_iter().collect::<Vec<_>>());
    }
}
