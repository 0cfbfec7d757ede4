//! Time that never jumps: `CLOCK_MONOTONIC`, in nanoseconds, the clock of the kernel's GPIO events too.

use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{Timespec, clock_gettime};

const NANOS: u64 = 1_000_000_000;

/// A clock that a thread can sleep by. Tests bring their own.
pub trait Clock {
    /// Nanoseconds since some moment before the start of the system.
    fn now(&self) -> u64;
    /// Returns at `at` or a little later; at once if `at` has passed.
    fn sleep_until(&self, at: u64);
}

/// The kernel's clock.
#[derive(Clone, Copy, Default)]
pub struct Monotonic;

impl Clock for Monotonic {
    fn now(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        // This clock starts at zero: neither part is negative.
        (now.tv_sec as u64).saturating_mul(NANOS).saturating_add(now.tv_nsec as u64)
    }

    fn sleep_until(&self, at: u64) {
        let at = Timespec { tv_sec: (at / NANOS) as i64, tv_nsec: (at % NANOS) as _ };
        // An absolute time makes going on after a signal exact.
        while clock_nanosleep_absolute(ClockId::Monotonic, &at) == Err(rustix::io::Errno::INTR) {}
    }
}

/// Seconds since 1970-01-01 UTC; 0 before that.
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
