//! Why an install ended, and what a caller does about it.

use std::io;

use fruit_contract::bootctl::Refused;
use fruit_release::manifest::ManifestError;
use fruit_release::{Name, SourceError};
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
    #[error("{place}: {what} is not there")]
    Missing { place: String, what: String },
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
    /// The source can't be reached, or is truncated or altered: another time, or another source.
    Source,
    /// By the operator or the system.
    Stopped,
}

impl InstallError {
    pub(crate) fn altered(place: String, name: &Name, why: impl ToString) -> InstallError {
        InstallError::Altered { place, name: name.to_string(), why: why.to_string() }
    }

    pub fn outcome(&self) -> Outcome {
        match self {
            InstallError::Refused(_) => Outcome::Refused,
            InstallError::Trust(TrustError::Refused { error, .. }) => match error {
                fruit_release::tuf::Error::Absent(_) => Outcome::Source,
                _ => Outcome::Refused,
            },
            InstallError::Stopped
            | InstallError::Source(SourceError::Stopped)
            | InstallError::Trust(TrustError::Source(SourceError::Stopped)) => Outcome::Stopped,
            InstallError::Source(_)
            | InstallError::Trust(TrustError::Source(_))
            | InstallError::Altered { .. }
            | InstallError::Missing { .. } => Outcome::Source,
            _ => Outcome::Failed,
        }
    }
}
