//! How much a system needs a package.

/// How much a system needs a package (Debian Policy 2.5), the most needed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Required,
    Important,
    Standard,
    Optional,
    Extra,
}
