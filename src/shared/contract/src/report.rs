//! What fruit-init tells userspace about the boot: `/run/fruit/boot.json`.

use serde::{Deserialize, Serialize};

use crate::bootctl::Slot;
use crate::init::ImageInfo;
use crate::read::Problem;

/// Where the report is.
pub const BOOT_REPORT_PATH: &str = "/run/fruit/boot.json";

/// How this boot came about and what state it left the node in. Programs that read it must accept unknown keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BootReport {
    pub image: ImageInfo,
    /// Slot that this root is from.
    pub slot: Slot,
    /// Whether the slot is on trial: someone must commit it.
    pub trial: bool,
    /// Device of the disk, such as `/dev/mmcblk0`.
    pub disk: String,
    /// Whether every block of the root is checked as it is read.
    pub verity: bool,
    pub data: DataReport,
    pub hostname: String,
    pub machine_id: MachineId,
    /// Serial number of the board, if it has one.
    #[serde(default)]
    pub serial: Option<String>,
    /// Name of the board as the device tree or the firmware gives it.
    #[serde(default)]
    pub model: Option<String>,
    /// Mistakes in fruit.yaml.
    pub config_problems: Vec<Problem>,
    /// Everything else that did not go as it should, as sentences.
    pub warnings: Vec<String>,
    /// Modules that the kernel did not take, with the reason; often the hardware is just not there.
    pub modules_missing: Vec<String>,
    /// Steps in order, with the time since the kernel's start when they ended.
    pub timeline: Vec<Step>,
}

/// State of the data partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DataReport {
    /// State paths survive a reboot.
    Persistent {
        device: String,
        /// Bytes of the filesystem.
        size: u64,
        /// Whether this boot made the filesystem.
        formatted: bool,
        /// Bytes before this boot grew it.
        #[serde(default)]
        grown_from: Option<u64>,
    },
    /// State paths are in RAM and forget.
    Ram { reason: String },
}

/// Where the machine id is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineId {
    /// Made once at random, kept on the data partition.
    Stored,
    /// Follows from the board's serial number: the same at each boot, without a data partition.
    FromSerial,
    /// At random for this boot only.
    Random,
}

/// One step of the boot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    /// Milliseconds since the kernel's start.
    pub at_ms: u64,
}

impl BootReport {
    pub fn to_json(&self) -> String {
        // Only types whose serialization can't fail.
        format!("{}\n", serde_json::to_string_pretty(self).unwrap_or_default())
    }

    /// # Errors
    /// A sentence with line and column.
    pub fn from_json(json: &[u8]) -> Result<BootReport, String> {
        serde_json::from_slice(json).map_err(|e| e.to_string())
    }
}
