//! The fleet's other nodes as a source. The process that talks to them, `fruit-peer`, faces the network and is not trusted: it is
//! asked over a local socket for names, and what it hands over is verified as that of any mirror.
//!
//! It can be absent, slow or hostile. Each answer is bounded by what its name may have; waiting is bounded as with servers
//! ([`Limits`]), and after a few failures it is asked nothing more in this visit, so that other sources get their turn.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fruit_release::local::{Answer, LocalError, MAGIC, Request};
use fruit_release::{Digest, Name, Source, SourceError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::time::Timespec;

use crate::http::{Alive, Limits, Settings, Stop};

/// Longest wait between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(200);
/// Failures of one visit after which the process is left.
const FAILURES: u32 = 3;
/// Pieces within a window that are enough, however small they are: patches often have a few hundred bytes.
const PIECES: u32 = 10;
/// The process answers a refresh after 20 s at the latest.
const REFRESH: Duration = Duration::from_secs(25);

/// One repository, as the peers have it.
pub struct Peers {
    socket: PathBuf,
    limits: Limits,
    stop: Stop,
    alive: Alive,
    repository: Digest,
    connection: Option<UnixStream>,
    refreshed: bool,
    failures: u32,
    spent: Spent,
}

/// What the current window has cost and brought.
#[derive(Default)]
struct Spent {
    waited: Duration,
    received: u64,
    pieces: u32,
}

/// Why an attempt came to nothing.
enum Failure {
    Stopped,
    /// The process does not keep to the protocol.
    Malformed(LocalError),
    /// It is not there, went away, or does not answer.
    Gone(io::Error),
}

impl Peers {
    /// The process behind `socket`.
    pub fn new(socket: impl Into<PathBuf>, settings: &Settings<'_>) -> Peers {
        Peers {
            socket: socket.into(),
            limits: settings.limits,
            stop: Arc::clone(&settings.stop),
            alive: Arc::clone(&settings.alive),
            repository: Digest([0; 32]),
            connection: None,
            refreshed: false,
            failures: 0,
            spent: Spent::default(),
        }
    }

    /// Whether anything was ever listening there.
    pub fn is_there(&self) -> bool {
        self.socket.exists()
    }

    /// A visit begins, for that repository; what was held against the process before is forgotten.
    pub fn begin(&mut self, repository: Digest) {
        (self.repository, self.connection, self.refreshed, self.failures) = (repository, None, false, 0);
        self.spent = Spent::default();
    }

    pub fn repository(&self) -> Digest {
        self.repository
    }

    /// Has peers asked for newer metadata, once a visit. Whatever comes of it, what is there can be asked for.
    fn refresh(&mut self) -> Result<(), SourceError> {
        if std::mem::replace(&mut self.refreshed, true) {
            return Ok(());
        }
        // Meanwhile nothing is held up that could be had: it does not count as waiting for a piece.
        let spent = std::mem::take(&mut self.spent);
        let result = self.ask(&Request::Refresh { repository: self.repository }, 0, REFRESH.min(self.limits.head));
        self.spent = spent;
        match result {
            Err(Failure::Stopped) => Err(SourceError::Stopped),
            Err(_) => {
                self.failed();
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn failed(&mut self) {
        self.failures += 1;
        self.connection = None;
    }

    fn unreachable(&self, why: impl ToString) -> SourceError {
        SourceError::Unreachable { place: self.place(), why: why.to_string() }
    }

    fn ask(&mut self, request: &Request, limit: u64, time: Duration) -> Result<Answer, Failure> {
        let end = Instant::now() + time;
        let stream = match self.connection.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let mut watched = self.watched(&stream, end);
        let answer = watched.write_all(&request.encode()).map_err(LocalError::from);
        let answer = answer.and_then(|()| Answer::read(&mut watched, limit));
        match answer {
            Ok(answer) => {
                self.connection = Some(stream);
                Ok(answer)
            }
            Err(_) if self.stop.load(Relaxed) => Err(Failure::Stopped),
            Err(LocalError::Io(error)) => Err(Failure::Gone(error)),
            Err(LocalError::Truncated) => {
                Err(Failure::Gone(io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection")))
            }
            Err(error) => Err(Failure::Malformed(error)),
        }
    }

    /// A connection; one that does not accept any is waited for, for a while.
    fn connect(&mut self) -> Result<UnixStream, Failure> {
        let stream = connect_in_time(&self.socket, self.limits.connect, &self.stop)
            .map_err(|error| if self.stop.load(Relaxed) { Failure::Stopped } else { Failure::Gone(error) })?;
        let end = Instant::now() + self.limits.connect;
        let mut watched = self.watched(&stream, end);
        watched.write_all(&MAGIC).map_err(Failure::Gone)?;
        Ok(stream)
    }

    fn watched<'w>(&'w mut self, stream: &'w UnixStream, end: Instant) -> Watched<'w> {
        let Peers { limits, stop, alive, spent, .. } = self;
        Watched { stream, end, limits, stop, alive, spent }
    }

    /// Waits before the process is asked again that wants to be asked later.
    fn pause(&mut self) -> Result<(), SourceError> {
        let end = Instant::now() + self.limits.pause;
        while Instant::now() < end {
            (self.alive)();
            if self.stop.load(Relaxed) {
                return Err(SourceError::Stopped);
            }
            std::thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        self.spent.wait(self.limits.pause, &self.limits).map_err(|error| self.unreachable(error))
    }
}

fn connect_in_time(path: &Path, time: Duration, stop: &Stop) -> io::Result<UnixStream> {
    let end = Instant::now() + time;
    let address = SocketAddrUnix::new(path)?;
    loop {
        // One that waits would wait for as long as the other side accepts nothing.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) => return Ok(UnixStream::from(socket)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if Instant::now() < end && !stop.load(Relaxed) => {
                std::thread::sleep(LOOK);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Spent {
    /// Counts waiting. An error when a window has brought too little.
    fn wait(&mut self, waited: Duration, limits: &Limits) -> io::Result<()> {
        self.waited += waited;
        if self.waited < limits.window {
            return Ok(());
        }
        let Spent { waited, received, pieces } = std::mem::take(self);
        if pieces >= PIECES || received >= limits.least_rate.saturating_mul(waited.as_millis() as u64) / 1_000 {
            return Ok(());
        }
        let why = format!("too slow: {received} bytes in {:.1} s of waiting", waited.as_secs_f64());
        Err(io::Error::new(ErrorKind::TimedOut, why))
    }
}

/// A connection that never waits longer than is allowed.
struct Watched<'w> {
    stream: &'w UnixStream,
    /// No byte is waited for beyond this.
    end: Instant,
    limits: &'w Limits,
    stop: &'w Stop,
    alive: &'w Alive,
    spent: &'w mut Spent,
}

impl Watched<'_> {
    fn wait(&mut self, what: PollFlags) -> io::Result<()> {
        (self.alive)();
        if self.stop.load(Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        let began = Instant::now();
        if began >= self.end {
            return Err(io::Error::new(ErrorKind::TimedOut, "no answer in time"));
        }
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) as _ };
        match poll(&mut [PollFd::new(self.stream, what)], Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => self.spent.wait(began.elapsed(), self.limits),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        loop {
            match stream.read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::IN)?,
                Ok(count) => {
                    self.spent.received += count as u64;
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        loop {
            match stream.write(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::OUT)?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Peers {
    fn get(&mut self, name: &Name, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        if matches!(name, Name::Root(_) | Name::Timestamp) {
            self.refresh()?;
        }
        let (request, limit) =
            (Request::Give { repository: self.repository, name: name.clone() }, limit.min(name.limit()));
        let end = Instant::now() + self.limits.head;
        let mut trouble = "it failed too often".to_owned();
        while self.failures < FAILURES {
            let left = end.saturating_duration_since(Instant::now());
            match self.ask(&request, limit, left) {
                Ok(Answer::Here(bytes)) => {
                    self.spent.pieces += 1;
                    return Ok(Some(bytes));
                }
                Ok(Answer::Nobody) => return Ok(None),
                Ok(Answer::Later) => {
                    "it is not ready yet".clone_into(&mut trouble);
                    if Instant::now() + self.limits.pause >= end {
                        self.failed();
                        break;
                    }
                    self.pause()?;
                }
                Ok(Answer::Refused) => return Err(self.unreachable(format!("{name} is refused"))),
                Err(Failure::Stopped) => return Err(SourceError::Stopped),
                Err(Failure::Malformed(error)) => {
                    // It will not get better by asking again.
                    self.failures = FAILURES;
                    return Err(SourceError::Broken { place: self.place(), why: error.to_string() });
                }
                Err(Failure::Gone(error)) => {
                    self.failed();
                    trouble = error.to_string();
                    if error.kind() == ErrorKind::TimedOut {
                        self.failures = FAILURES;
                    }
                }
            }
        }
        Err(self.unreachable(trouble))
    }

    fn place(&self) -> String {
        "the fleet's peers".to_owned()
    }
}
