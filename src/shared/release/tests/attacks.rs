//! The attacks of the TUF specification, section 1.5.2, and of its threat model, each by name.

use crate::harness::*;
use fruit_release::tuf::json::Json;
use fruit_release::tuf::{Error, Freshness, Mismatch, Node, Role, Stored, Trust, Unfit, limits};

const THIEF: u8 = 99;

#[test]
fn arbitrary_software_is_refused() {
    let mut shop = Shop::open();
    let node = shop.current_node();
    // Metadata that strangers signed, at each level.
    shop.release("1.1");
    for (name, role) in [
        ("2.targets", Role::Targets),
        ("2.snapshot", Role::Snapshot),
        ("timestamp", Role::Timestamp),
        ("1.root", Role::Root),
    ] {
        let mut files = shop.files.clone();
        let (place, edit) = if role == Role::Root { ("2.root", 2) } else { (name, 2) };
        let forged = forge(&shop.file(name), &[THIEF], set_version(edit));
        files.insert(format!("metadata/{place}.json"), forged);
        let mut node = node.clone();
        let error = follow(&mut node, &files, at(0)).unwrap_err();
        match role {
            Role::Root => assert!(matches!(error, Error::OldThreshold { valid: 0, needed: 2, .. }), "{error}"),
            // What the metadata above lists is what its owner wrote, to the byte.
            Role::Targets | Role::Snapshot => {
                assert!(matches!(&error, Error::Mismatch { role: r, .. } if r == &role), "{error}");
            }
            _ => assert!(matches!(error, Error::Threshold { valid: 0, needed: 1, .. }), "{error}"),
        }
        assert!(node.version(&role).unwrap() <= 2);
        assert!(node.target(&path("1.1"), &at(0)).is_err(), "{role}");
    }
    // Content that is not what was signed for.
    let target = node.target(&path("1.0"), &at(0)).unwrap();
    assert_eq!(*target.accept(content("1.0")).unwrap(), content("1.0"));
    assert!(matches!(target.accept(content("6.6")), Err(Error::Target { why: Mismatch::Hash, .. })));
}

#[test]
fn rollback_of_the_root_is_refused() {
    let mut shop = Shop::open();
    let old = shop.file("1.root");
    shop.publish(&[Role::Root]);
    shop.publish(&[Role::Root]);
    let mut node = shop.current_node();
    assert_eq!(node.root_version(), 3);
    for bytes in [old, shop.file("2.root"), shop.file("3.root")] {
        let files = Files::from([("metadata/4.root.json".to_owned(), bytes)]);
        let error = follow(&mut node, &files, at(0)).unwrap_err();
        assert!(matches!(error, Error::Rollback { role: Role::Root, trusted: 3, .. }), "{error}");
    }
    // Nor does one jump ahead, which would hide the roots between.
    let ahead = forge(&shop.file("3.root"), &ROOT, set_version(5));
    let error = follow(&mut node, &Files::from([("metadata/4.root.json".to_owned(), ahead)]), at(0)).unwrap_err();
    assert!(matches!(error, Error::Version { role: Role::Root, expected: 4, found: 5 }), "{error}");
    assert_eq!(node.root_version(), 3);
}

#[test]
fn rollback_of_the_timestamp_is_refused() {
    let mut shop = Shop::open();
    let old = shop.files.clone();
    shop.release("1.1");
    let mut node = shop.current_node();
    let error = follow(&mut node, &old, at(0)).unwrap_err();
    assert_eq!(error, Error::Rollback { role: Role::Timestamp, trusted: 2, found: 1 });
    assert_eq!(versions(&node), [1, 2, 2, 2]);
    assert!(node.target(&path("1.1"), &at(0)).is_ok(), "what was verified is still there");
}

#[test]
fn rollback_of_the_snapshot_is_refused() {
    let mut shop = Shop::open();
    let old = shop.file("timestamp");
    shop.release("1.1");
    let mut node = shop.current_node();
    // The thief has the timestamp's key only.
    let forged = forge(&old, &[TIMESTAMP], set_version(3));
    shop.files.insert("metadata/timestamp.json".into(), forged);
    let error = follow(&mut node, &shop.files, at(0)).unwrap_err();
    assert_eq!(error, Error::Rollback { role: Role::Snapshot, trusted: 2, found: 1 });
    assert_eq!(versions(&node), [1, 2, 2, 2]);
}

/// A snapshot and a timestamp that were made with their stolen keys. `edit` changes the snapshot.
fn with_forged_snapshot(shop: &Shop, version: i64, edit: impl FnOnce(&mut fruit_release::tuf::json::Object)) -> Files {
    let mut files = shop.files.clone();
    let snapshot = forge(&shop.file("2.snapshot"), &[SNAPSHOT], |signed| {
        signed.insert("version".into(), Json::Number(version));
        edit(signed);
    });
    let timestamp = forge(&shop.file("timestamp"), &[TIMESTAMP], |signed| {
        signed.insert("version".into(), Json::Number(version));
        let meta = Json::from([("version", Json::Number(version))]);
        member(signed, &["meta"]).insert("snapshot.json".into(), meta);
    });
    files.insert(format!("metadata/{version}.snapshot.json"), snapshot);
    files.insert("metadata/timestamp.json".into(), timestamp);
    files
}

#[test]
fn rollback_of_the_targets_is_refused() {
    let mut shop = Shop::open();
    shop.release("1.1");
    let node = shop.current_node();
    let old = with_forged_snapshot(&shop, 3, |signed| {
        let meta = Json::from([("version", Json::Number(1))]);
        member(signed, &["meta"]).insert("targets.json".into(), meta);
    });
    let error = follow(&mut node.clone(), &old, at(0)).unwrap_err();
    assert_eq!(error, Error::Rollback { role: Role::Targets, trusted: 2, found: 1 });
    // Nor do they vanish from the list.
    let none = with_forged_snapshot(&shop, 3, |signed| member(signed, &["meta"]).clear());
    let error = follow(&mut node.clone(), &none, at(0)).unwrap_err();
    assert_eq!(error, Error::Vanished { file: "targets.json".into() });
}

#[test]
fn rollback_is_refused_after_a_restart_too() {
    let mut shop = Shop::open();
    let old = shop.files.clone();
    shop.release("1.1");
    let (mut node, left_out) = Trust::load(&shop.current_node().stored()).unwrap();
    assert_eq!(left_out, []);
    assert_eq!(versions(&node), [1, 2, 2, 2]);
    assert!(matches!(follow(&mut node, &old, at(0)), Err(Error::Rollback { .. })));
}

#[test]
fn freeze_is_refused_by_a_clock_and_shown_without_one() {
    let shop = Shop::open();
    // The timestamp is good for 30 days; an attacker delivers it for ever.
    let mut node = shop.current_node();
    assert_eq!(follow(&mut node, &shop.files, at(29)), Ok(Freshness::Fresh));
    let error = follow(&mut node, &shop.files, at(30)).unwrap_err();
    assert_eq!(error, Error::Expired { role: Role::Timestamp, at: day(30), now: day(30) });
    assert!(matches!(node.targets(&at(30)), Err(Error::Expired { .. })));
    assert_eq!(node.freshness(&at(31)), Freshness::StaleSince(day(30)));
    // Without a clock nobody knows; an image built later does.
    assert_eq!(follow(&mut node, &shop.files, built(0)), Ok(Freshness::Unknown));
    assert_eq!(follow(&mut node, &shop.files, built(40)), Ok(Freshness::StaleSince(day(30))));
    assert_eq!(node.targets(&built(40)).unwrap().len(), 1);
    // Other metadata freezes too: the snapshot after 100 days, targets after 300, the root after 1000.
    for (today, role) in [(100, Role::Snapshot), (300, Role::Targets), (1000, Role::Root)] {
        let mut shop = Shop::open();
        shop.today = today;
        let seeds = shop.seeds.clone();
        shop.publish(&[Role::Timestamp]);
        if role == Role::Targets {
            shop.publish(&[Role::Snapshot]);
        }
        assert_eq!(shop.seeds, seeds);
        let error = follow(&mut shop.node(), &shop.files, at(today)).unwrap_err();
        assert!(matches!(&error, Error::Expired { role: r, .. } if r == &role), "{role}: {error}");
    }
}

#[test]
fn a_node_without_a_clock_takes_a_newer_release_that_has_expired() {
    let mut shop = Shop::open();
    let mut node = shop.current_node();
    shop.today = 10;
    shop.release("1.1");
    // On a stick, two months later, to a node whose new image knows that it is late.
    assert!(matches!(follow(&mut node.clone(), &shop.files, at(70)), Err(Error::Expired { .. })));
    assert_eq!(follow(&mut node, &shop.files, built(70)), Ok(Freshness::StaleSince(day(40))));
    assert!(node.target(&path("1.1"), &built(70)).unwrap().release().is_ok());
}

#[test]
fn signed_times_are_the_clock_of_a_node_without_one() {
    let mut shop = Shop::open();
    let mut node = shop.current_node();
    assert_eq!(node.newest_signed(), Some(day(0)));
    shop.today = 20;
    shop.publish(&[Role::Timestamp]);
    assert_eq!(follow(&mut node, &shop.files, built(0)), Ok(Freshness::Unknown));
    assert_eq!(node.newest_signed(), Some(day(20)));
    // It outlives a restart, and shows that the state of day 0 is stale by what was learned on day 110.
    let stored = Stored { newest_signed: Some(day(110)), ..node.stored() };
    let (node, _) = Trust::load(&stored).unwrap();
    assert_eq!(node.freshness(&built(0)), Freshness::StaleSince(day(50)));
    // A signature from after the end of what it signs is a contradiction.
    let forged = forge(&shop.file("timestamp"), &[TIMESTAMP], |signed| {
        signed.insert("version".into(), Json::Number(9));
        signed.insert("signed_at".into(), "2099-01-01T00:00:00Z".into());
    });
    shop.files.insert("metadata/timestamp.json".into(), forged);
    assert!(matches!(follow(&mut shop.node(), &shop.files, built(0)), Err(Error::Field { .. })));
}

#[test]
fn mix_and_match_is_refused() {
    let mut shop = Shop::open();
    let old = shop.files.clone();
    shop.release("1.1");
    // Each file is genuine, but of another state of the repository.
    for (new_name, old_name, role) in
        [("2.targets", "1.targets", Role::Targets), ("2.snapshot", "1.snapshot", Role::Snapshot)]
    {
        let mut files = shop.files.clone();
        files.insert(format!("metadata/{new_name}.json"), old[&format!("metadata/{old_name}.json")].clone());
        let error = follow(&mut shop.node(), &files, at(0)).unwrap_err();
        assert!(matches!(&error, Error::Mismatch { role: r, why: Mismatch::Hash } if r == &role), "{error}");
    }
    // Without hashes in the snapshot the version still binds.
    let loose = with_forged_snapshot(&shop, 3, |signed| {
        let meta = Json::from([("version", Json::Number(2))]);
        member(signed, &["meta"]).insert("targets.json".into(), meta);
    });
    let mut files = loose.clone();
    files.insert("metadata/2.targets.json".into(), shop.file("1.targets"));
    let error = follow(&mut shop.node(), &files, at(0)).unwrap_err();
    assert_eq!(error, Error::Version { role: Role::Targets, expected: 2, found: 1 });
    // A refresh that was cut off between two files gives no targets of the old state for those of the new one.
    let mut node = shop.node();
    follow(&mut node, &old, at(0)).unwrap();
    let mut cut = shop.files.clone();
    cut.remove("metadata/2.targets.json");
    assert_eq!(follow(&mut node, &cut, at(0)), Err(Error::Absent("metadata/2.targets.json".into())));
    assert_eq!(versions(&node), [1, 1, 2, 2]);
    assert_eq!(node.targets(&at(0)), Err(Error::Order { role: Role::Targets }));
    assert_eq!(node.freshness(&at(0)), Freshness::Unknown);
}

#[test]
fn endless_data_is_cut_off() {
    let shop = Shop::open();
    let mut node = shop.node();
    let mut refresh = node.refresh(at(0));
    // Each file has a bound before a byte of it is fetched, and the verifier keeps it too.
    let mut bounds = Vec::new();
    while let Some(want) = refresh.want() {
        let endless = vec![b' '; usize::try_from(want.limit).unwrap() + 1];
        assert!(refresh.give(Some(&endless)).is_err());
        bounds.push(want.limit);
        refresh.give(shop.files.get(&want.name).map(Vec::as_slice)).unwrap();
    }
    let exact = |name: &str| shop.file(name).len() as u64;
    assert_eq!(bounds, [limits::ROOT as u64, limits::TIMESTAMP as u64, exact("1.snapshot"), exact("1.targets")]);
    // A target ends with the first byte too many.
    let target = node.target(&path("1.0"), &at(0)).unwrap();
    let mut check = target.check();
    assert_eq!(check.update(&content("1.0")), Ok(()));
    assert_eq!(check.update(b"x"), Err(Mismatch::Longer(target.length())));
}

#[test]
fn metadata_is_bounded_in_every_direction() {
    let shop = Shop::open();
    let refused = |bytes: &[u8]| Trust::from_root(bytes).unwrap_err();
    let root = shop.file("1.root");
    let many = |count: usize, entry: &dyn Fn(usize) -> (String, Json)| Json::Object((0..count).map(entry).collect());
    let keys = forge(&root, &ROOT, |signed| {
        let keys = many(limits::KEYS + 1, &|i| (format!("{i}"), Json::from([("keytype", "none".into())])));
        signed.insert("keys".into(), keys);
    });
    assert!(matches!(refused(&keys), Error::TooMany { what: "keys", .. }));
    let ids = forge(&root, &ROOT, |signed| {
        let ids = (0..=limits::KEYS).map(|i| i.to_string().into()).collect();
        member(signed, &["roles", "root"]).insert("keyids".into(), Json::List(ids));
    });
    assert!(matches!(refused(&ids), Error::TooMany { what: "key ids", .. }));
    let text = String::from_utf8(forge(&root, &[], |_| {})).unwrap();
    let signatures: Vec<String> = (0..=limits::SIGNATURES).map(|i| format!(r#"{{"keyid":"{i}","sig":""}}"#)).collect();
    let signed = text.replace(r#""signatures":[]"#, &format!(r#""signatures":[{}]"#, signatures.join(",")));
    assert!(matches!(refused(signed.as_bytes()), Error::TooMany { what: "signatures", .. }));
    let twice = text.replace(r#""signatures":[]"#, r#""signatures":[{"keyid":"1","sig":""},{"keyid":"1","sig":""}]"#);
    assert!(matches!(refused(twice.as_bytes()), Error::DuplicateSignature { .. }));
    for bytes in [&b"[".repeat(1000)[..], &b"{\"a\":".repeat(1000), b"", b"null", &vec![b' '; limits::ROOT + 1]] {
        assert!(matches!(refused(bytes), Error::Malformed { .. } | Error::Field { .. }));
    }
    // A targets file with too many targets, signed or not.
    let mut files = shop.files.clone();
    let targets = forge(&shop.file("1.targets"), &[TARGETS], |signed| {
        let hashes = Json::from([("sha256", "0".repeat(64).into())]);
        let entry = Json::from([("length", Json::Number(1)), ("hashes", hashes)]);
        signed.insert("targets".into(), many(limits::TARGET_COUNT + 1, &|i| (i.to_string(), entry.clone())));
    });
    let snapshot = forge(&shop.file("1.snapshot"), &[SNAPSHOT], |signed| {
        let meta = Json::from([("version", Json::Number(1))]);
        member(signed, &["meta"]).insert("targets.json".into(), meta);
    });
    let timestamp = forge(&shop.file("timestamp"), &[TIMESTAMP], |signed| {
        let meta = Json::from([("version", Json::Number(1))]);
        member(signed, &["meta"]).insert("snapshot.json".into(), meta);
    });
    files.insert("metadata/timestamp.json".into(), timestamp);
    files.insert("metadata/1.snapshot.json".into(), snapshot);
    files.insert("metadata/1.targets.json".into(), targets);
    let error = follow(&mut shop.node(), &files, at(0)).unwrap_err();
    assert!(matches!(error, Error::TooMany { what: "targets", .. }), "{error}");
}

#[test]
fn fast_forward_ends_with_new_keys() {
    let mut shop = Shop::open();
    let node = shop.current_node();
    // The thief of the snapshot's and the timestamp's keys drives versions and time up, so that nothing genuine is ever
    // newer.
    let mut stolen = shop.files.clone();
    let far = 1_000_000;
    let snapshot = forge(&shop.file("1.snapshot"), &[SNAPSHOT], set_version(far));
    let timestamp = forge(&shop.file("timestamp"), &[TIMESTAMP], |signed| {
        signed.insert("version".into(), Json::Number(far));
        signed.insert("signed_at".into(), "2098-01-01T00:00:00Z".into());
        signed.insert("expires".into(), "2099-01-01T00:00:00Z".into());
        let meta = Json::from([("version", Json::Number(far))]);
        member(signed, &["meta"]).insert("snapshot.json".into(), meta);
    });
    stolen.insert(format!("metadata/{far}.snapshot.json"), snapshot);
    stolen.insert("metadata/timestamp.json".into(), timestamp);
    let mut node = node;
    follow(&mut node, &stolen, built(0)).unwrap();
    assert_eq!(versions(&node), [1, 1, 1_000_000, 1_000_000]);
    assert!(node.newest_signed() > Some(day(20_000)));
    shop.release("1.1");
    assert!(matches!(follow(&mut node, &shop.files, built(0)), Err(Error::Rollback { .. })));
    // The owners change both keys, and go on from where they were.
    shop.rotate(&Role::Snapshot, SNAPSHOT, 15);
    shop.rotate(&Role::Timestamp, TIMESTAMP, 16);
    shop.publish(&[]);
    assert_eq!(follow(&mut node, &shop.files, built(0)), Ok(Freshness::Unknown));
    assert_eq!(versions(&node), [2, 2, 3, 3]);
    assert_eq!(node.newest_signed(), Some(day(0)), "the thief's time went with his keys");
    assert!(node.target(&path("1.1"), &built(0)).is_ok());
}

#[test]
fn fewer_stolen_keys_than_the_threshold_are_worth_nothing() {
    let shop = Shop::open();
    let mut node = shop.current_node();
    let forged = |seeds: &[u8]| {
        let root = forge(&shop.file("1.root"), seeds, |signed| {
            set_version(2)(signed);
            let id = key(THIEF).public().id().unwrap();
            member(signed, &["keys"]).insert(id.to_string(), key(THIEF).public().to_json().unwrap());
            for role in Role::TOP {
                let keys = Json::List(vec![id.as_str().into()]);
                let keys = Json::from([("keyids", keys), ("threshold", Json::Number(1))]);
                member(signed, &["roles"]).insert(role.name().into(), keys);
            }
        });
        Files::from([("metadata/2.root.json".to_owned(), root)])
    };
    for seeds in [&[1, THIEF][..], &[2, THIEF], &[3, THIEF], &[TARGETS, SNAPSHOT, TIMESTAMP, THIEF]] {
        let error = follow(&mut node, &forged(seeds), at(0)).unwrap_err();
        assert!(matches!(error, Error::OldThreshold { needed: 2, .. }), "{error}");
    }
    // Two of three are the threshold: the test above can fail. But the new root's own keys have to sign as well.
    assert!(matches!(follow(&mut node, &forged(&[1, 2]), at(0)), Err(Error::Threshold { role: Role::Root, .. })));
    assert_eq!(node.root_version(), 1);
    assert!(matches!(follow(&mut node, &forged(&[1, 3, THIEF]), at(0)), Err(Error::Absent(_))));
    assert_eq!(node.root_version(), 2);
}

#[test]
fn one_key_under_several_names_counts_once() {
    let shop = Shop::open();
    // A root with a threshold of two whose two keys are one, under an id of its own choosing.
    let document = forge(&shop.file("1.root"), &[1], |signed| {
        let public = key(1).public();
        member(signed, &["keys"]).insert("other-name".into(), public.to_json().unwrap());
        let ids = vec![public.id().unwrap().as_str().into(), "other-name".into()];
        member(signed, &["roles", "root"]).insert("keyids".into(), Json::List(ids));
    });
    let text = String::from_utf8(document).unwrap();
    let signature = text.split(r#""sig":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let second = format!(r#"[{{"keyid":"other-name","sig":"{signature}"}},"#);
    let doubled = text.replacen(r#""signatures":["#, &format!(r#""signatures":{second}"#), 1);
    let error = Trust::from_root(doubled.as_bytes()).unwrap_err();
    assert_eq!(error, Error::Threshold { role: Role::Root, valid: 1, needed: 2 });
}

#[test]
fn keys_of_unknown_kinds_are_passed_over() {
    let shop = Shop::open();
    let with_future_key = |seeds: &[u8]| {
        forge(&shop.file("1.root"), seeds, |signed| {
            let future = Json::from([
                ("keytype", "ml-dsa".into()),
                ("scheme", "ml-dsa-65".into()),
                ("keyval", Json::from([("public", "00".into())])),
            ]);
            member(signed, &["keys"]).insert("future".into(), future);
            let Some(Json::List(ids)) = member(signed, &["roles", "root"]).get_mut("keyids") else { panic!("no list") };
            ids.push("future".into());
        })
    };
    assert!(Trust::from_root(&with_future_key(&[1, 2])).is_ok());
    assert!(matches!(Trust::from_root(&with_future_key(&[1])), Err(Error::Threshold { valid: 1, .. })));
}

#[test]
fn a_key_that_was_changed_is_refused_from_then_on() {
    let mut shop = Shop::open();
    let mut node = shop.current_node();
    let old = shop.file("timestamp");
    for (role, stolen, new) in
        [(Role::Timestamp, TIMESTAMP, 16), (Role::Snapshot, SNAPSHOT, 15), (Role::Targets, TARGETS, 14)]
    {
        shop.rotate(&role, stolen, new);
        shop.publish(&[]);
        follow(&mut node, &shop.files, at(0)).unwrap();
        // The old key signs again.
        let name = match role {
            Role::Timestamp => "timestamp".to_owned(),
            _ => format!("{}.{}", node.version(&role).unwrap(), role.name()),
        };
        let mut files = shop.files.clone();
        files.insert(format!("metadata/{name}.json"), forge(&shop.file(&name), &[stolen], |_| {}));
        let error = follow(&mut shop.node(), &files, at(0)).unwrap_err();
        assert!(matches!(error, Error::Threshold { valid: 0, .. } | Error::Mismatch { .. }), "{role}: {error}");
    }
    shop.files.insert("metadata/timestamp.json".into(), old);
    assert!(matches!(follow(&mut shop.node(), &shop.files, at(0)), Err(Error::Threshold { .. })));
    // A root key: 3 is replaced by 13, and does not sign the next root any more.
    shop.rotate(&Role::Root, 3, 13);
    shop.publish(&[]);
    follow(&mut node, &shop.files, at(0)).unwrap_err();
    let version = node.root_version();
    let next = forge(&shop.file(&format!("{version}.root")), &[1, 3], |signed| {
        signed.insert("version".into(), Json::Number(i64::try_from(version).unwrap() + 1));
    });
    let files = Files::from([(format!("metadata/{}.root.json", version + 1), next)]);
    let error = follow(&mut node, &files, at(0)).unwrap_err();
    assert_eq!(error, Error::OldThreshold { role: Role::Root, valid: 1, needed: 2 });
}

#[test]
fn a_revoked_key_is_refused() {
    let mut shop = Shop::open();
    let now = day(0);
    // Targets get a second and a third key, of which two must sign; then one is revoked.
    shop.seeds.extend([14, 24]);
    shop.repository.add_key(&Role::Targets, &key(14).public(), now, &LIVES).unwrap();
    shop.repository.add_key(&Role::Targets, &key(24).public(), now, &LIVES).unwrap();
    shop.repository.set_threshold(&Role::Targets, 2, now, &LIVES).unwrap();
    shop.publish(&[]);
    let revoked = key(14).public().id().unwrap();
    shop.repository.revoke(&Role::Targets, &revoked, now, &LIVES).unwrap();
    shop.publish(&[]);
    let node = shop.current_node();
    assert_eq!(node.root_version(), 3);
    assert!(!node.root().keys.contains_key(&revoked));
    shop.seeds.retain(|&seed| seed == 14 || seed == TARGETS);
    shop.add("6.6");
    let signed = shop.repository.sign(&mut Seeds(shop.seeds.clone()), &[].into(), now, &LIVES).unwrap();
    assert_eq!(signed.files, []);
    assert_eq!((&signed.waiting[0].role, signed.waiting[0].valid, signed.waiting[0].needed), (&Role::Targets, 1, 2));
    // Too few would be left.
    let id = key(24).public().id().unwrap();
    assert!(shop.repository.revoke(&Role::Targets, &id, now, &LIVES).is_err());
}

#[test]
fn a_node_that_was_away_for_years_follows_every_root() {
    let mut shop = Shop::open();
    let anchor = shop.file("1.root");
    for year in 0..20u8 {
        shop.today += 300;
        // All root keys change in turn, one a year.
        let old = if year < 3 { year + 1 } else { 47 + year };
        shop.rotate(&Role::Root, old, 50 + year);
        if year % 4 == 0 {
            let old = if year == 0 { TIMESTAMP } else { 96 + year };
            shop.rotate(&Role::Timestamp, old, 100 + year);
        }
        shop.add(&format!("1.{year}"));
        shop.publish(&[Role::Timestamp]);
    }
    let mut node = Trust::from_root(&anchor).unwrap();
    assert_eq!(follow(&mut node, &shop.files, at(shop.today)), Ok(Freshness::Fresh));
    assert_eq!(node.root_version(), 21);
    assert!(node.target(&path("1.19"), &at(shop.today)).is_ok());
}

#[test]
fn wrong_hardware_is_refused() {
    let shop = Shop::open();
    let node = shop.current_node();
    let target = node.target(&path("1.0"), &at(0)).unwrap();
    let release = target.release().unwrap();
    let right = Node {
        product: "pistack".into(),
        board: "raspberrypi3".into(),
        compatible: vec!["raspberrypi,3-model-b-plus".into(), "brcm,bcm2837".into()],
        architecture: "arm64".into(),
        epoch: 1,
        bootloader: 1,
    };
    assert_eq!(release.fits(&right), Ok(()));
    let unfit = |edit: &dyn Fn(&mut Node)| {
        let mut node = right.clone();
        edit(&mut node);
        release.fits(&node).unwrap_err()
    };
    assert!(matches!(unfit(&|node| node.product = "kiosk".into()), Unfit::Product { .. }));
    assert!(matches!(unfit(&|node| node.board = "raspberrypi4".into()), Unfit::Board { .. }));
    let hardware = unfit(&|node| node.compatible = vec!["raspberrypi,4-model-b".into(), "brcm,bcm2711".into()]);
    let sentence = "the release runs on raspberrypi,3-model-b, raspberrypi,3-model-b-plus, this node's hardware is \
                    raspberrypi,4-model-b, brcm,bcm2711";
    assert_eq!(hardware.to_string(), sentence);
    assert!(matches!(unfit(&|node| node.compatible.clear()), Unfit::Hardware { .. }));
    assert!(matches!(unfit(&|node| node.architecture = "armhf".into()), Unfit::Architecture { .. }));
    assert_eq!(unfit(&|node| node.epoch = 2), Unfit::Epoch { release: 1, node: 2 });
    assert_eq!(unfit(&|node| node.bootloader = 0), Unfit::Bootloader { release: 1, node: 0 });
}

#[test]
fn a_damaged_state_costs_no_trust_and_gives_none() {
    let mut shop = Shop::open();
    shop.publish(&[Role::Root]);
    shop.release("1.1");
    let good = shop.current_node().stored();
    let damaged = |edit: &dyn Fn(&mut Stored)| {
        let mut stored = good.clone();
        edit(&mut stored);
        stored
    };
    let flip = |bytes: &mut Vec<u8>| {
        let at = bytes.iter().position(|&byte| byte == b'7').unwrap();
        bytes[at] = b'8';
    };
    // The root of the image stands in for a root that is gone.
    let anchor = shop.file("1.root");
    let gone = damaged(&|stored| stored.root.clear());
    assert!(Trust::load(&gone).is_err());
    let (mut node, left_out) = Trust::resume(&anchor, &gone).unwrap();
    assert_eq!((node.root_version(), left_out.len()), (1, 1));
    assert_eq!(follow(&mut node, &shop.files, at(0)), Ok(Freshness::Fresh));
    // The newer root counts, of a new image as well as of the disk.
    assert_eq!(Trust::resume(&anchor, &good).unwrap().0.root_version(), 2);
    let old = Stored { root: anchor, ..good.clone() };
    assert_eq!(Trust::resume(&shop.file("2.root"), &old).unwrap().0.root_version(), 2);
    for edit in [
        &(|stored: &mut Stored| flip(stored.timestamp.as_mut().unwrap())) as &dyn Fn(&mut Stored),
        &|stored| flip(stored.snapshot.as_mut().unwrap()),
        &|stored| flip(stored.targets.as_mut().unwrap()),
        &|stored| stored.targets = Some(Vec::new()),
        &|stored| stored.timestamp = Some(b"{}".to_vec()),
    ] {
        let (mut node, left_out) = Trust::load(&damaged(edit)).unwrap();
        assert_eq!(left_out.len(), 1);
        assert!(node.targets(&at(0)).is_err());
        assert_eq!(follow(&mut node, &shop.files, at(0)), Ok(Freshness::Fresh));
    }
}

#[test]
fn a_later_specification_is_refused_and_later_fields_are_not() {
    let shop = Shop::open();
    let root = shop.file("1.root");
    for (version, known) in
        [("1.0.33", true), ("1.4", true), ("1", true), ("2.0.0", false), ("10.0", false), ("1.x", false)]
    {
        let forged = forge(&root, &[1, 2], |signed| {
            signed.insert("spec_version".into(), version.into());
            signed.insert("later".into(), Json::List(vec![Json::Null]));
        });
        assert_eq!(Trust::from_root(&forged).is_ok(), known, "{version}");
    }
    // A kind of release that this program does not know is passed over; the others can be installed.
    let mut files = shop.files.clone();
    let targets = forge(&shop.file("1.targets"), &[TARGETS], |signed| {
        let mut entry = member(signed, &["targets", &path("1.0")]).clone();
        member(&mut entry, &["custom", "fruit"]).insert("kind".into(), "hologram".into());
        member(signed, &["targets"]).insert("other".into(), Json::Object(entry));
        member(signed, &["targets", &path("1.0"), "custom", "fruit"]).insert("later".into(), Json::Bool(true));
    });
    let snapshot = forge(&shop.file("1.snapshot"), &[SNAPSHOT], |signed| {
        member(signed, &["meta"]).insert("targets.json".into(), Json::from([("version", Json::Number(1))]));
    });
    let timestamp = forge(&shop.file("timestamp"), &[TIMESTAMP], |signed| {
        member(signed, &["meta"]).insert("snapshot.json".into(), Json::from([("version", Json::Number(1))]));
    });
    files.insert("metadata/1.targets.json".into(), targets);
    files.insert("metadata/1.snapshot.json".into(), snapshot);
    files.insert("metadata/timestamp.json".into(), timestamp);
    let mut node = shop.node();
    follow(&mut node, &files, at(0)).unwrap();
    assert!(node.target("other", &at(0)).unwrap().release().is_err());
    assert_eq!(node.target(&path("1.0"), &at(0)).unwrap().release(), Ok(&release("1.0")));
}
