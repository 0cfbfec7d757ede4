//! What people and programs see: results to standard output, talk to standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use fruit_contract::update::status::{Content, Event, EventKind, Progress, Status, Step};
use fruit_release::tuf::Time;
use fruit_update::install::{Counts, Installed};
use fruit_update::progress::{self, Board};
use fruit_update::status::describe;
use serde_json::{Value, json};

const MIB: f64 = (1 << 20) as f64;
/// Between two looks of the progress line, and between two plain lines.
const FRAME: Duration = Duration::from_millis(200);
const PLAIN: Duration = Duration::from_secs(10);

/// To standard output.
pub fn say(text: &str) {
    fruit_output::line(format_args!("{text}"));
}

pub fn json(value: &Value) {
    say(&value.to_string());
}

/// One line that is written over, or plain lines now and then where there is no terminal.
pub struct Line {
    terminal: bool,
    quiet: bool,
    last: Option<(Instant, Step)>,
    board: Board,
}

impl Line {
    pub fn new(quiet: bool) -> Line {
        Line { terminal: std::io::stderr().is_terminal(), quiet, last: None, board: Board::new(progress::PATH) }
    }

    pub fn tell(&mut self, progress: &Progress) {
        self.board.tell(progress);
        let pause = if self.terminal { FRAME } else { PLAIN };
        let soon = self.last.is_some_and(|(when, step)| step == progress.step && when.elapsed() < pause);
        if self.quiet || soon {
            return;
        }
        self.last = Some((Instant::now(), progress.step));
        let (fetched, written) = (progress.fetched as f64 / MIB, progress.written as f64 / MIB);
        let text = format!("{} ({fetched:.1} MiB fetched, {written:.1} MiB written)", describe(progress));
        let mut to = std::io::stderr();
        let _ = if self.terminal { write!(to, "\r\x1b[K{text}") } else { writeln!(to, "{text}") };
        let _ = to.flush();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.terminal && !self.quiet && self.last.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn counted(counts: &Counts) -> String {
    let Counts { chunks, kept, copied, patched, whole, fetched, written, .. } = counts;
    format!(
        "{chunks} chunks: {kept} were there, {copied} copied, {patched} patched, {whole} fetched whole; \
         {:.1} MiB fetched, {:.1} MiB written",
        *fetched as f64 / MIB,
        *written as f64 / MIB
    )
}

pub fn installed(installed: &Installed, as_json: bool) {
    if as_json {
        return json(&json!({
            "installed": installed.release, "slot": installed.slot, "counts": installed.counts,
            "delta": installed.delta, "freshness": installed.freshness.to_string(), "notes": installed.notes,
        }));
    }
    for note in &installed.notes {
        say(&format!("note: {note}"));
    }
    say(&counted(&installed.counts));
    let (name, slot) = (installed.release.name(), installed.slot);
    say(&format!("{name} is in slot {slot}, checked, and is tried at the next boot (fruit-update restart)"));
}

pub fn status(status: &Status, as_json: bool, daemon: Option<&Value>) {
    if as_json {
        let mut value = serde_json::to_value(status).unwrap_or_default();
        value["daemon"] = daemon.cloned().unwrap_or_default();
        return json(&value);
    }
    say(&status.summary);
    for (letter, content) in ['a', 'b'].into_iter().zip(&status.slots) {
        let text = match content {
            Content::Unknown => "nothing that this program knows".into(),
            Content::Incomplete { release } => format!("{}, incomplete", release.name()),
            Content::Complete { release, good: true } => format!("{}, good", release.name()),
            Content::Complete { release, good: false } => format!("{}, not proved", release.name()),
        };
        say(&format!("  slot {letter}     {text}"));
    }
    say(&format!("  obeys      {}", status.obeys));
    say(&format!("  metadata   {}", status.freshness));
    if let Some(error) = &status.trust_error {
        say(&format!("             {error}"));
    }
    say(&format!("  epoch      {}", status.epoch));
    for failed in &status.failed {
        say(&format!("  failed     {}: {}", failed.release.name(), failed.reason));
    }
    if let Some(doing) = daemon.and_then(|daemon| daemon["doing"].as_str()).filter(|doing| !doing.is_empty()) {
        say(&format!("  daemon     {doing}"));
    }
    if let Some(result) = daemon.and_then(|daemon| daemon["last_result"].as_str()) {
        say(&format!("  last look  {result}"));
    }
}

pub fn history(events: &[Event], as_json: bool) {
    if as_json {
        return json(&json!({ "history": events }));
    }
    for event in events {
        let time = Time::from_seconds(i64::try_from(event.time).unwrap_or(i64::MAX));
        let what = match event.event {
            EventKind::Installed => "installed",
            EventKind::Committed => "committed",
            EventKind::Failed => "failed",
            EventKind::RolledBack => "rolled back to",
            EventKind::Cloned => "copied",
            EventKind::Stopped => "not completed",
        };
        let text = if event.text.is_empty() { String::new() } else { format!(": {}", event.text) };
        say(&format!("{time}  {what:14} {}{text}", event.release));
    }
}
