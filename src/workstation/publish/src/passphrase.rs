//! Passphrases of keys: from a file, or from the person at the terminal, without showing them. Never from the command
//! line, which others can read.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;

use fruit_release::keys::Passphrase;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::{Error, at};

/// Names the file, for machines that sign.
pub const VARIABLE: &str = "FRUITBUILD_PASSPHRASE_FILE";
/// Bytes of the longest passphrase.
const LIMIT: u64 = 4096;

/// The passphrase for `what`. A new one is asked for twice.
///
/// # Errors
/// A file that cannot be read or is empty; no terminal; two different answers.
pub fn ask(file: Option<PathBuf>, what: &str, new: bool) -> Result<Passphrase, Error> {
    if let Some(path) = file.or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from)) {
        let opened = File::open(&path).map_err(at(&path))?;
        let line = first_line(BufReader::new(opened.take(LIMIT))).map_err(at(&path))?;
        if line.is_empty() {
            return Err(Error::other(format!("{}: there is no passphrase in the first line", path.display())));
        }
        return Ok(line);
    }
    if !std::io::stdin().is_terminal() {
        let message = format!("no passphrase for {what}: there is no terminal; name a file with --passphrase-file");
        return Err(Error::refused(message));
    }
    let typed = prompt(&format!("Passphrase for {what}: "))?;
    if typed.is_empty() {
        return Err(Error::refused("no passphrase"));
    }
    if new && prompt("The same again: ")? != typed {
        return Err(Error::refused("the two passphrases differ"));
    }
    Ok(typed)
}

/// Without its end. The text goes into the passphrase as it is read, so no other copy of it is left in memory.
fn first_line(mut input: impl BufRead) -> std::io::Result<Passphrase> {
    let mut line = String::with_capacity(LIMIT as usize);
    input.read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\n', '\r']).len());
    Ok(Passphrase::new(line))
}

fn prompt(question: &str) -> Result<Passphrase, Error> {
    let failed = |error: std::io::Error| Error::other(format!("the terminal: {error}"));
    let terminal = File::options().read(true).write(true).open("/dev/tty").map_err(failed)?;
    let before = tcgetattr(&terminal).map_err(|error| failed(error.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(|error| failed(error.into()))?;
    let asked = (|| {
        (&terminal).write_all(question.as_bytes())?;
        let line = first_line(BufReader::new((&terminal).take(LIMIT)));
        (&terminal).write_all(b"\n")?;
        line
    })();
    tcsetattr(&terminal, OptionalActions::Flush, &before).map_err(|error| failed(error.into()))?;
    asked.map_err(failed)
}
