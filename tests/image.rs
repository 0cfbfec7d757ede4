//! Images that were really built, before the eyes of those who wrote the formats; and what a build promises: the same
//! bytes from anybody anywhere, nothing half-written, nothing done twice.

#[path = "harness/built.rs"]
mod built;
mod harness;
#[path = "harness/project.rs"]
mod project;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use built::Built;
use fruit_contract::bootctl::{Slot, Stored};
use fruit_image::sums::Sum;
use harness::{image_of, succeed, tool};
use project::Project;
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn beside(image: &Path, ending: &str) -> PathBuf {
    image.with_extension(ending)
}

/// What a command prints.
fn said(command: &mut Command) -> String {
    String::from_utf8(succeed(command).stdout).unwrap()
}

fn same_bytes(one: &Path, other: &Path) {
    succeed(tool("cmp", "diffutils").arg(one).arg(other));
}

#[test]
fn sgdisk_finds_no_problem_and_the_old_table_shows_the_firmware_partition_to_the_boot_rom() {
    for recipe in ["minimal", "pistack"] {
        let built = Built::of(recipe);
        let verdict = said(tool("sgdisk", "gdisk").arg("-v").arg(&built.image));
        assert!(verdict.contains("No problems found") && !verdict.contains("Warning"), "{verdict}");
        let list = said(tool("sgdisk", "gdisk").arg("-p").arg(&built.image));
        for name in ["firmware", "boot-a", "boot-b", "root-a", "root-b", "state", "data"] {
            assert!(list.lines().any(|line| line.ends_with(&format!(" {name}"))), "no {name} in:\n{list}");
        }
        let old = said(tool("fdisk", "fdisk").args(["-t", "dos", "-o", "Start,Sectors,Id", "-l"]).arg(&built.image));
        let rows: Vec<Vec<&str>> =
            old.lines().map(|l| l.split_whitespace().collect()).filter(|r: &Vec<_>| r.len() == 3).collect();
        let (start, size) = built.partition("firmware");
        let firmware = [(start / 512).to_string(), (size / 512).to_string(), "c".to_owned()];
        assert_eq!(rows[rows.len() - 2], ["1", &(start / 512 - 1).to_string(), "ee"], "{old}");
        assert_eq!(rows[rows.len() - 1], firmware, "{old}");
    }
}

#[test]
fn fsck_fat_has_nothing_to_say_of_firmware_and_boot() {
    for recipe in ["minimal", "pistack"] {
        let built = Built::of(recipe);
        for partition in ["firmware", "boot-a"] {
            let verdict = said(tool("fsck.fat", "dosfstools").arg("-n").arg(built.extract(partition)));
            // The version, and the count of files and clusters.
            assert_eq!(verdict.lines().count(), 2, "{recipe} {partition}: {verdict}");
        }
        let (start, _) = built.partition("firmware");
        let drive = format!("{}@@{start}", built.image.display());
        assert!(said(tool("mlabel", "mtools").args(["-i", &drive, "-s", "::"])).contains("FRUITOS"));
    }
}

#[test]
fn a_slots_files_are_as_large_as_they_must_be_whatever_its_partitions_have() {
    for recipe in ["minimal", "pistack"] {
        let built = Built::of(recipe);
        let content_size = |name: &str| {
            let all = built.manifest["partitions"].as_array().unwrap();
            all.iter().find(|p| p["name"] == name).unwrap()["content_size"].as_u64()
        };
        let boot = built.extract("boot-a");
        let size = fs::metadata(&boot).unwrap().len();
        let mut sector = [0; 512];
        File::open(&boot).unwrap().read_exact_at(&mut sector, 0).unwrap();
        // Number of sectors: in 16 bits, or in 32 where those do not suffice.
        let sectors = match u16::from_le_bytes([sector[19], sector[20]]) {
            0 => u32::from_le_bytes(sector[32..36].try_into().unwrap()),
            few => few.into(),
        };
        assert_eq!(content_size("boot-a"), Some(u64::from(sectors) * 512));
        let mut content = vec![0; sectors as usize * 512];
        File::open(&boot).unwrap().read_exact_at(&mut content, 0).unwrap();
        let of_boot = built.manifest["partitions"].as_array().unwrap().iter().find(|p| p["name"] == "boot-a").unwrap();
        assert_eq!(of_boot["sha256"], fruit_base::Sha256::of(&content).to_string());
        assert!(u64::from(sectors) * 512 < size, "{recipe}: the partition has room for the kernels of years");
        let verity = built.manifest["kernel"]["verity"].as_str().unwrap();
        let blocks: u64 = verity.split(':').next().unwrap().parse().unwrap();
        let root = content_size("root-a").unwrap();
        assert!(root > blocks * 4096 && root < blocks * 4096 * 102 / 100, "{root} bytes with {blocks} blocks of data");
        // Every byte of them comes onto the card, and nothing else of these partitions does.
        for partition in built.manifest["partitions"].as_array().unwrap() {
            match partition["name"].as_str().unwrap() {
                "boot-a" | "root-a" => assert_eq!(partition["used"], partition["content_size"]),
                _ => assert!(partition["content_size"].is_null(), "{partition}"),
            }
        }
    }
}

#[test]
fn e2fsck_has_nothing_to_say_of_data() {
    for recipe in ["minimal", "pistack"] {
        let built = Built::of(recipe);
        let output = tool("e2fsck", "e2fsprogs").arg("-fn").arg(built.extract("data")).output().unwrap();
        let verdict = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{verdict}");
        assert!(
            !verdict.contains("Fix") && verdict.contains("clean") | verdict.contains("non-contiguous"),
            "{verdict}"
        );
    }
}

#[test]
fn fsck_erofs_has_nothing_to_say_of_the_root_and_the_kernel_reads_it_alike() {
    let built = Built::of("pistack");
    let root = built.extract("root-a");
    let output = succeed(tool("fsck.erofs", "erofs-utils").arg(&root));
    let verdict = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!verdict.contains("<E>") && !verdict.contains("<W>"), "{verdict}");
    let extracted = built.root();
    assert!(
        rustix::process::geteuid().is_root(),
        "this test mounts an image: run it as root, or leave it out: cargo test -- --skip the_kernel_reads"
    );
    let known = fs::read_to_string("/proc/filesystems").unwrap().lines().any(|line| line.trim() == "erofs");
    if !known {
        // Most distributions have it as a module.
        succeed(tool("modprobe", "kmod").arg("erofs"));
    }
    let mounted = built.folder.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    succeed(tool("mount", "mount").args(["-t", "erofs", "-o", "loop,ro"]).arg(&root).arg(&mounted));
    let compared = tool("diff", "diffutils").args(["-r", "--no-dereference"]).arg(&mounted).arg(&extracted).output();
    let unmounted = tool("umount", "mount").arg(&mounted).status().unwrap();
    let compared = compared.unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
    assert!(unmounted.success());
}

#[test]
fn veritysetup_verifies_the_root_with_the_hash_on_the_slots_command_line() {
    for recipe in ["minimal", "pistack"] {
        let built = Built::of(recipe);
        let line = fs::read_to_string(built.file("boot-a", "slot.env")).unwrap();
        let command_line = built.manifest["kernel"]["command_line"].as_str().unwrap();
        assert!(line.contains(command_line), "{line}");
        let verity = line.split_whitespace().find_map(|word| word.strip_prefix("fruit.verity=")).unwrap();
        assert_eq!(built.manifest["kernel"]["verity"], verity);
        let [blocks, hash_block, root_hash, salt] = verity.split(':').collect::<Vec<_>>()[..] else {
            panic!("{verity}")
        };
        let root = built.extract("root-a");
        // The superblock of the hash tree stands in the block before the hashes, behind the data.
        assert_eq!(blocks.parse::<u64>().unwrap() + 1, hash_block.parse::<u64>().unwrap());
        let offset = format!("--hash-offset={}", blocks.parse::<u64>().unwrap() * 4096);
        let verify = |file: &Path, hash: &str| {
            tool("veritysetup", "cryptsetup-bin")
                .arg("verify")
                .args([file, file])
                .args([hash, &offset])
                .output()
                .unwrap()
        };
        let verdict = verify(&root, root_hash);
        assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stderr));
        let dump = said(tool("veritysetup", "cryptsetup-bin").arg("dump").arg(&root).arg(&offset));
        assert!(dump.contains(salt) && dump.contains("sha256"), "{dump}");
        // One bit in the middle of the data, and it is found.
        let file = File::options().read(true).write(true).open(&root).unwrap();
        let mut byte = [0];
        let middle = blocks.parse::<u64>().unwrap() / 2 * 4096;
        file.read_exact_at(&mut byte, middle).unwrap();
        file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
        assert!(!verify(&root, root_hash).status.success());
    }
}

#[test]
fn the_fresh_state_block_says_slot_a_without_trial() {
    let built = Built::of("minimal");
    let (start, _) = built.partition("state");
    let stored = Stored::read(&File::open(&built.image).unwrap(), start).unwrap();
    assert!(stored.is_valid());
    let state = stored.state();
    assert_eq!((state.active, state.trial.is_none(), state.failed.is_none()), (Slot::A, true, true));
}

#[test]
fn cpio_lists_the_initramfs_and_mkimage_knows_the_boot_script() {
    for recipe in ["minimal", "pistack"] {
        let built = Built::of(recipe);
        let plain = built.initramfs();
        let list = said(tool("cpio", "cpio").args(["-t", "--quiet"]).stdin(File::open(&plain).unwrap()));
        let names: Vec<&str> = list.lines().collect();
        for name in ["init", "etc/fruit/init.json"] {
            assert!(names.contains(&name), "no {name} in:\n{list}");
        }
        let release = built.manifest["kernel"]["release"].as_str().unwrap();
        for module in ["erofs.ko", "dm-verity.ko", "overlay.ko", "ext4.ko", "bcm2835_wdt.ko"] {
            let found = names.iter().any(|name| name.ends_with(&format!("/{module}")) && name.contains(release));
            assert!(found, "no {module} in:\n{list}");
        }
        let script = built.file("firmware", "boot.scr");
        for mut command in [tool("dumpimage", "u-boot-tools"), tool("mkimage", "u-boot-tools")] {
            let kind = said(command.arg("-l").arg(&script));
            assert!(kind.contains("Script") && kind.contains("AArch64"), "{kind}");
        }
    }
}

#[test]
fn sha256sum_zstd_and_bmaptool_agree_with_the_image() {
    let built = Built::of("pistack");
    let folder = built.image.parent().unwrap();
    let name = built.image.file_stem().unwrap().to_str().unwrap();
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let ours: String = sums.lines().filter(|line| line.contains(name)).map(|line| format!("{line}\n")).collect();
    assert_eq!(ours.lines().count(), 5, "{sums}");
    let list = built.folder.path().join("sums");
    fs::write(&list, ours).unwrap();
    succeed(tool("sha256sum", "coreutils").current_dir(folder).args(["--strict", "--quiet", "-c"]).arg(&list));

    let unpacked = built.folder.path().join("unpacked.img");
    succeed(tool("zstd", "zstd").args(["-q", "-d"]).arg(beside(&built.image, "img.zst")).arg("-o").arg(&unpacked));
    same_bytes(&built.image, &unpacked);

    let card = built.folder.path().join("card.img");
    let bmap = beside(&built.image, "img.bmap");
    succeed(tool("bmaptool", "bmap-tools").arg("-q").arg("copy").arg("--bmap").arg(&bmap).arg(&built.image).arg(&card));
    // What is not mapped is zero in the image and on a fresh card.
    same_bytes(&built.image, &card);
}

#[test]
fn the_root_tells_what_it_is_and_which_packages_it_holds() {
    for recipe in ["minimal", "pistack"] {
        let built = Built::of(recipe);
        let root = built.root();
        let text = fs::read_to_string(root.join("etc/os-release")).unwrap();
        let fields: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key, value.trim_matches('"')))
            .collect();
        let image = &built.manifest["image"];
        assert_eq!((fields["ID"], fields["IMAGE_ID"]), ("debian", recipe));
        assert_eq!(image["version"], fields["IMAGE_VERSION"]);
        assert_eq!(image["board"], fields["VARIANT_ID"]);
        assert_eq!(built.manifest["build_id"], fields["BUILD_ID"]);
        assert!(fields.contains_key("VARIANT"), "{text}");

        let installed: Vec<&Value> =
            built.manifest["packages"].as_array().unwrap().iter().filter(|p| !p["unpacked"].is_null()).collect();
        let sbom: Value = serde_json::from_slice(&fs::read(beside(&built.image, "spdx.json")).unwrap()).unwrap();
        assert_eq!((&sbom["spdxVersion"], &sbom["dataLicense"]), (&"SPDX-2.3".into(), &"CC0-1.0".into()));
        let components = sbom["packages"].as_array().unwrap();
        // The image itself is one more.
        assert_eq!(components.len(), installed.len() + 1);
        for package in installed {
            let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
            let record = fs::read_to_string(root.join("var/lib/dpkg/status.d").join(name)).unwrap();
            assert!(record.contains(&format!("Version: {version}\n")), "{record}");
            let component = components.iter().find(|c| c["name"] == name && c["versionInfo"] == version);
            let component = component.unwrap_or_else(|| panic!("{name} {version} is not in the SBOM"));
            assert_eq!(component["checksums"][0]["checksumValue"], package["sha256"]);
            let url = component["externalRefs"][0]["referenceLocator"].as_str().unwrap();
            assert!(url.starts_with(&format!("pkg:deb/debian/{}@", name.replace('+', "%2B"))), "{url}");
        }
    }
}

#[test]
fn the_manifests_sizes_add_up() {
    for recipe in ["minimal", "pistack"] {
        let built = Built::of(recipe);
        let image = &built.manifest["image"];
        let size = fs::metadata(&built.image).unwrap().len();
        assert_eq!(image["disk_size"], size);
        let partitions = built.manifest["partitions"].as_array().unwrap();
        let number = |value: &Value, key: &str| value[key].as_u64().unwrap();
        let mut end = 34 * 512;
        for partition in partitions {
            assert!(number(partition, "start") >= end, "{partition}");
            assert!(number(partition, "used") <= number(partition, "size"), "{partition}");
            end = number(partition, "start") + number(partition, "size");
        }
        assert!(end <= size - 33 * 512);
        // The rest is the two partition tables.
        let used: u64 = partitions.iter().map(|p| number(p, "used")).sum();
        let tables = number(image, "bytes_to_write") - used;
        assert!((34 * 512..=128 << 10).contains(&tables), "{tables}");
        // A sparse file: what is not written takes no room (by the blocks of the file system it is on).
        let on_disk = fs::metadata(&built.image).unwrap().blocks() * 512;
        assert!(on_disk <= number(image, "bytes_to_write") + 2 * MIB, "{on_disk} bytes on the disk");
    }
}

#[test]
fn images_are_as_small_as_promised() {
    let bytes_to_write = |built: &Built| built.manifest["image"]["bytes_to_write"].as_u64().unwrap();
    let (minimal, pistack) = (Built::of("minimal"), Built::of("pistack"));
    let packed = fs::metadata(beside(&pistack.image, "img.zst")).unwrap().len();
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    for built in [&minimal, &pistack] {
        println!("{}: {:.1} MiB to write", built.manifest["image"]["name"], mib(bytes_to_write(built)));
        for partition in built.manifest["partitions"].as_array().unwrap() {
            println!("  {:>8.1}  {}", mib(partition["used"].as_u64().unwrap()), partition["name"]);
        }
    }
    println!("pistack's .img.zst: {:.1} MiB", mib(packed));
    assert!(bytes_to_write(&minimal) <= 80 * MIB);
    assert!(bytes_to_write(&pistack) <= 200 * MIB);
    assert!(packed <= 70 * MIB);
}

/// The files of a build by name, without `SHA256SUMS`, which tells of other images of the folder, too.
fn outputs(folder: &Path, recipe: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // A version follows the name: `pistack-virt-0.1.0` is no output of `pistack`.
    let is_version = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    let name = format!("{recipe}-");
    let is_ours =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().strip_prefix(&name).is_some_and(is_version);
    let mut files: Vec<PathBuf> = entries.filter(is_ours).collect();
    files.sort();
    files
}

fn same_outputs(one: &Path, other: &Path, recipe: &str) {
    let (ones, others) = (outputs(one, recipe), outputs(other, recipe));
    let names = |all: &[PathBuf]| all.iter().map(|p| p.file_name().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((names(&ones), ones.len()), (names(&others), 5));
    ones.iter().zip(&others).for_each(|(a, b)| same_bytes(a, b));
}

#[test]
fn anybody_anywhere_builds_the_same_bytes() {
    for recipe in ["minimal", "pistack"] {
        let shared = image_of(recipe);
        let path = format!("recipes/{recipe}.yaml");
        // Without privileges, on one processor, nothing readable by others, in a strange place and land.
        let elsewhere = Project::at("a folder/with spaces/and ünï cöde/quite far down", 0o700)
            .with(recipe)
            .wrapped(&["sh", "-c", "umask 077; exec taskset -c 0 \"$0\" \"$@\""])
            .variable("LC_ALL", "tr_TR.UTF-8")
            .variable("TZ", "Pacific/Chatham")
            .unprivileged();
        elsewhere.succeed(&["build", &path, "--locked", "--offline"]);
        same_outputs(shared.parent().unwrap(), &elsewhere.path("out"), recipe);
    }
}

#[test]
fn builds_killed_at_any_moment_leave_nothing_half_written_and_no_litter() {
    let reference = image_of("minimal");
    let project = Project::of("minimal");
    let build = ["build", "recipes/minimal.yaml", "--locked", "--offline"];
    let whole = |path: &Path| same_bytes(path, &reference.with_file_name(path.file_name().unwrap()));
    for moment in [50, 300, 700, 1200, 2000, 3000, 5000] {
        let mut child = project.command(&build).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        if project.path("out").exists() {
            outputs(&project.path("out"), "minimal").iter().for_each(|path| whole(path));
        }
    }
    let started = Instant::now();
    project.succeed(&build);
    let whole_build = started.elapsed();
    same_outputs(reference.parent().unwrap(), &project.path("out"), "minimal");
    // Killed while other files take the place of these: no sum is that of a file which is not there any more.
    let motd = fs::read_to_string(project.path("overlays/fruit/etc/motd")).unwrap();
    for (n, percent) in [60, 70, 80, 90, 95, 100].into_iter().enumerate() {
        project.write("overlays/fruit/etc/motd", &"changed\n".repeat(n + 1));
        let mut child = project.command(&build).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole_build * percent / 100);
        child.kill().unwrap();
        child.wait().unwrap();
        for line in fs::read_to_string(project.path("out/SHA256SUMS")).unwrap().lines() {
            let (sum, name) = line.split_once("  ").unwrap();
            assert_eq!(Sum::of(&fs::read(project.path("out").join(name)).unwrap()).to_string(), sum, "{name}");
        }
    }
    project.write("overlays/fruit/etc/motd", &motd);
    project.succeed(&build);
    same_outputs(reference.parent().unwrap(), &project.path("out"), "minimal");
    succeed(tool("sha256sum", "coreutils").current_dir(project.path("out")).args([
        "--strict",
        "--quiet",
        "-c",
        "SHA256SUMS",
    ]));
    let names =
        |folder: &str| fs::read_dir(project.path(folder)).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names("out").len(), 6, "{:?}", names("out"));
    assert!(names("cache/tmp").is_empty(), "{:?}", names("cache/tmp"));
}

#[test]
fn builds_at_the_same_time_do_not_disturb_each_other() {
    let project = Project::of("minimal");
    let reference = image_of("minimal");
    let start = |out: &str| {
        let build = ["build", "recipes/minimal.yaml", "--locked", "--offline", "--out", out];
        project.command(&build).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = ["one", "one", "two"].map(start);
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names = String::from_utf8(output.stdout).unwrap();
        assert_eq!(names.lines().count(), 5, "{names}");
    }
    for out in ["one", "two"] {
        same_outputs(reference.parent().unwrap(), &project.path(out), "minimal");
    }
}

#[test]
fn nothing_is_done_when_nothing_changed_and_an_overlays_file_changes_the_image() {
    let project = Project::of("minimal");
    let build = ["build", "recipes/minimal.yaml", "--locked", "--offline"];
    let dates = || -> Vec<_> {
        let files = outputs(&project.path("out"), "minimal");
        files.iter().map(|path| (path.clone(), fs::metadata(path).unwrap().modified().unwrap())).collect()
    };
    let first = project.succeed(&build);
    let before = dates();
    let again = project.succeed(&build);
    assert!(again.stderr.contains("nothing changed"), "{}", again.stderr);
    assert_eq!((first.stdout, dates()), (again.stdout, before.clone()));

    project.write("overlays/fruit/etc/motd", "changed\n");
    let third = project.succeed(&build);
    assert!(!third.stderr.contains("nothing changed"), "{}", third.stderr);
    assert_ne!(dates(), before);
    let image = outputs(&project.path("out"), "minimal").remove(0);
    let answer = project.succeed(&["diff", image_of("minimal").to_str().unwrap(), image.to_str().unwrap()]);
    assert!(answer.stdout.contains("content  /etc/motd"), "{}", answer.stdout);

    // A file of the output that is gone, or that somebody wrote to, is made again.
    File::options().append(true).open(&image).unwrap().write_all(b"x").unwrap();
    project.succeed(&build);
    assert_eq!(fs::metadata(&image).unwrap().len() % MIB, 0);
}

#[test]
fn what_is_missing_or_was_tampered_with_ends_a_build() {
    let project = Project::of("minimal");
    let build = ["build", "recipes/minimal.yaml", "--locked", "--offline"];
    // A package with one byte changed: named, with both hashes, and not used again.
    let package = project.blob("minimal", "dropbear-bin");
    let mut bytes = fs::read(&package).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&package, &bytes).unwrap();
    let sha256 = package.file_stem().unwrap().to_str().unwrap();
    project.fail(&build, 4, &["dropbear-bin", "SHA-256", sha256, "removed from the store"]);
    assert!(!project.path("out").join("SHA256SUMS").exists());
    // Then it is missing, and offline it stays so.
    project.fail(&build, 5, &["dropbear-bin", "offline"]);

    let empty = Project::empty();
    empty.fail(&["build", "recipes/minimal.yaml", "--locked", "--offline"], 3, &["minimal.lock", "fruitbuild lock"]);
    empty.fail(&["build", "recipes/minimal.yaml", "--offline"], 5, &["InRelease", "offline"]);
}
