//! Release metadata: wire format and client workflow of The Update Framework, version 1.0.
//!
//! A verifier without I/O: bytes and the clock come in, verified targets come out. It begins with [`Trust`], made from a
//! root that is beyond doubt; [`Trust::refresh`] says which file it needs next and takes its bytes, from a web server, a
//! peer, a stick or the head of a bundle. [`Trust::targets`] is then what may be installed, as [`Verified`] values,
//! which nothing else can make.
//!
//! Signatures are ed25519 only; entries of other kinds in a key list are passed over and never count. The feature
//! `ecdsa` adds ECDSA with P-256, for the conformance tests.
//!
//! ```text
//! metadata/N.root.json  metadata/timestamp.json  metadata/N.snapshot.json  metadata/N.targets.json
//! targets/SHA256.NAME
//! ```

mod clock;
mod delegation;
#[cfg(feature = "ecdsa")]
mod ecdsa;
mod error;
pub(crate) mod fields;
mod hashes;
pub mod json;
mod key;
pub mod limits;
pub(crate) mod metadata;
mod refresh;
mod release;
mod roles;
mod search;
pub(crate) mod signed;
mod target;
mod trust;
mod verified;
#[cfg(feature = "sign")]
pub(crate) mod writing;

pub use clock::{Clock, Freshness, NotATime, Time};
pub use delegation::{Delegation, Delegations, Paths};
pub use error::{Error, Role};
pub use hashes::{Check, Hashes, Mismatch};
pub use json::Json;
pub use key::{KeyId, PublicKey};
pub use metadata::{Head, MetaFile, Root, SPEC_VERSION, Snapshot, Targets, Timestamp};
pub use refresh::{Refresh, Want};
pub use release::{Base, Kind, Node, NotARelease, Release, Unfit, compare_versions};
pub use roles::{Keys, RoleKeys};
pub use search::Search;
pub use target::{Target, is_plain_path};
pub use trust::{Stored, Trust};
pub use verified::Verified;
