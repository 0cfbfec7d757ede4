//! The two lines between node and board. Two kinds: lines of a GPIO chip (the kernel's character device, uAPI v2), and
//! lines of a simulated board behind a socket.

pub mod gpio;
pub mod socket;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fruit_contract::agent::config::Chip;

/// What the kernel shows as the user of a line (`gpioinfo`).
pub const CONSUMER: &str = "fruit-agent";

/// A line that the node drives.
pub trait OutputLine: Send {
    /// Neither allocates nor waits.
    ///
    /// # Errors
    /// Those of the device.
    fn set(&mut self, high: bool) -> io::Result<()>;
}

/// Change of a line's level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    Falling,
    Rising,
}

/// A line that the node listens to.
pub trait InputLine {
    /// Readable when there are edges.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Hands over the edges seen since the last call, each with its time by `CLOCK_MONOTONIC` in nanoseconds. Does not
    /// wait.
    ///
    /// # Errors
    /// Those of the device; the line is of no more use then.
    fn edges(&mut self, take: &mut dyn FnMut(Edge, u64)) -> io::Result<()>;

    /// Level at this moment, high = true.
    ///
    /// # Errors
    /// Those of the device.
    fn level(&mut self) -> io::Result<bool>;
}

/// Where lines come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Port {
    Chip(PathBuf),
    Socket(PathBuf),
}

impl Port {
    /// Finds what the configuration means; `dev` is `/dev`.
    ///
    /// # Errors
    /// The header's chip was not found.
    pub fn find(chip: &Chip, dev: &Path) -> io::Result<Port> {
        match chip {
            Chip::Auto => gpio::header_chip(dev).map(Port::Chip),
            Chip::Device(path) => Ok(Port::Chip(path.clone())),
            Chip::Socket(path) => Ok(Port::Socket(path.clone())),
        }
    }

    /// Takes line `number` as an output, low at first.
    ///
    /// # Errors
    /// The device is missing, not permitted, or the line is in use.
    pub fn output(&self, number: u8) -> io::Result<Box<dyn OutputLine>> {
        let line: io::Result<Box<dyn OutputLine>> = match self {
            Port::Chip(path) => gpio::Output::open(path, number).map(|line| Box::new(line) as _),
            Port::Socket(path) => socket::Output::open(path, number).map(|line| Box::new(line) as _),
        };
        line.map_err(|error| self.explain(number, error))
    }

    /// Takes line `number` as an input with both edges; sets no pull.
    ///
    /// # Errors
    /// The device is missing, not permitted, or the line is in use.
    pub fn input(&self, number: u8) -> io::Result<Box<dyn InputLine>> {
        let line: io::Result<Box<dyn InputLine>> = match self {
            Port::Chip(path) => gpio::Input::open(path, number).map(|line| Box::new(line) as _),
            Port::Socket(path) => socket::Input::open(path, number).map(|line| Box::new(line) as _),
        };
        line.map_err(|error| self.explain(number, error))
    }

    /// Drives line `number` low for `width`, then makes it an input again.
    ///
    /// # Errors
    /// The device is missing, not permitted, or the line is in use.
    pub fn pull_low(&self, number: u8, width: Duration) -> io::Result<()> {
        match self {
            Port::Chip(path) => gpio::pull_low(path, number, width),
            Port::Socket(path) => socket::pull_low(path, number, width),
        }
        .map_err(|error| self.explain(number, error))
    }

    fn explain(&self, number: u8, error: io::Error) -> io::Error {
        let path = match self {
            Port::Chip(path) | Port::Socket(path) => path.display(),
        };
        io::Error::new(error.kind(), format!("line {number} of {path}: {error}"))
    }
}
