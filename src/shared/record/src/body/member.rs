//! Nodes that belong to the fleet, and invites by which they come.

use crate::id::{FleetId, KeyId};
use crate::limits::{NAME, TEXT};
use crate::selector::{Labels, NODE};
use crate::signature::{Signature, message};
use crate::wire::is_name;
use crate::wire::{Content, FieldWriter, Fields, Malformed, Writer, ascending};

/// Serial numbers of boards that one invite may name.
const SERIALS: usize = 64;

/// A node that belongs to the fleet. The record's key is the node's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// For people; not proven to be the only one.
    pub name: String,
    pub labels: Labels,
    /// Serial number of its board: another board with the same key is a copy of the card.
    pub serial: String,
    /// The invite by which it came.
    pub invite: KeyId,
    /// The node's signature of [`Member::agreement`]: who signs for another domain cannot take the node over.
    pub consent: [u8; 64],
}

impl Member {
    /// What a node signs to become a member by an invite, in the domain of the invite's record.
    #[must_use]
    pub fn agreement(fleet: &FleetId, invite: &KeyId, domain: &Labels) -> Vec<u8> {
        let mut w = Writer(invite.0.to_vec());
        domain.write(&mut w);
        message("member", fleet, &w.0)
    }

    /// Whether `node` has agreed to be this member in `domain`.
    #[must_use]
    pub fn has_agreed(&self, fleet: &FleetId, node: KeyId, domain: &Labels) -> bool {
        let consent = Signature { key: node, bytes: self.consent };
        consent.verifies(&Member::agreement(fleet, &self.invite, domain))
    }
}

/// What becomes of a node that asks with an invite.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Admission {
    /// An operator has to approve it.
    #[default]
    Pending,
    /// It is a member as soon as an operator's machine hears of it.
    Auto,
}

/// An invite, as an operator has signed it. The record's key is the enrol key, whose secret half only the invite's text has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grant {
    /// Nodes that may come; 0: any number.
    pub uses: u64,
    pub admission: Admission,
    /// Labels that these nodes get.
    pub labels: Labels,
    /// Serial numbers of the boards that may come, ascending; none: any.
    pub serials: Vec<String>,
}

/// Labels that a node may get: the one it has by itself is none of them.
fn labels(fields: &mut Fields<'_>, tag: u8) -> Result<Labels, Malformed> {
    let labels = fields.optional(tag, "labels", Labels::read)?.unwrap_or_default();
    match labels.get(NODE) {
        Some(_) => Err(Malformed::Value { what: "labels", why: "a node has the label `node` by itself" }),
        None => Ok(labels),
    }
}

impl Content for Member {
    const WHAT: &'static str = "the member";

    fn write(&self, fields: &mut FieldWriter) {
        fields.raw(1, self.name.as_bytes());
        if !self.labels.is_empty() {
            fields.field(2, |w| self.labels.write(w));
        }
        fields.raw(3, self.serial.as_bytes());
        fields.raw(4, &self.invite.0);
        fields.raw(5, &self.consent);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Member, Malformed> {
        let member = Member {
            name: fields.text(1, NAME, "the node's name")?,
            labels: labels(fields, 2)?,
            serial: fields.text(3, TEXT, "the board's serial number")?,
            invite: fields.required(4, "the invite", KeyId::read)?,
            consent: fields.required(5, "the node's consent", |r| r.array("the node's consent"))?,
        };
        if !member.name.is_empty() && !is_name(&member.name) {
            return Err(Malformed::Value { what: "the node's name", why: "it is no name" });
        }
        Ok(member)
    }
}

impl Content for Grant {
    const WHAT: &'static str = "the invite";

    fn write(&self, fields: &mut FieldWriter) {
        fields.number(1, self.uses);
        fields.number(2, u64::from(self.admission == Admission::Auto));
        if !self.labels.is_empty() {
            fields.field(3, |w| self.labels.write(w));
        }
        fields.list(4, &self.serials, |w, serial| w.bytes(serial.as_bytes()));
    }

    fn read(fields: &mut Fields<'_>) -> Result<Grant, Malformed> {
        let grant = Grant {
            uses: fields.number(1, "the number of uses")?,
            admission: match fields.number(2, "the admission")? {
                0 => Admission::Pending,
                1 => Admission::Auto,
                number => return Err(Malformed::Newer { what: "admission", number }),
            },
            labels: labels(fields, 3)?,
            serials: fields.list(4, SERIALS, "the serial numbers", |r| r.text(NAME, "a serial number"))?,
        };
        ascending(&grant.serials, "the serial numbers")?;
        Ok(grant)
    }
}
