//! What building costs, each figure as a ratio to something measured in the same run:
//!
//! - `limit`: a whole build of `recipes/pistack.yaml` from a warm package store, against decompressing the same packages
//!   with `xz -dc` and the like on all cores and writing as many bytes;
//! - `again`: a build when nothing changed, and when one file of an overlay changed;
//! - `mmdebstrap`: against the same packages by `mmdebstrap --variant=extract`, `mkfs.erofs`, `mke2fs` and `genimage`;
//! - `sizes`: where the bytes go, in pistack and in minimal.
//!
//! `cargo bench -p fruitbuild` runs all, `cargo bench -p fruitbuild -- limit sizes` some. The package store of the bench
//! is its own; the first run fills it from the mirror. Runs of what is compared alternate, so that a busy machine slows
//! down both; times are medians, and the processor's time stands beside the clock's.

#![allow(clippy::print_stdout)] // a benchmark tells what it measured

mod build {
    pub mod measure;
    pub mod others;
    pub mod project;
    pub mod sizes;
}

use build::measure::{Cost, alternate, median, ratio};
use build::others::{Extracted, Limit};
use build::project::Project;
use build::sizes;

/// Runs of each thing that is compared.
const RUNS: usize = 5;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let project = Project::new();
    println!("{} processors, load {}", build::measure::processors(), build::measure::load());
    project.fill_store("pistack");
    if wants("limit") {
        limit(&project);
    }
    if wants("again") {
        again(&project);
    }
    if wants("mmdebstrap") {
        mmdebstrap(&project);
    }
    if wants("sizes") {
        for (recipe, card, compressed) in [("pistack", 190, Some(70)), ("minimal", 80, None)] {
            project.fill_store(recipe);
            sizes::print(&project, recipe, card, compressed);
        }
    }
}

fn limit(project: &Project) {
    let limit = Limit::new(project);
    let [bare, packed, unpacked] = alternate(
        RUNS,
        [
            &mut || limit.run(),
            &mut || {
                project.forget_decompressed();
                project.build_all("pistack")
            },
            &mut || project.build_all("pistack"),
        ],
    );
    println!("\nbuild of pistack from a warm package store");
    println!(
        "  the bare limit: {} MiB of packages decompressed, {} MiB written",
        limit.packed >> 20,
        limit.written >> 20
    );
    bare.print("");
    println!("  build, packages as fetched");
    packed.print(&ratio(&packed, &bare, 2.0));
    println!("  build, packages decompressed before");
    unpacked.print(&ratio(&unpacked, &bare, 2.0));
    let peak = packed.peak.max(unpacked.peak);
    println!("  peak memory {} MiB (limit 300: {})", peak >> 20, build::measure::verdict(peak <= 300 << 20));
}

fn again(project: &Project) {
    project.build_all("pistack");
    let unchanged = median((0..RUNS).map(|_| project.build("pistack")).collect());
    println!("\nbuilds after a build");
    println!("  nothing changed");
    unchanged.print(&format!("limit 0.5 s: {}", build::measure::verdict(unchanged.seconds <= 0.5)));
    let [full, changed] = alternate(
        RUNS,
        [
            &mut || {
                project.forget_decompressed();
                project.build_all("pistack")
            },
            &mut || {
                project.change_an_overlay();
                project.build("pistack")
            },
        ],
    );
    println!("  full build");
    full.print("");
    println!("  one overlay file changed");
    changed.print(&ratio(&changed, &full, 1.0 / 3.0));
}

fn mmdebstrap(project: &Project) {
    let extracted = Extracted::new(project);
    let [theirs, ours, ours_warm]: [Cost; 3] = alternate(
        3,
        [
            &mut || extracted.run(),
            &mut || {
                project.forget_decompressed();
                project.build_all("pistack")
            },
            &mut || project.build_all("pistack"),
        ],
    );
    println!("\nthe same packages by mmdebstrap --variant=extract, mkfs.erofs, mke2fs and genimage");
    println!(
        "  (from a local repository of just these packages, so without download; neither finished nor pruned, without"
    );
    println!("  hash tree, checksums, block map, compressed image and SBOM)");
    theirs.print("");
    println!("  fruitbuild, whole build, packages as fetched");
    ours.print(&format!("{:.1}x faster", theirs.seconds / ours.seconds));
    println!("  fruitbuild, whole build, warm");
    let times = theirs.seconds / ours_warm.seconds;
    ours_warm.print(&format!("{times:.1}x faster (limit 3: {})", build::measure::verdict(times >= 3.0)));
}
