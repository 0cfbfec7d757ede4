//! What a repository or bundle holds, as far as signatures vouch for it.

use fruit_release::manifest::ManifestError;
use fruit_release::tuf::{Clock, Freshness, Kind, Release, Time, Trust};
use fruit_release::{Delta, Digest, Manifest, Name, Source};

use crate::error::Error;

/// A source whose metadata has been verified.
pub struct Trusted {
    trust: Trust,
    clock: Clock,
    /// Metadata files that it took, in the order of need.
    pub metadata: Vec<Name>,
}

/// A release as its target's entry and its manifest say it.
pub struct Published {
    pub name: Name,
    pub digest: Digest,
    pub release: Release,
    pub manifest: Manifest,
    pub deltas: Vec<PublishedDelta>,
}

/// A target that is listed and not there: its name, and what it is.
pub type Missing = (Name, Release);

pub struct PublishedDelta {
    pub name: Name,
    pub delta: Delta,
}

/// This machine's clock.
pub fn clock() -> Clock {
    Clock::Trusted(Time::from_seconds(fruit_base::now()))
}

/// No clock: nothing has expired.
pub fn timeless() -> Clock {
    Clock::Unset { built: Time::from_seconds(0), saved: None }
}

fn untrusted(place: &str) -> impl Fn(&dyn std::fmt::Display) -> Error + '_ {
    move |why| Error::untrusted(format!("{place}: {why}"))
}

impl Trusted {
    /// Verifies all metadata of `source`, beginning with the root `anchor`. By [`clock`] expired metadata is refused, by
    /// [`timeless`] it is not.
    ///
    /// # Errors
    /// Metadata that is missing, not signed, expired or not of one piece; read errors.
    pub fn verify(source: &mut dyn Source, anchor: &[u8], clock: Clock) -> Result<Trusted, Error> {
        let place = source.place();
        let refused = untrusted(&place);
        let mut trust = Trust::from_root(anchor).map_err(|error| refused(&error))?;
        let first = u32::try_from(trust.root_version()).map_err(|error| refused(&error))?;
        let mut metadata: Vec<Name> = (1..=first).map(Name::Root).collect();
        let own = Name::Root(first);
        if source.get(&own, own.limit())?.is_some_and(|bytes| bytes != anchor) {
            return Err(refused(&format_args!("{own} is another root than the one to trust")));
        }
        let mut refresh = trust.refresh(clock);
        while let Some(want) = refresh.want() {
            let name: Name = want.name.parse().map_err(|error| refused(&error))?;
            let bytes = source.get(&name, want.limit)?;
            refresh.give(bytes.as_deref()).map_err(|error| refused(&error))?;
            if bytes.is_some() {
                metadata.push(name);
            }
        }
        Ok(Trusted { trust, clock, metadata })
    }

    pub fn freshness(&self) -> Freshness {
        self.trust.freshness(&self.clock)
    }

    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// All releases with their deltas, in the order of versions. Targets that are none of ours are passed over.
    ///
    /// # Errors
    /// A file that is missing or is not what the metadata vouches for.
    pub fn releases(&self, source: &mut dyn Source) -> Result<Vec<Published>, Error> {
        self.listed(source).map(|(releases, _)| releases)
    }

    /// As [`Trusted::releases`], and what is listed and not there.
    ///
    /// # Errors
    /// A file that is not what the metadata vouches for.
    pub fn listed(&self, source: &mut dyn Source) -> Result<(Vec<Published>, Vec<Missing>), Error> {
        let place = source.place();
        let refused = untrusted(&place);
        let targets = self.trust.targets(&self.clock).map_err(|error| refused(&error))?;
        let mut releases: Vec<Published> = Vec::new();
        let (mut deltas, mut missing) = (Vec::new(), Vec::new());
        for target in &targets {
            let (Ok(release), Some(sha256)) = (target.release(), target.sha256()) else { continue };
            let name = Name::Target(Digest(*sha256), target.path().to_owned());
            // A bundle carries what it is about, not everything that its metadata lists; a repository has it all.
            let Some(bytes) = source.get(&name, target.length())? else {
                missing.push((name, release.clone()));
                continue;
            };
            let bytes = target.accept(bytes).map_err(|error| refused(&error))?;
            match &release.kind {
                Kind::Release => {
                    let manifest = Manifest::read(&bytes).map_err(|why| of_file(&place, &name, &why))?;
                    let (digest, release) = (Digest(*sha256), release.clone());
                    releases.push(Published { name, digest, release, manifest, deltas: Vec::new() });
                }
                Kind::Delta { .. } => deltas.push((name, bytes)),
            }
        }
        for (name, bytes) in deltas {
            let Name::Target(_, path) = &name else { continue };
            let folder = path.split('/').next().unwrap_or_default();
            let of_same = |release: &&mut Published| release.manifest.target_path().split('/').next() == Some(folder);
            let Some(release) = releases.iter_mut().find(of_same) else { continue };
            let delta = Delta::read(&bytes, &release.manifest, release.digest);
            let delta = delta.map_err(|why| of_file(&place, &name, &why))?;
            release.deltas.push(PublishedDelta { name, delta });
        }
        releases.sort_by(|a, b| {
            let key = |r: &Published| (r.manifest.product.clone(), r.manifest.board.clone());
            key(a).cmp(&key(b)).then_with(|| a.release.compare_version(&b.release.version))
        });
        Ok((releases, missing))
    }
}

fn of_file(place: &str, name: &Name, why: &ManifestError) -> Error {
    Error::untrusted(format!("{place}: {name}: {why}"))
}
