//! A repository on disk: `metadata/` and `targets/` in its folder, which any web server can serve, and the drafts in
//! the key folder, which none should.
//!
//! A draft belongs to one repository, and follows what was published there when it was made: `drafts/ID/` of the key folder
//! is that repository's, and its `repository.json` says which one that is. Beside a copy of the repository, or another one
//! with the same keys, it is not seen.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fruit_base::AtPath;
use serde::{Deserialize, Serialize};

use super::KeyError;
use super::file::{read_bounded, remove, write_atomically};
use super::repository::{Published, Repository};
use super::signing::Signed;
use crate::folder::Folder;
use crate::name::Name;
use crate::source::Source;
use crate::tuf::metadata::Metadata;
use crate::tuf::signed::Envelope;
use crate::tuf::{Role, Snapshot, Timestamp, limits};

/// The drafts' folder in the key folder.
pub const DRAFTS: &str = "drafts";
/// Of whom the drafts beside it are.
const BINDING: &str = "repository.json";
/// Signed files that are being written, while there is a new root among them.
const UNFINISHED: &str = "unfinished.json";
/// Bytes of either: four metadata files.
const RECORD_MAX: u64 = 8 << 20;

#[derive(Serialize, Deserialize)]
struct Binding {
    /// Absolute path.
    repository: PathBuf,
    /// SHA-256 of the published targets that the drafts follow; none before the first.
    targets: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Unfinished {
    /// Name below the repository, and text.
    files: Vec<(String, String)>,
}

/// The folder of a repository's drafts in a key folder.
///
/// # Errors
/// The present folder cannot be found.
pub fn draft_folder(keys: &Path, repository: &Path) -> Result<PathBuf, KeyError> {
    let place = place_of(repository)?;
    let id = crate::Digest::of(place.as_os_str().as_encoded_bytes()).to_string();
    Ok(keys.join(DRAFTS).join(&id[..16]))
}

/// Where a repository is: one path, however it is named. It need not be there yet.
fn place_of(repository: &Path) -> Result<PathBuf, KeyError> {
    match fs::canonicalize(repository) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(std::path::absolute(repository).at(repository)?),
        found => Ok(found.at(repository)?),
    }
}

fn targets_digest(targets: Option<&[u8]>) -> Option<String> {
    targets.map(|bytes| crate::Digest::of(bytes).to_string())
}

/// Repositories that have drafts in a key folder.
///
/// # Errors
/// A folder that cannot be read.
pub fn repositories_with_drafts(keys: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let folder = keys.join(DRAFTS);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.at(&folder)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.at(&folder)?.path().join(BINDING);
        found.extend(read_record::<Binding>(&path)?.map(|binding| binding.repository));
    }
    found.sort();
    Ok(found)
}

fn read_record<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, KeyError> {
    if path.parent().is_some_and(|folder| !folder.is_dir()) {
        return Ok(None);
    }
    let Some(bytes) = read_bounded(path, RECORD_MAX)? else { return Ok(None) };
    let wrong = |error: serde_json::Error| KeyError::File { path: path.to_owned(), why: error.to_string() };
    serde_json::from_slice(&bytes).map(Some).map_err(wrong)
}

fn write_record<T: Serialize>(path: &Path, record: &T) -> Result<(), KeyError> {
    let wrong = |error: serde_json::Error| KeyError::File { path: path.to_owned(), why: error.to_string() };
    write_atomically(path, &serde_json::to_vec_pretty(record).map_err(wrong)?)
}

impl Repository {
    /// Reads the repository in `folder`, and the drafts in `keys`.
    ///
    /// # Errors
    /// Files that cannot be read; a root or targets that are not signed as they must be.
    pub fn read(folder: &Path, keys: &Path) -> Result<Repository, KeyError> {
        let published = if folder.is_dir() { published(&mut Folder::new(folder))? } else { Published::default() };
        let drafts_in = draft_folder(keys, folder)?;
        let binding = read_record::<Binding>(&drafts_in.join(BINDING))?;
        let binding = binding.filter(|binding| place_of(folder).is_ok_and(|place| place == binding.repository));
        let mut drafts = Vec::new();
        let mut void = Vec::new();
        if let Some(binding) = binding {
            let follows = binding.targets == targets_digest(published.targets.as_deref());
            for role in Role::TOP {
                let Some(bytes) = read_bounded(&draft_path(&drafts_in, &role), limits::TARGETS as u64)? else {
                    continue;
                };
                if follows || role == Role::Root { drafts.push(bytes) } else { void.push(bytes) }
            }
        }
        let mut repository = Repository::open(published, drafts)?;
        for bytes in void {
            repository.note_void(&bytes)?;
        }
        Ok(repository)
    }

    /// Writes what was signed into `folder`, each file whole or not at all and in an order that never shows a node less
    /// than before, and then the drafts that are left into `keys`. When a new root is among the files, and with it perhaps
    /// other keys, half of them would be of no use: they are noted first, for [`finish_interrupted`].
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn write(&self, signed: &Signed, folder: &Path, keys: &Path) -> Result<(), KeyError> {
        let unfinished = draft_folder(keys, folder)?.join(UNFINISHED);
        let has_root = signed.files.iter().any(|(name, _)| name.ends_with(".root.json"));
        if has_root {
            let text = |(name, bytes): &(String, Vec<u8>)| (name.clone(), String::from_utf8_lossy(bytes).into_owned());
            write_record(&unfinished, &Unfinished { files: signed.files.iter().map(text).collect() })?;
        }
        for (name, bytes) in &signed.files {
            write_atomically(&folder.join(name), bytes)?;
        }
        self.write_drafts(folder, keys)?;
        if has_root { forget(&unfinished) } else { Ok(()) }
    }

    /// Writes the drafts alone.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn write_drafts(&self, folder: &Path, keys: &Path) -> Result<(), KeyError> {
        let drafts_in = draft_folder(keys, folder)?;
        if self.drafts().next().is_some() {
            let targets = targets_digest(self.targets.as_ref().map(|document| document.bytes.as_slice()));
            write_record(&drafts_in.join(BINDING), &Binding { repository: place_of(folder)?, targets })?;
        }
        for role in Role::TOP {
            let path = draft_path(&drafts_in, &role);
            match self.drafts().find(|draft| draft.role() == &role) {
                Some(draft) => write_atomically(&path, &draft.to_bytes())?,
                None => remove(&path)?,
            }
        }
        if self.drafts().next().is_none() {
            forget(&drafts_in.join(BINDING))?;
        }
        Ok(())
    }
}

/// What is published in a repository.
fn published(store: &mut Folder) -> Result<Published, KeyError> {
    // Of a larger version there is no file by name.
    let number = |version: u64| u32::try_from(version).unwrap_or(u32::MAX);
    let mut get = |name: Name| store.get(&name, name.limit());
    let mut published = Published::default();
    while let Some(root) = get(Name::Root(number(published.roots.len() as u64 + 1)))? {
        published.roots.push(root);
    }
    published.timestamp = get(Name::Timestamp)?;
    if let Some(bytes) = &published.timestamp {
        let timestamp: Timestamp = Envelope::parse(&Role::Timestamp, bytes, Timestamp::LIMIT)?.read()?;
        published.snapshot = get(Name::Snapshot(number(timestamp.snapshot.version)))?;
    }
    if let Some(bytes) = &published.snapshot {
        let snapshot: Snapshot = Envelope::parse(&Role::Snapshot, bytes, Snapshot::LIMIT)?.read()?;
        if let Some(file) = snapshot.meta.get("targets.json") {
            published.targets = get(Name::Targets(number(file.version)))?;
        }
    }
    Ok(published)
}

/// Removes a file, and its folder if it was the last one there.
fn forget(path: &Path) -> Result<(), KeyError> {
    remove(path)?;
    if let Some(folder) = path.parent() {
        // Not empty, or never made: both are as they should be.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// Removes the drafts of a repository, of some roles or all, whatever is in them.
///
/// # Errors
/// Files that cannot be removed.
pub fn discard_drafts(folder: &Path, keys: &Path, roles: &[Role]) -> Result<(), KeyError> {
    let drafts_in = draft_folder(keys, folder)?;
    for role in roles {
        remove(&draft_path(&drafts_in, role))?;
    }
    if Role::TOP.iter().any(|role| draft_path(&drafts_in, role).exists()) {
        return Ok(());
    }
    forget(&drafts_in.join(BINDING))
}

/// Writes what a command that was interrupted had signed and begun to write. Says what that was. The repository must be
/// locked.
///
/// # Errors
/// Files that cannot be written; a note that is damaged.
pub fn finish_interrupted(folder: &Path, keys: &Path) -> Result<Vec<String>, KeyError> {
    let path = draft_folder(keys, folder)?.join(UNFINISHED);
    let Some(unfinished) = read_record::<Unfinished>(&path)? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for (name, text) in unfinished.files {
        if !name.parse::<crate::Name>().is_ok_and(|name| name.is_metadata()) {
            return Err(KeyError::File { path, why: format!("{name:?} is no metadata file") });
        }
        write_atomically(&folder.join(&name), text.as_bytes())?;
        names.push(name);
    }
    forget(&path)?;
    Ok(names)
}

fn draft_path(drafts_in: &Path, role: &Role) -> PathBuf {
    drafts_in.join(format!("{}.json", role.name()))
}
