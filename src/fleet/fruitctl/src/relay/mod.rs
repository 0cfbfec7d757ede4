//! `fruitctl relay`: a relay and a seed in one, on a machine that others can reach.

mod fleet;
mod install;

use crate::failure::{Code, EXIT_CODES, Failure};
use crate::fleet::{at, usage};
use crate::output::{print, talk};
use clap::{Args, Subcommand};
use fleet::Fleet;
use fruit_base::{Replace, replace_with};
use fruit_device::termination;
use fruit_peer::daemon;
use fruit_peer::engine::{Engine, Network, Options as EngineOptions};
use fruit_peer::state::{self, Store};
use fruit_peer::store::Pieces;
use fruit_record::{Invite, KeyId, limits};
use fruit_relay::{Certificate, Counts, NotStarted, Options as RelayOptions, Relay};
use fruit_release::keys::read_bounded;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::json;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// In the folder of the state.
const INVITE: &str = "invite";
const CERTIFICATE: &str = "relay.pem";
const CACHE: &str = "cache";
/// Between two comparisons of records with a neighbour.
const COMPARE: Duration = Duration::from_secs(20);
/// So often it is looked whether passes have ended, and told how many members are connected if that has changed.
const REVIEW: Duration = Duration::from_secs(60);

const STEPS: &str = "\
How to begin:
  1. On the laptop:   fruitctl node invite --labels role=relay > relay.invite
  2. On this machine: fruitctl relay --invite relay.invite
     It prints its certificate's hash, its id and its four words, and these commands with them:
  3. On the laptop:   fruitctl sync --peer ID@HOST:4433
                      fruitctl node approve WORDS --name relay-1 --sync
                      fruitctl fleet relay add HOST:443=CERTIFICATE
                      fruitctl fleet seed relay-1@HOST:4433
                      fruitctl sync";

#[derive(Args)]
#[command(after_help = format!("{STEPS}\n\n{EXIT_CODES}"))]
pub struct RelayArgs {
    #[command(flatten)]
    options: RunOptions,
    #[command(subcommand)]
    verb: Option<RelayVerb>,
}

#[derive(Subcommand)]
enum RelayVerb {
    /// Write a systemd unit that runs it with these options, for the machine or for you.
    Install(install::InstallArgs),
}

/// How it is run.
#[derive(Args)]
struct RunOptions {
    /// File with the invite of this machine, as `fruitctl node invite` prints it. It is kept: later starts need none.
    #[arg(long, global = true, value_name = "FILE")]
    invite: Option<PathBuf>,
    /// Folder of key, certificate, records and cache. Without it: the one that systemd names, or ~/.local/state/fruit/relay.
    #[arg(long, global = true, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Address, and number of the relay's TCP and UDP port.
    #[arg(long, global = true, default_value = "[::]:443", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// UDP port of the seed; 0: any.
    #[arg(long, global = true, default_value_t = 4433, value_name = "PORT")]
    seed_port: u16,
    /// Another node of the fleet; repeatable.
    #[arg(long = "peer", global = true, value_name = "ID@HOST:PORT", value_parser = peer)]
    peers: Vec<(KeyId, String)>,
    /// Connections at once.
    #[arg(long, global = true, default_value_t = 2048, value_name = "N")]
    connections: u32,
    /// What each connection may send, in Mbit/s; 0: as much as there is room for.
    #[arg(long, global = true, default_value_t = 100, value_name = "MBIT", value_parser = clap::value_parser!(u32).range(..=10_000))]
    rate: u32,
    /// MiB of pieces of releases that the seed keeps for others.
    #[arg(long, global = true, default_value_t = 256, value_name = "MIB")]
    cache: u32,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

fn peer(text: &str) -> Result<(KeyId, String), String> {
    daemon::address(text).map_err(|error| error.to_string())
}

impl RelayArgs {
    pub fn run(self) -> Result<(), Failure> {
        match self.verb {
            Some(RelayVerb::Install(args)) => args.run(&self.options),
            None => self.options.run(),
        }
    }
}

impl RunOptions {
    fn state(&self) -> Result<PathBuf, Failure> {
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let own = || {
            let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
            state.map(|state| state.join("fruit/relay"))
        };
        let state = self.state.clone().or_else(|| folder("STATE_DIRECTORY")).or_else(own);
        state.ok_or_else(|| usage("HOME is not set: name the folder of the state with --state"))
    }

    fn run(&self) -> Result<(), Failure> {
        // Before threads are started, which take the mask over.
        let end = termination::descriptor()?;
        let state = self.state()?;
        std::fs::create_dir_all(&state).map_err(at(&state))?;
        let invite = self.invite(&state)?;
        let certificate = Certificate::keep(&state.join(CERTIFICATE));
        let certificate = certificate.map_err(|why| Failure::new(Code::Refused, why.to_string()))?;
        let (engine, fleet) = self.seed(&state, invite)?;
        let options = RelayOptions {
            listen: self.listen,
            connections: usize::try_from(self.connections).unwrap_or(usize::MAX),
            rate: NonZeroU32::new(self.rate.saturating_mul(125_000)),
        };
        let relay = Relay::start(options, &certificate, Box::new(fleet.clone())).map_err(|why| not_started(&why))?;
        self.tell(&engine, &relay, &certificate)?;
        let served = serve(&engine, &relay, &fleet, &end);
        drop(relay);
        served
    }

    /// The invite that was named, or the one that was kept.
    fn invite(&self, state: &Path) -> Result<Invite, Failure> {
        let kept = state.join(INVITE);
        let path = self.invite.clone().unwrap_or_else(|| kept.clone());
        let Some(bytes) = read_bounded(&path, 2 * limits::INVITE as u64)? else {
            let message = format!(
                "{}: there is no invite; make one with `fruitctl node invite` on the laptop of an operator, and name its file \
                 with --invite",
                path.display()
            );
            return Err(usage(message));
        };
        let invite = Invite::from_text(String::from_utf8_lossy(&bytes).trim());
        let invite = invite.map_err(|why| usage(format!("{}: {why}", path.display())))?;
        if path != kept {
            replace_with(&kept, &bytes, Replace { mode: 0o600, durable: true }).map_err(at(&kept))?;
        }
        Ok(invite)
    }

    /// The seed: a member like all others, with an address that others can call.
    fn seed(&self, state: &Path, invite: Invite) -> Result<(Arc<Engine>, Fleet), Failure> {
        let refused = |error: std::io::Error| Failure::new(Code::Refused, error.to_string());
        let key = state::key(state).map_err(refused)?;
        let (store, replica) = Store::open(state, invite.fleet).map_err(refused)?;
        let relays = match &replica {
            Some(replica) => replica.trust().charter().relays.clone(),
            None => invite.relays.clone(),
        };
        let bind = Some(self.listen.ip()).filter(|ip| !ip.is_unspecified());
        let fleet = Fleet::new(replica.clone());
        let engine = Engine::start(
            EngineOptions {
                key,
                fleet: invite.fleet,
                invite: Some((invite, daemon::facts())),
                pass: None,
                replica,
                store: Some(store),
                state_error: None,
                pieces: Pieces::open(Vec::new(), None, Some((state.join(CACHE), u64::from(self.cache) << 20))),
                network: Network { bind, port: self.seed_port, port_mapping: false, relays },
                mdns: false,
                site: String::new(),
                facts: None,
                services: Default::default(),
                compare: COMPARE,
                contacts: self.peers.clone(),
            },
            None,
        )
        .map_err(|why| Failure::new(Code::Port, why.to_string()))?;
        Ok((Arc::new(engine), fleet))
    }

    /// Says where it is, and what is to be done with that.
    fn tell(&self, engine: &Engine, relay: &Relay, certificate: &Certificate) -> Result<(), Failure> {
        let status = engine.status().map_err(ended)?;
        let (id, words, listen, pin) = (&status.id, &status.words, relay.listen(), certificate.pin());
        let port = |address: &String| address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let seed_port = match self.seed_port {
            0 => status.addresses.iter().find_map(port).unwrap_or(0),
            port => port,
        };
        if self.json {
            let value = json!({
                "id": id, "words": words, "state": status.state, "relay": listen.to_string(), "certificate": pin.to_string(),
                "seed_port": seed_port, "addresses": status.addresses,
            });
            print(format_args!("{value}"));
            return Ok(());
        }
        print(format_args!("relay: TCP and UDP port {}, certificate {pin}", listen.port()));
        print(format_args!("seed:  UDP port {seed_port}, node {id}, words {words}, {}", status.state));
        if status.state != "member" {
            talk(format_args!(
                "on the laptop of an operator (HOST: the name or address at which others reach this machine):\n  \
                 fruitctl sync --peer {id}@HOST:{seed_port}\n  \
                 fruitctl node approve {words} --name relay-1 --sync\n  \
                 fruitctl fleet relay add HOST:{}={pin}\n  \
                 fruitctl fleet seed relay-1@HOST:{seed_port}\n  \
                 fruitctl sync",
                listen.port()
            ));
        }
        Ok(())
    }
}

fn ended(why: fruit_peer::engine::Ended) -> Failure {
    Failure::new(Code::Port, why.to_string())
}

fn not_started(why: &NotStarted) -> Failure {
    let code = if matches!(why, NotStarted::Bind { .. }) { Code::Port } else { Code::Refused };
    Failure::new(code, why.to_string())
}

/// Keeps the relay in step with the fleet until it is told to stop.
fn serve(engine: &Engine, relay: &Relay, fleet: &Fleet, end: &OwnedFd) -> Result<(), Failure> {
    let (mut state, mut changes, mut told) = (String::new(), None, 0);
    let mut reviewed: Option<Instant> = None;
    loop {
        let now = Some(engine.changes().map_err(ended)?);
        let is_changed = std::mem::replace(&mut changes, now) != now;
        if is_changed {
            fleet.learn(engine.replica().map_err(ended)?);
        }
        if is_changed || reviewed.is_none_or(|at| at.elapsed() >= REVIEW) {
            match relay.review() {
                0 => {}
                cut => talk(format_args!("{cut} connections were cut: they are no members' any more")),
            }
            reviewed = Some(Instant::now());
            let Counts { members, refused, bytes_in, .. } = relay.counts();
            if std::mem::replace(&mut told, members) != members {
                let mib = bytes_in >> 20;
                talk(format_args!(
                    "{members} members are connected; {refused} were refused, {mib} MiB passed on so far"
                ));
            }
        }
        let status = engine.status().map_err(ended)?;
        if status.state != state {
            talk(format_args!("{}: {}", status.state, status.trouble.as_deref().unwrap_or("in the fleet")));
            state = status.state;
        }
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&second)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
}
