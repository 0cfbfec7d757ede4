//! What a build leaves in `out/`: the image and its companions, each under its name only when whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, PathError};
use fruit_contract::image_manifest::{self, ImageManifest};
use fruit_contract::update::config::UpdateConfig;
use fruit_debian::{Lock, PackageContents};
use fruit_image::draft::{self, Draft};
use fruit_image::sums::{Sum, Summing, sha256sums};
use fruit_image::zst::{self, Compressed, Earlier, Frame};
use fruit_progress::Progress;
use fruit_recipe::{Diagnostic, Diagnostics, Recipe};
use fruit_root::sbom::{self, Component, Subject};
use serde::{Deserialize, Serialize};

use super::card::WrittenCard;
use super::inputs::Inputs;
use super::joined;
use super::root::FinishedRoot;
use super::warnings;
use crate::error::Error;

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
    pub summary: Summary,
}

/// All that the outputs tell about.
pub struct BuildResult<'a> {
    pub recipe: &'a Recipe,
    pub lock: &'a Lock,
    pub inputs: &'a Inputs,
    pub root: &'a FinishedRoot,
    pub packages: &'a [PackageContents],
    pub card: WrittenCard,
}

/// Makes what belongs to the image, then gives all of it its names.
///
/// # Errors
/// File system errors with the path.
pub fn write(result: BuildResult<'_>, names: &Names, cache: &Path, epoch: i64) -> Result<Outcome, Error> {
    let wanted = &result.recipe.outputs;
    let synced = |draft: &Draft| draft.sync().map_err(io);
    // The disk takes the image, and the SBOM is made, while the image is compressed.
    let (compressed, sbom) = std::thread::scope(|scope| {
        let sync = wanted.img.then(|| scope.spawn(|| synced(&result.card.draft)));
        let sbom = wanted.sbom.then(|| scope.spawn(|| sbom_of(&result, epoch)));
        let compressed = wanted.zst.then(|| compress(&result, names, cache)).transpose()?;
        sync.map(|thread| joined(thread)?).transpose()?;
        let sbom = sbom.map(joined).transpose()?;
        Ok::<_, Error>((compressed, sbom))
    })?;
    let image = &result.card.image;
    let mut sums: BTreeMap<PathBuf, Sum> = BTreeMap::new();
    let bmap = match &compressed {
        Some(done) => {
            sums.insert(names.zst.clone(), done.sum);
            sums.extend(done.image_sum.map(|sum| (names.img.clone(), sum)));
            done.bmap.clone()
        }
        None => {
            sums.insert(names.img.clone(), sum_file(&image.path)?);
            zst::map(image).map_err(io)?
        }
    };
    let manifest = manifest(&result, bmap.mapped_bytes(), epoch)?;
    let manifest_text = manifest.to_text().map_err(|error| Error::other(error.to_string()))?;
    let texts = [
        (&names.bmap, wanted.bmap.then(|| bmap.to_xml())),
        (&names.sbom, sbom),
        (&names.manifest, wanted.manifest.then_some(manifest_text)),
    ];
    let texts = texts.into_iter().filter_map(|(path, text)| Some((path, text?)));
    let texts: Vec<(&PathBuf, String)> = texts.collect();
    sums.extend(texts.iter().map(|(path, text)| ((*path).clone(), Sum::of(text.as_bytes()))));

    // Between here and the end of this function a kill leaves sums of neither the old files nor the new ones.
    let sums_lock = SumsLock::take(&names.sums)?;
    sums_lock.forget(&sums)?;
    let frames = match compressed {
        Some(done) => {
            done.draft.commit().map_err(io)?;
            done.frames
        }
        None => Vec::new(),
    };
    if wanted.img {
        result.card.draft.commit().map_err(io)?;
    } else {
        draft::remove_if_there(&names.img).at(&names.img)?;
    }
    for (path, text) in texts {
        write_whole(path, text.as_bytes())?;
    }
    sums_lock.add(&sums)?;
    let outputs = sums.iter().map(|(path, sum)| output(path, *sum)).collect::<Result<Vec<_>, _>>()?;
    let outcome = Outcome {
        build_id: result.inputs.build_id.clone(),
        changed: true,
        outputs,
        mapped: bmap.mapped_bytes(),
        summary: Summary::of(&manifest),
    };
    remember(cache, names, &outcome, &frames)?;
    Ok(outcome)
}

fn io(error: std::io::Error) -> Error {
    Error::other(error.to_string())
}

fn compress(result: &BuildResult<'_>, names: &Names, cache: &Path) -> Result<Compressed, Error> {
    let wanted = &result.recipe.outputs;
    let level = i32::try_from(wanted.zstd_level.get()).unwrap_or(i32::MAX);
    let threads = u32::try_from(fruit_base::cores::count()).unwrap_or(1);
    let options = zst::Options { level, threads, sum_image: wanted.img };
    zst::compress(&result.card.image, &names.zst, options, earlier(cache, names).as_ref()).map_err(io)
}

/// The compressed image of the last build, if this same program made it.
fn earlier(cache: &Path, names: &Names) -> Option<Earlier> {
    let frames = recall(cache, names)?.frames.into_iter().map(|kept| {
        Some(Frame { key: Sum::parse(&kept.key)?, start: kept.start, len: kept.len, sum: Sum::parse(&kept.sum)? })
    });
    Some(Earlier::new(fs::File::open(&names.zst).ok()?, frames.collect::<Option<Vec<_>>>()?))
}

fn sum_file(path: &Path) -> Result<Sum, Error> {
    let mut file = fs::File::open(path).at(path)?;
    let mut summing = Summing::new(std::io::sink());
    std::io::copy(&mut file, &mut summing).at(path)?;
    Ok(summing.finish().0)
}

fn output(path: &Path, sum: Sum) -> Result<Output, Error> {
    let meta = fs::metadata(path).at(path)?;
    Ok(Output { path: path.to_owned(), size: meta.len(), sha256: sum.to_string(), mtime_ns: mtime_ns(&meta) })
}

fn mtime_ns(meta: &fs::Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let draft = Draft::create(path).map_err(io)?;
    draft.file().write_all(bytes).at(path)?;
    draft.commit().map_err(io)
}

/// `SHA256SUMS`: one file for all images of the folder. Builds of other images wait while one has its turn.
struct SumsLock<'a> {
    path: &'a Path,
    folder: &'a Path,
    _lock: fs::File,
}

impl<'a> SumsLock<'a> {
    fn take(path: &'a Path) -> Result<SumsLock<'a>, Error> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let lock = fs::File::open(folder).and_then(|lock| lock.lock().map(|()| lock)).at(folder)?;
        Ok(SumsLock { path, folder, _lock: lock })
    }

    /// The lines of files that are still there.
    fn lines(&self) -> BTreeMap<String, Sum> {
        let text = fs::read_to_string(self.path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| {
            let (sum, name) = line.split_once("  ")?;
            self.folder.join(name).is_file().then_some((name.to_owned(), Sum::parse(sum)?))
        });
        lines.collect()
    }

    /// Takes out the lines of files that are about to be replaced by others.
    fn forget(&self, new: &BTreeMap<PathBuf, Sum>) -> Result<(), Error> {
        let mut lines = self.lines();
        let before = lines.len();
        lines.retain(|name, sum| new.get(&self.path.with_file_name(name)).is_none_or(|new| new == sum));
        if lines.len() == before { Ok(()) } else { self.write(&lines) }
    }

    fn add(&self, new: &BTreeMap<PathBuf, Sum>) -> Result<(), Error> {
        let mut lines = self.lines();
        lines.extend(new.iter().map(|(path, sum)| (file_name(path), *sum)));
        self.write(&lines)
    }

    fn write(&self, lines: &BTreeMap<String, Sum>) -> Result<(), Error> {
        write_whole(self.path, sha256sums(lines.iter().map(|(name, sum)| (name.as_str(), *sum))).as_bytes())
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Every input with its hash, what became of them, and how large it is. The same inputs give the same text.
fn manifest(result: &BuildResult<'_>, mapped: u64, epoch: i64) -> Result<ImageManifest, Error> {
    let BuildResult { recipe, lock, inputs, root, packages, card } = result;
    let bytes: BTreeMap<&str, u64> = packages.iter().map(|p| (p.name.as_str(), p.bytes)).collect();
    let packages = lock.packages.iter().map(|p| image_manifest::Package {
        name: p.name.clone(),
        version: p.version.to_string(),
        architecture: p.architecture.clone(),
        archive: p.archive.clone(),
        path: p.path.clone(),
        size: p.size,
        sha256: p.sha256.to_string(),
        unpacked: bytes.get(p.name.as_str()).copied(),
    });
    let repositories = lock.repositories.iter().map(|r| image_manifest::Repository {
        archive: r.archive.clone(),
        suite: r.suite.clone(),
        components: r.components.clone(),
        date: r.date.clone(),
        in_release: r.in_release.to_string(),
        indices: r.indices.iter().map(|(path, sum)| (path.clone(), sum.to_string())).collect(),
    });
    let saved = root.report.pruned.saved.iter();
    let kept = root.report.pruned.kept.iter().map(|k| image_manifest::Kept {
        rule: k.rule.clone(),
        what: k.what.clone(),
        because: k.because.clone(),
    });
    let kept = kept.chain(root.report.module_sets.iter().map(|set| image_manifest::Kept {
        rule: "modules".to_owned(),
        what: set.modules.join(", "),
        because: match &set.by {
            Some(by) => format!("{} (/{by})", set.what),
            None => format!("{}, which the recipe names", set.what),
        },
    }));
    let units = &root.report.enabled_units;
    let unhandled = root.report.unhandled.iter().map(|u| image_manifest::Script {
        package: u.package.clone(),
        version: u.version.clone(),
        script: u.script.clone(),
        line: u.line as u64,
        command: u.command.clone(),
    });
    Ok(ImageManifest {
        format: image_manifest::FORMAT,
        tool: TOOL.to_owned(),
        build_id: inputs.build_id.clone(),
        source_date_epoch: epoch,
        image: image_manifest::Image {
            name: recipe.name.as_str().to_owned(),
            version: recipe.version.as_str().to_owned(),
            board: recipe.board_name.clone(),
            architecture: recipe.board.architecture.to_string(),
            compatible: recipe.board.compatible.iter().map(|c| c.as_str().to_owned()).collect(),
            disk_size: card.image.size,
            bytes_to_write: mapped,
        },
        release: release(recipe)?,
        variables: recipe.variables.clone(),
        kernel: image_manifest::Kernel {
            release: root.kernel_release.clone(),
            command_line: card.command_line.clone(),
            verity: card.verity.clone(),
        },
        partitions: card.partitions.clone(),
        inputs: inputs.list.clone(),
        repositories: repositories.collect(),
        packages: packages.collect(),
        downloads: root.report.downloads.clone(),
        wheels: root.report.wheels.clone(),
        containers: root.report.containers.clone(),
        pruned: saved
            .map(|s| image_manifest::Pruned { rule: s.rule.clone(), files: s.files, bytes: s.bytes })
            .collect(),
        kept: kept.collect(),
        units: units.iter().map(|enabled| enabled.unit.clone()).collect(),
        enabled_by: units.iter().map(|enabled| (enabled.unit.clone(), enabled.by.clone())).collect(),
        warnings: warnings::list(&root.report),
        scripts_run: root.report.scripts.clone(),
        scripts_not_reproduced: unhandled.collect(),
    })
}

/// What the targets of a signed release say beyond the image's own description.
fn release(recipe: &Recipe) -> Result<image_manifest::Release, Error> {
    let mut release = image_manifest::Release {
        product: recipe.name.as_str().to_owned(),
        epoch: 0,
        min_bootloader: 0,
        updater: Some(recipe.update.is_written()),
    };
    if recipe.update.is_written() {
        let config: UpdateConfig = recipe.update.read()?;
        let number = |key: &str, value: u64| {
            u32::try_from(value).map_err(|_| {
                let wrong = Diagnostic::error(format!("`{key}` is {value}; it is at most {}", u32::MAX));
                Error::from(Diagnostics::from(wrong.maybe_place(recipe.update.place(&[key]))))
            })
        };
        release.epoch = number("epoch", config.epoch)?;
        release.min_bootloader = number("min_bootloader", config.min_bootloader)?;
        if let Some(product) = config.product {
            release.product = product.as_str().to_owned();
        }
    }
    Ok(release)
}

/// The part of the manifest that a person wants to see at once.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Summary {
    pub image: image_manifest::Image,
    pub partitions: Vec<image_manifest::Partition>,
    pub pruned: Vec<image_manifest::Pruned>,
    pub kept: Vec<image_manifest::Kept>,
    /// How many.
    pub warnings: usize,
    /// How many.
    pub packages: usize,
}

impl Summary {
    fn of(manifest: &ImageManifest) -> Summary {
        Summary {
            image: manifest.image.clone(),
            partitions: manifest.partitions.clone(),
            pruned: manifest.pruned.clone(),
            kept: manifest.kept.clone(),
            warnings: manifest.warnings.len(),
            packages: manifest.packages.len(),
        }
    }
}

fn sbom_of(result: &BuildResult<'_>, epoch: i64) -> String {
    let subject = Subject {
        name: result.recipe.name.as_str().to_owned(),
        version: result.recipe.version.as_str().to_owned(),
        tool: TOOL.to_owned(),
        epoch,
        distribution: "debian".to_owned(),
        suite: result.recipe.distribution.suite.as_str().to_owned(),
    };
    let components: Vec<Component> = result.packages.iter().map(|p| component(result, p)).collect();
    let downloads: Vec<sbom::Download> = result
        .root
        .report
        .downloads
        .iter()
        .map(|d| sbom::Download { name: d.name.clone(), url: d.url.clone(), sha256: d.sha256.clone() })
        .collect();
    let containers: Vec<sbom::Container> = result
        .root
        .report
        .containers
        .iter()
        .map(|c| sbom::Container { name: c.name.clone(), image: c.image.clone(), digest: c.digest.clone() })
        .collect();
    let wheels = &result.root.report.wheels;
    let wheels: Vec<sbom::Wheel> = wheels
        .iter()
        .map(|w| sbom::Wheel {
            name: w.name.clone(),
            version: w.version.clone(),
            url: w.url.clone(),
            sha256: w.sha256.clone(),
        })
        .collect();
    let besides = sbom::Besides { downloads: &downloads, wheels: &wheels, containers: &containers };
    sbom::spdx(&subject, &components, &besides)
}

fn component(result: &BuildResult<'_>, package: &PackageContents) -> Component {
    let field = |name: &str| package.control.paragraph.get(name).unwrap_or_default().to_owned();
    let source = field("Source");
    let (source, source_version) = match source.split_once(" (") {
        Some((name, version)) => (name.to_owned(), version.trim_end_matches(')').to_owned()),
        None if source.is_empty() => (package.name.clone(), package.version.clone()),
        None => (source, package.version.clone()),
    };
    let locked = result.lock.package(&package.name);
    let copyright = result.root.tree.read(&format!("usr/share/doc/{}/copyright", package.name)).ok();
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
pub struct OutputLock {
    _lock: fs::File,
}

/// Waits for another build of the same image into the same folder, which most likely does what this one is to do.
///
/// # Errors
/// File system errors with the path.
pub fn lock_outputs(cache: &Path, names: &Names, progress: &dyn Progress) -> Result<OutputLock, Error> {
    let path = memory(cache, names, "lock");
    let folder = path.parent().unwrap_or(cache);
    fs::create_dir_all(folder).at(folder)?;
    let lock = fs::File::create(&path).at(&path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            progress.say(&format!("waiting for another build of {}", names.img.display()));
            lock.lock().at(&path)?;
        }
        Err(fs::TryLockError::Error(error)) => return Err(PathError::new(&path, error).into()),
    }
    Ok(OutputLock { _lock: lock })
}

/// What the cache knows of the last build of an image.
#[derive(Serialize, Deserialize)]
struct Memory {
    /// The program that built it: another one may make other bytes of the same inputs.
    program: String,
    outcome: Outcome,
    /// Of the compressed image.
    frames: Vec<KeptFrame>,
}

/// A [`Frame`]; sums in hex.
#[derive(Serialize, Deserialize)]
struct KeptFrame {
    key: String,
    start: u64,
    len: u64,
    sum: String,
}

/// Tells this program from one that was compiled at another time, without reading it.
fn this_program() -> Option<String> {
    let meta = fs::metadata(std::env::current_exe().ok()?).ok()?;
    Some(format!("{TOOL} {} {}", meta.len(), mtime_ns(&meta)))
}

fn remember(cache: &Path, names: &Names, outcome: &Outcome, frames: &[Frame]) -> Result<(), Error> {
    let path = memory(cache, names, "json");
    let folder = path.parent().unwrap_or(cache);
    fs::create_dir_all(folder).at(folder)?;
    let kept = |f: &Frame| KeptFrame { key: f.key.to_string(), start: f.start, len: f.len, sum: f.sum.to_string() };
    let frames = frames.iter().map(kept).collect();
    let memory = Memory { program: this_program().unwrap_or_default(), outcome: outcome.clone(), frames };
    let text = serde_json::to_string(&memory).map_err(|error| Error::other(error.to_string()))?;
    write_whole(&path, text.as_bytes())
}

/// What this same program remembers of its last build.
fn recall(cache: &Path, names: &Names) -> Option<Memory> {
    let text = fs::read_to_string(memory(cache, names, "json")).ok()?;
    let memory: Memory = serde_json::from_str(&text).ok()?;
    (this_program()? == memory.program).then_some(memory)
}

/// The last build's outcome, if it was of the same inputs by this same program and its files are still as it left them.
pub fn unchanged(cache: &Path, names: &Names, inputs: &Inputs) -> Option<Outcome> {
    let outcome = recall(cache, names)?.outcome;
    let same = |output: &Output| {
        fs::metadata(&output.path).is_ok_and(|m| m.len() == output.size && mtime_ns(&m) == output.mtime_ns)
    };
    let whole = outcome.build_id == inputs.build_id && outcome.outputs.iter().all(same);
    whole.then_some(Outcome { changed: false, ..outcome })
}
