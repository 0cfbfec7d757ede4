//! Questions to a program of the node behind its local socket, as far as they need HTTP: one request per connection.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Time to hand over the question.
const REQUEST_TIME: Duration = Duration::from_secs(3);
/// Time without a byte of the answer.
const ANSWER_TIME: Duration = Duration::from_secs(6);

/// Asks `program` behind its `socket`; the body of its answer.
///
/// # Errors
/// The program is not there, does not answer in time, or refuses.
pub fn ask(program: &str, socket: &Path, method: &str, path: &str) -> io::Result<String> {
    let explain = |error: io::Error| {
        let remedy = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                format!("; is {program} running? (systemctl status {program})")
            }
            _ => String::new(),
        };
        io::Error::new(error.kind(), format!("{}: {error}{remedy}", socket.display()))
    };
    let exchange = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        stream.set_write_timeout(Some(REQUEST_TIME))?;
        stream.write_all(format!("{method} {path} HTTP/1.1\r\nHost: {program}\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(explain)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{}: {}", socket.display(), body.trim()))),
    }
}
