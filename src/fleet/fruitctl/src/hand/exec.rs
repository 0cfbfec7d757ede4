//! `fruitctl exec`

use super::ssh::{Reach, code, not_started, with_user, write_known_hosts};
use crate::failure::{Code, EXIT_CODES, Failure};
use crate::fleet::{Opened, Options, candidates, usage};
use crate::net::{Contact, open_way};
use crate::output::{print, talk};
use crate::select::Narrow;
use crate::span;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::{Value, json};
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Bytes of output of one node that are kept.
const OUTPUT: u64 = 1 << 20;
/// ssh's own exit code, when it does not come to run the command.
const NOT_RUN: i32 = 255;
/// Between two looks at a command that has a time limit.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ExecArgs {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    contact: Contact,
    /// Nodes, named as `fruitctl node list` takes them.
    #[arg(required = true, value_name = "SELECTOR", add = ArgValueCandidates::new(candidates::choices))]
    nodes: Vec<String>,
    #[command(flatten)]
    narrow: Narrow,
    /// Account on the nodes.
    #[arg(long, value_name = "USER")]
    login: Option<String>,
    /// Nodes at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256), value_name = "NUMBER")]
    parallel: u16,
    /// Time for each node.
    #[arg(long, default_value = "60s", value_parser = span::parse, value_name = "TIME")]
    timeout: Duration,
    /// Show what nodes say in the order of their names, and not as they end.
    #[arg(long)]
    ordered: bool,
    /// Private key for ssh; without it: those of ssh itself.
    #[arg(long, short, value_name = "FILE")]
    identity: Option<std::path::PathBuf>,
    /// The command, for the node's shell.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What came of one node.
struct Done {
    /// Exit code; none: it did not answer, or not in time.
    code: Option<i32>,
    out: Vec<u8>,
    err: Vec<u8>,
    time: Duration,
}

impl ExecArgs {
    pub fn run(self) -> Result<(), Failure> {
        let opened = Opened::read(&self.options)?;
        write_known_hosts(&opened)?;
        let chosen = self.narrow.choose(&opened, &self.nodes)?;
        let members = chosen.iter().filter(|node| node.state == "member");
        let nodes: Vec<(String, String, Result<Reach, Failure>)> =
            members.map(|node| (node.name(), node.id.to_string(), Reach::node(&self.options, node))).collect();
        if nodes.is_empty() {
            return Err(usage("no member of the fleet is meant"));
        }
        let way = open_way(&self.options, &self.contact)?;
        let done = self.all(&nodes);
        way.end(&self.options)?;
        self.tell(&nodes, done)
    }

    /// Runs it on all of them, so many at once.
    fn all(&self, nodes: &[(String, String, Result<Reach, Failure>)]) -> Vec<Option<Done>> {
        let (next, (tell, told)) = (AtomicUsize::new(0), mpsc::channel());
        let mut all: Vec<Option<Done>> = nodes.iter().map(|_| None).collect();
        std::thread::scope(|scope| {
            for _ in 0..usize::from(self.parallel).min(nodes.len()) {
                let (next, tell) = (&next, tell.clone());
                scope.spawn(move || {
                    while let Some((at, node)) =
                        Some(next.fetch_add(1, Relaxed)).and_then(|at| Some((at, nodes.get(at)?)))
                    {
                        // Who collects them is there to the end.
                        let _ = tell.send((at, self.one(&node.2)));
                    }
                });
            }
            drop(tell);
            let mut shown = 0;
            for (at, done) in told {
                if !self.ordered && !self.options.json {
                    show(&nodes[at].0, &done);
                }
                all[at] = Some(done);
                while self.ordered && !self.options.json && all.get(shown).is_some_and(Option::is_some) {
                    if let Some(Some(done)) = all.get(shown) {
                        show(&nodes[shown].0, done);
                    }
                    shown += 1;
                }
            }
        });
        all
    }

    fn one(&self, reach: &Result<Reach, Failure>) -> Done {
        let failed =
            |why: &Failure| Done { code: None, out: Vec::new(), err: why.to_string().into(), time: Duration::ZERO };
        let reach = match reach {
            Ok(reach) => reach,
            Err(why) => return failed(why),
        };
        let mut command = reach.command("ssh");
        command.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-T"]);
        if let Some(file) = &self.identity {
            command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(file);
        }
        command.arg(with_user(self.login.as_deref(), &reach.name)).arg("--").args(&self.command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        match command.spawn() {
            Ok(child) => finish(child, begun, self.timeout),
            Err(error) => failed(&not_started(&command, &error)),
        }
    }

    /// The summary, and the exit code.
    fn tell(&self, nodes: &[(String, String, Result<Reach, Failure>)], done: Vec<Option<Done>>) -> Result<(), Failure> {
        let (mut failed, mut silent) = (Vec::new(), Vec::new());
        let mut values = Vec::new();
        for ((name, id, _), done) in nodes.iter().zip(&done) {
            let Some(done) = done else { continue };
            match done.code {
                Some(0) => {}
                Some(code) => failed.push(format!("{name} ({code})")),
                None => silent.push(name.as_str()),
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let seconds = (done.time.as_secs_f64() * 1000.0).round() / 1000.0;
            values.push(json!({"name": name, "id": id, "exit": done.code, "stdout": text(&done.out), "stderr": text(&done.err), "seconds": seconds}));
        }
        if self.options.json {
            print(format_args!("{:#}", Value::from(values)));
        }
        let good = nodes.len() - failed.len() - silent.len();
        let mut summary = format!("{good} of {} nodes: done", nodes.len());
        for (what, names) in [("failed", failed.join(", ")), ("did not answer", silent.join(", "))] {
            if !names.is_empty() {
                summary += &format!("; {what}: {names}");
            }
        }
        self.options.say(format_args!("{summary}"));
        match (failed.is_empty(), silent.is_empty()) {
            (true, true) => Ok(()),
            (_, false) => Err(Failure::new(Code::NoAnswer, "")),
            (false, true) => Err(Failure::new(Code::Refused, "")),
        }
    }
}

/// Each line with its node's name before it.
fn show(name: &str, done: &Done) {
    for line in String::from_utf8_lossy(&done.out).lines() {
        print(format_args!("{name}: {}", printable(line)));
    }
    for line in String::from_utf8_lossy(&done.err).lines() {
        talk(format_args!("{name}: {}", printable(line)));
    }
}

/// A node must not write to the terminal what that obeys.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// The first bytes of what comes; the rest is read and dropped.
fn collect(mut from: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = from.by_ref().take(OUTPUT).read_to_end(&mut kept);
    let _ = std::io::copy(&mut from, &mut std::io::sink());
    kept
}

/// Waits for its end, for so long.
fn finish(mut child: Child, begun: Instant, limit: Duration) -> Done {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let readers = (
        std::thread::spawn(move || out.map(collect).unwrap_or_default()),
        std::thread::spawn(move || err.map(collect).unwrap_or_default()),
    );
    let status = loop {
        match child.try_wait() {
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(LOOK),
            Ok(None) => break None,
            Ok(Some(status)) => break Some(status),
            Err(_) => break None,
        }
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (out, mut err) = (readers.0.join().unwrap_or_default(), readers.1.join().unwrap_or_default());
    if status.is_none() {
        err.extend_from_slice(b"not done in time");
    }
    let code = status.map(code).filter(|code| *code != NOT_RUN);
    Done { code, out, err, time: begun.elapsed() }
}
