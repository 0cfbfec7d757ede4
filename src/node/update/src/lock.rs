//! One at a time: whoever changes something holds this lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// Where the lock is on a node: in RAM, so that it is gone after a power cut.
pub const PATH: &str = "/run/fruit/update.lock";

/// Between two attempts to take it.
const LOOK: Duration = Duration::from_millis(100);

/// Why the lock can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another fruit-update is at work")]
    Held,
    #[error("{path}: {source}")]
    Open { path: String, source: io::Error },
}

/// The lock, until it is dropped or the process ends in whatever way.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// # Errors
    /// [`LockError`].
    pub fn take(path: &Path) -> Result<Lock, LockError> {
        let wrong = |source| LockError::Open { path: path.display().to_string(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(wrong)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held),
            Err(e) => Err(wrong(e.into())),
        }
    }

    /// As [`Lock::take`], of somebody who waits for whoever holds it as long as `wait` (of the time since then) says so.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take_after(path: &Path, wait: &mut dyn FnMut(Duration) -> bool) -> Result<Lock, LockError> {
        let start = Instant::now();
        loop {
            match Lock::take(path) {
                Err(LockError::Held) if wait(start.elapsed()) => std::thread::sleep(LOOK),
                taken => return taken,
            }
        }
    }

    /// Whether somebody holds it.
    pub fn is_held(path: &Path) -> bool {
        path.exists() && matches!(Lock::take(path), Err(LockError::Held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(!Lock::is_held(&path));
        let lock = Lock::take(&path).unwrap();
        assert!(Lock::is_held(&path));
        assert!(matches!(Lock::take(&path), Err(LockError::Held)));
        drop(lock);
        assert!(!Lock::is_held(&path));
    }

    #[test]
    fn who_waits_gets_it_when_it_is_let_go_and_gives_up_when_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mut lock = Some(Lock::take(&path).unwrap());
        assert!(matches!(Lock::take_after(&path, &mut |_| false), Err(LockError::Held)));
        let mut asked = 0;
        let taken = Lock::take_after(&path, &mut |_| {
            asked += 1;
            if asked == 2 {
                lock = None;
            }
            asked < 10
        });
        assert!(taken.is_ok() && asked == 2, "asked {asked} times");
    }
}
