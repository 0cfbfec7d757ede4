//! What is asked of the resolver, and for what reason it took a package. Both are part of the lock.

use serde::{Deserialize, Serialize};

use crate::priority::Priority;

/// What is wanted. Part of the lock, which is stale when the recipe asks for something else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `NAME` or `NAME=VERSION`.
    pub packages: Vec<String>,
    /// Names that are taken for absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Names that other packages may depend on without getting them, since their work is done otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supplied: Vec<String>,
    /// Also what packages recommend, where it can be had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recommends: bool,
    /// Also every package marked `Essential: yes`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
    /// Essential packages that come in only where something needs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lean: Vec<String>,
    /// Also every package of these priorities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<Priority>,
    /// Packages that only files are taken from, such as a boot loader: fetched without what they depend on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files_of: Vec<String>,
}

/// Why a package is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It was named in the request.
    Requested,
    Essential,
    Priority(Priority),
    /// Files are taken from it; it is not installed.
    FilesOnly,
    /// `by` needs it by `relation` in its field `field`.
    Needed {
        by: String,
        field: String,
        relation: String,
    },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Requested => f.write_str("requested"),
            Reason::Essential => f.write_str("essential"),
            Reason::FilesOnly => f.write_str("files are taken from it, it is not installed"),
            Reason::Priority(priority) => write!(f, "priority {}", format!("{priority:?}").to_lowercase()),
            Reason::Needed { by, field, relation } => write!(f, "{by} {field}: {relation}"),
        }
    }
}
