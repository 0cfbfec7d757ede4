//! Length and hashes that signed metadata gives for a file, and the check of the file's bytes against them.

use sha2::{Digest, Sha256, Sha512};

use super::json::{Json, Object};
use fruit_base::hex;

/// The hashes of a file that this crate can check: at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashes {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

impl Hashes {
    #[must_use]
    pub fn sha256(digest: [u8; 32]) -> Hashes {
        Hashes { sha256: Some(digest), sha512: None }
    }

    pub(super) fn from_json(entry: &Object) -> Result<Hashes, &'static str> {
        let text = |name: &str| match entry.get(name) {
            None => Ok(None),
            Some(value) => value.text().map(Some).ok_or("a hash that is no text"),
        };
        let bad = "a hash that is not in hex or has another length";
        let sha256 = text("sha256")?.map(|t| hex::decode_array(t).ok_or(bad)).transpose()?;
        let sha512 = text("sha512")?.map(|t| hex::decode_array(t).ok_or(bad)).transpose()?;
        if sha256.is_none() && sha512.is_none() {
            return Err("neither sha256 nor sha512");
        }
        Ok(Hashes { sha256, sha512 })
    }

    pub(super) fn to_json(&self) -> Json {
        let all = [("sha256", self.sha256.map(|d| hex::encode(&d))), ("sha512", self.sha512.map(|d| hex::encode(&d)))];
        Json::Object(all.into_iter().filter_map(|(name, hash)| Some((name.to_owned(), hash?.into()))).collect())
    }

    /// The SHA-256, which everything that we publish has.
    #[must_use]
    pub fn as_sha256(&self) -> Option<&[u8; 32]> {
        self.sha256.as_ref()
    }

    /// The hash in front of the file's name in a repository with consistent snapshots.
    #[must_use]
    pub fn prefix(&self) -> String {
        match (&self.sha256, &self.sha512) {
            (Some(digest), _) => hex::encode(digest),
            (None, Some(digest)) => hex::encode(digest),
            (None, None) => String::new(),
        }
    }
}

/// Why bytes are not those that were signed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
    #[error("it is longer than the signed {0} bytes")]
    Longer(u64),
    #[error("it has {found} bytes, signed are {signed}")]
    Shorter { found: u64, signed: u64 },
    #[error("its hash is another than the signed one")]
    Hash,
}

/// Checks a file piece by piece, as it arrives.
#[derive(Clone)]
pub struct Check {
    length: Option<u64>,
    signed: Hashes,
    seen: u64,
    sha256: Sha256,
    sha512: Sha512,
}

impl Check {
    pub(super) fn new(length: Option<u64>, signed: &Hashes) -> Check {
        Check { length, signed: signed.clone(), seen: 0, sha256: Sha256::new(), sha512: Sha512::new() }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`Mismatch::Longer`] as soon as there is more than was signed for: endless data ends here.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), Mismatch> {
        self.seen = self.seen.saturating_add(piece.len() as u64);
        if let Some(length) = self.length.filter(|&length| self.seen > length) {
            return Err(Mismatch::Longer(length));
        }
        if self.signed.sha256.is_some() {
            self.sha256.update(piece);
        }
        if self.signed.sha512.is_some() {
            self.sha512.update(piece);
        }
        Ok(())
    }

    /// # Errors
    /// [`Mismatch`].
    pub fn finish(self) -> Result<(), Mismatch> {
        if let Some(signed) = self.length.filter(|&length| length != self.seen) {
            return Err(Mismatch::Shorter { found: self.seen, signed });
        }
        let sha256_fits = self.signed.sha256.is_none_or(|digest| digest == <[u8; 32]>::from(self.sha256.finalize()));
        let sha512_fits = self.signed.sha512.is_none_or(|digest| digest == <[u8; 64]>::from(self.sha512.finalize()));
        if sha256_fits && sha512_fits { Ok(()) } else { Err(Mismatch::Hash) }
    }
}
