//! What can go wrong with a root.

use std::path::PathBuf;

use fruit_base::PathError;

use crate::protocol::{Failure, Step};

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("{}: in use by another build; wait for it, or name another folder", .0.display())]
    InUse(PathBuf),
    #[error("{}: not empty, and no work folder of a sandbox; name another one", .0.display())]
    NotOurs(PathBuf),
    #[error("{}: `{text}` is not an absolute path without `..`", what)]
    BadPath { what: &'static str, text: String },
    #[error("no program to run is named")]
    NoProgram,
    #[error("cannot start the sandbox's helper: {0}")]
    Helper(std::io::Error),
    #[error("cannot map user ids: {0}")]
    Map(String),
    #[error(
        "the sandbox's helper ended before it was done{0}; when this machine is short of memory, allow fewer builds at a time"
    )]
    Lost(String),
    #[error("the archive for the sandbox: {0}")]
    Archive(Failure),
    #[error("no room left for the sandbox: {0}; make room there, or set FRUITBUILD_CACHE to a folder on a larger disk")]
    Full(Failure),
    #[error("cannot run in the sandbox: {0}")]
    Start(Failure),
    #[error("the sandbox: {0}")]
    Inside(Failure),
    #[error("cannot read what is to be unpacked: {0}")]
    Read(std::io::Error),
    #[error("cannot write what is exported: {0}")]
    Write(std::io::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure.step {
            Step::Entry => Error::Archive(failure),
            Step::Full => Error::Full(failure),
            Step::Start => Error::Start(failure),
            _ => Error::Inside(failure),
        }
    }
}
