//! Whether the blobs of a release are there and are what its manifest says.

use std::collections::BTreeSet;

use fruit_delta::OldVolume;
use fruit_release::manifest::ChunkSource;
use fruit_release::{Digest, Name, Source, frame};
use serde::Serialize;

use super::slot::Slot;
use super::trusted::Published;
use crate::failure::{Exit, Failure};
use crate::progress::{Progress, Unit};

/// A chunk's content, if the source has it.
///
/// # Errors
/// Read errors; a frame that is damaged or whose content is another.
pub fn chunk(source: &mut dyn Source, digest: Digest, len: usize) -> Result<Option<Vec<u8>>, Failure> {
    let name = Name::Chunk(digest);
    let Some(packed) = source.get(&name, name.limit())? else { return Ok(None) };
    let altered = |why: String| Failure::new(Exit::Untrusted, format!("{}: {name}: {why}", source.place()));
    let bytes = frame::decode(&packed, len).map_err(|error| altered(error.to_string()))?;
    if bytes.len() != len || Digest::of(&bytes) != digest {
        return Err(altered("its content is another".into()));
    }
    Ok(Some(bytes))
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

/// Looks at each blob, in the order of use. Deltas that start from one of `olds` are applied in memory.
///
/// # Errors
/// Blobs that are damaged or altered, patches that do not give what they should; read errors.
pub fn release(
    source: &mut dyn Source,
    release: &Published,
    olds: &[Slot],
    progress: &Progress,
) -> Result<Found, Failure> {
    let total = release.manifest.volumes.iter().map(|v| v.chunks.len() as u64).sum();
    let step = progress.step("checking blobs", total, Unit::Pieces);
    let mut found = Found { chunks_of: usize::try_from(total).unwrap_or(usize::MAX), ..Found::default() };
    let mut states = Vec::new();
    for delta in &release.deltas {
        let from = &delta.delta.from;
        let mut base = None;
        for old in olds {
            if old.state()?.root_hash == from.root_hash {
                base = Some(old.parts.clone().map(|part| part.region()));
            }
        }
        let applied = base.is_some();
        found.deltas.push(FoundDelta { from: from.version.clone(), whole: true, applied });
        states.push(base);
    }
    // Blobs that were met: a stream does not bring them twice.
    let mut there = BTreeSet::new();
    for (v, volume) in release.manifest.volumes.iter().enumerate() {
        for (i, digest) in volume.chunks.iter().enumerate() {
            let len = volume.chunk_len(i);
            let name = Name::Chunk(*digest);
            if there.contains(&name) || chunk(source, *digest, len)?.is_some() {
                there.insert(name.clone());
                found.chunks += 1;
            }
            for (d, delta) in release.deltas.iter().enumerate() {
                match &delta.delta.volumes[v][i] {
                    ChunkSource::Copy { .. } => {}
                    ChunkSource::Full {} => found.deltas[d].whole &= there.contains(&name),
                    ChunkSource::Patch { patch, size } => {
                        let name = Name::Patch(*patch);
                        let Some(bytes) = source.get(&name, u64::from(*size))? else {
                            found.deltas[d].whole &= there.contains(&name);
                            continue;
                        };
                        let altered =
                            |why: String| Failure::new(Exit::Untrusted, format!("{}: {name}: {why}", source.place()));
                        if Digest::of(&bytes) != *patch {
                            return Err(altered("its bytes are others".into()));
                        }
                        if let Some(base) = &states[d] {
                            let old: Vec<super::pieces::Bytes> =
                                base.iter().map(|region| super::pieces::Bytes(region.clone())).collect();
                            let old: Vec<OldVolume<'_>> =
                                old.iter().map(|b| OldVolume { data: b, len: b.0.len() }).collect();
                            let mut out = vec![0; len];
                            fruit_delta::apply(&bytes, &old, &mut out).map_err(|e| altered(e.to_string()))?;
                            if Digest::of(&out) != *digest {
                                return Err(altered("it does not give the chunk that it is for".into()));
                            }
                        }
                        there.insert(name);
                    }
                }
            }
            step.add(1);
        }
    }
    Ok(found)
}
