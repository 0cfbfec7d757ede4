//! One Pi position of a board: its power switch, its two lines, and the Pi that is plugged in.

use fruit_stack::command::Timer;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a power cycle keeps a Pi without power.
pub(super) const CYCLE_OFF: Duration = Duration::from_secs(2);

/// What a Pi position is set to; kept in flash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Seconds, in the order of [`Timer::ALL`].
    pub(super) timers: [u8; 4],
    pub(super) start_up: bool,
    /// Milliseconds.
    pub(super) signal_width: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { timers: [30, 120, 30, 20], start_up: false, signal_width: 200 }
    }
}

impl Settings {
    fn slot(timer: Timer) -> usize {
        match timer {
            Timer::HeartbeatTimeout => 0,
            Timer::BootDelay => 1,
            Timer::OffDelay => 2,
            Timer::SignalledOffDelay => 3,
        }
    }

    pub(super) fn timer(&self, timer: Timer) -> u8 {
        self.timers[Self::slot(timer)]
    }

    pub(super) fn set_timer(&mut self, timer: Timer, seconds: u8) {
        self.timers[Self::slot(timer)] = seconds;
    }

    fn wait(&self, timer: Timer) -> Duration {
        Duration::from_secs(u64::from(self.timer(timer)))
    }
}

/// What is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PiModel {
    /// Boots in 20 s, beats every 5 s, shuts down within 6 s of the board's signal.
    Healthy,
    /// Its lines are driven from outside: by a test, or by a bridge to an emulated machine.
    External,
}

/// What the Pi does, as far as its model knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PiState {
    Off,
    Booting,
    Running,
    ShuttingDown,
    Halted,
    Crashed,
}

impl PiState {
    /// What a Pi 3 draws in this state, in amps.
    const fn amps(self) -> f64 {
        match self {
            Self::Off => 0.0,
            Self::Booting => 0.75,
            Self::Running => 0.45,
            Self::ShuttingDown => 0.55,
            Self::Halted => 0.10,
            Self::Crashed => 0.60,
        }
    }
}

const BOOT: Duration = Duration::from_secs(20);
const BEAT_EVERY: Duration = Duration::from_secs(5);
const BEAT_WIDTH: Duration = Duration::from_millis(200);
const HALT: Duration = Duration::from_secs(6);

/// The board's switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    Off,
    On {
        since: Duration,
    },
    /// On, to be cut at `cut`.
    Leaving {
        cut: Duration,
        reason: &'static str,
    },
    /// Off, to come back at `at`.
    Cycling {
        at: Duration,
    },
}

/// What a step of a Pi position did that others want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    PowerOn(&'static str),
    PowerCut(&'static str),
    Signal(bool),
    Heartbeat(bool),
}

#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) settings: Settings,
    pub(super) switch: Switch,
    pub(super) model: PiModel,
    pub(super) state: PiState,
    /// Amps, when told; else what the state draws.
    pub(super) load: Option<f64>,
    heartbeat: bool,
    last_beat: Option<Duration>,
    signal_by_board: Option<Duration>,
    signal_by_pi: bool,
    /// When the model does its next step.
    next_step: Option<Duration>,
    /// A healthy Pi that shuts down by itself pulls the line when it has halted.
    own_shutdown: bool,
    pub(super) changes: Vec<Change>,
}

impl Position {
    pub(super) fn new(model: PiModel, settings: Settings) -> Self {
        Self {
            settings,
            switch: Switch::Off,
            model,
            state: PiState::Off,
            load: None,
            heartbeat: false,
            last_beat: None,
            signal_by_board: None,
            signal_by_pi: false,
            next_step: None,
            own_shutdown: false,
            changes: Vec::new(),
        }
    }

    pub(super) fn powered(&self) -> bool {
        matches!(self.switch, Switch::On { .. } | Switch::Leaving { .. })
    }

    /// Amps drawn; `None` without power.
    pub(super) fn draw(&self) -> Option<f64> {
        self.powered().then(|| self.load.unwrap_or_else(|| self.state.amps()))
    }

    pub(super) fn heartbeat(&self) -> bool {
        self.heartbeat
    }

    /// The signal line: high unless either side pulls it.
    pub(super) fn signal(&self) -> bool {
        self.signal_by_board.is_none() && !self.signal_by_pi
    }

    pub(super) fn heartbeat_seen(&self, now: Duration) -> bool {
        let timeout = self.settings.timer(Timer::HeartbeatTimeout);
        let recent = |beat| timeout == 0 || now < beat + self.settings.wait(Timer::HeartbeatTimeout);
        self.powered() && self.last_beat.is_some_and(recent)
    }

    pub(super) fn on(&mut self, now: Duration, reason: &'static str) {
        match self.switch {
            Switch::On { .. } => {}
            Switch::Leaving { .. } => {
                self.switch = Switch::On { since: now };
                // Its last beat counts from now: it was not watched while it was leaving.
                self.last_beat = self.last_beat.map(|_| now);
            }
            Switch::Off | Switch::Cycling { .. } => {
                self.switch = Switch::On { since: now };
                self.last_beat = None;
                self.own_shutdown = false;
                (self.state, self.next_step) = match self.model {
                    PiModel::Healthy => (PiState::Booting, Some(now + BOOT)),
                    PiModel::External => (PiState::Running, None),
                };
                self.changes.push(Change::PowerOn(reason));
            }
        }
    }

    /// Takes the power away at once.
    pub(super) fn cut(&mut self, reason: &'static str) {
        let powered = self.powered();
        self.switch = Switch::Off;
        if powered {
            self.state = PiState::Off;
            self.next_step = None;
            self.set_heartbeat_level(false);
            self.drive_signal(|position| {
                position.signal_by_pi = false;
                position.signal_by_board = None;
            });
            self.changes.push(Change::PowerCut(reason));
        }
    }

    pub(super) fn cycle(&mut self, now: Duration, reason: &'static str) {
        self.cut(reason);
        self.switch = Switch::Cycling { at: now + CYCLE_OFF };
    }

    /// The board's shutdown signal.
    pub(super) fn shut_down(&mut self, now: Duration, reason: &'static str) {
        if !self.powered() {
            // A power cycle under way ends as off.
            self.switch = Switch::Off;
            return;
        }
        let width = Duration::from_millis(u64::from(self.settings.signal_width));
        self.drive_signal(|position| position.signal_by_board = Some(now + width));
        self.leave(now + self.settings.wait(Timer::OffDelay), reason);
        if self.model == PiModel::Healthy && matches!(self.state, PiState::Booting | PiState::Running) {
            self.halt_from(now);
        }
    }

    fn leave(&mut self, cut: Duration, reason: &'static str) {
        self.switch = match self.switch {
            Switch::Leaving { cut: earlier, reason } if earlier <= cut => Switch::Leaving { cut: earlier, reason },
            _ => Switch::Leaving { cut, reason },
        };
    }

    fn halt_from(&mut self, now: Duration) {
        self.state = PiState::ShuttingDown;
        self.next_step = Some(now + HALT);
        self.set_heartbeat_level(false);
    }

    /// The Pi sets its heartbeat line. Without power nothing reaches the board.
    pub(super) fn set_heartbeat(&mut self, now: Duration, level: bool) {
        if !self.powered() {
            return;
        }
        if level && !self.heartbeat {
            self.last_beat = Some(now);
        }
        self.set_heartbeat_level(level);
    }

    fn set_heartbeat_level(&mut self, level: bool) {
        if self.heartbeat != level {
            self.heartbeat = level;
            self.changes.push(Change::Heartbeat(level));
        }
    }

    /// The Pi pulls the signal line low, or lets go of it.
    pub(super) fn pull_signal(&mut self, now: Duration, low: bool) {
        if !self.powered() {
            return;
        }
        let was_high = self.signal();
        self.drive_signal(|position| position.signal_by_pi = low);
        if was_high && low {
            self.leave(now + self.settings.wait(Timer::SignalledOffDelay), "signalled by the Pi");
        }
    }

    fn drive_signal(&mut self, drive: impl FnOnce(&mut Self)) {
        let before = self.signal();
        drive(self);
        if self.signal() != before {
            self.changes.push(Change::Signal(self.signal()));
        }
    }

    /// The Pi stops dead. Its lines stay as they are.
    pub(super) fn crash(&mut self) {
        if self.powered() {
            self.state = PiState::Crashed;
            self.next_step = None;
        }
    }

    /// A Pi of the healthy model shuts down by itself.
    pub(super) fn own_shutdown(&mut self, now: Duration) {
        if self.powered() && self.model == PiModel::Healthy {
            self.own_shutdown = true;
            self.halt_from(now);
        }
    }

    pub(super) fn set_model(&mut self, model: PiModel) {
        self.model = model;
        if model == PiModel::External {
            self.next_step = None;
            if self.powered() {
                self.state = PiState::Running;
            }
        }
    }

    fn watch_ends(&self, since: Duration) -> Option<Duration> {
        let timeout = self.settings.timer(Timer::HeartbeatTimeout);
        (timeout != 0).then(|| match self.last_beat {
            None => since + self.settings.wait(Timer::BootDelay),
            Some(beat) => beat + self.settings.wait(Timer::HeartbeatTimeout),
        })
    }

    fn switch_due(&self) -> Option<Duration> {
        match self.switch {
            Switch::Off => None,
            Switch::On { since } => self.watch_ends(since),
            Switch::Leaving { cut, .. } => Some(cut),
            Switch::Cycling { at } => Some(at),
        }
    }

    /// When this position next does something by itself.
    pub(super) fn due(&self) -> Option<Duration> {
        [self.switch_due(), self.signal_by_board, self.next_step].into_iter().flatten().min()
    }

    /// Does one thing that is due at `now`, the most urgent first: a beat in the last moment still counts.
    pub(super) fn step(&mut self, now: Duration) {
        if self.next_step.is_some_and(|at| at <= now) {
            self.model_step(now);
        } else if self.signal_by_board.is_some_and(|at| at <= now) {
            self.drive_signal(|position| position.signal_by_board = None);
        } else if self.switch_due().is_some_and(|at| at <= now) {
            match self.switch {
                Switch::Off => {}
                Switch::On { .. } if self.last_beat.is_none() => self.cycle(now, "no heartbeat after power-on"),
                Switch::On { .. } => self.cycle(now, "heartbeat stopped"),
                Switch::Leaving { reason, .. } => self.cut(reason),
                Switch::Cycling { .. } => self.on(now, "power cycle"),
            }
        }
    }

    fn model_step(&mut self, now: Duration) {
        self.next_step = None;
        match self.state {
            PiState::Booting => {
                self.state = PiState::Running;
                self.next_step = Some(now);
            }
            PiState::Running if self.heartbeat => {
                self.set_heartbeat(now, false);
                self.next_step = Some(now + (BEAT_EVERY - BEAT_WIDTH));
            }
            PiState::Running => {
                self.set_heartbeat(now, true);
                self.next_step = Some(now + BEAT_WIDTH);
            }
            PiState::ShuttingDown => {
                self.state = PiState::Halted;
                if self.own_shutdown {
                    self.pull_signal(now, true);
                    let width = Duration::from_millis(u64::from(self.settings.signal_width));
                    self.next_step = Some(now + width);
                }
            }
            PiState::Halted => self.pull_signal(now, false),
            PiState::Off | PiState::Crashed => {}
        }
    }
}
