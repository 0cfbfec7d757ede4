//! The codes that a board answers with and keeps in its error log.

use serde::Serialize;
use std::fmt;

/// One code of the board's error table. Any byte is a code; [`ErrorCode::meaning`] knows the documented ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u8);

impl ErrorCode {
    pub const NONE: Self = Self(0x00);
    pub const NOT_THIS_ID: Self = Self(0x02);
    pub const BOOTED: Self = Self(0x0F);
    pub const TOO_SHORT: Self = Self(0x10);
    pub const CRC: Self = Self(0x11);
    pub const UNKNOWN_COMMAND: Self = Self(0x12);
    pub const WRONG_NUMBER_OF_BYTES: Self = Self(0x13);
    pub const INVALID_PI: Self = Self(0x14);
    pub const NOT_IMPLEMENTED: Self = Self(0x15);
    pub const SERIAL_NOT_READABLE: Self = Self(0x20);
    pub const TOO_MANY_BYTES: Self = Self(0x21);
    pub const SHORTER_THAN_ITS_LENGTH: Self = Self(0x22);
    pub const ANSWER_DOES_NOT_FIT: Self = Self(0x23);
    pub const TOO_MANY_ERRORS: Self = Self(0x30);
    pub const CONFIGURATION_CRC: Self = Self(0x40);
    pub const ERROR_LOG_CRC: Self = Self(0x41);

    /// What the code says, if it is a documented one.
    pub const fn meaning(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "none",
            0x02 => "not this board's id",
            0x0F => "booted",
            0x10 => "command too short",
            0x11 => "command crc",
            0x12 => "unknown command",
            0x13 => "wrong number of bytes",
            0x14 => "invalid Pi id",
            0x15 => "not implemented",
            0x20 => "serial not readable",
            0x21 => "too many bytes",
            0x22 => "shorter than its own length byte",
            0x23 => "answer does not fit",
            0x30 => "too many errors for the answer buffer",
            0x40 => "configuration crc",
            0x41 => "error log crc",
            0x42 => "flash: erase prepare",
            0x43 => "flash: erase",
            0x44 => "flash: write prepare",
            0x45 => "flash: write",
            0x46 => "flash: read back",
            0x47 => "flash: blank check",
            0x48 => "flash: compare",
            _ => return None,
        })
    }

    /// Codes up to 0x0E say how a command went, and 0x0F that the board booted: none of them counts as an error.
    pub const fn is_error(self) -> bool {
        self.0 > Self::BOOTED.0
    }

    /// The request reached the board damaged, so sending it again can help.
    pub const fn is_line_error(self) -> bool {
        matches!(self.0, 0x10 | 0x11 | 0x13 | 0x20..=0x22)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X} {}", self.0, self.meaning().unwrap_or("not documented"))
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("ErrorCode", 3)?;
        object.serialize_field("code", &self.0)?;
        object.serialize_field("meaning", &self.meaning())?;
        object.serialize_field("is_error", &self.is_error())?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_up_to_0f_are_not_errors() {
        assert!((0..=0x0F).all(|code| !ErrorCode(code).is_error()));
        assert!((0x10..=0xFF).all(|code| ErrorCode(code).is_error()));
    }

    #[test]
    fn every_code_can_be_shown() {
        assert_eq!(ErrorCode(0x14).to_string(), "14 invalid Pi id");
        assert_eq!(ErrorCode(0x99).to_string(), "99 not documented");
    }
}
