//! `fruitctl fleet seed`: members that others turn to first.

use super::charter::Next;
use super::{CharterArgs, Opened, Options, adopt, usage};
use crate::failure::Failure;
use crate::output::print;
use clap::Args;
use fruit_record::body::Seed;
use serde_json::{Value, json};

#[derive(Args)]
pub struct SeedArgs {
    /// Node, by its name, its id, or the first 8 digits or more of it, and where others reach it: pi-1@198.51.100.7:4433. With
    /// --remove the address may be left out.
    #[arg(value_name = "NODE@HOST:PORT")]
    seed: String,
    /// Do not name it any more.
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    charter: CharterArgs,
}

impl SeedArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let (node, address) = match self.seed.rsplit_once('@') {
            Some((node, address)) => (node, Some(address)),
            None => (self.seed.as_str(), None),
        };
        let mut opened = Opened::change(options)?;
        let node = opened.member_named(node)?;
        let mut charter = opened.charter().clone();
        let before = charter.seeds.len();
        charter.seeds.retain(|seed| seed.node != node || (self.remove && address.is_some_and(|at| at != seed.address)));
        if self.remove && charter.seeds.len() == before {
            return Err(usage(format!("{}: the charter names no such seed", self.seed)));
        }
        if !self.remove {
            let has_port =
                |address: &&str| address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let address = address.filter(has_port);
            let address = address.ok_or_else(|| usage(format!("{}: expected NODE@HOST:PORT", self.seed)))?;
            charter.seeds.push(Seed { node, address: address.to_owned() });
            charter.seeds.sort_unstable();
        }
        if matches!(adopt(&mut opened, charter, &self.charter, options)?, Next::Waits) {
            return Ok(());
        }
        let (seeds, version) = (&opened.charter().seeds, opened.replica.trust().version());
        if options.json {
            let one = |seed: &Seed| json!({"node": seed.node.to_string(), "address": seed.address});
            print(format_args!("{:#}", Value::from(seeds.iter().map(one).collect::<Vec<_>>())));
        } else {
            print(format_args!("{} seeds; charter {version}", seeds.len()));
            seeds.iter().for_each(|seed| print(format_args!("{}@{}", opened.name_of(&seed.node), seed.address)));
        }
        Ok(())
    }
}
