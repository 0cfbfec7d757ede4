//! Days and dates of the Gregorian calendar.
//!
//! H. Hinnant, "chrono-Compatible Low-Level Date Algorithms": a year is taken to start in March, so that the leap day is
//! its last day, and 400 of them make an era of 146097 days.

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;
/// Days of 400 years.
const ERA: i64 = 146_097;

/// A day of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

impl Date {
    /// `days` since 1970-01-01, some million years around it.
    #[must_use]
    pub fn from_days(days: i64) -> Date {
        let days = days + EPOCH;
        let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = (from_march + 2) % 12 + 1;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Date { year, month, day: day_of_year - (153 * from_march + 2) / 5 + 1 }
    }

    /// Days since 1970-01-01. A day that its month does not have counts on into the next.
    #[must_use]
    pub fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        era * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let date = |year, month, day| Date { year, month, day };
        // As `date -u -d @SECONDS` prints them.
        let known = [
            (0, date(1970, 1, 1)),
            (-1, date(1969, 12, 31)),
            (11_015, date(2000, 2, 28)),
            (11_016, date(2000, 2, 29)),
            (19_782, date(2024, 2, 29)),
            (47_541, date(2100, 3, 1)),
        ];
        for (days, date) in known {
            assert_eq!((Date::from_days(days), date.days()), (date, days));
        }
    }

    proptest! {
        #[test]
        fn every_day_has_a_date_and_back(days in -1_000_000_000i64..1_000_000_000) {
            let (today, tomorrow) = (Date::from_days(days), Date::from_days(days + 1));
            prop_assert_eq!(today.days(), days);
            prop_assert!((today.year, today.month, today.day) < (tomorrow.year, tomorrow.month, tomorrow.day));
            prop_assert!((1..=12).contains(&today.month) && (1..=31).contains(&today.day));
        }
    }
}
