//! An invite: one line of text that makes a card one of the fleet's. Whoever has it may use it: it holds a secret key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use fruit_base::Sha256;

use crate::body::{Body, Charter, Relay, Seed};
use crate::class::Class;
use crate::id::{FleetId, KeyId, RecordHash};
use crate::limits;
use crate::record::Record;
use crate::selector::Labels;
use crate::wire::{Content, FieldWriter, Fields, Malformed, Reader, decode, encode};

/// What the text begins with.
pub const PREFIX: &str = "fruit1-";
/// Relays, and seeds, that an invite names.
const CONTACTS: usize = 8;
/// Bytes of the checksum at its end: a copying mistake is told from a forgery.
const CHECKSUM: usize = 4;

/// An invite, as it was read: nobody has looked at the operator's signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    pub fleet: FleetId,
    /// The charter that counted when it was made. A row of charters without it is not the fleet's, whoever has root keys of
    /// long ago: see [`crate::Trust::has`].
    pub charter: RecordHash,
    /// What the operator signed.
    pub grant: Record,
    /// Whom a new node asks first.
    pub relays: Vec<Relay>,
    pub seeds: Vec<Seed>,
    secret: [u8; 32],
}

/// Why a text is no invite.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAnInvite {
    #[error("an invite is one line that begins with `{PREFIX}`")]
    Prefix,
    #[error("an invite has at most {max} characters, this has {0}", max = limits::INVITE)]
    Long(usize),
    #[error("a character is wrong or missing: copy the invite again, whole")]
    Copied,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("its secret key is not the one that the operator signed")]
    Key,
}

/// What can be said of a text without looking into it: an invite that was copied whole passes, whatever program made it. Returns
/// the bytes that it stands for.
///
/// # Errors
/// It has another beginning, is too long, or its checksum is wrong.
pub fn check_text(text: &str) -> Result<Vec<u8>, NotAnInvite> {
    let text = text.trim();
    if text.len() > limits::INVITE {
        return Err(NotAnInvite::Long(text.len()));
    }
    let encoded = text.strip_prefix(PREFIX).ok_or(NotAnInvite::Prefix)?;
    let mut bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| NotAnInvite::Copied)?;
    let at = bytes.len().checked_sub(CHECKSUM).ok_or(NotAnInvite::Copied)?;
    let checksum = bytes.split_off(at);
    if Sha256::of(&bytes).0[..CHECKSUM] == *checksum { Ok(bytes) } else { Err(NotAnInvite::Copied) }
}

/// The fleet of an invite, and the charter that it names: for who wants to know whom to believe, and does not use its key.
///
/// # Errors
/// [`NotAnInvite`].
pub fn pins(text: &str) -> Result<(FleetId, RecordHash), NotAnInvite> {
    let parts: Parts = decode(&check_text(text)?, limits::INVITE)?;
    Ok((parts.fleet, parts.charter))
}

struct Parts {
    fleet: FleetId,
    secret: [u8; 32],
    /// Without the enrol key, which follows from the secret one.
    grant: Vec<u8>,
    relays: Vec<Relay>,
    seeds: Vec<Seed>,
    charter: RecordHash,
}

impl Content for Parts {
    const WHAT: &'static str = "the invite";

    fn write(&self, fields: &mut FieldWriter) {
        fields.raw(1, &self.fleet.0);
        fields.raw(2, &self.secret);
        fields.raw(3, &self.grant);
        fields.list(4, &self.relays, Relay::write);
        fields.list(5, &self.seeds, Seed::write);
        fields.raw(6, &self.charter.0);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Parts, Malformed> {
        Ok(Parts {
            fleet: fields.required(1, "the fleet", FleetId::read)?,
            secret: fields.required(2, "the secret key", |r| r.array("the secret key"))?,
            grant: fields.required(3, "the invite", |r| Ok(r.take(r.rest().len(), "the invite")?.to_vec()))?,
            relays: fields.list(4, CONTACTS, "the relays", Relay::read)?,
            seeds: fields.list(5, CONTACTS, "the seeds", Seed::read)?,
            charter: fields.required(6, "the charter", RecordHash::read)?,
        })
    }
}

/// Where the enrol key stands in a grant: behind format, class and domain.
fn place_of_key(grant: &[u8]) -> Result<usize, Malformed> {
    let mut r = Reader::new(grant);
    r.take(2, "the invite")?;
    Labels::read(&mut r)?;
    Ok(grant.len() - r.rest().len())
}

impl Invite {
    /// What [`crate::Trust::invite`] makes, with the first relays and seeds of the charter that has the hash `pin`.
    pub(crate) fn new(
        fleet: FleetId,
        (pin, charter): (RecordHash, &Charter),
        secret: [u8; 32],
        grant: Record,
    ) -> Result<Invite, NotAnInvite> {
        let relays = charter.relays.iter().take(CONTACTS).cloned().collect();
        let seeds = charter.seeds.iter().take(CONTACTS).cloned().collect();
        let invite = Invite { fleet, charter: pin, grant, relays, seeds, secret };
        invite.check()?;
        match invite.to_text().len() {
            0..=limits::INVITE => Ok(invite),
            length => Err(NotAnInvite::Long(length)),
        }
    }

    fn check(&self) -> Result<(), NotAnInvite> {
        let fits = self.grant.class() == Class::Invite && self.grant.id() == Some(self.id());
        if fits { Ok(()) } else { Err(NotAnInvite::Key) }
    }

    /// The enrol key's public half.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.key().verifying_key().into()
    }

    /// The enrol key.
    #[must_use]
    pub fn key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.secret)
    }

    /// The line of text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut grant = self.grant.encode();
        if let Ok(at) = place_of_key(&grant) {
            grant.drain(at..at + 32);
        }
        let parts = Parts {
            fleet: self.fleet,
            secret: self.secret,
            grant,
            relays: self.relays.clone(),
            seeds: self.seeds.clone(),
            charter: self.charter,
        };
        let bytes = encode(&parts);
        let checksum = Sha256::of(&bytes).0;
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&bytes, &checksum[..CHECKSUM]].concat()))
    }

    /// Reads an invite.
    ///
    /// # Errors
    /// [`NotAnInvite`].
    pub fn from_text(text: &str) -> Result<Invite, NotAnInvite> {
        let bytes = check_text(text)?;
        let Parts { fleet, secret, mut grant, relays, seeds, charter } = decode(&bytes, limits::INVITE)?;
        let at = place_of_key(&grant)?;
        grant.splice(at..at, SigningKey::from_bytes(&secret).verifying_key().to_bytes());
        let grant = Record::parse(&grant)?;
        if !matches!(grant.body(), Body::Invite(_)) {
            return Err(NotAnInvite::Key);
        }
        let invite = Invite { fleet, charter, grant, relays, seeds, secret };
        invite.check()?;
        Ok(invite)
    }
}

/// Without the secret.
impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite").field("fleet", &self.fleet).field("id", &self.id()).finish_non_exhaustive()
    }
}
