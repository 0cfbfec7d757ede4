//! How far an install is, for whoever asks while another process is at it: a small file in RAM.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fruit_contract::update::status::Progress;

/// Where the file is on a node.
pub const PATH: &str = "/run/fruit/update/progress.json";
/// Most bytes of it that are read.
const MAX: u64 = 4096;
const EVERY: Duration = Duration::from_millis(500);

/// The file, as long as somebody is at work.
pub struct Board {
    path: PathBuf,
    last: Option<Instant>,
}

impl Board {
    pub fn new(path: impl Into<PathBuf>) -> Board {
        Board { path: path.into(), last: None }
    }

    /// Tells how far it is, now and then. What cannot be told is not worth an error.
    pub fn tell(&mut self, progress: &Progress) {
        if self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        if let Some(folder) = self.path.parent() {
            let _ = fs::create_dir_all(folder);
        }
        let _ = fruit_base::replace_volatile(&self.path, &serde_json::to_vec(progress).unwrap_or_default());
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What was told last. It counts only while somebody holds the [`crate::lock::Lock`]: a process that was killed leaves
/// its file behind.
pub fn read(path: &Path) -> Option<Progress> {
    let meta = fs::metadata(path).ok().filter(|meta| meta.len() <= MAX)?;
    meta.is_file().then(|| serde_json::from_slice(&fs::read(path).ok()?).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use fruit_contract::update::status::Step;

    #[test]
    fn what_is_told_is_read_until_the_work_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/progress.json");
        assert_eq!(read(&path), None);
        let progress = Progress { step: Step::Writing, done: 1, total: 4, fetched: 10, written: 5 };
        let mut board = Board::new(&path);
        board.tell(&progress);
        assert_eq!(read(&path), Some(progress));
        drop(board);
        assert_eq!(read(&path), None);
    }
}
