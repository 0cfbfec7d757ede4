//! What somebody does who has some keys, and wants more than they are good for. `docs/concepts/threats.md` names these tests.

use std::time::Instant;

use crate::fleet::*;
use fruit_base::Sha256;
use fruit_record::body::*;
use fruit_record::invite::NotAnInvite;
use fruit_record::wire::Malformed;
use fruit_record::*;

fn recall() -> Body {
    Body::Recall(Recall {
        nodes: selector("all"),
        product: "pistack".into(),
        versions: vec!["1".into()],
        to: Sha256([4; 32]),
        reason: String::new(),
    })
}

fn empty_floor() -> Body {
    Body::Floor(Floor { named: Named::Inline(vec![]) })
}

/// A fleet whose root keys 1 to 3 were replaced by 4 to 6, and a longer row that somebody has written with the old ones.
fn replaced() -> (Fleet, Fleet) {
    let mut honest = Fleet::new();
    let mut root = [4, 5, 6].map(id).to_vec();
    root.sort();
    let next = honest.next_charter(Charter { root, ..charter() }, &[1, 2, 4, 5]);
    honest.take(&next);
    let mut evil = Fleet::new();
    let operators = vec![operator("mallory", 99, Roles::all(), "all")];
    let mine = Charter { root: vec![id(98)], threshold: 1, operators, rules: vec![], ..charter() };
    let two = evil.next_charter(mine.clone(), &[1, 2, 98]);
    evil.take(&two);
    let three = evil.next_charter(Charter { relays: vec![], ..mine }, &[98]);
    evil.take(&three);
    (honest, evil)
}

#[test]
fn replaced_root_keys_write_no_longer_row_of_charters() {
    let (mut honest, evil) = replaced();
    assert_eq!(honest.offer_row(&evil.row()), Err(Refused::CharterFork { version: 2 }));
    assert!(honest.replica.trust().charter().operator("mallory").is_none());
    // Who was away since the first charter takes the honest row; the other one does not get it back.
    let mut away = Fleet::new();
    assert_eq!(away.offer_row(&honest.row()), Ok(Outcome::New));
    assert_eq!(away.offer_row(&evil.row()), Err(Refused::CharterFork { version: 2 }));
    // What the new keys sign goes on.
    let three = honest.next_charter(honest.replica.trust().charter().clone(), &[5, 6]);
    honest.take(&three);
    assert_eq!(away.offer_row(&honest.row()), Ok(Outcome::New));
}

#[test]
fn a_newcomer_knows_the_charter_of_its_invite() {
    let (honest, evil) = replaced();
    let text = honest.invite(50, Grant::default(), 0, ANNA).to_text();
    let pin = Invite::from_text(&text).unwrap().charter;
    assert!(honest.replica.trust().has(&pin) && !evil.replica.trust().has(&pin));
    // Both rows are of the fleet that the invite names.
    assert_eq!(honest.id(), evil.id());
    let mut later = Fleet::new();
    later.offer_row(&honest.row()).unwrap();
    let next = later.next_charter(later.replica.trust().charter().clone(), &[4, 5]);
    later.take(&next);
    assert!(later.replica.trust().has(&pin), "charters may have followed since");
}

#[test]
fn two_fleets_with_the_same_keys_are_two() {
    assert_ne!(Fleet::with(Charter { nonce: [4; 16], ..charter() }).id(), Fleet::new().id());
}

#[test]
fn a_sites_operator_takes_no_other_sites_node_over() {
    let mut fleet = Fleet::new();
    let bonn = fleet.agreed(30, "site=bonn", "site=bonn", BONN);
    fleet.take(&bonn);
    let Some(Body::Member(member)) = Record::parse(&bonn).ok().map(|record| record.body().clone()) else { panic!() };
    // With the consent that the node gave to Bonn, with one made up, and with one that another node gave to Berlin.
    let other = fleet.agreed(31, "site=berlin", "site=berlin", BERLIN);
    let Some(Body::Member(other)) = Record::parse(&other).ok().map(|record| record.body().clone()) else { panic!() };
    for consent in [member.consent, [0; 64], other.consent] {
        let taken = Body::Member(Member { labels: labels("site=berlin"), consent, ..member.clone() });
        let bytes = fleet.record(Name::Id(id(30)), "site=berlin", taken, &[BERLIN]);
        let refused = fleet.replica.offer(&bytes).unwrap_err();
        assert_eq!(refused, Refused::Consent(id(30)));
        assert!(refused.is_hostile(), "no honest peer passes it on");
    }
    assert_eq!(fleet.replica.member(&id(30)).unwrap().labels, labels("site=bonn"));
    let revocation = fleet.revocation(30, "site=bonn", &[BONN]);
    fleet.take(&revocation);
    assert!(!fleet.replica.is_member(&id(30)));
    // Nor does a consent count in another fleet.
    let second = Fleet::with(Charter { nonce: [4; 16], ..charter() });
    let bytes = second.record(Name::Id(id(30)), "site=bonn", Body::Member(member), &[BONN]);
    assert_eq!(second.replica.clone().offer(&bytes), Err(Refused::Consent(id(30))));
}

#[test]
fn a_request_cannot_be_used_for_another_domain() {
    let mut fleet = Fleet::new();
    let grant = Grant { labels: labels("site=bonn"), ..Grant::default() };
    let invite = fleet.invite_to("site=bonn", 50, grant, 0, BONN);
    let request = fleet.replica.verify_request(&fleet.request(30, &invite)).unwrap();
    let (head, member) = fleet.replica.admit(&request, None).unwrap();
    // Berlin hears the request on the way.
    let moved = Member { labels: labels("site=berlin"), ..member.clone() };
    let stolen = fleet.record(Name::Id(id(30)), "site=berlin", Body::Member(moved), &[BERLIN]);
    assert_eq!(fleet.replica.offer(&stolen), Err(Refused::Consent(id(30))));
    let bytes = sign(&Draft::new(head, Body::Member(member)).unwrap(), &fleet.id(), &[BONN]);
    fleet.take(&bytes);
    assert!(fleet.replica.is_member(&id(30)));
}

#[test]
fn a_full_replica_takes_what_stops_others_and_makes_room() {
    let mut fleet = Fleet::new();
    for n in 0..limits::OPERATOR_RECORDS {
        let bytes = fleet.record(name(&format!("g{n}")), "", group("site=berlin"), &[ANNA]);
        fleet.take(&bytes);
    }
    let halt = Body::Halt(Halt { nodes: selector("all"), nonce: [1; 16], reason: String::new() });
    for (name, body) in [(name("p"), halt), (name("r"), recall()), (name("group"), empty_floor())] {
        let bytes = fleet.record(name, "", body, &[ANNA, BORIS]);
        fleet.take(&bytes);
    }
    assert_eq!(fleet.replica.of_class(Class::Group).count(), 0, "the floor made room");
    let again = fleet.record(name("new"), "", group("all"), &[ANNA]);
    fleet.take(&again);
}

#[test]
fn an_operator_of_one_site_fills_no_list_for_others() {
    let mut fleet = Fleet::new();
    fleet.join(30, "site=bonn");
    let made_up = |fleet: &Fleet, n: u64, by: u8| {
        let mut key = [by; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        let head = Head {
            domain: labels(if by == BERLIN { "site=berlin" } else { "site=bonn" }),
            ..Head::first(Name::Id(KeyId(key)))
        };
        sign(&Draft::new(head, Body::Revocation(Revocation::default())).unwrap(), &fleet.id(), &[by])
    };
    let quarter = limits::REVOCATIONS / 4;
    for n in 0..quarter as u64 {
        let bytes = made_up(&fleet, n, BERLIN);
        fleet.take(&bytes);
    }
    let (what, who) = ("revocations", "this operator");
    let full = Refused::FullPart { what, limit: quarter, who };
    let more = made_up(&fleet, u64::MAX, BERLIN);
    assert_eq!(fleet.replica.offer(&more), Err(full));
    let others = made_up(&fleet, 0, BONN);
    fleet.take(&others);
    let stolen = fleet.revocation(30, "", &[ANNA]);
    fleet.take(&stolen);
    // With the operator goes all that filled the list.
    let mut next = charter();
    next.operators.retain(|operator| operator.name != "berlin");
    let next = fleet.next_charter(next, &ROOT);
    fleet.take(&next);
    assert_eq!(fleet.replica.of_class(Class::Revocation).count(), 2);
    let more = made_up(&fleet, 1, BONN);
    fleet.take(&more);
}

#[test]
fn the_highest_version_has_no_next_one_and_nothing_panics() {
    let mut fleet = Fleet::new();
    let head = Head { version: u64::MAX, ..Head::first(name("g")) };
    let bytes = sign(&Draft::new(head, group("all")).unwrap(), &fleet.id(), &[ANNA]);
    fleet.take(&bytes);
    assert_eq!(fleet.replica.next(Class::Group, labels(""), name("g")).version, u64::MAX);
}

#[test]
fn an_invite_that_was_replaced_or_made_void_admits_nobody() {
    let mut fleet = Fleet::new();
    let grant = Grant { uses: 0, labels: labels("site=berlin"), ..Grant::default() };
    let invite = fleet.invite(50, grant.clone(), 0, ANNA);
    fleet.take(&invite.grant.encode());
    let request = fleet.replica.verify_request(&fleet.request(40, &invite)).unwrap();
    assert!(fleet.replica.admit(&request, Some(1000)).is_ok());
    let head = fleet.replica.next(Class::Invite, labels(""), Name::Id(id(50)));
    let next = Body::Invite(Grant { uses: 1, labels: labels("site=bonn"), ..grant });
    let bytes = sign(&Draft::new(head, next).unwrap(), &fleet.id(), &[ANNA]);
    fleet.take(&bytes);
    assert_eq!(fleet.replica.admit(&request, Some(1000)), Err(Refused::Replaced(id(50))));
    let floor = fleet.record(name("invite"), "", empty_floor(), &[ANNA]);
    fleet.take(&floor);
    assert_eq!(fleet.replica.of_class(Class::Invite).count(), 0);
    assert_eq!(fleet.replica.admit(&request, Some(1000)), Err(Refused::BelowFloor { class: Class::Invite }));
}

#[test]
fn another_site_uses_no_invite_up() {
    let mut fleet = Fleet::new();
    let grant = Grant { uses: 1, labels: labels("site=bonn"), ..Grant::default() };
    let invite = fleet.invite_to("site=bonn", 50, grant, 0, BONN);
    fleet.take(&invite.grant.encode());
    // A node of Berlin's operator that says it came by it.
    let agreement = Member::agreement(&fleet.id(), &id(50), &labels("site=berlin"));
    let consent = ed25519_dalek::Signer::sign(&key(77), &agreement).to_bytes();
    let (name, serial) = (String::new(), String::new());
    let fake = Body::Member(Member { name, labels: labels("site=berlin"), serial, invite: id(50), consent });
    let bytes = fleet.record(Name::Id(id(77)), "site=berlin", fake, &[BERLIN]);
    fleet.take(&bytes);
    let request = fleet.replica.verify_request(&fleet.request(40, &invite)).unwrap();
    assert!(fleet.replica.admit(&request, Some(1000)).is_ok());
    assert_eq!(fleet.replica.uses(invite.grant.key()).len(), 0);
}

#[test]
fn an_invite_that_was_signed_anew_is_the_same_on_cards_that_are_out_there() {
    let mut fleet = Fleet::new();
    let invite = fleet.invite(50, Grant::default(), 0, BORIS);
    fleet.take(&invite.grant.encode());
    let request = fleet.request(40, &invite);
    let mut next = charter();
    next.operators.retain(|operator| operator.name != "boris");
    let next = fleet.next_charter(next, &ROOT);
    fleet.take(&next);
    assert!(fleet.replica.verify_request(&request).is_err(), "boris has signed nothing");
    let draft = Draft::new(invite.grant.head().clone(), invite.grant.body().clone()).unwrap();
    let anew = sign(&draft, &fleet.id(), &[ANNA]);
    fleet.take(&anew);
    let verified = fleet.replica.verify_request(&request).unwrap();
    assert!(fleet.replica.admit(&verified, None).is_ok());
}

#[test]
fn who_takes_signatures_off_on_the_way_shortens_no_life() {
    let mut short = charter();
    short.operators[0].expires = 1000;
    let fleet = Fleet::with(short);
    let draft = Draft::new(Head::first(name("g")), group("all")).unwrap();
    let [both, stripped, bogus] =
        [&[ANNA, BORIS][..], &[ANNA], &[ANNA, 99]].map(|seeds| sign(&draft, &fleet.id(), seeds));
    let mut replica = fleet.replica.clone();
    assert_eq!(replica.offer(&stripped), Ok(Outcome::New));
    assert_eq!(replica.records().next().unwrap().ends(), 1000);
    assert_eq!(replica.offer(&bogus), Ok(Outcome::Known));
    assert_eq!(replica.offer(&both), Ok(Outcome::New));
    assert_eq!(replica.records().next().unwrap().ends(), 0);
    assert_eq!(replica.offer(&stripped), Ok(Outcome::Known));
    assert_eq!(replica.records().next().unwrap().ends(), 0);
}

#[test]
fn an_epoch_far_ahead_escapes_no_floor() {
    let mut fleet = Fleet::new();
    let at = |fleet: &Fleet, epoch: u64| {
        let head = Head { epoch, ..Head::first(name("g")) };
        sign(&Draft::new(head, group("all")).unwrap(), &fleet.id(), &[ANNA])
    };
    let below = Err(Refused::BelowFloor { class: Class::Group });
    for epoch in [u64::MAX, limits::EPOCHS_AHEAD + 1] {
        let bytes = at(&fleet, epoch);
        assert_eq!(fleet.replica.offer(&bytes), below);
    }
    // A floor that is not here yet is not far ahead.
    let bytes = at(&fleet, limits::EPOCHS_AHEAD);
    fleet.take(&bytes);
    let head =
        Head { version: limits::EPOCHS_AHEAD + 1, ..fleet.replica.next(Class::Floor, labels(""), name("group")) };
    let floor = sign(&Draft::new(head, empty_floor()).unwrap(), &fleet.id(), &[BORIS]);
    fleet.take(&floor);
    assert_eq!(fleet.replica.of_class(Class::Group).count(), 0);
}

#[test]
fn what_a_floor_made_void_stays_so_after_a_restart() {
    let mut fleet = Fleet::new();
    let gone = fleet.record(name("gone"), "", group("all"), &[ANNA]);
    fleet.take(&gone);
    let blob = [9u8; 32];
    let floor = fleet.record(name("group"), "", Body::Floor(Floor { named: Named::Blob(Sha256::of(&blob)) }), &[ANNA]);
    fleet.take(&floor);
    assert_eq!(fleet.replica.supply(&blob), Ok(true));
    let below = Err(Refused::BelowFloor { class: Class::Group });
    assert_eq!(fleet.replica.offer(&gone), below);
    let packed = fleet.replica.pack();
    let (mut loaded, refused) = Replica::load(fleet.id(), &packed).unwrap();
    assert_eq!((loaded.offer(&gone), refused.len()), (below, 0));
    assert_eq!(Replica::unpack(&packed).unwrap().len(), 2, "a blob is no record");
    assert_eq!(Replica::unpack_blobs(&packed).unwrap(), [blob]);
    // A later floor needs it no longer.
    let next = fleet.record(name("group"), "", empty_floor(), &[ANNA]);
    fleet.take(&next);
    assert!(fleet.replica.pack().len() < packed.len() + 40);
    // Whatever stands in a blob of a file: none that a floor does not name is kept.
    let mut strange = fleet.replica.pack();
    let mut w = wire::Writer(Vec::new());
    w.bytes(&[0; 33]);
    strange.extend(w.0);
    let (loaded, _) = Replica::load(fleet.id(), &strange).unwrap();
    assert_eq!(loaded.pack(), fleet.replica.pack());
}

#[test]
fn one_operator_sinks_nothing_that_two_had_to_sign() {
    let mut fleet = Fleet::new();
    for (name, body) in [(name("r"), recall()), (name("large"), Body::Plan(Box::new(plan(100))))] {
        let bytes = fleet.record(name, "", body, &[ANNA, BORIS]);
        fleet.take(&bytes);
    }
    for class in ["recall", "plan"] {
        let floor = |seeds: &[u8]| fleet.record(name(class), "", empty_floor(), seeds);
        let (one, two) = (floor(&[BORIS]), floor(&[ANNA, BORIS]));
        let refused = Refused::Signatures { class: Class::Floor, valid: 1, needed: 2 };
        assert_eq!(fleet.replica.offer(&one), Err(refused));
        fleet.take(&two);
    }
    assert_eq!(fleet.replica.of_class(Class::Recall).count() + fleet.replica.of_class(Class::Plan).count(), 0);
}

#[test]
fn an_invite_that_no_node_can_read_is_not_made() {
    let fleet = Fleet::new();
    let grant = Grant { serials: (0..64).map(|n| format!("{n:056}")).collect(), ..Grant::default() };
    let bytes = fleet.record(Name::Id(id(50)), "", Body::Invite(grant), &[ANNA]);
    let made = fleet.replica.trust().invite([50; 32], Record::parse(&bytes).unwrap());
    assert!(matches!(made, Err(NotAnInvite::Long(4097..))), "{made:?}");
}

#[test]
fn what_a_node_contradicts_itself_in_hides_no_conflict_of_operators() {
    let mut fleet = Fleet::new();
    for node in 100..230 {
        fleet.join(node, "");
        for release in ["a", "b"] {
            let report = fleet.report(node, 1, release);
            let _ = fleet.replica.offer(&report);
        }
    }
    // One that goes on and on has one place.
    for version in 2..10 {
        for release in ["a", "b"] {
            let report = fleet.report(100, version, release);
            let _ = fleet.replica.offer(&report);
        }
    }
    let [a, b] =
        [("all", ANNA), ("site=bonn", BORIS)].map(|(nodes, by)| fleet.record(name("g"), "", group(nodes), &[by]));
    let _ = fleet.replica.offer(&a);
    let _ = fleet.replica.offer(&b);
    let of = |class: Class| fleet.replica.conflicts().filter(|conflict| conflict.key.class == class).count();
    assert_eq!((of(Class::Report), of(Class::Group)), (limits::CONFLICTS / 2, 1));
    let first = fleet.replica.conflicts().find(|conflict| conflict.key.name == Name::Id(id(100))).unwrap();
    assert_eq!(first.version, 9);
}

/// 4,000 members are taken in time that grows with their number, not with its square.
#[test]
fn many_members_are_taken_in_little_time() {
    let fleet = Fleet::new();
    let bytes: Vec<Vec<u8>> = (0..4000u32)
        .map(|n| {
            let mut seed = [7; 32];
            seed[..4].copy_from_slice(&n.to_le_bytes());
            let node = ed25519_dalek::SigningKey::from_bytes(&seed);
            let agreement = Member::agreement(&fleet.id(), &id(INVITE), &labels(""));
            let consent = ed25519_dalek::Signer::sign(&node, &agreement).to_bytes();
            let (name, serial) = (String::new(), String::new());
            let member = Member { name, labels: labels("site=a"), serial, invite: id(INVITE), consent };
            fleet.record(Name::Id(node.verifying_key().into()), "", Body::Member(member), &[ANNA])
        })
        .collect();
    let mut replica = fleet.replica.clone();
    let mut half = |records: &[Vec<u8>]| {
        let began = Instant::now();
        records.iter().for_each(|record| drop(replica.offer(record)));
        began.elapsed()
    };
    let (first, second) = (half(&bytes[..2000]), half(&bytes[2000..]));
    println!("2,000 members: {first:?}, 2,000 more: {second:?}");
    assert!(second < first * 2, "{first:?}, then {second:?}");
    assert_eq!(replica.of_class(Class::Member).count(), 4000);
}

#[test]
fn a_row_of_charters_that_is_here_is_not_verified_again() {
    let mut fleet = Fleet::new();
    for n in 0..200 {
        let relays = if n % 2 == 0 { vec![] } else { charter().relays };
        let next = fleet.next_charter(Charter { relays, ..charter() }, &ROOT);
        fleet.take(&next);
    }
    let mut row = fleet.row();
    // No signature of the last one is looked at: the row is known by its hashes.
    let last = row.last_mut().unwrap();
    let end = last.len();
    last[end - 1] ^= 1;
    assert_eq!(fleet.offer_row(&row), Ok(Outcome::Known));
    // One that is longer is verified from there on, and one that is not signed changes nothing.
    let mut other = Fleet::new();
    other.offer_row(&fleet.row()).unwrap();
    let next = other.next_charter(charter(), &ROOT[..1]);
    row.push(next);
    assert_eq!(fleet.offer_row(&row), Err(Refused::OldSignatures { valid: 1, needed: 2 }));
    assert_eq!(fleet.offer_row(&[]), Err(Malformed::Missing { what: "the fleet's first charter" }.into()));
}

#[test]
fn a_revoked_key_comes_back_by_no_invite_of_another_site() {
    let mut fleet = Fleet::new();
    fleet.join(30, "site=berlin");
    let revocation = fleet.revocation(30, "site=berlin", &[BERLIN]);
    fleet.take(&revocation);
    let grant = Grant { labels: labels("site=bonn"), ..Grant::default() };
    let invite = fleet.invite_to("site=bonn", 50, grant, 0, BONN);
    let request = fleet.replica.verify_request(&fleet.request(30, &invite)).unwrap();
    assert_eq!(fleet.replica.admit(&request, Some(1)), Err(Refused::Revoked(id(30))));
    // Berlin's operator keeps no node out that never was one of Berlin.
    let revocation = fleet.revocation(31, "site=berlin", &[BERLIN]);
    fleet.take(&revocation);
    let request = fleet.replica.verify_request(&fleet.request(31, &invite)).unwrap();
    assert!(fleet.replica.admit(&request, Some(1)).is_ok());
}

/// Bytes of nothing cost no more than their number allows.
#[test]
fn a_file_of_empty_records_is_bounded() {
    let fleet = Fleet::new();
    let mut packed = fleet.replica.pack();
    packed.resize(packed.len() + limits::PACKED + 1, 0);
    let limit = limits::PACKED;
    let expected = Malformed::TooMany { what: "the row of records", found: limit as u64 + 1, limit };
    assert_eq!(Replica::unpack(&packed), Err(expected));
}
