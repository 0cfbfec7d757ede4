//! What fruit-init says: to the kernel's log, so that the journal has it under the name `fruit-init`, and to the
//! console.

use std::fs::{File, OpenOptions};
use std::io::Write;

use fruit_contract::report::Step;

const DEVKMSG: &str = "/proc/sys/kernel/printk_devkmsg";

/// Severities of syslog.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Level {
    /// Shown on the console even with `quiet`, which lets through what is below 4.
    Error = 3,
    Info = 6,
}

/// The log, and what of it goes into the boot report.
#[derive(Default)]
pub struct Log {
    kmsg: Option<File>,
    console: Option<File>,
    /// Kernel messages below this level reach the console by themselves.
    console_level: u8,
    debug: bool,
    /// How the kernel treated messages from userspace before.
    devkmsg: Option<String>,
    pub warnings: Vec<String>,
    pub timeline: Vec<Step>,
}

impl Log {
    /// Opens `/dev/kmsg` and `/dev/console`; without them messages are lost, which stops nothing.
    pub fn open() -> Log {
        // By default the kernel drops all but 10 messages in 5 seconds. It wants the line feed (kernel/printk/printk.c).
        let devkmsg = std::fs::read_to_string(DEVKMSG).ok();
        let _ = std::fs::write(DEVKMSG, "on\n");
        let levels = std::fs::read_to_string("/proc/sys/kernel/printk").unwrap_or_default();
        let console_level = levels.split_whitespace().next().and_then(|l| l.parse().ok());
        let open = |path: &str| OpenOptions::new().write(true).open(path).ok();
        Log {
            kmsg: open("/dev/kmsg"),
            console: open("/dev/console"),
            console_level: console_level.unwrap_or(7),
            devkmsg,
            ..Log::default()
        }
    }

    pub fn set_debug(&mut self, debug: bool) {
        self.debug = debug;
    }

    /// Progress; on the console unless `quiet`.
    pub fn info(&mut self, message: &str) {
        self.write(Level::Info, message);
    }

    /// Details, only with `fruit.debug`.
    pub fn debug(&mut self, message: impl FnOnce() -> String) {
        if self.debug {
            self.write(Level::Error, &message());
        }
    }

    /// Something did not go as it should, and the boot goes on.
    pub fn warn(&mut self, message: impl Into<String>) {
        let message = message.into();
        self.write(Level::Error, &message);
        self.warnings.push(message);
    }

    /// For what is in the report elsewhere.
    pub fn error(&mut self, message: &str) {
        self.write(Level::Error, message);
    }

    /// Notes that a step of the boot has ended.
    pub fn step(&mut self, name: &str) {
        let at_ms = since_boot_ms();
        self.debug(|| format!("{name} done at {at_ms} ms"));
        self.timeline.push(Step { name: name.into(), at_ms });
    }

    /// Lets the kernel limit messages from userspace again, as it was told to. The log stays open until the root's init
    /// has really started.
    pub fn hand_over(&self) {
        if let Some(devkmsg) = &self.devkmsg {
            let _ = std::fs::write(DEVKMSG, devkmsg);
        }
    }

    fn write(&mut self, level: Level, message: &str) {
        let line = one_line(message);
        let logged = self.kmsg.as_mut().is_some_and(|f| write_record(f, level, &line));
        let shown = logged && (level as u8) < self.console_level;
        if let (false, Level::Error, Some(console)) = (shown, level, &mut self.console) {
            let _ = writeln!(console, "fruit-init: {line}");
        }
    }
}

/// The kernel takes one message per write, of at most 1024 bytes with its head (`PRINTKRB_RECORD_MAX`).
fn write_record(kmsg: &mut File, level: Level, line: &str) -> bool {
    const LONGEST: usize = 900;
    let mut end = line.len().min(LONGEST);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    kmsg.write_all(format!("<{}>fruit-init: {}\n", level as u8, &line[..end]).as_bytes()).is_ok()
}

/// One line without control characters: file contents quoted in a message must not steer a terminal.
fn one_line(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A last message when there is no [`Log`] at hand: from a panic.
pub fn emergency(message: &str) {
    Log::open().error(message);
}

/// Milliseconds since the kernel started.
pub fn since_boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
