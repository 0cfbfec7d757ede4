//! What becomes of a release on trial, and the way back to the release before.

use fruit_contract::bootctl::Refused;
use fruit_contract::update::status::{Content, EventKind, Identity};
use fruit_contract::{BootControl, Slot};
use fruit_release::Manifest;
use fruit_release::manifest::{CHUNK, VolumeKind};
use fruit_verity::{BadBlock, Params, VerityError};

use crate::card::{Card, CardError};
use crate::install;
use crate::slot::{Reading, holds_chunk};
use crate::state::{Phase, StateError};
use crate::updater::Updater;

/// Why a trial can't be ended or begun.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("nothing is on trial: {0} runs and is committed")]
    NothingOnTrial(String),
    #[error("{0} is to be tried at the next boot: restart the node first, so that it can prove itself")]
    NotBooted(String),
    #[error("slot {slot} holds no release that has proved itself here; there is nothing to go back to")]
    NothingBefore { slot: Slot },
    #[error(
        "{name} is installed and not tried yet, so there is nothing to go back from: \
         `fruit-update cancel` takes it back"
    )]
    Armed { name: String },
    #[error("nothing is to be tried at the next boot, and no install was interrupted: there is nothing to take back")]
    NothingArmed,
    #[error("{0} runs on trial already: `fruit-update rollback` gives it up")]
    Running(String),
    #[error("slot {slot} holds {name}, which has failed here; it is tried again only with --force")]
    Failed { slot: Slot, name: String },
    #[error("slot {slot} holds {name} of security epoch {epoch}, older than {reached}, which this node has reached")]
    Epoch { slot: Slot, name: String, epoch: u64, reached: u64 },
    #[error("slot {slot} is damaged: {what} is not what was written; it can't be started")]
    Damaged { slot: Slot, what: BadBlock },
    #[error("slot {slot} is damaged: its boot partition is not what was written, at byte {at}; it can't be started")]
    DamagedBoot { slot: Slot, at: u64 },
    #[error("slot {slot}: {error}")]
    Check { slot: Slot, error: VerityError },
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// What there is to do after a change of the boot choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing.
    Done,
    /// The node must restart into the release of that name.
    Restart(String),
}

impl Updater {
    /// The release on trial that runs.
    fn on_trial(&self) -> Result<(Slot, Identity), TrialError> {
        match &self.state().now {
            Phase::Trial { slot, release } if *slot == self.card.running => Ok((*slot, release.clone())),
            Phase::Trial { release, .. } => Err(TrialError::NotBooted(release.name())),
            // The loader says so, though nothing here began it.
            _ if self.card.trial => Ok((self.card.running, self.running())),
            _ => Err(TrialError::NothingOnTrial(self.running().name())),
        }
    }

    /// Makes the running release, which is on trial, the one that boots from now on.
    ///
    /// # Errors
    /// Nothing is on trial; write errors.
    pub fn commit(&mut self) -> Result<Identity, TrialError> {
        let (slot, release) = self.on_trial()?;
        let control = self.card.control()?;
        self.card.set_control(&control.commit(slot)?)?;
        self.card.trial = false;
        self.committed(slot, &release);
        self.save()?;
        Ok(release)
    }

    /// Gives up the running release, which is on trial, for a reason that is kept: the next boot is the release before,
    /// and this one is not tried again by itself.
    ///
    /// # Errors
    /// Nothing is on trial; write errors.
    pub fn give_up(&mut self, reason: &str) -> Result<Next, TrialError> {
        let (slot, release) = self.on_trial()?;
        let now = self.now();
        // The reason first: after a power cut in between, the trial goes on or is over, but the reason is not lost. If it
        // can't be kept, the way back still counts for more.
        self.memory.state.fail(now, &release, reason);
        let kept = self.save();
        let control = self.card.control()?;
        self.card.set_control(&control.fall_back())?;
        self.gave_up(slot, &release, reason);
        self.save().and(kept)?;
        let before = self.state().slot(slot.other()).complete();
        Ok(Next::Restart(before.map_or_else(|| format!("slot {}", slot.other()), Identity::name)))
    }

    /// Takes back a trial that has not begun to run.
    pub(crate) fn disarm(&mut self) -> Result<(), CardError> {
        let (running, other) = (self.card.running, self.other());
        let control = self.card.control()?;
        let failed = control.failed.filter(|&failed| failed != other);
        // A node that runs from its last resort makes that the slot that boots: the other one is about to change.
        self.card.set_control(&BootControl { active: running, trial: None, failed, ..control })
    }

    /// Takes back a release that is installed and not tried yet, or an install that was interrupted. The release is not
    /// installed again by itself.
    ///
    /// # Errors
    /// There is nothing to take back; write errors.
    pub fn cancel(&mut self) -> Result<Identity, TrialError> {
        if self.card.trial {
            return Err(TrialError::Running(self.running().name()));
        }
        let other = self.other();
        let armed = self.card.is_armed(other)?;
        let release = match &self.state().now {
            Phase::Installing { release, .. } | Phase::Trial { release, .. } => release.clone(),
            Phase::Idle if armed => self.unknown(None),
            Phase::Idle => return Err(TrialError::NothingArmed),
        };
        // What the loader is told first: it is what counts.
        self.disarm()?;
        let now = self.now();
        let state = &mut self.memory.state;
        state.now = Phase::Idle;
        state.last_error = None;
        state.fail(now, &release, "taken back by the operator before it was tried");
        self.save()?;
        Ok(release)
    }

    /// What can be said of a release that nothing is remembered of.
    pub(crate) fn unknown(&self, params: Option<&Params>) -> Identity {
        Identity {
            product: self.facts.image.name.clone(),
            board: self.facts.image.board.clone(),
            version: "of unknown version".into(),
            build_id: String::new(),
            verity: params.map(ToString::to_string).unwrap_or_default(),
            manifest: None,
            epoch: 0,
        }
    }

    /// The release that is whole in `slot` though nothing is remembered of it, as on a node without a data partition: its
    /// boot volume names a root, and the root is that.
    fn whole_in(&self, slot: Slot) -> Result<Option<Identity>, TrialError> {
        for params in crate::slot::named_roots(self.card.volume(slot, VolumeKind::Boot))
            .map_err(|source| CardError::Read { volume: Card::volume_name(slot, VolumeKind::Boot), source })?
        {
            let root = Reading(self.card.volume(slot, VolumeKind::Root));
            // Text that only looks like parameters may name places that are not there.
            if params.total_len().is_ok_and(|len| len <= self.card.volume(slot, VolumeKind::Root).len())
                && fruit_verity::verify(&root, &params).map_err(|error| TrialError::Check { slot, error })?.is_none()
            {
                return Ok(Some(self.unknown(Some(&params))));
            }
        }
        Ok(None)
    }

    /// The release of the other slot, if the node may go back to it.
    fn before(&self, slot: Slot, force: bool) -> Result<Identity, TrialError> {
        if let Some(good) = self.state().slot(slot).good() {
            return Ok(good.clone());
        }
        let control = self.card.control()?;
        if let (Phase::Trial { release, .. }, true) = (&self.state().now, self.card.is_armed(slot)?) {
            return Err(TrialError::Armed { name: release.name() });
        }
        if *self.state().slot(slot) != Content::Unknown {
            return Err(TrialError::NothingBefore { slot });
        }
        let release = self.whole_in(slot)?.ok_or(TrialError::NothingBefore { slot })?;
        if control.failed == Some(slot) && !force {
            return Err(TrialError::Failed { slot, name: release.name() });
        }
        Ok(release)
    }

    /// Back to the release before: gives up a trial, or puts the other slot, if it holds a good release, on trial for
    /// `tries` boots. `force` allows a release of an older security epoch.
    ///
    /// # Errors
    /// There is nothing good to go back to; write errors.
    pub fn roll_back(&mut self, tries: u32, force: bool) -> Result<Next, TrialError> {
        if self.card.trial {
            return self.give_up("rolled back by the operator");
        }
        let slot = self.other();
        let release = self.before(slot, force)?;
        let reached = self.state().epoch;
        if release.epoch < reached && !force {
            return Err(TrialError::Epoch { slot, name: release.name(), epoch: release.epoch, reached });
        }
        if let Ok(params) = release.verity.parse::<Params>() {
            let root = self.card.volume(slot, VolumeKind::Root);
            let bad = fruit_verity::verify(&Reading(root), &params);
            if let Some(what) = bad.map_err(|error| TrialError::Check { slot, error })? {
                return Err(TrialError::Damaged { slot, what });
            }
        }
        self.check_boot(slot)?;
        self.disarm()?;
        let control = self.card.control()?;
        self.card.set_control(&control.arm(slot, tries)?)?;
        let now = self.now();
        self.memory.state.failed.retain(|failed| !failed.release.is(&release));
        self.memory.state.now = Phase::Trial { slot, release: release.clone() };
        self.memory.state.note(now, EventKind::RolledBack, &release, "");
        self.save()?;
        Ok(Next::Restart(release.name()))
    }

    /// Looks whether the boot volume of a slot is as its release has it. Of an image that was flashed, that is not known.
    fn check_boot(&self, slot: Slot) -> Result<(), TrialError> {
        let manifest = install::manifest_file(self, slot).and_then(|file| Manifest::read(&file).ok());
        let Some(boot) = manifest.as_ref().and_then(|manifest| manifest.volume(VolumeKind::Boot)) else {
            return Ok(());
        };
        let volume = self.card.volume(slot, VolumeKind::Boot);
        let mut buffer = vec![0; CHUNK as usize];
        for i in 0..boot.chunks.len() {
            let right = holds_chunk(volume, boot, i, &mut buffer);
            let read_error = |source| CardError::Read { volume: Card::volume_name(slot, VolumeKind::Boot), source };
            if !right.map_err(read_error)? {
                return Err(TrialError::DamagedBoot { slot, at: i as u64 * CHUNK });
            }
        }
        Ok(())
    }
}

impl Card {
    /// Whether the boot loader is to try `slot` at the next boots.
    pub(crate) fn is_armed(&self, slot: Slot) -> Result<bool, CardError> {
        Ok(self.control()?.trial.is_some_and(|trial| trial.slot == slot))
    }
}
