//! The heartbeat. The thread that gives it takes nothing from the rest of the program but a few atomics: it does not
//! allocate, lock, log or touch a file system, so that neither load nor a full disk nor a hung updater can stop it.

mod histogram;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

pub use histogram::Histogram;

use crate::clock::Clock;
use crate::condition::{Condition, Conditions};
use crate::line::OutputLine;

/// What must hold for a beat, written by the threads that look after it.
#[derive(Debug)]
pub struct Permit {
    failing: AtomicU32,
    /// When the health thread last came by, and when the main thread did. Nanoseconds of the monotonic clock.
    stamps: [AtomicU64; 2],
    /// Age at which a stamp means that its thread hangs.
    hang: u64,
}

/// The threads without which the process does not count as alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stamp {
    Health = 0,
    Main = 1,
}

impl Permit {
    /// All conditions hold, and both threads came by at `now`.
    pub fn new(now: u64, hang: u64) -> Permit {
        Permit { failing: AtomicU32::new(0), stamps: [AtomicU64::new(now), AtomicU64::new(now)], hang }
    }

    /// Says which conditions fail.
    pub fn set_failing(&self, failing: Conditions) {
        self.failing.store(failing.bits(), Relaxed);
    }

    /// Says that a thread is alive.
    pub fn stamp(&self, who: Stamp, now: u64) {
        self.stamps[who as usize].store(now, Relaxed);
    }

    /// The conditions for which a beat at `now` is withheld.
    pub fn withheld_for(&self, now: u64) -> Conditions {
        let failing = Conditions::from_bits(self.failing.load(Relaxed));
        if self.stamps.iter().any(|stamp| now.saturating_sub(stamp.load(Relaxed)) > self.hang) {
            failing.with(Condition::Process)
        } else {
            failing
        }
    }
}

/// What the beat thread tells.
#[derive(Debug, Default)]
pub struct Record {
    pub given: AtomicU64,
    pub withheld: AtomicU64,
    /// Withheld beats by the conditions that failed at the time.
    pub withheld_for: [AtomicU64; Condition::COUNT],
    /// Start of the last beat given, nanoseconds of the monotonic clock; 0 = none yet.
    pub last: AtomicU64,
    /// Whether the line is high now.
    pub high: AtomicBool,
    /// Times that the line could not be set.
    pub errors: AtomicU64,
    /// How far the interval between two beats was from its nominal length, microseconds.
    pub deviation: Histogram,
}

/// Nominal times of the beat in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    pub high: u64,
    pub interval: u64,
}

/// Beats until `stop`, or until the line is lost: it can be set neither high nor low. Calls `withheld` for each beat that is not given; it must not wait.
pub fn beat(
    line: &mut dyn OutputLine,
    clock: &impl Clock,
    timing: Timing,
    permit: &Permit,
    record: &Record,
    withheld: &dyn Fn(),
    stop: &AtomicBool,
) {
    let mut due = clock.now();
    let mut before = None;
    while !stop.load(Relaxed) {
        clock.sleep_until(due);
        let now = clock.now();
        let reasons = permit.withheld_for(now);
        if reasons.is_empty() {
            record.high.store(true, Relaxed);
            let set = line.set(true);
            let started = clock.now();
            if set.is_ok() {
                record.given.fetch_add(1, Relaxed);
                record.last.store(started, Relaxed);
                if let Some(before) = before {
                    record.deviation.add(started.saturating_sub(before).abs_diff(timing.interval) / 1_000);
                }
                before = Some(started);
            }
            clock.sleep_until(started.saturating_add(timing.high));
            let cleared = line.set(false);
            record.high.store(false, Relaxed);
            record.errors.fetch_add(u64::from(set.is_err()) + u64::from(cleared.is_err()), Relaxed);
            if set.is_err() && cleared.is_err() {
                return;
            }
        } else {
            record.withheld.fetch_add(1, Relaxed);
            for condition in reasons.iter() {
                record.withheld_for[condition as usize].fetch_add(1, Relaxed);
            }
            before = None;
            withheld();
        }
        due = next(due, clock.now(), timing.interval);
    }
}

/// The next beat on the grid that `due` is on. A beat that is already over is left out, not made up for.
fn next(due: u64, now: u64, interval: u64) -> u64 {
    let missed = now.saturating_sub(due) / interval.max(1);
    due.saturating_add(interval.saturating_mul(missed + 1))
}

#[cfg(test)]
mod tests;
