//! The service on a node: configuration, invite and state come together, and the engine runs until it is told to stop.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fruit_contract::peer::config::PeerConfig;
use fruit_contract::settings::ConfigError;
use fruit_device::{journal, termination};
use fruit_record::invite::NotAnInvite;
use fruit_record::wire::is_name;
use fruit_record::{Invite, KeyId, limits};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use sd_notify::NotifyState;

use crate::engine::{Engine, Network, NotStarted, Options};
use crate::facts::Sources;
use crate::hand::Services;
use crate::sockets::Sockets;
use crate::state::{self, Store};
use crate::store::Pieces;

/// Folder of [`PeerConfig::state`] with pieces.
const CACHE: &str = "cache";

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{path}: {why}; put the line `invite:` that `fruitctl node invite` prints into fruit.yaml")]
    NoInvite { path: PathBuf, why: io::Error },
    #[error("{path}: {why}")]
    Invite { path: PathBuf, why: NotAnInvite },
    #[error("{text:?} is no address of a node: expected ID@HOST:PORT")]
    Address { text: String },
    #[error(transparent)]
    Engine(#[from] NotStarted),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A node that somebody named: `ID@HOST:PORT`.
///
/// # Errors
/// [`DaemonError::Address`].
pub fn address(text: &str) -> Result<(KeyId, String), DaemonError> {
    let wrong = || DaemonError::Address { text: text.chars().take(200).collect() };
    let (id, address) = text.split_once('@').ok_or_else(wrong)?;
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let id = KeyId::parse(id).filter(|id| id.key().is_some()).ok_or_else(wrong)?;
    port.filter(|port| *port > 0).map(|_| (id, address.to_owned())).ok_or_else(wrong)
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`DaemonError`].
pub fn run(config: &Path, contacts: Vec<(KeyId, String)>) -> Result<(), DaemonError> {
    // Before threads are started, which take the mask over.
    let end = termination::descriptor()?;
    let config = PeerConfig::read(config)?;
    let invite = invite(&config)?;
    let sockets = Sockets::bind(config.run.path())?;
    let engine = Engine::start(
        options(&config, invite, contacts)?,
        Some(Box::new(move |handle| {
            if let Err(error) = sockets.answer(&handle) {
                journal::error(&format!("local sockets: {error}"));
            }
        })),
    )?;
    if let Ok(status) = engine.status() {
        journal::info(&format!("node {}, words {}, {}", status.id, status.words, status.state));
    }
    // Without systemd nobody listens.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    loop {
        match poll(&mut [PollFd::new(&end, PollFlags::IN)], None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    engine.stop();
    Ok(())
}

/// The invite: systemd's private copy of it, or the file itself.
fn invite(config: &PeerConfig) -> Result<Invite, DaemonError> {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| PathBuf::from(folder).join("invite"));
    let path = credential.filter(|path| path.exists()).unwrap_or_else(|| config.invite.path().to_owned());
    let read = || {
        let mut text = String::new();
        File::open(&path)?.take(2 * limits::INVITE as u64).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|why| DaemonError::NoInvite { path: path.clone(), why })?;
    Invite::from_text(&text).map_err(|why| DaemonError::Invite { path, why })
}

/// Text of the device tree, without its final NUL.
fn device_tree(name: &str) -> String {
    let path = Path::new("/proc/device-tree").join(name);
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(limits::TEXT as u64).read_to_string(&mut text));
    if read.is_err() { String::new() } else { text.trim_end_matches('\0').trim().to_owned() }
}

/// What the request says: host name, serial number, board. What a request cannot hold is left out.
#[must_use]
pub fn facts() -> [String; 3] {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let fits = |text: &String, most: usize| {
        text.len() <= most && !text.chars().any(|c| c.is_control() || fruit_base::invisible::name(c).is_some())
    };
    let host = if is_name(&host) && host != "localhost" { host } else { String::new() };
    let (serial, board) = (device_tree("serial-number"), device_tree("model"));
    [host, serial, board].map(|text| if fits(&text, limits::NAME) { text } else { String::new() })
}

fn options(config: &PeerConfig, invite: Invite, contacts: Vec<(KeyId, String)>) -> io::Result<Options> {
    let (folder, fleet) = (config.state.path(), invite.fleet);
    // A key that is not kept has nothing to do with records that are.
    let kept = state::key(folder).and_then(|key| Ok((key, Store::open(folder, fleet)?)));
    let state_error = kept.as_ref().err().map(|error| {
        let error = format!("{error}; it goes on in memory, and is another node after a restart");
        journal::error(&error);
        error
    });
    let (key, store, replica) = match kept {
        Ok((key, (store, replica))) => (Some(key), Some(store), replica),
        Err(_) => (None, None, None),
    };
    let cache = store.is_some().then(|| (folder.join(CACHE), u64::from(config.cache_mib) << 20));
    let served = config.serve.iter().map(|folder| folder.path().to_owned()).collect();
    let relays = match &replica {
        Some(replica) => replica.trust().charter().relays.clone(),
        None => invite.relays.clone(),
    };
    Ok(Options {
        key: key.map_or_else(state::new_key, Ok)?,
        fleet,
        invite: Some((invite, facts())),
        pass: None,
        replica,
        store,
        state_error,
        pieces: Pieces::open(served, Some(config.shared.path().to_owned()), cache),
        network: Network { bind: config.listen, port: config.port, port_mapping: config.port_mapping, relays },
        mdns: config.mdns,
        site: config.site.clone().unwrap_or_default(),
        facts: Some(Sources::new(
            config.agent.path().to_owned(),
            config.host_key.path().to_owned(),
            config.report.duration(),
        )),
        services: Services { ssh: config.ssh, forward: config.forward.clone() },
        compare: config.compare.duration(),
        contacts,
    })
}
