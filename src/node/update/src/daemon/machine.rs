//! What the daemon does next: a state machine without I/O. [`State::next`] decides, from what came before, from [`Facts`]
//! and from the time; [`State::after`] takes in what came of it. Whoever drives it gathers the facts that it asks for and
//! carries its actions out.
//!
//! ```text
//!  Start ────────────────► Open ──► Work: sources, restart, clone, rest ─┐
//!    │ on trial             ▲         ▲                                  │
//!    ▼       good           │         └──────────────────────────────────┘
//!  Trial ──────► Commit ────┤
//!    │ bad                  │ an operator was faster
//!    ▼                      │
//!  GiveUp ──────────────────┘
//!    ▼
//!  FallBack: restart          a restart, or being told to stop, leads from anywhere to Over
//! ```
//!
//! Times are counted from the daemon's start.

mod permission;
#[cfg(test)]
mod tests;

use std::time::Duration;

use fruit_contract::update::config::{ClonePolicy, Policy, UpdateConfig};
use fruit_contract::update::report::Report;
use fruit_device::journal::Level;

use crate::health::Verdict;
use crate::usb::Stick;

pub use permission::Circumstances;
use permission::obstacles;

/// Between two looks at what there is to do.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks at windows, inhibitors and the boot choice.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what is plugged in.
const STICKS: Duration = Duration::from_secs(3);
/// Between two attempts to do what must be done: commit, give up, fall back.
const AGAIN: Duration = Duration::from_secs(10);
/// Pauses after attempts that failed because of a source; then the usual time between checks.
const RETRIES: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(900), Duration::from_secs(3600)];
/// A copy of the running slot is made when the daemon has been up for this long.
const IDLE: Duration = Duration::from_secs(600);

/// How the daemon's work ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was told to stop.
    Stopped,
    /// It asked for a restart of the node.
    Restarting,
}

/// Where the daemon is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// What runs is not known yet.
    Start,
    /// The release that runs is on trial.
    Trial,
    /// It is good.
    Commit,
    /// It is not, for this reason.
    GiveUp(String),
    /// It is given up: the node must restart.
    FallBack,
    /// Nothing is on trial; the sources are not open yet.
    Open,
    /// In one round after the other.
    Work(Task),
    Over(End),
}

/// What a round comes to next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Task {
    Sources,
    Restart,
    Clone,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Bring what is remembered together with what the boot loader did, and find out what runs.
    Reconcile,
    /// Judge the release on trial by its health checks.
    Prove,
    /// Commit the release on trial.
    Commit,
    /// Give up the release on trial, for this reason.
    GiveUp(String),
    /// Open the sources of the configuration.
    OpenSources,
    /// Go through all sources. `install`: a newer release may be installed at once.
    Check {
        install: bool,
    },
    /// Restart the node; the try is counted before.
    Restart,
    /// Copy the running slot to the other one.
    Clone,
    /// Nothing for this long.
    Rest(Duration),
    End(End),
}

/// What came of an action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The daemon was told to stop.
    Stopped,
    Rested,
    Reconciled {
        on_trial: bool,
    },
    Proved(Verdict),
    /// Nothing is on trial any more: it was committed, or an operator was faster, either way.
    TrialOver,
    /// The boot loader starts the release before.
    GivenUp,
    /// It could not be done.
    Failed,
    /// The restart was heard.
    Restarting,
    /// The USB storage that is plugged in; `None` without sources that can be asked.
    Opened(Option<Vec<Stick>>),
    Checked(Round),
    /// There is a copy, or there can't be one.
    Cloned,
}

/// What one look at all sources came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Round {
    /// Nothing to install; why.
    Nothing(String),
    /// A release of that version can be installed.
    Available(String),
    /// It is installed and armed.
    Installed(String),
    /// No source gave an answer; why.
    Failed(String),
}

/// A fact that a decision lacks. It is asked for only when it counts: each costs the node something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    Sticks,
    Armed,
    Circumstances,
}

/// What is known of the node at the moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// USB storage that is plugged in, as far as it is a source.
    pub sticks: Option<Vec<Stick>>,
    /// Whether the boot loader is going to try the other slot, whoever wanted that.
    pub armed: Option<bool>,
    pub circumstances: Option<Circumstances>,
}

/// When something was over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Since the daemon's start.
    pub now: Duration,
    /// Seconds since 1970, as far as the node knows.
    pub unix: u64,
    /// Any number, different from node to node and from time to time.
    pub random: u64,
}

/// What came before, as far as it matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    stage: Stage,
    /// Nothing is done before.
    not_before: Duration,
    /// There are sources that can be asked.
    sources: bool,
    next_check: Option<Duration>,
    /// Attempts in a row that failed because of sources.
    failures: usize,
    /// A release that may be installed when windows and inhibitors allow it.
    wanted: Option<String>,
    /// A release is armed and waits for a restart.
    restart_wanted: bool,
    /// When windows and inhibitors are looked at again for an install, for a restart, and for a copy.
    next_install: Duration,
    next_restart: Duration,
    next_clone: Duration,
    next_sticks: Duration,
    sticks: Vec<Stick>,
    cloned: bool,
    /// What is told to whoever asks.
    pub report: Report,
    /// What the journal is to be told.
    pub lines: Vec<(Level, String)>,
}

impl State {
    /// Of a daemon that starts. `config_error`: why its configuration is not that of the file.
    pub fn new(config_error: Option<String>) -> State {
        State {
            stage: Stage::Start,
            not_before: Duration::ZERO,
            sources: false,
            next_check: None,
            failures: 0,
            wanted: None,
            restart_wanted: false,
            next_install: Duration::ZERO,
            next_restart: Duration::ZERO,
            next_clone: Duration::ZERO,
            next_sticks: Duration::ZERO,
            sticks: Vec::new(),
            cloned: false,
            report: Report { config_error, ..Report::default() },
            lines: Vec::new(),
        }
    }

    /// The sources are to be asked now, whatever was planned.
    pub fn check_at(&mut self, now: Duration) {
        (self.stage, self.sources, self.next_check) = (Stage::Work(Task::Sources), true, Some(now));
    }

    /// What to do now.
    ///
    /// # Errors
    /// The fact that this depends on; then nothing has changed.
    pub fn next(&mut self, config: &UpdateConfig, facts: &Facts, now: Duration) -> Result<Action, Need> {
        let mut next = self.clone();
        let action = next.decide(config, facts, now)?;
        *self = next;
        Ok(action)
    }

    fn decide(&mut self, config: &UpdateConfig, facts: &Facts, now: Duration) -> Result<Action, Need> {
        Ok(match &self.stage {
            Stage::Over(end) => Action::End(*end),
            _ if now < self.not_before => Action::Rest(self.not_before - now),
            Stage::Start => Action::Reconcile,
            Stage::Trial => Action::Prove,
            Stage::Commit => Action::Commit,
            Stage::GiveUp(reason) => Action::GiveUp(reason.clone()),
            Stage::FallBack => Action::Restart,
            Stage::Open => Action::OpenSources,
            Stage::Work(task) => self.work(*task, config, facts, now)?,
        })
    }

    /// The rest of a round that has come to `task`.
    fn work(&mut self, task: Task, config: &UpdateConfig, facts: &Facts, now: Duration) -> Result<Action, Need> {
        if task <= Task::Sources
            && let Some(check) = self.check(config, facts, now)?
        {
            self.stage = Stage::Work(Task::Restart);
            return Ok(check);
        }
        if task <= Task::Restart && self.may_restart(config, facts, now)? {
            self.stage = Stage::Work(Task::Clone);
            return Ok(Action::Restart);
        }
        self.stage = Stage::Work(Task::Sources);
        Ok(if self.may_clone(config, facts, now)? { Action::Clone } else { Action::Rest(TICK) })
    }

    /// The sources are asked when it is time, when a stick was plugged in, or when a release that was found may be
    /// installed now.
    fn check(&mut self, config: &UpdateConfig, facts: &Facts, now: Duration) -> Result<Option<Action>, Need> {
        if !self.sources {
            return Ok(None);
        }
        let plugged = self.is_plugged_in(facts, now)?;
        let due = plugged || self.next_check.is_some_and(|at| now >= at);
        if !due && self.wanted.is_none() {
            return Ok(None);
        }
        let install = self.may_install(config, facts, now)?;
        if !due && !install {
            return Ok(None);
        }
        let doing = if install { "looking for a newer release" } else { "looking whether there is a newer release" };
        doing.clone_into(&mut self.report.doing);
        Ok(Some(Action::Check { install }))
    }

    /// Whether there is USB storage that was not there before.
    fn is_plugged_in(&mut self, facts: &Facts, now: Duration) -> Result<bool, Need> {
        if now < self.next_sticks {
            return Ok(false);
        }
        let sticks = facts.sticks.clone().ok_or(Need::Sticks)?;
        self.next_sticks = now + STICKS;
        let plugged = sticks.iter().any(|stick| !self.sticks.contains(stick));
        self.sticks = sticks;
        Ok(plugged)
    }

    /// Whether installing is allowed now; looked at now and then only.
    fn may_install(&mut self, config: &UpdateConfig, facts: &Facts, now: Duration) -> Result<bool, Need> {
        if config.install == Policy::Manual || self.wanted.is_some() && now < self.next_install {
            return Ok(false);
        }
        let against = obstacles(config, config.install, facts.circumstances()?);
        if against.is_empty() {
            if !self.restart_wanted {
                self.report.waits_for.clear();
            }
            return Ok(true);
        }
        self.next_install = now + PATIENCE;
        if self.wanted.is_some() && self.report.waits_for != against {
            self.report.waits_for = against;
            self.say_idle();
        }
        Ok(false)
    }

    /// Whether a release is armed and nothing stands against a restart into it.
    fn may_restart(&mut self, config: &UpdateConfig, facts: &Facts, now: Duration) -> Result<bool, Need> {
        if now < self.next_restart {
            return Ok(false);
        }
        self.next_restart = now + PATIENCE;
        // Others can arm and disarm too: what is in force counts.
        self.restart_wanted = facts.armed.ok_or(Need::Armed)?;
        if !self.restart_wanted {
            if self.wanted.is_none() && !self.report.waits_for.is_empty() {
                self.report.waits_for.clear();
                self.say_idle();
            }
            return Ok(false);
        }
        let against = obstacles(config, config.reboot, facts.circumstances()?);
        if against.is_empty() {
            self.log(Level::Notice, "restarting into the release that is installed");
            return Ok(true);
        }
        if self.report.waits_for != against {
            let text = format!("the restart into the new release waits for: {}", against.join(", "));
            self.log(Level::Info, text);
            self.report.waits_for = against;
            self.say_idle();
        }
        Ok(false)
    }

    /// Whether it is time for a second good slot, since there is nothing else to do.
    fn may_clone(&mut self, config: &UpdateConfig, facts: &Facts, now: Duration) -> Result<bool, Need> {
        let busy = self.cloned || self.wanted.is_some() || self.restart_wanted || now < IDLE;
        if config.clone != ClonePolicy::Idle || busy || now < self.next_clone {
            return Ok(false);
        }
        let is_inhibited = !facts.circumstances()?.inhibitors.is_empty();
        self.next_clone = now + PATIENCE;
        if is_inhibited {
            return Ok(false);
        }
        // Once per start of the daemon, whatever comes of it.
        self.cloned = true;
        Ok(true)
    }

    /// Takes in what came of the last action.
    pub fn after(&mut self, config: &UpdateConfig, outcome: Outcome, at: Moment) {
        self.stage = match outcome {
            Outcome::Stopped | Outcome::Proved(Verdict::Stopped) => Stage::Over(End::Stopped),
            Outcome::Restarting => Stage::Over(End::Restarting),
            Outcome::Reconciled { on_trial: true } => Stage::Trial,
            Outcome::Reconciled { on_trial: false } | Outcome::TrialOver => Stage::Open,
            Outcome::Proved(Verdict::Good) => Stage::Commit,
            Outcome::Proved(Verdict::Bad(reason)) => Stage::GiveUp(reason),
            Outcome::GivenUp => Stage::FallBack,
            Outcome::Opened(sticks) => {
                self.sources = sticks.is_some();
                self.sticks = sticks.unwrap_or_default();
                self.plan(config.check.first_wait(at.random).filter(|_| self.sources), at);
                self.say_idle();
                Stage::Work(Task::Sources)
            }
            // What must be done is tried again; a round goes on, and comes to it again in its time.
            Outcome::Failed => {
                if !matches!(self.stage, Stage::Work(_)) {
                    self.not_before = at.now + AGAIN;
                }
                return;
            }
            Outcome::Checked(round) => return self.checked(config, round, at),
            Outcome::Cloned => return self.say_idle(),
            Outcome::Rested => return,
        };
    }

    /// What a look at the sources changes, and when the next one is.
    fn checked(&mut self, config: &UpdateConfig, round: Round, at: Moment) {
        self.report.last_check = Some(at.unix);
        let source_failed = matches!(round, Round::Failed(_));
        let (result, wanted) = match round {
            // What is wanted is looked for again with the next check, not at once.
            Round::Nothing(why) | Round::Failed(why) => (why, None),
            Round::Available(version) => {
                (format!("{version} is available"), Some(version).filter(|_| config.install != Policy::Manual))
            }
            Round::Installed(version) => {
                (self.restart_wanted, self.next_restart) = (true, at.now);
                (format!("{version} is installed"), None)
            }
        };
        if self.report.last_result.as_ref() != Some(&result) {
            self.log(Level::Notice, result.clone());
        }
        self.report.last_result = Some(result);
        // A release that was wanted stays announced while its sources don't answer.
        self.report.available = if source_failed { self.wanted.take() } else { wanted.clone() };
        self.wanted = wanted;
        self.failures = if source_failed { self.failures + 1 } else { 0 };
        let usual = config.check.wait(at.random);
        let retry = self.failures.checked_sub(1).and_then(|tried| RETRIES.get(tried)).copied();
        self.plan(usual.map(|usual| retry.map_or(usual, |retry| retry.min(usual))), at);
        self.say_idle();
    }

    fn plan(&mut self, wait: Option<Duration>, at: Moment) {
        self.next_check = wait.map(|wait| at.now + wait);
        self.report.next_check = wait.map(|wait| at.unix + wait.as_secs());
    }

    fn log(&mut self, level: Level, line: impl Into<String>) {
        self.lines.push((level, line.into()));
    }

    fn say_idle(&mut self) {
        let waits = self.report.waits_for.join(", ");
        self.report.doing = match (&self.wanted, self.restart_wanted) {
            _ if waits.is_empty() => "idle".to_owned(),
            (_, true) => format!("a new release is installed; its restart waits for: {waits}"),
            (Some(version), _) => format!("{version} is to be installed; waits for: {waits}"),
            (None, false) => "idle".to_owned(),
        };
    }
}

impl Facts {
    fn circumstances(&self) -> Result<&Circumstances, Need> {
        self.circumstances.as_ref().ok_or(Need::Circumstances)
    }
}
