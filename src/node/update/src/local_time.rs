//! The time of the week where the node is, and whether the node knows it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use fruit_contract::update::window::WeekMinute;

/// Made by systemd-timesyncd when the network has set the clock.
const SYNCHRONIZED: &str = "run/systemd/timesync/synchronized";
/// Clocks with a battery; `hctosys` is 1 for the one that the kernel has taken the time from.
const BATTERY_CLOCKS: &str = "sys/class/rtc";

/// The time of the week in the node's time zone (`/etc/localtime`, or `TZ`).
pub fn now() -> Option<WeekMinute> {
    at(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The time of the week at `seconds` since 1970.
pub fn at(seconds: u64) -> Option<WeekMinute> {
    // SAFETY: a plain C structure of numbers and a pointer, for which zeros are valid.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // Of the width that this C library has.
    let seconds = seconds.try_into().ok()?;
    // SAFETY: both pointers are to values that live through the call, and the result is in the second one.
    let done = unsafe { libc::localtime_r(&raw const seconds, &raw mut local) };
    if done.is_null() {
        return None;
    }
    let number = |n: libc::c_int| u32::try_from(n).ok();
    // C counts days from Sunday.
    Some(WeekMinute::new((number(local.tm_wday)? + 6) % 7, number(local.tm_hour)?, number(local.tm_min)?))
}

/// Whether the clock shows the time: it was set by the network, or taken from a clock with a battery. `root`: `/`.
pub fn is_known(root: &Path) -> bool {
    let battery = || {
        let clocks = std::fs::read_dir(root.join(BATTERY_CLOCKS)).ok()?;
        clocks
            .flatten()
            .map(|clock| clock.path().join("hctosys"))
            .find(|path| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1"))
    };
    is_set_by_network(root) || battery().is_some()
}

/// Whether the network has set the clock. `root`: `/`.
pub fn is_set_by_network(root: &Path) -> bool {
    root.join(SYNCHRONIZED).exists() || root == Path::new("/") && kernel_says_so()
}

/// A time daemon other than systemd's tells the kernel (adjtimex(2)).
fn kernel_says_so() -> bool {
    // SAFETY: a plain C structure of numbers; with modes 0 the kernel only fills it in.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a value that lives through the call.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    state != -1 && state != libc::TIME_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_battery_or_the_network_make_the_time_known() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_known(root.path()));
        let clock = root.path().join(BATTERY_CLOCKS).join("rtc0");
        std::fs::create_dir_all(&clock).unwrap();
        std::fs::write(clock.join("hctosys"), "0\n").unwrap();
        assert!(!is_known(root.path()));
        std::fs::write(clock.join("hctosys"), "1\n").unwrap();
        assert!(is_known(root.path()));
        std::fs::remove_dir_all(root.path().join("sys")).unwrap();
        std::fs::create_dir_all(root.path().join("run/systemd/timesync")).unwrap();
        std::fs::write(root.path().join(SYNCHRONIZED), "").unwrap();
        assert!(is_known(root.path()));
    }

    #[test]
    fn the_time_zone_counts_with_its_summer_time() {
        // The time zone is the process's: this test runs itself in processes of their own.
        const IN_ZONE: &str = "FRUIT_UPDATE_TEST_IN_ZONE";
        if std::env::var_os(IN_ZONE).is_some() {
            println!("{:?}", (at(1_700_000_000), at(1_720_000_000)));
            return;
        }
        for (zone, winter, summer) in [
            // Tuesday 2023-11-14 22:13:20 UTC and Wednesday 2024-07-03 09:46:40 UTC.
            ("UTC0", WeekMinute::new(1, 22, 13), WeekMinute::new(2, 9, 46)),
            ("CET-1CEST,M3.5.0,M10.5.0/3", WeekMinute::new(1, 23, 13), WeekMinute::new(2, 11, 46)),
            ("JST-9", WeekMinute::new(2, 7, 13), WeekMinute::new(2, 18, 46)),
        ] {
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "local_time::tests::the_time_zone_counts_with_its_summer_time", "--nocapture"])
                .env("TZ", zone)
                .env(IN_ZONE, "1")
                .output()
                .unwrap();
            let out = String::from_utf8(child.stdout).unwrap();
            assert!(out.contains(&format!("{:?}", (Some(winter), Some(summer)))), "{zone}: {out}");
        }
    }
}
