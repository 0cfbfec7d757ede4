//! The fresh filesystem, and what is never formatted.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use fruit_init::ext4::{Content, format, identify, identify_bytes};

const MIB: u64 = 1 << 20;

fn run(program: &str, package: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|_| panic!("{program} is needed: install the Debian package '{package}'"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

fn device(size: u64) -> tempfile::NamedTempFile {
    let device = tempfile::NamedTempFile::new().unwrap();
    device.as_file().set_len(size).unwrap();
    device
}

#[test]
fn a_fresh_filesystem_is_clean_for_e2fsck_even_over_old_data() {
    for size in [16 * MIB, 40 * MIB, 300 * MIB] {
        for old in [0u8, 0xff, 0x5a] {
            let partition = device(size);
            if old != 0 {
                for at in 0..size / MIB {
                    partition.as_file().write_all_at(&vec![old; MIB as usize], at * MIB).unwrap();
                }
            }
            format(partition.as_file(), size, [7; 16], 1_700_000_000).unwrap();
            run("e2fsck", "e2fsprogs", &["-fn", partition.path().to_str().unwrap()]);
            let Content::Ext4(ext4) = identify(partition.as_file()).unwrap() else { panic!("not ext4") };
            assert_eq!(ext4.block_size, 4096);
            assert_eq!(ext4.bytes(), size.min(128 * MIB));
            assert!(!ext4.has_errors);
        }
    }
}

#[test]
fn a_filesystem_of_mke2fs_is_recognized() {
    let partition = device(32 * MIB);
    run("mke2fs", "e2fsprogs", &["-q", "-t", "ext4", "-b", "1024", partition.path().to_str().unwrap()]);
    let Content::Ext4(ext4) = identify(partition.as_file()).unwrap() else { panic!("not ext4") };
    assert_eq!((ext4.block_size, ext4.bytes()), (1024, 32 * MIB));
}

#[test]
fn an_interrupted_format_is_known_as_such() {
    let partition = device(64 * MIB);
    format(partition.as_file(), 64 * MIB, [7; 16], 0).unwrap();
    let mut mark = [0u8; 16];
    mark.copy_from_slice(b"FRUIT-FORMATTING");
    partition.as_file().write_all_at(&mark, 0).unwrap();
    assert_eq!(identify(partition.as_file()).unwrap(), Content::Unfinished);
}

#[test]
fn blank_means_all_zero_or_all_ones() {
    assert_eq!(identify_bytes(&[0; 131072]), Content::Blank);
    assert_eq!(identify_bytes(&[0xff; 131072]), Content::Blank);
    let mut almost = [0u8; 131072];
    almost[131071] = 1;
    assert_eq!(identify_bytes(&almost), Content::Unknown { looks_like: None });
}

#[test]
fn other_filesystems_are_unknown_and_named() {
    for (program, package, arguments, name) in [
        ("mkswap", "util-linux", &["-q"][..], "swap"),
        ("mkfs.fat", "dosfstools", &[], "FAT"),
        (
            "cryptsetup",
            "cryptsetup-bin",
            &[
                "luksFormat",
                "--batch-mode",
                "--pbkdf-force-iterations=4",
                "--pbkdf-memory=32",
                "--key-file=/proc/self/exe",
                "--keyfile-size=32",
            ],
            "LUKS",
        ),
    ] {
        let partition = device(32 * MIB);
        let mut arguments = arguments.to_vec();
        arguments.push(partition.path().to_str().unwrap());
        run(program, package, &arguments);
        let content = identify(&File::open(partition.path()).unwrap()).unwrap();
        assert_eq!(content, Content::Unknown { looks_like: Some(name) });
    }
}

#[test]
fn a_partition_that_is_too_small_is_refused() {
    assert!(format(device(8 * MIB).as_file(), 8 * MIB, [0; 16], 0).is_err());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..4096), magic: bool) {
        if magic && bytes.len() > 1100 {
            bytes[1080..1082].copy_from_slice(&[0x53, 0xef]);
        }
        if let Content::Ext4(ext4) = identify_bytes(&bytes) {
            let _ = ext4.bytes();
        }
    }
}
