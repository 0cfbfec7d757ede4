//! `fruitctl ssh-config`

use super::ssh::{settings, write_known_hosts};
use crate::failure::{EXIT_CODES, Failure};
use crate::fleet::{Opened, Options, candidates};
use crate::output::print;
use crate::select::Narrow;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct ConfigArgs {
    #[command(flatten)]
    options: Options,
    /// Nodes, named as `fruitctl node list` takes them.
    #[arg(default_value = "all", value_name = "SELECTOR", add = ArgValueCandidates::new(candidates::choices))]
    nodes: Vec<String>,
    #[command(flatten)]
    narrow: Narrow,
    /// Account on the nodes.
    #[arg(long, value_name = "USER")]
    login: Option<String>,
    /// What each name begins with, such as `orchard-`.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    prefix: String,
}

impl ConfigArgs {
    pub fn run(self) -> Result<(), Failure> {
        let opened = Opened::read(&self.options)?;
        write_known_hosts(&opened)?;
        let chosen = self.narrow.choose(&opened, &self.nodes)?;
        for node in chosen.iter().filter(|node| node.state == "member") {
            print(format_args!("Host {}{}", self.prefix, node.name()));
            if let Some(user) = &self.login {
                print(format_args!("  User {user}"));
            }
            for (name, value) in settings(&self.options, &node.id)? {
                print(format_args!("  {name} {value}"));
            }
        }
        Ok(())
    }
}
