//! Times on the command line.

use std::time::Duration;

/// Reads a time: a number and a unit (`ms`, `s`, `m` or `min`, `h`), or plain seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    fruit_base::span::parse_or_seconds(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_units() {
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("2min"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("3"), Ok(Duration::from_secs(3)));
        assert!(parse("-1s").is_err() && parse("2x").is_err() && parse("s").is_err() && parse("").is_err());
    }
}
