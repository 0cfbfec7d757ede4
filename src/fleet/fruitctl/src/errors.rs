use crate::failure::{Failure, Failures, code_of};
use crate::output::print;
use crate::session::{EVERYTHING, Options};
use clap::{Args, Subcommand};
use fruit_stack::address::Targets;
use fruit_stack::board::ErrorReport;
use fruit_stack::command::Command;
use serde_json::json;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ErrorsArgs {
    /// Boards whose logs to show, oldest entry first.
    #[arg(default_value = EVERYTHING)]
    targets: Targets,
    #[command(subcommand)]
    verb: Option<ErrorsVerb>,
}

#[derive(Subcommand)]
enum ErrorsVerb {
    /// Clear the logs and the counts. Boards clear their boot count with the error count.
    Clear {
        #[arg(default_value = EVERYTHING)]
        targets: Targets,
    },
}

impl ErrorsArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        match self.verb {
            None => show(options, &self.targets),
            Some(ErrorsVerb::Clear { targets }) => clear(options, &targets),
        }
    }
}

fn show(options: &Options, targets: &Targets) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let mut reports = Vec::new();
    for session in &mut options.sessions(targets, false)? {
        for &id in &session.boards.clone() {
            let name = session.board_name(id);
            match session.board(id).errors() {
                Ok(report) if options.json => {
                    reports.push(json!({ "stack": session.entry.name, "board": id, "errors": report }));
                }
                Ok(report) => print_report(&name, &report),
                Err(error) => failures.tell(&name, code_of(&error), &error),
            }
        }
    }
    if options.json {
        print(format_args!("{}", serde_json::Value::from(reports)));
    }
    failures.finish()
}

fn print_report(name: &str, report: &ErrorReport) {
    print(format_args!("{name}: {} errors, {} boots", report.count, report.boots));
    for code in &report.log {
        print(format_args!("  {code}"));
    }
}

fn clear(options: &Options, targets: &Targets) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for session in &mut options.sessions(targets, false)? {
        for &id in &session.boards.clone() {
            let name = session.board_name(id);
            let mut board = session.board(id);
            match board.tell(Command::ClearErrorBuffer).and_then(|()| board.tell(Command::ClearErrorCount)) {
                Ok(()) => options.say(format_args!("{name}: cleared")),
                Err(error) => failures.tell(&name, code_of(&error), &error),
            }
        }
    }
    failures.finish()
}
