//! Real processes on the loopback network: a node comes by its invite, a release goes from node to node, and who does not belong
//! gets nothing.

#[path = "../../../shared/record/tests/fleet/mod.rs"]
mod fleet;
mod node;
#[path = "../../../shared/release/tests/harness/mod.rs"]
mod repository;

use std::time::Duration;

use fleet::{ANNA, Fleet, group, id, labels, name, sign};
use fruit_base::Sha256;
use fruit_contract::peer::status::PeerStatus;
use fruit_record::body::{Body, Grant};
use fruit_record::{Class, Draft, Invite};
use fruit_release::local::Answer;
use fruit_release::name::Name;
use node::{Laptop, Peer, Updater, published, until};

fn invited(fleet: &mut Fleet) -> Invite {
    let grant = Grant { labels: labels("site=berlin"), ..Grant::default() };
    let invite = fleet.invite(50, grant, 0, ANNA);
    fleet.take(&invite.grant.encode());
    invite
}

/// Signs in the node with these words, as `fruitctl node approve` does.
fn approve(laptop: &Laptop, words: &str) {
    let request = until("the request has come", || {
        let replica = laptop.engine.replica().unwrap()?;
        let requests = laptop.engine.requests().unwrap();
        let mut verified = requests.iter().filter_map(|request| replica.verify_request(request).ok());
        verified.find(|request| fruit_record::words(&request.node).join("-") == words)
    });
    let replica = laptop.engine.replica().unwrap().unwrap();
    let (head, member) = replica.admit(&request, None).unwrap();
    let record = sign(&Draft::new(head, Body::Member(member)).unwrap(), &replica.trust().fleet(), &[ANNA]);
    laptop.engine.offer(&record).unwrap().unwrap();
}

fn is(peer: &Peer, state: &str) {
    until(&format!("the node is {state}"), || (peer.status().state == state).then_some(()));
}

#[test]
fn a_release_goes_from_the_laptop_to_a_node_and_from_there_to_the_next_one() {
    let mut fleet = Fleet::new();
    let invite = invited(&mut fleet);
    let release = published();
    let laptop = Laptop::start(&fleet, 90, &[release.folder.path()]);
    let first = Peer::start(&invite, &[laptop.contact()]);
    let status = first.status();
    assert_eq!((status.state.as_str(), status.words.split('-').count()), ("pending", 4));
    approve(&laptop, &status.words);
    is(&first, "member");

    // The next one knows the first one only.
    let second = Peer::start(&invite, &[first.contact()]);
    approve(&laptop, &second.status().words);
    is(&second, "member");

    let mut updater = Updater::of(&first);
    assert_eq!(updater.update(&release), release.content);
    laptop.engine.stop();
    let mut updater = Updater::of(&second);
    assert_eq!(updater.update(&release), release.content);
    let pieces = first.status().pieces;
    assert!(pieces.served >= 3 && pieces.cached_bytes > 2 << 20, "{pieces:?}");

    // What nobody has is told as that, and a bad name is refused.
    let nobody = Name::Patch(Sha256::of(b"nobody has this"));
    assert_eq!(updater.ask(&release.id, &nobody), Answer::Nobody);
    let metrics = second.metrics();
    assert!(metrics.contains("\nfruit_peer_member 1\n") && metrics.contains("state=\"member\"} 1\n"), "{metrics}");
    // The charters are there for the updater, as they were verified.
    let charter = std::fs::read(second.folder.path().join("state/charters/1.record")).unwrap();
    assert_eq!(charter, fleet.row()[0]);
}

#[test]
fn a_revoked_node_gets_nothing_more_and_a_torn_state_is_no_loss() {
    let mut fleet = Fleet::new();
    let invite = invited(&mut fleet);
    let release = published();
    let laptop = Laptop::start(&fleet, 91, &[release.folder.path()]);
    let mut peer = Peer::start(&invite, &[laptop.contact()]);
    approve(&laptop, &peer.status().words);
    is(&peer, "member");
    let before = peer.status();

    // Power is cut in the middle of a write: one copy of each is torn.
    until("records are on the disk", || peer.folder.path().join("state/records.1").exists().then_some(()));
    peer.kill();
    for file in ["key.1", "records.0"] {
        let path = peer.folder.path().join("state").join(file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
    peer.restart();
    is(&peer, "member");
    assert_eq!((peer.status().id, peer.status().words), (before.id.clone(), before.words));

    // It still gets what is new, and what is served, until it is revoked.
    let mut updater = Updater::of(&peer);
    until("it has found its neighbour again", || match updater.ask(&release.id, &Name::Root(1)) {
        Answer::Here(_) => Some(()),
        // It does not say that nobody has it before it has asked somebody.
        answer => (answer != Answer::Later).then(|| panic!("{answer:?}")),
    });
    let node = fruit_record::KeyId::parse(&before.id).unwrap();
    let head = fruit_record::Head::first(fruit_record::Name::Id(node));
    let body = Body::Revocation(fruit_record::body::Revocation { reason: "stolen".into() });
    let revocation = sign(&Draft::new(head, body).unwrap(), &fleet.id(), &[ANNA]);
    laptop.engine.offer(&revocation).unwrap().unwrap();
    is(&peer, "revoked");
    until("the connection is cut", || laptop.engine.status().unwrap().peers.is_empty().then_some(()));
    let later = fleet.record(name("later"), "", group("site=berlin"), &[ANNA]);
    laptop.engine.offer(&later).unwrap().unwrap();
    let answer = updater.ask(&release.id, &release.chunk);
    assert!(matches!(answer, Answer::Nobody | Answer::Later), "{answer:?}");
    std::thread::sleep(Duration::from_secs(2));
    let records = peer.status().records;
    assert!(records <= 4, "{records} records");
    assert!(peer.status().peers.is_empty() && laptop.engine.status().unwrap().peers.is_empty());
    let replica = laptop.engine.replica().unwrap().unwrap();
    assert_eq!(replica.of_class(Class::Group).count(), 1);
}

#[test]
fn strangers_and_garbage_get_nothing_and_harm_nobody() {
    let mut fleet = Fleet::new();
    let invite = invited(&mut fleet);
    let release = published();
    let laptop = Laptop::start(&fleet, 92, &[release.folder.path()]);
    let peer = Peer::start(&invite, &[laptop.contact()]);
    approve(&laptop, &peer.status().words);
    is(&peer, "member");
    for seed in 200..206u8 {
        node::stranger(seed, &peer.contact(), &release);
    }
    node::hostile_updater(&peer);
    // It is as before.
    assert_eq!(peer.status().state, "member");
    // Who said nothing yet has some seconds.
    let harmless = |other: &PeerStatus| other.id == id(92).to_string() || other.state == "greeting";
    assert!(peer.status().peers.iter().all(harmless), "{:?}", peer.status().peers);
    let mut updater = Updater::of(&peer);
    assert_eq!(updater.update(&release), release.content);
}

#[test]
fn a_node_without_a_disk_works_in_memory_and_one_without_an_invite_says_what_to_do() {
    let mut fleet = Fleet::new();
    let invite = invited(&mut fleet);
    let laptop = Laptop::start(&fleet, 93, &[]);
    let peer = Peer::start_with(&invite, &[laptop.contact()], |folder| {
        std::fs::write(folder.join("state"), "a file in the way").unwrap();
    });
    let status = peer.status();
    assert!(status.state_error.is_some_and(|error| error.contains("goes on in memory")));
    approve(&laptop, &status.words);
    is(&peer, "member");

    let said = Peer::fails(|folder| std::fs::remove_file(folder.join("invite")).unwrap(), &invite);
    assert!(said.contains("fruitctl node invite"), "{said}");
    let said = Peer::fails(|folder| std::fs::write(folder.join("invite"), "fruit1-abc").unwrap(), &invite);
    assert!(said.contains("copy the invite again"), "{said}");
}
