//! Repositories of releases that this machine hands on to the fleet's nodes: folders as `fruitbuild publish` writes them.

use super::{at, opened::file, usage};
use crate::failure::{Code, Failure};
use fruit_base::{Replace, Sha256, replace_with};
use fruit_release::Source;
use fruit_release::folder::Folder;
use fruit_release::manifest::Manifest;
use fruit_release::name::Name;
use fruit_release::tuf::{Clock, Kind, Time, Trust};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// In the fleet's folder.
pub const REPOSITORIES: &str = "repositories.json";
/// Bytes of it, and repositories in it.
const LIMIT: u64 = 1 << 20;
const MOST: usize = 32;

/// The repositories that are handed on.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Repositories(Vec<PathBuf>);

impl Repositories {
    pub fn read(fleet: &Path) -> Result<Repositories, Failure> {
        let path = fleet.join(REPOSITORIES);
        if let Err(error) = std::fs::metadata(&path)
            && error.kind() == ErrorKind::NotFound
        {
            return Ok(Repositories::default());
        }
        let wrong = |why: String| Failure::new(Code::Refused, format!("{}: {why}; remove the file", path.display()));
        serde_json::from_slice(&file(&path, LIMIT)?).map_err(|why| wrong(why.to_string()))
    }

    /// The fleet's folder has to be locked.
    pub fn write(&self, fleet: &Path) -> Result<(), Failure> {
        let path = fleet.join(REPOSITORIES);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        replace_with(&path, &text, Replace { mode: 0o600, durable: true }).map_err(at(&path))
    }

    pub fn folders(self) -> Vec<PathBuf> {
        self.0
    }

    pub fn add(&mut self, folder: &Path) -> Result<(), Failure> {
        if !self.0.iter().any(|known| known == folder) {
            if self.0.len() >= MOST {
                return Err(usage(format!("{MOST} repositories are handed on already: drop one of them first")));
            }
            self.0.push(folder.to_owned());
            self.0.sort();
        }
        Ok(())
    }

    /// Whether it was there.
    pub fn remove(&mut self, folder: &Path) -> bool {
        let before = self.0.len();
        self.0.retain(|known| known != folder);
        self.0.len() < before
    }
}

/// A release in a repository.
pub struct Release {
    pub product: String,
    pub board: String,
    pub version: String,
    /// What a node fetches that has no older one: its description, and all chunks.
    pub pieces: Vec<Name>,
}

/// A repository, as its verified metadata says.
pub struct Repository {
    pub folder: PathBuf,
    /// SHA-256 of its first root metadata.
    pub id: Sha256,
    pub releases: Vec<Release>,
}

impl Repository {
    /// Opens and verifies the repository in a folder. `now`: seconds since 1970, by which metadata may have expired.
    pub fn open(folder: &Path, now: u64) -> Result<Repository, Failure> {
        let shown = folder.display();
        let mut source = Folder::new(folder);
        let mut get = |name: &Name, limit: u64| {
            source.get(name, limit).map_err(|error| Failure::new(Code::Refused, error.to_string()))
        };
        let none = || {
            usage(format!("{shown}: there is no repository of releases in this folder: `fruitbuild publish` makes one"))
        };
        let root = if folder.is_dir() { get(&Name::Root(1), Name::Root(1).limit())? } else { None };
        let root = root.ok_or_else(none)?;
        let untrusted = |error: fruit_release::tuf::Error| Failure::new(Code::Untrusted, format!("{shown}: {error}"));
        let mut trust = Trust::from_root(&root).map_err(untrusted)?;
        let clock = Clock::Trusted(Time::from_seconds(i64::try_from(now).unwrap_or(i64::MAX)));
        let mut refresh = trust.refresh(clock);
        while let Some(want) = refresh.want() {
            let name = want.name.parse::<Name>();
            let name = name.map_err(|_| usage(format!("{shown}: {:?} is no name of metadata", want.name)))?;
            refresh.give(get(&name, want.limit)?.as_deref()).map_err(untrusted)?;
        }
        let mut releases = Vec::new();
        for target in trust.targets(&clock).map_err(untrusted)? {
            let Ok(release) = target.release() else { continue };
            let (Kind::Release, Ok(name)) = (&release.kind, trust.file_of(&target).parse::<Name>()) else { continue };
            let bytes = get(&name, name.limit())?;
            let bytes = bytes.ok_or_else(|| Failure::new(Code::Refused, format!("{shown}: {name} is missing")))?;
            let content = target.accept(bytes).map_err(untrusted)?;
            let wrong = |why: String| Failure::new(Code::Refused, format!("{shown}: {name}: {why}"));
            let manifest = content.read(Manifest::read).map_err(|why| wrong(why.to_string()))?;
            let chunks = manifest.volumes.iter().flat_map(|volume| volume.chunks.iter().map(|hash| Name::Chunk(*hash)));
            let mut pieces: Vec<Name> = chunks.collect();
            pieces.sort();
            pieces.dedup();
            pieces.insert(0, name);
            let (product, board, version) = (release.product.clone(), release.board.clone(), release.version.clone());
            releases.push(Release { product, board, version, pieces });
        }
        releases.sort_by(|a, b| {
            (&a.product, &a.board)
                .cmp(&(&b.product, &b.board))
                .then_with(|| fruit_release::tuf::compare_versions(&a.version, &b.version))
        });
        Ok(Repository { folder: folder.to_owned(), id: fruit_release::local::repository_id(&root), releases })
    }

    /// Products of its releases, each once.
    pub fn products(&self) -> Vec<String> {
        fruit_record::wire::sorted(self.releases.iter().map(|release| release.product.clone()))
    }

    /// The latest release for each product and board.
    pub fn latest(&self) -> Vec<&Release> {
        let is_last = |at: usize| {
            let (one, next) = (&self.releases[at], self.releases.get(at + 1));
            next.is_none_or(|next| (&next.product, &next.board) != (&one.product, &one.board))
        };
        (0..self.releases.len()).filter(|at| is_last(*at)).map(|at| &self.releases[at]).collect()
    }
}
