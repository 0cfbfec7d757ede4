//! Paths that a configuration may hold.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A path from the root, without `..`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^/")))]
pub struct AbsolutePath(String);

impl AbsolutePath {
    pub(crate) fn known(path: &str) -> AbsolutePath {
        AbsolutePath(path.to_owned())
    }

    /// `/`
    pub fn root() -> AbsolutePath {
        AbsolutePath::known("/")
    }

    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = String;

    fn try_from(text: String) -> Result<AbsolutePath, String> {
        if !text.starts_with('/') {
            return Err(format!("`{text}` is not a path from the root; it must start with /"));
        }
        if text.split('/').any(|part| part == "..") || text.contains('\0') {
            return Err(format!("`{text}` must not contain `..`"));
        }
        Ok(AbsolutePath(text))
    }
}

impl From<AbsolutePath> for String {
    fn from(path: AbsolutePath) -> String {
        path.0
    }
}
