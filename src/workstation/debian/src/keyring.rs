//! OpenPGP keys that may sign a repository, and the policy that decides whether a signature of theirs counts.
//! rPGP does the arithmetic; expiry, revocation, key flags, digest algorithms and subkey bindings are judged here.

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Tag};

use crate::date;
use crate::error::{Error, Result};

/// Keys of the Debian archive: bookworm and trixie, their security archives and point releases. From the package
/// debian-archive-keyring 2025.1.
const DEBIAN_ARCHIVE: &[u8] = include_bytes!("../keys/debian-archive-keyring.gpg");

/// Largest keyring and largest signed text read, in bytes (an InRelease has some 150 kB).
const MAX_INPUT: usize = 16 << 20;

/// How far ahead of our clock a signer's clock may be, in seconds.
const CLOCK_SKEW: i64 = 24 * 3600;

pub struct Keyring {
    name: String,
    keys: Vec<SignedPublicKey>,
}

/// When signatures and keys must be valid.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Seconds since 1970-01-01 UTC.
    pub now: i64,
    /// Metadata past its `Valid-Until` and signatures of keys that expired after they signed still count: what a
    /// snapshot mirror serves.
    pub allow_expired: bool,
}

impl Keyring {
    /// The Debian archive's keys that come with this program.
    ///
    /// # Errors
    /// None in a program whose tests passed; the data is part of it.
    pub fn debian_archive() -> Result<Keyring> {
        Keyring::parse(DEBIAN_ARCHIVE, "the built-in Debian archive keyring")
    }

    /// Reads a keyring, binary (`.gpg`, `.pgp`) or armoured (`.asc`). `name` is what messages call it.
    ///
    /// # Errors
    /// Data that is not a series of OpenPGP public keys.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Keyring> {
        let wrong = |why: String| Error::format(name, why);
        if bytes.len() > MAX_INPUT {
            return Err(wrong(format!("is larger than {MAX_INPUT} bytes")));
        }
        let armoured = bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP");
        let keys = if armoured {
            SignedPublicKey::from_armor_many_buf(bytes.trim_ascii_start()).map(|(keys, _)| keys)
        } else {
            SignedPublicKey::from_bytes_many(bytes)
        };
        let keys = keys.map_err(|e| wrong(format!("is not an OpenPGP keyring: {e}")))?;
        let keys = keys
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|e| wrong(format!("holds something that is not a public key: {e}")))?;
        if keys.is_empty() {
            return Err(wrong("holds no public key".to_owned()));
        }
        Ok(Keyring { name: name.to_owned(), keys })
    }

    /// Fingerprints of the primary keys, upper-case hexadecimal.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> + '_ {
        self.keys.iter().map(|key| format!("{:X}", key.fingerprint()))
    }

    /// The text of a cleartext-signed message (`InRelease`) of which at least one signature is made by a key of this
    /// ring and none by a key of this ring is wrong. Line ends are `\n`.
    ///
    /// # Errors
    /// Anything before or after the message, and no acceptable signature: what is wrong with each is said.
    pub fn verify_clearsigned(&self, message: &[u8], clock: Clock, file: &str) -> Result<String> {
        let refuse = |why: String| Error::Signature { file: file.to_owned(), why };
        if message.len() > MAX_INPUT {
            return Err(refuse(format!("the file is larger than {MAX_INPUT} bytes")));
        }
        let text = std::str::from_utf8(message).map_err(|e| refuse(format!("the file is not UTF-8: {e}")))?;
        let (message, _) = CleartextSignedMessage::from_string(text)
            .map_err(|e| refuse(format!("the file is not one OpenPGP cleartext-signed message: {e}")))?;
        let signed = message.signed_text();
        let mut good = false;
        let mut reasons = Vec::new();
        for signature in message.signatures() {
            match self.check(signature, signed.as_bytes(), clock) {
                Ok(()) => good = true,
                Err(Refusal::Broken(why)) => return Err(refuse(why)),
                Err(Refusal::Unusable(why)) => reasons.push(why),
            }
        }
        if !good {
            reasons.dedup();
            let reasons = if reasons.is_empty() { "it has none".to_owned() } else { reasons.join("; ") };
            return Err(refuse(format!("none of its signatures counts with {}: {reasons}", self.name)));
        }
        Ok(signed.replace("\r\n", "\n"))
    }

    fn check(&self, signature: &Signature, text: &[u8], clock: Clock) -> Result<(), Refusal> {
        let unusable = |why: String| Err(Refusal::Unusable(why));
        if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
            return unusable("one is not a signature over a text".to_owned());
        }
        let Some(signer) = self.signer(signature) else {
            return unusable(format!("key {} is not in the keyring", issuer(signature)));
        };
        let name = signer.name();
        if !strong(signature.hash_alg()) {
            return unusable(format!("{name}: signed with a digest weaker than SHA-256"));
        }
        let Some(made) = seconds(signature.created()) else {
            return unusable(format!("{name}: the signature has no date"));
        };
        if made > clock.now.saturating_add(CLOCK_SKEW) {
            return unusable(format!("{name}: signed in the future ({})", date::format(made)));
        }
        let when = if clock.allow_expired { made } else { clock.now };
        if let Some(life) = signature.signature_expiration_time().map(|d| i64::from(d.as_secs()))
            && life > 0
            && made.saturating_add(life) < when
        {
            return unusable(format!("{name}: the signature expired on {}", date::format(made + life)));
        }
        signer.may_sign(made, when).or_else(|why| unusable(format!("{name}: {why}")))?;
        signer.verify(signature, text).map_err(|e| Refusal::Broken(format!("{name}: bad signature: {e}")))
    }

    fn signer(&self, signature: &Signature) -> Option<Signer<'_>> {
        let made_by = |key: &dyn KeyDetails| {
            signature.issuer_fingerprint().iter().any(|f| **f == key.fingerprint())
                || (signature.issuer_fingerprint().is_empty()
                    && signature.issuer_key_id().iter().any(|id| **id == key.legacy_key_id()))
        };
        self.keys.iter().find_map(|key| {
            if made_by(&key.primary_key) {
                return Some(Signer { key, subkey: None });
            }
            let subkey = key.public_subkeys.iter().find(|subkey| made_by(&subkey.key))?;
            Some(Signer { key, subkey: Some(subkey) })
        })
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({}, {} keys)", self.name, self.keys.len())
    }
}

enum Refusal {
    /// Does not count, but another signature may.
    Unusable(String),
    /// A key that we know, and a text that it did not sign: the text was altered.
    Broken(String),
}

struct Signer<'a> {
    key: &'a SignedPublicKey,
    subkey: Option<&'a SignedPublicSubKey>,
}

impl Signer<'_> {
    fn name(&self) -> String {
        match self.subkey {
            None => format!("key {:X}", self.key.fingerprint()),
            Some(subkey) => {
                format!("key {:X} (subkey of {:X})", subkey.key.fingerprint(), self.key.fingerprint())
            }
        }
    }

    fn verify(&self, signature: &Signature, text: &[u8]) -> pgp::errors::Result<()> {
        match self.subkey {
            None => signature.verify(&self.key.primary_key, text),
            Some(subkey) => signature.verify(&subkey.key, text),
        }
    }

    /// Whether the key was entitled to sign at `made` and is not expired at `when`.
    fn may_sign(&self, made: i64, when: i64) -> Result<(), String> {
        let primary = &self.key.primary_key;
        let details = &self.key.details;
        if details.revocation_signatures.iter().any(|s| strong(s.hash_alg()) && s.verify_key(primary).is_ok()) {
            return Err("the key is revoked".to_owned());
        }
        let certifications = details.users.iter().flat_map(|user| {
            let revoked = user.signatures.iter().any(|s| {
                s.typ() == Some(SignatureType::CertRevocation)
                    && s.verify_certification(primary, Tag::UserId, &user.id).is_ok()
            });
            let valid = move |s: &&Signature| {
                !revoked
                    && s.typ() != Some(SignatureType::CertRevocation)
                    && s.verify_certification(primary, Tag::UserId, &user.id).is_ok()
            };
            user.signatures.iter().filter(valid)
        });
        let direct = details.direct_signatures.iter().filter(|s| s.verify_key(primary).is_ok());
        let own = newest(certifications.chain(direct), when).ok_or("the key has no valid self-signature")?;
        check_life("the key", seconds(Some(primary.created_at())), own, made, when)?;
        let Some(subkey) = self.subkey else {
            return if own.key_flags().sign() { Ok(()) } else { Err("the key is not meant for signing".to_owned()) };
        };
        let bound = |s: &&Signature| s.verify_subkey_binding(primary, &subkey.key).is_ok();
        let revoked = |s: &Signature| s.typ() == Some(SignatureType::SubkeyRevocation) && bound(&s);
        if subkey.signatures.iter().any(revoked) {
            return Err("the subkey is revoked".to_owned());
        }
        let bindings = subkey.signatures.iter().filter(|s| s.typ() == Some(SignatureType::SubkeyBinding)).filter(bound);
        let binding = newest(bindings, when).ok_or("the subkey is not bound to its key")?;
        check_life("the subkey", seconds(Some(subkey.key.created_at())), binding, made, when)?;
        if !binding.key_flags().sign() {
            return Err("the subkey is not meant for signing".to_owned());
        }
        // Without the subkey's own consent, anyone could adopt it as theirs (RFC 9580 section 10.1.5).
        match binding.embedded_signature() {
            Some(back) if strong(back.hash_alg()) && back.verify_primary_key_binding(&subkey.key, primary).is_ok() => {
                Ok(())
            }
            _ => Err("the subkey did not sign that it belongs to its key".to_owned()),
        }
    }
}

/// The newest self-signature with a strong digest that was there at `when`: it alone says how long and for what a key
/// is good.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, when: i64) -> Option<&'a Signature> {
    signatures
        .filter(|s| strong(s.hash_alg()))
        .filter_map(|s| seconds(s.created()).map(|made| (made, s)))
        .filter(|(made, _)| *made <= when.saturating_add(CLOCK_SKEW))
        .max_by_key(|(made, _)| *made)
        .map(|(_, s)| s)
}

fn check_life(what: &str, created: Option<i64>, own: &Signature, made: i64, when: i64) -> Result<(), String> {
    let created = created.ok_or_else(|| format!("{what} has no creation date"))?;
    if made < created {
        return Err(format!("{what} is younger than the signature"));
    }
    if let Some(life) = own.signature_expiration_time().map(|d| i64::from(d.as_secs()))
        && life > 0
        && seconds(own.created()).is_none_or(|at| at.saturating_add(life) < when)
    {
        return Err(format!("the self-signature of {what} has expired"));
    }
    match own.key_expiration_time().map(|d| i64::from(d.as_secs())) {
        Some(life) if life > 0 && created.saturating_add(life) < when => {
            Err(format!("{what} expired on {}", date::format(created + life)))
        }
        _ => Ok(()),
    }
}

/// Digests for which no collision is in sight.
fn strong(digest: Option<HashAlgorithm>) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    matches!(digest, Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512))
}

fn seconds(time: Option<pgp::types::Timestamp>) -> Option<i64> {
    time.map(|t| i64::from(t.as_secs()))
}

fn issuer(signature: &Signature) -> String {
    match (signature.issuer_fingerprint().first(), signature.issuer_key_id().first()) {
        (Some(fingerprint), _) => format!("{fingerprint:X}"),
        (None, Some(id)) => format!("{id}"),
        (None, None) => "of unknown number".to_owned(),
    }
}
