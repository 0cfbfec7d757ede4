//! Times on the command line: `2s`, `500ms`, `1.5m`, or plain seconds.

use std::time::Duration;

/// Reads a time.
pub fn parse(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is no unit of time: use ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no time: write 2s, 500ms or 1.5m"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| format!("`{text}` is not a possible time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_units() {
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("3"), Ok(Duration::from_secs(3)));
        assert!(parse("-1s").is_err() && parse("2x").is_err() && parse("s").is_err() && parse("").is_err());
    }
}
