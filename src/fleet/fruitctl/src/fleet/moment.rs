//! Points in time on the command line, and the present.

use fruit_base::{calendar::Date, span};
use fruit_release::tuf::Time;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// When something ends: after some time, on a day, or never.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Seconds from now on.
    In(u64),
    /// Seconds since 1970.
    At(u64),
    Never,
}

/// Seconds of a day.
const DAY: u64 = 86_400;

impl Moment {
    /// Seconds since 1970, 0 for never, as records have it.
    pub fn seconds(self, now: u64) -> u64 {
        match self {
            Moment::In(seconds) => now.saturating_add(seconds),
            Moment::At(seconds) => seconds,
            Moment::Never => 0,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        let wrong = || format!("`{text}`: expected a time from now on (30d, 12h), a day (2027-01-31), or `never`");
        if text == "never" {
            return Ok(Moment::Never);
        }
        if let Some(days) = text.strip_suffix('d') {
            let days = days.parse::<u64>().ok().filter(|days| (1..=36_500).contains(days));
            return days.map(|days| Moment::In(days * DAY)).ok_or_else(wrong);
        }
        if let Ok(time) = format!("{text}T23:59:59Z").parse::<Time>() {
            return u64::try_from(time.seconds()).map(Moment::At).map_err(|_| wrong());
        }
        match span::parse(text) {
            Ok(span) if span.as_secs() > 0 => Ok(Moment::In(span.as_secs())),
            _ => Err(wrong()),
        }
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The beginning of 2026: no clock that was ever set says less.
const SET: u64 = 1_767_225_600;

/// [`now`], for what is signed: a clock that nobody has set would make what ends too soon, or take what has ended.
pub fn set_clock() -> Result<u64, crate::failure::Failure> {
    is_set(now())
}

fn is_set(now: u64) -> Result<u64, crate::failure::Failure> {
    match now {
        now @ SET.. => Ok(now),
        now => {
            let message = format!("the clock of this machine says {}: set it first", day(now));
            Err(crate::failure::Failure::new(crate::failure::Code::Refused, message))
        }
    }
}

/// `2027-01-31`, or `never` for 0.
pub fn shown(seconds: u64) -> String {
    if seconds == 0 { "never".to_owned() } else { day(seconds) }
}

fn day(seconds: u64) -> String {
    let Date { year, month, day } = Date::from_days(i64::try_from(seconds / DAY).unwrap_or(i64::MAX).min(2_932_896));
    format!("{year:04}-{month:02}-{day:02}")
}

/// How long ago, in the largest unit that fits; `never` if it is not known.
pub fn age(time: u64, now: u64) -> String {
    let seconds = now.saturating_sub(time);
    match (time, seconds) {
        (0, _) => "never".into(),
        (_, 0..60) => format!("{seconds}s"),
        (_, 60..3600) => format!("{}min", seconds / 60),
        (_, 3600..86_400) => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_shown() {
        assert_eq!("30d".parse(), Ok(Moment::In(30 * DAY)));
        assert_eq!("12h".parse(), Ok(Moment::In(12 * 3600)));
        assert_eq!("never".parse::<Moment>().map(|moment| moment.seconds(5)), Ok(0));
        let day = "2027-01-31".parse::<Moment>().unwrap().seconds(0);
        assert_eq!((day, shown(day).as_str(), shown(0).as_str()), (1_801_439_999, "2027-01-31", "never"));
        for text in ["", "0d", "d", "-1d", "99999999999d", "2027-02-30", "soon", "0s", "5"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
        assert!(!shown(u64::MAX).is_empty());
        assert_eq!(shown(12 * 3600), "1970-01-01", "a clock at 1970 makes nothing that never ends");
    }

    #[test]
    fn ages_are_in_the_largest_unit() {
        let ages = [(0, 5), (95, 100), (100, 400), (1, 8000), (1, 200_000), (100, 5)].map(|(time, now)| age(time, now));
        assert_eq!(ages, ["never", "5s", "5min", "2h", "2d", "0s"]);
    }

    #[test]
    fn a_clock_that_nobody_set_signs_nothing() {
        assert!(is_set(1000).is_err() && is_set(0).is_err());
        assert_eq!(is_set(SET).ok(), Some(SET));
    }
}
