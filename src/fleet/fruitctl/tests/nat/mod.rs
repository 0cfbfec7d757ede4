//! Laptops and nodes behind routers of all kinds, with a relay on the public network.

mod lab;

use crate::machine::Machine;
use crate::node::{Background, Node, until};
use crate::relays::Relay;
use crate::{ONE_ROOT, published};
use fruit_contract::peer::status::PeerStatus;
use fruit_release::local::Answer;
use lab::{Home, PUBLIC, Router, inside, ip, rules, slow};
use std::time::{Duration, Instant};

/// No network is common to all.
const NETWORK: [&str; 1] = ["--no-mdns"];
const KINDS: [Router; 4] = [Router::Open, Router::FullCone, Router::RestrictedCone, Router::Symmetric];
/// Homes of the laptop, by kind; and those of the nodes.
const LAPTOP: [Home; 4] = [Home(1), Home(2), Home(3), Home(4)];
const NODES: [Home; 4] = [Home(5), Home(6), Home(7), Home(8)];
/// A node whose router lets no UDP through, and one behind two routers, of which the outer one is the provider's.
const TCP_ONLY: Home = Home(21);
const PROVIDER: Home = Home(22);
const TWICE: Home = Home(23);
/// Time that a connection has to find its direct way, once it is there.
const PUNCHING: Duration = Duration::from_secs(6);
/// What the laptop sends, in Mbit/s: a piece of a MiB takes four seconds.
const SLOW: u32 = 2;

struct Lab {
    machine: Machine,
    /// One of them is on at a time: with more, each chooses its neighbours.
    nodes: Vec<Node>,
    _relay: Relay,
}

impl Lab {
    /// All homes, a fleet with a relay, and its nodes: each has come by its invite, by way of the relay.
    fn build() -> Lab {
        lab::build();
        for (at, kind) in KINDS.into_iter().enumerate() {
            lab::home(LAPTOP[at], kind, None);
            lab::home(NODES[at], kind, None);
        }
        lab::home(TCP_ONLY, Router::TcpOnly, None);
        lab::home(PROVIDER, Router::RestrictedCone, None);
        lab::home(TWICE, Router::RestrictedCone, Some(PROVIDER));
        let machine = Machine::with_fleet("orchard", &ONE_ROOT);
        let relay = Relay::start_at(&machine, PUBLIC, &NETWORK, &[]);
        let invite = machine.ok(&["node", "invite", "--auto", "--uses", "6"]);
        let mut lab = Lab { machine, nodes: Vec::new(), _relay: relay };
        let serve = lab.serve(LAPTOP[2], &[]);
        for home in [&NODES[..], &[TCP_ONLY, TWICE]].concat() {
            let mut node = Node::start_in("node", &invite, |command| inside(&home.host(), command));
            node.is("member");
            node.stop();
            lab.nodes.push(node);
        }
        drop(serve);
        lab
    }

    /// The laptop at one of its homes, until this is dropped.
    fn serve(&self, home: Home, more: &[&str]) -> Background {
        let args = [&["serve"], &NETWORK[..], more].concat();
        Background::start(inside(&home.host(), &self.machine.command(&args)), &self.machine.path("serve.log"))
    }

    /// A node that is on, and the laptop in one of its homes.
    fn pair(&mut self, home: Home, node: usize) -> (&Node, Background) {
        self.nodes.iter_mut().for_each(Node::stop);
        self.nodes[node].again();
        let contact = self.nodes[node].contact();
        let serve = self.serve(home, &["--peer", &contact]);
        (&self.nodes[node], serve)
    }
}

/// What a node says of the laptop.
fn laptop(node: &Node) -> Option<PeerStatus> {
    node.status().peers.into_iter().find(|peer| peer.state == "operator")
}

/// The way between a node and the laptop, once it had the time to find the best one.
#[track_caller]
fn way(node: &Node, what: &str) -> String {
    until(&format!("{what}: the laptop is there"), || laptop(node).filter(|peer| !peer.path.is_empty()));
    let begun = Instant::now();
    loop {
        match laptop(node) {
            Some(peer) if peer.path == "direct" || begun.elapsed() > PUNCHING => return peer.path,
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn bytes(node: &Node) -> u64 {
    laptop(node).map_or(0, |peer| peer.bytes_in)
}

/// How long nothing comes after something has happened to a transfer. What came before is what `change` happens at.
fn stands(node: &Node, change: impl FnOnce()) -> Duration {
    let before = bytes(node);
    until("it is under way", || (bytes(node) > before + 100_000).then_some(()));
    change();
    let begun = Instant::now();
    // What was on its way still comes.
    std::thread::sleep(Duration::from_millis(500));
    let stood = bytes(node);
    until("it goes on", || {
        let now = bytes(node);
        (now > stood + 20_000 || now < stood && now > 20_000).then_some(())
    });
    begun.elapsed()
}

#[test]
fn laptop_and_nodes_find_each_other_behind_all_pairs_of_routers() {
    if !lab::enter("nat::laptop_and_nodes_find_each_other_behind_all_pairs_of_routers") {
        return;
    }
    let mut lab = Lab::build();
    let mut direct = 0;
    for (home, kind) in LAPTOP.into_iter().zip(KINDS) {
        for (at, other) in KINDS.into_iter().enumerate() {
            let (node, _serve) = lab.pair(home, at);
            let begun = Instant::now();
            let way = way(node, &format!("laptop behind {kind:?}, node behind {other:?}"));
            let seconds = begun.elapsed().as_secs_f64();
            println!("laptop behind {kind:?}, node behind {other:?}: {way} after {seconds:.1} s");
            direct += u32::from(way == "direct");
        }
    }
    // Only a router that shows each destination another port keeps two ends apart, if the other end's wants to know the port.
    assert!(direct >= 13, "{direct} of 16 pairs are direct");

    let [no_udp, twice] = [4, 5].map(|at| {
        let (node, _serve) = lab.pair(LAPTOP[2], at);
        way(node, &format!("node {at}"))
    });
    println!("laptop behind RestrictedCone, node behind a router without UDP: {no_udp}; behind two routers: {twice}");
    assert_eq!(no_udp, "relay");
    let [moved, closed] = transfers_go_on(&mut lab).map(|stood| stood.as_secs_f64());
    println!(
        "in mid transfer the laptop moved: it stood for {moved:.1} s; a firewall closed for UDP: for {closed:.1} s"
    );
}

/// A laptop changes networks in the middle of a transfer, and then a firewall closes for UDP in the middle of another. How long
/// each stood.
fn transfers_go_on(lab: &mut Lab) -> [Duration; 2] {
    let (home, other) = (LAPTOP[2], LAPTOP[3]);
    let host = home.host();
    lab::plug(home, other, "eth1", 9);
    ip(Some(&host), "link set eth1 down\n");
    ["eth0", "eth1"].into_iter().for_each(|interface| slow(&host, interface, SLOW));
    let releases = lab.machine.path("releases");
    let (id, names) = published(&releases);
    lab.machine.ok(&["fleet", "accept", "pistack", "releases"]);
    lab.machine.ok(&["release", "add", "releases"]);
    let get = |node: &Node| {
        until("the charter has come", || (node.status().charter == 4).then_some(()));
        until("the piece has come", || matches!(node.piece(&id, &names[0]), Answer::Here(_)).then_some(()));
    };
    let (node, serve) = lab.pair(home, 2);
    assert_eq!(way(node, "before the laptop moves"), "direct");
    let moved = std::thread::scope(|threads| {
        let piece = threads.spawn(|| get(node));
        let stood = stands(node, || {
            let lines = format!("link set eth0 down\nlink set eth1 up\nroute add default via 10.{}.0.1\n", other.0);
            ip(Some(&host), &lines);
        });
        piece.join().unwrap();
        stood
    });
    assert_eq!(way(node, "after the laptop has moved"), "relay");

    drop(serve);
    let (node, _serve) = lab.pair(home, 1);
    assert_eq!(way(node, "before UDP is closed"), "direct");
    let closed = std::thread::scope(|threads| {
        let piece = threads.spawn(|| get(node));
        let closed = "table ip closed { chain through { type filter hook forward priority filter - 10; policy accept;\nmeta l4proto udp drop\n }\n}\n";
        let stood = stands(node, || rules(&NODES[1].router(), closed));
        piece.join().unwrap();
        stood
    });
    assert_eq!(way(node, "after UDP is closed"), "relay");
    [moved, closed]
}
