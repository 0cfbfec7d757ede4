//! All records of a fleet that count, as far as they have come here.

use std::collections::{BTreeMap, BTreeSet};

use fruit_base::Sha256;

use crate::body::{Body, Floor, Grant, Member};
use crate::class::{Class, Signers};
use crate::counts::Counts;
use crate::id::{FleetId, KeyId, RecordHash};
use crate::limits;
use crate::record::{Head, Key, Name, Record};
use crate::request::Request;
use crate::selector::Labels;
use crate::signature::Signature;
use crate::trust::{Members, Refused, Trust};
use crate::verified::Verified;
use crate::wire::{Malformed, Reader, Writer};

/// What a file or stream of records begins with.
const MAGIC: &[u8; 16] = b"fruit records 1\n";
/// The first byte of a blob among records, of which none begins so.
const BLOB: u8 = 0;

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
    /// The latest of each key.
    conflicts: BTreeMap<Key, Conflict>,
    /// What floors name that have not all hashes in themselves, by the blob's SHA-256.
    blobs: BTreeMap<Sha256, BTreeSet<RecordHash>>,
    counts: Counts,
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

impl Replica {
    #[must_use]
    pub fn new(trust: Trust) -> Replica {
        Replica {
            trust,
            records: BTreeMap::new(),
            conflicts: BTreeMap::new(),
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
        self.conflicts.values()
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
                return self.join_signatures(record);
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
            self.note(Conflict { key: record.key().clone(), version: record.version(), counts, other });
            if stays {
                return Ok(Outcome::Older);
            }
        }
        let (class, id) = (record.class(), record.id());
        self.put(record)?;
        match (class, id) {
            (Class::Floor, _) => self.sweep(),
            (Class::Revocation | Class::Member, Some(node)) => self.silence(node),
            _ => {}
        }
        Ok(Outcome::New)
    }

    /// Puts a record in the place of the one with its key, if there is room for it.
    fn put(&mut self, record: Verified<Record>) -> Result<(), Refused> {
        let here = self.records.get(record.key());
        let (owner, old) = (self.trust.owner(&record), here.map(|here| self.trust.owner(here)));
        if let (Some(here), Some(old)) = (here, old) {
            self.counts.take(here, old);
        }
        self.counts.add(&record, owner);
        if let Err(full) = self.counts.check(owner) {
            self.counts.take(&record, owner);
            if let (Some(here), Some(old)) = (here, old) {
                self.counts.add(here, old);
            }
            return Err(full);
        }
        self.records.insert(record.key().clone(), record);
        Ok(())
    }

    fn remove(&mut self, key: &Key) {
        if let Some(record) = self.records.remove(key) {
            self.counts.take(&record, self.trust.owner(&record));
        }
    }

    /// Remembers a conflict: what nodes contradict themselves in does not crowd out what people did.
    fn note(&mut self, conflict: Conflict) {
        let by_node = |key: &Key| key.class.signers() == Signers::Node;
        let alike = self.conflicts.keys().filter(|key| by_node(key) == by_node(&conflict.key)).count();
        if alike < limits::CONFLICTS / 2 || self.conflicts.contains_key(&conflict.key) {
            self.conflicts.insert(conflict.key.clone(), conflict);
        }
    }

    /// Takes what a record that is here lacks: somebody on the way may have left signatures out, or it was signed again.
    fn join_signatures(&mut self, record: Record) -> Result<Outcome, Refused> {
        let Some(here) = self.records.get(record.key()) else { return Ok(Outcome::Known) };
        let has = |key: KeyId| here.signatures().iter().any(|signature| signature.key == key);
        let more = record.signatures().iter().filter(|signature| !has(signature.key));
        let mut all: Vec<Signature> = here.signatures().iter().chain(more).copied().collect();
        if all.len() == here.signatures().len() || all.len() > limits::SIGNATURES {
            return Ok(Outcome::Known);
        }
        all.sort_by_key(|signature| signature.key);
        let joined = self.trust.verify_record(record.counted(all, 0), &Known(&self.records))?;
        if joined.signatures().len() == here.signatures().len() {
            return Ok(Outcome::Known);
        }
        self.put(joined)?;
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
    /// longer one counts; of two as long, the one whose last charter has the lower hash. A row that leaves the one here is taken
    /// only if as many of the root keys that count here as make a charter have signed its end: who has keys that were replaced
    /// can write as long a row as they like.
    ///
    /// # Errors
    /// The row is none of this fleet, or [`Refused::CharterFork`], on which people have to decide; nothing has changed then.
    pub fn offer_charters<'b>(&mut self, charters: impl IntoIterator<Item = &'b [u8]>) -> Result<Outcome, Refused> {
        let other = self.trust.other(charters)?;
        let rank = |trust: &Trust| (trust.version(), std::cmp::Reverse(trust.last_hash()));
        if other.last_hash() == self.trust.last_hash() {
            return Ok(Outcome::Known);
        }
        if rank(&other) < rank(&self.trust) {
            return Ok(Outcome::Older);
        }
        if !self.trust.is_left_for(&other) {
            return Err(Refused::CharterFork { version: self.trust.version() });
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
        if blob.len() > limits::BLOB {
            let (what, found) = ("the floor's blob", blob.len() as u64);
            return Err(Malformed::TooMany { what, found, limit: limits::BLOB });
        }
        let hashes = named.hashes(blob)?;
        self.blobs.insert(digest, hashes.into_iter().collect());
        self.sweep();
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

    /// A floor whose blob is not here yet lets everything pass. An epoch far ahead of any floor would escape all of them.
    fn is_below_floor(&self, record: &Record) -> bool {
        let floor = self.floor(record.class(), &record.head().domain);
        let written = record.head().epoch;
        if written > floor.map_or(0, |(epoch, _)| epoch).saturating_add(limits::EPOCHS_AHEAD) {
            return true;
        }
        let Some((_, floor)) = floor.filter(|(epoch, _)| written < *epoch) else { return false };
        match floor.named.blob() {
            None => !floor.named.hashes(&[]).is_ok_and(|hashes| hashes.binary_search(&record.hash()).is_ok()),
            Some(blob) => self.blobs.get(&blob).is_some_and(|hashes| !hashes.contains(&record.hash())),
        }
    }

    /// Takes out what floors have made void, what then nobody says who is a member, and blobs that no floor names.
    fn sweep(&mut self) {
        let gone = |records: &BTreeMap<Key, Verified<Record>>, of: &dyn Fn(&Record) -> bool| -> Vec<Key> {
            records.values().filter(|record| of(record)).map(|record| record.key().clone()).collect()
        };
        gone(&self.records, &|record| self.is_below_floor(record)).iter().for_each(|key| self.remove(key));
        let known = Known(&self.records);
        let silenced = gone(&self.records, &|record| match (record.class().signers(), record.id()) {
            (Signers::Node, Some(node)) => !known.has(&node),
            _ => false,
        });
        silenced.iter().for_each(|key| self.remove(key));
        let named: BTreeSet<Sha256> = self.floors().filter_map(|(_, floor)| floor.named.blob()).collect();
        self.blobs.retain(|digest, _| named.contains(digest));
    }

    /// Takes out what a node has said, if it is no member any more.
    fn silence(&mut self, node: KeyId) {
        if Known(&self.records).has(&node) {
            return;
        }
        for class in Class::ALL.into_iter().filter(|class| class.signers() == Signers::Node) {
            self.remove(&Key { class, name: Name::Id(node), domain: Labels::default() });
        }
    }

    /// Verifies everything once more, under another charter.
    fn revise(&mut self) {
        let old = std::mem::take(&mut self.records);
        self.counts = Counts::default();
        for record in old.into_values() {
            // Members come before what nodes sign. Floors are applied when all are there.
            if let Ok(record) = self.trust.verify_record(record.into_inner(), &Known(&self.records)) {
                self.counts.add(&record, self.trust.owner(&record));
                self.records.insert(record.key().clone(), record);
            }
        }
        self.sweep();
    }

    /// The head of the next version of a record: one more than the one that is here, in the epoch of its floor.
    #[must_use]
    pub fn next(&self, class: Class, domain: Labels, name: Name) -> Head {
        let here = self.records.get(&Key { class, name: name.clone(), domain: domain.clone() });
        let (version, previous) =
            here.map_or((1, None), |record| (record.version().saturating_add(1), Some(record.hash())));
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
    pub fn uses(&self, invite: &Key) -> BTreeSet<KeyId> {
        // Who signs for another domain cannot use it up.
        let by = |member: &Member| invite.name == Name::Id(member.invite);
        let came = |record: &&Verified<Record>| {
            record.head().domain == invite.domain && matches!(record.body(), Body::Member(member) if by(member))
        };
        self.of_class(Class::Member).filter(came).filter_map(|record| record.id()).collect()
    }

    /// Verifies a node's request to become a member, as [`Trust::verify_request`] does. An invite that was signed anew since it was
    /// handed out counts as it stands here.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify_request(&self, bytes: &[u8]) -> Result<Verified<Request>, Refused> {
        let request = Request::parse(bytes)?;
        let here = self.records.get(request.invite().key()).filter(|here| here.hash() == request.invite().hash());
        let request = match here {
            Some(here) => request.with_invite((**here).clone()),
            None => request,
        };
        self.trust.verify_parsed_request(request)
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
        // Nor does a key come back by an invite of another site: a node that is to return gets a new one.
        let known = Known(&self.records);
        let was_revoked = known.named(Class::Member, Name::Id(node)).any(|record| match record.body() {
            Body::Member(member) => known.is_revoked(&node, &member.labels.of_node(&node)),
            _ => false,
        });
        if was_revoked || self.is_revoked(&node, &labels.of_node(&node)) {
            return Err(Refused::Revoked(node));
        }
        if let Some(here) = self.records.get(invite.key())
            && (here.version(), invite.hash()) > (invite.version(), here.hash())
        {
            return Err(Refused::Replaced(id));
        }
        if self.is_below_floor(invite) {
            return Err(Refused::BelowFloor { class: Class::Invite });
        }
        if !invite.is_current(now) {
            return Err(Refused::Expired);
        }
        let came = self.uses(invite.key());
        if *uses != 0 && !came.contains(&node) && came.len() as u64 >= *uses {
            return Err(Refused::UsedUp(*uses));
        }
        let head = self.next(Class::Member, invite.head().domain.clone(), Name::Id(node));
        let (name, serial) = (request.name.clone(), request.serial.clone());
        Ok((head, Member { name, labels: labels.clone(), serial, invite: id, consent: request.consent }))
    }

    /// All charters and records, as a file or a stream has them, and the blobs of floors.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut w = Writer(MAGIC.to_vec());
        let all = self.trust.charters().iter().chain(self.records.values());
        all.for_each(|record| w.bytes(&record.encode()));
        for hashes in self.blobs.values() {
            let hashes = hashes.iter().flat_map(|hash| hash.0);
            w.bytes(&[BLOB].into_iter().chain(hashes).collect::<Vec<u8>>());
        }
        w.0
    }

    /// The records of what [`Replica::pack`] made, each for itself, not verified.
    ///
    /// # Errors
    /// It is none of that.
    pub fn unpack(bytes: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
        Ok(items(bytes)?.records)
    }

    /// The blobs of what [`Replica::pack`] made, for [`Replica::supply`].
    ///
    /// # Errors
    /// It is none of that.
    pub fn unpack_blobs(bytes: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
        Ok(items(bytes)?.blobs)
    }

    /// What [`Replica::pack`] made of a fleet: what counts of it, and why the rest does not.
    ///
    /// # Errors
    /// It is none of that, or its charters are not the fleet's.
    pub fn load(fleet: FleetId, bytes: &[u8]) -> Result<(Replica, Vec<Refused>), Refused> {
        let Items { records, blobs } = items(bytes)?;
        let is_charter = |record: &&[u8]| record.get(1) == Some(&(Class::Charter as u8));
        let (charters, others): (Vec<&[u8]>, Vec<&[u8]>) = records.into_iter().partition(is_charter);
        let mut replica = Replica::new(Trust::chain(fleet, charters)?);
        let mut refused: Vec<Refused> = others.into_iter().filter_map(|record| replica.offer(record).err()).collect();
        refused.extend(blobs.into_iter().filter_map(|blob| replica.supply(blob).err().map(Refused::from)));
        Ok((replica, refused))
    }
}

/// Records and blobs of a file or a stream.
#[derive(Default)]
struct Items<'b> {
    records: Vec<&'b [u8]>,
    blobs: Vec<&'b [u8]>,
}

fn items(bytes: &[u8]) -> Result<Items<'_>, Malformed> {
    let what = "the row of records";
    let rest = bytes.strip_prefix(MAGIC).ok_or(Malformed::Value { what, why: "it does not begin as one" })?;
    let mut r = Reader::new(rest);
    let Items { mut records, mut blobs } = Items::default();
    while !r.is_empty() {
        let item = r.bytes(limits::BLOB + 1, what)?;
        let (all, limit) = match item {
            [BLOB, blob @ ..] => {
                blobs.push(blob);
                (blobs.len(), limits::STOPS)
            }
            _ if item.len() > limits::RECORD => {
                return Err(Malformed::TooMany { what: "a record", found: item.len() as u64, limit: limits::RECORD });
            }
            _ => {
                records.push(item);
                (records.len(), limits::PACKED)
            }
        };
        if all > limit {
            return Err(Malformed::TooMany { what, found: all as u64, limit });
        }
    }
    Ok(Items { records, blobs })
}

/// Equal if the same records count; what was seen on the way does not matter.
impl PartialEq for Replica {
    fn eq(&self, other: &Replica) -> bool {
        let hashes = |replica: &Replica| -> Vec<RecordHash> { replica.records().map(|r| r.hash()).collect() };
        self.trust.last_hash() == other.trust.last_hash() && hashes(self) == hashes(other)
    }
}
