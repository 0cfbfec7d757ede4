//! The command line: one definition, from which help, man pages and completions are made.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Parser, Debug)]
#[command(
    name = "fruitbuild",
    version,
    about = "Builds lean A/B images and signed updates for clusters of small boards",
    long_about = "Builds lean, read-only A/B images for single board computers from Debian packages, without root and \
                  without running any package's scripts.",
    after_long_help = EXIT_CODES,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    #[command(flatten)]
    pub talk: Talk,
}

pub const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed, for a reason that has no code of its own
  2  wrong command line
  3  a mistake in a recipe, a board, an overlay or a lock
  4  a signature, hash or checksum does not fit; nothing was used
  5  something could not be fetched
  6  the package set cannot be satisfied
  7  refused: the person said no, or the disk is in use";

#[derive(Args, Debug, Clone)]
pub struct Talk {
    /// Print results as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Args, Debug, Clone)]
pub struct Sources {
    /// Mirror of the distribution's packages: URL, or ARCHIVE=URL (debian, debian-security); repeatable
    ///
    /// Also from the variable FRUITBUILD_MIRROR, from `mirrors:` in fruitbuild/config.yaml of your configuration
    /// folder, or from this machine's apt configuration, in this order.
    #[arg(long, value_name = "URL")]
    pub mirror: Vec<String>,
    /// Use nothing but what the package store holds
    #[arg(long)]
    pub offline: bool,
    /// Folder of the package store and other caches
    ///
    /// Also from the variable FRUITBUILD_CACHE; else fruitbuild in the user's cache folder.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Install what this machine lacks for builds (and tests)
    Setup {
        /// Also what the tests need
        #[arg(long)]
        tests: bool,
    },
    /// Start a recipe
    Init(Init),
    /// Check a recipe, its board and its overlays
    Check {
        /// Recipe file
        recipe: PathBuf,
    },
    /// Choose package versions anew, and show what changed
    Lock {
        /// Recipe file
        recipe: PathBuf,
        #[command(flatten)]
        sources: Sources,
    },
    /// Build an image
    Build(Build),
    /// Say why a package is in an image
    Why {
        /// Package name
        package: String,
        /// Recipe file [default: each lock in recipes/ that has the package]
        recipe: Option<PathBuf>,
    },
    /// Compare two locks, manifests or images
    Diff {
        /// The older one
        old: PathBuf,
        /// The newer one
        new: PathBuf,
    },
    /// Show what is in an image
    Inspect {
        /// Image file (.img)
        image: PathBuf,
        /// How many of the largest files to list
        #[arg(long, default_value_t = 20)]
        largest: usize,
    },
    /// Start an image in an emulator
    Run(Run),
    /// Write an image to a card
    Flash(Flash),
    /// Print the JSON schema of recipe or board files, for editors
    Schema { kind: SchemaKind },
    /// Print completions for a shell
    ShellCompletions { shell: clap_complete::Shell },
    /// Write the man pages into a folder
    Man {
        /// Folder, made if needed
        folder: PathBuf,
    },
}

#[derive(Args, Debug)]
pub struct Init {
    /// Recipe file to make [default: recipes/NAME.yaml]
    pub file: Option<PathBuf>,
    /// Name of the image
    #[arg(long)]
    pub name: Option<String>,
    /// Board, such as raspberrypi3
    #[arg(long)]
    pub board: Option<String>,
    /// Host name; {serial} and {mac} are filled in on the node
    #[arg(long)]
    pub hostname: Option<String>,
    /// Public key, or a file that holds it, of who may log in
    #[arg(long, value_name = "KEY")]
    pub ssh_key: Option<String>,
    /// What to build on
    #[arg(long)]
    pub base: Option<String>,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub struct Build {
    /// Recipe file
    pub recipe: PathBuf,
    /// Folder for the image and what belongs to it
    #[arg(long, short, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Fail if the lock lacks something the recipe asks for, instead of changing the lock
    #[arg(long)]
    pub locked: bool,
    /// Fail if a package's scripts do something that fruitbuild neither does itself nor knows to be harmless
    #[arg(long)]
    pub strict: bool,
    /// Build even if nothing changed
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub sources: Sources,
}

#[derive(Args, Debug)]
pub struct Run {
    /// Recipe; its image in --out is started
    #[arg(value_name = "RECIPE")]
    pub what: PathBuf,
    /// Another image of the recipe
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// One of the board's emulated machines [default: the first]
    #[arg(long)]
    pub machine: Option<String>,
    /// Folder with the image of a recipe
    #[arg(long, short, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Wait for ssh and log in as root
    #[arg(long)]
    pub ssh: bool,
    /// Port of this machine that leads to the guest's ssh [default: a free one]
    #[arg(long, value_name = "PORT")]
    pub ssh_port: Option<u16>,
    /// Private key for --ssh
    #[arg(long, short, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Disk file that outlives the run; made from the image if it is not there
    #[arg(long, value_name = "FILE")]
    pub disk: Option<PathBuf>,
    /// fruit.yaml to put on the card before it starts
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub sources: Sources,
}

#[derive(Args, Debug)]
pub struct Flash {
    /// Image file (.img, or .img.zst with its .bmap)
    #[arg(required_unless_present = "list")]
    pub image: Option<PathBuf>,
    /// Disk (/dev/…) or file to write to
    #[arg(required_unless_present = "list")]
    pub target: Option<PathBuf>,
    /// List the removable disks
    #[arg(long)]
    pub list: bool,
    /// Do not ask before erasing
    #[arg(long, short)]
    pub yes: bool,
    /// fruit.yaml to put on the card
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum SchemaKind {
    Recipe,
    Board,
    /// fruit.yaml
    Node,
}
