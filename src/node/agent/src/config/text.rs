//! Names and paths that a configuration may hold.

use std::path::{Path, PathBuf};

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
    pub(super) fn known(path: &str) -> AbsolutePath {
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

/// Which GPIO chip has the lines.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Chip {
    /// The chip of the Pi's header, found by its label.
    Auto,
    /// A character device.
    Device(PathBuf),
    /// No chip at all: a socket where a simulated board listens.
    Socket(PathBuf),
}

impl TryFrom<String> for Chip {
    type Error = String;

    fn try_from(text: String) -> Result<Chip, String> {
        if text == "auto" {
            return Ok(Chip::Auto);
        }
        let (make, path): (fn(PathBuf) -> Chip, &str) = match text.strip_prefix("unix:") {
            Some(path) => (Chip::Socket, path),
            None => (Chip::Device, &text),
        };
        match AbsolutePath::try_from(path.to_owned()) {
            Ok(path) => Ok(make(PathBuf::from(path.0))),
            Err(_) => {
                Err(format!("`{text}` is no chip; write auto, a device as in /dev/gpiochip0, or unix:/path/of/socket"))
            }
        }
    }
}

impl From<Chip> for String {
    fn from(chip: Chip) -> String {
        match chip {
            Chip::Auto => "auto".to_owned(),
            Chip::Device(path) => path.display().to_string(),
            Chip::Socket(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Which watchdog is fed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WatchdogDevice {
    None,
    Device(PathBuf),
}

impl TryFrom<String> for WatchdogDevice {
    type Error = String;

    fn try_from(text: String) -> Result<WatchdogDevice, String> {
        if text == "none" {
            return Ok(WatchdogDevice::None);
        }
        AbsolutePath::try_from(text)
            .map(|path| WatchdogDevice::Device(PathBuf::from(path.0)))
            .map_err(|error| format!("{error}; or write none"))
    }
}

impl From<WatchdogDevice> for String {
    fn from(device: WatchdogDevice) -> String {
        match device {
            WatchdogDevice::None => "none".to_owned(),
            WatchdogDevice::Device(path) => path.display().to_string(),
        }
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
    fn chips_are_a_device_a_socket_or_found() {
        assert_eq!(Chip::try_from("auto".to_owned()), Ok(Chip::Auto));
        assert_eq!(Chip::try_from("/dev/gpiochip1".to_owned()), Ok(Chip::Device("/dev/gpiochip1".into())));
        assert_eq!(Chip::try_from("unix:/run/x".to_owned()), Ok(Chip::Socket("/run/x".into())));
        for text in ["gpiochip0", "unix:x", "", "unix:"] {
            assert!(Chip::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn units_carry_their_suffix() {
        assert!(UnitName::try_from("getty@tty1.service".to_owned()).is_ok());
        assert!(UnitName::try_from("ssh".to_owned()).unwrap_err().contains("ssh.service"));
        for text in [".service", "a b.service", "../x.service", ""] {
            assert!(UnitName::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
