//! A node's updater: the card, what is remembered, and how the two are brought together after a boot or a power cut.

use fruit_contract::update::status::{Content, EventKind, Identity};
use fruit_contract::{BootControl, Slot};

use crate::card::{Card, CardError};
use crate::facts::Facts;
use crate::state::{Memory, Phase, State, StateError};
use crate::store::Store;

/// Why nothing can be done.
#[derive(Debug, thiserror::Error)]
pub enum UpdaterError {
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// Everything that an update works with. Whoever changes something holds the [`crate::lock::Lock`].
pub struct Updater {
    pub card: Card,
    pub store: Box<dyn Store>,
    pub facts: Facts,
    pub memory: Memory,
}

impl Updater {
    /// Reads what is remembered and brings it together with what the boot loader did meanwhile. Writes nothing.
    ///
    /// # Errors
    /// Read errors.
    pub fn new(card: Card, store: Box<dyn Store>, facts: Facts) -> Result<Updater, UpdaterError> {
        let memory = Memory::load(&*store)?;
        let mut updater = Updater { card, store, facts, memory };
        let control = updater.card.control()?;
        // The boot report stays as it was at boot; a commit since then ended the trial.
        updater.card.trial &= control.active != updater.card.running;
        updater.reconcile(&control);
        Ok(updater)
    }

    pub fn state(&self) -> &State {
        &self.memory.state
    }

    /// The slot that releases are written to.
    pub fn other(&self) -> Slot {
        self.card.running.other()
    }

    /// The release that runs.
    pub fn running(&self) -> Identity {
        self.state().slot(self.card.running).complete().cloned().unwrap_or_else(|| self.facts.identity())
    }

    /// Seconds since 1970, as far as the node knows.
    pub fn now(&self) -> u64 {
        self.facts.now(self.state().newest_signed)
    }

    /// Stores what is remembered, if it changed.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save(&mut self) -> Result<(), StateError> {
        self.memory.save(&*self.store)
    }

    /// What is written down and what is in force can differ by one step, since they are written one after the other.
    /// What is in force counts.
    fn reconcile(&mut self, control: &BootControl) {
        let (running, on_trial) = (self.card.running, self.card.trial);
        self.know_what_runs();
        match self.memory.state.now.clone() {
            // The loader has been told, and that is not remembered.
            Phase::Idle if !on_trial && control.trial.is_some_and(|trial| trial.slot == running.other()) => {
                let slot = running.other();
                let release = self.state().slot(slot).complete().cloned().unwrap_or_else(|| self.unknown(None));
                self.memory.state.now = Phase::Trial { slot, release };
            }
            Phase::Idle => {}
            Phase::Installing { slot, release } | Phase::Trial { slot, release } => {
                // What runs knows best what it is.
                let release = if running == slot { self.running() } else { release };
                let armed = control.trial.is_some_and(|trial| trial.slot == slot);
                let trial = Phase::Trial { slot, release: release.clone() };
                if running == slot && !on_trial && control.active == slot {
                    self.committed(slot, &release);
                } else if armed || running == slot && on_trial {
                    self.memory.state.set_slot(slot, Content::Complete { release, good: false });
                    self.memory.state.now = trial;
                } else if control.failed == Some(slot) {
                    self.gave_up(
                        slot,
                        &release,
                        "it did not come up: the boot loader fell back when its tries were used up",
                    );
                } else if self.memory.state.now == trial || running == slot {
                    // The trial was taken back, by hand or by an install that got no further.
                    self.memory.state.now = Phase::Idle;
                }
            }
        }
    }

    /// The running slot holds what runs, whoever put it there.
    fn know_what_runs(&mut self) {
        let (running, on_trial, mine) = (self.card.running, self.card.trial, self.facts.identity());
        let state = &mut self.memory.state;
        let known = state.slot(running).complete().filter(|release| release.is(&mine)).cloned();
        let was_good = known.is_some() && state.slot(running).good().is_some();
        let release = known.unwrap_or_else(|| match &state.now {
            Phase::Installing { slot, release } | Phase::Trial { slot, release }
                if *slot == running && release.is(&mine) =>
            {
                release.clone()
            }
            _ => mine,
        });
        state.set_slot(running, Content::Complete { release, good: was_good || !on_trial });
        if !on_trial {
            state.epoch = state.epoch.max(self.facts.epoch);
        }
    }

    /// Remembers that the release of `slot` has proved itself.
    pub(crate) fn committed(&mut self, slot: Slot, release: &Identity) {
        let now = self.now();
        let state = &mut self.memory.state;
        state.set_slot(slot, Content::Complete { release: release.clone(), good: true });
        state.failed.retain(|failed| !failed.release.is(release));
        state.epoch = state.epoch.max(release.epoch);
        state.now = Phase::Idle;
        state.last_error = None;
        state.note(now, EventKind::Committed, release, "");
    }

    /// Remembers that a trial has failed; a reason that is known already is the better one.
    pub(crate) fn gave_up(&mut self, slot: Slot, release: &Identity, reason: &str) {
        let now = self.now();
        let state = &mut self.memory.state;
        if !state.failed.iter().any(|failed| failed.release.is(release)) {
            state.fail(now, release, reason);
        }
        state.set_slot(slot, Content::Complete { release: release.clone(), good: false });
        state.now = Phase::Idle;
    }
}
