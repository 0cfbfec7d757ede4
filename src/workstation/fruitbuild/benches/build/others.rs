//! What builds are measured against: the bare decompressors, and the usual tools.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fruit_debian::LockedPackage;
use fruit_pipeline::lock::is_installed;

use super::measure::{Cost, processors, run};
use super::project::Project;

/// `$1` a list of packages, `$2` how many at a time, `$3` bytes to write, `$4` where. Drafts of ours are synced to the
/// disk as well, so this is.
const BARE: &str = r#"
xargs -P "$2" -n 1 sh -c '
    data=$(ar t "$1" | grep ^data.tar)
    case $data in
        *.xz) ar p "$1" "$data" | xz -dc ;;
        *.zst) ar p "$1" "$data" | zstd -dc ;;
        *) ar p "$1" "$data" | gzip -dc ;;
    esac >/dev/null' sh <"$1" &&
dd if=/dev/zero of="$4" bs=1M count="$3" iflag=count_bytes conv=fsync status=none"#;

/// Decompressing and writing, and nothing else.
pub struct Limit {
    list: PathBuf,
    target: PathBuf,
    /// Bytes of the packages.
    pub packed: u64,
    /// Bytes of a build's outputs on the disk.
    pub written: u64,
}

impl Limit {
    /// Against the last build of pistack.
    pub fn new(project: &Project) -> Limit {
        for (program, package) in [("ar", "binutils"), ("xz", "xz-utils"), ("zstd", "zstd"), ("xargs", "findutils")] {
            run(package, Command::new(program).arg("--version"));
        }
        let mut packages = project.lock("pistack").packages;
        packages.sort_by_key(|package| std::cmp::Reverse(package.size)); // no long one at the end alone
        let list = project.folder.join("limit.list");
        let text: String = packages.iter().map(|package| format!("{}\n", project.deb(package).display())).collect();
        fs::write(&list, text).expect("a file of the bench");
        let blocks = |path: &PathBuf| path.metadata().expect("an output").blocks() * 512;
        Limit {
            list,
            target: project.folder.join("limit.bytes"),
            packed: packages.iter().map(|package| package.size).sum(),
            written: project.outputs("pistack").iter().map(blocks).sum(),
        }
    }

    pub fn run(&self) -> Cost {
        let _ = fs::remove_file(&self.target); // may be missing
        let mut command = Command::new("sh");
        command.args(["-ec", BARE, "sh"]).arg(&self.list).arg(processors().to_string());
        run("dash", command.arg(self.written.to_string()).arg(&self.target))
    }
}

/// `$1` the folder of the bench, `$2` the packages for mmdebstrap, `$3` `deb` lines. Loader and firmware are in packages
/// that no root has, which stand in `other/`.
const EXTRACT: &str = r#"
cd "$1"
rm -rf root other-files images tmp
mkdir root other-files images
mmdebstrap --quiet --mode=root --variant=extract --architectures=arm64 --include="$2" \
    --skip=check/empty --aptopt='Acquire::Languages "none"' trixie root "$3"
for deb in other/*.deb; do dpkg-deb -x "$deb" other-files; done
mkfs.erofs --quiet -T1 images/root.erofs root
truncate -s 32M images/data.ext4
mke2fs -q -F -t ext4 images/data.ext4
mkdir empty-root 2>/dev/null || true
genimage --config genimage.cfg --rootpath empty-root --inputpath images --outputpath images --tmppath tmp >genimage.log 2>&1"#;

/// The usual tools over the same packages.
pub struct Extracted {
    folder: PathBuf,
    packages: String,
    sources: String,
}

impl Extracted {
    /// Lays out a repository of the packages of pistack: nothing is fetched, and apt has nothing to choose.
    pub fn new(project: &Project) -> Extracted {
        for (program, package) in [("mmdebstrap", "mmdebstrap"), ("genimage", "genimage"), ("mcopy", "mtools")] {
            run(package, Command::new(program).arg("--version"));
        }
        run("erofs-utils", Command::new("mkfs.erofs").arg("--help"));
        run("e2fsprogs", Command::new("mke2fs").arg("-V"));
        run("dosfstools", Command::new("mkfs.fat").arg("--help"));
        let folder = project.folder.join("mmdebstrap");
        let _ = fs::remove_dir_all(&folder); // of an earlier run
        for name in ["pool", "other"] {
            fs::create_dir_all(folder.join(name)).expect("a folder of the bench");
        }
        let lock = project.lock("pistack");
        let mut index = String::new();
        let mut names = Vec::new();
        for package in &lock.packages {
            let deb = project.deb(package);
            let file = format!("{}_{}.deb", package.name, package.architecture);
            if is_installed(package) {
                link(&deb, &folder.join("pool").join(&file));
                add_to_index(&mut index, package, &deb, &file);
                names.push(package.name.clone());
            } else {
                link(&deb, &folder.join("other").join(&file));
            }
        }
        fs::write(folder.join("pool/Packages"), index).expect("a file of the bench");
        fs::write(folder.join("genimage.cfg"), genimage(&folder, project)).expect("a file of the bench");
        let sources = format!("deb [trusted=yes] copy:{} ./", folder.join("pool").display());
        Extracted { folder, packages: names.join(","), sources }
    }

    pub fn run(&self) -> Cost {
        let mut command = Command::new("sh");
        command.args(["-ec", EXTRACT, "sh"]).arg(&self.folder).arg(&self.packages).arg(&self.sources);
        run("dash", &mut command)
    }
}

/// A link, or else a copy, of a package.
fn link(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).expect("a package of the store");
    }
}

/// A paragraph of the index, without relations: the set is chosen already, and leaves out what the recipe excludes.
fn add_to_index(index: &mut String, package: &LockedPackage, deb: &Path, file: &str) {
    let fields = ["Package", "Version", "Architecture", "Maintainer", "Multi-Arch", "Description"];
    let output = Command::new("dpkg-deb").arg("-f").arg(deb).args(fields).output();
    let output = output.unwrap_or_else(|error| panic!("dpkg-deb: {error}; install the Debian package dpkg"));
    index.push_str(&String::from_utf8_lossy(&output.stdout));
    // Writing to a String does not fail.
    let _ = write!(index, "Filename: ./{file}\nSize: {}\nSHA256: {}\n\n", package.size, package.sha256);
}

/// Kernel and device trees on the boot partition, firmware and loader on the first, partitions as large as ours.
fn genimage(folder: &Path, project: &Project) -> String {
    let manifest = project.manifest("pistack");
    let size = |name: &str| {
        let partitions = manifest["partitions"].as_array().expect("partitions in a manifest");
        partitions.iter().find(|p| p["name"] == name).and_then(|p| p["size"].as_u64()).expect("a partition's size")
    };
    let release = manifest["kernel"]["release"].as_str().expect("the kernel's release");
    let at = |path: &str| folder.join(path).display().to_string();
    let firmware = ["bootcode.bin", "start_cd.elf", "fixup_cd.dat"]
        .map(|name| at(&format!("other-files/usr/lib/raspi-firmware/{name}")));
    let loader = at("other-files/usr/lib/u-boot/rpi_arm64/u-boot.bin");
    let kernel = at(&format!("root/boot/vmlinuz-{release}"));
    let trees = ["bcm2837-rpi-3-b.dtb", "bcm2837-rpi-3-b-plus.dtb"]
        .map(|name| at(&format!("root/usr/lib/linux-image-{release}/broadcom/{name}")));
    let fat = |name: &str, files: &[String]| {
        let files: Vec<String> = files.iter().map(|file| format!("\"{file}\"")).collect();
        format!("image {name}.fat {{\n  vfat {{ files = {{ {} }} }}\n  size = {}\n}}\n", files.join(", "), size(name))
    };
    let mut config = fat("firmware", &[&firmware[..], &[loader]].concat());
    config += &fat("boot-a", &[&[kernel][..], &trees].concat());
    config += "image card.img {\n  hdimage { partition-table-type = \"gpt\" }\n";
    for (name, image) in [
        ("firmware", "firmware.fat"),
        ("boot-a", "boot-a.fat"),
        ("boot-b", ""),
        ("root-a", "root.erofs"),
        ("root-b", ""),
        ("state", ""),
        ("data", "data.ext4"),
    ] {
        let image = if image.is_empty() { String::new() } else { format!("image = \"{image}\"\n    ") };
        // Their root is not pruned, and as large as it is.
        let size = if name == "root-a" { String::new() } else { format!("size = {}\n  ", size(name)) };
        // Writing to a String does not fail.
        let _ = write!(config, "  partition {name} {{\n    {image}{size}}}\n");
    }
    config + "}\n"
}
