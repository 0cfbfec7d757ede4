use crate::failure::{Failure, Failures, code_of};
use crate::session::{EVERYTHING, Options, Session};
use crate::table::{self, Cell, bad, good, plain};
use crate::watch::Watch;
use clap::Args;
use fruit_stack::address::Targets;
use fruit_stack::board::Reading;
use fruit_stack::command::Pi;
use fruit_stack::status::{BoardStatus, StackStatus, read_board};
use std::io::Write;

#[derive(Args)]
pub struct StatusArgs {
    /// Boards to show.
    #[arg(default_value = EVERYTHING)]
    targets: Targets,
    #[command(flatten)]
    watch: Watch,
}

impl StatusArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut sessions = options.sessions(&self.targets, false)?;
        let failures = self.watch.run(options.json, |clear| {
            let stacks: Vec<StackStatus> = sessions.iter_mut().map(read).collect();
            let mut out = std::io::stdout().lock();
            if options.json {
                serde_json::to_writer(&mut out, &stacks).map_err(std::io::Error::from)?;
                writeln!(out)?;
            } else {
                write!(out, "{clear}{}", render(&stacks))?;
            }
            out.flush()?;
            drop(out);
            Ok(tell_failures(&stacks))
        })?;
        failures.finish()
    }
}

/// Reads the boards that a session means. An adapter that was unplugged is opened again as soon as it is back.
pub fn read(session: &mut Session) -> StackStatus {
    if session.lost {
        session.reopen();
    }
    let hardware = session.entry.hardware;
    let boards: Vec<BoardStatus> =
        session.boards.iter().map(|&board| read_board(&mut session.master, board, hardware)).collect();
    session.lost = boards.iter().any(BoardStatus::port_failed);
    StackStatus { stack: session.entry.name.clone(), boards, line: session.master.counts() }
}

/// Says what could not be read; a board that answers nothing is one failure, not twenty.
pub fn tell_failures(stacks: &[StackStatus]) -> Failures {
    let mut failures = Failures::default();
    for stack in stacks {
        for board in &stack.boards {
            let name = format!("{}/{}", stack.stack, board.board);
            let all = board.failures();
            match all.first() {
                Some((_, error)) if all.iter().all(|(_, other)| other == error) && all.len() > 1 => {
                    failures.tell(&name, code_of(error), error);
                }
                _ => all
                    .iter()
                    .for_each(|(what, error)| failures.tell(&name, code_of(error), format_args!("{what}: {error}"))),
            }
        }
    }
    failures
}

const HEAD: [&str; 13] =
    ["board", "rev", "in V", "in A", "in W", "5V", "errors", "pi", "power", "heartbeat", "V", "A", "W"];

fn render(stacks: &[StackStatus]) -> String {
    let mut rows = Vec::new();
    for stack in stacks {
        for board in &stack.boards {
            rows.extend(Pi::BOTH.map(|pi| row(&stack.stack, board, pi)));
        }
    }
    table::render(&HEAD, &rows, table::colours())
}

fn row(stack: &str, board: &BoardStatus, pi: Pi) -> Vec<Cell> {
    let mut row = match pi {
        Pi::Zero => vec![
            plain(format!("{stack}/{}", board.board)),
            shown(&board.hardware, |hardware| plain(hardware.to_string())),
            decimals(&board.input_volts),
            decimals(&board.input_amps),
            decimals(&board.input_watts),
            decimals(&board.rail_volts),
            shown(&board.errors, |&count| if count == 0 { plain("0") } else { bad(count.to_string()) }),
        ],
        Pi::One => (0..7).map(|_| plain("")).collect(),
    };
    let status = &board.pis[usize::from(pi.number())];
    let powered = status.powered == Ok(true);
    row.extend([
        plain(pi.to_string()),
        shown(&status.powered, |&on| if on { good("on") } else { plain("off") }),
        shown(&status.heartbeat, |&seen| match (seen, powered) {
            (true, _) => good("seen"),
            (false, true) => bad("none"),
            (false, false) => plain("-"),
        }),
        decimals(&status.volts),
        decimals(&status.amps),
        decimals(&status.watts),
    ]);
    row
}

fn shown<T>(reading: &Reading<T>, show: impl FnOnce(&T) -> Cell) -> Cell {
    reading.as_ref().map_or_else(|_| bad("?"), show)
}

fn decimals(reading: &Reading<f64>) -> Cell {
    shown(reading, |value| plain(format!("{value:.2}")))
}
