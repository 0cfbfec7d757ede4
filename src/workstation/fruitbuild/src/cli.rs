//! The command line: one definition, from which help, man pages and completions are made.

mod release;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use release::{Bundle, Delta, Making, Packing, Prune, Publish, Verify};

#[derive(Parser, Debug)]
#[command(
    name = "fruitbuild",
    version = env!("FRUITBUILD_VERSION"),
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
    pub verbosity: Verbosity,
}

pub const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed for another reason
  2  wrong command line
  3  an error in a recipe, board, overlay or lock file
  4  a signature, hash or checksum does not match; nothing was used
  5  a download failed
  6  package dependencies cannot be satisfied
  7  refused: you answered no, or the disk is in use";

#[derive(Args, Debug, Clone)]
pub struct Verbosity {
    /// Print results as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say all details of warnings
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
}

/// What a recipe leaves open.
#[derive(Args, Debug, Clone)]
pub struct Settings {
    /// Value for a variable of the recipe; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

#[derive(Args, Debug, Clone)]
pub struct Sources {
    /// Package mirror: URL, or ARCHIVE=URL (debian, debian-security); repeatable
    ///
    /// If absent: the variable FRUITBUILD_MIRROR, then `mirrors:` in fruitbuild/config.yaml of your configuration
    /// folder, then this machine's apt configuration.
    #[arg(long, value_name = "URL")]
    pub mirror: Vec<String>,
    /// Download nothing; use only packages that are in the cache
    #[arg(long)]
    pub offline: bool,
    /// Cache folder for packages and compiled programs
    ///
    /// If absent: the variable FRUITBUILD_CACHE, then `fruitbuild` in your user cache folder.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

impl From<&Sources> for fruit_pipeline::sources::Sources {
    fn from(options: &Sources) -> fruit_pipeline::sources::Sources {
        let Sources { mirror, offline, cache } = options.clone();
        fruit_pipeline::sources::Sources { mirror, offline, cache }
    }
}

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Install the system packages that builds need and this machine lacks
    Setup {
        /// Also install what the tests need
        #[arg(long)]
        tests: bool,
    },
    /// Create a recipe
    Init(Init),
    /// Check a recipe, its board and its overlays without building
    Check {
        /// Recipe file
        recipe: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
    /// Update the package versions in the lock file and show what changed
    Lock {
        /// Recipe file
        recipe: PathBuf,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        sources: Sources,
    },
    /// Build an image
    Build(Build),
    /// Explain why a package is in an image
    Why {
        /// Package name
        package: String,
        /// Recipe file [default: each lock in recipes/ that has the package]
        recipe: Option<PathBuf>,
    },
    /// Compare two lock files, manifests, images, bundles, repositories or published versions
    Diff {
        /// The older of the two
        old: PathBuf,
        /// The newer of the two
        new: PathBuf,
        /// Release repository to look up published versions in
        #[arg(long, short, value_name = "DIR", default_value = "releases")]
        repository: PathBuf,
    },
    /// Show the contents of an image, bundle or release repository
    Inspect {
        /// Image (.img), bundle (.fruit) or release repository
        image: PathBuf,
        /// Number of largest files to list
        #[arg(long, default_value_t = 20)]
        largest: usize,
        /// Key folder, which also holds the changes that wait for signatures
        #[arg(long, short, value_name = "DIR", default_value = "keys")]
        keys: PathBuf,
    },
    /// Start an image in QEMU
    Run(Run),
    /// Write an image to a card
    Flash(Flash),
    /// Create, list, rotate and revoke the keys that sign releases
    Keys {
        #[command(subcommand)]
        what: Keys,
    },
    /// Sign pending changes of a release repository and renew metadata that is about to expire
    Sign(Sign),
    /// Discard changes that wait for signatures
    Discard(Discard),
    /// Publish images as signed releases in a repository, with deltas from older releases
    Publish(Publish),
    /// Remove releases from a repository and delete the files that no release needs any more
    Prune(Prune),
    /// Pack a published release into a bundle that installs on every node of its board
    Bundle(Bundle),
    /// Pack a published release into a smaller bundle for nodes that run an older release
    Delta(Delta),
    /// Verify a bundle or repository: signatures, hashes and every blob
    Verify(Verify),
    /// Print the JSON schema of recipe, board or fruit.yaml files, for editors
    Schema { kind: SchemaKind },
    /// Print shell completions
    ShellCompletions { shell: clap_complete::Shell },
    /// Write the man pages into a folder
    Man {
        /// Folder; created if it does not exist
        folder: PathBuf,
    },
}

#[derive(Args, Debug)]
pub struct Init {
    /// Recipe file to create [default: recipes/NAME.yaml]
    pub file: Option<PathBuf>,
    /// Name of the image
    #[arg(long)]
    pub name: Option<String>,
    /// Board, such as raspberrypi3
    #[arg(long)]
    pub board: Option<String>,
    /// Host name; the node replaces {serial} and {mac}
    #[arg(long)]
    pub hostname: Option<String>,
    /// SSH public key that may log in as root, or a file that contains it
    #[arg(long, value_name = "KEY")]
    pub ssh_key: Option<String>,
    /// Recipe to extend
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
    /// Folder for the image and its companion files
    #[arg(long, short, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Fail instead of changing the lock file when it does not match the recipe
    #[arg(long)]
    pub locked: bool,
    /// Fail if a maintainer script does something that fruitbuild neither reproduces nor knows to be harmless
    #[arg(long)]
    pub strict: bool,
    /// Build even if nothing changed
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    pub sources: Sources,
}

impl From<&Build> for fruit_pipeline::Options {
    fn from(options: &Build) -> fruit_pipeline::Options {
        fruit_pipeline::Options {
            recipe: options.recipe.clone(),
            set: options.settings.set.clone(),
            out: options.out.clone(),
            locked: options.locked,
            strict: options.strict,
            force: options.force,
            sources: (&options.sources).into(),
        }
    }
}

#[derive(Args, Debug, Clone)]
pub struct Run {
    /// Recipe whose image in --out to start
    #[arg(value_name = "RECIPE")]
    pub what: PathBuf,
    /// Start this image of the recipe instead
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Emulated machine, one of those that the board lists [default: the first]
    #[arg(long)]
    pub machine: Option<String>,
    /// Folder that contains the recipe's image
    #[arg(long, short, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// Wait until the node accepts SSH, then log in as root
    #[arg(long)]
    pub ssh: bool,
    /// Local port to forward to the guest's SSH port [default: a free one]
    #[arg(long, value_name = "PORT")]
    pub ssh_port: Option<u16>,
    /// Private key for --ssh
    #[arg(long, short, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Disk file that keeps its state between runs; created from the image if it does not exist
    #[arg(long, value_name = "FILE")]
    pub disk: Option<PathBuf>,
    /// fruit.yaml to write to the card before the start
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub sources: Sources,
}

#[derive(Args, Debug)]
pub struct Flash {
    /// Image file: .img, .img.zst, .img.xz or .img.gz; a .bmap beside it is used
    #[arg(required_unless_present = "list")]
    pub image: Option<PathBuf>,
    /// Disk (/dev/…) to write to; may also be a regular file
    #[arg(required_unless_present = "list")]
    pub target: Option<PathBuf>,
    /// List removable disks
    #[arg(long)]
    pub list: bool,
    /// Do not ask before erasing a disk or overwriting a file
    #[arg(long, short)]
    pub yes: bool,
    /// fruit.yaml to write to the card
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where a repository and its keys are, and how the keys are opened.
#[derive(Args, Debug, Clone)]
pub struct Signing {
    /// Release repository (a folder)
    #[arg(long, short, value_name = "DIR", default_value = "releases")]
    pub repository: PathBuf,
    /// Key folder, which also holds the changes that wait for signatures
    #[arg(long, short, value_name = "DIR", default_value = "keys")]
    pub keys: PathBuf,
    /// File whose first line is the passphrase of the keys, such as /dev/stdin
    ///
    /// If absent: the variable FRUITBUILD_PASSPHRASE_FILE; if that is unset, fruitbuild asks on the terminal.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// How long new metadata is valid; repeatable [default: root=1095 targets=365 snapshot=90 timestamp=35]
    #[arg(long, value_name = "ROLE=DAYS")]
    pub expires: Vec<String>,
}

#[derive(Subcommand, Debug)]
pub enum Keys {
    /// Create the keys of a new repository and its first root metadata
    Init {
        /// Root keys: N of M must sign
        #[arg(long, value_name = "N/M", default_value = "2/3")]
        root: String,
        /// Targets keys, which sign the list of releases: N of M must sign
        #[arg(long, value_name = "N/M", default_value = "1/1")]
        targets: String,
        /// Snapshot keys, which sign the versions of all lists: N of M must sign
        #[arg(long, value_name = "N/M", default_value = "1/1")]
        snapshot: String,
        /// Timestamp keys, which sign the current snapshot: N of M must sign
        #[arg(long, value_name = "N/M", default_value = "1/1")]
        timestamp: String,
        /// Use a key in ssh-agent, given by its public key file, such as root-2=yubikey.pub; repeatable
        #[arg(long, value_name = "NAME=FILE")]
        agent: Vec<String>,
        /// Use a key that is kept elsewhere, given by its public key file, such as root-3=berlin.pub; repeatable
        #[arg(long, value_name = "NAME=FILE")]
        elsewhere: Vec<String>,
        #[command(flatten)]
        signing: Signing,
    },
    /// List keys, thresholds and expiry dates
    List {
        #[command(flatten)]
        signing: Signing,
    },
    /// Add a key to a role
    Add {
        /// root, targets, snapshot or timestamp
        role: String,
        #[command(flatten)]
        key: NewKey,
        /// Number of keys that must sign from now on
        #[arg(long)]
        threshold: Option<u32>,
        #[command(flatten)]
        signing: Signing,
    },
    /// Replace a key of a role by a new one
    Rotate {
        /// root, targets, snapshot or timestamp
        role: String,
        /// Name or id of the old key
        old: String,
        #[command(flatten)]
        key: NewKey,
        #[command(flatten)]
        signing: Signing,
    },
    /// Remove a key from a role
    Revoke {
        /// root, targets, snapshot or timestamp
        role: String,
        /// Name or id of the key
        key: String,
        /// Number of keys that must sign from now on
        #[arg(long)]
        threshold: Option<u32>,
        #[command(flatten)]
        signing: Signing,
    },
}

#[derive(Args, Debug, Clone)]
pub struct NewKey {
    /// Name of the key; created unless the key folder has it or an option says where it is
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The key is in ssh-agent; FILE is its public key
    #[arg(long, value_name = "FILE", conflicts_with = "elsewhere")]
    pub agent: Option<PathBuf>,
    /// The key is kept elsewhere; FILE is its public key
    #[arg(long, value_name = "FILE")]
    pub elsewhere: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Sign {
    /// Export pending changes to a folder: the metadata, the bytes to sign, and a summary
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,
    /// Import signatures made elsewhere: signed exported metadata, or a raw 64-byte signature; repeatable
    #[arg(long, value_name = "FILE")]
    pub import: Vec<PathBuf>,
    /// Sign an exported file with the keys of the key folder, without access to the repository
    #[arg(long, value_name = "FILE", conflicts_with_all = ["export", "import", "renew"])]
    pub draft: Option<PathBuf>,
    /// With --draft: sign only with this key; repeatable
    #[arg(long, value_name = "NAME", requires = "draft")]
    pub with: Vec<String>,
    /// Sign pending changes (with --draft: the exported file) without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Renew a role's metadata although nothing changed; repeatable [default: timestamp, and snapshot if its keys are
    /// available]
    #[arg(long, value_name = "ROLE")]
    pub renew: Vec<String>,
    #[command(flatten)]
    pub signing: Signing,
}

#[derive(Args, Debug)]
pub struct Discard {
    /// Roles whose changes to discard: root, targets, snapshot, timestamp [default: all]
    pub roles: Vec<String>,
    #[command(flatten)]
    pub signing: Signing,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum SchemaKind {
    Recipe,
    Board,
    /// fruit.yaml
    Node,
}
