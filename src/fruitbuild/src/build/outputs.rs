//! What a build leaves in `out/`: the image and its companions, each under its name only when whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fruit_debian::{Lock, PackageContents};
use fruit_image::draft::Draft;
use fruit_image::sums::{Sum, Summing, sha256sums};
use fruit_image::zst;
use fruit_recipe::Recipe;
use fruit_root::sbom::{self, Component, Subject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::card::WrittenCard;
use super::inputs::Inputs;
use super::root::FinishedRoot;
use crate::failure::{Failure, at};
use crate::progress::Progress;

pub const TOOL: &str = concat!("fruitbuild-", env!("CARGO_PKG_VERSION"));

/// File names of one image: `NAME-VERSION-BOARD` and endings.
pub struct Names {
    pub img: PathBuf,
    pub zst: PathBuf,
    pub bmap: PathBuf,
    pub manifest: PathBuf,
    pub sbom: PathBuf,
    pub sums: PathBuf,
}

impl Names {
    pub fn new(recipe: &Recipe, folder: &Path) -> Names {
        let stem = format!("{}-{}-{}", recipe.name, recipe.version, recipe.board_name);
        let file = |ending: &str| folder.join(format!("{stem}{ending}"));
        Names {
            img: file(".img"),
            zst: file(".img.zst"),
            bmap: file(".img.bmap"),
            manifest: file(".manifest.json"),
            sbom: file(".spdx.json"),
            sums: folder.join("SHA256SUMS"),
        }
    }
}

/// A file of the build.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Hex.
    pub sha256: String,
    /// Nanoseconds since 1970; by which a changed file is told without reading it.
    mtime_ns: i128,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Outcome {
    pub build_id: String,
    pub changed: bool,
    pub outputs: Vec<Output>,
    /// Bytes to write to a card.
    pub mapped: u64,
    pub summary: Value,
}

/// All that the outputs tell about.
pub struct Made<'a> {
    pub recipe: &'a Recipe,
    pub lock: &'a Lock,
    pub inputs: &'a Inputs,
    pub root: &'a FinishedRoot,
    pub packages: &'a [PackageContents],
    pub card: &'a WrittenCard,
}

/// Writes what belongs to the image.
///
/// # Errors
/// File system errors with the path.
pub fn write(made: &Made<'_>, names: &Names, cache: &Path, epoch: i64) -> Result<Outcome, Failure> {
    let io = |error: std::io::Error| Failure::general(error.to_string());
    let wanted = &made.recipe.outputs;
    let image = &made.card.image;
    let mut sums: BTreeMap<PathBuf, Sum> = BTreeMap::new();
    let bmap = if wanted.zst {
        let level = i32::try_from(wanted.zstd_level.get()).unwrap_or(i32::MAX);
        let threads = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
        let done =
            zst::compress(image, &names.zst, zst::Options { level, threads, sum_image: wanted.img }).map_err(io)?;
        sums.insert(names.zst.clone(), done.sum);
        sums.extend(done.image_sum.map(|sum| (names.img.clone(), sum)));
        done.bmap
    } else {
        sums.insert(names.img.clone(), sum_file(&names.img)?);
        zst::map(image).map_err(io)?
    };
    let mut write_text = |path: &Path, text: String| -> Result<(), Failure> {
        sums.insert(path.to_owned(), Sum::of(text.as_bytes()));
        write_whole(path, text.as_bytes())
    };
    if wanted.bmap {
        write_text(&names.bmap, bmap.to_xml())?;
    }
    if wanted.sbom {
        write_text(&names.sbom, sbom_of(made, epoch))?;
    }
    let manifest = manifest(made, bmap.mapped_bytes(), epoch);
    if wanted.manifest {
        write_text(&names.manifest, pretty(&manifest))?;
    }
    if !wanted.img {
        fs::remove_file(&names.img).map_err(at(&names.img))?;
    }
    write_sums(&names.sums, &sums)?;
    let outputs = sums.iter().map(|(path, sum)| output(path, *sum)).collect::<Result<Vec<_>, _>>()?;
    let outcome = Outcome {
        build_id: made.inputs.build_id.clone(),
        changed: true,
        outputs,
        mapped: bmap.mapped_bytes(),
        summary: summary(&manifest),
    };
    remember(cache, names, &outcome)?;
    Ok(outcome)
}

fn sum_file(path: &Path) -> Result<Sum, Failure> {
    let mut file = fs::File::open(path).map_err(at(path))?;
    let mut summing = Summing::new(std::io::sink());
    std::io::copy(&mut file, &mut summing).map_err(at(path))?;
    Ok(summing.finish().0)
}

fn output(path: &Path, sum: Sum) -> Result<Output, Failure> {
    let meta = fs::metadata(path).map_err(at(path))?;
    Ok(Output { path: path.to_owned(), size: meta.len(), sha256: sum.to_string(), mtime_ns: mtime_ns(&meta) })
}

fn mtime_ns(meta: &fs::Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let io = |error: std::io::Error| Failure::general(error.to_string());
    let draft = Draft::create(path).map_err(io)?;
    draft.file().write_all(bytes).map_err(at(path))?;
    draft.commit().map_err(io)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// One file for all images of the folder: lines of other images stay.
fn write_sums(path: &Path, sums: &BTreeMap<PathBuf, Sum>) -> Result<(), Failure> {
    let mut all: BTreeMap<String, Sum> = BTreeMap::new();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Builds of other images into this folder wait until this line is in.
    let _turn = fs::File::open(folder).and_then(|lock| lock.lock().map(|()| lock)).map_err(at(folder))?;
    for line in fs::read_to_string(path).unwrap_or_default().lines() {
        if let Some((sum, name)) = line.split_once("  ")
            && let Some(sum) = Sum::parse(sum)
            && folder.join(name).is_file()
        {
            all.insert(name.to_owned(), sum);
        }
    }
    all.extend(sums.iter().map(|(path, sum)| (file_name(path), *sum)));
    write_whole(path, sha256sums(all.iter().map(|(name, sum)| (name.as_str(), *sum))).as_bytes())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Every input with its hash, what became of them, and how large it is. The same inputs give the same text.
fn manifest(made: &Made<'_>, mapped: u64, epoch: i64) -> Value {
    let Made { recipe, lock, inputs, root, packages, card } = made;
    let bytes: BTreeMap<&str, u64> = packages.iter().map(|p| (p.name.as_str(), p.bytes)).collect();
    let packages: Vec<Value> = lock
        .packages
        .iter()
        .map(|p| {
            json!({
                "name": p.name, "version": p.version, "architecture": p.architecture, "archive": p.archive,
                "path": p.path, "size": p.size, "sha256": p.sha256, "unpacked": bytes.get(p.name.as_str()),
            })
        })
        .collect();
    let saved: Vec<Value> =
        root.report.saved.iter().map(|s| json!({"rule": s.rule, "files": s.files, "bytes": s.bytes})).collect();
    let unhandled: Vec<Value> = root
        .report
        .unhandled
        .iter()
        .map(|u| json!({"package": u.package, "version": u.version, "script": u.script, "line": u.line, "command": u.command}))
        .collect();
    json!({
        "format": 1,
        "tool": TOOL,
        "build_id": inputs.build_id,
        "source_date_epoch": epoch,
        "image": {
            "name": recipe.name.as_str(), "version": recipe.version.as_str(), "board": recipe.board_name,
            "architecture": recipe.board.architecture.to_string(),
            "compatible": recipe.board.compatible.iter().map(|c| c.as_str()).collect::<Vec<_>>(),
            "disk_size": card.image.size, "bytes_to_write": mapped,
        },
        "kernel": {"release": root.kernel_release, "command_line": card.command_line, "verity": card.verity},
        "partitions": card.partitions,
        "inputs": inputs.list,
        "repositories": lock.repositories,
        "packages": packages,
        "pruned": saved,
        "units": root.report.enabled_units,
        "scripts_not_reproduced": unhandled,
    })
}

/// The part of the manifest that a person wants to see at once.
fn summary(manifest: &Value) -> Value {
    json!({
        "image": manifest["image"],
        "partitions": manifest["partitions"],
        "pruned": manifest["pruned"],
        "packages": manifest["packages"].as_array().map_or(0, Vec::len),
    })
}

fn sbom_of(made: &Made<'_>, epoch: i64) -> String {
    let subject = Subject {
        name: made.recipe.name.as_str().to_owned(),
        version: made.recipe.version.as_str().to_owned(),
        tool: TOOL.to_owned(),
        epoch,
        distribution: "debian".to_owned(),
        suite: made.recipe.distribution.suite.as_str().to_owned(),
    };
    let components: Vec<Component> = made.packages.iter().map(|p| component(made, p)).collect();
    sbom::spdx(&subject, &components)
}

fn component(made: &Made<'_>, package: &PackageContents) -> Component {
    let field = |name: &str| package.control.paragraph.get(name).unwrap_or_default().to_owned();
    let source = field("Source");
    let (source, source_version) = match source.split_once(" (") {
        Some((name, version)) => (name.to_owned(), version.trim_end_matches(')').to_owned()),
        None if source.is_empty() => (package.name.clone(), package.version.clone()),
        None => (source, package.version.clone()),
    };
    let locked = made.lock.package(&package.name);
    let copyright = made.root.tree.read(&format!("usr/share/doc/{}/copyright", package.name)).ok();
    Component {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        source,
        source_version,
        maintainer: field("Maintainer"),
        homepage: field("Homepage"),
        summary: field("Description").lines().next().unwrap_or_default().to_owned(),
        sha256: locked.map(|l| l.sha256.to_string()).unwrap_or_default(),
        pool_path: locked.map(|l| l.path.clone()).unwrap_or_default(),
        copyright: copyright.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Where the cache keeps something about the image of that name and place.
fn memory(cache: &Path, names: &Names, ending: &str) -> PathBuf {
    let place = fs::canonicalize(names.img.parent().unwrap_or(Path::new("."))).unwrap_or_default();
    let key = Sum::of(format!("{}/{}", place.display(), file_name(&names.img)).as_bytes()).to_string();
    cache.join("builds").join(format!("{}.{ending}", &key[..32]))
}

/// Held while an image is built.
pub struct Turn {
    _lock: fs::File,
}

/// Waits for another build of the same image into the same folder, which most likely does what this one is to do.
///
/// # Errors
/// File system errors with the path.
pub fn turn(cache: &Path, names: &Names, progress: &Progress) -> Result<Turn, Failure> {
    let path = memory(cache, names, "lock");
    let folder = path.parent().unwrap_or(cache);
    fs::create_dir_all(folder).map_err(at(folder))?;
    let lock = fs::File::create(&path).map_err(at(&path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            progress.say(format!("waiting for another build of {}", names.img.display()));
            lock.lock().map_err(at(&path))?;
        }
        Err(fs::TryLockError::Error(error)) => return Err(at(&path)(error)),
    }
    Ok(Turn { _lock: lock })
}

/// What the cache knows of the last build of an image.
#[derive(Serialize, Deserialize)]
struct Memory {
    /// The program that built it: another one may make other bytes of the same inputs.
    program: String,
    outcome: Outcome,
}

/// Tells this program from one that was compiled at another time, without reading it.
fn this_program() -> Option<String> {
    let meta = fs::metadata(std::env::current_exe().ok()?).ok()?;
    Some(format!("{TOOL} {} {}", meta.len(), mtime_ns(&meta)))
}

fn remember(cache: &Path, names: &Names, outcome: &Outcome) -> Result<(), Failure> {
    let path = memory(cache, names, "json");
    let folder = path.parent().unwrap_or(cache);
    fs::create_dir_all(folder).map_err(at(folder))?;
    let memory = Memory { program: this_program().unwrap_or_default(), outcome: outcome.clone() };
    let text = serde_json::to_string(&memory).map_err(|error| Failure::general(error.to_string()))?;
    write_whole(&path, text.as_bytes())
}

/// The last build's outcome, if it was of the same inputs by this same program and its files are still as it left them.
pub fn unchanged(cache: &Path, names: &Names, inputs: &Inputs) -> Option<Outcome> {
    let text = fs::read_to_string(memory(cache, names, "json")).ok()?;
    let Memory { program, outcome } = serde_json::from_str(&text).ok()?;
    let same = |output: &Output| {
        fs::metadata(&output.path).is_ok_and(|m| m.len() == output.size && mtime_ns(&m) == output.mtime_ns)
    };
    let whole = this_program()? == program && outcome.build_id == inputs.build_id && outcome.outputs.iter().all(same);
    whole.then_some(Outcome { changed: false, ..outcome })
}
