//! Nodes that cannot reach each other: one has an address of IPv4 only, the other one of IPv6 only. A relay has none of both worlds'
//! troubles, for nodes call it by TCP.

use crate::machine::{Machine, text};
use crate::node::{Background, Node, until};
use crate::{HERE, ONE_ROOT, published, with};
use fruit_release::local::Answer;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Where a node is that nobody on 127.0.0.1 reaches.
const ELSEWHERE: &str = "::1";

/// A relay of a fleet, in a process.
pub struct Relay {
    process: Background,
    log: PathBuf,
    id: String,
    address: String,
    pin: String,
    seed: u64,
}

impl Relay {
    fn command(machine: &Machine, listen: &str, seed: &str, more: &[&str]) -> std::process::Command {
        let args = ["relay", "--state", "relay", "--listen", listen, "--seed-port", seed, "--json"];
        machine.command(&[&args, more].concat())
    }

    fn start(machine: &Machine, more: &[&str]) -> Relay {
        Relay::start_at(machine, "127.0.0.1", &HERE, more)
    }

    /// Starts one at `host` with an invite of `machine`'s fleet, and names it in the charter. `network`: how the laptop gets there.
    pub fn start_at(machine: &Machine, host: &str, network: &[&str], more: &[&str]) -> Relay {
        let with = |args: &[&'static str]| [args, network, &["--wait", "60s"]].concat();
        let invite = machine.ok(&["node", "invite", "--auto", "--labels", "role=relay"]);
        std::fs::write(machine.path("relay.invite"), invite).unwrap();
        let log = machine.path("relay.log");
        let command =
            Relay::command(machine, &format!("{host}:0"), "0", &[more, &["--invite", "relay.invite"]].concat());
        let process = Background::start(command, &log);
        let told: serde_json::Value = until("the relay says where it is", || {
            let text = std::fs::read_to_string(&log).unwrap();
            text.lines().find(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap())
        });
        let word = |name: &str| told[name].as_str().unwrap().to_owned();
        let (id, address, pin) = (word("id"), word("relay"), word("certificate"));
        let seed = told["seed_port"].as_u64().unwrap();
        let contact = format!("{id}@{host}:{seed}");
        let synced = machine.json(&[&with(&["sync"])[..], &["--peer", &contact]].concat());
        assert_eq!(synced["admitted"], 1, "{synced}");
        machine.ok(&["fleet", "relay", "add", &format!("{address}={pin}")]);
        machine.ok(&["fleet", "seed", &contact]);
        machine.ok(&with(&["sync"]));
        Relay { process, log, id, address, pin, seed }
    }

    /// As a power cut does.
    fn kill(&mut self) {
        self.process.kill();
    }

    fn again(&mut self, machine: &Machine, more: &[&str]) {
        let command = Relay::command(machine, &self.address, &self.seed.to_string(), more);
        self.process = Background::start(command, &self.log);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

/// A laptop that hands a release on, and a node that reaches it by the relay only.
struct Apart {
    machine: Machine,
    relay: Relay,
    node: Node,
    _serve: Background,
}

fn apart(more: &[&str]) -> Apart {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    let relay = Relay::start(&machine, more);
    // Its request comes by the relay too.
    let invite = machine.ok(&["node", "invite", "--auto", "--uses", "2", "--labels", "site=berlin"]);
    machine.ok(&with(&["sync"]));
    let node = Node::start_at("node", &invite, ELSEWHERE);
    let log = machine.path("serve.log");
    let serve = Background::start(machine.command(&with(&["serve"])), &log);
    node.is("member");
    Apart { machine, relay, node, _serve: serve }
}

/// Whatever this node is connected with is at the other end of the relay.
#[track_caller]
fn is_relayed(node: &Node) {
    let peers = until("it has neighbours", || Some(node.status().peers).filter(|peers| !peers.is_empty()));
    assert!(peers.iter().all(|peer| peer.path != "direct"), "{peers:?}");
    assert!(peers.iter().any(|peer| peer.path == "relay"), "{peers:?}");
}

#[test]
fn nodes_apart_exchange_records_and_pieces_by_a_relay_of_members_only() {
    let Apart { machine, mut relay, node, _serve } = apart(&[]);
    // One that says nothing, and one that does not speak TLS.
    let mut silent = TcpStream::connect(&relay.address).unwrap();
    let begun = Instant::now();
    let mut garbage = TcpStream::connect(&relay.address).unwrap();
    garbage.write_all(&[0x55; 4096]).unwrap();

    is_relayed(&node);
    let releases = machine.path("releases");
    let (id, names) = published(&releases);
    machine.ok(&["fleet", "accept", "pistack", "releases"]);
    machine.ok(&["release", "add", "releases"]);
    until("the charter has come", || (node.status().charter == 4).then_some(()));
    for name in &names {
        until("the piece has come", || matches!(node.piece(&id, name), Answer::Here(_)).then_some(()));
    }
    is_relayed(&node);
    let peers = machine.json(&["net", "peers"]);
    let paths: Vec<_> = peers.as_array().unwrap().iter().map(|peer| peer["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"direct") && paths.contains(&"relay"), "{peers}");
    let status = machine.json(&["net", "status"]);
    assert_eq!(status["relays"][0]["connected"], true, "{status}");

    // Another fleet: its laptop is let in nowhere, whatever its charter says.
    let other = Machine::with_fleet("pear", &ONE_ROOT);
    other.ok(&["fleet", "relay", "add", &format!("{}={}", relay.address, relay.pin)]);
    let output = other.run(&with(&["net", "doctor", "--json", "--wait", "3s"]));
    let doctor: serde_json::Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    let found = doctor.as_array().unwrap().iter().find(|one| one["what"] == "relay").unwrap();
    assert!(found["verdict"] == "bad" && found["says"].as_str().unwrap().contains("no operator"), "{doctor}");
    // Nor does a fleet go to a relay whose certificate is another one.
    other.ok(&["fleet", "relay", "add", &format!("{}={}", relay.address, "ab".repeat(32))]);
    let output = other.run(&with(&["net", "doctor", "--json", "--wait", "2s"]));
    assert!(text(&output.stdout).contains("is not connected"), "{output:?}");
    other.ok(&["fleet", "relay", "remove", &relay.address]);
    assert_eq!(other.json(&["fleet", "relay", "list"]).as_array().unwrap().len(), 0);

    // Who is revoked is cut there too, and does not come in again.
    machine.ok(&["node", "remove", &node.status().id, "--yes"]);
    node.is("revoked");
    until("the relay has cut it", || relay.log().contains("1 connections were cut").then_some(()));
    until("it is told why", || {
        node.status().relays[0].error.as_ref().is_some_and(|error| error.contains("revoked")).then_some(())
    });
    assert!(node.status().peers.is_empty());

    // Strangers have seconds, and none of the fleet's.
    let mut rest = Vec::new();
    garbage.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let _ = garbage.read_to_end(&mut rest);
    silent.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(relay.process.end(), Some(0), "{}", relay.log());
}

#[test]
fn a_transfer_goes_on_when_its_relay_is_cut_off_and_comes_back() {
    // A MiB takes four seconds.
    const SLOW: [&str; 2] = ["--rate", "2"];
    let Apart { machine, mut relay, node, _serve } = apart(&SLOW);
    is_relayed(&node);
    let laptop = until("it knows the laptop", || node.status().peers.into_iter().find(|peer| peer.state == "operator"));
    let releases = machine.path("releases");
    let (id, names) = published(&releases);
    machine.ok(&["fleet", "accept", "pistack", "releases"]);
    machine.ok(&["release", "add", "releases"]);
    until("the charter has come", || (node.status().charter == 4).then_some(()));
    until("a small piece has come", || matches!(node.piece(&id, &names[1]), Answer::Here(_)).then_some(()));

    let moved = |node: &Node| {
        let peers = node.status().peers;
        peers.iter().find(|peer| peer.id == laptop.id).map_or(0, |peer| peer.bytes_in)
    };
    let before = moved(&node);
    std::thread::scope(|threads| {
        let asked = threads.spawn(|| {
            let begun = Instant::now();
            until("the piece has come", || matches!(node.piece(&id, &names[0]), Answer::Here(_)).then_some(()));
            begun.elapsed()
        });
        until("it is under way", || (moved(&node) > before + 100_000).then_some(()));
        assert!(!asked.is_finished(), "the relay was not slow");
        relay.kill();
        let cut = Instant::now();
        std::thread::sleep(Duration::from_secs(1));
        let stood = moved(&node);
        relay.again(&machine, &SLOW);
        until("it goes on", || (moved(&node) > stood + 50_000).then_some(()));
        println!("without a relay for 1 s, the transfer stood for {:.1} s", cut.elapsed().as_secs_f64());
        println!("the piece took {:.1} s", asked.join().unwrap().as_secs_f64());
    });
    // It was the same connection all the time.
    let after = node.status().peers.into_iter().find(|peer| peer.id == laptop.id).unwrap();
    assert!(after.seconds >= laptop.seconds && after.bytes_in > laptop.bytes_in, "{laptop:?}, then {after:?}");
    assert_eq!(relay.id.len(), 64);
}

#[test]
fn a_relay_says_what_it_lacks_and_a_unit_runs_it() {
    let machine = Machine::with_fleet("orchard", &ONE_ROOT);
    machine.fail(&["relay", "--state", "relay"], 2, &["there is no invite", "fruitctl node invite"]);
    std::fs::write(machine.path("bad"), "fruit1-abc").unwrap();
    machine.fail(&["relay", "--state", "relay", "--invite", "bad"], 2, &["bad: ", "copy the invite again"]);
    std::fs::write(machine.path("invite"), machine.ok(&["node", "invite"])).unwrap();
    let here = ["relay", "--state", "relay", "--invite", "invite", "--seed-port", "0", "--listen"];
    let run = |listen: &str, more: &[&str]| [&here[..], &[listen], more].concat().join("\n");
    let fails = |listen: &str, says: &[&str]| machine.fail(&run(listen, &[]).lines().collect::<Vec<_>>(), 3, says);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    fails(&taken.local_addr().unwrap().to_string(), &["cannot be opened for the relay", "another program has it"]);
    std::fs::write(machine.path("relay/relay.pem"), "-----BEGIN").unwrap();
    machine.fail(&run("127.0.0.1:0", &[]).lines().collect::<Vec<_>>(), 1, &["relay.pem", "fruitctl fleet relay add"]);
    machine.fail(&["fleet", "relay", "add", "example.org=00"], 2, &["no SHA-256"]);
    machine.fail(&["fleet", "relay", "add", &format!("example.org={}", "ab".repeat(32))], 2, &["HOST:PORT"]);
    machine.fail(&["fleet", "relay", "remove", "example.org:443"], 2, &["names no such relay"]);

    // Units.
    machine.fail(&["relay", "install", "--user"], 2, &["port 443 is for root"]);
    machine.fail(&["relay", "install", "--state", "x"], 2, &["--state is for --user"]);
    let written = machine.ok(&["relay", "install", "--user", "--listen", "[::]:8443", "--state", "relay"]);
    let user = machine.path(".config/systemd/user/fruit-relay.service");
    assert_eq!(written.trim(), user.to_str().unwrap());
    let system = machine.path("fruit-relay.service");
    let text_of = machine.ok(&["relay", "install", "--print", "--invite", "/etc/fruit/relay.invite"]);
    assert!(
        text_of.contains("--invite %d/invite") && text_of.contains("LoadCredential=invite:/etc/fruit/relay.invite")
    );
    std::fs::write(&system, text_of).unwrap();
    for (path, of) in [(&user, "--user"), (&system, "--system")] {
        let mut verify = std::process::Command::new("systemd-analyze");
        let checked = verify.args(["verify", of, "--man=no", "--recursive-errors=no"]).arg(path).output();
        let said = text(&checked.unwrap_or_else(|_| panic!("systemd-analyze is missing: apt install systemd")).stderr);
        assert!(!said.contains("fruit-relay") && !said.contains("Unknown"), "{said}");
    }
}
