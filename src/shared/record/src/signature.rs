//! Signatures, and what is signed.

use ed25519_dalek::Signature as Ed25519;

use crate::id::{FleetId, KeyId};

/// A signature and the key that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    pub key: KeyId,
    pub bytes: [u8; 64],
}

impl Signature {
    /// Strict: a key of small order, for which one signature fits many messages, never verifies.
    #[must_use]
    pub fn verifies(&self, message: &[u8]) -> bool {
        let signature = Ed25519::from_bytes(&self.bytes);
        self.key.key().is_some_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

/// What is signed: `content` in this fleet alone, and as nothing else.
#[must_use]
pub fn message(what: &str, fleet: &FleetId, content: &[u8]) -> Vec<u8> {
    [b"fruit ", what.as_bytes(), b" 1\n", fleet.0.as_slice(), content].concat()
}
