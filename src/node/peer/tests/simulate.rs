//! The machines on a simulated network: whatever breaks, records come together, and who does not belong gets nothing.

#[path = "../../../shared/record/tests/fleet/mod.rs"]
mod fleet;
mod network;

use fleet::*;
use fruit_base::Sha256;
use fruit_peer::machine::link::Action;
use fruit_peer::wire::{Frame, Hello, Item, Standing, VERSIONS};
use fruit_record::body::{Admission, Beacon, Grant, Operator};
use fruit_record::{Class, Draft, Head, Name, Outcome, Roles, body::Body};
use fruit_release::name::Name as Piece;
use network::{Network, Serving, empty};

/// So many members, each of which knows where some others are.
fn grown(count: usize, seed: u64) -> (Fleet, Network) {
    let mut fleet = Fleet::new();
    (0..count).for_each(|n| fleet.join(100 + n as u8, "site=berlin"));
    let mut network = Network::new(seed);
    (0..count).for_each(|n| {
        network.member(100 + n as u8, &fleet);
    });
    for from in 0..count {
        network.introduce(from, (from + 1) % count);
        for _ in 0..3 {
            let to = network.random(count as u64) as usize;
            network.introduce(from, to);
        }
    }
    (fleet, network)
}

#[test]
fn records_come_together_through_breaks_and_partitions() {
    for seed in 1..=4 {
        let (mut fleet, mut network) = grown(24, seed);
        network.run(5_000);
        for round in 0..40 {
            let at = network.random(24) as usize;
            let record = match round % 4 {
                0 => fleet.report(100 + at as u8, round + 1, "pistack-1.0"),
                1 => fleet.revocation(200 + round as u8, "", &[ANNA]),
                _ => fleet.record(name(&format!("group-{}", round % 7)), "", group("site=berlin"), &[ANNA]),
            };
            if fleet.replica.offer(&record) == Ok(Outcome::New) {
                network.offer(at, &record);
            }
            network.break_any();
            match round {
                10 => network.part((0..24).map(|n| n % 2).collect()),
                25 => network.groups = None,
                _ => {}
            }
            network.run(2_000);
        }
        network.run(120_000);
        for at in 0..24 {
            assert!(network.replica(at) == &fleet.replica, "node {at} with seed {seed}");
        }
    }
}

#[test]
fn what_is_new_arrives_within_seconds_and_is_not_sent_around_in_circles() {
    let (mut fleet, mut network) = grown(32, 7);
    network.run(30_000);
    let sent: usize = network.nodes.iter().map(|node| node.sent_bytes).sum();
    let record = fleet.record(name("canaries"), "", group("site=berlin"), &[ANNA]);
    fleet.take(&record);
    network.offer(0, &record);
    network.run(3_000);
    assert!(network.nodes.iter().all(|node| node.machine.replica() == Some(&fleet.replica)));
    let links: usize = (0..32).map(|at| network.neighbours(at).len()).sum();
    let after: usize = network.nodes.iter().map(|node| node.sent_bytes).sum();
    // At most once over each connection in each direction, and what is compared in that time.
    assert!(after - sent <= links * (record.len() + 200), "{} bytes over {links} ways", after - sent);
}

#[test]
fn equal_neighbours_cost_next_to_nothing() {
    let (_, mut network) = grown(2, 3);
    network.run(60_000);
    let before: usize = network.nodes.iter().map(|node| node.sent_bytes).sum();
    network.run(600_000);
    let after: usize = network.nodes.iter().map(|node| node.sent_bytes).sum();
    let comparisons = 600_000 / network::COMPARE as usize;
    assert!(after - before <= comparisons * 50, "{} bytes in {comparisons} comparisons", after - before);
}

#[test]
fn a_node_comes_by_an_invite_through_a_node_that_came_before() {
    let mut fleet = Fleet::new();
    let invite = fleet.invite(50, Grant { labels: labels("site=berlin"), ..Grant::default() }, 0, ANNA);
    fleet.take(&invite.grant.encode());
    let mut network = Network::new(5);
    let laptop = network.laptop(90, ANNA, &fleet);
    let (first, second) = (network.newcomer(101, &invite), network.newcomer(102, &invite));
    network.introduce(first, laptop);
    network.introduce(second, first);
    network.run(10_000);
    assert!(network.nodes[first].machine.replica().is_some(), "a guest gets the charters");
    assert_eq!(network.replica(first).records().count(), 0, "and nothing else");
    assert!(network.nodes[second].machine.replica().is_none(), "a guest knows nobody who could let others in");
    let approve = |network: &mut Network, seed: u8| {
        let requests: Vec<Vec<u8>> =
            network.nodes[laptop].machine.requests().map(|(_, request)| request.to_vec()).collect();
        let replica = network.replica(laptop);
        let request = requests
            .iter()
            .map(|request| replica.verify_request(request).unwrap())
            .find(|request| request.node == id(seed))
            .unwrap_or_else(|| panic!("no request of {seed} among {}", requests.len()));
        let (head, member) = replica.admit(&request, None).unwrap();
        let record = sign(&Draft::new(head, Body::Member(member)).unwrap(), &fleet.id(), &[ANNA]);
        network.offer(laptop, &record);
    };
    approve(&mut network, 101);
    network.run(20_000);
    assert!(network.nodes[first].machine.is_member());
    network.run(60_000);
    approve(&mut network, 102);
    network.run(60_000);
    assert!(network.nodes[second].machine.is_member());
    assert!(network.equal(), "all three know the same");
    assert_eq!(network.nodes[laptop].machine.requests().count(), 0);
    assert!(network.neighbours(second).contains(&id(101)));
}

#[test]
fn a_revoked_node_is_cut_off_and_hears_why() {
    let (mut fleet, mut network) = grown(6, 11);
    network.run(20_000);
    let revocation = fleet.revocation(103, "", &[ANNA]);
    fleet.take(&revocation);
    network.offer(0, &revocation);
    network.run(10_000);
    assert!(network.nodes[3].machine.is_revoked());
    assert_eq!(network.neighbours(3).len(), 0);
    assert!((0..6).all(|at| !network.neighbours(at).contains(&id(103))));
    // Nothing of what comes later reaches it.
    let record = fleet.record(name("canaries"), "", group("site=berlin"), &[ANNA]);
    fleet.take(&record);
    network.offer(0, &record);
    network.ask(3, 1, Piece::Timestamp);
    network.run(60_000);
    assert!((0..6).filter(|at| *at != 3).all(|at| network.replica(at) == &fleet.replica));
    assert_eq!(network.replica(3).of_class(Class::Group).count(), 0);
    assert_eq!(network.nodes[3].answers[&1], None);
}

#[test]
fn a_stranger_gets_nothing_whatever_it_says() {
    let (fleet, mut network) = grown(1, 13);
    let other = Fleet::with(fruit_record::body::Charter { nonce: [9; 16], ..charter() });
    let greeting = |fleet: &Fleet, standing| {
        let trust = fleet.replica.trust();
        Frame::Hello(Hello {
            versions: VERSIONS,
            fleet: fleet.id(),
            charter: (trust.version(), trust.last_hash()),
            standing,
        })
    };
    let elsewhere = other.invite(51, Grant::default(), 0, ANNA);
    let invite = fleet.invite(52, Grant { serials: vec!["other".into()], ..Grant::default() }, 0, ANNA);
    let frames = [
        greeting(&fleet, Standing::Member(vec![])),
        greeting(&fleet, Standing::Member(vec![fleet.member(100, "", ANNA)])),
        greeting(&fleet, Standing::Member(vec![fleet.member(77, "", 99)])),
        greeting(&other, Standing::Member(vec![other.member(77, "", ANNA)])),
        greeting(&fleet, Standing::Guest(other.request(77, &elsewhere))),
        greeting(&fleet, Standing::Guest(fleet.request(78, &fleet.invite(53, Grant::default(), 0, ANNA)))),
        greeting(&fleet, Standing::Guest(fleet.request(77, &invite))),
        greeting(&fleet, Standing::Operator(vec![1; 137])),
        greeting(&fleet, Standing::Operator(Vec::new())),
        Frame::WantCharters(1),
        Frame::Charters { is_last: true, records: other.row() },
        Frame::Digest([0; 32]),
        Frame::Wish(Vec::new()),
        Frame::Ask { id: 1, repository: Sha256([0; 32]), names: vec![Piece::Timestamp] },
        Frame::Request(vec![1; 100]),
        Frame::Record(fleet.report(100, 1, "x")),
        Frame::Next,
    ];
    for frame in frames {
        // Each time one that was not banned before.
        network.now += 700_000;
        let now = network.now;
        network.nodes[0].machine.tick(now);
        network.nodes[0].machine.take();
        let link = network.stranger(0, id(77));
        let done = network.say(0, link, &frame.encode()[4..]);
        for action in &done {
            let harmless = matches!(action, Action::Send { frame: Frame::Bye(_), .. } | Action::Cut { .. });
            assert!(harmless, "{frame:?} gets {action:?}");
        }
        assert!(!network.nodes[0].machine.may_have(link), "{frame:?}");
        network.now += 20_000;
        let now = network.now;
        network.nodes[0].machine.tick(now);
        assert_eq!(network.nodes[0].machine.links().count(), 0, "{frame:?} keeps a connection open");
    }
    assert!(network.replica(0) == &fleet.replica);
}

#[test]
fn garbage_ends_the_connection_and_the_node_is_left_alone_for_a_while() {
    let (fleet, mut network) = grown(2, 17);
    network.run(10_000);
    assert_eq!(network.neighbours(0).len(), 1);
    let link = network.nodes[0].machine.links().next().unwrap().0;
    let mut record = fleet.report(101, 1, "x");
    let end = record.len() - 1;
    record.truncate(end);
    let done = network.say(0, link, &Frame::Record(record).encode()[4..]);
    assert!(done.iter().any(|action| matches!(action, Action::Cut { .. })));
    let again = network.stranger(0, id(101));
    assert!(matches!(&network.nodes[0].machine.take()[..], [Action::Cut { link, .. }] if *link == again));
    network.now += 700_000;
    network.run(1_000);
    network.stranger(0, id(101));
    assert!(!network.nodes[0].machine.take().iter().any(|action| matches!(action, Action::Cut { .. })));
}

#[test]
fn who_knows_an_older_charter_gets_the_later_ones_first() {
    let mut fleet = Fleet::new();
    fleet.join(100, "site=berlin");
    let mut network = Network::new(19);
    let behind = network.member(100, &fleet);
    // A new operator, who takes a node in that the other one cannot judge yet.
    let mut next = charter();
    next.operators.push(Operator {
        name: "carla".into(),
        key: id(14 + 40),
        roles: Roles::all(),
        scope: selector("all"),
        expires: 0,
    });
    next.operators.sort_by(|a, b| a.name.cmp(&b.name));
    let bytes = fleet.next_charter(next, &[1, 2]);
    fleet.take(&bytes);
    let member = fleet.member(101, "site=bonn", 54);
    fleet.take(&member);
    let ahead = network.member(101, &fleet);
    network.introduce(ahead, behind);
    network.run(30_000);
    assert_eq!(network.replica(behind).trust().version(), 2);
    assert!(network.replica(behind) == &fleet.replica);
    assert!(network.neighbours(behind).contains(&id(101)));
}

#[test]
fn a_newcomer_takes_no_row_of_charters_without_the_one_that_its_invite_names() {
    let mut fleet = Fleet::new();
    let first = empty(&fleet);
    let bytes = fleet.next_charter(charter(), &[1, 2]);
    fleet.take(&bytes);
    let invite = fleet.invite(50, Grant::default(), 0, ANNA);
    // Another row from the same beginning, signed with root keys of long ago, whose members let the newcomer in.
    let mut forged = Fleet { replica: first.replica.clone() };
    let bytes = forged.next_charter(fruit_record::body::Charter { name: "evil".into(), ..charter() }, &[1, 2]);
    forged.take(&bytes);
    forged.join(100, "");
    let mut network = Network::new(23);
    let evil = network.member(100, &forged);
    let newcomer = network.newcomer(101, &invite);
    network.introduce(newcomer, evil);
    network.run(60_000);
    assert!(network.nodes[newcomer].machine.replica().is_none());
    assert!(
        network.nodes[newcomer].cuts.iter().any(|why| why.contains("charter")),
        "{:?}",
        network.nodes[newcomer].cuts
    );
}

#[test]
fn two_nodes_that_call_each_other_keep_one_connection() {
    for seed in 0..20 {
        let (_, mut network) = grown(2, seed);
        network.introduce(0, 1);
        network.introduce(1, 0);
        network.run(60_000);
        assert_eq!([0, 1].map(|at| network.nodes[at].machine.links().count()), [1, 1], "seed {seed}");
        assert_eq!(network.neighbours(0).len(), 1, "seed {seed}");
    }
}

#[test]
fn pieces_come_from_whoever_has_them() {
    for (others, expected) in [
        ([Serving::Honestly, Serving::Honestly], true),
        ([Serving::Garbage, Serving::Honestly], true),
        ([Serving::Never, Serving::Honestly], true),
        ([Serving::Busy, Serving::Honestly], true),
        ([Serving::Garbage, Serving::Garbage], false),
        ([Serving::Never, Serving::Never], false),
    ] {
        for seed in 0..6 {
            let (_, mut network) = grown(3, seed);
            (1..3).for_each(|to| network.introduce(0, to));
            network.run(10_000);
            let bytes = b"a patch".to_vec();
            let name = Piece::Patch(Sha256::of(&bytes));
            for (at, serving) in [1, 2].into_iter().zip(others) {
                network.nodes[at].serving = serving;
                if serving == Serving::Honestly || serving == Serving::Busy {
                    network.nodes[at].pieces.insert(name.clone(), bytes.clone());
                }
            }
            network.ask(0, 1, name.clone());
            network.ask(0, 2, Piece::Patch(Sha256::of(b"nobody has this")));
            network.run(45_000);
            let answers = &network.nodes[0].answers;
            let expected = expected.then_some(bytes);
            assert_eq!(answers.get(&1), Some(&expected), "{others:?} with seed {seed}");
            assert_eq!(answers.get(&2), Some(&None), "{others:?} with seed {seed}");
        }
    }
}

#[test]
fn a_beacon_says_where_a_node_is_and_goes_on_where_it_ended() {
    let (_, mut network) = grown(3, 29);
    network.run(10_000);
    let addresses = |port: u16| [format!("192.0.2.7:{port}")];
    let announce = |network: &mut Network, at: usize, port: u16| {
        let now = network.now;
        network.nodes[at].machine.announce("berlin", &addresses(port), now);
        network.run(10_000);
    };
    for port in [1, 1, 2, 3] {
        announce(&mut network, 0, port);
    }
    let beacon = |network: &Network, at: usize| {
        let mut beacons = network.replica(at).of_class(Class::Beacon);
        beacons
            .find(|record| record.head().name == Name::Id(id(100)))
            .map(|record| (record.version(), record.body().clone()))
    };
    let (version, body) = beacon(&network, 2).unwrap();
    assert_eq!(version, 3, "what is the same is not said again");
    assert!(matches!(body, Body::Beacon(beacon) if beacon.addresses == addresses(3) && beacon.site == "berlin"));
}

#[test]
fn an_invite_that_is_used_up_lets_nobody_in() {
    let mut fleet = Fleet::new();
    let invite = fleet.invite(50, Grant { uses: 1, admission: Admission::Pending, ..Grant::default() }, 0, ANNA);
    fleet.take(&invite.grant.encode());
    let request = fleet.replica.verify_request(&fleet.request(101, &invite)).unwrap();
    let (head, member) = fleet.replica.admit(&request, None).unwrap();
    let record = sign(&Draft::new(head, Body::Member(member)).unwrap(), &fleet.id(), &[ANNA]);
    fleet.take(&record);
    let mut network = Network::new(31);
    let (here, late) = (network.member(101, &fleet), network.newcomer(102, &invite));
    network.introduce(late, here);
    network.run(30_000);
    assert!(network.nodes[late].machine.replica().is_none());
    assert!(
        network.nodes[here].cuts.iter().any(|why| why.contains("good for 1 nodes")),
        "{:?}",
        network.nodes[here].cuts
    );
    assert_eq!(network.nodes[here].machine.requests().count(), 0);
}

#[test]
fn a_clock_that_nobody_set_shuts_nobody_out() {
    // 2027: what ends then has ended for who knows that it is later.
    for (wall, comes) in [(None, true), (Some(1_790_000_000), true), (Some(1_900_000_000), false)] {
        let mut fleet = Fleet::new();
        let invite = fleet.invite(50, Grant::default(), 1_800_000_000, ANNA);
        fleet.take(&invite.grant.encode());
        let mut network = Network::new(37);
        let (laptop, late) = (network.laptop(90, ANNA, &fleet), network.newcomer(101, &invite));
        network.nodes[laptop].machine.set_wall(wall);
        network.introduce(late, laptop);
        network.run(20_000);
        assert_eq!(network.nodes[late].machine.replica().is_some(), comes, "at {wall:?}");
    }
}

#[test]
fn halves_that_were_apart_find_each_other_though_each_has_neighbours_enough() {
    let (mut fleet, mut network) = grown(24, 41);
    // All know of all, as by beacons.
    for from in 0..24 {
        (0..24).for_each(|to| network.introduce(from, to));
    }
    network.run(20_000);
    network.part((0..24).map(|n| n % 2).collect());
    network.run(400_000);
    assert!((0..24).all(|at| network.neighbours(at).len() >= 5), "each half has connections enough");
    network.groups = None;
    let record = fleet.record(name("canaries"), "", group("site=berlin"), &[ANNA]);
    fleet.take(&record);
    network.offer(0, &record);
    network.run(400_000);
    assert!((0..24).all(|at| network.replica(at) == &fleet.replica));
}

#[test]
fn strangers_and_guests_leave_room_for_members() {
    let mut fleet = Fleet::new();
    let invite = fleet.invite(50, Grant::default(), 0, ANNA);
    fleet.take(&invite.grant.encode());
    (100..104).for_each(|seed| fleet.join(seed, "site=berlin"));
    let mut network = Network::new(43);
    let here = network.member(100, &fleet);
    // Strangers who say nothing, as many as like to come.
    for n in 0..200 {
        network.stranger(here, fruit_record::KeyId([n; 32]));
    }
    assert!(network.nodes[here].machine.links().count() < 30);
    let member = network.member(101, &fleet);
    network.introduce(member, here);
    network.run(5_000);
    assert!(network.neighbours(here).contains(&id(101)), "a member needs no place among them");
    network.run(15_000);
    // Guests with an invite that was copied.
    for seed in 150..190u8 {
        let link = network.stranger(here, id(seed));
        let trust = fleet.replica.trust();
        let hello = Hello {
            versions: VERSIONS,
            fleet: fleet.id(),
            charter: (trust.version(), trust.last_hash()),
            standing: Standing::Guest(fleet.request(seed, &invite)),
        };
        network.say(here, link, &Frame::Hello(hello).encode()[4..]);
    }
    let links = network.nodes[here].machine.links().count();
    assert!(links <= 20, "{links} connections");
    let other = network.member(102, &fleet);
    network.introduce(other, here);
    network.run(10_000);
    assert!(network.neighbours(here).contains(&id(102)));
}

#[test]
fn a_neighbour_that_wants_everything_again_and_again_gets_it_by_and_by() {
    let (fleet, mut network) = grown(2, 47);
    network.run(10_000);
    let link = network.nodes[0].machine.links().next().unwrap().0;
    let all = Frame::Range { bounds: [Item::LOWEST, Item::HIGHEST], items: Vec::new() }.encode();
    let each: usize = fleet.replica.records().map(|record| record.encode().len()).sum();
    let mut sent = 0;
    for _ in 0..100_000 {
        for action in network.say(0, link, &all[4..]) {
            if let Action::Send { frame: Frame::Record(record), .. } = action {
                sent += record.len();
            }
        }
    }
    assert!(sent > each && sent <= 65 << 20, "{sent} bytes");
}

#[test]
fn a_node_whose_card_was_copied_finds_out() {
    let (_, mut network) = grown(2, 53);
    network.run(10_000);
    let link = network.nodes[0].machine.links().next().unwrap().0;
    let beacon = |version: u64, port: u16| {
        let head = Head { version, ..Head::first(Name::Id(id(100))) };
        let body = Beacon { site: String::new(), addresses: vec![format!("192.0.2.9:{port}")], uplink: false };
        sign(&Draft::new(head, Body::Beacon(body)).unwrap(), &network.nodes[0].machine.fleet(), &[100])
    };
    let beacons = [(1, 1), (2, 2), (3, 3)].map(|(version, port)| beacon(version, port));
    // What it has said itself before it lost its records comes back once, by two neighbours.
    for record in [&beacons[0], &beacons[0]] {
        network.say(0, link, &Frame::Record(record.clone()).encode()[4..]);
    }
    assert!(!network.nodes[0].machine.is_copied());
    for record in &beacons[1..] {
        network.say(0, link, &Frame::Record(record.clone()).encode()[4..]);
    }
    assert!(network.nodes[0].machine.is_copied());
}
