//! A transport over a file descriptor, with poll for the deadlines.

use super::Transport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::time::{Duration, Instant};

/// Longest time that a port may refuse to take a request's few bytes.
const SEND_WITHIN: Duration = Duration::from_secs(2);

pub(super) struct FdTransport {
    name: String,
    fd: OwnedFd,
    started: Instant,
    /// Drops what the kernel has buffered, which only a terminal can be told to.
    terminal: bool,
}

impl FdTransport {
    /// `fd` must be non-blocking.
    pub(super) fn new(name: String, fd: OwnedFd, terminal: bool) -> Self {
        Self { name, fd, started: Instant::now(), terminal }
    }

    fn ready(&self, flags: PollFlags, timeout: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            match poll(&mut [PollFd::new(&self.fd, flags)], Some(&left)) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match rustix::io::read(&self.fd, &mut *buffer) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the port was closed")),
            Ok(count) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl Transport for FdTransport {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            if !self.ready(PollFlags::OUT, SEND_WITHIN)? {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the port takes no bytes"));
            }
            match rustix::io::write(&self.fd, left) {
                Ok(count) => left = &left[count..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        if self.ready(PollFlags::IN, timeout)? { self.read(buffer) } else { Ok(0) }
    }

    fn discard(&mut self) -> io::Result<()> {
        if self.terminal {
            rustix::termios::tcflush(self.fd.as_fd(), rustix::termios::QueueSelector::IFlush)?;
        }
        let mut rubbish = [0; 256];
        while self.ready(PollFlags::IN, Duration::ZERO)? && self.read(&mut rubbish)? > 0 {}
        Ok(())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}
