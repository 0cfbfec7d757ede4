//! What carries the bus's bytes: a serial port, a pseudo-terminal, a TCP connection, or a simulated stack.

mod fd;
pub mod port;

use std::io;
use std::time::Duration;

pub use port::{Port, PortError, open};

/// A half-duplex line to the boards, and the time on it. Time belongs to the line, so that a simulated one can be
/// faster than the world.
pub trait Transport: Send {
    /// What the operator calls it, for messages.
    fn name(&self) -> &str;

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// The port is gone.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits up to `timeout` for bytes and returns how many came; 0 is a time-out.
    ///
    /// # Errors
    /// The port is gone.
    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize>;

    /// Drops what has come in unread.
    ///
    /// # Errors
    /// The port is gone.
    fn discard(&mut self) -> io::Result<()>;

    /// Time since any fixed start.
    fn now(&self) -> Duration;

    /// Lets time pass.
    fn wait(&mut self, time: Duration);
}
