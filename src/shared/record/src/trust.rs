//! What makes a record one that counts.

use std::collections::BTreeSet;

use crate::body::{Body, Charter};
use crate::class::{Class, Role, Signers};
use crate::id::{FleetId, KeyId, RecordHash};
use crate::invite::{Invite, NotAnInvite};
use crate::limits;
use crate::record::{Name, Record};
use crate::request::Request;
use crate::selector::Selector;
use crate::signature::Signature;
use crate::verified::Verified;
use crate::wire::Malformed;

/// Why a record does not count.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("it is no charter of the fleet {expected}, but of {found}")]
    Fleet { expected: FleetId, found: FleetId },
    #[error(
        "the {class} is signed by {valid} of those who may sign it, {needed} are needed; or it is of another fleet"
    )]
    Signatures { class: Class, valid: u64, needed: u64 },
    #[error("the charter is signed by {valid} of the root keys that were trusted so far, {needed} are needed")]
    OldSignatures { valid: u64, needed: u64 },
    #[error("the charter has version {found}; the next one has version {expected}, and names the one before")]
    CharterVersion { expected: u64, found: u64 },
    #[error("there are two charters of version {version}; take all charters of the fleet at once")]
    CharterFork { version: u64 },
    #[error("node {0} is no member, as far as is known here")]
    NotAMember(KeyId),
    #[error("{0} was revoked")]
    Revoked(KeyId),
    #[error("node {0} has not agreed to become a member by this invite, in this domain")]
    Consent(KeyId),
    #[error("the {class} is older than its floor, which does not name it")]
    BelowFloor { class: Class },
    #[error("there are {limit} {what} already")]
    Full { what: &'static str, limit: usize },
    #[error("there are {limit} {what} already by {who}")]
    FullPart { what: &'static str, limit: usize, who: &'static str },
    #[error("the request is not signed by the node and by the invite's key, or it is for another fleet")]
    Request,
    #[error("the invite is for boards with other serial numbers than {0:?}")]
    Serial(String),
    #[error("invite {0} was replaced by a later version of it")]
    Replaced(KeyId),
    #[error("the invite has expired")]
    Expired,
    #[error("the invite is good for {0} nodes, and as many have come")]
    UsedUp(u64),
}

impl Refused {
    /// Whether who sent it is to blame: no honest peer sends what it could not verify. What only is not known here yet, or
    /// was written by a newer program, is nobody's fault.
    #[must_use]
    pub fn is_hostile(&self) -> bool {
        match self {
            Refused::Malformed(why) => !matches!(why, Malformed::Newer { .. }),
            Refused::Fleet { .. } | Refused::Request | Refused::Consent(_) => true,
            // The sender's charter may be another one.
            _ => false,
        }
    }
}

/// Who belongs to the fleet.
pub trait Members {
    /// Whether the node is one, and not revoked.
    fn has(&self, node: &KeyId) -> bool;
}

/// Knows no members: for records that no node signs.
pub struct NoMembers;

impl Members for NoMembers {
    fn has(&self, _: &KeyId) -> bool {
        false
    }
}

/// A fleet's charters, from the first to the one that counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    fleet: FleetId,
    charters: Vec<Verified<Record>>,
    /// The body of the last one.
    charter: Charter,
}

/// The charter that a record is.
fn charter_of(record: &Record) -> Result<&Charter, Malformed> {
    match record.body() {
        Body::Charter(charter) => Ok(charter),
        _ => Err(Malformed::Value { what: "the record", why: "it is no charter" }),
    }
}

/// Signatures of `keys` that are good.
fn good<'r>(record: &'r Record, message: &[u8], keys: &BTreeSet<KeyId>) -> Vec<&'r Signature> {
    let of_keys = record.signatures().iter().filter(|signature| keys.contains(&signature.key));
    of_keys.filter(|signature| signature.verifies(message)).collect()
}

impl Trust {
    /// Begins with the first charter of `fleet`.
    ///
    /// # Errors
    /// It is another fleet's, or not signed as it says itself.
    pub fn new(fleet: FleetId, first: &[u8]) -> Result<Trust, Refused> {
        let record = Record::parse(first)?;
        let charter = charter_of(&record)?.clone();
        if record.version() != 1 {
            return Err(Refused::CharterVersion { expected: 1, found: record.version() });
        }
        let found = record.fleet();
        if found != fleet {
            return Err(Refused::Fleet { expected: fleet, found });
        }
        let record = signed_by_root(record, &fleet, &charter, None)?;
        Ok(Trust { fleet, charters: vec![record], charter })
    }

    /// All charters of `fleet`, from the first on.
    ///
    /// # Errors
    /// One of them does not follow from the one before.
    pub fn chain<'b>(fleet: FleetId, charters: impl IntoIterator<Item = &'b [u8]>) -> Result<Trust, Refused> {
        let mut charters = charters.into_iter();
        let first = charters.next().ok_or(Malformed::Missing { what: "the fleet's first charter" })?;
        let mut trust = Trust::new(fleet, first)?;
        for next in charters {
            trust.advance(next)?;
        }
        Ok(trust)
    }

    /// As [`Trust::chain`]; what these charters have in common with the ones that are here is not verified again.
    pub(crate) fn other<'b>(&self, charters: impl IntoIterator<Item = &'b [u8]>) -> Result<Trust, Refused> {
        let charters: Vec<&[u8]> = charters.into_iter().take(limits::CHARTERS + 1).collect();
        let same = |(here, bytes): &(&Verified<Record>, &&[u8])| {
            Record::parse(bytes).is_ok_and(|record| record.class() == Class::Charter && record.hash() == here.hash())
        };
        let common = self.charters.iter().zip(&charters).take_while(same).count();
        let Some(last) = common.checked_sub(1).and_then(|at| self.charters.get(at)) else {
            return Trust::chain(self.fleet, charters);
        };
        let charter = charter_of(last)?.clone();
        let mut trust = Trust { fleet: self.fleet, charters: self.charters[..common].to_vec(), charter };
        for next in &charters[common..] {
            trust.advance(next)?;
        }
        Ok(trust)
    }

    /// Takes the next charter. Returns whether it was not known before.
    ///
    /// # Errors
    /// It does not follow from the present one, or too few root keys of either have signed it.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<bool, Refused> {
        let record = Record::parse(bytes)?;
        let charter = charter_of(&record)?.clone();
        let (found, expected) = (record.version(), self.version() + 1);
        let known = usize::try_from(found).ok().and_then(|found| self.charters.get(found.checked_sub(1)?));
        match known {
            Some(known) if known.hash() == record.hash() => return Ok(false),
            Some(_) => return Err(Refused::CharterFork { version: found }),
            None if found != expected => return Err(Refused::CharterVersion { expected, found }),
            None if self.charters.len() >= limits::CHARTERS => {
                return Err(Refused::Full { what: "charters", limit: limits::CHARTERS });
            }
            None => {}
        }
        if record.head().previous != Some(self.last_hash()) {
            return Err(Refused::CharterFork { version: found - 1 });
        }
        let record = signed_by_root(record, &self.fleet, &charter, Some(&self.charter))?;
        self.charters.push(record);
        self.charter = charter;
        Ok(true)
    }

    #[must_use]
    pub fn fleet(&self) -> FleetId {
        self.fleet
    }

    /// The charter that counts.
    #[must_use]
    pub fn charter(&self) -> &Charter {
        &self.charter
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.charters.len() as u64
    }

    /// All of them, the first one first.
    #[must_use]
    pub fn charters(&self) -> &[Verified<Record>] {
        &self.charters
    }

    /// Whether those whom this row trusts last have signed the end of `other`, or `other` only goes on where this one ends. Who
    /// has root keys that were replaced long ago can write a longer row; nobody who knows of the replacement takes it.
    pub(crate) fn is_left_for(&self, other: &Trust) -> bool {
        let same = self.charters.iter().zip(&other.charters).take_while(|(a, b)| a.hash() == b.hash()).count();
        let end = other.charters.last().map_or(&[][..], |end| end.signatures());
        let signed = end.iter().filter(|signature| self.charter.root.contains(&signature.key)).count() as u64;
        same == self.charters.len() || signed >= self.charter.threshold
    }

    /// Whether a charter is one of the row. Who knows the hash of a late one is not taken in by another row that begins alike,
    /// which somebody has signed with root keys of long ago.
    #[must_use]
    pub fn has(&self, charter: &RecordHash) -> bool {
        self.charters.iter().any(|record| record.hash() == *charter)
    }

    /// An invite by `grant` into this fleet, which names the charter that counts.
    ///
    /// # Errors
    /// The grant is for another key than `secret`'s, or is no grant; more text than a reader takes.
    pub fn invite(&self, secret: [u8; 32], grant: Record) -> Result<Invite, NotAnInvite> {
        Invite::new(self.fleet, (self.last_hash(), &self.charter), secret, grant)
    }

    /// The operator in whose room a record stands who signs for a part of the fleet only; `None` if one of the whole fleet has
    /// signed it.
    pub(crate) fn owner(&self, record: &Record) -> Option<KeyId> {
        let of = |key: KeyId| self.charter.operators.iter().find(|operator| operator.key == key);
        let mut signers = record.signatures().iter().filter_map(|signature| of(signature.key));
        let whole = signers.any(|operator| operator.scope.is_all());
        record.signatures().first().map(|signature| signature.key).filter(|_| !whole)
    }

    /// Hash of the charter that counts.
    #[must_use]
    pub fn last_hash(&self) -> RecordHash {
        self.charters.last().map_or(RecordHash([0; 32]), |record| record.hash())
    }

    /// Verifies a record of any class but a charter: by operators with the role for it, whose scope has its domain, as many
    /// as the charter wants; or by the member that it is named by. Signatures that do not count are left out of it.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify(&self, bytes: &[u8], members: &dyn Members) -> Result<Verified<Record>, Refused> {
        self.verify_record(Record::parse(bytes)?, members)
    }

    pub(crate) fn verify_record(&self, record: Record, members: &dyn Members) -> Result<Verified<Record>, Refused> {
        match record.class().signers() {
            Signers::Root => {
                Err(Malformed::Value { what: "the charter", why: "it is taken in the row of all charters" }.into())
            }
            Signers::Operators(role) => self.by_operators(record, role),
            Signers::Node => self.by_node(record, members),
        }
    }

    fn by_operators(&self, record: Record, role: Role) -> Result<Verified<Record>, Refused> {
        let domain = Selector::labels(record.head().domain.clone());
        let may = self
            .charter
            .operators
            .iter()
            .filter(|operator| operator.roles.have(role) && domain.is_within(&operator.scope));
        let keys: BTreeSet<KeyId> = may.map(|operator| operator.key).collect();
        let counted = good(&record, &record.message(&self.fleet), &keys);
        let (class, valid) = (record.class(), counted.len() as u64);
        let mut needed = self.charter.needed(class, record.body().reach());
        // What so many have to sign, no fewer make void.
        if let (Class::Floor, Name::Text(of)) = (class, &record.key().name) {
            needed = needed.max(Class::from_name(of).map_or(1, |of| self.charter.needed(of, u64::MAX)));
        }
        if valid < needed {
            return Err(Refused::Signatures { class, valid, needed });
        }
        if let (Body::Member(member), Some(node)) = (record.body(), record.id())
            && !member.has_agreed(&self.fleet, node, &record.head().domain)
        {
            return Err(Refused::Consent(node));
        }
        let signatures: Vec<Signature> = counted.into_iter().copied().collect();
        // It counts as long as enough of them do.
        let end = |key: &KeyId| {
            let operator = self.charter.operators.iter().find(|operator| &operator.key == key);
            operator.map_or(1, |operator| if operator.expires == 0 { u64::MAX } else { operator.expires })
        };
        let mut ends: Vec<u64> = signatures.iter().map(|signature| end(&signature.key)).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let theirs = usize::try_from(needed - 1).ok().and_then(|at| ends.get(at)).copied().unwrap_or(1);
        let own = if record.head().not_after == 0 { u64::MAX } else { record.head().not_after };
        let ends = match own.min(theirs) {
            u64::MAX => 0,
            end => end,
        };
        Ok(Verified::vouch(record.counted(signatures, ends)))
    }

    fn by_node(&self, record: Record, members: &dyn Members) -> Result<Verified<Record>, Refused> {
        let refused = Refused::Signatures { class: record.class(), valid: 0, needed: 1 };
        let Some(node) = record.id() else { return Err(refused) };
        if !members.has(&node) {
            return Err(Refused::NotAMember(node));
        }
        let counted = good(&record, &record.message(&self.fleet), &BTreeSet::from([node]));
        match counted.first() {
            Some(signature) => {
                let (signature, ends) = (**signature, record.head().not_after);
                Ok(Verified::vouch(record.counted(vec![signature], ends)))
            }
            None => Err(refused),
        }
    }

    /// Verifies a node's request to become a member: signed by itself and by the key of an invite, which an operator has
    /// signed. Whether the invite was revoked, used up or has expired, [`crate::Replica::admit`] says.
    /// [`crate::Replica::verify_request`] also takes one whose invite was signed anew.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify_request(&self, bytes: &[u8]) -> Result<Verified<Request>, Refused> {
        self.verify_parsed_request(Request::parse(bytes)?)
    }

    pub(crate) fn verify_parsed_request(&self, request: Request) -> Result<Verified<Request>, Refused> {
        let invite = self.verify_record(request.invite().clone(), &NoMembers)?;
        let Body::Invite(grant) = invite.body() else { return Err(Refused::Request) };
        if !request.is_signed(&self.fleet) {
            return Err(Refused::Request);
        }
        if !grant.serials.is_empty() && !grant.serials.contains(&request.serial) {
            return Err(Refused::Serial(request.serial.clone()));
        }
        Ok(Verified::vouch(request.with_invite(invite.into_inner())))
    }
}

fn signed_by_root(
    record: Record,
    fleet: &FleetId,
    charter: &Charter,
    before: Option<&Charter>,
) -> Result<Verified<Record>, Refused> {
    let message = record.message(fleet);
    let root = |charter: &Charter| -> BTreeSet<KeyId> { charter.root.iter().copied().collect() };
    let count = |charter: &Charter| good(&record, &message, &root(charter)).len() as u64;
    if let Some(before) = before {
        let (valid, needed) = (count(before), before.threshold);
        if valid < needed {
            return Err(Refused::OldSignatures { valid, needed });
        }
    }
    let (valid, needed) = (count(charter), charter.threshold);
    if valid < needed {
        return Err(Refused::Signatures { class: Class::Charter, valid, needed });
    }
    let all = before.into_iter().chain([charter]).flat_map(root).collect();
    let counted = good(&record, &message, &all).into_iter().copied().collect();
    Ok(Verified::vouch(record.counted(counted, 0)))
}
