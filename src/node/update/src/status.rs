//! Where a node stands, in a sentence for people and in fields for programs.

use fruit_contract::update::status::{Progress, Standing, Status, Step};
use fruit_release::tuf::{Freshness, Role, Time};

use crate::anchor::Anchor;
use crate::card::CardError;
use crate::state::Phase;
use crate::trust;
use crate::updater::Updater;

/// Everything that there is to say of a node that obeys as `anchor` says.
///
/// # Errors
/// The boot choice can't be read.
pub fn under(updater: &Updater, anchor: &Anchor, progress: Option<Progress>) -> Result<Status, CardError> {
    let mut status = of(updater, anchor.known().unwrap_or_default(), progress)?;
    status.obeys = anchor.describe();
    if anchor.known().is_none() {
        // A node that nobody has told whom to obey is in good order.
        (status.trust_error, status.freshness) = (None, Freshness::Unknown.to_string());
    }
    Ok(status)
}

/// As [`under`], by root metadata that is here. `progress`: of an install that is at work now, in this process or another.
///
/// # Errors
/// The boot choice can't be read.
pub fn of(updater: &Updater, anchor: &[u8], progress: Option<Progress>) -> Result<Status, CardError> {
    let state = updater.state();
    let (standing, summary) = sentence(updater, progress)?;
    let trust = trust::load(&*updater.store, anchor, state.newest_signed);
    let freshness = trust.as_ref().map_or(Freshness::Unknown, |trust| trust.freshness(&updater.facts.clock));
    Ok(Status {
        standing,
        summary,
        running: updater.running(),
        slot: updater.card.running,
        slots: state.slots.clone(),
        progress,
        obeys: String::new(),
        freshness: freshness.to_string(),
        root_version: trust.as_ref().ok().map(|trust| trust.root_version()),
        timestamp_version: trust.as_ref().ok().and_then(|trust| trust.version(&Role::Timestamp)),
        trust_error: trust.err().map(|error| error.to_string()),
        epoch: state.epoch.max(updater.facts.epoch),
        newest_signed: state.newest_signed.map(|seconds| Time::from_seconds(seconds).to_string()),
        failed: state.failed.clone(),
        last_error: state.last_error.clone(),
    })
}

/// What an install is doing, in words.
pub fn describe(progress: &Progress) -> String {
    match progress.step {
        Step::Metadata => "taking in metadata".into(),
        Step::Writing => format!("chunk {} of {}", progress.done, progress.total),
        Step::Checking => format!("reading again what was written, {} of {}", progress.done, progress.total),
    }
}

fn sentence(updater: &Updater, progress: Option<Progress>) -> Result<(Standing, String), CardError> {
    let (state, running, slot) = (updater.state(), updater.running().name(), updater.card.running);
    if let Some(progress) = progress {
        let release = match &state.now {
            Phase::Installing { release, .. } => format!("{} into slot {}", release.name(), updater.other()),
            _ => format!("into slot {}", updater.other()),
        };
        return Ok((Standing::Installing, format!("installing {release}: {}", describe(&progress))));
    }
    let why = state.last_error.as_ref().map(|error| format!("; the last attempt ended: {error}")).unwrap_or_default();
    let control = updater.card.control()?;
    Ok(match &state.now {
        Phase::Installing { slot, release } => {
            let name = release.name();
            let text = format!("interrupted: {name} is partly in slot {slot}, installing it again goes on there{why}");
            (Standing::Interrupted, text)
        }
        Phase::Trial { slot: on_trial, release } if *on_trial == slot => {
            let left = control.trial.map_or(0, |trial| trial.tries_left);
            let tries = if left == 1 { "1 try is left".into() } else { format!("{left} tries are left") };
            (Standing::OnTrial, format!("on trial: {} runs from slot {slot}, {tries}", release.name()))
        }
        Phase::Trial { slot, release } => {
            let name = release.name();
            let text = format!("waiting for a restart: {name} is in slot {slot} and is tried at the next boot");
            (Standing::WaitingForRestart, text)
        }
        Phase::Idle if updater.card.trial && control.trial.is_none() => {
            let reason = state.failed.last().map_or("", |failed| failed.reason.as_str());
            let next = control.active;
            let text = format!("waiting for a restart: {running} was given up ({reason}), slot {next} boots next");
            (Standing::WaitingForRestart, text)
        }
        Phase::Idle if updater.card.trial => (Standing::OnTrial, format!("on trial: {running} runs from slot {slot}")),
        Phase::Idle => {
            let failed = state.failed.last();
            let failed = failed.map(|f| format!("; {} failed here: {}", f.release.name(), f.reason));
            // The loader remembers also what a node without a data partition does not.
            let given_up = control.failed.filter(|&given_up| failed.is_none() && given_up != slot);
            let given_up = given_up.map(|given_up| format!("; the boot loader has given up slot {given_up}"));
            let failed = failed.or(given_up).unwrap_or_default();
            (Standing::Idle, format!("idle: {running} runs from slot {slot}{failed}{why}"))
        }
    })
}
