//! The daemon (`fruit-update daemon`): judges the release that is on trial, looks for newer ones, installs them and
//! restarts the node when that is wanted and nobody minds.
//!
//! What is in force is what the boot loader is told; what is remembered comes second. So a node whose data partition is
//! full, broken or not there still commits and falls back.

mod machine;
mod node;
mod round;
mod work;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fruit_contract::settings::ConfigError;
use fruit_contract::update::config::{RootPath, UpdateConfig};
use fruit_device::{journal, termination};
use rustix::event::{PollFd, PollFlags, poll};
use sd_notify::NotifyState;

use crate::http::{Alive, Stop};

pub use machine::End;
pub use node::{Installation, Node, NodeError, open};
pub use work::Daemon;

/// Between two signs of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Why the daemon can't run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// The configuration in force. A release on trial is judged even with a file that can't be read: by the usual checks.
fn configure(path: &Path) -> (UpdateConfig, Option<String>) {
    match UpdateConfig::read(path) {
        Ok(config) => (config, None),
        Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            journal::warn(&format!("{}: there is none, so no source is asked", path.display()));
            (UpdateConfig::new(Some(RootPath::of_image())), None)
        }
        Err(error) => {
            journal::error(&format!("{error}; no source is asked until this is mended"));
            (UpdateConfig::new(Some(RootPath::of_image())), Some(error.to_string()))
        }
    }
}

/// Runs until SIGTERM or SIGINT, or until the node restarts. `root` is `/`, or where a test has put a node's files.
///
/// # Errors
/// The node does not know itself; the kernel refuses something that nothing works without.
pub fn run(config_path: &Path, root: &Path) -> Result<(), DaemonError> {
    let stop = stop_at_signals().map_err(DaemonError::Signals)?;
    let (config, config_error) = configure(config_path);
    let anchor = config.root.as_ref().map(|path| below(root, &path.path().to_string_lossy()));
    let installation = Installation { root: root.to_owned(), anchor };
    let node = Node::of_machine(installation, &config)?;
    let mut daemon = Daemon::new(node, config, config_error, Arc::clone(&stop), alive());
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    match daemon.run() {
        End::Stopped => journal::info("stopped"),
        End::Restarting => {
            journal::info("the node restarts");
            // Whoever starts the daemon again if it ends must not do so now.
            while !stop.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    Ok(())
}

/// Tells systemd from time to time that the daemon is not stuck.
fn alive() -> Alive {
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    Arc::new(move || {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= SIGN_OF_LIFE) {
            *last = Some(Instant::now());
            // Nobody may be listening.
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    })
}

/// A flag that is set at SIGTERM or SIGINT.
///
/// # Errors
/// Those of `signalfd(2)`, no thread.
pub fn stop_at_signals() -> io::Result<Stop> {
    let signals = termination::descriptor()?;
    let stop = Stop::default();
    let set = Arc::clone(&stop);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        loop {
            match poll(&mut [PollFd::new(&signals, PollFlags::IN)], None) {
                Err(rustix::io::Errno::INTR) => {}
                // Also when waiting is impossible: better to stop than not to hear it.
                _ => break set.store(true, Relaxed),
            }
        }
    })?;
    Ok(stop)
}

/// A place below the root of the node.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
