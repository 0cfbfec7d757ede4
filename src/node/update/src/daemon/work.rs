//! What the daemon does, in order: the verdict over a trial, then rounds of looking, installing and restarting.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fruit_contract::Slot;
use fruit_contract::update::config::{ClonePolicy, Policy, UpdateConfig, WithoutClock};
use fruit_contract::update::report::{REPORT_PATH, Report};
use fruit_contract::update::status::{Progress, Step};
use fruit_contract::update::window;
use fruit_device::journal;
use fruit_release::{Source, SourceError};
use sd_notify::NotifyState;

use super::{Node, below};
use crate::health::{self, Verdict};
use crate::http::{Alive, Settings, Stop};
use crate::install::{self, ExitStatus, Hooks, InstallError, Outcome, Request};
use crate::lock::{Lock, LockError};
use crate::progress::Board;
use crate::sources::{Candidate, Sources};
use crate::state::Phase;
use crate::trial::{Next, TrialError};
use crate::updater::Updater;
use crate::usb::Stick;

/// Between two looks at what there is to do.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks at windows and inhibitors.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what is plugged in.
const STICKS: Duration = Duration::from_secs(3);
/// Between two attempts to do what must be done: commit, fall back, restart.
const AGAIN: Duration = Duration::from_secs(10);
/// Pauses after attempts that failed because of a source; then the usual time between checks.
const RETRIES: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(900), Duration::from_secs(3600)];
/// A copy of the running slot is made when the node has been up for this long.
const IDLE: Duration = Duration::from_secs(600);

/// How the daemon's work ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was told to stop.
    Stopped,
    /// It asked for a restart of the node.
    Restarting,
}

/// What one look at all sources came to.
enum Round {
    /// Nothing to install; why.
    Nothing(String),
    /// A release of that version can be installed.
    Available(String),
    /// It is installed and armed.
    Installed(String),
    /// No source gave an answer; why.
    Failed(String),
    Stopped,
}

/// The daemon of a node.
pub struct Daemon {
    node: Node,
    config: UpdateConfig,
    stop: Stop,
    alive: Alive,
    report: Report,
    started: Instant,
    next_check: Option<Instant>,
    /// Attempts in a row that failed because of sources.
    failures: usize,
    /// A release that may be installed when windows and inhibitors allow it.
    wanted: Option<String>,
    /// A release is armed and waits for a restart.
    restart_wanted: bool,
    /// When windows and inhibitors are looked at again for an install, and for a restart.
    next_install: Instant,
    next_restart: Instant,
    next_sticks: Instant,
    sticks: Vec<Stick>,
    cloned: bool,
    last_said: Option<String>,
}

/// Differs from node to node and from time to time; nothing depends on more.
fn random(salt: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds each of these anew from the kernel's random numbers.
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u64(salt);
    hasher.finish()
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Daemon {
    pub fn new(node: Node, config: UpdateConfig, config_error: Option<String>, stop: Stop, alive: Alive) -> Daemon {
        let now = Instant::now();
        Daemon {
            node,
            config,
            stop,
            alive,
            report: Report { config_error, ..Report::default() },
            started: now,
            next_check: None,
            failures: 0,
            wanted: None,
            restart_wanted: false,
            next_install: now,
            next_restart: now,
            next_sticks: now,
            sticks: Vec::new(),
            cloned: false,
            last_said: None,
        }
    }

    /// Works until it is told to stop or the node restarts.
    pub fn run(&mut self) -> End {
        if let Some(end) = self.judge() {
            return end;
        }
        let mut sources = self.open_sources();
        self.sticks = sources.as_ref().map(Sources::sticks).unwrap_or_default();
        let first = self.config.check.first_wait(random(1)).filter(|_| sources.is_some());
        self.plan(first);
        self.say_idle();
        loop {
            if let Some(sources) = &mut sources {
                self.look(sources);
            }
            if let Some(end) = self.restart_if_wanted() {
                return end;
            }
            self.clone_if_idle();
            if !self.rest(TICK) {
                return End::Stopped;
            }
        }
    }

    /// One look at all sources, at once; installs what may be installed.
    pub fn check_now(&mut self) {
        if let Some(mut sources) = self.open_sources() {
            self.check_in(&mut sources);
        }
    }

    /// As [`Daemon::check_now`], in sources that remember how they did the last time.
    pub fn check_in(&mut self, sources: &mut Sources) {
        self.next_check = Some(Instant::now());
        self.look(sources);
    }

    fn stopped(&self) -> bool {
        (self.alive)();
        self.stop.load(Relaxed)
    }

    /// False when it is told to stop.
    fn rest(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            if self.stopped() {
                return false;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(Duration::from_millis(100)));
        }
    }

    fn say(&mut self, doing: &str) {
        let _ = sd_notify::notify(&[NotifyState::Status(doing)]);
        self.report.doing = doing.to_owned();
        self.write_report();
    }

    fn write_report(&self) {
        // For people who look at the status only.
        let _ = self.report.write(&below(&self.node.site.root, REPORT_PATH));
    }

    fn say_idle(&mut self) {
        let waits = self.report.waits_for.join(", ");
        let text = match (&self.wanted, self.restart_wanted) {
            _ if waits.is_empty() => "idle".to_owned(),
            (_, true) => format!("a new release is installed; its restart waits for: {waits}"),
            (Some(version), _) => format!("{version} is to be installed; waits for: {waits}"),
            (None, false) => "idle".to_owned(),
        };
        self.say(&text);
    }

    /// Card and memory under the lock; waits for whoever holds it.
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
            if !self.rest(Duration::from_secs(1)) {
                return None;
            }
        }
    }

    /// What became of the last trial, and what becomes of this one.
    fn judge(&mut self) -> Option<End> {
        let Some((lock, mut updater)) = self.locked() else { return Some(End::Stopped) };
        for failed in &updater.state().failed {
            journal::notice(&format!("{} failed on this node: {}", failed.release.name(), failed.reason));
        }
        if let Err(error) = updater.save() {
            journal::warn(&format!("{error}; what happens is not remembered"));
        }
        let (on_trial, name) = (updater.card.trial, updater.running().name());
        drop((lock, updater));
        if !on_trial {
            return None;
        }
        journal::notice(&format!("{name} is on trial: looking whether it does its work"));
        self.say(&format!("{name} is on trial"));
        let mut said = |text: &str| journal::info(text);
        let mut hooks = health::Hooks { stop: &self.stop, alive: &*self.alive, say: &mut said };
        match health::prove(&self.config.health, &self.node.places, &mut hooks) {
            Verdict::Stopped => Some(End::Stopped),
            Verdict::Good => self.commit(),
            Verdict::Bad(reason) => self.give_up(&reason),
        }
    }

    fn commit(&mut self) -> Option<End> {
        loop {
            let (_lock, mut updater) = self.locked()?;
            match updater.commit() {
                Ok(release) => {
                    journal::notice(&format!("{} has proved itself and is committed", release.name()));
                    return None;
                }
                // An operator was faster, either way.
                Err(TrialError::NothingOnTrial(_)) => return None,
                // What counts, the boot choice, was written before.
                Err(TrialError::State(error)) => {
                    journal::warn(&format!("the running release is committed, but that is not remembered: {error}"));
                    return None;
                }
                Err(error) => journal::error(&format!("the running release can't be committed: {error}")),
            }
            drop((_lock, updater));
            if !self.rest(AGAIN) {
                return Some(End::Stopped);
            }
        }
    }

    fn give_up(&mut self, reason: &str) -> Option<End> {
        let mut given_up = false;
        while !given_up {
            let Some((lock, mut updater)) = self.locked() else { return Some(End::Stopped) };
            let name = updater.running().name();
            given_up = match updater.give_up(reason) {
                Ok(Next::Restart(before)) => {
                    journal::error(&format!("{name} failed on this node ({reason}): back to {before}"));
                    true
                }
                Ok(Next::Done) => true,
                Err(TrialError::NothingOnTrial(_)) => return None,
                // The reason can't be kept; the way back is what counts.
                Err(TrialError::State(error)) => {
                    journal::error(&format!("{name} failed on this node ({reason}); not remembered: {error}"));
                    self.fall_back(&updater)
                }
                Err(error) => {
                    journal::error(&format!("{name} failed on this node ({reason}) and can't be given up: {error}"));
                    false
                }
            };
            drop((lock, updater));
            if !given_up && !self.rest(AGAIN) {
                return Some(End::Stopped);
            }
        }
        while !self.restart_now() {
            if !self.rest(AGAIN) {
                return Some(End::Stopped);
            }
        }
        Some(End::Restarting)
    }

    fn fall_back(&self, updater: &Updater) -> bool {
        let result = updater.card.control().and_then(|control| updater.card.set_control(&control.fall_back()));
        if let Err(error) = &result {
            journal::error(&error.to_string());
        }
        result.is_ok()
    }

    /// Asks for a restart; whether that was heard.
    fn restart_now(&mut self) -> bool {
        let Some((lock, updater)) = self.locked() else { return false };
        let tries = match self.node.count_try(&updater) {
            Ok(tries) => tries,
            Err(error) => {
                journal::error(&format!("{error}; so the node stays"));
                return false;
            }
        };
        drop((lock, updater));
        self.say("the node restarts");
        match (self.node.restart)(tries) {
            Ok(()) => true,
            Err(error) => {
                journal::error(&format!("the node can't be restarted: {error}"));
                false
            }
        }
    }

    fn settings(&self) -> Settings<'_> {
        Settings {
            stop: Arc::clone(&self.stop),
            alive: Arc::clone(&self.alive),
            ..Settings::of(&self.config, &self.node.site.root)
        }
    }

    /// The sources of the configuration, if there are any that can be used.
    pub fn open_sources(&self) -> Option<Sources> {
        if self.config.sources.is_empty() {
            return None;
        }
        match Sources::new(&self.config.sources, &self.settings(), &self.node.site.root, &self.node.disk) {
            Ok(sources) => Some(sources),
            Err(error) => {
                journal::error(&format!("no source is asked: {error}"));
                None
            }
        }
    }

    fn plan(&mut self, wait: Option<Duration>) {
        self.next_check = wait.map(|wait| Instant::now() + wait);
        self.report.next_check = wait.map(|wait| seconds_now() + wait.as_secs());
    }

    /// Looks at the sources when it is time, or when a stick was plugged in; installs when that is allowed.
    fn look(&mut self, sources: &mut Sources) {
        let plugged = self.is_plugged_in(sources);
        let due = self.next_check.is_some_and(|at| Instant::now() >= at);
        let allowed = self.wanted.is_some() && self.may_install();
        if !(due || plugged || allowed) {
            return;
        }
        let may_install = allowed || self.may_install();
        self.say(if may_install { "looking for a newer release" } else { "looking whether there is a newer release" });
        let round = self.round(sources, may_install);
        self.report.last_check = Some(seconds_now());
        let source_failed = matches!(round, Round::Failed(_));
        let result = match round {
            Round::Stopped => return,
            Round::Nothing(why) => {
                self.wanted = None;
                why
            }
            Round::Available(version) => {
                let text = format!("{version} is available");
                self.wanted = Some(version).filter(|_| self.config.install != Policy::Manual);
                text
            }
            Round::Installed(version) => {
                self.wanted = None;
                self.restart_wanted = true;
                self.next_restart = Instant::now();
                format!("{version} is installed")
            }
            Round::Failed(why) => why,
        };
        if self.last_said.as_ref() != Some(&result) {
            journal::notice(&result);
            self.last_said = Some(result.clone());
        }
        self.report.last_result = Some(result);
        self.report.available.clone_from(&self.wanted);
        self.failures = if source_failed { self.failures + 1 } else { 0 };
        let usual = self.config.check.wait(random(2));
        let retry = (source_failed && usual.is_some()).then(|| RETRIES.get(self.failures - 1).copied()).flatten();
        self.plan(retry.into_iter().chain(usual).min());
        if source_failed {
            // What is wanted is looked for again with the next check, not at once.
            self.wanted = None;
        }
        self.say_idle();
    }

    /// Whether there is USB storage that was not there before.
    fn is_plugged_in(&mut self, sources: &Sources) -> bool {
        if Instant::now() < self.next_sticks {
            return false;
        }
        self.next_sticks = Instant::now() + STICKS;
        let sticks = sources.sticks();
        let plugged = sticks.iter().any(|stick| !self.sticks.contains(stick));
        self.sticks = sticks;
        plugged
    }

    /// Goes through all sources until one has given a release.
    fn round(&mut self, sources: &mut Sources, may_install: bool) -> Round {
        let anchor = match self.node.anchor() {
            Ok(anchor) => anchor,
            Err(error) => return Round::Failed(error.to_string()),
        };
        let Some((_lock, mut updater)) = self.locked() else { return Round::Stopped };
        // A trial that began in the meantime is not to be disturbed.
        if updater.card.trial {
            return Round::Nothing(format!("{} is on trial", updater.running().name()));
        }
        let (mut refusals, mut troubles, mut found) = (Vec::new(), Vec::new(), None);
        let mut answered = false;
        let mut visit = |candidate: &mut Candidate<'_>| {
            match self.take(&mut updater, &anchor, candidate, may_install) {
                Ok(Some(round)) => {
                    let done = matches!(round, Round::Installed(_));
                    found = Some(round);
                    return !done;
                }
                Ok(None) => answered = true,
                Err(error) if error.outcome() == ExitStatus::Stopped => return false,
                // This source has an answer, which is that there is nothing for this node.
                Err(InstallError::Refused(why)) => refusals.push(why.to_string()),
                Err(error) => {
                    // A source that gives wrong bytes comes last the next time.
                    if error.outcome() != ExitStatus::Failed {
                        candidate.distrust();
                    }
                    troubles.push(error.to_string());
                }
            }
            true
        };
        let mut unreadable = Vec::new();
        sources.visit(&mut visit, &mut |text| unreadable.push(text.to_owned()));
        troubles.extend(unreadable);
        if self.stop.load(Relaxed) {
            return Round::Stopped;
        }
        for trouble in &troubles {
            journal::warn(trouble);
        }
        match found {
            Some(round) => round,
            // That one source has nothing newer says nothing of one that gave no answer.
            None if !troubles.is_empty() => {
                troubles.append(&mut refusals);
                Round::Failed(troubles.join("; "))
            }
            None if !refusals.is_empty() => Round::Nothing(refusals.join("; ")),
            None if answered => Round::Nothing("there is nothing newer".into()),
            None => Round::Nothing("no source has anything".into()),
        }
    }

    /// What one source has.
    fn take(
        &self,
        updater: &mut Updater,
        anchor: &[u8],
        candidate: &mut Candidate<'_>,
        may_install: bool,
    ) -> Result<Option<Round>, InstallError> {
        let request = Request { version: None, force: false, tries: self.config.tries.get() };
        let available = install::check(updater, anchor, &mut *open(candidate)?, &request)?;
        let Some(available) = available else { return Ok(None) };
        if let Some(refused) = available.refused {
            journal::warn(&format!("{} from {} is not installed: {refused}", available.version, candidate.place()));
            return Err(InstallError::Refused(refused));
        }
        if is_armed(updater, &available.version) {
            return Ok(None);
        }
        if !may_install {
            return Ok(Some(Round::Available(available.version)));
        }
        journal::notice(&format!("installing {} from {}", available.version, candidate.place()));
        let mut step = None;
        let mut board = Board::new(below(&self.node.site.root, crate::progress::PATH));
        let mut progress = |progress: Progress| {
            (self.alive)();
            board.tell(&progress);
            let percent = progress.done * 100 / progress.total.max(1);
            if step != Some((progress.step, percent / 10)) {
                step = Some((progress.step, percent / 10));
                let what = match progress.step {
                    Step::Metadata => "reading what there is",
                    Step::Writing => "writing",
                    Step::Checking => "checking",
                };
                let text = format!("installing {}: {what}, {percent} %", available.version);
                let _ = sd_notify::notify(&[NotifyState::Status(&text)]);
            }
        };
        let mut hooks = Hooks { stop: &self.stop, progress: &mut progress, pace: &mut |_| {} };
        match install::install(updater, anchor, &mut *open(candidate)?, &request, &mut hooks)? {
            Outcome::Installed(installed) => {
                for note in &installed.notes {
                    journal::info(note);
                }
                Ok(Some(Round::Installed(installed.release.version)))
            }
            Outcome::UpToDate { .. } => Ok(None),
        }
    }

    /// What stands against doing something now; nothing if it may be done.
    fn obstacles(&self, policy: Policy) -> Vec<String> {
        let mut against: Vec<String> = (self.node.inhibitors)().iter().map(ToString::to_string).collect();
        match policy {
            Policy::Auto => {}
            Policy::Manual => against.push("an operator".into()),
            Policy::Window => match ((self.node.time)(), self.config.without_clock) {
                (Some(now), _) if window::open(&self.config.windows, now) => {}
                _ if self.config.windows.is_empty() => {}
                (Some(_), _) => {
                    let windows: Vec<String> = self.config.windows.iter().map(ToString::to_string).collect();
                    against.push(format!("a window ({})", windows.join(", ")));
                }
                (None, WithoutClock::Ignore) => {}
                (None, WithoutClock::Wait) => against.push("the clock to be set, since there are windows".into()),
            },
        }
        against
    }

    /// Whether installing is allowed now; looked at now and then only.
    fn may_install(&mut self) -> bool {
        if self.config.install == Policy::Manual || self.wanted.is_some() && Instant::now() < self.next_install {
            return false;
        }
        let against = self.obstacles(self.config.install);
        let allowed = against.is_empty();
        if !allowed {
            self.next_install = Instant::now() + PATIENCE;
            if self.wanted.is_some() && self.report.waits_for != against {
                self.report.waits_for = against;
                self.say_idle();
            }
        } else if !self.restart_wanted {
            self.report.waits_for.clear();
        }
        allowed
    }

    /// Restarts into a release that is armed, when nothing stands against it.
    fn restart_if_wanted(&mut self) -> Option<End> {
        if Instant::now() < self.next_restart {
            return None;
        }
        self.next_restart = Instant::now() + PATIENCE;
        // Others can arm and disarm too: what is in force counts.
        self.restart_wanted = self.is_any_armed();
        if !self.restart_wanted {
            if self.wanted.is_none() && !self.report.waits_for.is_empty() {
                self.report.waits_for.clear();
                self.say_idle();
            }
            return None;
        }
        let against = self.obstacles(self.config.reboot);
        if against.is_empty() {
            journal::notice("restarting into the release that is installed");
            return if self.restart_now() { Some(End::Restarting) } else { None };
        }
        if self.report.waits_for != against {
            journal::info(&format!("the restart into the new release waits for: {}", against.join(", ")));
            self.report.waits_for = against;
            self.say_idle();
        }
        None
    }

    fn is_any_armed(&self) -> bool {
        // Whoever holds the lock may be about to arm; that is seen the next time.
        let Ok(_lock) = Lock::take(&self.node.lock) else { return false };
        let Ok(updater) = (self.node.open)() else { return false };
        let other = updater.other();
        !updater.card.trial
            && updater.card.control().is_ok_and(|control| control.trial.is_some_and(|trial| trial.slot == other))
    }

    /// Makes a second good slot when there is nothing else to do.
    fn clone_if_idle(&mut self) {
        let busy = self.cloned || self.wanted.is_some() || self.restart_wanted || self.started.elapsed() < IDLE;
        if self.config.clone != ClonePolicy::Idle || busy || !(self.node.inhibitors)().is_empty() {
            return;
        }
        // Once per start of the daemon, whatever comes of it.
        self.cloned = true;
        let Some((_lock, mut updater)) = self.locked() else { return };
        self.say("copying the running release to the other slot");
        let alive = Arc::clone(&self.alive);
        let mut progress = |_: Progress| alive();
        let mut hooks = Hooks { stop: &self.stop, progress: &mut progress, pace: &mut |_| {} };
        match updater.clone_slot(false, &mut hooks) {
            Ok(cloned) => journal::notice(&format!("slot {} holds {} now too", cloned.slot, cloned.release.name())),
            Err(crate::clone::CloneError::HasGood { .. }) => {}
            Err(error) => journal::warn(&format!("the running release is not copied: {error}")),
        }
        self.say_idle();
    }
}

/// The candidate's pieces from the beginning.
fn open<'c>(candidate: &'c mut Candidate<'_>) -> Result<Box<dyn Source + 'c>, InstallError> {
    let place = candidate.place();
    candidate.source().map_err(|error| SourceError::Unreachable { place, why: error.to_string() }.into())
}

/// Whether a release of that version is armed already.
fn is_armed(updater: &Updater, version: &str) -> bool {
    let other: Slot = updater.other();
    match &updater.state().now {
        Phase::Trial { slot, release } => *slot == other && release.version == version,
        _ => false,
    }
}
