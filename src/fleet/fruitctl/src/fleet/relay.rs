//! `fruitctl fleet relay`: the relays that the charter names.

use super::charter::Next;
use super::{CharterArgs, Opened, Options, adopt, usage};
use crate::failure::Failure;
use crate::output::print;
use clap::{Args, Subcommand};
use fruit_base::Sha256;
use fruit_record::body::{Charter, Relay};
use serde_json::{Value, json};

#[derive(Args)]
pub struct RelayArgs {
    #[command(subcommand)]
    verb: RelayVerb,
}

#[derive(Subcommand)]
enum RelayVerb {
    /// Name a relay, or another certificate of one that is named. Root keys sign it.
    Add {
        /// Where nodes reach it, and the SHA-256 of its certificate: `fruitctl relay` prints both.
        #[arg(value_name = "HOST:PORT=SHA256", value_parser = relay)]
        relay: Relay,
        #[command(flatten)]
        charter: CharterArgs,
    },
    /// List the relays.
    List,
    /// Name a relay no more. Root keys sign it.
    Remove {
        #[arg(value_name = "HOST:PORT")]
        address: String,
        #[command(flatten)]
        charter: CharterArgs,
    },
}

/// Reads `HOST:PORT=SHA256`.
pub fn relay(text: &str) -> Result<Relay, String> {
    let (address, pin) = text.split_once('=').ok_or("expected HOST:PORT=SHA256")?;
    let pin = Sha256::parse(pin).ok_or_else(|| format!("{pin:?} is no SHA-256 of a certificate"))?;
    let host_and_port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    if !host_and_port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err(format!("{address:?} is not of the form HOST:PORT"));
    }
    Ok(Relay { address: address.to_owned(), pin })
}

impl RelayArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        match self.verb {
            RelayVerb::Add { relay, charter } => change(options, &charter, |next| {
                // One at an address: its certificate may be new.
                next.relays.retain(|one| one.address != relay.address);
                next.relays.push(relay);
                next.relays.sort_unstable();
                Ok(())
            }),
            RelayVerb::Remove { address, charter } => change(options, &charter, |next| {
                let before = next.relays.len();
                next.relays.retain(|one| one.address != address);
                match next.relays.len() == before {
                    true => Err(usage(format!("{address}: the charter names no such relay"))),
                    false => Ok(()),
                }
            }),
            RelayVerb::List => {
                show(&Opened::read(options)?, options);
                Ok(())
            }
        }
    }
}

fn change(
    options: &Options,
    args: &CharterArgs,
    edit: impl FnOnce(&mut Charter) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut opened = Opened::change(options)?;
    let mut charter = opened.charter().clone();
    edit(&mut charter)?;
    if matches!(adopt(&mut opened, charter, args, options)?, Next::Waits) {
        return Ok(());
    }
    show(&opened, options);
    Ok(())
}

fn show(opened: &Opened, options: &Options) {
    let relays = &opened.charter().relays;
    if options.json {
        let one = |relay: &Relay| json!({"address": relay.address, "pin": relay.pin.to_string()});
        print(format_args!("{:#}", Value::from(relays.iter().map(one).collect::<Vec<_>>())));
    } else {
        print(format_args!("{} relays; charter {}", relays.len(), opened.replica.trust().version()));
        relays.iter().for_each(|relay| print(format_args!("{}={}", relay.address, relay.pin)));
    }
}
