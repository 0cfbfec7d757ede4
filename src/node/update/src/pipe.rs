//! Reading from a pipe, a terminal or a slow disk without hanging for ever.
//!
//! A source that stalls is given up after [`Patience::silence`]; one that trickles, when it brings less than
//! [`Patience::least`] bytes in [`Patience::span`]. Stopping takes effect meanwhile.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

/// How long it takes to look whether to stop.
const TICK: Duration = Duration::from_millis(200);

/// How slow a source may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Longest wait for the next byte.
    pub silence: Duration,
    /// In this time…
    pub span: Duration,
    /// …so many bytes must come.
    pub least: u64,
}

impl Default for Patience {
    /// A minute of silence; 64 KiB a minute, below which an update would take days.
    fn default() -> Patience {
        Patience { silence: Duration::from_secs(60), span: Duration::from_secs(60), least: 64 << 10 }
    }
}

/// A reader that gives up, with [`io::ErrorKind::TimedOut`], and that can be stopped, with
/// [`io::ErrorKind::Interrupted`]-like [`Stopped`].
pub struct Patient<'s, R> {
    inner: R,
    stop: &'s AtomicBool,
    patience: Patience,
    /// When the span in which bytes are counted began, without the time between reads.
    waited: Duration,
    bytes: u64,
}

impl<'s, R: Read + AsFd> Patient<'s, R> {
    pub fn new(inner: R, stop: &'s AtomicBool, patience: Patience) -> Patient<'s, R> {
        Patient { inner, stop, patience, waited: Duration::ZERO, bytes: 0 }
    }

    /// Waits until there is something to read, or the end.
    fn wait(&mut self) -> io::Result<()> {
        let began = Instant::now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("stopped"));
            }
            let mut fds = [PollFd::new(&self.inner, PollFlags::IN)];
            let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) as _ };
            match poll(&mut fds, Some(&tick)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => {
                    self.waited += began.elapsed();
                    return Ok(());
                }
                Err(e) => return Err(e.into()),
            }
            if began.elapsed() >= self.patience.silence {
                let message = format!("nothing came for {} s", self.patience.silence.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }
}

impl<R: Read + AsFd> Read for Patient<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.wait()?;
        if self.waited >= self.patience.span {
            if self.bytes < self.patience.least {
                let message = format!("only {} bytes in {} s", self.bytes, self.waited.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        let count = self.inner.read(buf)?;
        self.bytes += count as u64;
        Ok(count)
    }
}
