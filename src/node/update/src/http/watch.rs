//! Looks at every byte that comes in: whether it comes fast enough, and whether all is to stop.
//!
//! It sits between TCP and TLS, so that neither a server that sends nothing nor one that sends a byte now and then can
//! hold a request up, whatever layer it does it on.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Error, unversioned::transport::time};

use super::{Alive, Settings, Stop, stopped};

/// Longest wait between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(250);

/// What one request has cost so far.
#[derive(Debug, Default)]
struct Counts {
    waited: Duration,
    received: u64,
}

/// Rules of a client, and the counts of its request.
pub struct Watch {
    window: Duration,
    least_rate: u64,
    stop: Stop,
    alive: Alive,
    counts: Mutex<Counts>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Watch {
    pub fn new(window: Duration, least_rate: u64, settings: &Settings<'_>) -> Watch {
        let (stop, alive) = (Arc::clone(&settings.stop), Arc::clone(&settings.alive));
        Watch { window, least_rate, stop, alive, counts: Mutex::default() }
    }

    /// Whether all is to stop. Asked wherever something is waited for, so it also says that the program is alive.
    pub fn stopped(&self) -> bool {
        (self.alive)();
        self.stop.load(Relaxed)
    }

    /// A request begins.
    pub fn begin(&self) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = Counts::default();
    }

    /// Counts time and bytes.
    fn count(&self, waited: Duration, received: u64) -> Result<(), Error> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.waited += waited;
        counts.received += received;
        if counts.waited < self.window {
            return Ok(());
        }
        let Counts { waited, received } = std::mem::take(&mut *counts);
        if received >= self.least_rate.saturating_mul(waited.as_millis() as u64) / 1_000 {
            return Ok(());
        }
        let why = format!("too slow: {received} bytes in {:.1} s of waiting", waited.as_secs_f64());
        Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

/// Puts the watch around connections.
#[derive(Debug)]
pub struct WatchConnector(pub Arc<Watch>);

impl<In: Transport> Connector<In> for WatchConnector {
    type Out = Watched<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Watched<In>>, Error> {
        Ok(chained.map(|inner| Watched { inner, watch: Arc::clone(&self.0) }))
    }
}

/// A connection that is watched.
#[derive(Debug)]
pub struct Watched<In> {
    inner: In,
    watch: Arc<Watch>,
}

impl<In: Transport> Transport for Watched<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let mut left = timeout;
        loop {
            if self.watch.stopped() {
                return Err(Error::Io(stopped()));
            }
            let (start, before) = (Instant::now(), self.inner.buffers().input().len());
            let mut slice = left;
            slice.after = time::Duration::Exact((*left.after).min(LOOK));
            let result = self.inner.await_input(slice);
            let waited = start.elapsed();
            let received = self.inner.buffers().input().len().saturating_sub(before);
            self.watch.count(waited, received as u64)?;
            match result {
                Err(Error::Timeout(_)) if *left.after > LOOK => {
                    if !left.after.is_not_happening() {
                        left.after = time::Duration::Exact(left.after.saturating_sub(waited.max(LOOK)));
                    }
                }
                result => return result,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
