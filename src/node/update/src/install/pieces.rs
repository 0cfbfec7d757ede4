//! Where the bytes of a chunk come from: from what the node has, as far as possible.

use fruit_contract::Slot;
use fruit_delta::OldVolume;
use fruit_release::manifest::{CHUNK, ChunkSource, VolumeKind};
use fruit_release::{Delta, Digest, Manifest, Name, Source, SourceError, frame};

use super::{Counts, InstallError};
use crate::card::{Card, Volume};
use crate::slot::Reading;
use crate::updater::Updater;

/// A chunk on the card.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    slot: Slot,
    kind: VolumeKind,
    chunk: usize,
}

/// Makes chunks, each verified.
pub(super) struct Pieces<'a> {
    source: &'a mut dyn Source,
    delta: Option<&'a Delta>,
    /// Chunks by their content, in order.
    known: Vec<(Digest, Place)>,
    target: Slot,
    pub counts: Counts,
    /// Why patches were of no use, the first time.
    misfit: Option<String>,
}

impl<'a> Pieces<'a> {
    pub fn new(
        updater: &Updater,
        source: &'a mut dyn Source,
        new: &Manifest,
        old: Option<&Manifest>,
        delta: Option<&'a Delta>,
        counts: Counts,
    ) -> Pieces<'a> {
        let target = updater.other();
        let mut known = Vec::new();
        for (slot, manifest) in [(Some(target), Some(new)), (Some(target.other()), old)] {
            for volume in manifest.iter().flat_map(|manifest| &manifest.volumes) {
                let places = volume.chunks.iter().enumerate();
                known
                    .extend(places.filter_map(|(chunk, digest)| {
                        Some((*digest, Place { slot: slot?, kind: volume.kind, chunk }))
                    }));
            }
        }
        known.sort_unstable();
        Pieces { source, delta, known, target, counts, misfit: None }
    }

    /// Sentences for whoever watches.
    pub fn notes(&self) -> Option<String> {
        let why = self.misfit.as_ref()?;
        Some(format!(
            "{} patches did not fit what this node holds ({why}); those chunks came whole",
            self.counts.misfits
        ))
    }

    /// Fills `out` with chunk `index` of volume `kind`, whose content has `digest`.
    pub fn fill(
        &mut self,
        card: &Card,
        kind: VolumeKind,
        index: usize,
        digest: Digest,
        out: &mut [u8],
    ) -> Result<(), InstallError> {
        let from_delta = self.delta.and_then(|delta| delta.volumes.get(usize::from(kind.number()))?.get(index));
        let mut misfit = None;
        match from_delta {
            Some(ChunkSource::Copy { volume, offset }) => match self.copy(card, *volume, *offset, digest, out) {
                Ok(()) => {
                    self.counts.copied += 1;
                    return Ok(());
                }
                Err(why) => misfit = Some(why),
            },
            Some(ChunkSource::Patch { patch, size }) => match self.patch(card, *patch, *size, digest, out)? {
                Ok(()) => {
                    self.counts.patched += 1;
                    return Ok(());
                }
                Err(why) => misfit = Some(why),
            },
            Some(ChunkSource::Full {}) | None => {}
        }
        if let Some(why) = misfit {
            self.counts.misfits += 1;
            self.misfit.get_or_insert(why);
        }
        if self.copy_known(card, kind, index, digest, out) {
            self.counts.copied += 1;
            return Ok(());
        }
        self.whole(digest, out)?;
        self.counts.whole += 1;
        Ok(())
    }

    fn copy(&self, card: &Card, volume: u8, offset: u64, digest: Digest, out: &mut [u8]) -> Result<(), String> {
        let kind = VolumeKind::ALL.into_iter().find(|kind| kind.number() == volume);
        let kind = kind.ok_or_else(|| format!("volume {volume} is not known"))?;
        let from = card.volume(self.target.other(), kind);
        from.read_exact_at(out, offset).map_err(|e| format!("{}, byte {offset}: {e}", kind.name()))?;
        if Digest::of(out) == digest {
            Ok(())
        } else {
            Err(format!(
                "{}, byte {offset}: the running slot holds other bytes than the delta starts from",
                kind.name()
            ))
        }
    }

    /// The outer error is one of the source that ends the install, the inner one says why the patch is of no use.
    fn patch(
        &mut self,
        card: &Card,
        patch: Digest,
        size: u32,
        digest: Digest,
        out: &mut [u8],
    ) -> Result<Result<(), String>, InstallError> {
        let name = Name::Patch(patch);
        let bytes = loop {
            let bytes = match self.source.get(&name, u64::from(size)) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(Err(format!("{name} is not there"))),
                Err(error @ SourceError::Broken { .. }) => return Ok(Err(error.to_string())),
                Err(error) => return Err(error.into()),
            };
            self.counts.fetched += bytes.len() as u64;
            if Digest::of(&bytes) == patch {
                self.source.verified(&name, &bytes);
                break bytes;
            }
            if !self.source.distrust() {
                return Ok(Err(format!("{name} is altered or damaged")));
            }
        };
        let Some(delta) = self.delta else { return Ok(Err("there is no delta".into())) };
        let old: Vec<(Reading<'_>, u64)> = VolumeKind::ALL
            .into_iter()
            .zip(&delta.from.lens)
            .map(|(kind, len)| (Reading(card.volume(self.target.other(), kind)), *len))
            .collect();
        let old: Vec<OldVolume<'_>> = old.iter().map(|(data, len)| OldVolume { data, len: *len }).collect();
        match fruit_delta::apply(&bytes, &old, out) {
            Ok(()) if Digest::of(out) == digest => Ok(Ok(())),
            Ok(()) => Ok(Err("the running slot holds other bytes than the delta starts from".into())),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// From a chunk that is on the card already: in the running slot, or in a part of the target that is done.
    fn copy_known(&self, card: &Card, kind: VolumeKind, index: usize, digest: Digest, out: &mut [u8]) -> bool {
        let first = self.known.partition_point(|(known, _)| *known < digest);
        let places = self.known[first..].iter().take_while(|(known, _)| *known == digest).map(|(_, place)| *place);
        let done = |place: &Place| place.slot != self.target || (place.kind, place.chunk) < (kind, index);
        for place in places.filter(done).take(4) {
            let from: &dyn Volume = card.volume(place.slot, place.kind);
            if from.read_exact_at(out, place.chunk as u64 * CHUNK).is_ok() && Digest::of(out) == digest {
                return true;
            }
        }
        false
    }

    fn whole(&mut self, digest: Digest, out: &mut [u8]) -> Result<(), InstallError> {
        let name = Name::Chunk(digest);
        loop {
            let Some(bytes) = self.source.get(&name, name.limit())? else {
                let what = match &self.misfit {
                    Some(why) => format!("{name}, needed since a patch did not fit ({why}),"),
                    None => name.to_string(),
                };
                return Err(InstallError::missing(&*self.source, what));
            };
            self.counts.fetched += bytes.len() as u64;
            let why = match frame::decode(&bytes, out.len()) {
                Ok(content) if content.len() == out.len() && Digest::of(&content) == digest => {
                    out.copy_from_slice(&content);
                    self.source.verified(&name, &bytes);
                    return Ok(());
                }
                Ok(_) => "its content has another hash".to_owned(),
                Err(error) => error.to_string(),
            };
            let error = InstallError::altered(&*self.source, &name, why);
            if !self.source.distrust() {
                return Err(error);
            }
        }
    }
}
