//! `fruitctl net doctor`: what the network allows, in plain words, and what to change.

use super::contact::Contact;
use super::session::is_reached;
use super::status::{count, read};
use crate::failure::{Code, Failure};
use crate::fleet::{Known, Opened, Options, age, now, set_clock};
use crate::output::print;
use fruit_contract::peer::status::Status;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Good,
    /// It works, but not as well as it could.
    Limited,
    Bad,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Limited => "limited",
            Verdict::Bad => "bad",
        }
    }
}

struct Finding {
    what: &'static str,
    verdict: Verdict,
    says: String,
    /// What to do; empty if nothing.
    advice: &'static str,
}

fn finding(what: &'static str, verdict: Verdict, says: impl Into<String>, advice: &'static str) -> Finding {
    Finding { what, verdict, says: says.into(), advice }
}

fn clock() -> Finding {
    match set_clock() {
        Ok(_) => finding("clock", Verdict::Good, "it is set", ""),
        Err(why) => finding("clock", Verdict::Bad, why.to_string(), "set it: what is signed here would end at once"),
    }
}

/// Whether an address is one of this machine.
fn is_here(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Addresses that others see this machine at, as far as relays have told.
fn outside(status: &Status) -> Vec<SocketAddr> {
    let all = status.addresses.iter().filter_map(|address| address.parse::<SocketAddr>().ok());
    all.filter(|address| !is_here(address.ip())).collect()
}

fn udp(status: &Status) -> Finding {
    let direct = count(&status.peers, "direct");
    let outside: Vec<String> = outside(status).iter().map(ToString::to_string).collect();
    let advice = "allow UDP outwards (to any port, or at least to the relays' port) in the firewall: everything goes through \
                  relays otherwise";
    match (direct, outside.is_empty(), count(&status.peers, "relay") > 0) {
        (0, true, true) => finding("UDP", Verdict::Limited, "nodes are reached by relays only", advice),
        (0, true, false) => finding("UDP", Verdict::Limited, "it cannot be told: no node answers over it", ""),
        (0, false, _) => {
            finding("UDP", Verdict::Good, format!("a relay sees this machine at {}", outside.join(", ")), "")
        }
        _ => finding("UDP", Verdict::Good, format!("{direct} nodes are connected directly"), ""),
    }
}

fn addresses(status: &Status) -> Finding {
    let ips: Vec<IpAddr> =
        status.addresses.iter().filter_map(|address| address.parse::<SocketAddr>().ok()).map(|at| at.ip()).collect();
    let says = status.addresses.join(" ");
    let is_useful = ips.iter().any(|ip| !ip.is_loopback());
    match (ips.is_empty(), is_useful) {
        (true, _) => finding("address", Verdict::Bad, "this machine has none", "connect it with a network"),
        (_, false) => finding("address", Verdict::Limited, says, "only programs of this machine reach these"),
        _ => finding("address", Verdict::Good, says, ""),
    }
}

fn relays(status: &Status) -> Finding {
    let advice = "a relay needs TCP and UDP to the port that the charter names, from here to there; the hash of its certificate has to \
                  be the one in `fruitctl fleet relay list`, and its records new enough to know you";
    let connected = status.relays.iter().find(|relay| relay.connected);
    match (connected, status.relays.first()) {
        (Some(relay), _) => finding("relay", Verdict::Good, format!("{} is connected", relay.url), ""),
        (None, None) => {
            let says =
                "the charter names none: nodes of other networks are reached only where one of both ends can be called";
            finding("relay", Verdict::Limited, says, "on one network none is needed")
        }
        (None, Some(relay)) => {
            let why = relay.error.clone().unwrap_or_else(|| "no answer".into());
            finding("relay", Verdict::Bad, format!("{} is not connected: {why}", relay.url), advice)
        }
    }
}

fn nodes(status: &Status, contact: u64) -> Finding {
    let (direct, relayed) = (count(&status.peers, "direct"), count(&status.peers, "relay"));
    if is_reached(status) {
        return finding("nodes", Verdict::Good, format!("{direct} are connected directly, {relayed} by a relay"), "");
    }
    let last = age(contact, now());
    let advice = "is a node up, and on this network? Networks for guests often keep machines apart, and drop multicast: name a node \
                  with --peer ID@HOST:PORT then (`fruit-peer status` shows both on the node)";
    finding("nodes", Verdict::Bad, format!("none was reached; last contact: {last}"), advice)
}

pub fn doctor(options: &Options, contact: &Contact) -> Result<(), Failure> {
    let mut findings = vec![clock()];
    match read(options, contact) {
        Ok(status) => {
            let last = Known::read(&Opened::read(options)?.folder).contact;
            findings.extend([addresses(&status), udp(&status), relays(&status), nodes(&status, last)]);
        }
        // Without a clock there is no pass: that was said.
        Err(_) if findings.iter().any(|found| found.verdict == Verdict::Bad) => {}
        Err(failure) => return Err(failure),
    }
    if options.json {
        let one = |found: &Finding| {
            let advice = Some(found.advice).filter(|advice| !advice.is_empty());
            json!({"what": found.what, "verdict": found.verdict.name(), "says": found.says, "advice": advice})
        };
        print(format_args!("{:#}", Value::from(findings.iter().map(one).collect::<Vec<_>>())));
    } else {
        for Finding { what, verdict, says, advice } in &findings {
            print(format_args!("{what:<8} {:<8} {says}", verdict.name()));
            if !advice.is_empty() {
                print(format_args!("{:<17} {advice}", ""));
            }
        }
    }
    match findings.iter().map(|found| found.verdict).max() {
        Some(Verdict::Bad) => Err(Failure::new(Code::NoAnswer, "")),
        _ => Ok(()),
    }
}
