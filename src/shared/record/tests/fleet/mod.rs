//! A fleet for tests, whose keys follow from single bytes.
#![allow(dead_code)]

use ed25519_dalek::{Signer, SigningKey};
use fruit_base::Sha256;
use fruit_record::body::*;
use fruit_record::*;

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn id(seed: u8) -> KeyId {
    key(seed).verifying_key().into()
}

pub fn labels(text: &str) -> Labels {
    text.parse().unwrap()
}

pub fn selector(text: &str) -> Selector {
    text.parse().unwrap()
}

pub fn sign(draft: &Draft, fleet: &FleetId, seeds: &[u8]) -> Vec<u8> {
    let message = draft.message(fleet);
    draft.signed(seeds.iter().map(|seed| Signature { key: id(*seed), bytes: key(*seed).sign(&message).to_bytes() }))
}

pub fn operator(name: &str, seed: u8, roles: Roles, scope: &str) -> Operator {
    Operator { name: name.into(), key: id(seed), roles, scope: selector(scope), expires: 0 }
}

/// Root keys.
pub const ROOT: [u8; 3] = [1, 2, 3];
/// Operators: two for everything, one of Berlin, one of Bonn.
pub const ANNA: u8 = 11;
pub const BORIS: u8 = 12;
pub const BERLIN: u8 = 13;
pub const BONN: u8 = 14;
/// An invite that nobody looks at.
pub const INVITE: u8 = 49;

/// Two of three root keys, four operators, two signatures for plans of 100 nodes and for recalls.
pub fn charter() -> Charter {
    let mut root: Vec<KeyId> = ROOT.map(id).to_vec();
    root.sort();
    Charter {
        name: "orchard".into(),
        nonce: [3; 16],
        root,
        threshold: 2,
        operators: vec![
            operator("anna", ANNA, Roles::all(), "all"),
            operator("berlin", BERLIN, Roles::all(), "site=berlin"),
            operator("bonn", BONN, Roles::all(), "site=bonn"),
            operator("boris", BORIS, Roles::all(), "all"),
        ],
        rules: vec![
            Rule { class: Class::Recall, from: 0, needed: 2 },
            Rule { class: Class::Plan, from: 100, needed: 2 },
        ],
        releases: vec![ReleaseRoot { product: "pistack".into(), root: Sha256([9; 32]) }],
        relays: vec![Relay { address: "203.0.113.10:443".into(), pin: Sha256([8; 32]) }],
        seeds: vec![Seed { node: id(21), address: "[2001:db8::1]:4433".into() }],
    }
}

pub fn first(charter: Charter) -> Draft {
    Draft::new(Head::first(Name::Single), Body::Charter(Box::new(charter))).unwrap()
}

pub struct Fleet {
    pub replica: Replica,
}

impl Fleet {
    pub fn new() -> Fleet {
        Fleet::with(charter())
    }

    pub fn with(charter: Charter) -> Fleet {
        let draft = first(charter);
        let fleet = draft.fleet();
        Fleet { replica: Replica::new(Trust::new(fleet, &sign(&draft, &fleet, &ROOT)).unwrap()) }
    }

    pub fn id(&self) -> FleetId {
        self.replica.trust().fleet()
    }

    /// The next version of a record of operators.
    pub fn record(&self, name: Name, domain: &str, body: Body, seeds: &[u8]) -> Vec<u8> {
        let head = self.replica.next(body.class(), labels(domain), name);
        sign(&Draft::new(head, body).unwrap(), &self.id(), seeds)
    }

    pub fn next_charter(&self, charter: Charter, seeds: &[u8]) -> Vec<u8> {
        sign(&Draft::new(self.replica.next_charter(), Body::Charter(Box::new(charter))).unwrap(), &self.id(), seeds)
    }

    #[track_caller]
    pub fn take(&mut self, bytes: &[u8]) {
        assert_eq!(self.replica.offer(bytes), Ok(Outcome::New));
    }

    /// A member with labels, who has agreed to it by an invite of the same domain that is not here.
    pub fn agreed(&self, node: u8, domain: &str, with: &str, by: u8) -> Vec<u8> {
        let (invite, domain_labels) = (id(INVITE), labels(domain));
        let agreement = Member::agreement(&self.id(), &invite, &domain_labels);
        let consent = key(node).sign(&agreement).to_bytes();
        let (name, serial) = (format!("node-{node}"), String::new());
        let body = Body::Member(Member { name, labels: labels(with), serial, invite, consent });
        self.record(Name::Id(id(node)), domain, body, &[by])
    }

    /// A member with labels, signed by Anna.
    pub fn join(&mut self, node: u8, with: &str) {
        let member = self.member(node, with, ANNA);
        self.take(&member);
    }

    pub fn member(&self, node: u8, with: &str, by: u8) -> Vec<u8> {
        self.agreed(node, "", with, by)
    }

    pub fn report(&self, node: u8, version: u64, release: &str) -> Vec<u8> {
        let head = Head { version, ..Head::first(Name::Id(id(node))) };
        let body = Body::Report(Report { release: release.into(), ..Report::default() });
        sign(&Draft::new(head, body).unwrap(), &self.id(), &[node])
    }

    pub fn revocation(&self, node: u8, domain: &str, seeds: &[u8]) -> Vec<u8> {
        let head = Head { domain: labels(domain), ..Head::first(Name::Id(id(node))) };
        let body = Body::Revocation(Revocation { reason: "stolen".into() });
        sign(&Draft::new(head, body).unwrap(), &self.id(), seeds)
    }

    pub fn invite(&self, seed: u8, grant: Grant, not_after: u64, by: u8) -> Invite {
        self.invite_to("", seed, grant, not_after, by)
    }

    /// An invite that operators of a domain may sign nodes in by.
    pub fn invite_to(&self, domain: &str, seed: u8, grant: Grant, not_after: u64, by: u8) -> Invite {
        let head = Head { not_after, domain: labels(domain), ..Head::first(Name::Id(id(seed))) };
        let bytes = sign(&Draft::new(head, Body::Invite(grant)).unwrap(), &self.id(), &[by]);
        self.replica.trust().invite([seed; 32], Record::parse(&bytes).unwrap()).unwrap()
    }

    /// The request of a node that has an invite.
    pub fn request(&self, node: u8, invite: &Invite) -> Vec<u8> {
        Request::make(&self.id(), &key(node), ["pi-1", "10000000abc", "Pi 4"], invite).unwrap()
    }

    /// All charters, as somebody sends them.
    pub fn row(&self) -> Vec<Vec<u8>> {
        self.replica.trust().charters().iter().map(|charter| charter.encode()).collect()
    }

    pub fn offer_row(&mut self, row: &[Vec<u8>]) -> Result<Outcome, Refused> {
        self.replica.offer_charters(row.iter().map(Vec::as_slice))
    }
}

pub fn name(text: &str) -> Name {
    Name::Text(text.into())
}

pub fn group(nodes: &str) -> Body {
    Body::Group(Group { nodes: selector(nodes), note: String::new() })
}

pub fn plan(most_nodes: u64) -> Plan {
    Plan {
        target: Target::Release { manifest: Sha256([5; 32]), version: "1.1.0".into() },
        nodes: selector("all"),
        most_nodes,
        nonce: [6; 16],
        waves: vec![Wave::Share(10), Wave::Nodes(selector("site=berlin")), Wave::Share(1000)],
        gates: Gates { least_good: 950, most_bad: 2, soak: 600, lost_after: 3600, most_away: 1 },
        window: "02:00-04:00".into(),
        paused: false,
    }
}
