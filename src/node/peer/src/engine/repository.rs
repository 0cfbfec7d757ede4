//! Repositories of releases: the newest metadata that is verified, and pieces from here or from neighbours.
//!
//! Metadata has names that say nothing of its content. It is verified with the updater's own verifier, from the first root on,
//! whose hash is the repository's id; so what a neighbour makes up is neither kept nor passed on, and the newest counts,
//! whoever has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fruit_base::Sha256;
use fruit_release::local::Answer;
use fruit_release::name::Name;
use fruit_release::tuf::{Clock, Time, Trust};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::fetch::fetch;
use super::message::{Command, Counters, Shared};
use crate::machine::Fetched;
use crate::piece::is_fixed;

/// Repositories that are followed.
const MOST: usize = 32;
/// Neighbours that are asked for newer metadata.
const ASKED: usize = 8;
/// Time for all of them.
const REFRESH: Duration = Duration::from_secs(20);
/// How long an answer of theirs is good enough.
const FRESH: Duration = Duration::from_secs(10);
/// Time to find neighbours.
const EARLY: Duration = Duration::from_secs(20);
/// How long a look at the folders of this machine is.
const LOOKED: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Followed {
    trust: Option<Trust>,
    looked: Option<Instant>,
    refreshed: Option<Instant>,
}

/// What is known of repositories.
#[derive(Clone, Default)]
pub struct Repositories(Arc<Mutex<BTreeMap<Sha256, Arc<Mutex<Followed>>>>>);

/// A node that passes metadata on refuses nothing because it is old: it may not know the time, and who installs looks for
/// itself.
fn clock() -> Clock {
    Clock::Unset { built: Time::from_seconds(0), saved: None }
}

/// A piece for a neighbour.
pub async fn find(shared: &Shared, repository: Sha256, name: Name) -> Option<Vec<u8>> {
    shared.with_pieces(move |pieces| pieces.find(&repository, &name)).await.flatten()
}

impl Repositories {
    async fn followed(&self, repository: &Sha256) -> Option<Arc<Mutex<Followed>>> {
        let mut all = self.0.lock().await;
        if all.len() >= MOST && !all.contains_key(repository) {
            return None;
        }
        Some(all.entry(*repository).or_default().clone())
    }

    /// A piece for a program of this node.
    pub async fn give(&self, shared: &Shared, repository: Sha256, name: Name) -> Answer {
        if !is_fixed(&name) {
            self.refresh(shared, repository, false).await;
        }
        if let Some(bytes) = find(shared, repository, name.clone()).await {
            return Answer::Here(bytes);
        }
        if !is_fixed(&name) {
            return if self.is_early(shared).await { Answer::Later } else { Answer::Nobody };
        }
        let asked = name.clone();
        match shared.question(|reply| Command::Ask { repository, name: asked, reply }).await {
            Some(Some(bytes)) => {
                Counters::add(&shared.counters.fetched, 1);
                Counters::add(&shared.counters.fetched_bytes, bytes.len() as u64);
                let kept = bytes.clone();
                shared.with_pieces(move |pieces| pieces.keep(&repository, &name, &kept)).await;
                Answer::Here(bytes)
            }
            Some(None) if self.is_early(shared).await => Answer::Later,
            Some(None) => Answer::Nobody,
            None => Answer::Later,
        }
    }

    /// Whether the program has just started and has nobody to ask yet.
    async fn is_early(&self, shared: &Shared) -> bool {
        let neighbours = shared.question(Command::Neighbours).await.unwrap_or_default();
        neighbours.is_empty() && shared.started.elapsed() < EARLY
    }

    /// Takes over what folders of this machine have, before a neighbour is answered. Of a repository that is not here nothing is
    /// remembered: a neighbour could name any number of them.
    pub async fn look(&self, shared: &Shared, repository: Sha256) {
        if find(shared, repository, Name::Root(1)).await.is_none() {
            return;
        }
        let Some(followed) = self.followed(&repository).await else { return };
        // Two nodes that refresh from each other would wait for each other.
        let Ok(mut followed) = followed.try_lock() else { return };
        if followed.looked.is_some_and(|at| at.elapsed() < LOOKED) {
            return;
        }
        followed.looked = Some(Instant::now());
        self.begin(shared, repository, &mut followed, false).await;
        if let Some(trust) = &mut followed.trust {
            from_folders(shared, repository, trust).await;
        }
    }

    /// Asks neighbours for newer metadata, if that was not done just now or `anyway`.
    pub async fn refresh(&self, shared: &Shared, repository: Sha256, anyway: bool) {
        self.look(shared, repository).await;
        let Some(followed) = self.followed(&repository).await else { return };
        let mut followed = followed.lock().await;
        let fresh = if anyway { FRESH / 10 } else { FRESH };
        if followed.refreshed.is_some_and(|at| at.elapsed() < fresh) {
            return;
        }
        followed.refreshed = Some(Instant::now());
        let refreshed = timeout(REFRESH, async {
            self.begin(shared, repository, &mut followed, true).await;
            let Some(trust) = &mut followed.trust else { return };
            let neighbours = shared.question(Command::Neighbours).await.unwrap_or_default();
            for neighbour in neighbours.into_iter().take(ASKED) {
                dialogue(shared, repository, trust, async |name| match fetch(&neighbour, repository, name).await {
                    Fetched::Bytes(bytes) => Some(bytes),
                    _ => None,
                })
                .await;
            }
        });
        // Those that did not answer in time are asked again another time.
        let _ = refreshed.await;
    }

    /// Finds the first root, by its hash: here, or with `ask` at neighbours.
    async fn begin(&self, shared: &Shared, repository: Sha256, followed: &mut Followed, ask: bool) {
        if followed.trust.is_some() {
            return;
        }
        let name = Name::Root(1);
        let mut found = find(shared, repository, name.clone()).await;
        if found.is_none() && ask {
            let asked = name.clone();
            found = shared.question(|reply| Command::Ask { repository, name: asked, reply }).await.flatten();
        }
        let Some(bytes) = found.filter(|bytes| Sha256::of(bytes) == repository) else { return };
        followed.trust = Trust::from_root(&bytes).ok();
        shared.with_pieces(move |pieces| pieces.keep(&repository, &name, &bytes)).await;
        if let Some(trust) = &mut followed.trust {
            // What was verified before a restart.
            dialogue(shared, repository, trust, async |name| find(shared, repository, name).await).await;
        }
    }
}

/// Takes over what the folders of this machine have.
async fn from_folders(shared: &Shared, repository: Sha256, trust: &mut Trust) {
    let places = shared
        .with_pieces(move |pieces| pieces.find_outside(&repository, &Name::Timestamp).len())
        .await
        .unwrap_or_default();
    for place in 0..places {
        dialogue(shared, repository, trust, async |name| {
            let mut found =
                shared.with_pieces(move |pieces| pieces.find_outside(&repository, &name)).await.unwrap_or_default();
            (place < found.len()).then(|| found.swap_remove(place))
        })
        .await;
    }
}

/// One refresh from one source: what passes is kept, and served from then on.
async fn dialogue(
    shared: &Shared,
    repository: Sha256,
    trust: &mut Trust,
    source: impl AsyncFn(Name) -> Option<Vec<u8>>,
) {
    let mut refresh = trust.refresh(clock());
    while let Some(want) = refresh.want() {
        let Ok(name) = want.name.parse::<Name>() else { return };
        let bytes = source(name.clone()).await.filter(|bytes| bytes.len() as u64 <= want.limit);
        if refresh.give(bytes.as_deref()).is_err() {
            return;
        }
        if let Some(bytes) = bytes {
            shared.with_pieces(move |pieces| pieces.keep(&repository, &name, &bytes)).await;
        }
    }
}
