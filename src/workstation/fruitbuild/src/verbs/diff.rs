//! `fruitbuild diff`: two locks, manifests or images.

use std::collections::BTreeMap;
use std::path::Path;

use fruit_contract::image_manifest::ImageManifest;
use fruit_debian::Lock;
use fruit_debian::lock::{Change, ChangeKind};
use fruit_image::tree::{Kind, Tree};
use fruit_pipeline::device_files::sha256_of;
use fruit_publish::slot::read_manifest;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::verbs::inspect::open_root;

/// Compares two locks, manifests or images: `fruitbuild diff`.
///
/// # Errors
/// A file that is no image, lock or manifest, or standard output that cannot be written.
pub fn diff(old: &Path, new: &Path, as_json: bool) -> Result<(), Failure> {
    match (kind_of(old)?, kind_of(new)?) {
        (What::Lock, What::Lock) => print_changes(&Lock::load(new)?.changes_since(&Lock::load(old)?), as_json),
        (What::Manifest(old), What::Manifest(new)) => manifests(&old, &new, as_json),
        (What::Image, What::Image) => images(old, new, as_json),
        _ => Err(Failure::input(format!(
            "{} and {} are not of one kind; compare two locks, two manifests or two images",
            old.display(),
            new.display()
        ))),
    }
}

enum What {
    Lock,
    Manifest(Box<ImageManifest>),
    Image,
}

fn kind_of(path: &Path) -> Result<What, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".lock") {
        return Ok(What::Lock);
    }
    if name.ends_with(".json") {
        return Ok(What::Manifest(Box::new(read_manifest(path)?)));
    }
    Ok(What::Image)
}

/// The table of `lock` and `diff`.
///
/// # Errors
/// Standard output cannot be written.
pub fn print_changes(changes: &[Change], as_json: bool) -> Result<(), Failure> {
    if as_json {
        outln!("{:#}", json!({"packages": changes}));
        return Ok(());
    }
    if changes.is_empty() {
        outln!("no package changed");
    }
    let width = changes.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for change in changes {
        let sign = match change.kind {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Upgraded => '↑',
            ChangeKind::Downgraded => '↓',
            ChangeKind::Rebuilt => '~',
        };
        let version = |side: &Option<fruit_debian::lock::Side>| side.as_ref().map(|s| s.version.to_string());
        let versions: Vec<String> = [version(&change.old), version(&change.new)].into_iter().flatten().collect();
        let size = |side: &Option<fruit_debian::lock::Side>| side.as_ref().map_or(0, |s| s.size as i64);
        let grown = size(&change.new) - size(&change.old);
        outln!("{sign} {:width$}  {}  {:+} KiB", change.name, versions.join(" → "), grown / 1024);
    }
    Ok(())
}

fn manifests(old: &ImageManifest, new: &ImageManifest, as_json: bool) -> Result<(), Failure> {
    let packages = |manifest: &ImageManifest| -> BTreeMap<String, (String, i64)> {
        let all = manifest.packages.iter();
        all.map(|p| (p.name.clone(), (p.version.clone(), p.unpacked.map_or(0, |bytes| bytes as i64)))).collect()
    };
    let (before, after) = (packages(old), packages(new));
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut rows = Vec::new();
    for name in names.into_iter().filter(|name| before.get(*name) != after.get(*name)) {
        let (old, new) = (before.get(name), after.get(name));
        let grown = new.map_or(0, |n| n.1) - old.map_or(0, |o| o.1);
        rows.push(json!({"package": name, "old": old.map(|o| &o.0), "new": new.map(|n| &n.0), "grown": grown}));
    }
    let partitions = used(old, new);
    if as_json {
        outln!("{:#}", json!({"packages": rows, "partitions": partitions}));
        return Ok(());
    }
    for row in &rows {
        let side = |key: &str| row[key].as_str().unwrap_or("—").to_owned();
        outln!(
            "{}  {} → {}  {:+} KiB",
            side("package"),
            side("old"),
            side("new"),
            row["grown"].as_i64().unwrap_or(0) / 1024
        );
    }
    for row in &partitions {
        outln!("{}  {:+} KiB", row["name"].as_str().unwrap_or_default(), row["grown"].as_i64().unwrap_or(0) / 1024);
    }
    if rows.is_empty() && partitions.is_empty() {
        outln!("no package and no size changed");
    }
    Ok(())
}

fn used(old: &ImageManifest, new: &ImageManifest) -> Vec<Value> {
    let used = |manifest: &ImageManifest| -> BTreeMap<String, i64> {
        manifest.partitions.iter().map(|p| (p.name.clone(), p.used as i64)).collect()
    };
    let before = used(old);
    used(new)
        .into_iter()
        .map(|(name, bytes)| (bytes - before.get(&name).copied().unwrap_or(0), name))
        .filter(|(grown, _)| *grown != 0)
        .map(|(grown, name)| json!({"name": name, "grown": grown}))
        .collect()
}

fn images(old: &Path, new: &Path, as_json: bool) -> Result<(), Failure> {
    let (before, after) = (open_root(old)?, open_root(new)?);
    let paths: std::collections::BTreeSet<&str> =
        before.iter().map(|(p, ..)| p).chain(after.iter().map(|(p, ..)| p)).collect();
    let mut rows = Vec::new();
    for path in paths {
        let Some(what) = difference(&before, &after, path)? else { continue };
        let size = |tree: &Tree| match tree.get(path).map(|inode| &inode.kind) {
            Some(Kind::File(content)) => content.len() as i64,
            _ => 0,
        };
        rows.push(json!({"path": format!("/{path}"), "change": what, "grown": size(&after) - size(&before)}));
    }
    if as_json {
        outln!("{:#}", json!({"files": rows}));
    } else {
        for row in &rows {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            outln!("{:8} {}  {:+} B", text("change"), text("path"), row["grown"].as_i64().unwrap_or(0));
        }
        if rows.is_empty() {
            outln!("the roots hold the same files");
        }
    }
    Ok(())
}

fn difference(before: &Tree, after: &Tree, path: &str) -> Result<Option<&'static str>, Failure> {
    let (Some(old), Some(new)) = (before.get(path), after.get(path)) else {
        return Ok(Some(if after.contains(path) { "added" } else { "removed" }));
    };
    let content = match (&old.kind, &new.kind) {
        (Kind::File(a), Kind::File(b)) => a.len() != b.len() || sha256_of(a)? != sha256_of(b)?,
        (Kind::Symlink(a), Kind::Symlink(b)) => a != b,
        (a, b) => std::mem::discriminant(a) != std::mem::discriminant(b),
    };
    let mut meta = old.meta.clone();
    meta.mtime = new.meta.mtime;
    Ok(if content {
        Some("content")
    } else if meta != new.meta {
        Some("metadata")
    } else {
        None
    })
}
