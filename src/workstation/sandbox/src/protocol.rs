//! What the program and its helper, the same program started again, tell each other over the helper's input: a length of four bytes
//! and JSON.

use std::fmt;
use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::command::{Command, Ended, Limits};

/// First word of a helper's command line.
pub const NAME: &str = "fruit-sandbox";
/// Longest message: an order holds the input of a program.
const MOST: u32 = 64 << 20;

/// Ids that a root knows: 0 to 65534, the last of which is `nobody`.
pub const IDS: u32 = 65_535;

/// Room that must stay free on the disk of the workstation, in bytes.
pub const SPARE: u64 = 256 << 20;

/// Folder in a work folder that others may write to, so that the ids of a root can; nobody else comes through the work folder.
pub const HELD: &str = "held";
/// The root in it.
pub const ROOT: &str = "root";

#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Process that gives the order: when it has died already, nothing is done.
    pub parent: i32,
    /// The work folder's [`HELD`], as bytes.
    pub held: Vec<u8>,
    pub task: Task,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Task {
    /// Makes and leaves all namespaces, with nothing in them.
    Try,
    /// Makes an empty root.
    Make,
    /// Fills the root from the data.
    Unpack,
    /// Runs a program, whose output is the data.
    Run(Box<Run>),
    /// Writes the root to the data.
    Export,
    /// Removes all that is held.
    Remove,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    pub command: Command,
    pub limits: Limits,
    pub disk: Disk,
}

/// What is known of a root's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What it was when it had been unpacked.
    pub base: Option<Usage>,
    /// By how much the file system has filled since anything last counted.
    pub unseen: Usage,
}

/// Room on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub bytes: u64,
    pub files: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// There is a user namespace, whose ids must be mapped now.
    Unshared,
    /// To the helper: they are.
    Mapped,
    Done,
    Unpacked(Unpacked),
    Ended(Ended, Disk),
    Failed(Failure),
}

/// What [`Root::unpack`](crate::Root::unpack) did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    pub entries: u64,
    /// Bytes of files' contents.
    pub bytes: u64,
    /// Names of device nodes, which nobody can make without root: left out.
    pub devices: Vec<String>,
}

/// What failed in the helper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub step: Step,
    /// What was done, with the file's name where there is one.
    pub what: String,
    pub why: String,
    /// The system's number of the error.
    pub number: Option<i32>,
}

/// Where a helper failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    UserNamespace,
    Identity,
    Namespaces,
    /// Mounting a new `/proc`.
    Proc,
    Mounts,
    Network,
    /// Reading an entry of a tar stream, or placing it.
    Entry,
    Tree,
    /// Starting the program.
    Start,
    Full,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub fn new(step: Step, what: impl Into<String>, why: impl fmt::Display) -> Failure {
        Failure { step, what: what.into(), why: why.to_string(), number: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Says which step failed, and at what.
pub trait During<T> {
    fn during(self, step: Step, what: &str) -> Outcome<T>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: Step, what: &str) -> Outcome<T> {
        self.map_err(|error| {
            let error: io::Error = error.into();
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            let step = if full { Step::Full } else { step };
            Failure { number: error.raw_os_error(), ..Failure::new(step, what, error) }
        })
    }
}

/// Sends a message.
///
/// # Errors
/// Those of the other end, and a message longer than may be.
pub fn send<T: Serialize>(mut to: impl Write, message: &T) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= MOST);
    let length = length.ok_or_else(|| io::Error::other("the message is longer than 64 MiB"))?;
    to.write_all(&[&length.to_le_bytes()[..], &text].concat())
}

/// Receives a message.
///
/// # Errors
/// The other end has gone, or does not speak as it should.
pub fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MOST {
        return Err(io::Error::other("the message is longer than 64 MiB"));
    }
    let mut text = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
