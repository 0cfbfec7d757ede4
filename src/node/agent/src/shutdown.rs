//! The ways down: an order of the board passed on to systemd, word of a shutdown passed on to the agent, and the word to
//! the board at the very end.
//!
//! The agent is not privileged and cannot power the node off. It makes the file [`order_path`]; a path unit of systemd
//! waits for it and starts a service whose `SuccessAction=poweroff` is the orderly shutdown.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fruit_base::AtPath;
use fruit_contract::agent::config::AgentConfig;
use fruit_contract::agent::files::PROGRAM;
use fruit_device::socket;
use fruit_device::systemd::{PRIVATE_SOCKET, SYSTEM_BUS, Systemd};

use crate::board;
use crate::line::Port;
use crate::vitals::Roots;

/// Time that systemd has for an answer during a shutdown.
const SYSTEMD_TIME: Duration = Duration::from_secs(3);

/// Targets that a node goes down by, and the word for each that the shutdown hook gets too.
const TARGETS: [(&str, &str); 5] = [
    ("poweroff.target", "poweroff"),
    ("halt.target", "halt"),
    ("reboot.target", "reboot"),
    ("kexec.target", "kexec"),
    ("soft-reboot.target", "soft-reboot"),
];

/// Made by the agent to order a shutdown; `fruit-agent-poweroff.path` waits for it.
pub fn order_path(run: &Path) -> PathBuf {
    run.join("fruit-agent/poweroff")
}

/// What the order becomes once it is obeyed. Stays until the power goes.
pub fn ordered_path(run: &Path) -> PathBuf {
    run.join("fruit-agent/ordered")
}

/// Orders a shutdown. An empty file: on a full file system a name can still be made when bytes cannot.
///
/// # Errors
/// Those of the file system, with the path.
pub fn order(run: &Path) -> io::Result<()> {
    let path = order_path(run);
    Ok(File::create(&path).map(|_| ()).at(&path)?)
}

/// Marks the order as obeyed (`fruit-agent ordered`).
///
/// # Errors
/// Those of the file system, with the path.
pub fn accept_order(run: &Path) -> io::Result<()> {
    let path = order_path(run);
    Ok(fs::rename(&path, ordered_path(run)).at(&path)?)
}

/// Whether the board ordered the shutdown of this boot.
pub fn is_ordered(run: &Path) -> bool {
    order_path(run).exists() || ordered_path(run).exists()
}

/// How systemd is taking the node down; `None` if it is not.
///
/// # Errors
/// systemd does not answer, in words.
pub fn kind_in_progress(run: &Path) -> Result<Option<&'static str>, String> {
    let ask = |socket: &str| {
        let socket = run.join(socket.trim_start_matches("/run/"));
        Systemd::at(&socket, SYSTEMD_TIME).units(&TARGETS.map(|(target, _)| target))
    };
    // systemd's own socket first: the bus may be on its way down already.
    let units = ask(PRIVATE_SOCKET).or_else(|_| ask(SYSTEM_BUS)).map_err(|error| error.to_string())?;
    let starting = |target: &str| units.iter().any(|unit| unit.name == target && unit.job == "start");
    Ok(TARGETS.into_iter().find(|(target, _)| starting(target)).map(|(_, word)| word))
}

/// Tells the agent behind `socket` how the node goes down (`fruit-agent stopping`). Says whether it does at all.
///
/// # Errors
/// systemd or the agent does not answer.
pub fn announce(run: &Path, socket: &Path) -> io::Result<bool> {
    match kind_in_progress(run).map_err(io::Error::other)? {
        None => Ok(false),
        Some(kind) => socket::ask(PROGRAM, socket, "POST", &format!("/stopping/{kind}")).map(|_| true),
    }
}

/// What the shutdown hook did or why it did nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hook {
    Pulled,
    NotNeeded(&'static str),
}

/// Tells the board that the node has gone down by itself, so that it cuts the power. Runs as systemd's shutdown hook,
/// when no file system is written any more.
///
/// # Errors
/// The line cannot be had.
pub fn hook(kind: &str, config: &AgentConfig, roots: &Roots) -> io::Result<Hook> {
    if !matches!(kind, "poweroff" | "halt") {
        return Ok(Hook::NotNeeded("the node comes up again"));
    }
    if !board::drives(config.board, board::product(&roots.proc).as_deref()) {
        return Ok(Hook::NotNeeded("there is no board"));
    }
    if is_ordered(&roots.run) {
        return Ok(Hook::NotNeeded("the board ordered it"));
    }
    let port = Port::find(&config.lines.chip, &roots.dev)?;
    // The line may still belong to an agent that is just being killed.
    for _ in 0..20 {
        match port.pull_low(config.lines.signal, config.signal.width.duration()) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => std::thread::sleep(Duration::from_millis(100)),
            other => return other.map(|()| Hook::Pulled),
        }
    }
    port.pull_low(config.lines.signal, config.signal.width.duration()).map(|()| Hook::Pulled)
}
