//! The daemon itself: gathers the facts that [`State`] asks for, carries out what it decides, and tells the journal, the
//! report and systemd.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fruit_contract::update::config::{SourceAddress, UpdateConfig};
use fruit_contract::update::report::{REPORT_PATH, Report};
use fruit_contract::update::status::Progress;
use fruit_device::journal;
use sd_notify::NotifyState;

use super::machine::{Action, Circumstances, End, Facts, Moment, Need, Outcome, Round, State};
use super::round::Visit;
use super::{Node, below};
use crate::anchor::Anchor;
use crate::clone::CloneError;
use crate::health;
use crate::http::{Alive, Settings, Stop};
use crate::install::Hooks;
use crate::lock::{Lock, LockError};
use crate::sources::Sources;
use crate::trial::{Next, TrialError};
use crate::updater::Updater;

/// Between two attempts to get the lock.
const LOCK: Duration = Duration::from_secs(1);
/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// The daemon of a node.
pub struct Daemon {
    node: Node,
    config: UpdateConfig,
    stop: Stop,
    alive: Alive,
    started: Instant,
    state: State,
    /// What was told of it last.
    told: Report,
    sources: Option<Sources>,
}

/// Differs from node to node and from time to time; nothing depends on more.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds each of these anew from the kernel's random numbers.
    std::hash::RandomState::new().build_hasher().finish()
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Daemon {
    pub fn new(node: Node, config: UpdateConfig, config_error: Option<String>, stop: Stop, alive: Alive) -> Daemon {
        let state = State::new(config_error);
        let (started, told) = (Instant::now(), Report::default());
        Daemon { node, config, stop, alive, started, state, told, sources: None }
    }

    /// Works until it is told to stop or the node restarts.
    pub fn run(&mut self) -> End {
        loop {
            let action = self.decide();
            match self.carry_out(action) {
                Ok(outcome) => self.take_in(outcome),
                Err(end) => return end,
            }
        }
    }

    /// One look at all sources, at once; installs what may be installed.
    pub fn check_now(&mut self) {
        self.sources = self.open_sources();
        if self.sources.is_some() {
            self.state.check_at(self.started.elapsed());
            let action = self.decide();
            if let Ok(outcome) = self.carry_out(action) {
                self.take_in(outcome);
            }
        }
    }

    /// What to do next, with as many facts as that takes.
    fn decide(&mut self) -> Action {
        let mut facts = Facts::default();
        loop {
            match self.state.next(&self.config, &facts, self.started.elapsed()) {
                Ok(action) => {
                    self.tell();
                    return action;
                }
                Err(need) => self.gather(need, &mut facts),
            }
        }
    }

    fn gather(&self, need: Need, facts: &mut Facts) {
        match need {
            Need::Sticks => facts.sticks = Some(self.sources.as_ref().map(Sources::sticks).unwrap_or_default()),
            Need::Armed => facts.armed = Some(self.is_any_armed()),
            Need::Circumstances => {
                let inhibitors = (self.node.inhibitors)().iter().map(ToString::to_string).collect();
                facts.circumstances = Some(Circumstances { inhibitors, time: (self.node.time)() });
            }
        }
    }

    fn carry_out(&mut self, action: Action) -> Result<Outcome, End> {
        let outcome = match action {
            Action::Reconcile => self.reconcile(),
            Action::Prove => Some(self.prove()),
            Action::Commit => self.commit(),
            Action::GiveUp(reason) => self.give_up(&reason),
            Action::OpenSources => {
                self.sources = self.open_sources();
                Some(Outcome::Opened(self.sources.as_ref().map(Sources::sticks)))
            }
            Action::Check { install } => self.check(install).map(Outcome::Checked),
            Action::Restart => self.restart(),
            Action::Clone => self.clone_slot(),
            Action::Rest(time) => self.rest(time).then_some(Outcome::Rested),
            Action::End(end) => return Err(end),
        };
        // Nothing comes of what was ended before.
        Ok(outcome.unwrap_or(Outcome::Stopped))
    }

    fn take_in(&mut self, outcome: Outcome) {
        let moment = Moment { now: self.started.elapsed(), unix: seconds_now(), random: random() };
        self.state.after(&self.config, outcome, moment);
        self.tell();
    }

    /// What has changed, for the journal, `fruit-update status` and systemd.
    fn tell(&mut self) {
        for (level, line) in self.state.lines.drain(..) {
            journal::log(level, &line);
        }
        if self.state.report != self.told {
            self.told.clone_from(&self.state.report);
            let _ = sd_notify::notify(&[NotifyState::Status(&self.told.doing)]);
            // For people who look at the status only.
            let _ = self.told.write(&below(&self.node.installation.root, REPORT_PATH));
        }
    }

    fn say(&mut self, doing: &str) {
        doing.clone_into(&mut self.state.report.doing);
        self.tell();
    }

    /// False when it is told to stop.
    fn rest(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            (self.alive)();
            if self.stop.load(Relaxed) {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(LOOK));
        }
    }

    /// Card and memory under the lock; waits for whoever holds it. Nothing when it is told to stop.
    fn locked(&self) -> Option<(Lock, Updater)> {
        let mut told = None;
        loop {
            let trouble = match Lock::take(&self.node.lock) {
                Ok(lock) => match (self.node.open)() {
                    Ok(updater) => return Some((lock, updater)),
                    Err(error) => error.to_string(),
                },
                Err(LockError::Held) => String::new(),
                Err(error) => error.to_string(),
            };
            if !trouble.is_empty() && told.as_ref() != Some(&trouble) {
                journal::error(&trouble);
                told = Some(trouble);
            }
            if !self.rest(LOCK) {
                return None;
            }
        }
    }

    /// What became of the last trial, and whether there is one now.
    fn reconcile(&mut self) -> Option<Outcome> {
        let (lock, mut updater) = self.locked()?;
        for failed in &updater.state().failed {
            journal::notice(&format!("{} failed on this node: {}", failed.release.name(), failed.reason));
        }
        if let Err(error) = updater.save() {
            journal::warn(&format!("{error}; what happens is not remembered"));
        }
        let (on_trial, name) = (updater.card.trial, updater.running().name());
        drop((lock, updater));
        if on_trial {
            journal::notice(&format!("{name} is on trial: looking whether it does its work"));
            self.say(&format!("{name} is on trial"));
        }
        Some(Outcome::Reconciled { on_trial })
    }

    fn prove(&self) -> Outcome {
        let mut said = |text: &str| journal::info(text);
        let mut hooks = health::Hooks { stop: &self.stop, alive: &*self.alive, say: &mut said };
        Outcome::Proved(health::prove(&self.config.health, &self.node.endpoints, &mut hooks))
    }

    fn commit(&self) -> Option<Outcome> {
        let (_lock, mut updater) = self.locked()?;
        Some(match updater.commit() {
            Ok(release) => {
                journal::notice(&format!("{} has proved itself and is committed", release.name()));
                Outcome::TrialOver
            }
            // An operator was faster, either way.
            Err(TrialError::NothingOnTrial(_)) => Outcome::TrialOver,
            // What counts, the boot choice, was written before.
            Err(TrialError::State(error)) => {
                journal::warn(&format!("the running release is committed, but that is not remembered: {error}"));
                Outcome::TrialOver
            }
            Err(error) => {
                journal::error(&format!("the running release can't be committed: {error}"));
                Outcome::Failed
            }
        })
    }

    fn give_up(&self, reason: &str) -> Option<Outcome> {
        let (_lock, mut updater) = self.locked()?;
        let name = updater.running().name();
        Some(match updater.give_up(reason) {
            Ok(Next::Restart(before)) => {
                journal::error(&format!("{name} failed on this node ({reason}): back to {before}"));
                Outcome::GivenUp
            }
            Ok(Next::Done) => Outcome::GivenUp,
            Err(TrialError::NothingOnTrial(_)) => Outcome::TrialOver,
            // The reason can't be kept; the way back is what counts.
            Err(TrialError::State(error)) => {
                journal::error(&format!("{name} failed on this node ({reason}); not remembered: {error}"));
                fall_back(&updater)
            }
            Err(error) => {
                journal::error(&format!("{name} failed on this node ({reason}) and can't be given up: {error}"));
                Outcome::Failed
            }
        })
    }

    /// Asks for a restart.
    fn restart(&mut self) -> Option<Outcome> {
        let (lock, updater) = self.locked()?;
        let tries = match self.node.count_try(&updater) {
            Ok(tries) => tries,
            Err(error) => {
                journal::error(&format!("{error}; so the node stays"));
                return Some(Outcome::Failed);
            }
        };
        drop((lock, updater));
        self.say("the node restarts");
        Some(match (self.node.restart)(tries) {
            Ok(()) => Outcome::Restarting,
            Err(error) => {
                journal::error(&format!("the node can't be restarted: {error}"));
                Outcome::Failed
            }
        })
    }

    /// The sources of the configuration, if there are any that can be used.
    fn open_sources(&self) -> Option<Sources> {
        if self.config.sources.is_empty() {
            return None;
        }
        let settings = Settings {
            stop: Arc::clone(&self.stop),
            alive: Arc::clone(&self.alive),
            ..Settings::of(&self.config, &self.node.installation.root)
        };
        match Sources::new(&self.config.sources, &settings, &self.node.installation.root, &self.node.disk) {
            Ok(sources) => Some(sources),
            Err(error) => {
                journal::error(&format!("no source is asked: {error}"));
                None
            }
        }
    }

    /// Nothing when it is told to stop.
    fn check(&mut self, install: bool) -> Option<Round> {
        let (_lock, mut updater) = self.locked()?;
        // A trial that began in the meantime is not to be disturbed.
        if updater.card.trial {
            return Some(Round::Nothing(format!("{} is on trial", updater.running().name())));
        }
        let Some(sources) = &mut self.sources else { return Some(Round::Nothing("there are no sources".into())) };
        let mut anchor = match self.node.anchor(&updater) {
            Ok(anchor) => anchor,
            Err(error) => return Some(Round::Failed(error.to_string())),
        };
        match (&anchor, anchor.obstacle()) {
            // It is looked for again soon.
            (Anchor::Waiting(_), Some(why)) => return Some(Round::Failed(why)),
            (_, Some(why)) => return Some(Round::Nothing(why)),
            (_, None) => {}
        }
        let visit = Visit {
            tries: self.config.tries.get(),
            install,
            shares: self.config.sources.contains(&SourceAddress::Peers),
            root: &self.node.installation.root,
            stop: &self.stop,
            alive: &*self.alive,
        };
        visit.all(&mut anchor, sources, &mut updater)
    }

    fn is_any_armed(&self) -> bool {
        // Whoever holds the lock may be about to arm; that is seen the next time.
        let Ok(_lock) = Lock::take(&self.node.lock) else { return false };
        let Ok(updater) = (self.node.open)() else { return false };
        let other = updater.other();
        !updater.card.trial
            && updater.card.control().is_ok_and(|control| control.trial.is_some_and(|trial| trial.slot == other))
    }

    /// Makes a second good slot.
    fn clone_slot(&mut self) -> Option<Outcome> {
        let (_lock, mut updater) = self.locked()?;
        self.say("copying the running release to the other slot");
        let alive = Arc::clone(&self.alive);
        let mut progress = |_: Progress| alive();
        let mut hooks = Hooks { stop: &self.stop, progress: &mut progress, pace: &mut |_| {} };
        match updater.clone_slot(false, &mut hooks) {
            Ok(cloned) => journal::notice(&format!("slot {} holds {} now too", cloned.slot, cloned.release.name())),
            Err(CloneError::HasGood { .. }) => {}
            Err(error) => journal::warn(&format!("the running release is not copied: {error}")),
        }
        Some(Outcome::Cloned)
    }
}

/// The way back alone, with nothing remembered.
fn fall_back(updater: &Updater) -> Outcome {
    match updater.card.control().and_then(|control| updater.card.set_control(&control.fall_back())) {
        Ok(()) => Outcome::GivenUp,
        Err(error) => {
            journal::error(&error.to_string());
            Outcome::Failed
        }
    }
}
