//! The program on the node. `fruit-update --help` tells its commands.

use clap::Parser;

/// Updates of this node.
#[derive(Parser)]
#[command(name = "fruit-update", version, disable_help_subcommand = true)]
struct Cli {}

fn main() {
    Cli::parse();
}
