//! What goes in and comes out.

use std::io::{self, Read};

use fruit_sandbox::Error;
use tar::{Builder, EntryType};

use crate::Test;
use crate::fixture::{Fixture, entry, header, listed};

pub const TESTS: &[Test] = &[
    ("a_tree_comes_back_as_it_went_in", a_tree_comes_back_as_it_went_in),
    ("gnu_tar_reads_what_is_exported_and_writes_what_is_unpacked", gnu_tar_agrees),
    ("entries_that_would_leave_the_root_are_refused_by_name", entries_that_would_leave_the_root_are_refused_by_name),
    ("a_link_leads_within_the_root_only", a_link_leads_within_the_root_only),
    ("damaged_archives_are_errors", damaged_archives_are_errors),
    ("device_nodes_are_left_out_and_named", device_nodes_are_left_out_and_named),
    ("later_entries_replace_earlier_ones", later_entries_replace_earlier_ones),
    ("files_that_are_all_hole_are_not_exported_for_ever", files_that_are_all_hole_are_not_exported_for_ever),
    ("a_tree_that_is_nested_very_deep_is_removed", a_tree_that_is_nested_very_deep_is_removed),
];

/// `cap_net_raw=ep`, as setcap writes it: version 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn a_tree_comes_back_as_it_went_in() {
    let mut tar = Builder::new(Vec::new());
    let long = format!("a/{}/file", "n".repeat(200));
    tar.append_data(&mut header(EntryType::Directory, 0o2775, 7, 0), "a/", &[][..]).unwrap();
    tar.append_data(&mut header(EntryType::Regular, 0o4755, 33, 5), "a/program", &b"12345"[..]).unwrap();
    tar.append_link(&mut header(EntryType::Link, 0o644, 0, 0), "b", "a/program").unwrap();
    tar.append_link(&mut header(EntryType::Symlink, 0o777, 65_534, 0), "a/link", "/somewhere/else").unwrap();
    tar.append_data(&mut header(EntryType::Fifo, 0o600, 5, 0), "a/pipe", &[][..]).unwrap();
    tar.append_data(&mut header(EntryType::Regular, 0, 1, 600), &long, &[b'x'; 600][..]).unwrap();
    tar.append_pax_extensions([("SCHILY.xattr.security.capability", &CAPABILITY[..])]).unwrap();
    tar.append_data(&mut header(EntryType::Regular, 0o755, 0, 1), "ping", &b"p"[..]).unwrap();
    let fixture = Fixture::empty();
    let unpacked = fixture.root.unpack(&tar.into_inner().unwrap()[..]).unwrap();
    assert_eq!((unpacked.entries, unpacked.bytes), (7, 606));
    let exported = fixture.exported();
    let name = "n".repeat(200);
    let path: Vec<u8> = format!("a/{name}/").into_bytes();
    let expected = [
        "5 755 0:0 0 ./".to_owned(),
        "5 2775 7:7 0 a/".to_owned(),
        "2 777 65534:65534 0 a/link -> /somewhere/else".to_owned(),
        format!("5 755 0:0 0 a/{name}/ path={path:02x?}"),
        format!("0 0 1:1 600 {long} path={:02x?}", long.as_bytes()),
        "6 600 5:5 0 a/pipe".to_owned(),
        "0 4755 33:33 5 a/program".to_owned(),
        "1 4755 33:33 0 b -> a/program".to_owned(),
        format!("0 755 0:0 1 ping SCHILY.xattr.security.capability={CAPABILITY:02x?}"),
    ];
    assert_eq!(listed(&exported), expected);
    let again = Fixture::empty();
    again.root.unpack(&exported[..]).unwrap();
    // Times of folders that no entry names are those of the unpacking; in the second tree all are named.
    let third = Fixture::empty();
    third.root.unpack(&again.exported()[..]).unwrap();
    assert!(again.exported() == exported && third.exported() == exported, "the same tree gives the same bytes");
}

fn gnu_tar_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("sub/deeper")).unwrap();
    std::fs::write(tree.join("sub/file"), "content").unwrap();
    std::os::unix::fs::symlink("file", tree.join("sub/link")).unwrap();
    std::fs::hard_link(tree.join("sub/file"), tree.join("sub/deeper/same")).unwrap();
    let tar = |arguments: &[&str]| {
        let mut command = std::process::Command::new(crate::fixture::tool("tar", "tar"));
        let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for format in ["gnu", "pax", "ustar"] {
        let fixture = Fixture::empty();
        let written = tar(&["-c", "-C", "tree", "--format", format, "--owner=8", "--group=9", "."]);
        fixture.root.unpack(&written[..]).unwrap();
        std::fs::write(folder.path().join("out.tar"), fixture.exported()).unwrap();
        let list = String::from_utf8(tar(&["-t", "--numeric-owner", "-v", "-f", "out.tar"])).unwrap();
        let names: Vec<&str> = list.lines().map(|line| line.splitn(6, ' ').last().unwrap().trim()).collect();
        let names: Vec<&str> = names.iter().map(|name| name.split_once(' ').map_or(*name, |(_, rest)| rest)).collect();
        assert_eq!(list.lines().filter(|line| line.contains(" 8/9 ")).count(), 6, "{list}");
        assert!(
            list.contains("sub/file link to sub/deeper/same") && list.contains("sub/link -> file"),
            "{list} {names:?}"
        );
    }
}

fn entries_that_would_leave_the_root_are_refused_by_name() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("file");
    std::fs::write(&target, "mine").unwrap();
    let absolute = target.display().to_string();
    let up = format!("{}{}", "../".repeat(8), &absolute[1..]);
    for (name, tar) in [
        (&absolute, entry(EntryType::Regular, &absolute, "", b"evil")),
        (&up, entry(EntryType::Regular, &up, "", b"evil")),
        (&"a/../../b".to_owned(), entry(EntryType::Directory, "a/../../b", "", b"")),
        (&"hard".to_owned(), entry(EntryType::Link, "hard", &absolute, b"")),
        (&"hard".to_owned(), entry(EntryType::Link, "hard", &up, b"")),
    ] {
        let error = Fixture::empty().root.unpack(&tar[..]).unwrap_err();
        assert!(matches!(error, Error::Archive(_)) && error.to_string().contains(name.as_str()), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "mine");
}

fn a_link_leads_within_the_root_only() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "mine").unwrap();
    let there = outside.path().display().to_string();
    let fixture = Fixture::empty();
    let mut tar = entry(EntryType::Symlink, "way", &there, b"");
    tar.extend(entry(EntryType::Symlink, "up", "../../../../../../..", b""));
    tar.extend(entry(EntryType::Symlink, "root", "/proc/self/root", b""));
    // Where the link leads is not there in the root.
    let mut through = tar.clone();
    through.extend(entry(EntryType::Regular, "way/file", "", b"evil"));
    assert!(fixture.root.unpack(&through[..]).is_err());
    let mut hard = tar.clone();
    hard.extend(entry(EntryType::Link, "stolen", "way/file", b""));
    assert!(fixture.root.unpack(&hard[..]).is_err());
    // Up from the root is the root.
    tar.extend(entry(EntryType::Regular, "up/made", "", b"here"));
    // A link is replaced, not written through.
    tar.extend(entry(EntryType::Symlink, "target", &format!("{there}/file"), b""));
    tar.extend(entry(EntryType::Regular, "target", "", b"evil"));
    fixture.root.unpack(&tar[..]).unwrap();
    let tree = fixture.tree();
    assert!(
        tree.iter().any(|line| line.ends_with(" made")) && tree.contains(&"0 644 0:0 4 target".to_owned()),
        "{tree:?}"
    );
    assert_eq!(std::fs::read_to_string(outside.path().join("file")).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

fn damaged_archives_are_errors() {
    let huge = |size: u64| {
        let mut header = header(EntryType::Regular, 0o644, 0, size);
        header.as_old_mut().name[..4].copy_from_slice(b"huge");
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let mut owner = header(EntryType::Regular, 0o644, 65_535, 0);
    owner.as_old_mut().name[0] = b'o';
    owner.set_cksum();
    let mut pax = entry(EntryType::XHeader, "x", "", b"30 SCHILY.xattr.trusted.a=abc\n\n");
    pax.extend(entry(EntryType::Regular, "trusted", "", b""));
    let mut endless = header(EntryType::GNULongName, 0o644, 0, 1 << 40);
    endless.set_cksum();
    let endless: Box<dyn Read> =
        Box::new(io::Cursor::new(endless.as_bytes().to_vec()).chain(io::repeat(b'a').take(600 << 20)));
    let cases: Vec<(&str, Box<dyn Read>)> = vec![
        ("a size that is not there", Box::new(io::Cursor::new(huge(1 << 32)))),
        ("the largest size", Box::new(io::Cursor::new(huge(u64::MAX >> 1)))),
        ("an owner outside", Box::new(io::Cursor::new(owner.as_bytes().to_vec()))),
        ("no archive", Box::new(io::Cursor::new(vec![b'x'; 4096]))),
        ("an unknown kind", Box::new(io::Cursor::new(entry(EntryType::new(b'Z'), "z", "", b"")))),
        ("an xattr of the real root", Box::new(io::Cursor::new(pax))),
        ("a name of a tebibyte", endless),
    ];
    for (what, tar) in cases {
        let fixture = Fixture::empty();
        assert!(fixture.root.unpack(tar).is_err(), "{what}");
        // The root can still be used.
        assert!(fixture.root.unpack(&entry(EntryType::Regular, "after", "", b"")[..]).is_ok(), "{what}");
    }
}

fn device_nodes_are_left_out_and_named() {
    let fixture = Fixture::empty();
    let mut tar = entry(EntryType::Block, "dev/sda", "", b"");
    tar.extend(entry(EntryType::Char, "dev/mem", "", b""));
    assert_eq!(fixture.root.unpack(&tar[..]).unwrap().devices, ["dev/sda", "dev/mem"]);
    assert!(fixture.tree().iter().all(|line| !line.contains("sda") && !line.contains("mem")));
}

fn later_entries_replace_earlier_ones() {
    let fixture = Fixture::empty();
    let mut tar = entry(EntryType::Directory, "usr/lib", "", b"");
    tar.extend(entry(EntryType::Symlink, "lib", "usr/lib", b""));
    tar.extend(entry(EntryType::Regular, "usr/lib/one", "", b"1"));
    fixture.root.unpack(&tar[..]).unwrap();
    // A package that still has its files in /lib, and a newer file.
    let mut more = entry(EntryType::Directory, "lib", "", b"");
    more.extend(entry(EntryType::Regular, "lib/two", "", b"22"));
    more.extend(entry(EntryType::Regular, "usr/lib/one", "", b"new"));
    let mut link = entry(EntryType::Link, "lib/two", "usr/lib/two", b"");
    // Mode and owner of a link may be left empty; the checksum counts spaces for itself.
    link[100..124].fill(0);
    link[148..156].fill(b' ');
    let sum: u32 = link.iter().map(|byte| u32::from(*byte)).sum();
    link[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    more.extend(link);
    fixture.root.unpack(&more[..]).unwrap();
    let tree = fixture.tree();
    for line in ["2 777 0:0 0 lib -> usr/lib", "0 644 0:0 3 usr/lib/one", "0 644 0:0 2 usr/lib/two"] {
        assert!(tree.iter().any(|found| found == line), "{line} in {tree:#?}");
    }
    assert_eq!(tree.len(), 6);
    // What led through a link leads through the new one.
    let mut moved = entry(EntryType::Regular, "lib/three", "", b"3");
    moved.extend(entry(EntryType::Directory, "other", "", b""));
    moved.extend(entry(EntryType::Symlink, "lib", "other", b""));
    moved.extend(entry(EntryType::Regular, "lib/four", "", b"4"));
    fixture.root.unpack(&moved[..]).unwrap();
    assert!(fixture.tree().iter().any(|line| line.ends_with(" other/four")));
}

fn files_that_are_all_hole_are_not_exported_for_ever() {
    let fixture = Fixture::new();
    fixture.says("cd /var; for i in 1 2 3; do truncate -s 500000000 $i; done");
    let mut bytes = 0_u64;
    let error = fixture.root.export(Counting(&mut bytes)).unwrap_err();
    assert!(error.to_string().contains("holes") && bytes < 2 << 30, "{error}");
    fixture.says("cd /var; rm *; truncate -s 1000000 1; du -k 1 | grep -q '^0'");
    fixture.root.export(io::sink()).unwrap();
}

/// Counts what is written.
struct Counting<'a>(&'a mut u64);

impl io::Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn a_tree_that_is_nested_very_deep_is_removed() {
    let fixture = Fixture::new();
    let script = "i=0; while [ $i -lt 260 ]; do mkdir d && cd d || exit 1; : > f; i=$((i+1)); done";
    let (ended, output) = fixture.sh(&format!("cd /var; {script}"), &super::fixture::limits());
    assert!(ended.well(), "{}: {output}", ended.cause);
    let error = fixture.root.export(io::sink()).unwrap_err();
    assert!(error.to_string().contains("nested too deep"), "{error}");
    let Fixture { root, folder } = fixture;
    root.remove().unwrap();
    assert!(!folder.path().join("work").exists());
}
