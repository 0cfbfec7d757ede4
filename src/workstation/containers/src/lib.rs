//! Container images for a root: pinned by their digests, fetched from registries or taken from archives without a daemon, and laid
//! out as Podman's storage has them, for it to start with no network.
//!
//! ```text
//! Wanted ─pin─► LockedContainer ─ensure─► files of the package store ─lay─► an additional image store in the root
//! ```

mod archive;
mod challenge;
mod error;
mod image;
mod layer;
mod login;
mod pin;
mod registry;
mod storage;
mod stored;

pub use error::{Error, Result};
pub use image::Platform;
pub use login::Logins;
pub use pin::{Origin, Wanted, ensure, pin};
pub use registry::Registries;
pub use storage::{Laid, Named, lay};
