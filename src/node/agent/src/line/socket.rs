//! Lines of a simulated board behind a Unix stream socket, for tests and for containers without GPIO.
//!
//! Each line is a connection of its own. The node opens it with one line of text, `LINE number OUT` or
//! `LINE number IN`, ended by a newline. Then every byte is a level, ASCII `0` or `1`:
//! * `OUT`: the node sends the level that it drives, first the one at which the line starts. When the connection
//!   closes, the node does not drive the line any more (it is an input; a pull of the board decides).
//! * `IN`: the board sends the level at once, and then each change.
//!
//! Other bytes have no meaning and are skipped.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Edge, InputLine, OutputLine};
use crate::clock::{Clock, Monotonic};

/// How long a board may take to say the first level.
const FIRST_LEVEL_WAIT: Duration = Duration::from_secs(1);

/// A line that the node drives.
pub struct Output(UnixStream);

impl Output {
    /// Takes the line, low.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn open(path: &Path, number: u8) -> io::Result<Output> {
        let mut stream = UnixStream::connect(path)?;
        stream.write_all(format!("LINE {number} OUT\n0").as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(Output(stream))
    }
}

impl OutputLine for Output {
    fn set(&mut self, high: bool) -> io::Result<()> {
        (&self.0).write_all(if high { b"1" } else { b"0" })
    }
}

/// A line that the board drives.
pub struct Input {
    stream: UnixStream,
    level: bool,
}

impl Input {
    /// # Errors
    /// Those of the socket; the board says no level in time.
    pub fn open(path: &Path, number: u8) -> io::Result<Input> {
        let mut stream = UnixStream::connect(path)?;
        stream.write_all(format!("LINE {number} IN\n").as_bytes())?;
        stream.set_read_timeout(Some(FIRST_LEVEL_WAIT))?;
        let mut byte = [0u8];
        let level = loop {
            stream.read_exact(&mut byte)?;
            match byte[0] {
                b'0' => break false,
                b'1' => break true,
                _ => {}
            }
        };
        stream.set_nonblocking(true)?;
        Ok(Input { stream, level })
    }
}

impl InputLine for Input {
    fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn edges(&mut self, take: &mut dyn FnMut(Edge, u64)) -> io::Result<()> {
        let mut bytes = [0u8; 64];
        loop {
            let count = match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the board closed the line")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            for byte in &bytes[..count] {
                let level = match byte {
                    b'0' => false,
                    b'1' => true,
                    _ => continue,
                };
                if level != self.level {
                    self.level = level;
                    take(if level { Edge::Rising } else { Edge::Falling }, Monotonic.now());
                }
            }
        }
    }

    fn level(&mut self) -> io::Result<bool> {
        Ok(self.level)
    }
}

/// See [`super::Port::pull_low`].
///
/// # Errors
/// Those of the socket.
pub fn pull_low(path: &Path, number: u8, width: Duration) -> io::Result<()> {
    let line = Output::open(path, number)?;
    std::thread::sleep(width);
    drop(line);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::os::unix::net::UnixListener;

    #[test]
    fn an_output_says_its_number_and_every_level() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board");
        let board = UnixListener::bind(&path).unwrap();
        let mut line = Output::open(&path, 5).unwrap();
        line.set(true).unwrap();
        line.set(false).unwrap();
        drop(line);
        let mut text = String::new();
        board.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "LINE 5 OUT\n010");
    }

    #[test]
    fn an_input_hands_over_changes_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board");
        let board = UnixListener::bind(&path).unwrap();
        let simulated = std::thread::spawn(move || {
            let (mut stream, _) = board.accept().unwrap();
            let mut hello = String::new();
            std::io::BufReader::new(stream.try_clone().unwrap()).read_line(&mut hello).unwrap();
            assert_eq!(hello, "LINE 6 IN\n");
            stream.write_all(b"11x0011").unwrap();
        });
        let mut line = Input::open(&path, 6).unwrap();
        assert!(line.level().unwrap());
        simulated.join().unwrap();
        let mut edges = Vec::new();
        let end = line.edges(&mut |edge, _| edges.push(edge)).unwrap_err();
        assert_eq!(edges, [Edge::Falling, Edge::Rising]);
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
