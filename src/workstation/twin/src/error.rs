//! Why scripts did not run, or why what they made is not taken.

use std::path::PathBuf;

use fruit_base::PathError;

/// Each says what to do.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(
        "the scripts of this image must run, and {package} {wanted} is no longer offered for {architecture}, on which they would (there is {found}): refresh the lock with `fruitbuild lock`, or write `scripts: never` into the recipe"
    )]
    OtherVersion { package: String, wanted: String, found: String, architecture: String },
    #[error(
        "the lock's packages for {architecture} are not those of {package}: refresh the lock with `fruitbuild lock`"
    )]
    NotTheTwin { package: String, architecture: String },
    #[error(
        "this workstation's architecture, {0:?}, has no name at Debian: scripts cannot run on it; write `scripts: never` into the recipe"
    )]
    Workstation(String),
    /// A script failed; `what` is a sentence about it.
    #[error("{what}\n{output}\nwhat you can do: {advice}\nits whole output: {}", log.display())]
    Script { what: String, output: String, advice: String, log: PathBuf },
    #[error("{0}")]
    Other(String),
    #[error(
        "scripts of packages must run to make this image, and {0}\nor write `scripts: never` into the recipe: the image then lacks what they would have done, and the build names it"
    )]
    NoSandbox(#[from] fruit_sandbox::Unavailable),
    #[error(transparent)]
    Sandbox(#[from] fruit_sandbox::Error),
    #[error(transparent)]
    Packages(#[from] fruit_debian::Error),
    #[error(transparent)]
    Root(#[from] fruit_root::Error),
    #[error(transparent)]
    Path(#[from] PathError),
}

impl From<fruit_image::tree::TreeError> for Error {
    fn from(error: fruit_image::tree::TreeError) -> Error {
        Error::Root(error.into())
    }
}
