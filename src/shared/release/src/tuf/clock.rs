//! Times in metadata, and what a node knows of the present one.

use std::fmt;
use std::str::FromStr;

use fruit_base::calendar::Date;

/// Seconds since 1970-01-01 00:00:00 UTC. As text `2026-11-26T01:17:17Z`, the only form that TUF has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Time(i64);

/// Seconds of a day.
const DAY: i64 = 86_400;
/// 9999-12-31T23:59:59Z: years have four digits.
const LAST: i64 = 253_402_300_799;

/// A text that is no time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no time of the form 2026-11-26T01:17:17Z")]
pub struct NotATime(String);

impl Time {
    /// Times outside the years 1970 to 9999 become the nearest one within.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Time {
        Time(seconds.clamp(0, LAST))
    }

    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// `days` later.
    #[must_use]
    pub fn plus_days(self, days: u32) -> Time {
        Time::from_seconds(self.0 + i64::from(days) * DAY)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Date { year, month, day } = Date::from_days(self.0.div_euclid(DAY));
        let second = self.0.rem_euclid(DAY);
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
    }
}

impl FromStr for Time {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Time, NotATime> {
        read(text).ok_or_else(|| NotATime(text.chars().take(40).collect()))
    }
}

fn read(text: &str) -> Option<Time> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    for (at, mark) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')] {
        if bytes[at] != mark {
            return None;
        }
    }
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let date = Date { year, month, day };
    let days = date.days();
    // A day that its month does not have comes back as one of the next month.
    if Date::from_days(days) != date {
        return None;
    }
    Some(Time(days * DAY + hour * 3600 + minute * 60 + second))
}

/// What a node knows of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// Set by a real-time clock with a battery or by the network: expired metadata is refused.
    Trusted(Time),
    /// Nothing has set it: the present is at least the later of these two and of the newest signed time that was
    /// verified. Expired metadata is used and reported, since refusing it would shut out nodes without a clock.
    Unset {
        /// When the running image was built.
        built: Time,
        /// What was saved on the data partition when the node last knew better.
        saved: Option<Time>,
    },
}

impl Clock {
    /// The present, or the latest time that is surely past.
    #[must_use]
    pub fn now(&self, newest_signed: Option<Time>) -> Time {
        match *self {
            Clock::Trusted(now) => now,
            Clock::Unset { built, saved } => built.max(saved.unwrap_or(built)).max(newest_signed.unwrap_or(built)),
        }
    }

    #[must_use]
    pub fn is_trusted(&self) -> bool {
        matches!(self, Clock::Trusted(_))
    }
}

/// How current verified metadata is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Nothing has expired, by a clock that can be trusted.
    Fresh,
    /// Something expired then.
    StaleSince(Time),
    /// Nothing has surely expired, but nobody knows the time; or there is no metadata yet.
    Unknown,
}

impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Freshness::Fresh => f.write_str("fresh"),
            Freshness::StaleSince(time) => write!(f, "stale since {time}"),
            Freshness::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_those_of_date() {
        // `date -u -d @N +%FT%TZ`
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_655_837, "2026-11-26T01:17:17Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Time(seconds).to_string(), text);
            assert_eq!(text.parse(), Ok(Time(seconds)));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-26",
            "2026-11-26T01:17:17",
            "2026-11-26T01:17:17z",
            "2026-11-26 01:17:17Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "1969-12-31T23:59:59Z",
            "+026-01-01T00:00:00Z",
            "2026-11-26T01:17:17.5Z",
            "2026-11-26T01:17:1éZ",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn without_a_clock_the_present_is_the_latest_time_known() {
        let at = Time::from_seconds;
        let clock = Clock::Unset { built: at(10), saved: Some(at(20)) };
        assert_eq!((clock.now(None), clock.now(Some(at(15))), clock.now(Some(at(30)))), (at(20), at(20), at(30)));
        assert_eq!(Clock::Unset { built: at(10), saved: None }.now(None), at(10));
        assert_eq!(Clock::Trusted(at(5)).now(Some(at(30))), at(5));
    }

    proptest! {
        #[test]
        fn any_time_reads_back(seconds in 0..=LAST) {
            prop_assert_eq!(Time(seconds).to_string().parse(), Ok(Time(seconds)));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,24}") {
            let _ = text.parse::<Time>();
        }
    }
}
