//! Pieces of releases on this machine: folders that it hands on, what the updater has verified, and a cache with a bound.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fruit_base::Sha256;
use fruit_release::Source;
use fruit_release::folder::Folder;
use fruit_release::name::Name;
use fruit_release::source::Prune;

/// Bytes of metadata that one repository may have in the cache, besides what is bounded.
const METADATA: u64 = 16 << 20;
/// Repositories with metadata in the cache.
const REPOSITORIES: usize = 32;

type Place = (Sha256, Name);

/// Where pieces are.
#[derive(Debug, Default)]
pub struct Pieces {
    served: Vec<PathBuf>,
    shared: Option<PathBuf>,
    cache: Option<Cache>,
}

#[derive(Debug)]
struct Cache {
    folder: PathBuf,
    most: u64,
    bytes: u64,
    /// When each was last used, and its size; and the other way round.
    held: BTreeMap<Place, (u64, u64)>,
    by_use: BTreeMap<u64, Place>,
    uses: u64,
}

impl Pieces {
    /// `served`: repositories as `fruitbuild publish` writes them. `shared`: a folder of repositories by their ids. `cache`:
    /// folder and bytes at most; what is in it is taken over.
    #[must_use]
    pub fn open(served: Vec<PathBuf>, shared: Option<PathBuf>, cache: Option<(PathBuf, u64)>) -> Pieces {
        Pieces { served, shared, cache: cache.map(|(folder, most)| Cache::open(folder, most)) }
    }

    /// Ids of the repositories that are handed on from folders. A folder may get its first release at any time.
    #[must_use]
    pub fn repositories(&self) -> Vec<Sha256> {
        self.served.iter().filter_map(|folder| id(folder)).collect()
    }

    /// The folders that are handed on from now on.
    pub fn serve(&mut self, folders: Vec<PathBuf>) {
        self.served = folders;
    }

    fn folders(&self, repository: &Sha256) -> Vec<PathBuf> {
        let cached = self.cache.iter().map(|cache| cache.folder.join(repository.to_string()));
        let served = self.served.iter().filter(|folder| id(folder) == Some(*repository)).cloned();
        cached.chain(served).chain(self.shared.iter().map(|shared| shared.join(repository.to_string()))).collect()
    }

    #[must_use]
    pub fn has(&self, repository: &Sha256, name: &Name) -> bool {
        self.folders(repository).into_iter().any(|folder| Folder::new(folder).has(name))
    }

    /// The piece, if it is here.
    pub fn find(&mut self, repository: &Sha256, name: &Name) -> Option<Vec<u8>> {
        let folders = self.folders(repository);
        let found = folders.into_iter().find_map(|folder| Folder::new(folder).get(name, name.limit()).ok().flatten());
        if let (Some(cache), Some(_)) = (&mut self.cache, &found) {
            cache.used(&(*repository, name.clone()));
        }
        found
    }

    /// As [`Pieces::find`], of all places but the cache: metadata that may be newer than what is verified.
    #[must_use]
    pub fn find_outside(&self, repository: &Sha256, name: &Name) -> Vec<Vec<u8>> {
        let outside = self.folders(repository).into_iter().skip(usize::from(self.cache.is_some()));
        outside.filter_map(|folder| Folder::new(folder).get(name, name.limit()).ok().flatten()).collect()
    }

    /// Keeps a piece that was verified, if there is a cache. A disk that is full costs the others nothing but this piece.
    pub fn keep(&mut self, repository: &Sha256, name: &Name, bytes: &[u8]) {
        if let Some(cache) = &mut self.cache {
            cache.keep(repository, name, bytes);
        }
    }

    /// Pieces in the cache, and their bytes.
    #[must_use]
    pub fn cached(&self) -> (u64, u64) {
        self.cache.as_ref().map_or((0, 0), |cache| (cache.held.len() as u64, cache.bytes))
    }
}

/// The id of the repository in a folder.
fn id(folder: &Path) -> Option<Sha256> {
    let name = Name::Root(1);
    let bytes = Folder::new(folder).get(&name, name.limit()).ok()??;
    Some(fruit_release::local::repository_id(&bytes))
}

impl Cache {
    fn open(folder: PathBuf, most: u64) -> Cache {
        let (held, by_use) = (BTreeMap::new(), BTreeMap::new());
        let mut cache = Cache { folder, most, bytes: 0, held, by_use, uses: 0 };
        let entries = fs::read_dir(&cache.folder).into_iter().flatten().flatten();
        let ids: Vec<Sha256> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        for id in ids {
            let folder = Folder::new(cache.folder.join(id.to_string()));
            for held in folder.held().unwrap_or_default() {
                match held.name {
                    Some(name) if !name.is_metadata() => cache.note(&(id, name), held.size),
                    Some(_) => {}
                    // What a crash left.
                    None => {
                        let _ = fs::remove_file(folder.folder().join(&held.path));
                    }
                }
            }
        }
        cache.shrink(0);
        cache
    }

    fn note(&mut self, place: &Place, size: u64) {
        self.uses += 1;
        if let Some((last, old)) = self.held.insert(place.clone(), (self.uses, size)) {
            self.by_use.remove(&last);
            self.bytes = self.bytes.saturating_sub(old);
        }
        self.by_use.insert(self.uses, place.clone());
        self.bytes += size;
    }

    fn used(&mut self, place: &Place) {
        if let Some((_, size)) = self.held.get(place).copied() {
            self.note(place, size);
        }
    }

    /// Makes room for so many bytes: what was not used for longest goes.
    fn shrink(&mut self, room: u64) {
        while self.bytes + room > self.most {
            let Some((_, place)) = self.by_use.pop_first() else { break };
            if let Some((_, size)) = self.held.remove(&place) {
                self.bytes = self.bytes.saturating_sub(size);
            }
            let (repository, name) = place;
            let _ = fs::remove_file(Folder::new(self.folder.join(repository.to_string())).path(&name));
        }
    }

    fn keep(&mut self, repository: &Sha256, name: &Name, bytes: &[u8]) {
        let size = bytes.len() as u64;
        let folder = Folder::new(self.folder.join(repository.to_string()));
        if name.is_metadata() {
            self.keep_metadata(&folder, name, bytes);
        } else if size <= self.most {
            self.shrink(size);
            if folder.put(name, bytes).is_ok() {
                self.note(&(*repository, name.clone()), size);
            }
        }
    }

    /// Metadata is small and stays, but for old versions of what has newer ones.
    fn keep_metadata(&self, folder: &Folder, name: &Name, bytes: &[u8]) {
        let repositories = fs::read_dir(&self.folder).into_iter().flatten().count();
        if repositories >= REPOSITORIES && !folder.folder().exists() {
            return;
        }
        let held = folder.held().unwrap_or_default();
        let metadata = held.iter().filter(|held| held.name.as_ref().is_some_and(Name::is_metadata));
        let size: u64 = metadata.clone().map(|held| held.size).sum();
        for old in metadata {
            let outdated = match (&old.name, name) {
                (Some(Name::Snapshot(old)), Name::Snapshot(new)) => old < new,
                (Some(Name::Targets(old)), Name::Targets(new)) => old < new,
                _ => false,
            };
            if outdated {
                let _ = fs::remove_file(folder.folder().join(&old.path));
            }
        }
        if size + bytes.len() as u64 <= METADATA {
            let _ = folder.put(name, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(n: u8) -> (Name, Vec<u8>) {
        let bytes = vec![n; 1000];
        (Name::Patch(Sha256::of(&bytes)), bytes)
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Pieces::open(Vec::new(), None, Some((folder.path().to_owned(), 3500)));
        let mut pieces = open();
        let id = Sha256([1; 32]);
        for n in 0..3 {
            let (name, bytes) = chunk(n);
            pieces.keep(&id, &name, &bytes);
        }
        assert!(pieces.find(&id, &chunk(0).0).is_some());
        let (name, bytes) = chunk(3);
        pieces.keep(&id, &name, &bytes);
        assert!(!pieces.has(&id, &chunk(1).0) && pieces.has(&id, &chunk(0).0));
        assert_eq!(pieces.cached(), (3, 3000));
        // A restart takes it over, a bound that was lowered holds at once.
        assert_eq!(open().cached(), (3, 3000));
        assert_eq!(Pieces::open(Vec::new(), None, Some((folder.path().to_owned(), 1500))).cached(), (1, 1000));
    }

    #[test]
    fn old_metadata_goes_and_the_latest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut pieces = Pieces::open(Vec::new(), None, Some((folder.path().to_owned(), 1000)));
        let id = Sha256([1; 32]);
        for version in 1..5 {
            pieces.keep(&id, &Name::Root(version), b"root");
            pieces.keep(&id, &Name::Targets(version), b"targets");
        }
        assert!((1..5).all(|version| pieces.has(&id, &Name::Root(version))));
        assert!(pieces.has(&id, &Name::Targets(4)) && !pieces.has(&id, &Name::Targets(3)));
    }
}
