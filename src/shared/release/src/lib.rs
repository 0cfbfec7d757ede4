//! What is signed and shipped: release metadata, manifests and bundles. Bytes and clock come in, nothing here does I/O
//! but through what it is handed; but for [`folder`], and for the folders of keys.
//!
//! A repository, a bundle and a peer are the same thing: a map from [`Name`]s to bytes. A folder or an HTTP server has
//! them as files, a bundle as the entries of a tar in the order of use.

pub mod bundle;
pub mod digest;
pub mod folder;
pub mod frame;
#[cfg(feature = "sign")]
pub mod keys;
pub mod local;
pub mod manifest;
pub mod name;
pub mod source;
pub mod tuf;

pub use digest::Digest;
pub use folder::Folder;
pub use manifest::{Delta, Manifest};
pub use name::Name;
pub use source::{Held, Prune, Sink, Source, SourceError};
