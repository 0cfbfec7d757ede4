//! The program on the node. `fruit-agent --help` tells its commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fruit_agent::shutdown::Hook;
use fruit_agent::vitals::Roots;
use fruit_agent::{daemon, shutdown};
use fruit_contract::agent::config::{AgentConfig, CONFIG_PATH, SOCKET_PATH};
use fruit_contract::agent::files::{HOOK_NAME, PROGRAM};
use fruit_contract::agent::status::Status;
use fruit_device::{journal, socket};
use fruit_output::{Finished, talk, text as say};
use lexopt::{Arg, Parser};

const HELP: &str = "\
Heartbeat, power signal, watchdog and metrics of a node on a Pi Stack board.

Usage: fruit-agent COMMAND [OPTIONS]

Commands:
  run             Runs the daemon
  status          Shows the state of the node as the daemon sees it
  check [FILE]    Checks a configuration file
  ordered         Records that the board's shutdown request was carried out (for its unit)
  stopping        Tells the daemon how the node is shutting down (for its unit)
  shutdown-hook poweroff|halt|reboot|kexec
                  Tells the board that the node is down (for systemd-shutdown)

Options:
  --config FILE   Configuration [default: /etc/fruit/agent.yaml]
  --socket PATH   Socket of the daemon [default: as configured]
  --prefix DIR    Where proc, sys, dev and run are [default: /]
  --json          Prints JSON to standard output
  --version, --help
";

/// Exit status for a command line that makes no sense.
const USAGE: u8 = 2;

/// The command line, taken apart.
struct Arguments {
    words: Vec<String>,
    config: PathBuf,
    socket: Option<PathBuf>,
    prefix: PathBuf,
    json: bool,
}

fn arguments(given: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
    let mut arguments =
        Arguments { words: Vec::new(), config: CONFIG_PATH.into(), socket: None, prefix: "/".into(), json: false };
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
        let mut path = || parser.value().map(PathBuf::from).map_err(|_| format!("{name} needs a path"));
        match name.as_str() {
            "--config" => arguments.config = path()?,
            "--socket" => arguments.socket = Some(path()?),
            "--prefix" => arguments.prefix = path()?,
            "--json" => arguments.json = true,
            "--help" | "-h" | "--version" => arguments.words.insert(0, name),
            option => return Err(format!("there is no option {option}")),
        }
    }
    Ok(arguments)
}

/// As systemd's shutdown hook, the program is called by another name, with the kind of shutdown as its only argument.
fn as_hook(mut given: impl Iterator<Item = OsString>) -> Option<OsString> {
    let name = given.next()?;
    (Path::new(&name).file_name()? == HOOK_NAME).then(|| given.next()).flatten()
}

fn main() -> ExitCode {
    let code = asked();
    match fruit_output::finish("fruit-agent") {
        Finished::Incomplete if code == ExitCode::SUCCESS => ExitCode::FAILURE,
        _ => code,
    }
}

fn asked() -> ExitCode {
    if let Some(kind) = as_hook(std::env::args_os()) {
        return report(hook(&kind.to_string_lossy(), Path::new(CONFIG_PATH), Path::new("/")));
    }
    let arguments = match arguments(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let words: Vec<&str> = arguments.words.iter().map(String::as_str).collect();
    let roots = Roots::below(&arguments.prefix);
    match words.as_slice() {
        ["--help" | "-h", ..] => {
            say(HELP);
            ExitCode::SUCCESS
        }
        ["--version", ..] => {
            say(concat!("fruit-agent ", env!("CARGO_PKG_VERSION"), "\n"));
            ExitCode::SUCCESS
        }
        ["run"] => report(daemon::run(&arguments.config, &arguments.prefix).map_err(|error| error.to_string())),
        ["status"] => report(status(&arguments)),
        ["check"] => report(check(&arguments.config)),
        ["check", file] => report(check(Path::new(file))),
        ["ordered"] => {
            journal::notice("the Pi Stack board is about to cut the power: shutting down");
            report(shutdown::accept_order(&roots.run).map_err(|error| error.to_string()))
        }
        ["stopping"] => report(stopping(&arguments, &roots)),
        ["shutdown-hook", kind] => report(hook(kind, &arguments.config, &arguments.prefix)),
        [] => usage("a command is missing"),
        words => usage(&format!("there is no command `{}`", words.join(" "))),
    }
}

fn usage(error: &str) -> ExitCode {
    talk(format_args!("fruit-agent: {error}; see fruit-agent --help"));
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

/// The configuration, or the default one where that cannot be read: these commands must work whatever a file says.
fn lenient(path: &Path) -> AgentConfig {
    AgentConfig::read(path).unwrap_or_default()
}

fn socket(arguments: &Arguments) -> PathBuf {
    let configured = || match AgentConfig::read(&arguments.config) {
        Ok(config) => config.metrics.socket.path().to_owned(),
        Err(_) => SOCKET_PATH.into(),
    };
    arguments.socket.clone().unwrap_or_else(configured)
}

fn status(arguments: &Arguments) -> Result<(), String> {
    let answer = socket::ask(PROGRAM, &socket(arguments), "GET", "/status").map_err(|error| error.to_string())?;
    if arguments.json {
        say(&answer);
        return Ok(());
    }
    let status: Status = serde_json::from_str(&answer).map_err(|error| format!("the daemon's answer: {error}"))?;
    say(status.to_string());
    Ok(())
}

fn check(file: &Path) -> Result<(), String> {
    AgentConfig::read(file).map_err(|error| error.to_string())?;
    say(format!("{}: good\n", file.display()));
    Ok(())
}

fn stopping(arguments: &Arguments, roots: &Roots) -> Result<(), String> {
    let announced = shutdown::announce(&roots.run, &socket(arguments)).map_err(|error| error.to_string())?;
    if !announced {
        journal::info("the node is not going down");
    }
    Ok(())
}

/// The file systems are gone and the journal is too: what is said here is seen on the console at best.
fn hook(kind: &str, config: &Path, prefix: &Path) -> Result<(), String> {
    let done = shutdown::hook(kind, &lenient(config), &Roots::below(prefix)).map_err(|error| error.to_string())?;
    match done {
        Hook::Pulled => journal::notice("the board knows that the node is down"),
        Hook::NotNeeded(why) => journal::info(&format!("the board is not told: {why}")),
    }
    Ok(())
}
