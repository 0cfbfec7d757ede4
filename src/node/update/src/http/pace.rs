//! A limit on bandwidth.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stopped;
use super::watch::Watch;

/// How far the limit may be exceeded after a pause.
const BURST: Duration = Duration::from_millis(250);
/// Between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Lets bytes through at a rate: each has its time, and who is ahead of it waits.
pub struct Pace {
    /// Bytes per second.
    rate: u64,
    /// When the bytes so far are due.
    due: Instant,
    watch: Arc<Watch>,
}

impl Pace {
    pub fn new(rate: u64, watch: Arc<Watch>) -> Pace {
        Pace { rate: rate.max(1), due: Instant::now(), watch }
    }

    /// Waits until `count` more bytes have had their time.
    ///
    /// # Errors
    /// Everything is to stop.
    pub fn take(&mut self, count: u64) -> io::Result<()> {
        let now = Instant::now();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        // At most some 16 KiB at a time: no overflow.
        let nanos = count.saturating_mul(1_000_000_000) / self.rate;
        self.due = self.due.max(earliest) + Duration::from_nanos(nanos);
        if sleep(self.due.saturating_duration_since(now), &self.watch) { Ok(()) } else { Err(stopped()) }
    }
}

/// Sleeps for `time`; false if everything is to stop before it is over.
pub fn sleep(time: Duration, watch: &Watch) -> bool {
    let end = Instant::now() + time;
    loop {
        if watch.stopped() {
            return false;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(LOOK));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::super::Settings;
    use super::*;

    fn pace(rate: u64, settings: &Settings<'_>) -> Pace {
        Pace::new(rate, Arc::new(Watch::new(Duration::MAX, 0, settings)))
    }

    #[test]
    fn bytes_come_no_faster_than_the_rate() {
        let mut pace = pace(100_000, &Settings::default());
        let start = Instant::now();
        for _ in 0..20 {
            pace.take(4_000).unwrap();
        }
        // 80 kB at 100 kB/s, less the burst.
        assert!(start.elapsed() >= Duration::from_millis(550), "{:?}", start.elapsed());
    }

    #[test]
    fn a_stop_ends_the_waiting() {
        let settings = Settings::default();
        settings.stop.store(true, Relaxed);
        assert!(pace(1, &settings).take(1_000_000).is_err());
    }
}
