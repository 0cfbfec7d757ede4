//! `fruitbuild publish`, `bundle` and `delta`: releases into a repository, and bundles out of it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::publish::export::{self, Bundle, Extent};
use crate::publish::folder::Folder;
use crate::publish::pieces::{DeltaSize, Options};
use crate::publish::publish::{self, Old, read_notes};
use crate::publish::reference::{Shelf, Slots};
use crate::signing::Desk;

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
        return Err(Failure::input("nothing to publish: name images, the .img files of `fruitbuild build`"));
    }
    let mut desk = Desk::open(&signing, progress)?;
    let shelf = Shelf::open_if_there(&signing.repository)?;
    let mut slots = Slots::default();
    for image in images {
        slots.add(&image.display().to_string(), shelf.as_ref(), None)?;
    }
    let folder = Folder::new(&signing.repository);
    let notes = read_notes(options.making.notes.as_deref())?;
    let mut rows = Vec::new();
    for Old { slot, .. } in &slots.found {
        let mut olds = Slots::default();
        for from in &options.from {
            olds.add(from, shelf.as_ref(), Some(&slot.identity))?;
        }
        let making = making(&options.making);
        let added = publish::publish(&mut desk, &folder, slot, &olds.found, &notes, &making, progress)?;
        say_deltas(&added.deltas, progress);
        if !as_json {
            desk.report(&added.signed, false, progress);
            outln!("{}", added.path);
        }
        let waiting = added.signed.waiting.iter().map(|w| w.role.name().to_owned()).collect::<Vec<_>>();
        rows.push(json!({"release": added.path, "deltas": added.deltas, "waiting": waiting}));
    }
    if as_json {
        outln!("{:#}", json!({"published": rows}));
    }
    Ok(())
}

/// Whether a name is that of an image; if not it is that of the repository.
fn is_image(path: &Path) -> bool {
    let name = path.to_string_lossy();
    [".img", ".img.zst", ".manifest.json"].iter().any(|ending| name.ends_with(ending))
}

pub fn bundle(options: &cli::Bundle, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    let made = make(&options.release, &[], Extent::Full, &options.packing, progress)?;
    report(&made, as_json)
}

pub fn delta(options: &cli::Delta, as_json: bool, progress: &Progress) -> Result<(), Failure> {
    // The last name is the new release, as with `cp`.
    let Some((new, olds)) = options.releases.split_last() else {
        return Err(Failure::input("delta needs the older releases and the new one"));
    };
    let made = make(new, olds, Extent::Deltas, &options.packing, progress)?;
    report(&made, as_json)
}

struct Made {
    file: PathBuf,
    bundle: Bundle,
    deltas: Vec<DeltaSize>,
}

/// Publishes what is not published yet, and packs it.
fn make(
    new: &str,
    olds: &[String],
    extent: Extent,
    packing: &cli::Packing,
    progress: &Progress,
) -> Result<Made, Failure> {
    let repository = &packing.signing.repository;
    let mut desk = Desk::open(&packing.signing, progress)?;
    let shelf = Shelf::open_if_there(repository)?;
    let mut slots = Slots::default();
    slots.add(new, shelf.as_ref(), None)?;
    let [Old { slot, .. }] = &slots.found[..] else {
        return Err(Failure::input(format!("{new}: several releases; name one")));
    };
    let mut from = Slots::default();
    for old in olds {
        from.add(old, shelf.as_ref(), Some(&slot.identity))?;
    }
    let folder = Folder::new(repository);
    let notes = read_notes(packing.making.notes.as_deref())?;
    let making = making(&packing.making);
    let added = publish::publish(&mut desk, &folder, slot, &from.found, &notes, &making, progress)?;
    say_deltas(&added.deltas, progress);
    if !added.signed.waiting.is_empty() {
        desk.report(&added.signed, false, progress);
        return Err(Failure::general("the release is not signed yet; once it is, give the same command again"));
    }
    let shelf = Shelf::open(repository)?;
    let release = shelf.release(&added.path).ok_or_else(|| Failure::general(format!("{}: not there", added.path)))?;
    let file = packing.output.clone().unwrap_or_else(|| default_file(release, olds, extent));
    if let Some(folder) = file.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(crate::failure::at(folder))?;
    }
    // A delta bundle holds just the deltas that were asked for.
    let wanted: Vec<String> = from.found.iter().map(|old| old.slot.identity.build_id.clone()).collect();
    let only = |build: &str| wanted.iter().any(|w| w == build);
    let bundle = export::write(&folder, &shelf.trusted, release, extent, &only, &file, progress)?;
    Ok(Made { file, bundle, deltas: added.deltas })
}

fn making(options: &cli::Making) -> Options {
    let default = Options::default();
    Options {
        level: options.level.unwrap_or(default.level),
        memory: options.memory.map_or(default.memory, |mib| mib << 20),
    }
}

fn default_file(release: &crate::publish::trusted::Published, olds: &[String], extent: Extent) -> PathBuf {
    let stem = release.manifest.target_path();
    let stem = stem.split('/').next().unwrap_or_default().to_owned();
    let ending = fruit_release::bundle::ENDING;
    match (extent, &release.deltas[..], olds) {
        (Extent::Full, ..) => Path::new("out").join(format!("{stem}.{ending}")),
        (Extent::Deltas, [one], _) => Path::new("out").join(format!("{stem}-from-{}.{ending}", one.delta.from.version)),
        (Extent::Deltas, ..) => Path::new("out").join(format!("{stem}-delta.{ending}")),
    }
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

fn report(made: &Made, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let deltas: Vec<Value> = made.deltas.iter().map(|delta| json!(delta)).collect();
        outln!(
            "{:#}",
            json!({"bundle": made.file, "size": made.bundle.size, "pieces": made.bundle.pieces, "deltas": deltas})
        );
    } else {
        outln!("{}", made.file.display());
    }
    Ok(())
}
