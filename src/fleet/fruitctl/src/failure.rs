//! Why a verb failed, and the exit code that says so.

use crate::output;
use fruit_record::Refused;
use fruit_record::wire::Malformed;
use fruit_release::keys::KeyError;
use fruit_stack::master::AskError;
use fruit_stack::power::PowerError;
use fruit_stack::stacks::StacksError;
use fruit_stack::transport::PortError;
use fruit_stack_simulator::SimulateError;
use std::process::ExitCode;

/// As `--help` tells them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  everything was done and read
  1  a board refused, or a value or file could not be read or written
  2  the command line, the stacks file, a name or an address is wrong
  3  a port cannot be opened, or is gone
  4  a board does not answer, or no node of the fleet was reached
  5  gave up waiting: no headroom below the limit, or a Pi still powered
  6  not confirmed
  7  a record, charter or key is not signed as the fleet wants, or is another fleet's";

/// The documented exit codes, the gravest of several failures last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    Refused = 1,
    Usage = 2,
    Port = 3,
    NoAnswer = 4,
    GaveUp = 5,
    NotConfirmed = 6,
    Untrusted = 7,
}

/// A failure to end the program with. The message is empty when everything has been said already.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: String,
    /// Of a program that ran in this one's place.
    exit: Option<u8>,
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Code::Refused, error.to_string())
    }
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), exit: None }
    }

    /// Ends as another program has ended, which has said why.
    pub fn as_program(exit: u8) -> Self {
        Self { exit: Some(exit), ..Self::new(Code::Refused, "") }
    }

    /// With the place, or the file, before the message.
    pub fn at(self, place: &dyn std::fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            output::talk(format_args!("fruitctl: {}", self.message));
        }
        ExitCode::from(self.exit.unwrap_or(self.code as u8))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // The reader of our output has gone: nothing to say, and nobody to say it to.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Code::Refused, "");
        }
        Self::new(Code::Refused, error.to_string())
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let code = match error {
            KeyError::UnknownKey(_) | KeyError::KeyExists(_) | KeyError::KeyName(_) => Code::Usage,
            KeyError::Stray => Code::Untrusted,
            _ => Code::Refused,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(error: Refused) -> Self {
        let code = match error {
            Refused::Full { .. } | Refused::UsedUp(_) | Refused::Expired => Code::Refused,
            _ => Code::Untrusted,
        };
        Self::new(code, error.to_string())
    }
}

/// What a person has named does not make a record.
impl From<Malformed> for Failure {
    fn from(error: Malformed) -> Self {
        Self::new(Code::Usage, error.to_string())
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::new(Code::Port, error.to_string())
    }
}

impl From<StacksError> for Failure {
    fn from(error: StacksError) -> Self {
        Self::new(Code::Usage, error.to_string())
    }
}

impl From<SimulateError> for Failure {
    fn from(error: SimulateError) -> Self {
        let code = match error {
            SimulateError::Io { .. } => Code::Port,
            _ => Code::Usage,
        };
        Self::new(code, error.to_string())
    }
}

/// The code for a question that failed.
pub fn code_of(error: &AskError) -> Code {
    match error {
        AskError::NoAnswer => Code::NoAnswer,
        AskError::Port { .. } => Code::Port,
        AskError::Crc { .. } | AskError::Broken | AskError::Refused(_) | AskError::Hardware(_) => Code::Refused,
    }
}

/// The code for a Pi that could not be switched.
pub fn code_of_power(error: &PowerError) -> Code {
    match error {
        PowerError::Ask(error) | PowerError::Blind { error, .. } => code_of(error),
        _ if error.gave_up() => Code::GaveUp,
        _ => Code::Refused,
    }
}

/// Collects failures that do not end the work at once; the gravest decides the exit code.
#[derive(Default)]
pub struct Failures(Option<Code>);

impl Failures {
    /// Tells it to the operator and remembers it.
    pub fn tell(&mut self, place: &str, code: Code, message: impl std::fmt::Display) {
        output::talk(format_args!("fruitctl: {place}: {message}"));
        self.note(code);
    }

    /// Tells a failure that does not end the work, and remembers it.
    pub fn take(&mut self, failure: Failure) {
        let code = failure.code;
        failure.report();
        self.note(code);
    }

    pub fn note(&mut self, code: Code) {
        self.0 = self.0.max(Some(code));
    }

    pub fn finish(self) -> Result<(), Failure> {
        match self.0 {
            None => Ok(()),
            Some(code) => Err(Failure::new(code, "")),
        }
    }
}
