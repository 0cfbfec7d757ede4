//! What the daemon is about, for `fruit-update status`: a file in RAM.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where the file is.
pub const REPORT_PATH: &str = "/run/fruit/update/daemon.json";
/// Most bytes of it that are read.
const MAX: u64 = 64 << 10;

/// The daemon in a few sentences.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// What it does now.
    pub doing: String,
    /// Why the configuration in force is not the file's.
    pub config_error: Option<String>,
    /// A release that was found and is not installed yet.
    pub available: Option<String>,
    /// What keeps it from installing or restarting.
    pub waits_for: Vec<String>,
    /// Seconds since 1970, as far as the node knows.
    pub last_check: Option<u64>,
    pub next_check: Option<u64>,
    /// What the last look at the sources came to.
    pub last_result: Option<String>,
}

impl Report {
    /// The report of the daemon that runs, if one does.
    pub fn read(path: &Path) -> Option<Report> {
        let meta = fs::metadata(path).ok()?;
        if meta.len() > MAX {
            return None;
        }
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Puts this one in the place of the last.
    ///
    /// # Errors
    /// Write errors.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fruit_base::replace_volatile(path, &json)
    }
}
