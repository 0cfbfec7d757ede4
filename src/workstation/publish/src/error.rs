//! Why nothing was published, signed or read.

use std::io;

use fruit_base::PathError;
use fruit_release::SourceError;
use fruit_release::keys::KeyError;

/// What went wrong with a repository of releases, its keys or an image for it. The text says where, and what to do.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// A mistake in what a person wrote or named.
    #[error("{0}")]
    Input(String),
    /// A signature or hash that does not fit: nothing was used.
    #[error("{0}")]
    Untrusted(String),
    /// What must not be done as things are, or what the person did not want.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{0}{remedy}", remedy = fruit_base::remedy(&.0.error))]
    Path(#[from] PathError),
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub fn input(message: impl Into<String>) -> Error {
        Error::Input(message.into())
    }

    pub fn untrusted(message: impl Into<String>) -> Error {
        Error::Untrusted(message.into())
    }

    pub fn refused(message: impl Into<String>) -> Error {
        Error::Refused(message.into())
    }

    pub fn other(message: impl Into<String>) -> Error {
        Error::Other(message.into())
    }
}

/// An error that names its path already.
pub fn told(error: io::Error) -> Error {
    Error::other(format!("{error}{}", fruit_base::remedy(&error)))
}
