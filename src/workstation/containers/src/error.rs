//! What can go wrong between a reference and Podman's storage.

use fruit_base::PathError;

#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Store(#[from] fruit_debian::Error),

    #[error(transparent)]
    Path(#[from] PathError),

    /// A registry that does not give what is asked for.
    #[error("{url}: {why}")]
    Registry { url: String, why: String },

    /// An image that is damaged, hostile, or not one that can run.
    #[error("{image}: {why}")]
    Image { image: String, why: String },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn image(image: &str, why: impl Into<String>) -> Error {
        Error::Image { image: image.to_owned(), why: why.into() }
    }

    pub(crate) fn registry(url: &str, why: impl Into<String>) -> Error {
        Error::Registry { url: url.to_owned(), why: why.into() }
    }
}
