//! Installing a release: from metadata to a slot that is armed for its trial.
//!
//! Everything that can be known beforehand is checked before the first write. Then each chunk of the target slot is
//! read; one that is right stays as it is, which is also how an interrupted install goes on. What was written is read
//! again from the medium before the boot loader is told of it.

mod choose;
mod error;
mod pieces;
mod refusal;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};

use fruit_contract::Slot;
use fruit_contract::update::status::{Content, EventKind, Identity, Progress, Step};
use fruit_release::tuf::{Freshness, Trust};
use fruit_release::{Digest, Manifest, Source};

use crate::state::Phase;
use crate::trust;
use crate::updater::Updater;

pub use error::{InstallError, Outcome as ExitStatus};
pub use refusal::Refusal;

use choose::Choice;
use pieces::Pieces;

/// Most bytes of a manifest's file: what [`fruit_release::Name::limit`] says of targets.
const MANIFEST_MAX: u64 = 4 << 20;

/// What the operator asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// This version; otherwise the newest one that fits.
    pub version: Option<String>,
    /// Also the version that runs already, and one that failed here.
    pub force: bool,
    /// Boots that the loader gives it to prove itself, 1 to 7.
    pub tries: u32,
}

impl Default for Request {
    fn default() -> Request {
        Request { version: None, force: false, tries: 3 }
    }
}

/// How the outside takes part in an install.
pub struct Hooks<'h> {
    /// Set to stop it: looked at before each chunk.
    pub stop: &'h AtomicBool,
    /// Told before each chunk.
    pub progress: &'h mut dyn FnMut(Progress),
    /// Told how many bytes were fetched; it may sleep to keep to a rate.
    pub pace: &'h mut dyn FnMut(u64),
}

impl Hooks<'_> {
    fn check(&self) -> Result<(), InstallError> {
        if self.stop.load(Ordering::Relaxed) { Err(InstallError::Stopped) } else { Ok(()) }
    }
}

/// Where the bytes of an install came from, and what they cost.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Counts {
    /// Chunks of the release.
    pub chunks: u64,
    /// Chunks that the slot held already.
    pub kept: u64,
    /// Chunks copied from another place of the running slot, or from a place already written.
    pub copied: u64,
    /// Chunks made by patches over the running slot.
    pub patched: u64,
    /// Chunks that were fetched whole.
    pub whole: u64,
    /// Patches that were there but did not give the right bytes.
    pub misfits: u64,
    /// Bytes fetched.
    pub fetched: u64,
    /// Blocks of 4 KiB that the slot held otherwise.
    pub blocks: u64,
    /// Bytes written to the card.
    pub written: u64,
}

/// A release that is installed and armed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installed {
    pub release: Identity,
    pub slot: Slot,
    pub counts: Counts,
    /// Whether a delta from the running release was used.
    pub delta: bool,
    pub freshness: Freshness,
    /// Sentences for whoever watches.
    pub notes: Vec<String>,
}

/// How an install ended well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Installed(Box<Installed>),
    /// There is nothing newer.
    UpToDate {
        running: String,
        freshness: Freshness,
    },
}

/// A release that can be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Available {
    pub version: String,
    pub notes: String,
    /// Why it would not be installed.
    pub refused: Option<Refusal>,
    pub freshness: Freshness,
}

/// What [`install`] would do: takes in metadata, changes nothing of the slots.
///
/// # Errors
/// As [`install`] before the first write.
pub fn check(
    updater: &mut Updater,
    anchor: &[u8],
    source: &mut dyn Source,
    request: &Request,
) -> Result<Option<Available>, InstallError> {
    let result = available(updater, anchor, source, request);
    match &result {
        // Of an install that was interrupted the reason stays until it is done.
        Ok(_) if !matches!(updater.state().now, Phase::Installing { .. }) => updater.memory.state.last_error = None,
        Ok(_) => {}
        Err(error) if error.outcome() == ExitStatus::Stopped => {}
        Err(error) => updater.memory.state.last_error = Some(error.to_string().chars().take(500).collect()),
    }
    match (updater.save(), result) {
        (Err(error), Ok(_)) => Err(error.into()),
        (_, result) => result,
    }
}

fn available(
    updater: &mut Updater,
    anchor: &[u8],
    source: &mut dyn Source,
    request: &Request,
) -> Result<Option<Available>, InstallError> {
    let (trust, freshness, _) = take_metadata(updater, anchor, source)?;
    let choice = choose::release(updater, &trust, source, request, &mut Vec::new())?;
    Ok(choice.map(|choice| Available {
        refused: choose::fits_slot(updater, &choice.manifest).err(),
        version: choice.manifest.version,
        notes: choice.manifest.notes,
        freshness,
    }))
}

/// Installs a release from `source` into the slot that is not running, and arms it. `anchor`: the root metadata that
/// came with the image.
///
/// # Errors
/// Whatever happens, the running system is as it was; why it ended is kept and shown by the status.
pub fn install(
    updater: &mut Updater,
    anchor: &[u8],
    source: &mut dyn Source,
    request: &Request,
    hooks: &mut Hooks<'_>,
) -> Result<Outcome, InstallError> {
    let result = match attempt(updater, anchor, source, request, hooks) {
        // A source that was waited for can only say that it did not come.
        Err(error) if error.outcome() == ExitStatus::Source && hooks.check().is_err() => Err(InstallError::Stopped),
        result => result,
    };
    let now = updater.now();
    match &result {
        Ok(_) => updater.memory.state.last_error = None,
        Err(error) => {
            updater.memory.state.last_error = Some(error.to_string().chars().take(500).collect());
            if let Phase::Installing { release, .. } = updater.state().now.clone() {
                updater.memory.state.note(now, EventKind::Stopped, &release, error.to_string());
            }
        }
    }
    match (updater.save(), result) {
        // Of two errors the first one is the cause.
        (Err(error), Ok(_)) => Err(error.into()),
        (_, result) => result,
    }
}

fn take_metadata(
    updater: &mut Updater,
    anchor: &[u8],
    source: &mut dyn Source,
) -> Result<(Trust, Freshness, Vec<String>), InstallError> {
    let mut trust = trust::load(&*updater.store, anchor, updater.state().newest_signed)?;
    let refreshed = trust::refresh(&mut trust, source, updater.facts.clock, &*updater.store);
    // Also what was verified before an error holds.
    updater.memory.state.newest_signed = trust.newest_signed().map(|time| time.seconds());
    let refreshed = refreshed?;
    let mut notes = Vec::new();
    if let Some(older) = refreshed.older {
        notes.push(format!("{} has older metadata than this node ({older}); what the node has counts", source.place()));
    }
    match refreshed.freshness {
        Freshness::Fresh => {}
        Freshness::StaleSince(since) => notes.push(format!("the metadata is stale since {since}")),
        Freshness::Unknown => {
            notes.push("whether the metadata is fresh is unknown: this node does not know the time".into())
        }
    }
    Ok((trust, refreshed.freshness, notes))
}

fn attempt(
    updater: &mut Updater,
    anchor: &[u8],
    source: &mut dyn Source,
    request: &Request,
    hooks: &mut Hooks<'_>,
) -> Result<Outcome, InstallError> {
    choose::node_is_ready(updater)?;
    (hooks.progress)(Progress { step: Step::Metadata, done: 0, total: 0, fetched: 0, written: 0 });
    let (trust, freshness, mut notes) = take_metadata(updater, anchor, source)?;
    let Some(choice) = choose::release(updater, &trust, source, request, &mut notes)? else {
        return Ok(Outcome::UpToDate { running: updater.running().name(), freshness });
    };
    choose::fits_slot(updater, &choice.manifest)?;
    let delta = choose::delta(updater, &trust, source, &choice, &mut notes);
    hooks.check()?;

    let slot = updater.other();
    let release = choice.identity();
    let goes_on = matches!(&updater.state().now, Phase::Installing { release: begun, .. } if begun.is(&release));
    begin(updater, slot, &release, &choice)?;
    let (counts, manifest) = (Counts::default(), &choice.manifest);
    let old = manifest_file(updater, slot.other()).and_then(|file| Manifest::read(&file).ok());
    let mut pieces = Pieces::new(updater, source, manifest, old.as_ref(), delta.as_ref(), counts);
    let counts = write::slot(updater, slot, manifest, &mut pieces, hooks)?;
    notes.extend(pieces.notes());
    if goes_on {
        let Counts { kept, chunks, .. } = counts;
        notes.push(format!(
            "went on with an install that was interrupted: {kept} of {chunks} chunks were there already"
        ));
    }
    arm(updater, slot, &release, request.tries, &counts)?;
    let delta = delta.is_some();
    Ok(Outcome::Installed(Box::new(Installed { release, slot, counts, delta, freshness, notes })))
}

/// Name of the kept file that a slot's release was installed from.
pub(crate) const fn manifest_name(slot: Slot) -> &'static str {
    match slot {
        Slot::A => "manifest-a",
        Slot::B => "manifest-b",
    }
}

/// The file that the complete release of a slot was installed from, if it was installed and not flashed.
pub(crate) fn manifest_file(updater: &Updater, slot: Slot) -> Option<Vec<u8>> {
    let digest = updater.state().slot(slot).complete()?.manifest?;
    let file = updater.store.read(manifest_name(slot), MANIFEST_MAX).ok()??;
    (Digest::of(&file) == digest).then_some(file)
}

/// Takes back what may be armed, then says that the slot is being written. In this order: what is armed must be whole.
fn begin(updater: &mut Updater, slot: Slot, release: &Identity, choice: &Choice) -> Result<(), InstallError> {
    // First what needs room on the data partition.
    updater.save()?;
    updater.store.replace(manifest_name(slot), &choice.file).map_err(InstallError::Keep)?;
    updater.disarm()?;
    let state = &mut updater.memory.state;
    state.failed.retain(|failed| !failed.release.is(release));
    state.set_slot(slot, Content::Incomplete { release: release.clone() });
    state.now = Phase::Installing { slot, release: release.clone() };
    updater.save()?;
    Ok(())
}

/// Everything is on the medium and right: tells the loader, then writes it down.
fn arm(updater: &mut Updater, slot: Slot, release: &Identity, tries: u32, counts: &Counts) -> Result<(), InstallError> {
    let control = updater.card.control()?;
    updater.card.set_control(&control.arm(slot, tries)?)?;
    let now = updater.now();
    let state = &mut updater.memory.state;
    state.set_slot(slot, Content::Complete { release: release.clone(), good: false });
    state.now = Phase::Trial { slot, release: release.clone() };
    let text = format!("{} bytes fetched, {} written", counts.fetched, counts.written);
    state.note(now, EventKind::Installed, release, text);
    updater.save()?;
    Ok(())
}
