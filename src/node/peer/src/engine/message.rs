//! What tasks tell the one that holds the machine, and what they share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use fruit_base::Sha256;
use fruit_contract::peer::status::Status;
use fruit_record::{KeyId, Outcome, Refused, Replica};
use fruit_release::name::Name;
use iroh::endpoint::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::hand::{Local, NotOpened, Target};
use crate::machine::Fetched;
use crate::machine::link::{LinkId, Ticket};
use crate::store::Pieces;

/// What happened.
pub enum Event {
    Connected {
        connection: Connection,
        dialed: bool,
    },
    DialFailed(KeyId),
    Frame {
        link: LinkId,
        bytes: Vec<u8>,
    },
    Closed(LinkId),
    Fetched {
        ticket: Ticket,
        link: LinkId,
        fetched: Fetched,
    },
    LookedUp {
        link: LinkId,
        id: u64,
        bits: u64,
    },
    Seen(KeyId),
    /// The node was looked at, for its report.
    Looked(fruit_record::body::Report),
    Kept(Box<(crate::state::Store, Option<String>)>),
}

/// What somebody wants.
pub enum Command {
    Offer {
        record: Vec<u8>,
        reply: oneshot::Sender<Result<Outcome, Refused>>,
    },
    Ask {
        repository: Sha256,
        name: Name,
        reply: oneshot::Sender<Option<Vec<u8>>>,
    },
    /// Neighbours that belong to the fleet.
    Neighbours(oneshot::Sender<Vec<Connection>>),
    /// Whether an operator's machine may use a shell here.
    Authorize {
        machine: KeyId,
        pass: Vec<u8>,
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// A stream from this machine to a service of another node.
    Reach {
        peer: KeyId,
        addresses: Vec<String>,
        target: Target,
        local: Local,
        reply: oneshot::Sender<Result<(), NotOpened>>,
    },
    /// How many of these each neighbour has.
    Survey {
        repository: Sha256,
        names: Vec<Name>,
        reply: oneshot::Sender<Vec<(KeyId, u64)>>,
    },
    Changes(oneshot::Sender<u64>),
    Replica(oneshot::Sender<Option<Replica>>),
    Requests(oneshot::Sender<Vec<Vec<u8>>>),
    Status(oneshot::Sender<Status>),
    Learn(KeyId, Option<String>),
    Serve(Vec<std::path::PathBuf>),
    Stop,
}

/// Numbers since the start.
#[derive(Debug, Default)]
pub struct Counters {
    pub fetched: AtomicU64,
    pub fetched_bytes: AtomicU64,
    pub served: AtomicU64,
    pub served_bytes: AtomicU64,
}

impl Counters {
    pub fn add(number: &AtomicU64, amount: u64) {
        number.fetch_add(amount, Relaxed);
    }
}

/// What all tasks of an engine share.
#[derive(Clone)]
pub struct Shared {
    pub commands: mpsc::Sender<Command>,
    pub events: mpsc::Sender<Event>,
    pub pieces: Arc<Mutex<Pieces>>,
    pub counters: Arc<Counters>,
    pub started: Instant,
}

impl Shared {
    /// Does something with the pieces on this machine, outside the tasks that must not wait for a disk.
    pub async fn with_pieces<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Pieces) -> T + Send + 'static,
    ) -> Option<T> {
        let pieces = self.pieces.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut pieces = pieces.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut pieces)
        });
        done.await.ok()
    }

    /// Sends a command and waits for its answer; none if the engine has ended.
    pub async fn question<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// Whether a connection's other end may have pieces.
pub type Admitted = Arc<AtomicBool>;
