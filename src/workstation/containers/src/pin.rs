//! From what a recipe names to a pinned image, and from there to its files in the store.

use std::path::PathBuf;

use fruit_debian::{LockedBlob, LockedContainer, LockedDownload, Progress, Store};

use crate::archive::Opened;
use crate::error::{Error, Result};
use crate::image::{Document, MAX_TEXT, Parts, Platform, choose, configuration, read};
use crate::registry::{Registries, Repository};
use crate::stored::bytes_of;

/// Indices within indices that are followed.
const MAX_INDICES: usize = 4;

/// An image that a recipe names.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The recipe's name of it.
    pub name: String,
    /// The reference as the recipe has it.
    pub image: Option<String>,
    /// The archive as the recipe has it.
    pub archive: Option<String>,
    pub origin: Origin,
}

/// Where an image comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    Registry {
        registry: String,
        repository: String,
        tag: Option<String>,
        digest: Option<String>,
    },
    /// A file, or the folder of an OCI layout; and which of its images, if there are several.
    Archive {
        path: PathBuf,
        image: Option<String>,
    },
}

/// What images are pinned for, and with.
#[derive(Clone, Copy)]
struct Pinning<'a> {
    platform: Platform,
    store: &'a Store,
    registries: &'a Registries,
    progress: &'a dyn Progress,
}

/// Pins images. Of registries, those that `kept` has stay as they are; archives are looked into each time, for nobody says that they
/// have changed.
///
/// # Errors
/// An image that is not to be had, is not for `platform`, is damaged or hostile.
pub fn pin(
    wanted: &[Wanted],
    kept: &[LockedContainer],
    platform: Platform,
    store: &Store,
    registries: &Registries,
    progress: &dyn Progress,
) -> Result<Vec<LockedContainer>> {
    let pinning = Pinning { platform, store, registries, progress };
    wanted.iter().map(|one| pinning.one(one, kept.iter().find(|old| answers(one, old)))).collect()
}

fn answers(wanted: &Wanted, locked: &LockedContainer) -> bool {
    wanted.name == locked.name && wanted.image == locked.image && wanted.archive == locked.archive
}

/// Fetches what the store lacks of locked images, by their digests: what a tag means by now does not count.
///
/// # Errors
/// A file that is not to be had any longer; offline, one that is not in the store.
pub fn ensure(
    wanted: &[Wanted],
    locked: &[LockedContainer],
    store: &Store,
    registries: &Registries,
    progress: &dyn Progress,
) -> Result<()> {
    for locked in locked {
        let lacking: Vec<LockedDownload> =
            locked.blobs().map(|blob| locked.file(blob)).filter(|file| !store.has_download(file)).collect();
        let Some(first) = lacking.first() else { continue };
        let wanted = wanted.iter().find(|one| answers(one, locked));
        let Some(Wanted { origin: Origin::Registry { registry, repository, .. }, .. }) = wanted else {
            return Err(Error::image(&first.name, "is not in the archive any longer; refresh the lock"));
        };
        if store.is_offline() {
            let missing = lacking.into_iter().map(|file| file.name).collect();
            return Err(fruit_debian::Error::Offline { store: store.root().to_owned(), missing }.into());
        }
        let repository = registries.repository(registry, repository, store, progress);
        manifest_of(locked, store, &repository)?;
        for blob in [&locked.config].into_iter().chain(&locked.layers) {
            repository.blob(&locked.file(blob), blob)?;
        }
    }
    Ok(())
}

fn manifest_of(locked: &LockedContainer, store: &Store, repository: &Repository<'_>) -> Result<()> {
    if !store.has_download(&locked.file(&locked.manifest)) {
        let bytes = repository.manifest(&format!("sha256:{}", locked.manifest.sha256))?;
        store.import(&mut bytes.as_slice(), MAX_TEXT, &locked.name)?;
    }
    Ok(())
}

impl Pinning<'_> {
    fn one(&self, wanted: &Wanted, kept: Option<&LockedContainer>) -> Result<LockedContainer> {
        let label = wanted.image.as_ref().or(wanted.archive.as_ref()).unwrap_or(&wanted.name);
        match &wanted.origin {
            Origin::Registry { registry, repository, tag, digest } => {
                if let Some(kept) = kept {
                    return Ok(kept.clone());
                }
                if self.store.is_offline() {
                    let missing = vec![label.clone()];
                    return Err(fruit_debian::Error::Offline { store: self.store.root().to_owned(), missing }.into());
                }
                let from = self.registries.repository(registry, repository, self.store, self.progress);
                let reference = digest.as_deref().or(tag.as_deref()).unwrap_or("latest");
                let top = from.manifest(reference)?;
                let get = |blob: &LockedBlob| from.manifest(&format!("sha256:{}", blob.sha256));
                let (manifest, parts) = self.manifest(top, get, label)?;
                let locked = self.locked(wanted, &manifest, parts, label)?;
                from.blob(&locked.file(&locked.config), &locked.config)?;
                self.check(&locked, label)?;
                self.progress.note(&format!("{label}: pinned, sha256:{}", locked.manifest.sha256));
                Ok(locked)
            }
            Origin::Archive { path, image } => {
                let opened = Opened::open(path, image.as_deref(), self.store)?;
                let (manifest, parts) = opened.image(self.store, self.platform)?;
                let locked = self.locked(wanted, &manifest, parts, label)?;
                self.check(&locked, label)?;
                Ok(locked)
            }
        }
    }

    /// The manifest for the platform, from what the recipe's reference gives.
    fn manifest(
        &self,
        top: Vec<u8>,
        get: impl Fn(&LockedBlob) -> Result<Vec<u8>>,
        label: &str,
    ) -> Result<(Vec<u8>, Parts)> {
        let mut bytes = top;
        for _ in 0..MAX_INDICES {
            match read(&bytes, label)? {
                Document::Manifest(parts) => return Ok((bytes, parts)),
                Document::Index(index) => bytes = get(&choose(&index, self.platform, label)?)?,
            }
        }
        Err(Error::image(label, "has indices within indices"))
    }

    fn locked(&self, wanted: &Wanted, manifest: &[u8], parts: Parts, label: &str) -> Result<LockedContainer> {
        let (size, sha256) = self.store.import(&mut &*manifest, MAX_TEXT, label)?;
        Ok(LockedContainer {
            name: wanted.name.clone(),
            image: wanted.image.clone(),
            archive: wanted.archive.clone(),
            manifest: LockedBlob { size, sha256 },
            config: parts.config,
            layers: parts.layers,
        })
    }

    /// That the configuration is one for the platform is known before an image is locked.
    fn check(&self, locked: &LockedContainer, label: &str) -> Result<()> {
        let bytes = bytes_of(locked, &locked.config, self.store)?;
        configuration(&bytes, self.platform, locked.layers.len(), label).map(drop)
    }
}
