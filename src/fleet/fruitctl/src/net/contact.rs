//! How to reach the fleet's nodes.

use crate::failure::{Code, Failure};
use crate::span;
use clap::Args;
use fruit_record::KeyId;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where nodes are, and how they are looked for.
#[derive(Args)]
pub struct Contact {
    /// A node and its address, as `fruit-peer status` shows them there; repeatable. Without it: nodes of this network, seeds of
    /// the charter, and where members were before.
    #[arg(long = "peer", global = true, value_name = "ID@HOST:PORT", value_parser = peer, help_heading = "Network")]
    pub peers: Vec<(KeyId, String)>,
    /// How long to wait for nodes.
    #[arg(long, global = true, default_value = "15s", value_parser = span::parse, value_name = "TIME", help_heading = "Network")]
    pub wait: Duration,
    /// Address, and UDP port, to be reached at. Without it: all of this machine's, and any port.
    #[arg(long, global = true, value_parser = listen, value_name = "ADDRESS[:PORT]", help_heading = "Network")]
    pub listen: Option<SocketAddr>,
    /// Do not look for nodes on the local network.
    #[arg(long, global = true, help_heading = "Network")]
    pub no_mdns: bool,
}

fn peer(text: &str) -> Result<(KeyId, String), String> {
    fruit_peer::daemon::address(text).map_err(|error| error.to_string())
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    alone
        .or_else(|_| text.parse())
        .map_err(|_| "expected an address of this machine, with or without a port".to_owned())
}

/// Nobody answers.
pub fn nobody(wait: Duration) -> Failure {
    let message = format!(
        "no node of the fleet was reached in {}: is one up, and on this network? Name one with --peer ID@HOST:PORT; `fruitctl net \
         doctor` says what the network allows",
        fruit_base::span::show(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    );
    Failure::new(Code::NoAnswer, message)
}
