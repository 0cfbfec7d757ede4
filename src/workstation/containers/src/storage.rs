//! Podman's storage, as an additional image store that is only read (containers-storage.conf(5), `additionalimagestores`): the
//! layout of the overlay driver of github.com/containers/storage.
//!
//! ```text
//! overlay/ID/{diff/,link,lower}       a layer: its files, its short name, the short names of those below
//! overlay/l/SHORT                     leads to ../ID/diff
//! overlay-layers/layers.json          what each layer is
//! overlay-images/images.json          what each image is
//! overlay-images/ID/{manifest,=…}     manifest and configuration, by names in base64 where they have a colon
//! ```

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use fruit_base::Sha256;
use fruit_base::calendar::Date;
use fruit_debian::deb::Compression;
use fruit_debian::{Layer, LockedContainer, Store};
use fruit_image::tree::{Inode, InodeId, Tree, TreeError};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::image::{Platform, configuration};
use crate::layer;
use crate::stored::bytes_of;

/// Letters and digits of a layer's short name, and how many it has.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SHORT: usize = 26;

/// An image, and what it is to be called.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    pub locked: &'a LockedContainer,
    /// `docker.io/library/nginx:1.27`.
    pub name: String,
}

/// An image that was laid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laid {
    /// SHA-256 of its configuration, by which Podman knows it.
    pub id: Sha256,
    /// Ids of its layers, from the lowest one up.
    pub layers: Vec<Sha256>,
    /// Bytes of its layers when they are not compressed.
    pub size: u64,
}

/// Makes the store of these images at `at` (without leading slash) in `tree`. Layers that two images share are there once. The files
/// of the images are in `store`.
///
/// # Errors
/// A layer that is damaged, hostile, or not the one that the image's configuration names.
pub fn lay(
    images: &[Named<'_>],
    platform: Platform,
    store: &Store,
    (tree, at): (&mut Tree, &str),
    epoch: i64,
) -> Result<Vec<Laid>> {
    let mut making = Making { tree, at, epoch, layers: BTreeMap::new(), images: BTreeMap::new() };
    making.folders()?;
    let mut laid = Vec::new();
    for image in images {
        laid.push(making.image(image, platform, store)?);
    }
    making.finish()?;
    Ok(laid)
}

struct Making<'a> {
    tree: &'a mut Tree,
    at: &'a str,
    epoch: i64,
    /// By id: what `layers.json` has, and the size.
    layers: BTreeMap<Sha256, (Value, u64)>,
    /// By id: what `images.json` has, and its names.
    images: BTreeMap<Sha256, (Value, BTreeSet<String>)>,
}

impl Making<'_> {
    fn folders(&mut self) -> Result<()> {
        // Whose files are in there is for containers to say, not for users of the node.
        self.tree.make_dirs(self.at, 0o755, self.epoch).map_err(|error| self.odd(&error))?;
        if let Some(inode) = self.tree.get_mut(self.at) {
            inode.meta.mode = 0o700;
        }
        for folder in ["overlay", "overlay/l", "overlay-layers", "overlay-images"] {
            self.folder(folder)?;
        }
        // It is read-only, and Podman opens them all the same.
        self.file("overlay-layers/layers.lock", Vec::new())?;
        self.file("overlay-images/images.lock", Vec::new())?;
        self.file("storage.lock", Vec::new())
    }

    fn image(&mut self, image: &Named<'_>, platform: Platform, store: &Store) -> Result<Laid> {
        let locked = image.locked;
        let (manifest, config) = (bytes_of(locked, &locked.manifest, store)?, bytes_of(locked, &locked.config, store)?);
        let said = configuration(&config, platform, locked.layers.len(), &image.name)?;
        let (mut ids, mut size) = (Vec::new(), 0u64);
        for (blob, diff_id) in locked.layers.iter().zip(&said.diff_ids) {
            let id = chain(ids.last(), diff_id);
            if !self.layers.contains_key(&id) {
                let layer = store.open_layer(&locked.file(blob))?;
                if layer.sha256 != *diff_id {
                    let why = format!("a layer's SHA-256: expected {diff_id}, found {}", layer.sha256);
                    return Err(Error::image(&image.name, why));
                }
                self.layer(&layer, id, &ids, (blob.size, blob.sha256), &image.name)?;
            }
            size = size.saturating_add(self.layers.get(&id).map_or(0, |(_, size)| *size));
            ids.push(id);
        }
        let id = locked.config.sha256;
        self.describe(image, &manifest, &config, ids.last(), said.created)?;
        Ok(Laid { id, layers: ids, size })
    }

    fn layer(
        &mut self,
        layer: &Layer,
        id: Sha256,
        below: &[Sha256],
        (size, sha256): (u64, Sha256),
        image: &str,
    ) -> Result<()> {
        let top = format!("overlay/{id}");
        self.folder(&top)?;
        let made = layer::tree(layer, below.is_empty(), image, self.epoch)?;
        self.graft(&made, &format!("{top}/diff"))?;
        self.file(&format!("{top}/link"), short(id).into_bytes())?;
        if !below.is_empty() {
            let lower: Vec<String> = below.iter().rev().map(|id| format!("l/{}", short(*id))).collect();
            self.file(&format!("{top}/lower"), lower.join(":").into_bytes())?;
        }
        self.put(&format!("overlay/l/{}", short(id)), Inode::symlink(format!("../{id}/diff"), self.epoch))?;
        let (mut uids, mut gids) = (BTreeSet::from([0]), BTreeSet::from([0]));
        for (_, _, inode) in made.iter() {
            uids.insert(inode.meta.uid);
            gids.insert(inode.meta.gid);
        }
        let mut value = json!({
            "id": id.to_string(),
            "created": rfc3339(self.epoch),
            "compressed-diff-digest": format!("sha256:{sha256}"),
            "compressed-size": size,
            "diff-digest": format!("sha256:{}", layer.sha256),
            "diff-size": layer.size,
            "uidset": uids,
            "gidset": gids,
        });
        if let Some(parent) = below.last() {
            value["parent"] = json!(parent.to_string());
        }
        // github.com/containers/storage/pkg/archive, type Compression.
        let number = match layer.compression {
            Some(Compression::Bzip2) => 1,
            Some(Compression::Gzip) => 2,
            Some(Compression::Xz | Compression::Lzma) => 3,
            Some(Compression::Zstd) => 4,
            Some(Compression::None) | None => 0,
        };
        if number > 0 {
            value["compression"] = json!(number);
        }
        self.layers.insert(id, (value, layer.size));
        Ok(())
    }

    /// Puts the tree of a layer below `at`, hard links as such.
    fn graft(&mut self, layer: &Tree, at: &str) -> Result<()> {
        let mut first: BTreeMap<InodeId, String> = BTreeMap::new();
        for (path, id, inode) in layer.iter() {
            let to = if path.is_empty() { at.to_owned() } else { format!("{at}/{path}") };
            match first.get(&id) {
                Some(earlier) => {
                    let (to, earlier) = (self.path(&to), self.path(earlier));
                    self.tree.link(&to, &earlier).map_err(|error| self.odd(&error))?;
                }
                None => {
                    self.put(&to, inode.clone())?;
                    if !inode.is_dir() {
                        first.insert(id, to);
                    }
                }
            }
        }
        Ok(())
    }

    fn describe(
        &mut self,
        image: &Named<'_>,
        manifest: &[u8],
        config: &[u8],
        top: Option<&Sha256>,
        created: Option<String>,
    ) -> Result<()> {
        let (id, digest) = (image.locked.config.sha256, image.locked.manifest.sha256);
        // Two of one configuration are one image; the first one's manifest counts.
        if let Some((_, names)) = self.images.get_mut(&id) {
            names.insert(image.name.clone());
            return Ok(());
        }
        let texts = [
            (format!("sha256:{id}"), config),
            (format!("manifest-sha256:{digest}"), manifest),
            ("manifest".to_owned(), manifest),
        ];
        self.folder(&format!("overlay-images/{id}"))?;
        for (name, bytes) in &texts {
            self.file(&format!("overlay-images/{id}/{}", file_name(name)), bytes.to_vec())?;
        }
        let sizes: BTreeMap<&str, usize> = texts.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
        let digests: BTreeMap<&str, String> =
            texts.iter().map(|(name, bytes)| (name.as_str(), format!("sha256:{}", Sha256::of(bytes)))).collect();
        let names: Vec<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
        let value = json!({
            "id": id.to_string(),
            "digest": format!("sha256:{digest}"),
            "layer": top.map(ToString::to_string).unwrap_or_default(),
            "metadata": "{}",
            "big-data-names": names,
            "big-data-sizes": sizes,
            "big-data-digests": digests,
            "created": created.unwrap_or_else(|| rfc3339(self.epoch)),
        });
        self.images.insert(id, (value, BTreeSet::from([image.name.clone()])));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let layers: Vec<&Value> = self.layers.values().map(|(value, _)| value).collect();
        let layers = json!(layers).to_string().into_bytes();
        let images = self.images.values().map(|(value, names)| {
            let mut value = value.clone();
            value["names"] = json!(names);
            value
        });
        let images = Value::Array(images.collect()).to_string().into_bytes();
        self.file("overlay-layers/layers.json", layers)?;
        self.file("overlay-images/images.json", images)
    }

    fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.at)
    }

    fn folder(&mut self, below: &str) -> Result<()> {
        self.put(below, Inode::dir(0o755, self.epoch))
    }

    fn file(&mut self, below: &str, bytes: Vec<u8>) -> Result<()> {
        self.put(below, Inode::file(bytes, 0o600, self.epoch))
    }

    fn put(&mut self, below: &str, inode: Inode) -> Result<()> {
        let path = self.path(below);
        self.tree.insert(&path, inode).map(drop).map_err(|error| self.odd(&error))
    }

    fn odd(&self, error: &TreeError) -> Error {
        Error::image(&format!("/{}", self.at), error.to_string())
    }
}

/// The id of a layer: that of all layers up to it, as github.com/containers/image computes it, so that what is pulled later finds
/// those that are here.
fn chain(below: Option<&Sha256>, diff_id: &Sha256) -> Sha256 {
    match below {
        None => *diff_id,
        Some(below) => Sha256::of(format!("{below}+sha256:{diff_id}").as_bytes()),
    }
}

/// The short name of a layer: mount options of many layers would be too long otherwise. Podman rolls dice for its own.
fn short(id: Sha256) -> String {
    let digest = Sha256::of(id.to_string().as_bytes()).0;
    digest.iter().take(SHORT).map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// The file of a text: its name if that is plain, else in base64.
fn file_name(name: &str) -> String {
    if name.bytes().all(|b| matches!(b, b'.' | b'0'..=b'9' | b'a'..=b'z')) {
        return name.to_owned();
    }
    format!("={}", base64::engine::general_purpose::STANDARD.encode(name))
}

fn rfc3339(epoch: i64) -> String {
    let (days, seconds) = (epoch.div_euclid(86_400), epoch.rem_euclid(86_400));
    let Date { year, month, day } = Date::from_days(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_podman_looks_for() {
        assert_eq!(file_name("manifest"), "manifest");
        assert_eq!(file_name("sha256:ab"), "=c2hhMjU2OmFi");
        let one = Sha256([1; 32]);
        let two = Sha256::of(format!("{one}+sha256:{one}").as_bytes());
        assert_eq!(chain(None, &one), one);
        assert_eq!(chain(Some(&one), &one), two);
        assert_eq!(short(one).len(), 26);
        assert_ne!(short(one), short(two));
        assert_eq!(rfc3339(1_760_000_000), "2025-10-09T08:53:20Z");
    }
}
