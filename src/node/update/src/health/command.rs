//! A program that looks at the node, with a time limit that holds for all that it starts.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use fruit_contract::update::config::CommandLine;
use rustix::process::{Pid, Signal, kill_process_group};

/// Between two looks at the program.
const LOOK: Duration = Duration::from_millis(50);
/// Of what a program says, this many bytes from the end are kept.
const SAID_MAX: u64 = 300;
/// Where commands find other programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs it; an error is why it did not end well, with the last that it said.
pub fn run(line: &CommandLine, time: Duration, stop: &AtomicBool, alive: &dyn Fn()) -> Result<(), String> {
    // A file, not a pipe: a child of the program that lives on must not be waited for, nor block on what nobody reads.
    let mut said = anonymous_file().map_err(|error| format!("{line}: {error}"))?;
    let (out, err) = (said.try_clone(), said.try_clone());
    let (Ok(out), Ok(err)) = (out, err) else { return Err(format!("{line}: no more files can be opened")) };
    let child = Command::new(line.program())
        .args(line.arguments())
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|error| format!("{line}: {error}"))?;
    let end = Instant::now() + time;
    let late = loop {
        alive();
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => break ended(status),
            Ok(None) if stop.load(Relaxed) => break "was stopped".to_owned(),
            Ok(None) if Instant::now() >= end => {
                break format!("took longer than {:.1} s and was killed", time.as_secs_f64());
            }
            Ok(None) => thread::sleep(LOOK),
            Err(error) => break error.to_string(),
        }
    };
    // Its process group, since it may have started others; they are nothing without it.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Fails if none of them is left.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    let words = last_words(&mut said);
    Err(if words.is_empty() { format!("{line}: {late}") } else { format!("{line}: {late}: {words}") })
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// In memory, gone when it is closed.
fn anonymous_file() -> std::io::Result<std::fs::File> {
    Ok(rustix::fs::memfd_create("said", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// The end of what was said, on one line.
fn last_words(said: &mut std::fs::File) -> String {
    let len = said.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::new();
    let read = said.seek(SeekFrom::Start(len.saturating_sub(SAID_MAX)));
    if read.and_then(|_| said.take(SAID_MAX).read_to_end(&mut bytes)).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> =
        text.split(|c: char| c.is_control()).map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> CommandLine {
        CommandLine::try_from(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn quick(words: &[&str]) -> Result<(), String> {
        run(&line(words), Duration::from_secs(60), &AtomicBool::new(false), &|| {})
    }

    #[test]
    fn status_0_is_good_and_all_else_is_told() {
        assert_eq!(quick(&["/bin/true"]), Ok(()));
        assert!(quick(&["/bin/false"]).unwrap_err().contains("status 1"));
        assert!(quick(&["/bin/sh", "-c", "kill -9 $$"]).unwrap_err().contains("signal 9"));
        assert!(quick(&["/bin/sh", "-c", "echo one; echo two; exit 1"]).unwrap_err().ends_with("one, two"));
    }

    #[test]
    fn a_program_that_overruns_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let start = Instant::now();
        let words = line(&["/bin/sh", "-c", &script]);
        let error = run(&words, Duration::from_secs(2), &AtomicBool::new(false), &|| {}).unwrap_err();
        assert!(error.contains("longer than 2.0 s"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30));
        let child = std::fs::read_to_string(pid).unwrap();
        let stat = std::path::PathBuf::from(format!("/proc/{}/stat", child.trim()));
        let gone = || match std::fs::read_to_string(&stat) {
            // Nobody may have waited for it yet.
            Ok(text) => text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')),
            Err(_) => true,
        };
        let end = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < end, "the child of the program still runs");
            thread::sleep(LOOK);
        }
    }

    #[test]
    fn a_program_that_leaves_a_child_behind_is_not_waited_for() {
        let start = Instant::now();
        assert_eq!(quick(&["/bin/sh", "-c", "sleep 30 & exit 0"]), Ok(()));
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn much_output_costs_little_memory() {
        let error = quick(&["/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; exit 1"]).unwrap_err();
        assert!(error.len() < 1000);
    }
}
