//! Lines for the journal, on standard error with the priority that systemd reads from them (sd-daemon(3)). A journal
//! that does not take them must not stop the program: lines are lost then, and counted nowhere.

use std::io::Write;
use std::os::fd::AsFd;

use rustix::net::{SendFlags, send};

/// Priorities of syslog(3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

/// What the program is called: other programs on the node speak this way too.
fn program() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Writes one line.
pub fn log(level: Level, line: &str) {
    // Only the journal wants the priority in front.
    let line = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => format!("<{}>{line}\n", level as u8),
        None => format!("{}: {line}\n", program()),
    };
    let stderr = std::io::stderr();
    let sent = send(stderr.as_fd(), line.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    if sent == Err(rustix::io::Errno::NOTSOCK) {
        // A terminal or a file: nobody to complain to if that fails.
        let _ = stderr.lock().write_all(line.as_bytes());
    }
}

pub fn critical(line: &str) {
    log(Level::Critical, line);
}

pub fn error(line: &str) {
    log(Level::Error, line);
}

pub fn warn(line: &str) {
    log(Level::Warning, line);
}

pub fn notice(line: &str) {
    log(Level::Notice, line);
}

pub fn info(line: &str) {
    log(Level::Info, line);
}
