//! Times and shares as people write them: `200ms`, `95%`.

use std::fmt;
use std::time::Duration;

use fruit_base::span::{self, show};
use serde::{Deserialize, Serialize};

/// A length of time, whole milliseconds, between `MIN` and `MAX` of them; written as a number and a unit
/// (`ms`, `s`, `min` or `m`, `h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(inline, extend("pattern" = r"^[0-9]+(\.[0-9]+)? *(ms|s|min|m|h)$")))]
pub struct Span<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Span<MIN, MAX> {
    /// The nearest length within the bounds.
    pub const fn from_millis(millis: u64) -> Span<MIN, MAX> {
        Span(if millis < MIN {
            MIN
        } else if millis > MAX {
            MAX
        } else {
            millis
        })
    }

    pub const fn millis(self) -> u64 {
        self.0
    }

    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

fn parse(text: &str) -> Result<u64, String> {
    let span = span::parse(text).map_err(|error| error.to_string())?;
    if span.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("`{text}` is finer than a millisecond"));
    }
    u64::try_from(span.as_millis()).map_err(|_| format!("`{text}` is too long"))
}

impl<const MIN: u64, const MAX: u64> TryFrom<String> for Span<MIN, MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Span<MIN, MAX>, String> {
        let millis = parse(&text)?;
        if (MIN..=MAX).contains(&millis) {
            Ok(Span(millis))
        } else {
            Err(format!("`{text}` is out of range; from {} to {} is possible", show(MIN), show(MAX)))
        }
    }
}

impl<const MIN: u64, const MAX: u64> From<Span<MIN, MAX>> for String {
    fn from(span: Span<MIN, MAX>) -> String {
        show(span.0)
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for Span<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show(self.0))
    }
}

/// A share of a whole, 1 to 100, written with a percent sign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(inline, extend("pattern" = r"^[0-9]{1,3} *%$")))]
pub struct Percent(u8);

impl Percent {
    /// The nearest share within 1 to 100.
    pub const fn of(percent: u8) -> Percent {
        Percent(if percent == 0 {
            1
        } else if percent > 100 {
            100
        } else {
            percent
        })
    }

    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Percent, String> {
        let number = text.strip_suffix('%').and_then(|n| n.trim_end().parse::<u8>().ok());
        match number {
            Some(percent @ 1..=100) => Ok(Percent(percent)),
            _ => Err(format!("`{text}` is not a share; write 1% to 100%")),
        }
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> String {
        percent.to_string()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_with_their_unit() {
        for (text, millis) in [
            ("0ms", 0),
            ("200ms", 200),
            ("5s", 5_000),
            ("5 s", 5_000),
            ("2min", 120_000),
            ("2m", 120_000),
            ("1.5s", 1_500),
            ("1h", 3_600_000),
        ] {
            assert_eq!(Span::<0, 4_000_000>::try_from(text.to_owned()).unwrap().millis(), millis, "{text}");
        }
    }

    #[test]
    fn lengths_of_time_without_sense_are_refused() {
        for text in ["", "s", "5", "5 days", "-1s", "1.5ms", "99999999999999999999s", "18446744073709551615h", "5ß"] {
            assert!(Span::<0, { u64::MAX }>::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert!(Span::<10, 20>::try_from("9ms".to_owned()).unwrap_err().contains("from 10ms to 20ms"));
    }

    #[test]
    fn shares_are_read_with_their_percent_sign() {
        assert_eq!(Percent::try_from("95%".to_owned()).unwrap().get(), 95);
        for text in ["", "%", "0%", "101%", "95", "-3%", "9.5%"] {
            assert!(Percent::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
