//! What a node keeps: its key, and the fleet's records.
//!
//! Each is in two copies, two files. A write goes to the one that is not the newest valid, and whatever a power cut leaves of it,
//! the other copy stands.
//!
//! ```text
//! copy   "fruit copy 1\n" · u64 sequence · u64 length · u32 CRC of all of it but these four bytes · content
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use fruit_base::{AtPath, Replace, replace_with};
use fruit_contract::crc32::crc32;
use fruit_contract::peer::config::CHARTERS;
use fruit_record::{FleetId, Replica};
use rustix::rand::{GetRandomFlags, getrandom};

const MAGIC: &[u8; 13] = b"fruit copy 1\n";
const HEAD: usize = MAGIC.len() + 8 + 8 + 4;
/// Bytes of the longest content: all that a replica may hold.
const LIMIT: u64 = 256 << 20;

/// Two copies of a content.
#[derive(Debug)]
pub struct Copies {
    paths: [PathBuf; 2],
    mode: u32,
    sequence: u64,
    /// The copy that the next write goes to.
    next: usize,
}

fn read(path: &Path) -> io::Result<Option<(u64, Vec<u8>)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(LIMIT + HEAD as u64 + 1).read_to_end(&mut bytes)?;
    Ok(decode(&bytes))
}

fn decode(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (crc, content) = rest.split_first_chunk()?;
    let whole = u64::from_be_bytes(*length) == content.len() as u64;
    let checked = [&sequence[..], length, content].concat();
    (whole && crc32(&checked) == u32::from_be_bytes(*crc)).then(|| (u64::from_be_bytes(*sequence), content.to_vec()))
}

fn encode(sequence: u64, content: &[u8]) -> Vec<u8> {
    let (sequence, length) = (sequence.to_be_bytes(), (content.len() as u64).to_be_bytes());
    let crc = crc32(&[&sequence[..], &length, content].concat()).to_be_bytes();
    [MAGIC, &sequence[..], &length, &crc, content].concat()
}

impl Copies {
    /// Opens `NAME.0` and `NAME.1` in `folder`, and reads the newest content that is whole.
    ///
    /// # Errors
    /// A copy is there but cannot be read. (A copy that is damaged is no error.)
    pub fn open(folder: &Path, name: &str, mode: u32) -> io::Result<(Copies, Option<Vec<u8>>)> {
        let paths = [0, 1].map(|number| folder.join(format!("{name}.{number}")));
        let mut copies = Copies { paths, mode, sequence: 0, next: 0 };
        let mut content = None;
        for at in [0, 1] {
            let found = read(&copies.paths[at]).at(&copies.paths[at])?;
            if let Some((sequence, found)) =
                found.filter(|(sequence, _)| content.is_none() || *sequence > copies.sequence)
            {
                (content, copies.sequence, copies.next) = (Some(found), sequence, 1 - at);
            }
        }
        Ok((copies, content))
    }

    /// Writes the content and waits until it is on the disk.
    ///
    /// # Errors
    /// Those of the file system, with the path; the newest copy before stands.
    pub fn write(&mut self, content: &[u8]) -> io::Result<()> {
        let path = &self.paths[self.next];
        let bytes = encode(self.sequence + 1, content);
        let written = || {
            let is_new = !fs::exists(path)?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(self.mode).open(path)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            match path.parent().filter(|_| is_new) {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        written().at(path)?;
        self.sequence += 1;
        self.next = 1 - self.next;
        Ok(())
    }
}

/// Key and records of a node in their folder.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    records: Copies,
    kept_charters: usize,
}

/// A new key.
///
/// # Errors
/// The kernel has no random numbers.
pub fn new_key() -> io::Result<SigningKey> {
    let mut seed = [0; 32];
    let mut filled = 0;
    while filled < seed.len() {
        filled += getrandom(&mut seed[filled..], GetRandomFlags::empty())?;
    }
    Ok(SigningKey::from_bytes(&seed))
}

/// The key in `folder`, which is made if there is none.
///
/// # Errors
/// Those of the file system. A new key is not used unless it is on the disk: the node would be another one after each start.
pub fn key(folder: &Path) -> io::Result<SigningKey> {
    fs::create_dir_all(folder).at(folder)?;
    let (mut copies, found) = Copies::open(folder, "key", 0o600)?;
    if let Some(seed) = found.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        return Ok(SigningKey::from_bytes(&seed));
    }
    let key = new_key()?;
    // Both copies: the key is written once, and read for years.
    copies.write(key.as_bytes())?;
    copies.write(key.as_bytes())?;
    Ok(key)
}

impl Store {
    /// Opens the records of `fleet` in `folder`: what counts of them. Records of another fleet are left alone until something
    /// is written.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(folder: &Path, fleet: FleetId) -> io::Result<(Store, Option<Replica>)> {
        fs::create_dir_all(folder).at(folder)?;
        let (records, found) = Copies::open(folder, "records", 0o644)?;
        let replica = found.and_then(|bytes| Replica::load(fleet, &bytes).ok()).map(|(replica, _)| replica);
        Ok((Store { folder: folder.to_owned(), records, kept_charters: 0 }, replica))
    }

    /// Keeps a replica, and its charters one by one for other programs of the node.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep(&mut self, replica: &Replica) -> io::Result<()> {
        self.records.write(&replica.pack())?;
        let folder = self.folder.join(CHARTERS);
        fs::create_dir_all(&folder).at(&folder)?;
        let charters = replica.trust().charters();
        for (at, charter) in charters.iter().enumerate() {
            let path = folder.join(format!("{}.record", at + 1));
            let bytes = charter.encode();
            // A row may have been left for another one.
            if fs::read(&path).ok().as_ref() != Some(&bytes) {
                replace_with(&path, &bytes, Replace { mode: 0o644, durable: true }).at(&path)?;
            }
        }
        for at in charters.len()..self.kept_charters {
            let _ = fs::remove_file(folder.join(format!("{}.record", at + 1)));
        }
        self.kept_charters = charters.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_copy_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Copies::open(folder.path(), "x", 0o600).unwrap();
        assert_eq!(open().1, None);
        let mut copies = open().0;
        for content in [&b"one"[..], b"two", b"three"] {
            copies.write(content).unwrap();
            assert_eq!(open().1.as_deref(), Some(content));
        }
        let newest = folder.path().join("x.0");
        let whole = fs::read(&newest).unwrap();
        for cut in 0..whole.len() {
            fs::write(&newest, &whole[..cut]).unwrap();
            assert_eq!(open().1.as_deref(), Some(&b"two"[..]), "cut at {cut}");
            let mut turned = whole.clone();
            turned[cut] ^= 0x10;
            fs::write(&newest, turned).unwrap();
            assert_eq!(open().1.as_deref(), Some(&b"two"[..]), "turned at {cut}");
        }
        // And goes on from there.
        let mut copies = open().0;
        copies.write(b"four").unwrap();
        assert_eq!(open().1.as_deref(), Some(&b"four"[..]));
    }

    #[test]
    fn a_key_is_made_once_and_survives_the_loss_of_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let made = key(folder.path()).unwrap();
        assert_eq!(key(folder.path()).unwrap().as_bytes(), made.as_bytes());
        fs::write(folder.path().join("key.1"), "").unwrap();
        assert_eq!(key(folder.path()).unwrap().as_bytes(), made.as_bytes());
        fs::remove_file(folder.path().join("key.0")).unwrap();
        assert_ne!(key(folder.path()).unwrap().as_bytes(), made.as_bytes());
    }
}
