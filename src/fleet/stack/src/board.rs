//! One board, asked through its master, in units.

use crate::command::{Command, Pi, Timer, Value};
use crate::convert::{self, Hardware};
use crate::error_code::ErrorCode;
use crate::master::{AskError, Master};
use serde::Serialize;

/// A board on a master's bus.
pub struct Board<'a> {
    pub master: &'a mut Master,
    /// Its full id: prefix and DIP switches.
    pub id: u8,
}

/// The result of a single reading.
pub type Reading<T> = Result<T, AskError>;

macro_rules! typed {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $type:ty;)*) => {
        impl Board<'_> {
            $($(#[$doc])*
            ///
            /// # Errors
            /// The board gives no valid answer.
            pub fn $name(&mut self, command: Command) -> Reading<$type> {
                match self.master.ask(self.id, command)? {
                    Value::$variant(value) => Ok(value),
                    _ => Err(AskError::Broken),
                }
            })*
        }
    };
}

typed! {
    /// Asks for one byte.
    byte: Byte -> u8;
    /// Asks for a yes or no.
    flag: Flag -> bool;
    /// Asks for two bytes.
    word: Word -> u16;
    /// Asks for four bytes.
    long: Long -> u32;
    /// Asks for as many bytes as the board has.
    bytes: Bytes -> Vec<u8>;
}

/// The error log, oldest entry first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// Errors since the count was cleared, those that have left the log included.
    pub count: u16,
    /// Start-ups since the count was cleared.
    pub boots: u16,
    pub log: Vec<ErrorCode>,
}

impl Board<'_> {
    /// Tells the board something.
    ///
    /// # Errors
    /// The board gives no valid answer.
    pub fn tell(&mut self, command: Command) -> Reading<()> {
        self.master.ask(self.id, command).map(|_| ())
    }

    /// The board's revision, for the conversion of its readings.
    ///
    /// # Errors
    /// The board gives no valid answer, or a version whose resistors are not documented.
    pub fn hardware(&mut self) -> Reading<Hardware> {
        let version = self.byte(Command::HardwareVersion)?;
        Hardware::from_version(version).ok_or(AskError::Hardware(version))
    }

    /// Amps that the board draws from the supply.
    ///
    /// # Errors
    /// The board gives no valid answer.
    pub fn input_amps(&mut self) -> Reading<f64> {
        self.word(Command::InputCurrent).map(convert::input_amps)
    }

    /// Seconds of one of the board's timers.
    ///
    /// # Errors
    /// The board gives no valid answer.
    pub fn timer(&mut self, timer: Timer, pi: Pi) -> Reading<u8> {
        self.byte(Command::Timer(timer, pi))
    }

    /// The error log. The boards send the ring as it lies in memory; when it is full, the entry under the pointer is
    /// the oldest.
    ///
    /// # Errors
    /// The board gives no valid answer.
    pub fn errors(&mut self) -> Reading<ErrorReport> {
        let ring = self.bytes(Command::ErrorBuffer)?;
        let pointer = usize::from(self.byte(Command::ErrorPointer)?);
        let count = self.word(Command::ErrorCount)?;
        let boots = self.word(Command::BootCount)?;
        Ok(ErrorReport { count, boots, log: in_order(&ring, pointer) })
    }
}

/// Slots that hold 00 have not been used yet.
fn in_order(ring: &[u8], pointer: usize) -> Vec<ErrorCode> {
    let (newer, older) = ring.split_at(pointer.min(ring.len()));
    older.iter().chain(newer).map(|&code| ErrorCode(code)).filter(|&code| code != ErrorCode::NONE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_read_oldest_first_whatever_the_pointer_says() {
        let codes = |ring: &[u8], pointer| in_order(ring, pointer).iter().map(|code| code.0).collect::<Vec<_>>();
        assert!(codes(&[0], 0).is_empty());
        assert_eq!(codes(&[0x0F, 0x11], 2), [0x0F, 0x11]);
        assert_eq!(codes(&[0x0F, 0x11, 0, 0], 2), [0x0F, 0x11]);
        assert_eq!(codes(&[0x14, 0x11, 0x12], 1), [0x11, 0x12, 0x14]);
        assert_eq!(codes(&[0x14, 0x11], 200), [0x14, 0x11]);
    }
}
