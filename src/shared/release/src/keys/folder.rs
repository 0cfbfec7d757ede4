//! A repository on disk: `metadata/` and `targets/` in its folder, which any web server can serve, and the drafts in
//! the key folder, which none should.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::KeyError;
use super::repository::{Published, Repository};
use super::signing::Signed;
use crate::tuf::metadata::Metadata;
use crate::tuf::signed::Envelope;
use crate::tuf::{Role, Snapshot, Timestamp, limits};

/// The drafts' folder in the key folder.
pub const DRAFTS: &str = "drafts";

impl Repository {
    /// Reads the repository in `folder`, and the drafts in `keys`.
    ///
    /// # Errors
    /// Files that cannot be read; a root or targets that are not signed as they must be.
    pub fn read(folder: &Path, keys: &Path) -> Result<Repository, KeyError> {
        let metadata = folder.join("metadata");
        let mut published = Published::default();
        while let Some(root) =
            read_bounded(&metadata.join(format!("{}.root.json", published.roots.len() + 1)), limits::ROOT as u64)?
        {
            published.roots.push(root);
        }
        published.timestamp = read_bounded(&metadata.join("timestamp.json"), limits::TIMESTAMP as u64)?;
        if let Some(bytes) = &published.timestamp {
            let timestamp: Timestamp = Envelope::parse(&Role::Timestamp, bytes, Timestamp::LIMIT)?.read()?;
            let name = format!("{}.snapshot.json", timestamp.snapshot.version);
            published.snapshot = read_bounded(&metadata.join(name), limits::SNAPSHOT as u64)?;
        }
        if let Some(bytes) = &published.snapshot {
            let snapshot: Snapshot = Envelope::parse(&Role::Snapshot, bytes, Snapshot::LIMIT)?.read()?;
            if let Some(file) = snapshot.meta.get("targets.json") {
                let name = format!("{}.targets.json", file.version);
                published.targets = read_bounded(&metadata.join(name), limits::TARGETS as u64)?;
            }
        }
        let mut drafts = Vec::new();
        for role in Role::TOP {
            drafts.extend(read_bounded(&draft_path(keys, &role), limits::TARGETS as u64)?);
        }
        Repository::open(published, drafts)
    }

    /// Writes what was signed into `folder`, each file whole or not at all and in an order that never shows a node less
    /// than before, and then the drafts that are left into `keys`.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn write(&self, signed: &Signed, folder: &Path, keys: &Path) -> Result<(), KeyError> {
        for (name, bytes) in &signed.files {
            write_atomically(&folder.join(name), bytes)?;
        }
        self.write_drafts(keys)
    }

    /// Writes the drafts alone.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn write_drafts(&self, keys: &Path) -> Result<(), KeyError> {
        for role in Role::TOP {
            let path = draft_path(keys, &role);
            match self.drafts().find(|draft| draft.role() == &role) {
                Some(draft) => write_atomically(&path, &draft.to_bytes())?,
                None => super::store::remove(&path)?,
            }
        }
        Ok(())
    }
}

fn draft_path(keys: &Path, role: &Role) -> std::path::PathBuf {
    keys.join(DRAFTS).join(format!("{}.json", role.name()))
}

/// A file of at most `limit` bytes; `None` if it is not there.
pub(super) fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, KeyError> {
    let failed = |error| KeyError::Io { path: path.to_owned(), error };
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(KeyError::File { path: path.to_owned(), why: format!("more than {limit} bytes") });
    }
    Ok(Some(bytes))
}

/// Puts a file in place so that at any moment, also after a power cut, it is the old one or the new one. Its folder is
/// made if needed.
///
/// # Errors
/// Those of the file system.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    place(path, bytes, 0o644, 0o755)
}

/// As [`write_atomically`], for the owner's eyes only.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    place(path, bytes, 0o600, 0o700)
}

fn place(path: &Path, bytes: &[u8], mode: u32, folder_mode: u32) -> Result<(), KeyError> {
    let failed = |error| KeyError::Io { path: path.to_owned(), error };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(folder_mode).create(folder).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        // Left over from a process of the same number that was killed.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.map_err(failed)
}
