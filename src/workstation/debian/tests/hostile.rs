//! Archives that lie or attack are refused, with a message that names the package and the entry.

use crate::craft::*;
use fruit_debian::package::read_deb;
use fruit_image::tree::Kind;
use proptest::prelude::*;

fn refusal(entries: &[TarEntry]) -> String {
    Bench::new().unpack_entries(entries).expect_err("must be refused").to_string()
}

/// The message names the package, the entry and the reason.
fn assert_refused(entries: &[TarEntry], entry: &str, why: &str) {
    let message = refusal(entries);
    assert!(message.starts_with("crafted_1.0_arm64.deb: "), "{message}");
    assert!(message.contains(entry) && message.contains(why), "{message}");
}

#[test]
fn absolute_and_unclean_paths_stay_inside_the_root_as_with_dpkg() {
    let tree =
        Bench::new().unpack_entries(&[file("/etc//./passwd", "x"), hard_link("/etc/b", "//etc/passwd")]).unwrap();
    assert_eq!((tree.read("etc/passwd").unwrap(), tree.id("etc/b")), (b"x".to_vec(), tree.id("etc/passwd")));
}

#[test]
fn paths_that_climb_are_refused() {
    assert_refused(&[file("./../escape", "x")], "./../escape", "`..`");
    assert_refused(&[file("./usr/../../escape", "x")], "escape", "`..`");
}

#[test]
fn paths_that_are_not_clean_are_refused() {
    assert_refused(&[file("./a\nb", "x")], "a\\nb", "control character");
    assert_refused(&[TarEntry { name: b"./\xff".to_vec(), ..file("", "x") }], "entry", "not UTF-8");
}

#[test]
fn writing_through_a_symbolic_link_of_the_same_package_is_refused() {
    let entries = [symlink("./x", "../../../etc"), file("./x/passwd", "x")];
    assert_refused(&entries, "x/passwd", "through the symbolic link \"x\" of the same package");
}

#[test]
fn writing_through_another_packages_link_out_of_the_root_is_refused() {
    let bench = Bench::new();
    let link = bench.offer("a", &deb("a", "", &[symlink("./x", "../../outside")]));
    let user = bench.offer("b", &deb("b", "Depends: a\n", &[file("./x/passwd", "x")]));
    let message = bench.unpack(&[link, user]).unwrap_err().to_string();
    assert!(message.contains("b_1.0_arm64.deb") && message.contains("leads out of the root"), "{message}");
}

#[test]
fn loops_of_links_are_refused() {
    let bench = Bench::new();
    let link = bench.offer("a", &deb("a", "", &[symlink("./x", "y"), symlink("./y", "x")]));
    let user = bench.offer("b", &deb("b", "Depends: a\n", &[file("./x/f", "x")]));
    let message = bench.unpack(&[link, user]).unwrap_err().to_string();
    assert!(message.contains("too many symbolic links"), "{message}");
}

#[test]
fn hard_links_to_what_is_missing_or_outside_are_refused() {
    assert_refused(&[hard_link("./a", "./missing")], "\"a\"", "hard link to \"missing\"");
    assert_refused(&[hard_link("./a", "../out")], "./a", "hard link target");
    assert_refused(&[hard_link("./a", "/etc/shadow")], "\"a\"", "hard link to \"etc/shadow\"");
    assert_refused(&[dir("./d"), hard_link("./a", "./d")], "\"a\"", "is a directory");
}

#[test]
fn a_hard_link_to_another_packages_file_is_refused() {
    let bench = Bench::new();
    let first = bench.offer("a", &deb("a", "", &[file("./secret", "x")]));
    let second = bench.offer("b", &deb("b", "Depends: a\n", &[hard_link("./mine", "./secret")]));
    let message = bench.unpack(&[first, second]).unwrap_err().to_string();
    assert!(message.contains("b_1.0_arm64.deb") && message.contains("no earlier file"), "{message}");
}

#[test]
fn sizes_that_lie_are_refused() {
    let long = TarEntry { claimed: Some(1 << 30), ..file("./a", "x") };
    assert_refused(&[long], "data.tar", "before the end of an entry's data");
    let huge = TarEntry { claimed: Some((1 << 33) - 1), ..file("./a", "x") };
    assert_refused(&[huge], "data.tar", "before the end");
    assert_refused(&[TarEntry { claimed: Some(512), ..dir("./d") }], "./d", "claims 512 bytes");
    let short = TarEntry { claimed: Some(0), ..file("./a", &"x".repeat(600)) };
    assert_refused(&[short], "data.tar", "header checksum");
}

#[test]
fn duplicate_entries_that_contradict_each_other_are_refused() {
    assert_refused(&[file("./a", "1"), dir("./a")], "\"a\"", "twice");
    assert_refused(&[file("./a", "1"), hard_link("./b", "./a"), file("./a", "2")], "\"a\"", "twice");
    let aliased = [dir("./usr"), dir("./usr/bin"), file("./bin/sh", "1"), file("./usr/bin/sh", "2")];
    assert_refused_alias(&aliased);
}

/// Two names of one place: /bin is a link to /usr/bin.
fn assert_refused_alias(entries: &[TarEntry]) {
    let message = refusal(entries);
    assert!(message.contains("usr/bin/sh") && message.contains("two entries"), "{message}");
}

#[test]
fn overlong_names_are_refused() {
    let name = "n".repeat(256);
    assert_refused(&[gnu_long(b'L', &format!("./{name}")), file("./short", "x")], "nnnn", "256 bytes");
    let path = "./d/".to_owned() + &"d/".repeat(2100);
    let message = refusal(&[gnu_long(b'L', &path), file("./short", "x")]);
    assert!(message.contains("an extension header has"), "{message}");
}

#[test]
fn kinds_that_no_package_has_are_refused() {
    assert_refused(&[entry(b'S', "./sparse")], "./sparse", "sparse");
    assert_refused(&[entry(b'M', "./multi")], "./multi", "unknown type");
    assert_refused(&[pax(&[("GNU.sparse.major", b"1")]), file("./a", "x")], "GNU.sparse.major", "not supported");
    assert_refused(&[pax(&[("SCHILY.xattr.evil", b"1")]), file("./a", "x")], "evil", "namespace");
}

#[test]
fn a_truncated_tar_is_refused() {
    let good = tar(&[file("./a", "x")]);
    let bench = Bench::new();
    let refused = |data: &[u8]| {
        let package = bench.offer("crafted", &deb_of(&control("crafted", ""), data));
        bench.unpack(&[package]).unwrap_err().to_string()
    };
    assert!(refused(&good[..700]).contains("before the end of an entry's data"));
    assert!(refused(&[&good[..1024], b"trailing"].concat()).contains("within a header"));
    let mut wrong_sum = good;
    wrong_sum[0] ^= 1;
    assert!(refused(&wrong_sum).contains("header checksum"));
}

#[test]
fn a_container_with_less_than_it_should_have_is_refused() {
    let format = member("debian-binary", b"2.0\n");
    let control = member("control.tar", &control("crafted", ""));
    let data = member("data.tar", &tar(&[file("./a", "x")]));
    let refused = |bytes: Vec<u8>| read_deb(&bytes, "some.deb").unwrap_err().to_string();
    for (bytes, why) in [
        (vec![], "too short"),
        (b"#!/bin/sh\necho".to_vec(), "not a .deb file"),
        (ar(&[control.clone(), data.clone()]), "not debian-binary"),
        (ar(&[member("debian-binary", b"3.0\n"), control.clone(), data.clone()]), "format \"3.0\""),
        (ar(&[format.clone(), data.clone(), control.clone()]), "not in its place"),
        (ar(&[format.clone(), control.clone()]), "no data.tar"),
        (ar(std::slice::from_ref(&format)), "no control.tar"),
        (ar(&[format.clone(), control.clone(), control.clone(), data.clone()]), "not in its place"),
        (ar(&[member("debian-binary", &[b'2'; 300]), control.clone(), data.clone()]), "more than 256"),
        (ar(&[format.clone(), control.clone(), member("data.tar.lz", b"")]), "compression"),
        (ar(&[format.clone(), member("control.tar", &tar(&[]))]), "no data.tar"),
        (ar(&[format.clone(), member("control.tar", &tar(&[])), data.clone()]), "no file `control`"),
    ] {
        let message = refused(bytes);
        assert!(message.starts_with("some.deb: ") && message.contains(why), "{message}");
    }
    let mut lying = ar(&[format, control, data]);
    let at = lying.len() - 60 - 10240 + 48;
    lying[at..at + 10].copy_from_slice(b"9999999999");
    assert!(refused(lying).contains("claims 9999999999 bytes"));
}

#[test]
fn compressed_data_that_is_damaged_is_refused() {
    let data = tar(&[file("./a", "x")]);
    let xz = |bytes: &[u8]| {
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(bytes, 1), &mut out).unwrap();
        out
    };
    let gz = |bytes: &[u8]| {
        let mut out = Vec::new();
        let level = flate2::Compression::fast();
        std::io::Read::read_to_end(&mut flate2::read::GzEncoder::new(bytes, level), &mut out).unwrap();
        out
    };
    let zst = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    for (suffix, packed) in [("xz", xz(&data)), ("gz", gz(&data)), ("zst", zst(&data))] {
        let read = |data: &[u8]| {
            let member_name = format!("data.tar.{suffix}");
            let members = [
                member("debian-binary", b"2.0\n"),
                member("control.tar", &control("crafted", "")),
                member(&member_name, data),
            ];
            read_deb(&ar(&members), "some.deb").map(|(_, entries, _)| entries.len()).map_err(|e| e.to_string())
        };
        assert_eq!(read(&packed), Ok(1), "{suffix}");
        assert!(read(&packed[..packed.len() - 4]).is_err(), "{suffix}: cut short");
        let mut flipped = packed.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x55;
        assert!(read(&flipped).is_err(), "{suffix}: one byte changed");
    }
}

#[test]
fn a_decompression_bomb_is_refused() {
    let zeros = vec![0u8; 80 << 20];
    let packed = zstd::encode_all(&zeros[..], 1).unwrap();
    let members = [
        member("debian-binary", b"2.0\n"),
        member("control.tar", &control("crafted", "")),
        member("data.tar.zst", &packed),
    ];
    let message = read_deb(&ar(&members), "some.deb").unwrap_err().to_string();
    assert!(message.contains("decompression bomb"), "{message}");
}

#[test]
fn a_package_that_is_not_the_locked_one_is_refused() {
    let bench = Bench::new();
    let package = bench.offer("other", &deb("crafted", "", &[file("./a", "x")]));
    let message = bench.unpack(&[package]).unwrap_err().to_string();
    assert!(message.contains("package name: expected other, found crafted"), "{message}");
}

#[test]
fn two_packages_with_one_file_are_refused_unless_one_replaces_the_other() {
    let bench = Bench::new();
    let first = bench.offer("a", &deb("a", "", &[file("./f", "of a")]));
    let clash = bench.offer("b", &deb("b", "", &[file("./f", "of b")]));
    let message = bench.unpack(&[first.clone(), clash]).unwrap_err().to_string();
    assert!(message.starts_with("/f: shipped by both a and b"), "{message}");
    for replaces in ["a", "a (<< 2)"] {
        let taker = bench.offer("b", &deb("b", &format!("Replaces: {replaces}\n"), &[file("./f", "of b")]));
        assert_eq!(bench.unpack(&[first.clone(), taker]).unwrap().read("f").unwrap(), b"of b");
    }
    let other = bench.offer("b", &deb("b", "Replaces: a (<< 1)\n", &[file("./f", "of b")]));
    assert!(bench.unpack(&[first, other]).is_err());
    // The one that replaces wins whatever the order.
    let taker = bench.offer("a", &deb("a", "Replaces: b\n", &[file("./f", "of a")]));
    let loser = bench.offer("b", &deb("b", "", &[file("./f", "of b"), hard_link("./g", "./f")]));
    let tree = bench.unpack(&[taker, loser]).unwrap();
    assert_eq!((tree.read("f").unwrap(), tree.read("g").unwrap()), (b"of a".to_vec(), b"of b".to_vec()));
}

#[test]
fn a_folder_never_replaces_a_file_nor_a_file_a_folder() {
    let bench = Bench::new();
    let first = bench.offer("a", &deb("a", "", &[dir("./d"), file("./f", "x")]));
    for entries in [vec![file("./d", "x")], vec![dir("./f")], vec![symlink("./d", "nowhere")]] {
        let second = bench.offer("b", &deb("b", "Depends: a\nReplaces: a\n", &entries));
        assert!(bench.unpack(&[first.clone(), second]).is_err());
    }
}

#[test]
fn a_file_below_a_file_is_refused() {
    assert_refused(&[file("./f", "x"), file("./f/g", "x")], "f/g", "parent \"f\" is a file");
}

fn sample() -> Vec<u8> {
    let control = zstd::encode_all(&control("crafted", "Depends: x\n")[..], 1).unwrap();
    let entries =
        [dir("./"), dir("./usr"), pax(&[("path", b"./usr/long")]), file("./usr/x", "data"), symlink("./l", "usr")];
    ar(&[member("debian-binary", b"2.0\n"), member("control.tar.zst", &control), member("data.tar", &tar(&entries))])
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read_deb(&bytes, "random.deb");
        let _ = fruit_debian::package::read_entries(&bytes[..], "random.tar");
    }

    #[test]
    fn changed_packages_never_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>(), cuts in any::<bool>()) {
        let mut bytes = sample();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read_deb(&bytes, "changed.deb");
    }

    #[test]
    fn changed_headers_with_right_checksums_never_panic(at in 0usize..512, value in any::<u8>(), which in 0usize..5) {
        let entries = [dir("./usr"), pax(&[("mtime", b"1.5"), ("size", b"4")]), file("./usr/x", "data"), gnu_long(b'K', "target"), symlink("./l", "usr")];
        let mut blocks: Vec<Vec<u8>> = entries.iter().map(TarEntry::bytes).collect();
        let block = &mut blocks[which];
        block[at] = value;
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block[..512].iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let data = [blocks.concat(), vec![0; 1024]].concat();
        let _ = fruit_debian::package::read_entries(&data[..], "changed.tar");
    }
}

#[test]
fn everything_a_package_may_hold_arrives_in_the_tree() {
    let long = "x".repeat(200);
    let capability: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let entries = [
        TarEntry { mode: 0o755, ..dir("./") },
        dir("./usr"),
        dir("./usr/bin"),
        TarEntry { mode: 0o4755, uid: 7, gid: 42, ..file("./usr/bin/su", "program") },
        hard_link("./usr/bin/su2", "./usr/bin/su"),
        symlink("./usr/bin/sh", "dash"),
        pax(&[("SCHILY.xattr.security.capability", capability), ("uid", b"100000"), ("mtime", b"1600000000.25")]),
        file("./usr/bin/ping", "ping"),
        gnu_long(b'L', &format!("./usr/{long}")),
        file("./usr/cut", "long name"),
        gnu_long(b'K', &long),
        symlink("./usr/link", "cut"),
        TarEntry { device: (1, 3), ..entry(b'3', "./null") },
        TarEntry { device: (7, 0), ..entry(b'4', "./loop0") },
        entry(b'6', "./fifo"),
        file("./bin/merged", "through the link"),
        file("./usr/Főtanúsítvány", "utf-8"),
    ];
    let tree = Bench::new().unpack_entries(&entries).unwrap();
    let meta = |path: &str| tree.get(path).unwrap_or_else(|| panic!("{path}")).meta.clone();
    assert_eq!((meta("usr/bin/su").mode, meta("usr/bin/su").uid, meta("usr/bin/su").gid), (0o4755, 7, 42));
    assert_eq!(tree.id("usr/bin/su"), tree.id("usr/bin/su2"));
    assert_eq!(tree.read("usr/bin/su2").unwrap(), b"program");
    assert_eq!(meta("usr/bin/ping").xattrs["security.capability"], capability);
    assert_eq!((meta("usr/bin/ping").uid, meta("usr/bin/ping").mtime), (100_000, 1_600_000_000));
    assert_eq!(tree.read(&format!("usr/{long}")).unwrap(), b"long name");
    assert!(matches!(&tree.get("usr/link").unwrap().kind, Kind::Symlink(target) if *target == long));
    assert!(matches!(tree.get("null").unwrap().kind, Kind::CharDevice { major: 1, minor: 3 }));
    assert!(matches!(tree.get("loop0").unwrap().kind, Kind::BlockDevice { major: 7, minor: 0 }));
    assert!(matches!(tree.get("fifo").unwrap().kind, Kind::Fifo));
    assert_eq!(tree.read("usr/bin/merged").unwrap(), b"through the link");
    assert!(matches!(&tree.get("bin").unwrap().kind, Kind::Symlink(target) if target == "usr/bin"));
    assert!(tree.contains("usr/Főtanúsítvány"));
}

#[test]
fn a_diverted_file_lands_where_the_diversion_says() {
    let bench = Bench::new();
    let packages = [
        bench.offer("a", &deb("a", "", &[file("./f", "of a")])),
        bench.offer("b", &deb("b", "", &[file("./f", "of b")])),
    ];
    bench.store.ensure(&packages, &bench.mirrors, &fruit_debian::Silent).unwrap();
    let mut diversions = fruit_debian::Diversions::default();
    diversions.divert("f", "f.distrib", "b");
    let (tree, contents) =
        fruit_debian::unpack_all(&bench.store, "arm64", &packages, &diversions, 0, &fruit_debian::Silent).unwrap();
    assert_eq!((tree.read("f").unwrap(), tree.read("f.distrib").unwrap()), (b"of b".to_vec(), b"of a".to_vec()));
    assert_eq!(contents[0].paths, ["f.distrib"]);
    assert_eq!((contents[1].paths.clone(), contents[1].bytes), (vec!["f".to_owned()], 4));
}
