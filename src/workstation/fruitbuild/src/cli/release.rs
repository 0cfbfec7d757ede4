//! Options of the verbs that publish, pack and check releases.

use std::path::PathBuf;

use clap::Args;

use super::Signing;

/// How the pieces of releases are made.
#[derive(Args, Debug, Clone)]
pub struct Making {
    /// Release notes that travel with it: a text file
    #[arg(long, value_name = "FILE")]
    pub notes: Option<PathBuf>,
    /// Level of zstd for whole chunks, 1 to 22 [default: 15]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: Option<i32>,
    /// Most memory that making a delta takes, in MiB [default: 900]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(64..=1 << 20))]
    pub memory: Option<u64>,
}

/// The limit of a list of releases.
const PUBLISH_NOTES: &str = "A repository lists at most 2,048 targets, in a file of at most 1 MiB: a release is a target, and \
so is each delta. From four fifths on a warning says so; `fruitbuild prune` takes old ones out.";

#[derive(Args, Debug)]
#[command(after_help = PUBLISH_NOTES)]
pub struct Publish {
    /// Images (.img, or the .manifest.json beside one) to publish; before them the repository, if it is not --repository
    #[arg(required = true, value_names = ["[DIR] IMAGE"])]
    pub images: Vec<PathBuf>,
    /// Make a delta from this older one: an image, a published version, or a folder of either; repeatable
    #[arg(long, value_name = "OLD")]
    pub from: Vec<String>,
    #[command(flatten)]
    pub making: Making,
    #[command(flatten)]
    pub signing: Signing,
}

#[derive(Args, Debug)]
pub struct Packing {
    /// Publish the release, or the delta, first if it is not published yet: all nodes that follow the repository see it
    #[arg(long)]
    pub publish: bool,
    /// Bundle to write [default: out/PRODUCT-VERSION-BOARD….fruit]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub making: Making,
    #[command(flatten)]
    pub signing: Signing,
}

#[derive(Args, Debug)]
pub struct Bundle {
    /// What to pack: an image (.img, or the .manifest.json beside it), or a published version
    pub release: String,
    #[command(flatten)]
    pub packing: Packing,
}

#[derive(Args, Debug)]
pub struct Delta {
    /// The older releases, then the new one: images, published versions, or (older ones) folders of either
    #[arg(required = true, num_args = 2.., value_names = ["OLD", "NEW"])]
    pub releases: Vec<String>,
    #[command(flatten)]
    pub packing: Packing,
}

#[derive(Args, Debug)]
pub struct Prune {
    /// Versions to take out
    pub versions: Vec<String>,
    /// Take out all but the newest N of each product and board
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// Days that a piece stays when nothing needs it any more: nodes may be about to fetch it
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub grace: u32,
    /// Change nothing, and say what would be changed
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub signing: Signing,
}

#[derive(Args, Debug)]
pub struct Verify {
    /// Bundle (.fruit) or release repository
    pub path: PathBuf,
    /// Root that nodes trust
    #[arg(long, value_name = "FILE", default_value = "releases/metadata/1.root.json")]
    pub root: PathBuf,
    /// Image that deltas start from, to apply them to; repeatable
    #[arg(long, value_name = "IMAGE")]
    pub from: Vec<String>,
}
