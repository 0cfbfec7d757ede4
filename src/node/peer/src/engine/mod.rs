//! A node of a fleet's network, in a thread of its own: what `fruit-peer` runs on a node, and `fruitctl` on a laptop.
//!
//! [`Engine::start`] takes what is known: key, invite or pass, records, folders to hand on. From then on records that are
//! [`Engine::offer`]ed reach the fleet, the fleet's records are in [`Engine::replica`], and [`Engine::give`] finds pieces of
//! releases.

mod actor;
mod connection;
mod fetch;
mod hand;
mod message;
mod net;
mod report;
mod repository;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use fruit_base::Sha256;
use fruit_contract::peer::status::Status;
use fruit_record::wire::Malformed;
use fruit_record::{FleetId, Invite, KeyId, Outcome, Refused, Replica};
use fruit_release::local::Answer;
use fruit_release::name::Name;
use iroh_mdns_address_lookup::{DiscoveryEvent, MdnsAddressLookup};
use n0_future::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use actor::Actor;
use hand::Hands;
use message::{Command, Event, Shared};
pub use net::{Network, NotBound};
use report::Reporter;
use repository::Repositories;

use crate::facts::Sources;
pub use crate::hand::{Local, NotOpened};
use crate::hand::{Services, Target};
use crate::machine::{Machine, Setup};
use crate::state::Store;
use crate::store::Pieces;

/// Events and commands that may wait.
const WAITING: usize = 256;
/// Between two signs of life on the local network: it is the whole of the multicast traffic.
const CADENCE: Duration = Duration::from_secs(5);

/// Nodes on the local network that are remembered: anybody there can make up more.
const NEARBY: usize = 512;

/// With what an engine begins.
#[derive(Debug)]
pub struct Options {
    pub key: SigningKey,
    pub fleet: FleetId,
    /// The invite of a node, with name, serial number and model of its board.
    pub invite: Option<(Invite, [String; 3])>,
    /// What an operator's machine shows instead: a [`crate::pass::Pass`].
    pub pass: Option<Vec<u8>>,
    pub replica: Option<Replica>,
    /// Where records are kept; none: in memory.
    pub store: Option<Store>,
    /// Why they are not kept, for the status.
    pub state_error: Option<String>,
    /// Pieces on this machine.
    pub pieces: Pieces,
    pub network: Network,
    pub mdns: bool,
    pub site: String,
    /// What a node reports of itself; an operator's machine reports nothing.
    pub facts: Option<Sources>,
    /// What operators reach through this node.
    pub services: Services,
    /// Between two comparisons of records with a neighbour.
    pub compare: Duration,
    /// Nodes of which somebody knows the address, `HOST:PORT`.
    pub contacts: Vec<(KeyId, String)>,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    #[error(transparent)]
    Network(#[from] NotBound),
    #[error("what the node says of itself is refused: {0}")]
    Request(#[from] Malformed),
    #[error("the network's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The engine has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the network part of this program has ended")]
pub struct Ended;

/// A running engine; it ends when this is dropped.
pub struct Engine {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// A way to a running engine, for tasks within its runtime and for other threads.
#[derive(Clone)]
pub struct Handle {
    shared: Shared,
    repositories: Repositories,
}

type Started = std::sync::mpsc::Sender<Result<Handle, NotStarted>>;
/// A task that runs beside the engine, in its runtime.
pub type Beside = Box<dyn FnOnce(Handle) + Send>;

impl Engine {
    /// Opens the port and begins to look for other nodes. `beside` is called within the runtime, where it may spawn local tasks.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub fn start(options: Options, beside: Option<Beside>) -> Result<Engine, NotStarted> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
        let (started, wait) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("network".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, run(options, beside, started));
            runtime.shutdown_timeout(Duration::from_secs(1));
        })?;
        let ended = || std::io::Error::other("it ended at its start");
        let handle = wait.recv().map_err(|_| ended())??;
        Ok(Engine { handle, thread: Some(thread) })
    }

    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    fn question<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Ended> {
        let (reply, answer) = oneshot::channel();
        self.handle.shared.commands.blocking_send(command(reply)).map_err(|_| Ended)?;
        answer.blocking_recv().map_err(|_| Ended)
    }

    /// Takes a record that was signed here, and passes it on.
    ///
    /// # Errors
    /// The engine has ended; within: the record does not count.
    pub fn offer(&self, record: &[u8]) -> Result<Result<Outcome, Refused>, Ended> {
        self.question(|reply| Command::Offer { record: record.to_vec(), reply })
    }

    /// The fleet's records, as far as they have come here; none before the first charter.
    ///
    /// # Errors
    /// The engine has ended.
    pub fn replica(&self) -> Result<Option<Replica>, Ended> {
        self.question(Command::Replica)
    }

    /// Requests of nodes that want to be members.
    ///
    /// # Errors
    /// The engine has ended.
    pub fn requests(&self) -> Result<Vec<Vec<u8>>, Ended> {
        self.question(Command::Requests)
    }

    /// A number that goes up with every change of records or charters.
    ///
    /// # Errors
    /// The engine has ended.
    pub fn changes(&self) -> Result<u64, Ended> {
        self.question(Command::Changes)
    }

    /// How many of these pieces each neighbour has; those that do not answer within seconds have none.
    ///
    /// # Errors
    /// The engine has ended.
    pub fn survey(&self, repository: Sha256, names: Vec<Name>) -> Result<Vec<(KeyId, u64)>, Ended> {
        self.question(|reply| Command::Survey { repository, names, reply })
    }

    /// Carries a stream from this machine to a service of another node, which may be at these addresses.
    ///
    /// # Errors
    /// The engine has ended; within: the node is not reached, or refuses.
    pub fn reach(
        &self,
        peer: KeyId,
        addresses: Vec<String>,
        target: Target,
        local: Local,
    ) -> Result<Result<(), NotOpened>, Ended> {
        self.question(|reply| Command::Reach { peer, addresses, target, local, reply })
    }

    /// # Errors
    /// The engine has ended.
    pub fn status(&self) -> Result<Status, Ended> {
        self.question(Command::Status)
    }

    /// A node may be at this address.
    ///
    /// # Errors
    /// The engine has ended.
    pub fn learn(&self, peer: KeyId, address: Option<String>) -> Result<(), Ended> {
        self.handle.shared.commands.blocking_send(Command::Learn(peer, address)).map_err(|_| Ended)
    }

    /// Hands on the repositories in these folders from now on.
    ///
    /// # Errors
    /// The engine has ended.
    pub fn serve(&self, folders: Vec<PathBuf>) -> Result<(), Ended> {
        self.handle.shared.commands.blocking_send(Command::Serve(folders)).map_err(|_| Ended)
    }

    /// Ends it, after records were written.
    pub fn stop(mut self) {
        self.end();
    }

    /// Waits until it has ended by itself.
    fn end(&mut self) {
        // One that has ended needs not to be told.
        let _ = self.handle.shared.commands.blocking_send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
    }
}

impl Handle {
    /// What the program says of itself.
    pub async fn status(&self) -> Option<Status> {
        self.shared.question(Command::Status).await
    }

    /// A piece, from here or from neighbours.
    pub async fn give(&self, repository: Sha256, name: Name) -> Answer {
        self.repositories.give(&self.shared, repository, name).await
    }

    /// Asks neighbours for newer metadata.
    pub async fn refresh(&self, repository: Sha256) {
        self.repositories.refresh(&self.shared, repository, true).await;
    }
}

async fn run(options: Options, beside: Option<Beside>, started: Started) {
    let (shared, events, commands) = channels(options.pieces);
    let (key, fleet) = (options.key.to_bytes(), options.fleet);
    let setup = Setup {
        key: options.key,
        fleet,
        invite: options.invite,
        pass: options.pass,
        replica: options.replica,
        compare: u64::try_from(options.compare.as_millis()).unwrap_or(u64::MAX),
    };
    // Who started it does not wait any more, if it was told of a failure.
    let mut machine = match Machine::new(setup) {
        Ok(machine) => machine,
        Err(why) => return drop(started.send(Err(why.into()))),
    };
    options.contacts.into_iter().for_each(|(peer, address)| machine.learn(peer, Some(address)));
    let token = machine.relay_token();
    let (endpoint, memory, pins) = match net::open(&options.network, &key, token.as_deref()).await {
        Ok(opened) => opened,
        Err(why) => return drop(started.send(Err(why.into()))),
    };
    let _mdns = if options.mdns { find_others(&endpoint, fleet, &memory, shared.events.clone()).await } else { None };
    let repositories = Repositories::default();
    let handle = Handle { shared: shared.clone(), repositories: repositories.clone() };
    let actor = Actor {
        machine,
        endpoint,
        pins,
        shared,
        repositories,
        store: options.store,
        site: options.site,
        reporter: Reporter::new(options.facts),
        hands: Hands::new(options.services),
        started: Instant::now(),
        lines: BTreeMap::new(),
        next: 0,
        asked: HashMap::new(),
        dirty: false,
        state_error: options.state_error,
        relays: options.network.relays,
        token,
        changes: 0,
        surveys: HashMap::new(),
    };
    if let Some(beside) = beside {
        beside(handle.clone());
    }
    if started.send(Ok(handle)).is_ok() {
        actor.run(events, commands).await;
    }
}

fn channels(pieces: Pieces) -> (Shared, mpsc::Receiver<Event>, mpsc::Receiver<Command>) {
    let ((events, come), (commands, told)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
    let pieces = Arc::new(Mutex::new(pieces));
    (Shared { commands, events, pieces, counters: Arc::default(), started: Instant::now() }, come, told)
}

/// Looks for nodes of the same fleet on the local network. What they say there is not signed: it is as good as a guess, and
/// whoever is called has to prove the rest. A network without multicast has none.
async fn find_others(
    endpoint: &iroh::Endpoint,
    fleet: FleetId,
    memory: &iroh::address_lookup::memory::MemoryLookup,
    events: mpsc::Sender<Event>,
) -> Option<MdnsAddressLookup> {
    let service = format!("fruit-{}", fleet.short());
    let mdns = MdnsAddressLookup::builder().service_name(service).discovery_cadence(CADENCE).build(endpoint.id());
    let mdns = mdns.ok()?;
    endpoint.address_lookup().ok()?.add(mdns.clone());
    let (mut found, memory) = (mdns.subscribe().await, memory.clone());
    spawn_local(async move {
        let mut known = std::collections::BTreeSet::new();
        while let Some(event) = found.next().await {
            if let DiscoveryEvent::Discovered { endpoint_info, .. } = event {
                let peer = KeyId(*endpoint_info.endpoint_id.as_bytes());
                if known.len() >= NEARBY && !known.contains(&peer) {
                    continue;
                }
                known.insert(peer);
                memory.set_endpoint_info(endpoint_info);
                if events.send(Event::Seen(peer)).await.is_err() {
                    return;
                }
            }
        }
    });
    Some(mdns)
}
