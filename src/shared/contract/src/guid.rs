//! GUIDs that follow from a recipe's name, so that an image built years later finds the disk that was flashed today.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Number of partitions of the layout; the last one is the data partition.
pub const PARTITION_COUNT: u8 = 7;

/// A GUID in the order in which it is written as text (big-endian throughout).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Guid([u8; 16]);

impl Guid {
    pub const fn from_bytes(bytes: [u8; 16]) -> Guid {
        Guid(bytes)
    }

    /// Bytes in text order.
    pub const fn bytes(&self) -> [u8; 16] {
        self.0
    }

    /// GUID of the disk of all images of the recipe `name`, whatever their version: a custom GUID (version 8, RFC 9562
    /// section 5.8) from SHA-256, with a last byte of 00.
    pub fn of_disk(name: &str) -> Guid {
        let hash = Sha256::new().chain_update(b"fruitbuild disk\0").chain_update(name.as_bytes()).finalize();
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes[15] = 0;
        Guid(bytes)
    }

    /// GUID (PARTUUID) of partition `number` (from 1) of the disk that has this GUID.
    #[must_use]
    pub const fn partition(mut self, number: u8) -> Guid {
        self.0[15] = number;
        self
    }

    /// As stored in a GPT: the first three fields are little-endian (UEFI 2.10, appendix A).
    pub const fn to_gpt(&self) -> [u8; 16] {
        swap_fields(self.0)
    }

    pub const fn from_gpt(bytes: [u8; 16]) -> Guid {
        Guid(swap_fields(bytes))
    }
}

const fn swap_fields(b: [u8; 16]) -> [u8; 16] {
    [b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]
}

/// Lower case, as the kernel writes PARTUUIDs.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not a GUID: expected 8-4-4-4-12 hexadecimal digits")]
pub struct NotAGuid(String);

impl FromStr for Guid {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Guid, NotAGuid> {
        let wrong = || NotAGuid(text.chars().take(64).collect());
        let b = text.as_bytes();
        if b.len() != 36 || [8, 13, 18, 23].iter().any(|&i| b[i] != b'-') {
            return Err(wrong());
        }
        let mut digits = b.iter().enumerate().filter(|(i, _)| !matches!(i, 8 | 13 | 18 | 23)).map(|(_, &c)| c);
        let mut bytes = [0u8; 16];
        for byte in &mut bytes {
            for _ in 0..2 {
                let digit = digits.next().and_then(|c| char::from(c).to_digit(16)).ok_or_else(wrong)?;
                *byte = *byte << 4 | digit as u8;
            }
        }
        Ok(Guid(bytes))
    }
}

impl TryFrom<String> for Guid {
    type Error = NotAGuid;

    fn try_from(text: String) -> Result<Guid, NotAGuid> {
        text.parse()
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> String {
        guid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_recipe_keeps_its_guid_for_ever() {
        // sha256("fruitbuild disk\0pistack"): changing this orphans every card in the field.
        assert_eq!(Guid::of_disk("pistack").to_string(), "a9e35ab4-3867-841e-be73-a3d61ead3500");
        assert_ne!(Guid::of_disk("pistack"), Guid::of_disk("minimal"));
    }

    #[test]
    fn a_partition_differs_from_its_disk_in_the_last_byte_only() {
        let disk = Guid::of_disk("minimal");
        assert_eq!(disk.bytes()[15], 0);
        let part = disk.partition(5);
        assert_eq!(part.bytes()[..15], disk.bytes()[..15]);
        assert!(part.to_string().ends_with("05"));
        assert_eq!(part.partition(0), disk);
    }

    #[test]
    fn text_and_gpt_forms_round_trip() {
        // The EFI system partition type: text from the UEFI specification, bytes as sgdisk writes them.
        let esp: Guid = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B".parse().unwrap();
        assert_eq!(esp.to_gpt()[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
        assert_eq!(Guid::from_gpt(esp.to_gpt()), esp);
        assert_eq!(esp.to_string().parse(), Ok(esp));
    }

    #[test]
    fn what_is_no_guid_is_refused() {
        for text in [
            "",
            "x",
            "C12A7328-F81F-11D2-BA4B-00A0C93EC93",
            "C12A7328-F81F-11D2-BA4B-00A0C93EC93G",
            "C12A7328+F81F-11D2-BA4B-00A0C93EC93B",
            "ßßßßßßßßßßßßßßßßßß",
        ] {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
    }
}
