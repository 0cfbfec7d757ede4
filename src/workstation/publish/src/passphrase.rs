//! Passphrases of release keys.

use std::path::PathBuf;

use fruit_release::keys::Passphrase;
use fruit_release::keys::passphrase::{self, NoAnswer};

use crate::error::Error;

/// Names the file, for machines that sign.
pub const VARIABLE: &str = "FRUITBUILD_PASSPHRASE_FILE";

/// The passphrase for `what`, from `file`, the file of the environment, or the terminal. A new one is asked for twice.
///
/// # Errors
/// A file that cannot be read or is empty; no terminal; two different answers.
pub fn ask(file: Option<PathBuf>, what: &str, new: bool) -> Result<Passphrase, Error> {
    let file = file.or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
    passphrase::ask(file, what, new).map_err(|why| match why {
        NoAnswer::File(error) => error.into(),
        NoAnswer::EmptyFile(_) | NoAnswer::Terminal(_) => Error::other(why.to_string()),
        NoAnswer::NoTerminal(_) | NoAnswer::Nothing | NoAnswer::Different => Error::refused(why.to_string()),
    })
}
