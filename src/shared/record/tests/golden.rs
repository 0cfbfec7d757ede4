//! The format as it is on cards and sticks: `golden/records.txt`, a line for each class. A change of a line is a change of the
//! format, which cards that are out there do not read.

use crate::fleet::*;
use ed25519_dalek::Signer;
use fruit_base::{Sha256, hex};
use fruit_record::body::*;
use fruit_record::*;

fn bodies() -> Vec<(Name, Body)> {
    let node = || Name::Id(id(30));
    let all = || selector("all");
    vec![
        (node(), Body::Revocation(Revocation { reason: "stolen".into() })),
        (
            name("pistack"),
            Body::Recall(Recall {
                nodes: all(),
                product: "pistack".into(),
                versions: vec!["1.1.0".into(), "1.1.1".into()],
                to: Sha256([4; 32]),
                reason: "no wifi".into(),
            }),
        ),
        (name("spring"), Body::Halt(Halt { nodes: all(), nonce: [6; 16], reason: String::new() })),
        (name("group"), Body::Floor(Floor { named: Named::Inline(vec![RecordHash([1; 32]), RecordHash([2; 32])]) })),
        (name("config"), Body::Floor(Floor { named: Named::Blob(Sha256([3; 32])) })),
        (name("spring"), Body::Plan(Box::new(plan(300)))),
        (name("berlin"), Body::Group(Group { nodes: selector("site=berlin,rack=1;site=bonn"), note: "two".into() })),
        (
            name("wifi"),
            Body::Config(Config {
                nodes: all(),
                rank: 3,
                settings: vec![Setting { path: "network.wifi.ssid".into(), value: "orchard".into() }],
                secrets: vec![Secret { path: "network.wifi.password".into(), sealed: vec![(id(30), vec![7; 60])] }],
            }),
        ),
        (
            name("web"),
            Body::App(App {
                nodes: all(),
                image: "docker.io/library/nginx:1".into(),
                command: vec!["nginx".into(), "-g".into()],
                publish: vec!["80:80".into()],
                volumes: vec!["html:/usr/share/nginx/html".into()],
                devices: vec!["/dev/i2c-1".into()],
                environment: vec!["A=b".into()],
            }),
        ),
        (
            name("fix"),
            Body::Job(Job { nodes: all(), script: Script::Inline(b"#!/bin/sh\ntrue\n".into()), batch: 5, limit: 60 }),
        ),
        (name("big"), Body::Job(Job { nodes: all(), script: Script::Blob(Sha256([2; 32])), batch: 0, limit: 0 })),
        (name("keep"), Body::Hold(Hold { nodes: all(), reason: "exam week".into() })),
        (
            node(),
            Body::Member(Member {
                name: "pi-1".into(),
                labels: labels("site=berlin,rack=1"),
                serial: "10000000abc".into(),
                invite: id(50),
                consent: [7; 64],
            }),
        ),
        (
            Name::Id(id(50)),
            Body::Invite(Grant {
                uses: 40,
                admission: Admission::Auto,
                labels: labels("site=berlin"),
                serials: vec!["1".into(), "2".into()],
            }),
        ),
        (
            node(),
            Body::Report(Report {
                release: "pistack-1.0.0".into(),
                time: 1_700_000_000,
                facts: vec![("temperature".into(), "48.2".into())],
            }),
        ),
        (
            node(),
            Body::Beacon(Beacon { site: "berlin".into(), addresses: vec!["192.0.2.1:4433".into()], uplink: true }),
        ),
        (
            node(),
            Body::Vote(Vote { plan: "spring".into(), nonce: [6; 16], verdict: Verdict::Bad, reason: "no net".into() }),
        ),
        (
            node(),
            Body::JobResult(JobResult {
                job: "fix".into(),
                version: 1,
                code: 1,
                output: Sha256([1; 32]),
                tail: b"a\x1b[2J\n".into(),
            }),
        ),
    ]
}

/// Name and bytes of every kind of thing that has a format.
fn samples() -> Vec<(String, Vec<u8>)> {
    let fleet = Fleet::new();
    let mut all = vec![("charter".to_owned(), fleet.replica.trust().charters()[0].encode())];
    for (name, body) in bodies() {
        let class = body.class();
        let by_node = class.signers() == class::Signers::Node;
        let mut head = Head::first(name);
        if class == Class::Group {
            head =
                Head { version: 300, epoch: 2, not_after: 1_800_000_000, previous: Some(RecordHash([5; 32])), ..head };
        }
        let draft = Draft::new(head, body).unwrap();
        let draft = match draft.record().body() {
            // As only the node itself can.
            Body::Member(member) => {
                let agreement = Member::agreement(&fleet.id(), &member.invite, &Labels::default());
                let consent = key(30).sign(&agreement).to_bytes();
                let member = Body::Member(Member { consent, ..member.clone() });
                Draft::new(draft.record().head().clone(), member).unwrap()
            }
            _ => draft,
        };
        let seeds: &[u8] = if by_node { &[30] } else { &[ANNA, BORIS] };
        all.push((class.name().to_owned(), sign(&draft, &fleet.id(), seeds)));
    }
    let grant = Grant { uses: 1, labels: labels("site=berlin"), ..Grant::default() };
    let invite = fleet.invite(50, grant, 1_800_000_000, ANNA);
    all.push(("invite-text".into(), invite.to_text().into_bytes()));
    let request = Request::make(&fleet.id(), &key(30), ["pi-1", "10000000abc", "Raspberry Pi 4"], &invite).unwrap();
    all.push(("request".into(), request));
    all
}

#[test]
fn the_format_does_not_drift() {
    let made: String = samples().iter().map(|(name, bytes)| format!("{name} {}\n", hex::encode(bytes))).collect();
    let golden = include_str!("golden/records.txt");
    if made != golden {
        let path = std::env::temp_dir().join("records.txt");
        std::fs::write(&path, &made).unwrap();
        panic!("what is written now differs from golden/records.txt: see {}", path.display());
    }
}

#[test]
fn every_class_is_read_as_it_was_written() {
    let mut classes = std::collections::BTreeSet::new();
    for line in include_str!("golden/records.txt").lines() {
        let (name, digits) = line.split_once(' ').unwrap();
        let bytes = hex::decode(digits).unwrap();
        let Some(class) = Class::from_name(name) else { continue };
        let record = Record::parse(&bytes).unwrap();
        assert_eq!((record.class(), record.encode()), (class, bytes));
        classes.insert(class);
    }
    assert_eq!(classes.into_iter().collect::<Vec<_>>(), Class::ALL, "each has its line");
}

/// Records travel over metered links, invites are typed and scanned.
#[test]
fn records_are_small() {
    let size =
        |class: &str| samples().iter().filter(|(name, _)| name == class).map(|(_, bytes)| bytes.len()).max().unwrap();
    // With two signatures; one has 96 bytes.
    assert!(size("revocation") - 96 <= 150, "{}", size("revocation") - 96);
    // 66 of them are the node's consent.
    assert!(size("member") - 96 <= 320, "{}", size("member") - 96);
    let text = samples().into_iter().find(|(name, _)| name == "invite-text").unwrap().1;
    assert!(text.len() < 480, "{}", text.len());
}
