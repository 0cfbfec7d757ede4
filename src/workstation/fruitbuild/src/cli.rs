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
    /// Compare two locks, manifests, images, bundles, repositories or published versions
    Diff {
        /// The older one
        old: PathBuf,
        /// The newer one
        new: PathBuf,
        /// Folder of the release repository that has published versions
        #[arg(long, short, value_name = "DIR", default_value = "releases")]
        repository: PathBuf,
    },
    /// Show what is in an image
    Inspect {
        /// Image (.img), bundle (.fruit) or release repository
        image: PathBuf,
        /// How many of the largest files to list
        #[arg(long, default_value_t = 20)]
        largest: usize,
        /// Folder of the keys, for what waits for signatures of a repository
        #[arg(long, short, value_name = "DIR", default_value = "keys")]
        keys: PathBuf,
    },
    /// Start an image in an emulator
    Run(Run),
    /// Write an image to a card
    Flash(Flash),
    /// Make and change the keys that sign releases
    Keys {
        #[command(subcommand)]
        what: Keys,
    },
    /// Sign what waits in a release repository, and renew what expires
    Sign(Sign),
    /// Drop changes that wait for signatures
    Discard(Discard),
    /// Put images into a release repository, signed, with deltas from older ones
    Publish(Publish),
    /// Take releases out of a repository, and clear away what none needs
    Prune(Prune),
    /// Pack a published release into a bundle that installs on any node
    Bundle(Bundle),
    /// Pack a published release into a bundle that installs on nodes with an older one
    Delta(Delta),
    /// Check a bundle or repository: signatures, hashes, every blob
    Verify(Verify),
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
    /// Image file: .img, .img.zst, .img.xz or .img.gz; its .bmap beside it is used
    #[arg(required_unless_present = "list")]
    pub image: Option<PathBuf>,
    /// Disk (/dev/…) or file to write to
    #[arg(required_unless_present = "list")]
    pub target: Option<PathBuf>,
    /// List the removable disks
    #[arg(long)]
    pub list: bool,
    /// Do not ask before erasing a disk or overwriting a file
    #[arg(long, short)]
    pub yes: bool,
    /// fruit.yaml to put on the card
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where a repository and its keys are, and how the keys are opened.
#[derive(Args, Debug, Clone)]
pub struct Signing {
    /// Folder of the release repository
    #[arg(long, short, value_name = "DIR", default_value = "releases")]
    pub repository: PathBuf,
    /// Folder of the keys, and of what waits for signatures
    #[arg(long, short, value_name = "DIR", default_value = "keys")]
    pub keys: PathBuf,
    /// File whose first line is the passphrase of the keys, /dev/stdin for example
    ///
    /// Also from the variable FRUITBUILD_PASSPHRASE_FILE; else it is asked for on the terminal.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// How long new metadata is good for; repeatable [default: root=1095 targets=365 snapshot=90 timestamp=35]
    #[arg(long, value_name = "ROLE=DAYS")]
    pub expires: Vec<String>,
}

#[derive(Subcommand, Debug)]
pub enum Keys {
    /// Make the keys of a new repository, and its first root
    Init {
        /// Root keys: how many must sign, of how many
        #[arg(long, value_name = "N/M", default_value = "2/3")]
        root: String,
        /// Keys that sign the list of releases
        #[arg(long, value_name = "N/M", default_value = "1/1")]
        targets: String,
        /// Keys that sign which lists belong together
        #[arg(long, value_name = "N/M", default_value = "1/1")]
        snapshot: String,
        /// Keys that sign what is current
        #[arg(long, value_name = "N/M", default_value = "1/1")]
        timestamp: String,
        /// A key that ssh-agent holds, by its public key file: root-2=yubikey.pub; repeatable
        #[arg(long, value_name = "NAME=FILE")]
        agent: Vec<String>,
        /// A key that is held elsewhere, by its public key file: root-3=berlin.pub; repeatable
        #[arg(long, value_name = "NAME=FILE")]
        elsewhere: Vec<String>,
        #[command(flatten)]
        signing: Signing,
    },
    /// Show keys, thresholds and when metadata expires
    List {
        #[command(flatten)]
        signing: Signing,
    },
    /// Give a role another key
    Add {
        /// root, targets, snapshot or timestamp
        role: String,
        #[command(flatten)]
        key: NewKey,
        /// How many keys must sign from now on
        #[arg(long)]
        threshold: Option<u32>,
        #[command(flatten)]
        signing: Signing,
    },
    /// Put a new key in the place of an old one
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
    /// Take a key away from a role
    Revoke {
        /// root, targets, snapshot or timestamp
        role: String,
        /// Name or id of the key
        key: String,
        /// How many keys must sign from now on
        #[arg(long)]
        threshold: Option<u32>,
        #[command(flatten)]
        signing: Signing,
    },
}

#[derive(Args, Debug, Clone)]
pub struct NewKey {
    /// Name of the key; it is made unless the key folder knows it or one of the options says where it is
    #[arg(value_name = "NAME")]
    pub name: String,
    /// ssh-agent holds it; this is its public key file
    #[arg(long, value_name = "FILE", conflicts_with = "elsewhere")]
    pub agent: Option<PathBuf>,
    /// It is held elsewhere; this is its public key file
    #[arg(long, value_name = "FILE")]
    pub elsewhere: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Sign {
    /// Write what waits for signatures into a folder: the metadata, its bytes for other tools, and what it changes
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,
    /// Take signatures made elsewhere: exported metadata that was signed, or a bare signature of 64 bytes; repeatable
    #[arg(long, value_name = "FILE")]
    pub import: Vec<PathBuf>,
    /// Sign an exported file with the keys of the key folder, away from the repository
    #[arg(long, value_name = "FILE", conflicts_with_all = ["export", "import", "renew"])]
    pub draft: Option<PathBuf>,
    /// With --draft: only with this key; repeatable
    #[arg(long, value_name = "NAME", requires = "draft")]
    pub with: Vec<String>,
    /// Sign changes that wait, or with --draft what it says, without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Make new metadata of a role though nothing changed; repeatable [default: timestamp, and snapshot if its keys are
    /// at hand]
    #[arg(long, value_name = "ROLE")]
    pub renew: Vec<String>,
    #[command(flatten)]
    pub signing: Signing,
}

#[derive(Args, Debug)]
pub struct Discard {
    /// Roles whose changes are dropped: root, targets, snapshot, timestamp [default: all]
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
