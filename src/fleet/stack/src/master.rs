//! The master of the bus: one request at a time, its answer, and what to do when there is none.

use crate::command::{Command, Value};
use crate::error_code::ErrorCode;
use crate::frame::{self, AnswerScan, BAUD, BITS_PER_BYTE};
use crate::transport::Transport;
use serde::Serialize;
use std::time::Duration;

/// The times that the master keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the end of a request to the start of its answer at most. The documents say 0.5 s.
    pub answer_within: Duration,
    /// Silence that ends an answer which is not whole. The field's master uses 0.1 s.
    pub silence: Duration,
    /// Between the end of an answer and the next request, so that the board has let go of the line.
    pub turnaround: Duration,
    /// How often a request is sent again.
    pub retries: u32,
    /// Wait before the first repetition; doubled for each further one.
    pub back_off: Duration,
    /// Longest time to wait for a babbling line to fall silent.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_millis(500),
            silence: Duration::from_millis(100),
            turnaround: Duration::from_millis(1),
            retries: 3,
            back_off: Duration::from_millis(20),
            patience: Duration::from_secs(2),
        }
    }
}

/// What the master has seen of the line so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineCounts {
    /// Requests sent, repetitions included.
    pub requests: u64,
    pub retries: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Whole answers, error answers included.
    pub answers: u64,
    pub no_answer: u64,
    pub crc_errors: u64,
    /// Answers cut short by silence, or impossible in themselves.
    pub broken_answers: u64,
    /// Requests that reached the board damaged, as the board says.
    pub damaged_requests: u64,
    /// Bytes that were no part of an answer.
    pub noise_bytes: u64,
}

/// Why a value is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("no answer")]
    NoAnswer,
    #[error("the answer's crc is {found:02X}, its bytes give {expected:02X}")]
    Crc { expected: u8, found: u8 },
    #[error("the answer is cut short or impossible")]
    Broken,
    #[error("the board answers error {0}")]
    Refused(ErrorCode),
    #[error("the hardware version {0} is unknown: say --hardware v2 or v3")]
    Hardware(u8),
    #[error("{port}: {message}")]
    Port { port: String, message: String },
}

impl AskError {
    /// Whether the same request may succeed when it is sent again.
    fn is_passing(&self) -> bool {
        match self {
            Self::NoAnswer | Self::Crc { .. } | Self::Broken => true,
            Self::Refused(code) => code.is_line_error(),
            Self::Hardware(_) | Self::Port { .. } => false,
        }
    }
}

impl Serialize for AskError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The master's end of one bus.
pub struct Master {
    line: Box<dyn Transport>,
    timing: Timing,
    counts: LineCounts,
    /// When the line was last in use.
    used: Duration,
    /// A request was given up on whose answer may still come. Answers do not say what they answer, so none is believed
    /// until it is known that the line owes nothing: see [`Master::settle`].
    owed: bool,
}

/// More bytes than an echo, an answer and any reasonable noise: a line that delivers more is babbling.
const MOST_RECEIVED: usize = 1024;

impl Master {
    pub fn new(line: Box<dyn Transport>, timing: Timing) -> Self {
        let used = line.now();
        Self { line, timing, counts: LineCounts::default(), used, owed: false }
    }

    /// The port's name.
    pub fn port(&self) -> &str {
        self.line.name()
    }

    pub fn counts(&self) -> LineCounts {
        self.counts
    }

    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The line's time since any fixed start.
    pub fn now(&self) -> Duration {
        self.line.now()
    }

    /// Lets time pass on the line.
    pub fn wait(&mut self, time: Duration) {
        self.line.wait(time);
    }

    /// Asks a board, again where that can help, and returns what it answers.
    ///
    /// # Errors
    /// The last reason why there is no answer. A value is never made up from a damaged one.
    pub fn ask(&mut self, board: u8, command: Command) -> Result<Value, AskError> {
        self.ask_repeating(board, command, self.timing.retries)
    }

    /// As [`Master::ask`], with another number of repetitions: a search does not insist.
    ///
    /// # Errors
    /// As there.
    pub fn ask_repeating(&mut self, board: u8, command: Command, retries: u32) -> Result<Value, AskError> {
        let request = frame::request(board, &command);
        // Its own answer tells whom it is from.
        let only = (command == Command::Id).then_some(board);
        if self.owed && only.is_none() {
            self.drain(board)?;
        }
        let mut back_off = self.timing.back_off;
        for left in (0..=retries).rev() {
            match self.exchange(&request, command, only, self.timing.answer_within) {
                Err(error) if left > 0 && error.is_passing() => {
                    self.counts.retries += 1;
                    self.line.wait(back_off);
                    back_off = back_off.saturating_mul(2);
                }
                done => return done,
            }
        }
        // The loop's last round returns; a range that includes its end is never empty.
        Err(AskError::NoAnswer)
    }

    /// Asks a board for its id. A line delivers in order: once that answer is there, so is all that was owed before it. A
    /// line that is silent for as long as this waits owes nothing either.
    fn drain(&mut self, board: u8) -> Result<(), AskError> {
        let request = frame::request(board, &Command::Id);
        let asked = self.exchange(&request, Command::Id, Some(board), self.timing.answer_within * 2);
        self.owed = false;
        match asked {
            Err(error @ AskError::Port { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// One request and its answer, which begins within `within`. With `only`, no other byte than this is an answer.
    fn exchange(
        &mut self,
        request: &[u8],
        command: Command,
        only: Option<u8>,
        within: Duration,
    ) -> Result<Value, AskError> {
        let outcome = self.send(request).and_then(|()| self.receive(request, command, only, within));
        self.used = self.line.now();
        match &outcome {
            Ok(_) | Err(AskError::Hardware(_) | AskError::Port { .. }) => {}
            Err(AskError::Refused(code)) => self.counts.damaged_requests += u64::from(code.is_line_error()),
            Err(AskError::NoAnswer) => {
                self.counts.no_answer += 1;
                self.owed = true;
            }
            Err(AskError::Crc { .. }) => {
                self.counts.crc_errors += 1;
                self.fall_silent()?;
            }
            Err(AskError::Broken) => {
                self.counts.broken_answers += 1;
                self.owed = true;
                self.fall_silent()?;
            }
        }
        outcome
    }

    fn send(&mut self, request: &[u8]) -> Result<(), AskError> {
        let free = self.used + self.timing.turnaround;
        let left = free.saturating_sub(self.line.now());
        if !left.is_zero() {
            self.line.wait(left);
        }
        let sent = self.line.discard().and_then(|()| self.line.send(request));
        self.counts.requests += 1;
        self.counts.bytes_sent += request.len() as u64;
        sent.map_err(|error| self.port_error(&error))
    }

    /// Reads until the answer is whole: its own length says when, so a good answer costs no waiting.
    fn receive(
        &mut self,
        request: &[u8],
        command: Command,
        only: Option<u8>,
        within: Duration,
    ) -> Result<Value, AskError> {
        let mut received: Vec<u8> = Vec::with_capacity(64);
        let mut deadline = self.line.now() + on_wire(request.len()) + within;
        loop {
            let mut buffer = [0; 256];
            let left = deadline.saturating_sub(self.line.now());
            let count = self.line.receive(&mut buffer, left).map_err(|error| self.port_error(&error))?;
            self.counts.bytes_received += count as u64;
            for &byte in &buffer[..count] {
                received.push(byte);
                match frame::scan_answer(request, command.answer(), &received) {
                    // The late answer to an earlier question.
                    AnswerScan::Complete { result: Ok(Value::Byte(other)), .. }
                        if only.is_some_and(|only| only != other) =>
                    {
                        self.counts.noise_bytes += received.len() as u64;
                        received.clear();
                    }
                    AnswerScan::Complete { result, skipped } => {
                        self.counts.noise_bytes += skipped as u64;
                        self.counts.answers += 1;
                        return result.map_err(AskError::Refused);
                    }
                    AnswerScan::Crc { expected, found } => return Err(AskError::Crc { expected, found }),
                    AnswerScan::Impossible => return Err(AskError::Broken),
                    AnswerScan::Incomplete => {}
                }
            }
            if received.len() > MOST_RECEIVED {
                self.counts.noise_bytes += received.len() as u64;
                return Err(AskError::Broken);
            }
            let now = self.line.now();
            if count > 0 {
                // The answer has begun, or the line is noisy. Its rest comes without pauses, but an echo or noise may
                // come long before it, so the window for its start stays open.
                deadline = deadline.max(now + self.timing.silence);
            }
            if now >= deadline || (count == 0 && left.is_zero()) {
                self.counts.noise_bytes += received.len() as u64;
                let heard = received.len() > request.len() || !request.starts_with(&received);
                return Err(if heard { AskError::Broken } else { AskError::NoAnswer });
            }
        }
    }

    /// Waits until nothing has come in for as long as ends any frame, so that the next answer is the next one's.
    fn fall_silent(&mut self) -> Result<(), AskError> {
        let give_up = self.line.now() + self.timing.patience;
        let mut buffer = [0; 256];
        while self.line.now() < give_up {
            let heard = self.line.receive(&mut buffer, self.timing.silence);
            match heard.map_err(|error| self.port_error(&error))? {
                0 => break,
                count => {
                    self.counts.bytes_received += count as u64;
                    self.counts.noise_bytes += count as u64;
                }
            }
        }
        Ok(())
    }

    fn port_error(&self, error: &std::io::Error) -> AskError {
        AskError::Port { port: self.line.name().to_owned(), message: error.to_string() }
    }
}

/// The ids that a search looks at when nobody says otherwise: the DIP switches without a prefix.
pub const DIP_IDS: std::ops::RangeInclusive<u8> = 0..=15;

impl Master {
    /// Looks for boards among `ids`. A board that is not there costs the whole answer window, twice: one lost answer
    /// must not hide a board.
    ///
    /// # Errors
    /// The port is gone. Whatever else keeps a board from answering makes it absent.
    pub fn search(&mut self, ids: impl IntoIterator<Item = u8>) -> Result<Vec<u8>, AskError> {
        let mut found = Vec::new();
        for id in ids {
            match self.ask_repeating(id, Command::Id, 1) {
                Ok(_) => found.push(id),
                Err(error @ AskError::Port { .. }) => return Err(error),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// How long so many bytes take at the bus's rate.
pub fn on_wire(bytes: usize) -> Duration {
    Duration::from_secs(1) * BITS_PER_BYTE * bytes as u32 / BAUD
}
