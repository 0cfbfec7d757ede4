//! `fruitbuild verify`, and what `inspect` and `diff` show of bundles and repositories.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use fruit_base::AtPath;
use fruit_progress::Progress as _;
use fruit_publish::check::{self, Found};
use fruit_publish::reference::Slots;
use fruit_publish::slot::Slot;
use fruit_publish::trusted::{Published, Trusted, clock, timeless};
use fruit_release::bundle::{self, Stream};
use fruit_release::{Folder, Name, Source};
use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::progress::{Progress, Unit};

/// Whether a path is a bundle or a repository.
pub fn is_release(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == bundle::ENDING) || path.join("metadata").is_dir()
}

/// Whether a word is a bundle, a repository, or, for there is no such file, a published version.
pub fn names_release(path: &Path) -> bool {
    is_release(path) || (!path.exists() && path.components().count() == 1)
}

/// What is to be looked at.
enum Place {
    Repository(Folder),
    Bundle(Stream<BufReader<File>>),
}

impl Place {
    fn open(path: &Path) -> Result<Place, Failure> {
        if path.is_dir() {
            return Ok(Place::Repository(Folder::new(path)));
        }
        let file = File::open(path).at(path)?;
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Place::Bundle(Stream::new(reader, path.display().to_string())))
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Place::Repository(folder) => folder,
            Place::Bundle(stream) => stream,
        }
    }

    /// Checks all blobs: those of a bundle as they come, of a repository those that its releases need.
    fn check(&mut self, releases: &[Published], olds: &[Slot], progress: &Progress) -> Result<Vec<Found>, Failure> {
        let names = check::names(releases);
        let step = progress.step("checking blobs", names.len() as u64, Unit::Pieces);
        let place = self.source().place();
        let found = match self {
            Place::Bundle(stream) => {
                check::releases(&mut || stream.next_entry().map_err(fruit_publish::Error::from), releases, olds, &*step)
            }
            Place::Repository(folder) => {
                let mut names = names.into_iter();
                let mut next = || {
                    for name in names.by_ref() {
                        if let Some(bytes) = folder.get(&name, name.limit())? {
                            return Ok(Some((name, bytes)));
                        }
                    }
                    Ok(None)
                };
                check::releases(&mut next, releases, olds, &*step)
            }
        };
        found.map_err(|error| {
            let failure = Failure::from(error);
            Failure::new(failure.exit, format!("{place}: {failure}"))
        })
    }
}

/// Checks a repository or a bundle as a node would: `fruitbuild verify`.
///
/// # Errors
/// What is not as it was signed, or cannot be read.
pub fn verify(options: &cli::Verify, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let anchor = std::fs::read(&options.root).map_err(|error| {
        let hint = "name the root that nodes trust, 1.root.json of your repository: --root FILE";
        Failure::general(format!("{}: {error}; {hint}", options.root.display()))
    })?;
    let mut place = Place::open(&options.path)?;
    let trusted = Trusted::verify(place.source(), &anchor, clock())?;
    let (releases, missing) = trusted.listed(place.source())?;
    let is_repository = matches!(place, Place::Repository(_));
    if is_repository && !missing.is_empty() {
        let lines: Vec<String> = missing.iter().map(|(name, what)| format!("  {what}: {name}")).collect();
        let where_ = options.path.display();
        return Err(Failure::general(format!("{where_}: signed and listed, but not there:\n{}", lines.join("\n"))));
    }
    if releases.is_empty() && !is_repository {
        return Err(Failure::general(format!("{}: this bundle holds no release", options.path.display())));
    }
    let mut olds = Slots::default();
    for old in &options.from {
        olds.add(old, None, None)?;
    }
    let olds: Vec<_> = olds.found.into_iter().map(|old| old.slot).collect();
    let mut rows = Vec::new();
    for (release, found) in releases.iter().zip(place.check(&releases, &olds, progress)?) {
        found
            .expect_all(release, is_repository)
            .map_err(|why| Failure::general(format!("{}: {why}", options.path.display())))?;
        if !as_json {
            show_found(release, &found);
        }
        let whole = found.is_whole();
        rows.push(json!({"release": release.release.to_string(), "whole": whole, "found": found}));
    }
    let freshness = trusted.freshness().to_string();
    if as_json {
        outln!("{:#}", json!({"releases": rows, "freshness": freshness}));
    } else {
        outln!("signatures good, metadata {freshness}");
    }
    Ok(())
}

fn show_found(release: &Published, found: &Found) {
    let full = if found.is_whole() { "installs on any node" } else { "deltas only" };
    outln!("{}: good, {full}", release.release);
    for delta in &found.deltas {
        let state = match (delta.whole, delta.applied) {
            (true, true) => "good, applied",
            (true, false) => "all pieces good; applied to nothing (give what it starts from with --from)",
            (false, _) => "its pieces are not all there",
        };
        outln!("  delta from {}: {state}", delta.from);
    }
}

/// What a bundle or repository says of itself, by its own first root: nothing that a node would trust for that.
fn open(path: &Path) -> Result<(Trusted, Vec<Published>), Failure> {
    let mut place = Place::open(path)?;
    let source = place.source();
    let anchor = source.get(&Name::Root(1), Name::Root(1).limit())?;
    let anchor = anchor.ok_or_else(|| Failure::input(format!("{}: has no metadata/1.root.json", path.display())))?;
    let trusted = Trusted::verify(source, &anchor, timeless())?;
    let releases = trusted.releases(source)?;
    Ok((trusted, releases))
}

/// Shows what is in a repository, a bundle or a key folder: `fruitbuild inspect`.
///
/// # Errors
/// A repository or bundle that cannot be read or is not as it was signed.
pub fn inspect(path: &Path, keys: &Path, as_json: bool) -> Result<(), Failure> {
    let waiting = if path.is_dir() { waiting(path, keys)? } else { Vec::new() };
    if !waiting.is_empty() && !path.join("metadata").join("timestamp.json").exists() {
        return show_waiting(&waiting, as_json);
    }
    let (trusted, releases) = open(path)?;
    let expires: BTreeMap<&str, String> = fruit_release::tuf::Role::TOP
        .iter()
        .filter_map(|role| Some((role.name(), trusted.trust().expires(role)?.to_string())))
        .collect();
    if as_json {
        let rows: Vec<Value> = releases.iter().map(row).collect();
        outln!(
            "{:#}",
            json!({"releases": rows, "expires": expires, "root": trusted.trust().root_version(), "waiting": waiting})
        );
        return Ok(());
    }
    for release in &releases {
        let manifest = &release.manifest;
        outln!("{}, build {}, epoch {}", release.release, manifest.build_id, release.release.epoch);
        outln!("  boards: {}", release.release.compatible.join(", "));
        for volume in &manifest.volumes {
            outln!("  {}: {} MiB, {} chunks", volume.kind.name(), volume.len >> 20, volume.chunks.len());
        }
        for delta in &release.deltas {
            let from = &delta.delta.from;
            outln!("  delta from {} (build {}): {} KiB of patches", from.version, from.build_id, patches(delta) >> 10);
        }
        outln!("  {} packages", manifest.packages.len());
        for line in manifest.notes.lines() {
            outln!("  | {line}");
        }
    }
    outln!(
        "root {}, signed by its own keys; whether they are yours says: fruitbuild verify",
        trusted.trust().root_version()
    );
    for (role, time) in expires {
        outln!("  {role} good until {time}");
    }
    if waiting.is_empty() { Ok(()) } else { show_waiting(&waiting, false) }
}

/// A change that waits for signatures.
#[derive(serde::Serialize)]
struct Waits {
    /// Such as `3.targets`.
    draft: String,
    changes: Vec<String>,
}

fn waiting(repository: &Path, keys: &Path) -> Result<Vec<Waits>, Failure> {
    let repository = fruit_release::keys::Repository::read(repository, keys)?;
    let store = fruit_release::keys::KeyStore::open(keys)?;
    let drafts = repository.drafts();
    let row = |draft: &fruit_release::keys::Draft| Waits {
        draft: draft.name(),
        changes: repository.changes(draft, &|id| store.name_of(id)),
    };
    Ok(drafts.map(row).collect())
}

fn show_waiting(waiting: &[Waits], as_json: bool) -> Result<(), Failure> {
    if as_json {
        outln!("{:#}", json!({"releases": [], "waiting": waiting}));
        return Ok(());
    }
    for one in waiting {
        outln!("{} waits for signatures:", one.draft);
        one.changes.iter().for_each(|line| outln!("  {line}"));
    }
    outln!("sign with: fruitbuild sign --yes; drop with: fruitbuild discard");
    Ok(())
}

fn patches(delta: &fruit_publish::trusted::PublishedDelta) -> u64 {
    use fruit_release::manifest::ChunkSource;
    let sizes = delta.delta.volumes.iter().flatten().map(|source| match source {
        ChunkSource::Patch { size, .. } => u64::from(*size),
        ChunkSource::Copy { .. } | ChunkSource::Full {} => 0,
    });
    sizes.sum()
}

fn row(release: &Published) -> Value {
    let Published { release: described, manifest, deltas, digest, .. } = release;
    let volumes: Vec<Value> =
        manifest.volumes.iter().map(|v| json!({"kind": v.kind, "len": v.len, "chunks": v.chunks.len()})).collect();
    let deltas: Vec<Value> = deltas
        .iter()
        .map(|d| json!({"from": d.delta.from.version, "build": d.delta.from.build_id, "patch_bytes": patches(d)}))
        .collect();
    json!({
        "product": described.product, "board": described.board, "version": described.version,
        "compatible": described.compatible, "architecture": described.architecture, "epoch": described.epoch,
        "min_bootloader": described.min_bootloader, "build": manifest.build_id, "manifest": digest.to_string(),
        "notes": manifest.notes, "packages": manifest.packages, "volumes": volumes, "deltas": deltas,
    })
}

/// The one release of a version.
fn version(repository: &Path, version: &Path) -> Result<Published, Failure> {
    let version = version.to_string_lossy();
    let mut releases = if repository.is_dir() { open(repository)?.1 } else { Vec::new() };
    let all: Vec<String> = releases.iter().map(|r| r.release.version.clone()).collect();
    releases.retain(|r| r.release.version == version);
    match (releases.pop(), releases.is_empty()) {
        (Some(release), true) => Ok(release),
        (Some(_), false) => Err(Failure::input(format!(
            "{version}: several products or boards of {} have this version; name bundles",
            repository.display()
        ))),
        (None, _) => Err(Failure::input(format!(
            "{version}: no such file, and {} has the versions {}",
            repository.display(),
            all.join(", ")
        ))),
    }
}

/// Packages and chunks that differ between the newest releases of two bundles or repositories.
///
/// # Errors
/// A release that is not in the repository, or one that cannot be read.
pub fn diff(old: &Path, new: &Path, repository: &Path, as_json: bool) -> Result<(), Failure> {
    let newest = |path: &Path| -> Result<Published, Failure> {
        if !path.exists() {
            return version(repository, path);
        }
        let (_, mut releases) = open(path)?;
        releases.pop().ok_or_else(|| Failure::input(format!("{}: holds no release", path.display())))
    };
    let (before, after) = (newest(old)?, newest(new)?);
    let (old_packages, new_packages) = (&before.manifest.packages, &after.manifest.packages);
    let names: std::collections::BTreeSet<&String> = old_packages.keys().chain(new_packages.keys()).collect();
    let changed: Vec<_> = names.into_iter().filter(|n| old_packages.get(*n) != new_packages.get(*n)).collect();
    let known: std::collections::BTreeSet<_> = before.manifest.volumes.iter().flat_map(|v| &v.chunks).collect();
    let volumes: Vec<Value> = after
        .manifest
        .volumes
        .iter()
        .map(|v| {
            let fresh = v.chunks.iter().filter(|chunk| !known.contains(chunk)).count();
            json!({"kind": v.kind, "chunks": v.chunks.len(), "new_chunks": fresh})
        })
        .collect();
    if as_json {
        let rows: Vec<Value> = changed
            .iter()
            .map(|n| json!({"package": n, "old": old_packages.get(*n), "new": new_packages.get(*n)}))
            .collect();
        let value =
            json!({"old": before.release.version, "new": after.release.version, "packages": rows, "volumes": volumes});
        outln!("{value:#}");
        return Ok(());
    }
    outln!("{} → {}", before.release, after.release);
    for name in changed {
        let side = |packages: &BTreeMap<String, String>| packages.get(name).map_or("—", String::as_str).to_owned();
        outln!("  {name}  {} → {}", side(old_packages), side(new_packages));
    }
    for volume in volumes {
        outln!(
            "  {}: {} of {} chunks are new",
            volume["kind"].as_str().unwrap_or_default(),
            volume["new_chunks"],
            volume["chunks"]
        );
    }
    Ok(())
}
