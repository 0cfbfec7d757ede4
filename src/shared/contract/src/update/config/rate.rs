//! Bytes per second as people write them: `500K`, `2M`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Units, largest first, in bytes.
const UNITS: [(&str, u64); 4] = [("MiB", 1 << 20), ("M", 1_000_000), ("KiB", 1 << 10), ("K", 1_000)];
/// Less would make every download fail for being too slow.
const LEAST: u64 = 1_000;
const MOST: u64 = 10_000_000_000;

/// A bandwidth: a whole number and one of `K`, `M` (thousands, millions of bytes), `KiB`, `MiB`; `/s` may follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^[0-9]+ *(K|M|KiB|MiB)(/s)?$")))]
pub struct Rate(u64);

impl Rate {
    pub const fn bytes_per_second(self) -> u64 {
        self.0
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Rate, String> {
        let wrong = || format!("`{text}` is not a bandwidth; write bytes per second as in 500K, 2M or 4MiB");
        let amount = text.strip_suffix("/s").unwrap_or(&text);
        let digits = amount.len() - amount.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = amount.split_at(digits);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(wrong)?;
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*scale)).ok_or_else(wrong)?;
        if !(LEAST..=MOST).contains(&bytes) {
            return Err(format!("`{text}` is out of range; a bandwidth is 1K to 10000M bytes per second"));
        }
        Ok(Rate(bytes))
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every rate was read as a multiple of some unit.
        let (unit, scale) = UNITS.iter().find(|(_, scale)| self.0.is_multiple_of(*scale)).unwrap_or(&UNITS[3]);
        write!(f, "{}{unit}", self.0 / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown() {
        for (text, bytes) in [("500K", 500_000), ("2M/s", 2_000_000), ("4MiB", 4 << 20), ("3 KiB", 3 << 10)] {
            let rate = Rate::try_from(text.to_owned()).unwrap();
            assert_eq!(rate.bytes_per_second(), bytes);
            assert_eq!(Rate::try_from(rate.to_string()), Ok(rate));
        }
        for text in ["", "500", "K", "0K", "-1K", "1.5M", "999999999999M", "18446744073709551615M", "5k", "1KB"] {
            assert!(Rate::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
