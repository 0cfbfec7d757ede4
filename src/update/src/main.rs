//! The program on the node. `fruit-update --help` tells its commands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fruit_agent::journal;
use fruit_update::config::{CONFIG_PATH, UpdateConfig};
use fruit_update::{daemon, inhibit};

/// Updates of this node.
#[derive(Parser)]
#[command(name = "fruit-update", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Configuration
    #[arg(long, global = true, value_name = "FILE", default_value = CONFIG_PATH)]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Daemon => daemon::run(&cli.config, Path::new("/")).map_err(|error| error.to_string()),
        Command::CheckConfig => match UpdateConfig::read(&cli.config) {
            Ok(_) => {
                println!("{}: good", cli.config.display());
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        },
        Command::Inhibit { who, why, command } => return under_inhibitor(&who, &why, &command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            journal::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Ends as the command ended.
fn under_inhibitor(who: &str, why: &str, command: &[String]) -> ExitCode {
    let (program, arguments) = match command.split_first() {
        Some((program, arguments)) => (program, arguments),
        None => return ExitCode::FAILURE,
    };
    match inhibit::during(Path::new(inhibit::FOLDER), who, why, program, arguments) {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            journal::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
