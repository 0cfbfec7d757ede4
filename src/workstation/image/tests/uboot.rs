//! Script images and environments against mkimage and mkenvimage.

use crate::checker;
use fruit_image::uboot::{self, Architecture};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

const TIME: u32 = 1_795_350_896;
const TEXT: &str = "echo slot ${slot}\nbooti ${kernel_addr_r} - ${fdt_addr_r}\n";

fn mkimage(dir: &Path, arch: &str) -> Vec<u8> {
    let (source, out) = (dir.join("boot.cmd"), dir.join("boot.scr"));
    fs::write(&source, TEXT).unwrap();
    let epoch = format!("SOURCE_DATE_EPOCH={TIME}");
    let args = [&epoch, "mkimage", "-A", arch, "-T", "script", "-C", "none", "-n", "fruitbuild", "-d"];
    checker::passes("u-boot-tools", "mkimage", ["-V"]);
    let paths = [source.to_str().unwrap(), out.to_str().unwrap()];
    checker::passes("u-boot-tools", "env", args.into_iter().chain(paths));
    fs::read(out).unwrap()
}

#[test]
fn a_script_image_is_what_mkimage_makes() {
    let dir = tempfile::tempdir().unwrap();
    for (arch, ours) in [("arm64", Architecture::Arm64), ("arm", Architecture::Arm), ("x86_64", Architecture::X86_64)] {
        let theirs = mkimage(dir.path(), arch);
        assert_eq!(uboot::script(ours, "fruitbuild", TIME, TEXT).unwrap(), theirs, "{arch}");
        let read = uboot::parse_script(&theirs).unwrap();
        assert_eq!((read.name.as_str(), read.time, read.text.as_str()), ("fruitbuild", TIME, TEXT));
    }
}

#[test]
fn an_environment_is_what_mkenvimage_makes() {
    let dir = tempfile::tempdir().unwrap();
    let (source, out) = (dir.path().join("env.txt"), dir.path().join("uboot.env"));
    fs::write(&source, "bootdelay=0\npreboot=\nbootcmd=load mmc 0:1 ${scriptaddr} boot.scr && source ${scriptaddr}\n")
        .unwrap();
    let args = ["-s", "16384", "-o", out.to_str().unwrap(), source.to_str().unwrap()];
    checker::passes("u-boot-tools", "mkenvimage", args);
    let theirs = fs::read(&out).unwrap();
    let bootcmd = "load mmc 0:1 ${scriptaddr} boot.scr && source ${scriptaddr}";
    let variables = [("bootdelay", "0"), ("preboot", ""), ("bootcmd", bootcmd)];
    assert_eq!(uboot::environment(16384, variables).unwrap(), theirs);
    let read = uboot::parse_environment(&theirs).unwrap();
    assert_eq!(read, variables.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[test]
fn what_cannot_be_stored_is_refused() {
    assert!(uboot::script(Architecture::Arm, &"n".repeat(33), 0, "").is_err());
    assert!(uboot::script(Architecture::Arm, "", 0, &"x".repeat(1 << 20)).is_err());
    assert!(uboot::environment(16384, [("a=b", "")]).is_err());
    assert!(uboot::environment(16384, [("a", "\0")]).is_err());
    assert!(uboot::environment(16384, [("", "x")]).is_err());
    assert!(uboot::environment(64, [("a", "x".repeat(64).as_str())]).is_err());
}

proptest! {
    #[test]
    fn changed_bytes_never_panic_and_are_noticed(at: prop::sample::Index, value: u8, cut: prop::sample::Index) {
        let good = uboot::script(Architecture::Arm64, "n", 1, TEXT).unwrap();
        let mut bad = good.clone();
        bad[at.index(good.len())] = value;
        prop_assert_eq!(uboot::parse_script(&bad).is_ok(), bad == good);
        let _ = uboot::parse_script(&good[..cut.index(good.len())]);
        let good = uboot::environment(128, [("a", "b")]).unwrap();
        let mut bad = good.clone();
        bad[at.index(128)] = value;
        prop_assert_eq!(uboot::parse_environment(&bad).is_ok(), bad == good);
    }

    #[test]
    fn any_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = uboot::parse_script(&bytes);
        let _ = uboot::parse_environment(&bytes);
        if bytes.len() > 4 {
            let sum = crc32fast::hash(&bytes[4..]);
            bytes[..4].copy_from_slice(&sum.to_le_bytes());
            let _ = uboot::parse_environment(&bytes);
        }
    }
}
