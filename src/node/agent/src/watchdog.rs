//! The hardware watchdog, `Documentation/watchdog/watchdog-api.rst`. It is fed under the same conditions as the beat is
//! given.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rustix::ioctl::{Updater, ioctl, opcode};

use crate::beat::Permit;
use crate::clock::Clock;

/// `WDIOC_SETTIMEOUT`, linux/watchdog.h.
const SET_TIMEOUT: rustix::ioctl::Opcode = opcode::read_write::<i32>(b'W', 6);
/// Written last before closing, tells the driver that the close is meant.
const MAGIC_CLOSE: &[u8] = b"V";
/// Any other byte is a feed.
const FEED: &[u8] = b"\0";

/// An armed watchdog. Once opened, it resets the node unless it is fed or [`Watchdog::disarm`]ed.
#[derive(Debug)]
pub struct Watchdog {
    file: Mutex<Option<File>>,
    /// Seconds that the hardware waits.
    timeout: u32,
    pub fed: AtomicU64,
    pub withheld: AtomicU64,
    pub errors: AtomicU64,
}

impl Watchdog {
    /// Opens and thereby arms the watchdog, with `timeout` seconds or what the hardware makes of it. A complaint comes
    /// along if it did not take a timeout.
    ///
    /// # Errors
    /// Those of `open(2)`: missing, not permitted, or held by systemd.
    pub fn arm(path: &Path, timeout: u32) -> io::Result<(Watchdog, Option<io::Error>)> {
        let file = OpenOptions::new().write(true).open(path)?;
        let mut seconds = i32::try_from(timeout).unwrap_or(i32::MAX);
        // SAFETY: WDIOC_SETTIMEOUT reads one int and writes back the timeout in force.
        let set = unsafe { ioctl(&file, Updater::<SET_TIMEOUT, i32>::new(&mut seconds)) };
        let complaint = set.err().map(io::Error::from);
        let timeout = u32::try_from(seconds).unwrap_or(timeout).max(1);
        let count = || AtomicU64::new(0);
        let file = Mutex::new(Some(file));
        Ok((Watchdog { file, timeout, fed: count(), withheld: count(), errors: count() }, complaint))
    }

    /// Seconds until the hardware resets a node that does not feed it.
    pub fn timeout(&self) -> u32 {
        self.timeout
    }

    /// Feeds until `stop`, or as long as it is armed. Calls `withheld` for each feed that is not given.
    pub fn feed(&self, clock: &impl Clock, permit: &Permit, withheld: &dyn Fn(), stop: &AtomicBool) {
        // Two feeds may fail before the hardware loses its patience.
        let interval = u64::from(self.timeout).saturating_mul(1_000_000_000) / 3;
        let mut due = clock.now();
        while !stop.load(Relaxed) {
            if permit.withheld_for(clock.now()).is_empty() {
                let Ok(mut file) = self.file.lock() else { return };
                match file.as_mut().map(|file| file.write_all(FEED)) {
                    None => return,
                    Some(Ok(())) => self.fed.fetch_add(1, Relaxed),
                    Some(Err(_)) => self.errors.fetch_add(1, Relaxed),
                };
            } else {
                self.withheld.fetch_add(1, Relaxed);
                withheld();
            }
            due = due.saturating_add(interval).max(clock.now());
            clock.sleep_until(due);
        }
    }

    /// Closes the watchdog so that it does not reset the node (unless the kernel was built not to allow that).
    ///
    /// # Errors
    /// Those of `write(2)`; the watchdog is still armed then.
    pub fn disarm(&self) -> io::Result<()> {
        match self.file.lock().map(|mut file| file.take()) {
            Ok(Some(mut file)) => file.write_all(MAGIC_CLOSE),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::{Condition, Conditions};
    use std::cell::Cell;

    struct Steps<'a>(Cell<u64>, u64, &'a AtomicBool);

    impl Clock for Steps<'_> {
        fn now(&self) -> u64 {
            self.0.get()
        }

        fn sleep_until(&self, at: u64) {
            self.0.set(at);
            self.2.store(at >= self.1, Relaxed);
        }
    }

    fn feed(seconds: u64, permit: &Permit) -> (String, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watchdog");
        std::fs::write(&path, "").unwrap();
        let (watchdog, complaint) = Watchdog::arm(&path, 15).unwrap();
        assert!(complaint.is_some(), "a file takes no timeout");
        let stop = AtomicBool::new(false);
        let clock = Steps(Cell::new(0), seconds * 1_000_000_000, &stop);
        watchdog.feed(&clock, permit, &|| {}, &stop);
        watchdog.disarm().unwrap();
        (std::fs::read_to_string(&path).unwrap(), watchdog.withheld.load(Relaxed))
    }

    #[test]
    fn it_is_fed_three_times_in_its_timeout_and_closed_with_the_magic_byte() {
        assert_eq!(feed(15, &Permit::new(0, u64::MAX)), ("\0\0\0V".to_owned(), 0));
    }

    #[test]
    fn it_is_not_fed_while_a_condition_fails() {
        let permit = Permit::new(0, u64::MAX);
        permit.set_failing(Conditions::NONE.with(Condition::Overlay));
        assert_eq!(feed(15, &permit), ("V".to_owned(), 3));
    }

    #[test]
    fn a_watchdog_dropped_without_disarming_gets_no_magic_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watchdog");
        std::fs::write(&path, "").unwrap();
        drop(Watchdog::arm(&path, 15).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
