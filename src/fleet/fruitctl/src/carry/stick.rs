//! The folder that is carried.
//!
//! ```text
//! fruit-fleet/FLEET/records.0 records.1        all records, in two copies with a checksum: one of them is whole at any moment
//! fruit-fleet/FLEET/requests/NODE.request      nodes that wait for an operator
//! fruit-fleet/FLEET/releases/ID/…              repositories, as `fruitbuild publish` writes them
//! fruit-fleet/FLEET/unfinished                 while something is written
//! ```
//! Nothing below `fruit-fleet` is a link: who made one would have files of this machine read, or written over.

use super::not_plain;
use crate::failure::{Code, Failure};
use crate::fleet::{Opened, Options, at};
use fruit_base::{Replace, Sha256, replace_with};
use fruit_peer::state::Copies;
use fruit_record::{FleetId, KeyId, Replica, limits};
use fruit_release::keys::read_bounded;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const TOP: &str = "fruit-fleet";
const RECORDS: &str = "records";
const REQUESTS: &str = "requests";
const RELEASES: &str = "releases";
const UNFINISHED: &str = "unfinished";
/// Requests that are looked at.
const MOST: usize = 4096;

pub struct Stick {
    folder: PathBuf,
    fleet: FleetId,
    records: Copies,
    found: Option<Vec<u8>>,
    was_cut: bool,
}

/// A folder, made if need be.
pub fn make(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(not_plain(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir(path).map_err(at(path)),
        Err(error) => Err(at(path)(error)),
    }
}

/// Whether there is a plain file; a failure if there is anything else of that name.
pub fn is_file(path: &Path) -> Result<bool, Failure> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(true),
        Ok(_) => Err(not_plain(path)),
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => Ok(false),
        Err(error) => Err(at(path)(error)),
    }
}

/// Whether there is a folder of this name.
pub fn is_repository(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

impl Stick {
    /// Opens the folder of this fleet on it, made if need be.
    pub fn open(stick: &Path, opened: &Opened) -> Result<Stick, Failure> {
        let fleet = opened.id();
        let top = stick.join(TOP);
        let folder = top.join(fleet.short());
        for path in [&top, &folder, &folder.join(REQUESTS), &folder.join(RELEASES)] {
            make(path)?;
        }
        for copy in [0, 1] {
            is_file(&folder.join(format!("{RECORDS}.{copy}")))?;
        }
        let (records, found) =
            Copies::open(&folder, RECORDS, 0o644).map_err(|error| Failure::new(Code::Refused, error.to_string()))?;
        let unfinished = folder.join(UNFINISHED);
        let was_cut = is_file(&unfinished)?;
        replace_with(&unfinished, b"", Replace { mode: 0o644, durable: true }).map_err(at(&unfinished))?;
        Ok(Stick { folder, fleet, records, found, was_cut })
    }

    /// Whether it was pulled out while something was written.
    pub fn was_cut(&self) -> bool {
        self.was_cut
    }

    /// What counts of the records on it.
    pub fn replica(&self, options: &Options) -> Result<Option<Replica>, Failure> {
        let Some(bytes) = &self.found else { return Ok(None) };
        let loaded = Replica::load(self.fleet, bytes);
        let (replica, refused) = loaded
            .map_err(|why| Failure::new(Code::Untrusted, format!("{}: {why}", self.folder.join(RECORDS).display())))?;
        if !refused.is_empty() {
            options.say(format_args!("note: {} records on the stick do not count", refused.len()));
        }
        Ok(Some(replica))
    }

    pub fn keep(&mut self, replica: &Replica) -> Result<(), Failure> {
        let written = self.records.write(&replica.pack());
        written.map_err(|error| Failure::new(Code::Refused, error.to_string()))
    }

    /// Requests on it: nobody has looked at them.
    pub fn requests(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let folder = self.folder.join(REQUESTS);
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(at(&folder))?.take(MOST) {
            let path = entry.map_err(at(&folder))?.path();
            if path.extension().is_some_and(|ending| ending == "request") && is_file(&path)? {
                // One that is too long is none.
                found.extend(read_bounded(&path, limits::REQUEST as u64).ok().flatten());
            }
        }
        Ok(found)
    }

    pub fn keep_request(&self, node: &KeyId, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.folder.join(REQUESTS).join(format!("{node}.request"));
        let is_there = |here: Vec<u8>| here == bytes;
        if is_file(&path)? && read_bounded(&path, limits::REQUEST as u64).ok().flatten().is_some_and(is_there) {
            return Ok(());
        }
        replace_with(&path, bytes, Replace { mode: 0o644, durable: true }).map_err(at(&path))
    }

    /// Where a repository is on it.
    pub fn repository(&self, id: &Sha256) -> PathBuf {
        self.folder.join(RELEASES).join(id.to_string())
    }

    /// All of it is written.
    pub fn close(self) -> Result<(), Failure> {
        let unfinished = self.folder.join(UNFINISHED);
        fs::remove_file(&unfinished).map_err(at(&unfinished))?;
        fs::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at(&self.folder))
    }
}
