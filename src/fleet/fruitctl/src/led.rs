use crate::failure::{Failure, Failures, code_of};
use crate::session::Options;
use clap::Args;
use fruit_stack::address::Targets;
use fruit_stack::command::Command;

#[derive(Args)]
pub struct LedArgs {
    /// Boards.
    targets: Targets,
    /// on or off for the status LEDs, or a colour like ff8000 for the debug LED (000000 is dark).
    #[arg(value_parser = parse)]
    what: Command,
}

fn parse(text: &str) -> Result<Command, String> {
    match text {
        "on" => Ok(Command::Leds(true)),
        "off" => Ok(Command::Leds(false)),
        _ => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            let colour = (digits.len() == 6).then(|| u32::from_str_radix(digits, 16).ok()).flatten();
            let [_, red, green, blue] = colour
                .filter(|_| !digits.starts_with('+'))
                .ok_or_else(|| format!("`{text}` is neither on nor off nor a colour like ff8000"))?
                .to_be_bytes();
            Ok(Command::DebugLed { red, green, blue })
        }
    }
}

impl LedArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let mut failures = Failures::default();
        for session in &mut options.sessions(&self.targets, false)? {
            for &id in &session.boards.clone() {
                if let Err(error) = session.board(id).tell(self.what) {
                    failures.tell(&session.board_name(id), code_of(&error), &error);
                }
            }
        }
        failures.finish()
    }
}
