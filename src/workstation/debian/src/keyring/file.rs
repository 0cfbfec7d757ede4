//! Files of public keys, as they are published and downloaded.

use pgp::composed::{Deserializable, SignedPublicKey};

use crate::armor;
use crate::control::shorten;

/// Keys of one file that are looked at; all of Debian's keyrings together have some thousand.
const MAX_KEYS: usize = 4096;

/// The public keys of a file, binary or armoured. What else it holds is passed over.
///
/// # Errors
/// In words: a file without a usable public key; what it is instead, where that can be told.
pub(super) fn public_keys(bytes: &[u8], name: &str) -> Result<Vec<SignedPublicKey>, String> {
    let blocks = armor::blocks(bytes)?;
    let mut keys = Vec::new();
    let mut wrong = None;
    let mut read = |bytes: &[u8]| match SignedPublicKey::from_bytes_many(bytes) {
        Ok(found) => {
            for key in found.take(MAX_KEYS) {
                match key {
                    Ok(key) => keys.push(key),
                    Err(e) => wrong = Some(shorten(&e.to_string())),
                }
            }
        }
        Err(e) => wrong = Some(shorten(&e.to_string())),
    };
    match blocks.is_empty() {
        true if is_binary(bytes) => read(bytes),
        true => {}
        false => blocks.iter().filter(|b| b.label == "PUBLIC KEY BLOCK").for_each(|block| read(&block.bytes)),
    }
    if !keys.is_empty() {
        return Ok(keys);
    }
    if let Some(block) = blocks.iter().find(|block| block.label != "PUBLIC KEY BLOCK") {
        return Err(match block.label.as_str() {
            "PRIVATE KEY BLOCK" => format!("holds a private key, which belongs in no recipe; {EXPORT}"),
            "SIGNATURE" | "SIGNED MESSAGE" => format!("is a signature, not a key; {ASK}"),
            label => format!("holds a PGP {label}, not a public key; {ASK}"),
        });
    }
    let found = what_it_is(bytes, name).map(|what| format!("is {what}"));
    Err(match (found, wrong) {
        (Some(found), _) => found,
        (None, Some(wrong)) => format!("is not an OpenPGP keyring: {wrong}"),
        (None, None) => format!("is not an OpenPGP keyring: there is no public key in it; {ASK}"),
    })
}

const ASK: &str = "the documentation of the repository names its key file";
const EXPORT: &str = "export the public one: gpg --export KEY > key.gpg";

/// Every packet begins with a set top bit (RFC 9580 section 4.2), and no text does.
fn is_binary(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x80 != 0)
}

/// What was saved in place of a keyring.
fn what_it_is(bytes: &[u8], name: &str) -> Option<String> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let starts = |beginning: &str| {
        text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
    };
    // GnuPG's kbx/keybox-blob.c: the first blob, of 32 bytes, has this at byte 8.
    if bytes.get(8..12) == Some(b"KBXf") {
        return Some(format!(
            "a GnuPG keybox, the form of GnuPG's own database; export its keys and name the new file: \
             gpg --no-default-keyring --keyring {name} --export > keys.gpg"
        ));
    }
    Some(match () {
        () if text.is_empty() => format!("empty: the download failed; {ASK}"),
        () if starts("<") => {
            format!("a web page, not a key: the address leads elsewhere by now, or wants a login; {ASK}")
        }
        () if starts("{") || starts("[") => format!("a JSON text, not a key; {ASK}"),
        () if starts("!<arch>") => {
            "a Debian package; the keys are inside it: dpkg-deb --fsys-tarfile FILE | tar -t".to_owned()
        }
        () if bytes.starts_with(&[0x1f, 0x8b]) => "compressed; unpack it first: gunzip".to_owned(),
        () if starts("ssh-") || starts("ecdsa-") => format!("an SSH key, not an OpenPGP key; {ASK}"),
        () if starts("-----BEGIN ") && !starts("-----BEGIN PGP") => {
            format!("a certificate or key in PEM form, not an OpenPGP key; {ASK}")
        }
        // Tags 5 and 7: a secret key or subkey.
        () if bytes.first().is_some_and(|b| matches!(b, 0x94..=0x97 | 0x9c..=0x9f | 0xc5 | 0xc7)) => {
            format!("a private key, which belongs in no recipe; {EXPORT}")
        }
        () => return None,
    })
}
