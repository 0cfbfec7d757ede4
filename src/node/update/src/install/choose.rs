//! Which release, and whether it may be installed at all: everything that is decided before the first write.

use std::cmp::Ordering;

use fruit_contract::Slot;
use fruit_contract::update::status::Identity;
use fruit_release::manifest::{CHUNK, VolumeKind};
use fruit_release::tuf::{Kind, Release, Target, Trust, Verified, compare_versions};
use fruit_release::{Delta, Digest, Manifest, Name, Source};
use fruit_verity::Params;

use super::{InstallError, Refusal, Request};
use crate::card::{Card, CardError};
use crate::slot::holds_chunk;
use crate::trust::TrustError;
use crate::updater::Updater;

/// A release that was chosen.
pub(super) struct Choice {
    pub release: Release,
    pub manifest: Manifest,
    /// Bytes of the manifest's file, and their digest.
    pub file: Vec<u8>,
    pub digest: Digest,
}

impl Choice {
    pub fn identity(&self) -> Identity {
        let root = self.manifest.volume(VolumeKind::Root).and_then(|volume| volume.verity.as_ref());
        Identity {
            product: self.manifest.product.clone(),
            board: self.manifest.board.clone(),
            version: self.manifest.version.clone(),
            build_id: self.manifest.build_id.clone(),
            verity: root.map(|verity| verity.parameters.clone()).unwrap_or_default(),
            manifest: Some(self.digest),
            epoch: self.release.epoch,
        }
    }
}

/// Whether the node is in a state to install anything.
pub(super) fn node_is_ready(updater: &Updater) -> Result<(), Refusal> {
    // The other slot is what the node falls back to.
    if updater.card.trial { Err(Refusal::OnTrial { name: updater.running().name() }) } else { Ok(()) }
}

/// The release to install, `None` if there is nothing newer than what runs.
pub(super) fn release(
    updater: &mut Updater,
    trust: &Trust,
    source: &mut dyn Source,
    request: &Request,
    notes: &mut Vec<String>,
) -> Result<Option<Choice>, InstallError> {
    let running = updater.facts.image.version.clone();
    for (release, target) in candidates(updater, trust, source, request)? {
        match compare_versions(&release.version, &running) {
            Ordering::Greater => {}
            Ordering::Equal if request.force => {}
            Ordering::Less if request.version.is_some() => {
                return Err(Refusal::Older { version: release.version, running }.into());
            }
            _ => return Ok(None),
        }
        let Some((file, name)) = fetch(trust, source, &target)? else {
            // Whoever can leave out the newest release keeps nodes where they are, so that is not passed over.
            if source.is_whole() {
                let (release, name) = (release.to_string(), trust.file_of(&target));
                return Err(InstallError::HeldBack { place: source.place(), release, name });
            }
            notes.push(format!("{} is listed, but {} does not have it", release.version, source.place()));
            continue;
        };
        let manifest = file.read(Manifest::read);
        let manifest = manifest.map_err(|error| InstallError::Manifest { place: source.place(), error })?.into_inner();
        let Name::Target(digest, _) = name else { continue };
        if let Some(failed) = updater.state().failure(digest, &manifest.build_id).filter(|_| !request.force) {
            let reason = failed.reason.clone();
            return Err(Refusal::FailedBefore { version: release.version, reason }.into());
        }
        agrees(&manifest, &release)?;
        let choice = Choice { release, manifest, file: file.into_inner(), digest };
        if !request.force && loader_gave_up(updater, &choice.manifest)? {
            let reason = format!("the boot loader has given up slot {}, which holds it", updater.other());
            let now = updater.now();
            updater.memory.state.fail(now, &choice.identity(), &reason);
            return Err(Refusal::FailedBefore { version: choice.release.version, reason }.into());
        }
        return Ok(Some(choice));
    }
    let what =
        request.version.as_ref().map_or_else(|| "the release".to_owned(), |version| format!("release {version}"));
    Err(InstallError::missing(source, what))
}

/// Whether the release has failed here as far as the boot loader knows: for nodes that have no data partition, or have
/// lost what was on it. The loader remembers a slot; what is in that is seen from its boot volume, which names the root.
fn loader_gave_up(updater: &Updater, manifest: &Manifest) -> Result<bool, InstallError> {
    let slot = updater.other();
    if updater.card.control()?.failed != Some(slot) {
        return Ok(false);
    }
    let (volume, Some(boot)) = (updater.card.volume(slot, VolumeKind::Boot), manifest.volume(VolumeKind::Boot)) else {
        return Ok(false);
    };
    if boot.len > volume.len() {
        return Ok(false);
    }
    let mut buffer = vec![0; CHUNK as usize];
    for i in 0..boot.chunks.len() {
        let read_error = |source| CardError::Read { volume: Card::volume_name(slot, VolumeKind::Boot), source };
        if !holds_chunk(volume, boot, i, &mut buffer).map_err(read_error)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Releases that are for this node, newest first; only the one that was asked for, if one was.
fn candidates(
    updater: &Updater,
    trust: &Trust,
    source: &dyn Source,
    request: &Request,
) -> Result<Vec<(Release, Verified<Target>)>, InstallError> {
    let targets = trust.targets(&updater.facts.clock);
    let targets = targets.map_err(|error| TrustError::Refused { place: source.place(), error })?;
    let mut releases: Vec<(Release, Verified<Target>)> = targets
        .into_iter()
        .filter_map(|target| target.release().ok().cloned().map(|release| (release, target)))
        .filter(|(release, _)| release.kind == Kind::Release)
        .collect();
    releases.sort_by(|(a, _), (b, _)| compare_versions(&b.version, &a.version));
    let image = &updater.facts.image;
    if let Some(version) = &request.version {
        let known: Vec<&str> = releases.iter().map(|(release, _)| release.version.as_str()).take(20).collect();
        let known = known.join(", ");
        releases.retain(|(release, _)| release.version == *version);
        if releases.is_empty() {
            return Err(Refusal::NoSuchVersion { version: version.clone(), known }.into());
        }
    }
    let node = updater.facts.node(updater.state().epoch);
    let mut reason = None;
    releases.retain(|(release, _)| match release.fits(&node) {
        Ok(()) => true,
        // That of the newest one.
        Err(unfit) => {
            reason.get_or_insert(unfit);
            false
        }
    });
    match (releases.is_empty(), reason) {
        (false, _) => Ok(releases),
        (true, Some(unfit)) => Err(Refusal::Unfit(unfit).into()),
        (true, None) => {
            let (product, board) = (image.name.clone(), image.board.clone());
            Err(Refusal::Nothing { place: source.place(), product, board }.into())
        }
    }
}

/// The bytes of a target and its name.
type TargetFile = (Verified<Vec<u8>>, Name);

/// A target's bytes and its name; `None` if the source does not have it.
fn fetch(
    trust: &Trust,
    source: &mut dyn Source,
    target: &Verified<Target>,
) -> Result<Option<TargetFile>, InstallError> {
    let file = trust.file_of(target);
    let Ok(name) = file.parse::<Name>() else {
        return Err(InstallError::missing(source, format!("a target with the name {file}")));
    };
    loop {
        let Some(bytes) = source.get(&name, target.length())? else { return Ok(None) };
        match target.accept(bytes) {
            Ok(bytes) => {
                source.verified(&name, &bytes);
                return Ok(Some((bytes, name)));
            }
            Err(error) => {
                let error = InstallError::altered(source, &name, error);
                if !source.distrust() {
                    return Err(error);
                }
            }
        }
    }
}

/// The manifest must be of the release that the metadata describes.
fn agrees(manifest: &Manifest, release: &Release) -> Result<(), Refusal> {
    for (what, of_manifest, of_metadata) in [
        ("product", &manifest.product, &release.product),
        ("board", &manifest.board, &release.board),
        ("version", &manifest.version, &release.version),
    ] {
        if of_manifest != of_metadata {
            let text = format!("{what} {of_manifest} in its manifest, {of_metadata} in the metadata");
            return Err(Refusal::Contradiction(text));
        }
    }
    Ok(())
}

/// The root's verity parameters and the UUID of its superblock.
pub(super) fn verity(manifest: &Manifest) -> Result<(Params, [u8; 16]), Refusal> {
    let wrong = |why: &str| Refusal::Contradiction(format!("its root's verity parameters {why}"));
    let root = manifest.volume(VolumeKind::Root).ok_or_else(|| wrong("are missing"))?;
    let verity = root.verity.as_ref().ok_or_else(|| wrong("are missing"))?;
    let params: Params = verity.parameters.parse().map_err(|_| wrong("can't be read"))?;
    let uuid = fruit_contract::cmdline::parse_hex(&verity.uuid).and_then(|bytes| bytes.try_into().ok());
    let uuid = uuid.ok_or_else(|| wrong("have a UUID that can't be read"))?;
    if params.data_blocks.checked_mul(fruit_verity::BLOCK) != Some(root.len) {
        return Err(wrong("are for data of another length"));
    }
    if params.hash_start_block != params.data_blocks + 1 {
        return Err(wrong("have the tree in another place than behind the data"));
    }
    Ok((params, uuid))
}

/// Whether the release's volumes fit the partitions of the other slot.
pub(super) fn fits_slot(updater: &Updater, manifest: &Manifest) -> Result<(), Refusal> {
    let slot: Slot = updater.other();
    let (params, _) = verity(manifest)?;
    for volume in &manifest.volumes {
        let needs = match volume.kind {
            VolumeKind::Root => params.total_len().map_err(|error| Refusal::Contradiction(error.to_string()))?,
            VolumeKind::Boot => volume.len,
        };
        let has = updater.card.volume(slot, volume.kind).len();
        if needs > has {
            return Err(Refusal::TooLarge { volume: Card::volume_name(slot, volume.kind), needs, has });
        }
    }
    Ok(())
}

/// The delta from what runs, if there is one that fits. It is an optimization: whatever is wrong with it, the install
/// goes on without.
pub(super) fn delta(
    updater: &Updater,
    trust: &Trust,
    source: &mut dyn Source,
    choice: &Choice,
    notes: &mut Vec<String>,
) -> Option<Delta> {
    let path = choice.manifest.delta_path(&updater.facts.image.build_id);
    let target = trust.target(&path, &updater.facts.clock).ok()?;
    let file = match fetch(trust, source, &target) {
        Ok(Some((file, _))) => file,
        Ok(None) => {
            if source.is_whole() {
                let (place, name) = (source.place(), trust.file_of(&target));
                notes.push(format!("{place} lists a delta and does not have it ({name}); the release comes whole"));
            }
            return None;
        }
        Err(error) => {
            notes.push(format!("the delta is not used: {error}"));
            return None;
        }
    };
    let delta = match Delta::read(&file, &choice.manifest, choice.digest) {
        Ok(delta) => delta,
        Err(error) => {
            notes.push(format!("the delta is not used: {error}"));
            return None;
        }
    };
    let runs = updater.facts.verity.as_ref().is_some_and(|verity| verity.root_hash == delta.from.root_hash.0);
    let fits = VolumeKind::ALL
        .iter()
        .zip(&delta.from.lens)
        .all(|(&kind, &len)| len <= updater.card.volume(updater.card.running, kind).len());
    if !runs || !fits {
        notes.push(format!("the delta is not used: it starts from another build of {}", delta.from.version));
        return None;
    }
    Some(delta)
}
