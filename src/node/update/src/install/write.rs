//! Writing a slot, chunk by chunk, and reading again what was written.

use std::io;

use fruit_contract::Slot;
use fruit_release::manifest::{CHUNK, Volume, VolumeKind};
use fruit_release::{Digest, Manifest};
use fruit_verity::{BLOCK, Options, Params, Tree};

use super::choose;
use super::pieces::Pieces;
use super::{Counts, Hooks, InstallError, Progress, Step};
use crate::card::{self, Card, CardError};
use crate::slot::{Differences, Reading, holds_chunk};
use crate::updater::Updater;

/// An install at the point where bytes move.
struct Writing<'w, 'p, 'h> {
    card: &'w Card,
    slot: Slot,
    params: &'w Params,
    /// How the root's tree is made.
    options: Options,
    pieces: &'w mut Pieces<'p>,
    hooks: &'w mut Hooks<'h>,
    /// Chunks that are right.
    done: u64,
    /// What the slot holds of a chunk, and what it shall hold; used for all chunks.
    old: Vec<u8>,
    new: Vec<u8>,
}

/// Writes both volumes, root first: without boot nothing of the slot starts.
pub(super) fn slot(
    updater: &Updater,
    slot: Slot,
    manifest: &Manifest,
    pieces: &mut Pieces<'_>,
    hooks: &mut Hooks<'_>,
) -> Result<Counts, InstallError> {
    let (params, uuid) = choose::verity(manifest)?;
    pieces.counts.chunks = manifest.volumes.iter().map(|volume| volume.chunks.len() as u64).sum();
    let mut writing = Writing {
        card: &updater.card,
        slot,
        params: &params,
        options: Options { uuid, salt: params.salt.clone() },
        pieces,
        hooks,
        done: 0,
        old: vec![0; CHUNK as usize],
        new: vec![0; CHUNK as usize],
    };
    for volume in &manifest.volumes {
        let chunks = writing.write(volume)?;
        writing.check(volume, &chunks)?;
    }
    Ok(pieces.counts.clone())
}

impl Writing<'_, '_, '_> {
    fn read_error(&self, kind: VolumeKind) -> impl Fn(io::Error) -> CardError + use<> {
        let slot = self.slot;
        move |source| CardError::Read { volume: Card::volume_name(slot, kind), source }
    }

    fn write_error(&self, kind: VolumeKind) -> impl Fn(io::Error) -> CardError + use<> {
        let slot = self.slot;
        move |source| CardError::Write { volume: Card::volume_name(slot, kind), source }
    }

    /// Tells how far it is, and stops if that is wanted.
    fn report(&mut self, step: Step, done: u64, total: u64) -> Result<(), InstallError> {
        let counts = &self.pieces.counts;
        (self.hooks.progress)(Progress { step, done, total, fetched: counts.fetched, written: counts.written });
        self.hooks.check()
    }

    /// Everything is on the medium, and what is read from now on comes from there.
    fn sync(&self, kind: VolumeKind) -> Result<(), CardError> {
        let to = self.card.volume(self.slot, kind);
        to.sync().map_err(self.write_error(kind))?;
        to.forget().map_err(self.read_error(kind))
    }

    /// Writes a volume, and for the root its hash tree. Returns the chunks in which something was written.
    fn write(&mut self, volume: &Volume) -> Result<Vec<usize>, InstallError> {
        let kind = volume.kind;
        let (read_error, write_error) = (self.read_error(kind), self.write_error(kind));
        // What an interrupted install left in memory must not pass for being on the card.
        self.sync(kind)?;
        let to = self.card.volume(self.slot, kind);
        let differences = Differences::new(to);
        let mut tree = match kind {
            VolumeKind::Root => Some(Tree::new(&differences, 0, volume.len, &self.options)?),
            VolumeKind::Boot => None,
        };
        let (blocks, bytes) = (self.pieces.counts.blocks, self.pieces.counts.written);
        let mut written = Vec::new();
        for (i, digest) in volume.chunks.iter().enumerate() {
            self.report(Step::Writing, self.done, self.pieces.counts.chunks)?;
            let (len, at) = (volume.chunk_len(i), i as u64 * CHUNK);
            let (old, new) = (&mut self.old[..len], &mut self.new[..len]);
            to.read_exact_at(old, at).map_err(&read_error)?;
            let content = if Digest::of(old) == *digest {
                self.pieces.counts.kept += 1;
                &*old
            } else {
                let fetched = self.pieces.counts.fetched;
                self.pieces.fill(self.card, kind, i, *digest, new)?;
                (self.hooks.pace)(self.pieces.counts.fetched - fetched);
                differences.write(old, new, at).map_err(&write_error)?;
                written.push(i);
                &*new
            };
            if let Some(tree) = &mut tree {
                tree.data(content)?;
            }
            differences.chunk_done().map_err(&write_error)?;
            self.done += 1;
            self.pieces.counts.blocks = blocks + differences.blocks();
            self.pieces.counts.written = bytes + differences.bytes();
        }
        if let Some(tree) = tree {
            let found = tree.finish()?;
            if found != *self.params {
                return Err(InstallError::RootHash { expected: self.params.to_string(), found: found.to_string() });
            }
        }
        self.pieces.counts.blocks = blocks + differences.blocks();
        self.pieces.counts.written = bytes + differences.bytes();
        self.sync(kind)?;
        Ok(written)
    }

    /// Reads again what was written. The other chunks were read from the medium in this same install and left alone.
    fn check(&mut self, volume: &Volume, written: &[usize]) -> Result<(), InstallError> {
        let kind = volume.kind;
        let read_error = self.read_error(kind);
        let from = self.card.volume(self.slot, kind);
        let slot = self.slot;
        let differs = |at: u64| InstallError::ReadAgain { volume: Card::volume_name(slot, kind), at };
        for (n, &i) in written.iter().enumerate() {
            self.report(Step::Checking, n as u64, written.len() as u64)?;
            if !holds_chunk(from, volume, i, &mut self.old).map_err(&read_error)? {
                return Err(differs(i as u64 * CHUNK));
            }
        }
        if kind == VolumeKind::Root {
            let mut block = [0; card::BLOCK];
            from.read_exact_at(&mut block, volume.len).map_err(&read_error)?;
            if fruit_verity::superblock(self.params.data_blocks, &self.options) != block {
                return Err(differs(volume.len));
            }
            if let Some(bad) = fruit_verity::verify_tree(&Reading(from), self.params)? {
                return Err(differs(bad.block() * BLOCK));
            }
        }
        Ok(())
    }
}
