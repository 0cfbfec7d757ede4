//! Files of key folders and repositories: read with a bound, replaced whole, removed.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use fruit_base::{AtPath, PathError, Replace, replace_with};

use super::KeyError;

/// A file of at most `limit` bytes; `None` if it is not there.
///
/// # Errors
/// Those of the file system; more bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, KeyError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result.at(path)?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).at(path)?;
    if bytes.len() as u64 > limit {
        return Err(KeyError::File { path: path.to_owned(), why: format!("more than {limit} bytes") });
    }
    Ok(Some(bytes))
}

/// Puts a file in place so that at any moment, also after a power cut, it is the old one or the new one. Its folder is
/// made if needed.
///
/// # Errors
/// Those of the file system.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    place(path, bytes, 0o644, 0o755)
}

/// As [`write_atomically`], for the owner's eyes only.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    place(path, bytes, 0o600, 0o700)
}

fn place(path: &Path, bytes: &[u8], mode: u32, folder_mode: u32) -> Result<(), KeyError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(folder_mode).create(folder).at(path)?;
    Ok(replace_with(path, bytes, Replace { mode, durable: true }).at(path)?)
}

/// Removes a file, if it is there. A key's is not overwritten: flash and journals keep copies anyway.
///
/// # Errors
/// Those of `unlink(2)`.
pub(super) fn remove(path: &Path) -> Result<(), KeyError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(PathError::new(path, error).into()),
        _ => Ok(()),
    }
}
