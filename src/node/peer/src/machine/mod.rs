//! What a node does with its neighbours, without I/O: what happened comes in, what is to be done goes out as [`Action`]s. The
//! engine drives it over QUIC, tests over a simulated network.
//!
//! Whoever is not admitted gets nothing but a greeting: see [`admission`]. Records are verified before they are kept or passed
//! on; who sends what no honest node sends is cut off for a while.

mod admission;
pub mod contacts;
pub mod index;
pub mod link;
mod pieces;
mod records;
mod shell;
pub mod survey;

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::{Signer, SigningKey};
use fruit_base::Sha256;
use fruit_record::body::{Beacon, Body, Report};
use fruit_record::wire::Malformed;
use fruit_record::{
    Class, Draft, FleetId, Invite, Key, KeyId, Labels, Name, Outcome, Refused, Replica, Request, Signature,
};
use fruit_release::name::Name as Piece;

use contacts::Contacts;
use index::Index;
use link::{Action, Link, LinkId, Millis, State, Ticket};
pub use pieces::Fetched;
use pieces::Pieces;
use survey::Surveys;

use crate::relay;
use crate::wire::{Frame, Item, NotAFrame, Standing};

/// Connections that a node begins, and how often it changes one of them for another: two halves of a fleet that were apart find
/// each other again, and nobody stays among neighbours that somebody has chosen.
const LINKS: usize = 5;
const CHANGE: Millis = 240_000;
/// Connections at most.
const LINKS_MOST: usize = 64;
/// Of them, those that have not introduced themselves, and those of nodes that want to be members: others find a place.
const GREETINGS: usize = 24;
const GUESTS: usize = 16;
/// Connections of one node at most, until one of them is chosen.
const LINKS_EACH: usize = 2;
/// Time for a greeting.
const GREETING: Millis = 10_000;
/// Time for charters after it.
const WAITING: Millis = 30_000;
/// How long nobody talks to who sent what no honest node sends.
const BAN: Millis = 600_000;
/// Nodes that are banned, and records that were refused, of which is known at most.
const BANS: usize = 256;
const REFUSED: usize = 4096;
/// Requests of nodes that are kept for operators.
const REQUESTS: usize = 256;
/// A node's own records are passed on at once no more often than this.
const CALM: Millis = 5_000;
/// A node says where it is no more often than this.
const ANNOUNCE: Millis = 10_000;
/// So often nobody but a copy of this node speaks for it.
const ECHOES: u32 = 3;
/// How long a node belongs to its neighbours before it says where it is: by then it knows what it said last.
const SETTLED: Millis = 3_000;

/// With what a machine begins.
#[derive(Debug)]
pub struct Setup {
    pub key: SigningKey,
    pub fleet: FleetId,
    /// The invite of a node, with what its request says of it: name, serial number and model of its board.
    pub invite: Option<(Invite, [String; 3])>,
    /// What an operator's machine shows instead: a [`crate::pass::Pass`].
    pub pass: Option<Vec<u8>>,
    /// What was known before.
    pub replica: Option<Replica>,
    /// Between two comparisons of records with a neighbour.
    pub compare: Millis,
}

/// The state of all conversations of a node.
#[derive(Debug)]
pub struct Machine {
    me: KeyId,
    key: SigningKey,
    fleet: FleetId,
    invite: Option<Invite>,
    request: Option<Vec<u8>>,
    pass: Option<Vec<u8>>,
    compare: Millis,
    replica: Option<Replica>,
    index: Index,
    links: BTreeMap<LinkId, Link>,
    contacts: Contacts,
    requests: BTreeMap<KeyId, Vec<u8>>,
    refused: BTreeSet<Item>,
    bans: BTreeMap<KeyId, Millis>,
    /// Calls under way.
    dialing: BTreeMap<KeyId, Millis>,
    calm: BTreeMap<Key, Millis>,
    pieces: Pieces,
    surveys: Surveys,
    actions: Vec<Action>,
    /// Seconds since 1970, if somebody has set the clock.
    wall: Option<u64>,
    now: Millis,
    was_member: bool,
    announced: Option<Millis>,
    /// How often somebody else has spoken for this node since the start.
    echoes: u32,
    /// When it last changed one of its neighbours.
    changed: Millis,
}

impl Machine {
    /// # Errors
    /// Facts of the board that no request can hold.
    pub fn new(setup: Setup) -> Result<Machine, Malformed> {
        let Setup { key, fleet, invite, pass, replica, compare } = setup;
        let request = match &invite {
            Some((invite, [name, serial, board])) => Some(Request::make(&fleet, &key, [name, serial, board], invite)?),
            None => None,
        };
        let mut machine = Machine {
            me: key.verifying_key().into(),
            key,
            fleet,
            invite: invite.map(|(invite, _)| invite),
            request,
            pass,
            compare,
            index: replica.as_ref().map(Index::of).unwrap_or_default(),
            replica,
            links: BTreeMap::new(),
            contacts: Contacts::default(),
            requests: BTreeMap::new(),
            refused: BTreeSet::new(),
            bans: BTreeMap::new(),
            dialing: BTreeMap::new(),
            calm: BTreeMap::new(),
            pieces: Pieces::default(),
            surveys: Surveys::default(),
            actions: Vec::new(),
            wall: None,
            now: 0,
            was_member: false,
            announced: None,
            echoes: 0,
            changed: 0,
        };
        machine.was_member = machine.is_member();
        machine.learn_contacts();
        Ok(machine)
    }

    /// The node's id.
    #[must_use]
    pub fn me(&self) -> KeyId {
        self.me
    }

    #[must_use]
    pub fn fleet(&self) -> FleetId {
        self.fleet
    }

    /// The fleet's records; none before the first charter is here.
    #[must_use]
    pub fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    /// Whether this node belongs to the fleet.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.is_member(&self.me))
    }

    /// Whether this is an operator's machine.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.pass.is_some()
    }

    /// Whether it was one, and is one no longer.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        let named = |replica: &Replica| replica.of_class(Class::Member).any(|record| record.id() == Some(self.me));
        !self.is_member() && self.replica.as_ref().is_some_and(named)
    }

    /// Whether another board speaks with this node's key. What the node said before it lost its records comes back once, what
    /// a copy of its card says comes again and again.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        self.echoes >= ECHOES
    }

    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    /// Requests of nodes that wait for an operator.
    pub fn requests(&self) -> impl Iterator<Item = (&KeyId, &[u8])> {
        self.requests.iter().map(|(node, request)| (node, request.as_slice()))
    }

    /// What is to be done since this was last asked.
    pub fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Seconds since 1970, as soon as they are known.
    pub fn set_wall(&mut self, wall: Option<u64>) {
        self.wall = wall;
    }

    /// A node of which a person or the charter knows the address.
    pub fn learn(&mut self, peer: KeyId, address: Option<String>) {
        self.contacts.learn(peer, address, true);
    }

    /// A node was seen on the local network.
    pub fn seen(&mut self, peer: KeyId) {
        self.contacts.seen(peer);
    }

    /// A call came to nothing. The next one was put off already when it was made.
    pub fn dial_failed(&mut self, peer: KeyId) {
        self.dialing.remove(&peer);
    }

    /// A connection to `peer`, which has proven that it has this key.
    pub fn connected(&mut self, id: LinkId, peer: KeyId, dialed: bool, now: Millis) {
        self.now = now;
        if dialed {
            self.dialing.remove(&peer);
        }
        let of_peer = self.links.values().filter(|link| link.peer == peer).count();
        let banned = self.bans.get(&peer).is_some_and(|until| *until > now);
        // The key is proven by now: whoever is known as a member needs no place among strangers.
        let known = dialed || self.replica.as_ref().is_some_and(|replica| replica.is_member(&peer));
        let full = self.links.len() >= LINKS_MOST || (!known && self.count(&State::Greeting) >= GREETINGS);
        if peer == self.me || banned || of_peer >= LINKS_EACH || full {
            self.actions.push(Action::Cut { link: id, why: "not now".into() });
            return;
        }
        self.links.insert(id, Link::new(peer, dialed, now));
        if dialed {
            self.greet(id);
        }
    }

    fn count(&self, state: &State) -> usize {
        self.links.values().filter(|link| link.state == *state).count()
    }

    /// A connection has ended.
    pub fn closed(&mut self, id: LinkId, now: Millis) {
        self.now = now;
        if self.links.remove(&id).is_some() {
            self.link_gone(id);
        }
    }

    /// A frame has come, without its length.
    pub fn frame(&mut self, id: LinkId, bytes: &[u8], now: Millis) {
        self.now = now;
        // What was under way when the connection was cut counts no more.
        if !self.links.contains_key(&id) {
            return;
        }
        match Frame::decode(bytes) {
            Ok(frame) => self.handle(id, frame),
            // A newer program's.
            Err(NotAFrame::Malformed(Malformed::Newer { .. })) => {}
            Err(why) => self.blame(id, &why.to_string()),
        }
    }

    fn handle(&mut self, id: LinkId, frame: Frame) {
        let Some(link) = self.links.get(&id) else { return };
        let (admitted, greeting) = (link.is_admitted(), link.state == State::Greeting);
        match frame {
            Frame::Unknown(_) => {}
            Frame::Bye(why) => self.cut(id, &format!("it says: {why}")),
            Frame::Hello(hello) if greeting => self.greeted(id, hello),
            Frame::WantCharters(from) => self.charters_wanted(id, from),
            Frame::Charters { is_last, records } if !greeting => self.charters(id, is_last, records),
            // A node that has become a member elsewhere shows its record.
            Frame::Record(bytes) if !greeting => self.record(id, &bytes),
            Frame::Request(bytes) if admitted => self.request(id, &bytes),
            Frame::Digest(digest) if admitted => self.digest(id, digest),
            Frame::Summary(summary) if admitted => self.summary(id, &summary),
            Frame::Range { bounds, items } if admitted => self.range(id, bounds, &items),
            Frame::Wish(items) if admitted => self.wish(id, &items),
            Frame::Next if admitted => self.next_range(id),
            Frame::Ask { id: question, repository, names } if admitted => {
                let now = self.now;
                let within = self.links.get_mut(&id).is_some_and(|link| link.questions.take(names.len() as u64, now));
                if within {
                    self.actions.push(Action::LookUp { link: id, id: question, repository, names });
                } else {
                    self.send(id, Frame::Have { id: question, bits: 0 });
                }
            }
            Frame::Have { id: question, bits } if admitted => {
                if !self.surveys.have(id, question, bits) {
                    self.pieces.have(id, question, bits);
                }
                self.drive_pieces();
            }
            // It may have been admitted here no longer, or not yet, when it sent this.
            Frame::Digest(_)
            | Frame::Summary(_)
            | Frame::Range { .. }
            | Frame::Wish(_)
            | Frame::Next
            | Frame::Request(_)
            | Frame::Ask { .. }
            | Frame::Have { .. } => {}
            Frame::Hello(_) | Frame::Charters { .. } | Frame::Record(_) => {
                self.blame(id, "it does not greet, or greets twice");
            }
        }
    }

    /// Time passes: call this about once in a second.
    pub fn tick(&mut self, now: Millis) {
        self.now = now;
        self.bans.retain(|_, until| *until > now);
        self.dialing.retain(|_, since| *since + GREETING > now);
        self.calm.retain(|_, at| *at + CALM > now);
        let late = |link: &Link| match link.state {
            State::Greeting => link.since + GREETING <= now,
            State::Waiting(_) => link.since + WAITING <= now,
            _ => false,
        };
        let late: Vec<LinkId> = self.links.iter().filter(|(_, link)| late(link)).map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.cut(id, "it took too long to introduce itself"));
        self.compare_all();
        self.pieces.tick(now);
        self.surveys.tick(now);
        self.drive_pieces();
        self.call();
    }

    /// Calls nodes, if this one has begun too few connections, or the same ones for long.
    fn call(&mut self) {
        if self.is_revoked() {
            return;
        }
        let mut begun: Vec<(Millis, LinkId)> =
            self.links.iter().filter(|(_, link)| link.dialed).map(|(id, link)| (link.since, *id)).collect();
        if begun.len() > LINKS {
            begun.sort_unstable();
            if let Some((_, oldest)) = begun.first() {
                self.cut(*oldest, "it changes its neighbours");
            }
        }
        let mut missing = LINKS.saturating_sub(begun.len() + self.dialing.len());
        if missing == 0 && self.changed + CHANGE <= self.now && self.dialing.is_empty() {
            self.changed = self.now;
            missing = 1;
        }
        if missing == 0 || self.links.len() >= LINKS_MOST {
            return;
        }
        let mut linked: BTreeSet<KeyId> = self.links.values().map(|link| link.peer).collect();
        linked.extend(self.bans.keys());
        linked.extend(self.dialing.keys());
        let replica = self.replica.as_ref();
        let wanted = |peer: &KeyId| replica.is_some_and(|replica| replica.is_member(peer));
        for (peer, addresses) in self.contacts.due(&self.me, self.now, missing, &linked, wanted) {
            self.dialing.insert(peer, self.now);
            self.actions.push(Action::Dial { peer, addresses });
        }
    }

    /// Seeds of invite and charter, and what members say of themselves.
    fn learn_contacts(&mut self) {
        let mut found: Vec<(KeyId, Vec<String>, bool)> = Vec::new();
        if let Some(invite) = &self.invite {
            found.extend(invite.seeds.iter().map(|seed| (seed.node, vec![seed.address.clone()], true)));
        }
        if let Some(replica) = &self.replica {
            let seeds = &replica.trust().charter().seeds;
            found.extend(seeds.iter().map(|seed| (seed.node, vec![seed.address.clone()], true)));
            for record in replica.of_class(Class::Beacon) {
                if let (Body::Beacon(beacon), Some(node)) = (record.body(), record.id()) {
                    found.push((node, beacon.addresses.clone(), false));
                }
            }
        }
        for (node, addresses, is_named) in found.into_iter().filter(|(node, ..)| *node != self.me) {
            self.contacts.learn(node, addresses, is_named);
        }
    }

    /// Takes a record that was signed here.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn offer(&mut self, bytes: &[u8], now: Millis) -> Result<Outcome, Refused> {
        self.now = now;
        self.take_record(None, bytes)
    }

    /// Says in a beacon where this node can be reached, once it is a member and knows what it has said before, if that is
    /// something else.
    pub fn announce(&mut self, site: &str, addresses: &[String], now: Millis) {
        self.now = now;
        if self.announced.is_some_and(|at| at + ANNOUNCE > now) {
            return;
        }
        let beacon = Beacon { site: site.into(), addresses: addresses.to_vec(), uplink: false };
        if self.speak(Body::Beacon(beacon)) {
            self.announced = Some(now);
        }
    }

    /// Says in a report how this node is, once it is a member and knows what it has said before. Whether it was said.
    pub fn report(&mut self, report: Report, now: Millis) -> bool {
        self.now = now;
        self.speak(Body::Report(report))
    }

    /// Signs what this node says of itself and passes it on, if it is something else than it said last.
    fn speak(&mut self, body: Body) -> bool {
        let settled = self.links.values().any(|link| link.is_admitted() && link.since + SETTLED <= self.now);
        let Some(replica) = self.replica.as_ref().filter(|replica| settled && replica.is_member(&self.me)) else {
            return false;
        };
        let name = Name::Id(self.me);
        let key = Key { class: body.class(), name: name.clone(), domain: Labels::default() };
        if replica.get(&key).is_some_and(|here| *here.body() == body) {
            return false;
        }
        let Ok(draft) = Draft::new(replica.next(key.class, Labels::default(), name), body) else { return false };
        let signature = self.key.sign(&draft.message(&self.fleet)).to_bytes();
        let bytes = draft.signed([Signature { key: self.me, bytes: signature }]);
        // One that is refused here would be refused elsewhere.
        let _ = self.take_record(None, &bytes);
        true
    }

    /// Asks the neighbours for a piece. [`Action::Answer`] says what came of it.
    pub fn ask(&mut self, ticket: Ticket, repository: Sha256, name: Piece, now: Millis) {
        self.now = now;
        let links = self.admitted();
        self.pieces.ask(ticket, repository, name, &links, now);
        self.drive_pieces();
    }

    /// Asks all neighbours how many of these pieces they have. [`Action::Surveyed`] says what came of it.
    pub fn survey(&mut self, ticket: Ticket, repository: Sha256, names: &[Piece], now: Millis) {
        self.now = now;
        let links = self.admitted();
        let links: Vec<(LinkId, KeyId)> =
            links.into_iter().filter_map(|id| Some((id, self.links.get(&id)?.peer))).collect();
        self.surveys.ask(ticket, repository, names, &links, now);
        self.drive_pieces();
    }

    /// Nobody waits for that piece any more.
    pub fn forget(&mut self, ticket: Ticket) {
        self.pieces.forget(ticket);
    }

    /// Pieces that came and were something else.
    #[must_use]
    pub fn garbage(&self) -> u64 {
        self.pieces.garbage
    }

    /// What came of a [`Action::Fetch`].
    pub fn fetched(&mut self, ticket: Ticket, link: LinkId, fetched: Fetched, now: Millis) {
        self.now = now;
        if self.pieces.fetched(ticket, link, fetched, now) {
            self.blame(link, "it sends other bytes than were named, again and again");
        }
        self.drive_pieces();
    }

    /// Which of the names of an [`Action::LookUp`] are here: a bit for each.
    pub fn looked_up(&mut self, link: LinkId, id: u64, bits: u64) {
        self.send(link, Frame::Have { id, bits });
    }

    /// Neighbours that belong to the fleet.
    fn admitted(&self) -> Vec<LinkId> {
        // Who does not belong to it asks nobody.
        if self.pass.is_none() && !self.is_member() {
            return Vec::new();
        }
        self.links.iter().filter(|(_, link)| link.is_admitted()).map(|(id, _)| *id).collect()
    }

    /// Whether this neighbour may have pieces.
    #[must_use]
    pub fn may_have(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(Link::is_admitted)
    }

    fn drive_pieces(&mut self) {
        self.actions.extend(self.pieces.take());
        self.actions.extend(self.surveys.take());
    }

    fn send(&mut self, link: LinkId, frame: Frame) {
        if self.links.contains_key(&link) {
            self.actions.push(Action::Send { link, frame });
        }
    }

    /// Ends a connection.
    fn cut(&mut self, link: LinkId, why: &str) {
        if self.links.remove(&link).is_some() {
            self.actions.push(Action::Send { link, frame: Frame::Bye(why.into()) });
            self.actions.push(Action::Cut { link, why: why.into() });
            self.link_gone(link);
        }
    }

    fn link_gone(&mut self, link: LinkId) {
        self.pieces.link_gone(link);
        self.surveys.link_gone(link);
        self.drive_pieces();
    }

    /// Ends all connections of a node that has sent what no honest node sends, and begins none for a while.
    fn blame(&mut self, link: LinkId, why: &str) {
        let Some(peer) = self.links.get(&link).map(|link| link.peer) else { return };
        if self.bans.len() >= BANS {
            self.bans.pop_first();
        }
        self.bans.insert(peer, self.now + BAN);
        let all: Vec<LinkId> = self.links.iter().filter(|(_, link)| link.peer == peer).map(|(id, _)| *id).collect();
        all.into_iter().for_each(|link| self.cut(link, why));
    }

    /// What this node introduces itself as.
    fn standing(&self) -> Option<Standing> {
        if let Some(pass) = &self.pass {
            return Some(Standing::Operator(pass.clone()));
        }
        let records = self.own_records();
        if records.is_empty() {
            return self.request.clone().map(Standing::Guest);
        }
        Some(Standing::Member(records))
    }

    /// What this node shows to relays, which know members by their keys: whoever is none yet, its request.
    #[must_use]
    pub fn relay_token(&self) -> Option<String> {
        let pass = self.pass.as_deref().map(relay::operator);
        pass.or_else(|| self.request.as_deref().map(relay::guest))
    }

    /// Records by which this node is a member.
    fn own_records(&self) -> Vec<Vec<u8>> {
        let Some(replica) = self.replica.as_ref().filter(|replica| replica.is_member(&self.me)) else {
            return Vec::new();
        };
        let own = replica.of_class(Class::Member).filter(|record| record.id() == Some(self.me));
        own.take(crate::wire::MEMBERSHIPS).map(|record| record.encode()).collect()
    }
}
