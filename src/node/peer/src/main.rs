//! The program on the node. `fruit-peer --help` tells its commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fruit_contract::peer::config::{CONFIG_PATH, PeerConfig, RUN_PATH, STATUS_SOCKET};
use fruit_contract::peer::files::PROGRAM;
use fruit_contract::peer::status::Status;
use fruit_device::{journal, socket};
use fruit_output::{Finished, talk, text as say};
use fruit_peer::daemon;
use fruit_record::KeyId;
use lexopt::{Arg, Parser};

const HELP: &str = "\
A node's part of its fleet's network: passes on verified records, and pieces of releases.

Usage: fruit-peer COMMAND [OPTIONS]

Commands:
  run             Runs the daemon
  status          Shows the node, its fleet, and what it waits for
  peers           Lists the nodes that are connected
  check [FILE]    Checks a configuration file

Options:
  --config FILE          Configuration [default: /etc/fruit/peer.yaml]
  --socket PATH          Socket of the daemon [default: as configured]
  --address ID@HOST:PORT Another node, besides those that invite and charter name; repeatable
  --json                 Prints JSON to standard output
  --version, --help
";

/// Exit status for a command line that makes no sense.
const USAGE: u8 = 2;

/// The command line, taken apart.
struct Arguments {
    words: Vec<String>,
    config: PathBuf,
    socket: Option<PathBuf>,
    contacts: Vec<(KeyId, String)>,
    json: bool,
}

fn arguments(given: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
    let mut arguments =
        Arguments { words: Vec::new(), config: CONFIG_PATH.into(), socket: None, contacts: Vec::new(), json: false };
    let mut parser = Parser::from_args(given);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let name = match argument {
            Arg::Long(name) => format!("--{name}"),
            Arg::Short(letter) => format!("-{letter}"),
            Arg::Value(word) => {
                let word = word.into_string().map_err(|word| format!("{}: not UTF-8", word.display()))?;
                arguments.words.push(word);
                continue;
            }
        };
        let mut value = || parser.value().map_err(|_| format!("{name} needs a value"));
        match name.as_str() {
            "--config" => arguments.config = value()?.into(),
            "--socket" => arguments.socket = Some(value()?.into()),
            "--address" => {
                let text = value()?.to_string_lossy().into_owned();
                arguments.contacts.push(daemon::address(&text).map_err(|error| error.to_string())?);
            }
            "--json" => arguments.json = true,
            "--help" | "-h" | "--version" => arguments.words.insert(0, name),
            option => return Err(format!("there is no option {option}")),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let code = asked();
    match fruit_output::finish(PROGRAM) {
        Finished::Incomplete if code == ExitCode::SUCCESS => ExitCode::FAILURE,
        _ => code,
    }
}

fn asked() -> ExitCode {
    let arguments = match arguments(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let words: Vec<&str> = arguments.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--help" | "-h", ..] => {
            say(HELP);
            ExitCode::SUCCESS
        }
        ["--version", ..] => {
            say(concat!("fruit-peer ", env!("CARGO_PKG_VERSION"), "\n"));
            ExitCode::SUCCESS
        }
        ["run"] => report(daemon::run(&arguments.config, arguments.contacts).map_err(|error| error.to_string())),
        ["status"] => report(status(&arguments)),
        ["peers"] => report(peers(&arguments)),
        ["check"] => report(check(&arguments.config)),
        ["check", file] => report(check(Path::new(file))),
        [] => usage("a command is missing"),
        words => usage(&format!("there is no command `{}`", words.join(" "))),
    }
}

fn usage(error: &str) -> ExitCode {
    talk(format_args!("fruit-peer: {error}; see fruit-peer --help"));
    ExitCode::from(USAGE)
}

fn report(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            journal::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// The daemon's answer, as it came and as what it says.
fn ask(arguments: &Arguments) -> Result<(String, Status), String> {
    let configured = || match PeerConfig::read(&arguments.config) {
        Ok(config) => config.run.path().join(STATUS_SOCKET),
        Err(_) => Path::new(RUN_PATH).join(STATUS_SOCKET),
    };
    let path = arguments.socket.clone().unwrap_or_else(configured);
    let answer = socket::ask(PROGRAM, &path, "GET", "/status").map_err(|error| error.to_string())?;
    let status = serde_json::from_str(&answer).map_err(|error| format!("the daemon's answer: {error}"))?;
    Ok((answer, status))
}

fn status(arguments: &Arguments) -> Result<(), String> {
    let (answer, status) = ask(arguments)?;
    say(if arguments.json { answer } else { status.to_string() });
    Ok(())
}

fn peers(arguments: &Arguments) -> Result<(), String> {
    let (_, status) = ask(arguments)?;
    if arguments.json {
        let text = serde_json::to_string(&status.peers).map_err(|error| error.to_string())?;
        say(text + "\n");
        return Ok(());
    }
    for peer in &status.peers {
        let called = if peer.dialed { "called" } else { "took" };
        say(format!(
            "{} {:<8} {called} {} s ago, {} bytes in, {} out, {} records in, {} out, {}\n",
            peer.id,
            peer.state,
            peer.seconds,
            peer.bytes_in,
            peer.bytes_out,
            peer.records_in,
            peer.records_out,
            peer.name
        ));
    }
    Ok(())
}

fn check(file: &Path) -> Result<(), String> {
    PeerConfig::read(file).map_err(|error| error.to_string())?;
    say(format!("{}: good\n", file.display()));
    Ok(())
}
