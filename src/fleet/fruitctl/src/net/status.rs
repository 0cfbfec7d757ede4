//! `fruitctl net status` and `peers`

use super::contact::Contact;
use super::session::{Part, Session, ended};
use crate::failure::Failure;
use crate::fleet::Options;
use crate::output::{json, print};
use crate::table::{self, plain};
use fruit_contract::peer::status::{PeerStatus, RelayStatus, Status};

/// What this machine's part of the network says of itself: the one of `fruitctl serve`, or one that stands for as long as it takes to
/// reach a node.
pub fn read(options: &Options, contact: &Contact) -> Result<Status, Failure> {
    match Session::begin(options, contact, false)? {
        Part::Served(status) => Ok(*status),
        Part::Own(mut session) => {
            session.settle(contact.wait)?;
            let status = session.engine.status().map_err(ended)?;
            session.end()?;
            Ok(status)
        }
    }
}

/// How many nodes are connected in this way.
pub fn count(peers: &[PeerStatus], path: &str) -> usize {
    peers.iter().filter(|peer| peer.path == path).count()
}

pub fn status(options: &Options, contact: &Contact) -> Result<(), Failure> {
    let status = read(options, contact)?;
    if options.json {
        return Ok(json(&status)?);
    }
    print(format_args!("machine: {}", status.id));
    print(format_args!(
        "fleet: {} ({}), charter {}",
        status.fleet_name.as_deref().unwrap_or_default(),
        status.fleet.as_deref().unwrap_or_default(),
        status.charter
    ));
    print(format_args!("addresses: {}", status.addresses.join(" ")));
    for RelayStatus { url, connected, error } in &status.relays {
        let state = match (connected, error) {
            (true, _) => "connected".to_owned(),
            (false, Some(why)) => format!("not connected: {why}"),
            (false, None) => "not connected".to_owned(),
        };
        print(format_args!("relay: {url}, {state}"));
    }
    let (direct, relayed) = (count(&status.peers, "direct"), count(&status.peers, "relay"));
    print(format_args!("nodes: {direct} connected directly, {relayed} by a relay"));
    print(format_args!("records: {}; requests of nodes: {}", status.records, status.requests));
    if let Some(trouble) = &status.trouble {
        print(format_args!("trouble: {trouble}"));
    }
    Ok(())
}

pub fn peers(options: &Options, contact: &Contact) -> Result<(), Failure> {
    let status = read(options, contact)?;
    if options.json {
        return Ok(json(&status.peers)?);
    }
    let row = |peer: &PeerStatus| {
        let PeerStatus { id, name, state, path, address, rtt_ms, seconds, bytes_in, bytes_out, .. } = peer;
        let id = id.get(..16).unwrap_or(id).to_owned();
        let (rtt, age) = (format!("{rtt_ms} ms"), format!("{seconds} s"));
        let bytes = format!("{bytes_in}/{bytes_out}");
        [name.clone(), id, state.clone(), path.clone(), address.clone(), rtt, age, bytes].map(plain).into()
    };
    let rows: Vec<_> = status.peers.iter().map(row).collect();
    let head = ["node", "id", "as", "way", "address", "round trip", "for", "bytes in/out"];
    print(format_args!("{}", table::render(&head, &rows, false).trim_end()));
    Ok(())
}
