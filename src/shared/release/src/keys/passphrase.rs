//! Passphrases of keys: from a file, or from the person at the terminal, without showing them. Never from the command
//! line, which others can read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;

use fruit_base::{AtPath, PathError};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::Passphrase;

/// Bytes of the longest passphrase.
const LIMIT: u64 = 4096;

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error(transparent)]
    File(#[from] PathError),
    #[error("{}: there is no passphrase in the first line", .0.display())]
    EmptyFile(PathBuf),
    #[error("the terminal: {0}")]
    Terminal(io::Error),
    #[error("no passphrase for {0}: there is no terminal; name a file with --passphrase-file")]
    NoTerminal(String),
    #[error("no passphrase")]
    Nothing,
    #[error("the two passphrases differ")]
    Different,
}

/// The passphrase for `what`: the first line of `file` or, if none is named, what the person at the terminal types. A new one is
/// asked for twice.
///
/// # Errors
/// A file that cannot be read or is empty; no terminal; two different answers.
pub fn ask(file: Option<PathBuf>, what: &str, new: bool) -> Result<Passphrase, NoAnswer> {
    if let Some(path) = file {
        let read = File::open(&path).and_then(|opened| first_line(BufReader::new(opened.take(LIMIT))));
        let line = read.at(&path)?;
        return if line.is_empty() { Err(NoAnswer::EmptyFile(path)) } else { Ok(line) };
    }
    if !io::stdin().is_terminal() {
        return Err(NoAnswer::NoTerminal(what.to_owned()));
    }
    let typed = prompt(&format!("Passphrase for {what}: "))?;
    if typed.is_empty() {
        return Err(NoAnswer::Nothing);
    }
    if new && prompt("The same again: ")? != typed {
        return Err(NoAnswer::Different);
    }
    Ok(typed)
}

/// Without its end. The text goes into the passphrase as it is read, so no other copy of it is left in memory.
fn first_line(mut input: impl BufRead) -> io::Result<Passphrase> {
    let mut line = String::with_capacity(LIMIT as usize);
    input.read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\n', '\r']).len());
    Ok(Passphrase::new(line))
}

fn prompt(question: &str) -> Result<Passphrase, NoAnswer> {
    let failed = NoAnswer::Terminal;
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
