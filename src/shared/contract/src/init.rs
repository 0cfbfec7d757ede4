//! What an image tells fruit-init: `/etc/fruit/init.json` in the initramfs.

use serde::{Deserialize, Serialize};

use crate::config::NodeConfig;
use crate::text::{checked_text, shown};

/// Where fruit-init reads its [`InitConfig`] in the initramfs.
pub const INIT_CONFIG_PATH: &str = "/etc/fruit/init.json";
/// Name of the user's file on partition 1.
pub const NODE_CONFIG_NAME: &str = "fruit.yaml";

/// Configuration of fruit-init.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    pub image: ImageInfo,
    /// Kernel modules in the order in which they are loaded: dependencies first, the watchdog's driver (which is what
    /// reboots a Raspberry Pi) before all.
    #[serde(default)]
    pub modules: Vec<Module>,
    #[serde(default)]
    pub root: Root,
    #[serde(default)]
    pub overlay: Overlay,
    /// Paths that live on the data partition.
    #[serde(default)]
    pub state_paths: Vec<StatePath>,
    #[serde(default)]
    pub data: Data,
    /// Longest wait for the disk with the image's GUID, in seconds.
    #[serde(default = "default_disk_timeout")]
    pub disk_timeout_s: u32,
    /// What the recipe says where fruit.yaml does not.
    #[serde(default)]
    pub node: NodeConfig,
}

const fn default_disk_timeout() -> u32 {
    30
}

impl InitConfig {
    /// A configuration with every default, for the image described by `image`.
    pub fn new(image: ImageInfo) -> InitConfig {
        InitConfig {
            image,
            modules: Vec::new(),
            root: Root::default(),
            overlay: Overlay::default(),
            state_paths: Vec::new(),
            data: Data::default(),
            disk_timeout_s: default_disk_timeout(),
            node: NodeConfig::default(),
        }
    }

    /// # Errors
    /// A sentence with line and column.
    pub fn from_json(json: &[u8]) -> Result<InitConfig, String> {
        serde_json::from_slice(json).map_err(|e| e.to_string())
    }

    /// The file as the image carries it: indented, with a final newline, keys in a fixed order.
    pub fn to_json(&self) -> String {
        // Only types whose serialization can't fail: no maps with keys that are no strings.
        format!("{}\n", serde_json::to_string_pretty(self).unwrap_or_default())
    }
}

/// Which image this is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInfo {
    /// Name of the recipe, from which the disk's GUID follows.
    pub name: String,
    pub version: String,
    pub board: String,
    #[serde(default)]
    pub build_id: String,
    /// Seconds since 1970; a clock that is behind is set to it, since no image runs before it was built.
    #[serde(default)]
    pub build_time: u64,
}

/// A kernel module of the initramfs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Absolute path of the decompressed file in the initramfs.
    pub path: String,
    /// Parameters, separated by spaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub options: String,
    /// Whether the boot fails without it. Drivers for hardware that may be missing are not required.
    #[serde(default)]
    pub required: bool,
}

/// The read-only root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    #[serde(default)]
    pub format: RootFormat,
    /// Program that becomes process 1.
    #[serde(default = "default_init")]
    pub init: String,
    /// Whether it is seen by itself at [`READ_ONLY_ROOT`] as well, without the RAM overlay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
}

/// Where the running system sees its root without the RAM overlay, if the image asks for it: whoever lays files of the root over
/// each other by overlayfs, as container engines do, needs its whiteouts, which an overlay does not show.
pub const READ_ONLY_ROOT: &str = "/run/fruit/root";

fn default_init() -> String {
    "/sbin/init".into()
}

impl Default for Root {
    fn default() -> Root {
        Root { format: RootFormat::default(), init: default_init(), apart: false }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum RootFormat {
    #[default]
    Erofs,
    /// For kernels without EROFS.
    Ext4,
}

impl RootFormat {
    /// Name of the filesystem for `mount(2)`.
    pub const fn name(self) -> &'static str {
        match self {
            RootFormat::Erofs => "erofs",
            RootFormat::Ext4 => "ext4",
        }
    }
}

/// The RAM overlay over the root.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    #[serde(default)]
    pub size: OverlaySize,
}

/// Most that the overlay may hold: a share of the RAM, or bytes. As text: `50%`, `256M`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^([1-9][0-9]?%|[0-9]+[KMG]?)$")))]
pub enum OverlaySize {
    Percent(u8),
    Bytes(u64),
}

/// Less holds not even what fruit-init writes.
const SMALLEST_OVERLAY: u64 = 1 << 20;

impl Default for OverlaySize {
    fn default() -> OverlaySize {
        OverlaySize::Percent(50)
    }
}

impl std::fmt::Display for OverlaySize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OverlaySize::Percent(share) => write!(f, "{share}%"),
            OverlaySize::Bytes(bytes) => write!(f, "{bytes}"),
        }
    }
}

impl std::str::FromStr for OverlaySize {
    type Err = String;

    fn from_str(text: &str) -> Result<OverlaySize, String> {
        let wrong = || format!("'{}' is not a size: expected 1% to 99%, or 1M or more, such as 256M", shown(text));
        let digits_only = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if let Some(share) = text.strip_suffix('%') {
            let share = share.parse().ok().filter(|s| digits_only(share) && (1..=99).contains(s));
            return share.map(OverlaySize::Percent).ok_or_else(wrong);
        }
        let (number, shift) = match text.as_bytes().last() {
            Some(b'K') => (&text[..text.len() - 1], 10),
            Some(b'M') => (&text[..text.len() - 1], 20),
            Some(b'G') => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        let number = Some(number).filter(|n| digits_only(n)).and_then(|n| n.parse::<u64>().ok());
        let bytes = number.and_then(|n| n.checked_mul(1 << shift)).filter(|&b| b >= SMALLEST_OVERLAY);
        bytes.map(OverlaySize::Bytes).ok_or_else(wrong)
    }
}

impl TryFrom<String> for OverlaySize {
    type Error = String;

    fn try_from(text: String) -> Result<OverlaySize, String> {
        text.parse()
    }
}

impl From<OverlaySize> for String {
    fn from(size: OverlaySize) -> String {
        size.to_string()
    }
}

/// The data partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Where it is mounted in the root.
    #[serde(default = "default_data_mount")]
    pub mount: StatePath,
    /// Whether partition and filesystem grow to the end of the disk.
    #[serde(default = "yes")]
    pub grow: bool,
    /// Whether a blank partition (all zero where filesystems keep their marks) gets a fresh ext4.
    #[serde(default = "yes")]
    pub format_blank: bool,
}

fn default_data_mount() -> StatePath {
    StatePath("/data".into())
}

const fn yes() -> bool {
    true
}

impl Default for Data {
    fn default() -> Data {
        Data { mount: default_data_mount(), grow: true, format_blank: true }
    }
}

checked_text! {
    /// Absolute path of a file or folder in the root, without `.`, `..`, empty parts or a final slash; not below the
    /// kernel's own file systems.
    StatePath, check_state_path, "^(/[^/]+)+$"
}

fn check_state_path(text: &str) -> Result<String, String> {
    let parts = || text.split('/').skip(1);
    let part_ok = |p: &str| !matches!(p, "" | "." | "..") && p.len() <= 255 && !p.chars().any(char::is_control);
    if !text.starts_with('/') || text.len() > 1024 || !parts().all(part_ok) {
        return Err(format!("'{}' is not a state path: expected an absolute path without '..'", shown(text)));
    }
    match parts().next() {
        Some(top @ ("proc" | "sys" | "dev" | "run" | "tmp")) => {
            Err(format!("'{}' can't be a state path: /{top} is never on a disk", shown(text)))
        }
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_survives_its_file() {
        let image = ImageInfo { name: "pistack".into(), version: "1.4.2".into(), ..ImageInfo::default() };
        let mut config = InitConfig::new(image);
        config.modules.push(Module { path: "/lib/modules/x.ko".into(), options: "a=1".into(), required: true });
        config.state_paths.push("/var/lib/x".parse().unwrap());
        config.overlay.size = OverlaySize::Bytes(64 << 20);
        config.node.labels.insert("rack".parse().unwrap(), "3".parse().unwrap());
        assert_eq!(InitConfig::from_json(config.to_json().as_bytes()), Ok(config));
    }

    #[test]
    fn only_the_image_must_be_said() {
        let json = br#"{"image":{"name":"n","version":"1","board":"b"}}"#;
        let config = InitConfig::from_json(json).unwrap();
        assert_eq!(config.root.init, "/sbin/init");
        assert_eq!(config.data.mount.as_str(), "/data");
        assert!(InitConfig::from_json(br#"{"image":{"name":"n","version":"1","board":"b"},"moduls":[]}"#).is_err());
    }

    #[test]
    fn overlay_sizes_are_shares_or_bytes() {
        assert_eq!("50%".parse(), Ok(OverlaySize::Percent(50)));
        assert_eq!("256M".parse(), Ok(OverlaySize::Bytes(256 << 20)));
        assert_eq!("1048576".parse(), Ok(OverlaySize::Bytes(1 << 20)));
        for bad in ["", "%", "0%", "100%", "+5%", "1K", "M", "-1M", "99999999999999999999G", "17179869184G", "5é"] {
            assert!(bad.parse::<OverlaySize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn state_paths_stay_inside_the_root() {
        assert!("/var/lib/fruit".parse::<StatePath>().is_ok());
        for bad in ["", "/", "var", "/var/", "/var//x", "/var/../etc", "/./x", "/proc/x", "/run", "/a\nb"] {
            assert!(bad.parse::<StatePath>().is_err(), "{bad}");
        }
    }
}
