use crate::failure::{Failure, Failures, code_of};
use crate::output::print;
use crate::session::Options;
use crate::table::{self, plain};
use clap::Args;
use fruit_stack::board::Board;
use fruit_stack::command::Command;
use fruit_stack::frame::MASTER;
use fruit_stack::master::DIP_IDS;
use serde_json::json;

#[derive(Args)]
pub struct ScanArgs {
    /// Stacks to look at; all if none is named.
    stacks: Vec<String>,
    /// Look at all 255 ids rather than at those without a prefix: takes up to five minutes.
    #[arg(long)]
    prefixes: bool,
}

impl ScanArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let known = options.known()?;
        let mut failures = Failures::default();
        let (mut rows, mut found_boards) = (Vec::new(), Vec::new());
        for name in &self.stacks {
            // Says which names are known when this is none of them.
            known.select(&fruit_stack::address::Targets::whole(name))?;
        }
        for entry in known.entries().iter().filter(|entry| self.stacks.is_empty() || self.stacks.contains(&entry.name))
        {
            let mut master = options.open(entry)?;
            options.say(format_args!("looking for boards of {} on {}", entry.name, entry.port));
            let ids = if self.prefixes { 0..=MASTER - 1 } else { DIP_IDS };
            let found = match master.search(ids) {
                Ok(found) => found,
                Err(error) => {
                    failures.tell(&entry.name, code_of(&error), &error);
                    continue;
                }
            };
            for id in found {
                let mut board = Board { master: &mut master, id };
                let hardware = board.byte(Command::HardwareVersion);
                let software = board.byte(Command::SoftwareVersion);
                let boots = board.word(Command::BootCount);
                for error in
                    [hardware.as_ref().err(), software.as_ref().err(), boots.as_ref().err()].into_iter().flatten()
                {
                    failures.tell(&format!("{}/{id}", entry.name), code_of(error), error);
                }
                rows.push(vec![
                    plain(format!("{}/{id}", entry.name)),
                    plain(format!("{:#04x}", id & 0xF0)),
                    plain((id & 0x0F).to_string()),
                    plain(hardware.as_ref().map_or("?".into(), |version| format!("v{version}"))),
                    plain(software.as_ref().map_or("?".into(), ToString::to_string)),
                    plain(boots.as_ref().map_or("?".into(), ToString::to_string)),
                ]);
                found_boards.push(json!({
                    "stack": entry.name, "board": id, "prefix": id & 0xF0, "dip": id & 0x0F,
                    "hardware": hardware.ok(), "software": software.ok(), "boots": boots.ok(),
                }));
            }
        }
        if options.json {
            print(format_args!("{}", serde_json::Value::from(found_boards)));
        } else {
            let head = ["board", "prefix", "dip", "hardware", "software", "boots"];
            print(format_args!("{}", table::render(&head, &rows, false).trim_end()));
        }
        failures.finish()
    }
}
