//! Who signs, and with what.

use super::opened::file;
use super::{Opened, Options, at, usage};
use crate::failure::{Code, Failure};
use fruit_record::body::Operator;
use fruit_record::{Draft, FleetId, KeyId, Labels, Role, Selector, Signature};
use fruit_release::keys::passphrase::{NoAnswer, ask};
use fruit_release::keys::{
    Entry, Held, KeyError, KeyFileError, KeyStore, Passphrase, SecretKey, public_half, read_public_line,
};
use fruit_release::tuf::PublicKey;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a key file.
const LIMIT: u64 = 64 << 10;

/// Signs with the keys of a fleet's folder, and of files that were named.
pub struct Signer<'o> {
    options: &'o Options,
    store: KeyStore,
    /// Files that were named, by the key that is in them.
    files: Vec<(KeyId, PathBuf)>,
    /// What was asked for, by key: a program that goes on asks once.
    asked: RefCell<BTreeMap<String, Passphrase>>,
}

impl<'o> Signer<'o> {
    pub fn new(store: &KeyStore, options: &'o Options) -> Result<Signer<'o>, Failure> {
        let mut files = Vec::new();
        for path in &options.key_files {
            let public = public_half(&file(path, LIMIT)?).map_err(|why| in_file(path, &why))?;
            files.extend(public.as_ed25519().map(|key| (KeyId(*key), path.clone())));
        }
        Ok(Signer { options, store: store.clone(), files, asked: RefCell::default() })
    }

    /// Whether a key can sign.
    pub fn has(&self, opened: &Opened, key: &KeyId) -> bool {
        self.files.iter().any(|(of, _)| of == key) || opened.is_at_hand(key)
    }

    /// The operators who sign: those who were named, or the only one whose key is at hand.
    pub fn operators(&self, opened: &Opened) -> Result<Vec<Operator>, Failure> {
        let operators = self.named_or_here(opened)?;
        let now = super::now();
        match operators.iter().find(|operator| operator.expires != 0 && operator.expires < now) {
            None => Ok(operators),
            Some(Operator { name, expires, .. }) => {
                let message = format!(
                    "{name} expired on {}: nothing that {name} signs counts. Whoever has the root keys changes that with \
                     `fruitctl operator add {name} --expires TIME`",
                    super::shown(*expires)
                );
                Err(Failure::new(Code::Untrusted, message))
            }
        }
    }

    fn named_or_here(&self, opened: &Opened) -> Result<Vec<Operator>, Failure> {
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

    /// Operators with a role whose keys are here, as far as `--as` names them, at `now`.
    pub fn able(&self, opened: &Opened, role: Role, now: u64) -> Vec<Operator> {
        let able = |operator: &&Operator| {
            let ended = operator.expires != 0 && operator.expires < now;
            self.options.means(&operator.name) && operator.roles.have(role) && !ended && self.has(opened, &operator.key)
        };
        opened.charter().operators.iter().filter(able).cloned().collect()
    }

    /// The signature of a key over a message.
    pub fn sign_message(&self, message: &[u8], key: KeyId) -> Result<Option<Signature>, Failure> {
        let signed = self.collect_messages(&[message.to_vec()], &[key], |done| done.contains(&key))?;
        Ok(signed.into_iter().flatten().next())
    }

    /// Asks for a passphrase, or gives the one that was asked for before.
    fn passphrase(&self, what: &str) -> Result<Passphrase, NoAnswer> {
        if let Some(known) = self.asked.borrow().get(what) {
            return Ok(known.clone());
        }
        let given = ask(self.options.passphrase_file(), what, false)?;
        self.asked.borrow_mut().insert(what.to_owned(), given.clone());
        Ok(given)
    }

    /// Signs drafts with these keys, as far as they are at hand. A passphrase is asked for once.
    pub fn sign(&self, fleet: &FleetId, drafts: &[Draft], keys: &[KeyId]) -> Result<Vec<Vec<u8>>, Failure> {
        self.sign_enough(fleet, drafts, keys, keys.len() as u64)
    }

    /// As [`Signer::sign`], until `enough` keys have signed.
    pub fn sign_enough(
        &self,
        fleet: &FleetId,
        drafts: &[Draft],
        keys: &[KeyId],
        enough: u64,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let signed = self.collect(fleet, drafts, keys, |done| done.len() as u64 >= enough)?;
        Ok(drafts.iter().zip(signed).map(|(draft, signatures)| draft.signed(signatures)).collect())
    }

    /// Signatures on each draft, of one key after the other until those that have signed are enough. A key that fails is in the
    /// way only if it is needed.
    pub fn collect(
        &self,
        fleet: &FleetId,
        drafts: &[Draft],
        keys: &[KeyId],
        enough: impl Fn(&BTreeSet<KeyId>) -> bool,
    ) -> Result<Vec<Vec<Signature>>, Failure> {
        let messages: Vec<Vec<u8>> = drafts.iter().map(|draft| draft.message(fleet)).collect();
        self.collect_messages(&messages, keys, enough)
    }

    fn collect_messages(
        &self,
        messages: &[Vec<u8>],
        keys: &[KeyId],
        enough: impl Fn(&BTreeSet<KeyId>) -> bool,
    ) -> Result<Vec<Vec<Signature>>, Failure> {
        let mut trouble = None;
        let mut unlock = |entry: &Entry| {
            self.passphrase(&format!("key {}", entry.name)).map_err(|why| {
                trouble = Some(why);
                KeyError::NoPassphrase
            })
        };
        let mut signed: Vec<Vec<Signature>> = vec![Vec::new(); messages.len()];
        let (mut done, mut failed) = (BTreeSet::new(), None);
        {
            let mut signer = self.store.signer(&mut unlock);
            for key in keys {
                if enough(&done) {
                    break;
                }
                match self.by_key(&mut signer, messages, *key) {
                    Ok(Some(signatures)) => {
                        done.insert(*key);
                        signed.iter_mut().zip(signatures).for_each(|(all, one)| all.push(one));
                    }
                    Ok(None) => {}
                    Err(failure) => failed = failed.or(Some(failure)),
                }
            }
        }
        match (trouble, failed) {
            _ if enough(&done) => Ok(signed),
            (Some(why), _) => Err(Failure::new(Code::Refused, why.to_string())),
            (None, Some(failure)) => Err(failure),
            (None, None) => Ok(signed),
        }
    }

    /// Signatures of one key, if it is at hand.
    fn by_key(
        &self,
        signer: &mut impl fruit_release::keys::Signer,
        messages: &[Vec<u8>],
        key: KeyId,
    ) -> Result<Option<Vec<Signature>>, Failure> {
        let Some(public) = PublicKey::ed25519(&key.0) else { return Ok(None) };
        let file = self.files.iter().find(|(of, _)| *of == key).map(|(_, path)| path);
        let entry = self.store.entries().iter().find(|entry| entry.public == public && entry.held == Held::File);
        match (file, entry) {
            (Some(path), _) => self.note_mode(path),
            (None, Some(entry)) => self.note_mode(&self.store.key_file(entry)),
            (None, None) => {}
        }
        let secret = file.map(|path| self.open(path)).transpose()?;
        let mut signatures = Vec::new();
        for message in messages {
            let bytes = match &secret {
                Some(secret) => Some(secret.sign(message)),
                None => signer.sign(&public, message)?,
            };
            let Some(bytes) = bytes else { return Ok(None) };
            signatures.push(Signature { key, bytes });
        }
        Ok(Some(signatures))
    }

    /// Says so if others can read a key file. It signs all the same: a stick with FAT knows no rights.
    fn note_mode(&self, path: &Path) {
        let mode = std::fs::metadata(path).map_or(0, |found| found.permissions().mode() & 0o777);
        if mode & 0o077 != 0 {
            self.options.say(format_args!(
                "note: {}: others can read this key (mode {mode:o}); `chmod 600` keeps them out",
                path.display()
            ));
        }
    }

    fn open(&self, path: &Path) -> Result<SecretKey, Failure> {
        let text = file(path, LIMIT)?;
        let passphrase = match SecretKey::is_encrypted(&text).map_err(|why| in_file(path, &why))? {
            false => None,
            true => {
                let what = format!("key {}", path.display());
                let asked = self.passphrase(&what);
                Some(asked.map_err(|why| Failure::new(Code::Refused, why.to_string()))?)
            }
        };
        SecretKey::from_openssh(&text, passphrase.as_ref()).map_err(|why| in_file(path, &why))
    }
}

fn in_file(path: &Path, why: &KeyFileError) -> Failure {
    Failure::new(Code::Refused, format!("{}: {why}", path.display()))
}

/// A public key, as a line or in a file.
pub fn public_key(text: &str) -> Result<KeyId, Failure> {
    let line = match text.starts_with("ssh-") {
        true => text.to_owned(),
        false => std::fs::read_to_string(text).map_err(at(Path::new(text)))?,
    };
    let public = read_public_line(line.trim()).and_then(|key| key.as_ed25519().copied());
    public.map(KeyId).ok_or_else(|| usage(format!("{text}: no public key of the form `ssh-ed25519 AAAA…`")))
}

/// Whether all of these operators may sign for a domain.
pub fn cover(operators: &[Operator], domain: &Labels) -> bool {
    let domain = Selector::labels(domain.clone());
    operators.iter().all(|operator| domain.is_within(&operator.scope))
}

/// `anna: all; berta: site=berlin`
pub fn scopes(operators: &[Operator]) -> String {
    let each: Vec<String> = operators.iter().map(|operator| format!("{}: {}", operator.name, operator.scope)).collect();
    each.join("; ")
}

/// The domains in which these operators can sign: the whole fleet, if their scope is, or the parts that they have in common.
pub fn domains(operators: &[Operator]) -> Vec<Labels> {
    if cover(operators, &Labels::default()) {
        return vec![Labels::default()];
    }
    let parts = operators.iter().flat_map(|operator| operator.scope.alternatives());
    fruit_record::wire::sorted(parts.filter(|part| cover(operators, part)).cloned())
}

/// The domain in which these operators can sign about a node with these labels.
pub fn domain(operators: &[Operator], labels: &Labels) -> Result<Labels, Failure> {
    let fitting = domains(operators).into_iter().find(|part| labels.contain(part));
    fitting.ok_or_else(|| {
        let who = scopes(operators);
        let labels = if labels.is_empty() { "no labels".to_owned() } else { labels.to_string() };
        let message = format!("a node with {labels} is outside the scope of who signs ({who})");
        Failure::new(Code::Untrusted, message)
    })
}
