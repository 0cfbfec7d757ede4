//! Whether the blobs of a release are there and are what its manifest says.

use std::collections::{BTreeMap, BTreeSet};

use fruit_delta::OldVolume;
use fruit_progress::Step;
use fruit_release::manifest::{CHUNK, ChunkSource};
use fruit_release::{Delta, Digest, Folder, Name, Source, frame};
use serde::Serialize;

use super::pieces::{self, Bytes};
use super::slot::Slot;
use super::trusted::{Published, PublishedDelta};
use crate::error::Error;

/// A chunk's content, if the source has it.
///
/// # Errors
/// Read errors; a frame that is damaged or whose content is another.
pub fn chunk(source: &mut dyn Source, digest: Digest, len: usize) -> Result<Option<Vec<u8>>, Error> {
    let name = Name::Chunk(digest);
    let Some(packed) = source.get(&name, name.limit())? else { return Ok(None) };
    let altered = |why: String| Error::untrusted(format!("{}: {name}: {why}", source.place()));
    let bytes = frame::decode(&packed, len).map_err(|error| altered(error.to_string()))?;
    if bytes.len() != len || Digest::of(&bytes) != digest {
        return Err(altered("its content is another".into()));
    }
    Ok(Some(bytes))
}

/// A piece that must be there.
///
/// # Errors
/// Not there, too large, unreadable.
pub fn piece(folder: &Folder, name: &Name) -> Result<Vec<u8>, Error> {
    match folder.clone().get(name, name.limit()) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Error::other(format!("{}: not there", folder.path(name).display()))),
        Err(error) => Err(Error::other(error.to_string())),
    }
}

/// What was found of a release.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Found {
    /// Chunks that are there, and all that it has.
    pub chunks: usize,
    pub chunks_of: usize,
    pub deltas: Vec<FoundDelta>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FoundDelta {
    /// Version that it starts from.
    pub from: String,
    /// Whether all of its patches and whole chunks are there.
    pub whole: bool,
    /// Whether it was applied to what it starts from.
    pub applied: bool,
}

impl Found {
    /// Whether any node can install it.
    pub fn is_whole(&self) -> bool {
        self.chunks == self.chunks_of
    }

    /// # Errors
    /// In words, what is not there although it must be: a delta's pieces, and the chunks of a release, unless it is in a
    /// bundle of deltas.
    pub fn expect_all(&self, release: &Published, is_repository: bool) -> Result<(), String> {
        if let Some(delta) = self.deltas.iter().find(|delta| !delta.whole) {
            return Err(format!("{}: the delta from {} lacks pieces", release.release, delta.from));
        }
        if !self.is_whole() && (is_repository || self.deltas.is_empty()) {
            let Found { chunks, chunks_of, .. } = self;
            return Err(format!("{} lacks blobs: {chunks} of {chunks_of} chunks are there", release.release));
        }
        Ok(())
    }
}

/// A patch's use: which chunk of which release it makes, from what.
struct Use<'r> {
    delta: &'r Delta,
    chunk: Digest,
    len: usize,
}

/// Looks at each blob that `next` brings, in whatever order. Patches over one of `olds` are applied in memory. Says for
/// each release what is there of it.
///
/// # Errors
/// Blobs that are damaged or altered, patches that do not give what they should; read errors.
pub fn releases(
    next: &mut dyn FnMut() -> Result<Option<(Name, Vec<u8>)>, Error>,
    releases: &[Published],
    olds: &[Slot],
    step: &dyn Step,
) -> Result<Vec<Found>, Error> {
    let bases = olds.iter().map(Base::new).collect::<Result<Vec<_>, _>>()?;
    let uses = uses(releases);
    let mut there: BTreeSet<Name> = BTreeSet::new();
    while let Some((name, bytes)) = next()? {
        let altered = |why: String| Error::untrusted(format!("{name}: {why}"));
        match &name {
            Name::Chunk(digest) => {
                let content = frame::decode(&bytes, CHUNK as usize).map_err(|error| altered(error.to_string()))?;
                if Digest::of(&content) != *digest {
                    return Err(altered("its content is another".into()));
                }
            }
            Name::Patch(digest) => {
                if Digest::of(&bytes) != *digest {
                    return Err(altered("its bytes are others".into()));
                }
                for one in uses.get(digest).into_iter().flatten() {
                    let Some(base) = bases.iter().find(|base| base.root_hash == one.delta.from.root_hash) else {
                        continue;
                    };
                    let mut out = vec![0; one.len];
                    fruit_delta::apply(&bytes, &base.volumes(), &mut out).map_err(|e| altered(e.to_string()))?;
                    if Digest::of(&out) != one.chunk {
                        return Err(altered("it does not give the chunk that it is for".into()));
                    }
                }
            }
            _ => continue,
        }
        step.add(1);
        there.insert(name);
    }
    Ok(releases.iter().map(|release| found(release, &there, &bases)).collect())
}

/// A slot that patches are applied to.
struct Base {
    root_hash: Digest,
    parts: [Bytes; 2],
}

impl Base {
    fn new(slot: &Slot) -> Result<Base, Error> {
        Ok(Base { root_hash: slot.state()?.root_hash, parts: pieces::bytes(slot) })
    }

    fn volumes(&self) -> Vec<OldVolume<'_>> {
        self.parts.iter().map(|data| OldVolume { data, len: data.0.len() }).collect()
    }
}

fn uses(releases: &[Published]) -> BTreeMap<Digest, Vec<Use<'_>>> {
    let mut uses: BTreeMap<Digest, Vec<Use>> = BTreeMap::new();
    for release in releases {
        for PublishedDelta { delta, .. } in &release.deltas {
            for (volume, sources) in release.manifest.volumes.iter().zip(&delta.volumes) {
                for (i, (chunk, source)) in volume.chunks.iter().zip(sources).enumerate() {
                    if let ChunkSource::Patch { patch, .. } = source {
                        let len = volume.chunk_len(i);
                        uses.entry(*patch).or_default().push(Use { delta, chunk: *chunk, len });
                    }
                }
            }
        }
    }
    uses
}

fn found(release: &Published, there: &BTreeSet<Name>, bases: &[Base]) -> Found {
    let chunks = release.manifest.volumes.iter().flat_map(|volume| &volume.chunks);
    let has_chunk = |chunk: &Digest| there.contains(&Name::Chunk(*chunk));
    let deltas = release.deltas.iter().map(|PublishedDelta { delta, .. }| {
        let sources = delta.volumes.iter().flatten();
        let whole = chunks.clone().zip(sources).all(|(chunk, source)| match source {
            ChunkSource::Copy { .. } => true,
            ChunkSource::Full {} => has_chunk(chunk),
            ChunkSource::Patch { patch, .. } => there.contains(&Name::Patch(*patch)),
        });
        let applied = bases.iter().any(|base| base.root_hash == delta.from.root_hash);
        FoundDelta { from: delta.from.version.clone(), whole, applied }
    });
    Found {
        chunks: chunks.clone().filter(|chunk| has_chunk(chunk)).count(),
        chunks_of: chunks.clone().count(),
        deltas: deltas.collect(),
    }
}

/// Names of all blobs of some releases, in the order of use.
pub fn names(releases: &[Published]) -> Vec<Name> {
    let mut names = Vec::new();
    for release in releases {
        names.extend(release.manifest.volumes.iter().flat_map(|v| &v.chunks).map(|chunk| Name::Chunk(*chunk)));
        for source in release.deltas.iter().flat_map(|d| d.delta.volumes.iter().flatten()) {
            if let ChunkSource::Patch { patch, .. } = source {
                names.push(Name::Patch(*patch));
            }
        }
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}
