//! Images in files: OCI layouts (OCI image specification, "Image Layout"), as a folder or in a tar archive, and what `docker save`
//! writes (Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format").

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fruit_base::{AtPath, Sha256};
use fruit_debian::{Archive, LockedBlob, Member, MemberKind, Store};
use fruit_image::tree::Content;
use serde::Deserialize;
use serde_json::json;

use crate::error::{Error, Result};
use crate::image::{Document, Entry, MAX_TEXT, Parts, Platform, choose, read};
use crate::stored::file;

/// Largest archive and layer, in bytes.
const MAX_ARCHIVE: u64 = 16 << 30;

/// Symbolic links followed within an archive; old Dockers write one for a layer that is there twice.
const MAX_LINKS: usize = 4;

/// Names that an error shows.
const SHOWN: usize = 12;

/// An archive that is open, and which image of it is meant.
pub(crate) struct Opened<'a> {
    files: Files,
    image: Option<&'a str>,
    label: String,
}

/// The files of an archive.
enum Files {
    Folder(PathBuf),
    Members(BTreeMap<String, MemberKind>),
}

/// An image in `manifest.json` of `docker save`.
#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

impl<'a> Opened<'a> {
    pub(crate) fn open(path: &Path, image: Option<&'a str>, store: &Store) -> Result<Opened<'a>> {
        let label = path.display().to_string();
        if path.is_dir() {
            return Ok(Opened { files: Files::Folder(path.to_owned()), image, label });
        }
        let mut archive = File::open(path).at(path)?;
        let (size, sha256) = store.import(&mut archive, MAX_ARCHIVE, &label)?;
        let Archive::Many(members) = store.open_archive(&file(size, sha256, &label))? else {
            return Err(Error::image(&label, "is no archive of an image"));
        };
        let members = members.into_iter().map(|Member { path, kind, .. }| (path, kind)).collect();
        Ok(Opened { files: Files::Members(members), image, label })
    }

    /// Manifest and parts of the image, all of whose files are in the store afterwards.
    pub(crate) fn image(&self, store: &Store, platform: Platform) -> Result<(Vec<u8>, Parts)> {
        if self.has("index.json") {
            return self.of_layout(store, platform);
        }
        if self.has("manifest.json") {
            return self.of_docker(store);
        }
        Err(Error::image(&self.label, "has neither `index.json` of an OCI layout nor `manifest.json` of `docker save`"))
    }

    fn of_layout(&self, store: &Store, platform: Platform) -> Result<(Vec<u8>, Parts)> {
        let Document::Index(top) = read(&self.text("index.json")?, &self.label)? else {
            return Err(Error::image(&self.label, "its `index.json` is no index"));
        };
        let mut next = self.meant(top, platform)?;
        for _ in 0..4 {
            let bytes = self.text(&blob_path(next.sha256))?;
            if Sha256::of(&bytes) != next.sha256 {
                return Err(self.wrong(next.sha256, Sha256::of(&bytes)));
            }
            match read(&bytes, &self.label)? {
                Document::Index(index) => next = choose(&index, platform, &self.label)?,
                Document::Manifest(parts) => {
                    for blob in [&parts.config].into_iter().chain(&parts.layers) {
                        self.take(blob, store)?;
                    }
                    return Ok((bytes, parts));
                }
            }
        }
        Err(Error::image(&self.label, "has indices within indices"))
    }

    /// The entry of `index.json` that is meant.
    fn meant(&self, top: Vec<Entry>, platform: Platform) -> Result<LockedBlob> {
        let Some(image) = self.image else {
            let mut names: Vec<String> = top.iter().flat_map(|entry| entry.names.first().cloned()).collect();
            names.dedup();
            if names.len() > 1 {
                return Err(self.several(&names));
            }
            return match top.as_slice() {
                [one] => Ok(one.blob),
                _ => choose(&top, platform, &self.label),
            };
        };
        let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
        let is_full = |name: &String| name.contains('/') || name.contains(':');
        let named = |entry: &&Entry| {
            let names = &entry.names;
            names.iter().any(|name| name == image)
                || (!names.iter().any(is_full) && names.iter().any(|name| Some(name.as_str()) == tag))
        };
        let meant: Vec<Entry> = top.iter().filter(named).cloned().collect();
        match meant.as_slice() {
            [] => {
                let names: Vec<String> = top.into_iter().flat_map(|entry| entry.names).collect();
                Err(Error::image(&self.label, format!("has no image {image}; it has {}", shown(&names))))
            }
            [one] => Ok(one.blob),
            several => choose(several, platform, &self.label),
        }
    }

    fn several(&self, names: &[String]) -> Error {
        Error::image(&self.label, format!("has several images: {}; say which with `image`", shown(names)))
    }

    fn of_docker(&self, store: &Store) -> Result<(Vec<u8>, Parts)> {
        let wrong = |why: String| Error::image(&self.label, why);
        let all: Vec<Saved> = serde_json::from_slice(&self.text("manifest.json")?)
            .map_err(|why| wrong(format!("its manifest.json is not understood: {why}")))?;
        let tags = || all.iter().flat_map(|one| one.tags.clone().unwrap_or_default()).collect::<Vec<_>>();
        let one = match (self.image, all.as_slice()) {
            (None, [one]) => one,
            (None, []) => return Err(wrong("has no image".to_owned())),
            (None, _) => return Err(self.several(&tags())),
            (Some(image), _) => {
                // Docker leaves its own registry out of the name.
                let short = image.strip_prefix("docker.io/").map(|rest| rest.strip_prefix("library/").unwrap_or(rest));
                let is = |tag: &String| tag == image || Some(tag.as_str()) == short;
                let found = all.iter().find(|one| one.tags.iter().flatten().any(is));
                found.ok_or_else(|| wrong(format!("has no image {image}; it has {}", shown(&tags()))))?
            }
        };
        let config = self.import(&one.config, MAX_TEXT, store)?;
        let layers: Vec<LockedBlob> =
            one.layers.iter().map(|path| self.import(path, MAX_ARCHIVE, store)).collect::<Result<_>>()?;
        let descriptor = |kind: &str, blob: &LockedBlob| {
            let media_type = format!("application/vnd.docker.{kind}");
            json!({"mediaType": media_type, "size": blob.size, "digest": format!("sha256:{}", blob.sha256)})
        };
        // What `docker push` would make of it, had it left the layers as they are.
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": descriptor("container.image.v1+json", &config),
            "layers": layers.iter().map(|layer| descriptor("image.rootfs.diff.tar", layer)).collect::<Vec<_>>(),
        });
        let bytes = manifest.to_string().into_bytes();
        let Document::Manifest(parts) = read(&bytes, &self.label)? else {
            return Err(wrong("has no image".to_owned()));
        };
        Ok((bytes, parts))
    }

    fn wrong(&self, expected: Sha256, found: Sha256) -> Error {
        Error::image(&self.label, format!("SHA-256 of {}: found {found}", blob_path(expected)))
    }

    /// Takes a file into the store that the archive names by its digest.
    fn take(&self, blob: &LockedBlob, store: &Store) -> Result<()> {
        let known = file(blob.size, blob.sha256, &self.label);
        if store.has_download(&known) {
            return Ok(());
        }
        let found = self.import(&blob_path(blob.sha256), blob.size, store)?;
        if found.sha256 != blob.sha256 {
            return Err(self.wrong(blob.sha256, found.sha256));
        }
        Ok(())
    }

    fn import(&self, path: &str, limit: u64, store: &Store) -> Result<LockedBlob> {
        let (size, sha256) = store.import(&mut *self.open_file(path)?, limit, &format!("{}: {path}", self.label))?;
        Ok(LockedBlob { size, sha256 })
    }

    fn has(&self, path: &str) -> bool {
        match &self.files {
            Files::Folder(folder) => folder.join(path).is_file(),
            Files::Members(members) => matches!(members.get(path), Some(MemberKind::File(_))),
        }
    }

    fn text(&self, path: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let wrong = |why: String| Error::image(&self.label, format!("{path}: {why}"));
        let read = self.open_file(path)?.take(MAX_TEXT + 1).read_to_end(&mut bytes);
        read.map_err(|error| wrong(error.to_string()))?;
        if bytes.len() as u64 > MAX_TEXT {
            return Err(wrong(format!("has more than {MAX_TEXT} bytes")));
        }
        Ok(bytes)
    }

    fn open_file(&self, path: &str) -> Result<Box<dyn Read + '_>> {
        let none = || Error::image(&self.label, format!("lacks its file {path}"));
        match &self.files {
            Files::Folder(folder) => {
                // Paths of layouts are made from digests; those that `manifest.json` names may be anything.
                let plain = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
                let path = folder.join(Some(path).filter(|_| plain).ok_or_else(none)?);
                if !path.is_file() {
                    return Err(none());
                }
                Ok(Box::new(File::open(&path).at(&path)?))
            }
            Files::Members(members) => {
                let mut path = path.to_owned();
                for _ in 0..MAX_LINKS {
                    match members.get(&path) {
                        Some(MemberKind::File(content)) => return Ok(Box::new(Reader { content, at: 0 })),
                        Some(MemberKind::Link(target)) => path = beside(&path, target),
                        _ => break,
                    }
                }
                Err(none())
            }
        }
    }
}

fn blob_path(sha256: Sha256) -> String {
    format!("blobs/sha256/{sha256}")
}

fn shown(names: &[String]) -> String {
    let more = if names.len() > SHOWN { ", …" } else { "" };
    match names {
        [] => "none with a name".to_owned(),
        names => format!("{}{more}", names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ")),
    }
}

/// Where a symbolic link at `path` leads within its archive.
fn beside(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Reads a content from its start.
struct Reader<'a> {
    content: &'a Content,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.content.len().saturating_sub(self.at);
        let len = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        self.content.read_at(&mut buf[..len], self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_within_their_archive() {
        assert_eq!(beside("a/layer.tar", "../b/layer.tar"), "b/layer.tar");
        assert_eq!(beside("a/layer.tar", "../../../etc/passwd"), "etc/passwd");
    }
}
