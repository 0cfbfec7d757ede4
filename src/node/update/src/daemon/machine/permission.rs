//! Whether the node may be disturbed.

use fruit_contract::update::config::{Policy, UpdateConfig, WithoutClock};
use fruit_contract::update::window::{self, WeekMinute};

/// What a permission depends on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Circumstances {
    /// Who asks that the node is not disturbed, and why.
    pub inhibitors: Vec<String>,
    /// The time of the week, if the node knows it.
    pub time: Option<WeekMinute>,
}

/// What stands against doing now what `policy` is for; nothing if it may be done.
pub fn obstacles(config: &UpdateConfig, policy: Policy, circumstances: &Circumstances) -> Vec<String> {
    let mut against = circumstances.inhibitors.clone();
    match policy {
        Policy::Auto => {}
        Policy::Manual => against.push("an operator".into()),
        Policy::Window => match (circumstances.time, config.without_clock) {
            _ if config.windows.is_empty() => {}
            (Some(now), _) if window::open(&config.windows, now) => {}
            (Some(_), _) => {
                let windows: Vec<String> = config.windows.iter().map(ToString::to_string).collect();
                against.push(format!("a window ({})", windows.join(", ")));
            }
            (None, WithoutClock::Ignore) => {}
            (None, WithoutClock::Wait) => against.push("the clock to be set, since there are windows".into()),
        },
    }
    against
}
