//! OpenPGP keys that may sign a repository, and the policy that decides whether a signature of theirs counts.
//! rPGP does the arithmetic; expiry, revocation, key flags, digest algorithms and subkey bindings are judged here.

mod file;

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketParser, Signature, SignatureType, SignatureVersion};
use pgp::types::{KeyDetails, Tag};

use crate::armor;
use crate::control::shorten;
use crate::date;
use crate::error::{Error, Result};

/// Keys of the Debian archive: bookworm and trixie, their security archives and point releases. From the package
/// debian-archive-keyring 2025.1.
const DEBIAN_ARCHIVE: &[u8] = include_bytes!("../keys/debian-archive-keyring.gpg");

/// Largest keyring and largest signed text read, in bytes (an InRelease has some 150 kB).
const MAX_INPUT: usize = 16 << 20;

/// Signatures of one file that are looked at; Debian's have two or three.
const MAX_SIGNATURES: usize = 64;

/// What is said of a signature that our clock has not reached.
const FUTURE: &str = "signed in the future";

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

    /// Reads a keyring: binary (`.gpg`, `.pgp`), or a text with armoured keys in it (`.asc`), several or with words around
    /// them. `name` is what messages call it.
    ///
    /// # Errors
    /// Data in which there is no OpenPGP public key; what it is instead is said where it can be told.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Keyring> {
        if bytes.len() > MAX_INPUT {
            return Err(Error::format(name, format!("is larger than {MAX_INPUT} bytes")));
        }
        let keys = file::public_keys(bytes, name).map_err(|why| Error::format(name, why))?;
        Ok(Keyring { name: name.to_owned(), keys })
    }

    /// Fingerprints of the primary keys, upper-case hexadecimal.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> + '_ {
        self.keys.iter().map(|key| format!("{:X}", key.fingerprint()))
    }

    /// The text of a cleartext-signed message (`InRelease`) of which at least one signature is good and made by a key of
    /// this ring. Line ends are `\n`.
    ///
    /// # Errors
    /// Anything before or after the message, and no acceptable signature: what is wrong with each is said.
    pub fn verify_clearsigned(&self, message: &[u8], clock: Clock, file: &str) -> Result<Signed> {
        let refuse = |why: String| Error::Signature { file: file.to_owned(), why };
        if message.len() > MAX_INPUT {
            return Err(refuse(format!("the file is larger than {MAX_INPUT} bytes")));
        }
        let message = armor::clearsigned(message)
            .map_err(|why| refuse(format!("the file is not one OpenPGP cleartext-signed message: {why}")))?;
        // Over such a text every signature is one with CRLF at the ends of lines (RFC 9580 section 7.2).
        let signed = crlf(&message.text);
        let signed_at = self.verify(&message.signatures, &signed, &signed, clock).map_err(refuse)?;
        Ok(Signed { text: message.text, signed_at })
    }

    /// As [`Keyring::verify_clearsigned`], for a text (`Release`) and its signatures in another file (`Release.gpg`),
    /// armoured or binary.
    ///
    /// # Errors
    /// A signature file that cannot be read, and no acceptable signature.
    pub fn verify_detached(&self, text: &[u8], signature: &[u8], clock: Clock, file: &str) -> Result<Signed> {
        let refuse = |why: String| Error::Signature { file: file.to_owned(), why };
        if text.len().max(signature.len()) > MAX_INPUT {
            return Err(refuse(format!("the file or its signature is larger than {MAX_INPUT} bytes")));
        }
        let blocks = armor::blocks(signature).map_err(|why| refuse(format!("the signature file {why}")))?;
        let packets = match blocks.is_empty() {
            true => signature.to_vec(),
            false => blocks.into_iter().flat_map(|block| block.bytes).collect(),
        };
        let signed_at = self.verify(&packets, text, &crlf(text), clock).map_err(refuse)?;
        Ok(Signed { text: text.to_vec(), signed_at })
    }

    /// When the newest good signature was made, in seconds since 1970-01-01 UTC. `binary` is what signatures over bytes are
    /// made over, `lines` what those over text are.
    fn verify(&self, packets: &[u8], binary: &[u8], lines: &[u8], clock: Clock) -> Result<i64, String> {
        let mut newest = None;
        let mut reasons = Vec::new();
        for packet in PacketParser::new(packets).take(MAX_SIGNATURES) {
            match packet {
                Ok(Packet::Signature(signature)) => {
                    let text = if signature.typ() == Some(SignatureType::Text) { lines } else { binary };
                    match self.check(&signature, text, clock) {
                        Ok(made) => newest = newest.max(Some(made)),
                        Err(why) => reasons.push(why),
                    }
                }
                Ok(_) => reasons.push("one packet is not a signature".to_owned()),
                Err(e) => reasons.push(format!("one is not understood: {}", shorten(&e.to_string()))),
            }
        }
        newest.ok_or_else(|| {
            reasons.dedup();
            let reasons = if reasons.is_empty() { "it has none".to_owned() } else { reasons.join("; ") };
            let clock = match reasons.contains(FUTURE) {
                true => format!("; the clock of this machine shows {}: set it if it is wrong", date::format(clock.now)),
                false => String::new(),
            };
            format!("none of its signatures counts with {}: {reasons}{clock}", self.name)
        })
    }

    /// When `signature` was made, if it is one that counts.
    fn check(&self, signature: &Signature, text: &[u8], clock: Clock) -> Result<i64, String> {
        if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
            return Err("one is not a signature over a text".to_owned());
        }
        let signer =
            self.signer(signature).ok_or_else(|| format!("key {} is not in the keyring", issuer(signature)))?;
        let name = signer.name();
        if !strong(signature.hash_alg()) {
            return Err(format!("{name}: signed with a digest weaker than SHA-256"));
        }
        let made = seconds(signature.created()).ok_or_else(|| format!("{name}: the signature has no date"))?;
        if made > clock.now.saturating_add(CLOCK_SKEW) {
            return Err(format!("{name}: {FUTURE} ({})", date::format(made)));
        }
        let when = if clock.allow_expired { made } else { clock.now };
        if let Some(life) = signature.signature_expiration_time().map(|d| i64::from(d.as_secs()))
            && life > 0
            && made.saturating_add(life) < when
        {
            return Err(format!("{name}: the signature expired on {}", date::format(made + life)));
        }
        signer.may_sign(made, when).map_err(|why| format!("{name}: {why}"))?;
        let verified = match rehashed(signature, text) {
            Some(signature) => signer.verify(&signature, text),
            None => signer.verify(signature, text),
        };
        verified.map(|()| made).map_err(|e| format!("{name}: bad signature: {}", shorten(&e.to_string())))
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

/// A text that a key of the ring signed.
#[derive(Clone, Debug)]
pub struct Signed {
    pub text: Vec<u8>,
    /// When its newest good signature was made, in seconds since 1970-01-01 UTC.
    pub signed_at: i64,
}

/// Line ends as signatures over text have them.
fn crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 16);
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        if number > 0 {
            out.extend(b"\r\n");
        }
        out.extend(line.strip_suffix(b"\r").unwrap_or(line));
    }
    out
}

/// The signature with the first 16 bits of the hash as they should be. They are a hint that saves arithmetic (RFC 9580
/// section 5.2.4); some signers write them wrong, GnuPG does not look at them, and rPGP insists on them. Signatures of
/// version 6 must have them right.
fn rehashed(signature: &Signature, text: &[u8]) -> Option<Signature> {
    if !matches!(signature.version(), SignatureVersion::V3 | SignatureVersion::V4) {
        return None;
    }
    let config = signature.config()?;
    let mut hasher = config.hash_alg.new_hasher().ok()?;
    config.hash_data_to_sign(&mut hasher, text).ok()?;
    let length = config.hash_signature_data(&mut hasher).ok()?;
    hasher.update(&config.trailer(length).ok()?);
    let hash = hasher.finalize();
    Signature::from_config(config.clone(), [*hash.first()?, *hash.get(1)?], signature.signature()?.clone()).ok()
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
        if details.revocation_signatures.iter().any(|s| s.verify_key(primary).is_ok()) {
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
            Some(back)
                if good_on_keys(back.hash_alg()) && back.verify_primary_key_binding(&subkey.key, primary).is_ok() =>
            {
                Ok(())
            }
            _ => Err("the subkey did not sign that it belongs to its key".to_owned()),
        }
    }
}

/// The newest self-signature that was there at `when`: it alone says how long and for what a key
/// is good.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, when: i64) -> Option<&'a Signature> {
    signatures
        .filter(|s| good_on_keys(s.hash_alg()))
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

/// Digests that a key's own signatures may be made with. Keys of 2012 that sign repositories to this day (Raspberry Pi's is one)
/// have them with SHA-1. They say how long and for what the key is good; who could forge them into a file of keys that the
/// recipe trusts could put a key of his own there. rPGP refuses what a known attack on SHA-1 made.
fn good_on_keys(digest: Option<HashAlgorithm>) -> bool {
    strong(digest) || digest == Some(HashAlgorithm::Sha1)
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
