//! Children that end with this program, even when it is killed.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// A command to start, and where its child is to be sent.
type Order = (Command, Sender<io::Result<Child>>);

/// The kernel sends the death signal when the *thread* that started the child ends, and a caller's thread (of a test, for
/// instance) may end long before this program does. So all are started by one thread that lives as long as the program.
static STARTER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (sender, orders) = channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in orders {
            // Whoever asked may be gone; then the child ends as any that nobody waits for.
            let _ = answer.send(command.spawn());
        }
    });
    Mutex::new(sender)
});

/// Starts `command`. The kernel kills it when this program ends.
///
/// # Errors
/// Those of [`Command::spawn`].
pub fn spawn(mut command: Command) -> io::Result<Child> {
    let parent = getpid();
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before that.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec it makes two system calls, and touches neither memory of others nor locks.
    unsafe { command.pre_exec(bind) };
    let (sender, answer) = channel();
    let gone = || io::Error::other("the thread that starts emulators is gone");
    STARTER.lock().map_err(|_| gone())?.send((command, sender)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::path::PathBuf;
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("60").stdout(Stdio::null());
        command
    }

    /// A zombie has ended; who collects it is not our concern.
    fn runs(process: &str) -> bool {
        std::fs::read_to_string(PathBuf::from("/proc").join(process).join("stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let mut child = thread::spawn(|| spawn(sleeper()).unwrap()).join().unwrap();
        thread::sleep(Duration::from_millis(200));
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_program_that_is_killed_leaves_no_child_behind() {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "bound::tests::victim"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let child = lines.map(Result::unwrap).find_map(|line| line.strip_prefix("child ").map(str::to_owned)).unwrap();
        assert!(runs(&child));
        victim.kill().unwrap();
        victim.wait().unwrap();
        let start = Instant::now();
        while runs(&child) {
            assert!(start.elapsed() < Duration::from_secs(10), "process {child} still runs");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    #[ignore = "is run and killed by the test before"]
    fn victim() {
        let mut child = thread::spawn(|| spawn(sleeper()).unwrap()).join().unwrap();
        println!("\nchild {}", child.id());
        child.wait().unwrap();
    }
}
