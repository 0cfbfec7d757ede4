//! Two copies of the record in two files. A write goes to the one that is not the newest valid, in place, so that it
//! needs no room on a full disk, and whatever a power cut leaves of it, the other copy stands.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fruit_base::AtPath;

use super::Account;
use super::record::{self, SIZE};

/// Names of the copies.
pub const COPIES: [&str; 2] = ["account.0", "account.1"];

/// The two copies in their folder.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    sequence: u32,
    /// The copy that the next write goes to.
    next: usize,
}

fn read(path: &Path) -> io::Result<Option<(Account, u32)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::with_capacity(SIZE + 1);
    // One byte more than a record tells a longer file.
    file.take(SIZE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(record::decode(&bytes))
}

impl Store {
    /// Opens the store and reads the newest account; an empty one if there is none.
    ///
    /// # Errors
    /// A copy is there but cannot be read, with its path. (A copy that is damaged is no error.)
    pub fn open(folder: &Path) -> io::Result<(Store, Account)> {
        let mut store = Store { folder: folder.to_owned(), sequence: 0, next: 0 };
        let mut account = Account::default();
        for (index, name) in COPIES.iter().enumerate() {
            let path = folder.join(name);
            if let Some((found, sequence)) = read(&path).at(&path)? {
                // Sequence numbers wrap: the newer of two is the one that is ahead by less than half the circle.
                if account.boots == 0 || sequence.wrapping_sub(store.sequence) < u32::MAX / 2 {
                    (account, store.sequence, store.next) = (found, sequence, 1 - index);
                }
            }
        }
        Ok((store, account))
    }

    /// Writes the account and waits until it is on the disk.
    ///
    /// # Errors
    /// Those of the file system, with the path; the newest copy before stands.
    pub fn write(&mut self, account: &Account) -> io::Result<()> {
        let path = self.folder.join(COPIES[self.next]);
        let sequence = self.sequence.wrapping_add(1);
        let record = record::encode(account, sequence);
        self.write_copy(&path, &record).at(&path)?;
        self.sequence = sequence;
        self.next = 1 - self.next;
        Ok(())
    }

    fn write_copy(&self, path: &Path, record: &[u8; SIZE]) -> io::Result<()> {
        let is_new = !fs::exists(path)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(path)?;
        file.write_all_at(record, 0)?;
        if file.metadata()?.len() != SIZE as u64 {
            file.set_len(SIZE as u64)?;
        }
        file.sync_all()?;
        if is_new {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }
}
