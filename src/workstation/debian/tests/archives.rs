//! Archives of downloads, made by the programs that people make them with.

use std::path::{Path, PathBuf};
use std::process::Command;

use fruit_debian::{Archive, LockedDownload, Member, MemberKind, Sha256, Silent, Store};

fn run(program: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; install it"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A folder with what archives hold.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("top/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("program"), "#!/bin/sh\n").unwrap();
    run("chmod", &["0755", "program"], &bin);
    std::fs::write(folder.path().join("top/notice"), "text\n".repeat(1000)).unwrap();
    std::os::unix::fs::symlink("bin/program", folder.path().join("top/link")).unwrap();
    folder
}

/// What the file holds, put into a store as if it had been fetched.
fn open(path: &Path) -> Result<Vec<String>, String> {
    let cache = tempfile::tempdir().unwrap();
    let store = Store::open(cache.path(), false).unwrap();
    let url = format!("file://{}", path.display());
    let (size, sha256) = store.pin(&[&url], None, &Silent).unwrap();
    let file = LockedDownload { name: "it".into(), url, size, sha256, sha512: None };
    let first = shown(&store.open_archive(&file).map_err(|error| error.to_string())?);
    // What is in the store now gives the same.
    assert_eq!(first, shown(&store.open_archive(&file).unwrap()));
    // A damaged form is made anew.
    let blob = store.root().join("blobs").join(&sha256.to_string()[..2]).join(format!("{sha256}.unpacked"));
    if blob.exists() {
        std::fs::write(&blob, "damaged").unwrap();
        assert_eq!(first, shown(&store.open_archive(&file).unwrap()));
    }
    Ok(first)
}

fn shown(archive: &Archive) -> Vec<String> {
    let one = |member: &Member| match &member.kind {
        MemberKind::File(content) => {
            let sum = Sha256::of(&content.to_vec().unwrap());
            format!("{} {} {}", member.path, member.executable, &sum.to_string()[..8])
        }
        MemberKind::Link(target) => format!("{} -> {target}", member.path),
        MemberKind::Folder => format!("{}/", member.path),
        MemberKind::Other => format!("{} ?", member.path),
    };
    match archive {
        Archive::Single(content) => vec![format!("{} bytes", content.len())],
        Archive::Many(members) => {
            let mut all: Vec<String> = members.iter().map(one).collect();
            all.sort();
            all
        }
    }
}

#[test]
fn tar_in_all_its_compressions_and_zip_hold_the_same() {
    let folder = folder();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    run("tar", &["--format=gnu", "-cf", "a.tar", "top"], folder.path());
    run("tar", &["--format=pax", "--pax-option=VENDOR.note:=x", "-cf", "pax.tar", "top"], folder.path());
    let expected = open(&at("a.tar")).unwrap();
    assert_eq!(expected.len(), 5, "{expected:?}");
    assert!(expected.contains(&"top/link -> bin/program".to_owned()), "{expected:?}");
    let program = expected.iter().find(|line| line.starts_with("top/bin/program")).unwrap();
    assert!(program.contains("true"), "{expected:?}");
    assert_eq!(open(&at("pax.tar")).unwrap(), expected);
    for (flag, name) in [("z", "a.tgz"), ("J", "a.tar.xz"), ("j", "a.tar.bz2")] {
        run("tar", &[&format!("-c{flag}f"), name, "top"], folder.path());
        assert_eq!(open(&at(name)).unwrap(), expected, "{name}");
    }
    std::fs::write(at("a.zst"), zstd::encode_all(&std::fs::read(at("a.tar")).unwrap()[..], 3).unwrap()).unwrap();
    assert_eq!(open(&at("a.zst")).unwrap(), expected);
    let script = "import os, stat, zipfile\nz = zipfile.ZipFile('a.zip', 'w', zipfile.ZIP_DEFLATED)\n\
                  for p in ['top/', 'top/bin/', 'top/bin/program', 'top/notice']: z.write(p)\n\
                  i = zipfile.ZipInfo('top/link'); i.create_system = 3; i.external_attr = (stat.S_IFLNK | 0o777) << 16\n\
                  z.writestr(i, 'bin/program'); z.close()\n";
    run("python3", &["-c", script], folder.path());
    assert_eq!(open(&at("a.zip")).unwrap(), expected);
    run("gzip", &["-k", "top/notice"], folder.path());
    assert_eq!(open(&at("top/notice.gz")).unwrap(), ["5000 bytes"]);
    assert_eq!(open(&at("top/notice")).unwrap(), ["5000 bytes"]);
}

#[test]
fn hostile_archives_are_refused_by_their_entry() {
    let folder = folder();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let error = |name: &str| open(&at(name)).unwrap_err();
    run("tar", &["--transform=s,top/notice,../../etc/passwd,", "-Pcf", "up.tar", "top/notice"], folder.path());
    assert!(error("up.tar").contains("`..`"), "{}", error("up.tar"));
    run("tar", &["--transform=s,^,/,", "-Pcf", "absolute.tar", "top/notice"], folder.path());
    assert_eq!(open(&at("absolute.tar")).unwrap()[0].split(' ').next(), Some("top/notice"));
    let up = "import zipfile\nz = zipfile.ZipFile('up.zip', 'w'); z.writestr('a/../../x', 'x'); z.close()\n";
    run("python3", &["-c", up], folder.path());
    assert!(error("up.zip").contains("`..`"), "{}", error("up.zip"));
    // 512 MiB of zeros in half a megabyte.
    let bomb = "import gzip, zipfile\ng = gzip.open('bomb.gz', 'wb')\nfor _ in range(512): g.write(bytes(1 << 20))\ng.close()\n\
                z = zipfile.ZipFile('bomb.zip', 'w', zipfile.ZIP_DEFLATED)\nz.writestr('x', bytes(300 << 20)); z.close()\n";
    run("python3", &["-c", bomb], folder.path());
    for name in ["bomb.gz", "bomb.zip"] {
        assert!(error(name).contains("bomb"), "{}", error(name));
    }
    let gz = std::fs::read(at("bomb.gz")).unwrap();
    std::fs::write(at("short.gz"), &gz[..1000]).unwrap();
    assert!(error("short.gz").contains("damaged"), "{}", error("short.gz"));
    run("mkfifo", &["top/pipe"], folder.path());
    run("tar", &["-cf", "fifo.tar", "top/pipe"], folder.path());
    assert_eq!(open(&at("fifo.tar")).unwrap(), ["top/pipe ?"]);
}
