use crate::confirm::answer;
use crate::failure::{Code, Failure, Failures, code_of_power};
use crate::output::print;
use crate::session::{Options, Session};
use crate::span;
use clap::Args;
use fruit_stack::address::Targets;
use fruit_stack::command::Pi;
use fruit_stack::power::{self, OnPlan, PowerError, Stage};
use serde_json::json;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Args)]
pub struct OnArgs {
    /// Pis to power.
    targets: Targets,
    #[command(flatten)]
    plan: PlanArgs,
}

#[derive(Args)]
struct PlanArgs {
    /// Pause between one Pi and the next.
    #[arg(long, default_value = "0s", value_parser = span::parse, value_name = "TIME")]
    stagger: Duration,
    /// Power no Pi unless the stack stays below so many amps at its supply, as its boards measure. The stacks file can
    /// say it too (max-amps).
    #[arg(long, value_name = "AMPS", value_parser = amps)]
    max_amps: Option<f64>,
    /// Amps at the supply to keep free for one Pi that starts.
    #[arg(long, default_value_t = OnPlan::default().headroom, value_name = "AMPS", value_parser = amps)]
    headroom: f64,
    /// How long to wait for headroom before giving up.
    #[arg(long, default_value = "2m", value_parser = span::parse, value_name = "TIME")]
    patience: Duration,
}

fn amps(text: &str) -> Result<f64, String> {
    match text.trim_end_matches(['A', 'a']).trim().parse::<f64>() {
        Ok(amps) if amps.is_finite() && amps >= 0.0 => Ok(amps),
        _ => Err(format!("`{text}` is no current: write amps, like 4.5")),
    }
}

impl PlanArgs {
    fn plan(&self, session: &Session) -> OnPlan {
        OnPlan {
            stagger: self.stagger,
            max_amps: self.max_amps.or(session.entry.max_amps),
            headroom: self.headroom,
            patience: self.patience,
        }
    }

    /// A limit counts all boards of the stack, so they must be known.
    fn needs_all_boards(&self, options: &Options) -> Result<bool, Failure> {
        Ok(self.max_amps.is_some() || options.known()?.entries().iter().any(|entry| entry.max_amps.is_some()))
    }
}

#[derive(Args)]
pub struct OffArgs {
    /// Pis to shut down.
    targets: Targets,
    /// Cut the power at once, without a shutdown. Asks first.
    #[arg(long)]
    force: bool,
    /// Do not ask.
    #[arg(long, requires = "force")]
    yes: bool,
}

#[derive(Args)]
pub struct CycleArgs {
    /// Pis to switch off and on again.
    targets: Targets,
    /// Cut the power at once, without a shutdown. Asks first.
    #[arg(long)]
    force: bool,
    /// Do not ask.
    #[arg(long, requires = "force")]
    yes: bool,
    /// How long a Pi stays without power.
    #[arg(long, default_value = "2s", value_parser = span::parse, value_name = "TIME")]
    pause: Duration,
    #[command(flatten)]
    plan: PlanArgs,
}

impl OnArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let whole = self.plan.needs_all_boards(options)?;
        let mut teller = Teller::new(options);
        for session in &mut options.sessions(&self.targets, whole)? {
            let plan = self.plan.plan(session);
            let pis = session.pis.clone();
            on(session, &pis, &plan, &mut teller);
        }
        teller.failures.finish()
    }
}

fn on(session: &mut Session, pis: &[(u8, Pi)], plan: &OnPlan, teller: &mut Teller<'_>) {
    // A limit concerns what is addressed even if the list of boards leaves it out.
    let mut all = session.present.clone();
    all.extend(&session.boards);
    all.sort_unstable();
    all.dedup();
    let name = session.entry.name.clone();
    power::on_all(&mut session.master, pis, &all, plan, |board, pi, stage| teller.tell(&name, board, pi, stage));
}

impl OffArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut sessions = options.sessions(&self.targets, false)?;
        if self.force && !self.yes {
            confirm(&sessions)?;
        }
        // Each stack waits for its own off delays, so they wait at the same time.
        let teller = Mutex::new(Teller::new(options));
        std::thread::scope(|scope| {
            for session in &mut sessions {
                scope.spawn(|| off(session, self.force, &teller));
            }
        });
        teller.into_inner().unwrap_or_else(PoisonError::into_inner).failures.finish()
    }
}

/// Switches a session's Pis off, and says which of them are off now and were not before.
fn off(session: &mut Session, force: bool, teller: &Mutex<Teller<'_>>) -> Vec<(u8, Pi)> {
    let name = session.entry.name.clone();
    let pis = session.pis.clone();
    let mut gone = Vec::new();
    let mut tell = |board, pi, stage: Result<Stage, PowerError>| {
        if matches!(stage, Ok(Stage::Off { .. })) {
            gone.push((board, pi));
        }
        lock(teller).tell(&name, board, pi, stage);
    };
    if force {
        for (board, pi) in pis {
            let stage = power::force_off(&mut session.master, board, pi);
            tell(board, pi, stage);
        }
    } else {
        power::off_all(&mut session.master, &pis, tell);
    }
    gone
}

impl CycleArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let whole = self.plan.needs_all_boards(options)?;
        let mut sessions = options.sessions(&self.targets, whole)?;
        if self.force && !self.yes {
            confirm(&sessions)?;
        }
        let teller = Mutex::new(Teller::new(options));
        for session in &mut sessions {
            let plan = self.plan.plan(session);
            let mut gone = off(session, self.force, &teller);
            gone.sort_unstable();
            session.master.wait(self.pause);
            on(session, &gone, &plan, &mut lock(&teller));
        }
        teller.into_inner().unwrap_or_else(PoisonError::into_inner).failures.finish()
    }
}

/// A panic elsewhere leaves nothing half-said that matters here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn confirm(sessions: &[Session]) -> Result<(), Failure> {
    let names: Vec<String> = sessions
        .iter()
        .flat_map(|session| session.pis.iter().map(move |(board, pi)| format!("{}.{pi}", session.board_name(*board))))
        .collect();
    let question = format_args!("Cut the power of {} without a shutdown?", names.join(", "));
    let nobody = "cutting power needs an answer: add --yes where nobody can give one";
    match answer(question, nobody)?.as_str() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Code::NotConfirmed, "nothing was done")),
    }
}

/// Tells stages as they come.
struct Teller<'a> {
    options: &'a Options,
    failures: Failures,
}

impl<'a> Teller<'a> {
    fn new(options: &'a Options) -> Self {
        Self { options, failures: Failures::default() }
    }

    fn tell(&mut self, stack: &str, board: u8, pi: Pi, stage: Result<Stage, PowerError>) {
        let name = format!("{stack}/{board}.{pi}");
        if self.options.json {
            let mut line = json!({ "stack": stack, "board": board, "pi": pi });
            match (&stage, serde_json::to_value(stage.as_ref().ok())) {
                (Ok(_), Ok(serde_json::Value::Object(stage))) => line.as_object_mut().map(|line| line.extend(stage)),
                (Err(error), _) => line.as_object_mut().map(|line| {
                    line.insert("stage".into(), "failed".into());
                    line.insert("error".into(), error.to_string().into());
                }),
                _ => None,
            };
            print(format_args!("{line}"));
        }
        match stage {
            Ok(stage) if !self.options.json && !self.options.quiet => {
                print(format_args!("{name}: {}", sentence(&stage)));
            }
            Ok(_) => {}
            Err(error) => self.failures.tell(&name, code_of_power(&error), &error),
        }
    }
}

fn sentence(stage: &Stage) -> String {
    match stage {
        Stage::Already { powered: true } => "is on already".to_owned(),
        Stage::Already { powered: false } => "is off already".to_owned(),
        Stage::On => "on".to_owned(),
        Stage::WaitingForHeadroom { amps, limit } => {
            format!("waiting: {amps:.2} A of {limit:.2} A are drawn or about to be")
        }
        Stage::Signalled { off_delay: Some(seconds) } => format!("shutdown signalled, power goes in {seconds} s"),
        Stage::Signalled { off_delay: None } => "shutdown signalled".to_owned(),
        Stage::HeartbeatGone { after } => format!("heartbeat gone after {after:.1} s"),
        Stage::Off { after } => format!("off after {after:.1} s"),
    }
}
