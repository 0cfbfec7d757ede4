//! Figures of a node that its kernel offers. Each is left out where the kernel or the hardware has none.

use serde::{Deserialize, Serialize};

/// One temperature sensor.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Temperature {
    pub zone: String,
    pub celsius: f64,
}

/// Wear of one card or eMMC, where it tells (JEDEC JESD84-B51, `DEVICE_LIFE_TIME_EST`, `PRE_EOL_INFO`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiskWear {
    pub device: String,
    /// Upper end of the life used, in per cent: SLC area, MLC area. 110 = more than all of it.
    pub life_used_percent: Vec<u8>,
    /// 1 normal, 2 warning (80 % of the reserve used), 3 urgent (90 %).
    pub pre_eol: Option<u8>,
}

/// The figures.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Vitals {
    /// Seconds.
    pub uptime: Option<f64>,
    /// Under-voltage right now.
    pub under_voltage: Option<bool>,
    /// Flags of the firmware: bit 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft temperature limit; the same
    /// from bit 16 on for "since boot".
    pub throttled: Option<u32>,
    pub temperatures: Vec<Temperature>,
    /// Bytes.
    pub memory_total: Option<u64>,
    /// Bytes.
    pub memory_available: Option<u64>,
    /// Share of the writable root in use, in per cent.
    pub overlay_used_percent: Option<f64>,
    pub disks: Vec<DiskWear>,
    /// Memory of the agent itself that is in RAM, bytes.
    pub agent_resident: Option<u64>,
}
