//! Why metadata is refused.

use std::fmt;

use super::clock::Time;
use super::hashes::Mismatch;
use super::json::Malformed;

/// A role of the repository, and with it the metadata that it signs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    Root,
    Timestamp,
    Snapshot,
    Targets,
    /// One that a targets file delegates to.
    Delegated(String),
}

impl Role {
    /// The roles that every root has.
    pub const TOP: [Role; 4] = [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp];

    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Role::Root => "root",
            Role::Timestamp => "timestamp",
            Role::Snapshot => "snapshot",
            Role::Targets => "targets",
            Role::Delegated(name) => name,
        }
    }

    /// The top-level role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Role> {
        Role::TOP.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Role::Delegated(name) => write!(f, "delegated role {name:?}"),
            top => f.write_str(top.name()),
        }
    }
}

/// Why metadata is refused; what was trusted before stays in force.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error("{role}: {why}")]
    Malformed { role: Role, why: Malformed },
    #[error("{role}: {field} {why}")]
    Field { role: Role, field: String, why: String },
    #[error("{role}: this is metadata of type {found:?}")]
    Type { role: Role, found: String },
    #[error("{role}: spec_version {found:?}; this program knows version 1")]
    SpecVersion { role: Role, found: String },
    #[error("{role}: {found} {what}, at most {limit} are allowed")]
    TooMany { role: Role, what: &'static str, found: usize, limit: usize },
    #[error("{role}: two signatures name key {key}")]
    DuplicateSignature { role: Role, key: String },
    #[error("{role}: signed by {valid} of its keys, {needed} are needed")]
    Threshold { role: Role, valid: usize, needed: u32 },
    #[error("{role}: signed by {valid} of the keys that were trusted so far, {needed} are needed")]
    OldThreshold { role: Role, valid: usize, needed: u32 },
    #[error("{role}: version {found}, expected {expected}")]
    Version { role: Role, expected: u64, found: u64 },
    #[error("{role}: version {found} is older than {trusted}, which was verified before")]
    Rollback { role: Role, trusted: u64, found: u64 },
    #[error("snapshot: {file} is not listed any more")]
    Vanished { file: String },
    #[error("{role}: not listed by the metadata above it")]
    NotListed { role: Role },
    #[error("{role}: expired at {at}; it is {now}")]
    Expired { role: Role, at: Time, now: Time },
    #[error("{role}: {why}")]
    Mismatch { role: Role, why: Mismatch },
    #[error("{role}: not checked before the metadata above it is")]
    Order { role: Role },
    #[error("{0}: not found")]
    Absent(String),
    #[error("target {path:?} is not in the repository")]
    NoTarget { path: String },
    #[error("target {path:?}: {why}")]
    Target { path: String, why: Mismatch },
}

impl Error {
    pub(super) fn field(role: &Role, field: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Field { role: role.clone(), field: field.into(), why: why.into() }
    }
}
