//! A simulated network: machines that talk over connections which take time, break, and are parted.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ed25519_dalek::Signer;
use fruit_base::Sha256;
use fruit_peer::machine::link::{Action, LinkId, Millis, Ticket};
use fruit_peer::machine::{Fetched, Machine, Setup};
use fruit_peer::pass::Pass;
use fruit_peer::wire::Frame;
use fruit_record::{Invite, KeyId, Replica, Signature, Trust};
use fruit_release::name::Name;

use crate::fleet::{self, Fleet};

/// How a node answers who asks it for a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serving {
    Honestly,
    Garbage,
    /// It says that it has everything, and sends nothing.
    Never,
    Busy,
}

pub struct Node {
    pub machine: Machine,
    pub pieces: BTreeMap<Name, Vec<u8>>,
    pub serving: Serving,
    pub is_up: bool,
    /// What came of questions.
    pub answers: HashMap<Ticket, Option<Vec<u8>>>,
    /// Frames that it was sent, by who sent them.
    pub got: Vec<(KeyId, Frame)>,
    pub sent_bytes: usize,
    pub cuts: Vec<String>,
}

enum Delivery {
    Frame { to: usize, link: LinkId, bytes: Vec<u8> },
    Connect { from: usize, to: KeyId },
    Close { at: usize, link: LinkId },
    Fetched { to: usize, ticket: Ticket, link: LinkId, fetched: Fetched },
    LookedUp { at: usize, link: LinkId, id: u64, bits: u64 },
}

pub struct Network {
    pub nodes: Vec<Node>,
    pub now: Millis,
    by_id: BTreeMap<KeyId, usize>,
    /// Both ends of each connection.
    ends: BTreeMap<LinkId, [usize; 2]>,
    queue: BTreeMap<(Millis, u64), Delivery>,
    /// When the last frame of a connection arrives: frames of one connection stay in order.
    last: HashMap<(LinkId, usize), Millis>,
    next: u64,
    random: u64,
    /// Nodes of different groups do not reach each other.
    pub groups: Option<Vec<usize>>,
}

pub const COMPARE: Millis = 20_000;

impl Network {
    pub fn new(seed: u64) -> Network {
        Network {
            nodes: Vec::new(),
            now: 0,
            by_id: BTreeMap::new(),
            ends: BTreeMap::new(),
            queue: BTreeMap::new(),
            last: HashMap::new(),
            next: 0,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            groups: None,
        }
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below.max(1)
    }

    fn add(&mut self, setup: Setup) -> usize {
        let machine = Machine::new(setup).unwrap();
        let at = self.nodes.len();
        self.by_id.insert(machine.me(), at);
        self.nodes.push(Node {
            machine,
            pieces: BTreeMap::new(),
            serving: Serving::Honestly,
            is_up: true,
            answers: HashMap::new(),
            got: Vec::new(),
            sent_bytes: 0,
            cuts: Vec::new(),
        });
        at
    }

    /// A node that knows what `fleet` knows now.
    pub fn member(&mut self, seed: u8, fleet: &Fleet) -> usize {
        self.add(Setup {
            key: fleet::key(seed),
            fleet: fleet.id(),
            invite: None,
            pass: None,
            replica: Some(fleet.replica.clone()),
            compare: COMPARE,
        })
    }

    /// A node with nothing but an invite.
    pub fn newcomer(&mut self, seed: u8, invite: &Invite) -> usize {
        let facts = [format!("pi-{seed}"), "10000000abc".into(), "Pi 4".into()];
        self.add(Setup {
            key: fleet::key(seed),
            fleet: invite.fleet,
            invite: Some((invite.clone(), facts)),
            pass: None,
            replica: None,
            compare: COMPARE,
        })
    }

    /// An operator's machine.
    pub fn laptop(&mut self, seed: u8, operator: u8, fleet: &Fleet) -> usize {
        let machine = fleet::id(seed);
        let bytes = fleet::key(operator).sign(&Pass::message(&fleet.id(), &machine, 0)).to_bytes();
        let pass = Pass { machine, not_after: 0, signature: Signature { key: fleet::id(operator), bytes } };
        self.add(Setup {
            key: fleet::key(seed),
            fleet: fleet.id(),
            invite: None,
            pass: Some(pass.encode()),
            replica: Some(fleet.replica.clone()),
            compare: COMPARE,
        })
    }

    /// `from` knows where `to` is.
    pub fn introduce(&mut self, from: usize, to: usize) {
        let peer = self.nodes[to].machine.me();
        self.nodes[from].machine.learn(peer, Some("192.0.2.1:4433".into()));
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        let together = self.groups.as_ref().is_none_or(|groups| groups[a] == groups[b]);
        together && self.nodes[a].is_up && self.nodes[b].is_up
    }

    fn later(&mut self, least: u64, most: u64, delivery: Delivery) {
        let at = self.now + least + self.random(most - least + 1);
        self.next += 1;
        self.queue.insert((at, self.next), delivery);
    }

    /// Breaks a connection: both ends find out some time later.
    pub fn break_link(&mut self, link: LinkId) {
        if let Some(ends) = self.ends.remove(&link) {
            ends.into_iter().for_each(|at| self.later(10, 5_000, Delivery::Close { at, link }));
        }
    }

    /// Breaks one connection, whichever.
    pub fn break_any(&mut self) {
        let links: Vec<LinkId> = self.ends.keys().copied().collect();
        if !links.is_empty() {
            let at = self.random(links.len() as u64) as usize;
            self.break_link(links[at]);
        }
    }

    /// Parts the network: breaks all connections between groups, and lets none begin.
    pub fn part(&mut self, groups: Vec<usize>) {
        let apart: Vec<LinkId> =
            self.ends.iter().filter(|(_, [a, b])| groups[*a] != groups[*b]).map(|(link, _)| *link).collect();
        self.groups = Some(groups);
        apart.into_iter().for_each(|link| self.break_link(link));
    }

    fn act(&mut self, at: usize) {
        for action in self.nodes[at].machine.take() {
            match action {
                Action::Send { link, frame } => self.send(at, link, &frame),
                Action::Cut { link, why } => {
                    self.nodes[at].cuts.push(why);
                    // After what was sent before.
                    let other = self.ends.get(&link).map(|ends| ends[usize::from(ends[0] == at)]);
                    if let Some(other) = other {
                        let arrives = self.last.get(&(link, other)).copied().unwrap_or(self.now).max(self.now) + 1;
                        self.next += 1;
                        self.queue.insert((arrives, self.next), Delivery::Close { at: other, link });
                    }
                }
                Action::Dial { peer, .. } => self.later(5, 60, Delivery::Connect { from: at, to: peer }),
                Action::Fetch { ticket, link, repository, name } => self.fetch(at, ticket, link, repository, &name),
                Action::LookUp { link, id, names, .. } => {
                    let node = &self.nodes[at];
                    let lies = matches!(node.serving, Serving::Never | Serving::Garbage);
                    let has = |name: &Name| u64::from(lies || node.pieces.contains_key(name));
                    let bits = names.iter().enumerate().fold(0, |bits, (n, name)| bits | has(name) << n);
                    self.later(0, 2, Delivery::LookedUp { at, link, id, bits });
                }
                Action::Answer { ticket, piece } => drop(self.nodes[at].answers.insert(ticket, piece)),
                Action::Keep | Action::Surveyed { .. } => {}
            }
        }
    }

    fn send(&mut self, at: usize, link: LinkId, frame: &Frame) {
        let Some(ends) = self.ends.get(&link) else { return };
        let to = ends[usize::from(ends[0] == at)];
        let bytes = frame.encode();
        self.nodes[at].sent_bytes += bytes.len();
        let arrives = self.now + 1 + self.random(80);
        let last = self.last.entry((link, to)).or_default();
        *last = arrives.max(*last);
        let arrives = *last;
        self.next += 1;
        let bytes = bytes[4..].to_vec();
        self.queue.insert((arrives, self.next), Delivery::Frame { to, link, bytes });
    }

    fn fetch(&mut self, at: usize, ticket: Ticket, link: LinkId, _: Sha256, name: &Name) {
        let Some(ends) = self.ends.get(&link).copied() else {
            return self.later(1, 9_000, Delivery::Fetched { to: at, ticket, link, fetched: Fetched::Failed });
        };
        let node = &self.nodes[ends[usize::from(ends[0] == at)]];
        let fetched = match (node.serving, node.machine.may_have(link)) {
            (_, false) => Fetched::Failed,
            (Serving::Never, _) => {
                return self.later(
                    60_000,
                    60_000,
                    Delivery::Fetched { to: at, ticket, link, fetched: Fetched::Failed },
                );
            }
            (Serving::Garbage, _) => Fetched::Bytes(b"garbage".to_vec()),
            (Serving::Busy, _) => Fetched::Busy,
            (Serving::Honestly, _) => match node.pieces.get(name) {
                Some(bytes) => Fetched::Bytes(bytes.clone()),
                None => Fetched::Nothing,
            },
        };
        self.later(20, 200, Delivery::Fetched { to: at, ticket, link, fetched });
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = self.now;
        match delivery {
            Delivery::Frame { to, link, bytes } => {
                if !self.ends.contains_key(&link) || !self.nodes[to].is_up {
                    return;
                }
                let ends = self.ends[&link];
                let from = self.nodes[ends[usize::from(ends[0] == to)]].machine.me();
                if let Ok(frame) = Frame::decode(&bytes) {
                    self.nodes[to].got.push((from, frame));
                }
                self.nodes[to].machine.frame(link, &bytes, now);
                self.act(to);
            }
            Delivery::Connect { from, to } => {
                let Some(to) = self.by_id.get(&to).copied() else { return };
                if !self.reaches(from, to) {
                    let peer = self.nodes[to].machine.me();
                    self.nodes[from].machine.dial_failed(peer);
                    return;
                }
                self.next += 1;
                let link = self.next;
                self.ends.insert(link, [from, to]);
                let [caller, called] = [from, to].map(|at| self.nodes[at].machine.me());
                self.nodes[to].machine.connected(link, caller, false, now);
                self.nodes[from].machine.connected(link, called, true, now);
                self.act(to);
                self.act(from);
            }
            Delivery::Close { at, link } => {
                if let Some(ends) = self.ends.remove(&link) {
                    let other = ends[usize::from(ends[0] == at)];
                    self.later(1, 100, Delivery::Close { at: other, link });
                }
                self.nodes[at].machine.closed(link, now);
                self.act(at);
            }
            Delivery::Fetched { to, ticket, link, fetched } => {
                self.nodes[to].machine.fetched(ticket, link, fetched, now);
                self.act(to);
            }
            Delivery::LookedUp { at, link, id, bits } => {
                self.nodes[at].machine.looked_up(link, id, bits);
                self.act(at);
            }
        }
    }

    /// Lets time pass. Each machine's tick is at its own moment of each second.
    pub fn run(&mut self, millis: Millis) {
        let end = self.now + millis;
        while self.now < end {
            let step = self.now + 50;
            while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= step) {
                let ((at, _), delivery) = entry.remove_entry();
                self.now = self.now.max(at);
                self.deliver(delivery);
            }
            self.now = step;
            for at in 0..self.nodes.len() {
                if self.nodes[at].is_up && (step / 50 + at as u64).is_multiple_of(20) {
                    self.nodes[at].machine.tick(step);
                    self.act(at);
                }
            }
        }
    }

    /// Signs something at a node.
    #[track_caller]
    pub fn offer(&mut self, at: usize, record: &[u8]) {
        let now = self.now;
        self.nodes[at].machine.offer(record, now).unwrap();
        self.act(at);
    }

    pub fn ask(&mut self, at: usize, ticket: Ticket, name: Name) {
        let now = self.now;
        self.nodes[at].machine.ask(ticket, Sha256([0; 32]), name, now);
        self.act(at);
    }

    /// A connection from somebody who is no machine, to a node; and what the node sends on it.
    pub fn stranger(&mut self, at: usize, peer: KeyId) -> LinkId {
        self.next += 1;
        let now = self.now;
        self.nodes[at].machine.connected(self.next, peer, false, now);
        self.next
    }

    /// What a node wants to do after bytes of a stranger have come.
    pub fn say(&mut self, at: usize, link: LinkId, frame: &[u8]) -> Vec<Action> {
        let now = self.now;
        self.nodes[at].machine.frame(link, frame, now);
        self.nodes[at].machine.take()
    }

    pub fn replica(&self, at: usize) -> &Replica {
        self.nodes[at].machine.replica().unwrap()
    }

    /// Neighbours of a node that belong to the fleet.
    pub fn neighbours(&self, at: usize) -> BTreeSet<KeyId> {
        self.nodes[at].machine.links().filter(|(_, link)| link.is_admitted()).map(|(_, link)| link.peer).collect()
    }

    pub fn equal(&self) -> bool {
        self.nodes.windows(2).all(|two| two[0].machine.replica() == two[1].machine.replica())
    }
}

/// A replica of the same fleet that knows its first charter only.
pub fn empty(fleet: &Fleet) -> Fleet {
    let first = fleet.row().remove(0);
    Fleet { replica: Replica::new(Trust::new(fleet.id(), &first).unwrap()) }
}
