//! Which hardware the agent uses.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::values::AbsolutePath;

/// Which GPIO chip has the lines.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^(auto|/.*|unix:/.*)$")))]
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
            Ok(path) => Ok(make(path.path().to_owned())),
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^(none|/.*)$")))]
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
            .map(|path| WatchdogDevice::Device(path.path().to_owned()))
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
}
