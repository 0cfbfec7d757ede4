//! Amounts of bytes as a person writes them.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::decode::{Decode, Flaw, scalar};
use crate::diagnostic::Diagnostics;
use crate::node::{Node, shorten};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Largest size that is accepted, 2 TiB: what a 32-bit sector number of an MBR entry can reach.
const MAX: u64 = 2048 * GIB;

/// A number of bytes, written `512KiB`, `64MiB`, `2GiB` or as a bare number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

impl Size {
    /// `count` MiB.
    pub const fn mib(count: u32) -> Self {
        Self(count as u64 * MIB)
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Result<Self, Flaw> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim();
        let factor = match unit {
            "" | "B" => 1,
            "KiB" => KIB,
            "MiB" => MIB,
            "GiB" => GIB,
            _ => {
                let flaw = Flaw::new(format!("`{}` is not a size", shorten(text)));
                let binary = match unit.to_ascii_lowercase().as_str() {
                    "k" | "kb" | "kib" => Some("KiB"),
                    "m" | "mb" | "mib" => Some("MiB"),
                    "g" | "gb" | "gib" => Some("GiB"),
                    _ => None,
                };
                return Err(match binary {
                    Some(binary) if digits > 0 => flaw.did_you_mean(format!("{number}{binary}")),
                    _ => flaw.help("write a number and one of `KiB`, `MiB`, `GiB`"),
                });
            }
        };
        if digits == 0 {
            return Err(Flaw::new(format!("`{}` is not a size", shorten(text))).help("write a number before the unit"));
        }
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).filter(|b| *b <= MAX);
        bytes
            .map(Self)
            .ok_or_else(|| Flaw::new(format!("{} is more than the largest size, {}", shorten(text), Self(MAX))))
    }

    /// Checks that the size lies from `least` to `most`.
    fn within(self, least: Size, most: Size) -> Result<Self, Flaw> {
        if self < least || self > most {
            return Err(Flaw::new(format!("{self} is out of range, which is from {least} to {most}")));
        }
        Ok(self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            b if b % GIB == 0 => write!(f, "{}GiB", b / GIB),
            b if b % MIB == 0 => write!(f, "{}MiB", b / MIB),
            b if b % KIB == 0 => write!(f, "{}KiB", b / KIB),
            b => write!(f, "{b}"),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for Size {
    fn what() -> String {
        "a size such as `64MiB`".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        scalar(node, found, Self::parse)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes with a unit.",
            "anyOf": [{"type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB)?$"}, {"type": "integer", "minimum": 0}],
        })
    }
}

/// The size of a partition from `MIN` to `MAX` MiB, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionSize<const MIN: u32, const MAX: u32> {
    /// As large as its content needs, with room for updates to grow.
    Auto,
    /// Exactly this; a whole number of MiB.
    Exactly(Size),
}

impl<const MIN: u32, const MAX: u32> PartitionSize<MIN, MAX> {
    /// Bytes, or `None` for `auto`.
    pub fn bytes(self) -> Option<u64> {
        match self {
            Self::Auto => None,
            Self::Exactly(size) => Some(size.bytes()),
        }
    }
}

impl<const MIN: u32, const MAX: u32> Serialize for PartitionSize<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Exactly(size) => size.serialize(serializer),
        }
    }
}

impl<const MIN: u32, const MAX: u32> Decode for PartitionSize<MIN, MAX> {
    fn what() -> String {
        format!("`auto` or a size from {} to {}", Size::mib(MIN), Size::mib(MAX))
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        scalar(node, found, |text| {
            if text == "auto" {
                return Ok(Self::Auto);
            }
            if text.len() <= 6 && strsim::levenshtein(text, "auto") <= 2 {
                return Err(Flaw::new(format!("`{text}` is not a size")).did_you_mean("auto"));
            }
            let size = Size::parse(text)?.within(Size::mib(MIN), Size::mib(MAX))?;
            if !size.bytes().is_multiple_of(MIB) {
                let up = Size(size.bytes().next_multiple_of(MIB));
                return Err(Flaw::new(format!("{size} is not a whole number of MiB")).did_you_mean(up.to_string()));
            }
            Ok(Self::Exactly(size))
        })
    }
    fn absent() -> Option<Self> {
        Some(Self::Auto)
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for PartitionSize<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("PartitionSize_{MIN}_{MAX}").into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let size = generator.subschema_for::<Size>();
        json_schema!({"anyOf": [{"const": "auto"}, size], "default": "auto"})
    }
}

/// The most that the RAM overlay may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayCap {
    /// Percent of the memory, 1 to 90.
    Percent(u8),
    /// Bytes, from 1 MiB.
    Size(Size),
}

impl fmt::Display for OverlayCap {
    /// In the form of tmpfs's `size=` option: `50%` or a number of bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Size(size) => write!(f, "{}", size.bytes()),
        }
    }
}

impl Serialize for OverlayCap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for OverlayCap {
    fn what() -> String {
        "a part of the memory from `1%` to `90%`, or a size such as `256MiB`".into()
    }
    fn decode(node: &Node, found: &mut Diagnostics) -> Option<Self> {
        scalar(node, found, |text| match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse::<u8>() {
                Ok(percent) if (1..=90).contains(&percent) => Ok(Self::Percent(percent)),
                _ => Err(Flaw::new(format!("`{}` is out of range", shorten(text)))),
            },
            None => Ok(Self::Size(Size::parse(text)?.within(Size::mib(1), Size(MAX))?)),
        })
    }
}

impl JsonSchema for OverlayCap {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OverlayCap".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let size = generator.subschema_for::<Size>();
        json_schema!({"anyOf": [{"type": "string", "pattern": "^[0-9]{1,2}%$"}, size]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print_the_same() {
        for text in ["0", "1", "4096", "1KiB", "64MiB", "3GiB", "2048GiB"] {
            let shown = Size::parse(text).unwrap().to_string();
            assert_eq!(Size::parse(&shown).unwrap(), Size::parse(text).unwrap(), "{text}");
        }
        assert_eq!(Size::parse("64 MiB").unwrap().bytes(), 64 << 20);
    }

    #[test]
    fn sizes_too_large_to_count_are_refused() {
        for text in ["2049GiB", "99999999999999999999", "18446744073709551615KiB", "-1", "1.5GiB", "MiB", "", "1MiB2"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn decimal_units_are_answered_with_the_binary_ones() {
        assert_eq!(Size::parse("64MB").unwrap_err().suggestion.as_deref(), Some("64MiB"));
        assert_eq!(Size::parse("2g").unwrap_err().suggestion.as_deref(), Some("2GiB"));
    }
}
