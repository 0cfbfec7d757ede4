//! Who signs, and with what.

use super::opened::file;
use super::{Opened, Options, usage};
use crate::failure::{Code, Failure};
use fruit_record::body::Operator;
use fruit_record::{Draft, FleetId, KeyId, Labels, Selector, Signature};
use fruit_release::keys::passphrase::ask;
use fruit_release::keys::{Entry, KeyError, KeyFileError, KeyStore, SecretKey, Signer as _, public_half};
use fruit_release::tuf::PublicKey;
use std::path::{Path, PathBuf};

/// Bytes of a key file.
const LIMIT: u64 = 64 << 10;

/// Signs with the keys of a fleet's folder, and of files that were named.
pub struct Signer<'o> {
    options: &'o Options,
    store: KeyStore,
    /// Files that were named, by the key that is in them.
    files: Vec<(KeyId, PathBuf)>,
}

impl<'o> Signer<'o> {
    pub fn new(store: &KeyStore, options: &'o Options) -> Result<Signer<'o>, Failure> {
        let mut files = Vec::new();
        for path in &options.key_files {
            let public = public_half(&file(path, LIMIT)?).map_err(|why| in_file(path, &why))?;
            files.extend(public.as_ed25519().map(|key| (KeyId(*key), path.clone())));
        }
        Ok(Signer { options, store: store.clone(), files })
    }

    /// Whether a key can sign.
    pub fn has(&self, opened: &Opened, key: &KeyId) -> bool {
        self.files.iter().any(|(of, _)| of == key) || opened.is_at_hand(key)
    }

    /// The operators who sign: those who were named, or the only one whose key is at hand.
    pub fn operators(&self, opened: &Opened) -> Result<Vec<Operator>, Failure> {
        if !self.options.operators.is_empty() {
            return self.options.operators.iter().map(|name| opened.operator(name).cloned()).collect();
        }
        let all = &opened.charter().operators;
        let here: Vec<&Operator> = all.iter().filter(|operator| self.has(opened, &operator.key)).collect();
        match here.as_slice() {
            [one] => Ok(vec![(*one).clone()]),
            [] => Err(usage(format!(
                "{}: the key of no operator of this fleet is here; name its file with --key-file, or make a key with `fruitctl \
                 operator key NAME`, with which somebody who has the root keys adds you",
                self.store.folder().display()
            ))),
            several => {
                let names: Vec<&str> = several.iter().map(|operator| operator.name.as_str()).collect();
                Err(usage(format!("the keys of several operators are here: name one with --as: {}", names.join(", "))))
            }
        }
    }

    /// Signs drafts with these keys, as far as they are at hand. A passphrase is asked for once.
    pub fn sign(&self, fleet: &FleetId, drafts: &[Draft], keys: &[KeyId]) -> Result<Vec<Vec<u8>>, Failure> {
        let mut trouble = None;
        let mut unlock = |entry: &Entry| {
            ask(self.options.passphrase_file(), &format!("key {}", entry.name), false).map_err(|why| {
                trouble = Some(why);
                KeyError::NoPassphrase
            })
        };
        let mut signatures: Vec<Vec<Signature>> = vec![Vec::new(); drafts.len()];
        let signed = (|| {
            for key in keys {
                let file = self.files.iter().find(|(of, _)| of == key);
                let file = file.map(|(_, path)| self.open(path)).transpose()?;
                let mut signer = self.store.signer(&mut unlock);
                let Some(public) = PublicKey::ed25519(&key.0) else { continue };
                for (draft, signatures) in drafts.iter().zip(&mut signatures) {
                    let message = draft.message(fleet);
                    let bytes = match &file {
                        Some(secret) => Some(secret.sign(&message)),
                        None => signer.sign(&public, &message)?,
                    };
                    signatures.extend(bytes.map(|bytes| Signature { key: *key, bytes }));
                }
            }
            Ok::<(), Failure>(())
        })();
        if let Some(why) = trouble {
            return Err(Failure::new(Code::Refused, why.to_string()));
        }
        signed?;
        Ok(drafts.iter().zip(signatures).map(|(draft, signatures)| draft.signed(signatures)).collect())
    }

    fn open(&self, path: &Path) -> Result<SecretKey, Failure> {
        let text = file(path, LIMIT)?;
        let passphrase = match SecretKey::is_encrypted(&text).map_err(|why| in_file(path, &why))? {
            false => None,
            true => {
                let what = format!("key {}", path.display());
                let asked = ask(self.options.passphrase_file(), &what, false);
                Some(asked.map_err(|why| Failure::new(Code::Refused, why.to_string()))?)
            }
        };
        SecretKey::from_openssh(&text, passphrase.as_ref()).map_err(|why| in_file(path, &why))
    }
}

fn in_file(path: &Path, why: &KeyFileError) -> Failure {
    Failure::new(Code::Refused, format!("{}: {why}", path.display()))
}

/// The domain in which these operators can sign about a node with these labels: the whole fleet, if their scope is, or the
/// part of it that they have in common.
pub fn domain(operators: &[Operator], labels: &Labels) -> Result<Labels, Failure> {
    let covered = |domain: &Labels| {
        let domain = Selector::labels(domain.clone());
        operators.iter().all(|operator| domain.is_within(&operator.scope))
    };
    let whole = Labels::default();
    if covered(&whole) {
        return Ok(whole);
    }
    let parts = operators.iter().flat_map(|operator| operator.scope.alternatives());
    let mut fitting = parts.filter(|part| labels.contain(part) && covered(part));
    fitting.next().cloned().ok_or_else(|| {
        let scopes: Vec<String> =
            operators.iter().map(|operator| format!("{}: {}", operator.name, operator.scope)).collect();
        let labels = if labels.is_empty() { "no labels".to_owned() } else { labels.to_string() };
        let message = format!("a node with {labels} is outside the scope of who signs ({})", scopes.join("; "));
        Failure::new(Code::Untrusted, message)
    })
}
