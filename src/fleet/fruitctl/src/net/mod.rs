//! This machine's part of the fleet's network. It stands while a verb runs that asks for it, or as long as `fruitctl serve` does; all
//! other verbs work on the records that have come here.

mod contact;
mod doctor;
mod holders;
mod identity;
mod served;
mod session;
mod socket;
mod status;
mod sync;
mod tunnel;
mod unit;

pub use contact::{Contact, nobody};
pub use holders::{Held, of_serve as served_survey, survey};
pub use served::ServeArgs;
pub use session::{Part, Session};
pub use sync::SyncArgs;
pub use tunnel::{open as open_way, stream};
pub use unit::{shown, units, word};

use crate::failure::{EXIT_CODES, Failure};
use crate::fleet::Options;
use clap::{Args, Subcommand};

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub struct NetArgs {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    contact: Contact,
    #[command(subcommand)]
    verb: NetVerb,
}

#[derive(Subcommand)]
enum NetVerb {
    /// Show this machine's part of the network: its address, the relays, and whom it is connected with.
    Status,
    /// List the nodes that are connected, and how: directly or by a relay.
    Peers,
    /// Say what the network allows, and what to change.
    Doctor,
}

impl NetArgs {
    pub fn run(self) -> Result<(), Failure> {
        match self.verb {
            NetVerb::Status => status::status(&self.options, &self.contact),
            NetVerb::Peers => status::peers(&self.options, &self.contact),
            NetVerb::Doctor => doctor::doctor(&self.options, &self.contact),
        }
    }
}
