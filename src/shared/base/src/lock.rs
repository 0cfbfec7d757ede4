//! Taking turns with other processes.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Opens the file at `path`, made if it is not there, and locks it for as long as it is open. `wait` is called before this waits
/// for another process.
///
/// # Errors
/// Those of the file system.
pub fn lock(path: &Path, wait: impl FnOnce()) -> io::Result<File> {
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = match opened {
        // Made by another user, root perhaps, in a folder that is ours.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && path.exists() => File::open(path)?,
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            wait();
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_second_is_told_and_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let first = lock(&path, || panic!("nobody has it")).unwrap();
        let (told, heard) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| lock(&path, move || told.send(()).unwrap()).is_ok());
            heard.recv().unwrap();
            assert!(!second.is_finished());
            drop(first);
            assert!(second.join().unwrap());
        });
    }
}
