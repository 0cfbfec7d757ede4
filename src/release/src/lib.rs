//! What is signed and shipped: release metadata, manifests and bundles. Bytes and clock come in, nothing here does I/O
//! but through what it is handed.

#[cfg(feature = "sign")]
pub mod keys;
pub mod tuf;
