//! What metadata may cost. Sizes are checked before anything is parsed, counts while it is.
//!
//! They leave room for a fleet that has shipped for many years, and keep a node of 512 MiB out of trouble: the worst
//! document that passes takes about 8 MiB in memory.

/// Bytes of one root. A 5-of-9 root with all signatures has about 6 KiB.
pub const ROOT: usize = 256 << 10;
/// Bytes of a timestamp.
pub const TIMESTAMP: usize = 16 << 10;
/// Bytes of a snapshot.
pub const SNAPSHOT: usize = 256 << 10;
/// Bytes of a targets file. An entry of ours has about 700 bytes.
pub const TARGETS: usize = 1 << 20;
/// Objects and lists within each other. What the specification defines needs 7.
pub const NESTING: usize = 16;
/// JSON values in one document, counting names in objects as well.
pub const VALUES: usize = 1 << 16;
/// Signatures on one document.
pub const SIGNATURES: usize = 64;
/// Keys in one root or in the delegations of one targets file.
pub const KEYS: usize = 64;
/// Targets in one targets file.
pub const TARGET_COUNT: usize = 2048;
/// Metadata files that a snapshot lists.
pub const SNAPSHOT_COUNT: usize = 2048;
/// Roles that one targets file delegates to.
pub const DELEGATIONS: usize = 64;
/// Roots that one refresh goes through: a node that was away for years catches up in several.
pub const ROOT_ROTATIONS: u32 = 256;
/// Delegated roles that one search for a target visits.
pub const SEARCHED_ROLES: usize = 32;
/// Bytes of the name of a role or of a target's path.
pub const NAME: usize = 512;
/// Bytes of a key's id: a SHA-256 in hex has 64.
pub const KEY_ID: usize = 128;
/// Bytes of each text of a release's description.
pub const TEXT: usize = 128;
/// Compatible strings of a release.
pub const COMPATIBLE: usize = 16;
/// Roles that succinct delegations may spread the paths over.
pub const SUCCINCT_ROLES: usize = 256;
