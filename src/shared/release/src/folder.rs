//! A repository of releases on disk: plain files by their names, which any HTTP server can serve, a stick can carry, and a
//! node or a workstation reads again.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, PathError, remedy, replace};

use crate::name::Name;
use crate::source::{Held, Prune, Sink, Source, SourceError};

/// The folder, which need not be there yet, or any more.
#[derive(Clone, Debug)]
pub struct Folder {
    folder: PathBuf,
}

impl Folder {
    /// Nothing is made until something is put in.
    pub fn new(folder: impl Into<PathBuf>) -> Folder {
        Folder { folder: folder.into() }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A name has no `..` and no empty part, so that it never leads out of the folder.
    pub fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(name.to_string())
    }

    pub fn has(&self, name: &Name) -> bool {
        self.path(name).is_file()
    }

    /// As [`Sink::put`], from several threads at once.
    ///
    /// # Errors
    /// File system errors with the path.
    pub fn put(&self, name: &Name, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).at(folder)?;
        Ok(replace(&path, bytes).at(&path)?)
    }

    fn entries(&self, below: &str) -> io::Result<Vec<fs::DirEntry>> {
        let path = self.folder.join(below);
        match fs::read_dir(&path) {
            Ok(entries) => Ok(entries.collect::<Result<_, _>>().at(&path)?),
            // A file that somebody put where folders are is no folder of pieces.
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => Ok(Vec::new()),
            Err(error) => Err(PathError::new(&path, error).into()),
        }
    }
}

impl Source for Folder {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let path = self.path(name);
        let place = || path.display().to_string();
        let unreachable =
            |error: io::Error| SourceError::Unreachable { place: place(), why: format!("{error}{}", remedy(&error)) };
        let file = match File::open(&path) {
            Ok(file) => file,
            // A folder that is gone, as when a stick is pulled out, is not one without that piece.
            Err(error) if error.kind() == ErrorKind::NotFound && self.folder.is_dir() => return Ok(None),
            Err(error) => return Err(unreachable(error)),
        };
        let mut bytes = Vec::new();
        let limit = limit.min(name.limit());
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(unreachable)?;
        if bytes.len() as u64 > limit {
            return Err(SourceError::Broken { place: place(), why: format!("more than {limit} bytes") });
        }
        Ok(Some(bytes))
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }
}

impl Sink for Folder {
    fn put(&mut self, name: &Name, bytes: &[u8]) -> io::Result<()> {
        Folder::put(self, name, bytes)
    }
}

impl Prune for Folder {
    fn held(&self) -> io::Result<Vec<Held>> {
        let mut folders = vec!["metadata".to_owned()];
        for top in ["targets", "blobs"] {
            let below = self.entries(top)?;
            folders.extend(below.iter().map(|entry| format!("{top}/{}", entry.file_name().to_string_lossy())));
        }
        let mut found = Vec::new();
        for below in folders {
            for entry in self.entries(&below)? {
                let meta = entry.metadata().at(entry.path())?;
                let path = format!("{below}/{}", entry.file_name().to_string_lossy());
                let name = path.parse::<Name>().ok();
                if meta.is_file() && (name.is_some() || is_unfinished(&path)) {
                    found.push(Held { path, name, size: meta.len() });
                }
            }
        }
        Ok(found)
    }

    fn remove(&mut self, held: &Held) -> io::Result<()> {
        let path = self.folder.join(&held.path);
        Ok(fs::remove_file(&path).at(&path)?)
    }
}

/// Whether this is what a command that was killed left of a piece that it was writing.
fn is_unfinished(path: &str) -> bool {
    let piece = path.rsplit_once('/').and_then(|(below, name)| {
        let name = name.strip_prefix('.')?;
        let piece = name.strip_suffix(".part").or_else(|| name.strip_suffix(".new"))?;
        format!("{below}/{piece}").parse::<Name>().ok()
    });
    piece.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn pieces_are_files_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let chunk = Name::Chunk(Digest::of(b"x"));
        let mut store = Folder::new(folder.path());
        assert!(!store.has(&chunk));
        store.put(&chunk, b"xyz").unwrap();
        assert_eq!(std::fs::read(folder.path().join(chunk.to_string())).unwrap(), b"xyz");
        assert!(store.has(&chunk));
        assert_eq!(store.get(&chunk, 3).unwrap().unwrap(), b"xyz");
        assert!(matches!(store.get(&chunk, 2), Err(SourceError::Broken { .. })));
        assert_eq!(store.get(&Name::Timestamp, 10).unwrap(), None);
    }

    #[test]
    fn a_stick_that_was_pulled_out_is_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Folder::new(folder.path());
        drop(folder);
        assert!(matches!(store.get(&Name::Timestamp, 10), Err(SourceError::Unreachable { .. })));
    }

    #[test]
    fn what_it_holds_are_pieces_and_what_was_not_finished_and_nothing_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Folder::new(folder.path());
        assert_eq!(store.held().unwrap(), []);
        let chunk = Name::Chunk(Digest::of(b"x"));
        store.put(&chunk, b"xyz").unwrap();
        store.put(&Name::Root(1), b"root").unwrap();
        let beside = store.path(&chunk);
        let left = beside.with_file_name(format!(".{}.new", beside.file_name().unwrap().to_string_lossy()));
        for (path, text) in [(&left, "half"), (&folder.path().join("blobs/README"), "not ours")] {
            std::fs::write(path, text).unwrap();
        }
        let mut held = store.held().unwrap();
        held.sort_by_key(|held| held.size);
        let names: Vec<_> = held.iter().map(|held| (held.name.clone(), held.size)).collect();
        assert!(names.contains(&(Some(chunk.clone()), 3)) && names.contains(&(Some(Name::Root(1)), 4)), "{names:?}");
        assert!(names.contains(&(None, 4)) && names.len() == 3, "{names:?}");
        let unfinished = held.iter().find(|held| held.name.is_none()).unwrap();
        store.remove(unfinished).unwrap();
        assert!(!left.exists() && store.has(&chunk));
    }
}
