//! Publishing: a slot's pieces and the deltas to it into the repository, and the targets that vouch for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fruit_base::AtPath;
use fruit_progress::Progress;
use fruit_release::keys::Signed;
use fruit_release::manifest::{CHUNK, Volume, VolumeKind};
use fruit_release::tuf::{Role, Target};
use fruit_release::{Digest, Folder, Manifest, Name};

use super::advice;
use super::pieces::{self, DeltaSize, Options, TargetFile};
use super::reference::Old;
use super::slot::Slot;
use crate::error::Error;
use crate::signing::SigningSession;

/// A release that is to be published, with deltas from `olds`.
pub struct Wanted<'s> {
    pub slot: &'s Slot,
    pub olds: Vec<Old>,
}

/// What became of a release.
pub struct Added {
    /// Path of its target.
    pub path: String,
    /// `PRODUCT VERSION for BOARD`.
    pub name: String,
    pub deltas: Vec<DeltaSize>,
    /// Whether there was anything to do.
    pub changed: bool,
}

/// Publishes releases with their deltas, all of them or, if anything fails, none. What is published already, with the same
/// content, stays as it is, and gets the deltas that it lacks.
///
/// # Errors
/// Changes that wait for signatures; a list of releases that is full; another content under a version that is published;
/// a delta from another product or board; read, write and key errors.
pub fn publish(
    session: &mut SigningSession,
    folder: &Folder,
    wanted: &[Wanted<'_>],
    notes: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(Vec<Added>, Signed), Error> {
    session.expect_no_draft(&Role::Targets)?;
    let targets = session.repository.targets()?;
    let (mut add, mut added) = (Vec::new(), Vec::new());
    let lacking: Vec<_> = wanted.iter().flat_map(paths).filter(|path| !targets.contains_key(path)).collect();
    advice::about_room(session, lacking.len(), progress)?;
    for one in wanted {
        added.push(prepare(folder, &targets, one, notes, options, progress, &mut add)?);
    }
    if add.is_empty() {
        return Ok((added, Signed::default()));
    }
    let add = add.iter().map(target).collect::<Result<_, _>>()?;
    session.repository.add_targets(add, session.now, &session.lifetimes)?;
    let signed = session.finish(&BTreeSet::new(), &[Role::Targets])?;
    Ok((added, signed))
}

fn manifest_like(identity: &super::slot::Identity) -> Manifest {
    Manifest::new(&identity.product, &identity.board, &identity.version)
}

/// Paths of the targets of a release and its deltas.
fn paths(wanted: &Wanted<'_>) -> Vec<String> {
    let manifest = manifest_like(&wanted.slot.identity);
    let deltas = wanted.olds.iter().map(|old| manifest.delta_path(&old.slot.identity.build_id));
    std::iter::once(manifest.target_path()).chain(deltas).collect()
}

/// Puts what a release lacks into the folder, and its targets into `add`.
fn prepare(
    folder: &Folder,
    targets: &BTreeMap<String, Target>,
    Wanted { slot, olds }: &Wanted<'_>,
    notes: &str,
    options: &Options,
    progress: &dyn Progress,
    add: &mut Vec<TargetFile>,
) -> Result<Added, Error> {
    let identity = &slot.identity;
    for old in olds {
        let other = &old.slot.identity;
        if (&other.product, &other.board) != (&identity.product, &identity.board) {
            return Err(Error::input(format!(
                "a delta to {} {} for {} cannot start from {} {} for {}",
                identity.product, identity.version, identity.board, other.product, other.version, other.board
            )));
        }
        if other.build_id == identity.build_id {
            return Err(Error::input(format!("{}: a delta from a build to itself", identity.version)));
        }
    }
    let path = manifest_like(identity).target_path();
    let before = add.len();
    let (manifest, piece) = match targets.get(&path) {
        Some(target) => published(folder, target, &path, slot)?,
        None => {
            let made = pieces::add_release(folder, slot, notes, options, progress)?;
            add.push(made.1.clone());
            made
        }
    };
    let mut sizes = Vec::new();
    for old in olds {
        let path = manifest.delta_path(&old.slot.identity.build_id);
        let listed =
            targets.get(&path).and_then(Target::sha256).map(|sha256| Name::Target(Digest(*sha256), path.clone()));
        if listed.is_some_and(|name| folder.has(&name)) {
            continue;
        }
        let base = match old.digest {
            Some(digest) => digest,
            None => digest_of(&old.slot)?,
        };
        let to = (&manifest, piece.digest);
        let (delta, size) = pieces::add_delta(folder, &old.slot, slot, to, base, options, progress)?;
        if targets.get(&path).is_none_or(|target| target.sha256() != Some(&delta.digest.0)) {
            add.push(delta);
        }
        sizes.push(size);
    }
    let name = format!("{} {} for {}", identity.product, identity.version, identity.board);
    Ok(Added { path, name, deltas: sizes, changed: add.len() > before })
}

fn target(piece: &TargetFile) -> Result<Target, Error> {
    Target::new(&piece.path, piece.len, piece.digest.0, &piece.release).map_err(|e| Error::other(e.to_string()))
}

/// The manifest of a release that is published already, if it is the one of `slot`.
fn published(folder: &Folder, target: &Target, path: &str, slot: &Slot) -> Result<(Manifest, TargetFile), Error> {
    let digest = target.sha256().map(|sha256| Digest(*sha256)).unwrap_or(Digest([0; 32]));
    let release = target.release().map_err(|why| Error::other(format!("{path}: {why}")))?.clone();
    let piece = TargetFile { path: path.to_owned(), digest, len: target.length(), release };
    let bytes = super::check::piece(folder, &piece.name())?;
    if Digest::of(&bytes) != digest {
        return Err(Error::untrusted(format!(
            "{}: not what the metadata vouches for",
            folder.path(&piece.name()).display()
        )));
    }
    let manifest = Manifest::read(&bytes).map_err(|error| Error::other(format!("{path}: {error}")))?;
    if manifest.build_id != slot.identity.build_id {
        return Err(Error::input(format!(
            "{} {} for {} is published with another content (build {}); raise `version:` in the recipe",
            manifest.product, manifest.version, manifest.board, manifest.build_id
        )));
    }
    Ok((manifest, piece))
}

/// The digest that the manifest of a slot has, which is not published here.
fn digest_of(slot: &Slot) -> Result<Digest, Error> {
    use fruit_image::storage::ReadAt;
    let mut manifest = pieces::manifest_of(&slot.identity, "");
    for kind in VolumeKind::ALL {
        let region = slot.part(kind).region();
        let mut chunks = Vec::new();
        let mut buffer = vec![0; CHUNK as usize];
        for at in (0..region.len()).step_by(CHUNK as usize) {
            let bytes = &mut buffer[..(region.len() - at).min(CHUNK) as usize];
            region.read_exact_at(bytes, at).map_err(|error| Error::other(error.to_string()))?;
            chunks.push(Digest::of(bytes));
        }
        let verity = (kind == VolumeKind::Root).then(|| slot.verity.clone());
        manifest.volumes.push(Volume { kind, len: region.len(), verity, chunks });
    }
    let bytes = manifest.write().map_err(|error| Error::other(error.to_string()))?;
    Ok(Digest::of(&bytes))
}

/// Text of release notes.
///
/// # Errors
/// A file that cannot be read, is too long, or is not text.
pub fn read_notes(path: Option<&Path>) -> Result<String, Error> {
    let Some(path) = path else { return Ok(String::new()) };
    let notes = std::fs::read_to_string(path).at(path)?;
    if notes.len() > fruit_release::manifest::NOTES_MAX {
        let (has, most) = (notes.len(), fruit_release::manifest::NOTES_MAX);
        return Err(Error::input(format!("{}: {has} bytes of release notes, at most {most} fit", path.display())));
    }
    Ok(notes)
}
