//! What the person at the terminal sees while work goes on: bars on a terminal, plain lines elsewhere, nothing when
//! quiet. Talk goes to stderr; stdout is for data.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fruit_output::talk;
pub use fruit_progress::Unit;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes less than this shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// Without a terminal, a long step says how far it is this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Bars,
    Lines,
    Silent,
}

pub struct Progress {
    style: Style,
    details: bool,
}

impl Progress {
    pub fn new(quiet: bool) -> Progress {
        let style = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Style::Silent,
            (_, true) => Style::Bars,
            (_, false) => Style::Lines,
        };
        Progress { style, details: false }
    }

    /// With what [`fruit_progress::Progress::detail`] says.
    #[must_use]
    pub fn with_details(mut self, details: bool) -> Progress {
        self.details = details;
        self
    }

    /// One line of talk.
    pub fn say(&self, line: impl AsRef<str>) {
        if self.style != Style::Silent {
            talk(format_args!("{}", line.as_ref()));
        }
    }
}

impl fruit_progress::Progress for Progress {
    fn say(&self, line: &str) {
        Progress::say(self, line);
    }

    fn has_details(&self) -> bool {
        self.details
    }

    /// A bar appears when the step lasts longer than a second.
    fn step(&self, name: &str, total: u64, unit: Unit) -> Box<dyn fruit_progress::Step> {
        let bar = match self.style {
            Style::Bars => {
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
                bar.set_style(style(unit));
                bar.set_message(name.to_owned());
                Some(bar)
            }
            _ => None,
        };
        Box::new(Step {
            name: name.to_owned(),
            style: self.style,
            unit,
            bar,
            started: Instant::now(),
            shown: Mutex::new(Shown { visible: false, last: Instant::now() }),
            done: AtomicU64::new(0),
            total: AtomicU64::new(total),
        })
    }
}

fn style(unit: Unit) -> ProgressStyle {
    let template = match unit {
        Unit::Bytes => "{msg:22} {wide_bar} {bytes:>11}/{total_bytes:11} {eta:>4}",
        Unit::Pieces => "{msg:22} {wide_bar} {pos:>7}/{len:7} {eta:>4}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct Shown {
    visible: bool,
    last: Instant,
}

/// One step under way; shared by the threads that do it, gone from the screen when dropped.
struct Step {
    name: String,
    style: Style,
    unit: Unit,
    bar: Option<ProgressBar>,
    started: Instant,
    shown: Mutex<Shown>,
    done: AtomicU64,
    total: AtomicU64,
}

impl fruit_progress::Step for Step {
    fn set_total(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    fn add(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed) + amount;
        self.show(done);
    }

    fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.show(done);
    }
}

impl Step {
    fn show(&self, done: u64) {
        if self.style == Style::Silent || self.started.elapsed() < PATIENCE {
            return;
        }
        // Whoever holds the lock is drawing already; the next call will show newer numbers.
        let Ok(mut shown) = self.shown.try_lock() else { return };
        if let Some(bar) = &self.bar {
            if !shown.visible {
                shown.visible = true;
                bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            bar.set_position(done);
        } else if shown.last.elapsed() >= LINE_EVERY {
            shown.last = Instant::now();
            let total = self.total.load(Ordering::Relaxed);
            match self.unit {
                Unit::Bytes => talk(format_args!("{}: {} of {} MiB", self.name, done >> 20, total >> 20)),
                Unit::Pieces => talk(format_args!("{}: {done} of {total}", self.name)),
            }
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
