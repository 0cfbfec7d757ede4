//! The command line of `fruit-update`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use fruit_update::config::CONFIG_PATH;

const STATUSES: &str = "\
Exit statuses:
  0  done; for `check`: there is a newer release
  1  something of this node does not work
  2  a command line that makes no sense
  3  there is nothing to do: no newer release
  4  refused: not for this node, or not now; nothing was written
  5  the source can't be reached, or is truncated or altered
  6  stopped by a signal; the next attempt goes on from there
  7  another fruit-update is at work
Whatever happens, the running system stays as it is; `fruit-update status` says where the node stands.";

/// Takes this node from one release to the next.
///
/// A release goes into the slot that is not running, boots on trial, and is committed when it has proved itself, or the
/// node falls back to the release before.
#[derive(Parser)]
#[command(name = "fruit-update", version, disable_help_subcommand = true, after_help = STATUSES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Configuration
    #[arg(long, global = true, value_name = "FILE", default_value = CONFIG_PATH)]
    pub config: PathBuf,
    /// JSON to standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Installs a release into the other slot; it is tried at the next boot
    Install {
        /// A bundle, a folder or a URL of a repository, the URL of a bundle, `-` for a bundle from standard input;
        /// default: the sources of the configuration
        from: Option<String>,
        /// This version, not the newest
        #[arg(long, value_name = "VERSION")]
        release: Option<String>,
        /// Also the version that runs already, and one that failed here
        #[arg(long)]
        force: bool,
        /// Boots that it gets to prove itself, 1 to 7; default: as configured
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=7))]
        tries: Option<u32>,
        /// Restarts into it at once
        #[arg(long)]
        restart: bool,
    },
    /// Looks whether there is a newer release, and installs nothing
    Check {
        /// As for install
        from: Option<String>,
    },
    /// Says where the node stands
    Status,
    /// Makes the running release, which is on trial, the one that boots from now on
    Commit,
    /// Goes back to the release before
    Rollback {
        /// Also to a release of an older security epoch
        #[arg(long)]
        force: bool,
        /// Restarts into it at once
        #[arg(long)]
        restart: bool,
    },
    /// Copies the running slot into the other one, so that there are two good ones
    Clone {
        /// Even if the other one holds a good release, or one that is to be tried
        #[arg(long)]
        force: bool,
    },
    /// Lists what happened on this node
    History,
    /// Restarts the node, into the release that is to be tried if there is one
    Restart,
    /// Judges the release on trial, looks for newer ones, installs them and restarts the node, as configured
    Daemon,
    /// Reads a configuration and says what is wrong with it
    CheckConfig,
    /// Runs a command; while it runs, nothing is installed and the node is not restarted by itself
    Inhibit {
        /// Who asks for it
        who: String,
        /// Why
        why: String,
        /// Command and its arguments
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
}
