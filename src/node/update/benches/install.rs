//! What an install costs, on this machine: `cargo bench -p fruit-update`. Ratios count, seconds do not: the time against
//! writing the whole image at 20 MB/s, what is written against what differs, memory against what is promised.
//!
//! The image is synthetic: 256 MiB that do not compress, one megabyte in sixteen changed in a few places, as a point
//! release does. Memory is that of a process of its own, which does nothing but install the delta bundle.
//! `FRUIT_BENCH_MIB` sets another size.
//!
//! `cargo bench -p fruit-update -- OLD.img BUNDLE.fruit ROOT.json` takes a real image, with its manifest beside it, and a
//! bundle that `fruitbuild` made.

#![allow(clippy::print_stdout)] // a benchmark tells what it measured

// Of both, the tests use what is not used here.
#[path = "../tests/update/card.rs"]
#[allow(dead_code)]
mod card;
#[path = "../tests/update/kit.rs"]
#[allow(dead_code)]
mod kit;

use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use fruit_contract::Slot;
use fruit_contract::init::ImageInfo;
use fruit_release::bundle::Stream;
use fruit_release::manifest::VolumeKind;
use fruit_release::tuf::{Clock, Time};
use fruit_update::card::Card;
use fruit_update::facts::Facts;
use fruit_update::install::{self, Counts, Hooks, Outcome, Request};
use fruit_update::store::Folder;
use fruit_update::updater::Updater;

use card::Bench;
use kit::{Image, Repository, noise};
use serde_json::Value;

/// Most that the process may have in memory, bytes.
const RESIDENT_MAX: u64 = 24 << 20;
/// Bytes per second of a card that is written whole.
const CARD: f64 = 20e6;
const MIB: f64 = (1 << 20) as f64;
/// Set for the process whose memory is measured: the bench's folder; build and verity parameters of what runs, unless that
/// is a real image.
const CHILD: [&str; 3] = ["FRUIT_BENCH_FOLDER", "FRUIT_BENCH_BUILD", "FRUIT_BENCH_VERITY"];

fn size() -> usize {
    std::env::var("FRUIT_BENCH_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

fn images() -> (Image, Image) {
    let root = noise(size() << 20, 1);
    let mut changed = root.clone();
    for chunk in (0..size()).step_by(16) {
        for at in [10_000, 400_000, 900_000] {
            let at = (chunk << 20) + at;
            changed[at..at + 3000].fill(chunk as u8);
        }
    }
    let boot = noise(16 << 20, 2);
    (Image::new("1.0", root, boot.clone()), Image::new("1.1", changed, boot))
}

fn install(folder: &Path, facts: Facts, anchor: &[u8], bundle: &Path) -> Counts {
    let store = Folder::new(folder.join("update")).unwrap();
    let mut updater = Updater::new(card::open(folder, Slot::A, false), Box::new(store), facts).unwrap();
    let mut hooks = Hooks { stop: card::stop_never(), progress: &mut |_| {}, pace: &mut |_| {} };
    let mut source = Stream::new(BufReader::with_capacity(64 << 10, fs::File::open(bundle).unwrap()), "bundle");
    match install::install(&mut updater, anchor, &mut source, &Request::default(), &mut hooks).unwrap() {
        Outcome::Installed(installed) => installed.counts,
        other => panic!("{other:?}"),
    }
}

/// The process whose memory is measured.
fn child(folder: &Path, facts: Facts, anchor: &[u8], bundle: &Path) {
    let before = peak();
    install(folder, facts, anchor, bundle);
    println!("{} {before}", peak());
}

fn small() -> Image {
    Image::new("1.0", noise(4096, 1), noise(4096, 2))
}

fn clock() -> Clock {
    Clock::Unset { built: Time::from_seconds(kit::TIME as i64), saved: None }
}

/// Blocks of 4 KiB in which two files differ.
fn differing(a: &[u8], b: &[u8]) -> u64 {
    a.chunks(4096).zip(b.chunks(4096)).filter(|(a, b)| a != b).count() as u64
}

/// Most bytes that this process had in memory.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Slot b as it is on a node: full of an older release.
fn with_old_release(bench: &Bench, old: &Image) {
    for (kind, bytes) in [(VolumeKind::Root, old.root_with_tree()), (VolumeKind::Boot, old.boot.clone())] {
        let path = bench.volume(Slot::B, kind);
        let mut content = fs::read(&path).unwrap();
        content[..bytes.len()].copy_from_slice(&bytes);
        fs::write(path, content).unwrap();
    }
}

/// What is in the slot that an install writes.
fn slot_b(folder: &Path) -> [Vec<u8>; 2] {
    VolumeKind::ALL.map(|kind| fs::read(folder.join(Card::volume_name(Slot::B, kind))).unwrap())
}

/// Installs and says what that cost. `image`: bytes of the release.
fn measure(name: &str, folder: &Path, image: usize, install: impl FnOnce() -> Counts) {
    let before = slot_b(folder);
    let started = Instant::now();
    let counts = install();
    let took = started.elapsed().as_secs_f64();
    let differ: u64 = before.iter().zip(&slot_b(folder)).map(|(a, b)| differing(a, b)).sum();
    let image = image as f64;
    println!(
        "{name:18} {:>6.1} MiB image, {:>7.2} MiB fetched, {:>7.2} MiB written: {:.3} of the blocks that differ \
         (promised: at most 1.15); {took:.1} s, {:.1} times as fast as writing it all at 20 MB/s (promised: 3)",
        image / MIB,
        counts.fetched as f64 / MIB,
        counts.written as f64 / MIB,
        counts.written as f64 / (differ * 4096) as f64,
        image / CARD / took,
    );
}

/// Has a process of its own do it, and says how much memory that took.
fn measure_memory(child: &mut Command) {
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.split_whitespace().map(|n| n.parse::<u64>().unwrap());
    let (peak, before) = (numbers.next().unwrap(), numbers.next().unwrap());
    println!(
        "resident           {:.1} MiB at most, {:.1} MiB of it before the install (promised: at most {} MiB)",
        peak as f64 / MIB,
        before as f64 / MIB,
        RESIDENT_MAX >> 20
    );
}

/// A node that runs the image in that file.
struct Real {
    manifest: Value,
    image: File,
}

impl Real {
    fn open(path: &Path) -> Real {
        let manifest = fs::read(path.with_extension("manifest.json")).expect("the manifest lies beside the image");
        Real { manifest: serde_json::from_slice(&manifest).unwrap(), image: File::open(path).unwrap() }
    }

    fn text(&self, section: &str, key: &str) -> String {
        self.manifest[section][key].as_str().unwrap_or_else(|| panic!("{section}.{key}")).to_owned()
    }

    fn facts(&self) -> Facts {
        let compatible = self.manifest["image"]["compatible"].as_array().into_iter().flatten();
        Facts {
            image: ImageInfo {
                name: self.text("release", "product"),
                version: self.text("image", "version"),
                board: self.text("image", "board"),
                build_id: self.manifest["build_id"].as_str().unwrap().to_owned(),
                build_time: self.manifest["source_date_epoch"].as_u64().unwrap(),
            },
            verity: Some(self.text("kernel", "verity").parse().unwrap()),
            compatible: compatible.map(|one| one.as_str().unwrap().to_owned()).collect(),
            architecture: self.text("image", "architecture"),
            loader: u64::MAX,
            epoch: 0,
            clock: Clock::Unset { built: Time::from_seconds(0), saved: None },
        }
    }

    /// Lays the image's partitions down as files; bytes of the slot.
    fn lay_down(&self, folder: &Path, filled: bool) -> usize {
        let mut content = 0;
        for kind in VolumeKind::ALL {
            let name = Card::volume_name(Slot::A, kind);
            let all = self.manifest["partitions"].as_array().unwrap();
            let partition = all.iter().find(|p| p["name"] == *name).unwrap();
            let number = |key: &str| partition[key].as_u64().unwrap();
            let mut bytes = vec![0; number("size") as usize];
            self.image.read_exact_at(&mut bytes, number("start")).unwrap();
            fs::write(folder.join(name), &bytes).unwrap();
            if !filled {
                bytes.fill(0xff);
            }
            fs::write(folder.join(Card::volume_name(Slot::B, kind)), &bytes).unwrap();
            content += number("content_size") as usize;
        }
        fs::write(folder.join("state"), fruit_contract::bootctl::fresh_block()).unwrap();
        let _ = fs::remove_dir_all(folder.join("update"));
        content
    }
}

fn real(image: &Path, bundle: &Path, root: &Path) {
    let (real, anchor) = (Real::open(image), fs::read(root).unwrap());
    if let Ok(folder) = std::env::var(CHILD[0]) {
        return child(Path::new(&folder), real.facts(), &anchor, bundle);
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, filled) in [("real, slot filled", true), ("real, slot empty", false)] {
        let image = real.lay_down(folder.path(), filled);
        measure(name, folder.path(), image, || install(folder.path(), real.facts(), &anchor, bundle));
    }
    real.lay_down(folder.path(), true);
    let mut command = Command::new(std::env::current_exe().unwrap());
    measure_memory(command.args([image, bundle, root]).env(CHILD[0], folder.path()));
}

fn main() {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).filter(|a| a != "--bench").map(PathBuf::from).collect();
    if let [image, bundle, root] = &files[..] {
        return real(image, bundle, root);
    }
    let anchor = kit::anchor();
    if let [Ok(folder), Ok(build_id), Ok(verity)] = CHILD.map(std::env::var) {
        let mut facts = card::facts(&small(), 1, clock());
        facts.image.build_id = build_id;
        facts.verity = Some(verity.parse().unwrap());
        let folder = Path::new(&folder);
        return child(folder, facts, &anchor, &folder.join("bundle"));
    }
    let (old, new) = images();
    let bench = Bench::new(&old);
    let mut repository = Repository::of(&[&new]);
    let delta = repository.add_delta(&old, &new);
    repository.sign();
    let release = new.manifest().target_path();
    let whole = bench.path("whole");
    fs::write(&whole, repository.bundle(&release, None)).unwrap();
    let bundle = bench.path("bundle");
    fs::write(&bundle, repository.bundle(&release, Some(&delta))).unwrap();
    let image = new.root_with_tree().len() + new.boot.len();
    let folder = bench.folder.path();

    for (name, bundle, filled) in
        [("delta", &bundle, true), ("delta, slot empty", &bundle, false), ("whole", &whole, true)]
    {
        bench.format(&old);
        if filled {
            with_old_release(&bench, &old);
        }
        measure(name, folder, image, || install(folder, card::facts(&old, 1, clock()), &anchor, bundle));
    }
    bench.format(&old);
    let values = [folder.display().to_string(), old.build_id(), old.params.to_string()];
    measure_memory(Command::new(std::env::current_exe().unwrap()).envs(CHILD.into_iter().zip(values)));
}
