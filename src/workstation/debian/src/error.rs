//! Everything that can go wrong between a mirror and the file tree, one sentence per case.

use std::io;
use std::path::PathBuf;

use fruit_base::PathError;

use crate::explain::Unsatisfiable;

#[derive(thiserror::Error, Debug)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Path(#[from] PathError),

    /// A text of Debian's (control file, index, Release, apt configuration) that does not follow its format.
    #[error("{file}: {why}")]
    Format { file: String, why: String },

    #[error("{file}: signature not accepted: {why}")]
    Signature { file: String, why: String },

    #[error(
        "{file}: expired: valid until {valid_until}, and the clock of this machine shows {now}; if the repository is a snapshot or is no longer updated, set `check_valid_until: false` for it in the recipe"
    )]
    Expired { file: String, valid_until: String, now: String },

    #[error("{file}: {what}: expected {expected}, found {found}")]
    Mismatch { file: String, what: &'static str, expected: String, found: String },

    #[error("{file}: lists no {wanted}; it has {offered}")]
    NotOffered { file: String, wanted: String, offered: String },

    #[error(
        "no mirror is known for the archive {archive:?}; name one with the mirror option, with FRUITBUILD_MIRROR={archive}=URL, in the user configuration, or in the machine's apt configuration ({apt})"
    )]
    NoMirror { archive: String, apt: String },

    #[error("{origin}: {value:?} is not a mirror: {why}")]
    BadMirror { origin: String, value: String, why: String },

    #[error("{url}: {why}")]
    Fetch { url: String, why: String },

    /// What was fetched cannot be written.
    #[error("{url}: cannot be stored: {source}")]
    Store { url: String, source: io::Error },

    /// The mirror has no such file.
    #[error("{url}: {why}")]
    Missing { url: String, why: String },

    #[error("working offline, and {} not in the store {}: {}; run once without --offline to fetch", count(missing), store.display(), list(missing))]
    Offline { store: PathBuf, missing: Vec<String> },

    #[error(transparent)]
    Unsatisfiable(#[from] Box<Unsatisfiable>),

    #[error("{}: {why}", path.display())]
    Lock { path: PathBuf, why: String },

    /// The archive as a whole is damaged or hostile.
    #[error("{deb}: {why}")]
    Deb { deb: String, why: String },

    /// One entry of the archive is damaged or hostile.
    #[error("{deb}: entry {entry:?}: {why}")]
    Entry { deb: String, entry: String, why: String },

    #[error("/{path}: shipped by both {first} and {second}, and neither declares that it replaces the other")]
    TwoOwners { path: String, first: String, second: String },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn format(file: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Format { file: file.into(), why: why.into() }
    }

    pub(crate) fn deb(deb: &str, why: impl Into<String>) -> Error {
        Error::Deb { deb: deb.to_owned(), why: why.into() }
    }

    pub(crate) fn entry(deb: &str, entry: &str, why: impl Into<String>) -> Error {
        Error::Entry { deb: deb.to_owned(), entry: entry.to_owned(), why: why.into() }
    }
}

fn count(missing: &[String]) -> String {
    match missing {
        [_] => "one file is".to_owned(),
        many => format!("{} files are", many.len()),
    }
}

/// More names than this say nothing more to a person.
const LISTED: usize = 12;

fn list(missing: &[String]) -> String {
    let mut text = missing.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    if missing.len() > LISTED {
        text += &format!(" and {} more", missing.len() - LISTED);
    }
    text
}
