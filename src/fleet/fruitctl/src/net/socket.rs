//! The local socket of `fruitctl serve`, in the fleet's folder: what it says of itself, for other commands of the same person.
//!
//! ```text
//! question   one line: `status`, or `holders`
//! answer     JSON, until the connection ends
//! ```

use fruit_contract::peer::status::Status;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOCKET: &str = "serve.sock";
/// Time for either side.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a question, and of an answer.
const QUESTION: u64 = 64;
const ANSWER: u64 = 16 << 20;

pub fn path(folder: &Path) -> PathBuf {
    folder.join(SOCKET)
}

/// Listens; what a killed command left goes away. Whoever calls this has locked the network's file.
pub fn listen(folder: &Path) -> io::Result<UnixListener> {
    let path = path(folder);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

/// Answers one question.
pub fn answer(stream: &UnixStream, answer: impl FnOnce(&str) -> Option<String>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = String::new();
    BufReader::new(stream.take(QUESTION)).read_line(&mut question)?;
    let mut stream = stream;
    stream.write_all(answer(question.trim()).unwrap_or_default().as_bytes())
}

/// What `fruitctl serve` answers, if it runs.
pub fn ask(folder: &Path, question: &str) -> Option<String> {
    let mut stream = UnixStream::connect(path(folder)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("{question}\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

/// Its status, if it runs.
pub fn status(folder: &Path) -> Option<Status> {
    serde_json::from_str(&ask(folder, "status")?).ok()
}
