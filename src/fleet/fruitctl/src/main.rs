//! The operator's command. `fruitctl stack` speaks to Pi Stack boards; `fleet`, `operator` and `node` sign what a fleet believes; `sync`,
//! `serve`, `net` and `release` talk with its nodes.

mod carry;
mod complete;
mod config;
mod confirm;
mod errors;
mod failure;
mod fleet;
mod hand;
mod identify;
mod led;
mod net;
mod node;
mod operator;
mod output;
mod power;
mod record;
mod relay;
mod release;
mod scan;
mod select;
mod serve;
mod session;
mod simulate;
mod span;
mod stack;
mod status;
mod table;
mod watch;

use clap::{CommandFactory, Parser, Subcommand};
use failure::{Code, EXIT_CODES, Failure};
use fruit_output::Finished;
use std::path::PathBuf;
use std::process::ExitCode;

/// Operate clusters of Raspberry Pis.
#[derive(Parser)]
#[command(name = "fruitctl", version = env!("FRUITBUILD_VERSION"), after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Carry records and releases on a stick to where no network goes, and back.
    Carry(Box<carry::CarryArgs>),
    /// Copy files from a node or to it, by scp.
    Cp(Box<hand::CpArgs>),
    /// Run a command on many nodes at once, by ssh.
    Exec(Box<hand::ExecArgs>),
    /// Make a fleet, show it, and pass its records on.
    Fleet(Box<fleet::FleetArgs>),
    /// Make a port of a node reachable on this machine.
    Forward(Box<hand::ForwardArgs>),
    /// Show this machine's part of the fleet's network, and what is in its way.
    Net(Box<net::NetArgs>),
    /// Invite nodes to a fleet, take them in, list and revoke them.
    Node(Box<node::NodeArgs>),
    /// Say who may sign what in a fleet.
    Operator(Box<operator::OperatorArgs>),
    /// Run a relay and seed for the fleet, on a machine that others can reach.
    Relay(Box<relay::RelayArgs>),
    /// Hand releases on to the fleet's nodes, and see how far they have come.
    Release(Box<release::ReleaseArgs>),
    /// Stay connected with the fleet: exchange records, take in nodes whose invites allow it, hand releases on.
    Serve(Box<net::ServeArgs>),
    /// Exchange records with the fleet's nodes: what was signed here goes out, what they have comes in.
    Sync(Box<net::SyncArgs>),
    /// Use a shell of a node, or run a command there, by ssh: on this network and behind routers alike.
    Ssh(Box<hand::SshArgs>),
    /// Print the part of an ssh configuration by which ssh, scp, rsync and Ansible reach the nodes by their names.
    SshConfig(Box<hand::ConfigArgs>),
    /// Carry one stream to a node between standard input and output: what ssh calls.
    #[command(hide = true)]
    Proxy(Box<hand::ProxyArgs>),
    /// Power and watch the boards of Pi Stacks over their RS-485 bus.
    Stack(Box<stack::StackArgs>),
    /// Print the completions of a shell.
    #[command(hide = true)]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write a page for each verb into a folder.
    #[command(hide = true)]
    Man {
        /// Folder, made if needed.
        folder: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    complete::answer(Cli::command);
    let code = match Cli::try_parse() {
        Ok(cli) => match run(cli) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        },
        Err(asked) => usage(&asked),
    };
    match fruit_output::finish("fruitctl") {
        Finished::Incomplete if code == ExitCode::SUCCESS => ExitCode::FAILURE,
        _ => code,
    }
}

/// Help, the version, or what is wrong with the command line.
fn usage(asked: &clap::Error) -> ExitCode {
    if asked.use_stderr() {
        let _ = asked.print();
    } else if let Err(error) = asked.print() {
        fruit_output::failed(error);
    }
    ExitCode::from(u8::try_from(asked.exit_code()).unwrap_or(Code::Usage as u8))
}

fn run(cli: Cli) -> Result<(), Failure> {
    // Into memory first: standard output is written by one hand.
    let mut text = Vec::new();
    match cli.verb {
        Verb::Carry(args) => args.run()?,
        Verb::Cp(args) => args.run()?,
        Verb::Exec(args) => args.run()?,
        Verb::Forward(args) => args.run()?,
        Verb::Ssh(args) => args.run()?,
        Verb::SshConfig(args) => args.run()?,
        Verb::Proxy(args) => args.run()?,
        Verb::Fleet(args) => args.run()?,
        Verb::Net(args) => args.run()?,
        Verb::Node(args) => args.run()?,
        Verb::Operator(args) => args.run()?,
        Verb::Relay(args) => args.run()?,
        Verb::Release(args) => args.run()?,
        Verb::Serve(args) => args.run()?,
        Verb::Sync(args) => args.run()?,
        Verb::Stack(args) => args.run()?,
        Verb::Completions { shell } => complete::script(shell, &mut text)?,
        Verb::Man { folder: None } => clap_mangen::Man::new(Cli::command()).render(&mut text)?,
        Verb::Man { folder: Some(folder) } => {
            let written =
                std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(Cli::command(), &folder));
            written.map_err(|error| Failure::new(Code::Refused, format!("{}: {error}", folder.display())))?;
        }
    }
    fruit_output::text(&text);
    Ok(())
}
