//! The thread that looks at the conditions.

use std::mem::discriminant;
use std::thread;

use fruit_device::journal;
use fruit_device::systemd::{SYSTEM_BUS, Systemd};

use crate::beat::Stamp;
use crate::clock::{Clock, Monotonic};
use crate::condition::Condition;
use crate::health::observe::observe;
use crate::health::{Judge, Moments, State, Verdict, find};
use crate::shared_state::SharedState;

/// Checks for ever.
pub fn run(shared: &SharedState) {
    let health = &shared.config.health;
    let bus = shared.roots.run.join(SYSTEM_BUS.trim_start_matches("/run/"));
    let mut systemd = Systemd::at(&bus, health.check.duration());
    let mut judge = Judge::default();
    let mut before = Verdict { states: [const { State::Holds }; Condition::COUNT] };
    let millis = |nanos: u64| nanos / 1_000_000;
    loop {
        let observation = observe(health, &shared.roots.proc, &mut systemd);
        let now = Monotonic.now();
        let moments =
            Moments { now: millis(now), started: millis(shared.started), ending: shared.ending_since().map(millis) };
        let verdict = judge.judge(health, &find(health, &observation), moments);
        for condition in Condition::ALL {
            tell(condition, &before.states[condition as usize], &verdict.states[condition as usize]);
        }
        *shared.verdict() = Some(verdict.clone());
        shared.permit.set_failing(verdict.failing());
        shared.permit.stamp(Stamp::Health, now);
        before = verdict;
        thread::sleep(health.check.duration());
    }
}

/// Tells the journal what has changed.
fn tell(condition: Condition, before: &State, after: &State) {
    if discriminant(before) == discriminant(after) {
        return;
    }
    let name = condition.name();
    match (before, after) {
        (_, State::Fails(detail)) => journal::error(&format!("condition {name} fails: {detail}")),
        (_, State::Tolerated(detail)) => journal::info(&format!("condition {name} fails, tolerated so far: {detail}")),
        (_, State::Unmeasured(detail)) => journal::warn(&format!("condition {name} cannot be measured: {detail}")),
        (State::Fails(_), _) => journal::notice(&format!("condition {name} holds again")),
        _ => {}
    }
}
