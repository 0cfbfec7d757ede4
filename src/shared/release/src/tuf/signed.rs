//! The envelope of all metadata: what is signed, and the signatures over its canonical form.

use super::error::{Error, Role};
use super::fields::Fields;
use super::json::{self, Json};
use super::key::PublicKey;
use super::limits;
use super::metadata::Metadata;
use super::roles::{Keys, RoleKeys, limited};

/// Parsed, not verified.
pub(crate) struct Envelope {
    role: Role,
    pub signed: Json,
    /// The canonical form of `signed`.
    pub message: Vec<u8>,
    /// Key id and signature in hex, as found.
    pub signatures: Vec<(String, String)>,
}

impl Envelope {
    pub fn parse(role: &Role, bytes: &[u8], limit: usize) -> Result<Envelope, Error> {
        let document = json::parse(bytes, limit).map_err(|why| Error::Malformed { role: role.clone(), why })?;
        let place = "the document";
        let fields = Fields::of(role, place, &document)?;
        let list = fields.list("signatures")?;
        limited(role, "signatures", list.len(), limits::SIGNATURES)?;
        let mut signatures: Vec<(String, String)> = Vec::with_capacity(list.len());
        for entry in list {
            let entry = Fields::of(role, "signatures", entry)?;
            let key = entry.text("keyid")?;
            if key.len() > limits::KEY_ID {
                return Err(entry.error("keyid", "is too long"));
            }
            // Section 4.2.1: a key id must be unique in the list.
            if signatures.iter().any(|(other, _)| other == key) {
                return Err(Error::DuplicateSignature { role: role.clone(), key: key.to_owned() });
            }
            signatures.push((key.to_owned(), entry.text("sig")?.to_owned()));
        }
        let signed = fields.json("signed")?;
        let message = signed.canonical();
        let Json::Object(mut members) = document else { return Err(fields.error("signed", "is missing")) };
        let signed = members.remove("signed").unwrap_or(Json::Null);
        Ok(Envelope { role: role.clone(), signed, message, signatures })
    }

    /// What is to be signed, with the signatures that there are.
    #[cfg(feature = "sign")]
    pub fn new(role: Role, signed: Json, signatures: Vec<(String, String)>) -> Envelope {
        Envelope { role, message: signed.canonical(), signed, signatures }
    }

    /// How many of the role's keys have signed. Counted are distinct keys, not ids: one key under two names is one.
    pub fn valid_signatures(&self, keys: &Keys, role: &RoleKeys) -> usize {
        let mut valid: Vec<PublicKey> = Vec::new();
        for (id, signature) in &self.signatures {
            let Some(id) = role.ids.iter().find(|known| known.as_str() == id) else { continue };
            let Some(key) = keys.get(id) else { continue };
            if !valid.contains(key) && key.verifies(&self.message, signature) {
                valid.push(*key);
            }
        }
        valid.len()
    }

    pub fn require(&self, keys: &Keys, role: &RoleKeys) -> Result<(), Error> {
        let valid = self.valid_signatures(keys, role);
        if valid < role.threshold as usize {
            return Err(Error::Threshold { role: self.role.clone(), valid, needed: role.threshold });
        }
        Ok(())
    }

    pub fn read<T: Metadata>(&self) -> Result<T, Error> {
        T::from_json(&self.role, &self.signed)
    }
}

/// Metadata that was verified, with the bytes that it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Held<T> {
    pub bytes: Vec<u8>,
    pub value: T,
}

impl<T: Metadata> Held<T> {
    /// Parses metadata and checks its signatures, nothing else.
    pub fn verify(role: &Role, bytes: &[u8], keys: &Keys, by: &RoleKeys) -> Result<Held<T>, Error> {
        let envelope = Envelope::parse(role, bytes, T::LIMIT)?;
        envelope.require(keys, by)?;
        Ok(Held { value: envelope.read()?, bytes: bytes.to_vec() })
    }
}
