use crate::failure::{Failure, Failures, code_of};
use crate::session::Options;
use crate::span;
use clap::Args;
use fruit_stack::address::Targets;
use fruit_stack::command::Command;
use std::time::Duration;

#[derive(Args)]
pub struct IdentifyArgs {
    /// Boards whose debug LED blinks.
    targets: Targets,
    /// How long.
    #[arg(long = "for", default_value = "10s", value_parser = span::parse, value_name = "TIME")]
    time: Duration,
}

const HALF_BLINK: Duration = Duration::from_millis(250);
const BRIGHT: Command = Command::DebugLed { red: 255, green: 255, blue: 255 };
const DARK: Command = Command::DebugLed { red: 0, green: 0, blue: 0 };

impl IdentifyArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut failures = Failures::default();
        let mut sessions = options.sessions(&self.targets, false)?;
        let halves = (self.time.as_millis() / HALF_BLINK.as_millis()).max(1);
        // The last half is always dark: nobody can ask a board what its LED showed before.
        for half in (0..halves + halves % 2).rev() {
            for session in &mut sessions {
                for id in session.boards.clone() {
                    let told = session.board(id).tell(if half % 2 == 1 { BRIGHT } else { DARK });
                    if let Err(error) = told {
                        failures.tell(&session.board_name(id), code_of(&error), &error);
                        session.boards.retain(|&board| board != id);
                    }
                }
            }
            std::thread::sleep(HALF_BLINK);
        }
        failures.finish()
    }
}
