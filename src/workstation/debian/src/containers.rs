//! What a lock pins of container images: every file that one is made of.

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::download::LockedDownload;

/// A container image, for the lock's architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedContainer {
    /// The recipe's name of it.
    pub name: String,
    /// The reference that the recipe has, whose tag may mean another image by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The file or folder that it comes from, as the recipe has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// By its SHA-256 the image is called: `REPOSITORY@sha256:…`.
    pub manifest: LockedBlob,
    pub config: LockedBlob,
    /// From the lowest one up.
    pub layers: Vec<LockedBlob>,
}

/// A file of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBlob {
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
}

impl LockedContainer {
    /// All files, the manifest first.
    pub fn blobs(&self) -> impl Iterator<Item = &LockedBlob> {
        [&self.manifest, &self.config].into_iter().chain(&self.layers)
    }

    /// A file of it as the store knows it.
    pub fn file(&self, blob: &LockedBlob) -> LockedDownload {
        let source = self.image.as_ref().or(self.archive.as_ref()).unwrap_or(&self.name);
        let short = blob.sha256.to_string()[..12].to_owned();
        LockedDownload {
            name: format!("{source}, sha256:{short}…"),
            url: String::new(),
            size: blob.size,
            sha256: blob.sha256,
            sha512: None,
        }
    }
}
