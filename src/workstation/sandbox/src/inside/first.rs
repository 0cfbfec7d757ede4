//! The first process of a run: it starts the program, hands its output on, watches over the bounds, and takes everything with it when it
//! ends, for so the kernel does with a process namespace.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, pidfd_open, set_parent_process_death_signal, wait, waitpid,
};
use rustix::thread::UnshareFlags;

use super::calls::Filters;
use super::measure::Measure;
use super::{identity, leave, mounts, network, program};
use crate::command::{Cause, Ended, Limits};
use crate::protocol::{Answer, Disk, During, Failure, Outcome, Run, Step, send};

/// How long nothing is looked at, at most.
const TICK: Duration = Duration::from_millis(50);
/// Output that waits for the other end.
const BACKLOG: usize = 1 << 16;

/// Makes the other namespaces and does `work` in them, whose answer it sends. Comes back with a failure only.
pub fn run(control: &UnixStream, work: impl FnOnce() -> Outcome<Answer>) -> Outcome<Answer> {
    let namespaces = UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWCGROUP;
    identity::part(namespaces).during(Step::Namespaces, "making namespaces")?;
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).during(Step::Namespaces, "starting the first process"),
        0 => {
            let tied =
                set_parent_process_death_signal(Some(Signal::KILL)).during(Step::Namespaces, "tying the first process");
            let answer = tied.and_then(|()| work()).unwrap_or_else(Answer::Failed);
            let _ = send(control, &answer);
            leave()
        }
        first => {
            // When this returns, every process of its namespace is dead.
            while waitpid(Pid::from_raw(first), WaitOptions::empty())
                .is_err_and(|error| error == rustix::io::Errno::INTR)
            {}
            leave()
        }
    }
}

/// Runs the program.
pub fn first(
    control: &UnixStream,
    held: &OwnedFd,
    data: OwnedFd,
    Run { command, limits, disk }: &Run,
) -> Outcome<Answer> {
    mounts::the_root_with_all(held, limits.memory)?;
    network::loopback()?;
    rustix::system::sethostname(b"localhost").during(Step::Namespaces, "setting the host's name")?;
    rustix::system::setdomainname(b"(none)").during(Step::Namespaces, "setting the domain's name")?;
    let filters = Filters::new()?;
    let measure = Measure::new(limits, *disk)?;
    let (output, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .during(Step::Start, "making a pipe for the output")?;
    let started = Instant::now();
    let pid = program::start(command, limits, filters, theirs)?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new(Step::Start, "starting the program", "it has no process id"))?;
    let ended = pidfd_open(pid, PidfdFlags::empty()).during(Step::Start, "watching the program")?;
    let output = File::from(output);
    unblock(&output, true).and_then(|()| unblock(&data, true)).during(Step::Start, "preparing the output")?;
    let mut watch = Watch {
        control,
        pid,
        ended,
        output,
        data: File::from(data),
        limits,
        measure,
        backlog: Vec::new(),
        written: 0,
        started,
    };
    let cause = watch.until_it_ends();
    let (ended, disk) = watch.end(cause);
    Ok(Answer::Ended(ended, disk))
}

/// A program that runs.
struct Watch<'a> {
    control: &'a UnixStream,
    pid: Pid,
    /// Readable when the program has ended.
    ended: OwnedFd,
    output: File,
    data: File,
    limits: &'a Limits,
    measure: Measure<'a>,
    /// Output that has been read and not yet handed on.
    backlog: Vec<u8>,
    /// Bytes of output.
    written: u64,
    started: Instant,
}

impl Watch<'_> {
    fn until_it_ends(&mut self) -> Cause {
        let mut open = true;
        let mut look = Instant::now();
        loop {
            self.wait(open);
            if open {
                open = self.read();
            }
            self.hand_on();
            if let Some(cause) = self.reap() {
                return cause;
            }
            if look.elapsed() >= TICK {
                look = Instant::now();
                if let Some(cause) = self.measure.look() {
                    return cause;
                }
            }
            if self.written > self.limits.output {
                return Cause::Output;
            }
            if self.started.elapsed() > self.limits.time {
                return Cause::Time;
            }
        }
    }

    /// Until something happens, or it is time to look at how much is used.
    fn wait(&self, open: bool) {
        let full = !self.backlog.is_empty();
        let nothing = PollFlags::empty();
        let mut polled = [
            PollFd::new(&self.ended, PollFlags::IN),
            PollFd::new(self.control, PollFlags::RDHUP),
            PollFd::new(&self.data, if full { PollFlags::OUT } else { nothing }),
            PollFd::new(&self.output, PollFlags::IN),
        ];
        // An output that has ended would end every wait at once.
        let polled = if open && !full { &mut polled[..] } else { &mut polled[..3] };
        let tick = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let waited = poll(polled, Some(&tick));
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        if waited.is_ok() && polled[1..3].iter().any(|end| end.revents().intersects(gone)) {
            // Who asked for it is gone.
            leave();
        }
    }

    /// Takes what has been written; false when nobody is left who could write.
    fn read(&mut self) -> bool {
        if !self.backlog.is_empty() {
            return true;
        }
        let mut piece = vec![0; BACKLOG];
        match self.output.read(&mut piece) {
            Ok(0) => false,
            Ok(length) => {
                self.written += length as u64;
                self.measure.happened();
                piece.truncate(length);
                self.backlog = piece;
                true
            }
            Err(_) => true,
        }
    }

    fn hand_on(&mut self) {
        if let Ok(length) = self.data.write(&self.backlog) {
            self.backlog.drain(..length);
        }
    }

    /// Takes in what has died, but no more than so many at a time: those of a fork bomb die as fast as anybody counts. Tells how the
    /// program ended when it is among them.
    fn reap(&self) -> Option<Cause> {
        let mut cause = None;
        for _ in 0..64 {
            let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) else { break };
            if pid == self.pid {
                cause = Some(how(status));
            }
        }
        cause
    }

    /// Ends everything, and tells what was used.
    fn end(mut self, cause: Cause) -> (Ended, Disk) {
        // A last look at what is alive.
        let at_the_end = self.measure.look();
        let time = self.started.elapsed();
        // All but this process.
        // SAFETY: it sends a signal to the processes of this namespace, of which this is the first.
        unsafe { libc::kill(-1, libc::SIGKILL) };
        while wait(WaitOptions::empty()).is_ok() {}
        self.rest();
        // Who was stopped by a full disk or a failed `fork` has often ended by itself before anybody looked.
        let cause = match (cause, at_the_end) {
            (Cause::Exit(code), Some(bound)) if code != 0 => bound,
            (cause, _) => cause,
        };
        self.measure.ended(cause, time)
    }

    /// Hands on what was written last.
    fn rest(&mut self) {
        let _ = unblock(&self.data, false);
        let _ = self.data.write_all(&self.backlog);
        let mut piece = vec![0; BACKLOG];
        while self.written <= self.limits.output {
            match self.output.read(&mut piece) {
                Ok(length) if length > 0 => {
                    self.written += length as u64;
                    if self.data.write_all(&piece[..length]).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
}

fn how(status: WaitStatus) -> Cause {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Cause::Exit(code),
        (_, signal) => Cause::Signal(signal.unwrap_or(0)),
    }
}

/// Whether reads and writes come back at once with nothing done.
fn unblock(file: impl AsFd, yes: bool) -> rustix::io::Result<()> {
    let mut flags = fcntl_getfl(&file)?;
    flags.set(OFlags::NONBLOCK, yes);
    fcntl_setfl(file, flags)
}
