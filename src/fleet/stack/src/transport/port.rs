//! Opening what the operator names: a serial device or `tcp://host:port`.

use super::Transport;
use super::fd::FdTransport;
use crate::frame::BAUD;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{ControlModes, OptionalActions, QueueSelector};
use std::fmt;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where a stack is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// A serial device or pseudo-terminal.
    Device(PathBuf),
    /// `host:port` of a simulated stack or a serial server in raw mode.
    Tcp(String),
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(address) = text.strip_prefix("tcp://") {
            let valid =
                address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            return if valid {
                Ok(Self::Tcp(address.to_owned()))
            } else {
                Err(format!("`{text}` lacks a port: write tcp://host:port"))
            };
        }
        // `./pty` and `pty` are of the folder that the command runs in; a name with a colon is an address without its scheme.
        if text.starts_with(['/', '.']) || text.contains('/') || (!text.is_empty() && Path::new(text).exists()) {
            return Ok(Self::Device(PathBuf::from(text)));
        }
        Err(format!("`{text}` is no port: write the path of a serial device, like /dev/ttyUSB0, or tcp://host:port"))
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => path.display().fmt(f),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// Why a port cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("cannot open {port}: {source}{}", hint(source))]
    Open { port: String, source: std::io::Error },
    #[error("{port} is not a serial port: {source}")]
    NotSerial { port: String, source: std::io::Error },
    #[error("{port} is in use by another program")]
    Busy { port: String },
    #[error("cannot connect to {port}: {source}")]
    Connect { port: String, source: std::io::Error },
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "; is the adapter plugged in?",
        std::io::ErrorKind::PermissionDenied => "; serial ports usually belong to the group dialout",
        _ => "",
    }
}

/// How long a TCP connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Opens a port for 9600 baud, 8N1, raw, and for us alone.
///
/// # Errors
/// The port does not exist, is no serial port, is in use, or nobody listens there.
pub fn open(port: &Port) -> Result<Box<dyn Transport>, PortError> {
    Ok(Box::new(match port {
        Port::Device(path) => open_device(port, path)?,
        Port::Tcp(address) => connect(port, address)?,
    }))
}

fn open_device(port: &Port, path: &std::path::Path) -> Result<FdTransport, PortError> {
    let name = || port.to_string();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::BUSY => PortError::Busy { port: name() },
        error => PortError::Open { port: name(), source: error.into() },
    })?;
    let not_serial = |error: rustix::io::Errno| PortError::NotSerial { port: name(), source: error.into() };
    let mut settings = rustix::termios::tcgetattr(&fd).map_err(not_serial)?;
    settings.make_raw();
    settings.set_speed(BAUD).map_err(not_serial)?;
    settings.control_modes.remove(ControlModes::PARENB | ControlModes::CSTOPB | ControlModes::CRTSCTS);
    settings.control_modes.insert(ControlModes::CLOCAL | ControlModes::CREAD);
    rustix::termios::tcsetattr(&fd, OptionalActions::Now, &settings).map_err(not_serial)?;
    // Not TIOCEXCL: it does not keep root out, and it outlives us on a pseudo-terminal whose other end stays open.
    // Serial programs that care take this lock as well (pyserial's `exclusive`).
    rustix::fs::flock(&fd, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| PortError::Busy { port: name() })?;
    rustix::termios::tcflush(&fd, QueueSelector::IOFlush).map_err(not_serial)?;
    Ok(FdTransport::new(name(), fd, true))
}

fn connect(port: &Port, address: &str) -> Result<FdTransport, PortError> {
    let fail = |source| PortError::Connect { port: port.to_string(), source };
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs().map_err(fail)? {
        match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
            Ok(stream) => {
                // Requests are a few bytes that the boards wait for.
                stream.set_nodelay(true).map_err(fail)?;
                stream.set_nonblocking(true).map_err(fail)?;
                return Ok(FdTransport::new(port.to_string(), stream.into(), false));
            }
            Err(error) => last = error,
        }
    }
    Err(fail(last))
}
