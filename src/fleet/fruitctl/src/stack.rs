//! `fruitctl stack`: its verbs.

use crate::failure::Failure;
use crate::session::Options;
use clap::{Args, Subcommand};

const ADDRESSES: &str = "\
Addresses:
  rack1/3.1     Pi 1 of board 3 of the stack rack1
  rack1/0-3     both Pis of boards 0 to 3
  0,2,5-7.0     a list; the stack may be left out when there is only one
  rack1/all     every board of a stack
  all           every board of every stack

The stacks file gives stacks their names. It is looked for in --stacks, $FRUITCTL_STACKS,
./stacks.yaml, ~/.config/fruit/stacks.yaml and /etc/fruit/stacks.yaml. Without one, name a port
with --port.";

const TIMES: &str = "\
Times:
  a number and a unit: ms, s, m or min, h; without a unit, seconds: 500ms, 1.5m, 2min, 10";

#[derive(Args)]
#[command(after_help = format!("{ADDRESSES}\n\n{TIMES}\n\n{}", crate::failure::EXIT_CODES))]
pub struct StackArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: StackVerb,
}

#[derive(Subcommand)]
enum StackVerb {
    /// Look for boards.
    Scan(crate::scan::ScanArgs),
    /// Show volts, amps, watts, heartbeat and power of boards and Pis.
    Status(crate::status::StatusArgs),
    /// Power Pis, one after the other and within the supply's limit.
    On(crate::power::OnArgs),
    /// Shut Pis down cleanly and show each stage; or cut them off.
    Off(crate::power::OffArgs),
    /// Shut Pis down, and power them again.
    Cycle(crate::power::CycleArgs),
    /// Show and change timers, start-up settings and prefixes.
    Config(crate::config::ConfigArgs),
    /// Show the boards' error logs, or clear them.
    Errors(crate::errors::ErrorsArgs),
    /// Switch the boards' LEDs.
    Led(crate::led::LedArgs),
    /// Blink a board's LED, to find it in the rack.
    Identify(crate::identify::IdentifyArgs),
    /// Sample readings to CSV or NDJSON at an interval.
    Record(crate::record::RecordArgs),
    /// Offer all readings as Prometheus metrics.
    Serve(crate::serve::ServeArgs),
    /// Run simulated boards.
    Simulate(crate::simulate::SimulateArgs),
}

impl StackArgs {
    pub fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.verb {
            StackVerb::Scan(args) => args.run(options),
            StackVerb::Status(args) => args.run(options),
            StackVerb::On(args) => args.run(options),
            StackVerb::Off(args) => args.run(options),
            StackVerb::Cycle(args) => args.run(options),
            StackVerb::Config(args) => args.run(options),
            StackVerb::Errors(args) => args.run(options),
            StackVerb::Led(args) => args.run(options),
            StackVerb::Identify(args) => args.run(options),
            StackVerb::Record(args) => args.run(options),
            StackVerb::Serve(args) => args.run(options),
            StackVerb::Simulate(args) => args.run(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_below_the_options_keeps_within_100_columns() {
        let wide = |text: &str| text.lines().find(|line| line.chars().count() > 100).map(str::to_owned);
        assert_eq!(wide(ADDRESSES).or(wide(TIMES)).or(wide(crate::failure::EXIT_CODES)), None);
    }
}
