//! Who may sign what, and what then counts.

use crate::fleet::*;
use fruit_base::Sha256;
use fruit_record::body::*;
use fruit_record::signature::Signature;
use fruit_record::trust::NoMembers;
use fruit_record::*;

fn signatures(class: Class, valid: u64, needed: u64) -> Result<Outcome, Refused> {
    Err(Refused::Signatures { class, valid, needed })
}

#[test]
fn a_first_charter_needs_its_own_threshold_and_is_the_fleet() {
    let draft = first(charter());
    let fleet = draft.fleet();
    let trust = |seeds: &[u8]| Trust::new(fleet, &sign(&draft, &fleet, seeds)).map(|_| ());
    assert_eq!(trust(&[1, 2]), Ok(()));
    for seeds in [&[][..], &[1], &[1, ANNA], &[1, 99]] {
        assert_eq!(
            trust(seeds),
            Err(Refused::Signatures { class: Class::Charter, valid: seeds.len().min(1) as u64, needed: 2 })
        );
    }
    let other = FleetId([1; 32]);
    let refused = Trust::new(other, &sign(&draft, &fleet, &ROOT));
    assert_eq!(refused, Err(Refused::Fleet { expected: other, found: fleet }));
    // What somebody else calls the same is another fleet.
    let renamed = first(Charter { relays: Vec::new(), ..charter() });
    assert_ne!(renamed.fleet(), fleet);
}

#[test]
fn the_next_charter_needs_the_old_and_the_new_threshold() {
    let mut fleet = Fleet::new();
    let mut root = [2, 3, 4].map(id).to_vec();
    root.sort();
    let next = Charter { root, ..charter() };
    let offer = |fleet: &mut Fleet, seeds: &[u8]| {
        let bytes = fleet.next_charter(next.clone(), seeds);
        fleet.replica.offer(&bytes)
    };
    assert_eq!(offer(&mut fleet, &[1, 4]), Err(Refused::OldSignatures { valid: 1, needed: 2 }));
    assert_eq!(offer(&mut fleet, &[1, 2]), signatures(Class::Charter, 1, 2));
    assert_eq!(offer(&mut fleet, &[2, 3]), Ok(Outcome::New));
    // The old keys alone sign nothing any more.
    let bytes = fleet.next_charter(charter(), &[1, 2]);
    assert_eq!(fleet.replica.offer(&bytes), Err(Refused::OldSignatures { valid: 1, needed: 2 }));
}

#[test]
fn charters_are_taken_in_their_row() {
    let mut fleet = Fleet::new();
    let draft = first(charter());
    assert_eq!(fleet.replica.offer(&sign(&draft, &fleet.id(), &ROOT)), Ok(Outcome::Known));
    let two = fleet.next_charter(Charter { seeds: Vec::new(), ..charter() }, &ROOT);
    let mut other = Fleet::new();
    other.take(&two);
    let three = other.next_charter(charter(), &ROOT);
    assert_eq!(fleet.replica.offer(&three), Err(Refused::CharterVersion { expected: 2, found: 3 }));
    // Another second charter, and the third that follows from the first of them.
    let forked = fleet.next_charter(Charter { relays: Vec::new(), ..charter() }, &ROOT);
    fleet.take(&forked);
    assert_eq!(fleet.replica.offer(&two), Err(Refused::CharterFork { version: 2 }));
    assert_eq!(fleet.replica.offer(&three), Err(Refused::CharterFork { version: 2 }));
    // The whole row decides: the longer one, whoever comes first.
    other.take(&three);
    let (long, short) = (other.row(), fleet.row());
    assert_eq!(fleet.offer_row(&long), Ok(Outcome::New));
    assert_eq!(other.offer_row(&short), Ok(Outcome::Older));
    assert_eq!(fleet.offer_row(&long), Ok(Outcome::Known));
    assert!(fleet.replica == other.replica);
}

#[test]
fn roles_and_scopes_decide_what_an_operator_signs() {
    let enrol = Roles::from_iter([Role::Enrol]);
    let only =
        |name: &str, roles, scope: &str| Charter { operators: vec![operator(name, ANNA, roles, scope)], ..charter() };
    for (roles, scope, domain, nodes, counts) in [
        (Roles::all(), "all", "", "all", true),
        (Roles::from_iter([Role::Config]), "all", "", "site=berlin", true),
        (enrol, "all", "", "all", false),
        (Roles::all(), "site=berlin", "", "site=berlin", false),
        (Roles::all(), "site=berlin", "site=berlin", "rack=1,site=berlin", true),
        (Roles::all(), "site=berlin", "site=bonn", "site=bonn", false),
        (Roles::all(), "site=berlin;site=bonn", "site=bonn", "site=bonn", true),
        (Roles::all(), "rack=1,site=berlin", "site=berlin", "site=berlin", false),
    ] {
        let fleet = Fleet::with(only("anna", roles, scope));
        let bytes = fleet.record(name("g"), domain, group(nodes), &[ANNA]);
        let verified = fleet.replica.trust().verify(&bytes, &NoMembers);
        let expected =
            if counts { Ok(1) } else { Err(Refused::Signatures { class: Class::Group, valid: 0, needed: 1 }) };
        assert_eq!(verified.map(|record| record.signatures().len()), expected, "{roles} {scope} {domain} {nodes}");
    }
}

#[test]
fn a_record_is_about_nodes_of_its_domain_only() {
    let head = Head { domain: labels("site=berlin"), ..Head::first(name("g")) };
    for nodes in ["all", "site=bonn", "site=berlin;site=bonn"] {
        assert!(Draft::new(head.clone(), group(nodes)).is_err(), "{nodes}");
    }
    assert!(Draft::new(head, group("site=berlin,rack=2")).is_ok());
}

#[test]
fn an_operator_of_one_site_replaces_no_record_of_another() {
    let mut fleet = Fleet::new();
    let ours = fleet.record(name("wifi"), "", group("all"), &[ANNA]);
    fleet.take(&ours);
    let theirs = fleet.record(name("wifi"), "site=berlin", group("site=berlin"), &[BERLIN]);
    fleet.take(&theirs);
    assert_eq!(fleet.replica.of_class(Class::Group).count(), 2);
    // And takes none of its nodes over.
    fleet.join(30, "site=bonn");
    let Some(Body::Member(member)) = fleet.replica.of_class(Class::Member).next().map(|record| record.body().clone())
    else {
        panic!("no member");
    };
    let taken = Body::Member(Member { labels: labels("site=berlin"), ..member });
    let bytes = fleet.record(Name::Id(id(30)), "site=berlin", taken, &[BERLIN]);
    assert_eq!(fleet.replica.offer(&bytes), Err(Refused::Consent(id(30))));
    assert_eq!(fleet.replica.member(&id(30)).unwrap().labels, labels("site=bonn"));
}

#[test]
fn some_records_need_several_operators() {
    let mut fleet = Fleet::new();
    let small = fleet.record(name("small"), "", Body::Plan(Box::new(plan(99))), &[ANNA]);
    fleet.take(&small);
    let large = |seeds: &[u8]| fleet.record(name("large"), "", Body::Plan(Box::new(plan(100))), seeds);
    let (one, scoped, two) = (large(&[ANNA]), large(&[ANNA, BERLIN]), large(&[ANNA, BORIS]));
    assert_eq!(fleet.replica.offer(&one), signatures(Class::Plan, 1, 2));
    assert_eq!(fleet.replica.offer(&scoped), signatures(Class::Plan, 1, 2));
    assert_eq!(fleet.replica.offer(&two), Ok(Outcome::New));
    let recall = Body::Recall(Recall {
        nodes: selector("all"),
        product: "pistack".into(),
        versions: vec!["1.1.0".into()],
        to: Sha256([4; 32]),
        reason: "does not boot with wifi".into(),
    });
    let by = |seeds: &[u8]| fleet.record(name("pistack"), "", recall.clone(), seeds);
    let (one, two) = (by(&[BORIS]), by(&[ANNA, BORIS]));
    assert_eq!(fleet.replica.offer(&one), signatures(Class::Recall, 1, 2));
    assert_eq!(fleet.replica.offer(&two), Ok(Outcome::New));
}

#[test]
fn signatures_that_do_not_count_are_neither_kept_nor_passed_on() {
    let mut fleet = Fleet::new();
    let draft = Draft::new(Head::first(name("g")), group("all")).unwrap();
    let message = draft.message(&fleet.id());
    let mut all = vec![Signature { key: id(99), bytes: [7; 64] }, Signature { key: id(BORIS), bytes: [7; 64] }];
    let good = Record::parse(&sign(&draft, &fleet.id(), &[ANNA])).unwrap().signatures()[0];
    assert!(good.verifies(&message));
    all.push(good);
    fleet.take(&draft.signed(all));
    let kept = fleet.replica.records().next().unwrap();
    assert_eq!(kept.signatures(), [good]);
    // The same with another signature that counts is the same record, signed by both.
    assert_eq!(fleet.replica.offer(&sign(&draft, &fleet.id(), &[BORIS])), Ok(Outcome::New));
    assert_eq!(fleet.replica.offer(&sign(&draft, &fleet.id(), &[ANNA, BORIS])), Ok(Outcome::Known));
    let one = fleet.replica.records().next().unwrap();
    assert_eq!((fleet.replica.records().count(), one.signatures().len()), (1, 2));
}

#[test]
fn what_was_signed_for_another_fleet_or_as_something_else_does_not_count() {
    let (mut fleet, other) = (Fleet::new(), Fleet::with(Charter { name: "other".into(), ..charter() }));
    let bytes = other.record(name("g"), "", group("all"), &[ANNA]);
    assert_eq!(fleet.replica.offer(&bytes), signatures(Class::Group, 0, 1));
    // A group's signature below the same bytes as a hold.
    let mut bytes = fleet.record(name("g"), "", group("all"), &[ANNA]);
    assert_eq!(bytes[1], Class::Group as u8);
    bytes[1] = Class::Hold as u8;
    assert_eq!(fleet.replica.offer(&bytes), signatures(Class::Hold, 0, 1));
}

#[test]
fn what_operators_sign_ends_with_them() {
    let mut charter = charter();
    charter.operators[0].expires = 1000;
    let fleet = Fleet::with(charter);
    let ends = |not_after: u64, seeds: &[u8]| {
        let draft = Draft::new(Head { not_after, ..Head::first(name("g")) }, group("all")).unwrap();
        let record = fleet.replica.trust().verify(&sign(&draft, &fleet.id(), seeds), &NoMembers).unwrap();
        assert!(record.is_current(None), "without a clock, everything counts");
        record.ends()
    };
    assert_eq!(ends(0, &[BORIS]), 0);
    assert_eq!((ends(0, &[ANNA]), ends(500, &[ANNA]), ends(2000, &[ANNA])), (1000, 500, 1000));
    assert_eq!((ends(0, &[ANNA, BORIS]), ends(2000, &[ANNA, BORIS])), (0, 2000), "one of them is enough");
}

#[test]
fn an_operator_who_is_removed_has_signed_nothing() {
    let mut fleet = Fleet::new();
    let by_boris = fleet.record(name("g"), "", group("all"), &[BORIS]);
    let by_both = fleet.record(name("h"), "", group("all"), &[ANNA, BORIS]);
    fleet.take(&by_boris);
    fleet.take(&by_both);
    let mut next = charter();
    next.operators.retain(|operator| operator.name != "boris");
    let next = fleet.next_charter(next, &ROOT);
    fleet.take(&next);
    let left: Vec<_> = fleet.replica.of_class(Class::Group).collect();
    assert_eq!((left.len(), left[0].key().name.clone(), left[0].signatures().len()), (1, name("h"), 1));
    assert_eq!(fleet.replica.offer(&by_boris), signatures(Class::Group, 0, 1));
}

#[test]
fn nodes_speak_for_themselves_while_they_are_members() {
    let mut fleet = Fleet::new();
    let report = fleet.report(30, 1, "pistack-1.0.0");
    assert_eq!(fleet.replica.offer(&report), Err(Refused::NotAMember(id(30))));
    fleet.join(30, "site=berlin");
    fleet.take(&report);
    // Another member cannot speak for it, nor can an operator.
    fleet.join(31, "site=berlin");
    for seed in [31, ANNA] {
        let head = Head { version: 2, ..Head::first(Name::Id(id(30))) };
        let draft = Draft::new(head, Body::Report(Report::default())).unwrap();
        assert_eq!(fleet.replica.offer(&sign(&draft, &fleet.id(), &[seed])), signatures(Class::Report, 0, 1));
    }
    let revocation = fleet.revocation(30, "", &[ANNA]);
    fleet.take(&revocation);
    assert!(!fleet.replica.is_member(&id(30)) && fleet.replica.is_member(&id(31)));
    assert_eq!(fleet.replica.of_class(Class::Report).count(), 0, "what it said is gone");
    let next = fleet.report(30, 2, "pistack-1.0.0");
    assert_eq!(fleet.replica.offer(&next), Err(Refused::NotAMember(id(30))));
}

#[test]
fn a_revocation_counts_within_the_scope_of_who_signed_it() {
    let mut fleet = Fleet::new();
    fleet.join(30, "site=bonn");
    fleet.join(31, "site=berlin");
    let without_domain = fleet.revocation(31, "", &[BERLIN]);
    assert_eq!(fleet.replica.offer(&without_domain), signatures(Class::Revocation, 0, 1));
    for node in [30, 31] {
        let revocation = fleet.revocation(node, "site=berlin", &[BERLIN]);
        fleet.take(&revocation);
    }
    assert!(fleet.replica.is_member(&id(30)), "berlin's operator revokes no node of bonn");
    assert!(!fleet.replica.is_member(&id(31)));
}

#[test]
fn a_member_is_no_seed_of_trust_in_what_it_passes_on() {
    // Whatever order: a member's key never signs for operators.
    let mut fleet = Fleet::new();
    fleet.join(30, "");
    let bytes = fleet.member(31, "", 30);
    assert_eq!(fleet.replica.offer(&bytes), signatures(Class::Member, 0, 1));
}

#[test]
fn sequences_only_rise_and_two_of_one_are_shown() {
    let mut fleet = Fleet::new();
    fleet.join(30, "");
    let [one, two, other] = [(1, "a"), (2, "b"), (2, "c")].map(|(version, text)| fleet.report(30, version, text));
    fleet.take(&two);
    assert_eq!(fleet.replica.offer(&one), Ok(Outcome::Older));
    assert_eq!(fleet.replica.offer(&two), Ok(Outcome::Known));
    assert_eq!(fleet.replica.conflicts().count(), 0);
    let outcome = fleet.replica.offer(&other).unwrap();
    let (two, other) = (Record::parse(&two).unwrap().hash(), Record::parse(&other).unwrap().hash());
    let conflict = fleet.replica.conflicts().next().unwrap();
    assert_eq!((conflict.version, conflict.counts, conflict.other), (2, two.min(other), two.max(other)));
    assert_eq!(outcome, if other < two { Outcome::New } else { Outcome::Older });
    assert_eq!(fleet.replica.of_class(Class::Report).next().unwrap().hash(), two.min(other));
}

#[test]
fn a_floor_voids_what_is_older_and_not_named() {
    let mut fleet = Fleet::new();
    let [kept, gone] = ["kept", "gone"].map(|n| fleet.record(name(n), "", group("all"), &[ANNA]));
    fleet.take(&kept);
    fleet.take(&gone);
    let hash = Record::parse(&kept).unwrap().hash();
    let floor = |fleet: &Fleet, named| fleet.record(name("group"), "", Body::Floor(Floor { named }), &[ANNA]);
    let first = floor(&fleet, Named::Inline(vec![hash]));
    fleet.take(&first);
    assert_eq!(fleet.replica.of_class(Class::Group).count(), 1);
    assert_eq!(fleet.replica.offer(&gone), Err(Refused::BelowFloor { class: Class::Group }));
    // What is written from now on is of the new epoch.
    let new = fleet.record(name("new"), "", group("all"), &[ANNA]);
    fleet.take(&new);
    // With names in a blob, nothing is taken out before the blob is here.
    let blob = hash.0.to_vec();
    let second = floor(&fleet, Named::Blob(Sha256::of(&blob)));
    fleet.take(&second);
    assert_eq!(fleet.replica.of_class(Class::Group).count(), 2);
    assert_eq!(fleet.replica.supply(&[0; 32]), Ok(false));
    assert_eq!(fleet.replica.supply(&blob), Ok(true));
    assert_eq!(fleet.replica.of_class(Class::Group).next().unwrap().hash(), hash);
    // An operator of a site sinks nobody else's records.
    let theirs =
        fleet.record(name("group"), "site=berlin", Body::Floor(Floor { named: Named::Inline(vec![]) }), &[BERLIN]);
    fleet.take(&theirs);
    assert_eq!(fleet.replica.of_class(Class::Group).count(), 1);
    // Revocations have no floor.
    let head = Head::first(name("revocation"));
    assert!(Draft::new(head, Body::Floor(Floor { named: Named::Inline(vec![]) })).is_err());
}

#[test]
fn a_node_comes_by_an_invite() {
    let mut fleet = Fleet::new();
    let grant = Grant { uses: 1, labels: labels("site=berlin"), ..Grant::default() };
    let invite = fleet.invite(50, grant, 2000, ANNA);
    let text = invite.to_text();
    assert!(text.len() < 480, "{} characters: {text}", text.len());
    let read = Invite::from_text(&format!(" {text}\n")).unwrap();
    assert_eq!(read, invite);
    assert!(!format!("{read:?}").contains(&"32".repeat(8)), "the secret is not shown");

    let verified = fleet.replica.trust().verify_request(&fleet.request(30, &invite)).unwrap();
    let (head, member) = fleet.replica.admit(&verified, Some(1999)).unwrap();
    assert_eq!(fleet.replica.admit(&verified, None).unwrap().0, head, "no clock, no expiry");
    assert_eq!(fleet.replica.admit(&verified, Some(2001)), Err(Refused::Expired));
    assert_eq!((member.name.as_str(), &member.labels, member.invite), ("pi-1", &labels("site=berlin"), id(50)));
    let second = fleet.replica.trust().verify_request(&fleet.request(31, &invite)).unwrap();
    let bytes = sign(&Draft::new(head, Body::Member(member)).unwrap(), &fleet.id(), &[BORIS]);
    fleet.take(&bytes);
    assert!(fleet.replica.is_member(&id(30)));
    // Used up for others; the same node may ask again.
    assert_eq!(fleet.replica.admit(&second, None), Err(Refused::UsedUp(1)));
    assert_eq!(fleet.replica.admit(&verified, None).unwrap().0.version, 2);
    let revocation = fleet.revocation(50, "", &[ANNA]);
    fleet.take(&revocation);
    assert_eq!(fleet.replica.admit(&verified, None), Err(Refused::Revoked(id(50))));
}

#[test]
fn requests_that_are_not_signed_twice_are_refused() {
    let fleet = Fleet::new();
    let trust = fleet.replica.trust();
    let grant = Grant { serials: vec!["abc".into()], ..Grant::default() };
    let invite = fleet.invite(50, grant.clone(), 0, ANNA);
    let make = |fleet: &FleetId, serial: &str, invite: &Invite| {
        Request::make(fleet, &key(30), ["", serial, ""], invite).unwrap()
    };
    let good = make(&fleet.id(), "abc", &invite);
    assert!(trust.verify_request(&good).is_ok());
    assert_eq!(trust.verify_request(&make(&fleet.id(), "abd", &invite)), Err(Refused::Serial("abd".into())));
    assert_eq!(trust.verify_request(&make(&FleetId([0; 32]), "abc", &invite)), Err(Refused::Request));
    // Signatures of the invite's key and of the node, its consent, and its id.
    for at in [good.len() - 1, good.len() - 65, good.len() - 129, 5] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(trust.verify_request(&bad).is_err(), "byte {at}");
    }
    // An invite that no operator has signed, or one who may not.
    let stranger = fleet.invite(50, grant, 0, 99);
    let refused = trust.verify_request(&make(&fleet.id(), "abc", &stranger));
    assert_eq!(refused, Err(Refused::Signatures { class: Class::Invite, valid: 0, needed: 1 }));
    // Another secret than the one that was signed.
    let other = trust.invite([51; 32], invite.grant.clone());
    assert_eq!(other, Err(fruit_record::invite::NotAnInvite::Key));
}

#[test]
fn a_charter_that_makes_no_sense_is_none() {
    let weak = KeyId({
        // A point of small order: 32 bytes of zeros but the first.
        let mut bytes = [0; 32];
        bytes[0] = 1;
        bytes
    });
    let twice = vec![operator("anna", ANNA, Roles::all(), "all"), operator("boris", ANNA, Roles::all(), "all")];
    let unsorted = vec![operator("b", ANNA, Roles::all(), "all"), operator("a", BORIS, Roles::all(), "all")];
    for (charter, why) in [
        (Charter { threshold: 0, ..charter() }, "nobody signs"),
        (Charter { threshold: 4, ..charter() }, "more than there are"),
        (Charter { root: vec![], ..charter() }, "no root"),
        (Charter { root: vec![weak], threshold: 1, ..charter() }, "a weak key"),
        (Charter { root: vec![id(1), id(1)], ..charter() }, "one key twice"),
        (Charter { operators: twice, ..charter() }, "a key of two operators"),
        (Charter { operators: unsorted, ..charter() }, "another order"),
        (Charter { operators: vec![operator("anna", ANNA, Roles::default(), "all")], ..charter() }, "no role"),
        (Charter { name: "../x".into(), ..charter() }, "no name"),
        (Charter { name: "a\x1b[2J".into(), ..charter() }, "no name"),
        (Charter { rules: vec![Rule { class: Class::Report, from: 0, needed: 2 }], ..charter() }, "not by operators"),
        (Charter { rules: vec![Rule { class: Class::Plan, from: 0, needed: 1 }], ..charter() }, "a rule that is none"),
        (Charter { rules: vec![Rule { class: Class::Job, from: 2, needed: 2 }], ..charter() }, "a job says no number"),
        (Charter { relays: vec![Relay { address: "host".into(), pin: Sha256([0; 32]) }], ..charter() }, "no port"),
    ] {
        assert!(Draft::new(Head::first(Name::Single), Body::Charter(Box::new(charter))).is_err(), "{why}");
    }
}

#[test]
fn a_full_replica_says_so_and_stays_as_it_is() {
    let mut fleet = Fleet::new();
    let one = |fleet: &Fleet, n: usize| fleet.record(name(&format!("g{n}")), "", group("all"), &[ANNA]);
    for n in 0..limits::OPERATOR_RECORDS {
        let bytes = one(&fleet, n);
        fleet.take(&bytes);
    }
    let more = one(&fleet, limits::OPERATOR_RECORDS);
    let full = Refused::Full { what: "records of operators", limit: limits::OPERATOR_RECORDS };
    assert_eq!(fleet.replica.offer(&more), Err(full));
    // A newer version of one that is there needs no room, and what takes trust away has its own.
    let newer = one(&fleet, 7);
    fleet.take(&newer);
    let revocation = fleet.revocation(30, "", &[ANNA]);
    fleet.take(&revocation);
    let packed = fleet.replica.pack();
    let (loaded, refused) = Replica::load(fleet.id(), &packed).unwrap();
    assert!(loaded == fleet.replica && refused.is_empty());
}
