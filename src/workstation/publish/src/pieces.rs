//! The pieces that a release is made of, put into a repository's folder: chunks, patches, manifest, deltas.

use std::collections::HashSet;
use std::sync::Mutex;

use fruit_base::AtPath;
use fruit_base::cores;
use fruit_delta::{EncodeError, Source as Coded};
use fruit_image::storage::{Extent, ReadAt, Region};
use fruit_progress::{Progress, Unit};
use fruit_release::manifest::{CHUNK, ChunkSource, State, Volume, VolumeKind};
use fruit_release::tuf::{Base, Kind, Release};
use fruit_release::{Delta, Digest, Folder, Manifest, Name, frame};

use super::slot::{Identity, Slot};
use crate::error::{Error, told};

/// A file that targets metadata is to vouch for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetFile {
    pub path: String,
    pub digest: Digest,
    /// Bytes.
    pub len: u64,
    pub release: Release,
}

impl TargetFile {
    pub fn name(&self) -> Name {
        Name::Target(self.digest, self.path.clone())
    }
}

/// How pieces are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of zstd, for whole chunks.
    pub level: i32,
    /// Most bytes of memory that making a delta takes.
    pub memory: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { level: 15, memory: 900 << 20 }
    }
}

fn described(identity: &Identity, kind: Kind) -> Release {
    Release {
        kind,
        product: identity.product.clone(),
        board: identity.board.clone(),
        compatible: identity.compatible.clone(),
        architecture: identity.architecture.clone(),
        version: identity.version.clone(),
        epoch: identity.epoch.into(),
        min_bootloader: identity.min_bootloader.into(),
    }
}

/// A manifest that lacks its volumes.
pub fn manifest_of(identity: &Identity, notes: &str) -> Manifest {
    let mut manifest = Manifest::new(&identity.product, &identity.board, &identity.version);
    manifest.build_id.clone_from(&identity.build_id);
    manifest.build_time = identity.build_time;
    manifest.packages.clone_from(&identity.packages);
    manifest.slot_sizes = identity.slot_sizes;
    notes.clone_into(&mut manifest.notes);
    manifest
}

/// Puts the chunks and the manifest of a slot into the folder. Chunks that are there stay.
///
/// # Errors
/// Read and write errors.
pub fn add_release(
    folder: &Folder,
    slot: &Slot,
    notes: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(Manifest, TargetFile), Error> {
    let identity = &slot.identity;
    let mut manifest = manifest_of(identity, notes);
    for kind in VolumeKind::ALL {
        let region = slot.part(kind).region();
        let verity = (kind == VolumeKind::Root).then(|| slot.verity.clone());
        let chunks = add_chunks(folder, &region, kind, options, progress)?;
        manifest.volumes.push(Volume { kind, len: region.len(), verity, chunks });
    }
    let bytes = manifest.write().map_err(|error| Error::input(error.to_string()))?;
    let piece = TargetFile {
        path: manifest.target_path(),
        digest: Digest::of(&bytes),
        len: bytes.len() as u64,
        release: described(identity, Kind::Release),
    };
    folder.put(&piece.name(), &bytes).map_err(told)?;
    Ok((manifest, piece))
}

/// Hashes, compresses and keeps each chunk of a volume, on all processors.
fn add_chunks(
    folder: &Folder,
    region: &Region,
    kind: VolumeKind,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Digest>, Error> {
    let step = progress.step(&format!("chunks of {}", kind.name()), region.len(), Unit::Bytes);
    // The same chunk may come several times; one thread makes it.
    let taken = Mutex::new(HashSet::new());
    let one = |&number: &u64| -> Result<Digest, Error> {
        let offset = number * CHUNK;
        let len = (region.len() - offset).min(CHUNK);
        let mut bytes = vec![0; len as usize];
        region.read_exact_at(&mut bytes, offset).map_err(|error| Error::other(error.to_string()))?;
        let digest = Digest::of(&bytes);
        let name = Name::Chunk(digest);
        if !folder.has(&name) && taken.lock().is_ok_and(|mut taken| taken.insert(digest)) {
            let packed = frame::encode(&bytes, options.level).map_err(|e| Error::other(e.to_string()))?;
            folder.put(&name, &packed).map_err(told)?;
        }
        step.add(len);
        Ok(digest)
    };
    let numbers: Vec<u64> = (0..region.len().div_ceil(CHUNK)).collect();
    cores::each(cores::count(), &numbers, one)
}

/// What a delta came to.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct DeltaSize {
    /// Version that it starts from.
    pub from: String,
    /// Chunks that are a run of the old slot, that are patched, and that are fetched whole.
    pub copied: usize,
    pub patched: usize,
    pub whole: usize,
    /// Bytes of patches, and of chunks that are fetched whole.
    pub patch_bytes: u64,
    pub whole_bytes: u64,
    /// Bytes of the delta's own file.
    pub index_bytes: u64,
}

/// Codes a slot against an older one; puts patches and the delta's file into the folder.
///
/// # Errors
/// Read and write errors.
pub fn add_delta(
    folder: &Folder,
    old: &Slot,
    new: &Slot,
    (manifest, to): (&Manifest, Digest),
    from: Digest,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(TargetFile, DeltaSize), Error> {
    let (old_bytes, new_bytes) = (bytes(old), bytes(new));
    let total: u64 = new.parts.iter().map(|part| part.extent.len).sum();
    let step = progress.step(&format!("delta from {}", old.identity.version), total, Unit::Bytes);
    let coding = fruit_delta::Options { threads: 0, memory: options.memory, full_level: options.level };
    let show = |done: u64, total: u64| {
        step.set_total(total);
        step.set(done);
    };
    let coded = fruit_delta::encode(&volumes(old, &old_bytes), &volumes(new, &new_bytes), &coding, &show)
        .map_err(|error: EncodeError| Error::other(error.to_string()))?;
    let mut size = DeltaSize {
        from: old.identity.version.clone(),
        copied: 0,
        patched: 0,
        whole: 0,
        patch_bytes: 0,
        whole_bytes: 0,
        index_bytes: 0,
    };
    let mut sources = Vec::new();
    for (volume, chunks) in manifest.volumes.iter().zip(coded) {
        let mut row = Vec::with_capacity(chunks.len());
        for (coded, chunk) in chunks.into_iter().zip(&volume.chunks) {
            row.push(keep(folder, coded, *chunk, &mut size)?);
        }
        sources.push(row);
    }
    let state: State = old.state()?;
    let path = manifest.delta_path(&state.build_id);
    let base = Base { version: state.version.clone(), sha256: from.0 };
    let bytes = Delta::new(state, to, sources).write().map_err(|error| Error::other(error.to_string()))?;
    size.index_bytes = bytes.len() as u64;
    let piece = TargetFile {
        path,
        digest: Digest::of(&bytes),
        len: bytes.len() as u64,
        release: described(&new.identity, Kind::Delta { from: base }),
    };
    folder.put(&piece.name(), &bytes).map_err(told)?;
    Ok((piece, size))
}

fn keep(folder: &Folder, coded: Coded, chunk: Digest, size: &mut DeltaSize) -> Result<ChunkSource, Error> {
    Ok(match coded {
        Coded::Copy { volume, offset } => {
            size.copied += 1;
            ChunkSource::Copy { volume, offset }
        }
        Coded::Patch(bytes) => {
            let digest = Digest::of(&bytes);
            let name = Name::Patch(digest);
            if !folder.has(&name) {
                folder.put(&name, &bytes).map_err(told)?;
            }
            size.patched += 1;
            size.patch_bytes += bytes.len() as u64;
            let len = u32::try_from(bytes.len()).map_err(|error| Error::other(error.to_string()))?;
            ChunkSource::Patch { patch: digest, size: len }
        }
        Coded::Full => {
            size.whole += 1;
            let path = folder.path(&Name::Chunk(chunk));
            size.whole_bytes += std::fs::metadata(&path).at(&path)?.len();
            ChunkSource::Full {}
        }
    })
}

/// Lets the codec read what an image file holds.
pub struct Bytes(pub Region);

impl fruit_delta::ReadAt for Bytes {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        ReadAt::read_exact_at(&self.0, buf, offset)
    }
}

pub fn bytes(slot: &Slot) -> [Bytes; 2] {
    slot.parts.clone().map(|part| Bytes(part.region()))
}

fn volumes<'b>(slot: &Slot, bytes: &'b [Bytes; 2]) -> Vec<fruit_delta::Volume<'b>> {
    let parts = slot.parts.iter().zip(bytes);
    parts.map(|(part, data)| fruit_delta::Volume { data, len: part.extent.len, files: files(&part.files) }).collect()
}

fn files(list: &[(String, Vec<Extent>)]) -> Vec<fruit_delta::File> {
    let ranges = |extents: &[Extent]| extents.iter().map(|e| e.offset..e.offset + e.len).collect();
    list.iter().map(|(path, extents)| fruit_delta::File { path: path.clone(), extents: ranges(extents) }).collect()
}
