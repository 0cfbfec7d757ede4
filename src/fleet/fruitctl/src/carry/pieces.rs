//! Pieces of a repository, from one folder to another one. Metadata is verified from the root on that the repository is named by, each
//! piece by its name; metadata is written last, so that what it lists is there.

use super::stick::{is_file, make};
use crate::failure::{Code, Failure};
use crate::fleet::at;
use fruit_base::Sha256;
use fruit_peer::piece::{Found, check};
use fruit_release::manifest::{ChunkSource, Manifest};
use fruit_release::name::Name;
use fruit_release::tuf::{Clock, Kind, Time, Trust, compare_versions};
use fruit_release::{Delta, Folder, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Bytes that stay free on a medium.
const SPARE: u64 = 64 << 20;
/// Releases and deltas that are looked at: each costs memory.
const TARGETS: usize = 4096;

/// What was copied.
#[derive(Clone, Copy, Default)]
pub struct Copied {
    pub pieces: usize,
    pub bytes: u64,
    /// Pieces that the metadata lists, and that are not there.
    pub missing: usize,
    /// Pieces that are not what their names say.
    pub damaged: usize,
}

impl std::ops::AddAssign for Copied {
    fn add_assign(&mut self, more: Copied) {
        self.pieces += more.pieces;
        self.bytes += more.bytes;
        self.missing += more.missing;
        self.damaged += more.damaged;
    }
}

/// How much may be copied still.
pub struct Room(u64);

impl Room {
    pub fn new(mib: u32) -> Room {
        Room(u64::from(mib) << 20)
    }

    fn take(&mut self, bytes: u64, to: &Path) -> Result<(), Failure> {
        let full = |why: &str| Failure::new(Code::Refused, format!("{}: {why}; what was copied stays", to.display()));
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| full("more pieces than --most allows"))?;
        let free = rustix::fs::statvfs(to).map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize));
        if free < bytes.saturating_add(SPARE) { Err(full("it is nearly full")) } else { Ok(()) }
    }
}

/// Metadata of a repository as far as it was verified, with its files.
struct Metadata {
    trust: Trust,
    files: BTreeMap<Name, Vec<u8>>,
}

/// Whoever passes metadata on refuses nothing because it is old: who installs looks for itself.
fn clock() -> Clock {
    Clock::Unset { built: Time::from_seconds(0), saved: None }
}

/// A piece that is a plain file in plain folders.
fn get(folder: &Path, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut source = Folder::new(folder);
    let path = source.path(name);
    let mut above = path.parent();
    while let Some(folder_above) = above.filter(|above| above.starts_with(folder)) {
        let found = std::fs::symlink_metadata(folder_above);
        if found.is_ok_and(|found| !found.is_dir()) {
            return Err(super::not_plain(folder_above));
        }
        above = folder_above.parent();
    }
    if !is_file(&path)? {
        return Ok(None);
    }
    source.get(name, limit).map_err(|error| Failure::new(Code::Refused, error.to_string()))
}

/// Makes the folders of a piece one by one: none of them may be a link.
fn put(folder: &Path, name: &Name, bytes: &[u8]) -> Result<(), Failure> {
    let path = Folder::new(folder).path(name);
    let below = path.parent().and_then(|above| above.strip_prefix(folder).ok()).unwrap_or(Path::new(""));
    let mut at_folder = folder.to_owned();
    for part in below.components() {
        at_folder.push(part);
        make(&at_folder)?;
    }
    is_file(&path)?;
    Folder::new(folder).put(name, bytes).map_err(|error| at(&path)(error))
}

/// One refresh from a folder. What passes is noted.
fn refresh(metadata: &mut Metadata, folder: &Path) -> Result<(), Failure> {
    let wrong =
        |error: fruit_release::tuf::Error| Failure::new(Code::Untrusted, format!("{}: {error}", folder.display()));
    let mut refresh = metadata.trust.refresh(clock());
    while let Some(want) = refresh.want() {
        let name: Name = want.name.parse().map_err(|_| Failure::new(Code::Untrusted, format!("{:?}", want.name)))?;
        let bytes = get(folder, &name, want.limit)?;
        refresh.give(bytes.as_deref()).map_err(wrong)?;
        if let Some(bytes) = bytes {
            metadata.files.insert(name, bytes);
        }
    }
    Ok(())
}

/// The newest metadata of both folders, if there is any.
fn newest(id: &Sha256, from: &Path, to: &Path) -> Result<Option<Metadata>, Failure> {
    let name = Name::Root(1);
    let root = get(from, &name, name.limit())?.filter(|bytes| Sha256::of(bytes) == *id);
    let Some(root) = root else { return Ok(None) };
    let wrong =
        |error: fruit_release::tuf::Error| Failure::new(Code::Untrusted, format!("{}: {error}", from.display()));
    let trust = Trust::from_root(&root).map_err(wrong)?;
    let mut metadata = Metadata { trust, files: BTreeMap::from([(name, root)]) };
    // What is there counts for as much as it is good: it may be torn, or have been left by anybody.
    let _ = refresh(&mut metadata, to);
    let there = metadata.files.len();
    match refresh(&mut metadata, from) {
        Ok(()) => Ok(Some(metadata)),
        // What is there is newer: there is nothing to be had from here.
        Err(_) if there > 1 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Copies what `to` lacks of the releases that the newest metadata lists; with `verify` also what is there and damaged.
pub fn copy(id: &Sha256, from: &Path, to: &Path, all: bool, verify: bool, room: &mut Room) -> Result<Copied, Failure> {
    let mut done = Copied::default();
    let Some(metadata) = newest(id, from, to)? else { return Ok(done) };
    let listed = listed(&metadata, from, to, all)?;
    // Targets last: a release whose description is there has its pieces.
    let is_target = |name: &&Name| matches!(name, Name::Target(..));
    for name in listed.iter().filter(|name| !is_target(name)).chain(listed.iter().filter(is_target)) {
        let path = Folder::new(to).path(name);
        let is_there = is_file(&path)?;
        if is_there && !verify {
            continue;
        }
        let right =
            |bytes: &Option<Vec<u8>>| bytes.as_ref().is_some_and(|bytes| check(id, name, bytes) == Found::Right);
        if is_there && right(&get(to, name, name.limit()).unwrap_or_default()) {
            continue;
        }
        let Some(bytes) = get(from, name, name.limit())? else {
            done.missing += 1;
            continue;
        };
        if check(id, name, &bytes) != Found::Right {
            done.damaged += 1;
            continue;
        }
        room.take(bytes.len() as u64, to)?;
        put(to, name, &bytes)?;
        done.pieces += 1;
        done.bytes += bytes.len() as u64;
    }
    // In the order in which a reader needs them to be there: what others point to first.
    let order = |name: &Name| match name {
        Name::Root(version) => (0, *version),
        Name::Targets(_) => (1, 0),
        Name::Snapshot(_) => (2, 0),
        _ => (3, 0),
    };
    let mut files: Vec<(&Name, &Vec<u8>)> = metadata.files.iter().collect();
    files.sort_by_key(|(name, _)| order(name));
    for (name, bytes) in files {
        if get(to, name, name.limit()).unwrap_or_default().as_ref() != Some(bytes) {
            put(to, name, bytes)?;
        }
    }
    Ok(done)
}

/// A release that the metadata lists.
struct Release {
    board: (String, String),
    version: String,
    name: Name,
    digest: Sha256,
    manifest: Manifest,
}

/// Names of all pieces that are wanted.
fn listed(metadata: &Metadata, from: &Path, to: &Path, all: bool) -> Result<BTreeSet<Name>, Failure> {
    let wrong = |why: String| Failure::new(Code::Untrusted, format!("{}: {why}", from.display()));
    let (mut releases, mut deltas): (Vec<Release>, Vec<(Name, Vec<u8>)>) = Default::default();
    let targets = metadata.trust.targets(&clock()).map_err(|why| wrong(why.to_string()))?;
    for target in targets.into_iter().take(TARGETS) {
        let Ok(release) = target.release() else { continue };
        let Ok(name) = metadata.trust.file_of(&target).parse::<Name>() else { continue };
        let Name::Target(digest, _) = name else { continue };
        // A folder may have a part of the releases.
        let bytes = match get(from, &name, name.limit())? {
            Some(bytes) => Some(bytes),
            None => get(to, &name, name.limit()).unwrap_or_default(),
        };
        let Some(content) = bytes.and_then(|bytes| target.accept(bytes).ok()) else { continue };
        match &release.kind {
            Kind::Release => {
                let manifest = content.read(Manifest::read).map_err(|why| wrong(format!("{name}: {why}")))?;
                let board = (release.product.clone(), release.board.clone());
                releases.push(Release {
                    board,
                    version: release.version.clone(),
                    name,
                    digest,
                    manifest: (*manifest).clone(),
                });
            }
            Kind::Delta { .. } => deltas.push((name, content.to_vec())),
        }
    }
    releases.sort_by(|a, b| a.board.cmp(&b.board).then_with(|| compare_versions(&a.version, &b.version)));
    let is_last = |at: usize| releases.get(at + 1).is_none_or(|next| next.board != releases[at].board);
    let mut names = BTreeSet::new();
    for release in (0..releases.len()).filter(|at| all || is_last(*at)).map(|at| &releases[at]) {
        names.insert(release.name.clone());
        let chunks = release.manifest.volumes.iter().flat_map(|volume| &volume.chunks);
        names.extend(chunks.map(|digest| Name::Chunk(*digest)));
        for (name, bytes) in &deltas {
            // A delta is for the release that it names.
            let Ok(delta) = Delta::read(bytes, &release.manifest, release.digest) else { continue };
            names.insert(name.clone());
            names.extend(delta.volumes.iter().flatten().filter_map(|source| match source {
                ChunkSource::Patch { patch, .. } => Some(Name::Patch(*patch)),
                _ => None,
            }));
        }
    }
    Ok(names)
}
