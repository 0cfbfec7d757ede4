//! All records of a fleet that count, as far as they have come here.

use std::collections::{BTreeMap, BTreeSet};

use fruit_base::Sha256;

use crate::body::{Body, Floor, Grant, Member};
use crate::class::{Class, Signers};
use crate::id::{FleetId, KeyId, RecordHash};
use crate::limits;
use crate::record::{Head, Key, Name, Record};
use crate::request::Request;
use crate::selector::Labels;
use crate::trust::{Members, Refused, Trust};
use crate::verified::Verified;
use crate::wire::{Malformed, Reader, Writer};

/// What a file or stream of records begins with.
const MAGIC: &[u8; 16] = b"fruit records 1\n";

/// What became of a record that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It counts from now on: pass it on.
    New,
    /// It is here.
    Known,
    /// A later version is here, or one of the same version that counts before it.
    Older,
}

/// Two records with one key and one version: two operators who did not know of each other, a copied card, or a lie.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Conflict {
    pub key: Key,
    pub version: u64,
    /// The lower hash counts.
    pub counts: RecordHash,
    pub other: RecordHash,
}

/// The records of a fleet: of each key, the version that counts.
#[derive(Clone, Debug)]
pub struct Replica {
    trust: Trust,
    records: BTreeMap<Key, Verified<Record>>,
    conflicts: BTreeSet<Conflict>,
    /// What floors name that have not all hashes in themselves, by the blob's SHA-256.
    blobs: BTreeMap<Sha256, BTreeSet<RecordHash>>,
    counts: Counts,
}

/// How much there is of what is bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    operator_records: usize,
    operator_bytes: usize,
    members: usize,
    revocations: usize,
}

/// Members and revocations among records.
struct Known<'r>(&'r BTreeMap<Key, Verified<Record>>);

impl<'r> Known<'r> {
    /// Records of a class with this name, in all domains.
    fn named(&self, class: Class, name: Name) -> impl Iterator<Item = &'r Verified<Record>> + use<'r> {
        let from = Key { class, name: name.clone(), domain: Labels::default() };
        let found = self.0.range(from..).take_while(move |(key, _)| key.class == class && key.name == name);
        found.map(|(_, record)| record)
    }

    fn is_revoked(&self, subject: &KeyId, labels: &Labels) -> bool {
        let mut revocations = self.named(Class::Revocation, Name::Id(*subject));
        revocations.any(|revocation| labels.contain(&revocation.head().domain))
    }

    /// Its records that are not revoked.
    fn memberships(&self, node: &KeyId) -> impl Iterator<Item = (&'r Verified<Record>, &'r Member)> + use<'r> {
        let members = self.named(Class::Member, Name::Id(*node)).filter_map(|record| match record.body() {
            Body::Member(member) => Some((record, member)),
            _ => None,
        });
        let (node, known) = (*node, Known(self.0));
        members.filter(move |(_, member)| !known.is_revoked(&node, &member.labels.of_node(&node)))
    }
}

impl Members for Known<'_> {
    fn has(&self, node: &KeyId) -> bool {
        self.memberships(node).next().is_some()
    }
}

impl Counts {
    /// Adds or takes away one record.
    fn change(&mut self, record: &Record, by: impl Fn(usize, usize) -> usize) {
        match record.class() {
            Class::Revocation => self.revocations = by(self.revocations, 1),
            Class::Member | Class::Invite => self.members = by(self.members, 1),
            class if class.signers() != Signers::Node => {
                self.operator_records = by(self.operator_records, 1);
                self.operator_bytes = by(self.operator_bytes, record.encode().len());
            }
            _ => {}
        }
    }

    fn check(self) -> Result<(), Refused> {
        for (count, limit, what) in [
            (self.revocations, limits::REVOCATIONS, "revocations"),
            (self.members, limits::MEMBERS, "members and invites"),
            (self.operator_records, limits::OPERATOR_RECORDS, "records of operators"),
            (self.operator_bytes, limits::OPERATOR_BYTES, "bytes of records of operators"),
        ] {
            if count > limit {
                return Err(Refused::Full { what, limit });
            }
        }
        Ok(())
    }
}

impl Replica {
    #[must_use]
    pub fn new(trust: Trust) -> Replica {
        Replica {
            trust,
            records: BTreeMap::new(),
            conflicts: BTreeSet::new(),
            blobs: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// All records but charters, in the order in which they travel.
    pub fn records(&self) -> impl Iterator<Item = &Verified<Record>> {
        self.records.values()
    }

    /// Those of a class.
    pub fn of_class(&self, class: Class) -> impl Iterator<Item = &Verified<Record>> {
        self.records.values().filter(move |record| record.class() == class)
    }

    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Verified<Record>> {
        self.records.get(key)
    }

    pub fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts.iter()
    }

    /// Whether a node, or an invite, with these labels was revoked.
    #[must_use]
    pub fn is_revoked(&self, subject: &KeyId, labels: &Labels) -> bool {
        Known(&self.records).is_revoked(subject, labels)
    }

    /// Whether a node belongs to the fleet.
    #[must_use]
    pub fn is_member(&self, node: &KeyId) -> bool {
        Known(&self.records).has(node)
    }

    /// What is signed about a node that belongs to the fleet.
    #[must_use]
    pub fn member(&self, node: &KeyId) -> Option<Member> {
        Known(&self.records).memberships(node).next().map(|(_, member)| member.clone())
    }

    /// Takes a record, if it is one that counts.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn offer(&mut self, bytes: &[u8]) -> Result<Outcome, Refused> {
        let record = Record::parse(bytes)?;
        if record.class() == Class::Charter {
            return self.offer_charter(bytes);
        }
        if let Some(here) = self.records.get(record.key()) {
            // Before signatures, which cost more, are looked at.
            if here.hash() == record.hash() {
                return Ok(Outcome::Known);
            }
            if here.version() > record.version() {
                return Ok(Outcome::Older);
            }
        }
        let record = self.trust.verify_record(record, &Known(&self.records))?;
        if self.is_below_floor(&record) {
            return Err(Refused::BelowFloor { class: record.class() });
        }
        if let Some(here) = self.records.get(record.key())
            && here.version() == record.version()
        {
            let (counts, other) = (here.hash().min(record.hash()), here.hash().max(record.hash()));
            let stays = counts == here.hash();
            if self.conflicts.len() < limits::CONFLICTS {
                let (key, version) = (record.key().clone(), record.version());
                self.conflicts.insert(Conflict { key, version, counts, other });
            }
            if stays {
                return Ok(Outcome::Older);
            }
        }
        let mut counts = self.counts;
        if let Some(here) = self.records.get(record.key()) {
            counts.change(here, usize::saturating_sub);
        }
        counts.change(&record, usize::saturating_add);
        counts.check()?;
        self.counts = counts;
        let (class, id) = (record.class(), record.id());
        self.records.insert(record.key().clone(), record);
        match (class, id) {
            (Class::Floor, _) => self.sweep(|_| true),
            (Class::Revocation | Class::Member, Some(node)) => self.sweep(|record| record.id() == Some(node)),
            _ => {}
        }
        Ok(Outcome::New)
    }

    fn offer_charter(&mut self, bytes: &[u8]) -> Result<Outcome, Refused> {
        if !self.trust.advance(bytes)? {
            return Ok(Outcome::Known);
        }
        self.revise();
        Ok(Outcome::New)
    }

    /// Takes all charters of the fleet, as somebody else has them. Of two rows that each follow from the first charter, the
    /// longer one counts; of two as long, the one whose last charter has the lower hash.
    ///
    /// # Errors
    /// The row is none of this fleet; nothing has changed then.
    pub fn offer_charters<'b>(&mut self, charters: impl IntoIterator<Item = &'b [u8]>) -> Result<Outcome, Refused> {
        let other = Trust::chain(self.trust.fleet(), charters)?;
        let rank = |trust: &Trust| (trust.version(), std::cmp::Reverse(trust.last_hash()));
        if other.last_hash() == self.trust.last_hash() {
            return Ok(Outcome::Known);
        }
        if rank(&other) < rank(&self.trust) {
            return Ok(Outcome::Older);
        }
        self.trust = other;
        self.revise();
        Ok(Outcome::New)
    }

    /// Takes the hashes that a floor names by the SHA-256 of a blob. Returns whether one does.
    ///
    /// # Errors
    /// A blob that is none of hashes in order.
    pub fn supply(&mut self, blob: &[u8]) -> Result<bool, Malformed> {
        let digest = Sha256::of(blob);
        let floor = self.floors().map(|(_, floor)| &floor.named).find(|named| named.blob() == Some(digest));
        let Some(named) = floor else { return Ok(false) };
        let hashes = named.hashes(blob)?;
        self.blobs.insert(digest, hashes.into_iter().collect());
        self.sweep(|_| true);
        Ok(true)
    }

    fn floors(&self) -> impl Iterator<Item = (&Verified<Record>, &Floor)> {
        self.of_class(Class::Floor).filter_map(|record| match record.body() {
            Body::Floor(floor) => Some((record, floor)),
            _ => None,
        })
    }

    fn floor(&self, class: Class, domain: &Labels) -> Option<(u64, &Floor)> {
        let name = Name::Text(class.name().to_owned());
        let record = self.records.get(&Key { class: Class::Floor, name, domain: domain.clone() })?;
        match record.body() {
            Body::Floor(floor) => Some((record.version(), floor)),
            _ => None,
        }
    }

    /// A floor whose blob is not here yet lets everything pass.
    fn is_below_floor(&self, record: &Record) -> bool {
        let Some((epoch, floor)) = self.floor(record.class(), &record.head().domain) else { return false };
        if record.head().epoch >= epoch {
            return false;
        }
        match floor.named.blob() {
            None => !floor.named.hashes(&[]).is_ok_and(|hashes| hashes.binary_search(&record.hash()).is_ok()),
            Some(blob) => self.blobs.get(&blob).is_some_and(|hashes| !hashes.contains(&record.hash())),
        }
    }

    /// Takes out what does not count any more, of the records that `concerned` picks.
    fn sweep(&mut self, concerned: impl Fn(&Record) -> bool) {
        let known = Known(&self.records);
        let stays = |record: &Verified<Record>| match (record.class().signers(), record.id()) {
            (Signers::Node, Some(node)) => known.has(&node),
            _ => !self.is_below_floor(record),
        };
        let gone = self.records.values().filter(|record| concerned(record) && !stays(record));
        let gone: Vec<Key> = gone.map(|record| record.key().clone()).collect();
        for key in gone {
            if let Some(record) = self.records.remove(&key) {
                self.counts.change(&record, usize::saturating_sub);
            }
        }
    }

    /// Verifies everything once more, under another charter.
    fn revise(&mut self) {
        let old = std::mem::take(&mut self.records);
        self.counts = Counts::default();
        for record in old.into_values() {
            // Members come before what nodes sign. Floors are applied when all are there.
            if let Ok(record) = self.trust.verify_record(record.into_inner(), &Known(&self.records)) {
                self.counts.change(&record, usize::saturating_add);
                self.records.insert(record.key().clone(), record);
            }
        }
        self.sweep(|_| true);
    }

    /// The head of the next version of a record: one more than the one that is here, in the epoch of its floor.
    #[must_use]
    pub fn next(&self, class: Class, domain: Labels, name: Name) -> Head {
        let here = self.records.get(&Key { class, name: name.clone(), domain: domain.clone() });
        let (version, previous) = here.map_or((1, None), |record| (record.version() + 1, Some(record.hash())));
        let epoch = self.floor(class, &domain).map_or(0, |(epoch, _)| epoch);
        Head { domain, name, version, epoch, not_after: 0, previous }
    }

    /// The head of the next charter.
    #[must_use]
    pub fn next_charter(&self) -> Head {
        let previous = Some(self.trust.last_hash());
        Head { version: self.trust.version() + 1, previous, ..Head::first(Name::Single) }
    }

    /// Nodes that have come by an invite.
    #[must_use]
    pub fn uses(&self, invite: &KeyId) -> BTreeSet<KeyId> {
        let came = |record: &&Verified<Record>| matches!(record.body(), Body::Member(m) if m.invite == Some(*invite));
        self.of_class(Class::Member).filter(came).filter_map(|record| record.id()).collect()
    }

    /// What an operator may sign to take a node in that asks for it: head and body of its record as a member.
    ///
    /// # Errors
    /// The invite was revoked, has expired or is used up, or the node itself was revoked.
    pub fn admit(&self, request: &Verified<Request>, now: Option<u64>) -> Result<(Head, Member), Refused> {
        let invite = request.invite();
        let (Body::Invite(Grant { uses, labels, .. }), Some(id)) = (invite.body(), invite.id()) else {
            return Err(Refused::Request);
        };
        let node = request.node;
        if self.is_revoked(&id, labels) {
            return Err(Refused::Revoked(id));
        }
        if self.is_revoked(&node, &labels.of_node(&node)) {
            return Err(Refused::Revoked(node));
        }
        if !invite.is_current(now) {
            return Err(Refused::Expired);
        }
        let came = self.uses(&id);
        if *uses != 0 && !came.contains(&node) && came.len() as u64 >= *uses {
            return Err(Refused::UsedUp(*uses));
        }
        let head = self.next(Class::Member, invite.head().domain.clone(), Name::Id(node));
        let (name, serial) = (request.name.clone(), request.serial.clone());
        Ok((head, Member { name, labels: labels.clone(), serial, invite: Some(id) }))
    }

    /// All charters and records, as a file or a stream has them.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut w = Writer(MAGIC.to_vec());
        let all = self.trust.charters().iter().chain(self.records.values());
        all.for_each(|record| w.bytes(&record.encode()));
        w.0
    }

    /// The records of what [`Replica::pack`] made, each for itself, not verified.
    ///
    /// # Errors
    /// It is none of that.
    pub fn unpack(bytes: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
        let what = "the row of records";
        let rest = bytes.strip_prefix(MAGIC).ok_or(Malformed::Value { what, why: "it does not begin as one" })?;
        let mut r = Reader::new(rest);
        let mut records = Vec::new();
        while !r.is_empty() {
            records.push(r.bytes(limits::RECORD, what)?);
        }
        Ok(records)
    }

    /// What [`Replica::pack`] made of a fleet: what counts of it, and why the rest does not.
    ///
    /// # Errors
    /// It is none of that, or its charters are not the fleet's.
    pub fn load(fleet: FleetId, bytes: &[u8]) -> Result<(Replica, Vec<Refused>), Refused> {
        let records = Replica::unpack(bytes)?;
        let is_charter = |record: &&[u8]| record.get(1) == Some(&(Class::Charter as u8));
        let (charters, others): (Vec<&[u8]>, Vec<&[u8]>) = records.into_iter().partition(is_charter);
        let mut replica = Replica::new(Trust::chain(fleet, charters)?);
        let refused = others.into_iter().filter_map(|record| replica.offer(record).err()).collect();
        Ok((replica, refused))
    }
}

/// Equal if the same records count; what was seen on the way does not matter.
impl PartialEq for Replica {
    fn eq(&self, other: &Replica) -> bool {
        let hashes = |replica: &Replica| -> Vec<RecordHash> { replica.records().map(|r| r.hash()).collect() };
        self.trust.last_hash() == other.trust.last_hash() && hashes(self) == hashes(other)
    }
}
