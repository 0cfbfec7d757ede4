//! The few files that the updater keeps, in one folder of the data partition.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use fruit_base::AtPath;

/// Where the folder is on a node: a state path of the image.
pub const FOLDER: &str = "/var/lib/fruit/update";

/// Files by name.
pub trait Store {
    /// The bytes of a file, `None` if there is none.
    ///
    /// # Errors
    /// Read errors; a file of more than `limit` bytes.
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Writes over the file that is there, or makes one. A power cut meanwhile leaves anything of it; it is on the
    /// medium when this returns.
    ///
    /// # Errors
    /// Write errors.
    fn overwrite(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Puts a file in the place of the one that is there. A power cut leaves the one or the other, whole; the new one is
    /// on the medium when this returns.
    ///
    /// # Errors
    /// Write errors; the old file is there still.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
}

/// A folder of a file system.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder `path`, made if it is not there.
    ///
    /// # Errors
    /// Those of `mkdir(2)`.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Folder> {
        let path = path.into();
        fs::create_dir_all(&path).at(&path)?;
        Ok(Folder { path })
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Store for Folder {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let read = || -> io::Result<Option<Vec<u8>>> {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e),
            };
            let mut bytes = Vec::new();
            file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > limit {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {limit} bytes")));
            }
            Ok(Some(bytes))
        };
        Ok(read().at(&path)?)
    }

    fn overwrite(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        let write = || -> io::Result<()> {
            let new = !path.exists();
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)?;
            file.sync_all()?;
            if new { self.sync() } else { Ok(()) }
        };
        Ok(write().at(&path)?)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        Ok(fruit_base::replace(&path, bytes).at(&path)?)
    }
}
