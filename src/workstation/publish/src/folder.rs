//! A repository of releases on disk: plain files by their names, to be served by any HTTP server, carried on a stick, or
//! read from again.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fruit_base::AtPath;
use fruit_image::draft::Draft;
use fruit_release::{Name, Source, SourceError};

use crate::error::{Error, told};

/// The folder.
#[derive(Clone, Debug)]
pub struct Folder {
    folder: PathBuf,
}

impl Folder {
    /// Nothing is made until something is put in.
    pub fn new(folder: &Path) -> Folder {
        Folder { folder: folder.to_owned() }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(name.to_string())
    }

    pub fn has(&self, name: &Name) -> bool {
        self.path(name).is_file()
    }

    /// Puts a piece in, under its name only when it is whole.
    ///
    /// # Errors
    /// File system errors with the path.
    pub fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).at(folder)?;
        let draft = Draft::create(&path).map_err(told)?;
        draft.file().write_all(bytes).at(&path)?;
        draft.commit().map_err(told)
    }

    /// A piece that must be there.
    ///
    /// # Errors
    /// Not there, too large, unreadable.
    pub fn read(&self, name: &Name) -> Result<Vec<u8>, Error> {
        match self.clone().get(name, name.limit()) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(Error::other(format!("{}: not there", self.path(name).display()))),
            Err(error) => Err(Error::other(error.to_string())),
        }
    }
}

impl Source for Folder {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let path = self.path(name);
        let place = || path.display().to_string();
        let unreachable = |error: io::Error| SourceError::Unreachable { place: place(), why: error.to_string() };
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreachable(error)),
        };
        let mut bytes = Vec::new();
        let limit = limit.min(name.limit());
        file.take(limit + 1).read_to_end(&mut bytes).map_err(unreachable)?;
        if bytes.len() as u64 > limit {
            return Err(SourceError::Broken { place: place(), why: format!("more than {limit} bytes") });
        }
        Ok(Some(bytes))
    }

    fn place(&self) -> String {
        self.folder.display().to_string()
    }
}
