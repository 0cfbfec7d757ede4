//! A node's request to become a member.

use ed25519_dalek::{Signer, SigningKey};

use crate::body::Member;
use crate::id::{FleetId, KeyId};
use crate::limits::{NAME, REQUEST, TEXT};
use crate::record::Record;
use crate::signature::{Signature, message};
use crate::wire::{Content, FieldWriter, Fields, Malformed, Reader, decode, encode, is_name};

const FORMAT: u8 = 1;

/// What a node sends that has an invite: read from bytes, or verified by [`crate::Replica::verify_request`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub node: KeyId,
    /// The name that it would like to have, its host name; may be empty.
    pub name: String,
    /// Serial number and model of its board, as it says.
    pub serial: String,
    pub board: String,
    /// The node's signature of [`Member::agreement`], for its record as a member.
    pub consent: [u8; 64],
    invite: Record,
    signed: Vec<u8>,
    /// Of the node and of the invite's key.
    signatures: [[u8; 64]; 2],
}

struct Said {
    node: KeyId,
    name: String,
    serial: String,
    board: String,
    invite: Vec<u8>,
    consent: [u8; 64],
}

impl Content for Said {
    const WHAT: &'static str = "the request";

    fn write(&self, fields: &mut FieldWriter) {
        fields.raw(1, &self.node.0);
        fields.raw(2, self.name.as_bytes());
        fields.raw(3, self.serial.as_bytes());
        fields.raw(4, self.board.as_bytes());
        fields.raw(5, &self.invite);
        fields.raw(6, &self.consent);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Said, Malformed> {
        let said = Said {
            node: fields.required(1, "the node", KeyId::read)?,
            name: fields.text(2, NAME, "the name")?,
            serial: fields.text(3, NAME, "the serial number")?,
            board: fields.text(4, TEXT, "the board")?,
            invite: fields.required(5, "the invite", |r| Ok(r.take(r.rest().len(), "the invite")?.to_vec()))?,
            consent: fields.required(6, "the node's consent", |r| r.array("the node's consent"))?,
        };
        if !said.name.is_empty() && !is_name(&said.name) {
            return Err(Malformed::Value { what: "the name", why: "it is no name" });
        }
        Ok(said)
    }
}

impl Request {
    /// The request of the node with the key `node`, which found `invite` on its card.
    ///
    /// # Errors
    /// Texts that no reader would take.
    pub fn make(
        fleet: &FleetId,
        node: &SigningKey,
        [name, serial, board]: [&str; 3],
        invite: &crate::Invite,
    ) -> Result<Vec<u8>, Malformed> {
        let agreement = Member::agreement(fleet, &invite.id(), &invite.grant.head().domain);
        let said = Said {
            node: node.verifying_key().into(),
            name: name.into(),
            serial: serial.into(),
            board: board.into(),
            invite: invite.grant.encode(),
            consent: node.sign(&agreement).to_bytes(),
        };
        let signed = [&[FORMAT], encode(&said).as_slice()].concat();
        let message = message("request", fleet, &signed);
        let both = [node, &invite.key()].map(|key| key.sign(&message).to_bytes());
        let bytes = [signed.as_slice(), &both[0], &both[1]].concat();
        Request::parse(&bytes)?;
        Ok(bytes)
    }

    /// Reads a request; nobody has looked at its signatures.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Request, Malformed> {
        let what = "the request";
        if bytes.len() > REQUEST {
            return Err(Malformed::TooMany { what, found: bytes.len() as u64, limit: REQUEST });
        }
        let length = bytes.len().checked_sub(128).ok_or(Malformed::CutOff { what })?;
        let (signed, rest) = bytes.split_at(length);
        let mut rest = Reader::new(rest);
        let signatures = [rest.array(what)?, rest.array(what)?];
        let mut r = Reader::new(signed);
        let [format] = r.array(what)?;
        if format != FORMAT {
            return Err(Malformed::Newer { what: "format", number: format.into() });
        }
        let Said { node, name, serial, board, invite, consent } = decode(r.rest(), REQUEST)?;
        let invite = Record::parse(&invite)?;
        Ok(Request { node, name, serial, board, consent, invite, signed: signed.to_vec(), signatures })
    }

    /// The invite that it comes with.
    #[must_use]
    pub fn invite(&self) -> &Record {
        &self.invite
    }

    pub(crate) fn with_invite(mut self, invite: Record) -> Request {
        self.invite = invite;
        self
    }

    pub(crate) fn is_signed(&self, fleet: &FleetId) -> bool {
        let message = message("request", fleet, &self.signed);
        let by = |key, bytes| Signature { key, bytes }.verifies(&message);
        let [node, enrol] = self.signatures;
        let agrees = |invite: KeyId| {
            let agreement = Member::agreement(fleet, &invite, &self.invite.head().domain);
            Signature { key: self.node, bytes: self.consent }.verifies(&agreement)
        };
        by(self.node, node) && self.invite.id().is_some_and(|key| by(key, enrol) && agrees(key))
    }
}
