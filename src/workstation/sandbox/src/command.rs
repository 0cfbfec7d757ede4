//! What is run in a root, within what bounds, and how it ended.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A program and everything that it is given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Command {
    /// Name and arguments. A name without `/` is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment: nothing of ours is added.
    pub env: Vec<(String, String)>,
    /// Folder of the root in which it starts, absolute.
    pub cwd: String,
    /// What it reads from its input, which then ends. There is no terminal: who asks reads the end of the input.
    pub stdin: Vec<u8>,
}

/// Bounds of a run. What passes one of them ends everything that the run has started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// For the whole run.
    pub time: Duration,
    /// How long it may neither write output nor use the processor or the disk: it hangs, or waits for an answer.
    pub silence: Duration,
    /// Bytes of memory of all its processes, what it has in `/tmp`, `/run` and `/dev/shm` included.
    pub memory: u64,
    /// Processes and threads at a time.
    pub processes: u32,
    /// Bytes that it may add to the root on the disk.
    pub disk: u64,
    /// Files that it may add to the root.
    pub files: u64,
    /// Bytes of one file.
    pub file_size: u64,
    /// Files that one process has open.
    pub open_files: u32,
    /// Bytes of output.
    pub output: u64,
}

impl Default for Limits {
    /// Enough for configuring some hundred packages of a distribution.
    fn default() -> Limits {
        Limits {
            time: Duration::from_secs(30 * 60),
            silence: Duration::from_secs(120),
            memory: 4 << 30,
            processes: 1024,
            disk: 4 << 30,
            files: 500_000,
            file_size: 2 << 30,
            open_files: 4096,
            output: 64 << 20,
        }
    }
}

/// How a run ended, and what it used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub cause: Cause,
    /// From start to end.
    pub time: Duration,
    /// Of the processor, all processes together.
    pub cpu: Duration,
    /// The most bytes of memory that were seen in use; looked at some times a second.
    pub memory: u64,
    /// The most processes that were seen at a time.
    pub processes: u32,
    /// Bytes that the root has grown by, as far as anything looked; 0 when it never grew by a large part of the bound.
    pub disk: u64,
}

impl Ended {
    /// Whether the program ended by itself, with 0.
    #[must_use]
    pub fn well(&self) -> bool {
        self.cause == Cause::Exit(0)
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The first program ended by itself, with this code.
    Exit(i32),
    /// A signal ended the first program.
    Signal(i32),
    /// [`Limits::time`] passed.
    Time,
    /// Nothing happened for [`Limits::silence`].
    Silence,
    Memory,
    Processes,
    /// [`Limits::disk`] passed, or the file system of the work folder has no room left.
    Disk,
    Files,
    Output,
}

/// `ended with exit code 2`, `was stopped: …`: goes after the name of what was run.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Cause::Exit(code) => return write!(f, "ended with exit code {code}"),
            Cause::Signal(number) => return write!(f, "was ended by signal {number}"),
            Cause::Time => "it took longer than it may",
            Cause::Silence => "it hangs, or waits for an answer: no output and no work",
            Cause::Memory => "it used more memory than it may",
            Cause::Processes => "it started more processes than it may",
            Cause::Disk => "it filled the disk",
            Cause::Files => "it made more files than it may",
            Cause::Output => "it wrote more output than it may",
        };
        write!(f, "was stopped: {why}")
    }
}
