//! Our own programs and their files as entries of a root.

use std::path::Path;

use fruit_base::AtPath;
use fruit_contract::cmdline::hex;
use fruit_contract::installed::{self, InstalledFile};
use fruit_image::tree::{Content, Inode, Source, Tree};
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Bytes of a content or file read at a time.
pub(crate) const READ: usize = 1 << 16;

/// A program of ours for the device, with the files that go with it.
pub struct Baked {
    /// Path in the root, and the file.
    pub files: Vec<(String, Inode)>,
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
    let mut hash = Sha256::new();
    let mut buf = vec![0; READ];
    let (mut at, len) = (0, content.len());
    while at < len {
        let part = &mut buf[..(len - at).min(READ as u64) as usize];
        content.read_at(part, at).map_err(|error| Error::other(error.to_string()))?;
        hash.update(&*part);
        at += part.len() as u64;
    }
    Ok(hex(&hash.finalize()))
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
    use super::*;

    #[test]
    fn a_content_of_many_reads_has_the_hash_of_its_bytes() {
        for bytes in [vec![7; 3 * READ + 5], Vec::new()] {
            assert_eq!(sha256_of(&bytes.clone().into()).unwrap(), hex(&Sha256::digest(&bytes)));
        }
    }
}
