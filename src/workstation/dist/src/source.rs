//! The repository that this program was built from, and the commit that a release is made of.

use std::path::{Path, PathBuf};
use std::process::Command;

use fruit_base::AtPath;
use fruitbuild::failure::Failure;

/// Top of the repository.
///
/// # Errors
/// It is gone.
pub fn top() -> Result<PathBuf, Failure> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    Ok(top.canonicalize().at(&top)?)
}

/// What a release is made of.
pub struct Source {
    /// Top of the repository.
    pub top: PathBuf,
    /// Version of the workspace: `0.1.0`.
    pub version: String,
    /// First 12 digits of the commit; `-modified` follows when tracked files differ from it.
    pub commit: String,
    /// Day of the commit, in UTC: `2026-11-28`.
    pub date: String,
    /// Time of the commit, in seconds since 1970, or `SOURCE_DATE_EPOCH`: the time of every file in the release.
    pub epoch: u64,
}

impl Source {
    /// The repository that this program was built from.
    ///
    /// # Errors
    /// It is gone or is no git repository, git is missing, or `SOURCE_DATE_EPOCH` is no number.
    pub fn here() -> Result<Source, Failure> {
        let top = top()?;
        let mut commit = git(&top, &["rev-parse", "--short=12", "HEAD"])?;
        if !git(&top, &["status", "--porcelain", "--untracked-files=no"])?.is_empty() {
            commit.push_str("-modified");
        }
        let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(given) => given,
            Err(_) => git(&top, &["log", "-1", "--format=%ct"])?,
        };
        let epoch = seconds.parse().map_err(|_| {
            Failure::general(format!("SOURCE_DATE_EPOCH={seconds} is not a number of seconds since 1970"))
        })?;
        let date = git(&top, &["log", "-1", "--date=format-local:%Y-%m-%d", "--format=%cd"])?;
        Ok(Source { top, version: env!("CARGO_PKG_VERSION").to_owned(), commit, date, epoch })
    }

    /// Files below `paths` that git tracks, relative to the top: nothing that lies about on the machine gets into a release.
    ///
    /// # Errors
    /// git fails.
    pub fn tracked(&self, paths: &[&str]) -> Result<Vec<String>, Failure> {
        let listed = git(&self.top, &[&["ls-files", "-z", "--"], paths].concat())?;
        Ok(listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
    }
}

fn git(top: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git")
        .current_dir(top)
        .env("TZ", "UTC")
        .args(arguments)
        .output()
        .map_err(|error| Failure::general(format!("cannot run git: {error}; install the package git")))?;
    if !output.status.success() {
        let (said, what) = (String::from_utf8_lossy(&output.stderr), arguments.join(" "));
        return Err(Failure::general(format!("{}: git {what} failed: {}", top.display(), said.trim())));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| Failure::general(format!("git {}: the answer is not UTF-8", arguments.join(" "))))?;
    Ok(text.trim().to_owned())
}
