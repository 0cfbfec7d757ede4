//! `/etc/fruit/agent.yaml`, which is also the `agent:` section of a recipe. An [`AgentConfig`] that exists is a valid
//! one: every bound is checked while it is deserialized, so that whoever reads it out of a larger document gets the
//! same errors at the same places.

mod device;

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use device::{Chip, WatchdogDevice};

use crate::settings::{self, ConfigError};
use crate::unit::UnitName;
use crate::values::{AbsolutePath, Percent, Span};

/// Where the agent looks when nothing else is named.
pub const CONFIG_PATH: &str = "/etc/fruit/agent.yaml";

/// GPIO lines that one uAPI v2 request can number within a chip of the Pi: BCM2711 has 58, BCM2837 54.
const LINES_OF_CHIP: u8 = 64;

/// The whole configuration. Every key has a default; an empty file is a valid one.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Whether the lines may be driven.
    pub board: Board,
    /// The GPIO chip and the two lines on it.
    pub lines: Lines,
    /// Timing of the beat.
    pub heartbeat: Heartbeat,
    /// The signal line.
    pub signal: Signal,
    /// The conditions under which a beat is given.
    pub health: Health,
    /// The hardware watchdog.
    pub watchdog: Watchdog,
    /// Where metrics and status are offered.
    pub metrics: Metrics,
    /// Folder of the account that is kept across boots.
    pub state: StateFolder,
}

/// Whether the agent drives the lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Board {
    /// If the device tree names the board.
    #[default]
    Auto,
    /// In any case.
    Force,
    /// Never.
    None,
}

/// The GPIO chip and the two lines on it (BCM numbers on a Pi).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "UncheckedLines")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lines {
    pub chip: Chip,
    /// Node to board. Field wiring: GPIO 5.
    pub heartbeat: u8,
    /// Both ways, idle high. Field wiring: GPIO 6.
    pub signal: u8,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename = "lines")]
struct UncheckedLines {
    /// `auto` finds the chip of the Pi's header by its label; else a device, or `unix:PATH` of a simulated board.
    chip: Chip,
    /// Line from the node to the board (BCM number on a Pi). Field wiring: GPIO 5.
    #[cfg_attr(feature = "schema", schemars(range(max = 63)))]
    heartbeat: u8,
    /// Line both ways, idle high. Field wiring: GPIO 6.
    #[cfg_attr(feature = "schema", schemars(range(max = 63)))]
    signal: u8,
}

impl Default for UncheckedLines {
    fn default() -> UncheckedLines {
        let Lines { chip, heartbeat, signal } = Lines::default();
        UncheckedLines { chip, heartbeat, signal }
    }
}

impl Default for Lines {
    fn default() -> Lines {
        Lines { chip: Chip::Auto, heartbeat: 5, signal: 6 }
    }
}

impl TryFrom<UncheckedLines> for Lines {
    type Error = String;

    fn try_from(lines: UncheckedLines) -> Result<Lines, String> {
        let UncheckedLines { chip, heartbeat, signal } = lines;
        for (name, line) in [("heartbeat", heartbeat), ("signal", signal)] {
            if line >= LINES_OF_CHIP {
                return Err(format!("lines.{name} is {line}, but a chip has the lines 0 to {}", LINES_OF_CHIP - 1));
            }
        }
        if heartbeat == signal {
            return Err(format!(
                "lines.heartbeat and lines.signal are both {signal}; they are two wires (5 and 6 on the board in the field)"
            ));
        }
        Ok(Lines { chip, heartbeat, signal })
    }
}

/// Timing of the beat.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "UncheckedHeartbeat")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Heartbeat {
    /// How long the line is high in each beat.
    pub high: Span<5, 10_000>,
    /// From one rising edge to the next. The board's timeout runs from beat to beat too, in whole seconds: 5 s and not
    /// 5.2 s (5 s of low and 0.2 s of high) is what fits a timeout of some fives; give the board more than two intervals.
    pub interval: Span<20, 250_000>,
    /// `SCHED_FIFO` priority of the thread that beats, 1 to 99.
    pub priority: u8,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename = "heartbeat")]
struct UncheckedHeartbeat {
    /// How long the line is high in each beat.
    high: Span<5, 10_000>,
    /// From one rising edge to the next; give the board a timeout of more than two intervals.
    interval: Span<20, 250_000>,
    /// `SCHED_FIFO` priority of the thread that beats, 1 to 99.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 99)))]
    priority: u8,
}

impl Default for UncheckedHeartbeat {
    fn default() -> UncheckedHeartbeat {
        let Heartbeat { high, interval, priority } = Heartbeat::default();
        UncheckedHeartbeat { high, interval, priority }
    }
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat { high: Span::from_millis(200), interval: Span::from_millis(5_000), priority: 50 }
    }
}

impl TryFrom<UncheckedHeartbeat> for Heartbeat {
    type Error = String;

    fn try_from(heartbeat: UncheckedHeartbeat) -> Result<Heartbeat, String> {
        let UncheckedHeartbeat { high, interval, priority } = heartbeat;
        if high.millis() >= interval.millis() {
            return Err(format!(
                "heartbeat.high is {high} and must be shorter than heartbeat.interval, which is {interval}"
            ));
        }
        if !(1..=99).contains(&priority) {
            return Err(format!("heartbeat.priority is {priority}; a real-time priority is 1 to 99"));
        }
        Ok(Heartbeat { high, interval, priority })
    }
}

/// The signal line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Signal {
    /// A low pulse shorter than this is noise; 0 = every falling edge is an order.
    pub glitch: Span<0, 1_000>,
    /// How long the node pulls the line low when it goes down by itself.
    pub width: Span<1, 10_000>,
}

impl Default for Signal {
    fn default() -> Signal {
        // The shortest width that a board can be set to: its setting is one byte of milliseconds.
        Signal { glitch: Span::from_millis(1), width: Span::from_millis(200) }
    }
}

impl Signal {
    /// Width in nanoseconds from which a low pulse is an order: half a millisecond below [`Signal::glitch`], since board
    /// and node count by different clocks, and a pulse set to that very width must not be lost.
    #[must_use]
    pub fn least_pulse(&self) -> u64 {
        (self.glitch.millis() * 1_000_000).saturating_sub(500_000)
    }
}

/// The conditions under which a beat is given. That the process itself is alive always is one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// Time between two looks at the conditions.
    pub check: Span<500, 60_000>,
    /// How long a condition must fail without a break before beats are withheld for it.
    pub patience: Span<0, 600_000>,
    /// How long after its start the agent lets conditions fail that a booting node cannot meet yet (systemd, units).
    pub grace: Span<0, 3_600_000>,
    /// How long the beat goes on once the node is shutting down; then the shutdown counts as hung.
    pub shutdown: Span<1_000, 3_600_000>,
    /// What is asked of systemd.
    pub systemd: SystemdCondition,
    /// Units that must be active.
    pub units: Vec<UnitName>,
    /// Memory pressure that withholds the beat; not looked at when absent.
    pub memory: Option<MemoryCondition>,
    /// Fill of the writable root that withholds the beat; not looked at when absent.
    pub overlay: Option<OverlayCondition>,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            check: Span::from_millis(5_000),
            patience: Span::from_millis(20_000),
            grace: Span::from_millis(120_000),
            shutdown: Span::from_millis(300_000),
            systemd: SystemdCondition::Answering,
            units: Vec::new(),
            memory: None,
            overlay: None,
        }
    }
}

/// What is asked of systemd.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SystemdCondition {
    /// Nothing.
    Ignore,
    /// It answers and is not in its rescue or emergency mode.
    #[default]
    Answering,
    /// As `answering`, and no unit has failed (`systemctl is-system-running` does not say `degraded`).
    NotDegraded,
}

/// Pressure stall information of the kernel, `/proc/pressure/memory`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MemoryCondition {
    /// Which of the kernel's two figures.
    #[serde(default)]
    pub stall: Stall,
    /// Which of the kernel's averages.
    #[serde(default)]
    pub window: Window,
    /// Share of time; at this or above the condition fails.
    pub limit: Percent,
}

/// Which of the kernel's two figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stall {
    /// Some task waited for memory.
    Some,
    /// All tasks waited for memory: nothing got done.
    #[default]
    Full,
}

/// The kernel's averages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Window {
    #[serde(rename = "10s")]
    Avg10,
    #[default]
    #[serde(rename = "60s")]
    Avg60,
    #[serde(rename = "300s")]
    Avg300,
}

/// Fill of the file system that takes the writes of the root.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OverlayCondition {
    /// `statvfs` of an overlay answers for its upper layer, so the root itself is the right place to ask.
    #[serde(default = "AbsolutePath::root")]
    pub path: AbsolutePath,
    /// Share of blocks or of inodes in use; at this or above the condition fails.
    pub limit: Percent,
}

/// The hardware watchdog.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Watchdog {
    /// Off by default: systemd may hold the device (`RuntimeWatchdogSec=`), and an emulated Pi resets on opening it.
    pub device: WatchdogDevice,
    /// Time without a feed after which the hardware resets the node. The Pi's hardware counts to 15 s.
    pub timeout: Span<2_000, 600_000>,
}

impl Default for Watchdog {
    fn default() -> Watchdog {
        Watchdog { device: WatchdogDevice::None, timeout: Span::from_millis(15_000) }
    }
}

/// Where metrics and status are offered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Local socket, also that of `fruit-agent status`.
    pub socket: AbsolutePath,
    /// Address and port for collectors on the network; none when absent.
    pub listen: Option<SocketAddr>,
}

/// Local socket of the agent.
pub const SOCKET_PATH: &str = "/run/fruit-agent/agent.sock";

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { socket: AbsolutePath::known(SOCKET_PATH), listen: None }
    }
}

/// Folder of the account.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct StateFolder(pub AbsolutePath);

impl Default for StateFolder {
    fn default() -> StateFolder {
        StateFolder(AbsolutePath::known("/var/lib/fruit/agent"))
    }
}

impl AgentConfig {
    /// Reads the configuration at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or [`ConfigError::Invalid`] with the place of the first mistake.
    pub fn read(path: &Path) -> Result<AgentConfig, ConfigError> {
        let (text, shown) = settings::text_of(path)?;
        AgentConfig::from_yaml(&text, &shown)
    }

    /// Reads a configuration out of `text`; `path` is what errors call it.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the place of the first mistake.
    pub fn from_yaml(text: &str, path: &str) -> Result<AgentConfig, ConfigError> {
        // A file with nothing but comments is a null document, which is no mapping to serde.
        settings::parse::<Option<AgentConfig>>(text, path).map(Option::unwrap_or_default)
    }

    /// This configuration as the text of a file that [`AgentConfig::from_yaml`] reads back to an equal value.
    pub fn to_yaml(&self) -> String {
        settings::to_yaml(self)
    }
}
