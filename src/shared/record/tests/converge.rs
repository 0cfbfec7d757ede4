//! Any order of arrival, any loss, any repetition: replicas that were offered the same records in the end are equal.

use crate::fleet::*;
use ed25519_dalek::Signer;
use fruit_record::body::*;
use fruit_record::*;
use proptest::prelude::*;

/// Records that contradict, replace and void each other, of three operators, three nodes and two rows of charters.
fn all() -> (Fleet, Vec<Vec<u8>>) {
    let fleet = Fleet::new();
    let mut records = Vec::new();
    let named = |version: u64, epoch: u64, n: &str, nodes: &str, by: u8| {
        let head = Head { version, epoch, ..Head::first(name(n)) };
        sign(&Draft::new(head, group(nodes)).unwrap(), &fleet.id(), &[by])
    };
    for (version, nodes, by) in [(1, "all", ANNA), (1, "site=bonn", ANNA), (2, "all", BORIS), (2, "rack=1", ANNA)] {
        records.push(named(version, 0, "g", nodes, by));
        records.push(named(version, version - 1, "h", nodes, by));
    }
    let kept = Record::parse(&records[0]).unwrap().hash();
    for (version, hashes) in [(1, vec![kept]), (2, vec![])] {
        let head = Head { version, ..Head::first(name("group")) };
        let body = Body::Floor(Floor { named: Named::Inline(hashes) });
        records.push(sign(&Draft::new(head, body).unwrap(), &fleet.id(), &[ANNA]));
    }
    for node in [30, 31, 32] {
        for (version, with, by) in [(1, "site=bonn", ANNA), (2, "site=berlin", BORIS)] {
            let head = Head { version, ..Head::first(Name::Id(id(node))) };
            let invite = id(INVITE);
            let consent = key(node).sign(&Member::agreement(&fleet.id(), &invite, &labels(""))).to_bytes();
            let (name, serial) = (String::new(), String::new());
            let body = Body::Member(Member { name, labels: labels(with), serial, invite, consent });
            records.push(sign(&Draft::new(head, body).unwrap(), &fleet.id(), &[by]));
        }
        for (version, text) in [(1, "a"), (1, "b"), (2, "c")] {
            records.push(fleet.report(node, version, text));
        }
    }
    records.push(fleet.revocation(30, "", &[ANNA]));
    records.push(fleet.revocation(31, "site=bonn", &[BONN]));
    // A member of two sites, who agreed to both; one that somebody else has signed in; a floor of members.
    records.push(fleet.agreed(33, "site=bonn", "site=bonn", BONN));
    records.push(fleet.agreed(33, "site=berlin", "site=berlin", BERLIN));
    records.push(fleet.report(33, 1, "d"));
    records.push(fleet.record(
        name("member"),
        "site=bonn",
        Body::Floor(Floor { named: Named::Inline(vec![]) }),
        &[BONN],
    ));
    let mut next = charter();
    next.operators.retain(|operator| operator.name != "boris");
    records.push(fleet.next_charter(next, &ROOT));
    (fleet, records)
}

/// Offers everything until nothing changes, as peers do that compare what they have.
fn settle(replica: &mut Replica, records: &[Vec<u8>]) {
    for _ in 0..20 {
        let before = replica.clone();
        for record in records {
            let _ = replica.offer(record);
        }
        if *replica == before {
            return;
        }
    }
    panic!("it does not settle");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn replicas_become_equal(order in Just(all().1).prop_shuffle(), lost in proptest::collection::vec(any::<bool>(), 32)) {
        let (fleet, records) = all();
        let mut straight = fleet.replica.clone();
        settle(&mut straight, &records);
        let mut other = fleet.replica.clone();
        // At first some are lost and some come twice.
        for (record, lost) in order.iter().zip(&lost) {
            if !lost {
                let _ = other.offer(record);
                let _ = other.offer(record);
            }
        }
        settle(&mut other, &order);
        prop_assert!(straight == other);
        // And by exchange alone, with a third that has heard of half.
        let mut third = fleet.replica.clone();
        order.iter().take(order.len() / 2).for_each(|record| drop(third.offer(record)));
        let packed = other.pack();
        settle(&mut third, &Replica::unpack(&packed).unwrap().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
        prop_assert!(third == other);
        let (loaded, refused) = Replica::load(fleet.id(), &packed).unwrap();
        prop_assert!(loaded == other && refused.is_empty());
    }
}
