//! One look at all sources: what each has, and the install of the first release that is newer.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use fruit_contract::Slot;
use fruit_contract::update::status::{Progress, Step};
use fruit_device::journal;
use fruit_release::{Source, SourceError};
use sd_notify::NotifyState;

use super::below;
use super::machine::Round;
use crate::anchor::Anchor;
use crate::install::{self, ExitStatus, Hooks, InstallError, Outcome, Request};
use crate::progress::{self, Board};
use crate::shared::{Shared, Sharing};
use crate::sources::{Candidate, Sources};
use crate::state::Phase;
use crate::updater::Updater;

/// What a look is made with.
pub struct Visit<'v> {
    /// Boots that a new release gets to prove itself.
    pub tries: u32,
    /// What is newer may be installed.
    pub install: bool,
    /// What was verified is let others have.
    pub shares: bool,
    /// `/`
    pub root: &'v Path,
    pub stop: &'v AtomicBool,
    pub alive: &'v dyn Fn(),
}

impl Visit<'_> {
    /// Goes through all sources until one has given a release. Nothing when it is told to stop.
    pub fn all(&self, anchor: &mut Anchor, sources: &mut Sources, updater: &mut Updater) -> Option<Round> {
        let (mut refusals, mut troubles, mut found) = (Vec::new(), Vec::new(), None);
        let mut answered = false;
        let repositories = anchor.repositories();
        let mut visit = |candidate: &mut Candidate<'_>| {
            // One of several that the fleet accepts is enough.
            if candidate.repository().is_some_and(|one| !anchor.repositories().contains(&one)) {
                return true;
            }
            match self.one(anchor, candidate, updater) {
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
        sources.visit(&repositories, &mut visit, &mut |text| unreadable.push(text.to_owned()));
        troubles.extend(unreadable);
        if self.stop.load(Relaxed) {
            return None;
        }
        for trouble in &troubles {
            journal::warn(trouble);
        }
        Some(match found {
            Some(round) => round,
            // That one source has nothing newer says nothing of one that gave no answer.
            None if !troubles.is_empty() => {
                troubles.append(&mut refusals);
                Round::Failed(troubles.join("; "))
            }
            None if !refusals.is_empty() => Round::Nothing(refusals.join("; ")),
            None if answered => Round::Nothing("there is nothing newer".into()),
            None => Round::Nothing("no source has anything".into()),
        })
    }

    /// What one source has.
    fn one(
        &self,
        anchor: &mut Anchor,
        candidate: &mut Candidate<'_>,
        updater: &mut Updater,
    ) -> Result<Option<Round>, InstallError> {
        let request = Request { version: None, force: false, tries: self.tries };
        let root = anchor.root(&mut *open(candidate)?, &*updater.store)?.to_vec();
        let mut shared =
            self.shares.then(|| Shared::of(self.root, anchor, &root, candidate.repository().is_none())).flatten();
        let mut source = Sharing::new(open(candidate)?, shared.as_mut());
        let available = install::check(updater, &root, &mut source, &request)?;
        drop(source);
        let Some(available) = available else { return Ok(None) };
        if let Some(refused) = available.refused {
            journal::warn(&format!("{} from {} is not installed: {refused}", available.version, candidate.place()));
            return Err(InstallError::Refused(refused));
        }
        if is_armed(updater, &available.version) {
            return Ok(None);
        }
        if !self.install {
            return Ok(Some(Round::Available(available.version)));
        }
        journal::notice(&format!("installing {} from {}", available.version, candidate.place()));
        let mut step = None;
        let mut board = Board::new(below(self.root, progress::PATH));
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
        let mut hooks = Hooks { stop: self.stop, progress: &mut progress, pace: &mut |_| {} };
        let mut source = Sharing::new(open(candidate)?, shared.as_mut());
        match install::install(updater, &root, &mut source, &request, &mut hooks)? {
            Outcome::Installed(installed) => {
                for note in &installed.notes {
                    journal::info(note);
                }
                Ok(Some(Round::Installed(installed.release.version)))
            }
            Outcome::UpToDate { .. } => Ok(None),
        }
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
