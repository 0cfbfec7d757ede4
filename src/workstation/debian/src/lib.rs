//! Debian packages from a mirror to a file tree: signed metadata, the resolver, the lock, the package store, and
//! unpacking without root and without running anything of the packages'. Runs on the workstation.
//!
//! ```text
//! Repository ─Universe::load─► Universe ─resolve─► Resolution ─Lock::new─► Lock
//! Lock ─Store::ensure─► Store ─unpack_all─► Tree + what each package brought
//! ```

mod address;
mod apt_sources;
pub mod archive;
mod armor;
mod containers;
pub mod control;
pub mod date;
pub mod deb;
pub mod digest;
mod download;
mod error;
mod explain;
mod fetch;
pub mod index;
pub mod keyring;
pub mod lock;
mod locked;
pub mod mirror;
mod network;
pub mod package;
mod priority;
pub mod progress;
pub mod relation;
pub mod release;
mod request;
pub mod resolve;
pub mod status;
pub mod store;
pub mod tarball;
pub mod universe;
pub mod unpack;
pub mod version;

pub use archive::{Archive, Layer, Member, MemberKind};
pub use containers::{LockedBlob, LockedContainer};
pub use digest::{Digest, Sha256, Sha512};
pub use download::LockedDownload;
pub use error::{Error, Result};
pub use fetch::Answer;
pub use keyring::Keyring;
pub use lock::{Lock, LockedPackage, LockedPython, LockedRepository, LockedTwin, LockedWheel};
pub use mirror::{MirrorSources, Mirrors};
pub use progress::{Progress, Silent, Step};
pub use resolve::{Request, Resolution};
pub use store::Store;
pub use universe::{Repository, Universe};
pub use unpack::{Diversions, PackageContents, unpack_all, unpack_diverted};
pub use version::Version;
