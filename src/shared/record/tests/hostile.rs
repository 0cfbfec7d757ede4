//! Bytes from anybody: none is believed that differs from what was signed, none makes us panic, none costs more than it may.

use crate::fleet::*;
use fruit_record::body::*;
use fruit_record::invite::NotAnInvite;
use fruit_record::wire::Malformed;
use fruit_record::*;
use proptest::prelude::*;

fn samples(fleet: &Fleet) -> Vec<Vec<u8>> {
    vec![
        fleet.record(name("g"), "", group("site=berlin;site=bonn"), &[ANNA, BORIS]),
        fleet.record(name("p"), "", Body::Plan(Box::new(plan(5))), &[ANNA]),
        fleet.member(30, "rack=1,site=berlin", ANNA),
        fleet.revocation(30, "site=berlin", &[BERLIN]),
    ]
}

#[test]
fn no_bit_of_a_record_can_be_changed() {
    let fleet = Fleet::new();
    for good in samples(&fleet) {
        assert!(fleet.replica.clone().offer(&good).is_ok());
        let signed = Record::parse(&good).unwrap().signatures().len();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                // One of two signatures may go; what is left is the same record.
                if let Ok(record) = fleet.replica.trust().verify(&bad, &trust::NoMembers) {
                    assert!(
                        signed == 2 && record.hash() == Record::parse(&good).unwrap().hash(),
                        "byte {at}, bit {bit}"
                    );
                }
            }
        }
        for length in 0..good.len() {
            assert!(Record::parse(&good[..length]).is_err(), "{length} bytes of it");
        }
        assert!(matches!(Record::parse(&[&good[..], &[0]].concat()), Err(Malformed::Trailing { .. })));
    }
}

#[test]
fn sizes_are_checked_before_anything_else() {
    let fleet = Fleet::new();
    let mut head = fleet.record(name("g"), "", group("all"), &[ANNA]);
    head.resize(64 << 10, 0);
    assert!(matches!(Record::parse(&head), Err(Malformed::TooMany { what: "the record", .. })));
    // A body that says it is larger than there are bytes, and one larger than its class may have.
    let note = |length: usize| Body::Group(Group { nodes: selector("all"), note: "x".repeat(length) });
    assert!(Draft::new(Head::first(name("g")), note(256)).is_ok());
    assert!(Draft::new(Head::first(name("g")), note(257)).is_err());
    let facts = (0..60).map(|n| (format!("fact{n:03}"), "x".repeat(40))).collect();
    let report = Body::Report(Report { facts, ..Report::default() });
    let refused = Draft::new(Head::first(Name::Id(id(30))), report);
    assert!(
        matches!(refused, Err(Malformed::TooMany { what: "the body", limit: limits::NODE_BODY, .. })),
        "{refused:?}"
    );
}

#[test]
fn what_a_newer_program_wrote_is_nobodys_fault() {
    let fleet = Fleet::new();
    let good = fleet.record(name("g"), "", group("all"), &[ANNA]);
    for (at, value) in [(0, 2), (1, 200)] {
        let mut newer = good.clone();
        newer[at] = value;
        let refused = Refused::from(Record::parse(&newer).unwrap_err());
        assert!(!refused.is_hostile(), "{refused}");
    }
    assert!(Refused::from(Record::parse(&good[..9]).unwrap_err()).is_hostile());
}

#[test]
fn a_copying_mistake_in_an_invite_is_told_from_a_forgery() {
    let fleet = Fleet::new();
    let text = fleet.invite(50, Grant::default(), 0, ANNA).to_text();
    for at in [8, text.len() / 2, text.len() - 1] {
        let mut other: Vec<char> = text.chars().collect();
        other[at] = if other[at] == 'A' { 'B' } else { 'A' };
        assert_eq!(Invite::from_text(&other.iter().collect::<String>()), Err(NotAnInvite::Copied), "character {at}");
    }
    assert_eq!(Invite::from_text(&text[..text.len() - 4]), Err(NotAnInvite::Copied));
    assert_eq!(Invite::from_text("fruit1-"), Err(NotAnInvite::Copied));
    assert_eq!(Invite::from_text("ssh-ed25519 AAAA"), Err(NotAnInvite::Prefix));
    assert_eq!(Invite::from_text(&format!("fruit1-{}", "A".repeat(5000))), Err(NotAnInvite::Long(5007)));
}

#[test]
fn a_pack_with_strangers_in_it_gives_what_counts() {
    let mut fleet = Fleet::new();
    fleet.join(30, "");
    let mut packed = fleet.replica.pack();
    let stranger = fleet.member(31, "", 99);
    packed.extend([u8::try_from(stranger.len() & 0x7f).unwrap() | 0x80, u8::try_from(stranger.len() >> 7).unwrap()]);
    packed.extend(&stranger);
    let (loaded, refused) = Replica::load(fleet.id(), &packed).unwrap();
    assert!(loaded == fleet.replica);
    assert_eq!(refused, [Refused::Signatures { class: Class::Member, valid: 0, needed: 1 }]);
    assert!(Replica::load(FleetId([0; 32]), &packed).is_err());
    assert!(Replica::load(fleet.id(), &packed[..packed.len() - 1]).is_err());
    assert!(Replica::load(fleet.id(), b"fruit records 1\n").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_without_panic_and_written_alike(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(record) = Record::parse(&bytes) {
            prop_assert_eq!(record.encode(), bytes.clone());
        }
        let _ = Request::parse(&bytes);
        let _ = Replica::unpack(&bytes);
    }

    #[test]
    fn any_change_of_a_record_is_read_as_it_stands_or_refused(
        which in 0usize..4, at in 0usize..400, with in proptest::collection::vec(any::<u8>(), 0..4), cut in 0usize..4,
    ) {
        let fleet = Fleet::new();
        let mut bytes = samples(&fleet).swap_remove(which);
        let at = at.min(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with);
        if let Ok(record) = Record::parse(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }
}
