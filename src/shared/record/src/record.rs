//! The outer form of all records.
//!
//! ```text
//! format 1 · class · domain · name · version · epoch · not-after · previous · body    what is signed
//! signatures: key, 64 bytes; ascending by key
//! ```
//!
//! Signed is this in one fleet: the fleet's id is part of the message, and of no record.

use crate::body::Body;
use crate::class::{Class, KeyShape, Signers};
use crate::id::{FleetId, KeyId, RecordHash};
use crate::limits;
use crate::selector::{Labels, Selector};
use crate::signature::{Signature, message};
use crate::wire::{Malformed, Reader, Writer, is_name};

const FORMAT: u8 = 1;

/// What a record is called within its class and domain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Name {
    /// There is one.
    Single,
    Text(String),
    Id(KeyId),
}

/// What identifies a record: of each key, one version counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub class: Class,
    pub name: Name,
    /// Labels of the nodes that the record is about, none for the whole fleet. Whoever signs it must have them in the scope:
    /// so an operator of one site replaces no record of another, by whatever name.
    pub domain: Labels,
}

/// What a record says around its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub domain: Labels,
    pub name: Name,
    /// From 1 on; a higher one counts.
    pub version: u64,
    /// Version of the class's floor when it was written.
    pub epoch: u64,
    /// Seconds since 1970 after which it does not count; 0: never.
    pub not_after: u64,
    /// The version that it replaces.
    pub previous: Option<RecordHash>,
}

/// A record, as it was read: nobody has looked at its signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    key: Key,
    head: Head,
    body: Body,
    signed: Vec<u8>,
    hash: RecordHash,
    signatures: Vec<Signature>,
    ends: u64,
}

/// A record that lacks signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    record: Record,
}

impl Head {
    /// Of a first version, for ever.
    #[must_use]
    pub fn first(name: Name) -> Head {
        Head { domain: Labels::default(), name, version: 1, epoch: 0, not_after: 0, previous: None }
    }

    fn write(&self, class: Class, body: &Body) -> Vec<u8> {
        let mut w = Writer(vec![FORMAT, class as u8]);
        self.domain.write(&mut w);
        match &self.name {
            Name::Single => {}
            Name::Text(name) => w.bytes(name.as_bytes()),
            Name::Id(id) => w.raw(&id.0),
        }
        w.number(self.version);
        w.number(self.epoch);
        w.number(self.not_after);
        w.bytes(self.previous.as_ref().map_or(&[], |hash| &hash.0));
        w.bytes(&body.encode());
        w.0
    }
}

fn read_name(class: Class, r: &mut Reader<'_>) -> Result<Name, Malformed> {
    let what = "the record's name";
    Ok(match class.key_shape() {
        KeyShape::Single => Name::Single,
        KeyShape::Id => Name::Id(KeyId::read(r)?),
        KeyShape::Name => {
            let text = r.text(limits::NAME, what)?;
            if !is_name(&text) {
                return Err(Malformed::Value { what, why: "it is no name" });
            }
            if class == Class::Floor && !Class::from_name(&text).is_some_and(Class::has_floor) {
                return Err(Malformed::Value { what, why: "it is no class that has a floor" });
            }
            Name::Text(text)
        }
    })
}

fn read_head(class: Class, r: &mut Reader<'_>) -> Result<Head, Malformed> {
    let domain = Labels::read(r)?;
    let name = read_name(class, r)?;
    let version = r.number("the version")?;
    let (epoch, not_after) = (r.number("the epoch")?, r.number("the expiry")?);
    let previous = match r.bytes(32, "the previous version")? {
        [] => None,
        bytes => Some(RecordHash::read(&mut Reader::new(bytes))?),
    };
    Ok(Head { domain, name, version, epoch, not_after, previous })
}

fn check(class: Class, head: &Head, body: &Body) -> Result<(), Malformed> {
    let wrong = |what, why| Err(Malformed::Value { what, why });
    if head.version == 0 || (head.version == 1 && head.previous.is_some()) {
        return wrong("the version", "versions begin with 1, and the first one replaces none");
    }
    let by_operators = matches!(class.signers(), Signers::Operators(_));
    let is_plain = head.domain.is_empty() && head.epoch == 0;
    if !by_operators && !is_plain {
        return wrong("the head", "this class has neither domain nor epoch");
    }
    if class == Class::Charter && (head.not_after != 0 || (head.version > 1) != head.previous.is_some()) {
        return wrong("the charter", "it does not expire, and names the one before");
    }
    if class == Class::Revocation && (head.not_after != 0 || head.version != 1) {
        return wrong("the revocation", "it stays for ever, as it is");
    }
    if let Some(nodes) = body.concerns()
        && !nodes.is_within(&Selector::labels(head.domain.clone()))
    {
        return wrong("the nodes that it is about", "they are not all within the record's domain");
    }
    Ok(())
}

impl Record {
    /// Reads a record, within the bounds of its class.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Record, Malformed> {
        let what = "the record";
        let mut r = Reader::new(bytes);
        let [format, class] = r.array(what)?;
        if format == 0 || class == 0 {
            return Err(Malformed::Value { what, why: "it has no format, or no class" });
        }
        if format != FORMAT {
            return Err(Malformed::Newer { what: "format", number: format.into() });
        }
        let class = Class::from_number(class).ok_or(Malformed::Newer { what: "class", number: class.into() })?;
        let limit = class.body_limit() + limits::AROUND + limits::LABELS * 2 * (limits::NAME + 1);
        if bytes.len() > limit {
            return Err(Malformed::TooMany { what, found: bytes.len() as u64, limit });
        }
        let head = read_head(class, &mut r)?;
        let body = Body::decode(class, r.bytes(class.body_limit(), "the body")?)?;
        check(class, &head, &body)?;
        let signed = &bytes[..bytes.len() - r.rest().len()];
        let signatures = r.list(limits::SIGNATURES, "the signatures", |r| {
            Ok(Signature { key: KeyId::read(r)?, bytes: r.array("a signature")? })
        })?;
        r.end(what)?;
        if !signatures.is_sorted_by(|a, b| a.key < b.key) {
            return Err(Malformed::NotCanonical { what: "the signatures" });
        }
        Ok(Record::from_parts(class, head, body, signed.to_vec(), signatures))
    }

    fn from_parts(class: Class, head: Head, body: Body, signed: Vec<u8>, signatures: Vec<Signature>) -> Record {
        let key = Key { class, domain: head.domain.clone(), name: head.name.clone() };
        let (hash, ends) = (RecordHash::of(&signed), head.not_after);
        Record { key, head, body, signed, hash, signatures, ends }
    }

    /// The bytes that [`Record::parse`] reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(self.signed.clone());
        w.list(self.signatures.iter(), |w, signature| {
            w.raw(&signature.key.0);
            w.raw(&signature.bytes);
        });
        w.0
    }

    #[must_use]
    pub fn class(&self) -> Class {
        self.key.class
    }

    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    #[must_use]
    pub fn version(&self) -> u64 {
        self.head.version
    }

    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    #[must_use]
    pub fn hash(&self) -> RecordHash {
        self.hash
    }

    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The key that it is named by, if it is named by one.
    #[must_use]
    pub fn id(&self) -> Option<KeyId> {
        match self.key.name {
            Name::Id(id) => Some(id),
            _ => None,
        }
    }

    /// Seconds since 1970 after which it does not count, 0 if never: its own end, or that of the operators who signed it.
    #[must_use]
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// Whether it counts at `now`, in seconds since 1970. A node that does not know the time holds that it does: a clock must
    /// not lock it out.
    #[must_use]
    pub fn is_current(&self, now: Option<u64>) -> bool {
        self.ends == 0 || now.is_none_or(|now| now <= self.ends)
    }

    /// What is signed of it in `fleet`.
    #[must_use]
    pub fn message(&self, fleet: &FleetId) -> Vec<u8> {
        message("record", fleet, &self.signed)
    }

    /// The fleet that begins with this charter.
    #[must_use]
    pub fn fleet(&self) -> FleetId {
        FleetId::of(&self.signed)
    }

    /// With the signatures that count, and the end that follows from them.
    pub(crate) fn counted(mut self, signatures: Vec<Signature>, ends: u64) -> Record {
        self.signatures = signatures;
        self.ends = ends;
        self
    }
}

impl Draft {
    /// A record to be signed.
    ///
    /// # Errors
    /// What no reader would take.
    pub fn new(head: Head, body: Body) -> Result<Draft, Malformed> {
        let mut bytes = head.write(body.class(), &body);
        bytes.push(0);
        // What is written is read: nothing is signed that nobody would take.
        let record = Record::parse(&bytes)?;
        if record.head != head || record.body != body {
            return Err(Malformed::NotCanonical { what: "the record" });
        }
        Ok(Draft { record })
    }

    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What is to be signed in `fleet`.
    #[must_use]
    pub fn message(&self, fleet: &FleetId) -> Vec<u8> {
        self.record.message(fleet)
    }

    /// The fleet that begins with this charter.
    #[must_use]
    pub fn fleet(&self) -> FleetId {
        self.record.fleet()
    }

    /// The record's bytes with signatures, each key once.
    #[must_use]
    pub fn signed(&self, signatures: impl IntoIterator<Item = Signature>) -> Vec<u8> {
        let mut signatures: Vec<Signature> = signatures.into_iter().collect();
        signatures.sort_by_key(|signature| signature.key);
        signatures.dedup_by_key(|signature| signature.key);
        self.record.clone().counted(signatures, 0).encode()
    }
}
