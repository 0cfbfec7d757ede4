//! The main thread: takes the lines, hears the board, tells the journal and the service manager.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Sender, sync_channel};
use std::time::{Duration, Instant};

use fruit_base::AtPath;
use fruit_contract::agent::config::WatchdogDevice;
use fruit_device::journal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sd_notify::NotifyState;

use super::accounting::Entry;
use super::{ACCOUNT_TIME, enter_ending, nudge, start};
use crate::account::Ending;
use crate::beat::{self, Stamp, Timing};
use crate::clock::{Clock, Monotonic};
use crate::condition::{Condition, Conditions};
use crate::line::{InputLine, OutputLine, Port};
use crate::shared_state::SharedState;
use crate::signal::Debounce;
use crate::watchdog::Watchdog;
use crate::{realtime, shutdown};

const MILLI: u64 = 1_000_000;
/// Longest sleep while a device is still missing.
const EAGER: Duration = Duration::from_secs(1);
/// Longest sleep otherwise.
const CALM: Duration = Duration::from_millis(2_500);

pub struct Watch {
    shared: Arc<SharedState>,
    entries: Sender<Entry>,
    wake: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    signal: Option<Box<dyn InputLine>>,
    debounce: Debounce,
    /// The board's order has not been passed on yet.
    order_due: bool,
    /// The conditions that the journal knows beats to be withheld for.
    told: Conditions,
    /// Trouble with devices that the journal knows of.
    device_trouble: Option<String>,
    watchdog_trouble: Option<String>,
    /// What the service manager was told last.
    status: String,
    /// When the service manager wants to hear from us, at the latest.
    alive_interval: Option<Duration>,
    alive_told: Instant,
}

impl Watch {
    pub fn new(shared: &Arc<SharedState>, entries: Sender<Entry>, wake: Arc<OwnedFd>) -> Watch {
        Watch {
            shared: Arc::clone(shared),
            entries,
            wake,
            stop: Arc::new(AtomicBool::new(false)),
            signal: None,
            debounce: Debounce::new(shared.config.signal.least_pulse()),
            order_due: false,
            told: Conditions::NONE,
            device_trouble: None,
            watchdog_trouble: None,
            status: String::new(),
            alive_interval: sd_notify::watchdog_enabled().map(|limit| limit / 3),
            alive_told: Instant::now(),
        }
    }

    /// Runs until `termination` is readable, then brings everything to an orderly end.
    ///
    /// # Errors
    /// Waiting itself fails.
    pub fn run(mut self, termination: &OwnedFd) -> io::Result<()> {
        self.devices();
        self.notify(&[NotifyState::Ready]);
        while !self.wait(termination)? {
            self.shared.permit.stamp(Stamp::Main, Monotonic.now());
            self.hear();
            self.pass_on();
            self.tell_withheld();
            self.devices();
            self.tell_manager();
        }
        self.end();
        Ok(())
    }

    /// Waits for something to do; true if it is the end.
    fn wait(&self, termination: &OwnedFd) -> io::Result<bool> {
        let longest = if self.missing() || self.order_due { EAGER } else { CALM };
        let longest = self.alive_interval.map_or(longest, |interval| interval.min(longest));
        let deadline = self.debounce.deadline().map(|at| at.saturating_sub(Monotonic.now()));
        let nanos = deadline.unwrap_or(u64::MAX).min(longest.as_nanos() as u64);
        let limit = Timespec { tv_sec: (nanos / (1_000 * MILLI)) as i64, tv_nsec: (nanos % (1_000 * MILLI)) as _ };
        let mut waited = vec![PollFd::new(termination, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
        waited.extend(self.signal.as_ref().map(|line| PollFd::from_borrowed_fd(line.fd(), PollFlags::IN)));
        match poll(&mut waited, Some(&limit)) {
            Ok(_) => Ok(!waited[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a device that should be in use is not.
    fn missing(&self) -> bool {
        let board = self.shared.board();
        let fed = self.shared.watchdog.get().is_some() || self.shared.config.watchdog.device == WatchdogDevice::None;
        (board.drives && !(board.beats && board.watches)) || !fed
    }

    /// Takes the devices that are not in use yet: at boot they come when they come.
    fn devices(&mut self) {
        let board = self.shared.board().clone();
        if board.drives && !(board.beats && board.watches) {
            let taken = self.lines(board.beats, board.watches);
            let trouble = taken.err().map(|error| error.to_string());
            if let Some(trouble) = trouble.as_ref().filter(|trouble| self.device_trouble.as_ref() != Some(trouble)) {
                journal::warn(&format!("{trouble}; trying on"));
            }
            self.device_trouble.clone_from(&trouble);
            self.shared.board().trouble = trouble;
        }
        if let Err(error) = self.watchdog() {
            let trouble = error.to_string();
            if self.watchdog_trouble.as_ref() != Some(&trouble) {
                journal::warn(&format!("{trouble}; trying on"));
            }
            self.watchdog_trouble = Some(trouble);
        }
    }

    fn lines(&mut self, beats: bool, watches: bool) -> io::Result<()> {
        let lines = &self.shared.config.lines;
        let port = Port::find(&lines.chip, &self.shared.roots.dev)?;
        if !beats {
            self.beat(port.output(lines.heartbeat)?)?;
            self.shared.board().beats = true;
        }
        if !watches {
            let mut line = port.input(lines.signal)?;
            let level = line.level()?;
            if !level {
                journal::warn("the signal line is low already; only its next falling edge is an order");
            }
            let mut board = self.shared.board();
            (board.watches, board.signal_level) = (true, Some(level));
            drop(board);
            self.debounce = Debounce::new(self.shared.config.signal.least_pulse());
            self.signal = Some(line);
        }
        Ok(())
    }

    /// Starts the thread that beats.
    fn beat(&self, mut line: Box<dyn OutputLine>) -> io::Result<()> {
        let (shared, wake, stop) = (Arc::clone(&self.shared), Arc::clone(&self.wake), Arc::clone(&self.stop));
        let heartbeat = shared.config.heartbeat.clone();
        let timing = Timing { high: heartbeat.high.millis() * MILLI, interval: heartbeat.interval.millis() * MILLI };
        start("beat", move || {
            take_priority(heartbeat.priority);
            let SharedState { permit, record, .. } = &*shared;
            beat::beat(&mut *line, &Monotonic, timing, permit, record, &|| nudge(&wake), &stop);
            if !stop.load(Relaxed) {
                journal::error("the heartbeat line was lost");
                shared.board().beats = false;
                nudge(&wake);
            }
        })
    }

    fn watchdog(&self) -> io::Result<()> {
        let config = &self.shared.config.watchdog;
        let WatchdogDevice::Device(path) = &config.device else { return Ok(()) };
        if self.shared.watchdog.get().is_some() {
            return Ok(());
        }
        // At most 600 s by the configuration.
        let seconds = (config.timeout.millis() / 1_000) as u32;
        let (watchdog, complaint) = Watchdog::arm(path, seconds).at(path)?;
        if let Some(complaint) = complaint {
            journal::warn(&format!("{} takes no timeout: {complaint}", path.display()));
        }
        journal::notice(&format!("{} is armed, {} s", path.display(), watchdog.timeout()));
        // Only this thread sets it, and it was not set above.
        let _ = self.shared.watchdog.set(watchdog);
        let (shared, wake, stop) = (Arc::clone(&self.shared), Arc::clone(&self.wake), Arc::clone(&self.stop));
        let priority = shared.config.heartbeat.priority;
        start("watchdog", move || {
            take_priority(priority);
            if let Some(watchdog) = shared.watchdog.get() {
                watchdog.feed(&Monotonic, &shared.permit, &|| nudge(&wake), &stop);
            }
        })
    }

    /// Takes the edges of the signal line.
    fn hear(&mut self) {
        let Some(line) = &mut self.signal else { return };
        let (mut ordered, debounce) = (false, &mut self.debounce);
        let mut heard = line.edges(&mut |edge, at| ordered |= debounce.edge(edge, at));
        let now = Monotonic.now();
        if heard.is_ok() && debounce.deadline().is_some_and(|deadline| now >= deadline) {
            heard = line.level().map(|level| ordered |= debounce.expire(now, level));
        }
        match heard.and_then(|()| line.level()) {
            Ok(level) => self.shared.board().signal_level = Some(level),
            Err(error) => {
                journal::error(&format!("the signal line was lost: {error}"));
                self.signal = None;
                let mut board = self.shared.board();
                (board.watches, board.signal_level) = (false, None);
            }
        }
        if ordered && self.shared.begin_ending(Ending::Signal) {
            let glitch = self.shared.config.signal.glitch;
            journal::critical(&format!(
                "shutting down now: the Pi Stack board pulled the signal line low (for {glitch} or longer) and is about \
                 to cut the power"
            ));
            self.order_due = true;
        }
    }

    /// Passes the board's order on, until that works.
    fn pass_on(&mut self) {
        if !self.order_due {
            return;
        }
        match shutdown::order(&self.shared.roots.run) {
            Ok(()) => {
                self.order_due = false;
                // The shutdown does not wait for the disk.
                let (done, _) = sync_channel(1);
                let _ = self.entries.send(Entry::Ending(Ending::Signal, done));
            }
            Err(error) => journal::critical(&format!("the order to shut down cannot be passed on: {error}")),
        }
    }

    /// Tells the journal and the account when beats or feeds begin and cease to be withheld.
    fn tell_withheld(&mut self) {
        let mut count = [0; 8];
        let nudged = rustix::io::read(&self.wake, &mut count).is_ok();
        let reasons = self.shared.permit.withheld_for(Monotonic.now());
        if nudged && !reasons.is_empty() && reasons != self.told {
            let why = self.shared.explain(reasons);
            journal::critical(&format!("beat withheld: {why}"));
            let _ = self.entries.send(Entry::Withheld(reasons, why));
            self.told = reasons;
        } else if reasons.is_empty() && !self.told.is_empty() {
            journal::notice("beats are given again");
            self.told = Conditions::NONE;
        }
    }

    fn notify(&self, state: &[NotifyState<'_>]) {
        // Nobody may be listening.
        let _ = sd_notify::notify(state);
    }

    fn tell_manager(&mut self) {
        let withheld = self.shared.permit.withheld_for(Monotonic.now());
        // If the health thread hangs, systemd starts the agent again.
        let due = self.alive_interval.is_some_and(|interval| self.alive_told.elapsed() >= interval);
        if due && !withheld.has(Condition::Process) {
            self.notify(&[NotifyState::Watchdog]);
            self.alive_told = Instant::now();
        }
        let status = match (self.shared.ending(), withheld.is_empty(), self.shared.board().beats) {
            (Some(ending), _, _) => format!("Going down: {}", ending.name()),
            (None, false, _) => format!("Beat withheld: {withheld}"),
            (None, true, true) => "Beating".to_owned(),
            (None, true, false) => "No line to beat".to_owned(),
        };
        if status != self.status {
            self.notify(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// The orderly end of the agent.
    fn end(self) {
        self.notify(&[NotifyState::Stopping]);
        self.stop.store(true, Relaxed);
        if let Some(watchdog) = self.shared.watchdog.get()
            && let Err(error) = watchdog.disarm()
        {
            journal::error(&format!("the watchdog is still armed and will reset the node: {error}"));
        }
        // fruit-agent-ending.service has said so before, unless it is not installed.
        if self.shared.ending().is_none()
            && let Ok(Some(kind)) = shutdown::kind_in_progress(&self.shared.roots.run)
            && let Some(ending) = Ending::from_shutdown(kind)
        {
            self.shared.begin_ending(ending);
            enter_ending(&self.entries, ending);
        }
        let (done, wait) = sync_channel(1);
        if self.entries.send(Entry::Close(done)).is_ok() && wait.recv_timeout(ACCOUNT_TIME).is_err() {
            journal::warn("the account is not on the disk");
        }
        // A beat that has begun is finished: the line is left low.
        let limit = Instant::now() + self.shared.config.heartbeat.high.duration() + Duration::from_millis(100);
        while self.shared.record.high.load(Relaxed) && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(5));
        }
        // The next agent removes it too.
        let _ = std::fs::remove_file(self.shared.config.metrics.socket.path());
        journal::info("stopped");
    }
}

fn take_priority(priority: u8) {
    if let Err(error) = realtime::schedule_fifo(priority) {
        journal::warn(&format!("no real-time priority, beats may be late: {error}"));
    }
}
