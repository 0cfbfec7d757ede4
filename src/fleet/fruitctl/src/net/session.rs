//! The engine, and the fleet's folder beside it: what has come is stored there, what was signed there goes out.

use super::contact::Contact;
use super::identity::identity;
use super::socket;
use crate::failure::{Code, Failure};
use crate::fleet::{
    Known, Opened, Options, RECORDS, REPOSITORIES, Repositories, Signer, admit_automatic, are_automatic, at,
    keep_request, merge, note_void, now,
};
use fruit_contract::peer::status::Status;
use fruit_peer::engine::{Ended, Engine, Network, NotStarted, Options as EngineOptions};
use fruit_peer::hand::Services;
use fruit_peer::store::Pieces;
use fruit_record::{Key, KeyId, Record, Replica};
use std::collections::BTreeSet;
use std::fs::{File, Metadata, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whoever speaks for this machine has locked this file in the fleet's folder: two with one key would disturb each other.
const LOCK: &str = "network.lock";
/// Between two looks at engine and folder, while somebody waits.
const LOOK: Duration = Duration::from_millis(250);
/// So long nothing has to change until everything has been exchanged: two round trips over a slow way.
const QUIET: Duration = Duration::from_secs(2);
/// Between two comparisons of records with a neighbour.
const COMPARE: Duration = Duration::from_secs(20);

/// A contact that goes on is written down so often, in seconds.
const SEEN: u64 = 30;

/// Who speaks for this machine.
pub enum Part<'o> {
    Own(Box<Session<'o>>),
    /// `fruitctl serve` does, which has this to say of itself.
    Served(Box<Status>),
}

/// This machine's part of the network, for as long as it stands.
pub struct Session<'o> {
    options: &'o Options,
    pub engine: Arc<Engine>,
    pub folder: PathBuf,
    pub operator: String,
    signer: Signer<'o>,
    known: Known,
    /// The last contact that was written down.
    written: u64,
    /// What the last exchange has seen.
    seen: Option<Seen>,
    /// Nodes whose invites need no approval, which could not be taken in: that is said once.
    tried: BTreeSet<KeyId>,
    /// Records that were left out: each is said once.
    refused: BTreeSet<String>,
    _lock: File,
}

/// What an exchange begins with: if it is the same again, there is nothing to do.
#[derive(PartialEq, Eq)]
struct Seen {
    changes: u64,
    requests: Vec<Vec<u8>>,
    files: Vec<Option<Stamp>>,
}

/// What tells one content of a file from another one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64);

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let stamp = |found: Metadata| Stamp(found.ino(), found.len(), found.mtime(), found.mtime_nsec());
        std::fs::metadata(path).ok().map(stamp)
    }
}

/// What was exchanged.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Exchanged {
    /// Records that have come.
    pub received: usize,
    /// Records that went out from the folder.
    pub sent: usize,
    /// Requests of nodes that have come.
    pub requests: usize,
    /// Nodes that were taken in by what their invites say.
    pub admitted: usize,
}

impl std::ops::AddAssign for Exchanged {
    fn add_assign(&mut self, more: Exchanged) {
        self.received += more.received;
        self.sent += more.sent;
        self.requests += more.requests;
        self.admitted += more.admitted;
    }
}

pub fn ended(ended: Ended) -> Failure {
    Failure::new(Code::Port, ended.to_string())
}

fn not_started(why: &NotStarted) -> Failure {
    Failure::new(Code::Port, why.to_string())
}

/// Whether a status tells of a node of the fleet that is connected.
pub fn is_reached(status: &Status) -> bool {
    status.peers.iter().any(|peer| ["member", "guest", "operator"].contains(&peer.state.as_str()))
}

/// Takes the part of this machine: `None` while `fruitctl serve` has it.
fn part(folder: &Path, options: &Options) -> Result<Result<File, Status>, Failure> {
    let path = folder.join(LOCK);
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => return Ok(Ok(file)),
        Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
        Err(TryLockError::WouldBlock) => {}
    }
    if let Some(status) = socket::status(folder) {
        return Ok(Err(status));
    }
    options.say(format_args!("waiting for another fruitctl that is connected with this fleet"));
    file.lock().map_err(at(&path))?;
    Ok(Ok(file))
}

impl<'o> Session<'o> {
    /// Connects with the fleet, unless `fruitctl serve` is connected for this machine.
    pub fn begin(options: &'o Options, contact: &Contact, stays: bool) -> Result<Part<'o>, Failure> {
        let folder = options.folder()?;
        let lock = match part(&folder, options)? {
            Ok(lock) => lock,
            Err(status) => return Ok(Part::Served(Box::new(status))),
        };
        let opened = Opened::change(options)?;
        let signer = Signer::new(&opened.store, options)?;
        let me = identity(&opened, &signer, options, stays && are_automatic(&opened, now()))?;
        let known = Known::read(&folder);
        let mut contacts = known.addresses();
        // Whoever was revoked answers no more, or says nothing that counts.
        let was: BTreeSet<KeyId> = opened.nodes().iter().map(|(id, ..)| *id).collect();
        contacts.retain(|(id, _)| !was.contains(id) || opened.replica.is_member(id));
        contacts.extend(contact.peers.iter().cloned());
        let relays = opened.charter().relays.clone();
        let (bind, port) = contact.listen.map_or((None, 0), |at: SocketAddr| (Some(at.ip()), at.port()));
        let engine = Engine::start(
            EngineOptions {
                key: me.key,
                fleet: opened.id(),
                invite: None,
                pass: Some(me.pass),
                replica: Some(opened.replica.clone()),
                store: None,
                state_error: None,
                pieces: Pieces::open(Repositories::read(&folder)?.folders(), None, None),
                // A verb that ends in seconds opens no door in a router.
                network: Network { bind, port, port_mapping: stays && bind.is_none(), relays },
                mdns: !contact.no_mdns,
                site: String::new(),
                facts: None,
                services: Services::default(),
                compare: COMPARE,
                contacts,
            },
            None,
        )
        .map_err(|why| not_started(&why))?;
        let (seen, tried, refused) = (None, BTreeSet::new(), BTreeSet::new());
        let (engine, operator) = (Arc::new(engine), me.operator);
        let written = known.contact;
        let session =
            Session { options, engine, folder, operator, signer, known, written, seen, tried, refused, _lock: lock };
        Ok(Part::Own(Box::new(session)))
    }

    /// Files whose changes matter.
    fn stamps(&self) -> Vec<Option<Stamp>> {
        [RECORDS, REPOSITORIES].iter().map(|name| Stamp::of(&self.folder.join(name))).collect()
    }

    /// Stores what has come since the last time, and sends what was signed since then.
    pub fn exchange(&mut self) -> Result<Exchanged, Failure> {
        let changes = self.engine.changes().map_err(ended)?;
        let requests = self.engine.requests().map_err(ended)?;
        let seen = Some(Seen { changes, requests: requests.clone(), files: self.stamps() });
        self.remember()?;
        if self.seen == seen {
            return Ok(Exchanged::default());
        }
        let Some(theirs) = self.engine.replica().map_err(ended)? else { return Ok(Exchanged::default()) };
        let mut opened = Opened::change(self.options)?;
        let mut done = Exchanged { received: self.take_over(&theirs, &mut opened)?, ..Exchanged::default() };
        for request in &requests {
            // One that does not count here may count elsewhere.
            done.requests += usize::from(keep_request(&opened, request).unwrap_or(false));
        }
        done.admitted = self.admit(&mut opened)?;
        if done.received + done.admitted > 0 {
            opened.save()?;
        }
        // From here on another command may change the folder: this is seen the next time.
        let stamps = self.stamps();
        let folder_records = opened.replica.clone();
        drop(opened);
        done.sent = self.send(&folder_records, &theirs)?;
        self.engine.serve(Repositories::read(&self.folder)?.folders()).map_err(ended)?;
        self.seen = Some(Seen { changes, requests, files: stamps });
        Ok(done)
    }

    fn take_over(&mut self, theirs: &Replica, opened: &mut Opened) -> Result<usize, Failure> {
        let before: Vec<Key> = opened.replica.records().map(|record| record.key().clone()).collect();
        let charter = opened.replica.trust().last_hash();
        let (received, refused) = merge(theirs, &mut opened.replica)?;
        if opened.replica.trust().last_hash() != charter {
            note_void(opened, &before, self.options);
        }
        for why in refused.iter().map(ToString::to_string).take(100) {
            if self.refused.len() < 100 && self.refused.insert(why.clone()) {
                self.options.say(format_args!("a record is left out: {why}"));
            }
        }
        Ok(received)
    }

    /// Nodes whose invites need nobody's approval.
    fn admit(&mut self, opened: &mut Opened) -> Result<usize, Failure> {
        let mut admitted = 0;
        for (node, taken) in admit_automatic(opened, &self.signer, &self.tried, now())? {
            self.tried.insert(node);
            match taken {
                Ok(member) => {
                    admitted += 1;
                    let (id, name, labels) = (node.short(), &member.name, &member.labels);
                    self.options.say(format_args!("{name} ({id}): a member by its invite; {labels}"));
                }
                Err(failure) => {
                    let _ = failure.at(&format!("node {} cannot be taken in", node.short())).report();
                }
            }
        }
        Ok(admitted)
    }

    /// Offers what the folder has and the engine lacks.
    fn send(&self, ours: &Replica, theirs: &Replica) -> Result<usize, Failure> {
        let mut sent = 0;
        let charters = ours.trust().charters().iter().filter(|charter| !theirs.trust().has(&charter.hash()));
        for charter in charters {
            let offered = self.engine.offer(&charter.encode()).map_err(ended)?;
            offered.map_err(|why| Failure::from(why).at(&"the charters were replaced; start again"))?;
            sent += 1;
        }
        let lacks = |record: &&Record| theirs.get(record.key()).is_none_or(|there| there.encode() != record.encode());
        for record in ours.records().map(|record| &**record).filter(lacks) {
            // One that does not count there any more does not count here either, as soon as this was exchanged.
            sent += usize::from(self.engine.offer(&record.encode()).map_err(ended)?.is_ok());
        }
        Ok(sent)
    }

    /// Notes who is connected, and where they are.
    fn remember(&mut self) -> Result<(), Failure> {
        let status = self.engine.status().map_err(ended)?;
        let before = self.known.addresses();
        for peer in status.peers.iter().filter(|peer| ["member", "guest"].contains(&peer.state.as_str())) {
            // The port of one that has called may be a router's, for this connection alone.
            let address = (peer.path == "direct" && peer.dialed).then_some(peer.address.as_str());
            self.known.note(&peer.id, address.filter(|address| !address.is_empty()), now());
        }
        let is_old = self.known.contact > self.written.saturating_add(SEEN);
        if is_old || self.known.addresses() != before {
            self.write_down()?;
        }
        Ok(())
    }

    fn write_down(&mut self) -> Result<(), Failure> {
        self.written = self.known.contact;
        self.known.write(&self.folder)
    }

    /// Exchanges until nothing changes any more, for `wait` at most. What was exchanged, and whether any node was reached.
    pub fn settle(&mut self, wait: Duration) -> Result<(Exchanged, bool), Failure> {
        let (begun, mut since) = (Instant::now(), Instant::now());
        let (mut all, mut last) = (Exchanged::default(), None);
        loop {
            let done = self.exchange()?;
            all += done;
            let status = self.engine.status().map_err(ended)?;
            let moved: u64 = status.peers.iter().map(|peer| peer.records_in + peer.records_out).sum();
            let reached = is_reached(&status);
            let mark = (self.engine.changes().map_err(ended)?, moved, status.requests, reached);
            if done != Exchanged::default() || last != Some(mark) {
                (since, last) = (Instant::now(), Some(mark));
            }
            if (reached && since.elapsed() >= QUIET) || begun.elapsed() >= wait {
                return Ok((all, reached));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends it, with what came last.
    pub fn end(mut self) -> Result<Exchanged, Failure> {
        let last = self.exchange()?;
        if self.known.contact > self.written {
            self.write_down()?;
        }
        Ok(last)
    }
}
