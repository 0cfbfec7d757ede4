//! Secret ed25519 keys, and their files in the format of OpenSSH: `ssh-keygen` makes and reads them too.

use ed25519_dalek::{Signer as _, SigningKey};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::rand_core::{CryptoRngCore, OsRng};
use ssh_key::{Kdf, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::tuf::PublicKey;

/// Most rounds of the key derivation that are worked off: ssh-keygen's default is 16 or 24, people take up to some
/// hundred; a file could ask for centuries.
const MAX_ROUNDS: u32 = 2000;

/// Text that opens a key file. Overwritten when dropped; not printable.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    #[must_use]
    pub fn new(text: String) -> Passphrase {
        Passphrase(Zeroizing::new(text))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Passphrase) -> bool {
        *self.0 == *other.0
    }
}

/// A secret key. Overwritten when dropped; not printable.
pub struct SecretKey(SigningKey);

/// Why a key file is not usable.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("it is no private key in the format of OpenSSH: {0}")]
    Format(String),
    #[error("it is a key of type {0}; only ed25519 signs releases")]
    Type(String),
    #[error("its public half belongs to another key")]
    Halves,
    #[error("it is encrypted, and no passphrase was given")]
    Locked,
    #[error("the passphrase is wrong")]
    Passphrase,
    #[error("its passphrase is derived in {0} rounds; at most {MAX_ROUNDS} are worked off")]
    Rounds(u32),
    #[error("no random bytes: {0}")]
    Random(String),
}

impl SecretKey {
    /// A new key from the system's random numbers.
    ///
    /// # Errors
    /// The system gives none.
    pub fn generate() -> Result<SecretKey, KeyFileError> {
        let seed = SecretKey::random_seed()?;
        Ok(SecretKey::from_seed(&seed))
    }

    /// 32 bytes of the system's random numbers, from which a key follows.
    ///
    /// # Errors
    /// The system gives none.
    pub fn random_seed() -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
        let mut seed = Zeroizing::new([0u8; 32]);
        let random: &mut dyn CryptoRngCore = &mut OsRng;
        random.try_fill_bytes(&mut *seed).map_err(|error| KeyFileError::Random(error.to_string()))?;
        Ok(seed)
    }

    /// The key that follows from 32 bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> SecretKey {
        SecretKey(SigningKey::from_bytes(seed))
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from(self.0.verifying_key())
    }

    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The key as an OpenSSH private key file, encrypted with `passphrase`.
    ///
    /// # Errors
    /// [`KeyFileError::Random`], since each file has its own salt.
    pub fn to_openssh(&self, comment: &str, passphrase: &Passphrase) -> Result<Zeroizing<String>, KeyFileError> {
        let failed = |error: ssh_key::Error| KeyFileError::Format(error.to_string());
        let private = Ed25519PrivateKey::from_bytes(self.0.as_bytes());
        let public = Ed25519PublicKey(*self.0.verifying_key().as_bytes());
        let pair = KeypairData::Ed25519(Ed25519Keypair { public, private });
        let key = PrivateKey::new(pair, comment).map_err(failed)?;
        let key = key.encrypt(&mut OsRng, passphrase.0.as_bytes()).map_err(failed)?;
        key.to_openssh(LineEnding::LF).map_err(failed)
    }

    /// Whether a private key file wants a passphrase.
    ///
    /// # Errors
    /// [`KeyFileError::Format`].
    pub fn is_encrypted(text: &[u8]) -> Result<bool, KeyFileError> {
        let key = PrivateKey::from_openssh(text).map_err(|error| KeyFileError::Format(error.to_string()))?;
        Ok(key.is_encrypted())
    }

    /// Reads an OpenSSH private key file.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn from_openssh(text: &[u8], passphrase: Option<&Passphrase>) -> Result<SecretKey, KeyFileError> {
        let mut key = PrivateKey::from_openssh(text).map_err(|error| KeyFileError::Format(error.to_string()))?;
        if key.is_encrypted() {
            if let Kdf::Bcrypt { rounds, .. } = key.kdf()
                && *rounds > MAX_ROUNDS
            {
                return Err(KeyFileError::Rounds(*rounds));
            }
            let passphrase = passphrase.ok_or(KeyFileError::Locked)?;
            key = key.decrypt(passphrase.0.as_bytes()).map_err(|_| KeyFileError::Passphrase)?;
        }
        let KeypairData::Ed25519(pair) = key.key_data() else {
            return Err(KeyFileError::Type(key.algorithm().to_string()));
        };
        let secret = SecretKey(SigningKey::from_bytes(pair.private.as_ref()));
        if secret.0.verifying_key().as_bytes() != &pair.public.0 {
            return Err(KeyFileError::Halves);
        }
        Ok(secret)
    }
}

/// The public half of an OpenSSH private key file, for which no passphrase is needed.
///
/// # Errors
/// [`KeyFileError::Format`], [`KeyFileError::Type`].
pub fn public_half(text: &[u8]) -> Result<PublicKey, KeyFileError> {
    let key = PrivateKey::from_openssh(text).map_err(|error| KeyFileError::Format(error.to_string()))?;
    let public = key.public_key().key_data().ed25519();
    let public = public.and_then(|public| PublicKey::ed25519(&public.0));
    public.ok_or_else(|| KeyFileError::Type(key.algorithm().to_string()))
}

/// `ssh-ed25519 AAAA…`, as in an OpenSSH public key file; `None` for keys of other types.
#[must_use]
pub fn to_line(key: &PublicKey, comment: &str) -> Option<String> {
    let data = ssh_key::public::KeyData::Ed25519(Ed25519PublicKey(*key.as_ed25519()?));
    ssh_key::PublicKey::new(data, comment).to_openssh().ok()
}

/// The key of an OpenSSH public key line; `None` if it is none of type ed25519.
#[must_use]
pub fn from_line(line: &str) -> Option<PublicKey> {
    let key = ssh_key::PublicKey::from_openssh(line).ok()?;
    PublicKey::ed25519(&key.key_data().ed25519()?.0)
}
