//! An operator's machine beside a node: it knows the fleet, lets nodes in, and has releases for them.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use ed25519_dalek::Signer;
use fruit_peer::engine::{Engine, Network, Options};
use fruit_peer::pass::Pass;
use fruit_peer::store::Pieces;
use fruit_record::body::{Body, Charter, Grant, ReleaseRoot, Seed};
use fruit_record::{Draft, Invite, Signature};
use fruit_release::local::repository_id;

use crate::fleet::{ANNA, Fleet, charter, id, key, sign};
use crate::node::PATIENCE;

/// Keys of the machine and of the invite.
const MACHINE: u8 = 90;
const INVITE: u8 = 50;

pub struct Laptop {
    engine: Engine,
    invite: Invite,
}

impl Laptop {
    /// A fleet of its own, whose charter takes the releases of `product` that are in the folder `repository`. Nodes find this
    /// machine, on any port that is free, at the address `host`.
    pub fn start(host: &str, product: &str, repository: &Path) -> Laptop {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let port = UdpSocket::bind((loopback, 0)).unwrap().local_addr().unwrap().port();
        let root = std::fs::read(repository.join("metadata/1.root.json")).unwrap();
        let mut fleet = Fleet::with(Charter {
            releases: vec![ReleaseRoot { product: product.into(), root: repository_id(&root) }],
            relays: Vec::new(),
            seeds: vec![Seed { node: id(MACHINE), address: format!("{host}:{port}") }],
            ..charter()
        });
        let invite = fleet.invite(INVITE, Grant::default(), 0, ANNA);
        fleet.take(&invite.grant.encode());
        let bytes = key(ANNA).sign(&Pass::message(&fleet.id(), &id(MACHINE), 0)).to_bytes();
        let pass = Pass { machine: id(MACHINE), not_after: 0, signature: Signature { key: id(ANNA), bytes } };
        let options = Options {
            key: key(MACHINE),
            fleet: fleet.id(),
            invite: None,
            pass: Some(pass.encode()),
            replica: Some(fleet.replica),
            store: None,
            state_error: None,
            pieces: Pieces::open(vec![repository.to_owned()], None, None),
            network: Network { bind: Some(loopback), port, port_mapping: false, relays: Vec::new() },
            mdns: false,
            site: String::new(),
            compare: Duration::from_secs(1),
            contacts: Vec::new(),
            facts: None,
            services: Default::default(),
        };
        Laptop { engine: Engine::start(options, None).unwrap(), invite }
    }

    /// For `fruit.yaml`.
    pub fn invite(&self) -> String {
        self.invite.to_text()
    }

    /// Signs in the node that asks with these words, as `fruitctl node approve` does.
    pub fn approve(&self, words: &str) {
        let start = Instant::now();
        let (replica, request) = loop {
            let replica = self.engine.replica().unwrap().unwrap();
            let requests = self.engine.requests().unwrap();
            let mut verified = requests.iter().filter_map(|request| replica.verify_request(request).ok());
            if let Some(request) = verified.find(|request| fruit_record::words(&request.node).join("-") == words) {
                break (replica, request);
            }
            assert!(start.elapsed() < PATIENCE, "no request of {words}");
            std::thread::sleep(Duration::from_millis(200));
        };
        let (head, member) = replica.admit(&request, None).unwrap();
        let record = sign(&Draft::new(head, Body::Member(member)).unwrap(), &replica.trust().fleet(), &[ANNA]);
        self.engine.offer(&record).unwrap().unwrap();
    }
}
