//! Whether the node is healthy enough for a beat. What is observed, what it means and what follows from it over time
//! are three steps; the last two are pure functions.

pub mod observe;

use fruit_contract::agent::config::{Health, SystemdCondition};

use crate::condition::{Condition, Conditions};
use observe::{Observation, Reading};

/// What an observation means for one condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// The configuration does not name it.
    Unnamed,
    Holds,
    /// It cannot be measured on this node. That must not switch the node off for ever: it counts as holding.
    Unmeasured(String),
    Fails(String),
}

/// One finding per condition, in the order of [`Condition::ALL`].
pub type Findings = [Finding; Condition::COUNT];

/// States in which a unit does its work (org.freedesktop.systemd1(5), ActiveState).
const ACTIVE: [&str; 3] = ["active", "reloading", "refreshing"];

/// What `observation` means under `config`. Process and shutdown are not observed but known.
pub fn find(config: &Health, observation: &Observation) -> Findings {
    let systemd = match (config.systemd, &observation.system_state) {
        (SystemdCondition::Ignore, _) | (_, None) => Finding::Unnamed,
        (_, Some(Err(error))) => Finding::Fails(format!("systemd does not answer: {error}")),
        (asked, Some(Ok(state))) => match (state.as_str(), asked) {
            ("maintenance" | "offline" | "unknown", _) | ("degraded", SystemdCondition::NotDegraded) => {
                Finding::Fails(format!("systemd is in state {state}"))
            }
            _ => Finding::Holds,
        },
    };
    let units = match &observation.units {
        None => Finding::Unnamed,
        Some(Err(error)) => Finding::Fails(format!("systemd does not answer: {error}")),
        Some(Ok(states)) => {
            let active = |name: &str| {
                states.iter().find(|unit| unit.name == name).map_or("inactive", |unit| unit.active.as_str())
            };
            let idle: Vec<String> = (config.units.iter())
                .map(|unit| (unit.as_str(), active(unit.as_str())))
                .filter(|(_, state)| !ACTIVE.contains(state))
                .map(|(name, state)| format!("{name} is {state}"))
                .collect();
            if idle.is_empty() { Finding::Holds } else { Finding::Fails(idle.join(", ")) }
        }
    };
    let below = |reading: &Reading, limit: u8, what: &str| match reading {
        Reading::Percent(percent) if *percent >= f64::from(limit) => {
            Finding::Fails(format!("{what} is {percent:.1}%, the limit is {limit}%"))
        }
        Reading::Percent(_) => Finding::Holds,
        Reading::Unreadable(error) => Finding::Unmeasured(error.clone()),
    };
    let memory = match (&config.memory, &observation.memory) {
        (Some(named), Some(reading)) => below(reading, named.limit.get(), "memory pressure"),
        _ => Finding::Unnamed,
    };
    let overlay = match (&config.overlay, &observation.overlay) {
        (Some(named), Some(reading)) => {
            below(reading, named.limit.get(), &format!("fill of {}", named.path.path().display()))
        }
        _ => Finding::Unnamed,
    };
    [Finding::Holds, systemd, units, memory, overlay, Finding::Holds]
}

/// What follows for the beat from one condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    Unnamed,
    Holds,
    Unmeasured(String),
    /// It fails, but not for long enough yet, or at a time when it may.
    Tolerated(String),
    /// It withholds the beat.
    Fails(String),
}

/// What follows for the beat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub states: [State; Condition::COUNT],
}

impl Verdict {
    /// The conditions that withhold the beat.
    pub fn failing(&self) -> Conditions {
        let failing =
            Condition::ALL.into_iter().filter(|condition| matches!(self.states[*condition as usize], State::Fails(_)));
        failing.fold(Conditions::NONE, Conditions::with)
    }

    /// Why a condition is not simply holding; empty if it is.
    pub fn detail(&self, condition: Condition) -> &str {
        match &self.states[condition as usize] {
            State::Unnamed | State::Holds => "",
            State::Unmeasured(detail) | State::Tolerated(detail) | State::Fails(detail) => detail,
        }
    }
}

/// Moments on one clock, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moments {
    pub now: u64,
    pub started: u64,
    /// When the node began to shut down, if it has.
    pub ending: Option<u64>,
}

/// Judges findings over time.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    /// Since when each condition fails without a break.
    since: [Option<u64>; Condition::COUNT],
}

impl Judge {
    /// What follows from `findings` at this moment.
    pub fn judge(&mut self, config: &Health, findings: &Findings, at: Moments) -> Verdict {
        let states = Condition::ALL.map(|condition| {
            let since = &mut self.since[condition as usize];
            let detail = match &findings[condition as usize] {
                Finding::Fails(detail) => detail.clone(),
                other => {
                    *since = None;
                    return match other {
                        Finding::Unnamed => State::Unnamed,
                        Finding::Unmeasured(why) => State::Unmeasured(why.clone()),
                        _ => State::Holds,
                    };
                }
            };
            let failing_for = at.now.saturating_sub(*since.get_or_insert(at.now));
            // A booting node has not started its units yet; one that goes down stops them, and its bus.
            let of_systemd = matches!(condition, Condition::Systemd | Condition::Units);
            let booting = at.now.saturating_sub(at.started) < config.grace.millis();
            if of_systemd && (booting || at.ending.is_some()) || failing_for < config.patience.millis() {
                State::Tolerated(detail)
            } else {
                State::Fails(detail)
            }
        });
        let mut verdict = Verdict { states };
        if let Some(ending) = at.ending {
            let lasts = at.now.saturating_sub(ending);
            if lasts > config.shutdown.millis() {
                let detail = format!("the shutdown takes {} s, the limit is {}", lasts / 1_000, config.shutdown);
                verdict.states[Condition::Shutdown as usize] = State::Fails(detail);
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests;
