//! Binary deltas between two states of a slot: made per file on the workstation, applied per chunk on the node.
//!
//! The node's side is [`apply`], always compiled, small and without a C library. The workstation's side is behind the
//! feature `encode`.

mod arm64;
mod literal;
mod mix;
mod patch;
mod range;
mod words;

#[cfg(feature = "encode")]
mod encode;

#[cfg(feature = "encode")]
pub use encode::{EncodeError, File, Options, Progress, Source, Volume, encode};
pub use fruit_base::storage::ReadAt;
pub use patch::{MAX_VOLUMES, OldVolume, PatchError, apply};

/// Bytes of a volume that have one source and one hash; the last chunk may be shorter.
pub const CHUNK: usize = 1 << 20;
