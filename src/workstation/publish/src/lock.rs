//! One command at a time changes a repository and the key folder that holds its drafts.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use fruit_progress::Progress;

use crate::error::{Error, at};

/// The file that is locked, in the repository and in the key folder.
const NAME: &str = ".lock";

/// Held while a repository is changed; the system lets go of it when the process ends, however it ends.
pub struct Lock {
    _files: [File; 2],
}

impl Lock {
    /// Waits until no other command changes the repository or the key folder. Both are made if needed.
    ///
    /// # Errors
    /// Folders that cannot be made or written, with the path.
    pub fn take(repository: &Path, keys: &Path, progress: &dyn Progress) -> Result<Lock, Error> {
        // Always in this order, so that no two commands wait for each other.
        Ok(Lock { _files: [lock(repository, progress)?, lock(keys, progress)?] })
    }
}

fn lock(folder: &Path, progress: &dyn Progress) -> Result<File, Error> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    let path = folder.join(NAME);
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = match opened {
        // Made by another user, root perhaps, in a folder that is ours.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && path.exists() => File::open(&path),
        opened => opened,
    };
    let file = file.map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.say(&format!("waiting for another fruitbuild that is changing {}", folder.display()));
            file.lock().map_err(at(&path))?;
        }
        Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
    }
    Ok(file)
}
