//! The thread that keeps the account. It alone waits for the disk.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use fruit_device::journal;

use crate::account::store::Store;
use crate::account::{Account, Boot, Ending, WriteBudget};
use crate::clock::{Clock, Monotonic, unix_seconds};
use crate::condition::{Condition, Conditions};
use crate::shared_state::SharedState;
use crate::vitals::{boot_id, reset_cause};

/// Time between two looks at whether something is to be written.
const LOOK: Duration = Duration::from_secs(60);
/// The same while the store cannot be opened.
const RETRY: Duration = Duration::from_secs(5);

/// What happens to the account.
pub enum Entry {
    /// Beats began to be withheld.
    Withheld(Conditions, String),
    /// It is known how this boot ends. Answered when that is on the disk.
    Ending(Ending, SyncSender<()>),
    /// The agent ends. Answered when the account is on the disk.
    Close(SyncSender<()>),
}

/// The account and what it takes to keep it.
struct Accounting<'a> {
    shared: &'a SharedState,
    store: Option<Store>,
    account: Account,
    /// Counts of this boot by earlier agents of it.
    base: Boot,
    base_withheld_for: [u64; Condition::COUNT],
    /// Entered before the store was open.
    early: Option<(Conditions, String)>,
    budget: WriteBudget,
    /// Something happened that is not written yet.
    urgent: bool,
}

fn now_millis() -> u64 {
    Monotonic.now() / 1_000_000
}

/// Keeps the account for as long as somebody may enter something.
pub fn keep(shared: &SharedState, entries: &Receiver<Entry>) {
    let mut accounting = Accounting {
        shared,
        store: None,
        account: Account::default(),
        base: Boot::default(),
        base_withheld_for: [0; Condition::COUNT],
        early: None,
        budget: WriteBudget::new(now_millis()),
        urgent: false,
    };
    loop {
        accounting.open();
        accounting.write(false);
        let wait = if accounting.store.is_some() { LOOK } else { RETRY };
        match entries.recv_timeout(wait) {
            Ok(Entry::Withheld(conditions, why)) => accounting.withhold(conditions, why),
            Ok(Entry::Ending(ending, done)) => {
                accounting.account.end(ending);
                accounting.write(true);
                let _ = done.send(());
            }
            Ok(Entry::Close(done)) => {
                accounting.write(true);
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Accounting<'_> {
    /// Opens the store, unless it is open. Until it can be, nothing is lost but what a power cut would take.
    fn open(&mut self) {
        if self.store.is_some() {
            return;
        }
        let (store, account) = match Store::open(self.shared.config.state.0.path()) {
            Ok(opened) => opened,
            Err(error) => return self.trouble(&error),
        };
        self.account = account;
        let id = boot_id(&self.shared.roots.proc).unwrap_or_default();
        let is_new = self.account.open(id, reset_cause(&self.shared.roots));
        (self.base, self.base_withheld_for) = (self.account.current, self.account.withheld_for);
        if let Some(ending) = self.shared.ending() {
            self.account.end(ending);
        }
        if let Some((conditions, why)) = self.early.take() {
            self.account.withhold(conditions, &why, unix_seconds());
        }
        self.urgent |= is_new;
        self.store = Some(store);
        if is_new {
            self.tell();
        }
    }

    /// Tells the journal what the account knows of the boot before.
    fn tell(&self) {
        let account = &self.account;
        let Some(ending) = account.previous_ending else { return journal::notice("boot 1 of this account") };
        let Boot { uptime, beats_withheld, .. } = account.previous;
        let mut line = format!("boot {}; the one before ended by {} after {uptime} s", account.boots, ending.name());
        if let Some(last) = account.last_withholding.as_ref().filter(|last| last.boot + 1 == account.boots) {
            line.push_str(&format!(", {beats_withheld} beats withheld, for the last time because of {}", last.detail));
        }
        journal::notice(&line);
    }

    fn withhold(&mut self, conditions: Conditions, why: String) {
        if self.store.is_some() {
            self.account.withhold(conditions, &why, unix_seconds());
        } else {
            self.early = Some((conditions, why));
        }
        self.urgent = true;
    }

    fn trouble(&self, error: &std::io::Error) {
        let error = error.to_string();
        let mut state = self.shared.account();
        if state.trouble.as_ref() != Some(&error) {
            journal::error(&format!("the account is not kept: {error}"));
            state.trouble = Some(error);
        }
    }

    /// Brings the numbers up to date and writes the account if it is time to, or at `once`.
    fn write(&mut self, once: bool) {
        let record = &self.shared.record;
        self.account.current = Boot {
            uptime: uptime(),
            beats_given: self.base.beats_given + record.given.load(Relaxed),
            beats_withheld: self.base.beats_withheld + record.withheld.load(Relaxed),
        };
        for (index, base) in self.base_withheld_for.iter().enumerate() {
            self.account.withheld_for[index] = base + record.withheld_for[index].load(Relaxed);
        }
        let Some(store) = &mut self.store else { return };
        self.shared.account().account = Some(self.account.clone());
        if !(self.budget.spend(self.urgent, now_millis()) || once) {
            return;
        }
        match store.write(&self.account) {
            Ok(()) => {
                self.urgent = false;
                let mut state = self.shared.account();
                state.writes += 1;
                state.trouble = None;
            }
            Err(error) => self.trouble(&error),
        }
    }
}

/// Seconds since the kernel started.
fn uptime() -> u64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec.unsigned_abs()
}
