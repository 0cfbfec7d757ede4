//! The resolver's rules, each on an archive of a few packages.

use std::collections::BTreeMap;

use fruit_debian::index::{Priority, read_packages};
use fruit_debian::lock::ChangeKind;
use fruit_debian::{Digest, Lock, LockedRepository, Mirrors, Request, Sha256, Silent, Store, Universe};
use proptest::prelude::*;

/// `name version; Field: value; …` per line; repositories are separated by `---`.
fn universe(text: &str) -> Universe {
    let mut offers = Vec::new();
    let mut repositories = Vec::new();
    for (number, part) in text.split("---").enumerate() {
        let mut index = String::new();
        for line in part.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut fields = line.split(';').map(str::trim);
            let (name, version) = fields.next().unwrap().split_once(' ').unwrap();
            index += &format!("Package: {name}\nVersion: {version}\n");
            let rest: Vec<&str> = fields.collect();
            for field in &rest {
                index += &format!("{field}\n");
            }
            if !rest.iter().any(|f| f.starts_with("Architecture")) {
                index += "Architecture: arm64\n";
            }
            let hash = Sha256::of(format!("{number}{line}").as_bytes());
            index += &format!("Filename: pool/{name}.deb\nSize: 1\nSHA256: {hash}\nDescription: x\n y\n\n");
        }
        offers.extend(read_packages(index.as_bytes(), "arm64", number, "index").unwrap().offers);
        repositories.push(LockedRepository {
            archive: format!("archive{number}"),
            suite: "trixie".to_owned(),
            components: vec!["main".to_owned()],
            date: "Sat, 12 Sep 2026 07:55:41 UTC".to_owned(),
            in_release: Sha256::of(b""),
            indices: BTreeMap::new(),
        });
    }
    Universe::of("arm64", repositories, offers)
}

fn request(packages: &str) -> Request {
    Request { packages: packages.split_whitespace().map(str::to_owned).collect(), ..Request::default() }
}

fn solve(universe: &Universe, request: &Request) -> Result<String, String> {
    let resolution = universe.resolve(request, &BTreeMap::new()).map_err(|e| e.to_string())?;
    let names = resolution.packages.iter().map(|r| format!("{} {}", r.offer.name, r.offer.version));
    Ok(names.collect::<Vec<_>>().join(", "))
}

fn solved(text: &str, packages: &str) -> String {
    solve(&universe(text), &request(packages)).unwrap()
}

#[test]
fn dependencies_of_dependencies_come_along_and_recommends_do_not() {
    let text = "a 1; Depends: b (>= 1); Recommends: r\nb 1; Pre-Depends: c\nc 1\nr 1\nd 1";
    assert_eq!(solved(text, "a"), "a 1, b 1, c 1");
    let asked = Request { recommends: true, ..request("a") };
    assert_eq!(solve(&universe(text), &asked).unwrap(), "a 1, b 1, c 1, r 1");
}

#[test]
fn the_first_alternative_that_can_be_had_is_taken() {
    assert_eq!(solved("a 1; Depends: x | y | z\ny 1\nz 1", "a"), "a 1, y 1");
    assert_eq!(solved("a 1; Depends: y | z\ny 1\nz 1", "a z"), "a 1, z 1");
    assert_eq!(solved("a 1; Depends: y (>= 2) | z\ny 1\nz 1", "a"), "a 1, z 1");
}

#[test]
fn the_highest_version_of_all_repositories_wins() {
    assert_eq!(solved("a 1\n---\na 2\n---\na 1.5", "a"), "a 2");
    let equal = universe("a 1\n---\na 1");
    let resolution = equal.resolve(&request("a"), &BTreeMap::new()).unwrap();
    assert_eq!(resolution.packages[0].offer.repository, 0);
}

#[test]
fn virtual_packages_and_versioned_provides_count() {
    let text = "a 1; Depends: mta\nexim 4; Provides: mta; Priority: standard\npostfix 3; Provides: mta\nzmail 1; Provides: mta";
    assert_eq!(solved(text, "a"), "a 1, exim 4");
    assert_eq!(solved("a 1; Depends: v (>= 2)\np 1; Provides: v (= 2)\nq 1; Provides: v", "a"), "a 1, p 1");
    assert_eq!(solved("p 1; Provides: v", "v"), "p 1");
    let message = solve(&universe("p 1; Provides: v\nq 1; Provides: v"), &request("v")).unwrap_err();
    assert!(message.contains("several packages") && message.contains("p, q"), "{message}");
}

#[test]
fn what_conflicts_is_passed_over() {
    assert_eq!(solved("a 1; Depends: x | y\nx 1; Conflicts: b\ny 1\nb 1", "a b"), "a 1, b 1, y 1");
    assert_eq!(solved("a 1; Depends: x | y\nx 1\ny 1\nb 1; Breaks: x (<< 2)", "a b"), "a 1, b 1, y 1");
    // A package may conflict with a name that it provides itself (Policy 7.6.2).
    assert_eq!(solved("a 1; Provides: v; Conflicts: v", "a"), "a 1");
    let message = solve(&universe("a 1; Provides: v; Conflicts: v\nb 1; Provides: v"), &request("a b")).unwrap_err();
    assert!(message.contains("b 1: ruled out by a (Conflicts: v)"), "{message}");
}

#[test]
fn a_choice_that_stands_in_the_way_later_is_taken_back() {
    let text = "a 1; Depends: x | y, deep\nx 1\ny 1\ndeep 1; Depends: deeper\ndeeper 1; Conflicts: x";
    assert_eq!(solved(text, "a"), "a 1, deep 1, deeper 1, y 1");
}

#[test]
fn architecture_qualifiers_are_obeyed() {
    let text =
        "a 1; Depends: py:any, lib:arm64, gcc:native\npy 3; Multi-Arch: allowed\nlib 1\ngcc 1; Architecture: all";
    assert_eq!(solved(text, "a"), "a 1, gcc 1, lib 1, py 3");
    let message = solve(&universe("a 1; Depends: py:any\npy 3"), &request("a")).unwrap_err();
    assert!(message.contains("py 3: not of an architecture"), "{message}");
    assert!(solve(&universe("a 1; Depends: lib:amd64\nlib 1"), &request("a")).is_err());
    assert_eq!(solved("a 1; Depends: b [amd64], c [arm64]\nc 1", "a"), "a 1, c 1");
    assert_eq!(solved("a 1\na 2; Architecture: amd64", "a"), "a 1");
}

#[test]
fn an_excluded_package_is_as_good_as_absent() {
    let universe = universe("a 1; Depends: x | y\nx 1\ny 1; Depends: z\nz 1");
    let without = |names: &[&str]| Request { exclude: names.iter().map(|s| (*s).to_owned()).collect(), ..request("a") };
    assert_eq!(solve(&universe, &without(&["x"])).unwrap(), "a 1, y 1, z 1");
    let message = solve(&universe, &without(&["x", "z"])).unwrap_err();
    let expected = "y cannot be installed: Depends: z cannot be met\n  z 1: excluded by the request\n  needed because of y: a Depends: x | y\n  and a: requested";
    assert_eq!(message, expected);
}

#[test]
fn what_is_supplied_otherwise_is_not_installed_for_others_but_can_be_asked_for() {
    let universe =
        universe("kernel 1; Depends: ramdisk | any-ramdisk, tool (>= 3)\nramdisk 1; Depends: more\nmore 1\ntool 1");
    let supplied =
        |packages| Request { supplied: vec!["any-ramdisk".to_owned(), "tool".to_owned()], ..request(packages) };
    assert_eq!(solve(&universe, &supplied("kernel")).unwrap(), "kernel 1");
    assert_eq!(solve(&universe, &supplied("kernel tool")).unwrap(), "kernel 1, tool 1");
    assert!(solve(&universe, &request("kernel")).is_err());
}

#[test]
fn versions_can_be_asked_for_and_pinned() {
    let universe = universe("a 1\na 2\nb 1; Depends: a");
    assert_eq!(solve(&universe, &request("a=1 b")).unwrap(), "a 1, b 1");
    let pins = BTreeMap::from([("a".to_owned(), "1".parse().unwrap())]);
    let resolution = universe.resolve(&request("b"), &pins).unwrap();
    assert_eq!(resolution.packages[0].offer.version.as_str(), "1");
    let gone = BTreeMap::from([("a".to_owned(), "0.9".parse().unwrap())]);
    let message = universe.resolve(&request("b"), &gone).unwrap_err().to_string();
    assert!(message.contains("a 2: pinned to version 0.9"), "{message}");
    assert!(solve(&universe, &request("a=3")).unwrap_err().contains("a 2: not a version that is asked for"));
}

#[test]
fn a_misspelled_name_gets_a_suggestion() {
    let message = solve(&universe("openssh-server 1\nother 1"), &request("openssh-sever")).unwrap_err();
    assert!(message.contains("did you mean \"openssh-server\"?"), "{message}");
    assert!(!solve(&universe("a 1"), &request("completely-else")).unwrap_err().contains("did you mean"));
}

#[test]
fn essential_and_required_packages_come_only_when_asked_for() {
    let universe =
        universe("a 1\ne 1; Essential: yes; Priority: required\nr 1; Priority: required\ni 1; Priority: important");
    assert_eq!(solve(&universe, &request("a")).unwrap(), "a 1");
    let essential = Request { essential: true, ..request("a") };
    assert_eq!(solve(&universe, &essential).unwrap(), "a 1, e 1");
    // What is lean comes in where something needs it, and is no conflict.
    let lean = Request { lean: vec!["e".to_owned()], ..essential.clone() };
    assert_eq!(solve(&universe, &lean).unwrap(), "a 1");
    let needing = self::universe("a 1; Depends: e\ne 1; Essential: yes\nf 1; Essential: yes");
    let lean = Request { lean: vec!["e".to_owned(), "f".to_owned()], ..essential };
    assert_eq!(solve(&needing, &lean).unwrap(), "a 1, e 1");
    let ranked = Request { priorities: vec![Priority::Required], exclude: vec!["e".to_owned()], ..request("a") };
    assert_eq!(solve(&universe, &ranked).unwrap(), "a 1, r 1");
}

fn lock(text: &str, packages: &str) -> Lock {
    let universe = universe(text);
    let request = request(packages);
    let resolution = universe.resolve(&request, &BTreeMap::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), true).unwrap();
    Lock::new(&request, &universe, &resolution, &store, &Mirrors::none(), &Silent).unwrap()
}

#[test]
fn a_lock_keeps_everything_and_tells_why() {
    let lock = lock("a 1; Depends: b (>= 1)\n---\nb 1; Pre-Depends: c | d\nd 1", "a");
    assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
    assert_eq!(lock.package("b").unwrap().archive, "archive1");
    assert_eq!(lock.date(), 1_789_199_741);
    let chain: Vec<String> = lock.why("d").iter().map(|p| format!("{} <- {}", p.name, p.reason)).collect();
    assert_eq!(chain, ["a <- requested", "b <- a Depends: b (>= 1)", "d <- b Pre-Depends: c | d"]);
    assert!(lock.why("nothing").is_empty());
}

#[test]
fn a_lock_is_written_whole_and_read_with_clear_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.lock");
    let lock = lock("a 1", "a");
    lock.write(&path).unwrap();
    assert_eq!(Lock::load(&path).unwrap(), lock);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let text = lock.to_text();
    for (changed, why) in [
        (text.replace("\"format\": 1", "\"format\": 9"), "is of format 9; this program knows 1"),
        (text.replace("\"size\": 1", "\"size\": -1"), "line "),
        (text.replace("pool/a.deb", "../../a.deb"), "../../a.deb"),
        (text.replace("\"name\"", "\"nme\""), "unknown field `nme`"),
        (format!("{text}\n<<<<<<< mine\n"), "conflict markers"),
        (String::new(), "is not a lock"),
    ] {
        std::fs::write(&path, changed).unwrap();
        let message = Lock::load(&path).unwrap_err().to_string();
        assert!(message.contains(why) && message.contains("x.lock"), "{message}");
    }
    let missing = Lock::load(&dir.path().join("none.lock")).unwrap_err().to_string();
    assert!(missing.contains("none.lock"), "{missing}");
}

#[test]
fn the_difference_of_two_locks_names_each_change() {
    let before = lock("a 1\nb 2\nc 1\nd 1; Section: x", "a b c d");
    let after = lock("a 2\nb 1\nd 1; Section: y\ne 1", "a b d e");
    let changes: Vec<(String, ChangeKind)> =
        after.changes_since(&before).into_iter().map(|c| (c.name, c.kind)).collect();
    let expected = [
        ("a", ChangeKind::Upgraded),
        ("b", ChangeKind::Downgraded),
        ("c", ChangeKind::Removed),
        ("d", ChangeKind::Rebuilt),
        ("e", ChangeKind::Added),
    ];
    assert_eq!(changes, expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert!(after.changes_since(&after).is_empty());
}

#[test]
fn an_odd_entry_is_left_out_with_its_reason_and_the_others_are_not() {
    let hash = Sha256::of(b"").to_string();
    let good = format!("Package: a\nVersion: 1\nArchitecture: arm64\nFilename: pool/a.deb\nSize: 1\nSHA256: {hash}\n");
    let read = |odd: &str| {
        let text = format!("{good}\n{odd}\n{}", good.replace("Package: a", "Package: z"));
        read_packages(text.as_bytes(), "arm64", 0, "Packages").unwrap()
    };
    let left_out = |from: &str, to: &str| {
        let index = read(&good.replace("Package: a", "Package: b").replace(from, to));
        let names: Vec<&str> = index.offers.iter().map(|o| &*o.name).collect();
        assert_eq!((names, index.left_out_count), (vec!["a", "z"], 1), "{to}");
        format!("{} {}", index.left_out[0].name, index.left_out[0].why)
    };
    let sha256 = format!("SHA256: {hash}");
    assert_eq!(left_out(&sha256, "SHA256: 00"), "b SHA256: \"00\" is not a SHA-256 value");
    assert_eq!(left_out(&sha256, "MD5sum: 00"), "b has no SHA256");
    assert_eq!(left_out(&sha256, "SHA512: 00"), "b SHA512: \"00\" is not a SHA-512 value");
    assert_eq!(left_out(&sha256, "SHA256: 00\nSHA512: 00"), "b SHA256: \"00\" is not a SHA-256 value");
    assert_eq!(left_out("Version: 1", "Version: 1_b"), "b Version: \"1_b\" is not a version");
    assert_eq!(left_out("pool/a.deb", "../a.deb"), "b Filename: \"../a.deb\" is not a path inside the archive");
    assert_eq!(left_out("Package: b", "Package: Other App"), "Other App Package: \"Other App\" is not a package name");
    assert_eq!(left_out("Package: b\n", ""), " has no Package");
    assert_eq!(left_out("Size: 1\n", ""), "b has no Size");
    assert_eq!(left_out("Size: 1", "Size: 1\nnonsense"), "b \"nonsense\" is not `Field: value`");
    assert!(left_out("Size: 1", &format!("Size: 1\nX: {}", "x".repeat(5 << 20))).contains("longer than"));
    let taken = |from: &str, to: &str| {
        let index = read(&good.replace("Package: a", "Package: b").replace(from, to));
        assert_eq!((index.offers.len(), index.left_out_count), (3, 0), "{to}: {:?}", index.left_out);
        index.offers[1].clone()
    };
    assert_eq!(taken("Size: 1", "Size: 1\nSize: 2").size, 2);
    let sha512 = format!("SHA512: {}", "0A".repeat(64));
    assert_eq!(taken(&sha256, &sha512).digest, Digest::parse_sha512(&"0a".repeat(64)).unwrap());
    let both = taken(&sha256, &format!("{sha256}\n{sha512}")).digest;
    assert_eq!((both.sha256(), both.kind()), (Some(Sha256::of(b"")), "SHA-256"));
    assert_eq!(both.sha512(), Digest::parse_sha512(&"0a".repeat(64)).unwrap().sha512());
    assert_eq!(taken("Size: 1", "Multi-Arch: odd\nSize: 1").multi_arch, fruit_debian::index::MultiArch::No);
    assert_eq!(&*taken("pool/a.deb", "./pool/a b+.deb").path, "pool/a b+.deb");
    assert_eq!(&*taken("Size: 1", "Description: x\n one\n \n two\nSize: 1").depends, "");
    assert_eq!(&*taken("Size: 1", "Section: \u{e9}t\u{e9}\r\nSize: 1").section, "\u{e9}t\u{e9}");
    assert_eq!(&*taken("\n", "\r\n").section, "");
}

proptest! {
    #[test]
    fn any_bytes_as_an_index_or_lock_fail_cleanly(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_packages(&bytes[..], "arm64", 0, "Packages");
        let _ = Lock::parse(&String::from_utf8_lossy(&bytes));
    }

    /// Whatever is found is complete, free of conflicts, and the same again.
    #[test]
    fn what_is_resolved_is_consistent(seed in proptest::collection::vec((0usize..12, 0usize..12, 0usize..12, 0u8..5), 1..40)) {
        let mut fields: BTreeMap<usize, [String; 2]> = (0..12).map(|n| (n, [String::new(), String::new()])).collect();
        for (from, to, other, kind) in seed {
            let [depends, conflicts] = fields.get_mut(&from).unwrap();
            match kind {
                0 => *conflicts += &format!("p{to}, "),
                1 => *depends += &format!("p{to}, "),
                _ => *depends += &format!("p{to} | p{other}, "),
            }
        }
        let text: Vec<String> = fields.iter().map(|(n, [d, c])| format!("p{n} 1; Depends: {d}; Conflicts: {c}")).collect();
        let universe = universe(&text.join("\n"));
        if let Ok(found) = universe.resolve(&request("p0 p1"), &BTreeMap::new()) {
            let has = |name: &str| found.packages.iter().any(|r| &*r.offer.name == name);
            for resolved in &found.packages {
                let relations = |text: &str| fruit_debian::relation::Relations::parse(text).unwrap().0;
                for clause in relations(&resolved.offer.depends) {
                    prop_assert!(clause.0.iter().any(|r| has(&r.name)));
                }
                for clause in relations(&resolved.offer.conflicts) {
                    prop_assert!(clause.0.iter().all(|r| r.name == *resolved.offer.name || !has(&r.name)));
                }
            }
            let again = universe.resolve(&request("p0 p1"), &BTreeMap::new()).unwrap();
            let names = |r: &fruit_debian::Resolution<'_>| r.packages.iter().map(|p| p.offer.name.clone()).collect::<Vec<_>>();
            prop_assert_eq!(names(&again), names(&found));
        }
    }
}
