//! One command at a time changes a repository and the key folder that holds its drafts.

use std::fs::{self, File};
use std::path::Path;

use fruit_base::AtPath;
use fruit_progress::Progress;

use crate::error::Error;

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
    fs::create_dir_all(folder).at(folder)?;
    let path = folder.join(NAME);
    let wait = || progress.say(&format!("waiting for another fruitbuild that is changing {}", folder.display()));
    Ok(fruit_base::lock(&path, wait).at(&path)?)
}
