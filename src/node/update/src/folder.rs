//! Releases in a folder: a repository as `fruitbuild publish` makes it, or bundles that somebody copied there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fruit_release::bundle::ENDING;
use fruit_release::{Name, Source, SourceError};

/// Most bundles of a folder that are looked at.
const BUNDLES_MAX: usize = 16;

/// A repository's pieces, as files below a folder.
pub struct Repository {
    folder: PathBuf,
}

impl Repository {
    pub fn new(folder: impl Into<PathBuf>) -> Repository {
        Repository { folder: folder.into() }
    }
}

impl Source for Repository {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let limit = limit.min(name.limit());
        // A name has no `..` and no empty part.
        let path = self.folder.join(name.to_string());
        let place = || path.display().to_string();
        let file = match File::open(&path) {
            Ok(file) => file,
            // A folder that is gone, as when a stick is pulled out, is not one without that piece.
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.folder.is_dir() => return Ok(None),
            Err(e) => return Err(SourceError::Unreachable { place: place(), why: e.to_string() }),
        };
        let mut bytes = Vec::new();
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|e| SourceError::Unreachable { place: place(), why: e.to_string() })?;
        if bytes.len() as u64 > limit {
            return Err(SourceError::Broken { place: place(), why: format!("more than {limit} bytes") });
        }
        Ok(Some(bytes))
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }
}

/// What a folder holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    Repository,
    /// Newest first.
    Bundles(Vec<PathBuf>),
    Nothing,
}

/// Looks into a folder.
///
/// # Errors
/// It can't be read.
pub fn look(folder: &Path) -> io::Result<Content> {
    if folder.join(Name::Timestamp.to_string()).is_file() {
        return Ok(Content::Repository);
    }
    let mut bundles = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.extension().is_some_and(|ending| ending == ENDING) && !hidden && path.is_file() {
            let changed = fs::metadata(&path).and_then(|meta| meta.modified())?;
            bundles.push((changed, path));
        }
    }
    bundles.sort_by(|a, b| b.cmp(a));
    bundles.truncate(BUNDLES_MAX);
    let bundles: Vec<PathBuf> = bundles.into_iter().map(|(_, path)| path).collect();
    Ok(if bundles.is_empty() { Content::Nothing } else { Content::Bundles(bundles) })
}

#[cfg(test)]
mod tests {
    use fruit_release::Digest;

    use super::*;

    fn put(folder: &Path, path: &str, bytes: &[u8]) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn pieces_are_files_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let chunk = Name::Chunk(Digest::of(b"x"));
        put(folder.path(), &chunk.to_string(), b"xyz");
        let mut source = Repository::new(folder.path());
        assert_eq!(source.get(&chunk, 3).unwrap().unwrap(), b"xyz");
        assert!(matches!(source.get(&chunk, 2), Err(SourceError::Broken { .. })));
        assert_eq!(source.get(&Name::Timestamp, 10).unwrap(), None);
    }

    #[test]
    fn a_stick_that_was_pulled_out_is_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = Repository::new(folder.path());
        drop(folder);
        assert!(matches!(source.get(&Name::Timestamp, 10), Err(SourceError::Unreachable { .. })));
    }

    #[test]
    fn a_folder_holds_a_repository_or_bundles() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look(folder.path()).unwrap(), Content::Nothing);
        put(folder.path(), "old.fruit", b"");
        std::thread::sleep(std::time::Duration::from_millis(20));
        put(folder.path(), "new.fruit", b"");
        put(folder.path(), "._new.fruit", b"what another system leaves on a stick");
        put(folder.path(), "other.txt", b"");
        let names = [folder.path().join("new.fruit"), folder.path().join("old.fruit")];
        assert_eq!(look(folder.path()).unwrap(), Content::Bundles(names.to_vec()));
        put(folder.path(), "metadata/timestamp.json", b"");
        assert_eq!(look(folder.path()).unwrap(), Content::Repository);
        assert!(look(&folder.path().join("none")).is_err());
    }
}
