//! `fruitbuild inspect`

use std::path::Path;

use fruit_base::AtPath;
use fruit_contract::bootctl::Stored;
use fruit_image::disk::DiskFile;
use fruit_image::inspect::{self, Filesystem};
use fruit_image::storage::{Extent, Region};
use fruit_image::tree::{Kind, Source, Tree};
use fruit_image::{erofs, gpt};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Where package records of an image are.
const RECORDS: &str = "var/lib/dpkg/status.d";

/// Shows what is in an image: `fruitbuild inspect`.
///
/// # Errors
/// A file that is no image, or a damaged one; standard output that cannot be written.
pub fn inspect(image: &Path, largest: usize, as_json: bool) -> Result<(), Failure> {
    let disk = DiskFile::open(image).map_err(fail)?;
    let card = inspect::inspect(&disk).map_err(|error| Failure::general(format!("{}: {error}", image.display())))?;
    let partitions: Vec<Value> = card.partitions.iter().map(partition).collect();
    let slots = slots(&disk, &card)?;
    let root = open_root(image).ok();
    let packages = root.as_ref().map(packages).unwrap_or_default();
    let files = root.as_ref().map(|tree| largest_files(tree, largest)).unwrap_or_default();
    if as_json {
        let value = json!({
            "size": card.size, "disk": card.disk_guid.to_string(), "partitions": partitions, "slots": slots,
            "packages": packages, "largest": files,
        });
        outln!("{value:#}");
        return Ok(());
    }
    outln!("{}: {} MiB, disk {}", image.display(), card.size >> 20, card.disk_guid);
    outln!("\n   start MiB   size MiB  partition   content");
    for row in &partitions {
        let mib = |key: &str| row[key].as_u64().unwrap_or(0) as f64 / f64::from(1 << 20);
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        outln!("{:>12.1} {:>10.1}  {:10}  {}", mib("start"), mib("size"), text("name"), text("content"));
    }
    outln!(
        "\nslots: active {}, on trial {}",
        slots["active"].as_str().unwrap_or("?"),
        slots["trial"].as_str().unwrap_or("none")
    );
    outln!("\n{} packages in slot a", packages.len());
    for package in &packages {
        outln!(
            "  {} {}",
            package["name"].as_str().unwrap_or_default(),
            package["version"].as_str().unwrap_or_default()
        );
    }
    outln!("\nlargest files of slot a");
    for file in &files {
        let bytes = file["size"].as_u64().unwrap_or(0) as f64 / f64::from(1 << 20);
        outln!("{bytes:>10.2} MiB  {}", file["path"].as_str().unwrap_or_default());
    }
    Ok(())
}

fn fail(error: impl std::fmt::Display) -> Failure {
    Failure::general(error.to_string())
}

fn partition(contents: &inspect::Contents) -> Value {
    let p = &contents.partition;
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let (content, files) = match &contents.filesystem {
        Filesystem::Fat { label, free, files, .. } => {
            let names: Vec<Value> = files.iter().map(|f| json!({"path": f.path, "size": f.size})).collect();
            (format!("FAT {label}, {} files, {} free", files.len(), mib(*free)), names)
        }
        Filesystem::Ext4 { label, free, .. } => (format!("ext4 {label}, {} free", mib(*free)), Vec::new()),
        Filesystem::Erofs { label, size, inodes, .. } => {
            (format!("EROFS {label}, {}, {inodes} inodes", mib(*size)), Vec::new())
        }
        Filesystem::BootControl => ("boot-control block".to_owned(), Vec::new()),
        Filesystem::Empty => ("empty".to_owned(), Vec::new()),
        Filesystem::Unknown => ("unknown".to_owned(), Vec::new()),
    };
    json!({
        "number": p.number, "name": p.name, "guid": p.guid.to_string(), "start": p.start(), "size": p.size(),
        "content": content, "files": files,
    })
}

fn slots(disk: &DiskFile, card: &inspect::Card) -> Result<Value, Failure> {
    let Some(state) = card.partitions.iter().find(|c| c.partition.name == "state") else {
        return Ok(Value::Null);
    };
    let stored = Stored::read(disk.file(), state.partition.start()).at(disk.path())?;
    let now = stored.state();
    let filled = |name: &str| {
        let found = card.partitions.iter().find(|c| c.partition.name == name);
        found.is_some_and(|c| c.filesystem != Filesystem::Empty)
    };
    Ok(json!({
        "valid": stored.is_valid(), "active": now.active.letter().to_string(),
        "trial": now.trial.map(|t| t.slot.letter().to_string()), "tries_left": now.trial.map(|t| t.tries_left),
        "failed": now.failed.map(|s| s.letter().to_string()),
        "filled": {"a": filled("root-a"), "b": filled("root-b")},
    }))
}

/// The root of slot a of an image, contents by reference.
///
/// # Errors
/// No partition table, no EROFS in root-a, damage.
pub fn open_root(image: &Path) -> Result<Tree, Failure> {
    let disk = DiskFile::open(image).map_err(fail)?;
    let in_image = |error: &dyn std::fmt::Display| Failure::general(format!("{}: {error}", image.display()));
    let found = gpt::read(&disk).map_err(|error| in_image(&error))?;
    let root = found.layout.partitions.iter().find(|p| p.name == "root-a");
    let root = root.ok_or_else(|| in_image(&"has no partition root-a"))?;
    let source = Source::open(image).map_err(fail)?;
    let region = Region::new(source, Extent { offset: root.start(), len: root.size() });
    let reader = erofs::Reader::open(region, root.size()).map_err(|error| in_image(&error))?;
    reader.to_tree().map_err(|error| in_image(&error))
}

fn packages(root: &Tree) -> Vec<Value> {
    let names: Vec<&str> = root.children(RECORDS).map(|(name, ..)| name).filter(|n| !n.ends_with(".md5sums")).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let text = String::from_utf8(root.read(&format!("{RECORDS}/{name}")).ok()?).ok()?;
            let field =
                |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::to_owned);
            Some(
                json!({"name": field("Package")?, "version": field("Version")?, "architecture": field("Architecture")}),
            )
        })
        .collect()
}

fn largest_files(root: &Tree, count: usize) -> Vec<Value> {
    let mut files: Vec<(u64, &str)> = root
        .iter()
        .filter_map(|(path, _, inode)| match &inode.kind {
            Kind::File(content) => Some((content.len(), path)),
            _ => None,
        })
        .collect();
    files.sort_by(|a, b| b.cmp(a));
    files.into_iter().take(count).map(|(size, path)| json!({"path": format!("/{path}"), "size": size})).collect()
}
