//! What the updater says of the node: the document behind `fruit-update status`, and its parts, which are also what it
//! remembers.

use fruit_base::Sha256;
use serde::{Deserialize, Serialize};

use crate::bootctl::Slot;

/// What a node is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Idle,
    /// A slot is being written.
    Installing,
    /// A slot was being written, and nobody is at it any more.
    Interrupted,
    /// Something is to be tried, or was given up: the next boot shows it.
    WaitingForRestart,
    /// The running release has to prove itself.
    OnTrial,
}

/// Everything that there is to say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    pub standing: Standing,
    /// One sentence.
    pub summary: String,
    pub running: Identity,
    pub slot: Slot,
    /// What is in slot a and in slot b.
    pub slots: [Content; 2],
    /// How far an install is that is at work now.
    pub progress: Option<Progress>,
    /// Whose releases it takes, in words: `the image's root metadata`, `fleet orchard, charter 3`, `nobody: …`.
    #[serde(default)]
    pub obeys: String,
    /// `fresh`, `stale since …`, or `unknown`.
    pub freshness: String,
    /// Why there is no metadata that could be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_error: Option<String>,
    /// Version of the trusted root.
    pub root_version: Option<u64>,
    /// Version of the newest timestamp that was verified.
    pub timestamp_version: Option<u64>,
    /// Highest security epoch that was reached.
    pub epoch: u64,
    /// Newest signed time that was verified.
    pub newest_signed: Option<String>,
    pub failed: Vec<Failed>,
    pub last_error: Option<String>,
}

/// Which release something is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    pub product: String,
    pub board: String,
    pub version: String,
    pub build_id: String,
    /// Value of `fruit.verity=`, empty if there is none.
    pub verity: String,
    /// Of the release's file; an image that was flashed does not know it.
    #[serde(default)]
    pub manifest: Option<Sha256>,
    /// Security epoch.
    #[serde(default)]
    pub epoch: u64,
}

impl Identity {
    /// Whether both are one build.
    pub fn is(&self, other: &Identity) -> bool {
        self.product == other.product && self.build_id == other.build_id && self.verity == other.verity
    }

    /// What people call it.
    pub fn name(&self) -> String {
        format!("{} {}", self.product, self.version)
    }
}

/// What is in a slot.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "content", rename_all = "snake_case")]
pub enum Content {
    /// Nothing that this program wrote or started.
    #[default]
    Unknown,
    /// Partly written.
    Incomplete { release: Identity },
    /// Every byte is there. `good`: it ran and was committed, or it is a copy of one that did.
    Complete { release: Identity, good: bool },
}

impl Content {
    /// The release that is completely there.
    pub fn complete(&self) -> Option<&Identity> {
        match self {
            Content::Complete { release, .. } => Some(release),
            _ => None,
        }
    }

    /// The release that is completely there and has proved itself.
    pub fn good(&self) -> Option<&Identity> {
        match self {
            Content::Complete { release, good: true } => Some(release),
            _ => None,
        }
    }
}

/// A release that failed on this node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failed {
    pub release: Identity,
    pub reason: String,
    /// Seconds since 1970, as far as the node knew.
    pub time: u64,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Seconds since 1970, as far as the node knew.
    pub time: u64,
    pub event: EventKind,
    /// The release, as people call it.
    pub release: String,
    /// The reason of a failure, the counts of an install.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Installed,
    Committed,
    Failed,
    RolledBack,
    Cloned,
    /// An install that did not come to its end.
    Stopped,
}

/// What an install is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Taking in metadata.
    Metadata,
    /// Going through the chunks of the slot.
    Writing,
    /// Reading again what was written.
    Checking,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Progress {
    pub step: Step,
    /// Chunks.
    pub done: u64,
    pub total: u64,
    /// Bytes.
    pub fetched: u64,
    pub written: u64,
}
