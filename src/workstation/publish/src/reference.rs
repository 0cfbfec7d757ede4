//! What a person names a release by: an image, its manifest, a version that is published, or a folder of either.

use std::path::{Path, PathBuf};

use fruit_base::AtPath;
use fruit_release::manifest::VolumeKind;
use fruit_release::{Digest, Folder};

use super::slot::{Identity, Slot};
use super::trusted::{Published, Trusted, timeless};
use super::{check, export};
use crate::error::Error;

/// A repository whose own metadata has been verified.
pub struct VerifiedRepository {
    pub folder: Folder,
    pub trusted: Trusted,
    pub releases: Vec<Published>,
}

impl VerifiedRepository {
    /// # Errors
    /// Metadata that is not of one piece, files that are missing.
    pub fn open(path: &Path) -> Result<VerifiedRepository, Error> {
        let mut folder = Folder::new(path);
        let anchor = check::piece(&folder, &fruit_release::Name::Root(1))?;
        let trusted = Trusted::verify(&mut folder, &anchor, timeless())?;
        let releases = trusted.releases(&mut folder)?;
        Ok(VerifiedRepository { folder, trusted, releases })
    }

    /// Nothing if nothing has been published yet.
    ///
    /// # Errors
    /// As [`VerifiedRepository::open`].
    pub fn open_if_there(path: &Path) -> Result<Option<VerifiedRepository>, Error> {
        let timestamp = Folder::new(path).has(&fruit_release::Name::Timestamp);
        timestamp.then(|| VerifiedRepository::open(path)).transpose()
    }

    /// The release whose target has that path.
    pub fn release(&self, path: &str) -> Option<&Published> {
        self.releases.iter().find(|release| release.manifest.target_path() == path)
    }

    /// What to say when a version is not there.
    pub fn versions(&self) -> String {
        let all: Vec<&str> = self.releases.iter().map(|r| r.release.version.as_str()).collect();
        format!("{} has the versions {}", self.folder.folder().display(), all.join(", "))
    }
}

/// What a release is made from.
pub struct Old {
    pub slot: Slot,
    /// Digest of its manifest, if it is published.
    pub digest: Option<Digest>,
}

/// Slots that are looked at.
#[derive(Default)]
pub struct Slots {
    pub found: Vec<Old>,
}

impl Slots {
    /// Adds what `text` names: an image or manifest, a folder of images, a repository, or a version on `verified`. Of a folder
    /// only what fits `like` is taken.
    ///
    /// # Errors
    /// Nothing of that name; damage.
    pub fn add(
        &mut self,
        text: &str,
        verified: Option<&VerifiedRepository>,
        like: Option<&Identity>,
    ) -> Result<(), Error> {
        let path = Path::new(text);
        if path.is_dir() {
            let before = self.found.len();
            if path.join("metadata").is_dir() {
                let other = VerifiedRepository::open(path)?;
                for release in other.releases.iter().filter(|r| fits(r, like)) {
                    self.add_release(&other, release)?;
                }
            } else {
                for manifest in manifests(path)? {
                    let slot = Slot::of_image(&manifest)?;
                    if like.is_none_or(|like| is_other_of(&slot.identity, like)) {
                        self.found.push(Old { slot, digest: None });
                    }
                }
            }
            if self.found.len() == before {
                return Err(Error::input(format!("{text}: holds no other release of this product and board")));
            }
            return Ok(());
        }
        if path.is_file() || text.contains('/') {
            let slot = Slot::of_image(path)?;
            let path =
                fruit_release::Manifest::new(&slot.identity.product, &slot.identity.board, &slot.identity.version)
                    .target_path();
            let known = verified.and_then(|verified| verified.release(&path));
            let digest = known.filter(|r| r.manifest.build_id == slot.identity.build_id).map(|r| r.digest);
            self.found.push(Old { slot, digest });
            return Ok(());
        }
        let verified = verified.ok_or_else(|| {
            Error::input(format!("{text}: no such file, and nothing is published that could have this version"))
        })?;
        let same = |r: &&Published| {
            r.release.version == text
                && like.is_none_or(|like| (&r.release.product, &r.release.board) == (&like.product, &like.board))
        };
        let found: Vec<&Published> = verified.releases.iter().filter(same).collect();
        match found[..] {
            [release] => self.add_release(verified, release),
            [] => Err(Error::input(format!("{text}: no such file, and {}", verified.versions()))),
            _ => Err(Error::input(format!("{text}: several products or boards have this version; name the image"))),
        }
    }

    fn add_release(&mut self, verified: &VerifiedRepository, release: &Published) -> Result<(), Error> {
        // Beside the repository, where there is room; elsewhere if nothing can be written there.
        let mut place = tempfile::Builder::new();
        place.prefix(".fruitbuild-release-");
        let folder = verified.folder.folder();
        let kept = place.tempdir_in(folder).or_else(|_| place.tempdir()).at(folder)?;
        let files = VolumeKind::ALL.map(|kind| kept.path().join(kind.name()));
        let mut folder = verified.folder.clone();
        export::reassemble(&mut folder, release, [&files[0], &files[1]])?;
        let slot = Slot::of_volumes(Identity::of(release), &release.manifest, [&files[0], &files[1]])?;
        self.found.push(Old { slot, digest: Some(release.digest) });
        // The slot holds the files open: without names they are gone with this process, however it ends.
        drop(kept);
        Ok(())
    }
}

impl Identity {
    /// Of a published release.
    pub fn of(release: &Published) -> Identity {
        let Published { release, manifest, .. } = release;
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Identity {
            product: release.product.clone(),
            board: release.board.clone(),
            compatible: release.compatible.clone(),
            architecture: release.architecture.clone(),
            version: release.version.clone(),
            build_id: manifest.build_id.clone(),
            build_time: manifest.build_time,
            epoch: number(release.epoch),
            min_bootloader: number(release.min_bootloader),
            packages: manifest.packages.clone(),
            slot_sizes: manifest.slot_sizes,
            updater: None,
        }
    }
}

fn fits(release: &Published, like: Option<&Identity>) -> bool {
    like.is_none_or(|like| is_other_of(&Identity::of(release), like))
}

/// Another build for the same nodes.
fn is_other_of(one: &Identity, like: &Identity) -> bool {
    (&one.product, &one.board) == (&like.product, &like.board) && one.build_id != like.build_id
}

fn manifests(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).at(folder)?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.at(folder)?.path();
        if path.to_string_lossy().ends_with(".manifest.json") && path.to_string_lossy().len() > 14 {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
