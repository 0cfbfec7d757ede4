//! The metadata that this node trusts: kept as the files that they came as, refreshed from any source.

use std::io;

use fruit_release::Source;
use fruit_release::name::Name;
use fruit_release::source::SourceError;
use fruit_release::tuf::{self, Clock, Freshness, Role, Stored, Time, Trust};

use crate::store::Store;

/// Most bytes of any of the files.
pub(crate) const LIMIT: u64 = 4 << 20;
/// The newest root metadata.
pub(crate) const ROOT: &str = "root.json";
const TIMESTAMP: &str = "timestamp.json";
const SNAPSHOT: &str = "snapshot.json";
const TARGETS: &str = "targets.json";

/// Why metadata is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("the root metadata of this image: {0}")]
    Anchor(tuf::Error),
    #[error("trusted metadata can't be kept: {0}")]
    Store(io::Error),
    #[error("{place}: {error}")]
    Refused { place: String, error: tuf::Error },
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is nothing that a release could be verified by.
    #[error("{0}")]
    Nobody(String),
}

/// What was stored, over the root that came with the image.
///
/// # Errors
/// An image without a usable root; read errors.
pub fn load(store: &dyn Store, anchor: &[u8], newest_signed: Option<i64>) -> Result<Trust, TrustError> {
    let read = |name| store.read(name, LIMIT).map_err(TrustError::Store);
    let stored = Stored {
        root: read(ROOT)?.unwrap_or_default(),
        timestamp: read(TIMESTAMP)?,
        snapshot: read(SNAPSHOT)?,
        targets: read(TARGETS)?,
        newest_signed: newest_signed.map(Time::from_seconds),
    };
    // What is left out is fetched anew.
    let (trust, _left_out) = Trust::resume(anchor, &stored).map_err(TrustError::Anchor)?;
    Ok(trust)
}

fn save(store: &dyn Store, old: &Stored, new: &Stored) -> io::Result<()> {
    if old.root != new.root {
        store.replace(ROOT, &new.root)?;
    }
    for (name, old, new) in [
        (TIMESTAMP, &old.timestamp, &new.timestamp),
        (SNAPSHOT, &old.snapshot, &new.snapshot),
        (TARGETS, &old.targets, &new.targets),
    ] {
        if let Some(new) = new.as_ref().filter(|_| old != new) {
            store.replace(name, new)?;
        }
    }
    Ok(())
}

/// What a refresh came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refreshed {
    pub freshness: Freshness,
    /// The source's metadata is older than what is trusted already, which stays in force.
    pub older: Option<String>,
}

/// Takes in the metadata of `source`, file by file; each is stored before it is relied on.
///
/// A source may be older than what the node knows: a stick that was filled before the last look at the server. It can
/// still have the bytes of a release that the newer metadata lists, so this is not the end; nothing of the older
/// metadata counts.
///
/// # Errors
/// Metadata that is refused, and everything that keeps it from coming or from being kept.
pub fn refresh(
    trust: &mut Trust,
    source: &mut dyn Source,
    clock: Clock,
    store: &dyn Store,
) -> Result<Refreshed, TrustError> {
    let mut stored = trust.stored();
    let complete = trust.targets(&clock).is_ok();
    let mut refresh = trust.refresh(clock);
    let mut older = None;
    while let Some(want) = refresh.want() {
        let name: Option<Name> = want.name.parse().ok();
        let bytes = match &name {
            Some(name) => source.get(name, want.limit)?,
            None => None,
        };
        let (place, given) = (source.place(), refresh.give(bytes.as_deref()));
        let new = refresh.trust().stored();
        save(store, &stored, &new).map_err(TrustError::Store)?;
        stored = new;
        match given {
            Ok(()) => {
                if let (Some(name), Some(bytes)) = (&name, &bytes) {
                    source.verified(name, bytes);
                }
            }
            // The same file is still wanted.
            Err(_) if bytes.is_some() && source.distrust() => {}
            Err(error @ tuf::Error::Rollback { role: Role::Timestamp | Role::Snapshot, .. }) if complete => {
                older = Some(error.to_string());
                break;
            }
            Err(error) => return Err(TrustError::Refused { place, error }),
        }
    }
    Ok(Refreshed { freshness: refresh.freshness(), older })
}
