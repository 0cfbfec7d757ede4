//! A simulated stack that runs: behind a pseudo-terminal, a TCP port and a control socket, on one thread.

use super::control::{LONGEST_ORDER, Order};
use super::flash::Flash;
use super::loopback::lock;
use super::stack::{Stack, StackConfig};
use super::wire::{LineConfig, Wire};
use crate::SimulateError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where a simulator can be reached.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// A pseudo-terminal for the masters that want a serial port.
    pub pty: bool,
    /// A symbolic link to the pseudo-terminal, for a name that stays.
    pub link: Option<PathBuf>,
    /// Address and port (0 for any) for masters over TCP. Several connections share the boards.
    pub tcp: Option<SocketAddr>,
    /// Unix socket for [`Order`]s.
    pub control: Option<PathBuf>,
    /// File that keeps the boards' flash.
    pub flash: Option<PathBuf>,
    pub line: LineConfig,
    /// Seconds of the boards per real second; 0 leaves them to [`Order::Advance`]. The line is always in real time.
    pub clock: f64,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self { pty: true, link: None, tcp: None, control: None, flash: None, line: LineConfig::default(), clock: 1.0 }
    }
}

/// A running simulator. Dropping it ends it.
#[derive(Debug)]
pub struct Simulator {
    stack: Arc<Mutex<Stack>>,
    pty: Option<PathBuf>,
    tcp: Option<SocketAddr>,
    wake: UnixStream,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), SimulateError>>>,
    /// What was put into the file system, to be taken away at the end.
    paths: Vec<PathBuf>,
}

impl Simulator {
    /// Switches a stack on and serves it.
    ///
    /// # Errors
    /// The configuration is impossible, or an endpoint or the flash file cannot be opened.
    pub fn start(config: &StackConfig, endpoints: &Endpoints) -> Result<Self, SimulateError> {
        if !(endpoints.clock >= 0.0 && endpoints.clock.is_finite()) {
            return Err(SimulateError::Clock(endpoints.clock));
        }
        let flash = endpoints.flash.as_deref().map(Flash::load).transpose()?.unwrap_or_default();
        let stack = Arc::new(Mutex::new(Stack::new(config, &flash)?));
        let mut paths = Vec::new();
        let pty = if endpoints.pty || endpoints.link.is_some() { Some(open_pty()?) } else { None };
        if let (Some(link), Some(pty)) = (&endpoints.link, &pty) {
            replace(link, |link| std::os::unix::fs::symlink(&pty.path, link), "link")?;
            paths.push(link.clone());
        }
        let listener = endpoints.tcp.map(listen).transpose()?;
        let tcp = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let control = match &endpoints.control {
            Some(path) => {
                let listener = replace(path, |path| UnixListener::bind(path), "listen on")?;
                listener.set_nonblocking(true).map_err(|source| io_error("listen on", path, source))?;
                paths.push(path.clone());
                Some(listener)
            }
            None => None,
        };
        // Neither end waits: a full pair wakes as well as one more byte, and who wakes may hold the stack.
        let pair = UnixStream::pair().and_then(|(wake, woken)| {
            wake.set_nonblocking(true)?;
            woken.set_nonblocking(true)?;
            Ok((wake, woken))
        });
        let (wake, woken) = pair.map_err(|source| io_error("make", Path::new("a socket pair"), source))?;
        let stop = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let pty_path = pty.as_ref().map(|pty| pty.path.clone());
        let mut server = Server {
            stack: Arc::clone(&stack),
            stop: Arc::clone(&stop),
            started,
            clock: endpoints.clock,
            paced: 0.0,
            line: endpoints.line,
            flash: endpoints.flash.clone().map(|path| (path, flash)),
            woken,
            listener,
            control,
            masters: Vec::new(),
            controls: Vec::new(),
        };
        if let Some(pty) = pty {
            server
                .masters
                .push(Master { end: End::Pty { ours: pty.ours, _theirs: pty.theirs }, wire: server.new_wire() });
        }
        let thread = std::thread::Builder::new()
            .name("simulated stack".into())
            .spawn(move || server.run())
            .map_err(|source| io_error("start", Path::new("a thread"), source))?;
        Ok(Self { stack, pty: pty_path, tcp, wake, stop, thread: Some(thread), paths })
    }

    /// The boards, to look at and to drive. While the guard lives, they stand still.
    pub fn stack(&self) -> Driven<'_> {
        Driven { stack: lock(&self.stack), wake: &self.wake }
    }

    /// The serial port that the masters open.
    pub fn pty(&self) -> Option<&Path> {
        self.pty.as_deref()
    }

    /// Where masters connect over TCP.
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Waits until the simulator ends, which it does only when its flash file cannot be written.
    ///
    /// # Errors
    /// Why it ended.
    pub fn wait(mut self) -> Result<(), SimulateError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A full socket has woken the thread already, and a closed one means that it has ended.
        let _ = (&self.wake).write(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The boards of a running simulator; letting go of them makes it look at what has changed.
pub struct Driven<'a> {
    stack: MutexGuard<'a, Stack>,
    wake: &'a UnixStream,
}

impl std::ops::Deref for Driven<'_> {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

impl std::ops::DerefMut for Driven<'_> {
    fn deref_mut(&mut self) -> &mut Stack {
        &mut self.stack
    }
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        // As in the simulator's own drop: either way it looks.
        let _ = self.wake.write(&[0]);
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> SimulateError {
    SimulateError::Io { action, path: path.display().to_string(), source }
}

/// Makes something at a path where an earlier simulator may have left its own, but never over a file or a device.
fn replace<T>(
    path: &Path,
    make: impl FnOnce(&Path) -> io::Result<T>,
    action: &'static str,
) -> Result<T, SimulateError> {
    use std::os::unix::fs::FileTypeExt;
    if let Ok(meta) = std::fs::symlink_metadata(path)
        && (meta.file_type().is_symlink() || meta.file_type().is_socket())
    {
        std::fs::remove_file(path).map_err(|source| io_error("replace", path, source))?;
    }
    make(path).map_err(|source| io_error(action, path, source))
}

struct Pty {
    ours: OwnedFd,
    /// Kept open, so that the terminal stays when a master closes it.
    theirs: OwnedFd,
    path: PathBuf,
}

fn open_pty() -> Result<Pty, SimulateError> {
    let make = || -> Result<Pty, Errno> {
        let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&ours)?;
        rustix::pty::unlockpt(&ours)?;
        let name = rustix::pty::ptsname(&ours, Vec::new())?;
        let path = PathBuf::from(std::ffi::OsStr::new(&*name.to_string_lossy()));
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&path, flags, rustix::fs::Mode::empty())?;
        // A fresh terminal echoes and edits lines; a serial line does neither.
        let mut settings = rustix::termios::tcgetattr(&theirs)?;
        settings.make_raw();
        rustix::termios::tcsetattr(&theirs, rustix::termios::OptionalActions::Now, &settings)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok(Pty { ours, theirs, path })
    };
    make().map_err(|error| io_error("open", Path::new("a pseudo-terminal"), error.into()))
}

fn listen(address: SocketAddr) -> Result<TcpListener, SimulateError> {
    let make = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    make().map_err(|source| SimulateError::Io { action: "listen on", path: address.to_string(), source })
}

enum End {
    Pty { ours: OwnedFd, _theirs: OwnedFd },
    Tcp(OwnedFd),
}

impl End {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pty { ours, .. } => ours.as_fd(),
            Self::Tcp(fd) => fd.as_fd(),
        }
    }
}

struct Master {
    end: End,
    wire: Wire,
}

struct Control {
    stream: UnixStream,
    received: Vec<u8>,
    watches: bool,
}

struct Server {
    stack: Arc<Mutex<Stack>>,
    stop: Arc<AtomicBool>,
    started: Instant,
    clock: f64,
    /// Seconds of the boards' time that the real clock has accounted for; orders may have advanced it further.
    paced: f64,
    line: LineConfig,
    flash: Option<(PathBuf, Flash)>,
    woken: UnixStream,
    listener: Option<TcpListener>,
    control: Option<UnixListener>,
    masters: Vec<Master>,
    controls: Vec<Control>,
}

/// Connections of each kind at once; more are refused.
const MOST_CONNECTIONS: usize = 32;
/// How long to sleep when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

impl Server {
    fn new_wire(&self) -> Wire {
        Wire::new(self.line)
    }

    fn run(mut self) -> Result<(), SimulateError> {
        self.keep_flash()?;
        while !self.stop.load(Ordering::Relaxed) {
            let ready = self.sleep();
            self.catch_up();
            self.drain_wake();
            self.serve_masters(&ready);
            self.serve_controls(&ready);
            self.accept();
            self.tell();
            self.keep_flash()?;
        }
        Ok(())
    }

    /// Waits for bytes or for the next thing due. The answer says which descriptors are ready: first the masters', then
    /// the controls'.
    fn sleep(&self) -> Vec<bool> {
        let timeout = self.until_due();
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        fds.extend(self.masters.iter().map(|master| PollFd::from_borrowed_fd(master.end.fd(), PollFlags::IN)));
        fds.extend(self.controls.iter().map(|control| PollFd::new(&control.stream, PollFlags::IN)));
        let ours = fds.len();
        fds.push(PollFd::new(&self.woken, PollFlags::IN));
        fds.extend(self.listener.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        fds.extend(self.control.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => fds[..ours].iter().map(|fd| !fd.revents().is_empty()).collect(),
            Err(_) => vec![false; ours],
        }
    }

    fn until_due(&self) -> Duration {
        let now = self.started.elapsed();
        let line = self.masters.iter().filter_map(|master| master.wire.next_due()).min();
        let line = line.map(|due| due.saturating_sub(now));
        let stack = lock(&self.stack);
        let boards = (self.clock > 0.0).then(|| stack.next_due()).flatten().map(|due| {
            let seconds = due.saturating_sub(stack.now()).as_secs_f64() / self.clock;
            Duration::try_from_secs_f64(seconds).unwrap_or(IDLE)
        });
        line.into_iter().chain(boards).fold(IDLE, Duration::min)
    }

    fn catch_up(&mut self) {
        let target = self.started.elapsed().as_secs_f64() * self.clock;
        let step = Duration::try_from_secs_f64(target - self.paced).unwrap_or_default();
        self.paced = target;
        let mut stack = lock(&self.stack);
        stack.advance(step);
        let stray = stack.take_stray();
        drop(stack);
        let now = self.started.elapsed();
        for master in &mut self.masters {
            master.wire.disturb(now, &stray);
        }
    }

    fn drain_wake(&mut self) {
        let mut bytes = [0; 64];
        while (&self.woken).read(&mut bytes).is_ok_and(|count| count > 0) {}
    }

    fn serve_masters(&mut self, ready: &[bool]) {
        let mut stack = lock(&self.stack);
        let started = self.started;
        let mut at = 0;
        self.masters.retain_mut(|master| {
            let readable = ready.get(at).copied().unwrap_or(false);
            at += 1;
            let mut bytes = [0; 512];
            let mut open = true;
            if readable {
                match rustix::io::read(master.end.fd(), &mut bytes) {
                    Ok(0) => open = false,
                    Ok(count) => master.wire.deliver(&mut stack, started.elapsed(), &bytes[..count]),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(_) => open = false,
                }
            }
            master.wire.end_broken(&mut stack, started.elapsed());
            let due = master.wire.take_due(started.elapsed());
            // A master that does not read loses bytes, as on any line.
            let written = if due.is_empty() { Ok(0) } else { rustix::io::write(master.end.fd(), &due) };
            open &= !matches!(written, Err(error) if error != Errno::AGAIN && error != Errno::INTR);
            // The pseudo-terminal has no other end to lose: the simulator holds it itself.
            open || matches!(master.end, End::Pty { .. })
        });
    }

    fn serve_controls(&mut self, ready: &[bool]) {
        let offset = ready.len() - self.controls.len().min(ready.len());
        let stack = &self.stack;
        let mut at = offset;
        self.controls.retain_mut(|control| {
            let readable = ready.get(at).copied().unwrap_or(false);
            at += 1;
            !readable || control.serve(&mut lock(stack))
        });
    }

    fn accept(&mut self) {
        while let Some((stream, _)) = self.listener.as_ref().and_then(|listener| listener.accept().ok()) {
            if self.masters.len() < MOST_CONNECTIONS && stream.set_nonblocking(true).is_ok() {
                // Bytes are paced one by one; Nagle's algorithm would hold them back.
                let _ = stream.set_nodelay(true);
                self.masters.push(Master { end: End::Tcp(stream.into()), wire: self.new_wire() });
            }
        }
        while let Some((stream, _)) = self.control.as_ref().and_then(|listener| listener.accept().ok()) {
            if self.controls.len() < MOST_CONNECTIONS && stream.set_nonblocking(true).is_ok() {
                self.controls.push(Control { stream, received: Vec::new(), watches: false });
            }
        }
    }

    /// Tells the connections that watch what has happened. With nobody watching, it is left for the library's user.
    fn tell(&mut self) {
        if !self.controls.iter().any(|control| control.watches) {
            return;
        }
        let happenings = lock(&self.stack).take_happenings();
        for happening in happenings {
            if let Ok(line) = serde_json::to_vec(&happening) {
                self.controls.retain_mut(|control| !control.watches || control.say(line.clone()));
            }
        }
    }

    fn keep_flash(&mut self) -> Result<(), SimulateError> {
        if let Some((path, kept)) = &mut self.flash {
            let flash = lock(&self.stack).flash();
            if flash != *kept {
                flash.save(path)?;
                *kept = flash;
            }
        }
        Ok(())
    }
}

impl Control {
    /// Reads and obeys; false when the connection is to be closed.
    fn serve(&mut self, stack: &mut Stack) -> bool {
        let mut bytes = [0; LONGEST_ORDER];
        match self.stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
        while let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let order = Order::parse(&line);
            self.watches |= matches!(order, Ok(Order::Watch));
            let answer = match order.and_then(|order| order.obey(stack)) {
                Ok(answer) => answer,
                Err(error) => serde_json::json!({ "ok": false, "error": error.to_string() }),
            };
            if !self.say(answer.to_string().into_bytes()) {
                return false;
            }
        }
        self.received.len() <= LONGEST_ORDER
    }

    /// Sends one line; false when the other end does not take it.
    fn say(&mut self, mut line: Vec<u8>) -> bool {
        line.push(b'\n');
        self.stream.write_all(&line).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_wakes_the_simulator_while_it_stands_still_does_not_wait_for_it() {
        /// More than the pair of sockets takes in.
        const WAKES: usize = 10_000;
        let (done, finished) = channel();
        // A thread of its own, so that waiting would be a failure and no test that never ends.
        std::thread::spawn(move || {
            let config = StackConfig::with_ids([0]);
            let simulator = Simulator::start(&config, &Endpoints::default()).unwrap();
            let other = Mutex::new(Stack::new(&config, &Flash::default()).unwrap());
            let standing_still = lock(&simulator.stack);
            for _ in 0..WAKES {
                drop(Driven { stack: lock(&other), wake: &simulator.wake });
            }
            drop(standing_still);
            done.send(()).unwrap();
        });
        finished.recv_timeout(Duration::from_secs(60)).expect("woken without waiting");
    }
}
