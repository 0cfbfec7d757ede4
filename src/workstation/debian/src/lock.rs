//! `recipes/NAME.lock`: every package of an image, pinned by version, size and hash, with the repository states it
//! came from. JSON, sorted, one field per line, so that a change of it reads well in a diff.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fruit_base::AtPath;
use serde::{Deserialize, Serialize};

use crate::containers::LockedContainer;
use crate::date;
use crate::download::LockedDownload;
use crate::error::{Error, Result};
use crate::index::{Offer, is_clean_path};
pub use crate::locked::{LockedPackage, LockedPython, LockedRepository, LockedTwin, LockedWheel};
use crate::mirror::Mirrors;
use crate::progress::Progress;
use crate::relation::is_package_name;
use crate::release::Vouched;
use crate::request::{Reason, Request};
use crate::resolve::Resolution;
use crate::store::{Store, Wanted};
use crate::universe::Universe;
use crate::version::Version;

/// Raised when an older program could not use a newer lock.
const FORMAT: u32 = 1;

/// Largest lock read, in bytes; one of 2000 packages has 1 MB.
const MAX_LOCK: u64 = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    format: u32,
    pub architecture: String,
    /// What was asked for. A recipe that asks for something else needs another lock.
    pub request: Request,
    pub repositories: Vec<LockedRepository>,
    /// In order of the name.
    pub packages: Vec<LockedPackage>,
    /// Files that come by their address, in order of the recipe's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub downloads: Vec<LockedDownload>,
    /// What maintainer scripts run over, one for each architecture of workstations that ran them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub twins: Vec<LockedTwin>,
    /// Container images, in order of the recipe's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<LockedContainer>,
    /// Python wheels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<LockedPython>,
}

impl Lock {
    /// Pins what was resolved. Packages of which the repository says only the SHA-512 are fetched into the store, because a
    /// lock names packages by SHA-256.
    ///
    /// # Errors
    /// As [`Store::ensure`], for such packages.
    pub fn new(
        request: &Request,
        universe: &Universe,
        resolution: &Resolution<'_>,
        store: &Store,
        mirrors: &Mirrors,
        progress: &dyn Progress,
    ) -> Result<Lock> {
        let repositories = universe.repositories().to_vec();
        let archive = |offer: &Offer| repositories.get(offer.repository).map(|r| r.archive.clone()).unwrap_or_default();
        let offers = resolution.packages.iter().map(|resolved| resolved.offer);
        let by_sha512 = offers.filter(|offer| offer.digest.sha256().is_none()).map(|offer| Wanted {
            shown: format!("{}_{}_{}.deb", offer.name, offer.version, offer.architecture),
            archive: archive(offer),
            paths: vec![offer.path.to_string()],
            vouched: Vouched { size: offer.size, digest: offer.digest },
            extension: "deb",
        });
        let computed = store.sha256_of(&by_sha512.collect::<Vec<_>>(), mirrors, progress)?;
        let packages = resolution.packages.iter().map(|resolved| {
            let offer = resolved.offer;
            let sha256 = offer.digest.sha256().or_else(|| computed.get(&offer.digest).copied());
            Ok(LockedPackage {
                name: offer.name.to_string(),
                version: offer.version.clone(),
                architecture: offer.architecture.to_string(),
                archive: archive(offer),
                path: offer.path.to_string(),
                size: offer.size,
                sha256: sha256.ok_or_else(|| Error::format(&*offer.path, "its SHA-256 is not known"))?,
                sha512: offer.digest.sha512(),
                section: offer.section.to_string(),
                priority: offer.priority,
                reason: resolved.reason.clone(),
            })
        });
        Ok(Lock {
            format: FORMAT,
            architecture: universe.architecture().to_owned(),
            request: request.clone(),
            packages: packages.collect::<Result<_>>()?,
            repositories,
            downloads: Vec::new(),
            python: None,
            twins: Vec::new(),
            containers: Vec::new(),
        })
    }

    /// # Errors
    /// A file that cannot be read, or is not a lock of this format; with line and column.
    pub fn load(path: &Path) -> Result<Lock> {
        let size = fs::metadata(path).at(path)?.len();
        if size > MAX_LOCK {
            return Err(Error::Lock { path: path.to_owned(), why: format!("has {size} bytes, more than {MAX_LOCK}") });
        }
        let text = fs::read_to_string(path).at(path)?;
        Lock::parse(&text).map_err(|why| Error::Lock { path: path.to_owned(), why })
    }

    /// # Errors
    /// In words: what is wrong with the text.
    pub fn parse(text: &str) -> Result<Lock, String> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let remedy = "write it anew with `fruitbuild lock`";
        if text.contains("\n<<<<<<< ") {
            return Err(format!("has conflict markers of a merge; {remedy}"));
        }
        let head: Head = serde_json::from_str(text).map_err(|e| format!("is not a lock: {e}; {remedy}"))?;
        if head.format != FORMAT {
            return Err(format!("is of format {}; this program knows {FORMAT}", head.format));
        }
        let lock: Lock = serde_json::from_str(text).map_err(|e| format!("is not a lock: {e}; {remedy}"))?;
        check_packages(&lock.packages, remedy)?;
        for twin in &lock.twins {
            check_packages(&twin.packages, remedy)?;
            let mut names = twin.tools.iter().chain(&twin.configured).chain([&twin.architecture]);
            if let Some(name) = names.find(|name| !is_package_name(name)) {
                return Err(format!("twin: {name:?} is not a name; {remedy}"));
            }
        }
        Ok(lock)
    }

    /// What maintainer scripts run over on a workstation of this architecture.
    pub fn twin(&self, architecture: &str) -> Option<&LockedTwin> {
        self.twins.iter().find(|twin| twin.architecture == architecture)
    }

    pub fn to_text(&self) -> String {
        // Serialization of these types has nothing that can fail: string keys, no foreign code.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Writes the lock under its name only when whole.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(fruit_base::replace(path, self.to_text().as_bytes()).at(path)?)
    }

    /// When the newest of the repositories' states was made, in seconds since 1970-01-01 UTC: the date of an image
    /// built from this lock.
    pub fn date(&self) -> i64 {
        self.repositories.iter().filter_map(|r| date::parse(&r.date)).max().unwrap_or(0)
    }

    pub fn package(&self, name: &str) -> Option<&LockedPackage> {
        let at = self.packages.binary_search_by(|p| p.name.as_str().cmp(name)).ok()?;
        Some(&self.packages[at])
    }

    /// The versions, to be kept in another resolution.
    pub fn pins(&self) -> BTreeMap<String, Version> {
        self.packages.iter().map(|p| (p.name.clone(), p.version.clone())).collect()
    }

    /// The chain of reasons from something requested to `name`, each package with why it is there; empty when the
    /// lock has no such package.
    pub fn why(&self, name: &str) -> Vec<&LockedPackage> {
        let mut chain = Vec::new();
        let mut next = self.package(name);
        while let Some(package) = next {
            chain.push(package);
            next = match &package.reason {
                Reason::Needed { by, .. } if chain.len() <= self.packages.len() => self.package(by),
                _ => None,
            };
        }
        chain.reverse();
        chain
    }

    /// What changed from `before` to this lock, in order of the name.
    pub fn changes_since(&self, before: &Lock) -> Vec<Change> {
        let old: BTreeMap<&str, &LockedPackage> = before.packages.iter().map(|p| (p.name.as_str(), p)).collect();
        let new: BTreeMap<&str, &LockedPackage> = self.packages.iter().map(|p| (p.name.as_str(), p)).collect();
        let names: std::collections::BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        let change = |name: &&str| {
            let (old, new) = (old.get(name).copied(), new.get(name).copied());
            let kind = match (old, new) {
                (Some(old), Some(new)) if old.sha256 == new.sha256 => return None,
                (Some(old), Some(new)) => match new.version.cmp(&old.version) {
                    std::cmp::Ordering::Greater => ChangeKind::Upgraded,
                    std::cmp::Ordering::Less => ChangeKind::Downgraded,
                    std::cmp::Ordering::Equal => ChangeKind::Rebuilt,
                },
                (None, _) => ChangeKind::Added,
                (_, None) => ChangeKind::Removed,
            };
            let side = |p: Option<&LockedPackage>| p.map(|p| Side { version: p.version.clone(), size: p.size });
            Some(Change { name: (*name).to_owned(), kind, old: side(old), new: side(new) })
        };
        names.iter().filter_map(change).collect()
    }
}

fn check_packages(packages: &[LockedPackage], remedy: &str) -> Result<(), String> {
    let mut before: Option<&str> = None;
    for package in packages {
        let name = &package.name;
        if !is_package_name(name) || !is_clean_path(&package.path) {
            return Err(format!("package {name:?}: the name or the path {:?} is not one", package.path));
        }
        if before.is_some_and(|before| before >= name.as_str()) {
            return Err(format!("package {name:?} is there twice or out of order; {remedy}"));
        }
        before = Some(name);
    }
    Ok(())
}

/// One row of the table that compares two locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub name: String,
    pub kind: ChangeKind,
    pub old: Option<Side>,
    pub new: Option<Side>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    pub version: Version,
    /// Bytes of the .deb file.
    pub size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Added,
    Removed,
    Upgraded,
    Downgraded,
    /// The same version with other contents.
    Rebuilt,
}
