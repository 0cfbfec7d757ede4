//! A running emulator with its serial console under our hands: everything it prints is kept with the second it came,
//! and text can be awaited and answered.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::bound;

/// A guest that prints more than this is out of control: its console counts as closed.
const KEEP: usize = 8 << 20;

#[derive(thiserror::Error, Debug)]
pub enum ConsoleError {
    #[error("cannot start {program}: {error}; is it installed? (Debian: {package})")]
    Start { program: String, package: String, error: io::Error },
    #[error("waited {seconds:.0} s for {wanted:?} on the console; the last it printed:\n{tail}")]
    Timeout { wanted: String, seconds: f64, tail: String },
    #[error("the emulator ended while waiting for {wanted:?}; the last it printed:\n{tail}")]
    Ended { wanted: String, tail: String },
    #[error("console: {0}")]
    Io(#[from] io::Error),
}

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    /// Where each chunk began, with the time since start.
    times: Vec<(usize, Duration)>,
    closed: bool,
}

/// Ends the emulator when dropped.
pub struct Console {
    child: Child,
    input: ChildStdin,
    received: Arc<(Mutex<Received>, Condvar)>,
    /// Bytes before this were consumed by an earlier [`Console::expect`].
    seen: usize,
    started: Instant,
}

impl Console {
    /// Starts `command`, whose standard input and output are the guest's console.
    /// `package` is named when the program is missing. The emulator ends with this program, however that ends.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(mut command: Command, package: &str) -> Result<Console, ConsoleError> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = bound::spawn(command).map_err(|error| ConsoleError::Start {
            program,
            package: package.to_owned(),
            error,
        })?;
        let started = Instant::now();
        let (Some(input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes to the emulator").into());
        };
        let received = Arc::new((Mutex::new(Received::default()), Condvar::new()));
        let shared = Arc::clone(&received);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = output.read(&mut buffer).unwrap_or(0);
                let (lock, changed) = &*shared;
                let Ok(mut received) = lock.lock() else { return };
                if count == 0 || received.bytes.len() > KEEP {
                    received.closed = true;
                } else {
                    let at = received.bytes.len();
                    received.times.push((at, started.elapsed()));
                    received.bytes.extend_from_slice(&buffer[..count]);
                }
                changed.notify_all();
                if received.closed {
                    return;
                }
            }
        });
        Ok(Console { child, input, received, seen: 0, started })
    }

    /// Waits until the guest printed `wanted` after what was awaited before, and returns what came until there, the
    /// text itself included.
    ///
    /// # Errors
    /// Nothing such within `patience`, or the emulator ended.
    pub fn expect(&mut self, wanted: &str, patience: Duration) -> Result<String, ConsoleError> {
        self.expect_any(&[wanted], patience).map(|(_, text)| text)
    }

    /// As [`Console::expect`], for the first of several texts; also returns which.
    ///
    /// # Errors
    /// As [`Console::expect`].
    pub fn expect_any(&mut self, wanted: &[&str], patience: Duration) -> Result<(usize, String), ConsoleError> {
        let until = Instant::now() + patience;
        let (lock, changed) = &*self.received;
        let mut received = lock.lock().map_err(|_| io::Error::other("console reader failed"))?;
        loop {
            let fresh = &received.bytes[self.seen..];
            let hit = wanted
                .iter()
                .enumerate()
                .filter_map(|(which, text)| Some((find(fresh, text.as_bytes())? + text.len(), which)))
                .min();
            if let Some((end, which)) = hit {
                let text = String::from_utf8_lossy(&fresh[..end]).into_owned();
                self.seen += end;
                return Ok((which, text));
            }
            let wanted = wanted.join("\" or \"");
            if received.closed {
                return Err(ConsoleError::Ended { wanted, tail: tail(&received.bytes) });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ConsoleError::Timeout {
                    wanted,
                    seconds: patience.as_secs_f64(),
                    tail: tail(&received.bytes),
                });
            }
            received = changed.wait_timeout(received, left).map_err(|_| io::Error::other("console reader failed"))?.0;
        }
    }

    /// Types `text` (add `\n` for Enter).
    ///
    /// # Errors
    /// The emulator is gone.
    pub fn send(&mut self, text: &str) -> Result<(), ConsoleError> {
        self.input.write_all(text.as_bytes())?;
        self.input.flush()?;
        Ok(())
    }

    /// Types a shell command and returns what it printed; the guest must be at a shell prompt.
    ///
    /// # Errors
    /// As [`Console::expect`].
    pub fn run(&mut self, command: &str, patience: Duration) -> Result<String, ConsoleError> {
        // The marks are split in what is typed, so that the terminal's echo is not taken for the answer.
        self.send(&format!("echo fruit''-begin; {command}; echo fruit''-end=$?\n"))?;
        self.expect("fruit-begin\r\n", patience)?;
        let text = self.expect("fruit-end=", patience)?;
        self.expect("\n", patience)?;
        Ok(text.trim_end_matches("fruit-end=").replace('\r', ""))
    }

    /// All that was printed so far.
    pub fn text(&self) -> String {
        self.received.0.lock().map(|r| String::from_utf8_lossy(&r.bytes).into_owned()).unwrap_or_default()
    }

    /// Seconds from the start of the emulator to the first appearance of `text`.
    pub fn second_of(&self, text: &str) -> Option<f64> {
        let received = self.received.0.lock().ok()?;
        let at = find(&received.bytes, text.as_bytes())?;
        let chunk = received.times.partition_point(|(start, _)| *start <= at);
        received.times.get(chunk.checked_sub(1)?).map(|(_, time)| time.as_secs_f64())
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for the emulator to end by itself, as after a power-off in the guest.
    ///
    /// # Errors
    /// It still runs after `patience`.
    pub fn wait_end(&mut self, patience: Duration) -> Result<(), ConsoleError> {
        let until = Instant::now() + patience;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                return Err(ConsoleError::Timeout {
                    wanted: "the end of the emulator".to_owned(),
                    seconds: patience.as_secs_f64(),
                    tail: tail(self.text().as_bytes()),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Cuts the power: the emulator ends at once, as with `kill -9`.
    ///
    /// # Errors
    /// Those of `kill(2)` and `wait(2)`.
    pub fn cut_power(&mut self) -> Result<(), ConsoleError> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len().max(1)).position(|window| window == needle)
}

fn tail(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(3000)..]).into_owned()
}
