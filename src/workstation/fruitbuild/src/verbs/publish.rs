//! `fruitbuild publish`, `bundle` and `delta`: releases into a repository, and bundles out of it.

use std::path::{Path, PathBuf};

use fruit_base::AtPath;
use fruit_publish::advice;
use fruit_publish::export::{self, Bundle, Extent};
use fruit_publish::pieces::{DeltaSize, Options};
use fruit_publish::reference::{Old, Slots, VerifiedRepository};
use fruit_publish::release::{self, Wanted, read_notes};
use fruit_publish::signing::SigningSession;
use fruit_publish::slot::Slot;
use fruit_publish::trusted::Published;
use fruit_release::Folder;
use fruit_release::keys::Signed;
use serde_json::{Value, json};

use crate::cli;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::verbs::signatures::{self, access};

/// Publishes an image as a release: `fruitbuild publish`.
///
/// # Errors
/// An image that is no release, a repository that is in use or damaged, missing keys, or files that cannot be
/// written.
pub fn publish(options: &cli::Publish, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let mut signing = options.signing.clone();
    let images = match options.images.split_first() {
        Some((first, rest)) if !is_image(first) => {
            signing.repository.clone_from(first);
            rest
        }
        _ => &options.images[..],
    };
    if images.is_empty() {
        return Err(Failure::input(
            "nothing to publish: name images, the .img files that `fruitbuild build` makes, behind the repository",
        ));
    }
    let mut session = SigningSession::open(&access(&signing)?, progress)?;
    let verified = VerifiedRepository::open_if_there(&signing.repository)?;
    let mut slots = Slots::default();
    for image in images {
        slots.add(&image.display().to_string(), verified.as_ref(), None)?;
    }
    let folder = Folder::new(&signing.repository);
    let notes = read_notes(options.making.notes.as_deref())?;
    let mut wanted = Vec::new();
    for Old { slot, .. } in &slots.found {
        let mut olds = Slots::default();
        for from in &options.from {
            olds.add(from, verified.as_ref(), Some(&slot.identity))?;
        }
        let identities: Vec<_> = olds.found.iter().map(|old| &old.slot.identity).collect();
        advice::about(slot, verified.as_ref(), &identities, progress)?;
        wanted.push(Wanted { slot, olds: olds.found });
    }
    let (added, signed) = release::publish(&mut session, &folder, &wanted, &notes, &making(&options.making), progress)?;
    report_added(&session, &added, &signed, as_json, progress);
    Ok(())
}

fn report_added(
    session: &SigningSession,
    added: &[release::Added],
    signed: &Signed,
    as_json: bool,
    progress: &Progress,
) {
    let waiting: Vec<_> = signed.waiting.iter().map(|w| w.role.name()).collect();
    if as_json {
        let row = |one: &release::Added| {
            json!({
                "release": one.path, "name": one.name, "deltas": one.deltas, "changed": one.changed, "waiting": waiting,
            })
        };
        outln!("{:#}", json!({"published": added.iter().map(row).collect::<Vec<_>>()}));
        return;
    }
    signatures::report(session, signed, false, progress);
    for one in added {
        say_deltas(&one.deltas, progress);
        match (one.changed, waiting.is_empty()) {
            (false, _) => progress.say(format!("nothing to do: {} is published already", one.name)),
            (true, true) => outln!("{}", one.path),
            (true, false) => progress.say(format!("{} is not published yet: it waits for signatures", one.name)),
        }
    }
}

/// Whether a name is that of an image; if not it is that of the repository.
fn is_image(path: &Path) -> bool {
    let name = path.to_string_lossy();
    [".img", ".img.zst", ".manifest.json"].iter().any(|ending| name.ends_with(ending))
}

/// Writes releases into a bundle: `fruitbuild bundle`.
///
/// # Errors
/// As of [`publish`].
pub fn bundle(options: &cli::Bundle, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let packed = make(&options.release, &[], Extent::Full, &options.packing, progress)?;
    report(&packed, as_json)
}

/// Makes a delta between two releases: `fruitbuild delta`.
///
/// # Errors
/// As of [`publish`].
pub fn delta(options: &cli::Delta, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    // The last name is the new release, as with `cp`.
    let Some((new, olds)) = options.releases.split_last() else {
        return Err(Failure::input("delta needs the older releases and the new one"));
    };
    let packed = make(new, olds, Extent::Deltas, &options.packing, progress)?;
    report(&packed, as_json)
}

struct Packed {
    file: PathBuf,
    bundle: Bundle,
    deltas: Vec<DeltaSize>,
}

/// Packs what is published. Only with `--publish` is anything published for it: what is signed into a repository, the whole
/// fleet may install.
fn make(
    new: &str,
    olds: &[String],
    extent: Extent,
    packing: &cli::Packing,
    progress: &Progress,
) -> Result<Packed, Failure> {
    let repository = &packing.signing.repository;
    if !packing.publish && packing.making.notes.is_some() {
        return Err(Failure::input("--notes needs --publish: a published release has its notes already"));
    }
    let mut session =
        if packing.publish { Some(SigningSession::open(&access(&packing.signing)?, progress)?) } else { None };
    let verified = VerifiedRepository::open_if_there(repository)?;
    let mut slots = Slots::default();
    slots.add(new, verified.as_ref(), None)?;
    let [Old { slot, .. }] = &slots.found[..] else {
        return Err(Failure::input(format!("{new}: several releases; name one")));
    };
    let mut from = Slots::default();
    for old in olds {
        from.add(old, verified.as_ref(), Some(&slot.identity))?;
    }
    let builds: Vec<String> = from.found.iter().map(|old| old.slot.identity.build_id.clone()).collect();
    if builds.contains(&slot.identity.build_id) {
        return Err(Failure::input(format!("{}: a delta from a build to itself", slot.identity.version)));
    }
    let identities: Vec<_> = from.found.iter().map(|old| &old.slot.identity).collect();
    advice::about(slot, verified.as_ref(), &identities, progress)?;
    let folder = Folder::new(repository);
    let (path, deltas) = match &mut session {
        Some(session) => publish_first(session, &folder, Wanted { slot, olds: from.found }, packing, progress)?,
        None => (published_path(slot, &builds, verified.as_ref(), repository)?, Vec::new()),
    };
    let verified = VerifiedRepository::open(repository)?;
    let release = verified.release(&path).ok_or_else(|| Failure::general(format!("{path}: not there")))?;
    let file = packing.output.clone().unwrap_or_else(|| default_file(release, &builds, extent));
    if let Some(folder) = file.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).at(folder)?;
    }
    // A delta bundle holds just the deltas that were asked for.
    let only = |build: &str| builds.iter().any(|wanted| wanted == build);
    let bundle = export::write(&folder, &verified.trusted, release, extent, &only, &file, progress)?;
    Ok(Packed { file, bundle, deltas })
}

/// Publishes what is to be packed: its path, and the deltas that were packed.
fn publish_first(
    session: &mut SigningSession,
    folder: &Folder,
    wanted: Wanted<'_>,
    packing: &cli::Packing,
    progress: &Progress,
) -> Result<(String, Vec<DeltaSize>), Failure> {
    let notes = read_notes(packing.making.notes.as_deref())?;
    let (added, signed) = release::publish(session, folder, &[wanted], &notes, &making(&packing.making), progress)?;
    if !signed.waiting.is_empty() {
        signatures::report(session, &signed, false, progress);
        let why = "the release is not signed yet; once it is, give the same command without --publish";
        return Err(Failure::general(why));
    }
    let Some(added) = added.into_iter().next() else { return Ok(Default::default()) };
    say_deltas(&added.deltas, progress);
    Ok((added.path, added.deltas))
}

/// Path of a release that is published with deltas from `builds`.
fn published_path(
    slot: &Slot,
    builds: &[String],
    verified: Option<&VerifiedRepository>,
    repository: &Path,
) -> Result<String, Failure> {
    let identity = &slot.identity;
    let name = format!("{} {} for {}", identity.product, identity.version, identity.board);
    let path = fruit_release::Manifest::new(&identity.product, &identity.board, &identity.version).target_path();
    let advice = "Nothing was signed or written. Add --publish to publish it for all nodes that follow this repository, or \
                  try it with a repository and keys of its own (--repository DIR --keys DIR)";
    let place = repository.display();
    let release =
        verified.and_then(|verified| verified.release(&path)).filter(|r| r.manifest.build_id == identity.build_id);
    let Some(release) = release else {
        if let Some(other) = verified.and_then(|verified| verified.release(&path)) {
            return Err(Failure::input(format!(
                "{name} is published in {place} with another content (build {}); raise `version:` in the recipe",
                other.manifest.build_id
            )));
        }
        return Err(Failure::new(Exit::Refused, format!("{name} is not published in {place}. {advice}")));
    };
    let has = |build: &&String| release.deltas.iter().any(|delta| &delta.delta.from.build_id == *build);
    if let Some(build) = builds.iter().find(|build| !has(build)) {
        let message = format!("{name} is published in {place} without a delta from the build {build}. {advice}");
        return Err(Failure::new(Exit::Refused, message));
    }
    Ok(path)
}

fn making(options: &cli::Making) -> Options {
    let default = Options::default();
    Options {
        level: options.level.unwrap_or(default.level),
        memory: options.memory.map_or(default.memory, |mib| mib << 20),
    }
}

/// `out/PRODUCT-VERSION-BOARD….fruit`, as images are called.
fn default_file(release: &Published, builds: &[String], extent: Extent) -> PathBuf {
    let manifest = &release.manifest;
    let stem = format!("{}-{}-{}", manifest.product, manifest.version, manifest.board);
    let ending = fruit_release::bundle::ENDING;
    let delta = release.deltas.iter().find(|delta| builds.contains(&delta.delta.from.build_id));
    Path::new("out").join(match (extent, delta, builds.len()) {
        (Extent::Full, ..) => format!("{stem}.{ending}"),
        (Extent::Deltas, Some(one), 1) => format!("{stem}-from-{}.{ending}", one.delta.from.version),
        (Extent::Deltas, ..) => format!("{stem}-delta.{ending}"),
    })
}

fn say_deltas(deltas: &[DeltaSize], progress: &Progress) {
    for delta in deltas {
        progress.say(format!(
            "delta from {}: {:.2} MiB ({} chunks unchanged, {} patched, {} whole)",
            delta.from,
            (delta.patch_bytes + delta.whole_bytes + delta.index_bytes) as f64 / f64::from(1 << 20),
            delta.copied,
            delta.patched,
            delta.whole
        ));
    }
}

fn report(packed: &Packed, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let deltas: Vec<Value> = packed.deltas.iter().map(|delta| json!(delta)).collect();
        outln!(
            "{:#}",
            json!({"bundle": packed.file, "size": packed.bundle.size, "pieces": packed.bundle.pieces, "deltas": deltas})
        );
    } else {
        outln!("{}", packed.file.display());
    }
    Ok(())
}
