//! What every crate of fruitbuild does in the same way, on the workstation and on the node.

pub mod calendar;
pub mod cores;
pub mod hex;
pub mod invisible;
pub mod le;
mod lock;
mod now;
mod path_error;
pub mod prometheus;
mod remedy;
mod replace;
pub mod sha256;
pub mod span;
pub mod storage;
#[cfg(feature = "suggest")]
pub mod suggest;
mod threshold;

pub use lock::lock;
pub use now::now;
pub use path_error::{AtPath, PathError};
pub use remedy::remedy;
pub use replace::{Replace, replace, replace_volatile, replace_with};
pub use sha256::{NotSha256, Sha256};
pub use threshold::{NotThreshold, Threshold};
