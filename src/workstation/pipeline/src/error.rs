//! Why there is no image.

use std::path::{Path, PathBuf};

use fruit_base::PathError;
use fruit_device_programs::DeviceError;
use fruit_recipe::{Diagnostic, Diagnostics};

/// What went wrong on the way to an image. The text says where, and what to do.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// Mistakes in a recipe or in what it names, each on its line.
    #[error(transparent)]
    Recipe(#[from] Diagnostics),
    /// Another mistake in what a person wrote or named.
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Packages(#[from] fruit_debian::Error),
    #[error(transparent)]
    Containers(fruit_containers::Error),
    #[error(transparent)]
    Root(#[from] fruit_root::Error),
    #[error(transparent)]
    Programs(#[from] DeviceError),
    #[error(transparent)]
    Path(#[from] PathError),
    /// What went wrong while a file was made whose name the error does not say.
    #[error("{file}: {error}", file = file.display())]
    About { file: PathBuf, error: Box<Error> },
    #[error("{0}")]
    Other(String),
}

/// What is wrong with the store is what is wrong with packages: the network, the disk, a file of them.
impl From<fruit_containers::Error> for Error {
    fn from(error: fruit_containers::Error) -> Error {
        match error {
            fruit_containers::Error::Store(error) => Error::Packages(error),
            fruit_containers::Error::Path(error) => Error::Path(error),
            other => Error::Containers(other),
        }
    }
}

impl Error {
    pub fn input(message: impl Into<String>) -> Error {
        Error::Input(message.into())
    }

    pub fn other(message: impl Into<String>) -> Error {
        Error::Other(message.into())
    }

    /// Names the file that was being made, unless the message does. Mistakes in a recipe have places of their own.
    #[must_use]
    pub fn about(self, file: &Path) -> Error {
        if matches!(self, Error::Recipe(_)) || self.to_string().contains(&file.display().to_string()) {
            return self;
        }
        Error::About { file: file.to_owned(), error: Box::new(self) }
    }
}

/// One mistake in a recipe.
pub(crate) fn diagnostic(one: Diagnostic) -> Error {
    Diagnostics::from(one).into()
}
