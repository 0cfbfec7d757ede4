//! Secrets in records that everybody may carry: HPKE (RFC 9180) with X25519, HKDF-SHA256 and ChaCha20-Poly1305, to the X25519
//! form of a node's ed25519 key.

use ed25519_dalek::SigningKey;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::body::Secret;
use crate::id::{FleetId, KeyId};
use crate::limits;
use crate::record::{Key, Name};
use crate::wire::Writer;

/// Bytes of a KEM's public key, before what is sealed.
const ENCAPPED: usize = 32;

/// Why a secret was not sealed or opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    #[error("a secret has at most {max} bytes and is for at most {nodes} nodes", max = limits::SECRET, nodes = limits::RECIPIENTS)]
    TooMuch,
    #[error("{0} is no key of a node")]
    Key(KeyId),
    #[error("the secret is not for this node")]
    NotForThis,
    #[error("the secret was changed, or belongs to another record")]
    Opened,
}

/// Where a secret belongs: nowhere else it opens.
fn place(fleet: &FleetId, record: &Key, path: &str) -> Vec<u8> {
    let mut w = Writer(b"fruit secret 1\n".to_vec());
    w.raw(&fleet.0);
    w.raw(&[record.class as u8]);
    // Who signs for another domain cannot put it into a record of the same name.
    record.domain.write(&mut w);
    match &record.name {
        Name::Single => w.number(0),
        Name::Text(name) => w.bytes(name.as_bytes()),
        Name::Id(id) => w.bytes(&id.0),
    }
    w.bytes(path.as_bytes());
    w.0
}

/// Seals `secret`, the setting `path` of the configuration `record`, to the keys of `nodes`.
///
/// # Errors
/// Too long, too many, or a node's key that is none.
pub fn seal(
    fleet: &FleetId,
    record: &Key,
    path: &str,
    secret: &[u8],
    nodes: impl IntoIterator<Item = KeyId>,
    random: &mut impl CryptoRng,
) -> Result<Secret, SealError> {
    let nodes = crate::wire::sorted(nodes);
    if secret.len() > limits::SECRET || nodes.len() > limits::RECIPIENTS {
        return Err(SealError::TooMuch);
    }
    let place = place(fleet, record, path);
    let mut sealed = Vec::new();
    for node in nodes {
        let point = node.key().ok_or(SealError::Key(node))?.to_montgomery();
        let wrong = |_| SealError::Key(node);
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(point.as_bytes()).map_err(wrong)?;
        let (encapped, text) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &key,
            &place,
            secret,
            &node.0,
            random,
        )
        .map_err(wrong)?;
        sealed.push((node, [encapped.to_bytes().as_slice(), &text].concat()));
    }
    Ok(Secret { path: path.to_owned(), sealed })
}

/// Opens a secret with a node's key.
///
/// # Errors
/// It is for others, belongs elsewhere, or was changed.
pub fn open(
    fleet: &FleetId,
    record: &Key,
    secret: &Secret,
    node: &SigningKey,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let id = KeyId::from(node.verifying_key());
    let found = secret.sealed.iter().find(|(to, _)| to == &id);
    let (_, sealed) = found.ok_or(SealError::NotForThis)?;
    let (encapped, text) = sealed.split_at_checked(ENCAPPED).ok_or(SealError::Opened)?;
    let scalar = Zeroizing::new(node.to_scalar_bytes());
    let key = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&*scalar).map_err(|_| SealError::Opened)?;
    let encapped = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapped).map_err(|_| SealError::Opened)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &key,
        &encapped,
        &place(fleet, record, &secret.path),
        text,
        &id.0,
    )
    .map(Zeroizing::new)
    .map_err(|_| SealError::Opened)
}
