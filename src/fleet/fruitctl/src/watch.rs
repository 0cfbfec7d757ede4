//! `--watch`: the same view again and again.

use crate::failure::Failure;
use crate::span;
use clap::Args;
use std::io::IsTerminal;
use std::time::Duration;

#[derive(Args)]
pub struct Watch {
    /// Show again and again until interrupted.
    #[arg(long, short)]
    watch: bool,
    /// Pause between two looks.
    #[arg(long, default_value = "2s", value_parser = span::parse, value_name = "TIME")]
    interval: Duration,
    /// End after so many looks.
    #[arg(long, requires = "watch")]
    count: Option<u64>,
}

impl Watch {
    /// Calls `look` once, or as often as the command line says, and gives what the last call gave. `look` gets what to write first,
    /// so that a view takes the place of the one before on a terminal.
    pub fn run<T>(&self, json: bool, mut look: impl FnMut(&str) -> Result<T, Failure>) -> Result<T, Failure> {
        // Home, and clear to the end of the screen.
        let clear = if self.watch && !json && std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        let mut looks = 0;
        loop {
            let seen = look(clear)?;
            looks += 1;
            if !self.watch || self.count.is_some_and(|count| looks >= count) {
                return Ok(seen);
            }
            std::thread::sleep(self.interval);
        }
    }
}
