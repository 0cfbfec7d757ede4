//! The operator's command. `fruitctl stack` speaks to Pi Stack boards.

mod config;
mod errors;
mod failure;
mod identify;
mod led;
mod output;
mod power;
mod record;
mod scan;
mod serve;
mod session;
mod simulate;
mod span;
mod stack;
mod status;
mod table;

use clap::{CommandFactory, Parser, Subcommand};
use failure::{EXIT_CODES, Failure};
use std::process::ExitCode;

/// Operate clusters of Raspberry Pis.
#[derive(Parser)]
#[command(name = "fruitctl", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Power and watch the boards of Pi Stacks over their RS-485 bus.
    Stack(Box<stack::StackArgs>),
    /// Print the completions of a shell.
    #[command(hide = true)]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page.
    #[command(hide = true)]
    Man,
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Stack(args) => args.run(),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "fruitctl", &mut std::io::stdout());
            Ok(())
        }
        Verb::Man => clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()).map_err(Failure::from),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
