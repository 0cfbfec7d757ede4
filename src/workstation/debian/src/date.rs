//! Dates as Release files write them (`Sat, 12 Sep 2026 07:55:41 UTC`), to and from seconds since 1970-01-01 UTC.

use fruit_base::calendar::Date;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: i64 = 86_400;

/// Seconds since 1970-01-01 UTC. The weekday is not looked at; zones are `UTC`, `GMT`, `Z` and `+0000`, as the
/// repository format allows no other.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = text.split_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|m| *m == month)? as i64 + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|n| n.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let zone_known = matches!(words.next()?, "UTC" | "GMT" | "Z" | "+0000");
    let in_range = (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !zone_known || !in_range || clock.next().is_some() || words.next().is_some() {
        return None;
    }
    Some(Date { year, month, day }.days() * DAY + hour * 3600 + minute * 60 + second)
}

/// `Sat, 12 Sep 2026 07:55:41 UTC`.
pub fn format(seconds: i64) -> String {
    let days = seconds.div_euclid(DAY);
    let rest = seconds.rem_euclid(DAY);
    let Date { year, month, day } = Date::from_days(days);
    let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
    let month = MONTHS[(month - 1) as usize];
    format!("{weekday}, {day:02} {month} {year} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_of_release_files_are_read_and_written() {
        let text = "Sat, 12 Sep 2026 07:55:41 UTC";
        assert_eq!(parse(text), Some(1_789_199_741));
        assert_eq!(format(1_789_199_741), text);
        assert_eq!(parse("Thu,  1 Jan 1970 00:00:00 +0000"), Some(0));
        assert_eq!(parse("Tue, 29 Feb 2028 12:00:00 GMT").map(format).unwrap(), "Tue, 29 Feb 2028 12:00:00 UTC");
        for bad in [
            "",
            "x",
            "Sat, 12 Sep 2026 07:55:41 CET",
            "Sat, 12 Sep 2026 25:55:41 UTC",
            "12 Sep 2026",
            "1 Foo 2026 1:1:1 UTC",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_second_survives_the_round_trip(seconds in 0i64..250_000_000_000) {
            prop_assert_eq!(parse(&format(seconds)), Some(seconds));
        }
    }
}
