//! When a node looks at itself, and when it tells.

use std::time::{Duration, Instant};

use fruit_record::body::Report;
use tokio::sync::mpsc;

use super::message::Event;
use crate::facts::{Sources, matters};

/// Between two looks. What matters is told after one, the rest when its time has come.
const LOOK: Duration = Duration::from_secs(60);
/// While a report could not be told: before the node belongs to the fleet, or knows what it said last.
const SOON: Duration = Duration::from_secs(5);

/// The reports of a node.
#[derive(Default)]
pub struct Reporter {
    sources: Option<Sources>,
    looked: Option<Instant>,
    failed: bool,
    /// The last one that was told, and when.
    told: Option<(Report, Instant)>,
}

impl Reporter {
    pub fn new(sources: Option<Sources>) -> Reporter {
        Reporter { sources, ..Reporter::default() }
    }

    /// Looks, if it is time to, outside of the task that must not wait.
    pub fn look(&mut self, events: &mpsc::Sender<Event>) {
        let Some(sources) = self.sources.as_ref() else { return };
        let pause = if self.failed { SOON } else { LOOK }.min(sources.every);
        if self.looked.is_some_and(|at| at.elapsed() < pause) {
            return;
        }
        self.looked = Some(Instant::now());
        let (sources, events) = (sources.clone(), events.clone());
        tokio::task::spawn_blocking(move || {
            // Nobody listens if the engine has ended.
            let _ = events.blocking_send(Event::Looked(sources.report()));
        });
    }

    /// Whether this one is to be told.
    pub fn is_due(&self, report: &Report) -> bool {
        let Some(sources) = &self.sources else { return false };
        self.told.as_ref().is_none_or(|(last, at)| at.elapsed() >= sources.every || matters(last, report))
    }

    /// It was told; or it was not, and is tried again soon.
    pub fn told(&mut self, report: Report, was_told: bool) {
        self.failed = !was_told;
        if was_told {
            self.told = Some((report, Instant::now()));
        }
    }
}
