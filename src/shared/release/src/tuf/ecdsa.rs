//! ECDSA with P-256 and SHA-256, as other repositories use it. Not in the programs of a node.

use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;

/// Most bytes of a signature in DER: two integers of 33 bytes and three headers.
const SIGNATURE: usize = 72;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct P256(VerifyingKey);

impl P256 {
    pub fn from_pem(pem: &str) -> Option<P256> {
        VerifyingKey::from_public_key_pem(pem).ok().map(P256)
    }

    /// `signature` is DER in hex.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        if signature.len() > 2 * SIGNATURE || !signature.len().is_multiple_of(2) || !signature.is_ascii() {
            return false;
        }
        let bytes: Result<Vec<u8>, _> =
            (0..signature.len()).step_by(2).map(|at| u8::from_str_radix(&signature[at..at + 2], 16)).collect();
        let signature = bytes.ok().and_then(|bytes| Signature::from_der(&bytes).ok());
        signature.is_some_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}
