//! Files that are replaced whole: under their name is the old content or the new one, at any moment.
//!
//! The new content is written to `.NAME.new` beside the file, which then takes its name. Two processes that replace the same
//! file take turns, and what a killed one left is removed by the next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How a file is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Replace {
    /// Permissions, from which the umask still takes.
    pub mode: u32,
    /// Whether the new content is on the medium when the call returns, and a power cut leaves one content or the other. If
    /// not, that holds for crashes of the process only: for what is made anew anyway, or is on a file system in memory.
    pub durable: bool,
}

impl Default for Replace {
    /// Durable, for all to read.
    fn default() -> Replace {
        Replace { mode: 0o666, durable: true }
    }
}

/// Replaces the file at `path`, or makes it, durably.
///
/// # Errors
/// Those of the file system; the old content is then still there, unless the folder could not be synced.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, Replace::default())
}

/// As [`replace`], lost by a power cut: see [`Replace::durable`].
///
/// # Errors
/// As [`replace`].
pub fn replace_volatile(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, Replace { durable: false, ..Replace::default() })
}

/// Replaces the file at `path`, or makes it.
///
/// # Errors
/// As [`replace`].
pub fn replace_with(path: &Path, bytes: &[u8], how: Replace) -> io::Result<()> {
    let beside = beside(path)?;
    let mut file = create(&beside, how.mode)?;
    let written = (|| {
        file.write_all(bytes)?;
        if how.durable {
            file.sync_all()?;
        }
        fs::rename(&beside, path)
    })();
    if let Err(error) = written {
        // A part of a file on a full disk is in the way.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    if how.durable { File::open(folder(path))?.sync_all() } else { Ok(()) }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(ErrorKind::InvalidFilename)?);
    name.push(".new");
    Ok(path.with_file_name(name))
}

/// A new, empty, locked file at `path`. The lock goes with the file: while it lasts, nobody else takes it for a leftover.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    loop {
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
            Ok(file) => {
                lock(&file)?;
                // Another process may have taken it for a leftover before it was locked.
                if is_named(&file, path) {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => remove_leftover(path)?,
            Err(error) => return Err(error),
        }
    }
}

/// Waits until nobody writes the file at `path`, and removes it if it is still there.
fn remove_leftover(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => OpenOptions::new().write(true).open(path).and_then(|file| {
            lock(&file)?;
            if is_named(&file, path) { fs::remove_file(path) } else { Ok(()) }
        }),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file system without locks has no turns to take.
fn lock(file: &File) -> io::Result<()> {
    match file.lock() {
        Err(error) if error.kind() != ErrorKind::Unsupported => Err(error),
        _ => Ok(()),
    }
}

/// Whether `path` still leads to the open `file`.
fn is_named(file: &File, path: &Path) -> bool {
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(named), Ok(opened)) => id(named) == id(opened),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(folder.path().join(".a.json.new"), "a killed process left this, which is longer").unwrap();
        replace_with(&path, b"secret", Replace { mode: 0o600, durable: true }).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        replace(&path, b"two").unwrap();
        replace_volatile(&path, b"3").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"3");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_that_stands_in_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join(".a.new")).unwrap();
        replace(&folder.path().join("a"), b"new").unwrap();
        assert_eq!(fs::read(other).unwrap(), b"kept");
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"new");
    }

    #[test]
    fn writers_of_one_file_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, &[0; 1000]).unwrap();
        std::thread::scope(|scope| {
            for writer in 1..=4u8 {
                let path = &path;
                scope.spawn(move || (0..50).for_each(|_| replace_volatile(path, &[writer; 1000]).unwrap()));
            }
            for _ in 0..200 {
                let found = fs::read(&path).unwrap();
                assert!(found.len() == 1000 && found.iter().all(|byte| *byte == found[0]));
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(Path::new("/"), b"x").is_err());
    }
}
