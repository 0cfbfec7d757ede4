//! A file that appears under its final name only when it is whole.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, PathError};

/// An output file under its temporary name (`.NAME.part` beside the final one). Dropped without [`Draft::commit`], it is
/// removed; killed, it is reused by the next draft of the same file, so that no litter piles up.
#[derive(Debug)]
pub struct Draft {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    committed: bool,
}

impl Draft {
    /// # Errors
    /// Those of `open(2)`; `WouldBlock` when another process is writing the same file.
    pub fn create(target: &Path) -> io::Result<Draft> {
        let name = target.file_name().ok_or_else(|| PathError::new(target, io::ErrorKind::InvalidFilename))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".part");
        let temporary = target.with_file_name(hidden);
        loop {
            let options = File::options().read(true).write(true).create(true).truncate(false).open(&temporary);
            let file = options.at(&temporary)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let why = "is being written by another process; wait for it or choose another output folder";
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, format!("{}: {why}", target.display())));
                }
                Err(TryLockError::Error(e)) => return Err(PathError::new(&temporary, e).into()),
            }
            // Between open and lock the previous writer may have renamed this very file to its final name.
            let still_ours = fs::metadata(&temporary)
                .is_ok_and(|now| file.metadata().is_ok_and(|mine| (now.dev(), now.ino()) == (mine.dev(), mine.ino())));
            if still_ours {
                file.set_len(0).at(&temporary)?;
                return Ok(Draft { target: target.to_owned(), temporary, file, committed: false });
            }
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the bytes are until [`Draft::commit`].
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the bytes durable, so that [`Draft::commit`] need not wait for the disk.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    pub fn sync(&self) -> io::Result<()> {
        Ok(self.file.sync_all().at(&self.temporary)?)
    }

    /// Makes the bytes durable, then gives the file its final name, replacing what was there.
    ///
    /// # Errors
    /// Those of `fsync(2)` and `rename(2)`; the file under the final name is then still the old one.
    pub fn commit(mut self) -> io::Result<()> {
        self.sync()?;
        fs::rename(&self.temporary, &self.target).at(&self.target)?;
        self.committed = true;
        let folder = self.target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(File::open(folder).and_then(|d| d.sync_all()).at(folder)?)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing better can be done about a failure here: the next draft of this file reuses the leftover.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Removes a file, if it is there.
///
/// # Errors
/// Those of `unlink(2)`, except that there is no such file.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_final_name_appears_only_on_commit() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.img");
        fs::write(&target, "old").unwrap();
        let draft = Draft::create(&target).unwrap();
        draft.file().write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        draft.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_dropped_draft_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(Draft::create(&dir.path().join("a.img")).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_writers_of_one_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.img");
        let first = Draft::create(&target).unwrap();
        assert_eq!(Draft::create(&target).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        first.commit().unwrap();
        Draft::create(&target).unwrap();
    }

    #[test]
    fn the_leftover_of_a_killed_writer_is_reused_from_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".a.img.part"), "half").unwrap();
        Draft::create(&dir.path().join("a.img")).unwrap().commit().unwrap();
        assert_eq!(fs::read(dir.path().join("a.img")).unwrap(), b"");
    }
}
