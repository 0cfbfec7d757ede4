//! Who gets in.
//!
//! The one who called introduces itself first: as a member, by the records that say so; as a guest, by a request that the key of
//! an invite has signed; or as a machine of an operator, by a pass. Only then the other one does. A guest gets the charters and
//! nothing else, until an operator has taken it in. What cannot be judged under the charter that is here waits for later
//! charters, if the other one has some.

use fruit_record::{Class, KeyId, Outcome, Record, Refused, Replica, Request, Trust, limits};

use super::index::Index;
use super::link::{Action, LinkId, State};
use super::{GUESTS, Machine, REQUESTS};
use crate::pass::Pass;
use crate::wire::{CHARTERS, FRAME, Frame, Hello, Standing, VERSIONS};

/// Bytes of a row of charters that a neighbour may send.
const ROW: usize = 4 << 20;

/// What a greeting comes to.
enum Judged {
    Admitted(State),
    /// Charters from this version on are needed first.
    Needs(u64),
    Refused(String),
    /// No honest node says this.
    Hostile(String),
}

impl Machine {
    /// Introduces this node.
    pub(super) fn greet(&mut self, id: LinkId) {
        let Some(standing) = self.standing() else {
            self.cut(id, "this node has no invite");
            return;
        };
        let charter = self
            .replica
            .as_ref()
            .map_or((0, fruit_record::RecordHash([0; 32])), |r| (r.trust().version(), r.trust().last_hash()));
        let hello = Hello { versions: VERSIONS, fleet: self.fleet, charter, standing };
        if let Some(link) = self.links.get_mut(&id) {
            link.greeted = true;
        }
        self.send(id, Frame::Hello(hello));
    }

    /// The other node has introduced itself.
    pub(super) fn greeted(&mut self, id: LinkId, hello: Hello) {
        let Some(peer) = self.links.get(&id).map(|link| link.peer) else { return };
        if hello.versions[0] > VERSIONS[1] || hello.versions[1] < VERSIONS[0] {
            let [lowest, highest] = hello.versions;
            self.cut(id, &format!("it speaks versions {lowest} to {highest}, this node {VERSIONS:?}"));
            return;
        }
        if hello.fleet != self.fleet {
            self.cut(id, "it is of another fleet");
            return;
        }
        match self.judge(peer, &hello) {
            Judged::Admitted(state) => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.charter = Some(hello.charter);
                    link.state = state;
                }
                self.admit(id);
            }
            Judged::Needs(from) => {
                // A newcomer tells an unknown caller no more than it would tell whom it calls itself.
                if self.replica.is_none() && !self.links.get(&id).is_some_and(|link| link.greeted) {
                    self.greet(id);
                }
                if let Some(link) = self.links.get_mut(&id) {
                    link.state = State::Waiting(Box::new(hello));
                }
                self.send(id, Frame::WantCharters(from));
            }
            Judged::Refused(why) => self.cut(id, &why),
            Judged::Hostile(why) => self.blame(id, &why),
        }
    }

    fn judge(&mut self, peer: KeyId, hello: &Hello) -> Judged {
        let Some(version) = self.replica.as_ref().map(|replica| replica.trust().version()) else {
            return match (&hello.standing, hello.charter.0) {
                (Standing::Guest(_), _) | (_, 0) => Judged::Refused("neither is a member yet".into()),
                _ => Judged::Needs(1),
            };
        };
        let newer = hello.charter.0 > version;
        let judged = match &hello.standing {
            Standing::Member(records) => self.judge_member(peer, records),
            Standing::Guest(request) => self.judge_guest(peer, request),
            Standing::Operator(pass) => self.judge_operator(peer, pass),
        };
        match judged {
            Judged::Refused(_) if newer => Judged::Needs(version + 1),
            judged => judged,
        }
    }

    fn judge_member(&mut self, peer: KeyId, records: &[Vec<u8>]) -> Judged {
        for bytes in records {
            let own = Record::parse(bytes).is_ok_and(|r| r.class() == Class::Member && r.id() == Some(peer));
            if !own {
                return Judged::Hostile("what it shows is not its own record as a member".into());
            }
            match self.take_record(None, bytes) {
                Err(why) if why.is_hostile() => return Judged::Hostile(why.to_string()),
                _ => {}
            }
        }
        let Some(replica) = &self.replica else { return Judged::Needs(1) };
        if replica.is_member(&peer) {
            return Judged::Admitted(State::Member);
        }
        let named = replica.of_class(Class::Member).any(|record| record.id() == Some(peer));
        Judged::Refused(if named { "it was revoked" } else { "it is no member, as far as is known here" }.into())
    }

    fn judge_guest(&mut self, peer: KeyId, bytes: &[u8]) -> Judged {
        let Some(replica) = &self.replica else { return Judged::Needs(1) };
        // It does not know yet that it was taken in.
        if replica.is_member(&peer) {
            return Judged::Admitted(State::Member);
        }
        if self.pass.is_none() && !replica.is_member(&self.me) {
            return Judged::Refused("neither is a member yet".into());
        }
        let request = match replica.verify_request(bytes) {
            Ok(request) if request.node == peer => request,
            Ok(_) => return Judged::Hostile("the request is another node's".into()),
            Err(why) if why.is_hostile() => return Judged::Hostile(why.to_string()),
            Err(why) => return Judged::Refused(why.to_string()),
        };
        if let Err(why) = replica.admit(&request, self.wall) {
            return Judged::Refused(why.to_string());
        }
        if self.count(&State::Guest) >= GUESTS {
            return Judged::Refused("too many nodes ask to become members".into());
        }
        self.keep_request(None, peer, bytes);
        Judged::Admitted(State::Guest)
    }

    fn judge_operator(&self, peer: KeyId, pass: &[u8]) -> Judged {
        let Some(replica) = &self.replica else { return Judged::Needs(1) };
        match Pass::verify(pass, replica.trust(), peer, self.wall) {
            Ok((name, roles)) => Judged::Admitted(State::Operator { name, roles, pass: pass.to_vec() }),
            Err(why) => Judged::Refused(why.to_string()),
        }
    }

    /// A neighbour is what it says: begins to talk with it.
    pub(super) fn admit(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        let (peer, state, greeted) = (link.peer, link.state.clone(), link.greeted);
        if self.is_second(id) {
            return;
        }
        self.contacts.reached(&peer);
        if !greeted {
            self.greet(id);
        }
        self.send_charters(id, None);
        if state == State::Guest {
            return;
        }
        if state == State::Member {
            // It may not know yet that it is one.
            self.send_member(id, peer);
        }
        let requests: Vec<Vec<u8>> = self.requests.values().cloned().collect();
        requests.into_iter().for_each(|request| self.send(id, Frame::Request(request)));
        self.compare_with(id);
        let links = self.admitted();
        self.pieces.links(&links);
        self.drive_pieces();
    }

    fn send_member(&mut self, id: LinkId, node: KeyId) {
        let Some(replica) = &self.replica else { return };
        let of_node = replica.of_class(Class::Member).filter(|record| record.id() == Some(node));
        let records: Vec<Vec<u8>> = of_node.map(|record| record.encode()).collect();
        records.into_iter().for_each(|record| self.send(id, Frame::Record(record)));
    }

    /// Of two connections between two nodes both keep the same one: the one that the node with the lower id has begun, of two
    /// of the same node the later one. Whether this one was cut.
    fn is_second(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get(&id) else { return true };
        let (peer, me) = (link.peer, self.me);
        let other = self.links.iter().find(|(other, link)| **other != id && link.peer == peer && link.greeted);
        let Some((other_id, other)) = other.filter(|(_, other)| other.is_admitted() || other.state == State::Guest)
        else {
            return false;
        };
        let caller = |dialed: bool| if dialed { me } else { peer };
        let (this, that, other_id) = (caller(link.dialed), caller(other.dialed), *other_id);
        let loser = if this <= that { other_id } else { id };
        self.cut(loser, "there are two connections");
        loser == id
    }

    /// Somebody wants charters: whoever belongs to the fleet, or has a good request.
    pub(super) fn charters_wanted(&mut self, id: LinkId, from: u64) {
        let Some((link, replica)) = self.links.get(&id).zip(self.replica.as_ref()) else { return };
        let known = link.is_admitted() || link.state == State::Guest || replica.is_member(&link.peer);
        // Seeds are named by whom this node trusts anyway.
        if known || (link.dialed && self.contacts.is_named(&link.peer)) {
            self.send_charters(id, Some(from));
        } else {
            self.cut(id, "it is no member, as far as is known here");
        }
    }

    /// Sends the charters from a version on, or those that the neighbour lacks.
    fn send_charters(&mut self, id: LinkId, from: Option<u64>) {
        let Some((link, replica)) = self.links.get(&id).zip(self.replica.as_ref()) else { return };
        let trust = replica.trust();
        let from = match (from, link.charter) {
            (Some(from), _) => from,
            (None, Some((version, hash))) => {
                let same = version.checked_sub(1).and_then(|at| trust.charters().get(usize::try_from(at).ok()?));
                match same {
                    Some(same) if same.hash() == hash => version + 1,
                    // It has another row, or none: which of two rows counts, whoever has the shorter one finds out.
                    _ if version > trust.version() => return,
                    _ => 1,
                }
            }
            (None, None) => 1,
        };
        let from = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        let row: Vec<Vec<u8>> = trust.charters().iter().skip(from).map(|charter| charter.encode()).collect();
        let (size, now) = (row.iter().map(Vec::len).sum::<usize>(), self.now);
        if !self.links.get_mut(&id).is_some_and(|link| link.wished.take(size as u64, now)) {
            return;
        }
        let mut frames = Vec::new();
        let mut records: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        for charter in row {
            if records.len() == CHARTERS || bytes + charter.len() + 8 > FRAME - 64 {
                frames.push(std::mem::take(&mut records));
                bytes = 0;
            }
            bytes += charter.len() + 8;
            records.push(charter);
        }
        if !records.is_empty() {
            frames.push(records);
        }
        let last = frames.len();
        for (at, records) in frames.into_iter().enumerate() {
            self.send(id, Frame::Charters { is_last: at + 1 == last, records });
        }
    }

    /// Charters have come.
    pub(super) fn charters(&mut self, id: LinkId, is_last: bool, records: Vec<Vec<u8>>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.row_bytes += records.iter().map(Vec::len).sum::<usize>();
        link.row.extend(records);
        if link.row.len() > limits::CHARTERS || link.row_bytes > ROW {
            self.blame(id, "it sends more charters than a fleet may have");
            return;
        }
        if !is_last {
            return;
        }
        let row = std::mem::take(&mut link.row);
        link.row_bytes = 0;
        match self.take_row(&row) {
            Ok(Outcome::New) => self.trust_changed(Some(id)),
            Ok(_) => self.judge_again(),
            Err(why) if why.is_hostile() => self.blame(id, &why.to_string()),
            Err(Refused::CharterFork { .. }) if self.replica.is_none() => {
                self.cut(id, "its charters are not those that the invite names");
            }
            // Two rows: people have to decide. What else this neighbour knows is still good.
            Err(Refused::CharterFork { .. } | Refused::CharterVersion { .. }) => self.judge_again(),
            Err(why) => self.cut(id, &why.to_string()),
        }
    }

    fn take_row(&mut self, row: &[Vec<u8>]) -> Result<Outcome, Refused> {
        let bytes = row.iter().map(Vec::as_slice);
        let Some(replica) = &mut self.replica else {
            let trust = Trust::chain(self.fleet, bytes)?;
            // Another row that begins alike may be signed with root keys of long ago.
            if let Some(invite) = self.invite.as_ref().filter(|invite| !trust.has(&invite.charter)) {
                return Err(Refused::CharterFork { version: trust.version().min(invite.grant.version()) });
            }
            self.replica = Some(Replica::new(trust));
            return Ok(Outcome::New);
        };
        let first = row.first().map(|first| Record::parse(first)).transpose()?;
        if first.is_some_and(|first| first.version() == 1) {
            return replica.offer_charters(bytes);
        }
        let mut outcome = Outcome::Known;
        for charter in bytes {
            if Record::parse(charter)?.class() != Class::Charter {
                return Err(
                    fruit_record::wire::Malformed::Value { what: "the row", why: "not all are charters" }.into()
                );
            }
            if replica.offer(charter)? == Outcome::New {
                outcome = Outcome::New;
            }
        }
        Ok(outcome)
    }

    /// Who is trusted has changed: by charters that came from a neighbour, or by records.
    pub(super) fn trust_changed(&mut self, from: Option<LinkId>) {
        self.refused.clear();
        self.index = self.replica.as_ref().map(Index::of).unwrap_or_default();
        self.actions.push(Action::Keep);
        self.learn_contacts();
        let others: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(id, link)| Some(**id) != from && (link.is_admitted() || link.state == State::Guest))
            .map(|(id, _)| *id)
            .collect();
        others.into_iter().for_each(|id| self.send_charters(id, None));
        let last = self.replica.as_ref().map(|replica| (replica.trust().version(), replica.trust().last_hash()));
        for link in self.links.values_mut() {
            // What it was sent, it has.
            link.charter = last.or(link.charter);
        }
        self.judge_again();
    }

    /// Looks at all neighbours once more.
    pub(super) fn judge_again(&mut self) {
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            let Some((link, replica)) = self.links.get(&id).zip(self.replica.as_ref()) else { continue };
            let peer = link.peer;
            match link.state.clone() {
                State::Greeting => {}
                State::Waiting(hello) => {
                    let judged = self.judge(peer, &hello);
                    match judged {
                        Judged::Admitted(state) => {
                            if let Some(link) = self.links.get_mut(&id) {
                                link.state = state;
                                link.charter = link.charter.or(Some(hello.charter));
                            }
                            self.admit(id);
                        }
                        Judged::Needs(_) => {}
                        Judged::Refused(why) => self.cut(id, &why),
                        Judged::Hostile(why) => self.blame(id, &why),
                    }
                }
                State::Guest if replica.is_member(&peer) => {
                    if let Some(link) = self.links.get_mut(&id) {
                        link.state = State::Member;
                    }
                    self.admit(id);
                }
                State::Guest => {}
                State::Member if !replica.is_member(&peer) => {
                    // The last that it hears is why.
                    let of_peer = replica.of_class(Class::Revocation).filter(|record| record.id() == Some(peer));
                    let last: Vec<Vec<u8>> = of_peer.map(|record| record.encode()).collect();
                    last.into_iter().for_each(|record| self.send(id, Frame::Record(record)));
                    self.cut(id, "it was revoked, or is no member any more");
                }
                State::Member => {}
                State::Operator { pass, .. } => {
                    if let Err(why) = Pass::verify(&pass, replica.trust(), peer, self.wall) {
                        self.cut(id, &why.to_string());
                    }
                }
            }
        }
        self.look_at_self();
    }

    /// Whether this node has become a member, or is none any more.
    fn look_at_self(&mut self) {
        let is_member = self.is_member();
        if std::mem::replace(&mut self.was_member, is_member) == is_member {
            return;
        }
        let all: Vec<LinkId> = self.links.iter().filter(|(_, link)| link.is_admitted()).map(|(id, _)| *id).collect();
        for id in all {
            if is_member {
                // Who knows it as a guest learns it before it is asked for anything.
                for record in self.own_records() {
                    self.send(id, Frame::Record(record));
                }
                self.compare_with(id);
            } else {
                self.cut(id, "this node is no member any more");
            }
        }
    }

    /// A request of a node has come by way of a neighbour.
    pub(super) fn request(&mut self, id: LinkId, bytes: &[u8]) {
        let Some(replica) = &self.replica else { return };
        match replica.verify_request(bytes) {
            Ok(request) if replica.is_member(&request.node) || replica.admit(&request, self.wall).is_err() => {}
            Ok(request) => self.keep_request(Some(id), request.node, bytes),
            Err(why) if matches!(why, Refused::Malformed(_)) && why.is_hostile() => self.blame(id, &why.to_string()),
            // It may have been good under the charter of who sent it.
            Err(_) => {}
        }
    }

    /// Keeps a request that was verified, and passes it on.
    fn keep_request(&mut self, from: Option<LinkId>, node: KeyId, bytes: &[u8]) {
        let same = |here: &Vec<u8>| Request::parse(here).ok().map(|r| r.invite().id());
        let known = self.requests.get(&node).is_some_and(|here| {
            here == bytes || same(here) == Request::parse(bytes).ok().map(|request| request.invite().id())
        });
        if known || (self.requests.len() >= REQUESTS && !self.requests.contains_key(&node)) {
            return;
        }
        self.requests.insert(node, bytes.to_vec());
        let others: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(id, link)| Some(**id) != from && link.is_admitted() && link.peer != node)
            .map(|(id, _)| *id)
            .collect();
        others.into_iter().for_each(|id| self.send(id, Frame::Request(bytes.to_vec())));
    }

    /// Requests that need nobody any more.
    pub(super) fn drop_requests(&mut self) {
        let Some(replica) = &self.replica else { return };
        let now = self.wall;
        self.requests.retain(|node, bytes| {
            let open = |bytes: &[u8]| replica.verify_request(bytes).is_ok_and(|r| replica.admit(&r, now).is_ok());
            !replica.is_member(node) && open(bytes)
        });
    }
}
