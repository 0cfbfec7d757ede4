//! Lengths of time as people write them: `200ms`, `1.5s`, `5 min`.

use std::time::Duration;

/// Units, longest first, in milliseconds. Of two names of a unit the first one is written.
const UNITS: [(&str, u64); 5] = [("h", 3_600_000), ("min", 60_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no length of time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotASpan {
    #[error("`{0}` lacks a unit; write {0}ms or {0}s")]
    NoUnit(String),
    #[error("`{0}` is not a length of time; write a number and a unit (ms, s, min or m, h), as in 200ms, 1.5s, 2min")]
    Other(String),
}

/// Reads a number, whole or with decimals, and a unit: `ms`, `s`, `min` or `m`, `h`.
///
/// # Errors
/// [`NotASpan`], also for what is longer than 2^64 seconds or finer than a nanosecond.
pub fn parse(text: &str) -> Result<Duration, NotASpan> {
    let other = || NotASpan::Other(text.to_owned());
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && decimals.is_empty()) || decimals.contains('.') {
        return Err(other());
    }
    if unit.is_empty() {
        return Err(NotASpan::NoUnit(text.trim_end().to_owned()));
    }
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(other)?;
    nanoseconds(whole, decimals, *millis).ok_or_else(other)
}

/// As [`parse`], and a number without unit counts seconds: for command lines.
///
/// # Errors
/// As [`parse`].
pub fn parse_or_seconds(text: &str) -> Result<Duration, NotASpan> {
    match parse(text) {
        Err(NotASpan::NoUnit(number)) => parse(&format!("{number}s")).map_err(|_| NotASpan::Other(text.to_owned())),
        read => read,
    }
}

/// Exact: decimals that do not come to whole nanoseconds are refused.
fn nanoseconds(whole: &str, decimals: &str, millis: u64) -> Option<Duration> {
    let scale = u128::from(millis) * 1_000_000;
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok().map(u128::from) };
    let decimals = decimals.trim_end_matches('0');
    let parts = 10u128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let below = number(decimals)? * scale;
    if !below.is_multiple_of(parts) {
        return None;
    }
    let nanos = number(whole)? * scale + below / parts;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).ok()?))
}

/// Writes whole milliseconds in the longest unit that they fill: `2min`.
#[must_use]
pub fn show(millis: u64) -> String {
    let fills = |(_, scale): &&(&str, u64)| millis >= *scale && millis.is_multiple_of(*scale);
    let (unit, scale) = UNITS.iter().find(fills).unwrap_or(&("ms", 1));
    format!("{}{unit}", millis / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_units_and_decimals_are_read() {
        let read = |text| parse(text).unwrap();
        assert_eq!(read("200ms"), Duration::from_millis(200));
        assert_eq!(read("5 s"), Duration::from_secs(5));
        assert_eq!(read("1.5m"), Duration::from_secs(90));
        assert_eq!(read("2min"), read("2m"));
        assert_eq!(read(".25h"), Duration::from_secs(900));
        assert_eq!(read("1.000001ms"), Duration::from_nanos(1_000_001));
        assert_eq!(parse_or_seconds("3"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_or_seconds("0.5"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in
            ["", "s", ".", ".s", "1.2.3s", "5 days", "-1s", "1e3s", "5ß", "99999999999999999999s", "0.0000001ms"]
        {
            assert_eq!(parse(text), Err(NotASpan::Other(text.to_owned())), "{text}");
            assert!(parse_or_seconds(text).is_err(), "{text}");
        }
        assert!(parse("18446744073709551615h").is_err());
        assert_eq!(parse("200").unwrap_err().to_string(), "`200` lacks a unit; write 200ms or 200s");
    }

    #[test]
    fn the_longest_unit_that_fits_is_written() {
        let texts = [0, 1, 1_500, 2_000, 120_000, 3_600_000].map(show);
        assert_eq!(texts, ["0ms", "1ms", "1500ms", "2s", "2min", "1h"]);
        assert!(texts.iter().all(|text| parse(text).is_ok()));
    }
}
