//! `fruitctl fleet`, and what the verbs about operators, nodes and releases share with it. All of them work offline, on the records
//! that have come here.

mod accept;
mod admission;
pub mod candidates;
mod charter;
mod exchange;
mod folder;
mod init;
mod known;
mod moment;
mod opened;
mod relay;
mod repositories;
mod requests;
mod root;
mod rule;
mod seed;
mod show;
mod sign;
mod signing;

pub use admission::{admit, admit_automatic, are_automatic};
pub use charter::{CharterArgs, Next, adopt};
pub use exchange::{merge, note_void};
pub use folder::RECORDS;
pub use known::Known;
pub use moment::{Moment, age, now, set_clock, shown};
pub use opened::{Opened, file};
pub use repositories::{REPOSITORIES, Repositories, Repository};
pub use requests::{Pending, keep as keep_request, requests};
pub use show::operator_as_json;
pub use signing::{Signer, cover, domain, domains, public_key, scopes};

use crate::failure::{Code, Failure};
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use std::path::PathBuf;

const FLEETS: &str = "\
Fleets:
  A fleet is a folder: its records in fleet.records, your keys in keys/. Fleets are in
  $FRUITCTL_FLEETS, or else in ~/.config/fruit/fleets. --fleet and $FRUITCTL_FLEET name one of
  them, or any folder (with a `/` in it). Without either, the only one there is meant.

Keys:
  Keys are files in the format of OpenSSH, with a passphrase, or are held by ssh-agent. The
  passphrase is the first line of the file that --passphrase-file or
  $FRUITCTL_PASSPHRASE_FILE names; otherwise the terminal is asked.";

/// Names of the fleets that are known here.
pub fn names() -> Vec<String> {
    folder::known().unwrap_or_default().iter().map(|path| folder::fleet_name(path)).collect()
}

/// What the verbs of fleets have in common.
#[derive(Args, Default)]
pub struct Options {
    /// Fleet: its name or its folder.
    #[arg(long, global = true, value_name = "FLEET", add = ArgValueCandidates::new(candidates::fleets))]
    fleet: Option<PathBuf>,
    /// Operator who signs; repeat it where several must sign. Without it: the one whose key is here.
    #[arg(long = "as", global = true, value_name = "OPERATOR", add = ArgValueCandidates::new(candidates::operators))]
    operators: Vec<String>,
    /// Private key file to sign with as well, such as a root key on a stick; repeatable.
    #[arg(long = "key-file", global = true, value_name = "FILE")]
    key_files: Vec<PathBuf>,
    /// File whose first line is the passphrase of the keys.
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but results and failures.
    #[arg(long, short, global = true)]
    quiet: bool,
}

impl Options {
    pub fn passphrase_file(&self) -> Option<PathBuf> {
        let named = || std::env::var_os("FRUITCTL_PASSPHRASE_FILE").map(PathBuf::from);
        self.passphrase_file.clone().or_else(named)
    }

    /// Operators that `--as` names.
    pub fn named(&self) -> &[String] {
        &self.operators
    }

    /// Whether `--as` leaves it to this operator to sign.
    pub fn means(&self, operator: &str) -> bool {
        self.operators.is_empty() || self.operators.iter().any(|name| name == operator)
    }

    /// Talk, as opposed to results.
    pub fn say(&self, message: std::fmt::Arguments<'_>) {
        if !self.quiet {
            crate::output::talk(message);
        }
    }
}

#[derive(Args)]
#[command(after_help = format!("{FLEETS}\n\n{}", crate::failure::EXIT_CODES))]
pub struct FleetArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: FleetVerb,
}

#[derive(Subcommand)]
enum FleetVerb {
    /// Make a fleet: its root keys, its first operator and its charter.
    Init(init::InitArgs),
    /// Show the charter, the keys that are here, and what the fleet consists of.
    Show,
    /// List the fleets that are known here.
    List,
    /// Begin with the records of a fleet that somebody else made.
    Join(exchange::JoinArgs),
    /// Write all records to a file, for another machine or another operator.
    Export(exchange::ExportArgs),
    /// Take the records of a file, as far as they count.
    Import(exchange::ImportArgs),
    /// Say how many operators have to sign a class of records. Root keys sign it.
    Rule(rule::RuleArgs),
    /// Replace root keys, or change how many of them sign a charter. Root keys sign it, old and new ones.
    Root(root::RootArgs),
    /// Say whose releases the nodes install: repositories by their first root metadata. Root keys sign it.
    Accept(accept::AcceptArgs),
    /// Name members that others turn to first, with their addresses: invites carry them. Root keys sign it.
    Seed(seed::SeedArgs),
    /// Say which relays nodes use.
    Relay(relay::RelayArgs),
    /// Sign a charter with the root keys that are here, and take it as soon as enough have signed.
    Sign(sign::SignArgs),
}

impl FleetArgs {
    pub fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.verb {
            FleetVerb::Init(args) => args.run(options),
            FleetVerb::Show => show::show(options),
            FleetVerb::List => show::list(options),
            FleetVerb::Join(args) => args.run(options),
            FleetVerb::Export(args) => args.run(options),
            FleetVerb::Import(args) => args.run(options),
            FleetVerb::Rule(args) => args.run(options),
            FleetVerb::Root(args) => args.run(options),
            FleetVerb::Accept(args) => args.run(options),
            FleetVerb::Seed(args) => args.run(options),
            FleetVerb::Relay(args) => args.run(options),
            FleetVerb::Sign(args) => args.run(options),
        }
    }
}

/// Says how old the records are, once they have come from the network.
pub fn tell_age(options: &Options) {
    let Ok(folder) = options.folder() else { return };
    let contact = Known::read(&folder).contact;
    if contact != 0 {
        options.say(format_args!("note: last contact with the fleet: {} ago", age(contact, now())));
    }
}

/// An error with the path it happened at.
pub fn at(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Failure + '_ {
    move |error| Failure::new(Code::Refused, format!("{}: {error}{}", path.display(), fruit_base::remedy(&error)))
}

pub fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, message)
}
