//! Options of the verbs that publish, pack and check releases.

use std::path::PathBuf;

use clap::Args;

use super::Signing;

/// How the pieces of releases are made.
#[derive(Args, Debug, Clone)]
pub struct Making {
    /// Text file with release notes to include
    #[arg(long, value_name = "FILE")]
    pub notes: Option<PathBuf>,
    /// zstd compression level of whole chunks, 1 to 22 [default: 15]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: Option<i32>,
    /// Memory limit for making a delta, in MiB [default: 900]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(64..=1 << 20))]
    pub memory: Option<u64>,
}

/// The limit of a list of releases.
const PUBLISH_NOTES: &str = "A repository lists at most 2,048 targets, in a file of at most 1 MiB: a release is a target, and \
so is each delta. From four fifths of that on, `publish` warns; `fruitbuild prune` removes old releases.";

#[derive(Args, Debug)]
#[command(after_help = PUBLISH_NOTES)]
pub struct Publish {
    /// Images to publish (.img, or the .manifest.json beside it); optionally preceded by the repository folder
    #[arg(required = true, value_names = ["[DIR] IMAGE"])]
    pub images: Vec<PathBuf>,
    /// Make a delta from this older release: an image, a published version, or a folder of either; repeatable
    #[arg(long, value_name = "OLD")]
    pub from: Vec<String>,
    #[command(flatten)]
    pub making: Making,
    #[command(flatten)]
    pub signing: Signing,
}

#[derive(Args, Debug)]
pub struct Packing {
    /// Publish the release or delta first if it is not published yet; every node that follows the repository sees it
    #[arg(long)]
    pub publish: bool,
    /// Bundle file to write [default: out/PRODUCT-VERSION-BOARD….fruit]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub making: Making,
    #[command(flatten)]
    pub signing: Signing,
}

#[derive(Args, Debug)]
pub struct Bundle {
    /// Release to pack: an image (.img, or the .manifest.json beside it) or a published version
    pub release: String,
    #[command(flatten)]
    pub packing: Packing,
}

#[derive(Args, Debug)]
pub struct Delta {
    /// Older releases, then the new one: images, published versions or, for older ones, folders of either
    #[arg(required = true, num_args = 2.., value_names = ["OLD", "NEW"])]
    pub releases: Vec<String>,
    #[command(flatten)]
    pub packing: Packing,
}

#[derive(Args, Debug)]
pub struct Prune {
    /// Versions to remove
    pub versions: Vec<String>,
    /// Remove all but the newest N versions of each product and board
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// Days to keep a file that no release needs any more, as nodes may be downloading it
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub grace: u32,
    /// Show what would be removed and change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub signing: Signing,
}

#[derive(Args, Debug)]
pub struct Verify {
    /// Bundle (.fruit) or release repository
    pub path: PathBuf,
    /// Root metadata that the nodes trust
    #[arg(long, value_name = "FILE", default_value = "releases/metadata/1.root.json")]
    pub root: PathBuf,
    /// Image that deltas start from, so that they are applied as a check; repeatable
    #[arg(long, value_name = "IMAGE")]
    pub from: Vec<String>,
}
