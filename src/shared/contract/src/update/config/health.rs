//! What a new release must show before it is committed.

use serde::{Deserialize, Serialize};

use crate::unit::UnitName;
use crate::values::Span;

/// Checks and their times. All checks must hold at once, and go on to hold for `soak` without a break; that stretch must
/// have begun within `within`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct HealthChecks {
    /// From the start of the updater's service to the last moment at which the good stretch may begin.
    pub within: Span<1_000, 86_400_000>,
    /// How long all checks must go on to hold.
    pub soak: Span<0, 86_400_000>,
    /// Time between two looks.
    pub interval: Span<100, 600_000>,
    /// Units of systemd that must be active.
    #[serde(deserialize_with = "super::few")]
    pub units: Vec<UnitName>,
    /// How many units of systemd may have failed.
    pub failed_units: FailedUnits,
    /// Programs that must end with status 0.
    #[serde(deserialize_with = "super::few")]
    pub commands: Vec<CommandCheck>,
    /// What must be reachable over the network.
    #[serde(deserialize_with = "super::few")]
    pub reach: Vec<Reach>,
    /// What the power agent must say.
    pub agent: AgentCheck,
}

impl Default for HealthChecks {
    fn default() -> HealthChecks {
        HealthChecks {
            within: Span::from_millis(600_000),
            soak: Span::from_millis(60_000),
            interval: Span::from_millis(5_000),
            units: Vec::new(),
            failed_units: FailedUnits::default(),
            commands: Vec::new(),
            reach: Vec::new(),
            agent: AgentCheck::default(),
        }
    }
}

impl HealthChecks {
    /// Whether any check asks systemd.
    pub fn need_systemd(&self) -> bool {
        !self.units.is_empty() || self.failed_units == FailedUnits::None
    }
}

/// How many units of systemd may have failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FailedUnits {
    /// Any number.
    #[default]
    Ignore,
    /// None.
    None,
}

/// Whether the power agent is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AgentCheck {
    /// No.
    #[default]
    Ignore,
    /// It answers, and withholds no beat.
    Healthy,
}

/// A program that looks at the node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CommandCheck {
    /// Program, by its path from the root, and its arguments; no shell is between.
    pub run: CommandLine,
    /// Time that it may take; then it is killed, with all that it started.
    #[serde(default = "usual_timeout")]
    pub timeout: Span<100, 3_600_000>,
}

const fn usual_timeout() -> Span<100, 3_600_000> {
    Span::from_millis(30_000)
}

/// A program and its arguments.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct CommandLine(Vec<String>);

impl CommandLine {
    pub fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    pub fn arguments(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl TryFrom<Vec<String>> for CommandLine {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<CommandLine, String> {
        match words.first() {
            None => Err("a command needs a program: [/usr/bin/PROGRAM, ARGUMENT, …]".into()),
            Some(program) if !program.starts_with('/') => {
                Err(format!("`{program}` is not a path from the root; commands run without a search path"))
            }
            _ if words.iter().any(|word| word.contains('\0')) => Err("a word of a command contains NUL".into()),
            _ => Ok(CommandLine(words)),
        }
    }
}

impl From<CommandLine> for Vec<String> {
    fn from(line: CommandLine) -> Vec<String> {
        line.0
    }
}

impl std::fmt::Display for CommandLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Something on the network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^(gateway|.+:[0-9]{1,5})$")))]
pub enum Reach {
    /// The default gateway, any of several, answers to ping.
    Gateway,
    /// A TCP connection to `HOST:PORT` can be made.
    Port(String),
}

impl TryFrom<String> for Reach {
    type Error = String;

    fn try_from(text: String) -> Result<Reach, String> {
        if text == "gateway" {
            return Ok(Reach::Gateway);
        }
        let wrong = || format!("`{text}` is not reachable; write gateway or HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse::<u16>().map_err(|_| wrong())?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || port == 0 || (host.contains(':') && !bracketed) || host.chars().any(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Reach::Port(text))
    }
}

impl From<Reach> for String {
    fn from(reach: Reach) -> String {
        reach.to_string()
    }
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reach::Gateway => f.write_str("gateway"),
            Reach::Port(address) => f.write_str(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_reached_has_a_port_or_is_the_gateway() {
        for good in ["gateway", "10.0.0.1:443", "updates.example.org:80", "[fe80::1]:22"] {
            assert_eq!(String::from(Reach::try_from(good.to_owned()).unwrap()), good);
        }
        for bad in ["", "10.0.0.1", ":80", "a:0", "a:99999", "fe80::1:22", "a b:1"] {
            assert!(Reach::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn commands_are_programs_by_path() {
        let words = |words: &[&str]| CommandLine::try_from(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["/bin/x", "a b"]).unwrap().arguments(), ["a b"]);
        assert!(words(&[]).is_err() && words(&["x"]).is_err() && words(&["/x", "\0"]).is_err());
    }
}
