//! Publishing: a slot's pieces and the deltas to it into the repository, and the targets that vouch for them.

use std::collections::BTreeSet;
use std::path::Path;

use fruit_release::keys::Signed;
use fruit_release::manifest::{CHUNK, Volume, VolumeKind};
use fruit_release::tuf::{Role, Target};
use fruit_release::{Digest, Manifest};

use super::folder::Folder;
use super::pieces::{self, DeltaSize, Options, Piece};
use super::slot::Slot;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::signing::Desk;

/// What a release is made from.
pub struct Old {
    pub slot: Slot,
    /// Digest of its manifest, if it is published.
    pub digest: Option<Digest>,
}

/// What became of a release.
pub struct Added {
    /// Path of its target.
    pub path: String,
    pub deltas: Vec<DeltaSize>,
    pub signed: Signed,
}

/// Publishes `slot` with deltas from `olds`. A release that is published already, with the same content, stays as it is,
/// and gets the deltas that it lacks.
///
/// # Errors
/// Another content under a version that is published; a delta from another product or board; read, write and key errors.
pub fn publish(
    desk: &mut Desk,
    folder: &Folder,
    slot: &Slot,
    olds: &[Old],
    notes: &str,
    options: &Options,
    progress: &Progress,
) -> Result<Added, Failure> {
    let identity = &slot.identity;
    for old in olds {
        let other = &old.slot.identity;
        if (&other.product, &other.board) != (&identity.product, &identity.board) {
            return Err(Failure::input(format!(
                "a delta to {} {} for {} cannot start from {} {} for {}",
                identity.product, identity.version, identity.board, other.product, other.version, other.board
            )));
        }
    }
    desk.expect_no_draft(&Role::Targets)?;
    let targets = desk.repository.targets()?;
    let path = Manifest::new(&identity.product, &identity.board, &identity.version).target_path();
    let (manifest, piece) = match targets.get(&path) {
        Some(target) => published(folder, target, &path, slot)?,
        None => pieces::add_release(folder, slot, notes, options, progress)?,
    };
    let mut add = vec![piece.clone()];
    let mut sizes = Vec::new();
    for old in olds {
        let base = match old.digest {
            Some(digest) => digest,
            None => digest_of(&old.slot)?,
        };
        let state = old.slot.state()?;
        if state.build_id == identity.build_id {
            return Err(Failure::input(format!("{}: a delta from a build to itself", identity.version)));
        }
        let to = (&manifest, piece.digest);
        let (delta, size) = pieces::add_delta(folder, &old.slot, slot, to, base, options, progress)?;
        add.push(delta);
        sizes.push(size);
    }
    add.retain(|piece| targets.get(&piece.path).is_none_or(|target| target.sha256() != Some(&piece.digest.0)));
    if !add.is_empty() {
        let add = add.iter().map(target).collect::<Result<_, _>>()?;
        desk.repository.add_targets(add, desk.now, &desk.lifetimes)?;
    } else {
        progress.say(format!(
            "nothing to do: {} {} for {} is published already",
            identity.product, identity.version, identity.board
        ));
        return Ok(Added { path, deltas: sizes, signed: Signed::default() });
    }
    let signed = desk.finish(&BTreeSet::new(), &[Role::Targets])?;
    Ok(Added { path, deltas: sizes, signed })
}

fn target(piece: &Piece) -> Result<Target, Failure> {
    Target::new(&piece.path, piece.len, piece.digest.0, &piece.release).map_err(|e| Failure::general(e.to_string()))
}

/// The manifest of a release that is published already, if it is the one of `slot`.
fn published(folder: &Folder, target: &Target, path: &str, slot: &Slot) -> Result<(Manifest, Piece), Failure> {
    let digest = target.sha256().map(|sha256| Digest(*sha256)).unwrap_or(Digest([0; 32]));
    let release = target.release().map_err(|why| Failure::general(format!("{path}: {why}")))?.clone();
    let piece = Piece { path: path.to_owned(), digest, len: target.length(), release };
    let bytes = folder.read(&piece.name())?;
    if Digest::of(&bytes) != digest {
        return Err(Failure::new(
            crate::failure::Exit::Untrusted,
            format!("{}: not what the metadata vouches for", folder.path(&piece.name()).display()),
        ));
    }
    let manifest = Manifest::read(&bytes).map_err(|error| Failure::general(format!("{path}: {error}")))?;
    if manifest.build_id != slot.identity.build_id {
        return Err(Failure::input(format!(
            "{} {} for {} is published with another content (build {}); raise `version:` in the recipe",
            manifest.product, manifest.version, manifest.board, manifest.build_id
        )));
    }
    Ok((manifest, piece))
}

/// The digest that the manifest of a slot has, which is not published here.
fn digest_of(slot: &Slot) -> Result<Digest, Failure> {
    use fruit_image::storage::ReadAt;
    let mut manifest = pieces::manifest_of(&slot.identity, "");
    for kind in VolumeKind::ALL {
        let region = slot.part(kind).region();
        let mut chunks = Vec::new();
        let mut buffer = vec![0; CHUNK as usize];
        for at in (0..region.len()).step_by(CHUNK as usize) {
            let bytes = &mut buffer[..(region.len() - at).min(CHUNK) as usize];
            region.read_exact_at(bytes, at).map_err(|error| Failure::general(error.to_string()))?;
            chunks.push(Digest::of(bytes));
        }
        let verity = (kind == VolumeKind::Root).then(|| slot.verity.clone());
        manifest.volumes.push(Volume { kind, len: region.len(), verity, chunks });
    }
    let bytes = manifest.write().map_err(|error| Failure::general(error.to_string()))?;
    Ok(Digest::of(&bytes))
}

/// Text of release notes.
///
/// # Errors
/// A file that cannot be read, is too long, or is not text.
pub fn read_notes(path: Option<&Path>) -> Result<String, Failure> {
    let Some(path) = path else { return Ok(String::new()) };
    let notes = std::fs::read_to_string(path).map_err(crate::failure::at(path))?;
    if notes.len() > fruit_release::manifest::NOTES_MAX {
        let (has, most) = (notes.len(), fruit_release::manifest::NOTES_MAX);
        return Err(Failure::input(format!("{}: {has} bytes of release notes, at most {most} fit", path.display())));
    }
    Ok(notes)
}
