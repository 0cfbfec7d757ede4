//! What the threads of the daemon tell one another.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fruit_contract::agent::config::AgentConfig;

use crate::account::{Account, Ending};
use crate::beat::{Permit, Record};
use crate::clock::{Clock, Monotonic};
use crate::condition::{Condition, Conditions};
use crate::health::Verdict;
use crate::vitals::Roots;
use crate::watchdog::Watchdog;

/// What is known of the board and its lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BoardState {
    /// What the device tree names.
    pub product: Option<String>,
    /// Whether the configuration and the device tree let the lines be driven.
    pub drives: bool,
    /// Whether the heartbeat line has been taken.
    pub beats: bool,
    /// Whether the signal line is being watched.
    pub watches: bool,
    /// Level of the signal line as last seen, high = true.
    pub signal_level: Option<bool>,
    /// Why a line that should be used is not.
    pub trouble: Option<String>,
}

/// State of the account's store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountState {
    /// Absent until it has been read.
    pub account: Option<Account>,
    pub writes: u64,
    pub trouble: Option<String>,
}

/// The daemon's state. The beat thread uses `permit` and `record` only, which never make it wait.
#[derive(Debug)]
pub struct SharedState {
    pub config: AgentConfig,
    /// Why the configuration is not the one of the file.
    pub config_error: Option<String>,
    pub roots: Roots,
    /// Nanoseconds of the monotonic clock.
    pub started: u64,
    pub permit: Permit,
    pub record: Record,
    /// Once it is armed.
    pub watchdog: OnceLock<Watchdog>,
    /// When the node began to go down, nanoseconds of the monotonic clock; 0 = it has not.
    ending_since: AtomicU64,
    ending: Mutex<Option<Ending>>,
    board: Mutex<BoardState>,
    verdict: Mutex<Option<Verdict>>,
    account: Mutex<AccountState>,
}

/// A panic in another thread has ended the process, or left plain data that is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedState {
    pub fn new(config: AgentConfig, config_error: Option<String>, roots: Roots) -> Arc<SharedState> {
        let started = Monotonic.now();
        // A look at the conditions takes its interval and at most two answers of systemd, each as long again.
        let hang = config.health.check.millis().saturating_mul(4).saturating_add(1_000).saturating_mul(1_000_000);
        Arc::new(SharedState {
            config,
            config_error,
            roots,
            started,
            permit: Permit::new(started, hang),
            record: Record::default(),
            watchdog: OnceLock::new(),
            ending_since: AtomicU64::new(0),
            ending: Mutex::default(),
            board: Mutex::default(),
            verdict: Mutex::default(),
            account: Mutex::default(),
        })
    }

    pub fn board(&self) -> MutexGuard<'_, BoardState> {
        lock(&self.board)
    }

    pub fn verdict(&self) -> MutexGuard<'_, Option<Verdict>> {
        lock(&self.verdict)
    }

    pub fn account(&self) -> MutexGuard<'_, AccountState> {
        lock(&self.account)
    }

    /// Notes that the node goes down; false if that was known with as good a reason.
    pub fn begin_ending(&self, ending: Ending) -> bool {
        let mut known = lock(&self.ending);
        if *known == Some(Ending::Signal) || *known == Some(ending) {
            return false;
        }
        *known = Some(ending);
        let _ = self.ending_since.compare_exchange(0, Monotonic.now().max(1), Relaxed, Relaxed);
        true
    }

    pub fn ending(&self) -> Option<Ending> {
        *lock(&self.ending)
    }

    /// Nanoseconds of the monotonic clock.
    pub fn ending_since(&self) -> Option<u64> {
        Some(self.ending_since.load(Relaxed)).filter(|since| *since > 0)
    }

    /// Why beats are withheld for `conditions`, in words.
    pub fn explain(&self, conditions: Conditions) -> String {
        let verdict = self.verdict();
        let reasons = conditions.iter().map(|condition| match (condition, verdict.as_ref()) {
            (Condition::Process, _) => "process: a thread of the agent hangs".to_owned(),
            (_, Some(verdict)) => format!("{}: {}", condition.name(), verdict.detail(condition)),
            (_, None) => condition.name().to_owned(),
        });
        reasons.collect::<Vec<_>>().join("; ")
    }
}
