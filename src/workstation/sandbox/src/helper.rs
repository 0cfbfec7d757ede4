//! The helper: this program started again, alone in its process, so that it can make namespaces.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::Error;
use crate::ids::Ids;
use crate::protocol::{Answer, NAME, Order, Task, receive, send};

/// How much goes through the pipe at a time.
const PIECE: usize = 1 << 20;

/// Which way the data of a helper goes.
pub enum Data {
    None,
    In,
    Out,
}

/// A helper at work. Dropping it kills it, and all that it has started.
pub struct Helper {
    child: Child,
    control: UnixStream,
    data: Option<File>,
}

impl Helper {
    /// Starts a helper, maps its ids, and has it begin.
    ///
    /// # Errors
    /// It does not start, or the machine does not allow what it needs.
    pub fn start(ids: &Ids, held: &Path, task: Task, data: Data) -> Result<Helper, Error> {
        let (control, theirs) = UnixStream::pair().map_err(Error::Helper)?;
        let (ours, for_it) = match data {
            Data::None => (None, Stdio::null()),
            Data::In => {
                let (reader, writer) = pipe()?;
                (Some(writer), Stdio::from(reader))
            }
            Data::Out => {
                let (reader, writer) = pipe()?;
                (Some(reader), Stdio::from(writer))
            }
        };
        // It inherits nothing: no variables, no open files, no folder that must stay mounted.
        let mut command = Command::new("/proc/self/exe");
        command.arg0(NAME).env_clear().current_dir("/");
        command.stdin(OwnedFd::from(theirs)).stdout(for_it).stderr(Stdio::null());
        let child = command.spawn().map_err(Error::Helper)?;
        drop(command);
        let mut helper = Helper { child, control, data: ours.map(File::from) };
        let parent = i32::try_from(std::process::id()).unwrap_or(0);
        let order = Order { parent, held: held.as_os_str().as_bytes().to_vec(), task };
        let told = send(&helper.control, &order);
        match (told, helper.answer()?) {
            (Ok(()), Answer::Unshared) => {}
            (_, Answer::Failed(failure)) => return Err(failure.into()),
            _ => return Err(helper.lost()),
        }
        ids.map(helper.child.id()).map_err(Error::Map)?;
        send(&helper.control, &Answer::Mapped).map_err(Error::Helper)?;
        Ok(helper)
    }

    fn answer(&mut self) -> Result<Answer, Error> {
        receive(&self.control).map_err(|_| self.lost())
    }

    /// Why the helper says nothing more.
    fn lost(&mut self) -> Error {
        let _ = self.child.kill();
        let how = match self.child.wait() {
            Ok(status) if status.signal().is_some_and(|signal| signal != 9) => format!(" ({status})"),
            _ => String::new(),
        };
        Error::Lost(how)
    }

    /// Gives it all of `input`.
    ///
    /// # Errors
    /// The input cannot be read. That the helper reads no more is told by its answer.
    pub fn feed(&mut self, mut input: impl Read) -> Result<(), Error> {
        let Some(mut data) = self.data.take() else { return Ok(()) };
        let mut piece = vec![0; PIECE];
        loop {
            let length = match input.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Read(error)),
            };
            if data.write_all(&piece[..length]).is_err() {
                return Ok(());
            }
        }
    }

    /// Hands on all of its data.
    ///
    /// # Errors
    /// What `output` says, or that it took longer than `within`.
    pub fn drain(
        &mut self,
        within: Option<Duration>,
        output: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Error> {
        let Some(mut data) = self.data.take() else { return Ok(()) };
        let end = within.and_then(|within| Instant::now().checked_add(within));
        let mut piece = vec![0; PIECE];
        loop {
            if let Some(end) = end
                && !readable(&data, end.saturating_duration_since(Instant::now()))
            {
                return Err(self.lost());
            }
            match data.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => output(&piece[..length]).map_err(Error::Write)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Helper(error)),
            }
        }
    }

    /// Its last answer; returns when it, and all that it has started, are dead.
    ///
    /// # Errors
    /// What it says went wrong, or that it died.
    pub fn finish(mut self) -> Result<Answer, Error> {
        let answer = self.answer()?;
        self.child.wait().map_err(Error::Helper)?;
        match answer {
            Answer::Failed(failure) => Err(failure.into()),
            answer => Ok(answer),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Its first process in the new namespace dies with it, and with that one every other.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let made =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|errno| Error::Helper(errno.into()))?;
    // A smaller one is only slower.
    let _ = rustix::pipe::fcntl_setpipe_size(&made.1, PIECE);
    Ok(made)
}

/// Waits until there is something to read, or an end; not longer than `within`.
fn readable(from: impl AsFd, within: Duration) -> bool {
    let mut polled = [PollFd::new(&from, PollFlags::IN)];
    let within = Timespec::try_from(within).ok();
    !matches!(poll(&mut polled, within.as_ref()), Ok(0))
}
