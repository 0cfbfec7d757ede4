//! Requests of nodes that wait for an operator, in the fleet's folder.

use super::opened::file;
use super::{Opened, at, usage};
use crate::failure::Failure;
use fruit_base::{Replace, replace_with};
use fruit_record::{Request, Verified, limits, words};
use std::io::ErrorKind;
use std::path::PathBuf;

/// Requests of a fleet's folder.
const FOLDER: &str = "requests";
/// How many of them wait at most.
const MOST: usize = 4096;

/// A request that waits.
pub struct Pending {
    pub request: Verified<Request>,
    path: PathBuf,
}

impl Pending {
    /// Whether a person means it: by its words, name, id, or 8 digits of the id or more.
    pub fn is(&self, text: &str) -> bool {
        let id = self.request.node.to_string();
        let word = text.trim().to_lowercase().replace(' ', "-");
        (!self.request.name.is_empty() && self.request.name == text)
            || (text.len() >= 8 && id.starts_with(text))
            || word == self.words()
    }

    /// What the node shows on its screen.
    pub fn words(&self) -> String {
        words(&self.request.node).join("-")
    }

    /// As the node has made it.
    pub fn bytes(&self) -> Result<Vec<u8>, Failure> {
        file(&self.path, limits::REQUEST as u64)
    }

    /// It waits no longer.
    pub fn drop(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What waits in the fleet's folder and is still signed as it must be, by name.
pub fn requests(opened: &Opened) -> Result<Vec<Pending>, Failure> {
    let folder = opened.folder.join(FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(at(&folder))?,
    };
    let mut all = Vec::new();
    for entry in entries.take(MOST) {
        let path = entry.map_err(at(&folder))?.path();
        let Ok(bytes) = file(&path, limits::REQUEST as u64) else { continue };
        // An invite whose operator was removed since is none.
        let Ok(request) = opened.replica.verify_request(&bytes) else { continue };
        all.push(Pending { request, path });
    }
    all.sort_by(|a, b| (&a.request.name, a.request.node).cmp(&(&b.request.name, b.request.node)));
    Ok(all)
}

/// Puts a request into the fleet's folder; whether it was not there.
pub fn keep(opened: &Opened, bytes: &[u8]) -> Result<bool, Failure> {
    let request = opened.replica.verify_request(bytes).map_err(Failure::from)?;
    let folder = opened.folder.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    let kept = folder.join(format!("{}.request", request.node));
    if file(&kept, limits::REQUEST as u64).is_ok_and(|here| here == bytes) {
        return Ok(false);
    }
    if !kept.exists() && std::fs::read_dir(&folder).map_err(at(&folder))?.count() >= MOST {
        return Err(usage(format!(
            "{}: {MOST} requests wait already; approve some, or remove files",
            folder.display()
        )));
    }
    replace_with(&kept, bytes, Replace { mode: 0o600, durable: true }).map_err(at(&kept))?;
    Ok(true)
}
