//! Dates as Release files write them (`Sat, 12 Sep 2026 07:55:41 UTC`), to and from seconds since 1970-01-01 UTC.

use fruit_base::calendar::Date;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: i64 = 86_400;

/// Seconds since 1970-01-01 UTC. The weekday is not looked at; zones are `UTC`, `GMT`, `Z` and offsets such as `+0800`,
/// which the repository format does not allow and generators write all the same.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = text.split_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|m| *m == month)? as i64 + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|n| n.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let ahead = offset(words.next()?)?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !in_range || clock.next().is_some() || words.next().is_some() {
        return None;
    }
    Some(Date { year, month, day }.days() * DAY + hour * 3600 + minute * 60 + second - ahead)
}

/// How many seconds a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "UTC" | "GMT" | "Z") {
        return Some(0);
    }
    let (sign, digits) = match (zone.strip_prefix('+'), zone.strip_prefix('-')) {
        (Some(digits), _) => (1, digits),
        (_, Some(digits)) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replacen(':', "", 1);
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
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
        assert_eq!(parse("Sat, 12 Sep 2026 15:55:41 +0800"), Some(1_789_199_741));
        assert_eq!(parse("Sat, 12 Sep 2026 04:25:41 -03:30"), Some(1_789_199_741));
        for bad in [
            "Sat, 12 Sep 2026 07:55:41 +9900",
            "Sat, 12 Sep 2026 07:55:41 +08é",
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
