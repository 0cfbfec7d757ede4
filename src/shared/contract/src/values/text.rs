//! Names and paths that a configuration may hold.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Bytes that the name of a unit has at most (`UNIT_NAME_MAX`, systemd src/basic/unit-def.h).
const UNIT_NAME_MAX: usize = 255;
/// Kinds of unit that can be active.
const UNIT_SUFFIXES: [&str; 8] = [".service", ".socket", ".target", ".mount", ".timer", ".path", ".device", ".swap"];

/// A path from the root, without `..`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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

/// Name of a systemd unit, with its suffix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

impl UnitName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UnitName {
    type Error = String;

    fn try_from(text: String) -> Result<UnitName, String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let Some(suffix) = UNIT_SUFFIXES.iter().find(|suffix| text.ends_with(**suffix)) else {
            return Err(format!("`{text}` is not the name of a unit; did you mean {text}.service?"));
        };
        if text.len() == suffix.len() || text.len() > UNIT_NAME_MAX || !text.chars().all(legal) {
            return Err(format!("`{text}` is not the name of a unit"));
        }
        Ok(UnitName(text))
    }
}

impl From<UnitName> for String {
    fn from(unit: UnitName) -> String {
        unit.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_carry_their_suffix() {
        assert!(UnitName::try_from("getty@tty1.service".to_owned()).is_ok());
        assert!(UnitName::try_from("ssh".to_owned()).unwrap_err().contains("ssh.service"));
        for text in [".service", "a b.service", "../x.service", ""] {
            assert!(UnitName::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
