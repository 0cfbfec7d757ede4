//! What a lock pins: packages, and the states of repositories they came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Sha256, Sha512};
use crate::priority::Priority;
use crate::release::Vouched;
use crate::request::Reason;
use crate::version::Version;

/// The state of a repository when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedRepository {
    pub archive: String,
    pub suite: String,
    pub components: Vec<String>,
    /// When the archive made this state: `Sat, 12 Sep 2026 07:55:41 UTC`.
    pub date: String,
    pub in_release: Sha256,
    /// Path below the suite's folder to hash.
    pub indices: BTreeMap<String, Sha256>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    pub name: String,
    pub version: Version,
    pub architecture: String,
    /// Name of the archive, by which its mirror is found.
    pub archive: String,
    /// Below the archive.
    pub path: String,
    /// Bytes of the .deb file.
    pub size: u64,
    pub sha256: Sha256,
    /// Where the repository says it as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha512: Option<Sha512>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub section: String,
    pub priority: Priority,
    pub reason: Reason,
}

impl LockedPackage {
    /// `name_version_architecture.deb`, for messages.
    pub fn label(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version, self.architecture)
    }

    pub(crate) fn vouched(&self) -> Vouched {
        Vouched { size: self.size, digest: Digest::Sha256(self.sha256).and_sha512(self.sha512) }
    }
}

/// The packages that a lock's maintainer scripts run over: the same ones, in the architecture of a workstation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedTwin {
    pub architecture: String,
    /// In order of the name: those that the lock does not have itself, as it has packages for all architectures.
    pub packages: Vec<LockedPackage>,
    /// Names of those that only the run needs.
    pub tools: Vec<String>,
    /// Packages of the lock that are taken for configured: kernels and firmware, and what that architecture does not have.
    pub configured: Vec<String>,
}

/// Python wheels, and what they were chosen for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPython {
    /// What the recipe asks for, as it writes it.
    pub requirements: Vec<String>,
    /// The recipe's own index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Versions of Python and of the C library, as Debian writes them.
    pub python3: String,
    pub libc6: String,
    /// In order of the name.
    pub wheels: Vec<LockedWheel>,
}

/// A wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedWheel {
    /// In lower case, with `-` for `_` and `.` (PEP 503).
    pub name: String,
    pub version: String,
    pub url: String,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256,
}
