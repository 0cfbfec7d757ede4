//! What the agent says of itself: the document behind `fruit-agent status`, which the updater reads too.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::vitals::Vitals;

/// The whole document. Times of the beat in the unit that the field's name says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// Why the configuration in force is the built-in one instead of the file's.
    pub config_error: Option<String>,
    pub board: BoardStatus,
    pub heartbeat: HeartbeatStatus,
    pub signal: SignalStatus,
    pub conditions: Vec<ConditionStatus>,
    pub watchdog: Option<WatchdogStatus>,
    /// How the node is going down, if it is.
    pub ending: Option<String>,
    pub account: Option<AccountStatus>,
    /// Why the account is not kept.
    pub account_error: Option<String>,
    pub vitals: Vitals,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BoardStatus {
    /// HAT named by the device tree.
    pub product: Option<String>,
    pub drives_lines: bool,
    /// Why a line that should be used is not.
    pub error: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HeartbeatStatus {
    /// `beating`, `withheld` or `off`.
    pub state: String,
    pub given: u64,
    pub withheld: u64,
    pub withheld_for: BTreeMap<String, u64>,
    pub line_errors: u64,
    pub last_beat_ms_ago: Option<u64>,
    pub interval_ms: u64,
    /// How far intervals were from nominal.
    pub deviation_us: Option<Deviation>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Deviation {
    pub intervals: u64,
    pub median: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SignalStatus {
    pub watched: bool,
    /// `high` or `low`.
    pub level: Option<String>,
    /// The board has ordered the node to shut down.
    pub ordered: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConditionStatus {
    pub name: String,
    /// `holds`, `unmeasured`, `tolerated` (fails, but not for long enough yet) or `fails` (withholds the beat).
    pub state: String,
    pub detail: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WatchdogStatus {
    pub timeout_s: u32,
    pub fed: u64,
    pub withheld: u64,
    pub errors: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AccountStatus {
    pub boots: u32,
    pub previous_ending: Option<String>,
    pub previous_uptime_s: u64,
    pub previous_beats_withheld: u64,
    pub total_uptime_s: u64,
    pub total_beats_given: u64,
    pub total_beats_withheld: u64,
    pub endings: BTreeMap<String, u32>,
    pub withheld_for: BTreeMap<String, u64>,
    pub last_withholding: Option<WithholdingStatus>,
    /// Writes to the card since the agent started.
    pub writes: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WithholdingStatus {
    pub boot: u32,
    pub unix_time: u64,
    pub conditions: String,
    pub detail: String,
}

/// The firmware's flags in words (documentation of `vcgencmd get_throttled`).
pub const THROTTLE_FLAGS: [(u32, &str); 8] = [
    (0, "under-voltage"),
    (1, "frequency-capped"),
    (2, "throttled"),
    (3, "soft-temperature-limit"),
    (16, "under-voltage-since-boot"),
    (17, "frequency-capped-since-boot"),
    (18, "throttled-since-boot"),
    (19, "soft-temperature-limit-since-boot"),
];

fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// For people.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, text: &str| writeln!(f, "{name:<11}{text}");
        if let Some(error) = &self.config_error {
            row("config", &format!("built-in, because of {error}"))?;
        }
        let board = match (self.board.product.as_deref(), self.board.drives_lines) {
            (Some(product), true) => format!("{product}, lines in use"),
            (None, true) => "none found, lines driven as configured".to_owned(),
            (Some(product), false) => format!("{product}, lines left alone"),
            (None, false) => "none found, lines left alone".to_owned(),
        };
        row("board", &board)?;
        if let Some(error) = &self.board.error {
            row("", error)?;
        }
        let beat = &self.heartbeat;
        let mut text = format!("{}, {} given, {} withheld", beat.state, beat.given, beat.withheld);
        if let Some(ago) = beat.last_beat_ms_ago {
            write!(text, ", last {:.1} s ago", ago as f64 / 1_000.0)?;
        }
        if beat.line_errors > 0 {
            write!(text, ", {} errors of the line", beat.line_errors)?;
        }
        row("heartbeat", &text)?;
        if let Some(deviation) = &beat.deviation_us {
            let Deviation { median, p999, max, .. } = deviation;
            row("", &format!("interval off by {median} µs (median), {p999} µs (99.9 %), {max} µs (most)"))?;
        }
        let watched = if self.signal.watched { "watched" } else { "not watched" };
        let ordered = if self.signal.ordered { "; the board has ordered a shutdown" } else { "" };
        let level = self.signal.level.as_deref().map_or(String::new(), |level| format!(", {level}"));
        row("signal", &format!("{watched}{level}{ordered}"))?;
        if let Some(ending) = &self.ending {
            row("ending", ending)?;
        }
        for (index, condition) in self.conditions.iter().enumerate() {
            let colon = if condition.detail.is_empty() { "" } else { ": " };
            let text = format!("{:<9} {}{colon}{}", condition.name, condition.state, condition.detail);
            row(if index == 0 { "conditions" } else { "" }, &text)?;
        }
        if let Some(watchdog) = &self.watchdog {
            let WatchdogStatus { timeout_s, fed, withheld, errors } = watchdog;
            row("watchdog", &format!("{timeout_s} s, {fed} times fed, {withheld} withheld, {errors} errors"))?;
        }
        match (&self.account, &self.account_error) {
            (Some(account), _) => {
                let ended = account.previous_ending.as_deref().map_or("first one".to_owned(), |ending| {
                    format!("previous one ended by {ending} after {}", span(account.previous_uptime_s))
                });
                row("boots", &format!("{}, {ended}", account.boots))?;
                if let Some(last) = &account.last_withholding {
                    row("", &format!("beats last withheld in boot {}: {}", last.boot, last.detail))?;
                }
            }
            (None, None) => row("boots", "not read yet")?,
            (None, Some(_)) => {}
        }
        if let Some(error) = &self.account_error {
            row("account", error)?;
        }
        let vitals = &self.vitals;
        if let Some(uptime) = vitals.uptime {
            row("uptime", &span(uptime as u64))?;
        }
        for sensor in &vitals.temperatures {
            row("heat", &format!("{:.1} °C {}", sensor.celsius, sensor.zone))?;
        }
        if let Some(low) = vitals.under_voltage {
            row("supply", if low { "under-voltage" } else { "well" })?;
        }
        if let Some(flags) = vitals.throttled {
            let set = THROTTLE_FLAGS.iter().filter(|(bit, _)| flags >> bit & 1 != 0).map(|(_, name)| *name);
            let set = set.collect::<Vec<_>>().join(", ");
            row("throttling", if set.is_empty() { "none" } else { &set })?;
        }
        if let (Some(total), Some(available)) = (vitals.memory_total, vitals.memory_available) {
            row("memory", &format!("{:.0} of {:.0} MiB available", mebibytes(available), mebibytes(total)))?;
        }
        if let Some(used) = vitals.overlay_used_percent {
            row("overlay", &format!("{used:.0} % used"))?;
        }
        for disk in &vitals.disks {
            let life: Vec<String> = disk.life_used_percent.iter().map(|life| format!("{life} %")).collect();
            row("wear", &format!("{}: up to {} of its life used", disk.device, life.join(" and ")))?;
        }
        Ok(())
    }
}
