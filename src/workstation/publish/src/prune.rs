//! Taking releases out of a repository, and clearing away the pieces that none needs.
//!
//! Metadata first: once a release is out of it, no node begins with it. But one may be in the middle of it, or about to
//! fetch the metadata of a minute ago. So a piece that nothing needs any more is noted, with the time, in a file of the
//! repository, and goes when its grace is over.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use fruit_base::{AtPath, PathError};
use fruit_image::draft;
use fruit_release::keys::{Signed, write_atomically};
use fruit_release::manifest::ChunkSource;
use fruit_release::tuf::{Kind, Role, Target};
use fruit_release::{Digest, Folder, Name, Prune};

use super::reference::VerifiedRepository;
use super::trusted::Published;
use crate::error::{Error, told};
use crate::signing::SigningSession;

/// When pieces were first not needed, by name, in seconds since 1970.
const NOTED: &str = ".unneeded.json";

/// The releases of `versions`, and of each product and board all but the newest `keep`.
///
/// # Errors
/// A version that is not there.
pub fn chosen<'s>(
    verified: &'s VerifiedRepository,
    versions: &[String],
    keep: Option<u32>,
) -> Result<Vec<&'s Published>, Error> {
    if let Some(none) = versions.iter().find(|v| !verified.releases.iter().any(|r| &r.manifest.version == *v)) {
        return Err(Error::input(format!("{none}: {}", verified.versions())));
    }
    let same = |a: &Published, b: &Published| {
        (&a.manifest.product, &a.manifest.board) == (&b.manifest.product, &b.manifest.board)
    };
    // They come in the order of versions.
    let newer = |i: usize| verified.releases[i + 1..].iter().filter(|r| same(r, &verified.releases[i])).count();
    let goes = |i: usize| {
        versions.contains(&verified.releases[i].manifest.version) || keep.is_some_and(|keep| newer(i) >= keep as usize)
    };
    Ok(verified.releases.iter().enumerate().filter(|(i, _)| goes(*i)).map(|(_, release)| release).collect())
}

/// Paths of the targets that make a release: itself, and the deltas to it. Deltas that start from it stay: nodes that run
/// it are to leave it.
pub fn target_paths(release: &Published) -> Vec<String> {
    let names = std::iter::once(&release.name).chain(release.deltas.iter().map(|delta| &delta.name));
    let path = |name: &Name| if let Name::Target(_, path) = name { Some(path.clone()) } else { None };
    names.filter_map(path).collect()
}

/// Every piece that `releases` and the `targets` of the metadata need.
///
/// # Errors
/// A release whose file is not there: nobody can say then what it needs.
pub fn needed<'r>(
    verified: &VerifiedRepository,
    targets: impl IntoIterator<Item = &'r Target>,
    releases: &[&Published],
) -> Result<HashSet<Name>, Error> {
    let mut names: HashSet<Name> = verified.trusted.metadata.iter().cloned().collect();
    for target in targets {
        let Some(sha256) = target.sha256() else { continue };
        let name = Name::Target(Digest(*sha256), target.path().to_owned());
        let is_release = target.release().is_ok_and(|release| matches!(release.kind, Kind::Release));
        if is_release && !releases.iter().any(|release| release.name == name) {
            let path = verified.folder.path(&name);
            return Err(Error::other(format!("{}: not there, so what it needs is not known", path.display())));
        }
        names.insert(name);
    }
    for release in releases {
        for (v, volume) in release.manifest.volumes.iter().enumerate() {
            names.extend(volume.chunks.iter().map(|chunk| Name::Chunk(*chunk)));
            for source in release.deltas.iter().flat_map(|delta| &delta.delta.volumes[v]) {
                if let ChunkSource::Patch { patch, .. } = source {
                    names.insert(Name::Patch(*patch));
                }
            }
        }
    }
    Ok(names)
}

/// What is to be taken out, and how.
#[derive(Clone, Copy, Debug)]
pub struct Taking<'o> {
    pub versions: &'o [String],
    /// Newest releases of each product and board that stay.
    pub keep: Option<u32>,
    /// Seconds for which pieces stay that nothing needs any more.
    pub grace: i64,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
}

/// What became of it.
pub struct Taken {
    /// `PRODUCT VERSION for BOARD` of each release.
    pub releases: Vec<String>,
    pub signed: Signed,
    /// None while the change waits for signatures.
    pub cleared: Option<Cleared>,
}

/// Takes releases out of the session's repository, and clears away what none needs.
///
/// # Errors
/// Changes that wait for signatures, versions that are not there, key errors, files that cannot be written or removed.
pub fn take_out(session: &mut SigningSession, taking: Taking<'_>) -> Result<Taken, Error> {
    session.expect_no_draft(&Role::Targets)?;
    let repository = session.folder().to_owned();
    let verified = VerifiedRepository::open(&repository)?;
    let going = chosen(&verified, taking.versions, taking.keep)?;
    let paths: Vec<String> = going.iter().flat_map(|release| target_paths(release)).collect();
    let targets = session.repository.targets()?;
    let until_now = needed(&verified, targets.values(), &verified.releases.iter().collect::<Vec<_>>())?;
    let releases = going.iter().map(|release| release.release.to_string()).collect();
    let changes = !taking.dry_run && !paths.is_empty();
    let mut signed = Signed::default();
    if changes {
        session.repository.remove_targets(&paths, session.now, &session.lifetimes)?;
        signed = session.finish(&BTreeSet::new(), &[Role::Targets])?;
        if !signed.waiting.is_empty() {
            return Ok(Taken { releases, signed, cleared: None });
        }
    }
    // The new metadata is needed as well.
    let after = if changes { &VerifiedRepository::open(&repository)? } else { &verified };
    let staying: Vec<_> = after.releases.iter().filter(|r| !going.iter().any(|g| g.name == r.name)).collect();
    let wanted = needed(after, targets.values().filter(|target| !paths.iter().any(|p| p == target.path())), &staying)?;
    let sweep = Sweep {
        needed: &wanted,
        until_now: &until_now,
        now: session.now.seconds(),
        grace: taking.grace,
        dry_run: taking.dry_run,
    };
    let cleared = sweep.run(&repository)?;
    Ok(Taken { releases, signed, cleared: Some(cleared) })
}

/// What was, or is to be, cleared away.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cleared {
    pub pieces: usize,
    /// Bytes.
    pub size: u64,
    /// Those whose grace is not over.
    pub later_pieces: usize,
    pub later_size: u64,
}

/// How to clear away.
pub struct Sweep<'n> {
    pub needed: &'n HashSet<Name>,
    /// What was needed until now: its grace begins anew, whatever was noted before.
    pub until_now: &'n HashSet<Name>,
    /// Seconds since 1970, and of grace.
    pub now: i64,
    pub grace: i64,
    pub dry_run: bool,
}

impl Sweep<'_> {
    /// Removes pieces of the repository at `folder` that are not needed. Files that are no pieces stay.
    ///
    /// # Errors
    /// File system errors with the path.
    pub fn run(&self, folder: &Path) -> Result<Cleared, Error> {
        let before = noted(folder)?;
        let (mut cleared, mut notes, mut gone) = (Cleared::default(), BTreeMap::new(), Vec::new());
        let mut store = Folder::new(folder);
        for held in store.held().map_err(told)? {
            let Some(name) = &held.name else {
                // Whoever clears away has the repository's lock: nobody is writing it any more.
                cleared.pieces += 1;
                cleared.size += held.size;
                gone.push(held);
                continue;
            };
            // Roots lead from whatever a node trusts to what is trusted today.
            let stays = matches!(name, Name::Root(_) | Name::Timestamp) || self.needed.contains(name);
            if stays {
                continue;
            }
            let text = name.to_string();
            let earlier = before.get(&text).filter(|_| !self.until_now.contains(name));
            let since = earlier.copied().unwrap_or(self.now).min(self.now);
            if self.now - since >= self.grace {
                cleared.pieces += 1;
                cleared.size += held.size;
                gone.push(held);
            } else {
                cleared.later_pieces += 1;
                cleared.later_size += held.size;
                notes.insert(text, since);
            }
        }
        if !self.dry_run {
            note(folder, &notes)?;
            for held in gone {
                store.remove(&held).map_err(told)?;
            }
        }
        Ok(cleared)
    }
}

fn noted(folder: &Path) -> Result<BTreeMap<String, i64>, Error> {
    let path = folder.join(NOTED);
    match fs::read(&path) {
        // Without it every grace begins anew.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(PathError::new(&path, error).into()),
    }
}

fn note(folder: &Path, notes: &BTreeMap<String, i64>) -> Result<(), Error> {
    let path = folder.join(NOTED);
    if notes.is_empty() {
        return Ok(draft::remove_if_there(&path).at(&path)?);
    }
    let json = serde_json::to_vec(notes).map_err(|error| Error::other(error.to_string()))?;
    Ok(write_atomically(&path, &json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn folder(names: &[&Name]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name.to_string());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "piece").unwrap();
        }
        folder
    }

    #[test]
    fn a_piece_that_nothing_needs_goes_when_its_grace_is_over() {
        let chunk = |text: &str| Name::Chunk(Digest::of(text.as_bytes()));
        let (used, unused, root) = (chunk("used"), chunk("unused"), Name::Root(1));
        let (old, new) = (Name::Targets(1), Name::Targets(2));
        let folder = folder(&[&used, &unused, &root, &old, &new, &Name::Timestamp]);
        fs::write(folder.path().join("blobs/README"), "not ours").unwrap();
        let needed = HashSet::from([used.clone(), new.clone()]);
        let until_now = HashSet::new();
        let sweep = |day: i64, dry_run: bool| {
            let sweep = Sweep { needed: &needed, until_now: &until_now, now: day * DAY, grace: 7 * DAY, dry_run };
            sweep.run(folder.path()).unwrap()
        };
        let has = |name: &Name| folder.path().join(name.to_string()).exists();
        let later = Cleared { later_pieces: 2, later_size: 10, ..Cleared::default() };
        let gone = Cleared { pieces: 2, size: 10, ..Cleared::default() };
        for (day, dry_run) in [(100, true), (100, false), (106, false)] {
            assert_eq!(sweep(day, dry_run), later);
        }
        assert_eq!(sweep(107, true), gone);
        assert!(has(&unused) && has(&old));
        assert_eq!(sweep(107, false), gone);
        assert!(!has(&unused) && !has(&old));
        assert!(has(&used) && has(&new) && has(&root) && has(&Name::Timestamp));
        assert!(folder.path().join("blobs/README").exists() && !folder.path().join(NOTED).exists());
    }

    #[test]
    fn what_a_killed_command_was_writing_goes_at_once() {
        let chunk = Name::Chunk(Digest::of(b"x"));
        let folder = folder(&[&chunk]);
        let path = folder.path().join(chunk.to_string());
        let of = |end: &str| path.with_file_name(format!(".{}.{end}", path.file_name().unwrap().to_string_lossy()));
        let (left, others) = ([of("part"), of("new")], path.with_file_name(".notes.part"));
        for left in &left {
            fs::write(left, "half").unwrap();
        }
        fs::write(&others, "not ours").unwrap();
        let (needed, none) = (HashSet::from([chunk]), HashSet::new());
        let sweep = Sweep { needed: &needed, until_now: &none, now: 0, grace: DAY, dry_run: true };
        let expected = Cleared { pieces: 2, size: 8, ..Cleared::default() };
        assert_eq!(sweep.run(folder.path()).unwrap(), expected);
        assert!(left.iter().all(|left| left.exists()));
        assert_eq!(Sweep { dry_run: false, ..sweep }.run(folder.path()).unwrap(), expected);
        assert!(!left.iter().any(|left| left.exists()) && others.exists() && path.exists());
    }

    #[test]
    fn what_was_needed_until_now_has_its_whole_grace() {
        let chunk = Name::Chunk(Digest::of(b"x"));
        let folder = folder(&[&chunk]);
        note(folder.path(), &BTreeMap::from([(chunk.to_string(), 0)])).unwrap();
        let (needed, until_now) = (HashSet::new(), HashSet::from([chunk.clone()]));
        let sweep = Sweep { needed: &needed, until_now: &until_now, now: 100 * DAY, grace: DAY, dry_run: false };
        assert_eq!(sweep.run(folder.path()).unwrap().later_pieces, 1);
        assert_eq!(noted(folder.path()).unwrap()[&chunk.to_string()], 100 * DAY);
        // A note of the future, by a clock that was wrong, holds nothing up for longer than the grace.
        note(folder.path(), &BTreeMap::from([(chunk.to_string(), 900 * DAY)])).unwrap();
        let none = HashSet::new();
        let next = Sweep { until_now: &none, now: 101 * DAY, ..sweep };
        assert_eq!(next.run(folder.path()).unwrap().later_pieces, 1);
        assert_eq!(Sweep { now: 102 * DAY, ..next }.run(folder.path()).unwrap().pieces, 1);
    }
}
