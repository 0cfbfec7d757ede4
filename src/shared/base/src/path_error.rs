//! Errors of the file system that say where they happened.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the file system with the path that it happened at, which the system itself never says.
#[derive(thiserror::Error, Debug)]
#[error("{}: {error}", path.display())]
pub struct PathError {
    pub path: PathBuf,
    pub error: io::Error,
}

impl PathError {
    pub fn new(path: impl AsRef<Path>, error: impl Into<io::Error>) -> PathError {
        PathError { path: path.as_ref().to_owned(), error: error.into() }
    }
}

/// For functions whose callers want no more than an [`io::Error`]: its kind stays, its text begins with the path.
impl From<PathError> for io::Error {
    fn from(error: PathError) -> io::Error {
        io::Error::new(error.error.kind(), error)
    }
}

/// Says at which path something failed.
pub trait AtPath<T> {
    /// The same result, whose error names `path`.
    ///
    /// # Errors
    /// That of the result.
    fn at(self, path: impl AsRef<Path>) -> Result<T, PathError>;
}

impl<T, E: Into<io::Error>> AtPath<T> for Result<T, E> {
    fn at(self, path: impl AsRef<Path>) -> Result<T, PathError> {
        self.map_err(|error| PathError::new(path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_comes_first_and_the_kind_stays() {
        let read = || -> io::Result<Vec<u8>> { Ok(std::fs::read("/not/there").at("/not/there")?) };
        let error = read().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "/not/there: No such file or directory (os error 2)");
    }
}
