use crate::failure::{Code, Failure};
use crate::session::{EVERYTHING, Options};
use crate::span;
use crate::status;
use clap::{Args, ValueEnum};
use fruit_stack::address::Targets;
use fruit_stack::board::Reading;
use fruit_stack::command::Pi;
use fruit_stack::status::{BoardStatus, StackStatus};
use fruit_stack::timestamp::rfc3339;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

#[derive(Args)]
pub struct RecordArgs {
    /// Boards to sample.
    #[arg(default_value = EVERYTHING)]
    targets: Targets,
    /// csv has a line per Pi, ndjson an object per board.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// From the start of one sample to the start of the next.
    #[arg(long, default_value = "10s", value_parser = span::parse, value_name = "TIME")]
    interval: Duration,
    /// End after so many samples.
    #[arg(long)]
    count: Option<u64>,
    /// Append to this file rather than print.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
}

const COLUMNS: &str = "time,stack,board,pi,powered,heartbeat,volts,amps,watts,\
input_volts,input_amps,input_watts,rail_volts,errors";

impl RecordArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut sessions = options.sessions(&self.targets, false)?;
        let mut out: Box<dyn Write> = match &self.output {
            Some(path) => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                let file = file
                    .map_err(|error| Failure::new(Code::Usage, format!("cannot write {}: {error}", path.display())))?;
                let new = file.metadata()?.len() == 0;
                let mut file = io::BufWriter::new(file);
                if new && self.format == Format::Csv {
                    writeln!(file, "{COLUMNS}")?;
                }
                Box::new(file)
            }
            None => {
                let mut out = io::stdout().lock();
                if self.format == Format::Csv {
                    writeln!(out, "{COLUMNS}")?;
                }
                Box::new(out)
            }
        };
        let start = Instant::now();
        let mut samples = 0u32;
        loop {
            let time = rfc3339(SystemTime::now());
            let stacks: Vec<StackStatus> = sessions.iter_mut().map(status::read).collect();
            for stack in &stacks {
                for board in &stack.boards {
                    match self.format {
                        Format::Csv => write_csv(&mut out, &time, &stack.stack, board)?,
                        Format::Ndjson => write_json(&mut out, &time, &stack.stack, board)?,
                    }
                }
            }
            out.flush()?;
            // A sample that fails stays in the record as such; it does not end the recording.
            let failures = status::tell_failures(&stacks);
            samples = samples.saturating_add(1);
            if self.count.is_some_and(|count| u64::from(samples) >= count) {
                return failures.finish();
            }
            let next = self.interval.saturating_mul(samples);
            std::thread::sleep(next.saturating_sub(start.elapsed()));
        }
    }
}

fn write_csv(out: &mut dyn Write, time: &str, stack: &str, board: &BoardStatus) -> io::Result<()> {
    for pi in Pi::BOTH {
        let status = &board.pis[usize::from(pi.number())];
        writeln!(
            out,
            "{time},{},{},{pi},{},{},{},{},{},{},{},{},{},{}",
            quoted(stack),
            board.board,
            flag(&status.powered),
            flag(&status.heartbeat),
            number(&status.volts),
            number(&status.amps),
            number(&status.watts),
            number(&board.input_volts),
            number(&board.input_amps),
            number(&board.input_watts),
            number(&board.rail_volts),
            board.errors.as_ref().map_or(String::new(), ToString::to_string),
        )?;
    }
    Ok(())
}

fn write_json(out: &mut dyn Write, time: &str, stack: &str, board: &BoardStatus) -> io::Result<()> {
    let mut object = serde_json::to_value(board)?;
    if let Some(fields) = object.as_object_mut() {
        fields.insert("time".into(), time.into());
        fields.insert("stack".into(), stack.into());
    }
    writeln!(out, "{object}")
}

/// RFC 4180: a field with a quote is quoted, with the quote doubled. Stack names have no commas or line ends.
fn quoted(text: &str) -> String {
    if text.contains('"') { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// Empty for what could not be read.
fn number(reading: &Reading<f64>) -> String {
    reading.as_ref().map_or(String::new(), |value| format!("{value:.4}"))
}

fn flag(reading: &Reading<bool>) -> &'static str {
    match reading {
        Ok(true) => "1",
        Ok(false) => "0",
        Err(_) => "",
    }
}
