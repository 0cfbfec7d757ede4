//! Our own programs and their files as entries of a root.

use std::path::Path;

use fruit_base::AtPath;
use fruit_contract::installed::{self, InstalledFile};
use fruit_image::tree::{Content, Inode, Source, Tree};

use crate::error::Error;

/// A program of ours for the device, with the files that go with it.
pub struct DeviceFiles {
    /// Path in the root, and the file.
    pub files: Vec<(String, Inode)>,
}

impl DeviceFiles {
    /// A program (`from` on the workstation, `to` on the node), its settings, and the files that go with it.
    ///
    /// # Errors
    /// As [`file_content`].
    pub fn of(
        (from, to): (&Path, &str),
        (settings, text): (&str, &str),
        with: &[InstalledFile],
        epoch: i64,
    ) -> Result<DeviceFiles, Error> {
        let mut files = vec![
            (below_root(to), Inode::file(file_content(from)?, 0o755, epoch)),
            (below_root(settings), Inode::file(text, 0o644, epoch)),
        ];
        files.extend(with.iter().map(|file| installed(file, epoch)));
        Ok(DeviceFiles { files })
    }

    /// The text of a file; of a link, nothing.
    #[cfg(test)]
    pub fn text(&self, path: &str) -> String {
        let (_, inode) = self.files.iter().find(|(at, _)| at == path).unwrap_or_else(|| panic!("{path}"));
        match &inode.kind {
            fruit_image::tree::Kind::File(content) => String::from_utf8(content.to_vec().unwrap()).unwrap(),
            _ => String::new(),
        }
    }
}

/// A file of the workstation as content, by reference.
///
/// # Errors
/// The file can't be opened or its length can't be read, with its path.
pub fn file_content(path: &Path) -> Result<Content, Error> {
    let source = Source::open(path).at(path)?;
    let len = source.file().metadata().at(path)?.len();
    Ok(Content::Range { source, offset: 0, len })
}

/// A path as the tree has it: from the root, without the first slash.
pub fn below_root(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

/// A file that an image needs for one of our programs, as the tree has it.
pub fn installed(file: &InstalledFile, epoch: i64) -> (String, Inode) {
    let inode = match file.content {
        installed::Content::Text(text) => Inode::file(text, 0o644, epoch),
        installed::Content::Script(text) => Inode::file(text, 0o755, epoch),
        installed::Content::Link(target) => Inode::symlink(target, epoch),
    };
    (below_root(file.path), inode)
}

/// SHA-256 of a content, hex.
///
/// # Errors
/// A read error.
pub fn sha256_of(content: &Content) -> Result<String, Error> {
    content.sha256().map(|sum| sum.to_string()).map_err(|error| Error::other(error.to_string()))
}

/// Puts an entry into a root, links to folders followed.
///
/// # Errors
/// A file where a folder belongs.
pub(crate) fn put(tree: &mut Tree, path: &str, inode: Inode, epoch: i64) -> Result<(), Error> {
    let fail = |error: fruit_image::tree::TreeError| Error::other(error.to_string());
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = tree.resolve(folder).unwrap_or_else(|_| folder.to_owned());
    tree.make_dirs(&folder, 0o755, epoch).map_err(fail)?;
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    tree.insert(&path, inode).map_err(fail)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use fruit_contract::cmdline::hex;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn a_content_of_many_reads_has_the_hash_of_its_bytes() {
        for bytes in [vec![7; 200_005], Vec::new()] {
            assert_eq!(sha256_of(&bytes.clone().into()).unwrap(), hex(&Sha256::digest(&bytes)));
        }
    }
}
