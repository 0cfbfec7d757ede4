//! The key folder: `keys.json` says which keys there are and where each is held; `NAME.key` and `NAME.pub` are those
//! that are held here, in OpenSSH's formats.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fruit_base::PathError;
use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::file::{read_bounded, write_atomically, write_secret};
use super::secret::{self, KeyFileError, Passphrase, SecretKey};
use super::{KeyError, Signer};
use crate::tuf::{KeyId, PublicKey, Root};

const INDEX: &str = "keys.json";
/// Bytes of a key file or of the index.
const LIMIT: u64 = 256 << 10;

/// Where a key is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    /// In `NAME.key` of the folder.
    File,
    /// In ssh-agent, perhaps on a token.
    Agent,
    /// Out of reach: what it has to sign is exported, and its signatures are imported.
    Elsewhere,
}

/// A key that the folder knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub name: String,
    pub public: PublicKey,
    pub id: KeyId,
    pub held: Held,
}

#[derive(Serialize, Deserialize)]
struct Index {
    keys: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    public: String,
    held: Held,
    /// For readers: what counts is the root.
    #[serde(default)]
    roles: Vec<String>,
}

/// A folder of keys.
#[derive(Clone, Debug)]
pub struct KeyStore {
    folder: PathBuf,
    entries: Vec<Entry>,
    /// Names of the keys that were made since it was opened.
    made: Vec<String>,
}

/// Asks for the passphrase of a key.
pub type Unlock<'a> = dyn FnMut(&Entry) -> Result<Passphrase, KeyError> + 'a;

impl KeyStore {
    /// A folder that does not exist yet is an empty one.
    ///
    /// # Errors
    /// An index that cannot be read.
    pub fn open(folder: &Path) -> Result<KeyStore, KeyError> {
        let path = folder.join(INDEX);
        let wrong = |why: String| KeyError::File { path: path.clone(), why };
        let Some(bytes) = read_bounded(&path, LIMIT)? else {
            return Ok(KeyStore { folder: folder.to_owned(), entries: Vec::new(), made: Vec::new() });
        };
        let index: Index = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut store = KeyStore { folder: folder.to_owned(), entries: Vec::new(), made: Vec::new() };
        for line in index.keys {
            let public = secret::from_line(&line.public)
                .ok_or_else(|| wrong(format!("the public key of {:?} is no ssh-ed25519 line", line.name)))?;
            store.insert(&line.name, public, line.held).map_err(|error| wrong(error.to_string()))?;
        }
        Ok(store)
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// # Errors
    /// [`KeyError::UnknownKey`].
    pub fn entry(&self, name: &str) -> Result<&Entry, KeyError> {
        let found = self.entries.iter().find(|entry| entry.name == name || entry.id.as_str() == name);
        found.ok_or_else(|| KeyError::UnknownKey(name.to_owned()))
    }

    /// The file of a key that is held here.
    #[must_use]
    pub fn key_file(&self, entry: &Entry) -> PathBuf {
        self.folder.join(format!("{}.key", entry.name))
    }

    /// The key's name here, or the beginning of its id.
    #[must_use]
    pub fn name_of(&self, id: &KeyId) -> String {
        let entry = self.entries.iter().find(|entry| &entry.id == id);
        entry.map_or_else(|| id.as_str().chars().take(12).collect(), |entry| entry.name.clone())
    }

    fn insert(&mut self, name: &str, public: PublicKey, held: Held) -> Result<&Entry, KeyError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(KeyError::KeyName(name.to_owned()));
        }
        let id = public.id().ok_or_else(|| KeyError::KeyName(name.to_owned()))?;
        if self.entries.iter().any(|entry| entry.name == name || entry.id == id) {
            return Err(KeyError::KeyExists(name.to_owned()));
        }
        self.entries.push(Entry { name: name.to_owned(), public, id, held });
        Ok(&self.entries[self.entries.len() - 1])
    }

    /// Makes a key in a file that `passphrase` opens. The folder is made if needed, readable for its owner only.
    ///
    /// # Errors
    /// An empty passphrase, a name that is taken, a folder that cannot be written.
    pub fn make(&mut self, name: &str, passphrase: &Passphrase) -> Result<&Entry, KeyError> {
        if passphrase.is_empty() {
            return Err(KeyError::NoPassphrase);
        }
        let path = self.folder.join(format!("{name}.key"));
        // One that the index does not know: somebody has put it there, or a killed command was about to note it.
        if path.symlink_metadata().is_ok() && !self.entries.iter().any(|entry| entry.name == name) {
            let why = "it is there already, and the index of this folder does not know it: move it away".into();
            return Err(KeyError::File { path, why });
        }
        let failed = |error: KeyFileError| match error {
            KeyFileError::Random(why) => KeyError::Random(why),
            other => KeyError::File { path: path.clone(), why: other.to_string() },
        };
        let key = SecretKey::generate().map_err(failed)?;
        let text = key.to_openssh(name, passphrase).map_err(failed)?;
        self.insert(name, key.public(), Held::File)?;
        self.made.push(name.to_owned());
        let line = secret::to_line(&key.public(), name).unwrap_or_default() + "\n";
        let written = write_secret(&path, text.as_bytes())
            .and_then(|()| write_atomically(&self.folder.join(format!("{name}.pub")), line.as_bytes()));
        if let Err(error) = written {
            self.take_back();
            return Err(error);
        }
        self.entry(name)
    }

    /// Removes the keys that were made here and that the index in the folder does not know: nothing is signed with them
    /// yet, and the next command could not make them.
    fn take_back(&mut self) {
        let Ok(saved) = KeyStore::open(&self.folder) else { return };
        for name in std::mem::take(&mut self.made) {
            if saved.entries.iter().any(|entry| entry.name == name) {
                continue;
            }
            for ending in ["key", "pub"] {
                let _ = std::fs::remove_file(self.folder.join(format!("{name}.{ending}")));
            }
            self.entries.retain(|entry| entry.name != name);
        }
    }

    /// Notes a key that is made already: its file is in the folder, an agent holds it, or it is elsewhere. `public` is
    /// an OpenSSH public key line.
    ///
    /// # Errors
    /// A line that is no ed25519 key, a name that is taken.
    pub fn note(&mut self, name: &str, public: &str, held: Held) -> Result<&Entry, KeyError> {
        let key = secret::from_line(public.trim()).ok_or_else(|| KeyError::File {
            path: self.folder.join(format!("{name}.pub")),
            why: "no public key of the form `ssh-ed25519 AAAA…`".into(),
        })?;
        self.insert(name, key, held)
    }

    /// Writes the index, with the roles that `root` gives each key.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, root: Option<&Root>) -> Result<(), KeyError> {
        let roles = |id: &KeyId| {
            let roles = root.iter().flat_map(|root| &root.roles).filter(|(_, keys)| keys.ids.contains(id));
            roles.map(|(role, _)| role.name().to_owned()).collect()
        };
        let keys = self.entries.iter().map(|entry| Line {
            name: entry.name.clone(),
            public: secret::to_line(&entry.public, &entry.name).unwrap_or_default(),
            held: entry.held,
            roles: roles(&entry.id),
        });
        let index = Index { keys: keys.collect() };
        let path = self.folder.join(INDEX);
        let mut bytes = serde_json::to_vec_pretty(&index)
            .map_err(|error| KeyError::File { path: path.clone(), why: error.to_string() })?;
        bytes.push(b'\n');
        write_atomically(&path, &bytes)
    }

    /// Signs with the keys of this folder; `unlock` is asked once for each passphrase that is not known yet.
    pub fn signer<'s>(&'s self, unlock: &'s mut Unlock<'s>) -> impl Signer + 's {
        StoreSigner { store: self, unlock, unlocked: Vec::new(), passphrases: Vec::new(), agent: None }
    }
}

struct StoreSigner<'s> {
    store: &'s KeyStore,
    unlock: &'s mut Unlock<'s>,
    unlocked: Vec<(KeyId, SecretKey)>,
    /// Several keys often have one passphrase.
    passphrases: Vec<Passphrase>,
    agent: Option<Agent>,
}

impl StoreSigner<'_> {
    fn secret(&mut self, entry: &Entry) -> Result<&SecretKey, KeyError> {
        let at = match self.unlocked.iter().position(|(id, _)| id == &entry.id) {
            Some(at) => at,
            None => {
                let key = self.read(entry)?;
                self.unlocked.push((entry.id.clone(), key));
                self.unlocked.len() - 1
            }
        };
        Ok(&self.unlocked[at].1)
    }

    fn read(&mut self, entry: &Entry) -> Result<SecretKey, KeyError> {
        let path = self.store.key_file(entry);
        let failed = |error: KeyFileError| match error {
            KeyFileError::Passphrase => KeyError::Passphrase { path: path.clone() },
            other => KeyError::File { path: path.clone(), why: other.to_string() },
        };
        let missing = || PathError::new(&path, ErrorKind::NotFound);
        let text = zeroize::Zeroizing::new(read_bounded(&path, LIMIT)?.ok_or_else(missing)?);
        let key = if SecretKey::is_encrypted(&text).map_err(failed)? {
            let known = self.passphrases.iter().find_map(|known| SecretKey::from_openssh(&text, Some(known)).ok());
            match known {
                Some(key) => key,
                None => {
                    let passphrase = (self.unlock)(entry)?;
                    let key = SecretKey::from_openssh(&text, Some(&passphrase)).map_err(failed)?;
                    self.passphrases.push(passphrase);
                    key
                }
            }
        } else {
            SecretKey::from_openssh(&text, None).map_err(failed)?
        };
        if key.public() != entry.public {
            return Err(KeyError::File { path, why: "it is another key than keys.json says".into() });
        }
        Ok(key)
    }
}

impl Signer for StoreSigner<'_> {
    fn sign(&mut self, key: &PublicKey, message: &[u8]) -> Result<Option<[u8; 64]>, KeyError> {
        let Some(entry) = self.store.entries.iter().find(|entry| &entry.public == key).cloned() else {
            return Ok(None);
        };
        match entry.held {
            Held::Elsewhere => Ok(None),
            // Others may be enough, and one of them is needed to put another key in its place.
            Held::File if !self.store.key_file(&entry).exists() => Ok(None),
            Held::File => Ok(Some(self.secret(&entry)?.sign(message))),
            Held::Agent => {
                let name = |error| match error {
                    KeyError::Agent(why) => KeyError::Agent(format!("for the key {:?}: {why}", entry.name)),
                    other => other,
                };
                let agent = match self.agent.take() {
                    Some(agent) => agent,
                    None => Agent::from_environment().map_err(name)?,
                };
                self.agent.insert(agent).sign(key, message).map(Some).map_err(name)
            }
        }
    }
}
