//! As much of a D-Bus client as two questions need: one call at a time, little-endian, no file descriptors. After the
//! D-Bus specification 0.43, "Message Protocol" and "Authentication Protocol".

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes of an answer at most; the states of a hundred units fit.
const ANSWER_MAX: usize = 256 * 1024;
/// Messages passed over while waiting for an answer (signals that were not asked for).
const STRAYS_MAX: usize = 4096;
/// Bytes of one line of the authentication.
const LINE_MAX: usize = 512;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const PROTOCOL_VERSION: u8 = 1;
const LITTLE_ENDIAN: u8 = b'l';

/// Codes of header fields.
mod field {
    pub const PATH: u8 = 1;
    pub const INTERFACE: u8 = 2;
    pub const MEMBER: u8 = 3;
    pub const ERROR_NAME: u8 = 4;
    pub const REPLY_SERIAL: u8 = 5;
    pub const DESTINATION: u8 = 6;
    pub const SIGNATURE: u8 = 8;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{path}: {source}")]
    Socket { path: PathBuf, source: io::Error },
    #[error("the bus did not let us in: {0}")]
    Denied(String),
    #[error("{member} was refused: {error}")]
    Refused { member: String, error: String },
    #[error("answer not understood: {0}")]
    Garbled(&'static str),
}

/// Appends values in wire format; positions count from the start of a message body, which is 8-aligned.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    /// What we send is far below 4 GiB.
    pub fn string(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    pub fn strings(&mut self, texts: &[&str]) {
        self.u32(0);
        let start = self.0.len();
        for text in texts {
            self.string(text);
        }
        let length = (self.0.len() - start) as u32;
        self.0[start - 4..start].copy_from_slice(&length.to_le_bytes());
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    fn header_string(&mut self, code: u8, kind: &str, text: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(kind);
        if kind == "g" { self.signature(text) } else { self.string(text) }
    }
}

/// Reads values in wire format; refuses whatever does not fit.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

const SHORT: Fault = Fault::Garbled("it ends too early");

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    /// # Errors
    /// The message ends before.
    pub fn align(&mut self, to: usize) -> Result<(), Fault> {
        self.take(self.at.next_multiple_of(to) - self.at).map(|_| ())
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    /// # Errors
    /// The message ends before.
    pub fn u32(&mut self) -> Result<u32, Fault> {
        self.align(4)?;
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Fault> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Fault::Garbled("a string is not UTF-8"))?;
        if self.u8()? != 0 {
            return Err(Fault::Garbled("a string does not end where it says"));
        }
        Ok(text)
    }

    /// A string or an object path.
    ///
    /// # Errors
    /// Not one.
    pub fn string(&mut self) -> Result<&'a str, Fault> {
        let length = self.u32()?;
        self.text(usize::try_from(length).map_err(|_| SHORT)?)
    }

    /// # Errors
    /// Not one.
    pub fn signature(&mut self) -> Result<&'a str, Fault> {
        let length = self.u8()?;
        self.text(usize::from(length))
    }

    /// Enters an array of elements aligned to `alignment`; where it ends.
    ///
    /// # Errors
    /// It does not end within the message.
    pub fn array(&mut self, alignment: usize) -> Result<usize, Fault> {
        let length = usize::try_from(self.u32()?).map_err(|_| SHORT)?;
        self.align(alignment)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        end.ok_or(Fault::Garbled("an array is longer than its message"))
    }
}

/// A method call.
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub signature: &'a str,
    pub body: &'a [u8],
}

impl Call<'_> {
    fn message(&self, serial: u32) -> Vec<u8> {
        let mut message = Writer(vec![LITTLE_ENDIAN, METHOD_CALL, 0, PROTOCOL_VERSION]);
        message.u32(self.body.len() as u32);
        message.u32(serial);
        message.u32(0);
        let fields = message.0.len();
        message.header_string(field::PATH, "o", self.path);
        message.header_string(field::INTERFACE, "s", self.interface);
        message.header_string(field::MEMBER, "s", self.member);
        message.header_string(field::DESTINATION, "s", self.destination);
        if !self.signature.is_empty() {
            message.header_string(field::SIGNATURE, "g", self.signature);
        }
        let length = (message.0.len() - fields) as u32;
        message.0[fields - 4..fields].copy_from_slice(&length.to_le_bytes());
        message.align(8);
        message.0.extend(self.body);
        message.0
    }
}

/// What the header of a received message says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    pub kind: u8,
    pub reply_to: Option<u32>,
    pub error: Option<String>,
}

/// Bytes of the fixed part of a header, with the length of the fields.
const FIXED: usize = 16;

/// Lengths of the fields (with padding) and of the body behind the fixed part of a header.
///
/// # Errors
/// Not a header, or a message larger than any that we wait for.
pub fn lengths(fixed: &[u8; FIXED]) -> Result<(usize, usize), Fault> {
    if fixed[0] != LITTLE_ENDIAN || fixed[3] != PROTOCOL_VERSION {
        return Err(Fault::Garbled("not a little-endian message of protocol version 1"));
    }
    let word = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
    let (body, fields) = (word(4), word(12));
    if body > ANSWER_MAX || fields > ANSWER_MAX {
        return Err(Fault::Garbled("it is too long"));
    }
    Ok((fields.next_multiple_of(8), body))
}

/// Reads the fields of a header; `length` of them without padding.
///
/// # Errors
/// They do not follow the specification.
pub fn header(kind: u8, fields: &[u8]) -> Result<Header, Fault> {
    let mut header = Header { kind, ..Header::default() };
    let mut fields = Reader::new(fields);
    // Padding is shorter than the shortest field that is looked for, a number: 8 bytes.
    while fields.bytes.len() - fields.at >= 8 {
        fields.align(8)?;
        let code = fields.u8()?;
        match fields.signature()? {
            "s" | "o" => {
                let text = fields.string()?;
                if code == field::ERROR_NAME {
                    header.error = Some(text.to_owned());
                }
            }
            "g" => {
                fields.signature()?;
            }
            "u" => {
                let number = fields.u32()?;
                if code == field::REPLY_SERIAL {
                    header.reply_to = Some(number);
                }
            }
            _ => return Err(Fault::Garbled("a header field has an unknown type")),
        }
    }
    Ok(header)
}

/// A connection that is authenticated.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    path: PathBuf,
    serial: u32,
}

impl Bus {
    /// Connects, authenticates and, unless the other side is a `peer`, gets a name.
    ///
    /// # Errors
    /// No such socket, no answer within `patience`, or not let in.
    pub fn connect(path: &Path, peer: bool, patience: Duration) -> Result<Bus, Fault> {
        let end = Instant::now() + patience;
        let stream = UnixStream::connect(path).map_err(|source| Fault::Socket { path: path.to_owned(), source })?;
        let mut bus = Bus { stream, path: path.to_owned(), serial: 0 };
        // The identity travels as the decimal user id, in hexadecimal digits of its ASCII characters.
        let uid: String =
            rustix::process::geteuid().as_raw().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        // In one go, as systemd's own programs do: its private socket never answers a client that sends BEGIN only after
        // the OK. The negotiation is part of that; nobody sends us descriptors.
        bus.send(format!("\0AUTH EXTERNAL {uid}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n").as_bytes(), end)?;
        let answer = bus.line(end)?;
        if !answer.starts_with("OK ") {
            return Err(Fault::Denied(answer));
        }
        // AGREE_UNIX_FD, or an error that costs nothing.
        bus.line(end)?;
        if !peer {
            let hello = Call {
                destination: "org.freedesktop.DBus",
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member: "Hello",
                signature: "",
                body: &[],
            };
            bus.call(&hello, end.saturating_duration_since(Instant::now()))?;
        }
        Ok(bus)
    }

    fn socket_error(&self, source: io::Error) -> Fault {
        let source = match source.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
            io::ErrorKind::UnexpectedEof => io::Error::new(source.kind(), "closed the connection"),
            _ => source,
        };
        Fault::Socket { path: self.path.clone(), source }
    }

    fn left(&self, end: Instant) -> Result<Duration, Fault> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.socket_error(io::ErrorKind::WouldBlock.into())) } else { Ok(left) }
    }

    fn send(&mut self, bytes: &[u8], end: Instant) -> Result<(), Fault> {
        let left = self.left(end)?;
        self.stream
            .set_write_timeout(Some(left))
            .and_then(|()| self.stream.write_all(bytes))
            .map_err(|error| self.socket_error(error))
    }

    fn receive(&mut self, bytes: &mut [u8], end: Instant) -> Result<(), Fault> {
        let mut done = 0;
        while done < bytes.len() {
            let left = self.left(end)?;
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut bytes[done..]));
            match read {
                Ok(0) => return Err(self.socket_error(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.socket_error(error)),
            }
        }
        Ok(())
    }

    /// Byte by byte: what follows the line belongs to the messages.
    fn line(&mut self, end: Instant) -> Result<String, Fault> {
        let mut line = Vec::new();
        while line.len() < LINE_MAX {
            let mut byte = [0];
            self.receive(&mut byte, end)?;
            if byte[0] == b'\n' {
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            line.push(byte[0]);
        }
        Err(Fault::Garbled("a line of the authentication is too long"))
    }

    /// Calls a method; the body of its answer.
    ///
    /// # Errors
    /// No answer within `patience`, or [`Fault::Refused`] with the other side's error.
    pub fn call(&mut self, call: &Call, patience: Duration) -> Result<Vec<u8>, Fault> {
        let end = Instant::now() + patience;
        // Serials are never zero.
        self.serial = self.serial.wrapping_add(1).max(1);
        self.send(&call.message(self.serial), end)?;
        for _ in 0..STRAYS_MAX {
            let mut fixed = [0; FIXED];
            self.receive(&mut fixed, end)?;
            let (fields, body_length) = lengths(&fixed)?;
            let mut rest = vec![0; fields + body_length];
            self.receive(&mut rest, end)?;
            let header = header(fixed[1], &rest[..fields])?;
            if header.reply_to != Some(self.serial) {
                continue;
            }
            match header.kind {
                METHOD_RETURN => return Ok(rest.split_off(fields)),
                ERROR => {
                    let error = header.error.unwrap_or_default();
                    return Err(Fault::Refused { member: call.member.to_owned(), error });
                }
                _ => {}
            }
        }
        Err(Fault::Garbled("too many messages before the answer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let mut body = Writer::default();
        body.strings(&["a.service"]);
        let call =
            Call { destination: "d", path: "/p", interface: "i", member: "M", signature: "as", body: body.bytes() };
        let message = call.message(7);
        // By hand: fixed part, then one field per 8-aligned row, then the body.
        let mut expected = b"l\x01\0\x01\x12\0\0\0\x07\0\0\0\x4f\0\0\0".to_vec();
        expected.extend(b"\x01\x01o\0\x02\0\0\0/p\0\0\0\0\0\0");
        expected.extend(b"\x02\x01s\0\x01\0\0\0i\0\0\0\0\0\0\0");
        expected.extend(b"\x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0");
        expected.extend(b"\x06\x01s\0\x01\0\0\0d\0\0\0\0\0\0\0");
        expected.extend(b"\x08\x01g\0\x02as\0");
        let fields = expected.len() - FIXED;
        expected[12] = fields as u8;
        expected.extend(b"\x0e\0\0\0\x09\0\0\0a.service\0");
        assert_eq!(message, expected);
        assert_eq!(lengths(message[..FIXED].try_into().unwrap()).unwrap(), (fields, 18));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in any::<u8>()) {
            let _ = header(kind, &bytes);
            let mut reader = Reader::new(&bytes);
            if let Ok(end) = reader.array(8) {
                while reader.position() < end && reader.align(8).is_ok() && reader.string().is_ok() {}
            }
            if let Some(fixed) = bytes.first_chunk() {
                let _ = lengths(fixed);
            }
        }
    }
}
