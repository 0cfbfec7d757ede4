//! Public keys and what they say about a signature.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use super::json::{Json, Object};
use fruit_base::hex;

/// The name of a key in metadata: the SHA-256 of its canonical form, or any text, which TUF allows too. Nothing is
/// concluded from it: what counts is the key that the delegating metadata has under this name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(pub(crate) String);

impl KeyId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key that signatures can be checked with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Ed25519(VerifyingKey),
    #[cfg(feature = "ecdsa")]
    P256(super::ecdsa::P256),
}

impl PublicKey {
    /// The ed25519 key with these bytes; `None` if they are no point of the curve.
    #[must_use]
    pub fn ed25519(bytes: &[u8; 32]) -> Option<PublicKey> {
        VerifyingKey::from_bytes(bytes).ok().map(|key| PublicKey(Kind::Ed25519(key)))
    }

    /// The raw 32 bytes of an ed25519 key.
    #[must_use]
    pub fn as_ed25519(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Kind::Ed25519(key) => Some(key.as_bytes()),
            #[cfg(feature = "ecdsa")]
            Kind::P256(_) => None,
        }
    }

    /// The key in an entry of `keys`; `None` for types and schemes that are not known here, and for what is no key at
    /// all: such entries never count for a threshold.
    pub(super) fn from_json(entry: &Object) -> Option<PublicKey> {
        let field = |name: &str| entry.get(name).and_then(Json::text);
        let public = entry.get("keyval")?.object()?.get("public")?.text()?;
        match (field("keytype")?, field("scheme")?) {
            ("ed25519", "ed25519") => PublicKey::ed25519(&hex::decode_array(public)?),
            #[cfg(feature = "ecdsa")]
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                super::ecdsa::P256::from_pem(public).map(|key| PublicKey(Kind::P256(key)))
            }
            _ => None,
        }
    }

    /// The entry for `keys`; `None` for the key types that this crate only reads.
    #[must_use]
    pub fn to_json(&self) -> Option<Json> {
        self.as_ed25519().map(|bytes| {
            Json::from([
                ("keytype", "ed25519".into()),
                ("keyval", Json::from([("public", hex::encode(bytes).into())])),
                ("scheme", "ed25519".into()),
            ])
        })
    }

    /// The key's name by the specification: SHA-256 of its canonical form.
    #[must_use]
    pub fn id(&self) -> Option<KeyId> {
        self.to_json().map(|json| KeyId(hex::encode(&Sha256::digest(json.canonical()))))
    }

    /// Whether `signature`, in hex, is this key's over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        match &self.0 {
            // Strict: a key of small order, for which one signature fits many messages, never verifies.
            Kind::Ed25519(key) => hex::decode_array::<64>(signature)
                .is_some_and(|bytes| key.verify_strict(message, &Signature::from_bytes(&bytes)).is_ok()),
            #[cfg(feature = "ecdsa")]
            Kind::P256(key) => key.verifies(message, signature),
        }
    }
}

impl From<VerifyingKey> for PublicKey {
    fn from(key: VerifyingKey) -> PublicKey {
        PublicKey(Kind::Ed25519(key))
    }
}
