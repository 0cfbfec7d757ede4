//! Maintenance windows: times of the week, in the node's time zone, in which it may be disturbed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Minutes of a day and of a week.
const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A time of the week: minutes since Monday, 00:00, local time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WeekMinute(u32);

impl WeekMinute {
    /// `weekday`: 0 is Monday. Values past the end wrap around.
    pub const fn new(weekday: u32, hour: u32, minute: u32) -> WeekMinute {
        WeekMinute((weekday % 7 * DAY + hour % 24 * 60 + minute % 60) % WEEK)
    }
}

/// `[DAYS] [FROM-TO]`, as in `Mon-Fri 01:00-04:00`, `Sat,Sun`, `02:30-03:30`. Without days every day; without times the
/// whole day. A window that ends at or before its start goes on into the next day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^[A-Za-z0-9,:-]+( +[0-9:-]+)?$")))]
pub struct Window {
    /// Monday first.
    days: [bool; 7],
    /// Minute of the day.
    start: u32,
    /// Minutes, 1 to 24 hours.
    length: u32,
    text: String,
}

impl Window {
    /// Whether the window is open at `now`.
    pub fn contains(&self, now: WeekMinute) -> bool {
        (0..7u32).zip(self.days).any(|(day, on)| {
            let since = (now.0 + WEEK - (day * DAY + self.start)) % WEEK;
            on && since < self.length
        })
    }
}

fn day(text: &str) -> Option<usize> {
    DAYS.iter().position(|day| day.eq_ignore_ascii_case(text))
}

fn days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // Sat-Mon goes over the end of the week.
        let count = (last + 7 - first) % 7 + 1;
        for i in 0..count {
            days[(first + i) % 7] = true;
        }
    }
    Some(days)
}

/// `HH:MM`, also 24:00.
fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let number =
        |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?;
    let (hour, minute): (u32, u32) = (number(hour)?, number(minute)?);
    (hour < 24 && minute < 60 || (hour, minute) == (24, 0)).then_some(hour * 60 + minute)
}

fn times(text: &str) -> Option<(u32, u32)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    if from == DAY {
        return None;
    }
    Some((from, if to > from { to - from } else { to + DAY - from }))
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Window, String> {
        let wrong = || {
            format!(
                "`{text}` is not a window; write days and times as in `Mon-Fri 01:00-04:00`, `Sat,Sun` or `23:30-02:00`"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let all = [true; 7];
        let (days, (start, length)) = match words[..] {
            [one] if one.contains(':') => (all, times(one).ok_or_else(wrong)?),
            [one] => (days(one).ok_or_else(wrong)?, (0, DAY)),
            [some, span] => (days(some).ok_or_else(wrong)?, times(span).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        let text = words.join(" ");
        Ok(Window { days, start, length, text })
    }
}

impl From<Window> for String {
    fn from(window: Window) -> String {
        window.text
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether the node may be disturbed at `now`: without windows always.
pub fn open(windows: &[Window], now: WeekMinute) -> bool {
    windows.is_empty() || windows.iter().any(|window| window.contains(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        Window::try_from(text.to_owned()).unwrap()
    }

    fn at(day_name: &str, hour: u32, minute: u32) -> WeekMinute {
        WeekMinute::new(day(day_name).unwrap() as u32, hour, minute)
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_to_the_one_before_its_end() {
        let nights = window("Mon-Fri 01:00-04:00");
        assert!(!nights.contains(at("Tue", 0, 59)));
        assert!(nights.contains(at("Tue", 1, 0)) && nights.contains(at("Tue", 3, 59)));
        assert!(!nights.contains(at("Tue", 4, 0)) && !nights.contains(at("Sat", 2, 0)));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
        let late = window("Sun 23:00-02:00");
        assert!(late.contains(at("Sun", 23, 30)) && late.contains(at("Mon", 1, 59)));
        assert!(
            !late.contains(at("Mon", 2, 0)) && !late.contains(at("Sun", 1, 0)) && !late.contains(at("Mon", 23, 30))
        );
    }

    #[test]
    fn days_alone_are_whole_days_and_times_alone_are_daily() {
        let weekend = window("sat,SUN");
        assert!(weekend.contains(at("Sat", 0, 0)) && weekend.contains(at("Sun", 23, 59)));
        assert!(!weekend.contains(at("Mon", 0, 0)) && !weekend.contains(at("Fri", 23, 59)));
        let daily = window("02:30-03:30");
        assert!(DAYS.iter().all(|day| daily.contains(at(day, 3, 0)) && !daily.contains(at(day, 3, 30))));
        let over = window("Sat-Mon 00:00-24:00");
        assert!(over.contains(at("Mon", 12, 0)) && !over.contains(at("Tue", 0, 0)));
        assert!(window("00:00-00:00").contains(at("Wed", 12, 0)));
    }

    #[test]
    fn without_windows_any_time_will_do() {
        assert!(open(&[], at("Mon", 0, 0)));
        assert!(!open(&[window("Sun")], at("Mon", 0, 0)));
        assert!(open(&[window("Sun"), window("Mon 00:00-00:01")], at("Mon", 0, 0)));
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "Mo",
            "Mon-",
            "Mon 1:00-2:00",
            "Mon 01:00",
            "Mon 25:00-26:00",
            "01:60-02:00",
            "24:00-01:00",
            "Mon Tue",
            "Mon 01:00-02:00 x",
            "01:00-24:01",
            "Mon,,Tue",
            "+1:00-02:00",
        ] {
            assert!(Window::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
