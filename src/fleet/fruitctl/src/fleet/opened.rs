//! A fleet's folder, opened.

use super::folder::{ID, KEYS, RECORDS, fleet_id, lock};
use super::{Options, at, usage};
use crate::failure::{Code, Failure};
use fruit_base::{Replace, replace_with};
use fruit_record::body::{Charter, Member, Operator};
use fruit_record::wire::Malformed;
use fruit_record::{Body, Class, FleetId, KeyId, Outcome, Record, Refused, Replica};
use fruit_release::keys::{Entry, Held, KeyStore, read_bounded};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Bytes of the largest file of records.
pub const LIMIT: u64 = 64 << 20;
/// Records that are left out of a file, and said: a hostile one may have millions.
const SAID: usize = 10;

/// The records and keys of a fleet.
pub struct Opened {
    pub folder: PathBuf,
    pub replica: Replica,
    pub store: KeyStore,
    /// Whether there are records that only a newer program knows.
    newer: bool,
    _lock: Option<File>,
}

impl Opened {
    /// To be read.
    pub fn read(options: &Options) -> Result<Opened, Failure> {
        Opened::at(&options.folder()?)
    }

    /// In this folder.
    pub fn at(folder: &Path) -> Result<Opened, Failure> {
        let store = KeyStore::open(&folder.join(KEYS))?;
        let (replica, refused) = load(&folder.join(RECORDS), Some(fleet_id(&folder.join(ID))?))?;
        let newer = refused.iter().any(|why| matches!(why, Refused::Malformed(Malformed::Newer { .. })));
        Ok(Opened { replica, newer, store, folder: folder.to_owned(), _lock: None })
    }

    /// To be changed: waits for its turn.
    pub fn change(options: &Options) -> Result<Opened, Failure> {
        let lock = lock(&options.folder()?, options)?;
        let opened = Opened::read(options)?;
        opened.whole()?;
        Ok(Opened { _lock: Some(lock), ..opened })
    }

    /// Refuses what would lose records that only a newer program knows.
    pub fn whole(&self) -> Result<(), Failure> {
        if !self.newer {
            return Ok(());
        }
        let message = format!(
            "{}: a newer fruitctl has written records that this one does not know, and would lose: use the newer one",
            self.folder.display()
        );
        Err(Failure::new(Code::Refused, message))
    }

    /// Writes the records.
    pub fn save(&self) -> Result<(), Failure> {
        write(&self.folder.join(RECORDS), &self.replica)
    }

    /// Takes a record that was signed here.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self.replica.offer(bytes)? {
            Outcome::New => Ok(()),
            Outcome::Known | Outcome::Older => {
                Err(Failure::new(Code::Refused, "a record like this is there already, and counts before this one"))
            }
        }
    }

    pub fn id(&self) -> FleetId {
        self.replica.trust().fleet()
    }

    pub fn charter(&self) -> &Charter {
        self.replica.trust().charter()
    }

    /// The entry of the key folder for a key.
    pub fn entry(&self, key: &KeyId) -> Option<&Entry> {
        self.store.entries().iter().find(|entry| entry.public.as_ed25519() == Some(&key.0))
    }

    /// Whether a key can sign here.
    pub fn is_at_hand(&self, key: &KeyId) -> bool {
        self.entry(key).is_some_and(|entry| match entry.held {
            Held::File => self.store.key_file(entry).exists(),
            Held::Agent => true,
            Held::Elsewhere => false,
        })
    }

    /// How people know a key: the name of its operator or of its file, or the beginning of its digits.
    pub fn name_of(&self, key: &KeyId) -> String {
        let operator = self.charter().operators.iter().find(|operator| operator.key == *key);
        let name = operator.map(|operator| operator.name.clone());
        name.or_else(|| self.entry(key).map(|entry| entry.name.clone())).unwrap_or_else(|| key.short())
    }

    pub fn operator(&self, name: &str) -> Result<&Operator, Failure> {
        self.charter().operator(name).ok_or_else(|| {
            let names: Vec<&str> = self.charter().operators.iter().map(|operator| operator.name.as_str()).collect();
            usage(format!("{name:?} is no operator of this fleet; there are {}", names.join(", ")))
        })
    }

    /// A member by its name, its id, or the first 8 digits or more of it.
    pub fn member_named(&self, text: &str) -> Result<KeyId, Failure> {
        let is =
            |id: &KeyId, member: &Member| member.name == text || (text.len() >= 8 && id.to_string().starts_with(text));
        let nodes = self.nodes();
        let found = nodes.iter().filter(|(id, _, member)| is(id, member) && self.replica.is_member(id));
        let mut found: Vec<KeyId> = found.map(|(id, ..)| *id).collect();
        found.dedup();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(usage(format!("{text:?} is no member of this fleet (`fruitctl node list`)"))),
            _ => Err(usage(format!("{text:?} means several nodes; name one by its id"))),
        }
    }

    /// Nodes with what is signed about them, revoked ones included, by name.
    pub fn nodes(&self) -> Vec<(KeyId, &Record, &Member)> {
        let members = self.replica.of_class(Class::Member).filter_map(|record| match (record.id(), record.body()) {
            (Some(id), Body::Member(member)) => Some((id, &**record, member)),
            _ => None,
        });
        let mut nodes: Vec<_> = members.collect();
        nodes.sort_by(|a, b| (&a.2.name, a.0).cmp(&(&b.2.name, b.0)));
        nodes
    }
}

/// Reads a file of records: of this fleet, or of the one that its first charter makes.
/// Says which records are left out, and returns why.
pub fn load(path: &Path, fleet: Option<FleetId>) -> Result<(Replica, Vec<Refused>), Failure> {
    let in_file = |error: Refused| {
        let code = if matches!(error, Refused::Malformed(_)) { Code::Refused } else { Code::Untrusted };
        Failure::new(code, format!("{}: {error}", path.display()))
    };
    let bytes = file(path, LIMIT)?;
    let fleet = match fleet {
        Some(fleet) => fleet,
        None => {
            let records = Replica::unpack(&bytes).map_err(|error| in_file(error.into()))?;
            let first = records.first().copied().unwrap_or_default();
            Record::parse(first).map_err(|error| in_file(error.into()))?.fleet()
        }
    };
    let (replica, refused) = Replica::load(fleet, &bytes).map_err(in_file)?;
    left_out(path, &refused);
    Ok((replica, refused))
}

/// Says what is left out of the records of a file.
pub fn left_out(path: &Path, refused: &[Refused]) {
    for why in refused.iter().take(SAID) {
        crate::output::talk(format_args!("fruitctl: {}: a record is left out: {why}", path.display()));
    }
    if refused.len() > SAID {
        crate::output::talk(format_args!("fruitctl: {}: and {} more", path.display(), refused.len() - SAID));
    }
}

/// The bytes of a file that has at most `limit`.
pub fn file(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let found = read_bounded(path, limit)?;
    found.ok_or_else(|| usage(format!("{}: there is no such file", path.display())))
}

pub fn write(path: &Path, replica: &Replica) -> Result<(), Failure> {
    let bytes = replica.pack();
    if bytes.len() as u64 > LIMIT {
        let message = format!("{}: the records have {} bytes, and {LIMIT} are read", path.display(), bytes.len());
        return Err(Failure::new(Code::Refused, message));
    }
    // What a link leads to, such as a file in a folder that is synchronised.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    replace_with(&target, &bytes, Replace { mode: 0o644, durable: true }).map_err(at(path))
}
