//! The task that holds the machine: events and commands come in, what the machine wants is done.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fruit_contract::peer::status::{PeerStatus, PieceStatus, RelayStatus, Status};
use fruit_record::body::Relay;
use fruit_record::{KeyId, words};
use iroh::endpoint::{Connection, VarInt};
use iroh::{Endpoint, TransportAddr, Watcher};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::connection::{Line, begin};
use super::fetch::fetch;
use super::hand::{Hands, reach};
use super::message::{Command, Event, Shared};
use super::net::{self, Pins};
use super::report::Reporter;
use super::repository::Repositories;
use crate::hand::{self, NotOpened};
use crate::machine::Machine;
use crate::machine::link::{Action, LinkId, Millis, State};
use crate::state::Store;
use crate::wire::PROTOCOL;

/// Time for a call.
const CALL: Duration = Duration::from_secs(7);
/// Connections that are being taken at once.
const INCOMING: usize = 32;
/// The beginning of 2026: no clock that was ever set says less.
const SET: u64 = 1_767_225_600;
/// Addresses that a beacon names.
const ADDRESSES: usize = 8;

/// Everything that the task holds.
pub struct Actor {
    pub machine: Machine,
    pub endpoint: Endpoint,
    pub pins: Pins,
    pub shared: Shared,
    pub repositories: Repositories,
    pub store: Option<Store>,
    pub site: String,
    pub reporter: Reporter,
    pub hands: Hands,
    pub started: Instant,
    pub lines: BTreeMap<LinkId, Line>,
    pub next: u64,
    pub asked: HashMap<u64, oneshot::Sender<Option<Vec<u8>>>>,
    pub dirty: bool,
    pub state_error: Option<String>,
    pub relays: Vec<Relay>,
    /// What is shown to them.
    pub token: Option<String>,
    /// Goes up with every change of records or charters.
    pub changes: u64,
    pub surveys: HashMap<u64, oneshot::Sender<Vec<(KeyId, u64)>>>,
}

impl Actor {
    fn now(&self) -> Millis {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Works until it is told to stop.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>, mut commands: mpsc::Receiver<Command>) {
        spawn_local(accept(self.endpoint.clone(), self.shared.clone(), self.hands.clone()));
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(event) = events.recv() => self.event(event),
                command = commands.recv() => match command {
                    Some(Command::Stop) | None => break,
                    Some(command) => self.command(command),
                },
                _ = ticks.tick() => self.tick(),
            }
            self.act();
        }
        self.keep_now();
        self.lines.values().for_each(|line| line.close("this node goes down"));
        let _ = timeout(Duration::from_secs(2), self.endpoint.close()).await;
    }

    fn tick(&mut self) {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.machine.set_wall((seconds >= SET).then_some(seconds));
        let now = self.now();
        self.machine.tick(now);
        let (site, addresses) = (self.site.clone(), self.addresses());
        self.machine.announce(&site, &addresses, now);
        self.reporter.look(&self.shared.events);
        self.use_relays();
        self.keep();
    }

    /// Addresses at which this node can be reached, as far as it knows.
    fn addresses(&self) -> Vec<String> {
        let address = self.endpoint.addr();
        let mut found: Vec<String> = address.ip_addrs().map(ToString::to_string).collect();
        if found.is_empty() {
            let bound = self.endpoint.bound_sockets().into_iter().filter(|address| !address.ip().is_unspecified());
            found = bound.map(|address| address.to_string()).collect();
        }
        found.sort();
        found.truncate(ADDRESSES);
        found
    }

    /// The charter may name other relays than it did.
    fn use_relays(&mut self) {
        let Some(replica) = self.machine.replica() else { return };
        let relays = &replica.trust().charter().relays;
        if *relays != self.relays {
            let (wanted, before) = (relays.clone(), std::mem::replace(&mut self.relays, relays.clone()));
            let (endpoint, pins, token) = (self.endpoint.clone(), self.pins.clone(), self.token.clone());
            spawn_local(async move {
                net::use_relays(&endpoint, &pins, &before, &wanted, token.as_deref()).await;
            });
        }
    }

    /// Writes what has changed, once in a while.
    fn keep(&mut self) {
        let Some((mut store, replica)) =
            (if self.dirty { self.store.take() } else { None }).zip(self.machine.replica().cloned())
        else {
            return;
        };
        self.dirty = false;
        let events = self.shared.events.clone();
        tokio::task::spawn_blocking(move || {
            let error = store.keep(&replica).err().map(|error| error.to_string());
            // Nobody listens if the engine has ended.
            let _ = events.blocking_send(Event::Kept(Box::new((store, error))));
        });
    }

    /// Writes what has changed before the end.
    fn keep_now(&mut self) {
        if let (true, Some(store), Some(replica)) = (self.dirty, &mut self.store, self.machine.replica()) {
            let _ = store.keep(replica);
        }
    }

    fn event(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Connected { connection, dialed } => self.connected(&connection, dialed),
            Event::DialFailed(peer) => self.machine.dial_failed(peer),
            Event::Frame { link, bytes } => self.machine.frame(link, &bytes, now),
            Event::Closed(link) => {
                self.lines.remove(&link);
                self.machine.closed(link, now);
            }
            Event::Fetched { ticket, link, fetched } => self.machine.fetched(ticket, link, fetched, now),
            Event::LookedUp { link, id, bits } => self.machine.looked_up(link, id, bits),
            Event::Seen(peer) => self.machine.seen(peer),
            Event::Looked(report) if self.reporter.is_due(&report) => {
                let told = self.machine.report(report.clone(), now);
                self.reporter.told(report, told);
            }
            Event::Looked(_) => {}
            Event::Kept(kept) => {
                let (store, error) = *kept;
                // It is tried again with the next change.
                (self.store, self.state_error) = (Some(store), error);
            }
        }
    }

    fn connected(&mut self, connection: &Connection, dialed: bool) {
        self.next += 1;
        let (link, now) = (self.next, self.now());
        let peer = KeyId(*connection.remote_id().as_bytes());
        self.lines.insert(link, begin(&self.shared, &self.repositories, link, connection, dialed));
        self.machine.connected(link, peer, dialed, now);
    }

    fn command(&mut self, command: Command) {
        let now = self.now();
        // Who asked and does not wait any more is told nothing.
        match command {
            Command::Offer { record, reply } => drop(reply.send(self.machine.offer(&record, now))),
            Command::Ask { repository, name, reply } => {
                self.asked.retain(|ticket, reply| {
                    let waits = !reply.is_closed();
                    if !waits {
                        self.machine.forget(*ticket);
                    }
                    waits
                });
                self.next += 1;
                self.asked.insert(self.next, reply);
                self.machine.ask(self.next, repository, name, now);
            }
            Command::Neighbours(reply) => {
                let may = self.lines.iter().filter(|(link, _)| self.machine.may_have(**link));
                drop(reply.send(may.map(|(_, line)| line.connection.clone()).collect()));
            }
            Command::Replica(reply) => drop(reply.send(self.machine.replica().cloned())),
            Command::Requests(reply) => {
                drop(reply.send(self.machine.requests().map(|(_, request)| request.to_vec()).collect()));
            }
            Command::Changes(reply) => drop(reply.send(self.changes)),
            Command::Survey { repository, names, reply } => {
                self.next += 1;
                self.surveys.insert(self.next, reply);
                self.machine.survey(self.next, repository, &names, now);
            }
            Command::Authorize { machine, pass, reply } => drop(reply.send(self.machine.may_run(machine, &pass))),
            Command::Reach { peer, addresses, target, local, reply } => {
                let (endpoint, relays) = (self.endpoint.clone(), self.relays.clone());
                let pass = self.machine.pass().unwrap_or_default().to_vec();
                spawn_local(async move {
                    let opened = match net::whereabouts(&peer, &addresses, &relays).await {
                        Some(address) => reach(endpoint, address, pass, target, local).await,
                        None => Err(NotOpened::Unreachable("its id is no key".into())),
                    };
                    drop(reply.send(opened));
                });
            }
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Learn(peer, address) => self.machine.learn(peer, address),
            Command::Serve(folders) => {
                let shared = self.shared.clone();
                spawn_local(async move { shared.with_pieces(move |pieces| pieces.serve(folders)).await });
            }
            Command::Stop => {}
        }
    }

    /// Does what the machine wants, and lets those have pieces who may.
    fn act(&mut self) {
        for action in self.machine.take() {
            match action {
                Action::Send { link, frame } => {
                    if let Some(line) = self.lines.get(&link) {
                        line.send(&frame);
                    }
                }
                Action::Cut { link, why } => {
                    if let Some(line) = self.lines.get(&link) {
                        line.close(&why);
                    }
                }
                Action::Dial { peer, addresses } => self.dial(peer, addresses),
                Action::Fetch { ticket, link, repository, name } => {
                    let (events, line) = (self.shared.events.clone(), self.lines.get(&link).cloned());
                    spawn_local(async move {
                        let fetched = match line {
                            Some(line) => fetch(&line.connection, repository, name).await,
                            None => crate::machine::Fetched::Failed,
                        };
                        let _ = events.send(Event::Fetched { ticket, link, fetched }).await;
                    });
                }
                Action::LookUp { link, id, repository, names } => {
                    let shared = self.shared.clone();
                    spawn_local(async move {
                        let bits = shared.with_pieces(move |pieces| {
                            let have = names.iter().map(|name| pieces.has(&repository, name));
                            have.enumerate().fold(0, |bits, (at, has)| bits | u64::from(has) << at)
                        });
                        let bits = bits.await.unwrap_or_default();
                        let _ = shared.events.send(Event::LookedUp { link, id, bits }).await;
                    });
                }
                Action::Answer { ticket, piece } => {
                    if let Some(reply) = self.asked.remove(&ticket) {
                        drop(reply.send(piece));
                    }
                }
                Action::Surveyed { ticket, found } => {
                    if let Some(reply) = self.surveys.remove(&ticket) {
                        drop(reply.send(found));
                    }
                }
                Action::Keep => {
                    self.dirty = true;
                    self.changes += 1;
                }
            }
        }
        for (link, line) in &self.lines {
            line.admitted.store(self.machine.may_have(*link), Relaxed);
        }
    }

    fn dial(&self, peer: KeyId, addresses: Vec<String>) {
        let (endpoint, events, relays) = (self.endpoint.clone(), self.shared.events.clone(), self.relays.clone());
        spawn_local(async move {
            let called = timeout(CALL, async {
                let address = net::whereabouts(&peer, &addresses, &relays).await?;
                endpoint.connect(address, PROTOCOL).await.ok()
            });
            let event = match called.await.ok().flatten() {
                Some(connection) => Event::Connected { connection, dialed: true },
                None => Event::DialFailed(peer),
            };
            let _ = events.send(event).await;
        });
    }

    fn status(&self) -> Status {
        let (me, replica) = (self.machine.me(), self.machine.replica());
        let member = replica.and_then(|replica| replica.member(&me));
        let state = match (self.machine.is_member(), self.machine.is_revoked()) {
            _ if self.machine.is_operator() => "operator",
            (true, _) => "member",
            (_, true) => "revoked",
            _ => "pending",
        };
        let pieces = self.shared.pieces.lock().unwrap_or_else(std::sync::PoisonError::into_inner).cached();
        let counters = &self.shared.counters;
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            state: state.into(),
            trouble: self.trouble(state),
            id: me.to_string(),
            words: words(&me).join("-"),
            fleet: Some(self.machine.fleet().to_string()),
            fleet_name: replica.map(|replica| replica.trust().charter().name.clone()),
            charter: replica.map_or(0, |replica| replica.trust().version()),
            name: member.as_ref().map(|member| member.name.clone()),
            labels: member.as_ref().map(|member| member.labels.to_string()),
            addresses: self.addresses(),
            records: replica.map_or(0, |replica| replica.records().count() as u64),
            requests: self.machine.requests().count() as u64,
            peers: self.machine.links().map(|(link, _)| self.peer(link)).collect(),
            relays: self.relay_status(),
            pieces: PieceStatus {
                cached: pieces.0,
                cached_bytes: pieces.1,
                fetched: counters.fetched.load(Relaxed),
                fetched_bytes: counters.fetched_bytes.load(Relaxed),
                served: counters.served.load(Relaxed),
                served_bytes: counters.served_bytes.load(Relaxed),
                garbage: self.machine.garbage(),
            },
            state_error: self.state_error.clone(),
        }
    }

    /// What is in the way, and what to do about it.
    fn trouble(&self, state: &str) -> Option<String> {
        let reached = self.machine.links().next().is_some();
        if self.machine.is_copied() {
            let what = "another board speaks with this node's key: its card was copied";
            return Some(format!("{what}; remove the files key.* of the state on one of them, and approve it again"));
        }
        match state {
            "revoked" => Some("an operator has revoked this node; it needs a new key and a new invite".into()),
            _ if !reached => {
                Some("no node of the fleet is connected; is one of the seeds or one on this network up?".into())
            }
            "pending" => Some("an operator has to approve it: fruitctl node approve, with the words above".into()),
            _ => None,
        }
    }

    /// Whether the fleet's relays can be reached: the one that this program is at home on, or all of them while there is none.
    fn relay_status(&self) -> Vec<RelayStatus> {
        let home: Vec<RelayStatus> = self
            .endpoint
            .home_relay_status()
            .get()
            .iter()
            .map(|relay| RelayStatus {
                url: relay.url().to_string(),
                connected: relay.is_connected(),
                error: match relay.auth_denied_reason() {
                    Some(why) => Some(format!("it does not let this machine in: {why}")),
                    None => relay.last_error().map(|why| format!("{why:#}")),
                },
            })
            .collect();
        if !home.is_empty() {
            return home;
        }
        let url = |relay: &Relay| format!("https://{}", relay.address);
        self.relays.iter().map(|relay| RelayStatus { url: url(relay), ..RelayStatus::default() }).collect()
    }

    fn peer(&self, id: LinkId) -> PeerStatus {
        let Some((_, link)) = self.machine.links().find(|(link, _)| *link == id) else { return PeerStatus::default() };
        let member = self.machine.replica().and_then(|replica| replica.member(&link.peer));
        let (state, name) = match &link.state {
            State::Greeting | State::Waiting(_) => ("greeting", String::new()),
            State::Guest => ("guest", String::new()),
            State::Member => ("member", member.map(|member| member.name).unwrap_or_default()),
            State::Operator { name, .. } => ("operator", name.clone()),
        };
        let line = self.lines.get(&id);
        let moved = line.map(|line| line.connection.stats());
        let (path, address, rtt_ms) = line.map(|line| way(&line.connection)).unwrap_or_default();
        PeerStatus {
            id: link.peer.to_string(),
            name,
            state: state.into(),
            dialed: link.dialed,
            seconds: self.now().saturating_sub(link.since) / 1000,
            path,
            address,
            rtt_ms,
            records_in: link.records_in,
            records_out: link.records_out,
            bytes_in: moved.as_ref().map_or(0, |moved| moved.udp_rx.bytes),
            bytes_out: moved.as_ref().map_or(0, |moved| moved.udp_tx.bytes),
        }
    }
}

/// How bytes go: the kind of way, the address at its other end, and milliseconds there and back.
fn way(connection: &Connection) -> (String, String, u64) {
    let paths = connection.paths();
    let Some(path) = paths.iter().find(|path| path.is_selected()) else { return Default::default() };
    let address = match path.remote_addr() {
        TransportAddr::Ip(address) => address.to_string(),
        TransportAddr::Relay(url) => url.to_string(),
        _ => String::new(),
    };
    let rtt = u64::try_from(path.rtt().as_millis()).unwrap_or(u64::MAX);
    (if path.is_relay() { "relay" } else { "direct" }.to_owned(), address, rtt)
}

/// Takes connections, a bounded number of them at once.
async fn accept(endpoint: Endpoint, shared: Shared, hands: Hands) {
    let handshakes = Arc::new(Semaphore::new(INCOMING));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        let (shared, hands) = (shared.clone(), hands.clone());
        spawn_local(async move {
            let Ok(accepting) = incoming.accept() else { return };
            if let Ok(Ok(connection)) = timeout(CALL, accepting).await {
                if connection.alpn() == hand::PROTOCOL {
                    drop(permit);
                    hands.serve(shared, connection).await;
                } else if connection.alpn() == PROTOCOL {
                    let _ = shared.events.send(Event::Connected { connection, dialed: false }).await;
                } else {
                    connection.close(VarInt::from_u32(2), b"");
                }
            }
        });
    }
}
