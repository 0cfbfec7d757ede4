//! `NAME-VERSION-BOARD.manifest.json`, which a build writes beside its image: what the image is, what it was made from,
//! and what became of it. Publishing, comparing and booting an image go by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of this form. A reader knows this one only.
pub const FORMAT: u32 = 1;
/// Most bytes of a manifest: a hundred times what an image of a thousand packages has.
pub const TEXT_MAX: u64 = 64 << 20;

/// The whole file. Later programs may write more members; readers pass over what they do not know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImageManifest {
    pub format: u32,
    /// The program that built it: `fruitbuild-0.1.0`.
    pub tool: String,
    /// Names the build: 32 hexadecimal digits, the same for the same inputs.
    pub build_id: String,
    /// Seconds since 1970: the date of everything in the image.
    pub source_date_epoch: i64,
    pub image: Image,
    pub release: Release,
    /// Values of the recipe's variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    pub kernel: Kernel,
    pub partitions: Vec<Partition>,
    /// What the image was made from besides the packages.
    pub inputs: Vec<Input>,
    pub repositories: Vec<Repository>,
    pub packages: Vec<Package>,
    /// Files that came by their address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub downloads: Vec<Download>,
    /// Python wheels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wheels: Vec<Wheel>,
    /// Images of containers that it carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
    pub pruned: Vec<Pruned>,
    /// What rules of pruning would have taken and did not; older programs do not say, as with the next two.
    #[serde(default)]
    pub kept: Vec<Kept>,
    /// Units that start at boot.
    pub units: Vec<String>,
    /// Who enabled each of them: a package, a unit that brings it along, or the recipe.
    #[serde(default)]
    pub enabled_by: BTreeMap<String, String>,
    /// What the build warned of.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What packages' scripts did, where they ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts_run: Option<ScriptsRun>,
    pub scripts_not_reproduced: Vec<Script>,
}

/// Scripts that ran when the image was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScriptsRun {
    /// Debian's name of the architecture that they ran on.
    pub architecture: String,
    /// SHA-256 of all that they changed.
    pub layer: String,
    /// How many paths that is.
    pub changes: u64,
    /// Packages of whose scripts it was not known what they do; empty when the recipe wanted them to run.
    pub undecided: Vec<String>,
    /// Packages whose scripts did not run.
    pub taken_for_configured: Vec<String>,
    /// How many paths are not in the image, by the reason.
    pub left_out: BTreeMap<String, u64>,
    /// What is made at the first boot.
    pub made_on_node: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Image {
    /// Name of the recipe.
    pub name: String,
    pub version: String,
    pub board: String,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// Device-tree strings of boards that it runs on.
    pub compatible: Vec<String>,
    /// Bytes of the image.
    pub disk_size: u64,
    /// Bytes that must be on a card.
    pub bytes_to_write: u64,
}

/// What a signed release says beyond the image's own description.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    pub product: String,
    /// Security epoch: no release of a lower one is installed.
    pub epoch: u32,
    /// Version of the loader's script that it needs.
    pub min_bootloader: u32,
    /// Whether the image carries the updater; images of older programs do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updater: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kernel {
    pub release: String,
    /// Without what the loader adds.
    pub command_line: String,
    /// Value of `fruit.verity=`.
    pub verity: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Partition {
    pub number: u32,
    pub name: String,
    /// PARTUUID.
    pub guid: String,
    /// Bytes from the start of the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes that hold something in a fresh image.
    pub used: u64,
    /// Of a slot's partition: bytes from its start that make the slot. They do not depend on the partition's size, so an
    /// update carries just these to any card whose partition has room for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_size: Option<u64>,
    /// SHA-256 of those bytes of a boot volume, hexadecimal; a root has its hash tree. Images of older programs do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// `recipe`, `lock`, `overlay`, `program`, `file` and the like.
    pub kind: String,
    pub name: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// The state of a package repository when the lock was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Repository {
    pub archive: String,
    pub suite: String,
    pub components: Vec<String>,
    pub date: String,
    /// SHA-256 of its signed index, hexadecimal.
    pub in_release: String,
    /// Path below the suite's folder to SHA-256, hexadecimal.
    pub indices: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub archive: String,
    /// Path of the .deb below the archive.
    pub path: String,
    /// Bytes of the .deb.
    pub size: u64,
    /// SHA-256 of the .deb, hexadecimal.
    pub sha256: String,
    /// Bytes that it unpacks to; packages of which only files are taken have none.
    #[serde(default)]
    pub unpacked: Option<u64>,
}

/// A file that came by its address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Download {
    pub name: String,
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Paths in the root of what was taken from it.
    pub files: Vec<String>,
}

/// A Python wheel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wheel {
    /// As an index compares it: lower case, `-` for `_` and `.`.
    pub name: String,
    pub version: String,
    pub url: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// An image of a container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Container {
    /// The recipe's name of it.
    pub name: String,
    /// What Podman calls it: `docker.io/library/nginx:1.27`.
    pub image: String,
    /// Of its manifest, `sha256:…`.
    pub digest: String,
    /// Of its configuration, `sha256:…`, by which Podman knows it.
    pub id: String,
    /// Digests of its layers as they were fetched, from the lowest one up.
    pub layers: Vec<String>,
    /// Bytes of the layers when they are not compressed.
    pub size: u64,
    /// Whether it is run from boot on.
    pub runs: bool,
}

/// What a rule of pruning took away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pruned {
    pub rule: String,
    pub files: u64,
    pub bytes: u64,
}

/// What a rule of pruning would have taken, and why it stayed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub rule: String,
    /// Patterns of what stayed; empty: all of the rule.
    pub what: String,
    pub because: String,
}

/// A command of a maintainer script whose effect is not known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Script {
    pub package: String,
    pub version: String,
    pub script: String,
    pub line: u64,
    pub command: String,
}

/// Why a file is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum NotAManifest {
    #[error("more than {TEXT_MAX} bytes: this is no manifest of an image")]
    Size,
    #[error("this is no manifest of an image: {0}")]
    Json(#[from] serde_json::Error),
    #[error("manifest of format {0}; this fruitbuild knows format {FORMAT}, so a newer one is needed")]
    Format(u64),
}

impl ImageManifest {
    /// Reads the file.
    ///
    /// # Errors
    /// Anything but a manifest of this format, with the member that is missing or wrong.
    pub fn read(bytes: &[u8]) -> Result<ImageManifest, NotAManifest> {
        /// First alone: another format may have other members.
        #[derive(Deserialize)]
        struct Head {
            format: u64,
        }
        if bytes.len() as u64 > TEXT_MAX {
            return Err(NotAManifest::Size);
        }
        match serde_json::from_slice(bytes)? {
            Head { format } if format == u64::from(FORMAT) => Ok(serde_json::from_slice(bytes)?),
            Head { format } => Err(NotAManifest::Format(format)),
        }
    }

    /// The file's text.
    ///
    /// # Errors
    /// None is expected: all names are texts.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    pub fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> ImageManifest {
        ImageManifest {
            format: FORMAT,
            tool: "fruitbuild-0.1.0".into(),
            build_id: "0".repeat(32),
            source_date_epoch: 1_700_000_000,
            image: Image {
                name: "node".into(),
                version: "1.0".into(),
                board: "raspberrypi3".into(),
                architecture: "arm64".into(),
                compatible: vec!["raspberrypi,3-model-b".into()],
                disk_size: 1 << 30,
                bytes_to_write: 1 << 20,
            },
            release: Release { product: "node".into(), epoch: 1, min_bootloader: 2, updater: Some(true) },
            variables: BTreeMap::new(),
            kernel: Kernel { release: "6.12".into(), command_line: "quiet".into(), verity: "1:2:ab:cd".into() },
            partitions: Vec::new(),
            inputs: Vec::new(),
            repositories: Vec::new(),
            packages: Vec::new(),
            downloads: Vec::new(),
            wheels: Vec::new(),
            containers: Vec::new(),
            pruned: Vec::new(),
            kept: Vec::new(),
            units: Vec::new(),
            enabled_by: BTreeMap::new(),
            warnings: Vec::new(),
            scripts_run: None,
            scripts_not_reproduced: Vec::new(),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let text = manifest().to_text().unwrap();
        assert_eq!(ImageManifest::read(text.as_bytes()).unwrap(), manifest());
        let more = text.replacen('{', "{\n  \"later\": [1],", 1);
        assert_eq!(ImageManifest::read(more.as_bytes()).unwrap(), manifest());
    }

    #[test]
    fn nothing_is_taken_for_zero_or_empty_in_silence() {
        let text = manifest().to_text().unwrap();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            ImageManifest::read(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
        };
        assert!(refused("\"epoch\": 1,", "").contains("epoch"));
        assert!(refused("\"epoch\": 1,", "\"epoch\": -1,").contains("-1"));
        assert!(refused("\"epoch\": 1,", "\"epoch\": 4294967296,").contains("4294967296"));
        assert!(refused("\"source_date_epoch\": 1700000000", "\"source_date_epoch\": \"today\"").contains("today"));
        assert!(refused("\"product\": \"node\"", "\"product\": null").contains("null"));
        assert!(refused("\"format\": 1", "\"format\": 2").contains("format 2"));
        assert!(refused("\"format\": 1,", "").contains("format"));
    }
}
