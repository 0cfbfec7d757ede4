//! A second good slot: the running one copied into the other, so that there is always something to fall back to.

use std::io;
use std::sync::atomic::Ordering;

use fruit_contract::Slot;
use fruit_contract::update::status::{Content, EventKind, Identity, Progress, Step};
use fruit_release::Digest;
use fruit_release::manifest::{CHUNK, VolumeKind};
use fruit_verity::{BadBlock, Params, VerityError};

use crate::card::{Card, CardError};
use crate::install::Hooks;
use crate::slot::{Differences, Reading};
use crate::state::{Phase, StateError};
use crate::updater::Updater;

/// Why the running slot was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    #[error("{0} runs on trial: the other slot is what the node falls back to")]
    OnTrial(String),
    #[error("{0} is to be tried at the next boot; it would be written over (--force does so)")]
    Armed(String),
    #[error(
        "slot {slot} holds {name}, which has proved itself here: there is a second good slot (--force writes over it)"
    )]
    HasGood { slot: Slot, name: String },
    #[error("the running root has no verity parameters: nothing vouches for a copy")]
    NoVerity,
    #[error("the {volume} partition has {has} bytes, the copy needs {needs}")]
    TooLarge { volume: String, needs: u64, has: u64 },
    #[error("slot {slot}: {what} of the copy is not what the running root's hash vouches for")]
    Damaged { slot: Slot, what: BadBlock },
    #[error("{volume}, byte {at}: what was read again is not what was written; is the card worn out?")]
    ReadAgain { volume: String, at: u64 },
    #[error("slot {slot}: {error}")]
    Verity { slot: Slot, error: VerityError },
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the release's manifest can't be kept: {0}")]
    Keep(io::Error),
    #[error("stopped; what is written stays, and the next attempt goes on from there")]
    Stopped,
}

/// What a copy cost.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Cloned {
    pub slot: Slot,
    pub release: Identity,
    /// Bytes written to the card.
    pub written: u64,
}

impl Updater {
    /// Copies the running slot into the other one. `force`: even if something good or something to be tried is there.
    ///
    /// # Errors
    /// The running system is untouched by all of them.
    pub fn clone_slot(&mut self, force: bool, hooks: &mut Hooks<'_>) -> Result<Cloned, CloneError> {
        let (slot, release) = (self.other(), self.running());
        if self.card.trial {
            return Err(CloneError::OnTrial(release.name()));
        }
        if self.card.is_armed(slot)? && !force {
            let name = self.state().slot(slot).complete().map_or_else(|| format!("slot {slot}"), Identity::name);
            return Err(CloneError::Armed(name));
        }
        if let Some(good) = self.state().slot(slot).good().filter(|_| !force) {
            return Err(CloneError::HasGood { slot, name: good.name() });
        }
        let params = self.facts.verity.clone().ok_or(CloneError::NoVerity)?;
        let lens = self.lens(&params)?;
        self.keep_manifest(slot)?;
        self.disarm()?;
        self.memory.state.now = Phase::Idle;
        self.memory.state.set_slot(slot, Content::Incomplete { release: release.clone() });
        self.save()?;
        let result = self.copy(slot, lens, &params, hooks);
        let now = self.now();
        match &result {
            Ok(written) => {
                self.memory.state.last_error = None;
                self.memory.state.set_slot(slot, Content::Complete { release: release.clone(), good: true });
                self.memory.state.note(now, EventKind::Cloned, &release, format!("{written} bytes written"));
            }
            Err(error) => {
                self.memory.state.last_error = Some(error.to_string());
                self.memory.state.note(now, EventKind::Stopped, &release, error.to_string());
            }
        }
        match (self.save(), result) {
            (Err(error), Ok(_)) => Err(error.into()),
            (_, result) => Ok(Cloned { slot, release, written: result? }),
        }
    }

    /// Bytes to copy of each volume: the root with its tree, the boot partition whole.
    fn lens(&self, params: &Params) -> Result<[u64; 2], CloneError> {
        let slot = self.other();
        let root = params.total_len().map_err(|error| CloneError::Verity { slot: self.card.running, error })?;
        let boot = self.card.volume(self.card.running, VolumeKind::Boot).len();
        let lens = [root, boot];
        for (kind, needs) in VolumeKind::ALL.into_iter().zip(lens) {
            let has = self.card.volume(slot, kind).len();
            if needs > has {
                return Err(CloneError::TooLarge { volume: Card::volume_name(slot, kind), needs, has });
            }
        }
        Ok(lens)
    }

    /// The copy is the same release: what is known of its chunks holds for both.
    fn keep_manifest(&self, slot: Slot) -> Result<(), CloneError> {
        let kept = crate::install::manifest_file(self, self.card.running);
        match kept {
            Some(file) => self.store.replace(crate::install::manifest_name(slot), &file).map_err(CloneError::Keep),
            None => Ok(()),
        }
    }

    fn copy(&self, slot: Slot, lens: [u64; 2], params: &Params, hooks: &mut Hooks<'_>) -> Result<u64, CloneError> {
        let total: u64 = lens.iter().map(|len| len.div_ceil(CHUNK)).sum();
        let (mut done, mut bytes) = (0, 0);
        let (mut old, mut new) = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
        for (kind, len) in VolumeKind::ALL.into_iter().zip(lens) {
            let (from, to) = (self.card.volume(self.card.running, kind), self.card.volume(slot, kind));
            let read_error = |slot| move |source| CardError::Read { volume: Card::volume_name(slot, kind), source };
            let write_error = |source| CardError::Write { volume: Card::volume_name(slot, kind), source };
            let differences = Differences::new(to);
            let mut digests = Vec::new();
            for at in (0..len).step_by(CHUNK as usize) {
                if hooks.stop.load(Ordering::Relaxed) {
                    return Err(CloneError::Stopped);
                }
                let written = bytes + differences.bytes();
                (hooks.progress)(Progress { step: Step::Writing, done, total, fetched: 0, written });
                // At most CHUNK.
                let count = (len - at).min(CHUNK) as usize;
                from.read_exact_at(&mut new[..count], at).map_err(read_error(self.card.running))?;
                to.read_exact_at(&mut old[..count], at).map_err(read_error(slot))?;
                differences.write(&old[..count], &new[..count], at).map_err(write_error)?;
                differences.chunk_done().map_err(write_error)?;
                digests.push(Digest::of(&new[..count]));
                done += 1;
            }
            bytes += differences.bytes();
            to.sync().map_err(write_error)?;
            to.forget().map_err(read_error(slot))?;
            for (i, digest) in digests.iter().enumerate() {
                let at = i as u64 * CHUNK;
                let count = (len - at).min(CHUNK) as usize;
                to.read_exact_at(&mut old[..count], at).map_err(read_error(slot))?;
                if Digest::of(&old[..count]) != *digest {
                    return Err(CloneError::ReadAgain { volume: Card::volume_name(slot, kind), at });
                }
            }
            if kind == VolumeKind::Root {
                let bad = fruit_verity::verify(&Reading(to), params);
                if let Some(what) = bad.map_err(|error| CloneError::Verity { slot, error })? {
                    return Err(CloneError::Damaged { slot, what });
                }
            }
        }
        Ok(bytes)
    }
}
