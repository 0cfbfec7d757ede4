//! Metadata that waits for signatures.

use std::collections::BTreeMap;

use super::{KeyError, Signer, describe};
use fruit_base::hex;

use crate::tuf::json::{Json, Object};
use crate::tuf::metadata::Metadata;
use crate::tuf::signed::Envelope;
use crate::tuf::writing::Writable;
use crate::tuf::{Error, Head, KeyId, PublicKey, Role, RoleKeys, Root, Snapshot, Targets, Timestamp};

/// New metadata of one role and the signatures that it has so far. As a file it is metadata with signatures missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    role: Role,
    signed: Json,
    head: Head,
    /// All valid, but for those that were carried.
    signatures: BTreeMap<KeyId, String>,
}

impl Draft {
    pub(super) fn new<T: Writable>(role: Role, value: &T) -> Draft {
        Draft { role, signed: value.to_json(), head: value.head().clone(), signatures: BTreeMap::new() }
    }

    /// Reads a draft's file, or metadata. Its signatures are not verified: they are kept apart until
    /// [`Draft::add`] has.
    ///
    /// # Errors
    /// It is no metadata of a top-level role.
    pub fn read(bytes: &[u8]) -> Result<(Draft, Vec<(KeyId, String)>), KeyError> {
        let limit = Targets::LIMIT.max(Root::LIMIT);
        let envelope = Envelope::parse(&Role::Root, bytes, limit)?;
        let kind = envelope.signed.object().and_then(|members| members.get("_type")).and_then(Json::text);
        let kind = kind.unwrap_or_default();
        let role = Role::from_name(kind)
            .ok_or_else(|| Error::Type { role: Role::Root, found: kind.chars().take(40).collect() })?;
        let head = match role {
            Role::Root => Root::from_json(&role, &envelope.signed)?.head,
            Role::Timestamp => Timestamp::from_json(&role, &envelope.signed)?.head,
            Role::Snapshot => Snapshot::from_json(&role, &envelope.signed)?.head,
            _ => Targets::from_json(&role, &envelope.signed)?.head,
        };
        let signatures = envelope.signatures.into_iter().map(|(id, signature)| (KeyId(id), signature)).collect();
        Ok((Draft { role, signed: envelope.signed, head, signatures: BTreeMap::new() }, signatures))
    }

    #[must_use]
    pub fn role(&self) -> &Role {
        &self.role
    }

    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Ids of the keys that have signed.
    pub fn signers(&self) -> impl Iterator<Item = &KeyId> {
        self.signatures.keys()
    }

    /// `2.root`: its file's name without the ending.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.head.version, self.role.name())
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        self.signed.canonical()
    }

    pub(super) fn value<T: Metadata>(&self) -> Result<T, Error> {
        T::from_json(&self.role, &self.signed)
    }

    /// What it says, a line each; `name` tells a person's name for a key.
    #[must_use]
    pub fn content(&self, name: &dyn Fn(&KeyId) -> String) -> Vec<String> {
        let lines = match self.role {
            Role::Root => self.value().map(|value: Root| describe::root(&value, name)),
            Role::Targets | Role::Delegated(_) => self.value().map(|value: Targets| describe::targets(&value)),
            Role::Snapshot => self.value().map(|value: Snapshot| describe::snapshot(&value)),
            Role::Timestamp => self.value().map(|value: Timestamp| describe::timestamp(&value)),
        };
        // It was read when the draft was made.
        lines.unwrap_or_default()
    }

    /// Keeps signatures of others that came with a draft's file, unchecked: they are checked where it goes back to.
    pub fn carry(&mut self, signatures: Vec<(KeyId, String)>) {
        for (id, signature) in signatures {
            self.signatures.entry(id).or_insert(signature);
        }
    }

    /// Signs it with a key, whether or not that is one that counts: where the draft goes back to, that is known. Says
    /// whether the key is at hand.
    ///
    /// # Errors
    /// Those of the signer.
    pub fn sign(&mut self, id: &KeyId, key: &PublicKey, signer: &mut dyn Signer) -> Result<bool, KeyError> {
        match signer.sign(key, &self.message())? {
            Some(signature) if self.add_raw(id, key, &signature) => Ok(true),
            Some(_) => Err(KeyError::Stray),
            None => Ok(false),
        }
    }

    /// Adds a signature if it is `key`'s. Says whether it was.
    pub(super) fn add(&mut self, id: &KeyId, key: &PublicKey, signature: &str) -> bool {
        let valid = key.verifies(&self.message(), signature);
        if valid {
            self.signatures.insert(id.clone(), signature.to_owned());
        }
        valid
    }

    pub(super) fn add_raw(&mut self, id: &KeyId, key: &PublicKey, signature: &[u8; 64]) -> bool {
        self.add(id, key, &hex::encode(signature))
    }

    /// How many of the role's keys have signed.
    pub(super) fn valid(&self, keys: &crate::tuf::Keys, role: &RoleKeys) -> usize {
        self.envelope().valid_signatures(keys, role)
    }

    fn envelope(&self) -> Envelope {
        let signatures = self.signatures.iter().map(|(id, signature)| (id.to_string(), signature.clone())).collect();
        Envelope::new(self.role.clone(), self.signed.clone(), signatures)
    }

    /// The metadata file, or the draft's if signatures are missing: the same draft, the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let signatures = self
            .signatures
            .iter()
            .map(|(id, signature)| Json::from([("keyid", id.as_str().into()), ("sig", signature.as_str().into())]));
        let document = Json::Object(Object::from([
            ("signatures".to_owned(), Json::List(signatures.collect())),
            ("signed".to_owned(), self.signed.clone()),
        ]));
        // Writing to memory, with names that are texts, does not fail.
        let mut bytes = serde_json::to_vec_pretty(&document).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}
