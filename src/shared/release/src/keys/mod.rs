//! Keys of a release repository, and what is signed with them. For workstations: the feature `sign`.
//!
//! A [`KeyStore`] is a folder that knows where each key is: in a file there, in ssh-agent, or elsewhere. A [`Repository`]
//! is edited in memory: what was changed becomes a [`Draft`], collects signatures, perhaps over days and from several
//! people, and is published when its thresholds are reached.

mod agent;
mod describe;
mod draft;
mod edit;
mod file;
mod folder;
pub mod passphrase;
mod repository;
mod secret;
mod signing;
mod store;

use std::path::PathBuf;

pub use agent::Agent;
pub use draft::Draft;
pub use file::{read_bounded, write_atomically, write_secret};
pub use folder::{DRAFTS, discard_drafts, draft_folder, finish_interrupted, repositories_with_drafts};
pub use repository::{Lifetimes, Plan, Published, Repository};
pub use secret::{
    KeyFileError, Passphrase, SecretKey, from_line as read_public_line, public_half, to_line as public_line,
};
pub use signing::{Signed, Waiting};
pub use store::{Entry, Held, KeyStore, Unlock};

use fruit_base::PathError;

use crate::source::SourceError;
use crate::tuf;
use crate::tuf::{KeyId, PublicKey, Role};

/// What signs, wherever the key is.
pub trait Signer {
    /// The signature of `key` over `message`; `None` if the key is not at hand.
    ///
    /// # Errors
    /// The key is at hand but could not be used: a wrong passphrase, an agent that refuses.
    fn sign(&mut self, key: &PublicKey, message: &[u8]) -> Result<Option<[u8; 64]>, KeyError>;
}

/// Why keys, drafts or repositories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{0}{remedy}", remedy = fruit_base::remedy(&.0.error))]
    Path(#[from] PathError),
    #[error(transparent)]
    Repository(#[from] SourceError),
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("{}: the passphrase is wrong", path.display())]
    Passphrase { path: PathBuf },
    #[error("a key needs a passphrase")]
    NoPassphrase,
    #[error("ssh-agent: {0}")]
    Agent(String),
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    #[error("there is no key {0:?} in the key folder")]
    UnknownKey(String),
    #[error("there is a key {0:?} in the key folder already")]
    KeyExists(String),
    #[error("{0:?} is no name for a key: letters, digits, `-`, `_` and `.`")]
    KeyName(String),
    #[error("{key} is no key of {role}")]
    NotOfRole { key: KeyId, role: Role },
    #[error("{key} is a key of {role} already")]
    OfRoleAlready { key: KeyId, role: Role },
    #[error("{role} would have {keys} keys and a threshold of {threshold}")]
    Threshold { role: Role, keys: usize, threshold: u32 },
    #[error("target {0:?} is not in the repository")]
    NoTarget(String),
    #[error(
        "the list of releases would have {count} targets in {bytes} bytes; nodes take {} in {}. A release is a target, and \
         so is each delta",
        tuf::limits::TARGET_COUNT,
        tuf::limits::TARGETS
    )]
    TooManyTargets { count: usize, bytes: usize },
    #[error("the signature is none of a key that may sign what waits for signatures")]
    Stray,
    #[error("{0}: there is nothing to sign under this name")]
    NoDraft(String),
    #[error("what was signed is another {role} than the one that waits for signatures")]
    OtherDraft { role: Role },
    #[error(transparent)]
    Metadata(#[from] tuf::Error),
}

impl KeyError {
    /// Whether a signature, hash or version did not fit, as opposed to a mistake of the person or the system.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        matches!(self, KeyError::Metadata(_) | KeyError::Stray | KeyError::OtherDraft { .. })
    }
}
