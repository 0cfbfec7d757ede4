//! Module selection and our depmod on Debian's real kernels, compared with the real depmod.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::archive::{Archive, run, unpack};
use fruit_image::tree::{Kind, Tree};
use fruit_root::kernel::{self, DIR, index};

/// Subsystems whose modules are all compared, besides a board's usual names.
const SUBSYSTEMS: [&str; 6] =
    ["kernel/net/", "kernel/crypto/", "kernel/fs/", "kernel/drivers/net/usb/", "kernel/drivers/md/", "kernel/lib/"];

fn compare(suite: &str, architecture: &str, meta_package: &str) {
    let archive = Archive::open(suite, architecture);
    let debs: Vec<_> = archive
        .fetch(&[meta_package])
        .into_iter()
        .filter(|deb| deb.file_name().unwrap().to_str().unwrap().starts_with("linux-image-"))
        .collect();
    let mut tree = unpack(&debs, architecture, 0).tree;
    let release = kernel::releases(&tree).pop().unwrap();
    let dir = format!("{DIR}/{release}");
    let names: Vec<String> = tree
        .below(&dir)
        .map(|(path, ..)| path[dir.len()..].trim_start_matches('/').to_owned())
        .filter(|path| path.contains(".ko") && SUBSYSTEMS.iter().any(|s| path.starts_with(s)))
        .collect();
    assert!(names.len() > 300, "{architecture}: only {} modules", names.len());
    let selection = kernel::select(&tree, &release, &names, false).unwrap();
    kernel::install(&mut tree, &selection, 0).unwrap();
    loads_in_order(&selection);

    let work = tempfile::tempdir().unwrap();
    let real = work.path().join(&dir);
    export(&tree, &dir, work.path());
    fs::create_dir_all(work.path().join("lib")).unwrap();
    fs::remove_dir(work.path().join("lib")).unwrap();
    std::os::unix::fs::symlink("usr/lib", work.path().join("lib")).unwrap();
    let ours: Vec<(String, Vec<u8>)> = tree
        .children(&dir)
        .filter_map(|(name, _, inode)| match &inode.kind {
            Kind::File(content) => Some((name.to_owned(), content.to_vec().unwrap())),
            _ => None,
        })
        .collect();
    run("kmod", Command::new("depmod").arg("-b").arg(work.path()).arg(&release));
    let mut compared = 0;
    for (name, ours) in ours {
        let Ok(theirs) = fs::read(real.join(&name)) else { continue };
        if name.ends_with(".bin") {
            assert_eq!(index::read(&ours).unwrap(), index::read(&theirs).unwrap(), "{architecture}: {name}");
            compared += 1;
        } else if name == "modules.symbols" {
            // The real one is in the order of a hash table.
            let sorted =
                |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<BTreeSet<_>>();
            assert_eq!(sorted(&ours), sorted(&theirs), "{architecture}: {name}");
            compared += 1;
        } else {
            assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{architecture}: {name}");
            compared += 1;
        }
    }
    assert!(compared >= 12, "{architecture}: only {compared} files compared");
}

/// Each module after all that it needs.
fn loads_in_order(selection: &kernel::Selection) {
    let mut loaded = BTreeSet::new();
    for module in &selection.modules {
        for need in &module.info.depends {
            assert!(
                loaded.contains(need) || !selection.modules.iter().any(|m| m.name == *need),
                "{}: {need}",
                module.name
            );
        }
        loaded.insert(module.name.clone());
    }
}

fn export(tree: &Tree, dir: &str, to: &std::path::Path) {
    for (path, _, inode) in tree.below(dir) {
        let place = to.join(path);
        match &inode.kind {
            Kind::Dir => fs::create_dir_all(&place).unwrap(),
            Kind::File(content) => {
                // The real depmod makes its own index files; ours must not be taken for them.
                let made = path.rsplit('/').next().unwrap();
                let given = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
                if !made.starts_with("modules.") || given.contains(&made) {
                    fs::create_dir_all(place.parent().unwrap()).unwrap();
                    fs::write(&place, content.to_vec().unwrap()).unwrap();
                }
            }
            _ => {}
        }
    }
}

#[test]
fn index_files_equal_the_real_depmod_on_arm64() {
    compare("trixie", "arm64", "linux-image-arm64");
}

#[test]
fn index_files_equal_the_real_depmod_on_amd64() {
    compare("trixie", "amd64", "linux-image-amd64");
}

#[test]
fn index_files_equal_the_real_depmod_on_armhf() {
    compare("trixie", "armhf", "linux-image-armmp");
}

#[test]
fn names_that_do_not_exist_are_errors_with_candidates_and_crc32c_loads_before_its_users() {
    let archive = Archive::open("trixie", "arm64");
    let debs = archive.fetch(&["linux-image-arm64"]);
    let tree = unpack(&debs, "arm64", 0).tree;
    let release = kernel::releases(&tree).pop().unwrap();
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let error = kernel::select(&tree, &release, &names(&["bcm2835_wtd"]), false).unwrap_err().to_string();
    assert!(error.contains("did you mean bcm2835_wdt"), "{error}");
    let lenient = kernel::select(&tree, &release, &names(&["bcm2835_wtd", "erofs"]), true).unwrap();
    assert_eq!(lenient.missing, ["bcm2835_wtd"]);

    let early = kernel::select(
        &tree,
        &release,
        &names(&["bcm2835-wdt", "erofs", "dm-verity", "overlay", "ext4", "vfat"]),
        false,
    )
    .unwrap();
    let order: Vec<&str> = early.modules.iter().map(|m| m.name.as_str()).collect();
    let at = |name: &str| order.iter().position(|n| *n == name).unwrap_or_else(|| panic!("{name} not in {order:?}"));
    assert_eq!(at("bcm2835_wdt"), order.iter().position(|n| !n.is_empty()).unwrap());
    assert!(at("crc32c_generic") < at("libcrc32c") && at("libcrc32c") < at("erofs"), "{order:?}");
    assert!(
        early.modules.iter().all(|m| m.path.ends_with(".ko") && m.content.to_vec().unwrap().starts_with(b"\x7fELF"))
    );
}
