//! Files of images in the package store.

use fruit_base::Sha256;
use fruit_debian::{LockedBlob, LockedContainer, LockedDownload, Store};

use crate::error::{Error, Result};
use crate::image::MAX_TEXT;

/// A small file of an image from the store.
pub(crate) fn bytes_of(locked: &LockedContainer, blob: &LockedBlob, store: &Store) -> Result<Vec<u8>> {
    let content = store.open_as_is(&locked.file(blob))?;
    if content.len() > MAX_TEXT {
        return Err(Error::image(&locked.name, format!("a text of {} bytes", content.len())));
    }
    content.to_vec().map_err(|error| Error::image(&locked.name, error.to_string()))
}

/// A file in the store by what it holds.
pub(crate) fn file(size: u64, sha256: Sha256, label: &str) -> LockedDownload {
    LockedDownload { name: label.to_owned(), url: String::new(), size, sha256, sha512: None }
}
