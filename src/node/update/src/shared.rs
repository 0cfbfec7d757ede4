//! What this node has verified and lets others have: `fruit-peer` hands it on from a folder that it can only read.
//!
//! It is a repository as any: metadata, and of the release that was taken last its manifest, the delta that was used, and what came
//! in pieces. What came from peers is in their own cache already. The folder is bounded, and leaves the disk to others.

use std::io;
use std::path::Path;

use fruit_contract::peer::config::SHARED_PATH;
use fruit_device::journal;
use fruit_release::{Digest, Folder, Name, Prune, Source, SourceError};

use crate::anchor::Anchor;

/// Most bytes of pieces.
const MOST: u64 = 256 << 20;
/// A quarter of the disk stays free, or as much as this.
const FREE: u64 = 1 << 30;

/// The folder of one repository.
pub struct Shared {
    folder: Folder,
    /// Chunks and patches are kept too.
    blobs: bool,
    /// Bytes of pieces, once that was looked at.
    used: Option<u64>,
    told: bool,
}

impl Shared {
    /// `root`: `/`.
    pub fn new(root: &Path, repository: Digest, blobs: bool) -> Shared {
        let folder = root.join(SHARED_PATH.trim_start_matches('/')).join(repository.to_string());
        Shared { folder: Folder::new(folder), blobs, used: None, told: false }
    }

    /// The folder of the repository that `first_root` is of; none where that is not its first root, by which peers know it.
    pub fn of(root: &Path, anchor: &Anchor, first_root: &[u8], blobs: bool) -> Option<Shared> {
        let repository = anchor.repositories().into_iter().find(|id| *id == Digest::of(first_root))?;
        let mut shared = Shared::new(root, repository, blobs);
        shared.keep(&Name::Root(1), first_root);
        Some(shared)
    }

    /// Keeps what was verified, as far as there is room. That a disk is full costs this node nothing.
    pub fn keep(&mut self, name: &Name, bytes: &[u8]) {
        if let Err(error) = self.try_keep(name, bytes)
            && !std::mem::replace(&mut self.told, true)
        {
            journal::warn(&format!("other nodes can't have this from here: {error}"));
        }
    }

    fn try_keep(&mut self, name: &Name, bytes: &[u8]) -> io::Result<()> {
        let blob = matches!(name, Name::Chunk(_) | Name::Patch(_));
        if blob && (!self.blobs || self.folder.has(name) || !self.has_room(bytes.len() as u64)?) {
            return Ok(());
        }
        if !blob && self.folder.get(name, name.limit()).is_ok_and(|held| held.as_deref() == Some(bytes)) {
            return Ok(());
        }
        self.folder.put(name, bytes)?;
        match name {
            Name::Snapshot(_) => self.drop_all(|other| matches!(other, Name::Snapshot(_)) && other != name),
            Name::Targets(_) => self.drop_all(|other| matches!(other, Name::Targets(_)) && other != name),
            Name::Target(_, path) if path.ends_with(".release") => {
                let release = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
                let of = |other: &Name| matches!(other, Name::Target(_, other) if release(other) == release(path));
                if self.held()?.iter().any(|(other, _)| matches!(other, Name::Target(..)) && !of(other)) {
                    self.drop_all(|other| !other.is_metadata() && !of(other))?;
                }
                Ok(())
            }
            _ if blob => {
                self.used = self.used.map(|used| used + bytes.len() as u64);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn held(&self) -> io::Result<Vec<(Name, u64)>> {
        Ok(self.folder.held()?.into_iter().filter_map(|held| Some((held.name?, held.size))).collect())
    }

    fn drop_all(&mut self, which: impl Fn(&Name) -> bool) -> io::Result<()> {
        self.used = None;
        for held in self.folder.held()? {
            // What has no name is what a power cut left of one.
            if held.name.as_ref().is_none_or(&which) {
                self.folder.remove(&held)?;
            }
        }
        Ok(())
    }

    fn has_room(&mut self, len: u64) -> io::Result<bool> {
        let used = match self.used {
            Some(used) => used,
            None => self.held()?.iter().map(|(_, size)| size).sum(),
        };
        self.used = Some(used);
        let disk = rustix::fs::statvfs(self.folder.folder())?;
        let (size, free) = (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize);
        Ok(used + len <= MOST && free.saturating_sub(len) >= (size / 4).min(FREE))
    }
}

/// A source of which others get what was verified.
pub struct Sharing<'s, S> {
    source: S,
    shared: Option<&'s mut Shared>,
}

impl<'s, S: Source> Sharing<'s, S> {
    /// With nowhere to keep it, nobody gets anything.
    pub fn new(source: S, shared: Option<&'s mut Shared>) -> Sharing<'s, S> {
        Sharing { source, shared }
    }
}

impl<S: Source> Source for Sharing<'_, S> {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        self.source.get(name, limit)
    }

    fn place(&self) -> String {
        self.source.place()
    }

    fn is_whole(&self) -> bool {
        self.source.is_whole()
    }

    fn distrust(&mut self) -> bool {
        self.source.distrust()
    }

    fn verified(&mut self, name: &Name, bytes: &[u8]) {
        if let Some(shared) = &mut self.shared {
            shared.keep(name, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_releases_the_last_one_is_kept_and_of_metadata_the_newest() {
        let root = tempfile::tempdir().unwrap();
        let mut shared = Shared::new(root.path(), Digest([1; 32]), true);
        let target = |version: u8, ending: &str| Name::Target(Digest([version; 32]), format!("a-b-{version}/{ending}"));
        let (one, two) = (target(1, "manifest.release"), target(2, "manifest.release"));
        let chunk = Name::Chunk(Digest([9; 32]));
        for name in [&Name::Root(1), &Name::Root(2), &Name::Snapshot(1), &one, &chunk, &Name::Snapshot(2)] {
            shared.keep(name, b"x");
        }
        let has =
            |shared: &Shared, names: &[&Name]| names.iter().map(|name| shared.folder.has(name)).collect::<Vec<_>>();
        let names = [&Name::Root(1), &Name::Root(2), &Name::Snapshot(1), &Name::Snapshot(2), &one, &chunk];
        assert_eq!(has(&shared, &names), [true, true, false, true, true, true]);
        shared.keep(&one, b"x");
        assert!(shared.folder.has(&chunk), "it is the same release still");
        shared.keep(&two, b"x");
        assert_eq!(has(&shared, &[&two, &one, &chunk, &Name::Root(1)]), [true, false, false, true]);
    }

    #[test]
    fn what_peers_have_in_their_cache_is_not_kept_twice_and_a_bound_holds() {
        let root = tempfile::tempdir().unwrap();
        let (chunk, patch) = (Name::Chunk(Digest([9; 32])), Name::Patch(Digest([8; 32])));
        let mut shared = Shared::new(root.path(), Digest([1; 32]), false);
        shared.keep(&chunk, b"x");
        assert!(!shared.folder.has(&chunk));
        let mut shared = Shared::new(root.path(), Digest([1; 32]), true);
        shared.keep(&Name::Timestamp, b"x");
        shared.used = Some(MOST - 1);
        shared.keep(&chunk, b"xx");
        assert!(!shared.folder.has(&chunk));
        shared.keep(&patch, b"x");
        assert!(shared.folder.has(&patch));
    }
}
