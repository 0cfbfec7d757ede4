//! What every crate of fruitbuild writes and reads in the same way, on the workstation and on the node. No I/O.

pub mod calendar;
pub mod hex;
pub mod invisible;
pub mod sha256;
#[cfg(feature = "suggest")]
pub mod suggest;

pub use sha256::{NotSha256, Sha256};
