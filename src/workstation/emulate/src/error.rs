//! Why an image cannot be started.

use fruit_base::PathError;
use fruit_flash::node_config::ConfigError;

/// What went wrong before a machine started. The text says where, and what to do.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// A mistake in what a person wrote or named.
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Recipe(#[from] fruit_recipe::Diagnostics),
    #[error(transparent)]
    Packages(#[from] fruit_debian::Error),
    #[error(transparent)]
    Pipeline(#[from] fruit_pipeline::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub fn input(message: impl Into<String>) -> Error {
        Error::Input(message.into())
    }

    pub fn other(message: impl Into<String>) -> Error {
        Error::Other(message.into())
    }
}
