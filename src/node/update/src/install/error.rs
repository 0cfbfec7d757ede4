//! Why an install ended, and what a caller does about it.

use std::io;

use fruit_contract::bootctl::Refused;
use fruit_release::manifest::ManifestError;
use fruit_release::tuf;
use fruit_release::{Name, Source, SourceError};
use fruit_verity::VerityError;

use super::Refusal;
use crate::card::CardError;
use crate::state::StateError;
use crate::trust::TrustError;

/// Why nothing was installed. The running system is untouched by all of them.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Something that metadata vouches for is not what is there.
    #[error("{place}: {name} is altered or damaged: {why}")]
    Altered { place: String, name: String, why: String },
    /// The source has no such piece.
    #[error("{place}: {what} is not there{hint}")]
    Missing { place: String, what: String, hint: &'static str },
    /// Metadata lists it and somebody has signed that, and the repository does not hand it out.
    #[error(
        "{place} lists {release} and does not have {name}: the repository is incomplete, or somebody holds it back"
    )]
    HeldBack { place: String, release: String, name: String },
    #[error("{place}: the release's manifest: {error}")]
    Manifest { place: String, error: ManifestError },
    #[error("the root that was written has the root hash {found}, the release says {expected}")]
    RootHash { expected: String, found: String },
    #[error("{volume}, byte {at}: what was read again is not what was written; is the card worn out?")]
    ReadAgain { volume: String, at: u64 },
    #[error("root: {0}")]
    Verity(#[from] VerityError),
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the release's manifest can't be kept: {0}")]
    Keep(io::Error),
    #[error(transparent)]
    Control(#[from] Refused),
    #[error("stopped; what is written stays, and the next attempt goes on from there")]
    Stopped,
}

/// What an error is for a caller; see the exit statuses of `fruit-update --help`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Something of this node does not work.
    Failed,
    /// The release is not for this node, or not now: nothing was written, and asking again changes nothing.
    Refused,
    /// The source can't be reached, lacks what it lists, or is truncated or altered: another time, or another source.
    Source,
    /// By the operator or the system.
    Stopped,
}

impl InstallError {
    pub(crate) fn altered(source: &dyn Source, name: &Name, why: impl ToString) -> InstallError {
        let mut why = why.to_string();
        if !source.is_whole() {
            why.push_str("; copy or download the bundle again");
        }
        InstallError::Altered { place: source.place(), name: name.to_string(), why }
    }

    pub(crate) fn missing(source: &dyn Source, what: String) -> InstallError {
        let hint = match source.is_whole() {
            true => "",
            false => {
                ": the bundle is damaged, or a delta from another release than the one that runs; \
                      take it again, or a whole one"
            }
        };
        InstallError::Missing { place: source.place(), what, hint }
    }

    pub fn outcome(&self) -> Outcome {
        match self {
            InstallError::Refused(_) | InstallError::Trust(TrustError::Nobody(_)) => Outcome::Refused,
            InstallError::Trust(TrustError::Refused { error, .. }) => match error {
                // Signed by who may, and not to be used here and now.
                tuf::Error::Expired { .. } | tuf::Error::Rollback { .. } | tuf::Error::Vanished { .. } => {
                    Outcome::Refused
                }
                _ => Outcome::Source,
            },
            InstallError::Stopped
            | InstallError::Source(SourceError::Stopped)
            | InstallError::Trust(TrustError::Source(SourceError::Stopped)) => Outcome::Stopped,
            InstallError::Source(_)
            | InstallError::Trust(TrustError::Source(_))
            | InstallError::Altered { .. }
            | InstallError::HeldBack { .. }
            | InstallError::Manifest { .. }
            | InstallError::Missing { .. } => Outcome::Source,
            _ => Outcome::Failed,
        }
    }
}
