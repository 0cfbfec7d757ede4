//! QEMU's monitor: looking at an emulated machine from outside, and pressing its keys.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// QEMU answers at once, unless its machine is just ending or the host is busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Monitor(BufReader<UnixStream>);

impl Monitor {
    pub fn connect(socket: &Path) -> io::Result<Monitor> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Monitor(BufReader::new(stream));
        monitor.receive()?; // its greeting
        monitor.ask("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    fn receive(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }

    /// One command of the protocol.
    pub fn ask(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        writeln!(self.0.get_mut(), "{}", json!({ "execute": command, "arguments": arguments }))?;
        loop {
            let mut answer = self.receive()?;
            if let Some(error) = answer.get("error") {
                return Err(io::Error::other(format!("{command}: {error}")));
            }
            // Anything else is news of the machine.
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// `count` words of the machine's memory, or of the registers there.
    pub fn words(&mut self, address: u64, count: usize) -> io::Result<Vec<u32>> {
        let command = format!("xp /{count}wx {address:#x}");
        let answer = self.ask("human-monitor-command", json!({ "command-line": command }))?;
        let text = answer.as_str().unwrap_or_default();
        let words = text.split_whitespace().filter_map(|word| u32::from_str_radix(word.strip_prefix("0x")?, 16).ok());
        Some(words.collect::<Vec<u32>>())
            .filter(|words| words.len() == count)
            .ok_or_else(|| io::Error::other(format!("{command}: {text}")))
    }
}
