//! `fruitctl node pending`: requests that wait for an operator, in the fleet's folder.

use crate::failure::{Failure, Failures};
use crate::fleet::{Opened, Options, at, candidates, file, now, usage};
use crate::output::print;
use crate::table::{self, plain};
use clap::Args;
use clap_complete::engine::CompletionCandidate;
use fruit_base::{Replace, replace_with};
use fruit_record::{Request, Verified, limits, words};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Requests of a fleet's folder.
const FOLDER: &str = "requests";
/// How many of them wait at most.
const MOST: usize = 4096;

#[derive(Args)]
pub struct PendingArgs {
    /// Files with requests, which are taken and wait here from now on.
    files: Vec<PathBuf>,
}

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

/// What a shell offers: words.
pub fn candidates() -> Vec<CompletionCandidate> {
    let Some(opened) = candidates::opened() else { return Vec::new() };
    let all = requests(&opened).unwrap_or_default();
    candidates::candidates(all.into_iter().map(|pending| (pending.words(), pending.request.name.clone())))
}

/// Puts a request into the fleet's folder.
fn keep(opened: &Opened, path: &Path) -> Result<(), Failure> {
    let bytes = file(path, limits::REQUEST as u64)?;
    let request = opened.replica.verify_request(&bytes).map_err(|why| Failure::from(why).at(&path.display()))?;
    let folder = opened.folder.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    let kept = folder.join(format!("{}.request", request.node));
    if !kept.exists() && std::fs::read_dir(&folder).map_err(at(&folder))?.count() >= MOST {
        return Err(usage(format!(
            "{}: {MOST} requests wait already; approve some, or remove files",
            folder.display()
        )));
    }
    replace_with(&kept, &bytes, Replace { mode: 0o600, durable: true }).map_err(at(&kept))
}

impl PendingArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let opened = if self.files.is_empty() { Opened::read(options)? } else { Opened::change(options)? };
        let mut failures = Failures::default();
        for path in &self.files {
            if let Err(failure) = keep(&opened, path) {
                failures.take(failure);
            }
        }
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for pending in requests(&opened)? {
            let request = &pending.request;
            if opened.replica.is_member(&request.node) {
                continue;
            }
            let labels = match request.invite().body() {
                fruit_record::Body::Invite(grant) => grant.labels.to_string(),
                _ => String::new(),
            };
            let refused = opened.replica.admit(request, Some(now())).err().map(|why| why.to_string());
            let words = pending.words();
            values.push(json!({
                "name": request.name,
                "id": request.node.to_string(),
                "words": words,
                "serial": request.serial,
                "board": request.board,
                "labels": labels,
                "invite": request.invite().id().map(|id| id.to_string()),
                "refused": refused,
            }));
            let (name, serial) = (request.name.clone(), request.serial.clone());
            let cells =
                [name, request.node.short(), words, serial, request.board.clone(), labels, refused.unwrap_or_default()];
            rows.push(cells.map(plain).into());
        }
        if options.json {
            print(format_args!("{:#}", Value::from(values)));
        } else {
            let head = ["node", "id", "words", "serial", "board", "labels", "cannot be approved"];
            print(format_args!("{}", table::render(&head, &rows, false).trim_end()));
        }
        failures.finish()
    }
}
