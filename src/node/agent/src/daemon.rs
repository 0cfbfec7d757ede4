//! The daemon (`fruit-agent run`): which thread does what.
//!
//! | thread | does | may wait for |
//! |---|---|---|
//! | beat (real time) | beats | nothing |
//! | watchdog (real time) | feeds the hardware watchdog | nothing |
//! | main | signal line, journal, service manager | nothing |
//! | health | looks at the conditions | systemd, for a limited time |
//! | account | keeps the account | the disk |
//! | serve | status and metrics | its clients, for a limited time |

mod accounting;
mod health_check;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use fruit_contract::agent::config::AgentConfig;
use fruit_contract::settings::ConfigError;
use fruit_device::{journal, termination};
use rustix::event::{EventfdFlags, eventfd};

use crate::account::Ending;
use crate::metrics;
use crate::serve::{Answer, Server};
use crate::shared_state::SharedState;
use crate::status;
use crate::vitals::Roots;
use crate::{board, realtime, shutdown};
use accounting::Entry;

/// Stacks are this large; only what is used of them is in memory.
const STACK: usize = 256 * 1024;
/// How long one waits for the account to be on the disk.
const ACCOUNT_TIME: Duration = Duration::from_millis(2_500);
/// Niceness of the thread that serves: questions come last.
const SERVE_NICE: i32 = 10;

/// Starts a thread of the daemon.
fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work).map(|_| ())
}

/// The configuration in force and, if it is not the file's, why. A node whose agent refuses to run is switched off by its
/// board, so that nobody could ever mend the file: the defaults serve until then.
fn configure(path: &Path) -> (AgentConfig, Option<String>) {
    match AgentConfig::read(path) {
        Ok(config) => (config, None),
        Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            journal::info(&format!("{}: there is none, the defaults are in force", path.display()));
            (AgentConfig::default(), None)
        }
        Err(error) => {
            journal::error(&format!("{error}; the defaults are in force until this is mended"));
            (AgentConfig::default(), Some(error.to_string()))
        }
    }
}

/// Runs until SIGTERM or SIGINT. `prefix` is `/`, or where a test has put its files of the kernel.
///
/// # Errors
/// The kernel refuses something that nothing works without: a thread, a socket, a descriptor.
pub fn run(config_path: &Path, prefix: &Path) -> io::Result<()> {
    let termination = termination::descriptor()?;
    let (config, config_error) = configure(config_path);
    if let Err(error) = realtime::lock_memory() {
        journal::warn(&format!("memory is not locked, beats may be late: {error}"));
    }
    let shared = SharedState::new(config, config_error, Roots::below(prefix));
    if shutdown::is_ordered(&shared.roots.run) && shared.begin_ending(Ending::Signal) {
        journal::notice("the board ordered this shutdown before the agent was started again");
    }
    look_for_board(&shared);
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (entries, received) = channel();
    start("account", {
        let shared = Arc::clone(&shared);
        move || accounting::keep(&shared, &received)
    })?;
    start("health", {
        let shared = Arc::clone(&shared);
        move || health_check::run(&shared)
    })?;
    serve(&shared, entries.clone())?;
    watch::Watch::new(&shared, entries, wake).run(&termination)
}

fn look_for_board(shared: &SharedState) {
    let product = board::product(&shared.roots.proc);
    let drives = board::drives(shared.config.board, product.as_deref());
    match (product.as_deref(), drives) {
        (Some(product), true) => journal::notice(&format!("HAT `{product}`: its lines are used")),
        (None, true) => journal::notice("no HAT in the device tree; lines are used because the configuration says so"),
        (product, false) => {
            let found = product.map_or("no HAT".to_owned(), |product| format!("HAT `{product}`"));
            journal::notice(&format!("{found} in the device tree: no line is touched"));
        }
    }
    let mut board = shared.board();
    (board.product, board.drives) = (product, drives);
}

/// A failure here costs the node its metrics, not its heartbeat.
fn serve(shared: &Arc<SharedState>, entries: Sender<Entry>) -> io::Result<()> {
    let metrics = &shared.config.metrics;
    match Server::open(metrics.socket.path(), metrics.listen) {
        Err(error) => {
            journal::error(&format!("no status and no metrics: {error}"));
            Ok(())
        }
        Ok(server) => {
            let answers = Answers { shared: Arc::clone(shared), entries };
            start("serve", move || {
                // Being polite is no condition for serving.
                let _ = rustix::process::setpriority_process(None, SERVE_NICE);
                server.run(&answers);
            })
        }
    }
}

struct Answers {
    shared: Arc<SharedState>,
    entries: Sender<Entry>,
}

impl Answer for Answers {
    fn metrics(&self) -> String {
        metrics::render(&self.shared)
    }

    fn status(&self) -> String {
        // Strings and numbers only: nothing here that JSON cannot say.
        serde_json::to_string(&status::of(&self.shared)).unwrap_or_default() + "\n"
    }

    fn stopping(&self, kind: &str) -> bool {
        let Some(ending) = Ending::from_shutdown(kind) else { return false };
        if self.shared.begin_ending(ending) {
            journal::notice(&format!("the node goes down by itself: {kind}"));
            enter_ending(&self.entries, ending);
        }
        true
    }

    fn port_trouble(&self, port: SocketAddr, error: &io::Error) {
        journal::error(&format!("no metrics at {port} yet: {error}"));
    }
}

/// Enters how this boot ends and waits for a moment until that is on the disk.
fn enter_ending(entries: &Sender<Entry>, ending: Ending) {
    let (done, wait) = sync_channel(1);
    if entries.send(Entry::Ending(ending, done)).is_ok() && wait.recv_timeout(ACCOUNT_TIME).is_err() {
        journal::warn("the account is not on the disk yet");
    }
}

/// Wakes the main thread; called by threads that must not wait.
fn nudge(wake: &OwnedFd) {
    // Fails only when two to the power of 64 nudges have not been answered.
    let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
}
