//! Images, made by the tools that a person has, and trees on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fruit_debian::Sha256;
use fruit_image::tree::{Inode, InodeId, Kind, Tree};
use rustix::fs::{FileType, Mode, XattrFlags, mknodat, setxattr};
use serde_json::json;

/// A program that a test needs.
pub fn tool(name: &str, package: &str) -> Command {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).any(|folder| folder.join(name).is_file());
    assert!(found, "this test needs `{name}`; install the Debian package {package}");
    Command::new(name)
}

pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    output
}

/// A layer as GNU tar and gzip make it, and the SHA-256 of what gzip was given.
fn layer(folder: &Path) -> (Vec<u8>, Sha256) {
    let mut tar = tool("tar", "tar");
    tar.args(["--sort=name", "--mtime=@0", "--numeric-owner", "-cf", "-", "-C"]).arg(folder).arg(".");
    let plain = succeed(&mut tar).stdout;
    let file = folder.with_extension("tar");
    fs::write(&file, &plain).unwrap();
    (succeed(tool("gzip", "gzip").arg("-nc").arg(&file)).stdout, Sha256::of(&plain))
}

/// An OCI layout below `folder` with an image of two layers: busybox, and what takes some of it away. `which` is in it.
pub fn busybox_image(folder: &Path, which: &str) -> PathBuf {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("base/etc/old", "old\n");
    write("base/etc/keep", "keep\n");
    write("base/dir/a", "a\n");
    fs::create_dir_all(folder.join("base/bin")).unwrap();
    // Debian's package has one that needs no library.
    tool("busybox", "busybox-static");
    let busybox = String::from_utf8(succeed(Command::new("sh").args(["-c", "command -v busybox"])).stdout).unwrap();
    fs::copy(busybox.trim(), folder.join("base/bin/busybox")).unwrap();
    fs::hard_link(folder.join("base/bin/busybox"), folder.join("base/hard")).unwrap();
    write("top/etc/which", &format!("{which}\n"));
    write("top/etc/.wh.old", "");
    write("top/dir/.wh..wh..opq", "");
    write("top/dir/b", "b\n");
    fs::set_permissions(folder.join("top/dir/b"), fs::Permissions::from_mode(0o600)).unwrap();
    if rustix::process::geteuid().is_root() {
        lchown(folder.join("top/dir/b"), Some(1000), Some(1000)).unwrap();
    }
    layout(&folder.join("layout"), &[layer(&folder.join("base")), layer(&folder.join("top"))])
}

/// Writes an OCI layout with one image for amd64.
fn layout(folder: &Path, layers: &[(Vec<u8>, Sha256)]) -> PathBuf {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8], media_type: &str| {
        let sha256 = Sha256::of(bytes);
        fs::write(blobs.join(sha256.to_string()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{sha256}"), "size": bytes.len()})
    };
    let diff_ids: Vec<String> = layers.iter().map(|(_, id)| format!("sha256:{id}")).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/busybox", "cat", "/etc/which"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = put(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let layer = |(bytes, _): &(Vec<u8>, Sha256)| put(bytes, "application/vnd.oci.image.layer.v1.tar+gzip");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    let manifest = put(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    folder.to_owned()
}

/// Everything in a tree, as text.
pub fn listing(tree: &Tree) -> String {
    let one = |(path, id, inode): (&str, InodeId, &Inode)| {
        let what = match &inode.kind {
            Kind::File(content) => Sha256::of(&content.to_vec().unwrap()).to_string(),
            other => format!("{other:?}"),
        };
        format!("{path} {id:?} {:?} {what}\n", inode.meta)
    };
    tree.iter().map(one).collect()
}

/// Writes a tree into a folder as a node would see it.
pub fn on_disk(tree: &Tree, root: &Path) {
    let mut first: BTreeMap<InodeId, PathBuf> = BTreeMap::new();
    for (path, id, inode) in tree.iter() {
        let to = root.join(path);
        if let Some(earlier) = first.get(&id) {
            fs::hard_link(earlier, &to).unwrap();
            continue;
        }
        match &inode.kind {
            Kind::Dir => fs::create_dir_all(&to).unwrap(),
            Kind::File(content) => fs::write(&to, content.to_vec().unwrap()).unwrap(),
            Kind::Symlink(target) => symlink(target, &to).unwrap(),
            Kind::CharDevice { major, minor } => {
                let device = rustix::fs::makedev(*major, *minor);
                mknodat(rustix::fs::CWD, &to, FileType::CharacterDevice, Mode::empty(), device).unwrap();
            }
            other => panic!("{path}: {other:?}"),
        }
        lchown(&to, Some(inode.meta.uid), Some(inode.meta.gid)).unwrap();
        if !matches!(inode.kind, Kind::Symlink(_)) {
            fs::set_permissions(&to, fs::Permissions::from_mode(u32::from(inode.meta.mode))).unwrap();
            for (name, value) in &inode.meta.xattrs {
                setxattr(&to, name.as_str(), value, XattrFlags::empty()).unwrap();
            }
        }
        if !inode.is_dir() {
            first.insert(id, to);
        }
    }
}
