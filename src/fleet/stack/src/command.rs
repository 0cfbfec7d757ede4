//! The boards' command table, typed: what can be asked, with which arguments, and what shape the answer has.

use crate::error_code::ErrorCode;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the two Pis of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Pi {
    Zero,
    One,
}

impl Pi {
    pub const BOTH: [Self; 2] = [Self::Zero, Self::One];

    /// 0 or 1.
    pub const fn number(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
        }
    }

    /// Its place in a list of both.
    pub const fn index(self) -> usize {
        self.number() as usize
    }
}

impl TryFrom<u8> for Pi {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::Zero),
            1 => Ok(Self::One),
            _ => Err(format!("{number} is not a Pi: a board has Pi 0 and Pi 1")),
        }
    }
}

impl From<Pi> for u8 {
    fn from(pi: Pi) -> Self {
        pi.number()
    }
}

impl fmt::Display for Pi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// The settable waits of a board, one set per Pi, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timer {
    /// Longest time between beats before the board power-cycles the Pi.
    HeartbeatTimeout,
    /// How long the board waits after power-on for the first beat.
    BootDelay,
    /// From the board's own shutdown signal to the cut.
    OffDelay,
    /// From a shutdown signal that the Pi raised to the cut.
    SignalledOffDelay,
}

impl Timer {
    pub const ALL: [Self; 4] = [Self::HeartbeatTimeout, Self::BootDelay, Self::OffDelay, Self::SignalledOffDelay];

    /// The name that the operator uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeartbeatTimeout => "heartbeat-timeout",
            Self::BootDelay => "boot-delay",
            Self::OffDelay => "off-delay",
            Self::SignalledOffDelay => "signalled-off-delay",
        }
    }

    const fn get_opcode(self) -> u8 {
        match self {
            Self::HeartbeatTimeout => 0x14,
            Self::BootDelay => 0x16,
            Self::OffDelay => 0x18,
            Self::SignalledOffDelay => 0x1A,
        }
    }
}

/// A request to a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    SoftwareVersion,
    HardwareVersion,
    /// The board's status LEDs on or off.
    Leds(bool),
    DebugLed {
        red: u8,
        green: u8,
        blue: u8,
    },
    /// High nibble of the board's id; the low nibble must be 0 and is the DIP switches' own.
    SetPrefix(u8),
    Prefix,
    Id,
    InputVoltage,
    InputCurrent,
    RailVoltage,
    PiVoltage(Pi),
    PiCurrent(Pi),
    Heartbeat(Pi),
    Powered(Pi),
    /// Power at once.
    On(Pi),
    /// Signal, wait for the off delay, cut.
    Off(Pi),
    /// Cut at once.
    ForceOff(Pi),
    Timer(Timer, Pi),
    /// Seconds.
    SetTimer(Timer, Pi, u8),
    ErrorBuffer,
    ClearErrorBuffer,
    ErrorCount,
    ClearErrorCount,
    ErrorPointer,
    SendSignal(Pi),
    StartUp(Pi),
    /// Whether the Pi is powered when the board starts.
    SetStartUp(Pi, bool),
    SignalWidth(Pi),
    SetSignalWidth(Pi, u8),
    InputPower,
    RailPower,
    PiPower(Pi),
    BootCount,
}

/// The data that the answer to a command carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Nothing,
    Byte,
    /// One byte, 0 or 1.
    Flag,
    /// Two bytes, big-endian.
    Word,
    /// Four bytes, big-endian.
    Long,
    /// One or more bytes; only the answer's own length byte says how many.
    Bytes,
}

impl Shape {
    /// Whether an answer may carry `count` bytes of data.
    pub const fn allows(self, count: usize) -> bool {
        match self {
            Self::Nothing => count == 0,
            Self::Byte | Self::Flag => count == 1,
            Self::Word => count == 2,
            Self::Long => count == 4,
            Self::Bytes => count >= 1,
        }
    }

    /// Reads the data of an answer. `None` when it cannot be what was asked for.
    pub fn value(self, data: &[u8]) -> Option<Value> {
        Some(match (self, data) {
            (Self::Nothing, []) => Value::Nothing,
            (Self::Byte, &[byte]) => Value::Byte(byte),
            (Self::Flag, [0]) => Value::Flag(false),
            (Self::Flag, [1]) => Value::Flag(true),
            (Self::Word, &[a, b]) => Value::Word(u16::from_be_bytes([a, b])),
            (Self::Long, &[a, b, c, d]) => Value::Long(u32::from_be_bytes([a, b, c, d])),
            (Self::Bytes, [_, ..]) => Value::Bytes(data.to_vec()),
            _ => return None,
        })
    }
}

/// What a board answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Nothing,
    Byte(u8),
    Flag(bool),
    Word(u16),
    Long(u32),
    Bytes(Vec<u8>),
}

impl Value {
    /// The data bytes as they go over the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Byte(byte) => vec![*byte],
            Self::Flag(flag) => vec![u8::from(*flag)],
            Self::Word(word) => word.to_be_bytes().to_vec(),
            Self::Long(long) => long.to_be_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

impl Command {
    /// The command byte.
    pub const fn opcode(&self) -> u8 {
        match self {
            Self::SoftwareVersion => 0x02,
            Self::HardwareVersion => 0x03,
            Self::Leds(true) => 0x04,
            Self::Leds(false) => 0x05,
            Self::DebugLed { .. } => 0x06,
            Self::SetPrefix(_) => 0x07,
            Self::Prefix => 0x08,
            Self::Id => 0x09,
            Self::InputVoltage => 0x0A,
            Self::InputCurrent => 0x0B,
            Self::RailVoltage => 0x0C,
            Self::PiVoltage(_) => 0x0D,
            Self::PiCurrent(_) => 0x0E,
            Self::Heartbeat(_) => 0x0F,
            Self::Powered(_) => 0x10,
            Self::On(_) => 0x11,
            Self::Off(_) => 0x12,
            Self::ForceOff(_) => 0x13,
            Self::Timer(timer, _) => timer.get_opcode(),
            Self::SetTimer(timer, ..) => timer.get_opcode() + 1,
            Self::ErrorBuffer => 0x1C,
            Self::ClearErrorBuffer => 0x1D,
            Self::ErrorCount => 0x1E,
            Self::ClearErrorCount => 0x1F,
            Self::ErrorPointer => 0x20,
            Self::SendSignal(_) => 0x21,
            Self::StartUp(_) => 0x22,
            Self::SetStartUp(..) => 0x23,
            Self::SignalWidth(_) => 0x24,
            Self::SetSignalWidth(..) => 0x25,
            Self::InputPower => 0x26,
            Self::RailPower => 0x27,
            Self::PiPower(_) => 0x28,
            Self::BootCount => 0x29,
        }
    }

    /// The argument bytes, as they follow the length byte.
    pub fn arguments(&self) -> Vec<u8> {
        match *self {
            Self::SoftwareVersion
            | Self::HardwareVersion
            | Self::Leds(_)
            | Self::Prefix
            | Self::Id
            | Self::InputVoltage
            | Self::InputCurrent
            | Self::RailVoltage
            | Self::ErrorBuffer
            | Self::ClearErrorBuffer
            | Self::ErrorCount
            | Self::ClearErrorCount
            | Self::ErrorPointer
            | Self::InputPower
            | Self::RailPower
            | Self::BootCount => Vec::new(),
            Self::DebugLed { red, green, blue } => vec![red, green, blue],
            Self::SetPrefix(prefix) => vec![prefix],
            Self::PiVoltage(pi)
            | Self::PiCurrent(pi)
            | Self::Heartbeat(pi)
            | Self::Powered(pi)
            | Self::On(pi)
            | Self::Off(pi)
            | Self::ForceOff(pi)
            | Self::Timer(_, pi)
            | Self::SendSignal(pi)
            | Self::StartUp(pi)
            | Self::SignalWidth(pi)
            | Self::PiPower(pi) => vec![pi.number()],
            Self::SetTimer(_, pi, value) | Self::SetSignalWidth(pi, value) => vec![pi.number(), value],
            Self::SetStartUp(pi, on) => vec![pi.number(), u8::from(on)],
        }
    }

    /// What the answer carries when the board does what it was asked.
    pub const fn answer(&self) -> Shape {
        match self {
            Self::SoftwareVersion | Self::HardwareVersion | Self::Prefix | Self::Id | Self::ErrorPointer => Shape::Byte,
            Self::Timer(..) | Self::SignalWidth(_) => Shape::Byte,
            Self::InputVoltage | Self::InputCurrent | Self::RailVoltage => Shape::Word,
            Self::PiVoltage(_) | Self::PiCurrent(_) | Self::ErrorCount | Self::BootCount => Shape::Word,
            Self::Heartbeat(_) | Self::Powered(_) | Self::StartUp(_) => Shape::Flag,
            Self::ErrorBuffer => Shape::Bytes,
            Self::InputPower | Self::RailPower | Self::PiPower(_) => Shape::Long,
            Self::Leds(_) | Self::DebugLed { .. } | Self::SetPrefix(_) => Shape::Nothing,
            Self::On(_) | Self::Off(_) | Self::ForceOff(_) | Self::SendSignal(_) => Shape::Nothing,
            Self::SetTimer(..) | Self::SetStartUp(..) | Self::SetSignalWidth(..) => Shape::Nothing,
            Self::ClearErrorBuffer | Self::ClearErrorCount => Shape::Nothing,
        }
    }

    /// Reads a request as a board does.
    ///
    /// # Errors
    /// The code that a board answers: 12 for a command byte that is not in the table, 13 for another number of
    /// arguments than the command takes, 14 for a Pi other than 0 and 1. A prefix with a non-zero low nibble is
    /// invalid, but the table of codes has none for a bad value; boards here answer 15.
    pub fn decode(opcode: u8, arguments: &[u8]) -> Result<Self, ErrorCode> {
        let simple = |command: Self| if arguments.is_empty() { Ok(command) } else { Err(wrong_number()) };
        let for_pi = |command: fn(Pi) -> Self| match arguments {
            &[pi] => Ok(command(pi_of(pi)?)),
            _ => Err(wrong_number()),
        };
        let timer = |timer: Timer| match arguments {
            &[pi] => Ok(Self::Timer(timer, pi_of(pi)?)),
            _ => Err(wrong_number()),
        };
        let with_value = |command: &dyn Fn(Pi, u8) -> Self| match arguments {
            &[pi, value] => Ok(command(pi_of(pi)?, value)),
            _ => Err(wrong_number()),
        };
        match opcode {
            0x02 => simple(Self::SoftwareVersion),
            0x03 => simple(Self::HardwareVersion),
            0x04 => simple(Self::Leds(true)),
            0x05 => simple(Self::Leds(false)),
            0x06 => match arguments {
                &[red, green, blue] => Ok(Self::DebugLed { red, green, blue }),
                _ => Err(wrong_number()),
            },
            0x07 => match *arguments {
                [prefix] if prefix & 0x0F == 0 => Ok(Self::SetPrefix(prefix)),
                [_] => Err(ErrorCode::NOT_IMPLEMENTED),
                _ => Err(wrong_number()),
            },
            0x08 => simple(Self::Prefix),
            0x09 => simple(Self::Id),
            0x0A => simple(Self::InputVoltage),
            0x0B => simple(Self::InputCurrent),
            0x0C => simple(Self::RailVoltage),
            0x0D => for_pi(Self::PiVoltage),
            0x0E => for_pi(Self::PiCurrent),
            0x0F => for_pi(Self::Heartbeat),
            0x10 => for_pi(Self::Powered),
            0x11 => for_pi(Self::On),
            0x12 => for_pi(Self::Off),
            0x13 => for_pi(Self::ForceOff),
            0x14 => timer(Timer::HeartbeatTimeout),
            0x15 => with_value(&|pi, value| Self::SetTimer(Timer::HeartbeatTimeout, pi, value)),
            0x16 => timer(Timer::BootDelay),
            0x17 => with_value(&|pi, value| Self::SetTimer(Timer::BootDelay, pi, value)),
            0x18 => timer(Timer::OffDelay),
            0x19 => with_value(&|pi, value| Self::SetTimer(Timer::OffDelay, pi, value)),
            0x1A => timer(Timer::SignalledOffDelay),
            0x1B => with_value(&|pi, value| Self::SetTimer(Timer::SignalledOffDelay, pi, value)),
            0x1C => simple(Self::ErrorBuffer),
            0x1D => simple(Self::ClearErrorBuffer),
            0x1E => simple(Self::ErrorCount),
            0x1F => simple(Self::ClearErrorCount),
            0x20 => simple(Self::ErrorPointer),
            0x21 => for_pi(Self::SendSignal),
            0x22 => for_pi(Self::StartUp),
            0x23 => with_value(&|pi, value| Self::SetStartUp(pi, value != 0)),
            0x24 => for_pi(Self::SignalWidth),
            0x25 => with_value(&Self::SetSignalWidth),
            0x26 => simple(Self::InputPower),
            0x27 => simple(Self::RailPower),
            0x28 => for_pi(Self::PiPower),
            0x29 => simple(Self::BootCount),
            _ => Err(ErrorCode::UNKNOWN_COMMAND),
        }
    }

    /// Every command of the table once per Pi, with example values where one is set: for tests and tables.
    pub fn examples() -> Vec<Self> {
        let mut all = vec![
            Self::SoftwareVersion,
            Self::HardwareVersion,
            Self::Leds(true),
            Self::Leds(false),
            Self::DebugLed { red: 1, green: 2, blue: 255 },
            Self::SetPrefix(0x00),
            Self::Prefix,
            Self::Id,
            Self::InputVoltage,
            Self::InputCurrent,
            Self::RailVoltage,
            Self::ErrorBuffer,
            Self::ClearErrorBuffer,
            Self::ErrorCount,
            Self::ClearErrorCount,
            Self::ErrorPointer,
            Self::InputPower,
            Self::RailPower,
            Self::BootCount,
        ];
        for pi in Pi::BOTH {
            all.extend([
                Self::PiVoltage(pi),
                Self::PiCurrent(pi),
                Self::Heartbeat(pi),
                Self::Powered(pi),
                Self::On(pi),
                Self::Off(pi),
                Self::ForceOff(pi),
                Self::SendSignal(pi),
                Self::StartUp(pi),
                Self::SetStartUp(pi, true),
                Self::SignalWidth(pi),
                Self::SetSignalWidth(pi, 100),
                Self::PiPower(pi),
            ]);
            for timer in Timer::ALL {
                all.extend([Self::Timer(timer, pi), Self::SetTimer(timer, pi, 42)]);
            }
        }
        all
    }
}

const fn wrong_number() -> ErrorCode {
    ErrorCode::WRONG_NUMBER_OF_BYTES
}

fn pi_of(number: u8) -> Result<Pi, ErrorCode> {
    Pi::try_from(number).map_err(|_| ErrorCode::INVALID_PI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_whole_and_reads_back() {
        let examples = Command::examples();
        let opcodes: BTreeSet<u8> = examples.iter().map(Command::opcode).collect();
        assert_eq!(opcodes, (0x02..=0x29).collect());
        for command in examples {
            assert_eq!(Command::decode(command.opcode(), &command.arguments()), Ok(command));
        }
    }

    #[test]
    fn a_board_says_what_is_wrong_with_a_request() {
        assert_eq!(Command::decode(0x00, &[]), Err(ErrorCode::UNKNOWN_COMMAND));
        assert_eq!(Command::decode(0x2A, &[]), Err(ErrorCode::UNKNOWN_COMMAND));
        assert_eq!(Command::decode(0x02, &[0]), Err(ErrorCode::WRONG_NUMBER_OF_BYTES));
        assert_eq!(Command::decode(0x0D, &[]), Err(ErrorCode::WRONG_NUMBER_OF_BYTES));
        assert_eq!(Command::decode(0x0D, &[2]), Err(ErrorCode::INVALID_PI));
        assert_eq!(Command::decode(0x15, &[2, 9]), Err(ErrorCode::INVALID_PI));
        assert_eq!(Command::decode(0x15, &[1]), Err(ErrorCode::WRONG_NUMBER_OF_BYTES));
        assert_eq!(Command::decode(0x07, &[0x11]), Err(ErrorCode::NOT_IMPLEMENTED));
    }

    #[test]
    fn an_answer_of_another_shape_is_no_value() {
        assert_eq!(Shape::Flag.value(&[2]), None);
        assert_eq!(Shape::Word.value(&[1]), None);
        assert_eq!(Shape::Bytes.value(&[]), None);
        assert_eq!(Shape::Word.value(&[0x12, 0x34]), Some(Value::Word(0x1234)));
        assert_eq!(Shape::Long.value(&[1, 2, 3, 4]), Some(Value::Long(0x0102_0304)));
    }
}
