//! Records: taking them in, passing them on, comparing what two nodes have.
//!
//! The node that has called compares: it sends a hash of all that it has; if the other one has something else, that one answers
//! with a hash for each of 256 buckets. Of those that differ the caller sends its items, some ranges at a time, and gets the
//! records that it lacks and the wish for those that the other one lacks. Equal sets cost some fifty bytes.

use std::collections::BTreeSet;

use fruit_record::class::Signers;
use fruit_record::{Class, Key, Name, Outcome, Record, Refused};

use super::index::Index;
use super::link::{Action, LinkId};
use super::{CALM, Machine, REFUSED};
use crate::wire::{BUCKETS, Frame, Item};

/// Ranges under way.
const WINDOW: usize = 8;

impl Machine {
    /// A record has come from a neighbour.
    pub(super) fn record(&mut self, id: LinkId, bytes: &[u8]) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.incoming.take(1, now) {
            self.blame(id, "it sends more records than there can be");
            return;
        }
        link.records_in += 1;
        // A guest shows its own record as a member, which somebody else has signed in the meantime.
        let admitted = link.is_admitted();
        let peer = link.peer;
        if !admitted {
            let own = Record::parse(bytes).is_ok_and(|r| r.class() == Class::Member && r.id() == Some(peer));
            if !own || self.replica.is_none() {
                return;
            }
        }
        match self.take_record(Some(id), bytes) {
            Ok(_) => {}
            Err(why) if why.is_hostile() => self.blame(id, &why.to_string()),
            Err(_) => {
                if self.refused.len() >= REFUSED {
                    self.refused.pop_first();
                }
                self.refused.insert(Item::of(bytes));
            }
        }
    }

    /// Takes a record in, and passes it on if it is new.
    pub(super) fn take_record(&mut self, from: Option<LinkId>, bytes: &[u8]) -> Result<Outcome, Refused> {
        let not_yet = fruit_record::wire::Malformed::Missing { what: "the fleet's first charter" };
        let replica = self.replica.as_mut().ok_or(Refused::Malformed(not_yet))?;
        let record = Record::parse(bytes)?;
        let (class, key) = (record.class(), record.key().clone());
        let outcome = replica.offer(bytes)?;
        if outcome != Outcome::New {
            return Ok(outcome);
        }
        if from.is_some() && class.signers() == Signers::Node && key.name == Name::Id(self.me) {
            self.echoes = self.echoes.saturating_add(1);
        }
        // As it stands here, without signatures that do not count.
        let bytes = replica.get(&key).map_or_else(|| bytes.to_vec(), |record| record.encode());
        match class {
            // These change what else counts.
            Class::Charter => {
                self.trust_changed(from);
                return Ok(outcome);
            }
            Class::Revocation | Class::Floor | Class::Member => self.index = Index::of(replica),
            _ => self.index.changed(replica, &key),
        }
        self.actions.push(Action::Keep);
        self.pass_on(from, &key, &bytes);
        match class {
            Class::Revocation | Class::Floor | Class::Member => {
                self.refused.clear();
                self.drop_requests();
                self.judge_again();
            }
            Class::Beacon => self.learn_contacts(),
            _ => {}
        }
        Ok(outcome)
    }

    /// Passes a new record on at once; what a node says of itself all the time waits for the next comparison.
    fn pass_on(&mut self, from: Option<LinkId>, key: &Key, bytes: &[u8]) {
        let now = self.now;
        if key.class.signers() == Signers::Node && from.is_some() {
            if self.calm.get(key).is_some_and(|at| at + CALM > now) {
                return;
            }
            self.calm.insert(key.clone(), now);
        }
        let others: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(id, link)| Some(**id) != from && link.is_admitted())
            .map(|(id, _)| *id)
            .collect();
        others.into_iter().for_each(|id| self.send_record(id, bytes.to_vec()));
    }

    fn send_record(&mut self, id: LinkId, record: Vec<u8>) {
        if let Some(link) = self.links.get_mut(&id) {
            link.records_out += 1;
        }
        self.send(id, Frame::Record(record));
    }

    /// Compares with every neighbour that this node has called, each in its turn.
    pub(super) fn compare_all(&mut self) {
        let (now, compare) = (self.now, self.compare);
        let due: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.is_admitted() && link.comparison.begun.is_none_or(|at| at + compare <= now))
            .map(|(id, _)| *id)
            .collect();
        due.into_iter().for_each(|id| self.compare_with(id));
    }

    /// Begins a comparison, if it is this node's part to do so.
    pub(super) fn compare_with(&mut self, id: LinkId) {
        if self.pass.is_none() && !self.is_member() {
            return;
        }
        let now = self.now;
        let Some(link) = self.links.get_mut(&id).filter(|link| link.dialed) else { return };
        // One that has stuck is begun anew.
        link.comparison = super::link::Comparison { begun: Some(now), ..Default::default() };
        let digest = self.index.digest();
        self.send(id, Frame::Digest(digest));
    }

    pub(super) fn digest(&mut self, id: LinkId, theirs: [u8; 32]) {
        if self.index.digest() != theirs && self.may_cost(id, self.index.len()) {
            let summary = self.index.summary();
            self.send(id, Frame::Summary(summary));
        }
    }

    /// Whether so many items may be looked at for a neighbour.
    fn may_cost(&mut self, id: LinkId, items: usize) -> bool {
        let now = self.now;
        let cost = (items * size_of::<Item>() + size_of::<[u64; BUCKETS]>()) as u64;
        self.links.get_mut(&id).is_some_and(|link| link.wished.take(cost, now))
    }

    pub(super) fn summary(&mut self, id: LinkId, theirs: &[u64; BUCKETS]) {
        if !self.may_cost(id, self.index.len()) {
            return;
        }
        let mine = self.index.summary();
        let differ = (0..=u8::MAX).filter(|n| mine[usize::from(*n)] != theirs[usize::from(*n)]);
        let ranges: Vec<[Item; 2]> = differ.flat_map(|n| self.index.ranges(n)).collect();
        let Some(link) = self.links.get_mut(&id).filter(|link| link.dialed) else { return };
        link.comparison.todo = ranges.into();
        link.comparison.open = 0;
        for _ in 0..WINDOW {
            self.send_range(id);
        }
    }

    fn send_range(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(bounds) = link.comparison.todo.pop_front() else { return };
        link.comparison.open += 1;
        let items: Vec<Item> = self.index.range(bounds).map(|(item, _)| *item).collect();
        // What has come since then is told another time.
        if items.len() <= crate::wire::ITEMS {
            self.send(id, Frame::Range { bounds, items });
        }
    }

    pub(super) fn next_range(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.comparison.open > 0) else { return };
        link.comparison.open -= 1;
        self.send_range(id);
    }

    pub(super) fn range(&mut self, id: LinkId, bounds: [Item; 2], theirs: &[Item]) {
        let looked_at = self.index.range(bounds).count();
        if !self.may_cost(id, looked_at) {
            return;
        }
        let lacking: BTreeSet<Key> = self
            .index
            .range(bounds)
            .filter(|(item, _)| theirs.binary_search(item).is_err())
            .map(|(_, key)| key.clone())
            .collect();
        let wish: Vec<Item> =
            theirs.iter().filter(|item| !self.index.has(item) && !self.refused.contains(item)).copied().collect();
        self.send_wished(id, lacking);
        if !wish.is_empty() {
            self.send(id, Frame::Wish(wish));
        }
        self.send(id, Frame::Next);
    }

    pub(super) fn wish(&mut self, id: LinkId, items: &[Item]) {
        let keys = items.iter().filter_map(|item| self.index.key(item).cloned()).collect();
        self.send_wished(id, keys);
    }

    /// Records in the order in which they travel: what takes trust away first, members before what they say.
    fn send_wished(&mut self, id: LinkId, keys: BTreeSet<Key>) {
        let now = self.now;
        for key in keys {
            let Some(record) = self.replica.as_ref().and_then(|replica| replica.get(&key)) else { continue };
            let bytes = record.encode();
            let Some(link) = self.links.get_mut(&id) else { return };
            // Who asks for the same again and again gets it by and by.
            if !link.wished.take(bytes.len() as u64, now) {
                return;
            }
            self.send_record(id, bytes);
        }
    }
}
