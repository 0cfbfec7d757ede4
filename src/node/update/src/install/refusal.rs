//! Why a release is not installed.

use fruit_release::tuf::Unfit;

/// Why a release is not installed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{name} runs on trial: commit it or roll it back first")]
    OnTrial { name: String },
    #[error("{0}")]
    Unfit(#[from] Unfit),
    #[error("{place} has no release for {product} on {board}")]
    Nothing { place: String, product: String, board: String },
    #[error("there is no version {version}; there is: {known}")]
    NoSuchVersion { version: String, known: String },
    #[error("{version} is older than {running}, which runs; to go back, use rollback")]
    Older { version: String, running: String },
    #[error("{version} failed on this node: {reason}; it is installed again only with --force")]
    FailedBefore { version: String, reason: String },
    #[error("the {volume} partition has {has} bytes, the release needs {needs}")]
    TooLarge { volume: String, needs: u64, has: u64 },
    #[error("the release says of itself: {0}")]
    Contradiction(String),
}
