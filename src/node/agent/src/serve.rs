//! Serves status and metrics, and takes word of a shutdown. One thread, a few clients at a time, each with little
//! memory and little time: a client that is slow, silent or hostile costs the others at most that.

mod request;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use fruit_base::AtPath;
use fruit_base::prometheus::CONTENT_TYPE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;

pub use request::{REQUEST_MAX, Request, parse};

/// Clients served at a time; more wait in the kernel's queue.
const CLIENTS_MAX: usize = 8;
/// Time that a client has for its question and to take the answer.
const CLIENT_TIME: Duration = Duration::from_secs(3);
/// Time until a port that could not be opened is tried again: at boot its address may not be there yet.
const PORT_RETRY: Duration = Duration::from_secs(5);

/// Answers questions.
pub trait Answer {
    fn metrics(&self) -> String;
    /// JSON.
    fn status(&self) -> String;
    /// The node begins to go down, in systemd's word for it; false if the word has no meaning.
    fn stopping(&self, kind: &str) -> bool;
    /// A port could not be opened.
    fn port_trouble(&self, port: SocketAddr, error: &io::Error);
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(bytes),
            Stream::Tcp(stream) => stream.read(bytes),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

struct Client {
    stream: Stream,
    /// May say that the node goes down.
    trusted: bool,
    until: Instant,
    question: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
}

impl Client {
    fn new(stream: Stream, trusted: bool) -> Client {
        let until = Instant::now() + CLIENT_TIME;
        Client { stream, trusted, until, question: Vec::new(), answer: Vec::new(), sent: 0 }
    }

    fn interest(&self) -> PollFlags {
        if self.answer.is_empty() { PollFlags::IN } else { PollFlags::OUT }
    }

    /// Reads or writes what is possible now; false when the client is done with.
    fn serve(&mut self, answers: &dyn Answer) -> bool {
        let done = if self.answer.is_empty() { self.hear(answers) } else { self.tell() };
        match done {
            Ok(done) => !done,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn hear(&mut self, answers: &dyn Answer) -> io::Result<bool> {
        let mut bytes = [0; REQUEST_MAX];
        let count = self.stream.read(&mut bytes)?;
        self.question.extend(&bytes[..count]);
        let (status, kind, body) = match parse(&self.question) {
            Request::Incomplete if count == 0 => return Ok(true),
            Request::Incomplete => return Ok(false),
            Request::Metrics => ("200 OK", CONTENT_TYPE, answers.metrics()),
            Request::Status => ("200 OK", "application/json", answers.status()),
            Request::Stopping(_) if !self.trusted => ("403 Forbidden", "text/plain", "not for you\n".to_owned()),
            Request::Stopping(kind) if answers.stopping(kind) => ("200 OK", "text/plain", "noted\n".to_owned()),
            Request::Stopping(_) => ("400 Bad Request", "text/plain", "no kind of shutdown\n".to_owned()),
            Request::Unknown => ("404 Not Found", "text/plain", "try /metrics or /status\n".to_owned()),
            Request::Malformed => ("400 Bad Request", "text/plain", "not understood\n".to_owned()),
        };
        let length = body.len();
        self.answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes();
        self.tell()
    }

    fn tell(&mut self) -> io::Result<bool> {
        self.sent += self.stream.write(&self.answer[self.sent..])?;
        Ok(self.sent == self.answer.len())
    }
}

/// The listening ends.
pub struct Server {
    socket: UnixListener,
    wanted: Option<SocketAddr>,
    port: Option<TcpListener>,
    tried: Option<Instant>,
}

fn listen(port: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(port)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Server {
    /// Opens the local socket, for every user to ask. The port is opened later.
    ///
    /// # Errors
    /// Those of the file system and of the socket, with the path.
    pub fn open(socket: &Path, port: Option<SocketAddr>) -> io::Result<Server> {
        let open = || {
            // What an agent before left.
            if let Err(error) = fs::remove_file(socket)
                && error.kind() != ErrorKind::NotFound
            {
                return Err(error);
            }
            let listener = UnixListener::bind(socket)?;
            listener.set_nonblocking(true)?;
            fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
            Ok(listener)
        };
        let listener: io::Result<UnixListener> = open();
        Ok(Server { socket: listener.at(socket)?, wanted: port, port: None, tried: None })
    }

    fn open_port(&mut self, answers: &dyn Answer) {
        let Some(wanted) = self.wanted.filter(|_| self.port.is_none()) else { return };
        if self.tried.is_some_and(|tried| tried.elapsed() < PORT_RETRY) {
            return;
        }
        match listen(wanted) {
            Ok(listener) => self.port = Some(listener),
            Err(error) if self.tried.is_none() => answers.port_trouble(wanted, &error),
            Err(_) => {}
        }
        self.tried = Some(Instant::now());
    }

    fn accept(&self, from_port: bool) -> Option<Client> {
        match (&self.port, from_port) {
            (Some(port), true) => {
                let (stream, _) = port.accept().ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(Client::new(Stream::Tcp(stream), false))
            }
            _ => {
                let (stream, _) = self.socket.accept().ok()?;
                stream.set_nonblocking(true).ok()?;
                let own = rustix::process::geteuid();
                let trusted = socket_peercred(&stream).is_ok_and(|peer| peer.uid.is_root() || peer.uid == own);
                Some(Client::new(Stream::Unix(stream), trusted))
            }
        }
    }

    /// Serves for ever.
    pub fn run(mut self, answers: &dyn Answer) {
        let mut clients: Vec<Client> = Vec::with_capacity(CLIENTS_MAX);
        loop {
            self.open_port(answers);
            let waits = clients.iter().map(|client| client.until.saturating_duration_since(Instant::now()));
            let retry = (self.wanted.is_some() && self.port.is_none()).then_some(PORT_RETRY);
            let wait = waits.chain(retry).min().map(|wait| wait + Duration::from_millis(1));
            let wait = wait.map(|wait| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() });
            let room = clients.len() < CLIENTS_MAX;
            let mut waiting: Vec<PollFd<'_>> =
                clients.iter().map(|client| PollFd::from_borrowed_fd(client.stream.fd(), client.interest())).collect();
            if room {
                waiting.push(PollFd::new(&self.socket, PollFlags::IN));
                waiting.extend(self.port.as_ref().map(|port| PollFd::new(port, PollFlags::IN)));
            }
            let ready: Vec<bool> = match poll(&mut waiting, wait.as_ref()) {
                Ok(_) => waiting.iter().map(|waited| !waited.revents().is_empty()).collect(),
                Err(_) => continue,
            };
            drop(waiting);
            let (now, known) = (Instant::now(), clients.len());
            let mut index = 0;
            clients.retain_mut(|client| {
                let stays = client.until > now && (!ready[index] || client.serve(answers));
                index += 1;
                stays
            });
            for (from_port, is_ready) in [false, true].into_iter().zip(&ready[known..]) {
                if *is_ready && clients.len() < CLIENTS_MAX {
                    clients.extend(self.accept(from_port));
                }
            }
        }
    }
}
